/* System V message queues: msgget(2), msgop(2), msgctl(2). */
#ifndef SENTRY_KERNEL_MSG_H
#define SENTRY_KERNEL_MSG_H

#include <sys/msg.h>

#include "base/list.h"
#include "sentry/kernel/ipc/ipc.h"

#define MSG_MAX_SIZE  8192  /* msgmax: bytes of one message */
#define MSG_MAX_QUEUE 16384 /* msgmnb: bytes in one queue, unless its owner may more */
#define MSG_MAX_COUNT 32000 /* msgmni: queues */

struct msg {
    struct list node;
    int64_t type;
    size_t size;
    char text[];
};
/* NULL without memory, or when too much waits in the namespace's queues. */
struct msg *msg_alloc(size_t size);

int msg_get(struct task *task, int32_t key, int flags);
/*
 * Takes the message over unless it fails. -EINVAL, -EACCES, -EAGAIN, -EIDRM, -ENOMEM,
 * -ERESTARTNOHAND.
 */
int msg_send(struct task *task, int id, struct msg *msg, int flags);
/*
 * A message for the caller to free. `room` in bytes. -E2BIG, -EACCES, -EIDRM, -EINVAL, -ENOMSG,
 * -ENOMEM, -ERESTARTNOHAND.
 */
int msg_receive(struct task *task, int id, size_t room, int64_t type, int flags, struct msg **ret);

int msg_stat(struct task *task, int id, enum ipc_stat_by by, struct msqid_ds *ret);
int msg_set(struct task *task, int id, const struct msqid_ds *ds);
int msg_remove(struct task *task, int id);
/* Limits, or with `usage` what is there now; gives the highest slot in use. */
int msg_get_info(struct task *task, bool usage, struct msginfo *ret);
void msg_destroy_all(struct ipc_ns *ns);

#endif
