/* copy_file_range(2): between regular files, through a buffer. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

#define CHUNK (64UL << 10)

struct copy {
    struct file *in, *out; /* owned references */
    int64_t in_pos, out_pos;
    size_t size;
};

/* The checks that Linux makes before it looks at the file systems (mm/filemap.c). */
static int check_files(const struct copy *c, struct linux_stat *in, struct linux_stat *out)
{
    int err = file_stat(c->in, in);

    if (!err)
        err = file_stat(c->out, out);
    if (err < 0)
        return err;
    if ((in->st_mode & S_IFMT) == S_IFDIR || (out->st_mode & S_IFMT) == S_IFDIR)
        return -EISDIR;
    if ((in->st_mode & S_IFMT) != S_IFREG || (out->st_mode & S_IFMT) != S_IFREG)
        return -EINVAL;
    if (!file_can_read(c->in) || !file_can_write(c->out) || (c->out->flags & O_APPEND))
        return -EBADF;
    /* Between file systems that do not know each other; callers copy themselves then. */
    if (in->st_dev != out->st_dev)
        return -EXDEV;
    return c->out->at.dentry && inode_is_immutable(c->out->at.dentry->inode) ? -EPERM : 0;
}

static int check_range(struct copy *c)
{
    struct linux_stat in, out;
    uint64_t in_end, out_end, size;
    int err = check_files(c, &in, &out);

    if (err < 0)
        return err;
    if (__builtin_add_overflow((uint64_t)c->in_pos, c->size, &in_end) ||
        __builtin_add_overflow((uint64_t)c->out_pos, c->size, &out_end))
        return -EOVERFLOW;
    size = (uint64_t)in.st_size;
    c->size = c->in_pos >= (int64_t)size ? 0 : MIN(c->size, size - (uint64_t)c->in_pos);
    if (in.st_ino == out.st_ino && in.st_dev == out.st_dev &&
        c->out_pos + (int64_t)c->size > c->in_pos && c->out_pos < c->in_pos + (int64_t)c->size)
        return -EINVAL;
    if (c->in_pos < 0 || c->out_pos < 0 || (ssize_t)c->size < 0)
        return -EINVAL;
    return 0;
}

static ssize_t copy_bytes(struct task *task, struct copy *c, char *buf)
{
    size_t done = 0;

    while (done < c->size) {
        struct uio uio;
        ssize_t got, put;

        uio_init_host(&uio, buf, MIN(c->size - done, CHUNK));
        got = file_pread(c->in, &uio, c->in_pos);
        if (got <= 0)
            return done ? (ssize_t)done : got;
        uio_init_host(&uio, buf, (size_t)got);
        put = file_pwrite(c->out, &uio, c->out_pos);
        if (put < 0)
            return done ? (ssize_t)done : put;
        done += (size_t)put;
        c->in_pos += put;
        c->out_pos += put;
        if (put < got || task_is_leaving(task))
            break;
    }
    return (ssize_t)done;
}

static ssize_t copy_range(struct task *task, struct copy *c)
{
    ssize_t n = check_range(c);
    char *buf;

    if (n < 0)
        return n;
    c->size = MIN(c->size, UIO_MAX_BYTES);
    if (c->size == 0)
        return 0;
    buf = malloc(CHUNK);
    if (!buf)
        return -ENOMEM;
    n = copy_bytes(task, c, buf);
    free(buf);
    return n;
}

/* A place that was given, or the file's own position. */
static int get_place(struct task *task, struct file *file, uaddr_t addr, int64_t *ret)
{
    if (addr)
        return copy_struct_from_user(task->mm, ret, addr);
    *ret = file_llseek(file, 0, SEEK_CUR);
    if (*ret < 0)
        *ret = 0; /* what has no position is refused for what it is */
    return 0;
}

static int put_place(struct task *task, struct file *file, uaddr_t addr, int64_t pos)
{
    if (addr)
        return copy_struct_to_user(task->mm, addr, &pos);
    file_llseek(file, pos, SEEK_SET);
    return 0;
}

static ssize_t copy_between(struct task *task, struct copy *c, uaddr_t in_addr, uaddr_t out_addr)
{
    ssize_t n;

    if (get_place(task, c->in, in_addr, &c->in_pos) < 0 ||
        get_place(task, c->out, out_addr, &c->out_pos) < 0)
        return -EFAULT;
    n = copy_range(task, c);
    if (n > 0 && (put_place(task, c->in, in_addr, c->in_pos) < 0 ||
                  put_place(task, c->out, out_addr, c->out_pos) < 0))
        return -EFAULT;
    return n;
}

SYSCALL_DEFINE6(copy_file_range, int, in_fd, uaddr_t, in_offset, int, out_fd, uaddr_t, out_offset,
                size_t, size, unsigned, flags)
{
    struct copy c = {.size = size};
    ssize_t n = -EBADF;

    if (flags != 0)
        return -EINVAL;
    c.in = task_file(task, in_fd);
    c.out = task_file(task, out_fd);
    if (c.in && c.out)
        n = copy_between(task, &c, in_offset, out_offset);
    file_unref(c.out);
    file_unref(c.in);
    return n;
}
