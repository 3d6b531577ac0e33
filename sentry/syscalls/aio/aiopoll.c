/*
 * IOCB_CMD_POLL: the one operation of Linux aio that goes on after io_submit(2). It is finished
 * once, by an event or by a cancellation: whoever takes it out of ctx->polls, under ctx->lock.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/syscalls/aio/aio.h"
#include "sentry/vfs/file.h"

struct aio_poll {
    refcount_t refs; /* the list's, and one for each thread that looks */
    struct async_poll poll;
    struct list node;        /* in ctx->polls, under ctx->lock; empty: finished */
    struct aio_context *ctx; /* owned reference */
    struct file *notify;     /* owned; may be NULL */
    struct io_event event;
};

static struct aio_poll *of(struct async_poll *poll)
{
    return container_of(poll, struct aio_poll, poll);
}

static void poll_ref(struct async_poll *poll)
{
    refcount_get(&of(poll)->refs);
}

static void poll_unref(struct aio_poll *p)
{
    if (!refcount_put(&p->refs))
        return;
    async_poll_fini(&p->poll);
    file_unref(p->notify);
    aio_unref(p->ctx);
    free(p);
}

/* True for the one who is to finish it, and has the list's reference then. */
static bool claim(struct aio_poll *p)
{
    bool mine;

    lock_acquire(&p->ctx->lock);
    mine = !list_empty(&p->node);
    list_del_init(&p->node);
    lock_release(&p->ctx->lock);
    return mine;
}

static void finish(struct aio_poll *p, uint32_t events)
{
    async_poll_stop(&p->poll);
    p->event.res = events;
    aio_complete(p->ctx, &p->event, p->notify);
    poll_unref(p);
}

/* On a thread of the pool: something happened to the file. */
static void poll_ready(struct async_poll *poll)
{
    struct aio_poll *p = of(poll);
    uint32_t events = async_poll_look(poll);

    if (events && claim(p))
        finish(p, events);
    poll_unref(p);
}

int aio_poll_submit(struct aio_context *ctx, struct file *file, uint32_t events,
                    const struct io_event *event, struct file *notify)
{
    struct aio_poll *p = calloc(1, sizeof(*p));
    uint32_t now;

    if (!p)
        return -ENOMEM;
    refcount_set(&p->refs, 2); /* the list's and this function's */
    refcount_get(&ctx->refs);
    p->ctx = ctx;
    p->notify = notify ? file_ref(notify) : NULL;
    p->event = *event;
    async_poll_init(&p->poll, file, events);
    p->poll.ref = poll_ref;
    p->poll.ready = poll_ready;
    now = async_poll_start(&p->poll);
    lock_acquire(&ctx->lock);
    list_add_tail(&ctx->polls, &p->node);
    lock_release(&ctx->lock);
    /* What came before it was in the list was not finished by poll_ready(). */
    if (!now)
        now = async_poll_look(&p->poll);
    if (now && claim(p))
        finish(p, now);
    poll_unref(p);
    return 0;
}

int aio_poll_cancel(struct aio_context *ctx, uaddr_t iocb)
{
    struct aio_poll *p, *found = NULL;

    lock_acquire(&ctx->lock);
    list_for_each (p, &ctx->polls, node) {
        if (p->event.obj == iocb) {
            found = p;
            list_del_init(&p->node);
            break;
        }
    }
    lock_release(&ctx->lock);
    if (!found)
        return -EINVAL;
    finish(found, 0);
    return -EINPROGRESS;
}

void aio_poll_cancel_all(struct aio_context *ctx)
{
    lock_acquire(&ctx->lock);
    while (!list_empty(&ctx->polls)) {
        struct aio_poll *p = list_first(&ctx->polls, struct aio_poll, node);

        list_del_init(&p->node);
        lock_release(&ctx->lock);
        finish(p, 0);
        lock_acquire(&ctx->lock);
    }
    lock_release(&ctx->lock);
}
