/*
 * Whose hardware addresses the stack knows on the device's network: arp(7), and neighbour discovery
 * of RFC 4861. lwIP's tables have ten places each. Those of IPv4 that still wait for an answer it
 * does not tell of, so it is remembered here who was asked for.
 */
#include <linux/neighbour.h>
#include <string.h>

#include "host/clock.h"
#include "sentry/net/inet/lwip/library.h"

#define ASKED_MAX  8
#define PENDING_NS (5 * 1000000000ULL)  /* ARP_MAXPENDING: then lwIP gives up */
#define FAILED_NS  (60 * 1000000000ULL) /* gc_stale_time: as long as it is of interest */

/* Next hops that were sent to, each once; under stack_lock. */
static struct {
    uint32_t addr; /* network order; 0: none */
    uint64_t last_ns;
} asked[ASKED_MAX];

void stack_hop_used(struct netif *netif, const ip4_addr_t *hop)
{
    struct eth_addr *hardware;
    const ip4_addr_t *same;
    uint64_t now;
    int i, oldest = 0;

    if (lwip.etharp_find_addr(netif, hop, &hardware, &same) >= 0)
        return;
    now = host_monotonic_ns();
    for (i = 0; i < ASKED_MAX && asked[i].addr != hop->addr; i++)
        if (asked[i].last_ns < asked[oldest].last_ns)
            oldest = i;
    i = i == ASKED_MAX ? oldest : i;
    asked[i].addr = hop->addr;
    asked[i].last_ns = now;
}

static bool is_known(uint32_t addr)
{
    const ip4_addr_t hop = {addr}, *same;
    struct eth_addr *hardware;

    for (uint32_t i = 0; i < stack_config()->v4_count; i++)
        if (lwip.etharp_find_addr(&stack_netifs[i], &hop, &hardware, &same) >= 0)
            return true;
    return false;
}

static uint32_t list_v4(struct stack_neighbour ret[STACK_NEIGHBOURS_MAX])
{
    const uint64_t now = host_monotonic_ns();
    uint32_t n = 0;

    for (size_t i = 0; i < ARP_TABLE_SIZE; i++) {
        struct eth_addr *hardware;
        struct netif *netif;
        ip4_addr_t *addr;

        if (!lwip.etharp_get_entry(i, &addr, &netif, &hardware))
            continue;
        ret[n] = (struct stack_neighbour){.state = NUD_REACHABLE, .has_hardware = true};
        ret[n].addr = (struct in6_addr){.s6_addr32 = {0, 0, PP_HTONL(0xffffUL), addr->addr}};
        memcpy(ret[n++].hardware, hardware->addr, sizeof(ret->hardware));
    }
    for (size_t i = 0; i < ASKED_MAX; i++) {
        if (!asked[i].addr || now - asked[i].last_ns > FAILED_NS || is_known(asked[i].addr))
            continue;
        ret[n].state = now - asked[i].last_ns < PENDING_NS ? NUD_INCOMPLETE : NUD_FAILED;
        ret[n].has_hardware = ret[n].is_router = false;
        ret[n++].addr = (struct in6_addr){.s6_addr32 = {0, 0, PP_HTONL(0xffffUL), asked[i].addr}};
    }
    return n;
}

static uint32_t list_v6(struct stack_neighbour *ret)
{
    static const uint16_t states[] = {
        [ND6_INCOMPLETE] = NUD_INCOMPLETE, [ND6_REACHABLE] = NUD_REACHABLE, [ND6_STALE] = NUD_STALE,
        [ND6_DELAY] = NUD_DELAY,           [ND6_PROBE] = NUD_PROBE,
    };
    uint32_t n = 0;

    for (size_t i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
        const struct nd6_neighbor_cache_entry *e = &lwip.neighbor_cache[i];

        if (e->state == ND6_NO_ENTRY || e->state >= ARRAY_COUNT(states))
            continue;
        ret[n] = (struct stack_neighbour){.state = states[e->state],
                                          .has_hardware = e->state != ND6_INCOMPLETE};
        memcpy(&ret[n].addr, e->next_hop_address.addr, sizeof(ret->addr));
        /* The one that was told to us did not say so itself. */
        ret[n].is_router =
            e->isrouter && !(stack_router && IN6_ARE_ADDR_EQUAL(&ret[n].addr, stack_router));
        memcpy(ret[n++].hardware, e->lladdr, sizeof(ret->hardware));
    }
    return n;
}

uint32_t stack_neighbours(struct stack_neighbour ret[STACK_NEIGHBOURS_MAX])
{
    uint32_t n;

    static_assert(ARP_TABLE_SIZE + ASKED_MAX + LWIP_ND6_NUM_NEIGHBORS <= STACK_NEIGHBOURS_MAX,
                  "room for all");
    lock_acquire(&stack_lock);
    n = list_v4(ret);
    n += list_v6(ret + n);
    lock_release(&stack_lock);
    return n;
}
