/* Raw sockets: raw(7), for the files of the internet families alone. */
#ifndef SENTRY_NET_INET_RAW_H
#define SENTRY_NET_INET_RAW_H

#include "sentry/net/inet/packet.h"
#include "sentry/net/inet/udp.h"

#define RAW_ICMP6_WORDS 8

/* Packets lie in a queue as datagrams do: of IPv4 with their header, of IPv6 without it. */
struct raw_socket {
    struct udp_socket queue; /* its sending half is unused */
    struct list node;        /* in the namespace's list, under its lock */
    int header_included;
    uint32_t icmp_filter;                   /* types that are not wanted */
    uint32_t icmp6_filter[RAW_ICMP6_WORDS]; /* likewise */
    int checksum_at;                        /* IPV6_CHECKSUM; -1: none */
};

int raw_create(struct net_ns *net, int domain, int protocol, struct socket **ret);
/* inet_for_each() of raw sockets; under the namespace's lock. */
void raw_for_each(struct net_ns *net, int family, inet_report_fn show, void *arg);
/* Copies a packet to every raw socket of the namespace that wants it. */
void raw_deliver(struct net_ns *net, const struct inet_packet *packet);
/* Is there anybody who might? */
bool raw_anybody(struct net_ns *net);
/* UDP: a datagram went to a port that nobody has. */
void icmp_port_unreachable(struct net_ns *net, const struct inet_packet *about);
/* icmp.c: what the machine itself answers to a packet that came for it. */
void icmp_answer(struct net_ns *net, const struct inet_packet *packet);
/* Where a packet is from, and to. */
void packet_addresses(const struct inet_packet *packet, struct in6_addr *ret_from,
                      struct in6_addr *ret_to);

#endif
