/* Locks on files: flock(2), and fcntl(2)'s POSIX and open-file-description locks. */
#include "sentry/syscalls/file/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/lock/filelock.h"

/* A call that sleeps until a lock may be free. */
struct sleeper {
    struct lock_waiter lock;
    struct waiter *waiter;
};

static void wake_sleeper(struct lock_waiter *w)
{
    waiter_wake(container_of(w, struct sleeper, lock)->waiter);
}

static long set_and_wait(struct task *task, struct file *file, const struct lock_request *request,
                         bool wait)
{
    struct sleeper sleeper = {.waiter = &task->waiter};
    long err;

    do {
        lock_waiter_init(&sleeper.lock, wake_sleeper);
        err = filelock_set(file, request, wait ? &sleeper.lock : NULL);
        if (err != -EAGAIN || !wait)
            return err;
        err = task_block(task, UINT64_MAX);
        filelock_unwait(&sleeper.lock);
    } while (!err);
    return err;
}

SYSCALL_DEFINE2(flock, int, fd, unsigned, operation)
{
    static const int types[] = {[LOCK_SH] = F_RDLCK, [LOCK_EX] = F_WRLCK, [LOCK_UN] = F_UNLCK};
    unsigned which = operation & ~(unsigned)LOCK_NB;
    struct lock_request request = {.kind = LOCK_FLOCK, .end = INT64_MAX};
    struct file *file;
    long err;

    if (which != LOCK_SH && which != LOCK_EX && which != LOCK_UN)
        return -EINVAL;
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    request.type = types[which];
    request.owner = file;
    request.pid = task->process->pid;
    err = set_and_wait(task, file, &request, !(operation & LOCK_NB));
    file_unref(file);
    return err;
}

/* ---- fcntl ---------------------------------------------------------------------------------- */

/* Where l_start counts from. */
static int lock_base(struct file *file, int whence, int64_t *ret)
{
    struct linux_stat st;
    int64_t pos;
    int err = 0;

    switch (whence) {
    case SEEK_SET:
        *ret = 0;
        return 0;
    case SEEK_CUR:
        pos = file->ops->llseek ? file_llseek(file, 0, SEEK_CUR) : 0;
        *ret = MAX(pos, (int64_t)0);
        return 0;
    case SEEK_END:
        err = file_stat(file, &st);
        *ret = err ? 0 : st.st_size;
        return err;
    default:
        return -EINVAL;
    }
}

/* fs/locks.c:flock64_to_posix_lock() */
static int to_request(struct file *file, const struct flock *l, struct lock_request *ret)
{
    int64_t start, end = INT64_MAX;
    int err = lock_base(file, l->l_whence, &start);

    if (err < 0)
        return err;
    if (__builtin_add_overflow(start, (int64_t)l->l_start, &start))
        return l->l_start > 0 ? -EOVERFLOW : -EINVAL;
    if (start < 0)
        return -EINVAL;
    if (l->l_len > 0 && __builtin_add_overflow(start, (int64_t)l->l_len - 1, &end))
        return -EOVERFLOW;
    if (l->l_len < 0) {
        if (start + l->l_len < 0)
            return -EINVAL;
        end = start - 1;
        start += l->l_len;
    }
    if (l->l_type != F_RDLCK && l->l_type != F_WRLCK && l->l_type != F_UNLCK)
        return -EINVAL;
    ret->type = l->l_type;
    ret->start = start;
    ret->end = end;
    return 0;
}

static long get_lock(struct task *task, struct file *file, const struct lock_request *request,
                     struct flock *l, uaddr_t arg)
{
    struct lock_request found;

    if (request->kind == LOCK_POSIX && request->type == F_UNLCK)
        return -EINVAL;
    if (filelock_test(file, request, &found)) {
        l->l_type = (short)found.type;
        l->l_whence = SEEK_SET;
        l->l_start = found.start;
        l->l_len = found.end == INT64_MAX ? 0 : found.end - found.start + 1;
        l->l_pid = found.kind == LOCK_OFD ? -1 : found.pid;
    } else {
        l->l_type = F_UNLCK;
    }
    return copy_struct_to_user(task->mm, arg, l);
}

static long set_lock(struct task *task, int fd, struct file *file, struct lock_request *request,
                     bool wait)
{
    struct file *now;
    long err;

    if ((request->type == F_RDLCK && !file_can_read(file)) ||
        (request->type == F_WRLCK && !file_can_write(file)))
        return -EBADF;
    err = set_and_wait(task, file, request, wait);
    if (err || request->kind != LOCK_POSIX || request->type == F_UNLCK)
        return err;
    /* Another thread may have closed the descriptor in between, and that close would have missed
     * it. */
    now = fdtable_get(task->files, fd);
    if (now != file) {
        request->type = F_UNLCK;
        filelock_set(file, request, NULL);
        err = -EBADF;
    }
    file_unref(now);
    return err;
}

long lock_control(struct task *task, int fd, struct file *file, unsigned cmd, uaddr_t arg)
{
    bool ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
    struct lock_request request = {
        .kind = ofd ? LOCK_OFD : LOCK_POSIX,
        .owner = ofd ? (const void *)file : task->files,
        .pid = task->process->pid,
    };
    struct flock l;
    int err;

    static_assert(sizeof(l) == 32, "struct flock");
    if (copy_struct_from_user(task->mm, &l, arg) < 0)
        return -EFAULT;
    if (cmd == F_GETLK && l.l_type != F_RDLCK && l.l_type != F_WRLCK)
        return -EINVAL;
    err = to_request(file, &l, &request);
    if (err < 0)
        return err;
    if (ofd && l.l_pid != 0)
        return -EINVAL;
    if (cmd == F_GETLK || cmd == F_OFD_GETLK)
        return get_lock(task, file, &request, &l, arg);
    return set_lock(task, fd, file, &request, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
}
