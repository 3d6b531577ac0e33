#include "sentry/net/netns.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/net/socket.h"

struct net_ns {
    refcount_t refs;
    const struct net_outward *outward; /* NULL: the loopback alone */
    void *families[SOCKET_FAMILIES];
};

static const struct net_outward *first_outward; /* for the first namespace */

void net_set_outward(const struct net_outward *outward)
{
    first_outward = outward;
}

const struct net_outward *net_ns_outward(const struct net_ns *net)
{
    return net->outward;
}

static void destroy(struct net_ns *net)
{
    for (int i = 0; i < SOCKET_FAMILIES; i++) {
        const struct socket_family *family = socket_family_find(i);

        if (family && family->ns_fini && net->families[i])
            family->ns_fini(net->families[i]);
    }
    free(net);
}

int net_ns_create(struct net_ns **ret)
{
    struct net_ns *net = calloc(1, sizeof(*net));

    if (!net)
        return -ENOMEM;
    refcount_set(&net->refs, 1);
    net->outward = first_outward;
    first_outward = NULL;
    for (int i = 0; i < SOCKET_FAMILIES; i++) {
        const struct socket_family *family = socket_family_find(i);
        int err;

        if (!family || !family->ns_init)
            continue;
        err = family->ns_init(net, &net->families[i]);
        if (err < 0) {
            destroy(net);
            return err;
        }
    }
    *ret = net;
    return 0;
}

struct net_ns *net_ns_ref(struct net_ns *net)
{
    refcount_get(&net->refs);
    return net;
}

struct net_ns *net_ns_unref(struct net_ns *net)
{
    if (net && refcount_put(&net->refs))
        destroy(net);
    return NULL;
}

void *net_ns_family(struct net_ns *net, int family)
{
    return net->families[family];
}
