/*
 * NUMA memory policies: set_mempolicy(2), mbind(2), move_pages(2) and their kin, on a machine with
 * one memory node. Everything is checked, kept and told as Linux does there.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define NODES_MAX 1024 /* bits of a mask that Linux looks at: MAX_NUMNODES */
#define NODES     1UL  /* the nodes that there are, as a mask */

/* Newer than Debian 12's headers. */
#define LINUX_MPOL_PREFERRED_MANY      5
#define LINUX_MPOL_WEIGHTED_INTERLEAVE 6
#define LINUX_MPOL_MAX                 7

/* get_nodes(): of `count` bits the first is in bit 0; only those of the first word can be set. */
static int get_nodes(struct task *task, uaddr_t addr, uint64_t count, uint64_t *ret)
{
    uint64_t words[NODES_MAX / 64] = {0}, total, bits = count - 1;

    *ret = 0;
    if (bits == 0 || count == 0 || !addr)
        return 0;
    if (bits > PAGE_SIZE * 8)
        return -EINVAL;
    total = (bits + 63) / 64;
    for (uint64_t i = 0; i < total; i++) {
        uint64_t word;

        if (copy_struct_from_user(task->mm, &word, addr + i * sizeof(word)) < 0)
            return -EFAULT;
        if (i == total - 1 && bits % 64)
            word &= (1UL << bits % 64) - 1;
        if (i < ARRAY_COUNT(words))
            words[i] = word;
        else if (word)
            return -EINVAL;
    }
    *ret = words[0];
    for (size_t i = 1; i < ARRAY_COUNT(words); i++)
        *ret |= words[i] ? 1UL << 63 : 0; /* some node that does not exist */
    return 0;
}

static int put_nodes(struct task *task, uaddr_t addr, uint64_t count, uint64_t nodes)
{
    uint64_t size = round_up(count - 1, 64) / 8;

    if (size > sizeof(nodes)) {
        if (size > PAGE_SIZE)
            return -EINVAL;
        if (clear_user(task->mm, addr + sizeof(nodes), size - sizeof(nodes)) < 0)
            return -EFAULT;
        size = sizeof(nodes);
    }
    return copy_to_user(task->mm, addr, &nodes, size);
}

/* sanitize_mpol_flags(), mpol_new(), mpol_set_nodemask() */
static int make_policy(int mode, uint64_t nodes, struct mm_policy *ret)
{
    uint32_t flags = (uint32_t)mode & MPOL_MODE_FLAGS;
    uint32_t fixed = flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES);
    uint32_t kind = (uint32_t)mode & ~(uint32_t)MPOL_MODE_FLAGS;

    if (kind >= LINUX_MPOL_MAX || fixed == (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES))
        return -EINVAL;
    if ((flags & MPOL_F_NUMA_BALANCING) && kind != MPOL_BIND && kind != LINUX_MPOL_PREFERRED_MANY)
        return -EINVAL;
    *ret = (struct mm_policy){.mode = kind | flags, .nodes = fixed ? nodes : nodes & NODES};
    switch (kind) {
    case MPOL_DEFAULT:
        *ret = (struct mm_policy){0};
        return nodes ? -EINVAL : 0;
    case MPOL_LOCAL:
        return nodes || fixed ? -EINVAL : 0;
    case MPOL_PREFERRED:
        if (nodes)
            break;
        ret->mode = MPOL_LOCAL | flags;
        return fixed ? -EINVAL : 0;
    default:
        break;
    }
    /* Relative numbers are folded onto the nodes that there are. */
    if (flags & MPOL_F_RELATIVE_NODES)
        return nodes ? 0 : -EINVAL;
    return nodes & NODES ? 0 : -EINVAL;
}

SYSCALL_DEFINE3(set_mempolicy, int, mode, uaddr_t, mask, uint64_t, count)
{
    struct mm_policy policy;
    uint64_t nodes;
    int err;

    if (((unsigned)mode & ~(unsigned)MPOL_MODE_FLAGS) >= LINUX_MPOL_MAX)
        return -EINVAL;
    err = get_nodes(task, mask, count, &nodes);
    if (err == 0)
        err = make_policy(mode, nodes, &policy);
    if (err == 0)
        task->policy = policy;
    return err;
}

/* What get_mempolicy(2) says without MPOL_F_MEMS_ALLOWED. */
static int look_up(struct task *task, uaddr_t addr, uint64_t flags, int *ret_mode,
                   uint64_t *ret_nodes)
{
    struct mm_policy policy = task->policy;
    int err;

    if (flags & MPOL_F_ADDR) {
        err = mm_get_policy(task->mm, addr, &policy);
        if (err < 0)
            return err;
    } else if (addr) {
        return -EINVAL;
    }
    *ret_nodes = policy.nodes;
    *ret_mode = (int)policy.mode;
    if (flags & MPOL_F_NODE) {
        uint32_t kind = policy.mode & ~(uint32_t)MPOL_MODE_FLAGS;
        uint8_t byte;

        *ret_mode = 0; /* the only node */
        if (flags & MPOL_F_ADDR)
            return copy_from_user(task->mm, &byte, addr, 1);
        return kind == MPOL_INTERLEAVE || kind == LINUX_MPOL_WEIGHTED_INTERLEAVE ? 0 : -EINVAL;
    }
    return 0;
}

SYSCALL_DEFINE5(get_mempolicy, uaddr_t, mode_addr, uaddr_t, mask, uint64_t, count, uaddr_t, addr,
                uint64_t, flags)
{
    uint64_t nodes = NODES;
    int mode = 0, err;

    if (mask && count < 1)
        return -EINVAL;
    if (flags & ~(uint64_t)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
        return -EINVAL;
    if (flags & MPOL_F_MEMS_ALLOWED)
        err = flags & (MPOL_F_NODE | MPOL_F_ADDR) ? -EINVAL : 0;
    else
        err = look_up(task, addr, flags, &mode, &nodes);
    if (err < 0)
        return err;
    if (mode_addr && copy_struct_to_user(task->mm, mode_addr, &mode) < 0)
        return -EFAULT;
    return mask ? put_nodes(task, mask, count, nodes) : 0;
}

SYSCALL_DEFINE6(mbind, uaddr_t, start, uint64_t, size, uint64_t, mode, uaddr_t, mask, uint64_t,
                count, unsigned, flags)
{
    uint64_t rounded = round_up(size, PAGE_SIZE), nodes;
    struct mm_policy policy;
    int err;

    if (((unsigned)mode & ~(unsigned)MPOL_MODE_FLAGS) >= LINUX_MPOL_MAX)
        return -EINVAL;
    err = get_nodes(task, mask, count, &nodes);
    if (err < 0)
        return err;
    if (flags & ~(unsigned)(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
        return -EINVAL;
    if ((flags & MPOL_MF_MOVE_ALL) && !task_has_cap(task, CAP_SYS_NICE))
        return -EPERM;
    if (!is_aligned(start, PAGE_SIZE) || start + rounded < start)
        return -EINVAL;
    if (rounded == 0)
        return 0;
    err = make_policy((int)mode, nodes, &policy);
    if (err < 0)
        return err;
    return mm_set_policy(task->mm, start, start + rounded, &policy, policy.mode == MPOL_DEFAULT);
}

SYSCALL_DEFINE4(set_mempolicy_home_node, uaddr_t, start, uint64_t, size, uint64_t, node, uint64_t,
                flags)
{
    uint64_t rounded = round_up(size, PAGE_SIZE);

    if (!is_aligned(start, PAGE_SIZE) || flags || node != 0 || start + rounded < start)
        return -EINVAL;
    return rounded ? mm_set_home_node(task->mm, start, start + rounded) : 0;
}

/* The task of that number, 0 for the caller, if the caller may look at its memory. */
static int find_target(struct task *task, int pid, struct task **ret)
{
    struct task *target = pid ? task_lookup(task, pid) : task_ref(task);

    if (!target)
        return -ESRCH;
    if (ptrace_may_access(task, target, PTRACE_ATTACH_REALCREDS) < 0) {
        task_unref(target);
        return -EPERM;
    }
    *ret = target;
    return 0;
}

SYSCALL_DEFINE4(migrate_pages, int, pid, uint64_t, count, uaddr_t, old_mask, uaddr_t, new_mask)
{
    uint64_t old_nodes, new_nodes;
    struct task *target;
    int err = get_nodes(task, old_mask, count, &old_nodes);

    if (err == 0)
        err = get_nodes(task, new_mask, count, &new_nodes);
    if (err == 0)
        err = find_target(task, pid, &target);
    if (err < 0)
        return err;
    /* From the only node to itself: nothing is left to be moved. */
    err = (new_nodes & ~NODES) && !task_has_cap(task, CAP_SYS_NICE) ? -EPERM : 0;
    if (err == 0 && new_nodes && !(new_nodes & NODES))
        err = -EINVAL;
    task_unref(target);
    return err;
}

/* One page: what its status says, or an error that ends the call. */
static int move_page(struct task *task, struct mm *mm, uaddr_t page, uaddr_t node_addr,
                     int *ret_status)
{
    int32_t node = 0;

    if (node_addr) {
        if (copy_struct_from_user(task->mm, &node, node_addr) < 0)
            return -EFAULT;
        if (node != 0)
            return -ENODEV;
    }
    *ret_status = mm_page_node(mm, page);
    return 0;
}

SYSCALL_DEFINE6(move_pages, int, pid, uint64_t, count, uaddr_t, pages, uaddr_t, nodes, uaddr_t,
                status, int, flags)
{
    struct task *target;
    struct mm *mm;
    int err;

    if (flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
        return -EINVAL;
    if ((flags & MPOL_MF_MOVE_ALL) && !task_has_cap(task, CAP_SYS_NICE))
        return -EPERM;
    err = find_target(task, pid, &target);
    if (err < 0)
        return err;
    mm = task_get_mm(target);
    task_unref(target);
    if (!mm)
        return -EINVAL;
    for (uint64_t i = 0; i < count && err == 0; i++) {
        uaddr_t page;
        int state;

        if (copy_struct_from_user(task->mm, &page, pages + i * sizeof(page)) < 0)
            err = -EFAULT;
        else
            err = move_page(task, mm, page, nodes ? nodes + i * sizeof(int32_t) : 0, &state);
        if (err == 0)
            err = copy_struct_to_user(task->mm, status + i * sizeof(state), &state);
        if (err == 0 && i % 64 == 63 && task_is_leaving(task)) /* other signals wait, as on Linux */
            err = -EINTR;
    }
    mm_unref(mm);
    return err;
}
