#include "host/change.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The name of a descriptor in /proc/self/fd, which is the working directory: the object itself. */
struct fd_name {
    char text[16];
};

static struct fd_name name_of(int fd)
{
    struct fd_name name;

    snprintf(name.text, sizeof(name.text), "%d", fd);
    return name;
}

static int result(long r)
{
    return r < 0 ? -errno : (int)r;
}

void host_clear_umask(void)
{
    umask(0);
}

int host_enter_proc_fds(int proc_fds)
{
    return result(fchdir(proc_fds));
}

int host_make_file(int dir, const char *name, uint32_t mode)
{
    return result(openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
}

int host_make_unnamed(int dir, uint32_t mode)
{
    return result(openat(AT_FDCWD, name_of(dir).text, O_RDWR | O_TMPFILE | O_CLOEXEC, mode));
}

int host_make_directory(int dir, const char *name, uint32_t mode)
{
    return result(mkdirat(dir, name, mode));
}

int host_make_node(int dir, const char *name, uint32_t mode)
{
    return result(mknodat(dir, name, mode, 0));
}

int host_make_symlink(int dir, const char *name, const char *target)
{
    return result(symlinkat(target, dir, name));
}

int host_link_fd(int fd, int dir, const char *name)
{
    return result(linkat(AT_FDCWD, name_of(fd).text, dir, name, AT_SYMLINK_FOLLOW));
}

int host_remove(int dir, const char *name, int flags)
{
    return result(unlinkat(dir, name, flags));
}

int host_rename(int dir, const char *name, int new_dir, const char *new_name, unsigned flags)
{
    return result(syscall(SYS_renameat2, dir, name, new_dir, new_name, flags));
}

int host_reopen_for(int fd, int flags)
{
    return result(openat(AT_FDCWD, name_of(fd).text,
                         (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

int host_connect_fd(int fd, int type)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int made = result(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), err;

    if (made < 0)
        return made;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", name_of(fd).text);
    err = result(connect(made, (const struct sockaddr *)&addr, sizeof(addr)));
    if (err < 0) {
        close(made);
        return err;
    }
    return made;
}

int host_chmod_fd(int fd, uint32_t mode)
{
    return result(fchmodat(AT_FDCWD, name_of(fd).text, mode, 0));
}

int host_chown_fd(int fd, uint32_t uid, uint32_t gid)
{
    return result(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

int host_set_times_fd(int fd, const struct timespec times[2])
{
    return result(syscall(SYS_utimensat, fd, "", times, AT_EMPTY_PATH));
}

int host_truncate(int fd, uint64_t size)
{
    return result(ftruncate(fd, (off_t)size));
}

int host_allocate(int fd, int mode, uint64_t offset, uint64_t size)
{
    return result(fallocate(fd, mode, (off_t)offset, (off_t)size));
}

int host_get_file_flags(int fd, uint32_t *ret)
{
    return result(ioctl(fd, FS_IOC_GETFLAGS, ret));
}

int host_set_file_flags(int fd, uint32_t flags)
{
    return result(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

ssize_t host_getxattr_fd(int fd, const char *name, void *buf, size_t size)
{
    ssize_t n = getxattr(name_of(fd).text, name, buf, size);

    return n < 0 ? -errno : n;
}

ssize_t host_listxattr_fd(int fd, char *buf, size_t size)
{
    ssize_t n = listxattr(name_of(fd).text, buf, size);

    return n < 0 ? -errno : n;
}

int host_setxattr_fd(int fd, const char *name, const void *value, size_t size, int flags)
{
    return result(setxattr(name_of(fd).text, name, value, size, flags));
}

int host_removexattr_fd(int fd, const char *name)
{
    return result(removexattr(name_of(fd).text, name));
}
