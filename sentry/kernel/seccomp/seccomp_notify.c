/*
 * seccomp_unotify(2), the side that asks: a call that a filter hands to a listener waits for its
 * answer. The other side is in seccomp_listener.c.
 *
 *   asked --RECV--> received --SEND, or the listener goes--> answered
 *
 * A question lives on the stack of the thread that asks, which takes it off the list before it
 * leaves, so whoever finds it in the list under notify->lock may use it as long as it holds that.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/seccomp/seccomp_internal.h"

void seccomp_notify_destroy(struct seccomp_notify *notify)
{
    if (!refcount_put(&notify->refs))
        return;
    lock_destroy(&notify->lock);
    free(notify);
}

void seccomp_notify_orphan(struct seccomp_notify *notify)
{
    lock_acquire(&notify->lock);
    notify->orphan = true;
    lock_release(&notify->lock);
    wait_queue_wake(&notify->queue, POLLHUP);
}

/* Sleeps until there is an answer: 0, or -ERESTARTSYS. */
static int wait_for_answer(struct task *task, struct seccomp_notify *notify, struct question *q,
                           bool killable)
{
    for (;;) {
        int error = task_block(task, UINT64_MAX);
        enum question_state state;

        lock_acquire(&notify->lock);
        state = q->state;
        lock_release(&notify->lock);
        if (state == ANSWERED)
            return 0;
        if (error == 0)
            continue;
        if (!killable || state != RECEIVED || task_is_leaving(task))
            return error;
        task_ignore_signals(task);
    }
}

bool seccomp_notify_ask(struct task *task, struct seccomp_filter *filter,
                        const struct seccomp_data *data)
{
    struct seccomp_notify *notify = filter->notify;
    struct question q = {.task = task, .data = *data};
    int error = 0;

    list_init(&q.node);
    waiter_reset(&task->waiter);
    lock_acquire(&notify->lock);
    if (!notify->listening)
        error = -ENOSYS;
    q.id = ++notify->last_id;
    if (error == 0)
        list_add_tail(&notify->questions, &q.node);
    lock_release(&notify->lock);
    if (error == 0) {
        wait_queue_wake(&notify->queue, POLLIN | POLLRDNORM);
        error = wait_for_answer(task, notify, &q, filter->wait_killable);
        task_heed_signals(task);
    }
    lock_acquire(&notify->lock);
    list_del_init(&q.node);
    if (q.state == ANSWERED)
        error = 0;
    lock_release(&notify->lock);
    if (error < 0) {
        task->ctx->regs.rax = (uint64_t)(int64_t)error;
        task->restart_due = error == -ERESTARTSYS;
        return false;
    }
    if (q.answer.flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        return true;
    task->ctx->regs.rax = (uint64_t)(q.answer.error ? q.answer.error : q.answer.val);
    return false;
}

struct question *seccomp_question_locked(struct seccomp_notify *notify, uint64_t id)
{
    struct question *q;

    list_for_each (q, &notify->questions, node) {
        if (q->id == id)
            return q;
    }
    return NULL;
}

struct question *seccomp_question_in_locked(struct seccomp_notify *notify,
                                            enum question_state state)
{
    struct question *q;

    list_for_each (q, &notify->questions, node) {
        if (q->state == state)
            return q;
    }
    return NULL;
}

void seccomp_answer_locked(struct question *q, const struct seccomp_notif_resp *answer)
{
    q->answer = *answer;
    q->state = ANSWERED;
    waiter_wake(&q->task->waiter);
}
