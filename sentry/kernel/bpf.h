/*
 * Classic BPF as seccomp(2) uses it: a small machine that reads a call and says what becomes of it.
 * No task and no memory of the guest is involved; tests/unit/bpf_test.c comes in here.
 *
 * A program that passed bpf_check() always ends: jumps go forward only, and its last instruction
 * returns.
 */
#ifndef SENTRY_KERNEL_BPF_H
#define SENTRY_KERNEL_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/compiler.h"

#define BPF_PROGRAM_MAX 4096 /* instructions */

/* 0; -EINVAL for a program that Linux refuses (bpf_check_classic(), seccomp_check_filter()). */
int bpf_check(const struct sock_filter *program, uint32_t count);
/* What a checked program returns for this call. */
uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *data);

#endif
