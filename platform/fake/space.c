/* The fake platform's address spaces: a sorted array of mappings, no two of them overlapping. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "platform/fake/internal.h"

struct fake_space {
    struct address_space base;
    struct fake_mapping *mappings;
    size_t count, room;
    size_t map_calls, unmap_calls;
    size_t fail_after; /* as_map() calls until the one that fails */
    int fail_err;      /* 0: none */
    bool fail_always;
    bool offers;
    struct fake_space *like; /* borrowed: until as_recall(); NULL: one that does not offer */
    struct memfile *memfile; /* borrowed */
    /* Between as_gather(true) and false: what was mapped and is perhaps still there. */
    unsigned int gathering;
    struct memfile_range *stale;
    size_t stale_count, stale_room;
};

static struct fake_space *space(const struct address_space *as)
{
    return container_of((struct address_space *)as, struct fake_space, base);
}

static uaddr_t mapping_end(const struct fake_mapping *m)
{
    return m->addr + m->range.size;
}

int fake_space_create(struct platform *p, struct address_space *like, struct address_space **ret)
{
    struct fake_space *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->base.ops = p->ops;
    s->like = like && space(like)->offers ? space(like) : NULL;
    s->memfile = fake_platform_memfile(p);
    *ret = &s->base;
    return 0;
}

void fake_space_destroy(struct address_space *as)
{
    struct fake_space *s = space(as);

    BUG_ON(s->gathering);
    free(s->stale);
    free(s->mappings);
    free(s);
}

static void note_stale(struct fake_space *s, struct memfile_range range)
{
    if (!s->gathering || !s->memfile)
        return;
    if (s->stale_count == s->stale_room) {
        s->stale_room = 2 * s->stale_room + 8;
        s->stale = realloc(s->stale, s->stale_room * sizeof(*s->stale));
        BUG_ON(!s->stale);
    }
    s->stale[s->stale_count++] = range;
}

void fake_space_settle(struct address_space *as)
{
    struct fake_space *s = space(as);

    while (s->stale_count > 0) {
        struct memfile_range range = s->stale[--s->stale_count];

        for (uint64_t at = 0; at < range.size; at += PAGE_SIZE)
            BUG_ON(memfile_page_refs(s->memfile, range.start + at) == 0);
    }
}

void fake_space_gather(struct address_space *as, bool on)
{
    struct fake_space *s = space(as);

    BUG_ON(!on && s->gathering == 0);
    s->gathering += on ? 1 : -1U;
    if (!on)
        fake_space_settle(as);
}

/* Opens a gap at index `at`, or closes `-by` entries there. */
static void shift(struct fake_space *s, size_t at, int by)
{
    size_t from = by < 0 ? at + (size_t)-by : at;

    if (by > 0 && s->count + (size_t)by > s->room) {
        s->room = 2 * s->room + 8;
        s->mappings = realloc(s->mappings, s->room * sizeof(*s->mappings));
        BUG_ON(!s->mappings);
    }
    memmove(&s->mappings[(size_t)((ptrdiff_t)from + by)], &s->mappings[from],
            (s->count - from) * sizeof(*s->mappings));
    s->count = (size_t)((ptrdiff_t)s->count + by);
}

/* The first mapping that ends above `addr`. */
static size_t first_above(const struct fake_space *s, uaddr_t addr)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (mapping_end(&s->mappings[middle]) <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Takes [addr, end) out of all mappings; the index where one of that range belongs. */
static size_t carve(struct fake_space *s, uaddr_t addr, uaddr_t end)
{
    size_t i = first_above(s, addr);

    if (i < s->count && s->mappings[i].addr < addr) { /* split at addr */
        struct fake_mapping *m;
        uint64_t head = addr - s->mappings[i].addr;

        shift(s, i, 1);
        m = &s->mappings[i];
        m[0] = m[1];
        m[0].range.size = head;
        m[1].addr += head;
        m[1].range.start += head;
        m[1].range.size -= head;
        i++;
    }
    while (i < s->count && s->mappings[i].addr < end) {
        struct fake_mapping *m = &s->mappings[i];
        uint64_t cut = end - m->addr;

        note_stale(s, (struct memfile_range){m->range.start, MIN(cut, m->range.size)});
        if (m->range.size <= cut) {
            shift(s, i, -1);
            continue;
        }
        m->addr += cut;
        m->range.start += cut;
        m->range.size -= cut;
        break;
    }
    return i;
}

static bool continues(const struct fake_mapping *a, const struct fake_mapping *b)
{
    return mapping_end(a) == b->addr && a->prot == b->prot &&
           a->range.start + a->range.size == b->range.start;
}

static void merge_at(struct fake_space *s, size_t i)
{
    if (i + 1 < s->count && continues(&s->mappings[i], &s->mappings[i + 1])) {
        s->mappings[i].range.size += s->mappings[i + 1].range.size;
        shift(s, i + 1, -1);
    }
}

/* What every platform may rely on from its caller. */
static void check_range(uaddr_t addr, uint64_t size)
{
    BUG_ON(!size || !is_aligned(addr, PAGE_SIZE) || !is_aligned(size, PAGE_SIZE));
    BUG_ON(addr < FAKE_USER_MIN || size > FAKE_USER_MAX || addr > FAKE_USER_MAX - size);
}

int fake_space_map(struct address_space *as, uaddr_t addr, int prot, struct memfile_range range)
{
    struct fake_space *s = space(as);
    size_t i;

    check_range(addr, range.size);
    BUG_ON(!is_aligned(range.start, PAGE_SIZE));
    s->map_calls++;
    if (s->fail_err && s->fail_after-- == 0) {
        int err = s->fail_err;

        if (s->fail_always)
            s->fail_after = 0;
        else
            s->fail_err = 0;
        return err;
    }
    i = carve(s, addr, addr + range.size);
    shift(s, i, 1);
    s->mappings[i] = (struct fake_mapping){addr, prot, range};
    merge_at(s, i);
    if (i > 0)
        merge_at(s, i - 1);
    return 0;
}

void fake_space_recall(struct address_space *as, platform_recall_fn keep, void *arg)
{
    struct fake_space *s = space(as), *like = s->like;

    s->like = NULL;
    for (size_t i = 0; like && i < like->count; i++) {
        struct fake_mapping m = like->mappings[i];

        if (!keep(m.addr, m.prot, m.range, arg))
            continue;
        shift(s, s->count, 1);
        s->mappings[s->count - 1] = m;
    }
}

int fake_space_unmap(struct address_space *as, uaddr_t addr, uint64_t size)
{
    struct fake_space *s = space(as);

    check_range(addr, size);
    s->unmap_calls++;
    carve(s, addr, addr + size);
    return 0;
}

size_t fake_mapping_count(const struct address_space *as)
{
    return space(as)->count;
}

const struct fake_mapping *fake_mapping_at(const struct address_space *as, size_t n)
{
    BUG_ON(n >= space(as)->count);
    return &space(as)->mappings[n];
}

const struct fake_mapping *fake_mapping_find(const struct address_space *as, uaddr_t addr)
{
    struct fake_space *s = space(as);
    size_t i = first_above(s, addr);

    return i < s->count && s->mappings[i].addr <= addr ? &s->mappings[i] : NULL;
}

void fake_offer_mappings(struct address_space *as)
{
    space(as)->offers = true;
}

size_t fake_map_calls(const struct address_space *as)
{
    return space(as)->map_calls;
}

size_t fake_unmap_calls(const struct address_space *as)
{
    return space(as)->unmap_calls;
}

void fake_fail_map(struct address_space *as, size_t after, int err)
{
    space(as)->fail_after = after;
    space(as)->fail_err = err;
    space(as)->fail_always = false;
}

void fake_fail_maps(struct address_space *as, int err)
{
    fake_fail_map(as, 0, err);
    space(as)->fail_always = true;
}
