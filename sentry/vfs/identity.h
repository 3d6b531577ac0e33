/*
 * Who asks: the file-system ids and capabilities of the task whose host thread this is. Set by the
 * kernel when a task begins to run and whenever its credentials change; a thread of the Sentry
 * itself may do everything.
 */
#ifndef SENTRY_VFS_IDENTITY_H
#define SENTRY_VFS_IDENTITY_H

#include "base/compiler.h"

struct vfs_identity {
    uint32_t uid, gid;      /* fsuid, fsgid */
    const uint32_t *groups; /* ascending; borrowed: the setter keeps them */
    uint32_t group_count;
    uint64_t caps; /* effective */
};

/* This thread's; never NULL. */
const struct vfs_identity *vfs_identity(void);
/* Copied; NULL: the Sentry itself. */
void vfs_identity_set(const struct vfs_identity *identity);

bool vfs_has_cap(int cap);
/* fsgid or one of the groups. */
bool vfs_in_group(uint32_t gid);

#endif
