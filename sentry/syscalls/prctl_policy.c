/*
 * The options of prctl(2) that say how a kernel is to treat a program in cases that do not happen
 * here: failing memory, huge pages, block devices under writeback, speculation. They are checked
 * and kept as Linux does it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/prctl.h"

#define GET_AUXV 0x41555856 /* Linux 6.4 */

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

/* The processor's mitigations are the host's business: on, and nothing to be switched. */
static long speculation(int option, const uint64_t a[4])
{
    if (option == PR_GET_SPECULATION_CTRL ? any(a, 1) : a[2] || a[3])
        return -EINVAL;
    if (a[0] > PR_SPEC_L1D_FLUSH)
        return -ENODEV;
    if (option == PR_SET_SPECULATION_CTRL)
        return a[0] == PR_SPEC_L1D_FLUSH ? -EPERM : -ENXIO;
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
    struct mm_layout *layout = mm_layout(task->mm);
    size_t size = layout->auxv_count * 2 * sizeof(layout->auxv[0]);

    if (a[2] || a[3])
        return -EINVAL;
    if (copy_to_user(task->mm, a[0], layout->auxv, MIN(size, a[1])) < 0)
        return -EFAULT;
    return (long)size;
}

long prctl_policy(struct task *task, int option, const uint64_t a[4])
{
    switch (option) {
    case PR_MCE_KILL:
        return set_memory_failure(task, a);
    case PR_MCE_KILL_GET:
        return any(a, 0) ? -EINVAL : task->process->memory_failure;
    case PR_SET_THP_DISABLE:
        if (any(a, 1))
            return -EINVAL;
        task->process->no_huge_pages = a[0] != 0;
        return 0;
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
        return a[3] || task_has_cap(task, CAP_SYS_RESOURCE) ? -EINVAL : -EPERM;
    case GET_AUXV:
        return get_auxv(task, a);
    default:
        return -EINVAL;
    }
}
