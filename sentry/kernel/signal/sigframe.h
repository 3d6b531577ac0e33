/*
 * Signal frames on the guest's stack, laid out as Linux does (abi/signal.h):
 *
 *     old rsp ->  | red zone, 128 bytes              |   (or the top of the alternate stack)
 *                 | XSAVE area, 64-byte aligned      |
 *                 |   ... MAGIC2                     |
 *     new rsp ->  | struct rt_sigframe               |   rsp + 8 is 16-byte aligned
 */
#ifndef SENTRY_KERNEL_SIGFRAME_H
#define SENTRY_KERNEL_SIGFRAME_H

#include "sentry/kernel/signal/signal.h"

/* AT_MINSIGSTKSZ: the most that a frame takes with this XSAVE area. */
uint32_t sigframe_max_size(uint32_t fp_size);
/* Pushes a frame and points the registers at the handler. -EFAULT: no room, or no restorer. */
int sigframe_push(struct task *task, const struct delivery *delivery, uint64_t old_blocked);
/* rt_sigreturn(2): everything back from a frame that the guest may have forged. -EFAULT: SIGSEGV.
 */
int sigframe_pop(struct task *task);

/* sigaltstack(2) on the task, which runs at `sp`: EPERM, EINVAL, ENOMEM. */
int sigstack_set(struct task *task, const struct linux_stack *ss, uaddr_t sp);
/* What sigaltstack(2) shows: with SS_ONSTACK when `sp` is on it. */
struct linux_stack sigstack_get(const struct task *task, uaddr_t sp);

#endif
