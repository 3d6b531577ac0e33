/* Sending datagrams. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "host/clock.h"
#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/inet/packet.h"
#include "sentry/net/inet/raw.h"
#include "sentry/net/inet/wire.h"
#include "sentry/net/netns.h"

#define MSG_PROBE     MSG_PROXY /* as Linux calls it */
#define READABLE      (POLLIN | POLLRDNORM)
#define RECEIVERS_MAX 64 /* of one multicast datagram */

static void count(struct net_ns *net, enum inet_counter which, const struct in6_addr *to)
{
    inet_count(net, which + (addr_is_v4(to) ? 0 : UDP6_IN - UDP_IN));
}

/* An address that sendmsg(2) names. */
static int named_destination(const struct inet_socket *s, const struct socket_address *addr,
                             struct endpoint *ret)
{
    int err = endpoint_parse(s, addr, false, ret);

    if (err == -EAFNOSUPPORT && s->sock.domain == AF_INET6)
        return -EINVAL;
    /* AF_UNSPEC stands for the family of the socket. */
    if (err == -EAFNOSUPPORT && addr->family == AF_UNSPEC) {
        struct socket_address same = *addr;

        same.family = AF_INET;
        err = endpoint_parse(s, &same, false, ret);
    }
    if (err < 0)
        return err;
    return ret->port ? 0 : -EINVAL;
}

/* Where this one goes. */
static int destination(struct udp_socket *u, struct socket_message *msg, struct endpoint *ret)
{
    struct inet_socket *s = &u->inet;

    /* Of IPv6, AF_UNSPEC stands for no name at all: udpv6_sendmsg(). */
    if (msg->to_address &&
        (s->sock.domain == AF_INET || msg->address->size < sizeof(msg->address->family) ||
         msg->address->family != AF_UNSPEC))
        return named_destination(s, msg->address, ret);
    lock_acquire(&s->sock.lock);
    *ret = s->remote;
    lock_release(&s->sock.lock);
    return ret->port ? 0 : -EDESTADDRREQ;
}

struct udp_message *udp_message_create(size_t size)
{
    size_t room = size + SOCKET_MESSAGE_COST;
    struct udp_message *m;

    if (socket_memory_take(room) < 0)
        return NULL;
    m = malloc(sizeof(*m) + size);
    if (!m) {
        socket_memory_give(room);
        return NULL;
    }
    *m = (struct udp_message){.size = (uint32_t)size, .room = (uint32_t)room};
    list_init(&m->node);
    return m;
}

void udp_message_free(struct udp_message *m)
{
    if (m)
        socket_memory_give(m->room);
    free(m);
}

/* Copies the payload, behind what MSG_MORE has gathered. */
static int take_payload(struct udp_socket *u, struct socket_message *msg, const struct endpoint *to,
                        struct udp_message **ret)
{
    size_t size = msg->uio->left, before, limit;
    struct udp_message *m, *old;

    lock_acquire(&u->inet.sock.lock);
    old = u->gathered;
    u->gathered = NULL;
    lock_release(&u->inet.sock.lock);
    before = old ? old->size : 0;
    limit = addr_is_v4(&to->addr) ? UDP_SIZE_MAX_V4 : UDP_SIZE_MAX_V6;
    if (size > limit || before + size > limit) {
        udp_message_free(old);
        return -EMSGSIZE;
    }
    m = udp_message_create(before + size);
    if (!m) {
        udp_message_free(old);
        return -ENOBUFS;
    }
    if (before)
        memcpy(m->data, old->data, before);
    udp_message_free(old);
    if (size > 0 && uio_copy_in(msg->uio, m->data + before, size) != (ssize_t)size) {
        udp_message_free(m);
        return -EFAULT;
    }
    *ret = m;
    return 0;
}

/* The receiver's filter sees the header of UDP before the bytes; it may cut them. */
static bool filter(struct socket *s, struct udp_message *m)
{
    const struct endpoint to = {m->to, inet_of(s)->local.port};
    struct inet_packet *packet =
        packet_create(&m->from, &to, (uint8_t)s->protocol, m->data, m->size);
    uint32_t stays = packet ? packet_filter(packet, s) : 0;

    if (stays > 0)
        m->size = MAX(stays, packet->transport_size) - packet->transport_size;
    free(packet);
    return stays > 0;
}

void udp_enqueue(struct udp_socket *to, struct udp_message *m)
{
    const struct in6_addr dst = m->to; /* a reader may have it at once */
    struct socket *s = &to->inet.sock;
    bool taken;

    lock_acquire(&s->lock);
    taken = to->queued < s->opt.rcvbuf && !(__atomic_load_n(&to->shut, __ATOMIC_ACQUIRE) & 1);
    if (taken) {
        list_add_tail(&to->messages, &m->node);
        to->queued += m->size + SOCKET_MESSAGE_COST;
    } else {
        to->dropped++;
    }
    lock_release(&s->lock);
    if (s->type == SOCK_DGRAM && !taken)
        count(s->net, UDP_RECEIVE_FULL, &dst);
    if (taken)
        socket_wake(s, READABLE);
    else
        udp_message_free(m);
}

/* Bytes `at` and on of one that is several; -ENOBUFS as NULL. */
static struct udp_message *segment_of(const struct udp_message *m, uint32_t at)
{
    const uint32_t size = MIN(m->size - at, (uint32_t)m->segment);
    struct udp_message *part = udp_message_create(size);

    if (!part)
        return NULL;
    part->from = m->from;
    part->to = m->to;
    part->time_ns = m->time_ns;
    part->interface = m->interface;
    part->tos = m->tos;
    part->ttl = m->ttl;
    part->marks = m->marks;
    memcpy(part->data, m->data + at, size);
    return part;
}

/* Into one receiver's queue, if its filter lets it; `m` is taken over. */
static void deliver(struct udp_socket *to, struct udp_message *m)
{
    if (m->segment && !to->gro) { /* UDP_GRO: who wants the datagrams in one piece */
        for (uint32_t at = 0; at < m->size; at += m->segment) {
            struct udp_message *part = segment_of(m, at);

            if (part)
                deliver(to, part);
        }
        udp_message_free(m);
        return;
    }
    if (socket_has_filter(&to->inet.sock) && !filter(&to->inet.sock, m))
        udp_message_free(m);
    else
        udp_enqueue(to, m);
}

static bool wants_group(struct inet_socket *s, const struct endpoint *dst,
                        const struct endpoint *src, int interface)
{
    bool any = addr_is_any(&s->local.addr) || addr_equal(&s->local.addr, &dst->addr);

    if (s->sock.opt.device && s->sock.opt.device != interface)
        return false;
    if (addr_is_v4(&dst->addr) != (s->sock.domain == AF_INET))
        return false;
    if (s->remote.port && (s->remote.port != src->port || !addr_equal(&s->remote.addr, &src->addr)))
        return false;
    return any &&
           (!addr_is_multicast(&dst->addr) || groups_wants(s, &dst->addr, &src->addr, interface));
}

static int deliver_to_group(struct udp_socket *u, const struct endpoint *to, struct udp_message *m)
{
    struct inet_socket *found[RECEIVERS_MAX];
    int count = 0;

    /* What goes out over lo comes back by lo, whatever IP_MULTICAST_LOOP says of other devices. */
    if (!addr_is_multicast(&to->addr) ||
        groups_joined(inet_ns_of(u->inet.sock.net), &to->addr, m->interface))
        count =
            port_find_all(&u->inet, to, &m->from, m->interface, found, RECEIVERS_MAX, wants_group);
    for (int i = 0; i < count; i++) {
        struct udp_message *copy = udp_message_create(m->size);

        if (copy) {
            const uint32_t room = copy->room;

            memcpy(copy, m, sizeof(*m) + m->size);
            list_init(&copy->node);
            copy->room = room;
            deliver(udp_of(&found[i]->sock), copy);
        }
        socket_unref(&found[i]->sock);
    }
    udp_message_free(m);
    return 0;
}

/* As a message of ICMP would say. */
static int nobody_there(struct udp_socket *u, const struct endpoint *to, struct udp_message *m)
{
    struct inet_socket *s = &u->inet;
    struct inet_packet *packet;

    count(s->sock.net, UDP_NO_PORT, &to->addr);
    if (udp_wants_error(s, &to->addr))
        udp_error_add(u, to, m);
    if (s->remote.port || udp_wants_error(s, &to->addr))
        socket_set_error(&s->sock, ECONNREFUSED);
    packet = packet_create(&m->from, to, (uint8_t)s->sock.protocol, m->data, m->size);
    if (packet)
        icmp_port_unreachable(s->sock.net, packet);
    free(packet);
    udp_message_free(m);
    return 0;
}

bool udp_arrive(struct udp_socket *as, const struct endpoint *to, struct udp_message *m)
{
    const struct inet_outward *outward = inet_ns_of(as->inet.sock.net)->outward;
    struct inet_socket *found;

    if (addr_is_multicast(&to->addr) || addr_is_broadcast(&to->addr) ||
        (outward && outward->is_broadcast(&to->addr))) {
        deliver_to_group(as, to, m);
        return true;
    }
    found = port_find(as->inet.sock.net, IPPROTO_UDP, to, &m->from, m->data, m->size);
    if (!found) {
        udp_message_free(m);
        return false;
    }
    deliver(udp_of(&found->sock), m);
    socket_unref(&found->sock);
    return true;
}

/* Beyond the namespace's own addresses; members of a group inside get a copy. `m` is taken over. */
static int send_outward(struct udp_socket *u, const struct inet_outward *outward,
                        const struct endpoint *to, struct udp_message *m)
{
    int err = outward->send(&u->inet, to, m);

    if (addr_is_multicast(&to->addr) &&
        (addr_is_v4(&to->addr) ? u->inet.ip.multicast_loop : u->inet.ip.multicast_loop6))
        return deliver_to_group(u, to, m);
    udp_message_free(m);
    return err;
}

/* `m` is taken over. */
static int dispatch(struct udp_socket *u, struct endpoint *to, struct udp_message *m)
{
    struct inet_socket *s = &u->inet, *found;
    const struct inet_outward *outward;
    struct in6_addr src = addr_any(s);
    int err = endpoint_route(s, to, &src);

    if (err == -EACCES && s->sock.opt.broadcast)
        err = 0;
    if (!err)
        err = inet_autobind(s);
    if (err < 0) {
        udp_message_free(m);
        return err == -EADDRINUSE ? -EAGAIN : err;
    }
    count(s->sock.net, UDP_OUT, &to->addr);
    if (!addr_is_any(&m->from.addr))
        src = m->from.addr; /* IP_PKTINFO */
    m->from = (struct endpoint){src, s->local.port};
    m->to = to->addr;
    m->time_ns = host_sandbox_realtime_ns();
    outward = endpoint_outward(s, &to->addr);
    m->interface = outward ? outward->index : LO_INDEX;
    if (outward)
        return send_outward(u, outward, to, m);
    wire_datagram(s->sock.net, &m->from, to, (uint8_t)s->sock.protocol, m->data, m->size);
    if (addr_is_multicast(&to->addr) || addr_is_broadcast(&to->addr))
        return deliver_to_group(u, to, m);
    found = port_find(s->sock.net, s->sock.protocol, to, &m->from, m->data, m->size);
    if (!found)
        return nobody_there(u, to, m);
    deliver(udp_of(&found->sock), m);
    socket_unref(&found->sock);
    return 0;
}

/* UDP_SEGMENT: udp_send_skb(). 1: there are several. */
static int check_segments(const struct udp_socket *u, const struct endpoint *to,
                          struct udp_message *m)
{
    struct net_device device;
    uint32_t header = (addr_is_v4(&to->addr) ? sizeof(struct iphdr) : sizeof(struct ip6_hdr)) +
                      sizeof(struct udphdr);

    if (!m->segment)
        return 0;
    if (net_ns_device(u->inet.sock.net, endpoint_interface(&u->inet, &to->addr), &device) < 0)
        return -ENODEV;
    if (header + MIN(m->size, (uint32_t)m->segment) > (uint32_t)MIN(device.mtu, UINT16_MAX))
        return -EMSGSIZE;
    if (m->size > (uint32_t)m->segment * UDP_SEGMENTS_MAX || u->inet.sock.opt.no_check)
        return -EINVAL;
    if (u->inet.sock.protocol == IPPROTO_UDPLITE)
        return -EIO;
    if (m->size <= m->segment)
        m->segment = 0;
    return m->segment != 0;
}

/* Where several go, each by itself: beyond the namespace, and to groups. `m` is taken over. */
static int dispatch_each(struct udp_socket *u, const struct endpoint *to, struct udp_message *m)
{
    int err = 0;

    for (uint32_t at = 0; !err && at < m->size; at += m->segment) {
        struct udp_message *part = segment_of(m, at);
        struct endpoint dst = *to;

        err = part ? dispatch(u, &dst, part) : -ENOBUFS;
    }
    udp_message_free(m);
    return err;
}

/* `m` is taken over, as one datagram or as several. */
static int dispatch_all(struct udp_socket *u, struct endpoint *to, struct udp_message *m)
{
    int several = check_segments(u, to, m);

    if (several < 0) {
        udp_message_free(m);
        return several;
    }
    if (several && (endpoint_outward(&u->inet, &to->addr) || addr_is_multicast(&to->addr) ||
                    addr_is_broadcast(&to->addr)))
        return dispatch_each(u, to, m);
    return dispatch(u, to, m);
}

void udp_receive_packet(struct net_ns *net, const struct inet_packet *packet)
{
    struct endpoint from, to;
    struct inet_socket *found;
    struct udp_message *m;
    struct udphdr udp;
    size_t size;

    if (packet->protocol != IPPROTO_UDP || packet->size < packet->network_size + sizeof(udp))
        return;
    memcpy(&udp, packet->bytes + packet->network_size, sizeof(udp));
    size = packet->size - packet->network_size - sizeof(udp);
    packet_addresses(packet, &from.addr, &to.addr);
    from.port = ntohs(udp.source);
    to.port = ntohs(udp.dest);
    if (ntohs(udp.len) != size + sizeof(udp) || !addr_is_loopback(&to.addr))
        return;
    found = port_find(net, IPPROTO_UDP, &to, &from,
                      packet->bytes + packet->network_size + sizeof(udp), size);
    m = found ? udp_message_create(size) : NULL;
    if (m) {
        m->from = from;
        m->to = to.addr;
        m->interface = LO_INDEX;
        m->ttl = 64;
        m->time_ns = host_sandbox_realtime_ns();
        memcpy(m->data, packet->bytes + packet->network_size + sizeof(udp), size);
        deliver(udp_of(&found->sock), m);
    }
    if (found)
        socket_unref(&found->sock);
}

/* MSG_MORE, UDP_CORK: it waits for more. */
static void gather(struct udp_socket *u, struct udp_message *m, const struct endpoint *to)
{
    struct udp_message *other;

    lock_acquire(&u->inet.sock.lock);
    other = u->gathered;
    u->gathered = m;
    u->gathered_to = *to;
    lock_release(&u->inet.sock.lock);
    udp_message_free(other);
}

/* While something waits, more of it goes where that goes. */
static int find_destination(struct udp_socket *u, struct socket_message *msg, struct endpoint *ret)
{
    bool gathers;

    lock_acquire(&u->inet.sock.lock);
    gathers = u->gathered != NULL;
    if (gathers)
        *ret = u->gathered_to;
    lock_release(&u->inet.sock.lock);
    return gathers ? 0 : destination(u, msg, ret);
}

void udp_push(struct udp_socket *u)
{
    struct udp_message *m;
    struct endpoint to;

    lock_acquire(&u->inet.sock.lock);
    m = u->gathered;
    u->gathered = NULL;
    to = u->gathered_to;
    lock_release(&u->inet.sock.lock);
    if (m)
        (void)dispatch_all(u, &to, m);
}

/* MSG_PROBE: everything is as if it were sent: udp_sendmsg(). */
static int probe(struct udp_socket *u, struct endpoint *to, struct udp_message *m)
{
    struct in6_addr src;
    int err = endpoint_route(&u->inet, to, &src);

    udp_message_free(m);
    if (err < 0 && !(err == -EACCES && u->inet.sock.opt.broadcast))
        return err;
    err = inet_autobind(&u->inet);
    return err == -EADDRINUSE ? -EAGAIN : err;
}

ssize_t udp_send(struct socket *s, struct socket_message *msg)
{
    struct udp_socket *u = udp_of(s);
    size_t size = msg->uio->left;
    struct udp_message *m;
    struct endpoint to;
    int err;

    if (size > 0xffff)
        return -EMSGSIZE;
    if ((msg->flags & MSG_OOB) && s->domain == AF_INET)
        return -EOPNOTSUPP;
    err = find_destination(u, msg, &to);
    if (!err && (msg->flags & MSG_OOB) && addr_is_v4(&to.addr))
        err = -EOPNOTSUPP;
    if (!err)
        err = socket_take_error(s);
    if (err < 0)
        return err;
    if (__atomic_load_n(&u->shut, __ATOMIC_ACQUIRE) & 2)
        return -EPIPE;
    err = take_payload(u, msg, &to, &m);
    if (err < 0)
        return err;
    m->segment = (uint16_t)u->segment;
    err = udp_mark_message(&u->inet, msg, &to, m);
    if (err < 0) {
        udp_message_free(m);
        return err;
    }
    if ((msg->flags & MSG_MORE) || u->cork) {
        gather(u, m, &to);
        return (ssize_t)size;
    }
    err = msg->flags & MSG_PROBE ? probe(u, &to, m) : dispatch_all(u, &to, m);
    return err < 0 ? err : (ssize_t)size;
}
