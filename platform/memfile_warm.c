/*
 * What was freed and stays with its bytes, since memory that the host has just given costs several
 * times what clearing a page costs: single pages for those who overwrite them (`dirty`), and runs
 * for those who will touch all of them soon (`warm`). The states are at the head of memfile.c.
 *
 * Invariant: what is kept is not counted as allocated, has no references and no bit in the free
 * map, and is let go before an allocation fails.
 */
#include "platform/memfile_internal.h"

#define WARM_MAX      (16UL << 20) /* bytes that are kept, at most this share of the limit: */
#define WARM_SHARE    16
#define WARM_LOOK_MAX (1UL << 20) /* bytes of a freed run that are asked about at once */

int64_t memfile_take_dirty(struct memfile *mf)
{
    uint32_t lowest = 0;
    int64_t page = -1;

    lock_acquire(&mf->lock);
    for (uint32_t i = 1; i < mf->dirty_count; i++) {
        if (mf->dirty[i] < mf->dirty[lowest])
            lowest = i;
    }
    if (mf->dirty_count > 0) {
        page = (int64_t)mf->dirty[lowest];
        mf->dirty[lowest] = mf->dirty[--mf->dirty_count];
    }
    lock_release(&mf->lock);
    return page;
}

bool memfile_take_warm(struct memfile *mf, uint64_t size, uint64_t align, struct memfile_range *ret)
{
    int64_t first = -1;

    lock_acquire(&mf->lock);
    if (mf->warm_bytes >= size)
        first = freemap_take(&mf->warm, size / PAGE_SIZE, MAX(align / PAGE_SIZE, 1UL));
    if (first >= 0)
        mf->warm_bytes -= size;
    lock_release(&mf->lock);
    if (first >= 0)
        *ret = (struct memfile_range){(uint64_t)first * PAGE_SIZE, size};
    return first >= 0;
}

bool memfile_let_all_go(struct memfile *mf)
{
    struct memfile_range warm;
    bool any = false;
    int64_t page;

    while (memfile_take_warm(mf, PAGE_SIZE, PAGE_SIZE, &warm)) {
        memfile_punch(mf, warm);
        any = true;
    }
    while ((page = memfile_take_dirty(mf)) >= 0) {
        memfile_punch(mf, (struct memfile_range){(uint64_t)page, PAGE_SIZE});
        any = true;
    }
    return any;
}

static uint64_t warm_max(const struct memfile *mf)
{
    return MIN(WARM_MAX, mf->limit / WARM_SHARE);
}

/* False: it has too much already. */
static bool keep_run(struct memfile *mf, struct memfile_range r)
{
    bool fits;

    lock_acquire(&mf->lock);
    fits = mf->warm_bytes + r.size <= warm_max(mf);
    if (fits) {
        mf->warm_bytes += r.size;
        freemap_give(&mf->warm, r.start / PAGE_SIZE, r.size / PAGE_SIZE);
    }
    lock_release(&mf->lock);
    return fits;
}

/* Keeps of the run what the host has memory for, while there is room; punches the rest. */
static void keep_warm(struct memfile *mf, struct memfile_range r)
{
    uint8_t vec[WARM_LOOK_MAX / PAGE_SIZE];
    uint64_t count = r.size / PAGE_SIZE, done = 0;

    memfile_resident(mf, r, vec);
    while (done < count) {
        uint64_t end = done + 1;
        struct memfile_range part;

        while (end < count && vec[end] == vec[done])
            end++;
        part = (struct memfile_range){r.start + done * PAGE_SIZE, (end - done) * PAGE_SIZE};
        if (!vec[done] || !keep_run(mf, part))
            memfile_punch(mf, part);
        done = end;
    }
}

/* As good as full: not worth a look at what the host has memory for. */
static bool warm_is_full(struct memfile *mf)
{
    uint64_t bytes;

    lock_acquire(&mf->lock);
    bytes = mf->warm_bytes;
    lock_release(&mf->lock);
    return bytes + WARM_RUN_MAX > warm_max(mf);
}

static void let_go(struct memfile *mf, struct memfile_range r)
{
    while (r.size > 0 && !warm_is_full(mf)) {
        struct memfile_range part = {r.start, MIN(r.size, WARM_LOOK_MAX)};

        keep_warm(mf, part);
        r.start += part.size;
        r.size -= part.size;
    }
    if (r.size > 0)
        memfile_punch(mf, r);
}

void memfile_release(struct memfile *mf, struct memfile_range r)
{
    bool keep;

    lock_acquire(&mf->lock);
    mf->allocated -= r.size;
    keep = r.size == PAGE_SIZE && mf->dirty_count < DIRTY_MAX;
    if (keep)
        mf->dirty[mf->dirty_count++] = r.start;
    lock_release(&mf->lock);
    if (!keep)
        let_go(mf, r);
}
