/*
 * Processes that use a ring: who made it, and after a fork, or when the descriptor was passed on,
 * others. When one of them ends, its own requests end with it, and the ring goes on for the rest.
 *
 * A user has two references: of the ring's list, and of its process's. Each is dropped by whoever
 * takes the user out of that list.
 */
#include <errno.h>
#include <stdlib.h>

#include "host/clock.h"
#include "sentry/kernel/process.h"
#include "sentry/syscalls/uring/uring.h"

struct uring_user {
    refcount_t refs;
    struct list node; /* in ring->users, under ring->lock */
    struct process_async async;
    struct process *process; /* owned reference */
    struct uring *ring;      /* owned reference */
};

static void user_unref(struct uring_user *user)
{
    if (!refcount_put(&user->refs))
        return;
    process_unref(user->process);
    uring_unref(user->ring);
    free(user);
}

static bool leave_ring(struct uring_user *user)
{
    bool was_there;

    lock_acquire(&user->ring->lock);
    was_there = !list_empty(&user->node);
    list_del_init(&user->node);
    lock_release(&user->ring->lock);
    return was_there;
}

static bool has_requests(struct uring *ring, const struct process *process)
{
    struct uring_req *req;
    bool found = false;

    lock_acquire(&ring->lock);
    list_for_each (req, &ring->live, live)
        found |= req->owner == process;
    lock_release(&ring->lock);
    return found;
}

/*
 * What works for the process has its files and its memory, and lets them go before the process
 * does; but a thread that the host keeps is not waited for much longer than a second.
 */
static void user_ends(struct process_async *async)
{
    struct uring_user *user = container_of(async, struct uring_user, async);
    struct waiter waiter;

    uring_cancel_all(user->ring, user->process);
    waiter_init(&waiter);
    for (int i = 0; i < 1000 && has_requests(user->ring, user->process); i++)
        waiter_park(&waiter, host_monotonic_ns() + 1000000);
    if (leave_ring(user))
        user_unref(user);
    user_unref(user);
}

static bool is_user(struct uring *ring, const struct process *process)
{
    struct uring_user *user;
    bool found = false;

    lock_acquire(&ring->lock);
    list_for_each (user, &ring->users, node)
        found |= user->process == process;
    lock_release(&ring->lock);
    return found;
}

int uring_use(struct uring *ring, struct task *task)
{
    struct uring_user *user;

    if (is_user(ring, task->process))
        return 0;
    user = calloc(1, sizeof(*user));
    if (!user)
        return -ENOMEM;
    refcount_set(&user->refs, 2);
    user->async.end = user_ends;
    user->process = process_ref(task->process);
    user->ring = uring_ref(ring);
    lock_acquire(&ring->lock);
    list_add_tail(&ring->users, &user->node);
    lock_release(&ring->lock);
    process_async_add(task->process, &user->async);
    return 0;
}

void uring_drop_users(struct uring *ring)
{
    lock_acquire(&ring->lock);
    while (!list_empty(&ring->users)) {
        struct uring_user *user = list_first(&ring->users, struct uring_user, node);

        list_del_init(&user->node);
        lock_release(&ring->lock);
        if (process_async_remove(user->process, &user->async))
            user_unref(user);
        user_unref(user);
        lock_acquire(&ring->lock);
    }
    lock_release(&ring->lock);
}
