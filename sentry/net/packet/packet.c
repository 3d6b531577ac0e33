/* A packet socket's life: net/packet/af_packet.c. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/usercopy.h"
#include "sentry/net/netns.h"
#include "sentry/net/packet/internal.h"

static int packet_ns_create(struct net_ns *net, void **ret)
{
    struct packet_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return -ENOMEM;
    lock_init(&ns->lock);
    list_init(&ns->sockets);
    list_init(&ns->fanouts);
    *ret = ns;
    return 0;
}

static void packet_ns_destroy(void *data)
{
    struct packet_ns *ns = data;

    lock_destroy(&ns->lock);
    free(ns);
}

/* Whoever asks for a protocol receives, if what it is bound to is there. */
static void attach_locked(struct packet_socket *p, bool up)
{
    bool running = up && p->protocol;

    if (running != p->running)
        net_ns_watch(p->sock.net, running ? 1 : -1);
    __atomic_store_n(&p->running, running, __ATOMIC_RELAXED);
}

static int packet_bind(struct socket *s, const struct socket_address *addr)
{
    struct packet_ns *ns = packet_ns_of(s->net);
    struct packet_socket *p = packet_of(s);
    struct net_device device;
    struct sockaddr_ll ll;
    bool up = true;
    int err = 0;

    if (addr->size < sizeof(ll) || addr->family != AF_PACKET)
        return -EINVAL;
    memcpy(&ll, addr->bytes, sizeof(ll));
    if (ll.sll_ifindex) {
        err = net_ns_device(s->net, ll.sll_ifindex, &device);
        if (!err && !device.raw)
            err = -EPERM;
        up = ll.sll_ifindex != 1 || net_ns_lo_is_up(s->net);
    }
    if (err < 0)
        return err;
    lock_acquire(&ns->lock);
    lock_acquire(&s->lock);
    if (p->fanout) {
        err = -EINVAL;
    } else {
        p->interface = ll.sll_ifindex;
        if (ll.sll_protocol)
            p->protocol = ntohs(ll.sll_protocol);
        attach_locked(p, up);
    }
    lock_release(&s->lock);
    lock_release(&ns->lock);
    if (!err && !up)
        socket_set_error(s, ENETDOWN);
    return err;
}

static int packet_getname(struct socket *s, bool peer, struct socket_address *ret)
{
    struct packet_socket *p = packet_of(s);
    struct sockaddr_ll ll = {.sll_family = AF_PACKET};
    struct net_device device;

    if (peer)
        return -EOPNOTSUPP;
    lock_acquire(&s->lock);
    ll.sll_ifindex = p->interface;
    ll.sll_protocol = htons(p->protocol);
    lock_release(&s->lock);
    if (ll.sll_ifindex && net_ns_device(s->net, ll.sll_ifindex, &device) == 0) {
        ll.sll_hatype = device.type;
        ll.sll_halen = ETH_ALEN;
        memcpy(ll.sll_addr, device.address, ETH_ALEN);
    }
    memset(ret->bytes, 0, sizeof(ret->bytes));
    memcpy(ret->bytes, &ll, sizeof(ll));
    ret->size = (uint32_t)(offsetof(struct sockaddr_ll, sll_addr) + ll.sll_halen);
    return 0;
}

static uint32_t packet_poll(struct socket *s)
{
    struct packet_socket *p = packet_of(s);
    uint32_t events = POLLOUT | POLLWRNORM | POLLWRBAND;

    lock_acquire(&s->lock);
    if (!list_empty(&p->messages) || packet_ring_readable_locked(p))
        events |= POLLIN | POLLRDNORM;
    lock_release(&s->lock);
    return socket_error(s) ? events | POLLERR : events;
}

static int packet_queued(struct socket *s, uint32_t cmd, int *ret)
{
    struct packet_socket *p = packet_of(s);

    if (cmd != SIOCINQ && cmd != SIOCOUTQ)
        return -ENOTTY;
    *ret = 0;
    lock_acquire(&s->lock);
    if (cmd == SIOCINQ && !list_empty(&p->messages))
        *ret = (int)list_first(&p->messages, struct packet_message, node)->size;
    lock_release(&s->lock);
    return 0;
}

static long packet_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int number, err = packet_queued(s, cmd, &number);

    return err < 0 ? err : copy_struct_to_user(mm, arg, &number);
}

static void packet_close(struct socket *s)
{
    struct packet_ns *ns = packet_ns_of(s->net);
    struct packet_socket *p = packet_of(s);

    lock_acquire(&ns->lock);
    packet_fanout_leave_locked(p);
    list_del_init(&p->node);
    lock_release(&ns->lock);
    lock_acquire(&s->lock);
    p->protocol = 0;
    attach_locked(p, false);
    lock_release(&s->lock);
    timer_cancel(&p->retire);
    packet_purge(p); /* and nothing comes any more */
}

static void packet_free(struct socket *s)
{
    struct packet_socket *p = packet_of(s);

    packet_ring_fini(p);
    lock_destroy(&p->read_lock);
    lock_destroy(&p->send_lock);
    free(p);
}

static const struct socket_operations packet_operations = {
    .bind = packet_bind,
    .getname = packet_getname,
    .sendmsg = packet_sendmsg,
    .recvmsg = packet_recvmsg,
    .setsockopt = packet_setsockopt,
    .set_chooser = packet_fanout_set_program,
    .getsockopt = packet_getsockopt,
    .queued = packet_queued,
    .ioctl = packet_ioctl,
    .poll = packet_poll,
    .mmap = packet_ring_mmap,
    .close = packet_close,
    .free = packet_free,
};

static int packet_create(struct net_ns *net, int type, int protocol, struct socket **ret)
{
    struct packet_ns *ns = packet_ns_of(net);
    struct packet_socket *p;

    if (!net_capable(net, CAP_NET_RAW))
        return -EPERM;
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOBUFS;
    socket_init(&p->sock, net, &packet_operations, AF_PACKET, type, protocol);
    list_init(&p->messages);
    lock_init(&p->read_lock);
    lock_init(&p->send_lock);
    timer_init(&p->retire, packet_ring_retire);
    p->protocol = ntohs((uint16_t)protocol);
    lock_acquire(&p->sock.lock);
    attach_locked(p, true);
    lock_release(&p->sock.lock);
    lock_acquire(&ns->lock);
    list_add_tail(&ns->sockets, &p->node);
    lock_release(&ns->lock);
    *ret = &p->sock;
    return 0;
}

void packet_setup(struct memfile *memfile)
{
    packet_ring_setup(memfile);
}

void packet_list(struct net_ns *net, void (*show)(void *arg, const struct packet_info *info),
                 void *arg)
{
    struct packet_ns *ns = packet_ns_of(net);
    struct packet_socket *p;

    lock_acquire(&ns->lock);
    list_for_each (p, &ns->sockets, node) {
        struct packet_info info = {
            .ino = p->sock.ino,
            .refs = refcount_read(&p->sock.refs),
            .uid = own_attr_uid(&p->sock.attr),
            .type = p->sock.type,
        };

        lock_acquire(&p->sock.lock);
        info.queued = (uint32_t)p->queued;
        info.interface = p->interface;
        info.protocol = p->protocol;
        info.running = p->running;
        lock_release(&p->sock.lock);
        show(arg, &info);
    }
    lock_release(&ns->lock);
}

const struct socket_family packet_family = {
    .family = AF_PACKET,
    .create = packet_create,
    .diag = packet_diag,
    .ns_init = packet_ns_create,
    .ns_fini = packet_ns_destroy,
};
