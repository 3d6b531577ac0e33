#include "tests/unit/mm_check.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"

void sandbox_init(struct sandbox *s, uint64_t memfile_limit)
{
    cr_assert_eq(memfile_create(memfile_limit, &s->memfile), 0);
    cr_assert_eq(fake_platform_ops.create(s->memfile, &s->platform), 0);
    s->env = (struct mm_env){
        .platform = s->platform,
        .memfile = s->memfile,
        .limits = {.user_min = FAKE_USER_MIN, .user_max = FAKE_USER_MAX},
    };
    cr_assert_eq(mm_create(&s->env, &s->mm), 0);
    mm_set_mmap_base(s->mm, 0x7f0000000000);
}

void sandbox_fini(struct sandbox *s)
{
    struct memfile_stats stats;

    s->mm = mm_unref(s->mm);
    memfile_get_stats(s->memfile, &stats);
    cr_assert_eq(stats.allocated, 0, "%lu bytes leaked", stats.allocated);
    fake_platform_ops.destroy(s->platform);
    memfile_destroy(s->memfile);
}

size_t map_calls(struct mm *mm)
{
    return fake_map_calls(mm_address_space(mm));
}

size_t unmap_calls(struct mm *mm)
{
    return fake_unmap_calls(mm_address_space(mm));
}

/* The platform's mapping at addr, or NULL. */
static const struct fake_mapping *mapping_at(struct mm *mm, uaddr_t addr)
{
    return fake_mapping_find(mm_address_space(mm), addr);
}

/* The Sentry's pointer to the byte that the guest sees at addr. */
static uint8_t *byte_at(struct mm *mm, uaddr_t addr)
{
    const struct fake_mapping *m = mapping_at(mm, addr);

    return memfile_ptr(mm->env->memfile, m->range.start + (addr - m->addr));
}

/* The subtree's span and gap, computed without the augmented fields. */
static void check_tree(const struct vma *vma)
{
    const struct vma *left = RB_LEFT(vma, node), *right = RB_RIGHT(vma, node);
    struct vma copy = *vma;

    if (left)
        check_tree(left);
    if (right)
        check_tree(right);
    vma_augment(&copy);
    cr_assert_eq(copy.tree_start, vma->tree_start);
    cr_assert_eq(copy.tree_end, vma->tree_end);
    cr_assert_eq(copy.tree_gap, vma->tree_gap, "gap at %#lx", vma->start);
}

static void check_vmas(struct mm *mm)
{
    struct mm_stats seen = {0};
    uint32_t count = 0;
    uaddr_t end = 0;

    if (RB_ROOT(&mm->vmas))
        check_tree(RB_ROOT(&mm->vmas));
    for (struct vma *v = vma_first(mm); v; v = vma_next(v)) {
        cr_assert_lt(v->start, v->end);
        cr_assert_geq(v->start, end);
        cr_assert(is_aligned(v->start | v->end | v->offset, PAGE_SIZE));
        cr_assert_eq(v->prot & ~v->max_prot, 0);
        cr_assert_eq(v->mm, mm);
        end = v->end;
        count++;
        seen.total += v->end - v->start;
        if (vma_is_data(v->prot, v->flags))
            seen.data += v->end - v->start;
        if (v->flags & VMA_LOCKED)
            seen.locked += v->end - v->start;
    }
    cr_assert_eq(count, mm->vma_count);
    cr_assert_eq(seen.total, mm->stats.total);
    cr_assert_eq(seen.data, mm->stats.data);
    cr_assert_eq(seen.locked, mm->stats.locked);
}

/* Any page may be the object's or a version, but the island's. */
static void check_rewritten(const struct vma *vma, uaddr_t addr, uint64_t entry, uint64_t page)
{
    struct callsites *cs = callsites_of(vma->object);
    uint64_t offset = vma_offset_of(vma, addr), island = callsites_island(cs);
    struct memfile_range own = {entry & ~PMAP_FLAGS, PAGE_SIZE}, chosen;

    (void)callsites_choose(cs, offset, vma->rewritten == VMA_VERSIONS, own, &chosen);
    if (vma->rewritten == VMA_VERSIONS)
        cr_assert(island >= vma->offset && island < vma_offset_of(vma, vma->end),
                  "calls lead out of the mapping");
    if (offset == island)
        cr_assert_eq(page, chosen.start, "the island is not in its place");
    else if (chosen.start == own.start && !callsites_are_retired(vma->object))
        cr_assert_eq(page, own.start);
}

static void check_entry(struct mm *mm, uaddr_t addr, uint64_t entry)
{
    const struct fake_mapping *page = mapping_at(mm, addr);
    struct vma *vma = vma_at(mm, addr);
    uint64_t rights = entry & PMAP_RIGHTS;
    uint32_t refs;

    cr_assert(vma != NULL, "an entry outside every VMA at %#lx", addr);
    cr_assert(!(entry & PMAP_GUARD) != !(entry & PMAP_PRESENT));
    if (entry & PMAP_GUARD) {
        cr_assert_eq(page, NULL);
        return;
    }
    cr_assert_eq(rights & ~prot_rights(vma->prot), 0, "too many rights at %#lx", addr);
    refs = memfile_page_refs(mm->env->memfile, entry & ~PMAP_FLAGS);
    cr_assert_gt(refs, 0);
    if ((rights & PROT_WRITE) && vma_is_private(vma)) {
        cr_assert(entry & PMAP_ANON);
        cr_assert_eq(refs, 1, "a shared page is writable at %#lx", addr);
    }
    if (rights == 0) {
        cr_assert_eq(page, NULL);
        return;
    }
    cr_assert(page != NULL, "rights without a mapping at %#lx", addr);
    cr_assert_eq((uint64_t)page->prot, rights);
    if (vma->rewritten && !(entry & PMAP_ANON) && (rights & PROT_EXEC))
        check_rewritten(vma, addr, entry, page->range.start + (addr - page->addr));
    else
        cr_assert_eq(page->range.start + (addr - page->addr), entry & ~PMAP_FLAGS);
}

void mm_check(struct mm *mm)
{
    const struct address_space *as = mm_address_space(mm);
    uint64_t present = 0, mapped = 0;
    struct pmap_iter it;

    check_vmas(mm);
    for (pmap_iter_init(&it, &mm->pmap, 0, PMAP_SPAN); pmap_iter_next(&it);) {
        check_entry(mm, it.addr, it.entry);
        present += (it.entry & PMAP_PRESENT) != 0;
        mapped += (it.entry & PMAP_RIGHTS) != 0;
    }
    cr_assert_eq(present, mm->pmap.present);
    for (size_t i = 0; i < fake_mapping_count(as); i++)
        mapped -= fake_mapping_at(as, i)->range.size / PAGE_SIZE;
    cr_assert_eq(mapped, 0, "the platform has mappings that the page map does not know");
}

int64_t map_at(struct mm *mm, uaddr_t addr, uint64_t size, int prot, int flags)
{
    struct mm_map_args args = {.addr = addr, .size = size, .prot = prot, .flags = flags};
    uaddr_t got = 0;
    int err = mm_map(mm, &args, &got);

    return err ? err : (int64_t)got;
}

int64_t map_anon(struct mm *mm, uint64_t size, int prot)
{
    return map_at(mm, 0, size, prot, MAP_PRIVATE | MAP_ANONYMOUS);
}

int touch(struct mm *mm, uaddr_t addr, enum access access)
{
    int need = access == ACCESS_WRITE ? PROT_WRITE : access == ACCESS_EXEC ? PROT_EXEC : PROT_READ;

    for (int tries = 0; tries < 8; tries++) {
        const struct fake_mapping *page = mapping_at(mm, addr);
        int signo = 0, code = 0, err;

        if (page && (page->prot & need))
            return 0;
        err = mm_fault(mm, addr, access, &signo, &code);
        if (err == -EFAULT)
            return signo == SIGBUS ? -(code + 100) : -code;
        if (err)
            return err;
    }
    cr_assert_fail("the fault at %#lx is never served", addr);
    return 0;
}

int poke(struct mm *mm, uaddr_t addr, uint8_t value)
{
    int err = touch(mm, addr, ACCESS_WRITE);

    if (!err)
        *byte_at(mm, addr) = value;
    return err;
}

int peek(struct mm *mm, uaddr_t addr)
{
    int err = touch(mm, addr, ACCESS_READ);

    return err ? err : *byte_at(mm, addr);
}
