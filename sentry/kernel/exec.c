/*
 * The order matters (Linux fs/exec.c begin_new_exec()):
 *
 *   load into a new address space         can fail: the old program goes on
 *   ---- point of no return ----
 *   end the other threads                 and take the leader's number
 *   change identity, memory, handlers     nothing below can fail
 */
#include "sentry/kernel/exec.h"

#include <errno.h>
#include <string.h>
#include <sys/personality.h>

#include "host/io.h"
#include "loader/loader.h"
#include "sentry/kernel/jobs.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/time/posixtimer.h"
#include "sentry/kernel/privilege.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/proxy.h"
#include "sentry/kernel/rlimit.h"
#include "sentry/kernel/rseq.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

#define STACK_SECURE (8UL << 20) /* _STK_LIM */

struct identifying {
    struct task *task;
    struct exec_identity identity;
};

/* load_request.identify */
static int identify(void *arg, struct file *elf, struct load_request *load)
{
    struct identifying *i = arg;
    const struct cred *cred;
    int error = privilege_of_exec(i->task, elf, &i->identity);

    if (error < 0)
        return error;
    cred = i->identity.cred;
    load->uid = cred_shown_uid(cred, cred->uid);
    load->euid = cred_shown_uid(cred, cred->euid);
    load->gid = cred_shown_gid(cred, cred->gid);
    load->egid = cred_shown_gid(cred, cred->egid);
    load->secure = i->identity.secure;
    if (i->identity.persona_clear & ADDR_NO_RANDOMIZE)
        load->randomize = true;
    if (i->task->personality & ~i->identity.persona_clear & ADDR_COMPAT_LAYOUT)
        mm_set_bottom_up(load->mm, load->randomize ? load->entropy.mmap : 0);
    if (load->secure)
        load->stack_limit = MIN(load->stack_limit, STACK_SECURE);
    return 0;
}

int exec_load(struct task *task, const struct exec_request *request, struct mm **ret_mm,
              struct load_result *ret_result, struct exec_identity *ret_identity, char *ret_why,
              size_t why_size)
{
    struct kernel *kernel = task->kernel;
    struct identifying identifying = {.task = task};
    struct load_request load = {
        .exe = request->exe,
        .path = request->path,
        .argv = request->argv,
        .envp = request->envp,
        .randomize = !(task->personality & ADDR_NO_RANDOMIZE),
        .stack_limit = task_rlimit(task, RLIMIT_STACK),
        .hwcap = kernel->hwcap,
        .hwcap2 = kernel->hwcap2,
        .min_sigstack = kernel->min_sigstack,
        .open = request->open,
        .open_arg = request->open_arg,
        .identify = identify,
        .identify_arg = &identifying,
    };
    struct ns_proxy *namespaces = ns_proxy_ref(task->namespaces);
    int error = ns_proxy_enter_time(&namespaces);

    load.vdso = time_vdso(task, namespaces);
    if (error == 0)
        error = mm_create(kernel->mm_env, &load.mm);
    if (error < 0) {
        ns_proxy_unref(namespaces);
        return error;
    }
    rlimits_apply(task, load.mm);
    if (task->mm)
        mm_inherit(load.mm, task->mm);
    error = host_random(&load.entropy, sizeof(load.entropy));
    if (error == 0)
        error = loader_load(&load, ret_result, ret_why, why_size);
    if (error < 0) {
        mm_unref(load.mm);
        exec_identity_drop(&identifying.identity);
        ns_proxy_unref(namespaces);
    } else {
        *ret_mm = load.mm;
        *ret_identity = identifying.identity;
        ret_identity->namespaces = namespaces;
    }
    return error;
}

void exec_set_registers(struct task *task, const struct load_result *result)
{
    task->ctx->regs = (struct cpu_regs){
        .rip = result->entry,
        .rsp = result->stack,
        .rflags = RFLAGS_FIXED,
    };
}

int exec_end_other_threads(struct task *task)
{
    struct process *process = task->process;
    struct task *other;

    lock_acquire(&process->lock);
    if (process->group_exit || process->exec_task) {
        lock_release(&process->lock);
        return -EAGAIN;
    }
    process->exec_task = task;
    list_for_each (other, &process->threads, process_node) {
        if (other != task)
            task_kick_locked(other, TASK_WORK_EXIT);
    }
    process_poke(process); /* also those that are stopped, or wait in vfork */
    while (process->thread_count > 1 && !process->group_exit)
        job_stay_locked(task);
    process->exec_task = NULL;
    lock_release(&process->lock);
    return process->group_exit ? -EAGAIN : 0;
}

/* A process is named by its leader: the thread that execs takes the dead leader's number. */
static void become_leader(struct task *task)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    struct task *old;

    lock_acquire(&kernel->lock);
    old = process->leader;
    if (old != task) {
        ptrace_unlink_locked(old);
        pid_take_over_locked(kernel, task, old);
        process->leader = task_ref(task);
        __atomic_store_n(&process->leader_dead, false, __ATOMIC_RELEASE);
        wait_queue_wake(&process->exit_events, POLLIN | POLLRDNORM | POLLHUP);
        task_unref(old);
    }
    lock_release(&kernel->lock);
}

/* fs/exec.c:begin_new_exec(): what a stronger program must not inherit. */
void exec_take_identity(struct task *task, struct exec_identity *identity)
{
    struct process *process = task->process;
    struct rlimit64 *stack = &process->limits[RLIMIT_STACK];

    lock_acquire(&process->lock);
    process->dumpable = !identity->undumpable;
    if (identity->secure)
        stack->rlim_cur = MIN(stack->rlim_cur, STACK_SECURE);
    lock_release(&process->lock);
    if (identity->secure || identity->stronger)
        task->parent_death_signal = 0;
    task->personality &= ~identity->persona_clear;
    task_set_cred(task, identity->cred);
    identity->cred = NULL;
    task_set_namespaces(task, identity->namespaces);
    identity->namespaces = NULL;
}

static int unshare_tables(struct task *task)
{
    struct process *process = task->process;
    struct sighand *sighand;
    struct fdtable *files;
    int error;

    if (fdtable_shared(task->files)) {
        error = fdtable_clone(task->files, &files);
        if (error < 0)
            return error;
        task_set_files(task, files);
    }
    if (refcount_read(&process->sighand->refs) > 1) {
        sighand = sighand_copy(process->sighand);
        if (!sighand)
            return -ENOMEM;
        lock_acquire(&process->lock);
        sighand_unref(process->sighand);
        process->sighand = sighand;
        lock_release(&process->lock);
    }
    return 0;
}

static void change_program(struct task *task, struct mm *mm, const struct load_result *result)
{
    const struct platform_ops *ops = task->ctx->ops;
    struct process *process = task->process;
    struct mm *old_mm = task->mm;
    struct file *old_exe;
    bool is_traced;

    usage_keep_memory(task);
    posix_timers_delete_all(process);
    process_async_end(process);
    task_leave_memory(task);
    task->pi_exited = false;
    rseq_exec(task);
    lock_acquire(&process->lock);
    task->mm = mm;
    is_traced = task->trace.tracer != NULL;
    lock_release(&process->lock);
    if (is_traced)
        mm_call_sites_off(mm);
    mm_unref(old_mm);
    sighand_reset_handlers(process->sighand);
    task_forget_registered(task);
    fdtable_close_on_exec(task->files);
    lock_acquire(&process->lock);
    old_exe = process->exe;
    process->exe = result->exe;
    process->has_execed = true;
    task->personality &= ~(uint32_t)READ_IMPLIES_EXEC; /* as for any 64-bit program */
    process->membarrier_registered = 0;
    process->exec_count++;
    memcpy(task->comm, result->comm, sizeof(task->comm));
    lock_release(&process->lock);
    file_unref(old_exe);
    task->altstack = (struct linux_stack){.flags = SS_DISABLE};
    ops->ctx_reset_fp(task->ctx);
    ops->ctx_set_bases(task->ctx, 0, 0);
    exec_set_registers(task, result);
    task->trace.forced_tf = false;
    ptrace_clear_debug(task);
    user_dispatch_off(task);
    task->in_syscall = false;
}

int exec_program(struct task *task, const struct exec_request *request)
{
    struct exec_identity identity = {.cred = NULL};
    struct load_result result;
    int32_t old_tid = task->tid;
    char why[160];
    struct mm *mm;
    int error = exec_load(task, request, &mm, &result, &identity, why, sizeof(why));

    if (error < 0)
        return error;
    error = exec_end_other_threads(task);
    if (error < 0) {
        /* The work bits are set: the task leaves before it could see this result. */
        mm_unref(mm);
        file_unref(result.exe);
        exec_identity_drop(&identity);
        return error;
    }
    become_leader(task);
    error = unshare_tables(task);
    if (error < 0) {
        exec_identity_drop(&identity);
        mm_unref(mm);
        file_unref(result.exe);
        process_group_exit(task->process, SIGKILL);
        return error;
    }
    exec_take_identity(task, &identity);
    change_program(task, mm, &result);
    task_update_fastpath(task);
    ptrace_execed(task, old_tid);
    return 0;
}
