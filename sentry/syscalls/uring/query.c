/* io_uring_register(2) without a ring: IORING_REGISTER_QUERY and IORING_REGISTER_SEND_MSG_RING. */
#include <errno.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/uring.h"

#define QUERIES_MAX 1000 /* in one list, which may be a circle */
#define CLEAR_STEP  (1UL << 20)

static const struct uring_query_ops known = {
    .request_ops = URING_OP_COUNT,
    .register_ops = URING_REGISTER_COUNT,
    .features = URING_FEATURES,
    .setup_flags = URING_SETUP_FLAGS,
    .enter_flags = URING_ENTER_FLAGS,
    .sqe_flags = SQE_FLAGS,
    .query_ops = 1,
};

/* Zeroes behind the answer: as many as the program has room for, which may be a lot. */
static int clear_rest(struct task *task, uaddr_t at, uint64_t size)
{
    int err = 0;

    while (size > 0 && !err) {
        uint64_t step = MIN(size, CLEAR_STEP);

        err = task_interrupted(task) ? -EINTR : clear_user(task->mm, at, step);
        at += step;
        size -= step;
    }
    return err;
}

/* `size`: the program's room, and what of it was filled. */
static int answer(struct task *task, struct uring_query *q)
{
    uint32_t room = q->size, size = MIN(room, (uint32_t)sizeof(known));
    uint8_t data[sizeof(known)];
    int err;

    /* That it can be read is asked for, too. */
    if (copy_from_user(task->mm, data, q->data, size) < 0)
        return -EFAULT;
    if (q->op != URING_QUERY_OPCODES)
        q->result = -EOPNOTSUPP;
    else if (q->resv[0] || q->resv[1] || q->resv[2] || q->result || !size)
        q->result = -EINVAL;
    q->size = q->result ? 0 : size;
    err = copy_to_user(task->mm, q->data, &known, q->size);
    if (!err)
        err = clear_rest(task, q->data + q->size, room - q->size);
    return err;
}

int uring_query(struct task *task, uaddr_t arg, uint32_t count)
{
    uint32_t done = 0;
    int err = 0;

    if (count)
        return -EINVAL;
    while (arg && !err) {
        struct uring_query q;

        if (copy_struct_from_user(task->mm, &q, arg) < 0)
            return -EFAULT;
        err = answer(task, &q);
        if (!err)
            err = copy_struct_to_user(task->mm, arg, &q);
        arg = q.next;
        if (!err && ++done >= QUERIES_MAX)
            err = -ERANGE;
    }
    return err;
}

int uring_send_message(struct task *task, uaddr_t arg, uint32_t count)
{
    struct uring_sqe sqe;
    struct file *file;
    int err;

    if (!arg || count != 1)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &sqe, arg) < 0)
        return -EFAULT;
    if (sqe.flags || sqe.opcode != URING_MSG_RING || sqe.buf_index || sqe.personality ||
        sqe.addr != URING_MSG_DATA)
        return -EINVAL;
    file = task_file(task, sqe.fd);
    if (!file)
        return -EBADF;
    err = uring_is(file) ? uring_msg_data(uring_of(file), &sqe) : -EBADFD;
    file_unref(file);
    return err;
}
