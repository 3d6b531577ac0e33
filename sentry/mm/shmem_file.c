/*
 * Reading, writing and cutting the files of shmem.h.
 *
 * Bytes are copied without the object's lock: the pages are referenced under it, and stay what they
 * are while the copy runs. So a program may read a file into a mapping of that very file.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sentry/mm/shmem_internal.h"
#include "sentry/mm/uio.h"

#define COPY_MAX  (1UL << 20)  /* referenced at a time */
#define READY_MIN (32UL << 10) /* so much is mapped before it is written, not page by page */

uint64_t shmem_file_size(struct mappable *m)
{
    struct shmem *s = to_shmem(m);
    uint64_t size;

    lock_acquire(&s->lock);
    size = s->size;
    lock_release(&s->lock);
    return size;
}

/* The pages from `offset` on that hold bytes, referenced; a size of 0: a hole of *ret_hole bytes.
 */
static struct memfile_range take_run(struct shmem *s, uint64_t offset, uint64_t size,
                                     uint64_t *ret_hole) __must_hold(s->lock)
{
    uint64_t page = round_down(offset, PAGE_SIZE);
    uint64_t last = offset + MIN(size, COPY_MAX), end = round_up(MIN(last, PMAP_SPAN), PAGE_SIZE);
    struct memfile_range range = {0, 0};

    if (pmap_get(&s->pages, page)) {
        range = pmap_run_at(&s->pages, page, end - page);
        memfile_ref(s->memfile, range);
    } else {
        *ret_hole = pmap_next_used(&s->pages, page, end) - offset;
    }
    return range;
}

/* From `range`, whose first byte is at page(offset), at most `size` bytes. */
static ssize_t copy_out(struct shmem *s, struct uio *uio, struct memfile_range range,
                        uint64_t offset, uint64_t size)
{
    uint64_t skip = offset & ~PAGE_MASK;
    const uint8_t *bytes = memfile_ptr(s->memfile, range.start);
    ssize_t n = uio_copy_out(uio, bytes + skip, MIN(size, range.size - skip));

    memfile_unref(s->memfile, range);
    return n;
}

ssize_t shmem_file_read(struct mappable *m, struct uio *uio, uint64_t offset)
{
    struct shmem *s = to_shmem(m);
    size_t done = 0;

    while (uio->left > 0) {
        struct memfile_range range = {0, 0};
        uint64_t size = 0, hole = 0, want;
        ssize_t n;

        lock_acquire(&s->lock);
        if (offset < s->size) {
            size = MIN(s->size - offset, uio->left);
            range = take_run(s, offset, size, &hole);
        }
        lock_release(&s->lock);
        if (size == 0)
            break;
        want = range.size ? MIN(size, range.size - (offset & ~PAGE_MASK)) : MIN(size, hole);
        n = range.size ? copy_out(s, uio, range, offset, size) : uio_zero(uio, want);
        if (n < 0)
            return done ? (ssize_t)done : n;
        done += (size_t)n;
        offset += (uint64_t)n;
        if ((uint64_t)n < want)
            break;
    }
    return (ssize_t)done;
}

/* The pages for a write at `offset`, made where they are missing: then *ret_fresh. */
static int prepare_write(struct shmem *s, uint64_t offset, uint64_t size, struct memfile_range *ret,
                         bool *ret_fresh) __must_hold(s->lock)
{
    uint64_t page = round_down(offset, PAGE_SIZE), filled;
    uint64_t end = round_up(offset + MIN(size, COPY_MAX), PAGE_SIZE);
    int err = 0;

    *ret_fresh = !pmap_get(&s->pages, page);
    if (*ret_fresh) {
        err = shmem_fill(s, page, pmap_next_used(&s->pages, page, end), &filled);
        end = filled;
    }
    if (!err) {
        *ret = pmap_run_at(&s->pages, page, end - page);
        memfile_ref(s->memfile, *ret);
    }
    return err;
}

/* Bytes of the program to `at` in the memfile, in pages that the host has nothing for yet. */
static ssize_t write_fresh(struct shmem *s, struct uio *uio, uint64_t at, uint64_t size)
{
    uint64_t done = 0;
    ssize_t n = 0;

    while (done < size) {
        struct uio_pin pin;

        n = uio_pin(uio, size - done, false, &pin);
        if (n < 0)
            break;
        n = memfile_write(s->memfile, pin.iov, pin.count, at + done);
        uio_unpin(&pin);
        if (n <= 0)
            break;
        uio_advance(uio, (uint64_t)n);
        done += (uint64_t)n;
    }
    return done ? (ssize_t)done : n;
}

static ssize_t write_run(struct shmem *s, struct uio *uio, uint64_t at, uint64_t size, bool fresh)
{
    if (fresh && size >= PAGE_SIZE)
        return write_fresh(s, uio, at, size);
    if (size >= READY_MIN) {
        uint64_t page = round_down(at, PAGE_SIZE);

        memfile_make_ready(s->memfile,
                           (struct memfile_range){page, round_up(at + size, PAGE_SIZE) - page});
    }
    return uio_copy_in(uio, memfile_ptr(s->memfile, at), size);
}

ssize_t shmem_file_write(struct mappable *m, struct uio *uio, uint64_t offset, uint64_t size)
{
    struct shmem *s = to_shmem(m);
    uint64_t done = 0;
    ssize_t n = 0;

    while (done < size) {
        struct memfile_range range;
        uint64_t at = offset + done, skip = at & ~PAGE_MASK, want;
        bool fresh;

        lock_acquire(&s->lock);
        n = prepare_write(s, at, size - done, &range, &fresh);
        lock_release(&s->lock);
        if (n < 0)
            break;
        want = MIN(size - done, range.size - skip);
        n = write_run(s, uio, range.start + skip, want, fresh);
        memfile_unref(s->memfile, range);
        lock_acquire(&s->lock);
        if (n > 0) {
            done += (uint64_t)n;
            s->size = MAX(s->size, at + (uint64_t)n);
        }
        /* Pages for bytes that did not come. */
        if (n < (ssize_t)want)
            shmem_drop(s, round_up(MAX(s->size, at), PAGE_SIZE), round_up(at + want, PAGE_SIZE));
        lock_release(&s->lock);
        if (n < (ssize_t)want)
            break;
    }
    return done ? (ssize_t)done : n;
}

/* Zeroes the part of one page, if it is there. */
static void zero_part(struct shmem *s, uint64_t start, uint64_t end) __must_hold(s->lock)
{
    uint64_t entry =
        start < end && start < PMAP_SPAN ? pmap_get(&s->pages, round_down(start, PAGE_SIZE)) : 0;

    if (entry)
        memset((uint8_t *)memfile_ptr(s->memfile, entry & ~PMAP_FLAGS) + (start & ~PAGE_MASK), 0,
               end - start);
}

void shmem_file_truncate(struct mappable *m, uint64_t size)
{
    struct shmem *s = to_shmem(m);
    uint64_t from = round_up(MIN(size, SHMEM_SIZE_MAX), PAGE_SIZE), old;

    lock_acquire(&s->lock);
    old = s->size;
    s->size = size;
    if (size < old) {
        shmem_drop(s, from, PMAP_SPAN);
        zero_part(s, size, from);
    }
    lock_release(&s->lock);
    if (size < old)
        mappable_invalidate(m, from, UINT64_MAX, true);
}

void shmem_file_punch(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct shmem *s = to_shmem(m);
    uint64_t end = MIN(offset + size, SHMEM_SIZE_MAX);
    uint64_t low = round_up(offset, PAGE_SIZE), high = round_down(end, PAGE_SIZE);

    if (offset >= end)
        return;
    lock_acquire(&s->lock);
    if (low > high) {
        zero_part(s, offset, end); /* within one page */
    } else {
        zero_part(s, offset, low);
        zero_part(s, high, end);
        shmem_drop(s, low, high);
    }
    lock_release(&s->lock);
    if (low < high)
        mappable_invalidate(m, low, high - low, false);
}

/* The pages of [start, end) that are holes, in bytes. */
static uint64_t missing(struct shmem *s, uint64_t start, uint64_t end) __must_hold(s->lock)
{
    uint64_t there = 0;
    struct pmap_iter it;

    for (pmap_iter_init(&it, &s->pages, start, end); pmap_iter_next(&it);)
        there += PAGE_SIZE;
    return end - start - there;
}

int shmem_file_allocate(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct shmem *s = to_shmem(m);
    uint64_t at = round_down(offset, PAGE_SIZE), end = round_up(offset + size, PAGE_SIZE), want;
    int err;

    lock_acquire(&s->lock);
    want = missing(s, at, end);
    err = s->budget ? shmem_budget_take(s->budget, want) : 0;
    if (!err && s->budget)
        shmem_budget_give(s->budget, want); /* there was room: now page by page */
    while (!err && at < end) {
        if (pmap_get(&s->pages, at))
            at += pmap_run_at(&s->pages, at, end - at).size;
        else
            err = shmem_fill(s, at, pmap_next_used(&s->pages, at, end), &at);
    }
    lock_release(&s->lock);
    return err == -ENOMEM ? -ENOSPC : err;
}

static uint64_t next_hole(struct shmem *s, uint64_t page, uint64_t end) __must_hold(s->lock)
{
    while (page < end && pmap_get(&s->pages, page))
        page += pmap_run_at(&s->pages, page, end - page).size;
    return MIN(page, end);
}

int64_t shmem_file_seek(struct mappable *m, int64_t offset, int whence)
{
    struct shmem *s = to_shmem(m);
    int64_t result = -ENXIO;

    lock_acquire(&s->lock);
    if (offset >= 0 && (uint64_t)offset < s->size) {
        uint64_t at = (uint64_t)offset, page = round_down(at, PAGE_SIZE);
        uint64_t end = MIN(round_up(s->size, PAGE_SIZE), PMAP_SPAN), found;

        found = whence == SEEK_HOLE || at >= PMAP_SPAN ? next_hole(s, page, end)
                                                       : pmap_next_used(&s->pages, page, end);
        found = MAX(found, at);
        found = MIN(found, s->size);
        if (whence == SEEK_HOLE || (found < s->size && at < PMAP_SPAN))
            result = (int64_t)found;
    }
    lock_release(&s->lock);
    return result;
}
