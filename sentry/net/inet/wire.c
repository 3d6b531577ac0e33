#include "sentry/net/inet/wire.h"

#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/frames.h"
#include "sentry/net/inet/raw.h"
#include "sentry/net/inet/tcp.h"
#include "sentry/net/netns.h"

#define SEGMENT_MAX 65475 /* bytes, that a packet of either family has room for */
#define WINDOW      65535
#define MSS_OPTION  2
#define MSS_SIZE    4
#define MSS_SHOWN   65475

static bool anybody(struct net_ns *net)
{
    return net_ns_watched(net) || raw_anybody(net);
}

static void show(struct net_ns *net, const struct inet_packet *p)
{
    if (raw_anybody(net))
        raw_deliver(net, p);
    if (net_ns_watched(net))
        net_lo_packet_seen(net, p->bytes[0] >> 4 == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6, p->bytes,
                           p->size);
}

static void count(struct net_ns *net, bool v4, uint64_t packets, size_t size)
{
    net_ns_lo_count(net, packets, size);
    inet_add(net, v4 ? IP_PACKETS : IP6_PACKETS, packets);
    inet_add(net, v4 ? IP_BYTES : IP6_BYTES, size);
}

static void count_icmp(struct net_ns *net, const struct inet_packet *p)
{
    if (p->protocol != IPPROTO_ICMP || p->size <= p->network_size)
        return;
    switch (p->bytes[p->network_size]) {
    case ICMP_ECHO:
        inet_count(net, ICMP_ECHOS);
        break;
    case ICMP_ECHOREPLY:
        inet_count(net, ICMP_REPLIES);
        break;
    case ICMP_UNREACH:
        inet_count(net, ICMP_UNREACHABLES);
        break;
    default:
        break;
    }
}

void wire_packet(struct net_ns *net, const struct inet_packet *p)
{
    count(net, p->bytes[0] >> 4 == 4, 1, p->size);
    count_icmp(net, p);
    if (anybody(net))
        show(net, p);
}

/* At `at` of the header behind IP's. */
static void put_checksum(struct inet_packet *p, size_t at)
{
    uint8_t *header = p->bytes + p->network_size;
    size_t size = p->size - p->network_size;
    struct in6_addr from, to;
    uint16_t sum = 0;

    packet_addresses(p, &from, &to);
    memcpy(header + at, &sum, sizeof(sum));
    sum = packet_checksum(header, size, packet_pseudo_sum(&from, &to, p->protocol, size));
    if (sum == 0 && p->protocol == IPPROTO_UDP)
        sum = UINT16_MAX;
    memcpy(header + at, &sum, sizeof(sum));
}

static size_t header_size(const struct endpoint *to)
{
    return addr_is_v4(&to->addr) ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);
}

void wire_datagram(struct net_ns *net, const struct endpoint *from, const struct endpoint *to,
                   uint8_t protocol, const void *bytes, size_t size)
{
    struct inet_packet *p;

    count(net, addr_is_v4(&to->addr), 1, header_size(to) + sizeof(struct udphdr) + size);
    if (!anybody(net))
        return;
    p = packet_create(from, to, protocol, bytes, size);
    if (p && protocol == IPPROTO_UDP)
        put_checksum(p, offsetof(struct udphdr, check));
    if (p)
        show(net, p);
    free(p);
}

/* ---- segments ---------------------------------------------------------------------------------
 */

struct segment {
    uint32_t sequence, acknowledged;
    bool syn, ack, push, fin, reset;
    const void *bytes;
    size_t size;
};

static void put_segment(struct net_ns *net, const struct endpoint *from, const struct endpoint *to,
                        const struct segment *s)
{
    static const uint8_t mss[MSS_SIZE] = {MSS_OPTION, MSS_SIZE, MSS_SHOWN >> 8, MSS_SHOWN & 0xff};
    struct tcphdr tcp = {
        .source = htons(from->port),
        .dest = htons(to->port),
        .seq = htonl(s->sequence),
        .ack_seq = s->ack ? htonl(s->acknowledged) : 0,
        .doff = s->syn ? 6 : 5,
        .window = htons(s->reset ? 0 : WINDOW),
    };
    struct inet_packet *p;

    count(net, addr_is_v4(&to->addr), 1, header_size(to) + tcp.doff * 4U + s->size);
    inet_count(net, TCP_SEGMENTS);
    if (!anybody(net))
        return;
    p = packet_create(from, to, IPPROTO_TCP, s->syn ? mss : s->bytes, s->syn ? MSS_SIZE : s->size);
    if (!p)
        return;
    tcp.syn = s->syn;
    tcp.ack = s->ack;
    tcp.psh = s->push;
    tcp.fin = s->fin;
    tcp.rst = s->reset;
    memcpy(p->bytes + p->network_size, &tcp, sizeof(tcp));
    put_checksum(p, offsetof(struct tcphdr, check));
    show(net, p);
    free(p);
}

/* What each side has sent so far; a FIN counts as one. */
static uint32_t sent_locked(const struct tcp_conn *c, int side)
{
    const struct tcp_end *to = &c->end[1 - side];

    return c->end[side].initial + 1 + (uint32_t)(to->arrived + to->held) + to->fin;
}

static void put(struct tcp_conn *c, int side, const struct segment *s)
{
    put_segment(c->net, &c->end[side].name, &c->end[1 - side].name, s);
}

void wire_connect(struct tcp_conn *c)
{
    uint32_t client = c->end[0].initial, server = c->end[1].initial;

    if (!c->net)
        return;
    put(c, 0, &(struct segment){.sequence = client, .syn = true});
    put(c, 1, &(struct segment){server, client + 1, .syn = true, .ack = true});
    put(c, 0, &(struct segment){client + 1, server + 1, .ack = true});
}

void wire_refuse(struct net_ns *net, const struct endpoint *from, const struct endpoint *to,
                 bool full)
{
    uint32_t sequence = tcp_initial();

    put_segment(net, from, to, &(struct segment){.sequence = sequence, .syn = true});
    if (!full)
        put_segment(net, to, from,
                    &(struct segment){.acknowledged = sequence + 1, .ack = true, .reset = true});
}

void wire_send(struct tcp_conn *c, int side, const void *bytes, size_t size)
{
    uint32_t sequence, acknowledged;

    if (!c->net)
        return;
    if (!anybody(c->net)) { /* the usual case: segments and the acknowledgement are only counted */
        uint64_t segments = (size + SEGMENT_MAX - 1) / SEGMENT_MAX + 1;
        size_t header = header_size(&c->end[side].name) + sizeof(struct tcphdr);

        count(c->net, addr_is_v4(&c->end[side].name.addr), segments, segments * header + size);
        inet_add(c->net, TCP_SEGMENTS, segments);
        return;
    }
    lock_acquire(&c->lock);
    sequence = sent_locked(c, side);
    acknowledged = sent_locked(c, 1 - side);
    lock_release(&c->lock);
    for (size_t at = 0; at < size; at += SEGMENT_MAX) {
        struct segment s = {
            .sequence = sequence + (uint32_t)at,
            .acknowledged = acknowledged,
            .ack = true,
            .push = size - at <= SEGMENT_MAX,
            .bytes = (const uint8_t *)bytes + at,
            .size = MIN(size - at, (size_t)SEGMENT_MAX),
        };

        put(c, side, &s);
    }
    put(c, 1 - side, &(struct segment){acknowledged, sequence + (uint32_t)size, .ack = true});
}

void wire_finish(struct tcp_conn *c, int side, bool reset)
{
    uint32_t sequence, acknowledged;

    if (!c->net)
        return;
    lock_acquire(&c->lock);
    sequence = sent_locked(c, side) - 1; /* the FIN's own */
    acknowledged = sent_locked(c, 1 - side);
    lock_release(&c->lock);
    put(c, side,
        &(struct segment){sequence, acknowledged, .ack = true, .fin = !reset, .reset = reset});
    if (!reset)
        put(c, 1 - side, &(struct segment){acknowledged, sequence + 1, .ack = true});
}

/* ---- what packet sockets have put together ----------------------------------------------------
 */

/* A packet of IPv6 as its bytes say; NULL: none. */
static struct inet_packet *parse(const uint8_t *bytes, size_t size)
{
    struct inet_packet *p;
    struct ip6_hdr ip;
    size_t stated;

    if (size < sizeof(ip))
        return NULL;
    memcpy(&ip, bytes, sizeof(ip));
    stated = sizeof(ip) + ntohs(ip.ip6_plen);
    if (bytes[0] >> 4 != 6 || stated > size)
        return NULL;
    p = malloc(sizeof(*p) + stated);
    if (!p)
        return NULL;
    *p = (struct inet_packet){
        .network_size = sizeof(ip), .size = (uint32_t)stated, .protocol = ip.ip6_nxt};
    memcpy(p->bytes, bytes, stated);
    return p;
}

static bool checksum_good(const struct inet_packet *p, const struct in6_addr *from,
                          const struct in6_addr *to)
{
    size_t size = p->size - p->network_size;

    return packet_checksum(p->bytes + p->network_size, size,
                           packet_pseudo_sum(from, to, p->protocol, size)) == 0;
}

/*
 * Datagrams and echo requests get where they say; segments belong to no connection. Packets of IPv4
 * that lo has not routed itself are martians, since no other address is theirs:
 * ip_route_input_slow().
 */
void inet_packet_arrived(struct net_ns *net, uint16_t protocol, const uint8_t *bytes, size_t size)
{
    struct inet_packet *p = protocol == ETHERTYPE_IPV6 ? parse(bytes, size) : NULL;
    struct in6_addr from, to;

    if (!p)
        return;
    packet_addresses(p, &from, &to);
    if (IN6_IS_ADDR_LOOPBACK(&to)) {
        if (raw_anybody(net))
            raw_deliver(net, p);
        icmp_answer(net, p);
        if (p->protocol == IPPROTO_UDP && checksum_good(p, &from, &to))
            udp_receive_packet(net, p);
    }
    free(p);
}
