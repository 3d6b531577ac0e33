/* tmpfs(5): a writable tree in memory, for /tmp, /dev/shm and the like. */
#ifndef SENTRY_FS_TMPFS_TMPFS_H
#define SENTRY_FS_TMPFS_TMPFS_H

#include "base/compiler.h"

struct memfile;
struct fs_setup;
struct super_block;

struct tmpfs_config {
    struct memfile *memfile; /* borrowed: outlives the file system */
    uint32_t mode;           /* permissions of the root */
    uint32_t uid, gid;       /* its owner */
    uint64_t size_limit;     /* bytes of all its files */
    uint64_t inode_limit;
    uint32_t dev_minor; /* tells instances apart in st_dev */
    bool takes_minor;   /* and is super_give_minor()'s at the end */
    /* Limits that /proc/mounts does not show; 0: it shows none. */
    uint64_t default_size, default_inodes;
};

/* A limit of 0: as much as there is. -ENOMEM. */
int tmpfs_create(const struct tmpfs_config *config, struct super_block **ret);

/* tmpfs(5)'s options, as fs_type.option. */
int tmpfs_option(struct fs_setup *setup, const char *key, const char *value);

#endif
