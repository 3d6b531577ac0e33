/* Wait queues: lists of entries, each with a wake function that runs under the queue's lock. */
#include "sentry/wait/wait.h"

void wait_queue_init(struct wait_queue *q)
{
    lock_init(&q->lock);
    list_init(&q->entries);
}

static void wake_waiter(struct wait_entry *entry, uint32_t events)
{
    waiter_wake(entry->waiter);
}

void wait_entry_init(struct wait_entry *e, struct waiter *w, uint32_t events)
{
    list_init(&e->node);
    e->events = events;
    e->wake = wake_waiter;
    e->wake_exclusive = NULL;
    e->waiter = w;
}

void wait_queue_add(struct wait_queue *q, struct wait_entry *e)
{
    lock_acquire(&q->lock);
    list_add_tail(&q->entries, &e->node);
    lock_release(&q->lock);
}

void wait_queue_remove(struct wait_queue *q, struct wait_entry *e)
{
    lock_acquire(&q->lock);
    list_del_init(&e->node);
    lock_release(&q->lock);
}

static bool interested(const struct wait_entry *e, uint32_t events)
{
    return !e->events || ((e->events | POLLERR | POLLHUP) & events);
}

/* Not told yet since it last came to wait. */
static bool sleeps(const struct wait_entry *e)
{
    return !e->waiter || !waiter_is_woken(e->waiter);
}

int wait_queue_wake(struct wait_queue *q, uint32_t events)
{
    struct wait_entry *e;
    bool exclusive = false;
    int woken = 0;

    /* Whoever is woken takes the lock to leave the queue: it should find it free. */
    waiter_hold_wakes();
    lock_acquire(&q->lock);
    list_for_each (e, &q->entries, node) {
        if (!interested(e, events))
            continue;
        if (e->wake_exclusive) {
            exclusive = true;
            continue;
        }
        woken += sleeps(e);
        e->wake(e, events);
    }
    if (exclusive) {
        list_for_each (e, &q->entries, node) {
            if (!e->wake_exclusive || !interested(e, events))
                continue;
            if (e->wake_exclusive(e, events)) {
                woken++;
                break;
            }
        }
    }
    lock_release(&q->lock);
    waiter_let_wakes();
    return woken;
}
