#include "sentry/vfs/attr/idmap.h"

uint32_t id_map_range(const struct id_map *map, uint32_t first, uint32_t count)
{
    for (size_t i = 0; map && i < map->count; i++) {
        const struct id_extent *e = &map->extents[i];

        if (first >= e->first && first - e->first < e->count &&
            count <= e->count - (first - e->first))
            return e->kernel + (first - e->first);
    }
    return ID_NONE;
}

uint32_t id_map_to_kernel(const struct id_map *map, uint32_t id)
{
    return id_map_range(map, id, 1);
}

uint32_t id_map_from_kernel(const struct id_map *map, uint32_t id)
{
    for (size_t i = 0; map && i < map->count; i++) {
        const struct id_extent *e = &map->extents[i];

        if (id >= e->kernel && id - e->kernel < e->count)
            return e->first + (id - e->kernel);
    }
    return ID_NONE;
}

uint32_t id_map_shown(const struct id_map *map, uint32_t id)
{
    uint32_t shown = id_map_from_kernel(map, id);

    return shown == ID_NONE ? ID_OVERFLOW : shown;
}
