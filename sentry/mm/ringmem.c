#include "sentry/mm/ringmem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "sentry/mm/mappable.h"

struct area {
    struct list node;
    uint64_t offset;
    struct memfile_range pages; /* a reference on each */
};

struct ringmem {
    struct mappable base;
    struct memfile *memfile; /* borrowed: outlives every address space */
    const char *name;        /* static */
    struct lock lock;
    struct list areas __guarded_by(lock);
};

static struct ringmem *to_ringmem(struct mappable *m)
{
    return container_of(m, struct ringmem, base);
}

/* The area that has the byte at `offset`; NULL. */
static struct area *find_locked(struct ringmem *r, uint64_t offset) __must_hold(r->lock)
{
    struct area *area;

    list_for_each (area, &r->areas, node) {
        if (offset >= area->offset && offset - area->offset < area->pages.size)
            return area;
    }
    return NULL;
}

static int ringmem_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                             struct memfile_range *ret_range)
{
    struct ringmem *r = to_ringmem(m);
    struct area *area;

    lock_acquire(&r->lock);
    area = find_locked(r, offset);
    if (area) {
        uint64_t skip = offset - area->offset;

        *ret_range =
            (struct memfile_range){area->pages.start + skip, MIN(want, area->pages.size - skip)};
        memfile_ref(r->memfile, *ret_range);
    }
    lock_release(&r->lock);
    return area ? 0 : -EFAULT;
}

static void free_area(struct ringmem *r, struct area *area)
{
    list_del_init(&area->node);
    memfile_unref(r->memfile, area->pages);
    free(area);
}

static void ringmem_release(struct mappable *m)
{
    struct ringmem *r = to_ringmem(m);
    struct area *area, *next;

    list_for_each_safe (area, next, &r->areas, node)
        free_area(r, area);
    lock_destroy(&r->lock);
    mappable_fini(m);
    free(r);
}

static void ringmem_name(struct mappable *m, char *buf, size_t size)
{
    snprintf(buf, size, "%s", to_ringmem(m)->name);
}

static bool ringmem_resident(struct mappable *m, uint64_t offset)
{
    struct ringmem *r = to_ringmem(m);
    bool there;

    lock_acquire(&r->lock);
    there = find_locked(r, offset) != NULL;
    lock_release(&r->lock);
    return there;
}

static int ringmem_sync(struct mappable *m, uint64_t offset, uint64_t size)
{
    return 0; /* there is nothing behind it */
}

static const struct mappable_ops ringmem_ops = {
    .get_pages = ringmem_get_pages,
    .release = ringmem_release,
    .name = ringmem_name,
    .sync = ringmem_sync,
    .resident = ringmem_resident,
};

int ringmem_create(struct memfile *mf, const char *name, struct mappable **ret)
{
    struct ringmem *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    mappable_init(&r->base, &ringmem_ops);
    r->memfile = mf;
    r->name = name;
    lock_init(&r->lock);
    list_init(&r->areas);
    *ret = &r->base;
    return 0;
}

/* Takes over the reference on the pages. */
static int add_area(struct ringmem *r, uint64_t offset, struct memfile_range pages)
{
    struct area *area = calloc(1, sizeof(*area));
    int err = area ? 0 : -ENOMEM;

    lock_acquire(&r->lock);
    if (area && find_locked(r, offset))
        err = -EEXIST;
    if (!err) {
        area->offset = offset;
        area->pages = pages;
        list_add_tail(&r->areas, &area->node);
    }
    lock_release(&r->lock);
    if (err < 0) {
        memfile_unref(r->memfile, pages);
        free(area);
    }
    return err;
}

int ringmem_add(struct mappable *m, uint64_t offset, uint64_t size, void **ret_bytes)
{
    struct ringmem *r = to_ringmem(m);
    struct memfile_range pages;
    int err = memfile_alloc(r->memfile, round_up(size, PAGE_SIZE), PAGE_SIZE, &pages);

    if (err < 0)
        return err;
    err = add_area(r, offset, pages);
    if (!err)
        *ret_bytes = memfile_ptr(r->memfile, pages.start);
    return err;
}

int ringmem_alias(struct mappable *m, uint64_t alias, uint64_t offset)
{
    struct ringmem *r = to_ringmem(m);
    struct memfile_range pages = {0, 0};
    struct area *area;

    lock_acquire(&r->lock);
    area = find_locked(r, offset);
    if (area) {
        pages = area->pages;
        memfile_ref(r->memfile, pages);
    }
    lock_release(&r->lock);
    return pages.size ? add_area(r, alias, pages) : -ENOENT;
}

void ringmem_move(struct mappable *m, uint64_t to, uint64_t from)
{
    struct ringmem *r = to_ringmem(m);
    struct area *area, *old;

    lock_acquire(&r->lock);
    area = find_locked(r, from);
    old = find_locked(r, to);
    if (old)
        free_area(r, old);
    if (area)
        area->offset = to;
    lock_release(&r->lock);
}

void ringmem_remove(struct mappable *m, uint64_t offset)
{
    struct ringmem *r = to_ringmem(m);
    struct area *area;

    lock_acquire(&r->lock);
    area = find_locked(r, offset);
    if (area)
        free_area(r, area);
    lock_release(&r->lock);
}
