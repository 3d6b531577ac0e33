/*
 * Extended attributes (xattr(7)): there are none so far. Reading finds nothing, and changing ends
 * in EROFS as all changes of the tree do; what Linux checks before that is checked here as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <string.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/files.h"

/* 0 if the object is there. */
static int find_path(struct task *task, uaddr_t path, unsigned walk_flags)
{
    struct walk_result found;
    int err = at_path_walk(task, AT_FDCWD, path, walk_flags, &found);

    if (err == 0)
        walk_result_unref(&found);
    return err;
}

static int find_fd(struct task *task, int fd)
{
    struct file *file = task_file(task, fd);

    if (!file)
        return -EBADF;
    file_unref(file);
    return 0;
}

/* fs/xattr.c:import_xattr_name(); -EOPNOTSUPP for a name space that no file system has. */
static int check_name(struct task *task, uaddr_t name)
{
    static const char *const spaces[] = {XATTR_USER_PREFIX, XATTR_TRUSTED_PREFIX,
                                         XATTR_SECURITY_PREFIX, XATTR_NAME_POSIX_ACL_ACCESS,
                                         XATTR_NAME_POSIX_ACL_DEFAULT};
    char text[XATTR_NAME_MAX + 1];
    ssize_t size = strncpy_from_user(task->mm, text, name, sizeof(text));

    if (size == 0 || size == -ENAMETOOLONG)
        return -ERANGE;
    if (size < 0)
        return (int)size;
    for (size_t i = 0; i < ARRAY_COUNT(spaces); i++) {
        if (strncmp(text, spaces[i], strlen(spaces[i])) == 0)
            return 0;
    }
    return -EOPNOTSUPP;
}

/* `found` is what looking for the object said. */
static long get_attribute(struct task *task, int found, uaddr_t name)
{
    int err = check_name(task, name);

    /* Linux copies the name first; only an unknown name space waits for the object. */
    if (err < 0 && err != -EOPNOTSUPP)
        return err;
    if (found < 0)
        return found;
    return err < 0 ? err : -ENODATA;
}

static long change_attribute(struct task *task, int found, uaddr_t name)
{
    int err = check_name(task, name);

    if (err < 0 && err != -EOPNOTSUPP)
        return err;
    return found < 0 ? found : -EROFS;
}

/* fs/xattr.c:setxattr_copy() */
static int check_value(uaddr_t value, size_t size, int flags)
{
    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    return value && size > XATTR_SIZE_MAX ? -E2BIG : 0;
}

SYSCALL_DEFINE2(getxattr, uaddr_t, path, uaddr_t, name)
{
    return get_attribute(task, find_path(task, path, WALK_FOLLOW), name);
}

SYSCALL_DEFINE2(lgetxattr, uaddr_t, path, uaddr_t, name)
{
    return get_attribute(task, find_path(task, path, 0), name);
}

SYSCALL_DEFINE2(fgetxattr, int, fd, uaddr_t, name)
{
    return get_attribute(task, find_fd(task, fd), name);
}

SYSCALL_DEFINE1(listxattr, uaddr_t, path)
{
    return find_path(task, path, WALK_FOLLOW);
}

SYSCALL_DEFINE1(llistxattr, uaddr_t, path)
{
    return find_path(task, path, 0);
}

SYSCALL_DEFINE1(flistxattr, int, fd)
{
    return find_fd(task, fd);
}

SYSCALL_DEFINE5(setxattr, uaddr_t, path, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
    int err = check_value(value, size, flags);

    return err < 0 ? err : change_attribute(task, find_path(task, path, WALK_FOLLOW), name);
}

SYSCALL_DEFINE5(lsetxattr, uaddr_t, path, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
    int err = check_value(value, size, flags);

    return err < 0 ? err : change_attribute(task, find_path(task, path, 0), name);
}

SYSCALL_DEFINE5(fsetxattr, int, fd, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
    int err = check_value(value, size, flags);

    return err < 0 ? err : change_attribute(task, find_fd(task, fd), name);
}

SYSCALL_DEFINE2(removexattr, uaddr_t, path, uaddr_t, name)
{
    return change_attribute(task, find_path(task, path, WALK_FOLLOW), name);
}

SYSCALL_DEFINE2(lremovexattr, uaddr_t, path, uaddr_t, name)
{
    return change_attribute(task, find_path(task, path, 0), name);
}

SYSCALL_DEFINE2(fremovexattr, int, fd, uaddr_t, name)
{
    return change_attribute(task, find_fd(task, fd), name);
}
