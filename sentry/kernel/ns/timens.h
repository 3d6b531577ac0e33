/*
 * Time namespaces: time_namespaces(7). CLOCK_MONOTONIC and CLOCK_BOOTTIME and what is measured by
 * them are told with an offset, which is written through /proc/PID/timens_offsets before anybody is
 * in the namespace. Inside the Sentry all times are the first namespace's: they are converted where
 * they come from a program or go to one. Programs of other namespaces get no time from the vDSO's
 * page: its parameters are zero for them, so that each call reaches the Sentry.
 */
#ifndef SENTRY_KERNEL_TIMENS_H
#define SENTRY_KERNEL_TIMENS_H

#include <time.h>

#include "sentry/kernel/ns/ns.h"

struct mm;
struct ns_proxy;
struct vdso;

struct time_offset {
    int64_t sec, ns; /* 0 <= ns < 1e9 */
};

struct time_ns {
    struct ns ns;
    bool frozen; /* somebody is or was in it; under the lock of timens.c, like the offsets */
    struct time_offset monotonic, boottime;
};

static inline struct time_ns *time_ns_of(struct ns *ns)
{
    return container_of(ns, struct time_ns, ns);
}
/* Whoever comes in sees the offsets that there are; they do not change any more. */
void time_ns_freeze(struct time_ns *ns);
struct time_offset time_ns_offset(struct time_ns *ns, clockid_t clock); /* clock: of either kind */

/*
 * Writes one of them: -EACCES when it is too late, -ERANGE when a clock would begin before 0 or run
 * for more than 146 years from now, -EINVAL for another clock.
 */
int time_ns_set_offsets(struct time_ns *ns, const clockid_t *clocks,
                        const struct time_offset *offsets, int count);

/* What the task's programs are told when the clock reads `ns`; and back, for absolute times. */
uint64_t time_shown(const struct task *task, clockid_t clock, uint64_t ns);
uint64_t time_taken(const struct task *task, clockid_t clock, uint64_t ns);

/* The vDSO that programs in the task's time namespace get; NULL: none. */
const struct vdso *time_vdso(const struct task *task, const struct ns_proxy *namespaces);
/* The memory of a program that has come into another time namespace follows. 0 or -errno. */
int time_ns_map(const struct task *task, const struct ns_proxy *namespaces, struct mm *mm);

#endif
