/* What many kinds of files tell alike by stat(2) and statfs(2). */
#ifndef SENTRY_VFS_PLAINSTAT_H
#define SENTRY_VFS_PLAINSTAT_H

#include <time.h>

#include "abi/stat.h"
#include "base/compiler.h"
#include "sentry/vfs/inode.h"

static inline void stat_set_times(struct linux_stat *st, const struct timespec *atime,
                                  const struct timespec *mtime, const struct timespec *ctime)
{
    st->st_atime_sec = (uint64_t)atime->tv_sec;
    st->st_atime_nsec = (uint64_t)atime->tv_nsec;
    st->st_mtime_sec = (uint64_t)mtime->tv_sec;
    st->st_mtime_nsec = (uint64_t)mtime->tv_nsec;
    st->st_ctime_sec = (uint64_t)ctime->tv_sec;
    st->st_ctime_nsec = (uint64_t)ctime->tv_nsec;
}

/* A file system without a device, of which there is no end (simple_statfs() of Linux). */
static inline struct linux_statfs statfs_of_memory(uint32_t magic)
{
    return (struct linux_statfs){
        .f_type = magic,
        .f_bsize = PAGE_SIZE,
        .f_frsize = PAGE_SIZE,
        .f_namelen = VFS_NAME_MAX,
    };
}

#endif
