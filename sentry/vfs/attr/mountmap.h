/*
 * Id-mapped mounts: MOUNT_ATTR_IDMAP of mount_setattr(2). Through such a mount the objects of a
 * file system are seen with other owners than they are kept with:
 *
 *     kept in the inode  --seen-->  compared with who asks, and told
 *     written there      <--kept--  who makes something, chown(2), ACLs
 *
 * An id that the map lacks is seen as ID_NONE: nobody's, and not to be written with.
 */
#ifndef SENTRY_VFS_MOUNTMAP_H
#define SENTRY_VFS_MOUNTMAP_H

#include "sentry/vfs/attr/idmap.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/mount/mount.h"

/* Never changes. In each extent `first` is what is kept, `kernel` what is seen. */
struct mount_map {
    refcount_t refs;
    struct id_map *uids, *gids; /* owned */
};

/* The maps of a user namespace. */
struct id_maps {
    const struct id_map *uids, *gids;
};

/*
 * Who is `id` to the file system's own namespace (`fs`; both NULL: the first one) is seen as what
 * `to` makes of that id. -EINVAL: a map is not written yet; -ENOMEM.
 */
int mount_map_create(struct id_maps to, struct id_maps fs, struct mount_map **ret);
struct mount_map *mount_map_ref(struct mount_map *map);   /* takes NULL */
struct mount_map *mount_map_unref(struct mount_map *map); /* takes NULL, returns NULL */

/* The map that the place is seen through; borrowed from its mount; NULL: none. */
static inline const struct mount_map *path_map(const struct path *path)
{
    return path->mount ? __atomic_load_n(&path->mount->map, __ATOMIC_ACQUIRE) : NULL;
}

static inline uint32_t seen_uid(const struct mount_map *map, uint32_t kept)
{
    return likely(!map) ? kept : id_map_to_kernel(map->uids, kept);
}
static inline uint32_t seen_gid(const struct mount_map *map, uint32_t kept)
{
    return likely(!map) ? kept : id_map_to_kernel(map->gids, kept);
}
static inline uint32_t kept_uid(const struct mount_map *map, uint32_t seen)
{
    return likely(!map) ? seen : id_map_from_kernel(map->uids, seen);
}
static inline uint32_t kept_gid(const struct mount_map *map, uint32_t seen)
{
    return likely(!map) ? seen : id_map_from_kernel(map->gids, seen);
}

static inline uint32_t inode_uid(const struct mount_map *map, const struct inode *inode)
{
    return seen_uid(map, __atomic_load_n(&inode->uid, __ATOMIC_RELAXED));
}
static inline uint32_t inode_gid(const struct mount_map *map, const struct inode *inode)
{
    return seen_gid(map, __atomic_load_n(&inode->gid, __ATOMIC_RELAXED));
}
/* Is one of its ids nobody's? HAS_UNMAPPED_ID() */
static inline bool inode_is_unmapped(const struct mount_map *map, const struct inode *inode)
{
    return unlikely(map != NULL) &&
           (inode_uid(map, inode) == ID_NONE || inode_gid(map, inode) == ID_NONE);
}
/* vfs_has_cap_over() its ids as they are seen there: capable_wrt_inode_uidgid(). */
bool inode_has_cap(const struct mount_map *map, const struct inode *inode, int cap);

struct linux_stat;
/* What stat(2) says there; an id that is nobody's becomes ID_NONE. */
void mount_map_stat(const struct mount_map *map, struct linux_stat *st);

#endif
