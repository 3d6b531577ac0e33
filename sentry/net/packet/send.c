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

static int find_way(struct packet_socket *p, const struct socket_message *msg,
                    struct sockaddr_ll *ll, struct packet_way *ret)
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
static void put_header(uint8_t *frame, const struct packet_way *way)
{
    memset(frame, 0, ETH_HLEN);
    memcpy(frame + ETH_ALEN, way->device.address, ETH_ALEN);
    if (way->to && way->device.index != LO_INDEX)
        memcpy(frame, way->to, ETH_ALEN);
    frame[2 * ETH_ALEN] = (uint8_t)(way->protocol >> 8);
    frame[2 * ETH_ALEN + 1] = (uint8_t)way->protocol;
}

static int send_frame(struct packet_socket *p, const struct packet_way *way, const uint8_t *frame,
                      size_t size)
{
    if (way->device.index == LO_INDEX)
        return net_lo_send_frame(p->sock.net, frame, size);
    return net_ns_outward(p->sock.net)->send_frame(frame, size);
}

int packet_send_bytes(struct packet_socket *p, const struct packet_way *way, const uint8_t *bytes,
                      size_t size)
{
    size_t header = p->sock.type == SOCK_DGRAM ? ETH_HLEN : 0;
    size_t offload = p->vnet ? PACKET_VNET_SIZE : 0;
    struct virtio_net_hdr head;
    uint8_t *frame;
    int err;

    if (size < offload)
        return -EINVAL;
    memcpy(&head, bytes, offload);
    bytes += offload;
    size -= offload;
    if (offload && head.gso_type != VIRTIO_NET_HDR_GSO_NONE)
        return -EINVAL; /* segments are made by nobody here */
    if (size + header > (size_t)way->device.mtu + ETH_HLEN + (header ? 0 : PACKET_VLAN_SIZE))
        return -EMSGSIZE;
    if (size + header < ETH_HLEN)
        return -EINVAL;
    if (!header)
        return send_frame(p, way, bytes, size);
    frame = malloc(header + size);
    if (!frame)
        return -ENOBUFS;
    put_header(frame, way);
    memcpy(frame + header, bytes, size);
    err = send_frame(p, way, frame, header + size);
    free(frame);
    return err;
}

/* What a program gives with the call. */
static ssize_t send_given(struct packet_socket *p, const struct packet_way *way,
                          struct socket_message *msg)
{
    const size_t size = msg->uio->left,
                 most = (size_t)way->device.mtu + ETH_HLEN + PACKET_VLAN_SIZE + PACKET_VNET_SIZE;
    uint8_t *bytes;
    int err;

    if (size > most)
        return -EMSGSIZE;
    bytes = malloc(MAX(size, 1U));
    if (!bytes)
        return -ENOBUFS;
    if (size && uio_copy_in(msg->uio, bytes, size) != (ssize_t)size)
        err = -EFAULT;
    else
        err = packet_send_bytes(p, way, bytes, size);
    free(bytes);
    return err < 0 ? err : (ssize_t)size;
}

ssize_t packet_sendmsg(struct socket *s, struct socket_message *msg)
{
    struct packet_socket *p = packet_of(s);
    struct sockaddr_ll ll;
    struct packet_way way;
    ssize_t n = find_way(p, msg, &ll, &way);

    if (!n)
        n = socket_take_error(s);
    if (n < 0)
        return n;
    lock_acquire(&p->send_lock);
    n = p->send_ring.bytes ? packet_send_ring(p, &way) : send_given(p, &way, msg);
    lock_release(&p->send_lock);
    return n;
}
