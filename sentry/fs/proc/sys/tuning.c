/*
 * Files of /proc/PID that set something: oom_score_adj, oom_adj, coredump_filter and timerslack_ns.
 * Nobody is chosen when memory runs out, who asks for it then ends; so the scores are kept, handed
 * on and told.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/time/cpuclock.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/kernel/usage.h"
#include "sentry/mm/mm.h"

#define SCORE_MAX   1000
#define OLD_MAX     15
#define OLD_DISABLE (-17)

/* One whole number, white space around it. */
static int parse(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(text, &end, 0);
    while (*end == ' ' || *end == '\n' || *end == '\t')
        end++;
    return end == text || *end || errno || *ret < min || *ret > max ? -EINVAL : 0;
}

static int get_score(uint64_t tid, int *ret)
{
    struct task *task = proc_find_task(tid);

    if (!task)
        return -ESRCH;
    lock_acquire(&task->process->lock);
    *ret = task->process->oom_score_adj;
    lock_release(&task->process->lock);
    task_unref(task);
    return 0;
}

ssize_t proc_oom_score_adj_text(uint64_t tid, char *buf, size_t size)
{
    int score, err = get_score(tid, &score);

    return err < 0 ? err : snprintf(buf, size, "%d\n", score);
}

/* __set_oom_adj() */
static int set_score(uint64_t tid, int64_t score)
{
    bool privileged = task_has_cap(task_current(), CAP_SYS_RESOURCE);
    struct process *process;
    struct task *task;
    int err = 0;

    task = proc_find_task(tid);
    if (!task)
        return -ESRCH;
    process = task->process;
    lock_acquire(&process->lock);
    if (score < process->oom_score_min && !privileged) {
        err = -EACCES;
    } else {
        process->oom_score_adj = (int16_t)score;
        if (privileged)
            process->oom_score_min = (int16_t)score;
    }
    lock_release(&process->lock);
    task_unref(task);
    return err;
}

int proc_oom_score_adj_write(uint64_t tid, const char *text, size_t size)
{
    int64_t score;
    int err = parse(text, -SCORE_MAX, SCORE_MAX, &score);

    return err < 0 ? err : set_score(tid, score);
}

/* The same on the scale of former times: -17, never chosen, to 15. */
ssize_t proc_oom_adj_text(uint64_t tid, char *buf, size_t size)
{
    int score, err = get_score(tid, &score);

    if (err < 0)
        return err;
    return snprintf(buf, size, "%d\n",
                    score == SCORE_MAX ? OLD_MAX : score * -OLD_DISABLE / SCORE_MAX);
}

int proc_oom_adj_write(uint64_t tid, const char *text, size_t size)
{
    int64_t score;
    int err = parse(text, OLD_DISABLE, OLD_MAX, &score);

    if (err < 0)
        return err;
    return set_score(tid, score == OLD_MAX ? SCORE_MAX : score * SCORE_MAX / -OLD_DISABLE);
}

/* proc_oom_score(): thousandths of all memory, moved by the adjustment, into 0 to 2000. */
ssize_t proc_oom_score_text(uint64_t tid, char *buf, size_t size)
{
    struct task *task = proc_find_task(tid);
    struct memfile_stats all;
    struct mm_stats own = {0};
    int64_t points;
    struct mm *mm;
    int adj;

    if (!task)
        return -ESRCH;
    mm = task_get_mm(task);
    if (mm)
        mm_get_stats(mm, &own);
    mm_unref(mm);
    lock_acquire(&task->process->lock);
    adj = task->process->oom_score_adj;
    lock_release(&task->process->lock);
    memfile_get_stats(task->kernel->mm_env->memfile, &all);
    task_unref(task);
    points = (int64_t)(own.resident / MAX(all.limit / SCORE_MAX, 1UL)) + adj;
    points = adj == -SCORE_MAX ? 0 : (SCORE_MAX + points) * 2 / 3;
    return snprintf(buf, size, "%ld\n", MAX(points, 0L));
}

/* core(5): which memory is dumped. */
ssize_t proc_coredump_filter_text(uint64_t tid, char *buf, size_t size)
{
    struct task *task = proc_find_task(tid);
    struct mm *mm = task ? task_get_mm(task) : NULL;
    ssize_t n = 0;

    if (!task)
        return -ESRCH;
    if (mm)
        n = snprintf(buf, size, "%08x\n", mm_dump_filter(mm));
    mm_unref(mm);
    task_unref(task);
    return n;
}

int proc_coredump_filter_write(uint64_t tid, const char *text, size_t size)
{
    struct task *task;
    struct mm *mm;
    int64_t filter;
    int err = parse(text, 0, UINT32_MAX, &filter);

    if (err < 0)
        return err;
    task = proc_find_task(tid);
    if (!task)
        return -ESRCH;
    mm = task_get_mm(task);
    if (mm)
        mm_set_dump_filter(mm, (uint32_t)filter);
    else
        err = -ESRCH;
    mm_unref(mm);
    task_unref(task);
    return err;
}

ssize_t proc_timerslack_text(uint64_t tid, char *buf, size_t size)
{
    struct task *task = proc_find_task(tid);
    uint64_t slack;

    if (!task)
        return -ESRCH;
    slack = __atomic_load_n(&task->timer_slack_ns, __ATOMIC_RELAXED);
    if (task != task_current() && !task_has_cap(task_current(), CAP_SYS_NICE)) {
        task_unref(task);
        return -EPERM;
    }
    task_unref(task);
    return snprintf(buf, size, "%lu\n", slack);
}

int proc_timerslack_write(uint64_t tid, const char *text, size_t size)
{
    struct task *task;
    int64_t slack;
    int err = parse(text, 0, INT64_MAX, &slack);

    if (err < 0)
        return err;
    task = proc_find_task(tid);
    if (!task)
        return -ESRCH;
    if (task != task_current() && !task_has_cap(task_current(), CAP_SYS_NICE))
        err = -EPERM;
    else
        __atomic_store_n(&task->timer_slack_ns, slack ? (uint64_t)slack : task->default_slack_ns,
                         __ATOMIC_RELAXED);
    task_unref(task);
    return err;
}
