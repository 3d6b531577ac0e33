#include "sentry/kernel/usage.h"

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

/*
 * In the middle of a long run in the guest the ticks so far are those noted and the ones since
 * then, so all that another thread reads must be of one moment.
 */
static void read_ticks(const struct task_times *t, uint64_t ret_ticks[MODE_COUNT])
{
    for (;;) {
        uint32_t seq = __atomic_load_n(&t->seq, __ATOMIC_ACQUIRE);
        uint32_t mode = __atomic_load_n(&t->mode, __ATOMIC_RELAXED);
        uint64_t since = __atomic_load_n(&t->since_tsc, __ATOMIC_RELAXED), now;

        for (int i = 0; i < MODE_COUNT; i++)
            ret_ticks[i] = __atomic_load_n(&t->ticks[i], __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if ((seq & 1) || __atomic_load_n(&t->seq, __ATOMIC_RELAXED) != seq)
            continue;
        now = __builtin_ia32_rdtsc();
        if (since && now > since)
            ret_ticks[mode] += now - since;
        return;
    }
}

void usage_divide(uint64_t total_ns, uint64_t user_ticks, uint64_t system_ticks,
                  struct usage *usage)
{
    uint64_t ticks = user_ticks + system_ticks, user, system;

    if (total_ns <= usage->user_ns + usage->system_ns)
        return;
    user = ticks ? (uint64_t)((unsigned __int128)total_ns * user_ticks / ticks) : 0;
    system = MAX(total_ns - user, usage->system_ns);
    user = MAX(total_ns - system, usage->user_ns);
    usage->user_ns = user;
    usage->system_ns = total_ns - user;
}

void usage_add(struct usage *to, const struct usage *from)
{
    to->user_ns += from->user_ns;
    to->system_ns += from->system_ns;
    to->minor_faults += from->minor_faults;
    to->major_faults += from->major_faults;
    to->sleeps += from->sleeps;
    to->preemptions += from->preemptions;
    to->reads += from->reads;
    to->writes += from->writes;
    to->read_bytes += from->read_bytes;
    to->written_bytes += from->written_bytes;
    to->max_resident = MAX(to->max_resident, from->max_resident);
}

void task_usage_locked(struct task *task, struct usage *ret)
{
    uint64_t total = task_cpu_ns(task), ticks[MODE_COUNT], guest;
    const struct context *ctx = task->ctx;

    if (ctx && ctx->ops->ctx_cpu_ns) {
        /* The guest's share is known. */
        guest = ctx->ops->ctx_cpu_ns((struct context *)ctx);
        usage_divide(total, guest, total > guest ? total - guest : 0, &task->usage);
    } else {
        read_ticks(&task->times, ticks);
        usage_divide(total, ticks[MODE_USER], ticks[MODE_SYSTEM], &task->usage);
    }
    *ret = task->usage;
}

void process_usage_locked(struct process *process, struct usage *ret)
{
    struct usage sum = process->dead_usage, one;
    struct task *task;

    list_for_each (task, &process->threads, process_node) {
        task_usage_locked(task, &one);
        usage_add(&sum, &one);
    }
    *ret = sum;
}

void process_usage(struct process *process, struct usage *ret)
{
    lock_acquire(&process->lock);
    process_usage_locked(process, ret);
    lock_release(&process->lock);
}

void usage_keep_locked(struct process *process, struct task *task)
{
    struct usage usage;

    task_usage_locked(task, &usage);
    usage_add(&process->dead_usage, &usage);
    process->dead_cpu_ns += task_cpu_ns(task);
}

void usage_keep_memory(struct task *task)
{
    struct process *process = task->process;
    struct mm_stats stats;

    mm_get_stats(task->mm, &stats);
    lock_acquire(&process->lock);
    process->dead_usage.max_resident = MAX(process->dead_usage.max_resident, stats.peak_resident);
    lock_release(&process->lock);
}
