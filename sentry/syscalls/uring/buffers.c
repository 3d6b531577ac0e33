/*
 * Registered buffers, which READ_FIXED and its like name.
 *
 * A registered buffer is a range of addresses here; its pages are not pinned. Programs see the
 * difference if they unmap it before they unregister it.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/uring.h"

#define BUFFER_SIZE_MAX (1UL << 30)

static int check_buffer(struct task *task, const struct iovec *iov)
{
    uint64_t base = (uint64_t)(uintptr_t)iov->iov_base, end;
    char byte;

    if (base == 0 && iov->iov_len == 0)
        return 0; /* a hole */
    if (base == 0 || iov->iov_len == 0 || iov->iov_len > BUFFER_SIZE_MAX)
        return -EFAULT;
    if (__builtin_add_overflow(base, iov->iov_len, &end))
        return -EOVERFLOW;
    if (copy_struct_from_user(task->mm, &byte, base) < 0)
        return -EFAULT;
    return copy_struct_from_user(task->mm, &byte, end - 1);
}

/* What is to be place `i` of the table: a buffer, or NULL for a hole. */
static int read_buffer(struct task *task, uaddr_t addr, uaddr_t tags, uint32_t i,
                       struct uring_rsrc **ret)
{
    struct uring_rsrc *rsrc = NULL;
    struct iovec iov = {0};
    uint64_t tag;
    int err = addr ? copy_struct_from_user(task->mm, &iov, addr + i * sizeof(iov)) : 0;

    if (!err)
        err = uring_read_tag(task, tags, i, &tag);
    if (!err)
        err = check_buffer(task, &iov);
    if (err < 0)
        return err;
    if (!iov.iov_base && tag)
        return -EINVAL;
    if (iov.iov_base) {
        rsrc = uring_rsrc_create(tag);
        if (!rsrc)
            return -ENOMEM;
        rsrc->addr = (uint64_t)(uintptr_t)iov.iov_base;
        rsrc->size = iov.iov_len;
    }
    *ret = rsrc;
    return 0;
}

static void drop_buffers(struct uring *ring, bool tell)
{
    struct uring_rsrc **table = ring->buffers;
    uint32_t count = ring->buffer_count;

    ring->buffers = NULL;
    ring->buffer_count = 0;
    uring_table_destroy(ring, table, count, tell);
}

void uring_buffers_fini(struct uring *ring)
{
    drop_buffers(ring, false);
}

int uring_register_buffers(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count,
                           uaddr_t tags)
{
    int err = 0;

    if (ring->buffers)
        return -EBUSY;
    if (count == 0 || count > URING_BUFFERS_MAX)
        return -EINVAL;
    ring->buffers = uring_table_create(count);
    if (!ring->buffers)
        return -ENOMEM;
    ring->buffer_count = count;
    for (uint32_t i = 0; i < count && !err && (addr || tags); i++)
        err = read_buffer(task, addr, tags, i, &ring->buffers[i]);
    if (err < 0)
        drop_buffers(ring, false);
    return err;
}

int uring_unregister_buffers(struct uring *ring)
{
    if (!ring->buffers)
        return -ENXIO;
    drop_buffers(ring, true);
    return 0;
}

int uring_update_buffers(struct uring *ring, struct task *task,
                         const struct uring_rsrc_update *update)
{
    uint32_t done = 0, end;
    int err = 0;

    if (__builtin_add_overflow(update->offset, update->nr, &end))
        return -EOVERFLOW;
    if (!ring->buffers)
        return -ENXIO;
    if (end > ring->buffer_count)
        return -EINVAL;
    while (done < update->nr && !err) {
        struct uring_rsrc **at = &ring->buffers[update->offset + done], *rsrc;

        err = read_buffer(task, update->data, update->tags, done, &rsrc);
        if (!err) {
            uring_rsrc_unref(ring, *at);
            *at = rsrc;
        }
        done += err == 0;
    }
    return done ? (int)done : err;
}

static bool inside(const struct uring_rsrc *b, uint64_t addr, uint64_t size)
{
    return addr >= b->addr && size <= b->size && addr - b->addr <= b->size - size;
}

/* The buffer that the entry names, which the request holds from now on; NULL: there is none. */
static const struct uring_rsrc *registered(struct uring_req *req)
{
    struct uring *ring = req->ring;
    uint16_t index = req->sqe.buf_index;

    if (index >= ring->buffer_count || !ring->buffers[index])
        return NULL;
    uring_hold(req, URING_USE_OTHER, ring->buffers[index]);
    return ring->buffers[index];
}

bool uring_has_buffer(struct uring_req *req)
{
    return registered(req) != NULL;
}

int uring_fixed_uio(struct uring_req *req, struct task *task)
{
    const struct uring_rsrc *b = registered(req);

    if (!b || !inside(b, req->sqe.addr, req->sqe.len))
        return -EFAULT;
    uio_init_user(&req->uio, task->mm, req->sqe.addr, req->sqe.len);
    return 0;
}

int uring_fixed_vectors(struct uring_req *req, struct task *task)
{
    const struct uring_rsrc *b = registered(req);
    int err = b ? uio_import(&req->uio, task->mm, req->sqe.addr, req->sqe.len) : -EFAULT;

    if (err < 0)
        return err;
    for (uint32_t i = 0; i < req->uio.count; i++) {
        if (!inside(b, req->uio.segments[i].base, req->uio.segments[i].size)) {
            uio_release(&req->uio);
            return -EFAULT;
        }
    }
    return 0;
}
