/* System V semaphores: semget(2), semop(2), semtimedop(2), semctl(2). */
#include "sentry/kernel/ipc/sem.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/task.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

static_assert(sizeof(struct semid_ds) == 104, "semid64_ds");
static_assert(sizeof(struct seminfo) == 40 && sizeof(struct sembuf) == 6, "IPC_INFO, semop");

#define OPS_FEW 64 /* so many are copied to the stack */

SYSCALL_DEFINE3(semget, int, key, int, count, int, flags)
{
    return sem_get(task, key, count, flags);
}

static long operate(struct task *task, int id, uaddr_t ops_addr, unsigned count,
                    const struct timespec *timeout)
{
    struct sembuf few[OPS_FEW], *ops = few;
    uint64_t deadline = TIME_NEVER;
    long result;

    if (count > ipc_limit(&task_ipc_ns(task)->limits.sem_ops))
        return -E2BIG;
    if (count < 1)
        return -EINVAL;
    if (count > OPS_FEW)
        ops = malloc(count * sizeof(*ops));
    if (!ops)
        return -ENOMEM;
    if (copy_from_user(task->mm, ops, ops_addr, count * sizeof(*ops)) < 0)
        result = -EFAULT;
    else if (id < 0 || (timeout && !timespec_valid(timeout)))
        result = -EINVAL;
    else {
        if (timeout)
            deadline = time_add(time_monotonic_ns(), timespec_ns(timeout));
        result = sem_operate(task, id, ops, count, deadline);
    }
    if (ops != few)
        free(ops);
    return result;
}

SYSCALL_DEFINE3(semop, int, id, uaddr_t, ops, unsigned, count)
{
    return operate(task, id, ops, count, NULL);
}

SYSCALL_DEFINE4(semtimedop, int, id, uaddr_t, ops, unsigned, count, uaddr_t, timeout)
{
    struct timespec ts;

    if (timeout && copy_struct_from_user(task->mm, &ts, timeout) < 0)
        return -EFAULT;
    return operate(task, id, ops, count, timeout ? &ts : NULL);
}

static long stat_to_user(struct task *task, int id, enum ipc_stat_by by, uaddr_t buf)
{
    struct semid_ds ds;
    int result = sem_stat(task, id, by, &ds);

    if (result >= 0 && copy_struct_to_user(task->mm, buf, &ds) < 0)
        return -EFAULT;
    return result >= 0 && by == IPC_BY_ID ? 0 : result;
}

static long info_to_user(struct task *task, bool usage, uaddr_t buf)
{
    struct seminfo info;
    int max = sem_get_info(task, usage, &info);

    return copy_struct_to_user(task->mm, buf, &info) < 0 ? -EFAULT : max;
}

static long get_all(struct task *task, int id, uaddr_t buf)
{
    uint16_t *values;
    unsigned count;
    int err = sem_get_all(task, id, &values, &count);

    if (err < 0)
        return err;
    err = copy_to_user(task->mm, buf, values, count * sizeof(*values));
    free(values);
    return err;
}

static long set_all(struct task *task, int id, uaddr_t buf)
{
    int count = sem_count_for_set(task, id), err;
    uint16_t *values;

    if (count < 0)
        return count;
    values = malloc((size_t)count * sizeof(*values));
    if (!values)
        return -ENOMEM;
    err = copy_from_user(task->mm, values, buf, (size_t)count * sizeof(*values));
    if (err == 0)
        err = sem_set_all(task, id, values, (unsigned)count);
    free(values);
    return err;
}

SYSCALL_DEFINE4(semctl, int, id, int, number, int, cmd, uint64_t, arg)
{
    struct semid_ds ds;

    if (id < 0)
        return -EINVAL;
    switch (cmd) {
    case IPC_INFO:
    case SEM_INFO:
        return info_to_user(task, cmd == SEM_INFO, arg);
    case IPC_STAT:
        return stat_to_user(task, id, IPC_BY_ID, arg);
    case SEM_STAT:
        return stat_to_user(task, id, IPC_BY_SLOT, arg);
    case SEM_STAT_ANY:
        return stat_to_user(task, id, IPC_BY_SLOT_ANY, arg);
    case GETALL:
        return get_all(task, id, arg);
    case SETALL:
        return set_all(task, id, arg);
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
        return sem_get_number(task, id, number, cmd);
    case SETVAL:
        return sem_set_value(task, id, number, (int)arg);
    case IPC_SET:
        if (copy_struct_from_user(task->mm, &ds, arg) < 0)
            return -EFAULT;
        return sem_set(task, id, &ds);
    case IPC_RMID:
        return sem_remove(task, id);
    default:
        return -EINVAL;
    }
}
