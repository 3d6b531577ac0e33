#include "sentry/net/inet/packet.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/filter.h"

#define TTL 64

static uint32_t add_words(const void *bytes, size_t size, uint32_t sum)
{
    const uint8_t *at = bytes;

    for (; size > 1; at += 2, size -= 2) {
        sum += (uint32_t)at[0] << 8 | at[1];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return size ? sum + ((uint32_t)at[0] << 8) : sum;
}

uint16_t packet_checksum(const void *bytes, size_t size, uint32_t sum)
{
    sum = add_words(bytes, size, sum);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

uint32_t packet_pseudo_sum(const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
                           size_t size)
{
    size_t skip = addr_is_v4(to) ? 12 : 0;
    uint32_t sum = protocol + (uint32_t)(size >> 16) + (uint32_t)(size & 0xffff);

    sum = add_words(from->s6_addr + skip, 16 - skip, sum);
    return add_words(to->s6_addr + skip, 16 - skip, sum);
}

size_t packet_put_header(uint8_t *at, const struct in6_addr *from, const struct in6_addr *to,
                         uint8_t protocol, uint8_t ttl, uint8_t tos, size_t size)
{
    struct ip6_hdr v6 = {.ip6_src = *from, .ip6_dst = *to};
    struct iphdr v4 = {.version = 4, .ihl = 5, .frag_off = htons(IP_DF)};

    if (addr_is_v4(to)) {
        v4.tos = tos;
        v4.tot_len = htons((uint16_t)(sizeof(v4) + size));
        v4.ttl = ttl;
        v4.protocol = protocol;
        v4.saddr = from->s6_addr32[3];
        v4.daddr = to->s6_addr32[3];
        v4.check = packet_checksum(&v4, sizeof(v4), 0);
        memcpy(at, &v4, sizeof(v4));
        return sizeof(v4);
    }
    v6.ip6_flow = htonl(6U << 28 | (uint32_t)tos << 20);
    v6.ip6_plen = htons((uint16_t)size);
    v6.ip6_nxt = protocol;
    v6.ip6_hlim = ttl;
    memcpy(at, &v6, sizeof(v6));
    return sizeof(v6);
}

static size_t transport_size(uint8_t protocol)
{
    switch (protocol) {
    case IPPROTO_TCP:
        return sizeof(struct tcphdr);
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
        return sizeof(struct udphdr);
    default:
        return 0;
    }
}

static void put_transport(struct inet_packet *p, const struct endpoint *from,
                          const struct endpoint *to)
{
    struct udphdr udp = {.source = htons(from->port), .dest = htons(to->port)};
    struct tcphdr tcp = {.source = htons(from->port), .dest = htons(to->port), .doff = 5};
    size_t size = p->size - p->network_size;

    if (p->protocol == IPPROTO_TCP) {
        tcp.ack = tcp.psh = 1;
        tcp.window = htons(UINT16_MAX);
        memcpy(p->bytes + p->network_size, &tcp, sizeof(tcp));
    } else {
        udp.len = htons((uint16_t)size);
        memcpy(p->bytes + p->network_size, &udp, sizeof(udp));
    }
}

struct inet_packet *packet_create(const struct endpoint *from, const struct endpoint *to,
                                  uint8_t protocol, const void *bytes, size_t size)
{
    size_t network = addr_is_v4(&to->addr) ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);
    size_t transport = transport_size(protocol);
    struct inet_packet *p = malloc(sizeof(*p) + network + transport + size);

    if (!p)
        return NULL;
    p->network_size = (uint32_t)network;
    p->transport_size = (uint32_t)transport;
    p->size = (uint32_t)(network + transport + size);
    p->protocol = protocol;
    packet_put_header(p->bytes, &from->addr, &to->addr, protocol, TTL, 0, transport + size);
    if (transport > 0)
        put_transport(p, from, to);
    if (size > 0)
        memcpy(p->bytes + network + transport, bytes, size);
    return p;
}

uint32_t packet_filter(const struct inet_packet *packet, struct socket *s)
{
    return socket_filter_run(
        s, &(struct bpf_packet){
               .bytes = packet->bytes,
               .size = packet->size - packet->network_size,
               .data = packet->network_size,
               .protocol = packet->bytes[0] >> 4 == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6,
               .payload = packet->transport_size,
           });
}
