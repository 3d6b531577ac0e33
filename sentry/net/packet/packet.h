/*
 * AF_PACKET: frames as they pass lo, or the device of --network=sandbox, for those with
 * CAP_NET_RAW: packet(7). Frames of lo are made while somebody looks on (sentry/net/frames.h).
 */
#ifndef SENTRY_NET_PACKET_PACKET_H
#define SENTRY_NET_PACKET_PACKET_H

#include "sentry/net/socket.h"

struct memfile;
struct net_frame;

extern const struct socket_family packet_family;

/* Where the memory of rings comes from; before the first program runs. */
void packet_setup(struct memfile *memfile);
/* struct net_frame_users: every socket of the namespace that wants the frame gets it. */
void packet_frame_seen(struct net_ns *net, const struct net_frame *frame);

/* What /proc/net/packet tells. */
struct packet_info {
    uint64_t ino;
    uint32_t refs, uid, queued; /* queued: bytes */
    int type, interface;
    uint16_t protocol; /* ETH_P_* */
    bool running;
};
void packet_list(struct net_ns *net, void (*show)(void *arg, const struct packet_info *info),
                 void *arg);

#endif
