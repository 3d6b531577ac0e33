/* A socket's life. The base waits and asks again; here every call of the host is one attempt. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "host/poll.h"
#include "host/socket.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/hostinet/internal.h"
#include "sentry/vfs/landlock/landlock.h"

/* All that poll(2) knows; what was not asked for is left out above. */
#define ALL_EVENTS                                                                                 \
    (POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND | POLLRDHUP)

void hostinet_watch(struct hostinet *h)
{
    lock_acquire(&h->sock.lock);
    if (!h->watch && hostpoll_watch(h->fd, &h->sock.queue, &h->watch) < 0)
        h->watch = NULL;
    lock_release(&h->sock.lock);
}

static uint32_t hostinet_poll(struct socket *s)
{
    struct hostinet *h = hostinet_of(s);

    hostinet_watch(h);
    return host_poll_now(h->fd, ALL_EVENTS) | (socket_error(s) ? POLLERR : 0);
}

/* The port of an address of the socket's family, for Landlock's rules. */
static bool port_of(const struct socket_address *addr, uint16_t *ret)
{
    if (addr->family == AF_INET && addr->size >= sizeof(addr->in))
        *ret = ntohs(addr->in.sin_port);
    else if (addr->family == AF_INET6 && addr->size >= offsetof(struct sockaddr_in6, sin6_scope_id))
        *ret = ntohs(addr->in6.sin6_port);
    else
        return false;
    return true;
}

/* Only addresses of the internet families reach the host, and AF_UNSPEC, which disconnects. */
static int check_address(const struct socket *s, const struct socket_address *addr, uint32_t right)
{
    uint16_t port;

    if (addr->size < sizeof(addr->family))
        return -EINVAL;
    if (addr->family != AF_INET && addr->family != AF_INET6 && addr->family != AF_UNSPEC)
        return -EAFNOSUPPORT;
    if (s->type != SOCK_STREAM || !port_of(addr, &port))
        return 0;
    return landlock_check_port(port, right);
}

static int hostinet_bind(struct socket *s, const struct socket_address *addr)
{
    int err = check_address(s, addr, LANDLOCK_BIND_TCP);

    return err < 0 ? err : host_socket_bind(hostinet_of(s)->fd, addr->bytes, addr->size);
}

static int hostinet_listen(struct socket *s, int backlog)
{
    return host_socket_listen(hostinet_of(s)->fd, backlog);
}

static int hostinet_connect(struct socket *s, const struct socket_address *addr, bool first,
                            struct socket **ret_wait)
{
    int err = check_address(s, addr, LANDLOCK_CONNECT_TCP);

    if (!err)
        err = host_socket_connect(hostinet_of(s)->fd, addr->bytes, addr->size);
    if (err == -EINPROGRESS || err == -EALREADY)
        hostinet_watch(hostinet_of(s));
    return err == -EAGAIN ? -EADDRNOTAVAIL : err;
}

static int hostinet_getname(struct socket *s, bool peer, struct socket_address *ret)
{
    socklen_t size = sizeof(ret->storage);
    int err;

    memset(&ret->storage, 0, sizeof(ret->storage));
    err = host_socket_name(hostinet_of(s)->fd, peer, ret->bytes, &size);
    if (!err)
        ret->size = MIN(size, (uint32_t)SOCKET_ADDRESS_MAX);
    return err;
}

static int hostinet_shutdown(struct socket *s, int how)
{
    int err = host_socket_shutdown(hostinet_of(s)->fd, how);

    if (!err && how != SHUT_WR)
        __atomic_store_n(&hostinet_of(s)->shut_reading, true, __ATOMIC_RELEASE);
    if (!err)
        socket_wake(s, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    return err;
}

static int hostinet_queued(struct socket *s, uint32_t cmd, int *ret)
{
    *ret = 0;
    return cmd == FIONREAD || cmd == TIOCOUTQ ? host_ioctl(hostinet_of(s)->fd, cmd, ret) : -ENOTTY;
}

static long hostinet_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int value = 0, err;

    switch (cmd) {
    case FIONREAD:
    case TIOCOUTQ:
    case SIOCATMARK:
    case SIOCOUTQNSD:
        err = host_ioctl(hostinet_of(s)->fd, cmd, &value);
        return err < 0 ? err : copy_struct_to_user(mm, arg, &value);
    default:
        return -ENOTTY;
    }
}

static void hostinet_close(struct socket *s)
{
    struct hostinet *h = hostinet_of(s);

    if (h->watch)
        hostpoll_unwatch(h->watch);
    h->watch = NULL;
    host_close(h->fd);
    h->fd = -1;
}

static void hostinet_free(struct socket *s)
{
    free(hostinet_of(s));
}

static int hostinet_accept(struct socket *s, struct socket **ret);

#define COMMON_OPERATIONS                                                                          \
    .bind = hostinet_bind, .connect = hostinet_connect, .getname = hostinet_getname,               \
    .sendmsg = hostinet_sendmsg, .recvmsg = hostinet_recvmsg, .shutdown = hostinet_shutdown,       \
    .setsockopt = hostinet_setsockopt, .getsockopt = hostinet_getsockopt,                          \
    .set_base_option = hostinet_set_base_option, .get_base_option = hostinet_get_base_option,      \
    .queued = hostinet_queued, .ioctl = hostinet_ioctl, .poll = hostinet_poll, .no_filter = true,  \
    .close = hostinet_close, .free = hostinet_free

static const struct socket_operations stream_operations = {
    COMMON_OPERATIONS,
    .listen = hostinet_listen,
    .accept = hostinet_accept,
    .stream = true,
};

static const struct socket_operations datagram_operations = {COMMON_OPERATIONS};

/* Takes the descriptor over. It has the host's inode number, so that /proc/net names it. */
static int wrap(struct net_ns *net, int fd, int domain, int type, int protocol,
                struct hostinet **ret)
{
    struct hostinet *h = calloc(1, sizeof(*h));
    struct stat st;

    if (!h) {
        host_close(fd);
        return -ENOMEM;
    }
    h->fd = fd;
    socket_init(&h->sock, net, type == SOCK_STREAM ? &stream_operations : &datagram_operations,
                domain, type, protocol);
    if (host_fstat(fd, &st) == 0)
        h->sock.ino = st.st_ino;
    *ret = h;
    return 0;
}

static int hostinet_accept(struct socket *s, struct socket **ret)
{
    struct hostinet *made;
    int fd = host_socket_accept(hostinet_of(s)->fd), err;

    if (fd == -EAGAIN)
        hostinet_watch(hostinet_of(s));
    if (fd < 0)
        return fd;
    err = wrap(s->net, fd, s->domain, s->type, s->protocol, &made);
    if (err < 0)
        return err;
    lock_acquire(&s->lock);
    made->sock.opt = s->opt;
    lock_release(&s->lock);
    *ret = &made->sock;
    return 0;
}

/* The protocols that the jail lets through. */
static int choose_protocol(int domain, int type, int protocol)
{
    int icmp = domain == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;

    if (protocol < 0 || protocol >= IPPROTO_MAX)
        return -EINVAL;
    switch (type) {
    case SOCK_STREAM:
        return protocol == 0 || protocol == IPPROTO_TCP ? IPPROTO_TCP : -EPROTONOSUPPORT;
    case SOCK_DGRAM:
        if (protocol == 0)
            return IPPROTO_UDP;
        return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == icmp
                   ? protocol
                   : -EPROTONOSUPPORT;
    case SOCK_RAW:
        return protocol == 0 ? -EPROTONOSUPPORT : -EPERM; /* the Sentry has no capability */
    default:
        return -ESOCKTNOSUPPORT;
    }
}

int hostinet_create(struct net_ns *net, int domain, int type, int protocol, struct socket **ret)
{
    struct hostinet *h;
    int fd, err;

    if (domain == AF_PACKET)
        return -EPERM;
    protocol = choose_protocol(domain, type, protocol);
    if (protocol < 0)
        return protocol;
    fd = host_socket(domain, type, protocol);
    if (fd < 0)
        return fd == -EMFILE ? -ENFILE : fd; /* the Sentry's limit, not the program's */
    err = wrap(net, fd, domain, type, protocol, &h);
    if (!err)
        *ret = &h->sock;
    return err;
}
