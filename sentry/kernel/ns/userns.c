#include "sentry/kernel/ns/userns.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "sentry/kernel/cred.h"
#include "sentry/kernel/kernel.h"
#include "sentry/vfs/fs_context.h"

/* Linux allows half as many of each kind as there may be threads. */
#define LIMIT (KERNEL_THREADS_MAX / 2)

static const struct id_map every_id = {.count = 1, .extents = {{0, 0, UINT32_MAX}}};

struct user_ns user_ns_first = {
    .ns = {.refs = {1}, .type = NS_USER, .inum = NS_INUM_USER},
    .parent_had_setfcap = true,
    .lock = LOCK_INIT,
    .maps = {&every_id, &every_id, &every_id},
    .setgroups_allowed = true,
    .ucounts = {&user_ns_first.ucounts, &user_ns_first.ucounts},
    .max = {LIMIT, LIMIT, LIMIT, LIMIT, LIMIT, LIMIT, LIMIT, LIMIT},
};

struct user_ns *user_ns_ref(struct user_ns *ns)
{
    ns_ref(&ns->ns);
    return ns;
}

struct user_ns *user_ns_unref(struct user_ns *ns)
{
    if (ns)
        ns_unref(&ns->ns);
    return NULL;
}

void user_ns_release(struct user_ns *ns)
{
    for (int kind = 0; kind < ID_KINDS; kind++)
        free((struct id_map *)ns->maps[kind]);
    lock_destroy(&ns->lock);
    free(ns);
}

const struct id_map *user_ns_map(const struct user_ns *ns, enum id_kind kind)
{
    return __atomic_load_n(&ns->maps[kind], __ATOMIC_ACQUIRE);
}

bool user_ns_is_below(const struct user_ns *ns, const struct user_ns *above)
{
    while (ns->level > above->level)
        ns = user_ns_parent(ns);
    return ns == above;
}

int user_ns_create(struct kernel *kernel, const struct cred *maker, struct user_ns **ret)
{
    struct user_ns *parent = maker->user_ns, *ns;
    struct ucount *count;
    int error;

    if (parent->level > USER_NS_LEVEL_MAX)
        return -ENOSPC;
    error = ucount_charge(parent, maker->euid, NS_USER, &count);
    if (error < 0)
        return error;
    /* Whoever is nobody there could not be told as its owner: Linux create_user_ns(). */
    if (id_map_from_kernel(user_ns_map(parent, ID_USER), maker->euid) == ID_NONE ||
        id_map_from_kernel(user_ns_map(parent, ID_GROUP), maker->egid) == ID_NONE)
        error = -EPERM;
    ns = error < 0 ? NULL : calloc(1, sizeof(*ns));
    if (!ns) {
        ucount_uncharge(count, NS_USER);
        return error < 0 ? error : -ENOMEM;
    }
    ns_init(&ns->ns, NS_USER, kernel, parent, count);
    ns->level = parent->level + 1;
    ns->owner = maker->euid;
    ns->group = maker->egid;
    ns->parent_had_setfcap = maker->cap_effective >> CAP_SETFCAP & 1;
    lock_init(&ns->lock);
    list_init(&ns->ucounts);
    ns->setgroups_allowed = __atomic_load_n(&parent->setgroups_allowed, __ATOMIC_RELAXED);
    for (int type = 0; type < NS_TYPES; type++)
        ns->max[type] = LIMIT;
    ns_publish(&ns->ns);
    *ret = ns;
    return 0;
}

/* A new root would let it go around what a chroot(2) is to keep it from. */
static bool has_chrooted(struct task *task)
{
    struct path root = fs_context_root(task->fs);
    struct mount_ns *ns = __atomic_load_n(&root.mount->ns, __ATOMIC_ACQUIRE);
    struct path top;
    bool chrooted;

    if (!ns) { /* its mount has been taken out of the tree */
        path_unref(&root);
        return true;
    }
    top = path_ref((struct path){ns->root, ns->root->root});
    mount_cross_down(&top);
    chrooted = root.mount != top.mount || root.dentry != top.dentry;
    path_unref(&top);
    path_unref(&root);
    return chrooted;
}

int user_ns_create_for(struct task *task, struct user_ns **ret)
{
    if (task->cred->user_ns->level > USER_NS_LEVEL_MAX)
        return -ENOSPC;
    return has_chrooted(task) ? -EPERM : user_ns_create(task->kernel, task->cred, ret);
}

/* ---- counts ------------------------------------------------------------------------------- */

/* The user's count in that namespace, one user of it more; NULL without memory. */
static struct ucount *ucount_get(struct user_ns *ns, uint32_t uid)
{
    struct ucount *count;

    lock_acquire(&ns->lock);
    list_for_each (count, &ns->ucounts, node) {
        if (count->uid == uid) {
            count->users++;
            lock_release(&ns->lock);
            return count;
        }
    }
    count = calloc(1, sizeof(*count));
    if (count) {
        count->ns = ns;
        count->uid = uid;
        count->users = 1;
        list_add(&ns->ucounts, &count->node);
    }
    lock_release(&ns->lock);
    return count;
}

static void ucount_put(struct ucount *count)
{
    struct user_ns *ns = count->ns;

    lock_acquire(&ns->lock);
    if (--count->users == 0) {
        list_del_init(&count->node);
        free(count);
    }
    lock_release(&ns->lock);
}

/* One more, unless there are as many as may be. */
static bool count_one(struct ucount *count, enum ns_type type)
{
    uint32_t made = __atomic_load_n(&count->made[type], __ATOMIC_RELAXED);

    do {
        if (made >= __atomic_load_n(&count->ns->max[type], __ATOMIC_RELAXED))
            return false;
    } while (!__atomic_compare_exchange_n(&count->made[type], &made, made + 1, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

/* In a namespace, what its owner's users make counts as the owner's in its parent. */
int ucount_charge(struct user_ns *ns, uint32_t uid, enum ns_type type, struct ucount **ret)
{
    struct ucount *count = ucount_get(ns, uid);
    int error = 0;

    if (!count)
        return -ENOMEM;
    if (!count_one(count, type)) {
        ucount_put(count);
        return -ENOSPC;
    }
    if (user_ns_parent(ns)) {
        struct ucount *above;

        error = ucount_charge(user_ns_parent(ns), ns->owner, type, &above);
        /* Found again, on the way back, by the same two numbers. */
        if (error < 0) {
            __atomic_sub_fetch(&count->made[type], 1, __ATOMIC_RELAXED);
            ucount_put(count);
            return error;
        }
    }
    *ret = count;
    return 0;
}

static struct ucount *ucount_find(struct user_ns *ns, uint32_t uid)
{
    struct ucount *count, *found = NULL;

    lock_acquire(&ns->lock);
    list_for_each (count, &ns->ucounts, node) {
        if (count->uid == uid)
            found = count;
    }
    lock_release(&ns->lock);
    return found;
}

void ucount_uncharge(struct ucount *count, enum ns_type type)
{
    while (count) {
        struct user_ns *ns = count->ns, *parent = user_ns_parent(ns);

        __atomic_sub_fetch(&count->made[type], 1, __ATOMIC_RELAXED);
        ucount_put(count);
        count = parent ? ucount_find(parent, ns->owner) : NULL;
    }
}
