/*
 * Locks on files: flock(2), POSIX and open-file-description locks (fcntl(2)); fs/locks.c of Linux.
 *
 *   kind         owner                 goes when
 *   LOCK_FLOCK   the open file         its last descriptor is closed
 *   LOCK_OFD     the open file         likewise
 *   LOCK_POSIX   the descriptor table  any descriptor of the file is closed in it
 *
 * flock's locks and the other two kinds do not see each other. All are kept by the object's device
 * and inode number, so names and file systems do not matter. One lock guards them all, innermost
 * but for memory allocation.
 */
#ifndef SENTRY_VFS_FILELOCK_H
#define SENTRY_VFS_FILELOCK_H

#include "base/list.h"

struct file;

enum lock_kind { LOCK_FLOCK, LOCK_POSIX, LOCK_OFD };

struct lock_request {
    enum lock_kind kind;
    int type;           /* F_RDLCK, F_WRLCK, F_UNLCK */
    int64_t start, end; /* bytes, inclusive; INT64_MAX: to the end of all files */
    const void *owner;  /* struct fdtable (LOCK_POSIX) or struct file */
    int32_t pid;        /* what F_GETLK tells others */
};

/* Somebody who waits for a lock; not to be copied. */
struct lock_waiter {
    void (*wake)(struct lock_waiter *w); /* called under the lock: short */
    struct list node;                    /* the rest is filelock.c's */
    struct lock_context *context;
    const void *owner, *blocker;
    struct lock_request wanted;
    const struct lock_request *in_the_way; /* only compared */
};

void lock_waiter_init(struct lock_waiter *w, void (*wake)(struct lock_waiter *w));
/*
 * Takes, changes or gives back a lock. -EAGAIN: it is in somebody's way; then `w`, unless NULL,
 * will be woken when that may have changed, until filelock_unwait(). -EDEADLK: who is in the way
 * waits for us, directly or not (LOCK_POSIX with `w`). -ENOLCK, -ENOMEM.
 */
int filelock_set(struct file *f, const struct lock_request *request, struct lock_waiter *w);
void filelock_unwait(struct lock_waiter *w);
/* F_GETLK: a lock that would be in the way of `request`, in *ret_lock (pid -1: LOCK_OFD); or false.
 */
bool filelock_test(struct file *f, const struct lock_request *request,
                   struct lock_request *ret_lock);

/* A lock that is held or, `waiting`, wanted by somebody: then behind the one that is in the way. */
struct lock_view {
    struct lock_request is;
    uint64_t dev, ino;
    bool waiting;
};
/* The first `count` of all of them; how many there are. */
size_t filelock_list(struct lock_view *views, size_t count);

/* A descriptor of `f` was closed in `table`; not the last thing that happens to f. */
void filelock_closed(struct file *f, const void *table);
/* `f` goes. */
void filelock_released(struct file *f);

#endif
