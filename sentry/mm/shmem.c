/*
 * Memory that several mappings share: MAP_SHARED|MAP_ANONYMOUS, and the files of shmem.h. Pages
 * appear when first asked for, in runs, and live until the object goes or they are punched out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/shmem_internal.h"

#define RUN_SIZE (64UL << 10)

static uint64_t all_bytes; /* atomic: of all objects */

int shmem_fill(struct shmem *s, uint64_t offset, uint64_t end, uint64_t *ret_end)
{
    uint64_t size = MIN(end - offset, HUGE_PAGE_SIZE);
    struct memfile_range range;
    int err = 0;

    if (s->budget && shmem_budget_take(s->budget, size) < 0) {
        size = PAGE_SIZE;
        err = shmem_budget_take(s->budget, size);
    }
    if (err)
        return err;
    err = memfile_alloc(s->memfile, size, size == RUN_SIZE ? RUN_SIZE : PAGE_SIZE, &range);
    if (err && size > PAGE_SIZE) {
        if (s->budget)
            shmem_budget_give(s->budget, size - PAGE_SIZE);
        size = PAGE_SIZE;
        err = memfile_alloc(s->memfile, size, PAGE_SIZE, &range);
    }
    if (!err) {
        err = pmap_set_run(&s->pages, offset, size, range.start | PMAP_PRESENT);
        if (err)
            memfile_unref(s->memfile, range);
    }
    if (err && s->budget)
        shmem_budget_give(s->budget, size);
    if (!err) {
        *ret_end = offset + size;
        __atomic_fetch_add(&all_bytes, size, __ATOMIC_RELAXED);
    }
    return err;
}

void shmem_drop(struct shmem *s, uint64_t start, uint64_t end)
{
    uint64_t before = s->pages.present;

    pmap_unref_range(&s->pages, s->memfile, start, MIN(end, PMAP_SPAN));
    before = (before - s->pages.present) * PAGE_SIZE;
    __atomic_fetch_sub(&all_bytes, before, __ATOMIC_RELAXED);
    if (s->budget)
        shmem_budget_give(s->budget, before);
}

uint64_t shmem_total(void)
{
    return __atomic_load_n(&all_bytes, __ATOMIC_RELAXED);
}

/* The run around `offset`, as far as nothing is there. */
static int fill_around(struct shmem *s, uint64_t offset) __must_hold(s->lock)
{
    uint64_t low = round_down(offset, RUN_SIZE), filled;
    uint64_t start = pmap_free_below(&s->pages, offset, low);
    uint64_t end =
        pmap_next_used(&s->pages, offset, MIN(low + RUN_SIZE, round_up(s->size, PAGE_SIZE)));
    int err;

    if (__atomic_load_n(&s->base.exact, __ATOMIC_RELAXED))
        return shmem_fill(s, offset, offset + PAGE_SIZE, &filled);
    err = shmem_fill(s, start, end, &filled);
    if (err || filled <= offset)
        err = shmem_fill(s, offset, offset + PAGE_SIZE, &filled);
    return err;
}

static int shmem_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                           struct memfile_range *ret_range)
{
    struct shmem *s = to_shmem(m);
    int err = 0;

    lock_acquire(&s->lock);
    if (offset >= round_up(s->size, PAGE_SIZE) || offset >= PMAP_SPAN)
        err = -EFAULT;
    else if (!pmap_get(&s->pages, offset))
        err = fill_around(s, offset);
    if (!err) {
        *ret_range = pmap_run_at(&s->pages, offset, want);
        memfile_ref(s->memfile, *ret_range);
    }
    lock_release(&s->lock);
    return err;
}

static int shmem_punch(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct shmem *s = to_shmem(m);

    lock_acquire(&s->lock);
    shmem_drop(s, offset, offset + size);
    lock_release(&s->lock);
    mappable_invalidate(m, offset, size, false);
    return 0;
}

static bool shmem_resident(struct mappable *m, uint64_t offset)
{
    struct shmem *s = to_shmem(m);
    bool there;

    lock_acquire(&s->lock);
    there = pmap_get(&s->pages, offset) != 0;
    lock_release(&s->lock);
    return there;
}

static void shmem_release(struct mappable *m)
{
    struct shmem *s = to_shmem(m);

    lock_acquire(&s->lock);
    shmem_drop(s, 0, PMAP_SPAN);
    lock_release(&s->lock);
    lock_destroy(&s->lock);
    mappable_fini(m);
    shmem_budget_unref(s->budget);
    free(s->name);
    free(s);
}

static void shmem_name(struct mappable *m, char *buf, size_t size)
{
    struct shmem *s = to_shmem(m);

    lock_acquire(&s->lock);
    snprintf(buf, size, "%s", s->name ? s->name : s->budget ? "" : "/dev/zero (deleted)");
    lock_release(&s->lock);
}

static int shmem_sync(struct mappable *m, uint64_t offset, uint64_t size)
{
    return 0; /* there is nothing behind it */
}

static const struct mappable_ops shmem_ops = {
    .is_memory = true,
    .get_pages = shmem_get_pages,
    .release = shmem_release,
    .name = shmem_name,
    .sync = shmem_sync,
    .punch = shmem_punch,
    .resident = shmem_resident,
};

/* ---- page by page, for userfaultfd(2) ------------------------------------------------------ */

bool shmem_is(const struct mappable *m)
{
    return m->ops == &shmem_ops && m->kind == MAPPABLE_PLAIN;
}

static bool is_beyond(const struct shmem *s, uint64_t offset) __must_hold(s->lock)
{
    return offset >= round_up(s->size, PAGE_SIZE) || offset >= PMAP_SPAN;
}

int shmem_page(struct mappable *m, uint64_t offset, bool creates, struct memfile_range *ret,
               bool *ret_fresh)
{
    struct shmem *s = to_shmem(m);
    uint64_t filled;
    bool fresh;
    int err = 0;

    lock_acquire(&s->lock);
    fresh = !pmap_get(&s->pages, offset);
    if (is_beyond(s, offset))
        err = -EFAULT;
    else if (fresh)
        err = creates ? shmem_fill(s, offset, offset + PAGE_SIZE, &filled) : -ENOENT;
    if (!err) {
        *ret_fresh = fresh;
        *ret = pmap_run_at(&s->pages, offset, PAGE_SIZE);
        memfile_ref(s->memfile, *ret);
    }
    lock_release(&s->lock);
    return err;
}

int shmem_insert(struct mappable *m, uint64_t offset, struct memfile_range page)
{
    struct shmem *s = to_shmem(m);
    bool counted = false;
    int err = 0;

    lock_acquire(&s->lock);
    if (is_beyond(s, offset))
        err = -EFAULT;
    else if (pmap_get(&s->pages, offset))
        err = -EEXIST;
    else if (s->budget && shmem_budget_take(s->budget, PAGE_SIZE) < 0)
        err = -ENOMEM;
    else
        counted = s->budget != NULL;
    if (!err)
        err = pmap_set_run(&s->pages, offset, PAGE_SIZE, page.start | PMAP_PRESENT);
    if (!err) {
        memfile_ref(s->memfile, page);
        __atomic_fetch_add(&all_bytes, PAGE_SIZE, __ATOMIC_RELAXED);
    } else if (counted) {
        shmem_budget_give(s->budget, PAGE_SIZE);
    }
    lock_release(&s->lock);
    return err;
}

static struct shmem *shmem_new(struct memfile *mf, uint64_t size)
{
    struct shmem *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    mappable_init(&s->base, &shmem_ops);
    s->memfile = mf;
    s->size = size;
    lock_init(&s->lock);
    pmap_init(&s->pages);
    return s;
}

int shmem_create(struct memfile *mf, uint64_t size, struct mappable **ret)
{
    struct shmem *s = shmem_new(mf, round_up(size, PAGE_SIZE));

    if (!s)
        return -ENOMEM;
    *ret = &s->base;
    return 0;
}

uint64_t shmem_resident_size(struct mappable *m)
{
    struct shmem *s = to_shmem(m);
    uint64_t size;

    lock_acquire(&s->lock);
    size = s->pages.present * PAGE_SIZE;
    lock_release(&s->lock);
    return size;
}

int shmem_file_create(struct memfile *mf, struct shmem_budget *budget, struct mappable **ret)
{
    struct shmem *s = shmem_new(mf, 0);

    if (!s)
        return -ENOMEM;
    s->budget = shmem_budget_ref(budget);
    *ret = &s->base;
    return 0;
}

void shmem_file_set_name(struct mappable *m, const char *name)
{
    struct shmem *s = to_shmem(m);
    char *copy = strdup(name);

    lock_acquire(&s->lock);
    if (copy) {
        free(s->name);
        s->name = copy;
    }
    lock_release(&s->lock);
}

/* ---- budgets ------------------------------------------------------------------------------- */

struct shmem_budget *shmem_budget_create(uint64_t limit)
{
    struct shmem_budget *budget = calloc(1, sizeof(*budget));

    if (budget) {
        refcount_set(&budget->refs, 1);
        budget->limit = limit;
    }
    return budget;
}

struct shmem_budget *shmem_budget_ref(struct shmem_budget *budget)
{
    refcount_get(&budget->refs);
    return budget;
}

struct shmem_budget *shmem_budget_unref(struct shmem_budget *budget)
{
    if (budget && refcount_put(&budget->refs))
        free(budget);
    return NULL;
}

int shmem_budget_take(struct shmem_budget *budget, uint64_t size)
{
    uint64_t used = __atomic_load_n(&budget->used, __ATOMIC_RELAXED);
    uint64_t limit = __atomic_load_n(&budget->limit, __ATOMIC_RELAXED);

    do {
        if (size > limit || used > limit - size)
            return -ENOSPC;
    } while (!__atomic_compare_exchange_n(&budget->used, &used, used + size, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return 0;
}

void shmem_budget_give(struct shmem_budget *budget, uint64_t size)
{
    __atomic_sub_fetch(&budget->used, size, __ATOMIC_RELAXED);
}
