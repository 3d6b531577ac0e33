/*
 * Namespaces: namespaces(7). Each is an object with a number of its own, belongs to a user
 * namespace and is counted for the user who made it; /proc/PID/ns/NAME leads to it, and a file that
 * was opened there keeps it (nsfile.h). What a kind means is told where it is used: userns.h,
 * ipc.h...
 */
#ifndef SENTRY_KERNEL_NS_H
#define SENTRY_KERNEL_NS_H

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"

struct kernel;
struct task;
struct ucount;
struct user_ns;

enum ns_type { NS_CGROUP, NS_IPC, NS_MNT, NS_NET, NS_PID, NS_TIME, NS_USER, NS_UTS, NS_TYPES };

/* Linux gives the first of each kind a number that everybody knows. */
#define NS_INUM_CGROUP 0xeffffffbUL
#define NS_INUM_IPC    0xefffffffUL
#define NS_INUM_MNT    0xeffffff8UL
#define NS_INUM_NET    0xeffffff9UL
#define NS_INUM_PID    0xeffffffcUL
#define NS_INUM_TIME   0xeffffffaUL
#define NS_INUM_USER   0xeffffffdUL
#define NS_INUM_UTS    0xeffffffeUL

struct ns {
    refcount_t refs;
    enum ns_type type;
    uint64_t inum;                  /* st_ino, and the number in the link */
    uint64_t id;                    /* never used again; 0: a first one */
    struct user_ns *owner;          /* owned reference; NULL: it is the first user namespace */
    struct ucount *count;           /* where it is counted; NULL: nowhere, it is a first one */
    void (*release)(struct ns *ns); /* frees it; NULL: by free() */
    struct list node;               /* of all that can be found, then of those that go (ns.c) */
};

#define UTS_NAME_SIZE 65 /* with its NUL */

struct uts_ns {
    struct ns ns;
    struct lock lock;
    char hostname[UTS_NAME_SIZE], domainname[UTS_NAME_SIZE];
};

/* The name in /proc/PID/ns, and the CLONE_NEW* flag. */
const char *ns_name(enum ns_type type);
uint64_t ns_flag(enum ns_type type);
struct ns *ns_ref(struct ns *ns);
struct ns *ns_unref(struct ns *ns); /* takes NULL, returns NULL */

/*
 * The common part of a namespace made now, with one reference. `owner` gets a reference; the charge
 * is taken over. The count NULL makes it a first one, with the number of its kind.
 */
void ns_init(struct ns *ns, enum ns_type type, struct kernel *kernel, struct user_ns *owner,
             struct ucount *count);
/* It is complete: from now on ns_find() finds it. */
void ns_publish(struct ns *ns);

/* What programs know it by (NS_GET_ID of ioctl_nsfs(2)); unique, ascending as they are made. */
uint64_t ns_number(const struct ns *ns);
/* The namespace of that number, referenced; NULL. */
struct ns *ns_find(uint64_t number);

/* The namespaces that the first program begins in. -ENOMEM. */
int ns_create_initial(struct kernel *kernel, const char *hostname);
void ns_destroy_initial(struct kernel *kernel);

/*
 * A namespace of this kind for `task`, made from the one that it leaves, `old`; it belongs to
 * `owner`. -ENOSPC: too many, -ENOMEM.
 */
int ns_create(struct task *task, enum ns_type type, struct ns *old, struct user_ns *owner,
              struct ns **ret);
static inline struct uts_ns *uts_ns_of(struct ns *ns)
{
    return container_of(ns, struct uts_ns, ns);
}
/* The one that the calls of the task mean; own thread only. */
struct uts_ns *task_uts(const struct task *task);

#endif
