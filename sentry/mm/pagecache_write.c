/*
 * A page cache that shared mappings may change: which pages they may have changed (`dirty`, from
 * the first write of a mapping on), and how that gets to the source.
 *
 * Bytes come to the source in two ways, from the cache and by write(2), which then tells the cache.
 * The source's write_lock makes each of them one step: else a page could be written back over what
 * write(2) has just written and the cache has not taken over yet, or behind an end that was cut.
 *
 *     write_lock of the source  ->  pc->lock  ->  the memfile's
 *
 * Invariant: a page that a mapping can store to is in `pages` and in `dirty`. So pages that must
 * not be lost go only when nobody but the cache holds them: a mapping forgets its page before, and
 * gets no new one while pc->lock is held.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "sentry/mm/pagecache_internal.h"

static void write_begin(struct pagecache *pc) __acquires(pc->lock) __no_lock_analysis
{
    if (pc->source.write_lock)
        lock_acquire(pc->source.write_lock(pc->arg));
    lock_acquire(&pc->lock);
}

static void write_end(struct pagecache *pc) __releases(pc->lock) __no_lock_analysis
{
    lock_release(&pc->lock);
    if (pc->source.write_lock)
        lock_release(pc->source.write_lock(pc->arg));
}

static uint64_t range_end(uint64_t offset, uint64_t size)
{
    return size > PMAP_SPAN || offset > PMAP_SPAN - size ? PMAP_SPAN : offset + size;
}

int pagecache_mark_dirty(struct pagecache *pc, uint64_t offset, uint64_t size) __must_hold(pc->lock)
{
    int err = 0;

    /* Page by page: a run's entries would count upwards into the flags of others. */
    for (uint64_t at = offset; at < offset + size && !err; at += PAGE_SIZE)
        err = pmap_set_run(&pc->dirty, at, PAGE_SIZE, PMAP_PRESENT);
    return err;
}

/* Writes [offset, end), page aligned, of which all is cached, as far as the file reaches. */
static int write_run(struct pagecache *pc, struct memfile_range range, uint64_t offset,
                     uint64_t size) __must_hold(pc->lock)
{
    const uint8_t *bytes = memfile_ptr(pc->memfile, range.start);
    uint64_t left = offset < size ? MIN(range.size, size - offset) : 0;

    while (left > 0) {
        ssize_t n = pc->source.write(pc->arg, offset, bytes, left);

        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        bytes += n;
        offset += (uint64_t)n;
        left -= (uint64_t)n;
    }
    return 0;
}

/* `clean`: nobody can have a page mapped for writing, so what was written is not dirty any more. */
static int flush(struct pagecache *pc, uint64_t start, uint64_t end, bool clean)
    __must_hold(pc->lock)
{
    uint64_t size = pc->dirty.present ? pc->source.size_now(pc->arg) : 0;
    struct pmap_iter it;
    int err = 0;

    for (pmap_iter_init(&it, &pc->dirty, start, end); pmap_iter_next(&it) && !err;) {
        uint64_t page = pmap_get(&pc->pages, it.addr);

        if (page)
            err =
                write_run(pc, (struct memfile_range){page & ~PMAP_FLAGS, PAGE_SIZE}, it.addr, size);
        if (clean && !err)
            pmap_iter_set(&it, 0);
    }
    return err;
}

int pagecache_flush(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct pagecache *pc = to_pagecache(m);
    int err;

    if (!pc->source.write)
        return 0;
    write_begin(pc);
    err = flush(pc, round_down(offset, PAGE_SIZE), range_end(offset, size), false);
    write_end(pc);
    return err;
}

int pagecache_flush_held(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct pagecache *pc = to_pagecache(m);
    int err;

    lock_acquire(&pc->lock);
    err = flush(pc, round_down(offset, PAGE_SIZE), range_end(offset, size), false);
    lock_release(&pc->lock);
    return err;
}

static void reread(struct pagecache *pc, uint64_t start, uint64_t end) __must_hold(pc->lock)
{
    struct pmap_iter it;

    for (pmap_iter_init(&it, &pc->pages, round_down(start, PAGE_SIZE), end); pmap_iter_next(&it);) {
        uint64_t low = MAX(it.addr, start), high = MIN(it.addr + PAGE_SIZE, end);
        uint8_t *page = memfile_ptr(pc->memfile, it.entry & ~PMAP_FLAGS);
        uint64_t done;

        (void)pagecache_read_bytes(pc, low, page + (low - it.addr), high - low, &done);
    }
}

void pagecache_reread(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct pagecache *pc = to_pagecache(m);

    lock_acquire(&pc->lock);
    reread(pc, offset, MIN(offset + size, PMAP_SPAN));
    lock_release(&pc->lock);
}

/* ---- what the source has lost --------------------------------------------------------------- */

/* [from, to), within one page, where that is cached. */
static void zero_part(struct pagecache *pc, uint64_t from, uint64_t to) __must_hold(pc->lock)
{
    uint64_t page = pmap_get(&pc->pages, round_down(from, PAGE_SIZE));

    if (page && from < to)
        memset((uint8_t *)memfile_ptr(pc->memfile, page & ~PMAP_FLAGS) + from % PAGE_SIZE, 0,
               to - from);
}

/* Whole pages, without writing them. */
static void forget(struct pagecache *pc, uint64_t start, uint64_t end) __must_hold(pc->lock)
{
    struct pmap_iter it;

    if (start >= end)
        return;
    for (pmap_iter_init(&it, &pc->dirty, start, end); pmap_iter_next(&it);)
        pmap_iter_set(&it, 0);
    pmap_unref_range(&pc->pages, pc->memfile, start, end);
    pagecache_unreserve(pc, start, end);
}

void pagecache_cut_held(struct mappable *m, uint64_t old_size, uint64_t size)
{
    struct pagecache *pc = to_pagecache(m);
    uint64_t end = MIN(size, PMAP_SPAN);

    lock_acquire(&pc->lock);
    /* What mappings stored behind the old end is not in the file. */
    if (old_size < end) {
        zero_part(pc, old_size, MIN(end, round_up(old_size, PAGE_SIZE)));
        reread(pc, old_size, MIN(end, round_up(old_size, PAGE_SIZE)));
    }
    zero_part(pc, end, round_up(end, PAGE_SIZE));
    forget(pc, round_up(end, PAGE_SIZE), PMAP_SPAN);
    lock_release(&pc->lock);
}

void pagecache_zero_held(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct pagecache *pc = to_pagecache(m);
    uint64_t end = range_end(offset, size), first = round_up(offset, PAGE_SIZE);
    uint64_t last = round_down(end, PAGE_SIZE);

    lock_acquire(&pc->lock);
    zero_part(pc, offset, MIN(first, end));
    if (last >= first) {
        zero_part(pc, last, end);
        forget(pc, first, last);
    }
    lock_release(&pc->lock);
}

void pagecache_forget_held(struct mappable *m, uint64_t offset)
{
    struct pagecache *pc = to_pagecache(m);

    lock_acquire(&pc->lock);
    forget(pc, round_down(MIN(offset, PMAP_SPAN), PAGE_SIZE), PMAP_SPAN);
    lock_release(&pc->lock);
}

/* ---- letting go ----------------------------------------------------------------------------- */

uint64_t pagecache_drop_all(struct pagecache *pc)
{
    uint64_t freed;

    lock_acquire(&pc->lock);
    freed = (pc->pages.present + pc->reserved.present) * PAGE_SIZE;
    forget(pc, 0, PMAP_SPAN);
    lock_release(&pc->lock);
    mappable_drop(&pc->base);
    return freed;
}

/* Whether the page is as the source has it, or is so now. */
static bool settle(struct pagecache *pc, uint64_t at, uint64_t page, uint64_t size)
    __must_hold(pc->lock)
{
    struct pmap_iter it;

    for (pmap_iter_init(&it, &pc->dirty, at, at + PAGE_SIZE); pmap_iter_next(&it);) {
        if (write_run(pc, (struct memfile_range){page, PAGE_SIZE}, at, size) < 0)
            return false;
        pmap_iter_set(&it, 0);
    }
    return true;
}

uint64_t pagecache_drop_unused(struct pagecache *pc)
{
    uint64_t before, size, freed;
    struct pmap_iter it;

    mappable_drop(&pc->base);
    write_begin(pc);
    before = pc->pages.present + pc->reserved.present;
    size = pc->source.size_now(pc->arg);
    for (pmap_iter_init(&it, &pc->pages, 0, PMAP_SPAN); pmap_iter_next(&it);) {
        uint64_t page = it.entry & ~PMAP_FLAGS;

        if (memfile_page_refs(pc->memfile, page) > 1 || !settle(pc, it.addr, page, size))
            continue;
        pmap_iter_set(&it, 0);
        memfile_unref(pc->memfile, (struct memfile_range){page, PAGE_SIZE});
    }
    pagecache_unreserve(pc, 0, PMAP_SPAN);
    freed = (before - pc->pages.present - pc->reserved.present) * PAGE_SIZE;
    write_end(pc);
    return freed;
}

void pagecache_write_out(struct pagecache *pc)
{
    int err;

    write_begin(pc);
    err = flush(pc, 0, PMAP_SPAN, true);
    if (err < 0)
        log_error("a mapped file could not be written back (%d)", -err);
    forget(pc, 0, PMAP_SPAN);
    write_end(pc);
}
