/*
 * splice(2), tee(2), vmsplice(2): bytes through pipes without passing through the program. The
 * moves are in sentry/fs/pipe/splice.c; here are the checks, and the waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/file/splice.h"

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

/* One call: what is moved, and between what. */
struct splice {
    struct file *in, *out; /* borrowed; NULL: the program's memory */
    int64_t *in_pos, *out_pos;
    struct uio *uio;
    size_t size;
    bool nonblock; /* do not wait for a pipe */
    bool keep;     /* tee */
};

static ssize_t move_once(const struct splice *s, struct pipe_wait *ret_wait)
{
    if (!s->in)
        return pipe_give(s->out, s->uio, ret_wait);
    if (!s->out)
        return pipe_take(s->in, s->uio, ret_wait);
    if (pipe_is(s->in) && pipe_is(s->out))
        return pipe_move(s->in, s->out, s->size, s->keep, ret_wait);
    if (pipe_is(s->in))
        return pipe_drain(s->in, s->out, s->out_pos, s->size, ret_wait);
    return pipe_fill(s->out, s->in, s->in_pos, s->size, ret_wait);
}

static ssize_t move(struct task *task, const struct splice *s)
{
    for (;;) {
        struct pipe_wait wait = {0};
        ssize_t n = move_once(s, &wait);
        bool nonblock;

        if (n == -EPIPE)
            signal_send_task(task, SIGPIPE, NULL);
        if (n == -EINTR) /* the host's word: this thread was kicked */
            n = task_interrupted(task) ? -ERESTARTSYS : 0;
        if (n != -EAGAIN)
            return n;
        nonblock = pipe_is(wait.file) ? s->nonblock : wait.file->flags & O_NONBLOCK;
        if (nonblock)
            return n;
        n = file_wait(task, wait.file, wait.events);
        if (n < 0)
            return n;
    }
}

/* Files that only pass events have no splice operations in Linux. */
static bool can_splice(const struct file *f, bool write)
{
    return !f->ops->seek_ignored && !f->ops->no_splice &&
           (write ? f->ops->write != NULL : f->ops->read != NULL);
}

/* Where a file that is no pipe is read or written: *given, or its own position. */
static int place(struct file *f, const int64_t *given, size_t size, int64_t *ret_pos)
{
    int64_t end;

    *ret_pos = 0;
    if (given && !f->ops->llseek)
        return -EINVAL;
    if (f->ops->llseek)
        *ret_pos = given ? *given : file_llseek(f, 0, SEEK_CUR);
    if ((ssize_t)size < 0 || *ret_pos < 0 || __builtin_add_overflow(*ret_pos, (int64_t)size, &end))
        return -EINVAL;
    return 0;
}

static ssize_t with_one_pipe(struct task *task, struct splice *s, int64_t *offset)
{
    bool to_file = pipe_is(s->in);
    struct file *f = to_file ? s->out : s->in;
    int64_t pos;
    ssize_t n;
    int err;

    if (to_file && (f->flags & O_APPEND))
        return -EINVAL;
    err = place(f, offset, s->size, &pos);
    if (err < 0)
        return err;
    if (!can_splice(f, to_file))
        return -EINVAL;
    if (f->ops->llseek)
        *(to_file ? &s->out_pos : &s->in_pos) = &pos;
    n = move(task, s);
    if (n > 0 && offset)
        *offset = pos;
    else if (n > 0 && f->ops->llseek)
        file_llseek(f, pos, SEEK_SET);
    return n;
}

static ssize_t do_splice(struct task *task, struct splice *s, int64_t *offset)
{
    bool from_pipe = pipe_is(s->in), to_pipe = pipe_is(s->out);

    if (!file_can_read(s->in) || !file_can_write(s->out))
        return -EBADF;
    s->nonblock |= from_pipe && (s->in->flags & O_NONBLOCK);
    s->nonblock |= to_pipe && (s->out->flags & O_NONBLOCK);
    if (from_pipe && to_pipe)
        return pipe_same(s->in, s->out) ? -EINVAL : move(task, s);
    if (!from_pipe && !to_pipe)
        return -EINVAL;
    return with_one_pipe(task, s, offset);
}

/* The offset of the side that is no pipe, in and out of the program's memory. */
static ssize_t splice_at(struct task *task, struct splice *s, uaddr_t in_addr, uaddr_t out_addr)
{
    uaddr_t addr = in_addr ? in_addr : out_addr;
    int64_t offset;
    ssize_t n;

    if ((pipe_is(s->in) && in_addr) || (pipe_is(s->out) && out_addr))
        return -ESPIPE;
    if (addr && copy_struct_from_user(task->mm, &offset, addr) < 0)
        return -EFAULT;
    n = do_splice(task, s, addr ? &offset : NULL);
    if (n >= 0 && addr && copy_struct_to_user(task->mm, addr, &offset) < 0)
        return -EFAULT;
    return n;
}

SYSCALL_DEFINE6(splice, int, in_fd, uaddr_t, in_offset, int, out_fd, uaddr_t, out_offset, size_t,
                size, unsigned, flags)
{
    struct splice s = {.size = size, .nonblock = flags & SPLICE_F_NONBLOCK};
    ssize_t n = -EBADF;

    if (size == 0)
        return 0;
    if (flags & ~(unsigned)SPLICE_FLAGS)
        return -EINVAL;
    s.in = task_file(task, in_fd);
    s.out = task_file(task, out_fd);
    if (s.in && s.out)
        n = splice_at(task, &s, in_offset, out_offset);
    file_unref(s.out);
    file_unref(s.in);
    return n;
}

static ssize_t do_tee(struct task *task, struct splice *s)
{
    if (!file_can_read(s->in) || !file_can_write(s->out))
        return -EBADF;
    if (!pipe_is(s->in) || !pipe_is(s->out) || pipe_same(s->in, s->out))
        return -EINVAL;
    s->nonblock |= (s->in->flags | s->out->flags) & O_NONBLOCK;
    return move(task, s);
}

SYSCALL_DEFINE4(tee, int, in_fd, int, out_fd, size_t, size, unsigned, flags)
{
    struct splice s = {.size = size, .nonblock = flags & SPLICE_F_NONBLOCK, .keep = true};
    ssize_t n = -EBADF;

    if (flags & ~(unsigned)SPLICE_FLAGS)
        return -EINVAL;
    if (size == 0)
        return 0;
    s.in = task_file(task, in_fd);
    s.out = task_file(task, out_fd);
    if (s.in && s.out)
        n = do_tee(task, &s);
    file_unref(s.out);
    file_unref(s.in);
    return n;
}

/* Unlike the others it does not look at O_NONBLOCK. */
static ssize_t do_vmsplice(struct task *task, struct file *file, struct uio *uio, bool nonblock)
{
    struct splice s = {.uio = uio, .nonblock = nonblock};

    if (uio->left == 0)
        return 0;
    if (!pipe_is(file))
        return -EBADF;
    *(file_can_write(file) ? &s.out : &s.in) = file;
    return move(task, &s);
}

SYSCALL_DEFINE4(vmsplice, int, fd, uaddr_t, iov, uint64_t, count, unsigned, flags)
{
    struct file *file;
    struct uio uio;
    ssize_t n = -EBADF;

    if (flags & ~(unsigned)SPLICE_FLAGS)
        return -EINVAL;
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    if (file_can_read(file) || file_can_write(file))
        n = uio_import(&uio, task->mm, iov, count);
    if (n >= 0) {
        n = do_vmsplice(task, file, &uio, flags & SPLICE_F_NONBLOCK);
        uio_release(&uio);
    }
    file_unref(file);
    return n;
}

ssize_t task_splice(struct task *task, const struct splice_request *request)
{
    struct splice s = {
        .in = request->in,
        .out = request->out,
        .size = request->size,
        .nonblock = request->flags & SPLICE_F_NONBLOCK,
        .keep = request->keep,
    };

    if (request->flags & ~(unsigned)SPLICE_FLAGS)
        return -EINVAL;
    if (s.keep)
        return do_tee(task, &s);
    if ((pipe_is(s.in) && request->in_pos) || (pipe_is(s.out) && request->out_pos))
        return -ESPIPE;
    return do_splice(task, &s, request->in_pos ? request->in_pos : request->out_pos);
}
