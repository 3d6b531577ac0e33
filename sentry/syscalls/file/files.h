/*
 * What the calls on files share: from a number to an open file, from a guest's string to a place in
 * the tree, and waiting for a file that said would-block.
 */
#ifndef SENTRY_SYSCALLS_FILES_H
#define SENTRY_SYSCALLS_FILES_H

#include <limits.h>

#include "sentry/kernel/syscall.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/path/namei.h"

struct lease_attempt;

/* A reference; NULL: EBADF. With O_PATH files excluded, as most calls want it. */
struct file *task_file(struct task *task, int fd);
/* Installs at the lowest free number; drops the file when there is none. The number or -errno. */
int task_install(struct task *task, struct file *file, int min, bool cloexec);

/* A path argument: the guest's string, and where it starts when it is relative. */
struct at_path {
    char name[PATH_MAX];
    struct file *dir;         /* owned; NULL: the working directory */
    const struct path *start; /* for path_walk() */
};
/*
 * Copies the string and looks `dirfd` up if that matters. EFAULT, ENAMETOOLONG, EBADF, ENOTDIR. An
 * empty string is left to path_walk(); with `empty_ok` dirfd may then be any file.
 */
int at_path_get(struct task *task, int dirfd, uaddr_t name, bool empty_ok, struct at_path *ret);
/* The same, where an absolute path begins at `dirfd` as well: RESOLVE_IN_ROOT. */
int at_path_get_start(struct task *task, int dirfd, uaddr_t name, struct at_path *ret);
void at_path_put(struct at_path *at);
/* at_path_get() and path_walk() in one; WALK_EMPTY in the flags is AT_EMPTY_PATH. */
int at_path_walk(struct task *task, int dirfd, uaddr_t name, unsigned flags,
                 struct walk_result *ret);

/* One read or write in progress. */
struct task_transfer {
    struct task *task;
    struct file *file;
    struct uio *uio;
    bool write;
    int flags;       /* RWF_* */
    bool positioned; /* at `pos`, not at the file's position */
    int64_t pos;
};
/*
 * Moves bytes as read(2) and write(2) do: waits, unless the file or RWF_NOWAIT says not to; raises
 * SIGPIPE. Bytes, -errno, or a restart code.
 */
ssize_t task_transfer(struct task_transfer *t);
/* write(2) without its checks of the descriptor: waits, raises SIGPIPE. Bytes, or what write says.
 */
ssize_t task_write(struct task *task, struct file *file, struct uio *uio);
/*
 * Waits until one of `events` (POLL* bits; POLLERR and POLLHUP always count) may hold: 0, or
 * -ERESTARTSYS when a signal came.
 */
int file_wait(struct task *task, struct file *file, uint32_t events);
/* Until CLOCK_MONOTONIC `deadline_ns` of the host at the latest: then -ETIMEDOUT. */
int file_wait_until(struct task *task, struct file *file, uint32_t events, uint64_t deadline_ns);

/* fallocate(2) on a file: vfs_fallocate(). */
int file_allocate(struct task *task, struct file *file, int mode, int64_t offset, int64_t size);

/*
 * After -EAGAIN of an open or truncate, an attempt of which is `a` (sentry/vfs/lock/lease.h): waits
 * for a lease to go. 0: come again; else the answer.
 */
int lease_wait(struct task *task, const struct lease_attempt *a);

#endif
