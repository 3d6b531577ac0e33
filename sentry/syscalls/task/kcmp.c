/*
 * kcmp(2): whether two processes share an object of the kernel's. The order that it gives is of
 * numbers that say nothing about where the objects are.
 */
#include <errno.h>
#include <linux/kcmp.h>

#include "host/io.h"
#include "sentry/fs/event/epoll.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

/* 0: the same; 1, 2: less, greater, in an order that lasts as long as the sandbox. */
static long compare(struct kernel *kernel, const void *a, const void *b)
{
    static uint64_t secret[2]; /* under kernel->lock; 0: not chosen yet */
    uint64_t x, y;

    lock_acquire(&kernel->lock);
    if (!secret[1] && host_random(secret, sizeof(secret)) < 0)
        secret[0] = (uintptr_t)secret;
    secret[1] |= 1;
    x = ((uintptr_t)a ^ secret[0]) * secret[1];
    y = ((uintptr_t)b ^ secret[0]) * secret[1];
    lock_release(&kernel->lock);
    return x < y ? 1 : x > y ? 2 : 0;
}

static struct file *file_of(struct task *task, uint64_t fd)
{
    struct fdtable *files = task_get_files(task);
    struct file *file = files && fd <= INT32_MAX ? fdtable_get(files, (int)fd) : NULL;

    fdtable_unref(files);
    return file;
}

static long compare_files(struct task *a, uint64_t fd_a, struct task *b, uint64_t fd_b)
{
    struct file *x = file_of(a, fd_a), *y = file_of(b, fd_b);
    long result = x && y ? compare(a->kernel, x, y) : -EBADF;

    file_unref(x);
    file_unref(y);
    return result;
}

/* A file against one that an epoll file of the other task watches. */
static long compare_watched(struct task *task, struct task *a, uint64_t fd, struct task *b,
                            uaddr_t slot_ptr)
{
    struct kcmp_epoll_slot slot;
    const struct file *watched = NULL;
    struct file *file, *epoll;
    long result = -EBADF;

    if (copy_struct_from_user(task->mm, &slot, slot_ptr) < 0)
        return -EFAULT;
    file = file_of(a, fd);
    if (!file)
        return -EBADF;
    epoll = file_of(b, slot.efd);
    if (epoll)
        result =
            epoll_is(epoll) ? epoll_watched(epoll, (int)slot.tfd, slot.toff, &watched) : -EINVAL;
    if (result == 0)
        result = compare(task->kernel, file, watched);
    file_unref(epoll);
    file_unref(file);
    return result;
}

/* What CLONE_VM and its kin share. The pointers are compared, not followed. */
static long compare_objects(struct task *a, struct task *b, int type)
{
    const void *x = NULL, *y = NULL;

    switch (type) {
    case KCMP_VM:
        x = a->mm;
        y = b->mm;
        break;
    case KCMP_FILES:
        x = a->files;
        y = b->files;
        break;
    case KCMP_FS:
        x = a->fs;
        y = b->fs;
        break;
    case KCMP_SIGHAND:
        x = a->process->sighand;
        y = b->process->sighand;
        break;
    case KCMP_SYSVSEM:
        x = a->sem_undo;
        y = b->sem_undo;
        break;
    default: /* KCMP_IO: nobody has an I/O context of its own */
        break;
    }
    return compare(a->kernel, x, y);
}

static long compare_tasks(struct task *task, struct task *a, struct task *b, int type,
                          const uint64_t idx[2])
{
    if (ptrace_may_access(task, a, PTRACE_ATTACH_REALCREDS) < 0 ||
        ptrace_may_access(task, b, PTRACE_ATTACH_REALCREDS) < 0)
        return -EPERM;
    if (type < 0 || type >= KCMP_TYPES)
        return -EINVAL;
    if (type == KCMP_FILE)
        return compare_files(a, idx[0], b, idx[1]);
    if (type == KCMP_EPOLL_TFD)
        return compare_watched(task, a, idx[0], b, idx[1]);
    return compare_objects(a, b, type);
}

SYSCALL_DEFINE5(kcmp, int, pid1, int, pid2, int, type, uint64_t, idx1, uint64_t, idx2)
{
    struct task *a = task_lookup(task, pid1), *b = task_lookup(task, pid2);
    long result = -ESRCH;

    if (a && b)
        result = compare_tasks(task, a, b, type, (uint64_t[]){idx1, idx2});
    task_unref(a);
    task_unref(b);
    return result;
}
