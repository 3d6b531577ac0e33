#include "sentry/kernel/process.h"

#include <stdlib.h>
#include <sys/prctl.h>

#include "host/futex.h"
#include "host/clock.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/itimer.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/time/posixtimer.h"
#include "sentry/vfs/file.h"

struct process *process_create(struct kernel *kernel, struct pid_ns *ns)
{
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return NULL;
    refcount_set(&process->refs, 1);
    process->kernel = kernel;
    process->pid_ns = pid_ns_ref(ns);
    lock_init(&process->lock);
    list_init(&process->threads);
    list_init(&process->asyncs);
    list_init(&process->children);
    list_init(&process->sibling);
    list_init(&process->group_node);
    wait_queue_init(&process->child_events);
    wait_queue_init(&process->exit_events);
    process->serial = kernel_serial(kernel);
    process->parent_pid = KERNEL_PID_SENTRY;
    sigpending_init(&process->pending);
    timer_init(&process->real_timer, itimer_real_expired);
    cpu_timers_init(process);
    process->dumpable = 1;
    process->login_uid = process->login_session = UINT32_MAX;
    process->memory_failure = PR_MCE_KILL_DEFAULT;
    return process;
}

struct process *process_ref(struct process *process)
{
    refcount_get(&process->refs);
    return process;
}

struct process *process_unref(struct process *process)
{
    if (!process || !refcount_put(&process->refs))
        return NULL;
    timer_cancel(&process->real_timer);
    posix_timers_delete_all(process);
    cpu_timers_stop(process);
    sigpending_clear(&process->pending);
    sighand_unref(process->sighand);
    if (process->exe)
        file_unref(process->exe);
    lock_destroy(&process->lock);
    ns_unref(&process->pid_ns->ns);
    free(process);
    return NULL;
}

void process_group_exit_locked(struct process *process, int status)
{
    struct task *task;

    if (process->group_exit)
        return;
    process->group_exit = true;
    process->exit_status = status;
    process_continue_locked(process);
    list_for_each (task, &process->threads, process_node)
        task_kick_locked(task, TASK_WORK_EXIT);
}

void process_group_exit(struct process *process, int status)
{
    lock_acquire(&process->lock);
    process_group_exit_locked(process, status);
    lock_release(&process->lock);
}

void process_continue_locked(struct process *process)
{
    struct task *task;

    process->stopped = false;
    list_for_each (task, &process->threads, process_node)
        task->parked = false;
    process_poke(process);
}

void process_poke(struct process *process)
{
    __atomic_add_fetch(&process->stop_word, 1, __ATOMIC_RELEASE);
    host_futex_wake(&process->stop_word, INT32_MAX);
}

uint64_t process_cpu_ns_locked(struct process *process)
{
    uint64_t sum = process->dead_cpu_ns;
    struct task *task;

    list_for_each (task, &process->threads, process_node)
        sum += task_cpu_ns(task);
    return sum;
}

uint64_t process_cpu_ns(struct process *process)
{
    uint64_t sum;

    lock_acquire(&process->lock);
    sum = process_cpu_ns_locked(process);
    lock_release(&process->lock);
    return sum;
}
