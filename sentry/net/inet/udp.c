/* A UDP socket's life, and what it says of itself. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/net/inet/udp.h"

/* Newer than some headers. */
#define OPT_UDP_ENCAP    100
#define OPT_NO_CHECK6_TX 101
#define OPT_NO_CHECK6_RX 102

/* linux/udp.h */
#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11
#define UDPLITE_HEADER     8

static void move_all(struct list *from, struct list *to)
{
    while (!list_empty(from)) {
        struct list *node = from->next;

        list_del_init(node);
        list_add_tail(to, node);
    }
}

void udp_purge(struct udp_socket *u)
{
    struct list all = LIST_INIT(all);

    lock_acquire(&u->inet.sock.lock);
    move_all(&u->messages, &all);
    move_all(&u->errors, &all);
    u->queued = u->error_count = 0;
    lock_release(&u->inet.sock.lock);
    while (!list_empty(&all)) {
        struct udp_message *m = list_first(&all, struct udp_message, node);

        list_del_init(&m->node);
        udp_message_free(m);
    }
}

static void udp_close(struct socket *s)
{
    struct udp_socket *u = udp_of(s);

    port_drop(&u->inet);
    groups_leave_all(&u->inet);
    __atomic_store_n(&u->shut, 3, __ATOMIC_RELEASE);
    udp_purge(u);
}

void udp_fini(struct udp_socket *u)
{
    udp_message_free(u->gathered);
    inet_socket_fini(&u->inet);
    lock_destroy(&u->read_lock);
}

static void udp_free(struct socket *s)
{
    struct udp_socket *u = udp_of(s);

    udp_fini(u);
    free(u);
}

/* AF_UNSPEC: from everybody again. */
static void disconnect(struct udp_socket *u)
{
    struct inet_socket *s = &u->inet;

    lock_acquire(&s->sock.lock);
    s->remote.port = 0;
    s->remote.addr = addr_any(s);
    s->local.addr = s->bound;
    lock_release(&s->sock.lock);
    if (!s->bound_port) {
        port_drop(s);
        s->local.port = 0;
    }
}

static int udp_abort(struct socket *s, int error)
{
    socket_set_error(s, error);
    disconnect(udp_of(s));
    return 0;
}

static int udp_connect(struct socket *sock, const struct socket_address *addr, bool first,
                       struct socket **ret_wait)
{
    struct udp_socket *u = udp_of(sock);
    struct inet_socket *s = &u->inet;
    struct in6_addr src;
    struct endpoint to;
    int err;

    if (addr->size < sizeof(addr->family))
        return -EINVAL;
    if (addr->family == AF_UNSPEC) {
        disconnect(u);
        return 0;
    }
    err = inet_autobind(s);
    if (err < 0)
        return err == -EADDRINUSE ? -EAGAIN : err;
    err = endpoint_parse(s, addr, false, &to);
    if (!err)
        err = endpoint_route(s, &to, &src);
    if (err == -EACCES && sock->opt.broadcast) {
        src = addr_v4(INADDR_LOOPBACK);
        err = 0;
    }
    if (err < 0)
        return err;
    lock_acquire(&sock->lock);
    s->remote = to;
    s->local.addr = src;
    lock_release(&sock->lock);
    return 0;
}

int udp_shutdown(struct socket *s, int how)
{
    struct udp_socket *u = udp_of(s);

    __atomic_fetch_or(&u->shut, (uint8_t)(how + 1), __ATOMIC_ACQ_REL);
    socket_wake(s, POLLIN | POLLRDNORM | POLLOUT | POLLRDHUP | POLLHUP);
    return u->inet.remote.port ? 0 : -ENOTCONN;
}

uint32_t udp_poll(struct socket *s)
{
    struct udp_socket *u = udp_of(s);
    uint8_t shut = __atomic_load_n(&u->shut, __ATOMIC_ACQUIRE);
    uint32_t events = POLLOUT | POLLWRNORM | POLLWRBAND;

    lock_acquire(&s->lock);
    if (!list_empty(&u->messages))
        events |= POLLIN | POLLRDNORM;
    if (!list_empty(&u->errors))
        events |= POLLERR | (s->opt.select_err_queue ? POLLPRI : 0);
    lock_release(&s->lock);
    if (shut & 1)
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (shut == 3)
        events |= POLLHUP;
    return events | (socket_error(s) ? POLLERR : 0);
}

int udp_queued(struct socket *s, uint32_t cmd, int *ret)
{
    struct udp_socket *u = udp_of(s);

    if (cmd != SIOCINQ && cmd != SIOCOUTQ)
        return -ENOTTY;
    *ret = 0;
    lock_acquire(&s->lock);
    if (cmd == SIOCINQ && !list_empty(&u->messages))
        *ret = (int)list_first(&u->messages, struct udp_message, node)->size;
    lock_release(&s->lock);
    return 0;
}

long udp_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int answer, err = udp_queued(s, cmd, &answer);

    return err < 0 ? err : inet_answer(mm, arg, answer);
}

static int *number_of(struct udp_socket *u, int name)
{
    switch (name) {
    case UDP_CORK:
        return &u->cork;
    case OPT_NO_CHECK6_TX:
        return &u->no_check6_tx;
    case OPT_NO_CHECK6_RX:
        return &u->no_check6_rx;
    case OPT_UDP_SEGMENT:
        return &u->segment;
    case OPT_UDP_GRO:
        return &u->gro;
    case UDPLITE_SEND_CSCOV:
        return u->inet.sock.protocol == IPPROTO_UDPLITE ? &u->send_coverage : NULL;
    case UDPLITE_RECV_CSCOV:
        return u->inet.sock.protocol == IPPROTO_UDPLITE ? &u->receive_coverage : NULL;
    default:
        return NULL;
    }
}

/* Nothing covers less than the header; 0 is all, and what is negative is little. */
static int coverage(int number)
{
    return number != 0 && number < UDPLITE_HEADER ? UDPLITE_HEADER : MIN(number, 0xffff);
}

static int udp_setsockopt(struct socket *s, int level, int name, const void *value, size_t size)
{
    int *field, number, err;

    if (level != IPPROTO_UDPLITE && level != IPPROTO_UDP)
        return ip_setsockopt(s, level, name, value, size);
    err = socket_option_int(value, size, &number);
    if (err < 0)
        return err;
    field = number_of(udp_of(s), name);
    if (!field)
        return -ENOPROTOOPT;
    if (name == OPT_UDP_SEGMENT && (number < 0 || number > UINT16_MAX))
        return -EINVAL;
    *field = name == UDPLITE_SEND_CSCOV || name == UDPLITE_RECV_CSCOV ? coverage(number)
             : name == OPT_UDP_SEGMENT                                ? number
                                                                      : number != 0;
    if (name == UDP_CORK && !number)
        udp_push(udp_of(s));
    return 0;
}

static int udp_getsockopt(struct socket *s, int level, int name, void *value, size_t *size)
{
    const int *field;

    if (level != IPPROTO_UDPLITE && level != IPPROTO_UDP)
        return ip_getsockopt(s, level, name, value, size);
    field = number_of(udp_of(s), name);
    if (!field &&
        (name == OPT_UDP_ENCAP || name == UDPLITE_SEND_CSCOV || name == UDPLITE_RECV_CSCOV))
        return socket_option_put_int(value, size, 0);
    return field ? socket_option_put_int(value, size, *field) : -ENOPROTOOPT;
}

void udp_report(struct inet_socket *s, struct inet_report *ret)
{
    struct udp_socket *u = udp_of(&s->sock);

    lock_acquire(&s->sock.lock);
    inet_report_locked(s, ret);
    ret->state = s->remote.port ? TCP_ESTABLISHED : TCP_CLOSE;
    ret->unread = ret->read_memory = (uint32_t)u->queued;
    ret->drops = u->dropped;
    ret->shutdown = u->shut;
    lock_release(&s->sock.lock);
}

static const struct socket_operations udp_operations = {
    .bind = inet_bind,
    .connect = udp_connect,
    .getname = inet_getname,
    .sendmsg = udp_send,
    .recvmsg = udp_receive,
    .shutdown = udp_shutdown,
    .setsockopt = udp_setsockopt,
    .getsockopt = udp_getsockopt,
    .set_chooser = port_set_chooser,
    .abort = udp_abort,
    .queued = udp_queued,
    .ioctl = udp_ioctl,
    .poll = udp_poll,
    .close = udp_close,
    .free = udp_free,
};

void udp_init(struct udp_socket *u, struct net_ns *net, const struct socket_operations *ops,
              int domain, int type, int protocol)
{
    inet_socket_init(&u->inet, net, ops, domain, type, protocol);
    lock_init(&u->read_lock);
    list_init(&u->messages);
    list_init(&u->errors);
}

int udp_create(struct net_ns *net, int domain, int protocol, struct socket **ret)
{
    struct udp_socket *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOBUFS;
    udp_init(u, net, &udp_operations, domain, SOCK_DGRAM, protocol);
    *ret = &u->inet.sock;
    return 0;
}
