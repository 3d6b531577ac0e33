/*
 * The second futex interface: futex_waitv of Linux 5.16, futex_wait, futex_wake and futex_requeue
 * of 6.7 (Documentation/userspace-api/futex2.rst). Only 32-bit words, as Linux has them; timeouts
 * are absolute.
 */
#include <errno.h>
#include <time.h>

#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define FUTEX2_SIZE_MASK 3u
#define FUTEX2_SIZE_U32  2u
#define FUTEX2_PRIVATE   128u

struct guest_futex_waitv {
    uint64_t value, addr;
    uint32_t flags, reserved;
};
static_assert(sizeof(struct guest_futex_waitv) == 24, "struct futex_waitv");

static bool flags_valid(uint32_t flags)
{
    return !(flags & ~(FUTEX2_SIZE_MASK | FUTEX2_PRIVATE)) &&
           (flags & FUTEX2_SIZE_MASK) == FUTEX2_SIZE_U32;
}

static struct futex_word word_of(uaddr_t addr, uint32_t flags)
{
    return (struct futex_word){.addr = addr, .shared = !(flags & FUTEX2_PRIVATE)};
}

static int get_deadline(struct task *task, uaddr_t timeout, int clock, uint64_t *ret_deadline)
{
    struct timespec ts;

    *ret_deadline = TIME_NEVER;
    if (!timeout)
        return 0;
    if (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &ts, timeout) < 0)
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    *ret_deadline = time_to_monotonic(clock, time_taken(task, clock, timespec_ns(&ts)));
    return 0;
}

SYSCALL_DEFINE4(futex_wake, uaddr_t, addr, uint64_t, mask, int, count, unsigned, flags)
{
    struct futex_word word = word_of(addr, flags);

    if (!flags_valid(flags) || mask > UINT32_MAX || mask == 0)
        return -EINVAL;
    if (count <= 0)
        return 0;
    return futex_wake(task->kernel, task->mm, addr, word.shared, count, (uint32_t)mask);
}

SYSCALL_DEFINE6(futex_wait, uaddr_t, addr, uint64_t, value, uint64_t, mask, unsigned, flags,
                uaddr_t, timeout, int, clock)
{
    uint64_t deadline;
    int error;

    if (!flags_valid(flags) || mask > UINT32_MAX || value > UINT32_MAX)
        return -EINVAL;
    error = get_deadline(task, timeout, clock, &deadline);
    if (error < 0)
        return error;
    if (mask == 0)
        return -EINVAL;
    return futex_wait(task, addr, word_of(addr, flags).shared, (uint32_t)value, (uint32_t)mask,
                      deadline);
}

/* Checks and splits `count` entries of the guest's. */
static int get_words(struct task *task, uaddr_t ptr, unsigned count, struct futex_word *words,
                     uint32_t *values)
{
    for (unsigned i = 0; i < count; i++) {
        struct guest_futex_waitv entry;

        if (copy_struct_from_user(task->mm, &entry, ptr + i * sizeof(entry)) < 0)
            return -EFAULT;
        if (!flags_valid(entry.flags) || entry.reserved || entry.value > UINT32_MAX)
            return -EINVAL;
        words[i] = word_of(entry.addr, entry.flags);
        values[i] = (uint32_t)entry.value;
    }
    return 0;
}

SYSCALL_DEFINE5(futex_waitv, uaddr_t, ptr, unsigned, count, unsigned, flags, uaddr_t, timeout, int,
                clock)
{
    struct futex_word words[FUTEX_WAITV_WORDS];
    uint32_t values[FUTEX_WAITV_WORDS];
    uint64_t deadline;
    int error;

    if (flags || count == 0 || count > FUTEX_WAITV_WORDS || !ptr)
        return -EINVAL;
    error = get_deadline(task, timeout, clock, &deadline);
    if (error == 0)
        error = get_words(task, ptr, count, words, values);
    if (error < 0)
        return error;
    return futex_wait_multiple(task, words, values, count, deadline);
}

SYSCALL_DEFINE4(futex_requeue, uaddr_t, ptr, unsigned, flags, int, wake, int, requeue)
{
    struct futex_word words[2];
    uint32_t values[2];
    int error;

    if (flags || !ptr)
        return -EINVAL;
    error = get_words(task, ptr, 2, words, values);
    if (error < 0)
        return error;
    return futex_requeue(task, words[0], words[1], wake, requeue, &values[0]);
}
