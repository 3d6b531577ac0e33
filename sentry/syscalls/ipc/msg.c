/* System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2). */
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/ipc/msg.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

static_assert(sizeof(struct msqid_ds) == 120, "msqid64_ds");
static_assert(sizeof(struct msginfo) == 32, "IPC_INFO");

SYSCALL_DEFINE2(msgget, int, key, int, flags)
{
    return msg_get(task, key, flags);
}

/* struct msgbuf: a long, the type, and the text behind it. */
SYSCALL_DEFINE4(msgsnd, int, id, uaddr_t, buf, uint64_t, size, int, flags)
{
    struct msg *msg;
    int64_t type;
    int err;

    if (copy_struct_from_user(task->mm, &type, buf) < 0)
        return -EFAULT;
    if (size > ipc_limit(&task_ipc_ns(task)->limits.msg_size) || id < 0 || type < 1)
        return -EINVAL;
    msg = msg_alloc(size);
    if (!msg)
        return -ENOMEM;
    msg->type = type;
    err = copy_from_user(task->mm, msg->text, buf + sizeof(type), size);
    if (err == 0)
        err = msg_send(task, id, msg, flags);
    if (err < 0)
        free(msg);
    return err;
}

SYSCALL_DEFINE5(msgrcv, int, id, uaddr_t, buf, uint64_t, size, int64_t, type, int, flags)
{
    struct msg *msg;
    long result;

    if (id < 0 || size > INT64_MAX)
        return -EINVAL;
    if ((flags & MSG_COPY) && ((flags & MSG_EXCEPT) || !(flags & IPC_NOWAIT)))
        return -EINVAL;
    result = msg_receive(task, id, size, type, flags, &msg);
    if (result < 0)
        return result;
    result = (long)MIN(size, (uint64_t)msg->size);
    if (copy_struct_to_user(task->mm, buf, &msg->type) < 0 ||
        copy_to_user(task->mm, buf + sizeof(msg->type), msg->text, (size_t)result) < 0)
        result = -EFAULT;
    free(msg);
    return result;
}

static long stat_to_user(struct task *task, int id, enum ipc_stat_by by, uaddr_t buf)
{
    struct msqid_ds ds;
    int result = msg_stat(task, id, by, &ds);

    if (result >= 0 && copy_struct_to_user(task->mm, buf, &ds) < 0)
        return -EFAULT;
    return result >= 0 && by == IPC_BY_ID ? 0 : result;
}

SYSCALL_DEFINE3(msgctl, int, id, int, cmd, uaddr_t, buf)
{
    struct msginfo info;
    struct msqid_ds ds;
    int max;

    if (id < 0 || cmd < 0)
        return -EINVAL;
    switch (cmd) {
    case IPC_INFO:
    case MSG_INFO:
        max = msg_get_info(task, cmd == MSG_INFO, &info);
        return copy_struct_to_user(task->mm, buf, &info) < 0 ? -EFAULT : max;
    case IPC_STAT:
        return stat_to_user(task, id, IPC_BY_ID, buf);
    case MSG_STAT:
        return stat_to_user(task, id, IPC_BY_SLOT, buf);
    case MSG_STAT_ANY:
        return stat_to_user(task, id, IPC_BY_SLOT_ANY, buf);
    case IPC_SET:
        if (copy_struct_from_user(task->mm, &ds, buf) < 0)
            return -EFAULT;
        return msg_set(task, id, &ds);
    case IPC_RMID:
        return msg_remove(task, id);
    default:
        return -EINVAL;
    }
}
