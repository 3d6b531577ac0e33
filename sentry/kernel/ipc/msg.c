/*
 * A queue has messages, or tasks that wait for some, or tasks that wait for room. A message goes
 * straight to the receiver that has waited longest for such a one (Linux pipelined_send()), so a
 * receiver that comes later cannot take it away.
 */
#include "sentry/kernel/ipc/msg.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"

/* All messages of a namespace, with their heads: bounds what programs can make the Sentry keep. */
#define MSG_MAX_TOTAL (64UL << 20)

struct msg_queue {
    struct ipc_object ipc;
    struct list messages;           /* struct msg, oldest first */
    struct list receivers, senders; /* struct msg_sleeper, likewise */
    uint64_t bytes, count, max_bytes;
    int32_t last_sender, last_receiver;
    int64_t send_time, receive_time, change_time;
};

enum msg_match { MATCH_ANY, MATCH_EQUAL, MATCH_OTHER, MATCH_UP_TO, MATCH_INDEX };

struct msg_wish {
    enum msg_match match;
    int64_t type;
    size_t room;
    int flags;
};

struct msg_sleeper {
    struct ipc_sleeper sleep;
    const struct msg_wish *wish; /* receivers */
    struct msg *msg;             /* what a receiver was given */
};

static struct ipc_table *table_of(struct ipc_ns *ns)
{
    return &ns->tables[IPC_KIND_MSG];
}

static struct msg_queue *queue_of(struct ipc_object *object)
{
    return object ? container_of(object, struct msg_queue, ipc) : NULL;
}

struct msg *msg_alloc(size_t size)
{
    struct msg *msg = malloc(sizeof(*msg) + size);

    if (msg) {
        list_init(&msg->node);
        msg->size = size;
    }
    return msg;
}

/* ---- sleeping ----------------------------------------------------------------------------- */

static void end_all(struct list *sleepers, int result)
{
    struct msg_sleeper *s, *next;

    list_for_each_safe (s, next, sleepers, sleep.node)
        ipc_end_sleep_locked(&s->sleep, result);
}

static int sleep_on(struct lock *lock, struct msg_sleeper *s)
{
    int err = ipc_sleep(lock, &s->sleep, UINT64_MAX);

    return err == -ERESTARTSYS ? -ERESTARTNOHAND : err;
}

/* ---- msgget ------------------------------------------------------------------------------- */

static int create(struct task *task, const struct ipc_request *request, struct ipc_object **ret)
{
    struct msg_queue *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    list_init(&q->messages);
    list_init(&q->receivers);
    list_init(&q->senders);
    q->max_bytes = ipc_limit(&task_ipc_ns(task)->limits.msg_queue_bytes);
    q->change_time = ipc_seconds();
    *ret = &q->ipc;
    return 0;
}

static void discard(struct ipc_ns *ns, struct ipc_object *object)
{
    free(queue_of(object));
}

int msg_get(struct task *task, int32_t key, int flags)
{
    const struct ipc_request request = {
        .key = key,
        .flags = flags,
        .max_count = (int32_t)ipc_limit(&task_ipc_ns(task)->limits.msg_count),
        .create = create,
        .discard = discard,
    };

    return ipc_get(task, IPC_KIND_MSG, &request);
}

/* ---- msgsnd ------------------------------------------------------------------------------- */

static bool matches(const struct msg *msg, const struct msg_wish *wish)
{
    switch (wish->match) {
    case MATCH_EQUAL:
        return msg->type == wish->type;
    case MATCH_OTHER:
        return msg->type != wish->type;
    case MATCH_UP_TO:
        return msg->type <= wish->type;
    default:
        return true;
    }
}

/* To a receiver that waits for it. One for whom it is too long wakes with E2BIG. */
static bool hand_over(struct msg_queue *q, struct msg *msg)
{
    struct msg_sleeper *s, *next;

    list_for_each_safe (s, next, &q->receivers, sleep.node) {
        if (!matches(msg, s->wish))
            continue;
        if (msg->size > s->wish->room && !(s->wish->flags & MSG_NOERROR)) {
            ipc_end_sleep_locked(&s->sleep, -E2BIG);
            continue;
        }
        q->last_receiver = s->sleep.task->process->pid;
        q->receive_time = ipc_seconds();
        s->msg = msg;
        ipc_end_sleep_locked(&s->sleep, 0);
        return true;
    }
    return false;
}

static bool has_room(const struct msg_queue *q, const struct msg *msg)
{
    return q->bytes + msg->size <= q->max_bytes && q->count + 1 <= q->max_bytes;
}

static int put(struct task *task, struct ipc_ns *ns, struct msg_queue *q, struct msg *msg)
{
    if (ns->msg_bytes + (ns->msg_count + 1) * sizeof(*msg) + msg->size > MSG_MAX_TOTAL)
        return -ENOMEM;
    q->last_sender = task->process->pid;
    q->send_time = ipc_seconds();
    if (hand_over(q, msg))
        return 0;
    list_add_tail(&q->messages, &msg->node);
    q->bytes += msg->size;
    q->count++;
    ns->msg_bytes += msg->size;
    ns->msg_count++;
    return 0;
}

int msg_send(struct task *task, int id, struct msg *msg, int flags)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct lock *lock = &table_of(ns)->lock;
    struct msg_queue *q;
    int err;

    lock_acquire(lock);
    q = queue_of(ipc_find(table_of(ns), id));
    err = q ? 0 : -EINVAL;
    while (err == 0) {
        struct msg_sleeper s;

        if (!ipc_permits(task, &q->ipc, 0222))
            err = -EACCES;
        else if (!has_room(q, msg) && (flags & IPC_NOWAIT))
            err = -EAGAIN;
        else if (has_room(q, msg))
            err = 1;
        if (err != 0)
            break;
        ipc_sleep_locked(&s.sleep, task, &q->senders);
        lock_release(lock);
        err = sleep_on(lock, &s); /* EIDRM: the queue has gone */
        lock_acquire(lock);
        if (err == 0) {
            q = queue_of(ipc_find(table_of(ns), id));
            err = q ? 0 : -EIDRM;
        }
    }
    if (err > 0)
        err = put(task, ns, q, msg);
    lock_release(lock);
    return err;
}

/* ---- msgrcv ------------------------------------------------------------------------------- */

static struct msg_wish make_wish(size_t room, int64_t type, int flags)
{
    struct msg_wish wish = {.match = MATCH_EQUAL, .type = type, .room = room, .flags = flags};

    if (flags & MSG_COPY) {
        wish.match = MATCH_INDEX;
    } else if (type == 0) {
        wish.match = MATCH_ANY;
    } else if (type < 0) {
        wish.match = MATCH_UP_TO;
        wish.type = type == INT64_MIN ? INT64_MAX : -type;
    } else if (flags & MSG_EXCEPT) {
        wish.match = MATCH_OTHER;
    }
    return wish;
}

static struct msg *find_msg(struct msg_queue *q, const struct msg_wish *wish)
{
    struct msg *msg, *best = NULL;
    int64_t index = 0;

    list_for_each (msg, &q->messages, node) {
        if (!matches(msg, wish))
            continue;
        if (wish->match == MATCH_INDEX && index++ != wish->type)
            continue;
        if (wish->match != MATCH_UP_TO)
            return msg;
        if (!best || msg->type < best->type)
            best = msg;
    }
    return best;
}

static int copy_msg(const struct msg *msg, const struct msg_wish *wish, struct msg **ret)
{
    struct msg *copy;

    if (msg->size > wish->room)
        return -EINVAL;
    copy = msg_alloc(msg->size);
    if (!copy)
        return -ENOMEM;
    copy->type = msg->type;
    memcpy(copy->text, msg->text, msg->size);
    *ret = copy;
    return 0;
}

static int take(struct task *task, struct ipc_ns *ns, struct msg_queue *q,
                const struct msg_wish *wish, struct msg **ret)
{
    struct msg *msg = find_msg(q, wish);

    if (!msg)
        return -ENOMSG;
    if (msg->size > wish->room && !(wish->flags & MSG_NOERROR))
        return -E2BIG;
    if (wish->match == MATCH_INDEX)
        return copy_msg(msg, wish, ret);
    list_del_init(&msg->node);
    q->bytes -= msg->size;
    q->count--;
    ns->msg_bytes -= msg->size;
    ns->msg_count--;
    q->last_receiver = task->process->pid;
    q->receive_time = ipc_seconds();
    end_all(&q->senders, 0);
    *ret = msg;
    return 0;
}

int msg_receive(struct task *task, int id, size_t room, int64_t type, int flags, struct msg **ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct lock *lock = &table_of(ns)->lock;
    const struct msg_wish wish = make_wish(room, type, flags);
    struct msg_sleeper s;
    struct msg_queue *q;
    int err = 0;

    do {
        s = (struct msg_sleeper){.wish = &wish};
        lock_acquire(lock);
        q = queue_of(ipc_find(table_of(ns), id));
        if (!q)
            err = err ? -EIDRM : -EINVAL;
        else if (!ipc_permits(task, &q->ipc, 0444))
            err = -EACCES;
        else
            err = take(task, ns, q, &wish, ret);
        if (err != -ENOMSG || (flags & IPC_NOWAIT)) {
            lock_release(lock);
            return err;
        }
        ipc_sleep_locked(&s.sleep, task, &q->receivers);
        lock_release(lock);
        err = sleep_on(lock, &s);
        /* Permissions have changed: look again. */
    } while (err == -EAGAIN);
    *ret = s.msg;
    return err;
}

/* ---- msgctl ------------------------------------------------------------------------------- */

static void fill(struct ipc_object *object, void *arg)
{
    const struct msg_queue *q = container_of(object, struct msg_queue, ipc);
    struct msqid_ds *ret = arg;

    *ret = (struct msqid_ds){
        .msg_stime = q->send_time,
        .msg_rtime = q->receive_time,
        .msg_ctime = q->change_time,
        .__msg_cbytes = q->bytes,
        .msg_qnum = q->count,
        .msg_qbytes = q->max_bytes,
        .msg_lspid = task_shown_pid(task_current(), q->last_sender),
        .msg_lrpid = task_shown_pid(task_current(), q->last_receiver),
    };
    ipc_get_perm(object, &ret->msg_perm);
}

int msg_stat(struct task *task, int id, enum ipc_stat_by by, struct msqid_ds *ret)
{
    return ipc_stat(task, table_of(task_ipc_ns(task)), id, by, fill, ret);
}

static int set_locked(struct task *task, struct msg_queue *q, const struct msqid_ds *ds)
{
    int err;

    if (ds->msg_qbytes > ipc_limit(&task_ipc_ns(task)->limits.msg_queue_bytes) &&
        !task_has_ns_cap(task, task_ipc_ns(task)->ns.owner, CAP_SYS_RESOURCE))
        return -EPERM;
    err = ipc_set_perm(&q->ipc, &ds->msg_perm);
    if (err < 0)
        return err;
    q->max_bytes = ds->msg_qbytes;
    q->change_time = ipc_seconds();
    /* Who waits may not be allowed to any longer, or there is more room now. */
    end_all(&q->receivers, -EAGAIN);
    end_all(&q->senders, 0);
    return 0;
}

int msg_set(struct task *task, int id, const struct msqid_ds *ds)
{
    struct ipc_table *table = table_of(task_ipc_ns(task));
    struct ipc_object *object;
    int err;

    lock_acquire(&table->lock);
    err = ipc_find_owned(task, table, id, &object);
    if (err == 0)
        err = set_locked(task, queue_of(object), ds);
    lock_release(&table->lock);
    return err;
}

static void destroy_locked(struct ipc_ns *ns, struct msg_queue *q)
{
    struct msg *msg, *next;

    ipc_remove(table_of(ns), &q->ipc);
    end_all(&q->receivers, -EIDRM);
    end_all(&q->senders, -EIDRM);
    ns->msg_bytes -= q->bytes;
    ns->msg_count -= q->count;
    list_for_each_safe (msg, next, &q->messages, node)
        free(msg);
    free(q);
}

int msg_remove(struct task *task, int id)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct ipc_object *object;
    int err;

    lock_acquire(&table_of(ns)->lock);
    err = ipc_find_owned(task, table_of(ns), id, &object);
    if (err == 0)
        destroy_locked(ns, queue_of(object));
    lock_release(&table_of(ns)->lock);
    return err;
}

int msg_get_info(struct task *task, bool usage, struct msginfo *ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct ipc_table *table = table_of(ns);
    int queues = (int)ipc_limit(&ns->limits.msg_count), max;
    int queue_bytes = (int)ipc_limit(&ns->limits.msg_queue_bytes);

    lock_acquire(&table->lock);
    *ret = (struct msginfo){
        .msgpool = usage ? table->in_use : (int)((int64_t)queues * (queue_bytes / 1024)),
        .msgmap = usage ? (int)ns->msg_count : queue_bytes,
        .msgmax = (int)ipc_limit(&ns->limits.msg_size),
        .msgmnb = queue_bytes,
        .msgmni = queues,
        .msgssz = 16,
        .msgtql = usage ? (int)ns->msg_bytes : queue_bytes,
        .msgseg = 0xffff,
    };
    max = ipc_max_slot(table);
    lock_release(&table->lock);
    return max;
}

void msg_destroy_all(struct ipc_ns *ns)
{
    struct ipc_table *table = table_of(ns);

    lock_acquire(&table->lock);
    for (int slot = 0; slot < table->capacity; slot++) {
        if (table->slots[slot])
            destroy_locked(ns, queue_of(table->slots[slot]));
    }
    lock_release(&table->lock);
}
