/* Inside sentry/fs/cgroup: files of a group, whose keys are its number. */
#ifndef SENTRY_FS_CGROUP_INTERNAL_H
#define SENTRY_FS_CGROUP_INTERNAL_H

#include "sentry/fs/treefs.h"
#include "sentry/kernel/cgroup/cgroup.h"

/* The group, referenced. -ENODEV. */
int cgroupfs_get(uint64_t key, struct cgroup **ret);

/* files.c: what every group has; what all but the root have; what the controllers add. */
#define CGROUPFS_ROOT_FILES 8
#define CGROUPFS_FILES      12
#define CGROUPFS_CONTROLLED 9
extern const struct tree_node cgroupfs_root_files[CGROUPFS_ROOT_FILES];
extern const struct tree_node cgroupfs_files[CGROUPFS_FILES];
struct cgroupfs_controlled {
    uint32_t controller; /* CGROUP_MEMORY... */
    bool on_root;
    struct tree_node node;
};
extern const struct cgroupfs_controlled cgroupfs_controlled[CGROUPFS_CONTROLLED];

void cgroupfs_get_attr(uint64_t key, int aspect, uint32_t *ret_mode, uint32_t *ret_uid,
                       uint32_t *ret_gid);
int cgroupfs_set_attr(uint64_t key, int aspect, const struct inode_attr *attr);

/* members.c: cgroup.procs and cgroup.threads */
ssize_t cgroupfs_procs_text(uint64_t key, char *buf, size_t size);
ssize_t cgroupfs_threads_text(uint64_t key, char *buf, size_t size);
int cgroupfs_procs_write(uint64_t key, const char *text, size_t size);
int cgroupfs_threads_write(uint64_t key, const char *text, size_t size);

/* events.c: files that poll(2) tells changes of */
int cgroupfs_events_open(uint64_t key, uint32_t flags, struct file **ret);
int cgroupfs_pids_events_open(uint64_t key, uint32_t flags, struct file **ret);
int cgroupfs_pids_events_local_open(uint64_t key, uint32_t flags, struct file **ret);

#endif
