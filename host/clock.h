/*
 * The host's clocks, in nanoseconds. Served by the host's vDSO, so mostly without a system call.
 */
#ifndef HOST_CLOCK_H
#define HOST_CLOCK_H

#include <time.h>

#include "base/compiler.h"

/* CLOCK_MONOTONIC, the clock of all deadlines inside the Sentry. */
uint64_t host_monotonic_ns(void);
/* clock_gettime(2): nanoseconds since the clock's epoch; 0 where the host lacks the clock. */
uint64_t host_clock_ns(clockid_t clock);
/*
 * CLOCK_REALTIME as the sandbox has it: the host's, and by how much a program has set it ahead of
 * that (negative: back). The host's own clock is never set. Any thread.
 */
uint64_t host_sandbox_realtime_ns(void);
int64_t host_sandbox_clock_ahead(void);
void host_sandbox_clock_set_ahead(int64_t ns);
/* Processor time of another process, all of its threads; 0 when it is gone. */
uint64_t host_process_clock_ns(pid_t pid);
/* The host's resolution of a clock. */
uint64_t host_clock_resolution_ns(clockid_t clock);
/* TAI minus UTC in seconds, as the host's kernel was told. */
int host_tai_offset(void);

#endif
