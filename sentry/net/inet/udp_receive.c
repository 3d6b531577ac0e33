/* Receiving datagrams. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "sentry/mm/uio.h"
#include "sentry/net/inet/udp.h"

/* fib_compute_spec_dst(): our own address, from which an answer would be sent. */
static struct in_addr own_address(const struct inet_socket *s, const struct udp_message *m)
{
    const struct inet_outward *outward = inet_ns_of(s->sock.net)->outward;
    struct in6_addr own = addr_v4(INADDR_LOOPBACK);

    if (m->is_error) /* which nobody answers */
        return (struct in_addr){.s_addr = INADDR_ANY};
    if (!addr_is_multicast(&m->to) && !addr_is_broadcast(&m->to) &&
        !(outward && outward->is_broadcast(&m->to)))
        own = m->to;
    else if (outward && m->interface == outward->index)
        (void)outward->route(&m->from.addr, &own);
    return (struct in_addr){.s_addr = own.s6_addr32[3]};
}

static void put_control_v4(struct inet_socket *s, struct socket_message *msg,
                           const struct udp_message *m)
{
    struct in_addr dst = {.s_addr = m->to.s6_addr32[3]};
    int ttl = m->ttl;

    if (s->ip.pktinfo) {
        struct in_pktinfo info = {
            .ipi_ifindex = m->interface, .ipi_spec_dst = own_address(s, m), .ipi_addr = dst};

        socket_control_put(msg, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    }
    if (s->ip.recvttl)
        socket_control_put(msg, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
    if (s->ip.recvtos)
        socket_control_put(msg, IPPROTO_IP, IP_TOS, &m->tos, sizeof(m->tos));
    if (s->ip.origdstaddr) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = dst};

        name.sin_port = (in_port_t)__builtin_bswap16(s->local.port);
        socket_control_put(msg, IPPROTO_IP, IP_RECVORIGDSTADDR, &name, sizeof(name));
    }
}

static void put_control_v6(struct inet_socket *s, struct socket_message *msg,
                           const struct udp_message *m)
{
    int hops = m->ttl, tclass = m->tos;

    struct in6_pktinfo info = {.ipi6_addr = m->to, .ipi6_ifindex = (unsigned)m->interface};

    if (s->ip.recvpktinfo)
        socket_control_put(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    if (s->ip.pktinfo2292)
        socket_control_put(msg, IPPROTO_IPV6, IPV6_2292PKTINFO, &info, sizeof(info));
    if (s->ip.hoplimit2292)
        socket_control_put(msg, IPPROTO_IPV6, IPV6_2292HOPLIMIT, &hops, sizeof(hops));
    if (s->ip.recvhoplimit)
        socket_control_put(msg, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
    if (s->ip.recvtclass)
        socket_control_put(msg, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
    if (s->ip.recvorigdst6) {
        struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = m->to};

        name.sin6_port = (in_port_t)__builtin_bswap16(s->local.port);
        socket_control_put(msg, IPPROTO_IPV6, OPT_IPV6_ORIGDSTADDR, &name, sizeof(name));
    }
}

void udp_put_control(struct inet_socket *s, struct socket_message *msg, const struct udp_message *m)
{
    if (s->sock.domain == AF_INET6)
        put_control_v6(s, msg, m);
    if (s->sock.domain == AF_INET || addr_is_v4(&m->to))
        put_control_v4(s, msg, m);
}

static void describe(struct udp_socket *u, struct socket_message *msg, const struct udp_message *m)
{
    struct inet_socket *s = &u->inet;

    if (msg->address)
        endpoint_put(s, &m->from, msg->address);
    socket_put_timestamp(&s->sock, msg, m->time_ns);
    if (s->sock.opt.rxq_ovfl && u->dropped)
        socket_control_put(msg, SOL_SOCKET, SO_RXQ_OVFL, &u->dropped, sizeof(u->dropped));
    socket_put_marks(&s->sock, msg, &m->marks);
    if (u->gro && m->segment)
        socket_control_put(msg, IPPROTO_UDP, OPT_UDP_GRO, &(int){m->segment}, sizeof(int));
    udp_put_control(s, msg, m);
}

/* The next datagram; it leaves the queue unless it is only looked at. */
static struct udp_message *next_message(struct udp_socket *u, bool peek)
{
    struct socket *s = &u->inet.sock;
    struct udp_message *m = NULL;

    lock_acquire(&s->lock);
    if (!list_empty(&u->messages)) {
        m = list_first(&u->messages, struct udp_message, node);
        if (!peek) {
            list_del_init(&m->node);
            u->queued -= m->size + SOCKET_MESSAGE_COST;
        }
    }
    lock_release(&s->lock);
    return m;
}

static ssize_t give_message(struct udp_socket *u, struct socket_message *msg, bool peek)
{
    struct udp_message *m = next_message(u, peek);
    size_t skip = 0;
    ssize_t n;

    if (!m)
        return -EAGAIN;
    if (peek && u->inet.sock.opt.peek_off > 0)
        skip = MIN((size_t)u->inet.sock.opt.peek_off, (size_t)m->size);
    n = socket_message_give(msg, m->data + skip, m->size - skip);
    if (n >= 0)
        describe(u, msg, m);
    if (n >= 0 && !peek && u->inet.sock.type == SOCK_DGRAM)
        inet_count(u->inet.sock.net, addr_is_v4(&m->to) ? UDP_IN : UDP6_IN);
    if (!peek)
        udp_message_free(m);
    return n;
}

ssize_t udp_receive(struct socket *s, struct socket_message *msg)
{
    struct udp_socket *u = udp_of(s);
    ssize_t n;
    int err;

    if (msg->flags & MSG_ERRQUEUE)
        return udp_error_receive(u, msg);
    err = socket_take_error(s);
    if (err < 0)
        return err;
    lock_acquire(&u->read_lock);
    n = give_message(u, msg, msg->flags & MSG_PEEK);
    lock_release(&u->read_lock);
    /* __skb_recv_udp(): only who would wait looks whether that is of any use. */
    if (n == -EAGAIN && !(msg->flags & MSG_DONTWAIT) &&
        (__atomic_load_n(&u->shut, __ATOMIC_ACQUIRE) & 1))
        return 0;
    return n;
}
