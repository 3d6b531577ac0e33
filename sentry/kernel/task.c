#include "sentry/kernel/task.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "host/futex.h"
#include "host/thread.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/time/cputimer.h"
#include "sentry/kernel/ctty.h"
#include "sentry/kernel/jobs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rseq.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/fs_context.h"

struct task *task_create(struct kernel *kernel, struct process *process)
{
    struct task *task = calloc(1, sizeof(*task));

    if (!task)
        return NULL;
    if (kernel->platform->ops->ctx_create(kernel->platform, &task->ctx) < 0) {
        free(task);
        return NULL;
    }
    refcount_set(&task->refs, 1);
    task->kernel = kernel;
    task->process = process_ref(process);
    task->altstack.flags = SS_DISABLE;
    task->timer_slack_ns = task->default_slack_ns = 50000;
    task->start_ns = host_monotonic_ns();
    waiter_init(&task->waiter);
    task->serial = kernel_serial(kernel);
    list_init(&task->process_node);
    list_init(&task->pi_held);
    list_init(&task->cgroup_node);
    task->rseq_number = -1;
    sigpending_init(&task->pending);
    trace_init(&task->trace);
    return task;
}

struct task *task_ref(struct task *task)
{
    refcount_get(&task->refs);
    return task;
}

/* The program's file goes with the last thread's memory: until then nobody may write it. */
static struct file *take_exe_locked(struct process *process) __must_hold(process->lock)
{
    struct file *exe = process->exe;
    struct task *other;

    list_for_each (other, &process->threads, process_node) {
        if (other->mm)
            return NULL;
    }
    process->exe = NULL;
    return exe;
}

void task_forget_registered(struct task *task)
{
    for (int i = 0; i < TASK_REGISTERED_MAX; i++)
        task->registered[i] = file_unref(task->registered[i]);
}

struct mm *task_release_resources(struct task *task)
{
    struct process *process = task->process;
    struct file *exe;
    struct fdtable *files;
    struct fs_context *fs;
    struct mm *mm;

    task_forget_registered(task);
    lock_acquire(&process->lock);
    files = task->files;
    fs = task->fs;
    mm = task->mm;
    task->files = NULL;
    task->fs = NULL;
    task->mm = NULL;
    exe = take_exe_locked(process);
    lock_release(&process->lock);
    fdtable_unref(files);
    fs_context_unref(fs);
    mm = mm_end(mm);
    file_unref(exe);
    task_set_namespaces(task, NULL);
    return mm;
}

struct mm *task_get_mm(struct task *task)
{
    struct mm *mm;

    lock_acquire(&task->process->lock);
    mm = task->mm ? mm_ref(task->mm) : NULL;
    lock_release(&task->process->lock);
    return mm;
}

struct fdtable *task_get_files(struct task *task)
{
    struct fdtable *files;

    lock_acquire(&task->process->lock);
    files = task->files ? fdtable_ref(task->files) : NULL;
    lock_release(&task->process->lock);
    return files;
}

struct fs_context *task_get_fs(struct task *task)
{
    struct fs_context *fs;

    lock_acquire(&task->process->lock);
    fs = task->fs ? fs_context_ref(task->fs) : NULL;
    lock_release(&task->process->lock);
    return fs;
}

const struct cred *task_get_cred(struct task *task)
{
    const struct cred *cred;

    lock_acquire(&task->process->lock);
    cred = cred_ref(task->cred);
    lock_release(&task->process->lock);
    return cred;
}

void task_set_files(struct task *task, struct fdtable *files)
{
    struct fdtable *old = task->files;

    lock_acquire(&task->process->lock);
    task->files = files;
    lock_release(&task->process->lock);
    fdtable_unref(old);
}

void task_set_fs(struct task *task, struct fs_context *fs)
{
    struct fs_context *old = task->fs;

    lock_acquire(&task->process->lock);
    task->fs = fs;
    lock_release(&task->process->lock);
    fs_context_unref(old);
}

char task_state(struct task *task)
{
    struct process *process = task->process;
    char state = 'S';

    lock_acquire(&process->lock);
    if (task->dead)
        state = 'Z';
    else if (task->trace.stopped)
        state = 't';
    else if (process->stopped)
        state = 'T';
    /* Whoever was woken runs, though its thread may not have come to a processor yet. */
    else if (!waiter_is_parked(&task->waiter) || waiter_is_woken(&task->waiter) ||
             waiter_interrupted(&task->waiter))
        state = 'R';
    lock_release(&process->lock);
    return state;
}

struct task *task_unref(struct task *task)
{
    if (!task || !refcount_put(&task->refs))
        return NULL;
    if (task->ctx)
        task->ctx->ops->ctx_destroy(task->ctx);
    sem_exit(task);
    mm_bury(task_release_resources(task));
    key_forget_session(task);
    cred_unref(task->cred);
    rseq_slots_unref(task->rseq_slots);
    process_unref(task->vfork_parent);
    sigpending_clear(&task->pending);
    seccomp_leave(task);
    cgroup_unref(task->cgroup);
    process_unref(task->process);
    free(task);
    return NULL;
}

static void thread_main(void *arg)
{
    struct task *task = arg;

    lock_acquire(&task->process->lock);
    task->cpu_clock = host_thread_cpu_clock();
    task->cpu_base_ns = host_thread_cpu_ns();
    task->times.since_tsc = __builtin_ia32_rdtsc();
    lock_release(&task->process->lock);
    task_run(task);
    task_unref(task);
}

/* The tables, before the thread runs: whoever gets the number can send signals to it. */
static int task_publish(struct task *task, struct task *maker)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    uint64_t limit = task_rlimit(task, RLIMIT_NPROC);
    int error = -EAGAIN;

    lock_acquire(&kernel->lock);
    if (kernel->task_count < KERNEL_THREADS_MAX &&
        (kernel->task_count < limit || cred_has_cap(task->cred, CAP_SYS_RESOURCE)))
        error = pid_alloc_locked(kernel, task);
    if (error == 0) {
        lock_acquire(&process->lock);
        if (process->group_exit)
            error = -ERESTARTNOINTR; /* the caller will not come back from its call either */
        else
            error = cgroup_join_locked(task, maker);
        if (error < 0) {
            pid_free_locked(kernel, task);
        } else {
            kernel->task_count++;
            kernel->tasks_made++;
            process->thread_count++;
            list_add_tail(&process->threads, &task->process_node);
            if (!process->leader) {
                process->leader = task_ref(task);
                process->pid = task->tid;
                process->vpid = task->vtid;
                cpu_timers_start_locked(process);
            }
            job_thread_joins_locked(task);
        }
        lock_release(&process->lock);
    }
    lock_release(&kernel->lock);
    return error;
}

static void task_unpublish(struct task *task)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    bool leader;

    lock_acquire(&kernel->lock);
    ptrace_unlink_locked(task);
    lock_acquire(&process->lock);
    task->dead = true;
    list_del_init(&task->process_node);
    cgroup_exit_locked(task, &task->cgroup_base);
    process->thread_count--;
    leader = process->leader == task;
    if (leader) {
        process->leader = NULL;
        list_del_init(&process->sibling);
        group_leave_locked(process);
        ctty_drop_locked(process);
    }
    lock_release(&process->lock);
    kernel->task_count--;
    pid_free_locked(kernel, task);
    lock_release(&kernel->lock);
    if (leader)
        task_unref(task);
}

int task_start(struct task *task, struct task *maker,
               int (*published)(struct task *task, void *arg), void *arg)
{
    const struct platform_ops *ops = task->kernel->platform->ops;
    int error = task_publish(task, maker);
    char name[24];

    if (error < 0)
        return error;
    if (published)
        error = published(task, arg);
    if (error == 0) {
        snprintf(name, sizeof(name), "task %d", task->tid);
        if (ops->threads_reusable)
            error = host_thread_reuse(
                name, thread_main, task,
                ops->as_thread && task->mm ? ops->as_thread(mm_address_space(task->mm)) : 0);
        else
            error = host_thread_start(name, thread_main, task);
    }
    if (error < 0)
        task_unpublish(task);
    return error;
}

uint64_t task_cpu_ns(struct task *task)
{
    struct context *ctx = task->ctx;
    uint64_t ns = task->cpu_clock ? host_clock_ns(task->cpu_clock) - task->cpu_base_ns : 0;

    if (ctx && ctx->ops->ctx_cpu_ns)
        ns += ctx->ops->ctx_cpu_ns(ctx);
    task->cpu_told_ns = MAX(task->cpu_told_ns, ns);
    return task->cpu_told_ns;
}

uint64_t task_rlimit(struct task *task, int resource)
{
    uint64_t limit;

    lock_acquire(&task->process->lock);
    limit = task->process->limits[resource].rlim_cur;
    lock_release(&task->process->lock);
    return limit;
}

bool task_interrupted(const struct task *task)
{
    return __atomic_load_n(&task->work, __ATOMIC_ACQUIRE) != 0;
}

/* Its process's CPU timers do not tick while all sleep: the first who wakes up says so. */
static int sleep_until(struct task *task, uint64_t host_deadline_ns)
{
    int error;

    usage_enter(&task->times, MODE_ASLEEP);
    if (task->ctx && task->ctx->ops->ctx_sleeps) /* a proxy has none */
        task->ctx->ops->ctx_sleeps(task->ctx);
    error = waiter_park(&task->waiter, host_deadline_ns);
    if (error == 0 && task->ctx && task->ctx->ops->ctx_woken)
        task->ctx->ops->ctx_woken(task->ctx, waiter_waker_cpu(&task->waiter),
                                  waiter_wants_apart(&task->waiter));
    usage_enter(&task->times, MODE_SYSTEM);
    task->usage.sleeps++;
    cpu_timers_wake(task->process);
    return error;
}

int task_block(struct task *task, uint64_t deadline_ns)
{
    uint64_t host_deadline = deadline_ns;

    for (;;) {
        int error = sleep_until(task, host_deadline);
        uint64_t now;

        if (error == -EINTR)
            return -ERESTARTSYS;
        if (error != -ETIMEDOUT)
            return error;
        /* The guest's clock may be a little behind the host's: nobody is to wake too early. */
        now = time_monotonic_ns();
        if (now >= deadline_ns)
            return error;
        host_deadline = host_monotonic_ns() + (deadline_ns - now);
    }
}

bool task_is_leaving_locked(const struct task *task)
{
    const struct process *process = task->process;

    return process->group_exit || (process->exec_task && process->exec_task != task);
}

bool task_is_leaving(struct task *task)
{
    bool leaving;

    lock_acquire(&task->process->lock);
    leaving = task_is_leaving_locked(task);
    lock_release(&task->process->lock);
    return leaving;
}

void task_ignore_signals(struct task *task)
{
    waiter_uninterrupt(&task->waiter);
    if (task_is_leaving(task))
        waiter_interrupt(&task->waiter);
}

void task_heed_signals(struct task *task)
{
    if (task_interrupted(task))
        waiter_interrupt(&task->waiter);
}

void task_leave_fastpath_locked(struct task *task)
{
    struct fastpath_page *page = task->ctx ? task->ctx->ops->ctx_fastpath(task->ctx) : NULL;

    if (!page)
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    WRITE_ONCE(page->enabled, 0);
    if (task != task_current())
        task->ctx->ops->ctx_interrupt(task->ctx);
}

void task_kick_locked(struct task *task, uint32_t work)
{
    __atomic_fetch_or(&task->work, work, __ATOMIC_SEQ_CST);
    waiter_interrupt(&task->waiter);
    if (work & TASK_WORK_EXIT)
        ptrace_poke(task);
    /* Paired with task_enter_guest(): it raises in_guest, then looks at work. */
    if (__atomic_load_n(&task->in_guest, __ATOMIC_SEQ_CST) && task->ctx)
        task->ctx->ops->ctx_interrupt(task->ctx);
}

void task_update_fastpath(struct task *task)
{
    struct fastpath_page *page = task->ctx->ops->ctx_fastpath(task->ctx);
    const struct cred *cred = task->cred;
    bool mapped;

    if (!page)
        return;
    page->pid = (uint32_t)task->process->vpid;
    page->tid = (uint32_t)task->vtid;
    page->ppid = (uint32_t)task_shown_pid(task, task->process->parent_pid);
    page->uid = cred_shown_uid(cred, cred->uid);
    page->euid = cred_shown_uid(cred, cred->euid);
    page->gid = cred_shown_gid(cred, cred->gid);
    page->egid = cred_shown_gid(cred, cred->egid);
    /* Whoever writes a namespace's maps later changes what its members are told. */
    mapped = user_ns_map(cred->user_ns, ID_USER) && user_ns_map(cred->user_ns, ID_GROUP);
    WRITE_ONCE(page->enabled, mapped && !task->kernel->no_fastpath && !task->kernel->strace.on &&
                                  !task->syscall_work);
    /* Whoever attaches becomes tracer first and turns it off then: one of us sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (READ_ONCE(task->trace.tracer) || READ_ONCE(task->syscall_work))
        WRITE_ONCE(page->enabled, 0);
}
