/*
 * CPU clocks: the processor time of a thread or a process, by the well-known ids or by those that
 * clock_getcpuclockid(3) makes out of a pid: ~pid << 3, bit 2 for a thread, and which time in the
 * lowest two bits (Linux include/linux/posix-timers_types.h).
 */
#include <errno.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time.h"

#define CLOCK_PER_THREAD 4
#define CLOCK_WHICH      3
#define CLOCK_WHICH_FD   3 /* a dynamic clock behind a descriptor: none here */

static int read_thread(struct task *task, int32_t tid, uint64_t *ret_ns)
{
    struct task *target = tid == 0 ? task_ref(task) : task_find(task->kernel, tid);
    int error = -EINVAL;

    if (target && target->process == task->process) {
        lock_acquire(&target->process->lock);
        *ret_ns = task_cpu_ns(target);
        lock_release(&target->process->lock);
        error = 0;
    }
    task_unref(target);
    return error;
}

static int read_process(struct task *task, int32_t pid, uint64_t *ret_ns)
{
    struct task *target = pid == 0 ? task_ref(task) : task_find(task->kernel, pid);
    int error = -EINVAL;

    if (target && (pid == 0 || target->process->pid == pid)) {
        *ret_ns = process_cpu_ns(target->process);
        error = 0;
    }
    task_unref(target);
    return error;
}

int clock_read(struct task *task, clockid_t clock, uint64_t *ret_ns)
{
    int32_t pid = ~(clock >> 3);

    if (clock == CLOCK_THREAD_CPUTIME_ID)
        return read_thread(task, 0, ret_ns);
    if (clock == CLOCK_PROCESS_CPUTIME_ID)
        return read_process(task, 0, ret_ns);
    if (clock >= 0)
        return time_read(clock, ret_ns) ? 0 : -EINVAL;
    if ((clock & CLOCK_WHICH) == CLOCK_WHICH_FD)
        return -EINVAL;
    return clock & CLOCK_PER_THREAD ? read_thread(task, pid, ret_ns)
                                    : read_process(task, pid, ret_ns);
}
