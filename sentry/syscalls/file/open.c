/* Opening and closing: open(2), close(2), close_range(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <sys/resource.h>

#include "sentry/fs/pipe/fifo.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/kernel/ctty.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/path/open.h"

/* fifo(7): an end that is opened waits for the other side. */
static int wait_for_peer(struct task *task, struct file *file)
{
    struct wait_entry entry;
    bool connected;
    int err;

    do {
        wait_entry_init(&entry, &task->waiter, 0);
        file_poll(file, &entry);
        connected = fifo_connected(file);
        err = connected ? 0 : task_block(task, UINT64_MAX);
        file_unpoll(file, &entry);
    } while (!err && !connected);
    return err;
}

static long open_within(struct task *task, int dirfd, uaddr_t name, uint32_t flags, uint32_t mode,
                        unsigned walk_flags)
{
    struct at_path at;
    struct file *file;
    struct lease_attempt attempt;
    int err;

    /* The start of an absolute path matters when it is to be the root. */
    err = walk_flags & WALK_IN_ROOT ? at_path_get_start(task, dirfd, name, &at)
                                    : at_path_get(task, dirfd, name, false, &at);
    if (err < 0)
        return err;
    if (fdtable_full(task->files, task_rlimit(task, RLIMIT_NOFILE))) {
        at_path_put(&at);
        return -EMFILE;
    }
    lease_attempt_begin(&attempt);
    do {
        lease_attempt_again(&attempt);
        err = vfs_open_within(task->fs, at.start, at.name, flags, mode, walk_flags, &file);
        if (err != -EAGAIN || (flags & O_NONBLOCK))
            break;
        err = lease_wait(task, &attempt);
    } while (err == 0);
    lease_attempt_end(&attempt);
    at_path_put(&at);
    if (!err && !(flags & O_NONBLOCK) && pipe_is(file) && file->at.dentry) {
        err = wait_for_peer(task, file);
        if (err < 0)
            file_unref(file);
    }
    if (err < 0)
        return err;
    if (file->terminal && !(flags & O_NOCTTY))
        ctty_opened(task, file);
    return task_install(task, file, 0, flags & O_CLOEXEC);
}

static long do_open(struct task *task, int dirfd, uaddr_t name, uint32_t flags, uint32_t mode)
{
    return open_within(task, dirfd, name, flags, mode, 0);
}

SYSCALL_DEFINE3(open, uaddr_t, path, int, flags, uint32_t, mode)
{
    return do_open(task, AT_FDCWD, path, (uint32_t)flags, mode);
}

SYSCALL_DEFINE4(openat, int, dirfd, uaddr_t, path, int, flags, uint32_t, mode)
{
    return do_open(task, dirfd, path, (uint32_t)flags, mode);
}

SYSCALL_DEFINE2(creat, uaddr_t, path, uint32_t, mode)
{
    return do_open(task, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

#define OPEN_HOW_SIZE_VER0 24UL

/* open_how of any size: what we do not know must be zero (openat2(2), "Extensibility"). */
static int copy_open_how(struct task *task, uaddr_t how, size_t size, struct open_how *ret)
{
    int err;

    static_assert(sizeof(*ret) == OPEN_HOW_SIZE_VER0, "struct open_how");
    if (size < OPEN_HOW_SIZE_VER0)
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    err = check_zero_from_user(task->mm, how, OPEN_HOW_SIZE_VER0, size);
    return err < 0 ? err : copy_struct_from_user(task->mm, ret, how);
}

static unsigned walk_flags_of(uint64_t resolve)
{
    static const struct {
        uint64_t resolve;
        unsigned walk;
    } pairs[] = {
        {RESOLVE_NO_XDEV, WALK_NO_XDEV},         {RESOLVE_NO_MAGICLINKS, WALK_NO_MAGICLINKS},
        {RESOLVE_NO_SYMLINKS, WALK_NO_SYMLINKS}, {RESOLVE_BENEATH, WALK_BENEATH},
        {RESOLVE_IN_ROOT, WALK_IN_ROOT},         {RESOLVE_CACHED, WALK_CACHED},
    };
    unsigned flags = 0;

    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        flags |= resolve & pairs[i].resolve ? pairs[i].walk : 0;
    return flags;
}

SYSCALL_DEFINE4(openat2, int, dirfd, uaddr_t, path, uaddr_t, how_addr, size_t, size)
{
    const uint64_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                           O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT | 0100000 /* O_LARGEFILE */ |
                           O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
    struct open_how how;
    int err = copy_open_how(task, how_addr, size, &how);

    if (err < 0)
        return err;
    if ((how.flags & ~known) || how.resolve & ~(uint64_t)0x3f)
        return -EINVAL;
    if (how.mode && !(how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))))
        return -EINVAL;
    if (how.mode & ~07777UL)
        return -EINVAL;
    if ((how.flags & O_PATH) &&
        (how.flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
        return -EINVAL;
    if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT))
        return -EINVAL;
    if ((how.resolve & RESOLVE_CACHED) &&
        (how.flags & (O_TRUNC | O_CREAT | (O_TMPFILE & ~O_DIRECTORY))))
        return -EAGAIN;
    return open_within(task, dirfd, path, (uint32_t)how.flags, (uint32_t)how.mode,
                       walk_flags_of(how.resolve));
}

SYSCALL_DEFINE1(close, unsigned, fd)
{
    return fd > INT32_MAX ? -EBADF : fdtable_close(task->files, (int)fd);
}

SYSCALL_DEFINE3(close_range, unsigned, first, unsigned, last, unsigned, flags)
{
    if ((flags & ~(unsigned)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
        return -EINVAL;
    if ((flags & CLOSE_RANGE_UNSHARE) && fdtable_shared(task->files)) {
        struct fdtable *own;
        int err = fdtable_clone(task->files, &own);

        if (err < 0)
            return err;
        task_set_files(task, own);
    }
    return fdtable_close_range(task->files, first, last, flags & CLOSE_RANGE_CLOEXEC);
}
