/*
 * Packets. Neither TCP nor UDP makes any here; but filters and raw sockets want to see them, and
 * then one is put together as Linux would send it.
 */
#ifndef SENTRY_NET_INET_PACKET_H
#define SENTRY_NET_INET_PACKET_H

#include "sentry/net/inet/internal.h"

struct inet_packet {
    uint32_t network_size;   /* bytes of the IP header, 20 or 40 */
    uint32_t transport_size; /* of the header behind it; 0: none was asked for */
    uint32_t size;           /* of all */
    uint8_t protocol;        /* of the transport */
    uint8_t bytes[];
};

/*
 * Headers of IP and of the protocol (TCP, UDP, UDP-Lite; others have none), then `size` bytes. The
 * caller frees it; NULL without memory.
 */
struct inet_packet *packet_create(const struct endpoint *from, const struct endpoint *to,
                                  uint8_t protocol, const void *bytes, size_t size);
/* The header of IP alone, for `size` bytes behind it; how many bytes it has. */
size_t packet_put_header(uint8_t *at, const struct in6_addr *from, const struct in6_addr *to,
                         uint8_t protocol, uint8_t ttl, uint8_t tos, size_t size);
/* RFC 1071, of `size` bytes, going on from `sum` (0: nothing before); complemented at the end. */
uint16_t packet_checksum(const void *bytes, size_t size, uint32_t sum);
/* The sum that begins a checksum of TCP, UDP or ICMPv6: that of the pseudo-header. */
uint32_t packet_pseudo_sum(const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
                           size_t size);
/* What the filter of `s` leaves of it, from the transport's header on; 0: it is dropped. */
uint32_t packet_filter(const struct inet_packet *packet, struct socket *s);

#endif
