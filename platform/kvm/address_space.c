/*
 * Address spaces: one tree of page tables each.
 *
 * Table pages keep their place in a tree (ring0/pagetable.h), so a destroyed address space becomes
 * a shell with its tree, and a later one moves in: best one that is likely to map the same pages,
 * the next twin of the same parent. What it maps as the one before did costs nothing, neither here
 * nor in KVM's shadows of the tables; the rest goes when it first runs. When shells have gathered
 * too many pages, or pages run out, they are given back after one settle().
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bug.h"
#include "host/memory.h"
#include "platform/kvm/internal.h"

#define SHELL_PAGES_MAX 1024 /* 4 MiB */

/*
 * Larger ranges are not made ready ahead: the program may never touch them. Smaller ones are what
 * the memory manager maps around a fault.
 */
#define POPULATE_MAX (64UL << 10)

static void take_out_locked(struct kvm_platform *p, struct kvm_address_space *as)
    __must_hold(p->table_lock)
{
    list_del_init(&as->node);
    p->shell_pages -= as->pt.table_count;
}

/* Another's shell only where it is better than a new tree: in want of pages. */
static struct kvm_address_space *take_shell(struct kvm_platform *p,
                                            const struct address_space *like)
{
    struct kvm_address_space *as, *found = NULL;

    lock_acquire(&p->table_lock);
    list_for_each (as, &p->shells, node) {
        if (as->like == like) {
            found = as;
            break;
        }
        if (p->shell_pages > SHELL_PAGES_MAX / 2)
            found = as; /* the oldest */
    }
    if (found)
        take_out_locked(p, found);
    lock_release(&p->table_lock);
    return found;
}

bool shells_reclaim(struct kvm_platform *p)
{
    struct kvm_address_space *as, *tmp;
    struct list shells;

    list_init(&shells);
    lock_acquire(&p->table_lock);
    list_for_each_safe (as, tmp, &p->shells, node) {
        take_out_locked(p, as);
        list_add(&shells, &as->node);
    }
    lock_release(&p->table_lock);
    if (list_empty(&shells))
        return false;
    settle(p);
    list_for_each_safe (as, tmp, &shells, node) {
        exchange_free(as);
        pagetable_free(&as->pt);
        lock_destroy(&as->lock);
        free(as);
    }
    return true;
}

int kvm_as_create(struct platform *platform, struct address_space *like, struct address_space **ret)
{
    struct kvm_platform *p = to_platform(platform);
    struct kvm_address_space *as = take_shell(p, like);
    int err;

    if (!as) {
        as = calloc(1, sizeof(*as));
        if (!as)
            return -ENOMEM;
        as->base.ops = &kvm_platform_ops;
        as->platform = p;
        list_init(&as->node);
        err = pagetable_init(&as->pt, &p->pt_memory);
        if (err) {
            free(as);
            return err;
        }
        lock_init(&as->lock);
        pagetable_set_top(&as->pt, RING0_PML4_INDEX, p->top_entry);
    }
    as->like = like;
    *ret = &as->base;
    return 0;
}

void kvm_as_destroy(struct address_space *base)
{
    struct kvm_address_space *as = to_address_space(base);
    struct kvm_platform *p = as->platform;
    struct pagetable_drops drops = {0};
    bool crowded;

    exitless_evict(p, as);
    pagetable_retire(&as->pt, &drops);
    __atomic_store_n(&as->retired, true, __ATOMIC_RELAXED);
    shootdown(p, &drops);
    lock_acquire(&p->table_lock);
    list_add(&p->shells, &as->node);
    p->shell_pages += as->pt.table_count;
    crowded = p->shell_pages > SHELL_PAGES_MAX;
    lock_release(&p->table_lock);
    if (crowded)
        shells_reclaim(p);
}

void kvm_as_sweep(struct kvm_address_space *as)
{
    struct pagetable_drops drops = {0};

    lock_acquire(&as->lock);
    pagetable_sweep(&as->pt, &drops);
    shootdown(as->platform, &drops);
    __atomic_store_n(&as->retired, false, __ATOMIC_RELEASE);
    lock_release(&as->lock);
}

static uint64_t leaf_flags(int prot)
{
    return PTE_USER | (prot & PROT_WRITE ? PTE_WRITE : 0) | (prot & PROT_EXEC ? 0 : PTE_NX);
}

int kvm_as_map(struct address_space *base, uaddr_t addr, int prot, struct memfile_range range)
{
    struct kvm_address_space *as = to_address_space(base);
    struct kvm_platform *p = as->platform;
    struct pagetable_drops drops = {0};
    uint64_t gpa = MEMFILE_GPA + range.start;
    int err;

    BUG_ON(addr < PAGE_SIZE || addr > USER_MAX || range.size > USER_MAX - addr);
    BUG_ON(range.start > p->memfile_limit || range.size > p->memfile_limit - range.start);
    lock_acquire(&as->lock);
    err = pagetable_map(&as->pt, addr, range.size, gpa, leaf_flags(prot), &drops);
    if (err && (pagetable_prune(&as->pt) || shells_reclaim(p)))
        err = pagetable_map(&as->pt, addr, range.size, gpa, leaf_flags(prot), &drops);
    shootdown(p, &drops);
    lock_release(&as->lock);
    /*
     * A software KVM takes neighbours along with a fault where the host has them at hand; the
     * worst that can happen otherwise is that the guest faults for them later.
     */
    if (p->kind == KIND_RING3 && drops.fresh && range.size <= POPULATE_MAX)
        host_madvise(p->view + range.start, range.size, MADV_POPULATE_WRITE);
    return err;
}

int kvm_as_unmap(struct address_space *base, uaddr_t addr, uint64_t size)
{
    struct kvm_address_space *as = to_address_space(base);
    struct pagetable_drops drops = {0};
    int err;

    BUG_ON(addr > PAGETABLE_USER_END || size > PAGETABLE_USER_END - addr);
    lock_acquire(&as->lock);
    err = pagetable_unmap(&as->pt, addr, size, &drops);
    if (err && (pagetable_prune(&as->pt) || shells_reclaim(as->platform)))
        err = pagetable_unmap(&as->pt, addr, size, &drops);
    shootdown(as->platform, &drops);
    lock_release(&as->lock);
    return err;
}
