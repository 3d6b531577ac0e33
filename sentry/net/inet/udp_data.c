/* Sending and receiving datagrams. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "host/clock.h"
#include "sentry/mm/uio.h"
#include "sentry/net/inet/udp.h"

#define READABLE      (POLLIN | POLLRDNORM)
#define LO_INDEX      1
#define RECEIVERS_MAX 64 /* of one multicast datagram */
#define NSEC_PER_SEC  1000000000ULL

/* ---- sending ----------------------------------------------------------------------------------
 */

/* Where this one goes. */
static int destination(struct udp_socket *u, struct socket_message *msg, struct endpoint *ret)
{
    struct inet_socket *s = &u->inet;

    if (msg->to_address) {
        int err = endpoint_parse(s, msg->address, false, ret);

        /* AF_UNSPEC stands for the family of the socket. */
        if (err == -EAFNOSUPPORT && s->sock.domain == AF_INET &&
            msg->address->family == AF_UNSPEC) {
            struct socket_address same = *msg->address;

            same.family = AF_INET;
            err = endpoint_parse(s, &same, false, ret);
        }
        if (err < 0)
            return err;
        return ret->port ? 0 : -EINVAL;
    }
    lock_acquire(&s->sock.lock);
    *ret = s->remote;
    lock_release(&s->sock.lock);
    return ret->port ? 0 : -EDESTADDRREQ;
}

/* One control message that is for IPPROTO_IP or IPPROTO_IPV6. */
static int take_control(const struct cmsghdr *c, const void *data, size_t size,
                        struct udp_message *m)
{
    int number = 0;

    if (size >= sizeof(int))
        memcpy(&number, data, sizeof(int));
    else if (size == 1)
        number = *(const uint8_t *)data;
    else
        return -EINVAL;
    if (c->cmsg_level == IPPROTO_IP) {
        switch (c->cmsg_type) {
        case IP_TTL:
            m->ttl = (uint8_t)number;
            return number < 1 || number > 255 ? -EINVAL : 0;
        case IP_TOS:
            m->tos = (uint8_t)number;
            return number < 0 || number > 255 ? -EINVAL : 0;
        case IP_PKTINFO: /* the device can only be lo, and the address only one of its own */
            return size == sizeof(struct in_pktinfo) ? 0 : -EINVAL;
        default:
            return -EINVAL;
        }
    }
    switch (c->cmsg_type) {
    case IPV6_HOPLIMIT:
        m->ttl = (uint8_t)(number == -1 ? 64 : number);
        return size != sizeof(int) || number < -1 || number > 255 ? -EINVAL : 0;
    case IPV6_TCLASS:
        m->tos = (uint8_t)MAX(number, 0);
        return size != sizeof(int) || number < -1 || number > 255 ? -EINVAL : 0;
    case IPV6_PKTINFO:
        return size >= sizeof(struct in6_pktinfo) ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}

/* The mark that the datagram carries: the socket's, or what its control messages say. */
static int mark_message(const struct inet_socket *s, const struct socket_message *msg,
                        const struct endpoint *to, struct udp_message *m)
{
    size_t at = 0;

    m->tos = (uint8_t)(addr_is_v4(&to->addr) ? s->ip.tos : MAX(s->ip.tclass, 0));
    m->ttl = (uint8_t)(addr_is_v4(&to->addr) ? s->ip.ttl : s->ip.unicast_hops);
    if (m->ttl == UINT8_MAX)
        m->ttl = 64;
    while (msg->control && msg->control_size - at >= sizeof(struct cmsghdr)) {
        struct cmsghdr c;
        int err = 0;

        memcpy(&c, msg->control + at, sizeof(c));
        if (c.cmsg_len < sizeof(c) || c.cmsg_len > msg->control_size - at)
            return -EINVAL;
        if (c.cmsg_level == IPPROTO_IP || c.cmsg_level == IPPROTO_IPV6)
            err = take_control(&c, msg->control + at + CMSG_LEN(0), c.cmsg_len - CMSG_LEN(0), m);
        if (err < 0)
            return err;
        if (CMSG_ALIGN(c.cmsg_len) > msg->control_size - at)
            break;
        at += CMSG_ALIGN(c.cmsg_len);
    }
    return 0;
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
        free(old);
        return -EMSGSIZE;
    }
    m = malloc(sizeof(*m) + before + size);
    if (!m) {
        free(old);
        return -ENOBUFS;
    }
    *m = (struct udp_message){.size = (uint32_t)(before + size)};
    list_init(&m->node);
    if (before)
        memcpy(m->data, old->data, before);
    free(old);
    if (size > 0 && uio_copy_in(msg->uio, m->data + before, size) != (ssize_t)size) {
        free(m);
        return -EFAULT;
    }
    *ret = m;
    return 0;
}

/* Into one receiver's queue, unless it is full or closed; `m` is taken over. */
static void deliver(struct udp_socket *to, struct udp_message *m)
{
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
    if (taken)
        socket_wake(s, READABLE);
    else
        free(m);
}

static bool wants_group(struct inet_socket *s, const struct endpoint *dst)
{
    bool any = addr_is_any(&s->local.addr) || addr_equal(&s->local.addr, &dst->addr);

    if (addr_is_v4(&dst->addr) != (s->sock.domain == AF_INET))
        return false;
    return any && inet_in_group(s, &dst->addr);
}

static int deliver_to_group(struct udp_socket *u, const struct endpoint *to, struct udp_message *m)
{
    struct inet_socket *found[RECEIVERS_MAX];
    int count;
    bool loop = addr_is_v4(&to->addr) ? u->inet.ip.multicast_loop : u->inet.ip.multicast_loop6;

    count = loop ? port_find_all(&u->inet, to, found, RECEIVERS_MAX, wants_group) : 0;
    for (int i = 0; i < count; i++) {
        struct udp_message *copy = malloc(sizeof(*copy) + m->size);

        if (copy) {
            memcpy(copy, m, sizeof(*m) + m->size);
            list_init(&copy->node);
            deliver(udp_of(&found[i]->sock), copy);
        }
        socket_unref(&found[i]->sock);
    }
    free(m);
    return 0;
}

/* `m` is taken over. */
static int dispatch(struct udp_socket *u, struct endpoint *to, struct udp_message *m)
{
    struct inet_socket *s = &u->inet, *found;
    struct in6_addr src;
    int err = endpoint_route(s, to, &src);

    if (err == -EACCES && s->sock.opt.broadcast)
        err = 0;
    if (!err)
        err = inet_autobind(s);
    if (err < 0) {
        free(m);
        return err == -EADDRINUSE ? -EAGAIN : err;
    }
    m->from = (struct endpoint){src, s->local.port};
    m->to = to->addr;
    m->time_ns = host_clock_ns(CLOCK_REALTIME);
    if (addr_is_multicast(&to->addr) || addr_is_broadcast(&to->addr))
        return deliver_to_group(u, to, m);
    found = port_find(s, to, &m->from);
    if (!found) {
        /* What an ICMP message would say. */
        if (s->remote.port || s->ip.recverr || s->ip.recverr6)
            socket_set_error(&s->sock, ECONNREFUSED);
        free(m);
        return 0;
    }
    deliver(udp_of(&found->sock), m);
    socket_unref(&found->sock);
    return 0;
}

ssize_t udp_send(struct socket *s, struct socket_message *msg)
{
    struct udp_socket *u = udp_of(s);
    size_t size = msg->uio->left;
    struct udp_message *m;
    struct endpoint to;
    int err;

    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (size > 0xffff)
        return -EMSGSIZE;
    err = destination(u, msg, &to);
    if (!err)
        err = socket_take_error(s);
    if (err < 0)
        return err;
    if (__atomic_load_n(&u->shut, __ATOMIC_ACQUIRE) & 2)
        return -EPIPE;
    err = take_payload(u, msg, &to, &m);
    if (err < 0)
        return err;
    err = mark_message(&u->inet, msg, &to, m);
    if (err < 0) {
        free(m);
        return err;
    }
    if ((msg->flags & MSG_MORE) || u->cork) {
        struct udp_message *other;

        lock_acquire(&s->lock);
        other = u->gathered;
        u->gathered = m;
        u->gathered_to = to;
        lock_release(&s->lock);
        free(other);
        return (ssize_t)size;
    }
    err = dispatch(u, &to, m);
    return err < 0 ? err : (ssize_t)size;
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static void put_timestamp(struct socket *s, struct socket_message *msg, uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC)};
    struct timeval tv = {ts.tv_sec, ts.tv_nsec / 1000};

    if (s->opt.timestamp == SO_TIMESTAMP_OLD || s->opt.timestamp == SO_TIMESTAMP_NEW)
        socket_control_put(msg, SOL_SOCKET, s->opt.timestamp, &tv, sizeof(tv));
    else if (s->opt.timestamp)
        socket_control_put(msg, SOL_SOCKET, s->opt.timestamp, &ts, sizeof(ts));
}

static void put_control_v4(struct inet_socket *s, struct socket_message *msg,
                           const struct udp_message *m)
{
    struct in_addr dst = {.s_addr = m->to.s6_addr32[3]};
    int ttl = m->ttl;

    if (s->ip.pktinfo) {
        struct in_pktinfo info = {.ipi_ifindex = LO_INDEX, .ipi_spec_dst = dst, .ipi_addr = dst};

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

    if (s->ip.recvpktinfo) {
        struct in6_pktinfo info = {.ipi6_addr = m->to, .ipi6_ifindex = LO_INDEX};

        socket_control_put(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
    if (s->ip.recvhoplimit)
        socket_control_put(msg, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
    if (s->ip.recvtclass)
        socket_control_put(msg, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
}

static void describe(struct udp_socket *u, struct socket_message *msg, const struct udp_message *m)
{
    struct inet_socket *s = &u->inet;

    if (msg->address)
        endpoint_put(s, &m->from, msg->address);
    put_timestamp(&s->sock, msg, m->time_ns);
    if (s->sock.opt.rxq_ovfl && u->dropped)
        socket_control_put(msg, SOL_SOCKET, SO_RXQ_OVFL, &u->dropped, sizeof(u->dropped));
    if (s->sock.domain == AF_INET6)
        put_control_v6(s, msg, m);
    if (s->sock.domain == AF_INET || addr_is_v4(&m->to))
        put_control_v4(s, msg, m);
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
    size_t skip = 0, size;
    ssize_t n = 0;

    if (!m)
        return -EAGAIN;
    if (peek && u->inet.sock.opt.peek_off > 0)
        skip = MIN((size_t)u->inet.sock.opt.peek_off, (size_t)m->size);
    size = MIN(m->size - skip, msg->uio->left);
    if (size < m->size - skip)
        msg->out_flags |= MSG_TRUNC;
    if (size > 0 && uio_copy_out(msg->uio, m->data + skip, size) != (ssize_t)size)
        n = -EFAULT;
    if (n == 0) {
        describe(u, msg, m);
        n = (ssize_t)(msg->flags & MSG_TRUNC ? m->size - skip : size);
    }
    if (!peek)
        free(m);
    return n;
}

ssize_t udp_receive(struct socket *s, struct socket_message *msg)
{
    struct udp_socket *u = udp_of(s);
    ssize_t n;
    int err;

    if (msg->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    err = socket_take_error(s);
    if (err < 0)
        return err;
    lock_acquire(&u->read_lock);
    n = give_message(u, msg, msg->flags & MSG_PEEK);
    lock_release(&u->read_lock);
    if (n == -EAGAIN && (__atomic_load_n(&u->shut, __ATOMIC_ACQUIRE) & 1))
        return 0;
    return n;
}
