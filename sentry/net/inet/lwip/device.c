/*
 * The device: frames in and out, and the addresses that the stack has on it. What would make lwIP
 * do what it must not here is dropped at the door: packets that are not for us, since Debian's
 * library forwards, and those that claim to come from ourselves, since answering them would go
 * through a thread that we do not start.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "host/library.h"
#include "host/packet.h"
#include "sentry/net/inet/lwip/library.h"

#define LIBRARY "liblwip.so.0"
#define BURST   64  /* frames between two looks at the timers */
#define SYN_MAX 512 /* half-open connections that others may make */

struct lock stack_lock = LOCK_INIT;
struct lwip_library lwip;
struct netif stack_netif;
struct stack_counts stack_counts;

static struct lwip_config config;
static uint8_t input_frame[HOST_PACKET_MAX] __aligned_to(8);

static void count(uint64_t *counter, uint64_t n)
{
    __atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

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
    ip6_addr_assign_zone(ip_2_ip6(to), IP6_UNKNOWN, &stack_netif);
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

bool stack_owns(const struct in6_addr *addr)
{
    if (IN6_IS_ADDR_V4MAPPED(addr))
        return config.has_v4 && addr->s6_addr32[3] == config.address.s_addr;
    for (uint32_t i = 0; i < config.v6_count; i++)
        if (memcmp(addr, &config.v6[i], sizeof(*addr)) == 0)
            return true;
    return false;
}

bool stack_is_broadcast(const struct in6_addr *addr)
{
    uint32_t mask = config.mask.s_addr, to = addr->s6_addr32[3];

    if (!IN6_IS_ADDR_V4MAPPED(addr) || !config.has_v4 || ntohl(mask) >= 0xfffffffe)
        return false;
    return to == INADDR_BROADCAST || to == (config.address.s_addr | ~mask);
}

static bool same_prefix(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;

    if (memcmp(a, b, bytes) != 0)
        return false;
    return rest == 0 || ((a->s6_addr[bytes] ^ b->s6_addr[bytes]) >> (8 - rest)) == 0;
}

static int route_v4(const struct in6_addr *dst, struct in6_addr *ret_src)
{
    bool near = ((dst->s6_addr32[3] ^ config.address.s_addr) & config.mask.s_addr) == 0;

    if (!config.has_v4)
        return -ENETUNREACH;
    if (!near && !config.gateway.s_addr && !stack_is_broadcast(dst) &&
        !IN_MULTICAST(ntohl(dst->s6_addr32[3])))
        return -ENETUNREACH;
    *ret_src = *dst;
    ret_src->s6_addr32[3] = config.address.s_addr;
    return 0;
}

/* The address in the same network, else the widest that there is. */
int stack_route(const struct in6_addr *dst, struct in6_addr *ret_src)
{
    const struct in6_addr *best = NULL;
    bool near = IN6_IS_ADDR_LINKLOCAL(dst) || IN6_IS_ADDR_MC_LINKLOCAL(dst);

    if (IN6_IS_ADDR_V4MAPPED(dst))
        return route_v4(dst, ret_src);
    for (uint32_t i = 0; i < config.v6_count; i++) {
        bool local = IN6_IS_ADDR_LINKLOCAL(&config.v6[i]);

        if (local == near && (!best || same_prefix(dst, &config.v6[i], config.v6_prefix[i])))
            best = &config.v6[i];
        if (!local && same_prefix(dst, &config.v6[i], config.v6_prefix[i]))
            near = true;
    }
    if (!best || (!near && !config.has_gateway6 && !IN6_IS_ADDR_MULTICAST(dst)))
        return -ENETUNREACH;
    *ret_src = *best;
    return 0;
}

/* ---- out --------------------------------------------------------------------------------------
 */

static void (*frame_seen)(const uint8_t *frame, size_t size, bool outgoing);

void stack_watch(void (*seen)(const uint8_t *frame, size_t size, bool outgoing))
{
    frame_seen = seen;
}

static void count_out(size_t bytes)
{
    count(&stack_counts.out_frames, 1);
    count(&stack_counts.out_bytes, bytes);
}

/* Those who look on see what leaves in one piece. */
static void show_outgoing(struct pbuf *p)
{
    static uint8_t frame[UINT16_MAX]; /* under stack_lock */

    if (frame_seen)
        frame_seen(frame, lwip.pbuf_copy_partial(p, frame, p->tot_len, 0), true);
}

int stack_frame_send(const void *frame, size_t size)
{
    struct virtio_net_hdr head = {0};
    const struct iovec iov[] = {{&head, sizeof(head)}, {(void *)(uintptr_t)frame, size}};

    if (frame_seen)
        frame_seen(frame, size, true);
    if (host_writev(config.fd, iov, ARRAY_COUNT(iov)) < 0) {
        count(&stack_counts.dropped, 1);
        return -ENOBUFS;
    }
    count_out(size);
    return 0;
}

/* What the device has no room for is lost, as on any network. */
static err_t send_frame(struct netif *netif, struct pbuf *p)
{
    struct virtio_net_hdr head = {0};
    struct iovec iov[2 + 16] = {{&head, sizeof(head)}};
    size_t size = p->tot_len;
    int n = 1;

    show_outgoing(p);
    for (; p && n < (int)ARRAY_COUNT(iov); p = p->next) {
        iov[n].iov_base = p->payload;
        iov[n++].iov_len = p->len;
        if (p->tot_len == p->len)
            break;
    }
    if (!p)
        return ERR_BUF;
    if (host_writev(config.fd, iov, n) < 0) {
        count(&stack_counts.dropped, 1);
        return ERR_OK;
    }
    count_out(size);
    return ERR_OK;
}

/* ---- in ---------------------------------------------------------------------------------------
 */

/* RFC 1071, over bytes that the sender's device would have summed up. */
static void complete_checksum(uint8_t *frame, size_t size, const struct virtio_net_hdr *head)
{
    size_t start = head->csum_start, at = start + head->csum_offset;
    uint64_t sum = 0;

    if (start > size || size - start < 2 || at > size - 2)
        return;
    for (size_t i = start; i + 1 < size; i += 2)
        sum += (uint32_t)frame[i] << 8 | frame[i + 1];
    if ((size - start) & 1)
        sum += (uint32_t)frame[size - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    sum = ~sum & 0xffff;
    if (sum == 0)
        sum = 0xffff;
    frame[at] = (uint8_t)(sum >> 8);
    frame[at + 1] = (uint8_t)sum;
}

/* Others may begin only so many connections without going on with them. */
static bool too_many_syns(void)
{
    const struct tcp_pcb *pcb;
    int n = 0;

    for (pcb = *lwip.tcp_active_pcbs; pcb; pcb = pcb->next)
        n += pcb->state == SYN_RCVD;
    return n >= SYN_MAX;
}

static bool is_syn(const uint8_t *tcp)
{
    return (tcp[13] & 0x12) == 0x02;
}

static bool wanted_v4(const uint8_t *ip, size_t size)
{
    struct in6_addr src = {.s6_addr32 = {0, 0, PP_HTONL(0xffffUL)}}, dst = src;
    size_t header;

    if (size < 20 || !config.has_v4)
        return false;
    memcpy(&src.s6_addr32[3], ip + 12, 4);
    memcpy(&dst.s6_addr32[3], ip + 16, 4);
    if (stack_owns(&src) || ip[12] == 127 || ip[16] == 127)
        return false;
    if (!stack_owns(&dst) && !stack_is_broadcast(&dst) && !IN_MULTICAST(ntohl(dst.s6_addr32[3])))
        return false;
    header = (ip[0] & 15U) * 4;
    return ip[9] != IPPROTO_TCP || size < header + 20 || !is_syn(ip + header) || !too_many_syns();
}

static bool wanted_v6(const uint8_t *ip, size_t size)
{
    struct in6_addr src, dst;

    if (size < 40 || config.v6_count == 0)
        return false;
    memcpy(&src, ip + 8, 16);
    memcpy(&dst, ip + 24, 16);
    if (stack_owns(&src) || IN6_IS_ADDR_LOOPBACK(&src) || IN6_IS_ADDR_V4MAPPED(&src) ||
        IN6_IS_ADDR_V4MAPPED(&dst))
        return false;
    if (!stack_owns(&dst) && !IN6_IS_ADDR_MULTICAST(&dst))
        return false;
    return ip[6] != IPPROTO_TCP || size < 60 || !is_syn(ip + 40) || !too_many_syns();
}

static bool wanted(const uint8_t *frame, size_t size)
{
    if (size < ETH_HLEN)
        return false;
    switch (frame[12] << 8 | frame[13]) {
    case ETH_P_ARP:
        return config.has_v4;
    case ETH_P_IP:
        return wanted_v4(frame + ETH_HLEN, size - ETH_HLEN);
    case ETH_P_IPV6:
        return wanted_v6(frame + ETH_HLEN, size - ETH_HLEN);
    default:
        return false;
    }
}

static void take_frame(uint8_t *frame, size_t size, const struct virtio_net_hdr *head)
{
    struct pbuf *p;

    count(&stack_counts.in_frames, 1);
    count(&stack_counts.in_bytes, size);
    if (head->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        complete_checksum(frame, size, head);
    if (frame_seen && size >= ETH_HLEN)
        frame_seen(frame, size, false);
    p = wanted(frame, size) && size <= UINT16_MAX ? lwip.pbuf_alloc(PBUF_RAW, (u16_t)size, PBUF_RAM)
                                                  : NULL;
    if (!p) {
        count(&stack_counts.dropped, 1);
        return;
    }
    if (config.raw)
        stack_packet_arrived(frame + ETH_HLEN, size - ETH_HLEN);
    lwip.pbuf_take(p, frame, (u16_t)size);
    if (lwip.ethernet_input(p, &stack_netif) != ERR_OK)
        lwip.pbuf_free(p);
}

bool stack_input(void)
{
    struct virtio_net_hdr head;

    for (int i = 0; i < BURST; i++) {
        ssize_t n = host_read(config.fd, input_frame, sizeof(input_frame));

        if (n < (ssize_t)sizeof(head))
            return true;
        memcpy(&head, input_frame, sizeof(head));
        take_frame(input_frame + sizeof(head), (size_t)n - sizeof(head), &head);
    }
    return false;
}

uint32_t stack_timers(void)
{
    lwip.sys_check_timeouts();
    /* lwIP counts a router's seconds down; this one was told to us for good. */
    if (config.has_gateway6)
        lwip.default_router_list[0].invalidation_timer = UINT32_MAX;
    return lwip.sys_timeouts_sleeptime();
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
    F(tcp_active_pcbs)
#undef F
    return 0;
}

static err_t init_netif(struct netif *netif)
{
    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->output = lwip.etharp_output;
    netif->output_ip6 = lwip.ethip6_output;
    netif->linkoutput = send_frame;
    netif->mtu = (u16_t)MIN(config.mtu, 65535U);
    netif->mtu6 = netif->mtu;
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, config.hardware, 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
                   NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    return ERR_OK;
}

/* As if it had advertised itself, for ever. */
static void add_router(void)
{
    struct nd6_neighbor_cache_entry *router = &lwip.neighbor_cache[0];
    ip_addr_t address;

    stack_address_in(&config.gateway6, &address);
    router->next_hop_address = *ip_2_ip6(&address);
    router->netif = &stack_netif;
    router->state = ND6_INCOMPLETE;
    router->isrouter = 1;
    router->counter.probes_sent = 0;
    lwip.default_router_list[0].neighbor_entry = router;
    lwip.default_router_list[0].invalidation_timer = UINT32_MAX;
}

int stack_add_device(const struct lwip_config *given)
{
    ip4_addr_t address = {0}, mask = {0}, gateway = {0};
    unsigned seed;

    config = *given;
    host_random(&seed, sizeof(seed));
    srand(seed); /* lwIP's first port and some of its timers */
    lwip.lwip_init();
    if (config.has_v4) {
        address.addr = config.address.s_addr;
        mask.addr = config.mask.s_addr;
        gateway.addr = config.gateway.s_addr;
    }
    if (!lwip.netif_add(&stack_netif, &address, &mask, &gateway, NULL, init_netif,
                        lwip.ethernet_input))
        return -ENOMEM;
    lwip.netif_set_default(&stack_netif);
    for (uint32_t i = 0; i < config.v6_count; i++) {
        ip_addr_t v6;

        stack_address_in(&config.v6[i], &v6);
        lwip.netif_ip6_addr_set(&stack_netif, (s8_t)i, ip_2_ip6(&v6));
        lwip.netif_ip6_addr_set_state(&stack_netif, (s8_t)i, IP6_ADDR_PREFERRED);
    }
    stack_netif.ip6_autoconfig_enabled = 0;
    stack_netif.rs_count = 0;
    if (config.has_gateway6)
        add_router();
    lwip.netif_set_link_up(&stack_netif);
    lwip.netif_set_up(&stack_netif);
    if (config.has_gateway6)
        lwip.nd6_tmr(); /* asks for the router now, not in a second */
    return 0;
}
