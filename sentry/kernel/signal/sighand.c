/* Tables of signal actions, shared by tasks made with CLONE_SIGHAND. */
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/signal/signal.h"

struct sighand *sighand_create(void)
{
    struct sighand *sighand = calloc(1, sizeof(*sighand));

    if (!sighand)
        return NULL;
    refcount_set(&sighand->refs, 1);
    lock_init(&sighand->lock);
    return sighand;
}

struct sighand *sighand_copy(struct sighand *old)
{
    struct sighand *sighand = sighand_create();

    if (!sighand)
        return NULL;
    lock_acquire(&old->lock);
    memcpy(sighand->actions, old->actions, sizeof(sighand->actions));
    lock_release(&old->lock);
    return sighand;
}

struct sighand *sighand_ref(struct sighand *sighand)
{
    refcount_get(&sighand->refs);
    return sighand;
}

struct sighand *sighand_unref(struct sighand *sighand)
{
    if (sighand && refcount_put(&sighand->refs)) {
        lock_destroy(&sighand->lock);
        free(sighand);
    }
    return NULL;
}

void sighand_reset_handlers(struct sighand *sighand)
{
    lock_acquire(&sighand->lock);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        struct linux_sigaction *action = &sighand->actions[i];
        uaddr_t kept = action->handler == (uaddr_t)SIG_IGN ? (uaddr_t)SIG_IGN : (uaddr_t)SIG_DFL;

        *action = (struct linux_sigaction){.handler = kept};
    }
    lock_release(&sighand->lock);
}
