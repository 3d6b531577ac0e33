#include "sentry/kernel/jobs.h"

#include <signal.h>

#include "host/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/tree.h"

/* Linux get_signal(): all stops but SIGSTOP are ignored where nobody could continue us. */
static bool group_is_orphaned(struct process *process)
{
    struct kernel *kernel = process->kernel;
    bool orphaned;

    lock_acquire(&kernel->lock);
    orphaned = process->group && group_orphaned_locked(process->group, NULL);
    lock_release(&kernel->lock);
    return orphaned;
}

void job_stop_locked(struct task *task, int signo)
{
    struct process *process = task->process;
    uint32_t continues = process->continues;
    struct task *other;

    if (signo != SIGSTOP) {
        bool orphaned;

        lock_release(&process->lock);
        orphaned = group_is_orphaned(process);
        lock_acquire(&process->lock);
        if (orphaned)
            return;
    }
    if (process->group_exit || process->continues != continues)
        return;
    if (process->stopped) { /* a tracer has let this thread go on, and it stops again */
        if (task->trace.tracer)
            ptrace_group_stops_locked(process);
        return;
    }
    process->stopped = true;
    process->stop_signo = signo;
    process->stop_left = process->thread_count;
    ptrace_group_stops_locked(process);
    list_for_each (other, &process->threads, process_node)
        task_kick_locked(other, TASK_WORK_STOP);
}

/* One thread less runs: was it the last? */
static bool stop_completes_locked(struct process *process)
{
    if (--process->stop_left > 0)
        return false;
    process->stop_report = process->stop_signo;
    process->continue_report = false;
    return true;
}

bool job_enter_stop_locked(struct task *task)
{
    struct process *process = task->process;

    if (!process->stopped || task->parked)
        return false;
    task->parked = true;
    if (!stop_completes_locked(process))
        return false;
    lock_release(&process->lock);
    tree_tell_stop(process, CLD_STOPPED);
    lock_acquire(&process->lock);
    return true;
}

void job_stay_locked(struct task *task)
{
    struct process *process = task->process;
    uint32_t word = __atomic_load_n(&process->stop_word, __ATOMIC_ACQUIRE);

    lock_release(&process->lock);
    usage_enter(&task->times, MODE_ASLEEP);
    host_futex_wait(&process->stop_word, word, HOST_NEVER);
    usage_enter(&task->times, MODE_SYSTEM);
    cpu_timers_wake(process);
    lock_acquire(&process->lock);
}

void job_continue_locked(struct process *process)
{
    process->continues++;
    if (!process->stopped)
        return;
    /* A stop that was not complete is told as one all the same (Linux prepare_signal()). */
    process->tell_continued = process->stop_left > 0 ? CLD_STOPPED : CLD_CONTINUED;
    process->stop_report = 0;
    process->continue_report = true;
    process_continue_locked(process);
}

bool job_tell_continued_locked(struct process *process)
{
    int code = process->tell_continued;

    if (!code)
        return false;
    process->tell_continued = 0;
    lock_release(&process->lock);
    tree_tell_stop(process, code);
    lock_acquire(&process->lock);
    return true;
}

void job_thread_joins_locked(struct task *task)
{
    struct process *process = task->process;

    if (!process->stopped)
        return;
    process->stop_left++;
    task_kick_locked(task, TASK_WORK_STOP);
}

bool job_thread_left_locked(struct task *task)
{
    struct process *process = task->process;

    return process->stopped && !task->parked && process->thread_count > 0 &&
           stop_completes_locked(process);
}
