#include "sentry/kernel/fanotify/fanotify.h"
#include "sentry/kernel/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/process.h"
#include "host/futex.h"
#include "host/io.h"
#include "host/thread.h"
#include "loader/loader.h"
#include "sentry/fs/dev/kmsg.h"
#include "sentry/kernel/bootlog.h"
#include "sentry/fs/terminal.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/ctty.h"
#include "sentry/kernel/exec.h"
#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/load.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/netcaller.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/privilege.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/rlimit.h"
#include "sentry/kernel/rseq.h"
#include "sentry/kernel/session.h"
#include "sentry/kernel/signal/sigframe.h"
#include "sentry/kernel/time/time.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/wait/timer.h"

/* Before any task: the Sentry's own threads know nothing of the kernel. */
static void kernel_free(struct kernel *kernel)
{
    futex_table_destroy(kernel->futexes);
    ns_destroy_initial(kernel);
    free(kernel->pids);
    free(kernel->groups);
    free(kernel->sessions);
    free(kernel->pid_names);
    free(kernel->pid_namespaces);
    free(kernel);
}

static void find_cpus(struct kernel *kernel)
{
    int size = host_get_affinity(kernel->cpus, sizeof(kernel->cpus));
    unsigned int count = 0;

    if (size <= 0) { /* more processors than the mask has room for, or no such call */
        kernel->cpus[0] = 1;
        size = sizeof(uint64_t);
    }
    kernel->cpu_mask_size = (uint32_t)size;
    for (size_t i = 0; i < ARRAY_COUNT(kernel->cpus); i++) {
        count += (unsigned int)__builtin_popcountll(kernel->cpus[i]);
        if (kernel->cpus[i])
            kernel->cpu_mask_min = (uint32_t)((i + 1) * sizeof(uint64_t));
    }
    vigil_setup(count);
}

/* What an unprivileged process may ask its own host's scheduler for: getrlimit(2). */
static void find_sched_limits(struct kernel *kernel)
{
    struct rlimit64 limit;

    kernel->host_nice = host_get_nice();
    if (host_get_rlimit(RLIMIT_RTPRIO, &limit) == 0)
        kernel->host_rt_max = (int)MIN(limit.rlim_cur, 99UL);
    if (host_get_rlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur > 20)
        kernel->host_nice_min = 20 - (int)MIN(limit.rlim_cur, 40UL);
}

int kernel_create(const struct kernel_config *config, struct kernel **ret)
{
    struct kernel *kernel = calloc(1, sizeof(*kernel));
    struct platform *platform = config->mm_env->platform;
    int error;

    if (!kernel)
        return -ENOMEM;
    kernel->pids = calloc(KERNEL_PID_MAX, sizeof(*kernel->pids));
    kernel->groups = calloc(KERNEL_PID_MAX, sizeof(struct process_group *));
    kernel->sessions = calloc(KERNEL_PID_MAX, sizeof(struct session *));
    kernel->pid_names = calloc(KERNEL_PID_MAX, sizeof(struct pid_names *));
    kernel->pid_namespaces = calloc(PID_NS_SLOTS, sizeof(struct pid_ns *));
    lock_init(&kernel->names_lock);
    kernel->futexes = futex_table_create();
    kernel->mm_env = config->mm_env;
    net_start(config->mm_env->memfile);
    cgroup_init();
    fanotify_start();
    if (!kernel->pids || !kernel->groups || !kernel->sessions || !kernel->futexes ||
        !kernel->pid_names || !kernel->pid_namespaces ||
        ns_create_initial(kernel, config->hostname) < 0) {
        kernel_free(kernel);
        return -ENOMEM;
    }
    lock_init(&kernel->lock);
    user_table_init(&kernel->users);
    kernel->platform = platform;
    kernel->table = config->table;
    if (config->strace)
        kernel->strace = *config->strace;
    kernel->vdso = config->vdso;
    kernel->plain_vdso = config->plain_vdso;
    kernel->release = config->release;
    kernel->version = config->version;
    kernel->no_fastpath = config->no_fastpath;
    kernel->stop_sandbox = config->stop_sandbox;
    kernel->caller_controls_jobs = config->caller_controls_jobs;
    pid_ns_of(kernel->initial_ns[NS_PID])->last_pid = KERNEL_PID_FIRST - 1;
    kernel->boot_ns = host_monotonic_ns();
    kernel->hwcap = config->mm_env->limits.hwcap;
    kernel->hwcap2 = config->mm_env->limits.hwcap2;
    kernel->fp_size = platform->ops->fp_size(platform);
    kernel->min_sigstack = sigframe_max_size(kernel->fp_size);
    find_cpus(kernel);
    find_sched_limits(kernel);
    error = timers_start();
    if (error == 0)
        error = time_start(config->mm_env->limits.tsc_is_hosts ? config->timepage : NULL);
    if (error == 0)
        error = load_start(kernel);
    if (error < 0) {
        kernel_free(kernel);
        return error;
    }
    kmsg_init();
    bootlog_write(kernel);
    ctty_connect(kernel);
    *ret = kernel;
    return 0;
}

static void ignore_signals(struct sighand *sighand, uint64_t set)
{
    for (int signo = 1; signo <= SIGNAL_COUNT; signo++) {
        if (set & SIGNAL_BIT(signo) & ~SIGNALS_UNBLOCKABLE)
            sighand->actions[signo - 1].handler = (uaddr_t)SIG_IGN;
    }
}

static struct task *create_first_task(struct kernel *kernel, const struct kernel_init *init)
{
    struct pid_ns *ns = pid_ns_of(kernel->initial_ns[NS_PID]);
    struct process *process = process_create(kernel, ns);
    struct task *task;

    if (!process)
        return NULL;
    process->sighand = sighand_create();
    rlimits_init(process, init->limits);
    task = process->sighand ? task_create(kernel, process) : NULL;
    if (task) {
        ignore_signals(process->sighand, init->ignored_signals);
        task->files = fdtable_ref(init->files);
        task->fs = fs_context_ref(init->fs);
        mnt_ns_begin(kernel, init->fs);
        task->cred = cred_ref(init->cred);
        task->rseq_slots = rseq_slots_create();
        task->namespaces = ns_proxy_create_initial(kernel);
        memcpy(task->sched.affinity, kernel->cpus, sizeof(kernel->cpus));
        task->sched.nice = kernel->host_nice;
    }
    process_unref(process);
    return task && !(task->rseq_slots && task->namespaces) ? task_unref(task) : task;
}

static int load_first(struct task *task, const struct kernel_init *init, char *ret_why,
                      size_t why_size)
{
    const struct exec_request request = {
        .exe = init->exe,
        .path = init->path,
        .argv = init->argv,
        .envp = init->envp,
        .open = init->open,
        .open_arg = init->open_arg,
    };
    struct exec_identity identity;
    struct load_result result;
    int error = exec_load(task, &request, &task->mm, &result, &identity, ret_why, why_size);

    if (error < 0)
        return error;
    task->process->exe = result.exe;
    cred_unref(task->cred);
    task->cred = identity.cred;
    task_set_namespaces(task, identity.namespaces);
    task->process->dumpable = !identity.undumpable;
    memcpy(task->comm, result.comm, sizeof(task->comm));
    exec_set_registers(task, &result);
    return 0;
}

static int become_init(struct task *task, void *arg)
{
    struct kernel *kernel = task->kernel;
    struct process *process = task->process;
    int error;

    lock_acquire(&kernel->lock);
    error = session_make_locked(process);
    if (error == 0) {
        kernel->init = process_ref(process);
        if (kernel->tty)
            ctty_give_locked(process, kernel->tty);
    }
    lock_release(&kernel->lock);
    if (error == 0)
        bootlog_init_starts(arg, process->pid);
    return error;
}

int kernel_start_init(struct kernel *kernel, const struct kernel_init *init, char *ret_why,
                      size_t why_size)
{
    struct task *task = create_first_task(kernel, init);
    int error;

    if (why_size > 0)
        ret_why[0] = 0;
    if (!task)
        return -ENOMEM;
    kernel->tty = init->tty ? terminal_ref(init->tty) : NULL;
    error = load_first(task, init, ret_why, why_size);
    if (error == 0)
        error = task_start(task, NULL, become_init, (void *)init->path);
    if (error < 0)
        task_unref(task);
    return error;
}

unsigned kernel_cpu_count(const struct kernel *kernel)
{
    unsigned count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(kernel->cpus); i++)
        count += (unsigned)__builtin_popcountl(kernel->cpus[i]);
    return count;
}

int kernel_wait_exit(struct kernel *kernel)
{
    while (!__atomic_load_n(&kernel->init_done, __ATOMIC_ACQUIRE))
        host_futex_wait(&kernel->init_done, 0, HOST_NEVER);
    return kernel->init_status;
}

/* What was frozen inside is no reason to outlast whoever asks from outside for an end. */
static void thaw_init(struct kernel *kernel, int signo)
{
    const uint64_t ending =
        SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(SIGINT) | SIGNAL_BIT(SIGQUIT) | SIGNAL_BIT(SIGTERM);
    struct cgroup *cg = NULL;

    if (!(SIGNAL_BIT(signo) & ending))
        return;
    lock_acquire(&kernel->lock);
    if (kernel->init) {
        lock_acquire(&kernel->init->lock);
        if (!list_empty(&kernel->init->threads))
            cg = task_get_cgroup(list_first(&kernel->init->threads, struct task, process_node));
        lock_release(&kernel->init->lock);
    }
    lock_release(&kernel->lock);
    if (cg && cgroup_thaw(cg) < 0)
        log_warning("the first program's control group cannot be thawed: no memory");
    cgroup_unref(cg);
}

void kernel_signal_init(struct kernel *kernel, int signo)
{
    thaw_init(kernel, signo);
    lock_acquire(&kernel->lock);
    /* A shell's fg and bg mean the whole job. */
    if (kernel->init && signo == SIGCONT && kernel->init->group)
        group_signal_locked(kernel->init->group, signo, NULL);
    else if (kernel->init)
        signal_send_process(kernel->init, signo, NULL);
    lock_release(&kernel->lock);
}

void kernel_signal_terminal(struct kernel *kernel, int signo)
{
    thaw_init(kernel, signo);
    if (kernel->tty && ctty_signal(kernel, kernel->tty, signo))
        return;
    lock_acquire(&kernel->lock);
    if (kernel->init && kernel->init->group)
        group_signal_locked(kernel->init->group, signo, NULL);
    lock_release(&kernel->lock);
}
