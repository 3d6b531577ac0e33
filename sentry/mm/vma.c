/*
 * The VMAs of an address space: a red-black tree by address.
 *
 * Each node also knows of its subtree the span and the largest gap between neighbours, so that the
 * place for a new mapping is found in O(log n) though 65530 VMAs may be in the way. A stack keeps
 * the guard gap free below itself: for the search it begins that much earlier (vma_gap_start).
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/mm/callsite.h"
#include "sentry/mm/internal.h"

static int vma_compare(const struct vma *a, const struct vma *b)
{
    return a->start < b->start ? -1 : a->start > b->start;
}

RB_GENERATE_INTERNAL(vma_tree, vma, node, vma_compare, __attribute__((unused)) static)

/* Where free space below the VMA ends. */
static uaddr_t vma_gap_start(const struct vma *vma)
{
    if (!(vma->flags & VMA_GROWSDOWN))
        return vma->start;
    return vma->start > STACK_GUARD_GAP ? vma->start - STACK_GUARD_GAP : 0;
}

static uint64_t gap_between(uaddr_t end, uaddr_t start)
{
    return start > end ? start - end : 0;
}

void vma_augment(struct vma *vma)
{
    struct vma *left = RB_LEFT(vma, node), *right = RB_RIGHT(vma, node);
    uint64_t gap = 0;

    vma->tree_start = vma_gap_start(vma);
    vma->tree_end = vma->end;
    if (left) {
        gap = gap_between(left->tree_end, vma->tree_start);
        gap = MAX(gap, left->tree_gap);
        vma->tree_start = left->tree_start;
    }
    if (right) {
        gap = MAX(gap, right->tree_gap);
        gap = MAX(gap, gap_between(vma->end, right->tree_start));
        vma->tree_end = right->tree_end;
    }
    vma->tree_gap = gap;
}

static void augment_up(struct vma *vma)
{
    for (; vma; vma = RB_PARENT(vma, node))
        vma_augment(vma);
}

/* ---- finding ------------------------------------------------------------------------------ */

struct vma *vma_find(struct mm *mm, uaddr_t addr)
{
    struct vma *vma = mm->vma_cache, *found = NULL;

    if (vma && vma->start <= addr && addr < vma->end)
        return vma;
    vma = RB_ROOT(&mm->vmas);
    while (vma) {
        if (addr >= vma->end) {
            vma = RB_RIGHT(vma, node);
            continue;
        }
        found = vma;
        if (addr >= vma->start)
            break;
        vma = RB_LEFT(vma, node);
    }
    if (found)
        mm->vma_cache = found;
    return found;
}

struct vma *vma_at(struct mm *mm, uaddr_t addr)
{
    struct vma *vma = vma_find(mm, addr);

    return vma && vma->start <= addr ? vma : NULL;
}

bool vma_hole_in(struct mm *mm, uaddr_t start, uaddr_t end)
{
    while (start < end) {
        struct vma *vma = vma_at(mm, start);

        if (!vma)
            return true;
        start = vma->end;
    }
    return false;
}

struct vma *vma_next(struct vma *vma)
{
    return vma_tree_RB_NEXT(vma);
}

struct vma *vma_prev(struct vma *vma)
{
    return vma_tree_RB_PREV(vma);
}

struct vma *vma_first(struct mm *mm)
{
    return RB_MIN(vma_tree, &mm->vmas);
}

bool vma_overlaps(struct mm *mm, uaddr_t start, uaddr_t end)
{
    struct vma *vma = vma_find(mm, start);

    return vma && vma->start < end;
}

/* ---- statistics --------------------------------------------------------------------------- */

bool vma_is_data(int prot, uint32_t flags)
{
    return (prot & PROT_WRITE) && !(flags & (VMA_SHARED | VMA_GROWSDOWN));
}

/* mm/mmap.c: vm_stat_account(); `size` may be a negative number in two's complement. */
static void account(struct mm *mm, int prot, uint32_t flags, uint64_t size)
{
    struct mm_stats *s = &mm->stats;

    s->total += size;
    mm_commit(prot, flags, size);
    if (flags & VMA_GROWSDOWN)
        s->stack += size;
    else if (vma_is_data(prot, flags))
        s->data += size;
    else if ((prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC)
        s->exec += size;
    if (flags & VMA_LOCKED)
        s->locked += size;
    s->peak_total = MAX(s->peak_total, s->total);
}

bool mm_may_expand(struct mm *mm, int prot, uint32_t flags, uint64_t size)
{
    const struct mm_stats *s = &mm->stats;

    if (size > mm->limits.address_space || s->total > mm->limits.address_space - size)
        return false;
    if (!vma_is_data(prot, flags))
        return true;
    return size <= mm->limits.data && s->data <= mm->limits.data - size;
}

/* ---- changing the tree -------------------------------------------------------------------- */

struct vma *vma_new(struct mm *mm, const struct vma *like)
{
    struct vma *vma = malloc(sizeof(*vma));

    if (!vma)
        return NULL;
    *vma = *like;
    vma->mm = mm;
    vma->next_trash = NULL;
    vma->served = 0;
    vma->fault_next = 0;
    vma->fault_window = 0;
    list_init(&vma->object_node);
    vma_label_ref(vma->label);
    if (vma->userfault)
        mm_userfault_ref(vma->userfault);
    if (vma->object) {
        mappable_ref(vma->object);
        if (vma->object->ops->opened)
            vma->object->ops->opened(vma->object);
    }
    return vma;
}

void vma_free(struct vma *vma)
{
    if (vma->object && vma->object->ops->closed)
        vma->object->ops->closed(vma->object);
    vma_label_unref(vma->label);
    mm_userfault_unref(vma->userfault);
    mappable_unref(vma->object);
    free(vma);
}

static void object_link(struct vma *vma)
{
    if (!vma->object)
        return;
    lock_acquire(&vma->object->mappings_lock);
    list_add(&vma->object->mappings, &vma->object_node);
    lock_release(&vma->object->mappings_lock);
}

static void object_unlink(struct vma *vma)
{
    if (!vma->object)
        return;
    lock_acquire(&vma->object->mappings_lock);
    list_del_init(&vma->object_node);
    lock_release(&vma->object->mappings_lock);
}

void vma_insert(struct mm *mm, struct vma *vma)
{
    /* A node without children, for the augmented insertion below. */
    vma->tree_start = vma_gap_start(vma);
    vma->tree_end = vma->end;
    vma->tree_gap = 0;
    if (vma_tree_RB_INSERT(&mm->vmas, vma))
        BUG("two VMAs at %#lx", vma->start);
    augment_up(vma);
    object_link(vma);
    account(mm, vma->prot, vma->flags, vma->end - vma->start);
    mm->vma_count++;
}

/* Out of the tree and the object's list; what remains is the memory and the object reference. */
static void detach(struct mm *mm, struct vma *vma)
{
    /* The macros update the ancestors only when both children exist. */
    struct vma *parent = RB_PARENT(vma, node);

    vma_tree_RB_REMOVE(&mm->vmas, vma);
    augment_up(parent);
    object_unlink(vma);
    if (mm->vma_cache == vma)
        mm->vma_cache = NULL;
    mm->vma_count--;
}

void vma_remove(struct mm *mm, struct vma *vma, struct trash *trash)
{
    account(mm, vma->prot, vma->flags, -(vma->end - vma->start));
    if (vma->prot & PROT_EXEC)
        mm_call_sites_clear(mm);
    detach(mm, vma);
    vma->next_trash = trash->vmas;
    trash->vmas = vma;
}

void vma_resize(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end)
{
    account(mm, vma->prot, vma->flags, (end - start) - (vma->end - vma->start));
    vma->offset += start - vma->start;
    vma->start = start;
    vma->end = end;
    augment_up(vma);
}

void vma_change(struct mm *mm, struct vma *vma, int prot, uint32_t flags)
{
    uint64_t size = vma->end - vma->start;

    account(mm, vma->prot, vma->flags, -size);
    if ((vma->prot ^ prot) && ((vma->prot | prot) & PROT_EXEC))
        mm_call_sites_clear(mm);
    vma->prot = (uint8_t)prot;
    vma->flags = flags;
    account(mm, vma->prot, vma->flags, size);
}

struct vma *vma_split(struct mm *mm, struct vma *vma, uaddr_t addr)
{
    struct vma *upper;

    if (unlikely(vma->rewritten == VMA_VERSIONS)) /* what one part needs may be in the other */
        mm_call_sites_forget(mm, vma);
    upper = vma_new(mm, vma);
    if (!upper)
        return NULL;
    upper->start = addr;
    upper->offset = vma_offset_of(vma, addr);
    vma_resize(mm, vma, vma->start, addr);
    vma_insert(mm, upper);
    return upper;
}

struct vma *vma_isolate(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end)
{
    if (vma->start < start) {
        if (mm->vma_count >= mm_max_map_count() || !(vma = vma_split(mm, vma, start)))
            return NULL;
    }
    if (vma->end > end && (mm->vma_count >= mm_max_map_count() || !vma_split(mm, vma, end)))
        return NULL;
    return vma;
}

int vma_set_flags(struct mm *mm, struct vma *vma, uaddr_t start, uaddr_t end, uint32_t flags)
{
    if (flags == vma->flags)
        return 0;
    vma = vma_isolate(mm, vma, start, end);
    if (!vma)
        return -ENOMEM;
    vma_change(mm, vma, vma->prot, flags);
    vma_merge(mm, vma);
    return 0;
}

int vma_split_range(struct mm *mm, uaddr_t start, uaddr_t end)
{
    struct vma *first = vma_at(mm, start), *last;

    if (first && first->start < start) {
        /* Cutting a hole into one VMA leaves one more than before: Linux checks only this. */
        if (first->end > end && mm->vma_count >= mm_max_map_count())
            return -ENOMEM;
        if (!vma_split(mm, first, start))
            return -ENOMEM;
    }
    last = vma_at(mm, end);
    if (last && last->start < end && !vma_split(mm, last, end))
        return -ENOMEM;
    return 0;
}

/* ---- merging ------------------------------------------------------------------------------ */

static bool can_merge(const struct vma *low, const struct vma *high)
{
    return low->end == high->start && low->prot == high->prot && low->flags == high->flags &&
           low->max_prot == high->max_prot && low->object == high->object &&
           low->name == high->name && vma_labels_equal(low->label, high->label) &&
           low->policy.mode == high->policy.mode && low->policy.nodes == high->policy.nodes &&
           low->userfault == high->userfault && low->userfault_modes == high->userfault_modes &&
           !(low->object && low->object->ops->closed) &&
           (!low->object || vma_offset_of(low, low->end) == high->offset);
}

/* `high` vanishes into `low`. */
static void absorb(struct mm *mm, struct vma *low, struct vma *high)
{
    uaddr_t end = high->end;

    if (unlikely(low->rewritten != high->rewritten))
        mm_call_sites_merge(mm, low, high);
    account(mm, high->prot, high->flags, -(end - high->start));
    detach(mm, high);
    vma_free(high); /* not the last reference of the object: low has one */
    vma_resize(mm, low, low->start, end);
}

struct vma *vma_merge(struct mm *mm, struct vma *vma)
{
    struct vma *prev = vma_prev(vma), *next = vma_next(vma);

    if (next && can_merge(vma, next))
        absorb(mm, vma, next);
    if (prev && can_merge(prev, vma)) {
        absorb(mm, prev, vma);
        return prev;
    }
    return vma;
}

/* ---- free places -------------------------------------------------------------------------- */

struct gap_search {
    uint64_t size, align;
    uint64_t need; /* a gap of this size holds an aligned place wherever it begins */
    uaddr_t low, high;
    uaddr_t found;
};

static bool take_from_top(struct gap_search *s, uaddr_t start, uaddr_t end)
{
    start = MAX(start, s->low);
    end = MIN(end, s->high);
    if (end <= start || end - start < s->size)
        return false;
    s->found = round_down(end - s->size, s->align);
    return s->found >= start;
}

static bool take_from_bottom(struct gap_search *s, uaddr_t start, uaddr_t end)
{
    start = round_up(MAX(start, s->low), s->align);
    end = MIN(end, s->high);
    if (end <= start || end - start < s->size)
        return false;
    s->found = start;
    return true;
}

static bool worth_a_look(const struct gap_search *s, const struct vma *vma, uaddr_t before,
                         uaddr_t after)
{
    return vma->tree_gap >= s->need || gap_between(before, vma->tree_start) >= s->need ||
           gap_between(vma->tree_end, after) >= s->need;
}

/* `before` and `after`: where the neighbours of the subtree's span end and begin. */
static bool search_down(struct gap_search *s, struct vma *vma, uaddr_t before, uaddr_t after)
{
    if (after <= s->low || before >= s->high)
        return false;
    if (!vma)
        return take_from_top(s, before, after);
    if (!worth_a_look(s, vma, before, after))
        return false;
    return search_down(s, RB_RIGHT(vma, node), vma->end, after) ||
           search_down(s, RB_LEFT(vma, node), before, vma_gap_start(vma));
}

static bool search_up(struct gap_search *s, struct vma *vma, uaddr_t before, uaddr_t after)
{
    if (after <= s->low || before >= s->high)
        return false;
    if (!vma)
        return take_from_bottom(s, before, after);
    if (!worth_a_look(s, vma, before, after))
        return false;
    return search_up(s, RB_LEFT(vma, node), before, vma_gap_start(vma)) ||
           search_up(s, RB_RIGHT(vma, node), vma->end, after);
}

int vma_gap_below(struct mm *mm, uint64_t size, uint64_t align, uaddr_t low, uaddr_t high,
                  uaddr_t *ret_addr)
{
    struct gap_search s = {
        .size = size, .align = align, .need = size + align - PAGE_SIZE, .low = low, .high = high};

    if (!search_down(&s, RB_ROOT(&mm->vmas), low, high))
        return -ENOMEM;
    *ret_addr = s.found;
    return 0;
}

int vma_gap_above(struct mm *mm, uint64_t size, uint64_t align, uaddr_t low, uaddr_t high,
                  uaddr_t *ret_addr)
{
    struct gap_search s = {
        .size = size, .align = align, .need = size + align - PAGE_SIZE, .low = low, .high = high};

    if (!search_up(&s, RB_ROOT(&mm->vmas), low, high))
        return -ENOMEM;
    *ret_addr = s.found;
    return 0;
}
