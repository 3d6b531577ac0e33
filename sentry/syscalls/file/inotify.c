/* inotify(7): inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2). */
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sentry/fs/event/inotify.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/attr/permission.h"

#define ALL_BITS                                                                                   \
    ((uint32_t)(IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR |             \
                IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_ADD | IN_MASK_CREATE | IN_ISDIR) |       \
     IN_ONESHOT)

static long create(struct task *task, int flags)
{
    struct file *file;
    int err;

    if (flags & ~(IN_CLOEXEC | IN_NONBLOCK))
        return -EINVAL;
    err = inotify_create((uint32_t)flags & O_NONBLOCK, &file);
    return err ? err : task_install(task, file, 0, flags & IN_CLOEXEC);
}

SYSCALL_DEFINE0(inotify_init)
{
    return create(task, 0);
}

SYSCALL_DEFINE1(inotify_init1, int, flags)
{
    return create(task, flags);
}

static int add(struct task *task, struct file *file, uaddr_t path, uint32_t mask)
{
    unsigned walk =
        (mask & IN_DONT_FOLLOW ? 0 : WALK_FOLLOW) | (mask & IN_ONLYDIR ? WALK_DIRECTORY : 0);
    struct walk_result found;
    int err;

    if ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE))
        return -EINVAL;
    if (!inotify_is(file))
        return -EINVAL;
    err = at_path_walk(task, AT_FDCWD, path, walk, &found);
    if (err < 0)
        return err;
    err = found.file ? 0 : path_permission(&found.path, R_OK);
    if (!err)
        err = found.file ? inotify_add_file(file, found.file, mask)
                         : inotify_add(file, &found.path, mask);
    walk_result_unref(&found);
    return err;
}

SYSCALL_DEFINE3(inotify_add_watch, int, fd, uaddr_t, path, uint32_t, mask)
{
    struct file *file;
    int wd;

    if (!(mask & ALL_BITS))
        return -EINVAL;
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    wd = add(task, file, path, mask);
    file_unref(file);
    return wd;
}

SYSCALL_DEFINE2(inotify_rm_watch, int, fd, int, wd)
{
    struct file *file = task_file(task, fd);
    int err;

    if (!file)
        return -EBADF;
    err = inotify_is(file) ? inotify_remove(file, wd) : -EINVAL;
    file_unref(file);
    return err;
}
