#include "sentry/net/frames.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/net/netns.h"

#define LENGTH_MAX 1500 /* a type up to here is the frame's length: IEEE 802.3 */

static const struct net_frame_users *users;
static const uint8_t no_address[ETH_ALEN];

void net_frames_set_users(const struct net_frame_users *given)
{
    users = given;
}

void net_frame_seen(struct net_ns *net, const struct net_frame *frame)
{
    if (users)
        users->seen(net, frame);
}

uint8_t net_frame_kind(const uint8_t *frame, const uint8_t *address)
{
    static const uint8_t all[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (memcmp(frame, address, ETH_ALEN) == 0)
        return PACKET_HOST;
    if (memcmp(frame, all, ETH_ALEN) == 0)
        return PACKET_BROADCAST;
    return frame[0] & 1 ? PACKET_MULTICAST : PACKET_OTHERHOST;
}

uint16_t net_frame_protocol(const uint8_t *frame, size_t size)
{
    uint16_t type = (uint16_t)(frame[2 * ETH_ALEN] << 8 | frame[2 * ETH_ALEN + 1]);

    if (type > LENGTH_MAX)
        return type;
    return size >= ETH_HLEN + 2 && frame[ETH_HLEN] == 0xff && frame[ETH_HLEN + 1] == 0xff
               ? ETH_P_802_3
               : ETH_P_802_2;
}

/* Out, and in again. */
static void pass(struct net_ns *net, const uint8_t *bytes, size_t size)
{
    struct net_frame frame = {
        .bytes = bytes,
        .size = (uint32_t)size,
        .interface = LO_INDEX,
        .hardware_type = LO_TYPE,
        .kind = PACKET_OUTGOING,
    };

    net_frame_seen(net, &frame);
    frame.kind = net_frame_kind(bytes, no_address);
    net_frame_seen(net, &frame);
}

void net_lo_packet_seen(struct net_ns *net, uint16_t protocol, const void *packet, size_t size)
{
    uint8_t *bytes = malloc(ETH_HLEN + size);

    if (!bytes)
        return;
    memset(bytes, 0, ETH_HLEN);
    bytes[2 * ETH_ALEN] = (uint8_t)(protocol >> 8);
    bytes[2 * ETH_ALEN + 1] = (uint8_t)protocol;
    memcpy(bytes + ETH_HLEN, packet, size);
    pass(net, bytes, ETH_HLEN + size);
    free(bytes);
}

int net_lo_send_frame(struct net_ns *net, const uint8_t *frame, size_t size)
{
    net_ns_lo_count(net, 1, size - ETH_HLEN);
    pass(net, frame, size);
    if (users && net_frame_kind(frame, no_address) == PACKET_HOST)
        users->arrived(net, net_frame_protocol(frame, size), frame + ETH_HLEN, size - ETH_HLEN);
    return 0;
}
