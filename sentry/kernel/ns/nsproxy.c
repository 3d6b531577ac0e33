#include "sentry/kernel/ns/nsproxy.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/kernel/ns/userns.h"

struct ns_proxy *ns_proxy_create_initial(struct kernel *kernel)
{
    struct ns_proxy *proxy = calloc(1, sizeof(*proxy));

    if (!proxy)
        return NULL;
    refcount_set(&proxy->refs, 1);
    for (int type = 0; type < NS_TYPES; type++) {
        if (type != NS_USER)
            proxy->ns[type] = ns_ref(kernel->initial_ns[type]);
    }
    proxy->time_for_children = ns_ref(kernel->initial_ns[NS_TIME]);
    return proxy;
}

struct ns_proxy *ns_proxy_ref(struct ns_proxy *proxy)
{
    refcount_get(&proxy->refs);
    return proxy;
}

struct ns_proxy *ns_proxy_unref(struct ns_proxy *proxy)
{
    if (!proxy || !refcount_put(&proxy->refs))
        return NULL;
    for (int type = 0; type < NS_TYPES; type++)
        ns_unref(proxy->ns[type]);
    ns_unref(proxy->time_for_children);
    free(proxy);
    return NULL;
}

struct ns_proxy *ns_proxy_copy(const struct ns_proxy *old)
{
    struct ns_proxy *proxy = malloc(sizeof(*proxy));

    if (!proxy)
        return NULL;
    *proxy = *old;
    refcount_set(&proxy->refs, 1);
    for (int type = 0; type < NS_TYPES; type++) {
        if (proxy->ns[type])
            ns_ref(proxy->ns[type]);
    }
    ns_ref(proxy->time_for_children);
    return proxy;
}

void ns_proxy_set(struct ns_proxy *proxy, enum ns_type type, struct ns *ns)
{
    struct ns *old = proxy->ns[type];

    proxy->ns[type] = ns;
    ns_unref(old);
}

static void set_child_time(struct ns_proxy *proxy, struct ns *ns)
{
    struct ns *old = proxy->time_for_children;

    proxy->time_for_children = ns;
    ns_unref(old);
}

int ns_proxy_enter_time(struct ns_proxy **proxy)
{
    struct ns_proxy *own, *old = *proxy;

    if (likely(old->ns[NS_TIME] == old->time_for_children))
        return 0;
    own = ns_proxy_copy(old);
    if (!own)
        return -ENOMEM;
    time_ns_freeze(time_ns_of(own->time_for_children));
    ns_proxy_set(own, NS_TIME, ns_ref(own->time_for_children));
    ns_proxy_unref(old);
    *proxy = own;
    return 0;
}

void ns_proxy_join_time(struct ns_proxy *proxy, struct ns *ns)
{
    time_ns_freeze(time_ns_of(ns));
    ns_proxy_set(proxy, NS_TIME, ns_ref(ns));
    set_child_time(proxy, ns_ref(ns));
}

/* One that has unshared it already has to fork first; Linux copy_pid_ns(). */
static int check_pid_ns(struct task *task, struct pid_ns *old, struct user_ns *owner)
{
    if (old != task->process->pid_ns || !user_ns_is_below(owner, old->ns.owner))
        return -EINVAL;
    return old->level >= PID_NS_LEVEL_MAX ? -ENOSPC : 0;
}

static int replace(struct task *task, struct ns_proxy *proxy, enum ns_type type,
                   struct user_ns *owner)
{
    struct ns *ns;
    int error = type == NS_PID ? check_pid_ns(task, pid_ns_of(proxy->ns[type]), owner) : 0;

    if (error == 0)
        error = ns_create(task, type, proxy->ns[type], owner, &ns);
    if (error == 0 && type == NS_TIME)
        set_child_time(proxy, ns); /* the task itself stays where it is */
    else if (error == 0)
        ns_proxy_set(proxy, type, ns);
    return error;
}

int ns_proxy_unshare(struct task *task, uint64_t flags, const struct cred *cred,
                     struct ns_proxy **ret)
{
    struct ns_proxy *proxy;
    int error = 0;

    if (!cred_has_ns_cap(task->cred, cred->user_ns, CAP_SYS_ADMIN))
        return -EPERM;
    proxy = ns_proxy_copy(task->namespaces);
    if (!proxy)
        return -ENOMEM;
    for (int type = 0; type < NS_TYPES && error == 0; type++) {
        if (type != NS_USER && (flags & ns_flag((enum ns_type)type)))
            error = replace(task, proxy, (enum ns_type)type, cred->user_ns);
    }
    if (error < 0)
        ns_proxy_unref(proxy);
    else
        *ret = proxy;
    return error;
}

struct ns *task_get_child_ns(struct task *task, enum ns_type type)
{
    struct ns *ns = NULL;

    lock_acquire(&task->process->lock);
    if (task->namespaces)
        ns = ns_ref(type == NS_TIME ? task->namespaces->time_for_children
                                    : task->namespaces->ns[type]);
    lock_release(&task->process->lock);
    /* One that nobody has been in yet is not shown. */
    if (ns && type == NS_PID && pid_ns_of(ns)->level > 0 && !pid_ns_of(ns)->init)
        return ns_unref(ns);
    return ns;
}

struct ns *task_get_ns(struct task *task, enum ns_type type)
{
    struct ns *ns = NULL;

    lock_acquire(&task->process->lock);
    if (type == NS_USER)
        ns = ns_ref(&task->cred->user_ns->ns);
    else if (task->namespaces)
        ns = ns_ref(type == NS_PID ? &task->process->pid_ns->ns : task->namespaces->ns[type]);
    lock_release(&task->process->lock);
    return ns;
}

void task_set_namespaces(struct task *task, struct ns_proxy *proxy)
{
    struct ns_proxy *old;

    lock_acquire(&task->process->lock);
    old = task->namespaces;
    task->namespaces = proxy;
    lock_release(&task->process->lock);
    ns_proxy_unref(old);
}
