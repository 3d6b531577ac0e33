/* Frames that pass: who wants which, and how they come to programs. */
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/clock.h"
#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/netns.h"
#include "sentry/net/packet/internal.h"

#define READABLE      (POLLIN | POLLRDNORM)
#define RECEIVERS_MAX 64

/* Outgoing frames are for those who want to see everything. */
static bool wants(struct packet_socket *p, const struct net_frame *f, uint16_t protocol)
{
    bool outgoing = f->kind == PACKET_OUTGOING, all, fits;

    lock_acquire(&p->sock.lock);
    all = p->protocol == ETH_P_ALL;
    fits = p->running && (!p->interface || p->interface == f->interface) &&
           (all || (p->protocol == protocol && !outgoing)) && !(outgoing && p->ignore_outgoing);
    lock_release(&p->sock.lock);
    return fits;
}

struct receivers {
    struct packet_socket *list[RECEIVERS_MAX]; /* referenced */
    int count;
};

static void add_receiver(void *arg, struct packet_socket *p)
{
    struct receivers *r = arg;

    if (r->count == RECEIVERS_MAX)
        return;
    socket_ref(&p->sock);
    r->list[r->count++] = p;
}

static void find_receivers(struct net_ns *net, const struct net_frame *f, uint16_t protocol,
                           struct receivers *ret)
{
    struct packet_ns *ns = packet_ns_of(net);
    struct packet_socket *p;

    ret->count = 0;
    lock_acquire(&ns->lock);
    list_for_each (p, &ns->sockets, node)
        if (!p->fanout && wants(p, f, protocol))
            add_receiver(ret, p);
    packet_fanout_each_locked(ns, f, protocol, add_receiver, ret);
    lock_release(&ns->lock);
}

/* Into the queue; `head` says all but the bytes. */
static bool enqueue_locked(struct packet_socket *p, const struct packet_message *head,
                           const uint8_t *bytes)
{
    uint64_t room = sizeof(*head) + head->size + SOCKET_MESSAGE_COST;
    struct packet_message *m;

    if (p->queued >= p->sock.opt.rcvbuf || socket_memory_take(room) < 0)
        return false;
    m = malloc(sizeof(*m) + head->size);
    if (!m) {
        socket_memory_give(room);
        return false;
    }
    *m = *head;
    memcpy(m->bytes, bytes, m->size);
    list_init(&m->node);
    list_add_tail(&p->messages, &m->node);
    p->queued += room;
    return true;
}

static void message_free(struct packet_message *m)
{
    socket_memory_give(sizeof(*m) + m->size + SOCKET_MESSAGE_COST);
    free(m);
}

struct bpf_packet packet_for_program(const struct net_frame *f, uint32_t skip, uint16_t protocol)
{
    return (struct bpf_packet){
        .bytes = f->bytes,
        .size = f->size - skip,
        .data = skip,
        .network = ETH_HLEN,
        .protocol = protocol,
        .kind = f->kind,
        .interface = (uint32_t)f->interface,
        .hardware_type = f->hardware_type,
    };
}

static void deliver(struct packet_socket *p, const struct net_frame *f, uint16_t protocol,
                    uint64_t now)
{
    uint32_t skip = p->sock.type == SOCK_DGRAM ? ETH_HLEN : 0, size = f->size - skip, stays = size;
    struct packet_message head = {
        .time_ns = now, .whole = size, .network = (uint16_t)(ETH_HLEN - skip)};
    bool taken;

    if (socket_has_filter(&p->sock)) {
        struct bpf_packet packet = packet_for_program(f, skip, protocol);

        stays = socket_filter_run(&p->sock, &packet);
    }
    if (stays == 0)
        return;
    head.size = stays;
    head.from = (struct sockaddr_ll){
        .sll_family = AF_PACKET,
        .sll_protocol = htons(protocol),
        .sll_ifindex = f->interface,
        .sll_hatype = f->hardware_type,
        .sll_pkttype = f->kind,
        .sll_halen = ETH_ALEN,
    };
    memcpy(head.from.sll_addr, f->bytes + ETH_ALEN, ETH_ALEN);
    lock_acquire(&p->sock.lock);
    taken = p->running && (p->ring.bytes ? packet_ring_put_locked(p, &head, f->bytes + skip)
                                         : enqueue_locked(p, &head, f->bytes + skip));
    if (taken)
        p->packets++;
    else if (p->running)
        p->drops++;
    lock_release(&p->sock.lock);
    if (taken)
        socket_wake(&p->sock, READABLE);
}

void packet_frame_seen(struct net_ns *net, const struct net_frame *f)
{
    uint16_t protocol = net_frame_protocol(f->bytes, f->size);
    struct receivers found;
    uint64_t now;

    find_receivers(net, f, protocol, &found);
    now = found.count ? host_sandbox_realtime_ns() : 0;
    for (int i = 0; i < found.count; i++) {
        deliver(found.list[i], f, protocol, now);
        socket_unref(&found.list[i]->sock);
    }
}

void packet_purge(struct packet_socket *p)
{
    struct list all = LIST_INIT(all);

    lock_acquire(&p->sock.lock);
    while (!list_empty(&p->messages)) {
        struct packet_message *m = list_first(&p->messages, struct packet_message, node);

        list_del_init(&m->node);
        list_add_tail(&all, &m->node);
    }
    p->queued = 0;
    lock_release(&p->sock.lock);
    while (!list_empty(&all)) {
        struct packet_message *m = list_first(&all, struct packet_message, node);

        list_del_init(&m->node);
        message_free(m);
    }
}

/* ---- recvmsg(2) -------------------------------------------------------------------------------
 */

static void describe(struct packet_socket *p, struct socket_message *msg,
                     const struct packet_message *m)
{
    struct sockaddr_ll from = m->from;

    if (msg->address) {
        memset(msg->address->bytes, 0, sizeof(msg->address->bytes));
        memcpy(msg->address->bytes, &from, sizeof(from));
        msg->address->size = sizeof(from);
    }
    socket_put_timestamp(&p->sock, msg, m->time_ns);
    if (p->auxdata) {
        const struct tpacket_auxdata aux = {
            .tp_status = TP_STATUS_USER,
            .tp_len = m->whole,
            .tp_snaplen = m->size,
            .tp_net = m->network,
        };

        socket_control_put(msg, SOL_PACKET, PACKET_AUXDATA, &aux, sizeof(aux));
    }
}

static ssize_t give(struct packet_socket *p, struct socket_message *msg, struct packet_message *m)
{
    static const uint8_t no_offload[PACKET_VNET_SIZE];
    size_t before = p->vnet ? PACKET_VNET_SIZE : 0;
    ssize_t n;

    if (before && msg->uio->left < before)
        return -EINVAL;
    if (before && uio_copy_out(msg->uio, no_offload, before) != (ssize_t)before)
        return -EFAULT;
    n = socket_message_give(msg, m->bytes, m->size);
    if (n < 0)
        return n;
    describe(p, msg, m);
    return (ssize_t)before + n;
}

static ssize_t receive(struct packet_socket *p, struct socket_message *msg)
{
    bool peek = msg->flags & MSG_PEEK;
    struct packet_message *m = NULL;
    ssize_t n;

    lock_acquire(&p->sock.lock);
    if (!list_empty(&p->messages)) {
        m = list_first(&p->messages, struct packet_message, node);
        if (!peek) {
            list_del_init(&m->node);
            p->queued -= sizeof(*m) + m->size + SOCKET_MESSAGE_COST;
        }
    }
    lock_release(&p->sock.lock);
    if (!m)
        return -EAGAIN;
    n = give(p, msg, m);
    if (!peek)
        message_free(m);
    return n;
}

ssize_t packet_recvmsg(struct socket *s, struct socket_message *msg)
{
    struct packet_socket *p = packet_of(s);
    ssize_t n;
    int err;

    if (msg->flags & MSG_OOB)
        return -EINVAL;
    if (msg->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    err = socket_take_error(s);
    if (err < 0)
        return err;
    lock_acquire(&p->read_lock);
    n = receive(p, msg);
    lock_release(&p->read_lock);
    return n;
}
