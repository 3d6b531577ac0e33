/* What the files about a task tell of it, taken at one moment. */
#ifndef SENTRY_FS_PROC_VIEW_H
#define SENTRY_FS_PROC_VIEW_H

#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"

/* What is under the process's lock, at one moment. */
struct task_view {
    uint32_t threads;
    uint64_t own_pending, shared_pending, blocked, ignored, caught;
    uint64_t rss_limit, rip, rsp;
    struct usage usage; /* of the thread */
    struct task_sched sched;
    struct rlimit64 limits[RLIM_NLIMITS];
    char comm[16];
    int seccomp_mode;
    uint32_t seccomp_filters;
};

void task_view_take(struct task *task, struct task_view *ret);
/* Its state; whoever asks about itself runs. */
char task_shown_state(struct task *task);

#endif
