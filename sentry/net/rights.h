/*
 * Descriptors on their way from one program to another (SCM_RIGHTS): open files, held by the
 * message. Those that are in a queue are counted for each user, as unix(7) has it; a family that
 * can hold sockets in its queues finds rings of them (unix/garbage.c).
 */
#ifndef SENTRY_NET_RIGHTS_H
#define SENTRY_NET_RIGHTS_H

#include "base/list.h"

struct file;

#define NET_RIGHTS_MAX 253 /* SCM_MAX_FD */

struct net_rights {
    struct list node; /* in the list of those to be dropped */
    uint32_t count;
    uint32_t uid;         /* whose account it is on; valid while `counted` */
    bool counted;         /* in flight */
    struct file *files[]; /* owned */
};

/* Empty, with room for `capacity` files; NULL without memory. */
struct net_rights *net_rights_create(uint32_t capacity);
/* The same files again, not in flight. NULL without memory. */
struct net_rights *net_rights_copy(const struct net_rights *rights);
/* Closes the files, of sockets that hold rights as well however deep; takes NULL, returns NULL. */
struct net_rights *net_rights_free(struct net_rights *rights);
/* Enters or leaves flight. -ETOOMANYREFS: the caller has more under way than it may have open. */
int net_rights_count(struct net_rights *rights);
void net_rights_uncount(struct net_rights *rights);

#endif
