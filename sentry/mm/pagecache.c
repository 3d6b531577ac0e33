/*
 * A page cache over something that can be read at an offset. A miss reads the aligned 64 KiB
 * around it in one go, or 256 KiB where something of the same 2 MiB was read before, as far as
 * nothing is cached there and the file reaches, with the small gaps that would be left beside it;
 * what lies behind the end of the file on its last page is zero (mmap(2)).
 *
 * Neighbours in the file shall be neighbours in memory, whatever order they are read in, since a
 * platform maps a run of memory in one call: so the first miss in an aligned 2 MiB takes memory for
 * all of it (`reserved`), which the host need not back yet.
 *
 * `lock` is held while the source is read: two faults on one file read it once.
 *
 * What shared mappings change is written back by pagecache_write.c.
 *
 * What is cached can be read again. So when guest memory runs out, all of it is let go, mapped
 * pages too, and comes back by faults (pagecache_reclaim).
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/mm/pagecache_internal.h"

#define CHUNK_SIZE   (64UL << 10)
#define CHUNK_DENSE  (256UL << 10)
#define REGION_SIZE  HUGE_PAGE_SIZE
#define GAP_MAX      (256UL << 10)
#define RESERVED_MAX (256UL << 20) /* bytes in all caches that wait for what is read later */

static uint64_t reserved_bytes; /* atomic; in all caches */

static struct lock all_lock = LOCK_INIT;
static struct list all_caches = LIST_INIT(all_caches); /* under all_lock */
static uint32_t all_count;

/* One page past the last that has bytes of the file. */
static uint64_t end_of_file(struct pagecache *pc)
{
    uint64_t size = pc->source.size_now(pc->arg);

    return size > PMAP_SPAN ? PMAP_SPAN : round_up(size, PAGE_SIZE);
}

int pagecache_read_bytes(struct pagecache *pc, uint64_t offset, uint8_t *buf, uint64_t size,
                         uint64_t *ret_done)
{
    uint64_t done = 0;

    while (done < size) {
        ssize_t n = pc->source.read(pc->arg, offset + done, buf + done, size - done);

        if (n == -EINTR)
            continue;
        if (n < 0)
            return -EIO;
        if (n == 0)
            break; /* fresh pages are zero */
        done += (uint64_t)n;
    }
    *ret_done = done;
    return 0;
}

/*
 * A run of fresh pages gets its bytes through this buffer and one write to the memfile: so the host
 * takes pages for them without clearing them first and without mapping them here, each of which
 * costs more than copying twice what lies in the processor's cache.
 */
static uint8_t staging[CHUNK_SIZE];
static bool staging_taken; /* atomic */

static int stage_chunk(struct pagecache *pc, uint64_t offset, struct memfile_range range)
{
    uint64_t done = 0, written = 0;
    int err = pagecache_read_bytes(pc, offset, staging, range.size, &done);

    while (!err && written < done) {
        struct iovec iov = {staging + written, done - written};
        ssize_t n = memfile_write(pc->memfile, &iov, 1, range.start + written);

        if (n == 0 || (n < 0 && n != -EINTR))
            err = n < 0 ? (int)n : -EIO;
        written += n > 0 ? (uint64_t)n : 0;
    }
    return err;
}

static int stage(struct pagecache *pc, uint64_t offset, struct memfile_range range)
{
    uint64_t size;
    int err = 0;

    for (uint64_t at = 0; at < range.size && !err; at += size) {
        size = MIN(range.size - at, CHUNK_SIZE);
        err = stage_chunk(pc, offset + at, (struct memfile_range){range.start + at, size});
    }
    return err;
}

static int read_fresh(struct pagecache *pc, uint64_t offset, struct memfile_range range)
{
    uint64_t done;
    int err;

    if (__atomic_exchange_n(&staging_taken, true, __ATOMIC_ACQUIRE)) { /* for another cache */
        memfile_populate(pc->memfile, range);
        return pagecache_read_bytes(pc, offset, memfile_ptr(pc->memfile, range.start), range.size,
                                    &done);
    }
    err = stage(pc, offset, range);
    __atomic_store_n(&staging_taken, false, __ATOMIC_RELEASE);
    return err;
}

/* The stretch around `offset`, within [low, high), of which nothing is in the map. */
static void free_stretch(struct pmap *map, uint64_t offset, uint64_t *low, uint64_t *high)
{
    *low = pmap_free_below(map, offset, *low);
    *high = pmap_next_used(map, offset, *high);
}

/* Where guest memory is plenty, and the region has more than one chunk to come. */
static void reserve(struct pagecache *pc, uint64_t offset, uint64_t file_end) __must_hold(pc->lock)
{
    uint64_t low = round_down(offset, REGION_SIZE), high = MIN(low + REGION_SIZE, file_end);
    uint64_t reserved = __atomic_load_n(&reserved_bytes, __ATOMIC_RELAXED), size;
    struct memfile_stats stats;
    struct memfile_range range;

    memfile_get_stats(pc->memfile, &stats);
    if (pmap_get(&pc->reserved, offset) || stats.allocated > stats.limit / 2)
        return;
    free_stretch(&pc->pages, offset, &low, &high);
    free_stretch(&pc->reserved, offset, &low, &high);
    size = high - low;
    if (size <= CHUNK_SIZE || reserved + size > MIN(RESERVED_MAX, stats.limit / 16) ||
        memfile_alloc(pc->memfile, size, size == REGION_SIZE ? size : PAGE_SIZE, &range))
        return;
    if (pmap_set_run(&pc->reserved, low, size, range.start | PMAP_PRESENT))
        memfile_unref(pc->memfile, range);
    else
        __atomic_add_fetch(&reserved_bytes, size, __ATOMIC_RELAXED);
}

/* Memory for `offset` and, within [low, high), its neighbours: which is in *ret_start. */
static int take_memory(struct pagecache *pc, uint64_t offset, uint64_t low, uint64_t high,
                       uint64_t *ret_start, struct memfile_range *ret) __must_hold(pc->lock)
{
    uint64_t page = pmap_get(&pc->reserved, offset);
    struct pmap_iter it;

    *ret_start = low;
    if (!page)
        return memfile_alloc(pc->memfile, high - low, PAGE_SIZE, ret);
    while (offset > low && pmap_get(&pc->reserved, offset - PAGE_SIZE) == page - PAGE_SIZE) {
        offset -= PAGE_SIZE;
        page -= PAGE_SIZE;
    }
    *ret_start = offset;
    *ret = pmap_run_at(&pc->reserved, offset, high - offset);
    for (pmap_iter_init(&it, &pc->reserved, offset, offset + ret->size); pmap_iter_next(&it);)
        pmap_iter_set(&it, 0);
    __atomic_sub_fetch(&reserved_bytes, ret->size, __ATOMIC_RELAXED);
    return 0;
}

uint64_t pagecache_reserved(void)
{
    return __atomic_load_n(&reserved_bytes, __ATOMIC_RELAXED);
}

/* Who reads here and there in a file reads little, and who comes back to a region all of it. */
static uint64_t chunk_size(struct pagecache *pc, uint64_t offset) __must_hold(pc->lock)
{
    uint64_t region = round_down(offset, REGION_SIZE), end = region + REGION_SIZE;

    return pmap_next_used(&pc->pages, region, end) < end ? CHUNK_DENSE : CHUNK_SIZE;
}

/*
 * What to read at `offset`: its chunk, and small gaps between that and what is cached on either
 * side. Each gap makes two runs of what could be one, to be mapped by two calls in every program
 * that comes by.
 */
static void choose(struct pagecache *pc, uint64_t offset, uint64_t file_end, uint64_t *ret_low,
                   uint64_t *ret_high) __must_hold(pc->lock)
{
    uint64_t region = round_down(offset, REGION_SIZE), size = chunk_size(pc, offset);
    uint64_t low = region, high = MIN(region + REGION_SIZE, file_end);
    uint64_t chunk = round_down(offset, size), end = MIN(chunk + size, high);
    bool above, below;

    free_stretch(&pc->pages, offset, &low, &high);
    below = low > region;
    above = high < MIN(region + REGION_SIZE, file_end);
    *ret_low = low > chunk || (below && chunk - low <= GAP_MAX) ? low : chunk;
    *ret_high = high < end || (above && high - end <= GAP_MAX) ? high : end;
}

static int fill(struct pagecache *pc, uint64_t offset, uint64_t file_end) __must_hold(pc->lock)
{
    uint64_t low, high, start;
    struct memfile_range range;
    int err;

    choose(pc, offset, file_end, &low, &high);
    reserve(pc, offset, file_end);
    err = take_memory(pc, offset, low, high, &start, &range);
    if (err)
        return err;
    err = read_fresh(pc, start, range);
    if (!err)
        err = pmap_set_run(&pc->pages, start, range.size, range.start | PMAP_PRESENT);
    if (err)
        memfile_unref(pc->memfile, range);
    return err;
}

static int pagecache_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                               struct memfile_range *ret_range)
{
    struct pagecache *pc = to_pagecache(m);
    uint64_t file_end = end_of_file(pc);
    int err = 0;

    if (offset >= file_end || (write && !pc->source.write))
        return -EFAULT; /* where nothing can be written, max_prot refused such mappings */
    lock_acquire(&pc->lock);
    if (!pmap_get(&pc->pages, offset))
        err = fill(pc, offset, file_end);
    if (!err) {
        *ret_range = pmap_run_at(&pc->pages, offset, MIN(want, file_end - offset));
        if (write)
            err = pagecache_mark_dirty(pc, offset, ret_range->size);
    }
    if (!err)
        memfile_ref(pc->memfile, *ret_range);
    lock_release(&pc->lock);
    return err;
}

static bool pagecache_resident(struct mappable *m, uint64_t offset)
{
    struct pagecache *pc = to_pagecache(m);
    bool there;

    lock_acquire(&pc->lock);
    there = pmap_get(&pc->pages, offset) != 0;
    lock_release(&pc->lock);
    return there;
}

static bool pagecache_cached(struct mappable *m, uint64_t offset)
{
    struct pagecache *pc = to_pagecache(m);

    return pagecache_resident(m, offset) ||
           (pc->source.cached && pc->source.cached(pc->arg, offset));
}

uint64_t pagecache_bytes(struct mappable *m)
{
    struct pagecache *pc = to_pagecache(m);
    uint64_t bytes;

    lock_acquire(&pc->lock);
    bytes = pc->pages.present * PAGE_SIZE;
    lock_release(&pc->lock);
    return bytes;
}

uint64_t pagecache_total(void)
{
    struct pagecache *pc;
    uint64_t bytes = 0;

    lock_acquire(&all_lock);
    list_for_each (pc, &all_caches, all_node)
        bytes += __atomic_load_n(&pc->pages.present, __ATOMIC_RELAXED) * PAGE_SIZE;
    lock_release(&all_lock);
    return bytes;
}

void pagecache_unreserve(struct pagecache *pc, uint64_t start, uint64_t end) __must_hold(pc->lock)
{
    uint64_t before = pc->reserved.present;

    pmap_unref_range(&pc->reserved, pc->memfile, start, end);
    __atomic_sub_fetch(&reserved_bytes, (before - pc->reserved.present) * PAGE_SIZE,
                       __ATOMIC_RELAXED);
}

/* The next cache in turn, referenced; NULL when it is going away just now, or there is none. */
static struct pagecache *next_in_turn(void)
{
    struct pagecache *pc = NULL;

    lock_acquire(&all_lock);
    if (!list_empty(&all_caches)) {
        pc = list_first(&all_caches, struct pagecache, all_node);
        list_del_init(&pc->all_node);
        list_add_tail(&all_caches, &pc->all_node);
        if (!refcount_get_unless_zero(&pc->base.refs))
            pc = NULL;
    }
    lock_release(&all_lock);
    return pc;
}

static void each_in_turn(void (*visit)(struct pagecache *pc, void *arg), void *arg)
{
    uint32_t count;

    lock_acquire(&all_lock);
    count = all_count;
    lock_release(&all_lock);
    while (count-- > 0) {
        struct pagecache *pc = next_in_turn();

        if (!pc)
            continue;
        visit(pc, arg);
        mappable_unref(&pc->base);
    }
}

static void reclaim_one(struct pagecache *pc, void *arg)
{
    uint64_t *freed = arg;

    *freed += pc->source.write ? pagecache_drop_unused(pc) : pagecache_drop_all(pc);
}

uint64_t pagecache_reclaim(void)
{
    uint64_t freed = 0;

    each_in_turn(reclaim_one, &freed);
    return freed;
}

static void flush_one(struct pagecache *pc, void *arg)
{
    int *result = arg, err = pagecache_flush(&pc->base, 0, UINT64_MAX);

    *result = *result ? *result : err;
}

int pagecache_flush_all(void)
{
    int result = 0;

    each_in_turn(flush_one, &result);
    return result;
}

static void pagecache_release(struct mappable *m)
{
    struct pagecache *pc = to_pagecache(m);

    lock_acquire(&all_lock);
    list_del_init(&pc->all_node);
    all_count--;
    lock_release(&all_lock);

    pagecache_write_out(pc);
    /* Whoever changes the source may look at the cache until then. */
    if (pc->source.release)
        pc->source.release(pc->arg);
    pmap_destroy(&pc->dirty);
    pmap_destroy(&pc->reserved);
    lock_destroy(&pc->lock);
    mappable_fini(m);
    free(pc);
}

static void pagecache_name(struct mappable *m, char *buf, size_t size)
{
    struct pagecache *pc = to_pagecache(m);

    if (size > 0)
        buf[0] = 0;
    if (pc->source.name)
        pc->source.name(pc->arg, buf, size);
}

static bool pagecache_is_stable(struct mappable *m)
{
    return to_pagecache(m)->source.is_stable;
}

static const struct mappable_ops pagecache_ops = {
    .get_pages = pagecache_get_pages,
    .release = pagecache_release,
    .name = pagecache_name,
    .resident = pagecache_resident,
    .cached = pagecache_cached,
    .text_is_stable = pagecache_is_stable,
};

static const struct mappable_ops writable_ops = {
    .get_pages = pagecache_get_pages,
    .release = pagecache_release,
    .name = pagecache_name,
    .sync = pagecache_flush,
    .resident = pagecache_resident,
    .cached = pagecache_cached,
    .wants_write_notice = true,
};

int pagecache_create(struct memfile *mf, const struct pagecache_source *source, void *arg,
                     struct mappable **ret)
{
    struct pagecache *pc = calloc(1, sizeof(*pc));

    if (!pc)
        return -ENOMEM;
    mappable_init(&pc->base, source->write ? &writable_ops : &pagecache_ops);
    pc->memfile = mf;
    pc->source = *source;
    pc->arg = arg;
    lock_init(&pc->lock);
    pmap_init(&pc->pages);
    pmap_init(&pc->dirty);
    pmap_init(&pc->reserved);
    lock_acquire(&all_lock);
    list_add_tail(&all_caches, &pc->all_node);
    all_count++;
    lock_release(&all_lock);
    *ret = &pc->base;
    return 0;
}
