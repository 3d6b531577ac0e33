/*
 * What a loopback of packets would carry: it is counted (netns.h), and where somebody looks on, by
 * a raw or a packet socket, packets are made. No lock of sockets is held in any of these.
 */
#ifndef SENTRY_NET_INET_WIRE_H
#define SENTRY_NET_INET_WIRE_H

#include "sentry/net/inet/packet.h"

struct tcp_conn;

/* A packet as it is. */
void wire_packet(struct net_ns *net, const struct inet_packet *packet);
/* A datagram of UDP or UDP-Lite. */
void wire_datagram(struct net_ns *net, const struct endpoint *from, const struct endpoint *to,
                   uint8_t protocol, const void *bytes, size_t size);
/* A connection is made; a SYN that is refused, or that (`full`) nobody answers. */
void wire_connect(struct tcp_conn *c);
void wire_refuse(struct net_ns *net, const struct endpoint *from, const struct endpoint *to,
                 bool full);
/* `side` sends what comes behind all that it has sent, and gets its acknowledgement. */
void wire_send(struct tcp_conn *c, int side, const void *bytes, size_t size);
/* `side` has sent its FIN, or a reset. */
void wire_finish(struct tcp_conn *c, int side, bool reset);

#endif
