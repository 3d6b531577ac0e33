/* Keeps the vDSO's parameter page in step with the host's clocks. */
#ifndef SENTRY_KERNEL_TIMEKEEPER_H
#define SENTRY_KERNEL_TIMEKEEPER_H

#include "base/compiler.h"

struct timepage;

/* The page that time_start() was given. */
const struct timepage *timekeeper_page(void);

/* One reading of the host's clocks. */
struct time_sample {
    uint64_t tsc, monotonic_ns;                /* of the same moment */
    uint64_t raw_tsc, raw_ns;                  /* likewise, a little later */
    uint64_t realtime_off_ns, boottime_off_ns; /* ahead of CLOCK_MONOTONIC */
    int64_t tai_offset_sec;
};

/*
 * The page for the time after `now`: at the host's rate between the two samples, continuous with
 * `old` (whose mode may be 0: then simply `now`), and bent so that what `old` had gone wrong is
 * made good within `period_ns`. Pure; for tests.
 */
void timekeeper_steer(const struct timepage *old, const struct time_sample *before,
                      const struct time_sample *now, uint64_t period_ns, struct timepage *ret_page);

#endif
