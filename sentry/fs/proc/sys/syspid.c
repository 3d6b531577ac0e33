/* /proc/sys/kernel/pid_max and ns_last_pid: of the caller's pid namespace. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"

#define PID_MAX_MIN 301 /* RESERVED_PIDS + 1 */

static struct pid_ns *own_ns(void)
{
    return task_current()->process->pid_ns;
}

ssize_t proc_pid_max_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%d\n", __atomic_load_n(&own_ns()->pid_max, __ATOMIC_RELAXED));
}

ssize_t proc_ns_last_pid_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%d\n", __atomic_load_n(&own_ns()->last_pid, __ATOMIC_RELAXED));
}

/* A number between the two, or -EINVAL. */
static int parse(const char *text, long min, long max, int32_t *ret)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || (*end && *end != '\n') || value < min || value > max)
        return -EINVAL;
    *ret = (int32_t)value;
    return 0;
}

/* At most as many as a table holds. */
int proc_pid_max_write(uint64_t key, const char *text, size_t size)
{
    struct task *task = task_current();
    int32_t value;
    int err;

    if (!task_has_ns_cap(task, own_ns()->ns.owner, CAP_SYS_ADMIN))
        return -EPERM;
    err = parse(text, PID_MAX_MIN, KERNEL_PID_MAX, &value);
    if (err == 0) {
        lock_acquire(&task->kernel->lock);
        __atomic_store_n(&own_ns()->pid_max, value, __ATOMIC_RELAXED);
        lock_release(&task->kernel->lock);
    }
    return err;
}

/* The next task gets the number behind it. */
int proc_ns_last_pid_write(uint64_t key, const char *text, size_t size)
{
    struct task *task = task_current();
    int32_t value;
    int err;

    if (!task_has_ns_cap(task, own_ns()->ns.owner, CAP_CHECKPOINT_RESTORE) &&
        !task_has_ns_cap(task, own_ns()->ns.owner, CAP_SYS_ADMIN))
        return -EPERM;
    err = parse(text, 0, own_ns()->pid_max - 1, &value);
    if (err == 0) {
        lock_acquire(&task->kernel->lock);
        __atomic_store_n(&own_ns()->last_pid, value, __ATOMIC_RELAXED);
        lock_release(&task->kernel->lock);
    }
    return err;
}
