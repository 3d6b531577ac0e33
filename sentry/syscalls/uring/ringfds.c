/*
 * Registered rings: a thread's own small table of rings, which it names by number instead of by
 * descriptor (io_uring/tctx.c of Linux). They stay registered when the descriptor is closed, until
 * the thread executes another program or ends.
 */
#include <errno.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/uring.h"

#define ANY_SLOT UINT32_MAX

/* struct io_uring_rsrc_update: here `data` is a descriptor, `offset` the number or ANY_SLOT. */
struct ring_update {
    uint32_t offset, resv;
    uint64_t data;
};
static_assert(sizeof(struct ring_update) == 16, "struct io_uring_rsrc_update");

int uring_file(struct task *task, uint32_t fd, bool registered, struct file **ret)
{
    struct file *file;

    if (!registered) {
        file = task_file(task, (int)fd);
    } else {
        if (fd >= TASK_REGISTERED_MAX)
            return -EINVAL;
        file = task->registered[fd] ? file_ref(task->registered[fd]) : NULL;
    }
    if (!file)
        return -EBADF;
    *ret = file;
    return 0;
}

static int add_ring(struct task *task, const struct ring_update *u)
{
    uint32_t first = u->offset, end = u->offset + 1;
    struct file *file;

    if (u->offset == ANY_SLOT) {
        first = 0;
        end = TASK_REGISTERED_MAX;
    } else if (u->offset >= TASK_REGISTERED_MAX) {
        return -EINVAL;
    }
    file = task_file(task, (int)u->data);
    if (!file)
        return -EBADF;
    for (uint32_t i = first; uring_is(file) && i < end; i++) {
        if (task->registered[i])
            continue;
        task->registered[i] = file;
        return (int)i;
    }
    first = uring_is(file);
    file_unref(file);
    return first ? -EBUSY : -EOPNOTSUPP;
}

int uring_keep_registered(struct task *task, struct file *file)
{
    for (int i = 0; i < TASK_REGISTERED_MAX; i++) {
        if (task->registered[i])
            continue;
        task->registered[i] = file_ref(file);
        return i;
    }
    return -EBUSY;
}

static int remove_ring(struct task *task, const struct ring_update *u)
{
    if (u->data || u->offset >= TASK_REGISTERED_MAX)
        return -EINVAL;
    task->registered[u->offset] = file_unref(task->registered[u->offset]);
    return 0;
}

int uring_register_rings(struct task *task, bool add, uaddr_t arg, uint32_t count)
{
    uint32_t done = 0;
    int err = 0;

    if (count == 0 || count > TASK_REGISTERED_MAX)
        return -EINVAL;
    for (; done < count; done++, arg += sizeof(struct ring_update)) {
        struct ring_update u;

        if (copy_struct_from_user(task->mm, &u, arg) < 0)
            err = -EFAULT;
        else if (u.resv)
            err = -EINVAL;
        else
            err = add ? add_ring(task, &u) : remove_ring(task, &u);
        if (err < 0)
            break;
        u.offset = (uint32_t)err;
        if (add && copy_struct_to_user(task->mm, arg, &u) < 0) {
            task->registered[u.offset] = file_unref(task->registered[u.offset]);
            err = -EFAULT;
            break;
        }
    }
    return done ? (int)done : err;
}
