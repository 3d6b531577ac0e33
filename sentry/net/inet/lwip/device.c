/*
 * The device: frames in and out. What would make lwIP
 * do what it must not here is dropped at the door: packets that are not for us, since Debian's
 * library forwards, and those that claim to come from ourselves, since answering them would go
 * through a thread that we do not start.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "host/packet.h"
#include "sentry/net/inet/lwip/library.h"
#include "sentry/net/inet/lwip/window.h"

/* Newer than some headers. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define BURST        64 /* frames between two looks at the timers */
#define SYN_SIZE_MAX (ETH_HLEN + 60 + 60)
#define SYN_MAX      512 /* half-open connections that others may make */

struct stack_counts stack_counts;

static uint8_t input_frame[HOST_PACKET_MAX] __aligned_to(8);
static uint8_t whole_packet[STACK_PACKET_MAX];

static void count(uint64_t *counter, uint64_t n)
{
    __atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
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
    if (host_writev(stack_config()->fd, iov, ARRAY_COUNT(iov)) < 0) {
        count(&stack_counts.dropped, 1);
        return -ENOBUFS;
    }
    count_out(size);
    return 0;
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Eight bytes at once. */
uint32_t stack_sum(const void *data, size_t size, uint64_t sum)
{
    const uint8_t *bytes = data;
    uint64_t all = 0, word;
    uint8_t rest[8] = {0};

    for (; size >= sizeof(word); bytes += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        all += (word & UINT32_MAX) + (word >> 32);
    }
    memcpy(rest, bytes, size);
    memcpy(&word, rest, sizeof(word));
    all += (word & UINT32_MAX) + (word >> 32);
    while (all >> 16)
        all = (all & 0xffff) + (all >> 16);
    sum += ntohs((uint16_t)all);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)sum;
}

uint16_t stack_segment_size(bool v4)
{
    return (uint16_t)MIN((uint32_t)TCP_MSS, stack_config()->mtu - (v4 ? 40U : 60U));
}

/*
 * A segment that is too long for the network, its first `piece` bytes here, as stack_stream's are
 * made: the device cuts it, or the host for it, and sums up each piece, to which the sum of the
 * names is given.
 */
static void leave_to_device(uint8_t *frame, size_t piece, size_t size, struct virtio_net_hdr *head)
{
    uint8_t *ip = frame + ETH_HLEN;
    bool v4 = ip[0] >> 4 == 4;
    size_t ip_size = v4 ? (ip[0] & 15U) * 4 : 40, names = v4 ? 12 : 8;
    uint8_t *tcp = ip + ip_size;
    uint32_t length = (uint32_t)(size - ETH_HLEN - ip_size);

    if (piece < ETH_HLEN + ip_size + 20 || (v4 ? ip[9] : ip[6]) != IPPROTO_TCP)
        return;
    *head = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
        .hdr_len = (uint16_t)(ETH_HLEN + ip_size + (tcp[12] >> 4) * 4),
        .gso_size = stack_segment_size(v4),
        .csum_start = (uint16_t)(ETH_HLEN + ip_size),
        .csum_offset = 16,
    };
    put16(tcp + 16, stack_sum(ip + names, v4 ? 8 : 32, length + IPPROTO_TCP));
}

/* What the device has no room for is lost, as on any network. */
err_t stack_send_frame(struct netif *netif, struct pbuf *p)
{
    struct virtio_net_hdr head = {0};
    struct iovec iov[2 + 16] = {{&head, sizeof(head)}};
    const size_t size = p->tot_len;
    int n = 1;

    if (p->len == size && size <= SYN_SIZE_MAX)
        window_tell_scale(p->payload, size);
    show_outgoing(p);
    if (size > stack_config()->mtu + ETH_HLEN && p->len > ETH_HLEN + 20)
        leave_to_device(p->payload, p->len, size, &head);
    for (; p && n < (int)ARRAY_COUNT(iov); p = p->next) {
        iov[n].iov_base = p->payload;
        iov[n++].iov_len = p->len;
        if (p->tot_len == p->len)
            break;
    }
    if (!p)
        return ERR_BUF;
    if (host_writev(stack_config()->fd, iov, n) < 0) {
        count(&stack_counts.dropped, 1);
        return ERR_OK;
    }
    count_out(size);
    return ERR_OK;
}

/* The interface that has an address in the network of `near`; else the first. */
static struct netif *netif_near(const struct in6_addr *near)
{
    const struct lwip_config *config = stack_config();

    for (uint32_t i = 0; i < config->v4_count; i++)
        if (stack_in_network(near, &config->addresses[i]))
            return &stack_netifs[i];
    return stack_netifs;
}

/* lwIP's own choices, a netif's gateway, give way to the table of routes. */
err_t stack_output_v4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    ip_addr_t general = IPADDR4_INIT(to->addr);
    struct in6_addr dst, hop;
    ip4_addr_t next;

    stack_address_out(&general, &dst);
    if (ip4_addr_ismulticast(to) || stack_is_broadcast(&dst))
        return lwip.etharp_output(netif_near(&dst), p, to);
    if (stack_next_hop(&dst, &hop) < 0)
        return ERR_RTE;
    next.addr = hop.s6_addr32[3];
    netif = netif_near(&hop);
    stack_hop_used(netif, &next);
    return ip4_addr_netcmp(&next, netif_ip4_addr(netif), netif_ip4_netmask(netif))
               ? lwip.etharp_output(netif, p, &next)
               : lwip.etharp_query(netif, &next, p);
}

/* To a neighbour of whom lwIP knows no prefix: for the moment it gets one of 64 bits. */
static err_t output_near(struct pbuf *p, const struct in6_addr *hop, const ip6_addr_t *next)
{
    struct nd6_prefix_list_entry *last = &lwip.prefix_list[LWIP_ND6_NUM_PREFIXES - 1], own = *last;
    err_t err;

    last->prefix = *next;
    last->netif = stack_netifs;
    last->invalidation_timer = UINT32_MAX;
    err = lwip.ethip6_output(stack_netifs, p, next);
    *last = own;
    stack_ask_neighbour(hop);
    return err;
}

err_t stack_output_v6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    struct in6_addr dst, hop;
    ip_addr_t next;

    if (ip6_addr_ismulticast(to))
        return lwip.ethip6_output(stack_netifs, p, to);
    memcpy(&dst, to->addr, sizeof(dst));
    if (stack_next_hop(&dst, &hop) < 0)
        return ERR_RTE;
    /* It remembers the path MTU of what it sends by its own router. */
    if (stack_router && IN6_ARE_ADDR_EQUAL(&hop, stack_router) && !stack_seems_near(&dst) &&
        stack_seems_near(&hop))
        return lwip.ethip6_output(stack_netifs, p, to);
    stack_address_in(&hop, &next);
    return stack_seems_near(&hop) ? lwip.ethip6_output(stack_netifs, p, ip_2_ip6(&next))
                                  : output_near(p, &hop, ip_2_ip6(&next));
}

/* ---- in ---------------------------------------------------------------------------------------
 */

/* What the sender's device would have summed up. */
static void complete_checksum(uint8_t *frame, size_t size, const struct virtio_net_hdr *head)
{
    size_t start = head->csum_start, at = start + head->csum_offset;
    uint32_t sum;

    if (start > size || size - start < 2 || at > size - 2)
        return;
    sum = ~stack_sum(frame + start, size - start, 0) & 0xffff;
    put16(frame + at, sum ? sum : 0xffff);
}

/*
 * Others may begin only so many connections without going on with them. The oldest of these makes
 * room, so that under a flood who answers quickly is still served: new ones are first in the list.
 */
static void make_room_for_syn(void)
{
    struct tcp_pcb *pcb, *oldest = NULL;
    int n = 0;

    for (pcb = *lwip.tcp_active_pcbs; pcb; pcb = pcb->next)
        if (pcb->state == SYN_RCVD) {
            oldest = pcb;
            n++;
        }
    if (n >= SYN_MAX)
        lwip.tcp_abandon(oldest, 0);
    stack_stream_trim();
}

static bool is_syn(const uint8_t *tcp)
{
    return (tcp[13] & 0x12) == 0x02;
}

static bool wanted_v4(const uint8_t *ip, size_t size)
{
    struct in6_addr src = {.s6_addr32 = {0, 0, PP_HTONL(0xffffUL)}}, dst = src;
    size_t header;

    if (size < 20 || !stack_has_v4())
        return false;
    memcpy(&src.s6_addr32[3], ip + 12, 4);
    memcpy(&dst.s6_addr32[3], ip + 16, 4);
    if (stack_owns(&src) || ip[12] == 127 || ip[16] == 127)
        return false;
    if (!stack_owns(&dst) && !stack_is_broadcast(&dst) && !IN_MULTICAST(ntohl(dst.s6_addr32[3])))
        return false;
    header = (ip[0] & 15U) * 4;
    if (ip[9] == IPPROTO_TCP && size >= header + 20 && is_syn(ip + header))
        make_room_for_syn();
    return true;
}

static bool wanted_v6(const uint8_t *ip, size_t size)
{
    struct in6_addr src, dst;

    if (size < 40 || stack_config()->v6_count == 0)
        return false;
    memcpy(&src, ip + 8, 16);
    memcpy(&dst, ip + 24, 16);
    if (stack_owns(&src) || IN6_IS_ADDR_LOOPBACK(&src) || IN6_IS_ADDR_V4MAPPED(&src) ||
        IN6_IS_ADDR_V4MAPPED(&dst))
        return false;
    if (!stack_owns(&dst) && !IN6_IS_ADDR_MULTICAST(&dst))
        return false;
    if (ip[6] == IPPROTO_TCP && size >= 60 && is_syn(ip + 40))
        make_room_for_syn();
    return true;
}

static bool wanted(const uint8_t *frame, size_t size)
{
    if (size < ETH_HLEN)
        return false;
    switch (frame[12] << 8 | frame[13]) {
    case ETH_P_ARP:
        return stack_has_v4();
    case ETH_P_IP:
        return wanted_v4(frame + ETH_HLEN, size - ETH_HLEN);
    case ETH_P_IPV6:
        return wanted_v6(frame + ETH_HLEN, size - ETH_HLEN);
    default:
        return false;
    }
}

static struct pbuf *pbuf_of(const uint8_t *bytes, size_t size)
{
    struct pbuf *p = size <= UINT16_MAX ? lwip.pbuf_alloc(PBUF_RAW, (u16_t)size, PBUF_RAM) : NULL;

    if (p)
        lwip.pbuf_take(p, bytes, (u16_t)size);
    else
        count(&stack_counts.dropped, 1);
    return p;
}

/* The packet behind a frame's header, or the one that it completes, is for those who see all. */
static void take_fragment(const uint8_t *ip, size_t size)
{
    size_t whole = stack_reassemble(ip, size, whole_packet);
    struct pbuf *p = whole ? pbuf_of(whole_packet, whole) : NULL;

    if (!p)
        return;
    if (stack_config()->raw)
        stack_packet_arrived(whole_packet, whole);
    p->if_idx = netif_get_index(stack_netifs);
    (void)(ip[0] >> 4 == 4 ? lwip.ip4_input(p, stack_netifs) : lwip.ip6_input(p, stack_netifs));
}

/* An ARP packet is for the interface whose address it asks for. */
static struct netif *netif_for(const uint8_t *frame, size_t size)
{
    const uint8_t *target = frame + ETH_HLEN + 24;

    if (frame[12] == ETH_P_ARP >> 8 && frame[13] == (ETH_P_ARP & 0xff) && size >= ETH_HLEN + 28)
        for (uint32_t i = 0; i < stack_config()->v4_count; i++)
            if (memcmp(target, &stack_config()->addresses[i].addr.s6_addr32[3], 4) == 0)
                return &stack_netifs[i];
    return stack_netifs;
}

/* TCP beyond the handshake, in which the device's own MTU is told. */
static bool answers_in_long_segments(const uint8_t *frame, size_t size)
{
    const uint8_t *ip = frame + ETH_HLEN;
    size_t header = (ip[0] & 15U) * 4;

    return frame[12] == ETH_P_IP >> 8 && frame[13] == (ETH_P_IP & 0xff) && ip[9] == IPPROTO_TCP &&
           size >= ETH_HLEN + header + 20 && !(ip[header + 13] & 0x02);
}

static void take_frame(uint8_t *frame, size_t size, const struct virtio_net_hdr *head)
{
    struct netif *netif;
    struct pbuf *p;

    count(&stack_counts.in_frames, 1);
    count(&stack_counts.in_bytes, size);
    if (head->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        complete_checksum(frame, size, head);
    if (frame_seen && size >= ETH_HLEN)
        frame_seen(frame, size, false);
    if (!wanted(frame, size)) {
        count(&stack_counts.dropped, 1);
        return;
    }
    if (stack_is_fragment(frame + ETH_HLEN, size - ETH_HLEN)) {
        take_fragment(frame + ETH_HLEN, size - ETH_HLEN);
        return;
    }
    p = pbuf_of(frame, size);
    if (!p)
        return;
    if (stack_config()->raw)
        stack_packet_arrived(frame + ETH_HLEN, size - ETH_HLEN);
    netif = netif_for(frame, size);
    stack_allow_long_segments(answers_in_long_segments(frame, size));
    if (lwip.ethernet_input(p, netif) != ERR_OK)
        lwip.pbuf_free(p);
    stack_allow_long_segments(false);
}

/*
 * Datagrams that their sender gave to its device as one, UDP_SEGMENT of udp(7), to be cut there:
 * each with the headers in front, which say its own size.
 */
static void take_datagrams(const uint8_t *frame, size_t size, const struct virtio_net_hdr *head)
{
    static uint8_t piece[HOST_PACKET_MAX]; /* under stack_lock */
    const size_t start = head->csum_start, headers = start + 8;
    uint8_t *ip = piece + ETH_HLEN;
    bool v4 = size > ETH_HLEN && frame[ETH_HLEN] >> 4 == 4;
    size_t ip_size = v4 ? (frame[ETH_HLEN] & 15U) * 4 : 40, n;

    if (!head->gso_size || start != ETH_HLEN + ip_size || ip_size < 20 || headers > size)
        return;
    for (size_t at = headers; at < size; at += n) {
        n = MIN((size_t)head->gso_size, size - at);
        memcpy(piece, frame, headers);
        memcpy(piece + headers, frame + at, n);
        if (v4) {
            put16(ip + 2, (uint32_t)(ip_size + 8 + n));
            put16(ip + 10, 0);
            put16(ip + 10, ~stack_sum(ip, ip_size, 0));
        } else {
            put16(ip + 4, (uint32_t)(8 + n));
        }
        put16(piece + start + 4, (uint32_t)(8 + n));
        put16(piece + start + 6, stack_sum(ip + (v4 ? 12 : 8), v4 ? 8 : 32, IPPROTO_UDP + 8 + n));
        take_frame(piece, headers + n,
                   &(struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                            .csum_start = head->csum_start,
                                            .csum_offset = 6});
    }
}

bool stack_input(void)
{
    struct virtio_net_hdr head;

    for (int i = 0; i < BURST; i++) {
        ssize_t n = host_read(stack_config()->fd, input_frame, sizeof(input_frame));

        if (n < (ssize_t)sizeof(head))
            return true;
        memcpy(&head, input_frame, sizeof(head));
        if (head.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4)
            take_datagrams(input_frame + sizeof(head), (size_t)n - sizeof(head), &head);
        else
            take_frame(input_frame + sizeof(head), (size_t)n - sizeof(head), &head);
    }
    return false;
}
