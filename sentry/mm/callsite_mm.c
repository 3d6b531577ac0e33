/*
 * Rewritten call sites in one address space; callsite.h tells of them.
 *
 * The table has sets of words, each of an address behind a SYSCALL instruction and what is known of
 * it. It is a cache: words are read without a lock, so that a call from a known place costs next to
 * nothing, and any may be overwritten.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/callsite_code.h"

#define SETS       64
#define WAYS       4
#define WORD_SHIFT 8

#define HERE_TIMES 4 /* a rewritten site is seen so often before it is mapped here */

/* Less: so many calls came from there; it is rewritten, but not here. */
enum {
    WORD_PATCHED = 254, /* it is rewritten here */
    WORD_HOPELESS,      /* it never will be, as long as the mapping stands */
};

/* ---- the table ------------------------------------------------------------------------------ */

static uint64_t *set_of(uint64_t *table, uaddr_t rip)
{
    return table + (rip ^ rip >> 6 ^ rip >> 12) % SETS * WAYS;
}

/* What is known of it, 0: nothing. */
static unsigned int look_up(const struct mm *mm, uaddr_t rip)
{
    uint64_t *table = __atomic_load_n(&mm->call_table, __ATOMIC_ACQUIRE), *set;

    if (!table)
        return 0;
    set = set_of(table, rip);
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = __atomic_load_n(&set[i], __ATOMIC_RELAXED);

        if (word >> WORD_SHIFT == rip)
            return word & ((1U << WORD_SHIFT) - 1);
    }
    return 0;
}

static void remember(struct mm *mm, uaddr_t rip, unsigned int state) __must_hold(mm->lock)
{
    uint64_t word = rip << WORD_SHIFT | state, *set;
    int i;

    if (!mm->call_table) {
        uint64_t *table = calloc((size_t)SETS * WAYS, sizeof(*table));

        __atomic_store_n(&mm->call_table, table, __ATOMIC_RELEASE);
        if (!table)
            return;
    }
    set = set_of(mm->call_table, rip);
    for (i = 0; i < WAYS && set[i] && set[i] >> WORD_SHIFT != rip;)
        i++;
    if (i == WAYS) { /* the first to come is the first to go */
        for (i = 0; i < WAYS - 1; i++)
            __atomic_store_n(&set[i], set[i + 1], __ATOMIC_RELAXED);
    }
    __atomic_store_n(&set[i], word, __ATOMIC_RELAXED);
}

void mm_call_sites_clear(struct mm *mm)
{
    if (!mm->call_table)
        return;
    for (int i = 0; i < SETS * WAYS; i++)
        __atomic_store_n(&mm->call_table[i], 0, __ATOMIC_RELAXED);
}

/* ---- what is mapped ------------------------------------------------------------------------- */

/* Of this kind of VMA; that its island is in its place is another matter. */
static bool may_be_rewritten(const struct mm *mm, const struct vma *vma)
{
    return vma->object && vma_is_private(vma) && !vma->userfault && !mm->calls_untouched &&
           (vma->prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC && vma->object->ops->text_is_stable;
}

struct learning {
    struct mm *mm;
    const struct vma *vma;
};

static void learn(void *arg, uint64_t behind) __no_lock_analysis
{
    const struct learning *l = arg;

    remember(l->mm, l->vma->start + (behind - l->vma->offset), WORD_PATCHED);
}

/* The current version of the page at addr is mapped there. */
static void learn_page(struct mm *mm, const struct vma *vma, uaddr_t addr)
{
    struct learning l = {mm, vma};

    callsites_each(callsites_of(vma->object), vma_offset_of(vma, addr), learn, &l);
}

int mm_call_sites_map(struct mm *mm, uaddr_t addr, uint64_t rights, struct memfile_range range)
{
    struct vma *vma = vma_at(mm, addr);
    int err = 0;

    if (!vma || !vma->rewritten || (pmap_get(&mm->pmap, addr) & PMAP_ANON))
        return mm->as->ops->as_map(mm->as, addr, (int)rights, range);
    while (range.size && !err) {
        struct memfile_range part;
        bool is_version = callsites_choose(callsites_of(vma->object), vma_offset_of(vma, addr),
                                           vma->rewritten == VMA_VERSIONS, range, &part);

        err = mm->as->ops->as_map(mm->as, addr, (int)rights, part);
        if (!err && is_version)
            learn_page(mm, vma, addr);
        addr += part.size;
        range.start += part.size;
        range.size -= part.size;
    }
    return err;
}

static void unmap(struct mm *mm, uaddr_t start, uaddr_t end)
{
    struct pmap_iter it;

    if (start >= end)
        return;
    mm_platform_unmap(mm, start, end);
    for (pmap_iter_init(&it, &mm->pmap, start, end); pmap_iter_next(&it);) {
        if (it.entry & PMAP_RIGHTS)
            pmap_iter_set(&it, it.entry & ~PMAP_RIGHTS);
    }
}

/* Where the island is in this VMA; false: nowhere. */
static bool find_island(const struct vma *vma, uaddr_t *ret)
{
    uint64_t island = callsites_island(callsites_of(vma->object));

    if (island < vma->offset || island >= vma_offset_of(vma, vma->end))
        return false;
    *ret = vma->start + (island - vma->offset);
    return true;
}

bool mm_call_sites_are_at(const struct vma *vma, uaddr_t addr)
{
    struct memfile_range own = {UINT64_MAX, PAGE_SIZE}, chosen;

    (void)callsites_choose(callsites_of(vma->object), vma_offset_of(vma, addr), true, own, &chosen);
    return chosen.start != own.start;
}

void mm_call_sites_forget(struct mm *mm, struct vma *vma)
{
    uaddr_t island = vma->end;

    (void)find_island(vma, &island);
    unmap(mm, vma->start, island);
    unmap(mm, island + PAGE_SIZE, vma->end);
    vma->rewritten = VMA_ISLAND;
    mm_call_sites_clear(mm);
}

void mm_call_sites_replaced(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end)
{
    uaddr_t island;

    if (vma->rewritten == VMA_VERSIONS && find_island(vma, &island) && island >= start &&
        island < end)
        mm_call_sites_forget(mm, vma);
    else
        mm_call_sites_clear(mm);
}

/* The island's page may be mapped as it is in the one where it is not to be, or not only. */
void mm_call_sites_merge(struct mm *mm, struct vma *low, struct vma *high)
{
    unmap(mm, low->start, high->end);
    mm_call_sites_clear(mm);
    low->rewritten = VMA_ISLAND;
}

/* What is mapped at addr is mapped anew. In two steps, for another epoch (fault.c). */
static int map_again(struct mm *mm, uaddr_t addr, uint64_t entry, uint64_t rights)
{
    /* The leaf exists: this cannot fail. */
    (void)pmap_set_run(&mm->pmap, addr, PAGE_SIZE, entry & ~PMAP_RIGHTS);
    (void)pmap_set_run(&mm->pmap, addr, PAGE_SIZE, (entry & ~PMAP_RIGHTS) | rights);
    return mm_platform_map(mm, addr, rights,
                           (struct memfile_range){entry & ~PMAP_FLAGS, PAGE_SIZE});
}

/* From here on its island page is mapped as the island or not at all. -ENOENT: it cannot be. */
static int begin(struct mm *mm, struct vma *vma)
{
    uint64_t entry;
    uaddr_t island;
    bool is_mapped;

    if (vma->rewritten == VMA_VERSIONS)
        return 0;
    if (!find_island(vma, &island))
        return -ENOENT;
    entry = pmap_get(&mm->pmap, island);
    if (entry & (PMAP_ANON | PMAP_GUARD))
        return -ENOENT;
    is_mapped = (entry & PMAP_RIGHTS) && vma->rewritten == VMA_ORIGINAL;
    vma->rewritten = VMA_VERSIONS;
    __atomic_store_n(&mm->calls_rewritten, true, __ATOMIC_RELAXED);
    return is_mapped ? map_again(mm, island, entry, entry & PMAP_RIGHTS) : 0;
}

void mm_call_sites_apply(struct mm *mm, struct vma *vma, uaddr_t caller)
{
    if (mm->env->limits.call_entry && may_be_rewritten(mm, vma) && callsites_of(vma->object) &&
        (caller == 0 || mm_is_loader(mm, caller)))
        (void)begin(mm, vma);
}

bool mm_call_sites_keep(struct mm *mm, struct vma *vma, uaddr_t addr, uint64_t entry, int prot,
                        uint64_t page)
{
    struct memfile_range own = {entry & ~PMAP_FLAGS, PAGE_SIZE}, chosen;
    uaddr_t island;

    /* Of the island there is but one right page; of others two. */
    if (own.start == page)
        return !vma->rewritten || !find_island(vma, &island) || addr != island;
    if (!(prot & PROT_EXEC) || (entry & (PMAP_ANON | PMAP_GUARD)) || !may_be_rewritten(mm, vma) ||
        !callsites_of(vma->object) || !find_island(vma, &island))
        return false;
    (void)callsites_choose(callsites_of(vma->object), vma_offset_of(vma, addr), true, own, &chosen);
    if (page != chosen.start || (!vma->rewritten && (pmap_get(&mm->pmap, island) & PMAP_RIGHTS)) ||
        begin(mm, vma) < 0)
        return false;
    if (addr != island)
        learn_page(mm, vma, addr);
    return true;
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* Maps the current version of the page at addr, from which a call came. */
static int map_version(struct mm *mm, struct vma *vma, uaddr_t addr) __must_hold(mm->lock)
{
    uint64_t entry = pmap_get(&mm->pmap, addr);
    int err = begin(mm, vma);

    return err ? err : map_again(mm, addr, entry, mm_entry_rights(vma, entry));
}

/* The object's own page there, or NULL. */
static const uint8_t *text_at(struct mm *mm, uaddr_t addr) __must_hold(mm->lock)
{
    uint64_t entry = pmap_get(&mm->pmap, addr);

    if ((entry & (PMAP_PRESENT | PMAP_ANON)) != PMAP_PRESENT)
        return NULL;
    return memfile_ptr(mm->env->memfile, entry & ~PMAP_FLAGS);
}

/* The SYSCALL before `rip`, of which the site's page may not have all. */
static bool has_call(struct mm *mm, const struct vma *vma, uaddr_t rip) __must_hold(mm->lock)
{
    static const uint8_t code[CALLSITE_CALL] = {0x0f, 0x05};

    if (rip > vma->end)
        return false;
    for (unsigned int i = 0; i < CALLSITE_CALL; i++) {
        uaddr_t addr = rip - CALLSITE_CALL + i;
        const uint8_t *page = text_at(mm, addr);

        if (!page || page[addr % PAGE_SIZE] != code[i])
            return false;
    }
    return true;
}

/* What the object says. `vma` contains the call before `rip`, or is NULL. */
static enum callsite_state ask(struct mm *mm, struct vma *vma, uaddr_t rip, uint64_t number)
    __must_hold(mm->lock)
{
    const uint8_t *page = text_at(mm, rip - CALLSITE_CALL);
    struct callsites *cs;

    if (!vma || !may_be_rewritten(mm, vma) || !page || !has_call(mm, vma, rip))
        return CALLSITE_HOPELESS;
    cs = callsites_get(vma->object, mm->env->memfile);
    return cs ? callsites_note(cs, vma_offset_of(vma, rip), number, page) : CALLSITE_HOPELESS;
}

/* One look at a call of which nothing is known, or little. */
static enum callsite_state consider(struct mm *mm, struct vma *vma, uaddr_t rip, uint64_t number)
    __must_hold(mm->lock)
{
    enum callsite_state state = ask(mm, vma, rip, number);
    unsigned int times = look_up(mm, rip) + 1;

    if (state == CALLSITE_KNOWN && times < HERE_TIMES)
        remember(mm, rip, times);
    else if (state == CALLSITE_KNOWN &&
             map_version(mm, vma, round_down(rip - CALLSITE_CALL, PAGE_SIZE)) == -ENOENT)
        state = CALLSITE_HOPELESS;
    if (state == CALLSITE_HOPELESS)
        remember(mm, rip, WORD_HOPELESS);
    return state;
}

bool mm_note_call(struct mm *mm, uaddr_t rip, uint64_t number)
{
    unsigned int known = look_up(mm, rip);
    struct mappable *object = NULL;
    uint64_t offset = 0;
    struct vma *vma;

    if (likely(known >= WORD_PATCHED))
        return known == WORD_PATCHED && number <= UINT16_MAX; /* what call_entry takes */
    lock_acquire(&mm->lock);
    vma = rip >= CALLSITE_CALL && rip < PMAP_SPAN ? vma_at(mm, rip - CALLSITE_CALL) : NULL;
    if (consider(mm, vma, rip, number) == CALLSITE_NO_ISLAND) {
        object = mappable_ref(vma->object);
        offset = vma_offset_of(vma, rip - CALLSITE_CALL);
    }
    lock_release(&mm->lock);
    if (object)
        callsites_prepare(object, mm->env->memfile, mm->env->limits.call_entry, offset);
    mappable_unref(object);
    return false;
}

void mm_call_sites_off(struct mm *mm)
{
    lock_acquire(&mm->lock);
    for (struct vma *vma = mm->calls_untouched ? NULL : vma_first(mm); vma; vma = vma_next(vma)) {
        if (vma->rewritten == VMA_VERSIONS)
            mm_call_sites_forget(mm, vma);
    }
    mm->calls_untouched = true;
    mm_call_sites_clear(mm);
    lock_release(&mm->lock);
}

void mm_call_site_undo(struct mm *mm, struct cpu_regs *regs)
{
    uint64_t rip, rax = regs->rax;
    const struct vma *vma;

    if (likely(!READ_ONCE(mm->calls_rewritten)))
        return;
    lock_acquire(&mm->lock);
    vma = regs->rip < PMAP_SPAN ? vma_at(mm, regs->rip) : NULL;
    if (vma && vma->rewritten) {
        rip = vma_offset_of(vma, regs->rip);
        if (callsites_undo(callsites_of(vma->object), vma_offset_of(vma, regs->rcx), &rip, &rax) &&
            rip >= vma->offset && rip < vma_offset_of(vma, vma->end)) {
            regs->rip = vma->start + (rip - vma->offset);
            regs->rax = rax;
        }
    }
    lock_release(&mm->lock);
}
