/* IORING_REGISTER_CLONE_BUFFERS: a ring gets buffers that another one, or itself, has registered.
 */
#include <errno.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/uring.h"

#define CLONE_FLAGS (URING_CLONE_SRC_REGISTERED | URING_CLONE_DST_REPLACE)

/* The same buffer; a tag belongs to the place that it was registered for. */
static int clone_one(const struct uring_rsrc *from, struct uring_rsrc **ret)
{
    struct uring_rsrc *rsrc;

    if (!from)
        return 0;
    rsrc = uring_rsrc_create(0);
    if (!rsrc)
        return -ENOMEM;
    rsrc->addr = from->addr;
    rsrc->size = from->size;
    *ret = rsrc;
    return 0;
}

/* How many, and where they end in the table that gets them. */
static int check_range(const struct uring *ring, const struct uring *from,
                       struct uring_clone_buffers *c, uint32_t *ret_end)
{
    uint32_t end;

    if (ring->made_for != from->made_for)
        return -EINVAL;
    if (!c->nr && (c->dst_off || c->src_off))
        return -EINVAL;
    if (ring->buffers && !(c->flags & URING_CLONE_DST_REPLACE))
        return -EBUSY;
    if (!from->buffers)
        return -ENXIO;
    if (!c->nr)
        c->nr = from->buffer_count;
    if (c->nr > from->buffer_count)
        return -EINVAL;
    if (__builtin_add_overflow(c->nr, c->src_off, &end) || end > from->buffer_count)
        return -EOVERFLOW;
    if (__builtin_add_overflow(c->nr, c->dst_off, &end))
        return -EOVERFLOW;
    if (end > URING_BUFFERS_MAX)
        return -EINVAL;
    *ret_end = end;
    return 0;
}

/* The submit_lock of both rings is held. */
static int clone_locked(struct uring *ring, const struct uring *from, struct uring_clone_buffers *c)
{
    struct uring_rsrc **table, **old = ring->buffers;
    uint32_t end, count, old_count = ring->buffer_count;
    int err = check_range(ring, from, c, &end);

    if (err < 0)
        return err;
    count = MAX(end, old_count);
    table = uring_table_create(count);
    if (!table)
        return -ENOMEM;
    for (uint32_t i = 0; i < old_count; i++) {
        if ((i < c->dst_off || i >= end) && old[i])
            table[i] = uring_rsrc_ref(old[i]);
    }
    for (uint32_t i = 0; i < c->nr && !err; i++)
        err = clone_one(from->buffers[c->src_off + i], &table[c->dst_off + i]);
    if (err < 0) {
        uring_table_destroy(ring, table, count, true);
        return err;
    }
    ring->buffers = table;
    ring->buffer_count = count;
    uring_table_destroy(ring, old, old_count, true);
    return 0;
}

/* Of two rings, the one with the lower address is locked first. */
static int lock_and_clone(struct uring *ring, struct uring *from,
                          struct uring_clone_buffers *c) __no_lock_analysis
{
    struct uring *first = ring < from ? ring : from, *second = ring < from ? from : ring;
    int err;

    lock_acquire(&first->submit_lock);
    if (second != first)
        lock_acquire(&second->submit_lock);
    err = clone_locked(ring, from, c);
    if (second != first)
        lock_release(&second->submit_lock);
    lock_release(&first->submit_lock);
    return err;
}

int uring_clone_buffers(struct uring *ring, struct task *task, uaddr_t arg)
{
    struct uring_clone_buffers c;
    struct uring *from;
    struct file *file;
    int err;

    if (copy_struct_from_user(task->mm, &c, arg) < 0)
        return -EFAULT;
    if (c.flags & ~CLONE_FLAGS)
        return -EINVAL;
    if (!(c.flags & URING_CLONE_DST_REPLACE) && READ_ONCE(ring->buffer_count))
        return -EBUSY;
    if (c.pad[0] || c.pad[1] || c.pad[2])
        return -EINVAL;
    err = uring_file(task, c.src_fd, c.flags & URING_CLONE_SRC_REGISTERED, &file);
    if (err < 0)
        return err;
    err = -EOPNOTSUPP;
    if (uring_is(file)) {
        from = uring_of(file);
        if ((from->flags & URING_SETUP_SINGLE_ISSUER) && from->issuer && from->issuer != task->tid)
            err = -EEXIST;
        else
            err = lock_and_clone(ring, from, &c);
    }
    file_unref(file);
    return err;
}
