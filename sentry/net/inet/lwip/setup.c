/* The library, and what it is told of the device and its addresses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "host/library.h"
#include "sentry/net/inet/lwip/library.h"
#include "sentry/net/inet/lwip/window.h"

#define LIBRARY "liblwip.so.0"

struct lock stack_lock = LOCK_INIT;
struct lwip_library lwip;
struct netif stack_netifs[LWIP_V4_MAX];
const struct in6_addr *stack_router;

static struct lwip_config config;

const struct lwip_config *stack_config(void)
{
    return &config;
}

/* ---- addresses --------------------------------------------------------------------------------
 */

void stack_address_in(const struct in6_addr *from, ip_addr_t *to)
{
    memset(to, 0, sizeof(*to));
    if (IN6_IS_ADDR_V4MAPPED(from)) {
        ip4_addr_t v4 = {.addr = from->s6_addr32[3]};

        ip_addr_copy_from_ip4(*to, v4);
        return;
    }
    IP_SET_TYPE(to, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(to)->addr, from, sizeof(*from));
    ip6_addr_assign_zone(ip_2_ip6(to), IP6_UNKNOWN, stack_netifs);
}

void stack_address_out(const ip_addr_t *from, struct in6_addr *to)
{
    memset(to, 0, sizeof(*to));
    if (IP_IS_V6(from)) {
        memcpy(to, ip_2_ip6(from)->addr, sizeof(*to));
        return;
    }
    to->s6_addr32[2] = PP_HTONL(0xffffUL);
    to->s6_addr32[3] = ip_2_ip4(from)->addr;
}

int stack_errno(err_t err)
{
    switch (err) {
    case ERR_OK:
        return 0;
    case ERR_MEM:
    case ERR_BUF:
        return -ENOBUFS;
    case ERR_RTE:
        return -ENETUNREACH;
    case ERR_USE:
        return -EADDRNOTAVAIL;
    case ERR_RST:
        return -ECONNRESET;
    case ERR_ABRT:
    case ERR_TIMEOUT:
        return -ETIMEDOUT;
    default:
        return -EINVAL;
    }
}

/* ---- setting up -------------------------------------------------------------------------------
 */

int stack_load(const char **ret_why)
{
    void *library = host_library_open(LIBRARY, ret_why);

    if (!library)
        return -ENOENT;
    *ret_why = LIBRARY " is not the one that this was built for";
#define F(name)                                                                                    \
    lwip.name = (__typeof__(lwip.name))host_library_symbol(library, #name);                        \
    if (!lwip.name)                                                                                \
        return -ENOEXEC;
    LWIP_FUNCTIONS(F)
    F(default_router_list)
    F(neighbor_cache)
    F(prefix_list)
    F(tcp_active_pcbs)
    F(tcp_tw_pcbs)
#undef F
    return 0;
}

static err_t init_more(struct netif *netif)
{
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->output = stack_output_v4;
    netif->output_ip6 = stack_output_v6;
    netif->linkoutput = stack_send_frame;
    netif->mtu = (u16_t)MIN(config.mtu, 65535U);
    netif->mtu6 = netif->mtu;
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, config.hardware, 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    return ERR_OK;
}

static err_t init_first(struct netif *netif)
{
    init_more(netif);
    netif->flags |= NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    return ERR_OK;
}

/* An interface for each address of IPv4: lwIP's have one. The first has all the rest as well. */
static int add_netif(uint32_t i)
{
    ip4_addr_t address = {0}, mask = {0}, gateway = {0};

    if (i < config.v4_count) {
        const struct lwip_address *a = &config.addresses[i];

        address.addr = a->addr.s6_addr32[3];
        mask.addr = a->bits > 96 ? htonl(UINT32_MAX << (128 - a->bits)) : 0;
    }
    return lwip.netif_add(&stack_netifs[i], &address, &mask, &gateway, NULL,
                          i ? init_more : init_first, lwip.ethernet_input)
               ? 0
               : -ENOMEM;
}

/* IPv6's default gateway, as if it had advertised itself, for ever. */
static void add_router(const struct in6_addr *gateway)
{
    struct nd6_neighbor_cache_entry *router = &lwip.neighbor_cache[0];
    ip_addr_t address;

    stack_address_in(gateway, &address);
    router->next_hop_address = *ip_2_ip6(&address);
    router->netif = stack_netifs;
    router->state = ND6_INCOMPLETE;
    router->isrouter = 1;
    router->counter.probes_sent = 0;
    lwip.default_router_list[0].neighbor_entry = router;
    lwip.default_router_list[0].invalidation_timer = UINT32_MAX;
    stack_router = gateway;
}

static void find_router(void)
{
    const struct lwip_route *best = NULL;

    for (uint32_t i = 0; i < config.route_count; i++) {
        const struct lwip_route *r = &config.routes[i];

        if (r->to.bits == 0 && r->has_gateway && (!best || r->metric < best->metric))
            best = r;
    }
    if (best)
        add_router(&best->gateway);
}

void stack_allow_long_segments(bool allow)
{
    for (uint32_t i = 0; i < config.v4_count; i++)
        stack_netifs[i].mtu = (u16_t)(allow ? UINT16_MAX : MIN(config.mtu, 65535U));
}

int stack_add_device(const struct lwip_config *given)
{
    unsigned seed;
    int err = 0;

    config = *given;
    host_random(&seed, sizeof(seed));
    srand(seed); /* lwIP's first port and some of its timers */
    lwip.lwip_init();
    for (uint32_t i = 0; (i == 0 || i < config.v4_count) && !err; i++)
        err = add_netif(i);
    if (err < 0)
        return err;
    lwip.netif_set_default(stack_netifs);
    for (uint32_t i = 0; i < config.v6_count; i++) {
        ip_addr_t v6;

        stack_address_in(&config.addresses[config.v4_count + i].addr, &v6);
        lwip.netif_ip6_addr_set(stack_netifs, (s8_t)i, ip_2_ip6(&v6));
        lwip.netif_ip6_addr_set_state(stack_netifs, (s8_t)i, IP6_ADDR_PREFERRED);
    }
    for (uint32_t i = 0; i == 0 || i < config.v4_count; i++) {
        stack_netifs[i].ip6_autoconfig_enabled = 0;
        lwip.netif_set_link_up(&stack_netifs[i]);
        lwip.netif_set_up(&stack_netifs[i]);
        stack_netifs[i].rs_count = 0; /* routers need not tell us anything */
    }
    find_router();
    if (stack_router)
        lwip.nd6_tmr(); /* asks for it now, not in a second */
    return 0;
}

uint32_t stack_timers(void)
{
    lwip.sys_check_timeouts();
    stack_ask_again();
    window_trim_unordered();
    /* lwIP counts a router's seconds down; this one was told to us for good. */
    if (stack_router)
        lwip.default_router_list[0].invalidation_timer = UINT32_MAX;
    return lwip.sys_timeouts_sleeptime();
}
