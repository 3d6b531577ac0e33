/*
 * Host threads: one for each guest task and a few of the Sentry's own. Detached; they end by
 * returning. Stacks are small and mapped without reserve, so that ten thousand tasks cost little
 * more than the pages that they touched.
 */
#ifndef HOST_THREAD_H
#define HOST_THREAD_H

#include "base/compiler.h"

#define HOST_THREAD_STACK (96UL << 10)

/*
 * Starts a thread with every signal blocked that the caller blocks. `name`: at most 15 bytes, for
 * the host's ps(1). -EAGAIN when the host has no room for another thread.
 */
int host_thread_start(const char *name, void (*fn)(void *arg), void *arg);
/*
 * The same by a thread that ran another such function before, where there is one; its processor
 * time goes on counting. All callers of this have the same signals blocked. `preferred_tid`: the
 * one to take if it is free, 0: any.
 */
int host_thread_reuse(const char *name, void (*fn)(void *arg), void *arg, int preferred_tid);
/* May the calling thread be used again that way? */
bool host_thread_is_reusable(void);
/* `fn` is called by this thread when it will not be used again. */
void host_thread_at_end(void (*fn)(void));

/* Nanoseconds that the calling thread, or the whole Sentry, has run (user and system). */
uint64_t host_thread_cpu_ns(void);
uint64_t host_process_cpu_ns(void);
/* A clock id with which any thread can read the calling thread's processor time. */
int host_thread_cpu_clock(void);
/* sched_yield(2). */
void host_yield(void);
/* The processor the caller runs on, or -errno; a few instructions. */
int host_current_cpu(void);
/* The processor the caller runs on, and its memory node: getcpu(2). */
void host_getcpu(unsigned *ret_cpu, unsigned *ret_node);
/* The processors that this process may use, as sched_getaffinity(2): the bytes filled, -errno. */
int host_get_affinity(void *mask, size_t size);
/* sched_setaffinity(2); tid 0 is the caller, another may be given to the ptrace platform's jail. */
int host_set_affinity(int tid, const void *mask, size_t size);
/* The caller's nice value: getpriority(2). */
int host_get_nice(void);
/* setpriority(2) for one thread, as above. A thread that made itself nicer is not used again. */
int host_set_nice(int tid, int nice);
/*
 * sched_setscheduler(2) for the calling thread, which is not used again either; threads that it
 * makes start with the ordinary policy.
 */
int host_set_policy(int policy, int priority);

#endif
