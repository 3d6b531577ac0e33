#include "sentry/vfs/attr/identity.h"

#include <stdlib.h>

static const struct vfs_identity nobody_asks = {.caps = UINT64_MAX};
static _Thread_local struct vfs_identity current;
static _Thread_local bool is_set;

const struct vfs_identity *vfs_identity(void)
{
    return is_set ? &current : &nobody_asks;
}

void vfs_identity_set(const struct vfs_identity *identity)
{
    is_set = identity != NULL;
    if (identity)
        current = *identity;
}

bool vfs_has_cap(int cap)
{
    const struct vfs_identity *id = vfs_identity();

    return !id->uids && (id->caps >> cap & 1);
}

static bool is_mapped(const struct id_map *const *map, uint32_t id)
{
    return id_map_from_kernel(__atomic_load_n(map, __ATOMIC_ACQUIRE), id) != ID_NONE;
}

bool vfs_has_cap_over(uint32_t uid, uint32_t gid, int cap)
{
    const struct vfs_identity *id = vfs_identity();

    if (!(id->caps >> cap & 1))
        return false;
    return !id->uids || (is_mapped(id->uids, uid) && is_mapped(id->gids, gid));
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

bool vfs_in_group(uint32_t gid)
{
    const struct vfs_identity *id = vfs_identity();

    return gid == id->gid || (id->group_count > 0 && bsearch(&gid, id->groups, id->group_count,
                                                             sizeof(gid), compare_ids) != NULL);
}
