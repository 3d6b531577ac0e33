/*
 * Who asks: the file-system ids and capabilities of the task whose host thread this is. Set by the
 * kernel when a task begins to run and whenever its credentials change; a thread of the Sentry
 * itself may do everything.
 */
#ifndef SENTRY_VFS_IDENTITY_H
#define SENTRY_VFS_IDENTITY_H

#include "sentry/vfs/attr/idmap.h"

struct landlock_domain;

struct vfs_identity {
    uint32_t uid, gid;      /* fsuid, fsgid */
    const uint32_t *groups; /* ascending; borrowed: the setter keeps them */
    uint32_t group_count;
    uint64_t caps; /* effective, in the asker's user namespace */
    /*
     * Where that is not the first one: its maps, which are written once and read atomically;
     * capabilities count for ids that they map. NULL: the first one. Borrowed like groups.
     */
    const struct id_map *const *uids, *const *gids;
    struct landlock_domain *landlock; /* borrowed likewise; NULL: none (landlock.h) */
};

/* This thread's; never NULL. */
const struct vfs_identity *vfs_identity(void);
/* Copied; NULL: the Sentry itself. */
void vfs_identity_set(const struct vfs_identity *identity);

/* Over the machine as a whole: in the first user namespace. */
bool vfs_has_cap(int cap);
/* Over what belongs to these kernel ids: also in another namespace, if it maps both. */
bool vfs_has_cap_over(uint32_t uid, uint32_t gid, int cap);
/* fsgid or one of the groups. */
bool vfs_in_group(uint32_t gid);

#endif
