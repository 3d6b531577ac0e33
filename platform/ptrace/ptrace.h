/*
 * The platform for hosts without a usable /dev/kvm: each guest thread is a traced host thread (a
 * "stub") whose system calls stop at PTRACE_SYSEMU before the host sees them.
 *
 * One rule beyond platform.h, since a tracer is a thread and not a process: the first ctx_switch()
 * of a context binds it to the calling host thread, and the same thread calls ctx_destroy() before
 * it ends. A thread that ends without it takes the address space's stubs along.
 *
 * create() puts the calling thread into a Landlock domain, where the host has it, so that the
 * Sentry can trace nothing but stubs: call it on the main thread, before it starts others.
 */
#ifndef PLATFORM_PTRACE_PTRACE_H
#define PLATFORM_PTRACE_PTRACE_H

#include "platform/platform.h"

extern const struct platform_ops ptrace_platform_ops;

/*
 * Nanoseconds of one bare PTRACE_SYSEMU round trip with PTRACE_GETREGS and PTRACE_SETREGS, median
 * over `rounds`: the physical limit that the platform's calls are measured against. Both threads
 * stay on one CPU, since that is the fastest. -errno when ptrace is not permitted. Not in a jail.
 */
int64_t ptrace_bench_bare_roundtrip(unsigned int rounds);

#endif
