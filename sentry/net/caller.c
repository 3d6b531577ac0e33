#include "sentry/net/caller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct net_kernel *kernel;

void net_set_kernel(const struct net_kernel *ops)
{
    kernel = ops;
}

void net_caller(struct net_caller *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->nofile = UINT64_MAX;
    if (kernel)
        kernel->caller(ret);
}

struct net_peer *net_peer_current(void)
{
    return kernel ? kernel->peer() : NULL;
}

bool net_capable(const struct net_ns *net, int cap)
{
    return !kernel || kernel->capable(net, cap);
}

int net_check_reference(uint32_t number, enum net_reference by)
{
    return kernel ? kernel->check_reference(number, by) : -EINVAL;
}

void net_urgent(struct file *file)
{
    if (kernel)
        kernel->urgent(file);
}

struct net_peer *net_peer_ref(struct net_peer *peer)
{
    if (peer)
        refcount_get(&peer->refs);
    return peer;
}

struct net_peer *net_peer_unref(struct net_peer *peer)
{
    if (peer && refcount_put(&peer->refs))
        free(peer);
    return NULL;
}
