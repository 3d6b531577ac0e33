#include "host/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "host/news.h"

uint64_t host_news_count;

ssize_t host_read(int fd, void *buf, size_t size)
{
    ssize_t n = read(fd, buf, size);

    host_news_note();
    return n < 0 ? -errno : n;
}

ssize_t host_write(int fd, const void *buf, size_t size)
{
    ssize_t n = write(fd, buf, size);

    host_news_note();
    return n < 0 ? -errno : n;
}

ssize_t host_pread(int fd, void *buf, size_t size, int64_t offset)
{
    ssize_t n = pread(fd, buf, size, offset);

    host_news_note();
    return n < 0 ? -errno : n;
}

ssize_t host_readv(int fd, const struct iovec *iov, int count)
{
    ssize_t n = readv(fd, iov, count);

    host_news_note();
    return n < 0 ? -errno : n;
}

ssize_t host_writev(int fd, const struct iovec *iov, int count)
{
    ssize_t n = writev(fd, iov, count);

    host_news_note();
    return n < 0 ? -errno : n;
}

ssize_t host_preadv(int fd, const struct iovec *iov, int count, int64_t offset)
{
    ssize_t n = preadv(fd, iov, count, offset);

    return n < 0 ? -errno : n;
}

bool host_is_cached(int fd, int64_t offset)
{
    char byte;
    const struct iovec iov = {&byte, 1};

    return preadv2(fd, &iov, 1, offset, RWF_NOWAIT) == 1;
}

ssize_t host_pwritev(int fd, const struct iovec *iov, int count, int64_t offset)
{
    ssize_t n = pwritev(fd, iov, count, offset);

    return n < 0 ? -errno : n;
}

ssize_t host_appendv(int fd, const struct iovec *iov, int count)
{
    ssize_t n = pwritev2(fd, iov, count, 0, RWF_APPEND);

    return n < 0 ? -errno : n;
}

int64_t host_lseek(int fd, int64_t offset, int whence)
{
    off_t at = lseek(fd, offset, whence);

    if (whence != SEEK_SET)
        host_news_note();
    return at < 0 ? -errno : at;
}

void host_close(int fd)
{
    close(fd);
}

int host_fstat(int fd, struct stat *ret_stat)
{
    /* Not fstat(3): some versions of libc make it a newfstatat, which takes a path. */
    return syscall(SYS_fstat, fd, ret_stat) < 0 ? -errno : 0;
}

int host_statx(int fd, struct statx *ret_stat)
{
    long err = syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, ret_stat);

    return err < 0 ? -errno : 0;
}

int host_fstatfs(int fd, struct statfs *ret_statfs)
{
    return fstatfs(fd, ret_statfs) < 0 ? -errno : 0;
}

int host_fsync(int fd)
{
    return fsync(fd) < 0 ? -errno : 0;
}

int host_get_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -errno : flags;
}

int host_dup_above(int fd, int min)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, min);

    return copy < 0 ? -errno : copy;
}

int host_ioctl(int fd, unsigned long request, void *arg)
{
    int result = ioctl(fd, request, arg);

    host_news_note();
    return result < 0 ? -errno : result;
}

int host_random(void *buf, size_t size)
{
    char *at = buf;

    while (size > 0) {
        ssize_t n = getrandom(at, size, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t host_getxattr(int fd, const char *name, void *buf, size_t size)
{
    ssize_t n = fgetxattr(fd, name, buf, size);

    host_news_note();
    return n < 0 ? -errno : n;
}

ssize_t host_listxattr(int fd, char *buf, size_t size)
{
    ssize_t n = flistxattr(fd, buf, size);

    host_news_note();
    return n < 0 ? -errno : n;
}
