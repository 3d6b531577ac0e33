/* net/vmw_vsock/af_vsock.c, as far as it goes without a transport. */
#include "sentry/net/vsock/vsock.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "sentry/vfs/attr/identity.h"

#define RESERVED_LAST   1023
#define BUFFER_DEFAULT  (256UL << 10)
#define BUFFER_SMALLEST 128UL

struct vsock {
    struct socket sock;
    struct list node; /* among those that have a port, under ports_lock */
    uint32_t cid, port;
    bool listening;
    uint64_t buffer[3]; /* size, least, most */
};

static struct lock ports_lock = LOCK_INIT;
static struct list bound = LIST_INIT(bound);
static uint32_t next_port = RESERVED_LAST + 1; /* under ports_lock */

static struct vsock *vsock_of(struct socket *s)
{
    return container_of(s, struct vsock, sock);
}

/* vsock_addr_cast(). */
static int parse(const struct socket_address *addr, struct sockaddr_vm *ret)
{
    if (addr->size < sizeof(*ret))
        return -EFAULT;
    memcpy(ret, addr->bytes, sizeof(*ret));
    return ret->svm_family == AF_VSOCK ? 0 : -EAFNOSUPPORT;
}

static bool in_use_locked(uint32_t port)
{
    const struct vsock *v;

    list_for_each (v, &bound, node)
        if (v->port == port)
            return true;
    return false;
}

static int take_port_locked(struct vsock *v, uint32_t port)
{
    if (v->port != VMADDR_PORT_ANY)
        return -EINVAL;
    if (port == VMADDR_PORT_ANY) {
        while (next_port <= RESERVED_LAST || next_port == VMADDR_PORT_ANY ||
               in_use_locked(next_port))
            next_port++;
        port = next_port++;
    } else if (port <= RESERVED_LAST && !vfs_has_cap(CAP_NET_BIND_SERVICE)) {
        return -EACCES;
    } else if (in_use_locked(port)) {
        return -EADDRINUSE;
    }
    v->port = port;
    list_add(&bound, &v->node);
    return 0;
}

static int vsock_bind(struct socket *s, const struct socket_address *addr)
{
    struct sockaddr_vm name;
    int err = parse(addr, &name);

    if (err < 0)
        return err;
    if (name.svm_cid != VMADDR_CID_ANY)
        return vsock_of(s)->port != VMADDR_PORT_ANY ? -EINVAL : -EADDRNOTAVAIL;
    lock_acquire(&ports_lock);
    err = take_port_locked(vsock_of(s), name.svm_port);
    lock_release(&ports_lock);
    return err;
}

static int vsock_listen(struct socket *s, int backlog)
{
    struct vsock *v = vsock_of(s);

    if (v->port == VMADDR_PORT_ANY)
        return -EINVAL;
    v->listening = true;
    __atomic_store_n(&s->accepting, 1, __ATOMIC_RELAXED);
    return 0;
}

static int vsock_connect(struct socket *s, const struct socket_address *addr, bool first,
                         struct socket **ret_wait)
{
    struct sockaddr_vm name;
    int err = vsock_of(s)->listening ? -EINVAL : parse(addr, &name);

    return err < 0 ? err : -ENODEV;
}

static int vsock_accept(struct socket *s, struct socket **ret)
{
    return vsock_of(s)->listening ? -EAGAIN : -EINVAL;
}

static int vsock_getname(struct socket *s, bool peer, struct socket_address *ret)
{
    const struct vsock *v = vsock_of(s);
    const struct sockaddr_vm name = {
        .svm_family = AF_VSOCK, .svm_cid = v->cid, .svm_port = v->port};

    if (peer)
        return -ENOTCONN;
    memcpy(ret->bytes, &name, sizeof(name));
    ret->size = sizeof(name);
    return 0;
}

static ssize_t vsock_message(struct socket *s, struct socket_message *msg)
{
    return -ENOTCONN;
}

static int vsock_shutdown(struct socket *s, int how)
{
    return -ENOTCONN;
}

static int vsock_setsockopt(struct socket *s, int level, int name, const void *value, size_t size)
{
    uint64_t *buffer = vsock_of(s)->buffer, number;

    if (level != AF_VSOCK || name < SO_VM_SOCKETS_BUFFER_SIZE ||
        name > SO_VM_SOCKETS_BUFFER_MAX_SIZE)
        return -ENOPROTOOPT;
    if (size < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    lock_acquire(&s->lock);
    buffer[name] = number;
    buffer[SO_VM_SOCKETS_BUFFER_SIZE] =
        MAX(MIN(buffer[SO_VM_SOCKETS_BUFFER_SIZE], buffer[SO_VM_SOCKETS_BUFFER_MAX_SIZE]),
            buffer[SO_VM_SOCKETS_BUFFER_MIN_SIZE]);
    lock_release(&s->lock);
    return 0;
}

static int vsock_getsockopt(struct socket *s, int level, int name, void *value, size_t *size)
{
    if (level != AF_VSOCK || name < SO_VM_SOCKETS_BUFFER_SIZE ||
        name > SO_VM_SOCKETS_BUFFER_MAX_SIZE)
        return -ENOPROTOOPT;
    if (*size < sizeof(uint64_t))
        return -EINVAL;
    return socket_option_put(value, size, &vsock_of(s)->buffer[name], sizeof(uint64_t));
}

static uint32_t vsock_poll(struct socket *s)
{
    return vsock_of(s)->listening ? 0 : POLLOUT | POLLWRNORM;
}

static void vsock_close(struct socket *s)
{
    lock_acquire(&ports_lock);
    list_del_init(&vsock_of(s)->node);
    lock_release(&ports_lock);
}

static void vsock_free(struct socket *s)
{
    free(vsock_of(s));
}

static const struct socket_operations stream_operations = {
    .bind = vsock_bind,
    .listen = vsock_listen,
    .connect = vsock_connect,
    .accept = vsock_accept,
    .getname = vsock_getname,
    .sendmsg = vsock_message,
    .recvmsg = vsock_message,
    .shutdown = vsock_shutdown,
    .setsockopt = vsock_setsockopt,
    .getsockopt = vsock_getsockopt,
    .poll = vsock_poll,
    .stream = true,
    .close = vsock_close,
    .free = vsock_free,
};

static int vsock_create(struct net_ns *net, int type, int protocol, struct socket **ret)
{
    struct vsock *v;

    if (protocol && protocol != AF_VSOCK)
        return -EPROTONOSUPPORT;
    if (type == SOCK_DGRAM)
        return -ENODEV; /* what carries datagrams is chosen at once */
    if (type != SOCK_STREAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    socket_init(&v->sock, net, &stream_operations, AF_VSOCK, type, protocol);
    list_init(&v->node);
    v->cid = VMADDR_CID_ANY;
    v->port = VMADDR_PORT_ANY;
    v->buffer[SO_VM_SOCKETS_BUFFER_SIZE] = BUFFER_DEFAULT;
    v->buffer[SO_VM_SOCKETS_BUFFER_MIN_SIZE] = BUFFER_SMALLEST;
    v->buffer[SO_VM_SOCKETS_BUFFER_MAX_SIZE] = BUFFER_DEFAULT;
    *ret = &v->sock;
    return 0;
}

const struct socket_family vsock_family = {.family = AF_VSOCK, .create = vsock_create};
