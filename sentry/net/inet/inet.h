/*
 * AF_INET and AF_INET6 on a loopback of the sandbox's own: ip(7), ipv6(7), tcp(7), udp(7). No
 * packet is made: a connection is an object in memory that both ends hold (tcp.c), a datagram goes
 * straight into its receiver's queue (udp.c).
 *
 * What can be reached is what a Linux with the loopback device alone reaches: 127.0.0.0/8, ::1, and
 * the sockets that are bound to any address; all else is ENETUNREACH.
 */
#ifndef SENTRY_NET_INET_INET_H
#define SENTRY_NET_INET_INET_H

#include "sentry/net/info.h"
#include "sentry/net/socket.h"

/* AF_INET's part of a namespace serves both families. */
extern const struct socket_family inet_family, inet6_family;

/* What a namespace counts: RFC 4293 and its kin, as /proc/net/snmp tells. */
enum inet_counter {
    TCP_ACTIVE_OPENS,
    TCP_PASSIVE_OPENS,
    TCP_ATTEMPT_FAILS,
    TCP_RESETS,
    TCP_LISTEN_OVERFLOWS,
    UDP_IN,
    UDP_NO_PORT,
    UDP_RECEIVE_FULL,
    UDP_OUT,
    UDP6_IN, /* the same four, of IPv6 */
    UDP6_NO_PORT,
    UDP6_RECEIVE_FULL,
    UDP6_OUT,
    ICMP_ECHOS, /* what lo carries: out, and so in */
    ICMP_REPLIES,
    ICMP_UNREACHABLES,
    TCP_SEGMENTS,
    IP_PACKETS,
    IP_BYTES,
    IP6_PACKETS, /* the same two */
    IP6_BYTES,
    INET_COUNTERS
};
uint64_t inet_counter(struct net_ns *net, enum inet_counter which);

/*
 * struct net_frame_users: a packet of ETH_P_IP or ETH_P_IPV6 that somebody else has put together
 * comes in over lo.
 */
void inet_packet_arrived(struct net_ns *net, uint16_t protocol, const uint8_t *packet, size_t size);

/*
 * Calls `show` for each bound socket of the family and protocol (IPPROTO_TCP, IPPROTO_UDP,
 * IPPROTO_UDPLITE; IPPROTO_RAW for raw sockets, whose port is their protocol), until
 * it says false. No lock is held meanwhile.
 */
void inet_for_each(struct net_ns *net, int family, int protocol, inet_report_fn show, void *arg);

/* Calls `show` for each multicast group of an interface that sockets are in, and how many; under a
 * lock. */
void groups_each(struct net_ns *net, int interface,
                 void (*show)(void *arg, const struct in6_addr *group, uint32_t count), void *arg);

#endif
