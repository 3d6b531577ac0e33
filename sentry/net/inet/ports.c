/*
 * Who has which port. A port in use is an object with the sockets that were bound or connected
 * there. Accepted connections are in a list of their own: there may be many, and nothing that
 * arrives is looked up among them.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/net/filter.h"
#include "sentry/net/inet/raw.h"
#include "sentry/net/netns.h"

#define UNPRIVILEGED_FIRST 1024  /* ip_unprivileged_port_start */
#define EPHEMERAL_LOW      32768 /* ip_local_port_range */
#define EPHEMERAL_HIGH     60999

struct inet_ns *inet_ns_of(struct net_ns *net)
{
    return net_ns_family(net, AF_INET);
}

int inet_ns_create(struct net_ns *net, void **ret)
{
    struct inet_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return -ENOMEM;
    lock_init(&ns->lock);
    for (int i = 0; i < INET_PROTOCOLS * INET_BUCKETS; i++)
        list_init(&ns->ports[i / INET_BUCKETS][i % INET_BUCKETS]);
    lock_init(&ns->groups_lock);
    list_init(&ns->groups);
    list_init(&ns->raws);
    ns->low = EPHEMERAL_LOW;
    ns->high = EPHEMERAL_HIGH;
    *ret = ns;
    return 0;
}

void inet_ns_destroy(void *data)
{
    struct inet_ns *ns = data;

    lock_destroy(&ns->lock);
    lock_destroy(&ns->groups_lock);
    free(ns);
}

static uint8_t index_of(int protocol)
{
    return protocol == IPPROTO_TCP ? INET_TCP : protocol == IPPROTO_UDP ? INET_UDP : INET_UDPLITE;
}

static struct list *bucket_of(struct inet_ns *ns, uint8_t index, uint16_t number)
{
    return &ns->ports[index][number % INET_BUCKETS];
}

static struct port *find_locked(struct inet_ns *ns, uint8_t index, uint16_t number)
{
    struct list *bucket = bucket_of(ns, index, number);
    struct port *port;

    list_for_each (port, bucket, node)
        if (port->number == number)
            return port;
    return NULL;
}

/* ---- conflicts --------------------------------------------------------------------------------
 */

/* Would both get what comes to some address? */
static bool overlap(const struct inet_socket *a, const struct inet_socket *b)
{
    bool a4 = a->sock.domain == AF_INET || addr_is_v4(&a->bound);
    bool b4 = b->sock.domain == AF_INET || addr_is_v4(&b->bound);

    if (a->sock.opt.device && b->sock.opt.device && a->sock.opt.device != b->sock.opt.device)
        return false;
    if (addr_is_any(&a->bound) || addr_is_any(&b->bound)) {
        if (a4 == b4)
            return true;
        /* An any address of IPv6 takes IPv4's as well, unless told not to. */
        return a4 ? addr_is_any(&b->bound) && !b->ip.v6only
                  : addr_is_any(&a->bound) && !a->ip.v6only;
    }
    return addr_equal(&a->bound, &b->bound);
}

static bool may_share(struct inet_socket *s, struct inet_socket *other)
{
    if (s->sock.opt.reuse_port && other->sock.opt.reuse_port &&
        own_attr_uid(&s->sock.attr) == own_attr_uid(&other->sock.attr))
        return true;
    return s->sock.opt.reuse_addr && other->sock.opt.reuse_addr && !other->listening;
}

static bool conflict_locked(struct inet_socket *s, struct port *port)
{
    struct inet_socket *other;

    if (port->exclusive > 0 || (!list_empty(&port->accepted) && !s->sock.opt.reuse_addr))
        return true;
    list_for_each (other, &port->sockets, port_node)
        if (other != s && overlap(s, other) && !may_share(s, other))
            return true;
    return false;
}

static int enter_locked(struct inet_ns *ns, struct inet_socket *s, uint16_t number)
{
    uint8_t index = index_of(s->sock.protocol);
    struct port *port = find_locked(ns, index, number);

    if (!port) {
        port = calloc(1, sizeof(*port));
        if (!port)
            return -ENOMEM;
        port->number = number;
        port->index = index;
        list_init(&port->sockets);
        list_init(&port->accepted);
        list_add(bucket_of(ns, index, number), &port->node);
    }
    s->port = port;
    s->local.port = number;
    list_add(&port->sockets, &s->port_node);
    return 0;
}

/* One of the ephemeral range, which IP_LOCAL_PORT_RANGE may narrow, that nobody uses at all. */
static int take_any_locked(struct inet_ns *ns, struct inet_socket *s)
{
    const uint32_t first = s->ip.port_range & UINT16_MAX, last = s->ip.port_range >> 16;
    const uint32_t low = first >= ns->low && first <= ns->high ? first : ns->low;
    const uint32_t high = last >= low && last <= ns->high ? last : ns->high;
    uint32_t count = high - low + 1, at;
    uint8_t index = index_of(s->sock.protocol);

    host_random(&at, sizeof(at));
    at %= count;
    for (uint32_t i = 0; i < count; i++, at = (at + 1) % count)
        if (!find_locked(ns, index, (uint16_t)(low + at)))
            return enter_locked(ns, s, (uint16_t)(low + at));
    return -EADDRINUSE;
}

int port_take(struct inet_socket *s, uint16_t number)
{
    struct inet_ns *ns = inet_ns_of(s->sock.net);
    struct port *port;
    int err;

    if (number && number < UNPRIVILEGED_FIRST && !net_capable(s->sock.net, CAP_NET_BIND_SERVICE))
        return -EACCES;
    lock_acquire(&ns->lock);
    port = number ? find_locked(ns, index_of(s->sock.protocol), number) : NULL;
    if (!number)
        err = take_any_locked(ns, s);
    else if (port && conflict_locked(s, port))
        err = -EADDRINUSE;
    else
        err = enter_locked(ns, s, number);
    lock_release(&ns->lock);
    return err;
}

void port_share(struct inet_socket *s, struct inet_socket *listener)
{
    struct inet_ns *ns = inet_ns_of(s->sock.net);

    lock_acquire(&ns->lock);
    if (listener->port) {
        s->port = listener->port;
        s->exclusive = !s->sock.opt.reuse_addr;
        s->port->exclusive += s->exclusive;
        list_add(&s->port->accepted, &s->port_node);
    }
    lock_release(&ns->lock);
}

/* The sockets of a port that were bound to the same address are one group: so is their program. */
static bool same_group(const struct inet_socket *a, const struct inet_socket *b)
{
    return b->sock.opt.reuse_port && a->sock.domain == b->sock.domain &&
           addr_equal(&a->bound, &b->bound);
}

/* Who leaves a group leaves its program to the others. */
static void pass_chooser_locked(struct inet_socket *s)
{
    struct inet_socket *other;

    list_for_each (other, &s->port->sockets, port_node)
        if (s->sock.chooser && other != s && same_group(s, other)) {
            socket_filter_unref(other->sock.chooser);
            other->sock.chooser = s->sock.chooser;
            s->sock.chooser = NULL;
        }
}

void port_drop(struct inet_socket *s)
{
    struct inet_ns *ns = inet_ns_of(s->sock.net);
    struct port *port;

    lock_acquire(&ns->lock);
    port = s->port;
    s->listening = false;
    if (port) {
        pass_chooser_locked(s);
        s->port = NULL;
        list_del_init(&s->port_node);
        port->exclusive -= s->exclusive;
        s->exclusive = false;
        if (list_empty(&port->sockets) && list_empty(&port->accepted)) {
            list_del_init(&port->node);
            free(port);
        }
    }
    lock_release(&ns->lock);
}

int port_listen(struct inet_socket *s)
{
    struct inet_ns *ns = inet_ns_of(s->sock.net);
    struct inet_socket *other;
    int err = 0;

    lock_acquire(&ns->lock);
    list_for_each (other, &s->port->sockets, port_node)
        if (other != s && other->listening && overlap(s, other) && !may_share(s, other))
            err = -EADDRINUSE;
    if (!err)
        s->listening = true;
    lock_release(&ns->lock);
    return err;
}

void port_deafen(struct inet_socket *s)
{
    struct inet_ns *ns = inet_ns_of(s->sock.net);

    lock_acquire(&ns->lock);
    s->listening = false;
    lock_release(&ns->lock);
}

bool port_has_listener(struct inet_ns *ns, uint16_t number)
{
    const struct inet_socket *s;
    const struct port *port;
    bool found = false;

    lock_acquire(&ns->lock);
    port = find_locked(ns, INET_TCP, number);
    if (port)
        list_for_each (s, &port->sockets, port_node)
            found |= s->listening && !addr_is_loopback(&s->bound);
    lock_release(&ns->lock);
    return found;
}

void port_tell_listening(struct net_ns *net, uint16_t number)
{
    struct inet_ns *ns = inet_ns_of(net);

    if (ns->outward && number)
        ns->outward->listening_changed(ns, number);
}

/* ---- finding ----------------------------------------------------------------------------------
 */

/* How well `s` fits; 0: not at all. As udp_lib_lookup(): what is more particular wins. */
static int fit(const struct inet_socket *s, const struct endpoint *dst, const struct endpoint *src)
{
    bool v4 = addr_is_v4(&dst->addr);
    int score = 1;

    if (v4 && s->sock.domain == AF_INET6 &&
        (s->ip.v6only || !(addr_is_any(&s->local.addr) || addr_is_v4(&s->local.addr))))
        return 0;
    if (!v4 && addr_is_v4(&s->local.addr)) /* IPv4's any address, as IPv6 names it, too */
        return 0;
    if (s->sock.opt.device && s->sock.opt.device != endpoint_interface(s, &src->addr))
        return 0;
    if (!addr_is_any(&s->local.addr)) {
        if (!addr_equal(&s->local.addr, &dst->addr))
            return 0;
        score += 4;
    }
    if (s->sock.type == SOCK_STREAM)
        return s->listening ? score + (s->sock.domain == AF_INET ? 1 : 0) : 0;
    if (s->remote.port) {
        if (s->remote.port != src->port || !addr_equal(&s->remote.addr, &src->addr))
            return 0;
        score += 8;
    }
    return score + (s->sock.domain == AF_INET && v4 ? 1 : 0);
}

/* Spreads over the sockets that share the port (SO_REUSEPORT), the same for the same sender. */
static uint32_t spread(const struct endpoint *src)
{
    return (src->port * 2654435761u) >> 16;
}

/* Of the `count` sockets that fit as well as `best`, the one that its group's program names, by
 * the order in which they were bound; else one by the sender. */
static struct inet_socket *choose_locked(struct port *port, struct inet_socket *best,
                                         uint32_t count, const struct endpoint *dst,
                                         const struct endpoint *src, const void *bytes, size_t size)
{
    int score = fit(best, dst, src);
    const struct socket_filter *chooser = NULL;
    uint32_t pick = spread(src) % count, named;
    struct inet_socket *s;

    list_for_each (s, &port->sockets, port_node)
        if (!chooser && s->sock.opt.reuse_port && fit(s, dst, src) == score)
            chooser = s->sock.chooser;
    if (chooser) {
        named = socket_filter_choose(chooser, bytes, size);
        if (named < count) /* the list begins with who came last */
            pick = count - 1 - named;
    }
    list_for_each (s, &port->sockets, port_node)
        if (fit(s, dst, src) == score && pick-- == 0)
            return s;
    return best;
}

struct inet_socket *port_find(struct net_ns *net, int protocol, const struct endpoint *dst,
                              const struct endpoint *src, const void *bytes, size_t size)
{
    struct inet_ns *ns = inet_ns_of(net);
    struct inet_socket *s, *best = NULL;
    struct port *port;
    int best_score = 0;
    uint32_t equals = 0;

    lock_acquire(&ns->lock);
    port = find_locked(ns, index_of(protocol), dst->port);
    if (port) {
        list_for_each (s, &port->sockets, port_node) {
            int score = fit(s, dst, src);

            if (score > best_score) {
                best = s;
                best_score = score;
                equals = 1;
            } else if (score && score == best_score && s->sock.opt.reuse_port) {
                equals++;
            }
        }
    }
    if (best && equals > 1 && best->sock.opt.reuse_port)
        best = choose_locked(port, best, equals, dst, src, bytes, size);
    if (best)
        socket_ref(&best->sock);
    lock_release(&ns->lock);
    return best;
}

int port_set_chooser(struct socket *sock, struct socket_filter *program)
{
    struct inet_ns *ns = inet_ns_of(sock->net);
    struct inet_socket *s = inet_of(sock), *other;
    bool had = false;

    if (!sock->opt.reuse_port)
        return -EINVAL;
    lock_acquire(&ns->lock);
    had |= sock->chooser != NULL;
    sock->chooser = socket_filter_unref(sock->chooser);
    if (s->port)
        list_for_each (other, &s->port->sockets, port_node)
            if (same_group(s, other)) {
                had |= other->sock.chooser != NULL;
                other->sock.chooser = socket_filter_unref(other->sock.chooser);
            }
    sock->chooser = program;
    lock_release(&ns->lock);
    return program || had ? 0 : -ENOENT;
}

int port_find_all(const struct inet_socket *from, const struct endpoint *dst,
                  const struct endpoint *src, int interface, struct inet_socket **ret, int max,
                  bool (*wants)(struct inet_socket *s, const struct endpoint *dst,
                                const struct endpoint *src, int interface))
{
    struct inet_ns *ns = inet_ns_of(from->sock.net);
    struct inet_socket *s;
    struct port *port;
    int count = 0;

    lock_acquire(&ns->lock);
    port = find_locked(ns, index_of(from->sock.protocol), dst->port);
    if (port)
        list_for_each (s, &port->sockets, port_node)
            if (count < max && wants(s, dst, src, interface)) {
                socket_ref(&s->sock);
                ret[count++] = s;
            }
    lock_release(&ns->lock);
    return count;
}

/* ---- telling ----------------------------------------------------------------------------------
 */

static size_t collect_list(const struct list *list, int family, struct inet_socket **ret,
                           size_t count, size_t max)
{
    struct inet_socket *s;

    list_for_each (s, list, port_node)
        if (s->sock.domain == family && count < max) {
            socket_ref(&s->sock);
            ret[count++] = s;
        }
    return count;
}

uint64_t inet_counter(struct net_ns *net, enum inet_counter which)
{
    return __atomic_load_n(&inet_ns_of(net)->counters[which], __ATOMIC_RELAXED);
}

/* The sockets of one bucket, referenced. */
static size_t collect(struct inet_ns *ns, int family, uint8_t index, int bucket,
                      struct inet_socket **ret, size_t max)
{
    struct port *port;
    size_t count = 0;

    lock_acquire(&ns->lock);
    list_for_each (port, &ns->ports[index][bucket], node) {
        count = collect_list(&port->sockets, family, ret, count, max);
        count = collect_list(&port->accepted, family, ret, count, max);
    }
    lock_release(&ns->lock);
    return count;
}

#define REPORT_MAX 16384 /* sockets of one bucket that are told of */

void inet_for_each(struct net_ns *net, int family, int protocol, inet_report_fn show, void *arg)
{
    struct inet_socket **sockets = calloc(REPORT_MAX, sizeof(*sockets));
    uint8_t index = index_of(protocol);
    bool more = true;

    if (protocol == IPPROTO_RAW)
        raw_for_each(net, family, show, arg);
    if (protocol == IPPROTO_RAW || !sockets) {
        free(sockets);
        return;
    }
    for (int i = 0; i < INET_BUCKETS && more; i++) {
        size_t count = collect(inet_ns_of(net), family, index, i, sockets, REPORT_MAX);

        for (size_t j = 0; j < count; j++) {
            struct inet_report report = {0};

            if (more) {
                if (index == INET_TCP)
                    tcp_report(sockets[j], &report);
                else
                    udp_report(sockets[j], &report);
                more = show(&report, arg);
            }
            socket_unref(&sockets[j]->sock);
        }
    }
    free(sockets);
}
