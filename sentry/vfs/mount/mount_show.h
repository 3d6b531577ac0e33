/* What of mounts is told: /proc/PID/mountinfo, statmount(2). All under mount_lock(). */
#ifndef SENTRY_VFS_MOUNT_SHOW_H
#define SENTRY_VFS_MOUNT_SHOW_H

#include "sentry/vfs/mount/mount.h"

#define MOUNT_OPTIONS_MAX 160

/* ",nosuid,nodev" and the like. */
void mount_show_flags_locked(const struct mount *m, char buf[MOUNT_OPTIONS_MAX]);
/* The file system's own, each with a comma in front. */
void mount_show_options_locked(const struct mount *m, char buf[MOUNT_OPTIONS_MAX]);
struct mount_peers {
    uint32_t group, master; /* 0: none */
    uint32_t from;          /* the nearest group above it that can be seen from `root`; 0: none */
};
struct mount_peers mount_peers_locked(const struct mount *m, const struct path *root);
/* Can its root be reached from `root`? */
bool mount_visible_locked(const struct mount *m, const struct path *root);
/* What of its file system it shows: the length, -ENAMETOOLONG. */
ssize_t mount_root_name_locked(const struct mount *m, char *buf, size_t size);
/* By its unique number; NULL. */
struct mount *mount_find_locked(const struct mount_ns *ns, uint64_t unique_id);

#endif
