#include "sentry/mm/uio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/internal.h"
#include "sentry/mm/usercopy.h"

void uio_init_user(struct uio *uio, struct mm *mm, uaddr_t base, uint64_t size)
{
    size = MIN(size, UIO_MAX_BYTES);
    *uio = (struct uio){
        .mm = mm, .single = {base, size}, .count = 1, .left = size, .size_limit = UINT64_MAX};
    uio->segments = &uio->single;
}

void uio_init_host(struct uio *uio, void *base, uint64_t size)
{
    uio_init_user(uio, NULL, (uint64_t)(uintptr_t)base, size);
}

/* Checks as import_iovec() does: a negative size anywhere refuses all, too many bytes are cut. */
static int check_segments(struct uio *uio, bool remote)
{
    uaddr_t max = uio->mm->env->limits.user_max;

    for (uint32_t i = 0; i < uio->count; i++) {
        struct uio_segment *s = &uio->segments[i];

        if ((int64_t)s->size < 0)
            return -EINVAL;
        if (!remote && (s->base > max || s->size > max - s->base))
            return -EFAULT;
        s->size = MIN(s->size, UIO_MAX_BYTES - uio->left);
        uio->left += s->size;
    }
    return 0;
}

static int import(struct uio *uio, struct mm *mm, uaddr_t iov, uint64_t count, bool remote)
{
    static_assert(sizeof(struct uio_segment) == sizeof(struct iovec), "read in place");
    int err;

    if (count > UIO_MAX_SEGMENTS)
        return -EINVAL;
    *uio = (struct uio){.mm = mm, .count = (uint32_t)count, .size_limit = UINT64_MAX};
    uio->segments = &uio->single;
    if (count > 1) {
        uio->segments = malloc(count * sizeof(*uio->segments));
        if (!uio->segments)
            return -ENOMEM;
    }
    err = copy_from_user(mm, uio->segments, iov, count * sizeof(*uio->segments));
    if (!err)
        err = check_segments(uio, remote);
    if (err)
        uio_release(uio);
    return err;
}

void uio_init_segments(struct uio *uio, struct mm *mm, struct uio_segment *segments, uint32_t count)
{
    *uio = (struct uio){.mm = mm, .segments = segments, .count = count, .size_limit = UINT64_MAX};
    for (uint32_t i = 0; i < count; i++)
        uio->left += segments[i].size;
}

int uio_import(struct uio *uio, struct mm *mm, uaddr_t iov, uint64_t count)
{
    return import(uio, mm, iov, count, false);
}

int uio_import_remote(struct uio *uio, struct mm *mm, uaddr_t iov, uint64_t count)
{
    return import(uio, mm, iov, count, true);
}

void uio_release(struct uio *uio)
{
    if (uio->segments != &uio->single)
        free(uio->segments);
    uio->segments = &uio->single;
    uio->count = 0;
    uio->left = 0;
}

void uio_advance(struct uio *uio, uint64_t size)
{
    BUG_ON(size > uio->left);
    uio->left -= size;
    uio->done_in_segment += size;
    while (uio->index < uio->count && uio->done_in_segment >= uio->segments[uio->index].size) {
        uio->done_in_segment -= uio->segments[uio->index].size;
        uio->index++;
    }
}

enum uio_step { COPY_IN, COPY_OUT, ZERO };

static size_t step_user(struct mm *mm, uaddr_t addr, void *buf, size_t n, enum uio_step step)
{
    if (step == COPY_IN)
        return copy_from_user_partial(mm, buf, addr, n);
    if (step == COPY_OUT)
        return copy_to_user_partial(mm, addr, buf, n);
    return clear_user_partial(mm, addr, n);
}

static size_t step_host(void *host, void *buf, size_t n, enum uio_step step)
{
    if (step == COPY_IN)
        memcpy(buf, host, n);
    else if (step == COPY_OUT)
        memcpy(host, buf, n);
    else
        memset(host, 0, n);
    return n;
}

static ssize_t move(struct uio *uio, void *buf, size_t size, enum uio_step step)
{
    size_t done = 0;

    size = MIN(size, uio->left);
    while (done < size) {
        const struct uio_segment *s = &uio->segments[uio->index];
        uint64_t at = s->base + uio->done_in_segment;
        size_t n = MIN(size - done, s->size - uio->done_in_segment), moved;
        void *part = step == ZERO ? NULL : (uint8_t *)buf + done;

        if (uio->mm)
            moved = step_user(uio->mm, at, part, n, step);
        else
            moved = step_host((void *)(uintptr_t)at, part, n, step);
        uio_advance(uio, moved);
        done += moved;
        if (moved < n)
            return done ? (ssize_t)done : -EFAULT;
    }
    return (ssize_t)done;
}

ssize_t uio_copy_in(struct uio *uio, void *dst, size_t size)
{
    return move(uio, dst, size, COPY_IN);
}

ssize_t uio_copy_out(struct uio *uio, const void *src, size_t size)
{
    return move(uio, (void *)src, size, COPY_OUT);
}

ssize_t uio_zero(struct uio *uio, size_t size)
{
    return move(uio, NULL, size, ZERO);
}

/* ---- pinning ------------------------------------------------------------------------------ */

/* Adds bytes at a host address; false when the array is full. */
static bool pin_bytes(struct uio_pin *pin, void *host, uint64_t n)
{
    struct iovec *last = pin->count ? &pin->iov[pin->count - 1] : NULL;

    if (last && (uint8_t *)last->iov_base + last->iov_len == (uint8_t *)host) {
        last->iov_len += n;
    } else {
        if (pin->count == UIO_PIN_MAX)
            return false;
        pin->iov[pin->count] = (struct iovec){host, n};
        pin->range[pin->count] = (struct memfile_range){0, 0};
        pin->count++;
    }
    pin->size += n;
    return true;
}

/* With mm->lock held. How many of the `n` bytes at addr were pinned, as far as one run of pages
 * goes; 0: not accessible, or the array is full. */
static uint64_t pin_run(struct uio_pin *pin, struct mm *mm, uaddr_t addr, uint64_t n, bool to_guest)
    __must_hold(mm->lock)
{
    uint64_t right = to_guest ? PROT_WRITE : PROT_READ, skip = addr & ~PAGE_MASK;
    struct memfile_range run, *range;
    struct fault_info info;

    while (!(pmap_get(&mm->pmap, addr) & right)) {
        if (mm_fault_locked(mm, addr, to_guest ? ACCESS_WRITE : ACCESS_READ, 0, &info))
            return 0;
    }
    run = pmap_run_with(&mm->pmap, addr, round_up(skip + n, PAGE_SIZE), right);
    n = MIN(n, run.size - skip);
    if (!pin_bytes(pin, (uint8_t *)memfile_ptr(pin->memfile, run.start) + skip, n))
        return 0;
    range = &pin->range[pin->count - 1];
    if (range->size && range->start + range->size - PAGE_SIZE == run.start) {
        /* Two segments meet within one page. */
        run.start += PAGE_SIZE;
        run.size -= PAGE_SIZE;
    }
    if (run.size)
        memfile_ref(pin->memfile, run);
    if (!range->size)
        range->start = run.start;
    range->size += run.size;
    return n;
}

static bool pin_segment(struct uio_pin *pin, struct mm *mm, uint64_t at, uint64_t n, bool to_guest)
{
    if (!mm)
        return pin_bytes(pin, (void *)(uintptr_t)at, n);
    if (at > mm->env->limits.user_max || n > mm->env->limits.user_max - at)
        return false;
    lock_acquire(&mm->lock);
    while (n > 0) {
        uint64_t part = pin_run(pin, mm, at, n, to_guest);

        if (part == 0)
            break;
        at += part;
        n -= part;
    }
    lock_release(&mm->lock);
    return n == 0;
}

int uio_pin(struct uio *uio, uint64_t max, bool to_guest, struct uio_pin *ret_pin)
{
    struct uio_pin *pin = ret_pin;
    uint64_t done = uio->done_in_segment, wanted = MIN(max, uio->left);

    pin->memfile = uio->mm ? uio->mm->env->memfile : NULL;
    pin->count = 0;
    pin->size = 0;
    pin->writing_mm = to_guest ? uio->mm : NULL;
    /* First known to fork, then pinned. */
    if (pin->writing_mm) {
        lock_acquire(&pin->writing_mm->lock);
        list_add(&pin->writing_mm->pins, &pin->node);
        lock_release(&pin->writing_mm->lock);
    }
    for (uint32_t i = uio->index; i < uio->count && pin->size < wanted; i++, done = 0) {
        const struct uio_segment *s = &uio->segments[i];

        if (!pin_segment(pin, uio->mm, s->base + done, MIN(s->size - done, wanted - pin->size),
                         to_guest))
            break;
    }
    if (pin->size == 0 && wanted > 0) {
        uio_unpin(pin);
        return -EFAULT;
    }
    return 0;
}

void uio_unpin(struct uio_pin *pin)
{
    if (pin->writing_mm) {
        lock_acquire(&pin->writing_mm->lock);
        list_del_init(&pin->node);
        lock_release(&pin->writing_mm->lock);
        pin->writing_mm = NULL;
    }
    for (int i = 0; i < pin->count; i++) {
        if (pin->range[i].size)
            memfile_unref(pin->memfile, pin->range[i]);
    }
    pin->count = 0;
    pin->size = 0;
}
