/*
 * Robust mutexes of a thread that ends (get_robust_list(2), Linux kernel/futex/core.c
 * exit_robust_list): each lock word that still names the thread gets FUTEX_OWNER_DIED, and one
 * sleeper is woken to find that. The list is the guest's: it may be anything, even a ring.
 */
#include <linux/futex.h>

#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"

#define LOCK_MAX 2048 /* ROBUST_LIST_LIMIT */
#define ENTRY_PI 1UL  /* low bit of a list pointer: a priority-inheriting mutex */

struct guest_robust_head {
    uint64_t list;
    int64_t futex_offset;
    uint64_t pending;
};
static_assert(sizeof(struct guest_robust_head) == 24, "struct robust_list_head");

static void owner_died(struct task *task, uaddr_t addr, bool pi, bool pending)
{
    uint32_t word, seen;

    if (!is_aligned(addr, sizeof(word)) || user_load32(task->mm, addr, &word) < 0)
        return;
    /* Unlocked, but the thread died before it could wake the next one. */
    if (pending && !pi && word == 0) {
        futex_wake(task->kernel, task->mm, addr, true, 1, FUTEX_BITSET_MATCH_ANY);
        return;
    }
    for (;;) {
        if ((word & FUTEX_TID_MASK) != (uint32_t)task->vtid)
            return;
        if (user_cmpxchg32(task->mm, addr, word, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED, &seen) <
            0)
            return;
        if (seen == word)
            break;
        word = seen;
    }
    if (!pi && (word & FUTEX_WAITERS))
        futex_wake(task->kernel, task->mm, addr, true, 1, FUTEX_BITSET_MATCH_ANY);
}

void robust_list_exit(struct task *task)
{
    uaddr_t head_addr = task->robust_list;
    struct guest_robust_head head;
    uint64_t entry, next;

    task->robust_list = 0;
    if (!head_addr || copy_struct_from_user(task->mm, &head, head_addr) < 0)
        return;
    entry = head.list;
    for (int i = 0; i < LOCK_MAX && (entry & ~ENTRY_PI) != head_addr; i++) {
        /* Read before the word changes: its new owner may free the entry. */
        int error = copy_struct_from_user(task->mm, &next, entry & ~ENTRY_PI);

        if (entry != head.pending)
            owner_died(task, (entry & ~ENTRY_PI) + (uint64_t)head.futex_offset, entry & ENTRY_PI,
                       false);
        if (error < 0)
            return;
        entry = next;
    }
    if (head.pending & ~ENTRY_PI)
        owner_died(task, (head.pending & ~ENTRY_PI) + (uint64_t)head.futex_offset,
                   head.pending & ENTRY_PI, true);
}
