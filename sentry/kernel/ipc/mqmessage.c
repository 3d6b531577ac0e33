/*
 * Sending, receiving and telling. A message that finds a receiver waiting goes straight to it, and
 * a sender that waits for room puts its message in as soon as there is some: nobody who comes later
 * gets in between. How they sleep: ipc.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ipc/mqueue.h"
#include "sentry/kernel/process.h"
#include "sentry/net/netlink/netlink.h"
#include "sentry/vfs/file.h"

/* In all queues of a namespace: bounds what programs can make the Sentry keep. */
#define QUEUED_MAX (64UL << 20)

struct mq_sleeper {
    struct ipc_sleeper sleep;
    struct mq_msg *msg; /* a sender's, or what a receiver was given */
};

size_t mq_message_size(struct file *file)
{
    return (size_t)mqueue_of(file)->max_size;
}

static uint64_t cost(const struct mq_msg *msg)
{
    return sizeof(*msg) + msg->size;
}

void mq_free_messages(struct mqueue *q)
{
    struct mq_msg *msg, *next;

    list_for_each_safe (msg, next, &q->messages, node) {
        __atomic_sub_fetch(&q->ns->mqueues.queued_bytes, cost(msg), __ATOMIC_RELAXED);
        free(msg);
    }
    list_init(&q->messages);
}

static void insert_locked(struct mqueue *q, struct mq_msg *msg)
{
    struct list *after = q->messages.prev;

    while (after != &q->messages &&
           list_entry(after, struct mq_msg, node)->priority < msg->priority)
        after = after->prev;
    list_insert_between(&msg->node, after, after->next);
    q->count++;
    q->bytes += (long)msg->size;
    __atomic_add_fetch(&q->ns->mqueues.queued_bytes, cost(msg), __ATOMIC_RELAXED);
}

static struct mq_msg *take_locked(struct mqueue *q)
{
    struct mq_msg *msg = list_first(&q->messages, struct mq_msg, node);

    list_del_init(&msg->node);
    q->count--;
    q->bytes -= (long)msg->size;
    __atomic_sub_fetch(&q->ns->mqueues.queued_bytes, cost(msg), __ATOMIC_RELAXED);
    return msg;
}

/* ---- sleeping ----------------------------------------------------------------------------- */

static struct mq_sleeper *first_sleeper(struct list *sleepers)
{
    return list_empty(sleepers) ? NULL : list_first(sleepers, struct mq_sleeper, sleep.node);
}

/* ---- mq_notify ---------------------------------------------------------------------------- */

/* Whom to tell, once the queue's lock is released. */
struct notice {
    struct mq_registration to;
    siginfo_t info;
};

struct mq_registration mq_unregister_locked(struct mqueue *q)
{
    struct mq_registration was = {q->owner, q->cookie};

    q->owner = NULL;
    q->cookie.socket = NULL;
    return was;
}

void mq_tell(struct mq_registration *registration, uint8_t why)
{
    struct mq_cookie *cookie = &registration->cookie;

    if (cookie->socket) {
        cookie->bytes[MQ_COOKIE_SIZE - 1] = why;
        netlink_deliver(socket_of(cookie->socket), cookie->bytes, MQ_COOKIE_SIZE);
    }
    cookie->socket = file_unref(cookie->socket);
    registration->owner = process_unref(registration->owner);
}

/* A message has come into an empty queue: the registration is used up. */
static void make_notice_locked(struct task *task, struct mqueue *q, struct notice *notice)
{
    if (!q->owner || q->count != 1)
        return;
    if (q->event.sigev_notify == SIGEV_SIGNAL && q->event.sigev_signo) {
        notice->info.si_signo = q->event.sigev_signo;
        notice->info.si_code = SI_MESGQ;
        notice->info.si_value = q->event.sigev_value;
        notice->info.si_pid = task->process->pid;
        notice->info.si_uid = task->cred->uid;
    }
    notice->to = mq_unregister_locked(q);
}

static void give_notice(struct notice *notice)
{
    if (notice->info.si_signo)
        signal_send_process(notice->to.owner, notice->info.si_signo, &notice->info);
    mq_tell(&notice->to, MQ_COOKIE_WOKEN);
}

int mq_register(struct task *task, struct file *file, const struct sigevent *event,
                const struct mq_cookie *cookie)
{
    struct mqueue *q = mqueue_of(file);
    struct mq_registration old = {0};
    int err = 0;

    lock_acquire(&q->lock);
    if (!event) {
        if (q->owner == task->process)
            old = mq_unregister_locked(q);
    } else if (q->owner) {
        err = -EBUSY;
    } else {
        q->owner = process_ref(task->process);
        q->event = *event;
        q->cookie = *cookie;
        q->owner_uid = task->cred->uid;
    }
    lock_release(&q->lock);
    mq_tell(&old, MQ_COOKIE_REMOVED);
    return err;
}

/* ---- mq_timedsend, mq_timedreceive -------------------------------------------------------- */

static bool is_nonblocking(const struct file *file)
{
    return __atomic_load_n(&file->flags, __ATOMIC_RELAXED) & O_NONBLOCK;
}

/* 0: sent, IPC_ASLEEP: on the list of those that wait. */
static int send_locked(struct task *task, struct file *file, struct mqueue *q,
                       struct mq_sleeper *self, struct notice *notice)
{
    struct mq_sleeper *receiver = first_sleeper(&q->receivers);

    if (__atomic_load_n(&q->ns->mqueues.queued_bytes, __ATOMIC_RELAXED) + cost(self->msg) >
        QUEUED_MAX)
        return -ENOMEM;
    if (q->count == q->max_messages) {
        if (is_nonblocking(file))
            return -EAGAIN;
        ipc_sleep_locked(&self->sleep, task, &q->senders);
        return IPC_ASLEEP;
    }
    if (receiver) {
        receiver->msg = self->msg;
        ipc_end_sleep_locked(&receiver->sleep, 0);
        return 0;
    }
    insert_locked(q, self->msg);
    make_notice_locked(task, q, notice);
    return 0;
}

int mq_send_msg(struct task *task, struct file *file, struct mq_msg *msg, uint64_t deadline_ns)
{
    struct mqueue *q = mqueue_of(file);
    struct mq_sleeper self = {.msg = msg};
    struct notice notice = {0};
    int err;

    lock_acquire(&q->lock);
    err = send_locked(task, file, q, &self, &notice);
    lock_release(&q->lock);
    if (err == IPC_ASLEEP)
        return ipc_sleep(&q->lock, &self.sleep, deadline_ns);
    give_notice(&notice);
    if (err == 0)
        wait_queue_wake(&q->poll_queue, POLLIN | POLLRDNORM);
    return err;
}

static int receive_locked(struct task *task, struct file *file, struct mqueue *q,
                          struct mq_sleeper *self, struct notice *notice)
{
    struct mq_sleeper *sender = first_sleeper(&q->senders);

    if (q->count == 0) {
        if (is_nonblocking(file))
            return -EAGAIN;
        ipc_sleep_locked(&self->sleep, task, &q->receivers);
        return IPC_ASLEEP;
    }
    self->msg = take_locked(q);
    if (sender) {
        insert_locked(q, sender->msg);
        make_notice_locked(sender->sleep.task, q, notice);
        ipc_end_sleep_locked(&sender->sleep, 0);
    }
    return 0;
}

int mq_receive_msg(struct task *task, struct file *file, uint64_t deadline_ns, struct mq_msg **ret)
{
    struct mqueue *q = mqueue_of(file);
    struct mq_sleeper self = {.msg = NULL};
    struct notice notice = {0};
    int err;

    lock_acquire(&q->lock);
    err = receive_locked(task, file, q, &self, &notice);
    lock_release(&q->lock);
    if (err == IPC_ASLEEP) {
        err = ipc_sleep(&q->lock, &self.sleep, deadline_ns);
    } else if (err == 0) {
        give_notice(&notice);
        wait_queue_wake(&q->poll_queue, POLLOUT | POLLWRNORM);
    }
    if (err == 0)
        *ret = self.msg;
    return err;
}

void mq_get_attr(struct file *file, struct mq_attr *ret)
{
    struct mqueue *q = mqueue_of(file);

    lock_acquire(&q->lock);
    *ret = (struct mq_attr){
        .mq_flags = is_nonblocking(file) ? O_NONBLOCK : 0,
        .mq_maxmsg = q->max_messages,
        .mq_msgsize = q->max_size,
        .mq_curmsgs = q->count,
    };
    lock_release(&q->lock);
}
