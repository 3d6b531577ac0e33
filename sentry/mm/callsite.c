#include "sentry/mm/callsite.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sentry/mm/callsite_code.h"

#define SITES_MAX    240         /* of an object */
#define OBJECTS_MAX  256         /* that have a struct callsites, in all sandboxes of the process */
#define PAGES_MAX    1024        /* that are rewritten, likewise */
#define DISTANCE_MAX (1UL << 30) /* bytes from a site to the island */
#define SEEN_MAX     64
#define SEEN_TIMES   3 /* a call comes so often before its site is rewritten */

struct version {
    uint64_t offset; /* of the page in the object */
    uint64_t page;   /* in the memfile */
    uint64_t undone; /* likewise, the one that has but the steps; 0: it has none */
};

struct seen {
    uint64_t behind;
    uint32_t times;
};

enum island_state { ISLAND_UNKNOWN, ISLAND_NONE, ISLAND_READY };

struct callsites {
    struct memfile *memfile; /* borrowed: outlives every object */
    bool retired;            /* atomic */

    struct lock lock; /* guards what follows */
    enum island_state state;
    uint64_t island, island_page; /* offset in the object, and in the memfile */
    uint32_t tail, free;          /* offsets in that page: the common tail, and what is not used */
    uint32_t site_count, version_count, page_count;
    uint8_t owners[SITES_MAX];          /* of the island's slots: which site */
    struct callsite sites[SITES_MAX];   /* in the order of the island's entries */
    struct version versions[SITES_MAX]; /* the current ones, by offset */
    uint64_t pages[2 * SITES_MAX];      /* of all versions */
    uint32_t seen_next;
    struct seen seen[SEEN_MAX];
};

static uint32_t object_count, page_total; /* atomic */

/* ---- life ----------------------------------------------------------------------------------- */

static bool take(uint32_t *count, uint32_t max)
{
    if (__atomic_add_fetch(count, 1, __ATOMIC_RELAXED) <= max)
        return true;
    __atomic_sub_fetch(count, 1, __ATOMIC_RELAXED);
    return false;
}

struct callsites *callsites_get(struct mappable *m, struct memfile *mf)
{
    struct callsites *cs = callsites_of(m), *other = NULL;

    if (cs || !take(&object_count, OBJECTS_MAX))
        return cs;
    cs = calloc(1, sizeof(*cs));
    if (!cs) {
        __atomic_sub_fetch(&object_count, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    cs->memfile = mf;
    lock_init(&cs->lock);
    if (__atomic_compare_exchange_n(&m->callsites, &other, cs, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        return cs;
    callsites_free(cs);
    return other;
}

void callsites_free(struct callsites *cs)
{
    if (!cs)
        return;
    for (uint32_t i = 0; i < cs->page_count; i++)
        memfile_unref(cs->memfile, (struct memfile_range){cs->pages[i], PAGE_SIZE});
    if (cs->state == ISLAND_READY)
        memfile_unref(cs->memfile, (struct memfile_range){cs->island_page, PAGE_SIZE});
    __atomic_sub_fetch(&page_total, cs->page_count, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&object_count, 1, __ATOMIC_RELAXED);
    lock_destroy(&cs->lock);
    free(cs);
}

void callsites_retire(struct mappable *m)
{
    struct callsites *cs = callsites_of(m);

    if (cs)
        __atomic_store_n(&cs->retired, true, __ATOMIC_SEQ_CST);
}

static bool is_retired(const struct callsites *cs)
{
    return __atomic_load_n(&cs->retired, __ATOMIC_SEQ_CST);
}

bool callsites_are_retired(const struct mappable *m)
{
    struct callsites *cs = callsites_of(m);

    return cs && is_retired(cs);
}

/* ---- the island ----------------------------------------------------------------------------- */

/* One page of the object into `buf`. */
static bool read_page(struct mappable *m, struct memfile *mf, uint64_t offset, uint8_t *buf)
{
    struct memfile_range range;

    if (m->ops->get_pages(m, offset, PAGE_SIZE, false, &range))
        return false;
    memcpy(buf, memfile_ptr(mf, range.start), PAGE_SIZE);
    memfile_unref(mf, range);
    return true;
}

static void set_island(struct callsites *cs, uint64_t end, uint32_t start, uint64_t page)
{
    lock_acquire(&cs->lock);
    if (cs->state == ISLAND_UNKNOWN && page) {
        cs->state = ISLAND_READY;
        cs->island = round_down(end, PAGE_SIZE);
        cs->island_page = page;
        cs->tail = start;
        cs->free = start + ISLAND_TAIL_SIZE;
        page = 0;
    } else if (cs->state == ISLAND_UNKNOWN) {
        cs->state = ISLAND_NONE;
    }
    lock_release(&cs->lock);
    if (page) /* somebody else was faster */
        memfile_unref(cs->memfile, (struct memfile_range){page, PAGE_SIZE});
}

void callsites_prepare(struct mappable *m, struct memfile *mf, uaddr_t call_entry, uint64_t offset)
{
    struct callsites *cs = callsites_of(m);
    struct memfile_range range = {0};
    uint8_t page[PAGE_SIZE];
    uint32_t start = 0;
    uint64_t end = 0;

    if (m->ops->text_is_stable(m) && read_page(m, mf, 0, page))
        end = callsite_text_end(page, offset);
    if (end && end < PMAP_SPAN && read_page(m, mf, round_down(end, PAGE_SIZE), page))
        start = callsite_island_start(page, end);
    if (start && memfile_alloc_dirty(mf, PAGE_SIZE, &range) == 0) {
        callsite_write_tail(page + start, call_entry);
        memcpy(memfile_ptr(mf, range.start), page, PAGE_SIZE);
    }
    set_island(cs, end, start, range.size ? range.start : 0);
}

uint64_t callsites_island(struct callsites *cs)
{
    uint64_t island;

    lock_acquire(&cs->lock);
    island = cs->state == ISLAND_READY ? cs->island : UINT64_MAX;
    lock_release(&cs->lock);
    return island;
}

/* ---- sites ---------------------------------------------------------------------------------- */

static const struct callsite *find_site(const struct callsites *cs, uint64_t behind)
    __must_hold(cs->lock)
{
    for (uint32_t i = 0; i < cs->site_count; i++) {
        if (cs->sites[i].behind == behind)
            return &cs->sites[i];
    }
    return NULL;
}

/* The first version that is not below `offset`. */
static uint32_t version_from(const struct callsites *cs, uint64_t offset) __must_hold(cs->lock)
{
    uint32_t low = 0, high = cs->version_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (cs->versions[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_version(const struct callsites *cs, uint32_t i, uint64_t offset)
    __must_hold(cs->lock)
{
    return i < cs->version_count && cs->versions[i].offset == offset;
}

/* True when it has come often enough. */
static bool count(struct callsites *cs, uint64_t behind) __must_hold(cs->lock)
{
    for (uint32_t i = 0; i < SEEN_MAX; i++) {
        struct seen *s = &cs->seen[i];

        if (s->times && s->behind == behind)
            return ++s->times >= SEEN_TIMES;
    }
    cs->seen[cs->seen_next++ % SEEN_MAX] = (struct seen){behind, 1};
    return false;
}

/* Which of its slots is at this offset of the island's page. */
static uint32_t slot_of(const struct callsites *cs, uint32_t at) __must_hold(cs->lock)
{
    return (at - cs->tail - ISLAND_TAIL_SIZE) / ISLAND_SLOT_SIZE;
}

/* In bytes that nobody executes before a version leads there. Returns where, in the object. */
static uint64_t add_entry(struct callsites *cs, const struct callsite *site) __must_hold(cs->lock)
{
    uint8_t *island = memfile_ptr(cs->memfile, cs->island_page);
    uint64_t entry = cs->island + cs->free;

    callsite_write_entry(island + cs->free, entry, cs->island + cs->tail, site);
    cs->sites[cs->site_count] = *site;
    cs->sites[cs->site_count].entry = cs->free;
    for (uint32_t i = callsite_slots(site); i > 0; i--) {
        cs->owners[slot_of(cs, cs->free)] = (uint8_t)cs->site_count;
        cs->free += ISLAND_SLOT_SIZE;
    }
    cs->site_count++;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return entry;
}

/* A copy of this page, kept for good: where in the memfile. 0: there is none. */
static uint64_t copy_page(struct callsites *cs, const uint8_t *page) __must_hold(cs->lock)
{
    struct memfile_range range;

    if (cs->page_count == 2 * SITES_MAX || !take(&page_total, PAGES_MAX))
        return 0;
    if (memfile_alloc_dirty(cs->memfile, PAGE_SIZE, &range)) {
        __atomic_sub_fetch(&page_total, 1, __ATOMIC_RELAXED);
        return 0;
    }
    memcpy(memfile_ptr(cs->memfile, range.start), page, PAGE_SIZE);
    cs->pages[cs->page_count++] = range.start;
    return range.start;
}

static void set_version(struct callsites *cs, struct version version) __must_hold(cs->lock)
{
    uint32_t i = version_from(cs, version.offset);

    if (!has_version(cs, i, version.offset))
        memmove(&cs->versions[i + 1], &cs->versions[i],
                (cs->version_count++ - i) * sizeof(cs->versions[0]));
    cs->versions[i] = version;
}

/* `old`: what there was. The island has room. */
static bool add(struct callsites *cs, const struct callsite *site, const struct version *old,
                const uint8_t *original) __must_hold(cs->lock)
{
    struct version new = *old;
    const uint8_t *undone = old->undone ? memfile_ptr(cs->memfile, old->undone) : original;

    new.page = copy_page(cs, old->page ? memfile_ptr(cs->memfile, old->page) : original);
    if (site->step)
        new.undone = copy_page(cs, undone);
    if (!new.page || (site->step && !new.undone))
        return false;
    callsite_write(memfile_ptr(cs->memfile, new.page), new.offset, site, add_entry(cs, site));
    if (site->step)
        callsite_write_step(memfile_ptr(cs->memfile, new.undone), new.offset, site);
    set_version(cs, new);
    log_debug("call %u at %#lx of a file is rewritten, %u sites in %u pages", site->number,
              callsite_start(site), cs->site_count, cs->version_count);
    return true;
}

static enum callsite_state note_locked(struct callsites *cs, uint64_t behind, uint64_t number,
                                       const uint8_t *page) __must_hold(cs->lock)
{
    struct version old = {.offset = round_down(behind - CALLSITE_CALL, PAGE_SIZE)};
    uint32_t i = version_from(cs, old.offset);
    const uint8_t *current = page;
    struct callsite site;

    if (find_site(cs, behind))
        return CALLSITE_KNOWN;
    if (has_version(cs, i, old.offset)) {
        old = cs->versions[i];
        current = memfile_ptr(cs->memfile, old.page);
    }
    if (cs->state == ISLAND_NONE ||
        !callsite_recognize(page, current, (uint32_t)(behind - old.offset), number, &site))
        return CALLSITE_HOPELESS;
    if (!count(cs, behind))
        return CALLSITE_SEEN;
    if (cs->state == ISLAND_UNKNOWN)
        return CALLSITE_NO_ISLAND;
    /* The island's own page is not rewritten, for all others lead to it. */
    if (old.offset == cs->island || cs->island - behind > DISTANCE_MAX ||
        cs->site_count == SITES_MAX ||
        cs->free + callsite_slots(&site) * ISLAND_SLOT_SIZE > PAGE_SIZE)
        return CALLSITE_HOPELESS;
    site.behind += old.offset;
    site.step += site.step ? old.offset : 0;
    return add(cs, &site, &old, page) ? CALLSITE_KNOWN : CALLSITE_HOPELESS;
}

enum callsite_state callsites_note(struct callsites *cs, uint64_t behind, uint64_t number,
                                   const uint8_t *page)
{
    enum callsite_state state = CALLSITE_HOPELESS;

    lock_acquire(&cs->lock);
    if (!is_retired(cs))
        state = note_locked(cs, behind, number, page);
    lock_release(&cs->lock);
    return state;
}

/* What is mapped of it: the version, what is left of one, or 0: nothing of ours. */
static uint64_t page_of(const struct version *version, bool rewritten)
{
    return rewritten ? version->page : version->undone;
}

bool callsites_choose(struct callsites *cs, uint64_t offset, bool versions,
                      struct memfile_range range, struct memfile_range *ret)
{
    uint64_t next = UINT64_MAX, page = 0;
    bool is_version = false;

    lock_acquire(&cs->lock);
    if (cs->state == ISLAND_READY && cs->island >= offset) {
        next = cs->island;
        page = cs->island_page;
    }
    versions = versions && !is_retired(cs);
    for (uint32_t i = version_from(cs, offset); i < cs->version_count; i++) {
        if (cs->versions[i].offset > next)
            break;
        if (!page_of(&cs->versions[i], versions))
            continue;
        next = cs->versions[i].offset;
        page = page_of(&cs->versions[i], versions);
        is_version = versions && next == offset;
        break;
    }
    lock_release(&cs->lock);
    *ret = next == offset ? (struct memfile_range){page, PAGE_SIZE}
                          : (struct memfile_range){range.start, MIN(range.size, next - offset)};
    return is_version;
}

static bool undo_step(const struct callsites *cs, uint64_t *rip) __must_hold(cs->lock)
{
    for (uint32_t i = 0; i < cs->site_count; i++) {
        if (cs->sites[i].step && cs->sites[i].step == *rip) {
            *rip = callsite_start(&cs->sites[i]);
            return true;
        }
    }
    return false;
}

static bool undo_locked(struct callsites *cs, uint64_t rcx, uint64_t *rip, uint64_t *rax)
    __must_hold(cs->lock)
{
    uint64_t at = *rip - cs->island;
    const struct callsite *site;

    if (at >= cs->tail + ISLAND_TAIL_SIZE && at < cs->free) {
        site = &cs->sites[cs->owners[slot_of(cs, (uint32_t)at)]];
        return callsite_undo_entry(at - site->entry, site, rip, rax);
    }
    if (at >= cs->tail && at < cs->free) {
        site = find_site(cs, rcx);
        return site && callsite_undo_tail(at - cs->tail, site, rip, rax);
    }
    return undo_step(cs, rip);
}

bool callsites_undo(struct callsites *cs, uint64_t rcx, uint64_t *rip, uint64_t *rax)
{
    bool undone;

    lock_acquire(&cs->lock);
    undone = cs->state == ISLAND_READY && undo_locked(cs, rcx, rip, rax);
    lock_release(&cs->lock);
    return undone;
}

void callsites_each(struct callsites *cs, uint64_t offset, void (*fn)(void *arg, uint64_t behind),
                    void *arg)
{
    lock_acquire(&cs->lock);
    for (uint32_t i = 0; i < cs->site_count; i++) {
        if (round_down(cs->sites[i].behind - CALLSITE_CALL, PAGE_SIZE) == offset)
            fn(arg, cs->sites[i].behind);
    }
    lock_release(&cs->lock);
}
