#include "host/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/news.h"

int host_open_root(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int host_lock_folder(const char *path)
{
    int folder, fd, err = 0;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    fd = openat(folder, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        err = -errno;
    close(folder);
    if (err < 0 && fd >= 0)
        close(fd);
    return err < 0 ? err : fd;
}

int host_open_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    return fd < 0 ? -errno : fd;
}

int host_open_beneath(int dirfd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    /* EAGAIN: a rename ran beside us and the kernel could not tell whether the path stayed inside.
     */
    do {
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
    } while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return fd < 0 ? -errno : (int)fd;
}

int host_open_proc_fds(void)
{
    int fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int host_reopen(int proc_fds, int fd)
{
    char name[16];
    int copy;

    snprintf(name, sizeof(name), "%d", fd);
    copy = openat(proc_fds, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return copy < 0 ? -errno : copy;
}

int host_fd_name(int fd, char *buf, size_t size)
{
    char link[32];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, buf, size - 1);
    if (n < 0)
        return -errno;
    buf[n] = '\0';
    return 0;
}

ssize_t host_readlink_fd(int fd, char *buf, size_t size)
{
    ssize_t n = readlinkat(fd, "", buf, size);

    return n < 0 ? -errno : n;
}

int host_access_fd(int fd, int mode)
{
    /* Not through libc: before Linux 5.8 it would emulate the flags by looking at the mode bits. */
    long err = syscall(SYS_faccessat2, fd, "", mode, AT_EMPTY_PATH | AT_EACCESS);

    return err < 0 ? -errno : 0;
}

ssize_t host_getdents(int fd, void *buf, size_t size)
{
    long n = syscall(SYS_getdents64, fd, buf, size);

    host_news_note();
    return n < 0 ? -errno : n;
}

int host_close_range(unsigned first, unsigned last)
{
    return close_range(first, last, 0) < 0 ? -errno : 0;
}

int host_dup_over(int fd, int target)
{
    return dup3(fd, target, O_CLOEXEC) < 0 ? -errno : target;
}

int host_open_null(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}
