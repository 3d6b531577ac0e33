/* /proc/PID/status: what ps(1), strace(1) and gdb(1) read about a task, line by line. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/fs/proc/view.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/fs_context.h"

#define NODES_MAX 1024 /* MAX_NUMNODES of a distribution's kernel */

static const char *state_name(char state)
{
    switch (state) {
    case 'R':
        return "R (running)";
    case 'T':
        return "T (stopped)";
    case 't':
        return "t (tracing stop)";
    case 'Z':
        return "Z (zombie)";
    default:
        return "S (sleeping)";
    }
}

static void status_ids(struct proc_text *text, uint64_t key, struct task *task)
{
    const struct cred *cred = task_get_cred(task), *viewer = task_current()->cred;
    struct fdtable *files = task_get_files(task);
    struct process *process = task->process;

    proc_printf(text, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n", proc_shown(key, process->pid),
                proc_shown(key, task->tid), proc_shown(key, process->parent_pid));
    proc_printf(text, "TracerPid:\t%d\n", proc_shown(key, ptrace_tracer_tid(task)));
    proc_printf(text, "Uid:\t%u\t%u\t%u\t%u\n", cred_shown_uid(viewer, cred->uid),
                cred_shown_uid(viewer, cred->euid), cred_shown_uid(viewer, cred->suid),
                cred_shown_uid(viewer, cred->fsuid));
    proc_printf(text, "Gid:\t%u\t%u\t%u\t%u\n", cred_shown_gid(viewer, cred->gid),
                cred_shown_gid(viewer, cred->egid), cred_shown_gid(viewer, cred->sgid),
                cred_shown_gid(viewer, cred->fsgid));
    proc_printf(text, "FDSize:\t%d\nGroups:\t", files ? fdtable_capacity(files) : 0);
    for (uint32_t i = 0; i < cred->group_count; i++)
        proc_printf(text, "%s%u", i ? " " : "", cred_shown_gid(viewer, cred->groups[i]));
    proc_printf(text, " \nNStgid:");
    proc_print_numbers(text, key, process->pid);
    proc_printf(text, "\nNSpid:");
    proc_print_numbers(text, key, task->tid);
    proc_printf(text, "\nNSpgid:");
    proc_print_numbers(text, key, process->pgid);
    proc_printf(text, "\nNSsid:");
    proc_print_numbers(text, key, process->sid);
    proc_printf(text, "\nKthread:\t0\n");
    fdtable_unref(files);
    cred_unref(cred);
}

/* task_mem(), and the lines that only a task with memory has. */
static void status_memory(struct proc_text *text, struct task *task, struct mm *mm)
{
    struct process *process = task->process;
    struct mm_layout l;
    uint64_t code;
    struct mm_resident r;
    struct mm_stats s;
    bool dumping;

    mm_get_stats(mm, &s);
    mm_get_resident(mm, &r);
    mm_get_layout(mm, &l);
    code = round_up(l.code_end, PAGE_SIZE) - round_down(l.code_start, PAGE_SIZE);
    lock_acquire(&process->lock);
    dumping = process->core != NULL;
    lock_release(&process->lock);
    code = MIN(code, s.exec);
    proc_printf(text, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\n", s.peak_total / 1024,
                s.total / 1024, s.locked / 1024);
    proc_printf(text, "VmPin:\t%8lu kB\nVmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\n", 0UL,
                s.peak_resident / 1024, s.resident / 1024);
    proc_printf(text, "RssAnon:\t%8lu kB\nRssFile:\t%8lu kB\nRssShmem:\t%8lu kB\n",
                r.anonymous / 1024, r.file / 1024, r.memory / 1024);
    proc_printf(text, "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\n", s.data / 1024,
                s.stack / 1024, code / 1024);
    proc_printf(text, "VmLib:\t%8lu kB\nVmPTE:\t%8lu kB\nVmSwap:\t%8lu kB\n",
                (s.exec - code) / 1024, r.tables / 1024, 0UL);
    proc_printf(text, "HugetlbPages:\t%8d kB\nCoreDumping:\t%d\nTHP_enabled:\t%d\n", 0, dumping,
                !process->no_huge_pages);
    proc_printf(text, "untag_mask:\t0xffffffffffffffff\n");
}

static void status_signals(struct proc_text *text, struct task *task, const struct task_view *v)
{
    const struct cred *cred = task_get_cred(task);

    proc_printf(text, "Threads:\t%u\nSigQ:\t%lu/%lu\n", v->threads,
                user_signals(&task->kernel->users, cred->uid),
                v->limits[RLIMIT_SIGPENDING].rlim_cur);
    proc_printf(text, "SigPnd:\t%016lx\nShdPnd:\t%016lx\n", v->own_pending, v->shared_pending);
    proc_printf(text, "SigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n", v->blocked, v->ignored,
                v->caught);
    proc_printf(text, "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\n", cred->cap_inheritable,
                cred->cap_permitted, cred->cap_effective);
    proc_printf(text, "CapBnd:\t%016lx\nCapAmb:\t%016lx\n", cred->cap_bounding, cred->cap_ambient);
    proc_printf(text, "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%u\n",
                task_no_new_privs(task), v->seccomp_mode, v->seccomp_filters);
    cred_unref(cred);
}

/* A bitmap as Linux prints it: words of 32 bits between commas, the highest first. */
static void put_mask(struct proc_text *text, const uint64_t *bits, unsigned count)
{
    for (unsigned word = (count + 31) / 32; word-- > 0;) {
        uint32_t part = (uint32_t)(bits[word / 2] >> (word % 2 * 32));
        unsigned rest = count - word * 32;

        proc_printf(text, "%0*x%s", rest >= 32 ? 8 : (int)(rest + 3) / 4, part, word ? "," : "\n");
    }
}

/* The same as a list of ranges. */
static void put_list(struct proc_text *text, const uint64_t *bits, unsigned count)
{
    const char *comma = "";

    for (unsigned i = 0, end; i < count; i = end + 1) {
        for (end = i; end < count && (bits[end / 64] >> (end % 64) & 1);)
            end++;
        if (end == i)
            continue;
        if (end == i + 1)
            proc_printf(text, "%s%u", comma, i);
        else
            proc_printf(text, "%s%u-%u", comma, i, end - 1);
        comma = ",";
    }
    proc_printf(text, "\n");
}

/* Mitigations are what prctl(PR_GET_SPECULATION_CTRL) says; of memory nodes there is one. */
static void status_places(struct proc_text *text, struct task *task, const struct task_view *v)
{
    const struct kernel *kernel = task->kernel;
    uint64_t allowed[ARRAY_COUNT(kernel->cpus)], nodes[NODES_MAX / 64] = {1};
    unsigned cpus = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(allowed); i++) {
        allowed[i] = v->sched.affinity[i] & kernel->cpus[i];
        if (kernel->cpus[i])
            cpus = i * 64 + 64 - (unsigned)__builtin_clzl(kernel->cpus[i]);
    }
    proc_printf(text, "Speculation_Store_Bypass:\tvulnerable\n"
                      "SpeculationIndirectBranch:\talways enabled\nCpus_allowed:\t");
    put_mask(text, allowed, cpus);
    proc_printf(text, "Cpus_allowed_list:\t");
    put_list(text, allowed, cpus);
    proc_printf(text, "Mems_allowed:\t");
    put_mask(text, nodes, NODES_MAX);
    proc_printf(text, "Mems_allowed_list:\t0\n");
}

ssize_t proc_status_text(uint64_t tid, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(tid);
    struct fs_context *fs;
    struct mm *mm;
    struct task_view v;

    if (!task)
        return -ESRCH;
    task_view_take(task, &v);
    proc_printf(&text, "Name:\t%.15s\n", v.comm);
    fs = task_get_fs(task);
    if (fs)
        proc_printf(&text, "Umask:\t%04o\n", fs_context_umask(fs));
    fs_context_unref(fs);
    proc_printf(&text, "State:\t%s\n", state_name(task_shown_state(task)));
    status_ids(&text, tid, task);
    mm = task_get_mm(task);
    if (mm)
        status_memory(&text, task, mm);
    mm_unref(mm);
    status_signals(&text, task, &v);
    status_places(&text, task, &v);
    proc_printf(&text, "voluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t%lu\n",
                v.usage.sleeps, v.usage.preemptions);
    task_unref(task);
    return (ssize_t)text.length;
}
