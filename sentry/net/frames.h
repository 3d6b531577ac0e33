/*
 * Frames that pass a network interface, for those who look on: packet(7). The loopback in memory
 * makes none, so whoever sends something over it asks first whether somebody is looking.
 */
#ifndef SENTRY_NET_FRAMES_H
#define SENTRY_NET_FRAMES_H

#include "base/compiler.h"

struct net_ns;

struct net_frame {
    const uint8_t *bytes; /* its link header first, of ETH_HLEN bytes */
    uint32_t size;        /* of all of it */
    int interface;
    uint16_t hardware_type; /* ARPHRD_* */
    uint8_t kind;           /* PACKET_HOST, PACKET_OUTGOING... of linux/if_packet.h */
};

/* How the rooms meet; before the first namespace is made. */
struct net_frame_users {
    /* A frame passes. No lock of sockets is held. */
    void (*seen)(struct net_ns *net, const struct net_frame *frame);
    /* One that somebody put together comes in over lo: a packet of the protocol ETH_P_*. */
    void (*arrived)(struct net_ns *net, uint16_t protocol, const uint8_t *packet, size_t size);
};
void net_frames_set_users(const struct net_frame_users *users);

/* Is somebody looking? */
bool net_ns_watched(const struct net_ns *net);
/* One more, or one less. */
void net_ns_watch(struct net_ns *net, int change);
void net_frame_seen(struct net_ns *net, const struct net_frame *frame);
/* A packet of the protocol ETH_P_* goes out over lo, and so comes in. */
void net_lo_packet_seen(struct net_ns *net, uint16_t protocol, const void *packet, size_t size);
/* A whole frame goes out over lo, and what is in it comes in. -ENOBUFS. */
int net_lo_send_frame(struct net_ns *net, const uint8_t *frame, size_t size);
/* PACKET_* of a frame that comes in at an interface with this address. */
uint8_t net_frame_kind(const uint8_t *frame, const uint8_t *address);
/* ETH_P_* of a frame of at least ETH_HLEN bytes, as eth_type_trans() says. */
uint16_t net_frame_protocol(const uint8_t *frame, size_t size);

#endif
