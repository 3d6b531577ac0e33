#include "sentry/net/netns.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>

#include "abi/loopback.h"
#include "sentry/net/frames.h"
#include "sentry/net/socket.h"

struct net_ns {
    refcount_t refs;
    const struct net_outward *outward; /* NULL: the loopback alone */
    void *families[SOCKET_FAMILIES];
    /* Of lo; single words, atomic. */
    bool lo_up, lo_has_v4;
    int lo_mtu;
    uint64_t lo_packets, lo_bytes;
    uint32_t watchers;  /* frames.h */
    int tags[NET_TAGS]; /* atomic */
    bool is_first;
    uint64_t cookie;
};

static uint64_t last_cookie;     /* atomic */
static int first_tags[NET_TAGS]; /* atomic; copies of the first namespace's */

static const struct net_outward *first_outward; /* for the first namespace */
static bool has_first;

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

int net_ns_create(bool lo_up, struct net_ns **ret)
{
    struct net_ns *net = calloc(1, sizeof(*net));

    if (!net)
        return -ENOMEM;
    refcount_set(&net->refs, 1);
    net->cookie = __atomic_add_fetch(&last_cookie, 1, __ATOMIC_RELAXED);
    net->outward = first_outward;
    first_outward = NULL;
    net->is_first = !__atomic_exchange_n(&has_first, true, __ATOMIC_RELAXED);
    net->tags[NET_TAG_ALL] = __atomic_load_n(&first_tags[NET_TAG_ALL], __ATOMIC_RELAXED);
    net->tags[NET_TAG_DEFAULT] = __atomic_load_n(&first_tags[NET_TAG_DEFAULT], __ATOMIC_RELAXED);
    net->tags[NET_TAG_LO] = net->tags[NET_TAG_DEFAULT];
    net->lo_up = net->lo_has_v4 = lo_up;
    net->lo_mtu = LO_MTU;
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
    if (net->outward && net->outward->attach)
        net->outward->attach(net);
    *ret = net;
    return 0;
}

uint64_t net_ns_cookie(const struct net_ns *net)
{
    return net->cookie;
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

/* ---- lo ---------------------------------------------------------------------------------------
 */

bool net_ns_lo_is_up(const struct net_ns *net)
{
    return __atomic_load_n(&net->lo_up, __ATOMIC_RELAXED);
}

bool net_ns_lo_has_address(const struct net_ns *net, int family)
{
    return family == AF_INET ? __atomic_load_n(&net->lo_has_v4, __ATOMIC_RELAXED)
                             : net_ns_lo_is_up(net);
}

unsigned net_ns_lo_flags(const struct net_ns *net)
{
    return net_ns_lo_is_up(net) ? LO_FLAGS : IFF_LOOPBACK;
}

int net_ns_lo_mtu(const struct net_ns *net)
{
    return __atomic_load_n(&net->lo_mtu, __ATOMIC_RELAXED);
}

bool net_ns_lo_add_v4(struct net_ns *net)
{
    return !__atomic_exchange_n(&net->lo_has_v4, true, __ATOMIC_RELAXED);
}

void net_ns_lo_set_up(struct net_ns *net, bool up)
{
    __atomic_store_n(&net->lo_up, up, __ATOMIC_RELAXED);
    if (up)
        (void)net_ns_lo_add_v4(net);
}

int net_ns_lo_set_mtu(struct net_ns *net, int mtu)
{
    if (mtu < 0)
        return -EINVAL;
    __atomic_store_n(&net->lo_mtu, mtu, __ATOMIC_RELAXED);
    return 0;
}

void net_ns_lo_count(struct net_ns *net, uint64_t packets, uint64_t bytes)
{
    __atomic_add_fetch(&net->lo_packets, packets, __ATOMIC_RELAXED);
    __atomic_add_fetch(&net->lo_bytes, bytes, __ATOMIC_RELAXED);
}

bool net_ns_watched(const struct net_ns *net)
{
    return __atomic_load_n(&net->watchers, __ATOMIC_RELAXED) > 0;
}

void net_ns_watch(struct net_ns *net, int change)
{
    __atomic_add_fetch(&net->watchers, (uint32_t)change, __ATOMIC_RELAXED);
}

int net_ns_device(const struct net_ns *net, int index, struct net_device *ret)
{
    const struct net_outward *outward = net->outward;

    if (index == LO_INDEX) {
        *ret = (struct net_device){
            .name = LO_NAME,
            .index = LO_INDEX,
            .mtu = net_ns_lo_mtu(net),
            .type = LO_TYPE,
            .raw = true,
        };
        ret->in_frames = ret->out_frames = __atomic_load_n(&net->lo_packets, __ATOMIC_RELAXED);
        ret->in_bytes = ret->out_bytes = __atomic_load_n(&net->lo_bytes, __ATOMIC_RELAXED);
        return 0;
    }
    if (!outward || !outward->device)
        return -ENODEV;
    outward->device(ret);
    return ret->index == index ? 0 : -ENODEV;
}

int net_ns_device_named(const struct net_ns *net, const char *name, struct net_device *ret)
{
    if (strcmp(name, LO_NAME) == 0)
        return net_ns_device(net, LO_INDEX, ret);
    if (!net->outward || !net->outward->device)
        return -ENODEV;
    net->outward->device(ret);
    return strcmp(name, ret->name) == 0 ? 0 : -ENODEV;
}

int net_ns_tag(const struct net_ns *net, enum net_tag which)
{
    return __atomic_load_n(&net->tags[which], __ATOMIC_RELAXED);
}

void net_ns_set_tag(struct net_ns *net, enum net_tag which, int value)
{
    __atomic_store_n(&net->tags[which], value, __ATOMIC_RELAXED);
    if (net->is_first)
        __atomic_store_n(&first_tags[which], value, __ATOMIC_RELAXED);
}
