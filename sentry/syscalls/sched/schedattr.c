/* sched_setattr(2) and sched_getattr(2): everything about scheduling in one structure. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/sched/sched.h"

#define ATTR_SIZE_FIRST  48u /* SCHED_ATTR_SIZE_VER0 */
#define FLAG_RESET       1u
#define FLAG_KEEP_POLICY 8u
#define FLAG_KEEP_PARAMS 16u
#define FLAG_UTIL_CLAMP  0x60u
#define FLAGS_ALL        0x7fu
/* Nanoseconds; /proc/sys/kernel/sched_deadline_period_* as Linux has them. */
#define DEADLINE_RUNTIME_MIN 1024
#define DEADLINE_PERIOD_MIN  100000
#define DEADLINE_PERIOD_MAX  4194304000

struct guest_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};
static_assert(sizeof(struct guest_sched_attr) == 56, "struct sched_attr");

/* As clone3(2)'s structure: a short one is padded, a long one must end in zeroes. */
static int get_attr(struct task *task, uaddr_t ptr, struct guest_sched_attr *ret_attr)
{
    const uint32_t known = sizeof(*ret_attr);
    uint32_t size;
    uint8_t rest;

    if (copy_struct_from_user(task->mm, &size, ptr) < 0)
        return -EFAULT;
    if (size == 0)
        size = ATTR_SIZE_FIRST;
    if (size < ATTR_SIZE_FIRST || size > PAGE_SIZE)
        return copy_to_user(task->mm, ptr, &known, sizeof(known)) < 0 ? -EFAULT : -E2BIG;
    memset(ret_attr, 0, sizeof(*ret_attr));
    if (copy_from_user(task->mm, ret_attr, ptr, MIN(size, known)) < 0)
        return -EFAULT;
    for (uint32_t at = known; at < size; at++) {
        if (copy_struct_from_user(task->mm, &rest, ptr + at) < 0)
            return -EFAULT;
        if (rest)
            return copy_to_user(task->mm, ptr, &known, sizeof(known)) < 0 ? -EFAULT : -E2BIG;
    }
    return 0;
}

/* Linux __checkparam_dl(): the parameters are looked at before the caller's rights. */
static bool deadline_valid(const struct guest_sched_attr *attr)
{
    uint64_t period = attr->period ? attr->period : attr->deadline;

    return attr->priority == 0 && attr->deadline != 0 && attr->runtime >= DEADLINE_RUNTIME_MIN &&
           !((attr->deadline | period) >> 63) && period >= attr->deadline &&
           attr->deadline >= attr->runtime && period >= DEADLINE_PERIOD_MIN &&
           period <= DEADLINE_PERIOD_MAX;
}

SYSCALL_DEFINE3(sched_setattr, int, pid, uaddr_t, ptr, unsigned, flags)
{
    struct guest_sched_attr attr;
    struct sched_deadline deadline;
    struct sched_change change;
    int error;

    if (!ptr || pid < 0 || flags)
        return -EINVAL;
    error = get_attr(task, ptr, &attr);
    if (error < 0)
        return error;
    if ((int32_t)attr.policy < 0 || attr.flags & ~(uint64_t)FLAGS_ALL)
        return -EINVAL;
    if (attr.flags & FLAG_UTIL_CLAMP)
        return -EOPNOTSUPP; /* as a kernel without utilisation clamping */
    if (attr.policy == LINUX_SCHED_DEADLINE && !deadline_valid(&attr))
        return -EINVAL;
    deadline = (struct sched_deadline){attr.runtime, attr.deadline,
                                       attr.period ? attr.period : attr.deadline};
    change = (struct sched_change){
        .policy = (int)attr.policy,
        .priority = (int)attr.priority,
        .nice = attr.nice,
        .set_nice = true,
        .reset_on_fork = attr.flags & FLAG_RESET,
        .keep_policy = attr.flags & FLAG_KEEP_POLICY,
        .keep_params = attr.flags & FLAG_KEEP_PARAMS,
        .deadline = attr.policy == LINUX_SCHED_DEADLINE ? &deadline : NULL,
    };
    return sched_change(task, pid, &change);
}

SYSCALL_DEFINE4(sched_getattr, int, pid, uaddr_t, ptr, unsigned, size, unsigned, flags)
{
    struct guest_sched_attr attr = {0};
    struct task_sched sched;
    int error;

    if (!ptr || pid < 0 || size > PAGE_SIZE || size < ATTR_SIZE_FIRST || flags)
        return -EINVAL;
    error = sched_read(task, pid, &sched);
    if (error < 0)
        return error;
    attr.size = MIN(size, (unsigned)sizeof(attr));
    attr.policy = (uint32_t)sched.policy;
    attr.flags = sched.reset_on_fork ? FLAG_RESET : 0;
    attr.priority = (uint32_t)sched.priority;
    attr.nice = sched.priority || sched.policy == LINUX_SCHED_DEADLINE ? 0 : sched.nice;
    attr.runtime = sched.deadline.runtime;
    attr.deadline = sched.deadline.deadline;
    attr.period = sched.deadline.period;
    return copy_to_user(task->mm, ptr, &attr, attr.size);
}
