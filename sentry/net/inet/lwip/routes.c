/*
 * Which way a packet takes, and from which address: ip-route(8). lwIP has one gateway for a device
 * and one address of IPv4; so the table is here, and the device asks it for each packet that
 * leaves.
 */
#include <errno.h>
#include <string.h>

#include "sentry/net/inet/lwip/stack.h"

static bool is_v4(const struct in6_addr *addr)
{
    return IN6_IS_ADDR_V4MAPPED(addr);
}

static bool same(const struct in6_addr *a, const struct in6_addr *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool stack_in_network(const struct in6_addr *addr, const struct lwip_address *network)
{
    unsigned bytes = network->bits / 8, rest = network->bits % 8;

    if (memcmp(addr, &network->addr, bytes) != 0)
        return false;
    return rest == 0 || ((addr->s6_addr[bytes] ^ network->addr.s6_addr[bytes]) >> (8 - rest)) == 0;
}

/* ---- addresses --------------------------------------------------------------------------------
 */

static const struct lwip_address *first_address(bool v4, uint32_t *ret_count)
{
    const struct lwip_config *config = stack_config();

    *ret_count = v4 ? config->v4_count : config->v6_count;
    return &config->addresses[v4 ? 0 : config->v4_count];
}

bool stack_owns(const struct in6_addr *addr)
{
    uint32_t count;
    const struct lwip_address *a = first_address(is_v4(addr), &count);

    for (uint32_t i = 0; i < count; i++)
        if (same(addr, &a[i].addr))
            return true;
    return false;
}

/* The last address of a network with room for one, RFC 919; and the one for all. */
bool stack_is_broadcast(const struct in6_addr *addr)
{
    uint32_t count, to = ntohl(addr->s6_addr32[3]);
    const struct lwip_address *a = first_address(true, &count);

    if (!is_v4(addr) || count == 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (a[i].bits < 127 && stack_in_network(addr, &a[i]) && !(~to << (a[i].bits - 96)))
            return true;
    return to == INADDR_BROADCAST;
}

/* The address in the network of `near`, among those of the scope that is wanted. */
static const struct lwip_address *address_near(const struct in6_addr *near, bool link_local)
{
    uint32_t count;
    const struct lwip_address *a = first_address(is_v4(near), &count);

    for (uint32_t i = 0; i < count; i++)
        if (stack_in_network(near, &a[i]) &&
            (is_v4(near) || IN6_IS_ADDR_LINKLOCAL(&a[i].addr) == link_local))
            return &a[i];
    return NULL;
}

/* ---- routes -----------------------------------------------------------------------------------
 */

/* The most precise, then the cheapest, then the first. */
static const struct lwip_route *find_route(const struct in6_addr *dst)
{
    const struct lwip_config *config = stack_config();
    const struct lwip_route *best = NULL;

    for (uint32_t i = 0; i < config->route_count; i++) {
        const struct lwip_route *r = &config->routes[i];

        if (!stack_in_network(dst, &r->to) || is_v4(dst) != is_v4(&r->to.addr))
            continue;
        if (!best || r->to.bits > best->to.bits ||
            (r->to.bits == best->to.bits && r->metric < best->metric))
            best = r;
    }
    return best;
}

int stack_next_hop(const struct in6_addr *dst, struct in6_addr *ret)
{
    const struct lwip_route *r = find_route(dst);

    if (!r)
        return -ENETUNREACH;
    *ret = r->has_gateway ? r->gateway : *dst;
    return 0;
}

/* Linux has one for all groups of IPv6 with each device. */
bool stack_has_way(const struct in6_addr *dst)
{
    return (!is_v4(dst) && IN6_IS_ADDR_MULTICAST(dst) && stack_config()->v6_count) ||
           find_route(dst);
}

/* The first of the scope; IPv4's have one. */
static const struct lwip_address *any_address(bool v4, bool link_local)
{
    uint32_t count;
    const struct lwip_address *a = first_address(v4, &count);

    for (uint32_t i = 0; i < count; i++)
        if (v4 || IN6_IS_ADDR_LINKLOCAL(&a[i].addr) == link_local)
            return &a[i];
    return count ? a : NULL;
}

int stack_route(const struct in6_addr *dst, struct in6_addr *ret_src)
{
    const bool v4 = is_v4(dst),
               link_local = !v4 && (IN6_IS_ADDR_LINKLOCAL(dst) || IN6_IS_ADDR_MC_LINKLOCAL(dst)),
               to_all = stack_is_broadcast(dst) ||
                        (v4 ? IN_MULTICAST(ntohl(dst->s6_addr32[3])) : IN6_IS_ADDR_MULTICAST(dst));
    const struct lwip_route *r = find_route(dst);
    const struct lwip_address *src = NULL;

    if (!r && !to_all)
        return -ENETUNREACH;
    if (r && r->has_source && !to_all) {
        *ret_src = r->source;
        return 0;
    }
    src = address_near(dst, link_local);
    if (!src && r && r->has_gateway)
        src = address_near(&r->gateway, link_local);
    if (!src)
        src = any_address(v4, link_local);
    if (!src)
        return -ENETUNREACH;
    *ret_src = src->addr;
    return 0;
}
