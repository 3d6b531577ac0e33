/* System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2). */
#include "sentry/kernel/ipc/shm.h"

#include <errno.h>

#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

static_assert(sizeof(struct shmid_ds) == 112, "shmid64_ds");
static_assert(sizeof(struct shminfo) == 72 && sizeof(struct shm_info) == 48, "IPC_INFO, SHM_INFO");

SYSCALL_DEFINE3(shmget, int, key, uint64_t, size, int, flags)
{
    return shm_get(task, key, size, flags);
}

SYSCALL_DEFINE3(shmat, int, id, uaddr_t, addr, int, flags)
{
    uaddr_t mapped;
    int err = shm_attach(task, id, addr, flags, &mapped);

    return err < 0 ? err : (long)mapped;
}

SYSCALL_DEFINE1(shmdt, uaddr_t, addr)
{
    return shm_detach(task, addr);
}

static long stat_to_user(struct task *task, int id, enum ipc_stat_by by, uaddr_t buf)
{
    struct shmid_ds ds;
    int result = shm_stat(task, id, by, &ds, NULL);

    if (result >= 0 && copy_struct_to_user(task->mm, buf, &ds) < 0)
        return -EFAULT;
    return result >= 0 && by == IPC_BY_ID ? 0 : result;
}

SYSCALL_DEFINE3(shmctl, int, id, int, cmd, uaddr_t, buf)
{
    struct shminfo limits;
    struct shm_info usage;
    struct shmid_ds ds;
    int result;

    if (id < 0 || cmd < 0)
        return -EINVAL;
    switch (cmd) {
    case IPC_INFO:
        result = shm_get_limits(task, &limits);
        return copy_struct_to_user(task->mm, buf, &limits) < 0 ? -EFAULT : result;
    case SHM_INFO:
        result = shm_get_usage(task, &usage);
        return copy_struct_to_user(task->mm, buf, &usage) < 0 ? -EFAULT : result;
    case IPC_STAT:
        return stat_to_user(task, id, IPC_BY_ID, buf);
    case SHM_STAT:
        return stat_to_user(task, id, IPC_BY_SLOT, buf);
    case SHM_STAT_ANY:
        return stat_to_user(task, id, IPC_BY_SLOT_ANY, buf);
    case IPC_SET:
        if (copy_struct_from_user(task->mm, &ds, buf) < 0)
            return -EFAULT;
        return shm_set(task, id, &ds);
    case IPC_RMID:
        return shm_remove(task, id);
    case SHM_LOCK:
    case SHM_UNLOCK:
        return shm_lock(task, id, cmd == SHM_LOCK);
    default:
        return -EINVAL;
    }
}
