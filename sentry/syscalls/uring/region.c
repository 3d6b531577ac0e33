/*
 * IORING_REGISTER_MEM_REGION: memory that a ring and its program share, ours or the program's. It
 * has the arguments of waits, which io_uring_enter(2) then names by their place
 * (IORING_ENTER_EXT_ARG_REG).
 */
#include <errno.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/ringmem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/uring/uring.h"

#define OURS_MAX (1UL << 20) /* of our memory, which is the program's at the price of a ring */

static int check_region(const struct uring_region *r)
{
    uint64_t end;

    for (size_t i = 0; i < ARRAY_COUNT(r->resv); i++) {
        if (r->resv[i])
            return -EINVAL;
    }
    if (r->flags & ~URING_REGION_USER)
        return -EINVAL;
    if (!!(r->flags & URING_REGION_USER) != !!r->user_addr)
        return -EFAULT;
    if (!r->size || r->mmap_offset || r->id)
        return -EINVAL;
    if (r->size / PAGE_SIZE > INT32_MAX)
        return -E2BIG;
    if (!is_aligned(r->user_addr | r->size, PAGE_SIZE))
        return -EINVAL;
    return __builtin_add_overflow(r->user_addr, r->size, &end) ? -EOVERFLOW : 0;
}

/* The program's own pages: they have to be there, though they are not pinned. */
static int check_pages(struct task *task, const struct uring_region *r)
{
    for (uint64_t at = 0; at < r->size; at += PAGE_SIZE) {
        uint8_t byte;

        if (task_interrupted(task))
            return -EINTR;
        if (copy_struct_from_user(task->mm, &byte, r->user_addr + at) < 0)
            return -EFAULT;
    }
    return 0;
}

static int make_region(struct uring *ring, struct task *task, struct uring_region *r,
                       void **ret_bytes)
{
    int err = check_region(r);

    if (err < 0)
        return err;
    if (r->flags & URING_REGION_USER)
        return check_pages(task, r);
    if (r->size > OURS_MAX)
        return -ENOMEM;
    r->mmap_offset = URING_OFF_REGION;
    return ringmem_add(ring->memory, URING_OFF_REGION, r->size, ret_bytes);
}

int uring_register_region(struct uring *ring, struct task *task, uaddr_t arg)
{
    struct uring_region_reg reg;
    struct uring_region r;
    void *bytes = NULL;
    bool waits;
    int err;

    if (ring->region_size)
        return -EBUSY;
    if (copy_struct_from_user(task->mm, &reg, arg) < 0 ||
        copy_struct_from_user(task->mm, &r, reg.region) < 0)
        return -EFAULT;
    if (reg.resv[0] || reg.resv[1] || (reg.flags & ~URING_REGION_WAIT_ARG))
        return -EINVAL;
    waits = reg.flags & URING_REGION_WAIT_ARG;
    if (waits && !(ring->flags & URING_SETUP_R_DISABLED && ring->disabled))
        return -EINVAL; /* somebody may be waiting */
    err = make_region(ring, task, &r, &bytes);
    if (err < 0)
        return err;
    if (copy_struct_to_user(task->mm, reg.region, &r) < 0) {
        if (bytes)
            ringmem_remove(ring->memory, URING_OFF_REGION);
        return -EFAULT;
    }
    ring->region_addr = r.user_addr;
    ring->region_bytes = bytes;
    ring->region_size = r.size;
    ring->wait_size = waits ? r.size : 0;
    return 0;
}

int uring_region_wait(struct uring *ring, struct task *task, uint64_t offset,
                      struct uring_reg_wait *ret)
{
    uint64_t size, end, addr, *to = (uint64_t *)(void *)ret;
    const uint64_t *bytes;

    lock_acquire(&ring->submit_lock);
    size = ring->wait_size;
    addr = ring->region_addr;
    bytes = ring->region_bytes; /* there as long as the ring is */
    lock_release(&ring->submit_lock);
    if (offset % sizeof(long) || __builtin_add_overflow(offset, sizeof(*ret), &end) || end > size)
        return -EFAULT;
    if (!bytes)
        return copy_struct_from_user(task->mm, ret, addr + offset);
    for (size_t i = 0; i < sizeof(*ret) / sizeof(*to); i++)
        to[i] = READ_ONCE(bytes[offset / sizeof(*to) + i]);
    return 0;
}
