/*
 * The namespaces that a task is in, all but the user namespace, which goes with its credentials.
 * Immutable once published, shared by tasks: whoever leaves one gets a set of its own.
 */
#ifndef SENTRY_KERNEL_NSPROXY_H
#define SENTRY_KERNEL_NSPROXY_H

#include "base/refcount.h"
#include "sentry/kernel/ns/ns.h"

struct cred;

struct ns_proxy {
    refcount_t refs;
    struct ns *ns[NS_TYPES]; /* owned references; NS_USER: NULL; NS_PID: that of new children */
    struct ns *time_for_children; /* likewise */
};

/* Those that the first program begins in; NULL without memory. */
struct ns_proxy *ns_proxy_create_initial(struct kernel *kernel);
struct ns_proxy *ns_proxy_ref(struct ns_proxy *proxy);
struct ns_proxy *ns_proxy_unref(struct ns_proxy *proxy); /* takes NULL, returns NULL */
/* A copy to change; NULL without memory. */
struct ns_proxy *ns_proxy_copy(const struct ns_proxy *proxy);
/* Replaces one, whose reference is dropped; the new one's is taken over. */
void ns_proxy_set(struct ns_proxy *proxy, enum ns_type type, struct ns *ns);

/* In place of *proxy one that is where its children would begin, of time; -ENOMEM. */
int ns_proxy_enter_time(struct ns_proxy **proxy);
/* setns(2): both are this one from now on; of a copy. */
void ns_proxy_join_time(struct ns_proxy *proxy, struct ns *ns);

/*
 * With new namespaces for the CLONE_NEW* among `flags`, owned by the user namespace of `cred`.
 * -EPERM: the task lacks CAP_SYS_ADMIN there; -ENOSPC, -ENOMEM.
 */
int ns_proxy_unshare(struct task *task, uint64_t flags, const struct cred *cred,
                     struct ns_proxy **ret);

/* That namespace of any task, referenced; NULL when it has ended. */
struct ns *task_get_ns(struct task *task, enum ns_type type);
/* Those that its children begin in; of other kinds as above. */
struct ns *task_get_child_ns(struct task *task, enum ns_type type);
/* Takes over the reference; NULL: the task ends. Own thread only. */
void task_set_namespaces(struct task *task, struct ns_proxy *proxy);

#endif
