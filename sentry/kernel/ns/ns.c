#include "sentry/kernel/ns/ns.h"

#include <errno.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/netcaller.h"
#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/kernel/ns/userns.h"

#define FIRST_INUM 0xf0000000UL /* of namespaces that are made later */

static const struct {
    const char *name;
    uint64_t flag, inum;
} kinds[NS_TYPES] = {
    [NS_CGROUP] = {"cgroup", CLONE_NEWCGROUP, NS_INUM_CGROUP},
    [NS_IPC] = {"ipc", CLONE_NEWIPC, NS_INUM_IPC},
    [NS_MNT] = {"mnt", CLONE_NEWNS, NS_INUM_MNT},
    [NS_NET] = {"net", CLONE_NEWNET, NS_INUM_NET},
    [NS_PID] = {"pid", CLONE_NEWPID, NS_INUM_PID},
    [NS_TIME] = {"time", CLONE_NEWTIME, NS_INUM_TIME},
    [NS_USER] = {"user", CLONE_NEWUSER, NS_INUM_USER},
    [NS_UTS] = {"uts", CLONE_NEWUTS, NS_INUM_UTS},
};

const char *ns_name(enum ns_type type)
{
    return kinds[type].name;
}

uint64_t ns_flag(enum ns_type type)
{
    return kinds[type].flag;
}

struct ns *ns_ref(struct ns *ns)
{
    refcount_get(&ns->refs);
    return ns;
}

/* ---- finding them ------------------------------------------------------------------------- */

static struct lock all_lock = LOCK_INIT;
static struct list all __guarded_by(all_lock) = LIST_INIT(all);

/* The first ones come before all that are made later. */
uint64_t ns_number(const struct ns *ns)
{
    return ns->id ? ns->id + NS_TYPES : (uint64_t)ns->type + 1;
}

void ns_publish(struct ns *ns)
{
    lock_acquire(&all_lock);
    list_add_tail(&all, &ns->node);
    lock_release(&all_lock);
}

struct ns *ns_find(uint64_t number)
{
    struct ns *ns, *found = NULL;

    if (number == ns_number(&user_ns_first.ns))
        return ns_ref(&user_ns_first.ns);
    lock_acquire(&all_lock);
    list_for_each (ns, &all, node) {
        if (ns_number(ns) == number && refcount_get_unless_zero(&ns->refs)) {
            found = ns;
            break;
        }
    }
    lock_release(&all_lock);
    return found;
}

/* ---- the end of one ----------------------------------------------------------------------- */

static void let_go(struct ns *ns)
{
    struct user_ns *owner = ns->owner;
    struct ucount *count = ns->count;
    enum ns_type type = ns->type;

    if (type == NS_USER)
        user_ns_release(user_ns_of(ns));
    else if (ns->release)
        ns->release(ns);
    else
        free(ns);
    ucount_uncharge(count, type);
    if (owner)
        ns_unref(&owner->ns);
}

/*
 * With a namespace go its owner, and the files on namespaces that are mounted in it (nsfile.h), and
 * so on: as many as programs like to hang on each other. So what goes meanwhile waits in a queue.
 */
struct ns *ns_unref(struct ns *ns)
{
    static __thread struct list *queue; /* on the stack of who empties it */
    struct list going = LIST_INIT(going);

    if (!ns || !refcount_put(&ns->refs))
        return NULL;
    lock_acquire(&all_lock);
    list_del_init(&ns->node);
    lock_release(&all_lock);
    if (queue) {
        list_add_tail(queue, &ns->node);
        return NULL;
    }
    queue = &going;
    list_add_tail(&going, &ns->node);
    while (!list_empty(&going)) {
        ns = list_first(&going, struct ns, node);
        list_del_init(&ns->node);
        let_go(ns);
    }
    queue = NULL;
    return NULL;
}

void ns_init(struct ns *ns, enum ns_type type, struct kernel *kernel, struct user_ns *owner,
             struct ucount *count)
{
    refcount_set(&ns->refs, 1);
    ns->type = type;
    ns->id = count ? kernel_serial(kernel) : 0;
    ns->inum = count ? FIRST_INUM + ns->id : kinds[type].inum;
    ns->owner = user_ns_ref(owner);
    ns->count = count;
    list_init(&ns->node);
}

/* ---- host and domain name ----------------------------------------------------------------- */

static void uts_release(struct ns *ns)
{
    lock_destroy(&uts_ns_of(ns)->lock);
    free(uts_ns_of(ns));
}

/* `old` NULL: the first one. */
static struct uts_ns *uts_create(struct uts_ns *old)
{
    struct uts_ns *uts = calloc(1, sizeof(*uts));

    if (!uts)
        return NULL;
    lock_init(&uts->lock);
    uts->ns.release = uts_release;
    if (!old)
        return uts;
    lock_acquire(&old->lock);
    memcpy(uts->hostname, old->hostname, sizeof(uts->hostname));
    memcpy(uts->domainname, old->domainname, sizeof(uts->domainname));
    lock_release(&old->lock);
    return uts;
}

struct uts_ns *task_uts(const struct task *task)
{
    return uts_ns_of(task->namespaces->ns[NS_UTS]);
}

/* ---- making them -------------------------------------------------------------------------- */

/* The offsets of the one that is left; they may be changed until somebody is in it. */
static struct ns *create_time(struct ns *old)
{
    struct time_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    if (old) {
        ns->monotonic = time_ns_offset(time_ns_of(old), CLOCK_MONOTONIC);
        ns->boottime = time_ns_offset(time_ns_of(old), CLOCK_BOOTTIME);
    } else {
        ns->frozen = true;
    }
    return &ns->ns;
}

/* The object alone; NULL without memory. */
static struct ns *create_object(struct kernel *kernel, struct task *task, enum ns_type type,
                                struct ns *old)
{
    struct ipc_ns *ipc;
    struct pid_ns *pid;
    struct uts_ns *uts;

    switch (type) {
    case NS_CGROUP:
        return cgroup_ns_create(task);
    case NS_UTS:
        uts = uts_create(old ? uts_ns_of(old) : NULL);
        return uts ? &uts->ns : NULL;
    case NS_IPC:
        ipc = ipc_ns_create(kernel->mm_env);
        return ipc ? &ipc->ns : NULL;
    case NS_NET:
        return net_namespace_create(old == NULL);
    case NS_PID:
        pid = pid_ns_create(kernel, old ? pid_ns_of(old) : NULL);
        return pid ? &pid->ns : NULL;
    case NS_TIME:
        return create_time(old);
    default:
        return calloc(1, sizeof(struct ns));
    }
}

int ns_create(struct task *task, enum ns_type type, struct ns *old, struct user_ns *owner,
              struct ns **ret)
{
    struct ucount *count;
    struct ns *ns;
    int error = ucount_charge(owner, task->cred->euid, type, &count);

    if (error < 0)
        return error;
    if (type == NS_MNT) {
        error = mnt_ns_create(mnt_ns_of(old), owner, &ns);
    } else {
        ns = create_object(task->kernel, task, type, old);
        error = ns ? 0 : -ENOMEM;
    }
    if (error < 0) {
        ucount_uncharge(count, type);
        return error;
    }
    ns_init(ns, type, task->kernel, owner, count);
    if (type == NS_MNT)
        mnt_ns_enter_list(ns);
    ns_publish(ns);
    *ret = ns;
    return 0;
}

static struct ns *create_first(struct kernel *kernel, enum ns_type type)
{
    struct ns *ns;

    if (type == NS_USER)
        return ns_ref(&user_ns_first.ns);
    if (type == NS_MNT) {
        if (mnt_ns_create(NULL, &user_ns_first, &ns) < 0)
            return NULL;
    } else {
        ns = create_object(kernel, NULL, type, NULL);
    }
    if (ns)
        ns_init(ns, type, kernel, &user_ns_first, NULL);
    if (ns && type == NS_MNT)
        mnt_ns_enter_list(ns);
    if (ns)
        ns_publish(ns);
    return ns;
}

int ns_create_initial(struct kernel *kernel, const char *hostname)
{
    struct uts_ns *uts;
    int err = nsfs_setup();

    if (err < 0)
        return err;
    for (int type = 0; type < NS_TYPES; type++) {
        kernel->initial_ns[type] = create_first(kernel, (enum ns_type)type);
        if (!kernel->initial_ns[type])
            return -ENOMEM;
    }
    uts = uts_ns_of(kernel->initial_ns[NS_UTS]);
    strncpy(uts->hostname, hostname, sizeof(uts->hostname) - 1);
    strcpy(uts->domainname, "(none)");
    return 0;
}

void ns_destroy_initial(struct kernel *kernel)
{
    for (int type = 0; type < NS_TYPES; type++)
        kernel->initial_ns[type] = ns_unref(kernel->initial_ns[type]);
}
