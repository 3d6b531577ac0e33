#include "sentry/fs/terminal.h"

static const struct terminal_kernel *kernel; /* set before the first task runs */

void terminal_init(struct terminal *t, const struct terminal_operations *ops)
{
    refcount_set(&t->refs, 1);
    t->ops = ops;
    t->device = 0;
    t->session = t->foreground = 0;
}

struct terminal *terminal_ref(struct terminal *t)
{
    refcount_get(&t->refs);
    return t;
}

struct terminal *terminal_unref(struct terminal *t)
{
    if (t && refcount_put(&t->refs))
        t->ops->release(t);
    return NULL;
}

void terminals_connect(const struct terminal_kernel *k)
{
    kernel = k;
}

struct terminal *terminal_current(void)
{
    return kernel ? kernel->current() : NULL;
}

void terminal_signal(struct terminal *t, int signo)
{
    if (kernel)
        kernel->signal(t, signo);
}

void terminal_hangup(struct terminal *t)
{
    if (kernel)
        kernel->hangup(t);
}

void terminal_owner(uint32_t *ret_uid, uint32_t *ret_gid)
{
    *ret_uid = *ret_gid = 0;
    if (kernel)
        kernel->owner(ret_uid, ret_gid);
}
