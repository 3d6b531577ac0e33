#include "sentry/mm/callsite.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/log.h"

#define SITES_MAX   240  /* of an object */
#define OBJECTS_MAX 256  /* that have a struct callsites, in all sandboxes of the process */
#define PAGES_MAX   1024 /* that are rewritten, likewise */
#define SEEN_MAX    64
#define SEEN_TIMES  3 /* a call comes so often before its site is rewritten */
#define NUMBER_MAX  1024
#define SEGMENTS    32 /* of an ELF file that are looked at */

#define MOV_SIZE    5
#define TAIL_SIZE   16 /* movabs, jmp and some padding */
#define ENTRY_SIZE  17
#define ISLAND_MIN  64 /* bytes that must be free */
#define TAIL_JMP    10 /* offsets of instructions in the tail and in an entry */
#define ENTRY_LEA   5
#define ENTRY_JMP   12

struct site {
    uint64_t offset; /* of its first byte in the object */
    uint64_t number;
};

struct version {
    uint64_t offset; /* of the page in the object */
    uint64_t page;   /* in the memfile */
};

struct seen {
    uint64_t offset;
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
    struct site sites[SITES_MAX];       /* in the order of the island's entries */
    struct version versions[SITES_MAX]; /* the current ones, by offset */
    uint64_t pages[SITES_MAX];          /* of all versions */
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

/* The end of the text segment that has `offset`, by the file's headers. 0: it is none. */
static uint64_t text_end(const uint8_t *page, uint64_t offset)
{
    uint64_t end = 0;
    Elf64_Ehdr eh;
    Elf64_Phdr ph;

    memcpy(&eh, page, sizeof(eh));
    if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
        eh.e_phentsize != sizeof(ph))
        return 0;
    for (unsigned int i = 0; i < MIN((unsigned int)eh.e_phnum, (unsigned int)SEGMENTS); i++) {
        if (eh.e_phoff > PAGE_SIZE || eh.e_phoff + (i + 1) * sizeof(ph) > PAGE_SIZE)
            break;
        memcpy(&ph, page + eh.e_phoff + i * sizeof(ph), sizeof(ph));
        if (ph.p_type == PT_LOAD && (ph.p_flags & PF_X) && !(ph.p_flags & PF_W) &&
            ph.p_filesz == ph.p_memsz && offset >= ph.p_offset &&
            offset - ph.p_offset < ph.p_filesz)
            end = ph.p_offset + ph.p_filesz;
    }
    return end < PMAP_SPAN ? end : 0;
}

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

static void put32(uint8_t *at, uint64_t value)
{
    memcpy(at, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
}

static void write_tail(uint8_t *at, uaddr_t call_entry)
{
    at[0] = 0x49; /* movabs $call_entry, %r11 */
    at[1] = 0xbb;
    memcpy(at + 2, &call_entry, sizeof(call_entry));
    at[TAIL_JMP] = 0x41; /* jmp *%r11 */
    at[TAIL_JMP + 1] = 0xff;
    at[TAIL_JMP + 2] = 0xe3;
}

/* Where in the page an island may begin of which the text ends there. 0: nowhere. */
static uint32_t island_start(const uint8_t *page, uint64_t end)
{
    uint64_t start = round_up(end % PAGE_SIZE + 1, 16UL);

    if (end % PAGE_SIZE == 0 || start + ISLAND_MIN > PAGE_SIZE)
        return 0;
    for (uint64_t i = end % PAGE_SIZE; i < PAGE_SIZE; i++) {
        if (page[i])
            return 0;
    }
    return (uint32_t)start;
}

static void set_island(struct callsites *cs, uint64_t end, uint32_t start, uint64_t page)
{
    lock_acquire(&cs->lock);
    if (cs->state == ISLAND_UNKNOWN && page) {
        cs->state = ISLAND_READY;
        cs->island = round_down(end, PAGE_SIZE);
        cs->island_page = page;
        cs->tail = start;
        cs->free = start + TAIL_SIZE;
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
        end = text_end(page, offset);
    if (end && read_page(m, mf, round_down(end, PAGE_SIZE), page))
        start = island_start(page, end);
    if (start && memfile_alloc_dirty(mf, PAGE_SIZE, &range) == 0) {
        write_tail(page + start, call_entry);
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

static struct site *find_site(struct callsites *cs, uint64_t offset) __must_hold(cs->lock)
{
    for (uint32_t i = 0; i < cs->site_count; i++) {
        if (cs->sites[i].offset == offset)
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

/* After these the next bytes would be no `mov $N, %eax`, or are part of an instruction. */
static bool is_inside_instruction(const uint8_t *site)
{
    static const uint8_t before[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36,
                                     0x3e, 0x26, 0x64, 0x65, 0x0f, 0x8d};

    if ((site[-1] & 0xf0) == 0x40 || memchr(before, site[-1], sizeof(before)))
        return true;
    return site[-2] == 0x8d && (site[-1] & 0xc7) == 0x84; /* lea N(base, index), the other lea */
}

/* These do not profit, or are looked at by who unwinds a stack. */
static bool is_better_left_alone(uint64_t number)
{
    switch (number) {
    case SYS_rt_sigreturn:
    case SYS_clone:
    case SYS_fork:
    case SYS_vfork:
    case SYS_clone3:
    case SYS_execve:
    case SYS_execveat:
    case SYS_exit:
    case SYS_exit_group:
        return true;
    default:
        return number >= NUMBER_MAX;
    }
}

static bool can_be_rewritten(const uint8_t *page, uint64_t offset, uint64_t number)
{
    uint64_t at = offset % PAGE_SIZE;
    const uint8_t *site = page + at;
    uint32_t n;

    if (at < 2 || at + CALLSITE_SIZE > PAGE_SIZE || is_better_left_alone(number))
        return false;
    memcpy(&n, site + 1, sizeof(n));
    return site[0] == 0xb8 && n == number && site[MOV_SIZE] == 0x0f && site[MOV_SIZE + 1] == 0x05 &&
           !is_inside_instruction(site);
}

/* True when it has come often enough. */
static bool count(struct callsites *cs, uint64_t offset) __must_hold(cs->lock)
{
    for (uint32_t i = 0; i < SEEN_MAX; i++) {
        struct seen *s = &cs->seen[i];

        if (s->times && s->offset == offset)
            return ++s->times >= SEEN_TIMES;
    }
    cs->seen[cs->seen_next++ % SEEN_MAX] = (struct seen){offset, 1};
    return false;
}

/* In bytes that nobody executes before a version leads there. Returns where. */
static uint32_t write_entry(struct callsites *cs, uint64_t behind, uint64_t number)
    __must_hold(cs->lock)
{
    uint8_t *island = memfile_ptr(cs->memfile, cs->island_page);
    uint32_t entry = cs->free;
    uint8_t *at = island + entry;

    cs->free += ENTRY_SIZE;
    at[0] = 0xb8; /* mov $N << 16, %eax */
    put32(at + 1, number << 16);
    at[ENTRY_LEA] = 0x48; /* lea behind(%rip), %rcx */
    at[ENTRY_LEA + 1] = 0x8d;
    at[ENTRY_LEA + 2] = 0x0d;
    put32(at + ENTRY_LEA + 3, behind - (cs->island + entry + ENTRY_JMP));
    at[ENTRY_JMP] = 0xe9; /* jmp tail */
    put32(at + ENTRY_JMP + 1, (uint64_t)cs->tail - (entry + ENTRY_SIZE));
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return entry;
}

/* A fresh page, kept for good. 0: there is none. */
static uint64_t new_page(struct callsites *cs) __must_hold(cs->lock)
{
    struct memfile_range range;

    if (!take(&page_total, PAGES_MAX))
        return 0;
    if (memfile_alloc_dirty(cs->memfile, PAGE_SIZE, &range)) {
        __atomic_sub_fetch(&page_total, 1, __ATOMIC_RELAXED);
        return 0;
    }
    cs->pages[cs->page_count++] = range.start;
    return range.start;
}

static void set_version(struct callsites *cs, uint64_t offset, uint64_t page) __must_hold(cs->lock)
{
    uint32_t i = version_from(cs, offset);

    if (!has_version(cs, i, offset)) {
        memmove(&cs->versions[i + 1], &cs->versions[i],
                (cs->version_count++ - i) * sizeof(cs->versions[0]));
        cs->versions[i].offset = offset;
    }
    cs->versions[i].page = page;
}

static bool add(struct callsites *cs, uint64_t offset, uint64_t number, const uint8_t *original)
    __must_hold(cs->lock)
{
    uint64_t base = round_down(offset, PAGE_SIZE), page;
    uint32_t i = version_from(cs, base), entry;
    int64_t distance = (int64_t)(cs->island - offset);
    uint8_t *bytes;

    /* Its own page is not rewritten, for it is the island that all others lead to. */
    if (base == cs->island || distance > INT32_MAX / 2 || distance < INT32_MIN / 2 ||
        cs->site_count == SITES_MAX || cs->free + ENTRY_SIZE > PAGE_SIZE)
        return false;
    page = new_page(cs);
    if (!page)
        return false;
    bytes = memfile_ptr(cs->memfile, page);
    if (has_version(cs, i, base))
        original = memfile_ptr(cs->memfile, cs->versions[i].page);
    memcpy(bytes, original, PAGE_SIZE);
    entry = write_entry(cs, offset + CALLSITE_SIZE, number);
    bytes += offset % PAGE_SIZE;
    bytes[0] = 0xe9; /* jmp entry */
    put32(bytes + 1, cs->island + entry - (offset + MOV_SIZE));
    cs->sites[cs->site_count++] = (struct site){offset, number};
    set_version(cs, base, page);
    log_debug("call %lu at %#lx of a file is rewritten, %u sites in %u pages", number, offset,
              cs->site_count, cs->version_count);
    return true;
}

static enum callsite_state note_locked(struct callsites *cs, uint64_t offset, uint64_t number,
                                       const uint8_t *page) __must_hold(cs->lock)
{
    if (find_site(cs, offset))
        return CALLSITE_KNOWN;
    if (cs->state == ISLAND_NONE || !can_be_rewritten(page, offset, number))
        return CALLSITE_HOPELESS;
    if (!count(cs, offset))
        return CALLSITE_SEEN;
    if (cs->state == ISLAND_UNKNOWN)
        return CALLSITE_NO_ISLAND;
    return add(cs, offset, number, page) ? CALLSITE_ADDED : CALLSITE_HOPELESS;
}

enum callsite_state callsites_note(struct callsites *cs, uint64_t offset, uint64_t number,
                                   const uint8_t *page)
{
    enum callsite_state state = CALLSITE_HOPELESS;

    lock_acquire(&cs->lock);
    if (!is_retired(cs))
        state = note_locked(cs, offset, number, page);
    lock_release(&cs->lock);
    return state;
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
    if (versions && !is_retired(cs)) {
        uint32_t i = version_from(cs, offset);

        is_version = i < cs->version_count && cs->versions[i].offset < next;
        if (is_version) {
            next = cs->versions[i].offset;
            page = cs->versions[i].page;
        }
    }
    lock_release(&cs->lock);
    *ret = next == offset ? (struct memfile_range){page, PAGE_SIZE}
                          : (struct memfile_range){range.start, MIN(range.size, next - offset)};
    return is_version && next == offset;
}

static uint64_t origin(struct callsites *cs, uint64_t at, uint64_t rcx) __must_hold(cs->lock)
{
    uint64_t first = cs->tail + TAIL_SIZE, step = (at - first) % ENTRY_SIZE;
    const struct site *site;

    if (at >= first && at < cs->free && (step == 0 || step == ENTRY_LEA || step == ENTRY_JMP))
        return cs->sites[(at - first) / ENTRY_SIZE].offset;
    if (at != cs->tail && at != cs->tail + TAIL_JMP)
        return UINT64_MAX;
    site = find_site(cs, rcx - CALLSITE_SIZE);
    return site ? site->offset : UINT64_MAX;
}

uint64_t callsites_origin(struct callsites *cs, uint64_t rip, uint64_t rcx)
{
    uint64_t site = UINT64_MAX;

    lock_acquire(&cs->lock);
    if (cs->state == ISLAND_READY && rip >= cs->island && rip < cs->island + PAGE_SIZE)
        site = origin(cs, rip - cs->island, rcx);
    lock_release(&cs->lock);
    return site;
}

void callsites_each(struct callsites *cs, uint64_t offset, void (*fn)(void *arg, uint64_t behind),
                    void *arg)
{
    lock_acquire(&cs->lock);
    for (uint32_t i = 0; i < cs->site_count; i++) {
        if (round_down(cs->sites[i].offset, PAGE_SIZE) == offset)
            fn(arg, cs->sites[i].offset + CALLSITE_SIZE);
    }
    lock_release(&cs->lock);
}
