/* Frames that programs put together: packet_snd(). */
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "sentry/mm/uio.h"
#include "sentry/net/netns.h"
#include "sentry/net/packet/internal.h"

#define VLAN_SIZE 4 /* more, for who writes the header */

/* Where to, and with which header. */
struct way {
    struct net_device device;
    uint16_t protocol; /* ETH_P_* */
    const uint8_t *to; /* NULL: not said */
};

static int find_way(struct packet_socket *p, const struct socket_message *msg,
                    struct sockaddr_ll *ll, struct way *ret)
{
    size_t named = offsetof(struct sockaddr_ll, sll_addr);
    int interface;

    lock_acquire(&p->sock.lock);
    interface = p->interface;
    ret->protocol = p->protocol;
    lock_release(&p->sock.lock);
    ret->to = NULL;
    if (msg->to_address) {
        if (msg->address->size < sizeof(*ll))
            return -EINVAL;
        memcpy(ll, msg->address->bytes, sizeof(*ll));
        if (msg->address->size < named + ll->sll_halen)
            return -EINVAL;
        ret->protocol = ntohs(ll->sll_protocol);
        interface = ll->sll_ifindex;
        ret->to = ll->sll_addr;
    }
    if (interface == 0 || net_ns_device(p->sock.net, interface, &ret->device) < 0)
        return -ENXIO;
    if (interface == LO_INDEX && !net_ns_lo_is_up(p->sock.net))
        return -ENETDOWN;
    return ret->device.raw ? 0 : -EPERM;
}

/* The link header of a SOCK_DGRAM packet: eth_header(). */
static void put_header(uint8_t *frame, const struct way *way)
{
    memset(frame, 0, ETH_HLEN);
    memcpy(frame + ETH_ALEN, way->device.address, ETH_ALEN);
    if (way->to && way->device.index != LO_INDEX)
        memcpy(frame, way->to, ETH_ALEN);
    frame[2 * ETH_ALEN] = (uint8_t)(way->protocol >> 8);
    frame[2 * ETH_ALEN + 1] = (uint8_t)way->protocol;
}

static int send_frame(struct packet_socket *p, const struct way *way, const uint8_t *frame,
                      size_t size)
{
    if (way->device.index == LO_INDEX)
        return net_lo_send_frame(p->sock.net, frame, size);
    return net_ns_outward(p->sock.net)->send_frame(frame, size);
}

ssize_t packet_sendmsg(struct socket *s, struct socket_message *msg)
{
    struct packet_socket *p = packet_of(s);
    size_t size = msg->uio->left, header = s->type == SOCK_DGRAM ? ETH_HLEN : 0;
    size_t offload = p->vnet ? PACKET_VNET_SIZE : 0;
    struct virtio_net_hdr head;
    uint8_t *frame;
    struct sockaddr_ll ll;
    struct way way;
    int err = find_way(p, msg, &ll, &way);

    if (!err)
        err = socket_take_error(s);
    if (!err && size < offload)
        err = -EINVAL;
    if (!err && offload && uio_copy_in(msg->uio, &head, offload) != (ssize_t)offload)
        err = -EFAULT;
    if (err < 0)
        return err;
    size -= offload;
    if (offload && head.gso_type != VIRTIO_NET_HDR_GSO_NONE)
        return -EINVAL; /* segments are made by nobody here */
    if (size + header > (size_t)way.device.mtu + ETH_HLEN + (header ? 0 : VLAN_SIZE))
        return -EMSGSIZE;
    if (size + header < ETH_HLEN)
        return -EINVAL;
    frame = malloc(header + size);
    if (!frame)
        return -ENOBUFS;
    if (header)
        put_header(frame, &way);
    if (size && uio_copy_in(msg->uio, frame + header, size) != (ssize_t)size)
        err = -EFAULT;
    else
        err = send_frame(p, &way, frame, header + size);
    free(frame);
    return err < 0 ? err : (ssize_t)(offload + size);
}
