/*
 * Whose hardware addresses the stack knows on the device's network: arp(7), and neighbour discovery
 * of RFC 4861. lwIP's tables have ten places each. Those of IPv4 that still wait for an answer it
 * does not tell of, so it is remembered here who was asked for. And of IPv6 it asks only for those
 * whose first 64 bits are those of an address of its own: for others the question is made here.
 */
#include <linux/if_ether.h>
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

/* ---- asking for neighbours beyond our prefixes ------------------------------------------------
 */

#define ASK_NS 1000000000ULL /* RetransTimer of RFC 4861 */

bool stack_seems_near(const struct in6_addr *addr)
{
    const struct lwip_config *config = stack_config();

    for (uint32_t i = 0; i < config->v6_count; i++)
        if (memcmp(addr, &config->addresses[config->v4_count + i].addr, 8) == 0)
            return true;
    return false;
}

/* A neighbour solicitation, RFC 4861 4.3, to the group of its address. */
static void solicit(const struct in6_addr *target)
{
    struct __attribute__((packed)) {
        uint8_t to[6], from[6], type[2];
        uint8_t version[4], size[2], next, hops;
        struct in6_addr src, dst;
        uint8_t icmp[8];
        struct in6_addr target;
        uint8_t option[2], hardware[6];
    } frame = {
        .to = {0x33, 0x33, 0xff, target->s6_addr[13], target->s6_addr[14], target->s6_addr[15]},
        .type = {ETH_P_IPV6 >> 8, ETH_P_IPV6 & 0xff},
        .version = {0x60},
        .size = {0, 32},
        .next = IPPROTO_ICMPV6,
        .hops = ND6_HOPLIM,
        .dst = {.s6_addr = {0xff, 2, [11] = 1, [12] = 0xff, [13] = target->s6_addr[13],
                            [14] = target->s6_addr[14], [15] = target->s6_addr[15]}},
        .icmp = {ICMP6_TYPE_NS},
        .target = *target,
        .option = {ND6_OPTION_TYPE_SOURCE_LLADDR, 1}};
    struct in6_addr src;
    uint32_t sum;

    static_assert(sizeof(frame) == ETH_HLEN + 72, "no gaps");
    if (stack_route(target, &src) < 0)
        return;
    memcpy(frame.from, stack_config()->hardware, sizeof(frame.from));
    memcpy(frame.hardware, frame.from, sizeof(frame.hardware));
    frame.src = src;
    sum = ~stack_sum(&frame.src, 64, 32 + IPPROTO_ICMPV6) & 0xffff;
    frame.icmp[2] = (uint8_t)(sum >> 8);
    frame.icmp[3] = (uint8_t)sum;
    (void)stack_frame_send(&frame, sizeof(frame));
}

static struct nd6_neighbor_cache_entry *find_entry(const struct in6_addr *addr)
{
    for (size_t i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++)
        if (lwip.neighbor_cache[i].state != ND6_NO_ENTRY &&
            memcmp(lwip.neighbor_cache[i].next_hop_address.addr, addr, sizeof(*addr)) == 0)
            return &lwip.neighbor_cache[i];
    return NULL;
}

void stack_ask_neighbour(const struct in6_addr *hop)
{
    static struct in6_addr last;
    static uint64_t last_ns;
    const struct nd6_neighbor_cache_entry *e = find_entry(hop);
    uint64_t now;

    if (!e || e->state != ND6_INCOMPLETE)
        return;
    now = host_monotonic_ns();
    if (IN6_ARE_ADDR_EQUAL(hop, &last) && now - last_ns < ASK_NS)
        return;
    last = *hop;
    last_ns = now;
    solicit(hop);
}

void stack_ask_again(void)
{
    static uint64_t last_ns;
    uint64_t now = host_monotonic_ns();

    if (now - last_ns < ASK_NS)
        return;
    last_ns = now;
    for (size_t i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
        const struct nd6_neighbor_cache_entry *e = &lwip.neighbor_cache[i];
        struct in6_addr addr;

        memcpy(&addr, e->next_hop_address.addr, sizeof(addr));
        if ((e->state == ND6_INCOMPLETE || e->state == ND6_PROBE) && !stack_seems_near(&addr))
            solicit(&addr);
    }
}

/* ---- listing ----------------------------------------------------------------------------------
 */

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
