/*
 * Who asks. Sockets know no task, but peers are told who they talk to, and names of AF_UNIX are
 * looked up in a process's tree; so the kernel, which is above, says here what is to be known.
 */
#ifndef SENTRY_NET_CALLER_H
#define SENTRY_NET_CALLER_H

#include "base/refcount.h"

struct file;
struct fs_context;
struct net_ns;

struct net_caller {
    int32_t pid;           /* of the process */
    uint64_t serial;       /* of the process */
    uint32_t uid, gid;     /* real */
    uint32_t euid, egid;   /* effective */
    struct fs_context *fs; /* borrowed; NULL: none */
    uint64_t nofile;       /* RLIMIT_NOFILE */
    bool may_exceed;       /* CAP_SYS_RESOURCE or CAP_SYS_ADMIN: over the in-flight limit */
};

/* Identity at the time of connect(2), listen(2), socketpair(2): SO_PEERCRED and its kin. */
struct net_peer {
    refcount_t refs;
    int32_t pid;
    uint64_t serial;
    uint32_t uid, gid;
    uint32_t group_count;
    uint32_t groups[];
};

enum net_reference { NET_BY_PID, NET_BY_FD };

struct net_kernel {
    void (*caller)(struct net_caller *ret);
    /* The caller as a peer; NULL without memory. */
    struct net_peer *(*peer)(void);
    /* May the caller do this (CAP_*) to the namespace? */
    bool (*capable)(const struct net_ns *net, int cap);
    /* Does a process, or a file, of the caller's have a network namespace to show? */
    int (*check_reference)(uint32_t number, enum net_reference by);
    /* Urgent bytes came to a socket: its owner gets SIGURG. */
    void (*urgent)(struct file *file);
};

/* Before the first socket is made; `kernel` is static. */
void net_set_kernel(const struct net_kernel *kernel);
/* The task of this thread; all zero where there is none. */
void net_caller(struct net_caller *ret);
struct net_peer *net_peer_current(void);
bool net_capable(const struct net_ns *net, int cap);
/* -ESRCH, -EBADF, -EINVAL: the file is of something else. */
int net_check_reference(uint32_t number, enum net_reference by);
void net_urgent(struct file *file);                     /* no lock of sockets held */
struct net_peer *net_peer_ref(struct net_peer *peer);   /* takes NULL */
struct net_peer *net_peer_unref(struct net_peer *peer); /* takes NULL, returns NULL */

#endif
