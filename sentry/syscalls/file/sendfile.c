/*
 * sendfile(2): from a file that has positions to whatever can be written; and from whatever can be
 * spliced to a pipe, as splice(2) would.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/file/splice.h"

#define CHUNK (64UL << 10)

/*
 * Some files take any number of bytes without ever blocking: a terminal whose line is too long
 * drops them. Linux's terminals look for signals, its files for those that kill.
 */
static bool has_to_stop(struct task *task, const struct file *out)
{
    return out->terminal ? task_interrupted(task) : task_is_leaving(task);
}

/* Copies through `buf` until `count` bytes went out, either side ends, or something is wrong. */
static ssize_t copy_chunks(struct task *task, struct file *out, struct file *in, char *buf,
                           int64_t pos, size_t count)
{
    size_t done = 0;

    while (done < count) {
        struct uio uio;
        ssize_t got, put;

        uio_init_host(&uio, buf, MIN(count - done, CHUNK));
        got = file_pread(in, &uio, pos + (int64_t)done);
        if (got <= 0)
            return done ? (ssize_t)done : got;
        uio_init_host(&uio, buf, (size_t)got);
        put = task_write(task, out, &uio);
        if (put < 0)
            return done ? (ssize_t)done : put;
        done += (size_t)put;
        if (put < got || has_to_stop(task, out))
            break;
    }
    return (ssize_t)done;
}

/* splice_file_to_pipe(): as much as there is room for. */
static ssize_t send_to_pipe(struct task *task, struct file *out, struct file *in, int64_t *offset,
                            size_t count)
{
    const struct splice_request request = {
        .in = in,
        .out = out,
        .in_pos = offset,
        .size = MIN(count, UIO_MAX_BYTES),
        .flags = in->flags & O_NONBLOCK ? SPLICE_F_NONBLOCK : 0,
    };

    if (!file_can_read(in) || !file_can_write(out))
        return -EBADF;
    if (offset && !in->ops->llseek)
        return -ESPIPE;
    if (pipe_is(in))
        return -EINVAL;
    return count ? task_splice(task, &request) : 0;
}

/* `offset`: where to read and where it has got to; NULL: the file's own position. */
static ssize_t send_file(struct task *task, struct file *out, struct file *in, int64_t *offset,
                         size_t count)
{
    int64_t pos, end;
    ssize_t n;
    char *buf;

    if (!file_can_read(in))
        return -EBADF;
    if (!in->ops->llseek)
        return offset ? -ESPIPE : -EINVAL;
    pos = offset ? *offset : file_llseek(in, 0, SEEK_CUR);
    if (pos < 0 || __builtin_add_overflow(pos, (int64_t)MIN(count, UIO_MAX_BYTES), &end))
        return -EINVAL;
    if (!file_can_write(out))
        return -EBADF;
    if (out->flags & O_APPEND)
        return -EINVAL;
    buf = malloc(CHUNK);
    if (!buf)
        return -ENOMEM;
    n = copy_chunks(task, out, in, buf, pos, MIN(count, UIO_MAX_BYTES));
    usage_moved(&task->usage, false, n);
    usage_moved(&task->usage, true, n);
    free(buf);
    if (n > 0 && offset)
        *offset = pos + n;
    else if (n > 0)
        file_llseek(in, pos + n, SEEK_SET);
    return n;
}

SYSCALL_DEFINE4(sendfile, int, out_fd, int, in_fd, uaddr_t, offset_addr, size_t, count)
{
    struct file *in, *out;
    int64_t offset;
    ssize_t n = -EBADF;

    if (offset_addr && copy_struct_from_user(task->mm, &offset, offset_addr) < 0)
        return -EFAULT;
    in = task_file(task, in_fd);
    out = task_file(task, out_fd);
    if (in && out && pipe_is(out))
        n = send_to_pipe(task, out, in, offset_addr ? &offset : NULL, count);
    else if (in && out)
        n = send_file(task, out, in, offset_addr ? &offset : NULL, count);
    file_unref(out);
    file_unref(in);
    if (offset_addr && n >= 0 && copy_struct_to_user(task->mm, offset_addr, &offset) < 0)
        return -EFAULT;
    return n;
}
