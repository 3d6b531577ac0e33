/*
 * The end of a task, and of a process with its last task. The leader's number stays taken until the
 * process is reaped, so that nobody else gets a pid that a parent still waits for.
 */
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/core.h"
#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/jobs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/time/posixtimer.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/proxy.h"
#include "sentry/kernel/rseq.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/tree.h"
#include "sentry/mm/usercopy.h"

/* set_tid_address(2), get_robust_list(2), and a parent that waits in vfork(2). */
void task_leave_memory(struct task *task)
{
    static const uint32_t zero;

    robust_list_exit(task);
    futex_pi_exit(task);
    rseq_leave(task);
    if (task->clear_child_tid) {
        if (copy_to_user(task->mm, task->clear_child_tid, &zero, sizeof(zero)) == 0)
            futex_wake(task->kernel, task->mm, task->clear_child_tid, true, 1, UINT32_MAX);
        task->clear_child_tid = 0;
    }
    if (task->vfork_parent) {
        __atomic_store_n(&task->vfork_done, 1, __ATOMIC_RELEASE);
        process_poke(task->vfork_parent);
        task->vfork_parent = process_unref(task->vfork_parent);
    }
}

/* Nobody asks about a thread but a tracer: for that it stays until it was asked about. */
static void thread_ended_locked(struct task *task, int status)
{
    if (task->trace.tracer && !tree_is_careless(task->trace.tracer->process)) {
        task->trace.zombie = true;
        ptrace_tell_end_locked(task, status);
        return;
    }
    ptrace_unlink_locked(task);
    pid_free_locked(task->kernel, task);
}

/*
 * It is no thread of its process any more; kernel->lock held. True: it was the last one.
 * *ret_stopped: with it gone, all others have stopped.
 */
static bool leave_process_locked(struct task *task, int status, bool *ret_stopped)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    struct usage usage;
    bool last;

    lock_acquire(&process->lock);
    task_usage_locked(task, &usage);
    usage_add(&kernel->ended_usage, &usage);
    cgroup_exit_locked(task, &usage);
    task->exit_status = status;
    __atomic_store_n(&task->dead, true, __ATOMIC_RELEASE);
    list_del_init(&task->process_node);
    usage_keep_locked(process, task);
    task->ctx = NULL;
    task->cpu_clock = 0;
    sigpending_clear(&task->pending);
    signal_retarget_locked(process);
    kernel->task_count--;
    process->leaving--;
    last = --process->thread_count == 0;
    *ret_stopped = job_thread_left_locked(task);
    if (last && !process->group_exit)
        process->exit_status = process->leader->exit_status;
    if (process->exec_task)
        process_poke(process);
    lock_release(&process->lock);
    return last;
}

void task_exit(struct task *task)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    struct context *ctx = task->ctx;
    bool last, stop_complete;
    struct mm *remains;
    int status;

    lock_acquire(&process->lock);
    if (process->group_exit)
        task->exit_status = process->exit_status;
    status = task->exit_status;
    lock_release(&process->lock);
    ptrace_exit_event(task, status);
    /* Whoever signals a group holds the lock: it reaches all before one's end shows in its pipes.
     */
    lock_acquire(&kernel->lock);
    lock_release(&kernel->lock);

    core_thread_leaves(task);
    process_async_leave(process);
    pid_ns_task_ends(task);
    task_leave_memory(task);
    usage_keep_memory(task);
    sem_exit(task);
    remains = task_release_resources(task);
    seccomp_leave(task);

    waiter_hold_wakes();
    lock_acquire(&kernel->lock);
    ptrace_tracer_ended_locked(task);
    kernel->ended_switches += task->switches;
    last = leave_process_locked(task, status, &stop_complete);
    if (task != process->leader)
        thread_ended_locked(task, status);
    else
        __atomic_store_n(&process->leader_dead, true, __ATOMIC_RELEASE);
    if (last)
        tree_process_ended_locked(process);
    else
        tree_thread_ended_locked(task);
    wait_queue_wake(&process->exit_events, POLLIN | POLLRDNORM | POLLHUP);
    lock_release(&kernel->lock);
    waiter_let_wakes();
    mm_bury(remains);
    if (stop_complete)
        tree_tell_stop(process, CLD_STOPPED);
    ctx->ops->ctx_destroy(ctx);
    if (last) {
        posix_timers_delete_all(process);
        cpu_timers_stop(process);
    }
    if (kernel->strace.on)
        strace_exited(task->tid, status);
}
