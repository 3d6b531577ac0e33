/* futex(2). */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#include "sentry/kernel/futex/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

static long wait_restart(struct task *task, struct restart_block *block)
{
    long result = futex_wait(task, block->addr, block->flags, block->value, block->bitset,
                             block->deadline_ns);

    if (result != -ERESTARTSYS)
        return result;
    task->restart = *block; /* restart_syscall(2) used it up */
    return -ERESTART_RESTARTBLOCK;
}

/* A wait with a deadline cannot simply be repeated: it goes on through restart_syscall(2). */
static long wait(struct task *task, uaddr_t addr, bool shared, uint32_t value, uint32_t bitset,
                 uint64_t deadline_ns)
{
    long result;

    if (bitset == 0)
        return -EINVAL;
    result = futex_wait(task, addr, shared, value, bitset, deadline_ns);
    if (result != -ERESTARTSYS || deadline_ns == TIME_NEVER)
        return result;
    task->restart = (struct restart_block){
        .fn = wait_restart,
        .deadline_ns = deadline_ns,
        .addr = addr,
        .value = value,
        .bitset = bitset,
        .flags = shared,
    };
    return -ERESTART_RESTARTBLOCK;
}

/* FUTEX_WAIT's time is relative, the others' absolute on one of two clocks. */
static int get_deadline(struct task *task, int op, uaddr_t timeout, uint64_t *ret_deadline)
{
    clockid_t clock = CLOCK_MONOTONIC;
    struct timespec ts;
    uint64_t ns;

    *ret_deadline = TIME_NEVER;
    if (!timeout)
        return 0;
    if (copy_struct_from_user(task->mm, &ts, timeout) < 0)
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    ns = timespec_ns(&ts);
    if ((op & FUTEX_CLOCK_REALTIME) || (op & FUTEX_CMD_MASK) == FUTEX_LOCK_PI)
        clock = CLOCK_REALTIME;
    if ((op & FUTEX_CMD_MASK) == FUTEX_WAIT)
        *ret_deadline = time_add(time_monotonic_ns(), ns);
    else
        *ret_deadline = time_to_monotonic(clock, time_taken(task, clock, ns));
    return 0;
}

static bool has_deadline(int cmd)
{
    return cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_LOCK_PI ||
           cmd == FUTEX_LOCK_PI2 || cmd == FUTEX_WAIT_REQUEUE_PI;
}

/* The operations of priority inheritance; their second word is a lock. */
static long futex_pi(struct task *task, int cmd, struct futex_word word, struct futex_word lock,
                     const uint32_t val[3], uint64_t deadline)
{
    switch (cmd) {
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        return futex_lock_pi(task, word, false, deadline);
    case FUTEX_TRYLOCK_PI:
        return futex_lock_pi(task, word, true, deadline);
    case FUTEX_UNLOCK_PI:
        return futex_unlock_pi(task, word);
    case FUTEX_WAIT_REQUEUE_PI:
        return futex_wait_requeue_pi(task, word, val[0], deadline, lock);
    case FUTEX_CMP_REQUEUE_PI:
        return futex_requeue_pi(task, word, lock, (int)val[0], (int)val[1], val[2]);
    default:
        return -ENOSYS;
    }
}

SYSCALL_DEFINE6(futex, uaddr_t, addr, int, op, uint32_t, val, uint64_t, timeout, uaddr_t, addr2,
                uint32_t, val3)
{
    int cmd = op & FUTEX_CMD_MASK, val2 = (int)timeout;
    bool shared = !(op & FUTEX_PRIVATE_FLAG);
    const struct futex_word word = {addr, shared}, word2 = {addr2, shared};
    uint64_t deadline = TIME_NEVER;
    int error;

    if ((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET && cmd != FUTEX_WAIT_REQUEUE_PI &&
        cmd != FUTEX_LOCK_PI2)
        return -ENOSYS;
    if (has_deadline(cmd)) {
        error = get_deadline(task, op, timeout, &deadline);
        if (error < 0)
            return error;
    }
    switch (cmd) {
    case FUTEX_WAIT:
        return wait(task, addr, shared, val, FUTEX_BITSET_MATCH_ANY, deadline);
    case FUTEX_WAIT_BITSET:
        return wait(task, addr, shared, val, val3, deadline);
    case FUTEX_WAKE:
        return futex_wake(task->kernel, task->mm, addr, shared, (int)val, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
        if (val3 == 0)
            return -EINVAL;
        return futex_wake(task->kernel, task->mm, addr, shared, (int)val, val3);
    case FUTEX_REQUEUE:
        return futex_requeue(task, word, word2, (int)val, val2, NULL);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(task, word, word2, (int)val, val2, &val3);
    case FUTEX_WAKE_OP:
        return futex_wake_op(task, addr, addr2, shared, (int)val, val2, val3);
    default:
        return futex_pi(task, cmd, word, word2, (uint32_t[]){val, (uint32_t)val2, val3}, deadline);
    }
}
