#include "sentry/kernel/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/process.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/attr/identity.h"

struct task *proxy_create(struct task *of)
{
    struct task *proxy = calloc(1, sizeof(*proxy));

    if (!proxy)
        return NULL;
    refcount_set(&proxy->refs, 1);
    proxy->kernel = of->kernel;
    proxy->process = process_ref(of->process);
    proxy->tid = of->tid;
    proxy->vtid = of->vtid;
    memcpy(proxy->comm, of->comm, sizeof(proxy->comm));
    proxy->mm = mm_ref(of->mm);
    proxy->files = fdtable_ref(of->files);
    proxy->fs = fs_context_ref(of->fs);
    proxy->cred = cred_ref(of->cred);
    proxy->namespaces = ns_proxy_ref(of->namespaces);
    waiter_init(&proxy->waiter);
    proxy->serial = kernel_serial(of->kernel);
    list_init(&proxy->process_node);
    list_init(&proxy->cgroup_node);
    list_init(&proxy->pi_held);
    sigpending_init(&proxy->pending);
    proxy->blocked = ~0UL;
    proxy->sched = of->sched;
    proxy->altstack.flags = SS_DISABLE;
    proxy->timer_slack_ns = of->timer_slack_ns;
    proxy->personality = of->personality;
    trace_init(&proxy->trace);
    proxy->start_ns = host_monotonic_ns();
    return proxy;
}

void proxy_enter(struct task *proxy)
{
    task_set_current(proxy);
    cred_use_for_files(proxy->cred);
}

void proxy_leave(void)
{
    task_set_current(NULL);
    vfs_identity_set(NULL);
}

void proxy_interrupt(struct task *proxy)
{
    __atomic_fetch_or(&proxy->work, TASK_WORK_SIGNAL, __ATOMIC_SEQ_CST);
    waiter_interrupt(&proxy->waiter);
}

void process_async_add(struct process *process, struct process_async *async)
{
    lock_acquire(&process->lock);
    list_add_tail(&process->asyncs, &async->node);
    lock_release(&process->lock);
}

bool process_async_remove(struct process *process, struct process_async *async)
{
    bool was_there;

    lock_acquire(&process->lock);
    was_there = !list_empty(&async->node);
    list_del_init(&async->node);
    lock_release(&process->lock);
    return was_there;
}

void process_async_end(struct process *process)
{
    lock_acquire(&process->lock);
    while (!list_empty(&process->asyncs)) {
        struct process_async *async = list_first(&process->asyncs, struct process_async, node);

        list_del_init(&async->node);
        lock_release(&process->lock);
        async->end(async);
        lock_acquire(&process->lock);
    }
    lock_release(&process->lock);
}

void process_async_leave(struct process *process)
{
    bool last;

    lock_acquire(&process->lock);
    last = ++process->leaving == process->thread_count;
    lock_release(&process->lock);
    if (last)
        process_async_end(process);
}
