/*
 * What is counted about a task or process: /proc/PID/io, sched, schedstat; its timers, its
 * children; and who logged in.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/fs/proc/view.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/posixtimer.h"

/* Nothing lies on a device of the sandbox: what is read and written of one is nothing. */
static ssize_t put_io(uint64_t key, bool thread, char *buf, size_t size)
{
    struct usage usage;
    struct task *task;
    int err = proc_look_into(key, &task);

    if (err < 0)
        return err;
    lock_acquire(&task->process->lock);
    if (thread)
        task_usage_locked(task, &usage);
    else
        process_usage_locked(task->process, &usage);
    lock_release(&task->process->lock);
    task_unref(task);
    return snprintf(buf, size,
                    "rchar: %lu\nwchar: %lu\nsyscr: %lu\nsyscw: %lu\nread_bytes: 0\n"
                    "write_bytes: 0\ncancelled_write_bytes: 0\n",
                    usage.read_bytes, usage.written_bytes, usage.reads, usage.writes);
}

ssize_t proc_io_text(uint64_t key, char *buf, size_t size)
{
    return put_io(key, false, buf, size);
}

ssize_t proc_thread_io_text(uint64_t key, char *buf, size_t size)
{
    return put_io(key, true, buf, size);
}

static void put_sched(struct proc_text *text, const char *name, uint64_t value)
{
    proc_printf(text, "%-45s:%21lu\n", name, value);
}

/* proc_sched_show_task(), as far as there is a scheduler of our own to tell of. */
ssize_t proc_sched_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(key);
    struct task_view v;
    uint64_t ran;

    if (!task)
        return -ESRCH;
    task_view_take(task, &v);
    ran = v.usage.user_ns + v.usage.system_ns;
    proc_printf(&text, "%.15s (%d, #threads: %u)\n", v.comm, proc_shown(key, task->tid), v.threads);
    proc_printf(&text, "%.67s\n",
                "-------------------------------------------------------------------");
    proc_printf(&text, "%-45s:%14lu.%06lu\n", "se.sum_exec_runtime", ran / 1000000, ran % 1000000);
    put_sched(&text, "nr_switches", v.usage.sleeps + v.usage.preemptions);
    put_sched(&text, "nr_voluntary_switches", v.usage.sleeps);
    put_sched(&text, "nr_involuntary_switches", v.usage.preemptions);
    put_sched(&text, "policy", (uint64_t)v.sched.policy);
    put_sched(&text, "prio",
              (uint64_t)(v.sched.policy ? 99 - v.sched.priority : 120 + v.sched.nice));
    task_unref(task);
    return (ssize_t)text.length;
}

/* Time on a processor, time it waited for one (which the host does not say), and how often it ran.
 */
ssize_t proc_schedstat_text(uint64_t tid, char *buf, size_t size)
{
    struct task *task = proc_find_task(tid);
    struct usage usage;

    if (!task)
        return -ESRCH;
    lock_acquire(&task->process->lock);
    task_usage_locked(task, &usage);
    lock_release(&task->process->lock);
    task_unref(task);
    return snprintf(buf, size, "%lu 0 %lu\n", usage.user_ns + usage.system_ns,
                    usage.sleeps + usage.preemptions + 1);
}

struct timer_list {
    struct proc_text *text;
    uint64_t key;
};

static void put_timer(const struct posix_timer_view *timer, void *arg)
{
    static const char *const notify[] = {"signal", "none", "thread"};
    struct timer_list *list = arg;

    proc_printf(list->text, "ID: %d\nsignal: %d/%016lx\n", timer->id, timer->signo, timer->value);
    proc_printf(list->text, "notify: %s/%s.%d\nClockID: %d\n", notify[timer->notify % 3],
                timer->tid ? "tid" : "pid",
                proc_shown(list->key, timer->tid ? timer->tid : timer->pid), timer->clock);
}

ssize_t proc_timers_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct timer_list list = {&text, key};
    struct task *task = proc_find_task(key);

    if (!task)
        return -ESRCH;
    posix_timers_each(task->process, put_timer, &list);
    task_unref(task);
    return (ssize_t)text.length;
}

/* The processes that this very thread has made, or inherited. */
ssize_t proc_children_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(key);
    struct process *child;

    if (!task)
        return -ESRCH;
    lock_acquire(&task->kernel->lock);
    list_for_each (child, &task->process->children, sibling) {
        int32_t pid = child->parent_thread == task ? proc_shown(key, child->pid) : 0;

        if (pid)
            proc_printf(&text, "%d ", pid);
    }
    lock_release(&task->kernel->lock);
    task_unref(task);
    return (ssize_t)text.length;
}

/* ---- the session that audit(8) would know --------------------------------------------------- */

static ssize_t audit_text(uint64_t key, bool session, char *buf, size_t size)
{
    struct task *task = proc_find_task(key);
    uint32_t value;

    if (!task)
        return -ESRCH;
    value = __atomic_load_n(session ? &task->process->login_session : &task->process->login_uid,
                            __ATOMIC_RELAXED);
    if (!session && value != UINT32_MAX)
        value = cred_shown_uid(task_current()->cred, value);
    task_unref(task);
    return snprintf(buf, size, "%u", value);
}

ssize_t proc_loginuid_text(uint64_t key, char *buf, size_t size)
{
    return audit_text(key, false, buf, size);
}

ssize_t proc_sessionid_text(uint64_t key, char *buf, size_t size)
{
    return audit_text(key, true, buf, size);
}

/* proc_loginuid_write(), audit_set_loginuid(): once for everybody, later for the privileged. */
int proc_loginuid_write(uint64_t key, const char *text, size_t size)
{
    static uint32_t last_session;
    struct task *task = task_current();
    struct process *process = task->process;
    char *end;
    unsigned long uid = strtoul(text, &end, 10);
    uint32_t global = UINT32_MAX;

    if (PROC_KEY_TID(key) != process->pid && PROC_KEY_TID(key) != task->tid)
        return -EPERM;
    if (end == text || (*end && *end != '\n') || uid > UINT32_MAX)
        return -EINVAL;
    if (uid != UINT32_MAX) {
        global = cred_kernel_uid(task->cred, (uint32_t)uid);
        if (global == UINT32_MAX)
            return -EINVAL;
    }
    if (__atomic_load_n(&process->login_uid, __ATOMIC_RELAXED) != UINT32_MAX &&
        !task_has_cap(task, CAP_AUDIT_CONTROL))
        return -EPERM;
    __atomic_store_n(&process->login_session,
                     global == UINT32_MAX ? UINT32_MAX
                                          : __atomic_add_fetch(&last_session, 1, __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&process->login_uid, global, __ATOMIC_RELAXED);
    return 0;
}
