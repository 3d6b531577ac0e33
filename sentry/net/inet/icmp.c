/* ICMP: what the machine itself answers, to those who listen by raw sockets. */
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/inet/raw.h"
#include "sentry/net/inet/wire.h"

#define CHECKSUM_AT 2 /* in both kinds of headers */
/* Of a packet that got nowhere: as much as a packet of IPv4 or IPv6 has to have room for. */
#define QUOTED_V4     (576 - (int)sizeof(struct iphdr) - ICMP_MINLEN)
#define QUOTED_V6     (1280 - (int)sizeof(struct ip6_hdr) - ICMP_MINLEN)
#define UNREACH_V6    1
#define UNREACH_PORT6 4

static void put_checksum(struct inet_packet *p, const struct in6_addr *from,
                         const struct in6_addr *to)
{
    uint8_t *icmp = p->bytes + p->network_size;
    size_t size = p->size - p->network_size;
    uint32_t pseudo = addr_is_v4(to) ? 0 : packet_pseudo_sum(from, to, p->protocol, size);
    uint16_t sum;

    memset(icmp + CHECKSUM_AT, 0, sizeof(sum));
    sum = packet_checksum(icmp, size, pseudo);
    memcpy(icmp + CHECKSUM_AT, &sum, sizeof(sum));
}

static bool checksum_ok(const struct inet_packet *p, const struct in6_addr *from,
                        const struct in6_addr *to)
{
    size_t size = p->size - p->network_size;
    uint32_t pseudo = addr_is_v4(to) ? 0 : packet_pseudo_sum(from, to, p->protocol, size);

    return packet_checksum(p->bytes + p->network_size, size, pseudo) == 0;
}

static void send_packet(struct net_ns *net, const struct in6_addr *from, const struct in6_addr *to,
                        uint8_t protocol, const uint8_t *icmp, size_t size)
{
    const struct endpoint src = {.addr = *from}, dst = {.addr = *to};
    struct inet_packet *p = packet_create(&src, &dst, protocol, icmp, size);

    if (!p)
        return;
    put_checksum(p, from, to);
    wire_packet(net, p);
    free(p);
}

/* An echo request comes back as the reply. */
void icmp_answer(struct net_ns *net, const struct inet_packet *packet)
{
    size_t size = packet->size - packet->network_size;
    bool v4 = packet->bytes[0] >> 4 == 4;
    struct in6_addr from, to;
    uint8_t *reply;

    if (packet->protocol != (v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) || size < ICMP_MINLEN)
        return;
    if (packet->bytes[packet->network_size] != (v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST))
        return;
    packet_addresses(packet, &from, &to);
    if (!checksum_ok(packet, &from, &to) || !addr_is_loopback(&to))
        return;
    reply = malloc(size);
    if (!reply)
        return;
    memcpy(reply, packet->bytes + packet->network_size, size);
    reply[0] = v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    send_packet(net, &to, &from, packet->protocol, reply, size);
    free(reply);
}

/* To the sender, with the beginning of what it sent. */
void icmp_port_unreachable(struct net_ns *net, const struct inet_packet *about)
{
    uint8_t icmp[ICMP_MINLEN + QUOTED_V6] = {0};
    bool v4 = about->bytes[0] >> 4 == 4;
    size_t quoted = MIN((size_t)about->size, (size_t)(v4 ? QUOTED_V4 : QUOTED_V6));
    struct in6_addr from, to;

    packet_addresses(about, &from, &to);
    icmp[0] = v4 ? ICMP_UNREACH : UNREACH_V6;
    icmp[1] = v4 ? ICMP_UNREACH_PORT : UNREACH_PORT6;
    memcpy(icmp + ICMP_MINLEN, about->bytes, quoted);
    send_packet(net, &to, &from, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, icmp, ICMP_MINLEN + quoted);
}
