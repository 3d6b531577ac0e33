/*
 * The memfile's page allocator.
 *
 * Each page has a reference count and, while it can be handed out, a bit in the free map
 * (freemap.h).
 *
 *   allocated (refs >= 1)  --unref to 0-->  limbo: neither counted nor free  --punched-->  free
 *                          <--  dirty  <--
 *                          <--cleared--  warm  <--
 *
 * Memory that the host has just given costs several times what clearing a page costs, so some of
 * what was freed stays with its bytes: single pages for those who overwrite them (`dirty`), and
 * runs for those who will touch all of them soon (`warm`).
 *
 * A page passes limbo without any lock held, since punching a hole is slow and calls back into
 * the KVM MMU notifiers. Invariant: bit set in the free map => refs == 0 and the page is a hole.
 *
 * The Sentry's mapping covers the limit from the start (address space costs nothing); bytes behind
 * the file's end are never handed out.
 */
#include "platform/memfile_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/log.h"
#include "host/io.h"
#include "host/memory.h"

/* The file grows by its own size, within these: few slots in the end, little to set up at first. */
#define GROW_MIN (64UL << 20)
#define GROW_MAX (1UL << 30)

static uint64_t refs_size(const struct memfile *mf)
{
    return round_up(mf->limit / PAGE_SIZE * sizeof(uint32_t), PAGE_SIZE);
}

static uint64_t mapped_size(const struct memfile *mf)
{
    return round_up(mf->limit / PAGE_SIZE / 8, PAGE_SIZE);
}

int memfile_create(uint64_t limit, struct memfile **ret)
{
    struct memfile *mf;
    void *base, *refs, *mapped;
    int err;

    BUG_ON(limit == 0 || !is_aligned(limit, BLOCK_SIZE));
    mf = calloc(1, sizeof(*mf));
    if (!mf)
        return -ENOMEM;
    mf->limit = limit;
    lock_init(&mf->grow_lock);
    lock_init(&mf->lock);
    err = host_memfd_create("kvmsentry-memory");
    if (err < 0)
        goto fail_free;
    mf->fd = err;
    err = host_mmap(NULL, limit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, mf->fd, 0,
                    &base);
    if (err)
        goto fail_fd;
    mf->base = base;
    err = host_mmap(NULL, refs_size(mf), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &refs);
    if (err)
        goto fail_base;
    mf->refs = refs;
    err = host_mmap(NULL, mapped_size(mf), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &mapped);
    if (err)
        goto fail_refs;
    mf->mapped = mapped;
    err = freemap_init(&mf->map, limit / BLOCK_SIZE);
    if (err)
        goto fail_mapped;
    err = freemap_init(&mf->warm, limit / BLOCK_SIZE);
    if (err)
        goto fail_map;
    *ret = mf;
    return 0;

fail_map:
    freemap_fini(&mf->map);
fail_mapped:
    host_munmap(mapped, mapped_size(mf));
fail_refs:
    host_munmap(refs, refs_size(mf));
fail_base:
    host_munmap(base, limit);
fail_fd:
    host_memfd_close(mf->fd);
fail_free:
    free(mf);
    return err;
}

void memfile_destroy(struct memfile *mf)
{
    if (!mf)
        return;
    freemap_fini(&mf->warm);
    freemap_fini(&mf->map);
    host_munmap(mf->mapped, mapped_size(mf));
    host_munmap(mf->refs, refs_size(mf));
    host_munmap(mf->base, mf->limit);
    host_memfd_close(mf->fd);
    lock_destroy(&mf->lock);
    lock_destroy(&mf->grow_lock);
    free(mf);
}

void memfile_set_grow(struct memfile *mf, memfile_grow_fn fn, void *arg)
{
    mf->grow_fn = fn;
    mf->grow_arg = arg;
}

int memfile_fd(const struct memfile *mf)
{
    return mf->fd;
}

void memfile_get_stats(struct memfile *mf, struct memfile_stats *ret_stats)
{
    lock_acquire(&mf->lock);
    *ret_stats = (struct memfile_stats){
        .limit = mf->limit,
        .allocated = mf->allocated,
        .extent = mf->extent,
    };
    lock_release(&mf->lock);
}

/* ---- growth ------------------------------------------------------------------------------- */

/* Makes the file longer by at least `size` bytes, unless another thread just did. */
static int grow(struct memfile *mf, uint64_t seen_extent, uint64_t size)
{
    uint64_t old, extent, step;
    int err = 0;

    lock_acquire(&mf->grow_lock);
    lock_acquire(&mf->lock);
    old = mf->extent;
    lock_release(&mf->lock);
    if (old != seen_extent)
        goto out; /* look again first */

    step = old < GROW_MIN ? GROW_MIN : MIN(old, GROW_MAX);
    extent = MIN(old + MAX(round_up(size, BLOCK_SIZE), step), mf->limit);
    if (extent - old < size) {
        err = -ENOMEM;
        goto out;
    }
    err = host_ftruncate(mf->fd, extent);
    if (!err && mf->grow_fn)
        err = mf->grow_fn(mf->grow_arg, old, extent);
    if (err) {
        log_warning("guest memory cannot grow to %lu MiB: error %d", extent >> 20, -err);
        err = -ENOMEM;
        goto out;
    }
    lock_acquire(&mf->lock);
    mf->extent = extent;
    freemap_extend(&mf->map, extent / BLOCK_SIZE);
    freemap_extend_empty(&mf->warm, extent / BLOCK_SIZE);
    lock_release(&mf->lock);
out:
    lock_release(&mf->grow_lock);
    return err;
}

/* ---- what the Sentry's mapping has -------------------------------------------------------- */

bool memfile_is_ready(const struct memfile *mf, struct memfile_range r)
{
    for (uint64_t page = r.start / PAGE_SIZE; page < (r.start + r.size) / PAGE_SIZE; page++) {
        if (!(__atomic_load_n(&mf->mapped[page / 64], __ATOMIC_RELAXED) >> page % 64 & 1))
            return false;
    }
    return true;
}

static void note_mapped(struct memfile *mf, struct memfile_range r, bool is)
{
    for (uint64_t page = r.start / PAGE_SIZE; page < (r.start + r.size) / PAGE_SIZE; page++) {
        uint64_t bit = 1UL << page % 64, *word = &mf->mapped[page / 64];

        if (is)
            __atomic_or_fetch(word, bit, __ATOMIC_RELAXED);
        else if (__atomic_load_n(word, __ATOMIC_RELAXED) & bit)
            __atomic_and_fetch(word, ~bit, __ATOMIC_RELAXED);
    }
}

void memfile_make_ready(struct memfile *mf, struct memfile_range range)
{
    if (!memfile_is_ready(mf, range))
        memfile_populate(mf, range);
}

/* ---- the public calls --------------------------------------------------------------------- */

void memfile_punch(struct memfile *mf, struct memfile_range r)
{
    int err = host_punch_hole(mf->fd, r.start, r.size);

    note_mapped(mf, r, false);
    /* Handing out a page with old contents would leak them from one program to another. */
    if (err)
        BUG("punching the memfile at %#lx: error %d", r.start, -err);
    lock_acquire(&mf->lock);
    freemap_give(&mf->map, r.start / PAGE_SIZE, r.size / PAGE_SIZE);
    lock_release(&mf->lock);
}

/* The caller's from now on. */
static void hand_out(struct memfile *mf, struct memfile_range r)
{
    lock_acquire(&mf->lock);
    mf->allocated += r.size;
    lock_release(&mf->lock);
    for (uint64_t at = r.start; at < r.start + r.size; at += PAGE_SIZE)
        __atomic_store_n(&mf->refs[at / PAGE_SIZE], 1, __ATOMIC_RELAXED);
}

int memfile_alloc_dirty(struct memfile *mf, uint64_t size, struct memfile_range *ret)
{
    int64_t page = size == PAGE_SIZE ? memfile_take_dirty(mf) : -1;

    if (page >= 0)
        *ret = (struct memfile_range){(uint64_t)page, PAGE_SIZE};
    else if (!memfile_take_warm(mf, size, PAGE_SIZE, ret))
        return memfile_alloc(mf, size, PAGE_SIZE, ret);
    hand_out(mf, *ret);
    return 0;
}

int memfile_alloc_soon(struct memfile *mf, uint64_t size, uint64_t align, struct memfile_range *ret)
{
    if (size > WARM_RUN_MAX || !memfile_take_warm(mf, size, align, ret))
        return memfile_alloc(mf, size, align, ret);
    memfile_make_ready(mf, *ret);
    memset(mf->base + ret->start, 0, size);
    hand_out(mf, *ret);
    return 0;
}

int memfile_alloc(struct memfile *mf, uint64_t size, uint64_t align, struct memfile_range *ret)
{
    uint64_t pages = size / PAGE_SIZE, seen_extent;
    int64_t first;
    int err;

    BUG_ON(size == 0 || !is_aligned(size, PAGE_SIZE));
    BUG_ON(align > BLOCK_SIZE || (align & (align - 1)) != 0);
    if (size > mf->limit)
        return -ENOMEM;
    for (;;) {
        lock_acquire(&mf->lock);
        first = freemap_take(&mf->map, pages, MAX(align / PAGE_SIZE, 1UL));
        if (first >= 0)
            mf->allocated += size;
        seen_extent = mf->extent;
        lock_release(&mf->lock);
        if (first >= 0)
            break;
        err = grow(mf, seen_extent, size);
        if (err && !memfile_let_all_go(mf))
            return err;
    }
    for (uint64_t i = 0; i < pages; i++)
        __atomic_store_n(&mf->refs[(uint64_t)first + i], 1, __ATOMIC_RELAXED);
    *ret = (struct memfile_range){(uint64_t)first * PAGE_SIZE, size};
    return 0;
}

static void check_range(const struct memfile *mf, struct memfile_range r)
{
    BUG_ON(!is_aligned(r.start | r.size, PAGE_SIZE));
    BUG_ON(r.start > mf->limit || r.size > mf->limit - r.start);
}

void memfile_ref(struct memfile *mf, struct memfile_range range)
{
    uint64_t page = range.start / PAGE_SIZE, end = (range.start + range.size) / PAGE_SIZE;

    check_range(mf, range);
    for (; page < end; page++) {
        uint32_t old = __atomic_fetch_add(&mf->refs[page], 1, __ATOMIC_RELAXED);

        if (unlikely(old == 0 || old >= UINT32_MAX / 2))
            BUG("memfile page %lu: reference count %u raised", page, old);
    }
}

void memfile_unref(struct memfile *mf, struct memfile_range range)
{
    uint64_t end = range.start + range.size;
    struct memfile_range dead = {range.start, 0};

    check_range(mf, range);
    for (uint64_t at = range.start; at < end; at += PAGE_SIZE) {
        uint32_t old = __atomic_fetch_sub(&mf->refs[at / PAGE_SIZE], 1, __ATOMIC_ACQ_REL);

        if (unlikely(old == 0))
            BUG("memfile page at %#lx: reference count dropped below zero", at);
        if (old == 1) {
            dead.size += PAGE_SIZE;
            continue;
        }
        if (dead.size)
            memfile_release(mf, dead);
        dead = (struct memfile_range){at + PAGE_SIZE, 0};
    }
    if (dead.size)
        memfile_release(mf, dead);
}

uint32_t memfile_page_refs(struct memfile *mf, uint64_t offset)
{
    BUG_ON(offset >= mf->limit);
    return __atomic_load_n(&mf->refs[offset / PAGE_SIZE], __ATOMIC_ACQUIRE);
}

void memfile_resident(struct memfile *mf, struct memfile_range range, uint8_t *ret_vec)
{
    uint64_t pages = range.size / PAGE_SIZE;

    check_range(mf, range);
    /* A host that does not tell: as if all were there. */
    if (host_mincore(mf->base + range.start, range.size, ret_vec))
        memset(ret_vec, 1, pages);
    for (uint64_t i = 0; i < pages; i++)
        ret_vec[i] &= 1;
}

uint64_t memfile_untouched(struct memfile *mf, struct memfile_range range, bool *ret_untouched)
{
    int64_t start = (int64_t)range.start, next;

    check_range(mf, range);
    next = host_lseek(mf->fd, start, SEEK_DATA);
    *ret_untouched = next == -ENXIO || next > start;
    if (next == start)
        next = host_lseek(mf->fd, start, SEEK_HOLE);
    return next > start ? MIN((uint64_t)(next - start), range.size) : range.size;
}

void memfile_populate(struct memfile *mf, struct memfile_range range)
{
    check_range(mf, range);
    if (host_madvise(mf->base + range.start, range.size, MADV_POPULATE_WRITE) == 0)
        note_mapped(mf, range, true);
}

ssize_t memfile_write(struct memfile *mf, const struct iovec *iov, int count, uint64_t offset)
{
    BUG_ON(offset >= mf->limit);
    return host_pwritev(mf->fd, iov, count, (int64_t)offset);
}

void *memfile_ptr(struct memfile *mf, uint64_t offset)
{
    BUG_ON(offset >= mf->limit);
    return mf->base + offset;
}
