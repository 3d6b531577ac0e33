/*
 * Leases on files: F_SETLEASE of fcntl(2); fs/locks.c of Linux. Whoever opens or cuts a file in a
 * way that a lease forbids waits until its holder has given it back, or its time is up.
 *
 * Kept by device and inode number, like locks (filelock.h). While there is none at all, an open
 * costs one load. One lock guards them all.
 */
#ifndef SENTRY_VFS_LEASE_H
#define SENTRY_VFS_LEASE_H

#include "sentry/vfs/file.h"

extern uint32_t lease_break_seconds; /* /proc/sys/fs/lease-break-time; atomic */
extern uint32_t lease_count;         /* atomic */

/*
 * F_RDLCK, F_WRLCK, F_UNLCK. `pid`: whose it is said to be. `broken` is called under the lock when
 * somebody wants the file: short. -EACCES, -EINVAL, -EAGAIN, -ENOMEM.
 */
int lease_set(struct file *f, int type, int32_t pid, void (*broken)(struct file *f));
/* What /proc/locks tells: the first `count` of them; how many there are. */
struct lease_view {
    uint64_t dev, ino;
    int32_t pid;
    int type;      /* what it is, or is to become */
    bool breaking; /* somebody wants the file */
};
size_t lease_list(struct lease_view *views, size_t count);
/* F_GETLEASE: what it is, or is to become. */
int lease_get(const struct file *f);
/* `f` goes. */
void lease_released(const struct file *f);

int lease_break_slowly(const struct inode *inode, bool write);
/* For open(2) and truncate(2). -EAGAIN: the holder has been told; wait, and come again. */
static inline int lease_break(const struct inode *inode, bool write)
{
    return unlikely(__atomic_load_n(&lease_count, __ATOMIC_RELAXED) > 0)
               ? lease_break_slowly(inode, write)
               : 0;
}

/* Somebody who waits for leases to go. */
struct lease_waiter {
    struct list node;
    void (*wake)(struct lease_waiter *w); /* under the lock: short */
};
/*
 * One call of this thread that opens or cuts a file, however often it has to come again. As long as
 * it wants to write, a lease that is in its way becomes none for reading.
 */
struct lease_attempt {
    uint64_t seen; /* how often leases had changed */
    uint64_t dev, ino;
    bool counted; /* as a writer of that file */
};
void lease_attempt_begin(struct lease_attempt *a);
void lease_attempt_end(struct lease_attempt *a);
/* Before each try. */
void lease_attempt_again(struct lease_attempt *a);
/*
 * Until lease_wait_end(), `w` is told of each change. The host's CLOCK_MONOTONIC at which the next
 * lease ends by itself; 0: there was a change since the try; UINT64_MAX: nobody's is being broken.
 */
uint64_t lease_wait_begin(struct lease_waiter *w, const struct lease_attempt *a);
void lease_wait_end(struct lease_waiter *w);

#endif
