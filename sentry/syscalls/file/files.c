#include "sentry/syscalls/file/files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "sentry/mm/usercopy.h"
#include "sentry/vfs/lock/lease.h"

struct file *task_file(struct task *task, int fd)
{
    unsigned lent = (unsigned)fd - (unsigned)TASK_FD_LENT;
    struct file *file;

    if (unlikely(lent < ARRAY_COUNT(task->lent)))
        return task->lent[lent] ? file_ref(task->lent[lent]) : NULL;
    file = fdtable_get(task->files, fd);
    if (file && (file->flags & O_PATH))
        file = file_unref(file);
    return file;
}

int task_install(struct task *task, struct file *file, int min, bool cloexec)
{
    uint64_t limit = task_rlimit(task, RLIMIT_NOFILE);
    int fd = fdtable_install(task->files, file, min, limit, cloexec);

    if (fd < 0)
        file_unref(file);
    return fd;
}

static int get(struct task *task, int dirfd, uaddr_t name, bool empty_ok, bool always,
               struct at_path *ret)
{
    ssize_t n;

    ret->dir = NULL;
    ret->start = NULL;
    n = strncpy_from_user(task->mm, ret->name, name, sizeof(ret->name));
    if (n < 0)
        return (int)n;
    if (n == 0 && !empty_ok)
        return -ENOENT;
    if (dirfd == AT_FDCWD || (ret->name[0] == '/' && !always))
        return 0;
    ret->dir = fdtable_get(task->files, dirfd);
    if (!ret->dir)
        return -EBADF;
    ret->start = &ret->dir->at;
    if (n > 0 && (!ret->dir->at.dentry || inode_type(ret->dir->at.dentry->inode) != S_IFDIR)) {
        at_path_put(ret);
        return -ENOTDIR;
    }
    return 0;
}

int at_path_get(struct task *task, int dirfd, uaddr_t name, bool empty_ok, struct at_path *ret)
{
    return get(task, dirfd, name, empty_ok, false, ret);
}

int at_path_get_start(struct task *task, int dirfd, uaddr_t name, struct at_path *ret)
{
    return get(task, dirfd, name, false, true, ret);
}

void at_path_put(struct at_path *at)
{
    at->dir = file_unref(at->dir);
}

int at_path_walk(struct task *task, int dirfd, uaddr_t name, unsigned flags,
                 struct walk_result *ret)
{
    struct at_path at;
    int err;

    err = at_path_get(task, dirfd, name, flags & WALK_EMPTY, &at);
    if (err < 0)
        return err;
    if (at.name[0] == '\0' && at.dir && !at.dir->at.dentry)
        /* A pipe, stdio: it has no place, it is itself. */
        *ret = (struct walk_result){.file = file_ref(at.dir)};
    else
        err = path_walk(task->fs, at.start, at.name, flags, ret);
    at_path_put(&at);
    return err;
}

struct lease_sleeper {
    struct lease_waiter waiter;
    struct task *task;
};

static void wake_sleeper(struct lease_waiter *w)
{
    waiter_wake(&container_of(w, struct lease_sleeper, waiter)->task->waiter);
}

int lease_wait(struct task *task, const struct lease_attempt *a)
{
    struct lease_sleeper sleeper = {.waiter.wake = wake_sleeper, .task = task};
    uint64_t deadline_ns;
    int err = -EAGAIN;

    waiter_reset(&task->waiter);
    deadline_ns = lease_wait_begin(&sleeper.waiter, a);
    if (deadline_ns == 0)
        err = 0;
    else if (deadline_ns != UINT64_MAX)
        err = task_block(task, deadline_ns);
    lease_wait_end(&sleeper.waiter);
    return err == -ETIMEDOUT ? 0 : err;
}

int file_wait_until(struct task *task, struct file *file, uint32_t events, uint64_t deadline_ns)
{
    struct wait_entry entry;
    uint32_t now;
    int err = 0;

    events |= POLLERR | POLLHUP;
    wait_entry_init(&entry, &task->waiter, events);
    now = file_poll(file, &entry);
    if (!(now & events))
        err = task_block(task, deadline_ns);
    file_unpoll(file, &entry);
    return err;
}

int file_wait(struct task *task, struct file *file, uint32_t events)
{
    return file_wait_until(task, file, events, UINT64_MAX);
}
