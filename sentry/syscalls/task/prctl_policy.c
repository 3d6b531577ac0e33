/*
 * The options of prctl(2) that say how a kernel is to treat a program in cases that do not happen
 * here: failing memory, huge pages, block devices under writeback, speculation; and those about a
 * whole address space. They are checked and kept as Linux does it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/task/prctl.h"

/* Newer than Debian 12's headers. */
#define GET_AUXV             0x41555856 /* Linux 6.4 */
#define SET_MDWE             65
#define GET_MDWE             66
#define SET_MEMORY_MERGE     67
#define GET_MEMORY_MERGE     68
#define TIMER_CREATE_RESTORE 77
#define FUTEX_HASH           78
#define FUTEX_HASH_GET_SLOTS 2
#define THP_EXCEPT_ADVISED   2

#define SET_VMA              0x53564d41
#define SET_VMA_ANON_NAME    0

static bool any(const uint64_t *args, int from)
{
    for (int i = from; i < 4; i++) {
        if (args[i])
            return true;
    }
    return false;
}

static long set_memory_failure(struct task *task, const uint64_t a[4])
{
    if (a[2] || a[3])
        return -EINVAL;
    if (a[0] == PR_MCE_KILL_CLEAR && a[1] == 0)
        task->process->memory_failure = PR_MCE_KILL_DEFAULT;
    else if (a[0] == PR_MCE_KILL_SET && a[1] <= PR_MCE_KILL_DEFAULT)
        task->process->memory_failure = (uint8_t)a[1];
    else
        return -EINVAL;
    return 0;
}

/*
 * The processor's mitigations are the host's business. A program is told what it would be told by
 * a Linux that was booted without any: speculation is enabled, and cannot be disabled.
 */
static long set_speculation(uint64_t which, uint64_t value)
{
    bool enable = value == PR_SPEC_ENABLE;

    switch (which) {
    case PR_SPEC_STORE_BYPASS:
        return -ENXIO;
    case PR_SPEC_INDIRECT_BRANCH:
        if (value == PR_SPEC_DISABLE || value == PR_SPEC_FORCE_DISABLE)
            return -EPERM;
        return enable ? 0 : -ERANGE;
    default:
        return -EPERM;
    }
}

static long speculation(int option, const uint64_t a[4])
{
    if (option == PR_GET_SPECULATION_CTRL ? any(a, 1) : a[2] || a[3])
        return -EINVAL;
    if (a[0] > PR_SPEC_L1D_FLUSH)
        return -ENODEV;
    if (option == PR_SET_SPECULATION_CTRL)
        return set_speculation(a[0], a[1]);
    return a[0] == PR_SPEC_L1D_FLUSH ? PR_SPEC_FORCE_DISABLE : PR_SPEC_ENABLE;
}

static long io_flusher(struct task *task, int option, const uint64_t a[4])
{
    if (!task_has_cap(task, CAP_SYS_RESOURCE))
        return -EPERM;
    if (option == PR_GET_IO_FLUSHER)
        return any(a, 0) ? -EINVAL : task->process->io_flusher;
    if (any(a, 1) || a[0] > 1)
        return -EINVAL;
    task->process->io_flusher = a[0];
    return 0;
}

static long get_auxv(struct task *task, const uint64_t a[4])
{
    struct mm_layout layout;

    if (a[2] || a[3])
        return -EINVAL;
    mm_get_layout(task->mm, &layout);
    if (copy_to_user(task->mm, a[0], layout.auxv, MIN(sizeof(layout.auxv), a[1])) < 0)
        return -EFAULT;
    return sizeof(layout.auxv);
}

static long set_huge_pages(struct task *task, const uint64_t a[4])
{
    if (any(a, 2) || (a[0] ? a[1] & ~(uint64_t)THP_EXCEPT_ADVISED : a[1]))
        return -EINVAL;
    task->process->no_huge_pages = a[0] ? (uint8_t)(1 | a[1]) : 0;
    return 0;
}

/* PR_SET_MDWE: once said, it cannot be unsaid. */
static long set_deny_write_exec(struct task *task, const uint64_t a[4])
{
    uint32_t now = mm_traits(task->mm) & (MM_DENY_WRITE_EXEC | MM_DENY_NOT_INHERITED);

    static_assert(MM_DENY_WRITE_EXEC == 1 && MM_DENY_NOT_INHERITED == 2, "PR_MDWE_* bits");
    if (any(a, 1) || (a[0] & ~(uint64_t)(MM_DENY_WRITE_EXEC | MM_DENY_NOT_INHERITED)))
        return -EINVAL;
    if (a[0] == MM_DENY_NOT_INHERITED)
        return -EINVAL;
    if (now && now != a[0])
        return -EPERM;
    mm_set_traits(task->mm, (uint32_t)a[0]);
    return 0;
}

static long set_vma(struct task *task, const uint64_t a[4])
{
    char name[MM_LABEL_SIZE];
    ssize_t length;

    if (a[0] != SET_VMA_ANON_NAME)
        return -EINVAL;
    if (!a[3])
        return mm_label(task->mm, a[1], a[2], NULL);
    length = strncpy_from_user(task->mm, name, a[3], sizeof(name));
    if (length < 0)
        return length == -ENAMETOOLONG ? -EINVAL : length;
    return mm_label(task->mm, a[1], a[2], name);
}

/* PR_TIMER_CREATE_RESTORE_IDS: off, on, or what is it? */
static long timer_ids(struct task *task, const uint64_t a[4])
{
    if (any(a, 1) || a[0] > 2)
        return -EINVAL;
    if (a[0] == 2)
        return READ_ONCE(task->process->timer_ids_wanted);
    WRITE_ONCE(task->process->timer_ids_wanted, a[0] == 1);
    return 0;
}

long prctl_policy(struct task *task, int option, const uint64_t a[4])
{
    switch (option) {
    case PR_MCE_KILL:
        return set_memory_failure(task, a);
    case PR_MCE_KILL_GET:
        return any(a, 0) ? -EINVAL : task->process->memory_failure;
    case PR_SET_THP_DISABLE:
        return set_huge_pages(task, a);
    case PR_GET_THP_DISABLE:
        return any(a, 0) ? -EINVAL : task->process->no_huge_pages;
    case PR_SET_IO_FLUSHER:
    case PR_GET_IO_FLUSHER:
        return io_flusher(task, option, a);
    case PR_GET_SPECULATION_CTRL:
    case PR_SET_SPECULATION_CTRL:
        return speculation(option, a);
    case PR_TASK_PERF_EVENTS_DISABLE:
    case PR_TASK_PERF_EVENTS_ENABLE:
        return 0; /* nobody has any */
    case PR_SET_MM:
        return prctl_set_mm(task, a);
    case GET_AUXV:
        return get_auxv(task, a);
    case SET_VMA:
        return set_vma(task, a);
    case SET_MDWE:
        return set_deny_write_exec(task, a);
    case GET_MDWE:
        if (any(a, 0))
            return -EINVAL;
        return mm_traits(task->mm) & (MM_DENY_WRITE_EXEC | MM_DENY_NOT_INHERITED);
    case SET_MEMORY_MERGE:
        if (any(a, 1))
            return -EINVAL;
        mm_set_merge_any(task->mm, a[0]);
        return 0;
    case GET_MEMORY_MERGE:
        return any(a, 0) ? -EINVAL : !!(mm_traits(task->mm) & MM_MERGE_ANY);
    case PR_SCHED_CORE:
        return -ENODEV; /* as on a machine whose cores have one thread each */
    case PR_SET_SYSCALL_USER_DISPATCH:
        return user_dispatch_set(task, a[0], a[1], a[2], a[3]);
    case TIMER_CREATE_RESTORE:
        return timer_ids(task, a);
    case FUTEX_HASH: /* as a Linux without private tables: CONFIG_FUTEX_PRIVATE_HASH */
        return a[0] == FUTEX_HASH_GET_SLOTS ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}
