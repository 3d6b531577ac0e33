/*
 * Namespaces: namespaces(7). Each is an object with a number of its own; /proc/PID/ns/NAME leads to
 * it, and a file that was opened there keeps it. The uts kind (host and domain name) can be made
 * anew; of the others there is one.
 */
#ifndef SENTRY_KERNEL_NS_H
#define SENTRY_KERNEL_NS_H

#include "base/lock.h"
#include "base/refcount.h"

struct file;
struct kernel;
struct task;

enum ns_type { NS_CGROUP, NS_IPC, NS_MNT, NS_NET, NS_PID, NS_TIME, NS_USER, NS_UTS, NS_TYPES };

struct ns {
    refcount_t refs;
    enum ns_type type;
    uint64_t inum; /* st_ino, and the number in the link */
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

/* The namespaces that the first program begins in. -ENOMEM. */
int ns_create_initial(struct kernel *kernel, const char *hostname);
void ns_destroy_initial(struct kernel *kernel);

/* A copy with a number of its own; NULL without memory. */
struct uts_ns *uts_ns_copy(struct kernel *kernel, struct uts_ns *old);
static inline struct uts_ns *uts_ns_of(struct ns *ns)
{
    return container_of(ns, struct uts_ns, ns);
}

/* That namespace of any task, referenced; NULL when it has ended. */
struct ns *task_get_ns(struct task *task, enum ns_type type);
/* Takes over the reference; own thread only. */
void task_set_uts(struct task *task, struct uts_ns *uts);

/* An open file on a namespace, of which it takes a reference. -ENOMEM. */
int ns_file_create(struct ns *ns, struct file **ret);
/* Borrowed from the file; NULL: it is no such file. */
struct ns *ns_of_file(struct file *file);

#endif
