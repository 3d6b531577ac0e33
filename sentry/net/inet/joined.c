/*
 * The multicast groups that any socket of a namespace is in, each on an interface: lo, or the
 * device of the namespace's outward network, which is told, so that it asks for them there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/net/inet/internal.h"

#define OUTWARD_MAX 256 /* groups on the device, of all sockets */

struct joined {
    struct list node;
    struct in6_addr addr;
    int interface;
    uint32_t count;
};

static struct joined *find_locked(struct inet_ns *ns, const struct in6_addr *group, int interface)
{
    struct joined *j;

    list_for_each (j, &ns->groups, node)
        if (j->interface == interface && addr_equal(&j->addr, group))
            return j;
    return NULL;
}

/* Adds a group that nobody is in so far. */
static struct joined *add_locked(struct inet_ns *ns, const struct in6_addr *group, int interface)
{
    struct joined *j;

    if (interface != LO_INDEX && ns->outward_groups == OUTWARD_MAX)
        return NULL;
    j = calloc(1, sizeof(*j));
    if (!j)
        return NULL;
    j->addr = *group;
    j->interface = interface;
    list_add_tail(&ns->groups, &j->node);
    ns->outward_groups += interface != LO_INDEX;
    return j;
}

int joined_add(struct inet_ns *ns, const struct in6_addr *group, int interface)
{
    struct joined *j;

    lock_acquire(&ns->groups_lock);
    j = find_locked(ns, group, interface);
    if (!j)
        j = add_locked(ns, group, interface);
    if (j)
        j->count++;
    lock_release(&ns->groups_lock);
    return j ? 0 : -ENOBUFS;
}

void joined_drop(struct inet_ns *ns, const struct in6_addr *group, int interface)
{
    struct joined *j;

    lock_acquire(&ns->groups_lock);
    j = find_locked(ns, group, interface);
    if (j && --j->count == 0) {
        list_del_init(&j->node);
        ns->outward_groups -= interface != LO_INDEX;
        free(j);
    }
    lock_release(&ns->groups_lock);
}

void joined_tell(struct net_ns *net, const struct in6_addr *group)
{
    struct inet_ns *ns = inet_ns_of(net);

    if (ns->outward)
        ns->outward->groups_changed(ns, group);
}

/* All hosts are in the first group of each kind. */
bool groups_joined(struct inet_ns *ns, const struct in6_addr *group, int interface)
{
    bool found;

    if (addr_is_v4(group) ? addr_get_v4(group) == INADDR_ALLHOSTS_GROUP
                          : IN6_IS_ADDR_MC_LINKLOCAL(group) && group->s6_addr[15] == 1)
        return true;
    lock_acquire(&ns->groups_lock);
    found = find_locked(ns, group, interface) != NULL;
    lock_release(&ns->groups_lock);
    return found;
}

void groups_each(struct net_ns *net, int interface,
                 void (*show)(void *arg, const struct in6_addr *group, uint32_t count), void *arg)
{
    struct inet_ns *ns = inet_ns_of(net);
    struct joined *j;

    lock_acquire(&ns->groups_lock);
    list_for_each (j, &ns->groups, node)
        if (j->interface == interface)
            show(arg, &j->addr, j->count);
    lock_release(&ns->groups_lock);
}

/* As ip_mc_find_dev() and ipv6_sock_mc_join(). */
int group_interface(const struct inet_socket *s, const struct in6_addr *group, int index,
                    uint32_t device, int *ret)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;
    const struct in6_addr named = addr_v4(device);

    if (!index && device && !addr_is_loopback(&named)) {
        if (!outward || !outward->owns(&named))
            return -ENODEV;
        index = outward->index;
    } else if (!index && device) {
        index = LO_INDEX;
    } else if (!index) {
        if (outward && !outward->has_way(group))
            return -ENODEV;
        index = outward ? outward->index : LO_INDEX;
    }
    if (index != LO_INDEX && !(outward && index == outward->index))
        return -ENODEV;
    *ret = index;
    return 0;
}
