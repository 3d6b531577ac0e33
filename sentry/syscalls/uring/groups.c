/*
 * Provided buffers, of which a read picks one when there is something to read (SQE_BUFFER_SELECT):
 * groups of them, each a list of ours (PROVIDE_BUFFERS) or a ring in the program's memory
 * (IORING_REGISTER_PBUF_RING).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/ringmem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/uring.h"

#define GROUPS_MAX        1024
#define GROUP_BUFFERS_MAX 65536
#define PBUF_RING_MMAP    1
#define OFF_PBUF_RING     0x80000000UL
#define PBUF_SHIFT        16
#define BUNDLE_MAX        64

struct uring_buffer_group {
    struct list node;
    uint16_t id;
    /* A list of ours: bufs[head % room]... */
    struct uring_buf *bufs;
    uint32_t head, count, room;
    /* or a ring of `entries`, at `addr` or, mapped from us, at `shared`. */
    uint32_t entries;
    uint16_t ring_head;
    uaddr_t addr;
    struct uring_buf *shared; /* hostile */
};

static struct uring_buffer_group *find_group(struct uring *ring, uint16_t id)
{
    struct uring_buffer_group *group;

    list_for_each (group, &ring->groups, node) {
        if (group->id == id)
            return group;
    }
    return NULL;
}

static struct uring_buffer_group *make_group(struct uring *ring, uint16_t id)
{
    struct uring_buffer_group *group;
    uint32_t count = 0;

    list_for_each (group, &ring->groups, node)
        count++;
    group = count < GROUPS_MAX ? calloc(1, sizeof(*group)) : NULL;
    if (group) {
        group->id = id;
        list_add_tail(&ring->groups, &group->node);
    }
    return group;
}

static void free_group(struct uring *ring, struct uring_buffer_group *group)
{
    if (group->shared)
        ringmem_remove(ring->memory, OFF_PBUF_RING | (uint64_t)group->id << PBUF_SHIFT);
    ring->group_buffers -= group->count;
    list_del_init(&group->node);
    free(group->bufs);
    free(group);
}

void uring_groups_fini(struct uring *ring)
{
    struct uring_buffer_group *group, *next;

    list_for_each_safe (group, next, &ring->groups, node)
        free_group(ring, group);
}

/* The next of a ring in the program's memory. */
static int pick_from_ring(struct task *task, struct uring_buffer_group *group,
                          struct uring_buf *ret)
{
    uint32_t slot = group->ring_head & (group->entries - 1);
    uint16_t tail;
    int err = 0;

    if (group->shared)
        tail = __atomic_load_n(&group->shared[0].resv, __ATOMIC_ACQUIRE);
    else
        err =
            copy_struct_from_user(task->mm, &tail, group->addr + offsetof(struct uring_buf, resv));
    if (err < 0)
        return err;
    if (tail == group->ring_head)
        return -ENOBUFS;
    if (group->shared)
        *ret = (struct uring_buf){.addr = READ_ONCE(group->shared[slot].addr),
                                  .len = READ_ONCE(group->shared[slot].len),
                                  .bid = READ_ONCE(group->shared[slot].bid)};
    else
        err = copy_struct_from_user(task->mm, ret, group->addr + slot * sizeof(*ret));
    if (!err)
        group->ring_head++;
    return err;
}

int uring_select_buffer(struct uring_req *req, struct task *task)
{
    struct uring *ring = req->ring;
    struct uring_buffer_group *group;
    int err = -ENOBUFS;

    lock_acquire(&ring->submit_lock);
    group = find_group(ring, req->sqe.buf_index);
    if (group && group->entries) {
        err = pick_from_ring(task, group, &req->buffer);
    } else if (group && group->count > 0) {
        req->buffer = group->bufs[group->head];
        group->head = (group->head + 1) % group->room;
        group->count--;
        ring->group_buffers--;
        err = 0;
    }
    lock_release(&ring->submit_lock);
    req->has_buffer = err == 0;
    return err;
}

/* The buffers of a bundle, in order. What would have to be cut is left, unless it is the first. */
static int pick_many(struct uring_req *req, struct task *task, struct uring_buffer_group *group,
                     uint64_t max, struct uio_segment *segments, uint32_t *ret_count)
{
    uint32_t count = 0;
    int err = 0;

    while (count < BUNDLE_MAX && max > 0) {
        uint16_t head = group->ring_head;
        struct uring_buf buf;

        err = pick_from_ring(task, group, &buf);
        if (err < 0)
            break;
        if (buf.len > max && count > 0) {
            group->ring_head = head;
            break;
        }
        if (count == 0)
            req->buffer = buf;
        segments[count++] = (struct uio_segment){buf.addr, MIN((uint64_t)buf.len, max)};
        max -= MIN((uint64_t)buf.len, max);
    }
    *ret_count = count;
    return count ? 0 : err ? err : -ENOBUFS;
}

int uring_select_bundle(struct uring_req *req, struct task *task, uint64_t max, bool *ret_drained)
{
    struct uring *ring = req->ring;
    struct uio_segment *segments = calloc(BUNDLE_MAX, sizeof(*segments));
    struct uring_buffer_group *group;
    struct uring_buf next;
    uint32_t count = 0;
    bool is_ring;
    int err = 0;

    if (!segments)
        return -ENOMEM;
    lock_acquire(&ring->submit_lock);
    group = find_group(ring, req->sqe.buf_index);
    is_ring = group && group->entries;
    if (is_ring) {
        err = pick_many(req, task, group, max, segments, &count);
        *ret_drained = pick_from_ring(task, group, &next) < 0;
        group->ring_head -= !*ret_drained;
        req->bundle_end = group->ring_head;
    }
    lock_release(&ring->submit_lock);
    if (!is_ring) {
        err = uring_select_buffer(req, task);
        segments[0] = (struct uio_segment){req->buffer.addr, MIN((uint64_t)req->buffer.len, max)};
        count = 1;
        *ret_drained = true;
    }
    if (err < 0) {
        free(segments);
        return err;
    }
    req->has_buffer = true;
    uio_init_segments(&req->uio, task->mm, segments, count);
    return 0;
}

void uring_return_buffers(struct uring_req *req, uint32_t count)
{
    struct uring *ring = req->ring;
    struct uring_buffer_group *group;

    lock_acquire(&ring->submit_lock);
    group = find_group(ring, req->sqe.buf_index);
    if (group && group->entries && group->ring_head == req->bundle_end)
        group->ring_head -= (uint16_t)count;
    lock_release(&ring->submit_lock);
}

static int make_room(struct uring_buffer_group *group, uint32_t more)
{
    uint32_t room = MAX(group->room, 16u);
    struct uring_buf *bufs;

    while (room < group->count + more)
        room *= 2;
    if (room == group->room)
        return 0;
    bufs = calloc(room, sizeof(*bufs));
    if (!bufs)
        return -ENOMEM;
    for (uint32_t i = 0; i < group->count; i++)
        bufs[i] = group->bufs[(group->head + i) % group->room];
    free(group->bufs);
    group->bufs = bufs;
    group->head = 0;
    group->room = room;
    return 0;
}

static int provide_locked(struct uring *ring, const struct uring_sqe *s)
    __must_hold(ring->submit_lock)
{
    struct uring_buffer_group *group = find_group(ring, s->buf_index);
    uint32_t count = (uint32_t)s->fd;

    if (ring->group_buffers + count > GROUP_BUFFERS_MAX)
        return -ENOMEM;
    if (!group)
        group = make_group(ring, s->buf_index);
    if (!group)
        return -ENOMEM;
    if (group->entries)
        return -EINVAL;
    if (make_room(group, count) < 0)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        group->bufs[(group->head + group->count++) % group->room] = (struct uring_buf){
            .addr = s->addr + (uint64_t)i * s->len, .len = s->len, .bid = (uint16_t)(s->off + i)};
    }
    ring->group_buffers += count;
    return 0;
}

int64_t uring_provide_buffers(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    uint64_t size, end;
    int res;

    if (s->op_flags || s->file_index)
        return -EINVAL;
    if (s->fd <= 0 || s->fd > 65536)
        return -E2BIG;
    if (s->len == 0)
        return -EINVAL;
    if (__builtin_mul_overflow((uint64_t)s->len, (uint64_t)s->fd, &size) ||
        __builtin_add_overflow(s->addr, size, &end))
        return -EOVERFLOW;
    if (s->off > UINT16_MAX)
        return -E2BIG;
    if (s->off + (uint64_t)s->fd > 65536)
        return -EINVAL;
    lock_acquire(&req->ring->submit_lock);
    res = provide_locked(req->ring, s);
    lock_release(&req->ring->submit_lock);
    return res;
}

int64_t uring_remove_buffers(struct uring_req *req, struct task *task)
{
    const struct uring_sqe *s = &req->sqe;
    struct uring *ring = req->ring;
    struct uring_buffer_group *group;
    int64_t res = -ENOENT;

    if (s->op_flags || s->addr || s->len || s->off || s->file_index || s->fd <= 0 || s->fd > 65536)
        return -EINVAL;
    lock_acquire(&ring->submit_lock);
    group = find_group(ring, s->buf_index);
    if (group && group->entries) {
        res = -EINVAL;
    } else if (group) {
        uint32_t count = MIN((uint32_t)s->fd, group->count);

        group->head = group->room ? (group->head + count) % group->room : 0;
        group->count -= count;
        ring->group_buffers -= count;
        res = count;
    }
    lock_release(&ring->submit_lock);
    return res;
}

int uring_register_group(struct uring *ring, struct task *task, uaddr_t arg)
{
    struct uring_buffer_group *group;
    struct uring_buf_reg reg;
    void *bytes = NULL;
    char byte;
    int err = 0;

    if (copy_struct_from_user(task->mm, &reg, arg) < 0)
        return -EFAULT;
    if (reg.resv[0] || reg.resv[1] || reg.resv[2] || (reg.flags & ~PBUF_RING_MMAP))
        return -EINVAL;
    if (!reg.ring_entries || (reg.ring_entries & (reg.ring_entries - 1)) ||
        reg.ring_entries >= 65536)
        return -EINVAL;
    if (!(reg.flags & PBUF_RING_MMAP) && !reg.ring_addr)
        return -EFAULT;
    if (!is_aligned(reg.ring_addr, PAGE_SIZE) || ((reg.flags & PBUF_RING_MMAP) && reg.ring_addr))
        return -EINVAL;
    group = find_group(ring, reg.bgid);
    if (group && (group->entries || group->count))
        return -EEXIST;
    if (reg.flags & PBUF_RING_MMAP)
        err = ringmem_add(ring->memory, OFF_PBUF_RING | (uint64_t)reg.bgid << PBUF_SHIFT,
                          reg.ring_entries * sizeof(struct uring_buf), &bytes);
    else
        err = copy_struct_from_user(task->mm, &byte, reg.ring_addr);
    if (!err && !group)
        group = make_group(ring, reg.bgid);
    if (err < 0 || !group)
        return err < 0 ? err : -ENOMEM;
    group->entries = reg.ring_entries;
    group->ring_head = 0;
    group->addr = reg.ring_addr;
    group->shared = bytes;
    return 0;
}

int uring_unregister_group(struct uring *ring, struct task *task, uaddr_t arg)
{
    struct uring_buffer_group *group;
    struct uring_buf_reg reg;

    if (copy_struct_from_user(task->mm, &reg, arg) < 0)
        return -EFAULT;
    if (reg.resv[0] || reg.resv[1] || reg.resv[2] || reg.flags)
        return -EINVAL;
    group = find_group(ring, reg.bgid);
    if (!group)
        return -ENOENT;
    if (!group->entries)
        return -EINVAL;
    free_group(ring, group);
    return 0;
}

int uring_group_status(struct uring *ring, struct task *task, uaddr_t arg)
{
    struct {
        uint32_t group, head, resv[8];
    } status;
    struct uring_buffer_group *group;

    if (copy_struct_from_user(task->mm, &status, arg) < 0)
        return -EFAULT;
    for (size_t i = 0; i < ARRAY_COUNT(status.resv); i++) {
        if (status.resv[i])
            return -EINVAL;
    }
    group = find_group(ring, (uint16_t)status.group);
    if (!group)
        return -ENOENT;
    if (!group->entries)
        return -EINVAL;
    status.head = group->ring_head;
    return copy_struct_to_user(task->mm, arg, &status);
}
