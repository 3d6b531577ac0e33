/*
 * Memory that several mappings share: MAP_SHARED|MAP_ANONYMOUS. Pages appear when first asked for,
 * in runs, and live until the object goes or they are punched out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/pmap.h"

#define RUN_SIZE (64UL << 10)

struct shmem {
    struct mappable base;
    struct memfile *memfile; /* borrowed: outlives every address space */
    uint64_t size;

    struct lock lock; /* guards what follows */
    struct pmap pages;
};

static struct shmem *to_shmem(struct mappable *m)
{
    return container_of(m, struct shmem, base);
}

/* Allocates the run around `offset`, as far as nothing is there. */
static int fill(struct shmem *s, uint64_t offset) __must_hold(s->lock)
{
    uint64_t low = round_down(offset, RUN_SIZE);
    uint64_t start = pmap_free_below(&s->pages, offset, low);
    uint64_t end = pmap_next_used(&s->pages, offset, MIN(low + RUN_SIZE, s->size));
    struct memfile_range range;
    int err = memfile_alloc(s->memfile, end - start, end - start == RUN_SIZE ? RUN_SIZE : PAGE_SIZE,
                            &range);

    if (err) {
        start = offset;
        err = memfile_alloc(s->memfile, PAGE_SIZE, PAGE_SIZE, &range);
    }
    if (err)
        return err;
    err = pmap_set_run(&s->pages, start, range.size, range.start | PMAP_PRESENT);
    if (err)
        memfile_unref(s->memfile, range);
    return err;
}

static int shmem_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                           struct memfile_range *ret_range)
{
    struct shmem *s = to_shmem(m);
    int err = 0;

    if (offset >= s->size || offset >= PMAP_SPAN)
        return -EFAULT;
    lock_acquire(&s->lock);
    if (!pmap_get(&s->pages, offset))
        err = fill(s, offset);
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
    pmap_unref_range(&s->pages, s->memfile, offset, offset + size);
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
    pmap_unref_range(&s->pages, s->memfile, 0, PMAP_SPAN);
    lock_release(&s->lock);
    lock_destroy(&s->lock);
    mappable_fini(m);
    free(s);
}

static void shmem_name(struct mappable *m, char *buf, size_t size)
{
    snprintf(buf, size, "/dev/zero (deleted)");
}

static int shmem_sync(struct mappable *m, uint64_t offset, uint64_t size)
{
    return 0; /* there is nothing behind it */
}

static const struct mappable_ops shmem_ops = {
    .get_pages = shmem_get_pages,
    .release = shmem_release,
    .name = shmem_name,
    .sync = shmem_sync,
    .punch = shmem_punch,
    .resident = shmem_resident,
};

int shmem_create(struct memfile *mf, uint64_t size, struct mappable **ret)
{
    struct shmem *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    mappable_init(&s->base, &shmem_ops);
    s->memfile = mf;
    s->size = round_up(size, PAGE_SIZE);
    lock_init(&s->lock);
    pmap_init(&s->pages);
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
