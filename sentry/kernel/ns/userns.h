/*
 * User namespaces: user_namespaces(7). Each has a parent, the ids of its maker, and maps of ids
 * that are written once through /proc/PID. A capability counts in the namespace that its bearer is
 * in and in all below it; and whoever made a namespace has all of them in it, seen from its parent.
 *
 *     first (level 0, maps every id to itself) <- its children (level 1) <- ...
 *
 * Each namespace of any kind is counted for the user who made it, in the user namespace that he was
 * in and in all above (/proc/sys/user/max_*): struct ucount.
 */
#ifndef SENTRY_KERNEL_USERNS_H
#define SENTRY_KERNEL_USERNS_H

#include "base/list.h"
#include "sentry/kernel/ns/ns.h"
#include "sentry/vfs/attr/idmap.h"

#define USER_NS_LEVEL_MAX 32

struct cred;

enum id_kind { ID_USER, ID_GROUP, ID_PROJECT, ID_KINDS };

struct user_ns {
    struct ns ns;            /* ns.owner: the parent; NULL: the first one */
    int level;               /* how many are above */
    uint32_t owner, group;   /* kernel ids of its maker */
    bool parent_had_setfcap; /* its maker had CAP_SETFCAP: may map the parent's root */
    struct lock lock;
    const struct id_map *maps[ID_KINDS]; /* owned; NULL until written; read atomically */
    bool setgroups_allowed;              /* atomic */
    struct list ucounts __guarded_by(lock);
    uint32_t max[NS_TYPES]; /* atomic: /proc/sys/user/max_KIND_namespaces */
};

/* How many namespaces one user has made in one user namespace, those in deeper ones included. */
struct ucount {
    struct list node;        /* in ns->ucounts */
    struct user_ns *ns;      /* borrowed: what is counted here holds a reference to it */
    uint32_t uid;            /* kernel id */
    uint32_t users;          /* under ns->lock */
    uint32_t made[NS_TYPES]; /* atomic */
};

/* The first one; it is always there. */
extern struct user_ns user_ns_first;

static inline struct user_ns *user_ns_of(struct ns *ns)
{
    return container_of(ns, struct user_ns, ns);
}
static inline struct user_ns *user_ns_parent(const struct user_ns *ns)
{
    return ns->ns.owner;
}
struct user_ns *user_ns_ref(struct user_ns *ns);
struct user_ns *user_ns_unref(struct user_ns *ns); /* takes NULL, returns NULL */
void user_ns_release(struct user_ns *ns);          /* from ns.c: the last reference has gone */

/* A child of the namespace that `maker` is in. -ENOSPC (too deep, too many), -EPERM, -ENOMEM. */
int user_ns_create(struct kernel *kernel, const struct cred *maker, struct user_ns **ret);
/* The same for clone(2) and unshare(2) of a task: also -EPERM when it has changed its root. */
int user_ns_create_for(struct task *task, struct user_ns **ret);

const struct id_map *user_ns_map(const struct user_ns *ns, enum id_kind kind);
/* Is `ns` in `above`, or is it that? */
bool user_ns_is_below(const struct user_ns *ns, const struct user_ns *above);

/* Counts one more namespace of this kind for the user, here and above. -ENOSPC, -ENOMEM. */
int ucount_charge(struct user_ns *ns, uint32_t uid, enum ns_type type, struct ucount **ret);
void ucount_uncharge(struct ucount *count, enum ns_type type); /* takes NULL */

/*
 * Writes to /proc/PID/{uid,gid,projid}_map by one who opened it as `opener`: the whole text, once.
 * -EINVAL, -EPERM, -ENOMEM.
 */
int user_ns_write_map(struct user_ns *ns, enum id_kind kind, const struct cred *opener,
                      const struct cred *writer, const char *text);
/* /proc/PID/setgroups: -EPERM when it is too late. */
int user_ns_set_setgroups(struct user_ns *ns, bool allow);
bool user_ns_may_setgroups(struct user_ns *ns);

#endif
