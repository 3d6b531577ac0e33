#include "sentry/vfs/attr/mountmap.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/vfs/attr/identity.h"

static struct id_map *map_new(size_t room)
{
    return calloc(1, sizeof(struct id_map) + room * sizeof(struct id_extent));
}

/* What of the extents `fs` (kept id <-> its namespace's) and `to` (that <-> seen) meets. */
static void add_overlap(struct id_map *map, const struct id_extent *fs, const struct id_extent *to)
{
    uint64_t start = MAX(fs->first, to->first);
    uint64_t end = MIN((uint64_t)fs->first + fs->count, (uint64_t)to->first + to->count);

    if (start >= end)
        return;
    map->extents[map->count++] = (struct id_extent){
        .first = fs->kernel + (uint32_t)(start - fs->first),
        .kernel = to->kernel + (uint32_t)(start - to->first),
        .count = (uint32_t)(end - start),
    };
}

/* Two maps of at most ID_MAP_EXTENTS_MAX extents overlap in fewer places than they have extents. */
static int compose(const struct id_map *to, const struct id_map *fs, struct id_map **ret)
{
    static const struct id_extent all = {.count = UINT32_MAX};
    size_t fs_count = fs ? fs->count : 1;
    struct id_map *map;

    if (!to || to->count == 0)
        return -EINVAL;
    map = map_new(to->count + fs_count);
    if (!map)
        return -ENOMEM;
    for (size_t i = 0; i < fs_count; i++) {
        for (size_t j = 0; j < to->count; j++)
            add_overlap(map, fs ? &fs->extents[i] : &all, &to->extents[j]);
    }
    *ret = map;
    return 0;
}

int mount_map_create(struct id_maps to, struct id_maps fs, struct mount_map **ret)
{
    struct mount_map *map = calloc(1, sizeof(*map));
    int err = map ? compose(to.uids, fs.uids, &map->uids) : -ENOMEM;

    if (!err)
        err = compose(to.gids, fs.gids, &map->gids);
    if (err < 0) {
        if (map)
            free(map->uids);
        free(map);
        return err;
    }
    refcount_set(&map->refs, 1);
    *ret = map;
    return 0;
}

struct mount_map *mount_map_ref(struct mount_map *map)
{
    if (map)
        refcount_get(&map->refs);
    return map;
}

struct mount_map *mount_map_unref(struct mount_map *map)
{
    if (map && refcount_put(&map->refs)) {
        free(map->uids);
        free(map->gids);
        free(map);
    }
    return NULL;
}

bool inode_has_cap(const struct mount_map *map, const struct inode *inode, int cap)
{
    return !inode_is_unmapped(map, inode) &&
           vfs_has_cap_over(inode_uid(map, inode), inode_gid(map, inode), cap);
}

void mount_map_stat(const struct mount_map *map, struct linux_stat *st)
{
    st->st_uid = seen_uid(map, st->st_uid);
    st->st_gid = seen_gid(map, st->st_gid);
}
