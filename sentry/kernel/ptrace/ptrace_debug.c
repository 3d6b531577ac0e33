/*
 * The debug registers that a tracer sets (SDM vol. 3, 18.2), without using the processor's: while
 * one is on, the task runs in single steps of ours, and after each the Sentry looks for itself.
 *
 *   execute     the next instruction is at the address
 *   write       the bytes there differ from what they were before the instruction
 *   access      likewise; or the instruction faulted there, for the page is hidden before each
 *
 * So a write of what was there already goes unnoticed, as debuggers want it anyway, and so does a
 * read that begins before the watched bytes. As on Linux, what system calls do does not count.
 * Other threads' writes may be taken for ours.
 */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/usercopy.h"

#define REGISTERS        4
#define DR6              6
#define DR7              7
#define DR6_RESERVED     0xffff0ff0UL
#define DR6_STEP         0x4000UL
#define DR7_ENABLED(n)   (3UL << 2 * (n)) /* locally or globally: there is one task either way */
#define DR7_ALL_ENABLED  0xffUL
#define DR7_TYPE(c, n)   ((c) >> (16 + 4 * (n)) & 3)
#define DR7_LENGTH(c, n) ((c) >> (18 + 4 * (n)) & 3)

enum { TYPE_EXECUTE, TYPE_WRITE, TYPE_IO, TYPE_ACCESS };

static const uint8_t lengths[4] = {1, 2, 8, 4};

static bool is_on(const struct trace_debug *d, int n)
{
    return d->control & DR7_ENABLED(n);
}

/* One register under that control: Linux arch_build_bp_info(). */
static int check(uint64_t address, uint64_t control, int n, uaddr_t max)
{
    uint64_t type = DR7_TYPE(control, n), length = lengths[DR7_LENGTH(control, n)];

    if (address >= max || address % length || type == TYPE_IO ||
        (type == TYPE_EXECUTE && length != 1))
        return -EINVAL;
    return 0;
}

static int set_control(struct task *task, uint64_t control)
{
    struct trace_debug *d = &task->trace.debug;
    uaddr_t max = task->kernel->mm_env->limits.user_max;
    int error = 0;

    for (int n = 0; n < REGISTERS && error == 0; n++) {
        if (control & DR7_ENABLED(n))
            error = check(d->address[n], control, n, max);
    }
    if (error == 0) {
        d->control = control;
        task->trace.watching = control & DR7_ALL_ENABLED;
    }
    return error;
}

int ptrace_set_debug_locked(struct task *task, int n, uint64_t value)
{
    struct trace_debug *d = &task->trace.debug;
    uaddr_t max = task->kernel->mm_env->limits.user_max;

    if (n == DR6) {
        d->status = value ^ DR6_RESERVED;
        return 0;
    }
    if (n == DR7)
        return set_control(task, value);
    if (n >= REGISTERS)
        return -EIO;
    if (value >= max || (is_on(d, n) && check(value, d->control, n, max) < 0))
        return -EINVAL;
    d->address[n] = value;
    return 0;
}

uint64_t ptrace_get_debug_locked(struct task *task, int n)
{
    const struct trace_debug *d = &task->trace.debug;

    if (n < REGISTERS)
        return d->address[n];
    if (n == DR6)
        return d->status ^ DR6_RESERVED;
    return n == DR7 ? d->control : 0;
}

void ptrace_clear_debug(struct task *task)
{
    memset(&task->trace.debug, 0, sizeof(task->trace.debug));
    task->trace.watching = false;
}

static uint64_t read_watched(struct task *task, int n)
{
    const struct trace_debug *d = &task->trace.debug;
    uint64_t value = 0;

    mm_remote_read(task->mm, d->address[n], &value, lengths[DR7_LENGTH(d->control, n)]);
    return value;
}

void ptrace_watch(struct task *task)
{
    struct trace_debug *d = &task->trace.debug;

    for (int n = 0; n < REGISTERS; n++) {
        uint64_t type = DR7_TYPE(d->control, n);

        if (!is_on(d, n) || type == TYPE_EXECUTE)
            continue;
        d->before[n] = read_watched(task, n);
        if (type == TYPE_ACCESS && !d->passing)
            mm_remote_hide(task->mm, d->address[n]);
    }
    ptrace_apply_step(task);
}

void ptrace_watch_fault(struct task *task, uaddr_t addr, bool fetch)
{
    struct trace_debug *d = &task->trace.debug;

    d->passing = true; /* the instruction is repeated, and must get through then */
    for (int n = 0; n < REGISTERS && !fetch; n++) {
        if (is_on(d, n) && DR7_TYPE(d->control, n) == TYPE_ACCESS &&
            addr - d->address[n] < lengths[DR7_LENGTH(d->control, n)])
            d->touched |= 1U << n;
    }
}

static bool is_hit(struct task *task, int n)
{
    const struct trace_debug *d = &task->trace.debug;

    if (!is_on(d, n))
        return false;
    if (DR7_TYPE(d->control, n) == TYPE_EXECUTE)
        return d->address[n] == task->ctx->regs.rip;
    return (d->touched >> n & 1) || d->before[n] != read_watched(task, n);
}

bool ptrace_watch_hit(struct task *task)
{
    struct trace_debug *d = &task->trace.debug;
    uint64_t hits = 0;

    for (int n = 0; n < REGISTERS; n++) {
        if (is_hit(task, n))
            hits |= 1UL << n;
    }
    d->touched = 0;
    d->passing = false;
    d->status = hits | (task->trace.step ? DR6_STEP : 0);
    return hits != 0;
}
