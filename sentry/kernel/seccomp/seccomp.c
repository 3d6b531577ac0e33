#include "sentry/kernel/seccomp/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "abi/ptrace.h"
#include "sentry/fs/dev/kmsg.h"
#include "base/bpf.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

#define PATH_INSNS_MAX 32768 /* instructions of all filters of a task together */
#define FILTER_PENALTY 4     /* each counts as so many more */
#define MAX_ERRNO      4095
#define SYS_SECCOMP    1 /* si_code of SIGSYS */

struct seccomp_filter *seccomp_filter_create(uint32_t count)
{
    struct seccomp_filter *filter = calloc(1, sizeof(*filter) + count * sizeof(filter->program[0]));

    if (!filter)
        return NULL;
    refcount_set(&filter->refs, 1);
    filter->users = 1;
    filter->count = count;
    return filter;
}

struct seccomp_filter *seccomp_filter_unref(struct seccomp_filter *filter)
{
    while (filter && refcount_put(&filter->refs)) {
        struct seccomp_filter *prev = filter->prev;

        if (filter->notify)
            seccomp_notify_destroy(filter->notify);
        free(filter);
        filter = prev;
    }
    return NULL;
}

static struct seccomp_filter *filter_ref(struct seccomp_filter *filter)
{
    if (filter) {
        refcount_get(&filter->refs);
        __atomic_add_fetch(&filter->users, 1, __ATOMIC_RELAXED);
    }
    return filter;
}

static void filter_orphan(struct seccomp_filter *filter)
{
    while (filter && __atomic_sub_fetch(&filter->users, 1, __ATOMIC_ACQ_REL) == 0) {
        if (filter->notify)
            seccomp_notify_orphan(filter->notify);
        filter = filter->prev;
    }
}

uint32_t seccomp_filter_count(const struct task *task)
{
    uint32_t count = 0;

    for (const struct seccomp_filter *f = task->seccomp.filter; f; f = f->prev)
        count++;
    return count;
}

bool task_no_new_privs(const struct task *task)
{
    return task->cred->no_new_privs || READ_ONCE(task->seccomp.no_new_privs);
}

/* ---- installing --------------------------------------------------------------------------- */

/* From now on each call is looked at; process->lock held. */
static void turn_on_locked(struct task *task, int mode)
{
    task->seccomp.mode = mode;
    __atomic_fetch_or(&task->syscall_work, SYSCALL_WORK_SECCOMP, __ATOMIC_RELEASE);
    task_leave_fastpath_locked(task);
}

int seccomp_set_strict(struct task *task)
{
    int error = 0;

    lock_acquire(&task->process->lock);
    if (task->seccomp.mode == SECCOMP_CALL_FILTER)
        error = -EINVAL;
    else
        turn_on_locked(task, SECCOMP_CALL_STRICT);
    lock_release(&task->process->lock);
    return error;
}

static bool is_ancestor(const struct seccomp_filter *parent, const struct seccomp_filter *child)
{
    if (!parent)
        return true;
    for (; child; child = child->prev) {
        if (child == parent)
            return true;
    }
    return false;
}

/* The first thread that TSYNC cannot reach, or NULL. */
static struct task *find_stubborn_locked(struct task *task)
{
    struct task *other;

    list_for_each (other, &task->process->threads, process_node) {
        if (other != task && other->seccomp.mode != 0 &&
            (other->seccomp.mode != SECCOMP_CALL_FILTER ||
             !is_ancestor(other->seccomp.filter, task->seccomp.filter)))
            return other;
    }
    return NULL;
}

static void sync_threads_locked(struct task *task, struct seccomp_filter **dead, size_t *dead_count,
                                size_t dead_max)
{
    struct task *other;

    list_for_each (other, &task->process->threads, process_node) {
        struct seccomp_filter *old = other->seccomp.filter;

        if (other == task || *dead_count == dead_max)
            continue;
        __atomic_store_n(&other->seccomp.filter, filter_ref(task->seccomp.filter),
                         __ATOMIC_RELEASE);
        dead[(*dead_count)++] = old;
        if (task_no_new_privs(task))
            WRITE_ONCE(other->seccomp.no_new_privs, true);
        turn_on_locked(other, SECCOMP_CALL_FILTER);
    }
}

static int check_room(const struct task *task, const struct seccomp_filter *filter)
{
    uint64_t total = filter->count;

    for (const struct seccomp_filter *f = task->seccomp.filter; f; f = f->prev) {
        total += f->count + FILTER_PENALTY;
        if (filter->notify && f->notify)
            return -EBUSY; /* one listener for each task */
    }
    return total > PATH_INSNS_MAX ? -ENOMEM : 0;
}

static int install_locked(struct task *task, struct seccomp_filter *filter, uint32_t flags)
{
    struct task *stubborn;
    int error = task->seccomp.mode == SECCOMP_CALL_STRICT ? -EINVAL : check_room(task, filter);

    if (error < 0)
        return error;
    if (flags & SECCOMP_FILTER_FLAG_TSYNC) {
        stubborn = find_stubborn_locked(task);
        if (stubborn)
            return flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH ? -ESRCH : stubborn->vtid;
    }
    filter->prev = task->seccomp.filter;
    __atomic_store_n(&task->seccomp.filter, filter, __ATOMIC_RELEASE);
    turn_on_locked(task, SECCOMP_CALL_FILTER);
    return 0;
}

int seccomp_install(struct task *task, struct seccomp_filter *filter, uint32_t flags)
{
    struct process *process = task->process;
    struct seccomp_filter **dead = NULL;
    size_t dead_count = 0, dead_max = 0;
    int result;

    lock_acquire(&process->lock);
    if (flags & SECCOMP_FILTER_FLAG_TSYNC) {
        dead_max = process->thread_count;
        dead = calloc(dead_max, sizeof(struct seccomp_filter *));
    }
    if (dead_max && !dead)
        result = -ENOMEM;
    else
        result = install_locked(task, filter, flags);
    if (result == 0 && dead)
        sync_threads_locked(task, dead, &dead_count, dead_max);
    lock_release(&process->lock);
    while (dead_count > 0) {
        dead_count--;
        filter_orphan(dead[dead_count]);
        seccomp_filter_unref(dead[dead_count]);
    }
    free(dead);
    return result;
}

void seccomp_inherit(struct task *parent, struct task *child)
{
    struct seccomp_filter *old;

    if (likely(!parent->seccomp.mode))
        return;
    lock_acquire(&child->process->lock);
    old = child->seccomp.filter;
    child->seccomp.filter = filter_ref(parent->seccomp.filter);
    child->seccomp.no_new_privs = parent->seccomp.no_new_privs;
    turn_on_locked(child, parent->seccomp.mode);
    lock_release(&child->process->lock);
    filter_orphan(old);
    seccomp_filter_unref(old);
}

void seccomp_leave(struct task *task)
{
    struct seccomp_filter *filter;

    lock_acquire(&task->process->lock);
    filter = task->seccomp.filter;
    task->seccomp.filter = NULL;
    lock_release(&task->process->lock);
    filter_orphan(filter);
    seccomp_filter_unref(filter);
}

/* ---- judging ------------------------------------------------------------------------------ */

static void fill_data(const struct task *task, struct seccomp_data *ret)
{
    const struct cpu_regs *r = &task->ctx->regs;

    *ret = (struct seccomp_data){
        .nr = (int)task->syscall_nr,
        .arch = AUDIT_ARCH_X86_64,
        .instruction_pointer = r->rip,
        .args = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9},
    };
}

/* The verdict that goes before all others, and whose it is (ret_match, of the newest such). */
static uint32_t judge(struct seccomp_filter *filter, const struct seccomp_data *data,
                      struct seccomp_filter **ret_match)
{
    uint32_t verdict = SECCOMP_RET_ALLOW;

    *ret_match = NULL;
    for (; filter; filter = filter->prev) {
        uint32_t said = bpf_run(filter->program, data);

        if ((int32_t)(said & SECCOMP_RET_ACTION_FULL) <
            (int32_t)(verdict & SECCOMP_RET_ACTION_FULL)) {
            verdict = said;
            *ret_match = filter;
        }
    }
    return verdict;
}

/* Cannot be caught, nor survived: the process ends by SIGSYS, or this thread alone does. */
static void kill_by_verdict(struct task *task, bool whole_process)
{
    struct process *process = task->process;
    bool alone;

    lock_acquire(&process->lock);
    alone = process->thread_count == 1;
    if (whole_process || alone)
        process_group_exit_locked(process, SIGSYS);
    lock_release(&process->lock);
    if (!whole_process && !alone) {
        task->exit_status = SIGSYS;
        task->exiting = true;
    }
}

/* SIGSYS for a handler, which sees the registers as they were before the call. */
static void trap(struct task *task, const struct seccomp_data *data, uint32_t value)
{
    siginfo_t info = {.si_signo = SIGSYS, .si_errno = (int)value, .si_code = SYS_SECCOMP};

    task->ctx->regs.rax = task->syscall_nr;
    task->in_syscall = false; /* nothing to restart */
    info.si_call_addr = (void *)data->instruction_pointer;
    info.si_syscall = data->nr;
    info.si_arch = data->arch;
    signal_force(task, &info);
}

static void log_call(const struct task *task, const struct seccomp_data *data, uint32_t verdict)
{
    kmsg_printf(LOG_NOTICE, "seccomp: %s[%d]: call %d at %#llx: %#x", task->comm, task->tid,
                data->nr, (unsigned long long)data->instruction_pointer, verdict);
}

/* True: the tracer has looked, and what it made of the call is to be judged again. */
static bool ask_tracer(struct task *task, uint32_t value)
{
    if (!ptrace_wants_event(task, PTRACE_EVENT_SECCOMP)) {
        task->ctx->regs.rax = (uint64_t)-ENOSYS;
        return false;
    }
    ptrace_event(task, PTRACE_EVENT_SECCOMP, value);
    /* The tracer may have answered itself. */
    return (int)task->syscall_nr != -1 && !task_is_leaving(task);
}

static bool obey(struct task *task, const struct seccomp_data *data, uint32_t verdict,
                 struct seccomp_filter *match)
{
    uint32_t value = verdict & SECCOMP_RET_DATA;

    switch (verdict & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
        return true;
    case SECCOMP_RET_LOG:
        log_call(task, data, verdict);
        return true;
    case SECCOMP_RET_ERRNO:
        task->ctx->regs.rax = (uint64_t) - (int64_t)MIN(value, (uint32_t)MAX_ERRNO);
        return false;
    case SECCOMP_RET_TRAP:
        trap(task, data, value);
        return false;
    case SECCOMP_RET_USER_NOTIF:
        if (match && match->notify)
            return seccomp_notify_ask(task, match, data);
        task->ctx->regs.rax = (uint64_t)-ENOSYS;
        return false;
    case SECCOMP_RET_KILL_THREAD:
        kill_by_verdict(task, false);
        return false;
    default:
        kill_by_verdict(task, true);
        return false;
    }
}

static bool strict_allows(struct task *task)
{
    switch ((int)task->syscall_nr) {
    case SYS_read:
    case SYS_write:
    case SYS_exit:
    case SYS_rt_sigreturn:
        return true;
    default:
        task->exit_status = SIGKILL;
        task->exiting = true;
        return false;
    }
}

bool seccomp_allows(struct task *task)
{
    struct seccomp_filter *match;
    struct seccomp_data data;
    uint32_t verdict;

    if (task->trace.tracer && (READ_ONCE(task->trace.options) & PTRACE_O_SUSPEND_SECCOMP))
        return true;
    if (task->seccomp.mode == SECCOMP_CALL_STRICT)
        return strict_allows(task);
    fill_data(task, &data);
    verdict = judge(__atomic_load_n(&task->seccomp.filter, __ATOMIC_ACQUIRE), &data, &match);
    if ((verdict & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE) {
        if (!ask_tracer(task, verdict & SECCOMP_RET_DATA))
            return false;
        fill_data(task, &data);
        verdict = judge(__atomic_load_n(&task->seccomp.filter, __ATOMIC_ACQUIRE), &data, &match);
        if ((verdict & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE)
            return true; /* asked already */
    }
    return obey(task, &data, verdict, match);
}
