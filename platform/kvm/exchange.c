/*
 * Exchange pages: what a program and the thread that serves its calls both write. They must not be
 * seen by any other program, so each address space that needs one has its own tables for them,
 * under an entry of the top table that is otherwise empty.
 */
#include <errno.h>
#include <string.h>

#include "platform/kvm/internal.h"

#define LINK (PTE_PRESENT | PTE_WRITE | PTE_USER)
#define LEAF (LINK | PTE_ACCESSED | PTE_DIRTY | PTE_NX)

static_assert(EXCHANGE_BASE >> 39 << 39 == EXCHANGE_BASE, "index 0 in all lower tables");
static_assert((EXCHANGE_BASE >> 39 & 511) == EXCHANGE_PML4_INDEX, "ring0/layout.h");

static int make_tables(struct kvm_address_space *as)
{
    struct kvm_platform *p = as->platform;
    uint64_t tables[3];

    for (int i = 0; i < 3; i++) {
        int err = table_alloc(p, &tables[i]);

        if (err) {
            while (i-- > 0)
                table_free(p, tables[i]);
            return err;
        }
    }
    *(uint64_t *)table_ptr(p, tables[0]) = tables[1] | LINK;
    *(uint64_t *)table_ptr(p, tables[1]) = tables[2] | LINK;
    as->exchange_tables[0] = tables[0];
    as->exchange_tables[1] = tables[1];
    as->exchange_table = tables[2];
    pagetable_set_top(&as->pt, EXCHANGE_PML4_INDEX, tables[0] | LINK);
    return 0;
}

static int make_page(struct kvm_address_space *as, unsigned int n)
{
    struct kvm_platform *p = as->platform;
    uint64_t gpa, *entry;
    int err = as->exchange_table ? 0 : make_tables(as);

    if (!err)
        err = table_alloc(p, &gpa);
    if (err)
        return err;
    entry = (uint64_t *)table_ptr(p, as->exchange_table) + n;
    __atomic_store_n(entry, gpa | LEAF, __ATOMIC_RELEASE);
    as->exchange[n] = table_ptr(p, gpa);
    return 0;
}

int exchange_open(struct kvm_address_space *as, unsigned int n, struct exchange_page **ret)
{
    int err = 0;

    lock_acquire(&as->lock);
    if (!as->exchange[n])
        err = make_page(as, n);
    *ret = as->exchange[n];
    lock_release(&as->lock);
    /* What the last program here left in it is nobody's business. */
    if (!err)
        memset(*ret, 0, PAGE_SIZE);
    return err;
}

/* The next to get the page takes it for an empty table: what the program has written must go. */
static void clear_and_free(struct kvm_platform *p, uint64_t gpa)
{
    memset(table_ptr(p, gpa), 0, PAGE_SIZE);
    table_free(p, gpa);
}

void exchange_free(struct kvm_address_space *as)
{
    struct kvm_platform *p = as->platform;

    if (!as->exchange_table)
        return;
    for (unsigned int i = 0; i < RUNNER_MAX; i++) {
        if (as->exchange[i])
            clear_and_free(p, (uint64_t)((uint8_t *)as->exchange[i] - p->pt_memory.base));
    }
    clear_and_free(p, as->exchange_table);
    clear_and_free(p, as->exchange_tables[1]);
    clear_and_free(p, as->exchange_tables[0]);
}
