/* /proc/PID/limits: getrlimit(2) in words. */
#include <errno.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/process.h"

static const struct {
    const char *name, *unit;
} limit_names[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = {"Max cpu time", "seconds"},
    [RLIMIT_FSIZE] = {"Max file size", "bytes"},
    [RLIMIT_DATA] = {"Max data size", "bytes"},
    [RLIMIT_STACK] = {"Max stack size", "bytes"},
    [RLIMIT_CORE] = {"Max core file size", "bytes"},
    [RLIMIT_RSS] = {"Max resident set", "bytes"},
    [RLIMIT_NPROC] = {"Max processes", "processes"},
    [RLIMIT_NOFILE] = {"Max open files", "files"},
    [RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
    [RLIMIT_AS] = {"Max address space", "bytes"},
    [RLIMIT_LOCKS] = {"Max file locks", "locks"},
    [RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
    [RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
    [RLIMIT_NICE] = {"Max nice priority", NULL},
    [RLIMIT_RTPRIO] = {"Max realtime priority", NULL},
    [RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
};

static void put_limit(struct proc_text *text, uint64_t value)
{
    if (value == RLIM64_INFINITY)
        proc_printf(text, "%-20s ", "unlimited");
    else
        proc_printf(text, "%-20lu ", value);
}

ssize_t proc_limits_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(tid);
    struct rlimit64 limits[RLIM_NLIMITS];

    if (!task)
        return -ESRCH;
    lock_acquire(&task->process->lock);
    memcpy(limits, task->process->limits, sizeof(limits));
    lock_release(&task->process->lock);
    task_unref(task);
    proc_printf(&text, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        proc_printf(&text, "%-25s ", limit_names[i].name);
        put_limit(&text, limits[i].rlim_cur);
        put_limit(&text, limits[i].rlim_max);
        if (limit_names[i].unit)
            proc_printf(&text, "%-10s", limit_names[i].unit);
        proc_printf(&text, "\n");
    }
    return (ssize_t)text.length;
}
