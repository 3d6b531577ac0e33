/* Datagrams between the sockets inside and the stack. */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/clock.h"
#include "sentry/net/frames.h"
#include "sentry/net/inet/lwip/bridge.h"
#include "sentry/net/inet/lwip/stack.h"
#include "sentry/net/inet/raw.h"

static struct udp_socket *nobody; /* stands for the namespace where ports are looked up */

static bool arrived(const struct stack_datagram *d, size_t size,
                    void (*copy)(void *arg, void *to, size_t size), void *arg)
{
    struct udp_message *m = udp_message_create(size);
    struct endpoint to = {d->to.addr, d->to.port};

    if (!m)
        return true; /* without memory it is lost, and somebody may have wanted it */
    copy(arg, m->data, size);
    m->from = (struct endpoint){d->from.addr, d->from.port};
    m->to = d->to.addr;
    m->interface = stack_config()->index;
    m->time_ns = host_sandbox_realtime_ns();
    m->tos = d->tos;
    m->ttl = d->ttl;
    return udp_arrive(nobody, &to, m);
}

/* A connected socket is told at its next call. */
static void failed(const struct stack_name *from, const struct stack_name *to, int error)
{
    struct endpoint local = {from->addr, from->port}, remote = {to->addr, to->port};
    struct inet_socket *s = port_find(nobody->inet.sock.net, IPPROTO_UDP, &local, &remote, NULL, 0);

    if (!s)
        return;
    if (s->remote.port == remote.port && addr_equal(&s->remote.addr, &remote.addr))
        socket_set_error(&s->sock, -error);
    socket_unref(&s->sock);
}

/* Raw sockets see what has come. */
static void packet_arrived(const uint8_t *bytes, size_t size)
{
    struct net_ns *net = nobody->inet.sock.net;
    bool v4 = bytes[0] >> 4 == 4;
    struct inet_packet *p;

    if (!raw_anybody(net))
        return;
    p = malloc(sizeof(*p) + size);
    if (!p)
        return;
    *p = (struct inet_packet){.network_size = v4 ? (bytes[0] & 15U) * 4 : 40,
                              .size = (uint32_t)size,
                              .protocol = v4 ? bytes[9] : bytes[6]};
    memcpy(p->bytes, bytes, size);
    raw_deliver(net, p);
    free(p);
}

/* Packet sockets see all that passes. */
static void frame_seen(const uint8_t *bytes, size_t size, bool outgoing)
{
    struct net_ns *net = nobody->inet.sock.net;

    if (net_ns_watched(net))
        net_frame_seen(net, &(struct net_frame){
                                .bytes = bytes,
                                .size = (uint32_t)size,
                                .interface = stack_config()->index,
                                .hardware_type = ARPHRD_ETHER,
                                .kind = outgoing ? PACKET_OUTGOING
                                                 : net_frame_kind(bytes, stack_config()->hardware),
                            });
}

int exchange_send_frame(const void *bytes, size_t size)
{
    int err;

    lock_acquire(&stack_lock);
    err = stack_frame_send(bytes, size);
    lock_release(&stack_lock);
    return err;
}

int exchange_send_packet(const struct in6_addr *to, const void *bytes, size_t size)
{
    int err;

    lock_acquire(&stack_lock);
    err = stack_packet_send(to, bytes, size);
    lock_release(&stack_lock);
    return err;
}

int exchange_send(const struct inet_socket *s, const struct endpoint *to,
                  const struct udp_message *m)
{
    struct stack_datagram d = {
        .from = {m->from.addr, m->from.port},
        .to = {to->addr, to->port},
        .tos = m->tos,
        .ttl = m->ttl,
    };
    int err;

    if (addr_is_multicast(&to->addr)) {
        int hops = addr_is_v4(&to->addr) ? s->ip.multicast_ttl : s->ip.multicast_hops;

        d.ttl = (uint8_t)(hops < 0 ? 1 : hops);
        if (d.ttl == 0)
            return 0; /* for those inside alone */
    }
    lock_acquire(&stack_lock);
    err = stack_datagram_send(&d, m->data, m->size);
    lock_release(&stack_lock);
    return err;
}

void exchange_groups_changed(struct inet_ns *ns, const struct in6_addr *group)
{
    lock_acquire(&stack_lock);
    /* Without memory the group is not asked for, as if the question had been lost. */
    (void)stack_group_set(group, groups_joined(ns, group, stack_config()->index));
    lock_release(&stack_lock);
}

int exchange_start(struct net_ns *first)
{
    static const struct stack_datagram_user user = {
        .arrived = arrived, .packet = packet_arrived, .failed = failed};
    struct socket *s;
    int err = udp_create(first, AF_INET, IPPROTO_UDP, &s);

    if (err < 0)
        return err;
    nobody = udp_of(s);
    lock_acquire(&stack_lock);
    err = stack_datagram_start(&user);
    if (stack_config()->raw)
        stack_watch(frame_seen);
    lock_release(&stack_lock);
    return err;
}
