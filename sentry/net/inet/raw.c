/*
 * Raw sockets: packets of one protocol of IP, for those with CAP_NET_RAW. There is only what is
 * sent here by raw sockets themselves, UDP's datagrams and what ICMP answers; TCP's connections
 * make no packets.
 */
#include "sentry/net/inet/raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "sentry/mm/uio.h"
#include "sentry/net/filter.h"
#include "sentry/net/inet/wire.h"
#include "sentry/net/netns.h"

#define PACKET_MAX    0xffff
#define RECEIVERS_MAX 64
#define DEFAULT_TTL   64
#define OPT_CHECKSUM  7 /* IPV6_CHECKSUM */

static struct raw_socket *raw_of(struct socket *s)
{
    return container_of(udp_of(s), struct raw_socket, queue);
}

static struct socket *raw_sock(struct raw_socket *r)
{
    return &r->queue.inet.sock;
}

void packet_addresses(const struct inet_packet *packet, struct in6_addr *ret_from,
                      struct in6_addr *ret_to)
{
    struct ip6_hdr v6;
    struct iphdr v4;

    if (packet->bytes[0] >> 4 == 4) {
        memcpy(&v4, packet->bytes, sizeof(v4));
        *ret_from = addr_v4(ntohl(v4.saddr));
        *ret_to = addr_v4(ntohl(v4.daddr));
    } else {
        memcpy(&v6, packet->bytes, sizeof(v6));
        *ret_from = v6.ip6_src;
        *ret_to = v6.ip6_dst;
    }
}

/* ---- delivery ---------------------------------------------------------------------------------
 */

/* Types of ICMP that the socket has said that it does not want. */
static bool type_unwanted(const struct raw_socket *r, const struct inet_packet *p)
{
    uint8_t type = p->size > p->network_size ? p->bytes[p->network_size] : 0;

    if (p->protocol == IPPROTO_ICMP)
        return type < 32 && (r->icmp_filter >> type & 1);
    if (p->protocol == IPPROTO_ICMPV6)
        return r->icmp6_filter[type / 32] >> (type % 32) & 1;
    return false;
}

static bool wants(struct raw_socket *r, const struct inet_packet *p, const struct in6_addr *from,
                  const struct in6_addr *to)
{
    const struct inet_socket *s = &r->queue.inet;
    bool fits;

    if (s->sock.domain != (addr_is_v4(to) ? AF_INET : AF_INET6) || s->sock.protocol != p->protocol)
        return false;
    lock_acquire(&raw_sock(r)->lock);
    fits = (addr_is_any(&s->local.addr) || addr_equal(&s->local.addr, to)) &&
           (addr_is_any(&s->remote.addr) || addr_equal(&s->remote.addr, from));
    lock_release(&raw_sock(r)->lock);
    return fits && !type_unwanted(r, p);
}

/* The sockets that want it, with references; how many. */
static int find_receivers(struct net_ns *net, const struct inet_packet *p,
                          struct raw_socket *ret[RECEIVERS_MAX])
{
    struct inet_ns *ns = inet_ns_of(net);
    struct in6_addr from, to;
    struct raw_socket *r;
    int count = 0;

    packet_addresses(p, &from, &to);
    lock_acquire(&ns->lock);
    list_for_each (r, &ns->raws, node)
        if (count < RECEIVERS_MAX && wants(r, p, &from, &to)) {
            socket_ref(raw_sock(r));
            ret[count++] = r;
        }
    lock_release(&ns->lock);
    return count;
}

static void deliver_to(struct raw_socket *r, const struct inet_packet *p)
{
    bool v4 = p->bytes[0] >> 4 == 4;
    uint32_t skip = v4 ? 0 : p->network_size, size = p->size - skip;
    struct udp_message *m;

    if (socket_has_filter(raw_sock(r)))
        size = socket_filter_run(
            raw_sock(r), &(struct bpf_packet){.bytes = p->bytes, .data = skip, .size = size});
    m = size ? udp_message_create(size) : NULL;
    if (!m)
        return;
    memcpy(m->data, p->bytes + skip, size);
    packet_addresses(p, &m->from.addr, &m->to);
    m->from.port = 0;
    m->tos = p->bytes[1];
    m->ttl = p->bytes[v4 ? offsetof(struct iphdr, ttl) : offsetof(struct ip6_hdr, ip6_hlim)];
    m->time_ns = host_sandbox_realtime_ns();
    udp_enqueue(&r->queue, m);
}

bool raw_anybody(struct net_ns *net)
{
    return __atomic_load_n(&inet_ns_of(net)->raw_count, __ATOMIC_RELAXED) > 0;
}

void raw_deliver(struct net_ns *net, const struct inet_packet *packet)
{
    struct raw_socket *found[RECEIVERS_MAX];
    int count = find_receivers(net, packet, found);

    for (int i = 0; i < count; i++) {
        deliver_to(found[i], packet);
        socket_unref(raw_sock(found[i]));
    }
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static int find_way(struct raw_socket *r, struct socket_message *msg, struct endpoint *ret_to,
                    struct in6_addr *ret_from)
{
    struct inet_socket *s = &r->queue.inet;
    int err = 0;

    if (msg->to_address) {
        err = endpoint_parse(s, msg->address, false, ret_to);
        if (err == -EAFNOSUPPORT && s->sock.domain == AF_INET &&
            msg->address->family == AF_UNSPEC) {
            struct socket_address same = *msg->address;

            same.family = AF_INET;
            err = endpoint_parse(s, &same, false, ret_to);
        }
    } else {
        lock_acquire(&s->sock.lock);
        *ret_to = s->remote;
        lock_release(&s->sock.lock);
        err = addr_is_any(&ret_to->addr) ? -EDESTADDRREQ : 0;
    }
    if (!err)
        err = endpoint_route(s, ret_to, ret_from);
    return err == -EACCES && s->sock.opt.broadcast ? 0 : err;
}

/* IP_HDRINCL: the program's own header, with what Linux fills in. */
static struct inet_packet *with_own_header(const struct endpoint *from, const uint8_t *bytes,
                                           size_t size)
{
    struct inet_packet *p;
    struct iphdr ip;

    memcpy(&ip, bytes, sizeof(ip));
    if (ip.version != 4 || ip.ihl < 5 || ip.ihl * 4U > size)
        return NULL;
    ip.tot_len = htons((uint16_t)size);
    if (!ip.saddr)
        ip.saddr = from->addr.s6_addr32[3];
    ip.check = 0;
    p = malloc(sizeof(*p) + size);
    if (!p)
        return NULL;
    *p = (struct inet_packet){
        .network_size = ip.ihl * 4U, .size = (uint32_t)size, .protocol = ip.protocol};
    memcpy(p->bytes, bytes, size);
    memcpy(p->bytes, &ip, sizeof(ip));
    ip.check = packet_checksum(p->bytes, p->network_size, 0);
    memcpy(p->bytes, &ip, sizeof(ip));
    return p;
}

static struct inet_packet *with_header(const struct raw_socket *r, const struct udp_message *mark,
                                       const struct endpoint *from, const struct endpoint *to,
                                       const uint8_t *bytes, size_t size)
{
    size_t header = addr_is_v4(&to->addr) ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);
    struct inet_packet *p = malloc(sizeof(*p) + header + size);
    int at = r->checksum_at;

    if (!p)
        return NULL;
    *p = (struct inet_packet){.network_size = (uint32_t)header,
                              .size = (uint32_t)(header + size),
                              .protocol = (uint8_t)r->queue.inet.sock.protocol};
    packet_put_header(p->bytes, &from->addr, &to->addr, p->protocol, mark->ttl, mark->tos, size);
    memcpy(p->bytes + header, bytes, size);
    if (at >= 0 && (size_t)at + 2 <= size) {
        uint16_t sum;

        memset(p->bytes + header + at, 0, sizeof(sum));
        sum = packet_checksum(p->bytes + header, size,
                              packet_pseudo_sum(&from->addr, &to->addr, p->protocol, size));
        memcpy(p->bytes + header + at, &sum, sizeof(sum));
    }
    return p;
}

/* A header of the program's own must name the destination that the way was looked up for. */
static int send_outward(const struct inet_outward *outward, const struct in6_addr *to,
                        const struct inet_packet *p)
{
    struct in6_addr from, named;

    packet_addresses(p, &from, &named);
    if (!addr_equal(to, &named))
        return -EINVAL;
    return outward->send_packet ? outward->send_packet(to, p->bytes, p->size) : -EPERM;
}

static int send_bytes(struct raw_socket *r, struct socket_message *msg, const uint8_t *bytes,
                      size_t size)
{
    struct inet_socket *s = &r->queue.inet;
    struct udp_message mark = {.ttl = DEFAULT_TTL};
    struct endpoint from = {.port = 0}, to;
    const struct inet_outward *outward;
    struct inet_packet *p;
    int err = find_way(r, msg, &to, &from.addr);

    if (!err)
        err = udp_mark_message(s, msg, &to, &mark);
    if (err < 0)
        return err;
    if (r->header_included) {
        if (size < sizeof(struct iphdr))
            return -EINVAL;
        p = with_own_header(&from, bytes, size);
    } else {
        if (r->checksum_at >= 0 && (size_t)r->checksum_at + 2 > size)
            return -EINVAL;
        p = with_header(r, &mark, &from, &to, bytes, size);
    }
    if (!p)
        return r->header_included ? -EINVAL : -ENOBUFS;
    outward = endpoint_outward(s, &to.addr);
    if (outward) {
        err = send_outward(outward, &to.addr, p);
    } else {
        wire_packet(s->sock.net, p);
        icmp_answer(s->sock.net, p);
        udp_receive_packet(s->sock.net, p);
    }
    free(p);
    return err;
}

static ssize_t raw_send(struct socket *s, struct socket_message *msg)
{
    size_t size = msg->uio->left;
    uint8_t *bytes;
    int err;

    if (size > PACKET_MAX)
        return -EMSGSIZE;
    if (msg->flags & MSG_OOB)
        return -EOPNOTSUPP;
    err = socket_take_error(s);
    if (err < 0)
        return err;
    bytes = malloc(MAX(size, (size_t)1));
    if (!bytes)
        return -ENOBUFS;
    if (size > 0 && uio_copy_in(msg->uio, bytes, size) != (ssize_t)size)
        err = -EFAULT;
    else
        err = send_bytes(raw_of(s), msg, bytes, size);
    free(bytes);
    return err < 0 ? err : (ssize_t)size;
}

/* ---- names ------------------------------------------------------------------------------------
 */

static int raw_bind(struct socket *s, const struct socket_address *addr)
{
    struct inet_socket *in = inet_of(s);
    struct endpoint e;
    int err = endpoint_parse(in, addr, true, &e);

    if (!err)
        err = inet_check_bindable(in, &e);
    if (err < 0)
        return err;
    lock_acquire(&s->lock);
    if (!addr_is_any(&in->remote.addr))
        err = -EINVAL;
    else
        in->bound = in->local.addr = e.addr;
    lock_release(&s->lock);
    return err;
}

static int raw_connect(struct socket *s, const struct socket_address *addr, bool first,
                       struct socket **ret_wait)
{
    struct inet_socket *in = inet_of(s);
    struct endpoint to = {.port = 0};
    struct in6_addr src;
    int err = 0;

    if (addr->size < sizeof(addr->family))
        return -EINVAL;
    if (addr->family == AF_UNSPEC) {
        to.addr = addr_any(in);
        src = in->bound;
    } else {
        err = endpoint_parse(in, addr, false, &to);
        if (!err)
            err = endpoint_route(in, &to, &src);
    }
    if (err < 0)
        return err;
    lock_acquire(&s->lock);
    in->remote = to;
    in->local.addr = src;
    lock_release(&s->lock);
    return 0;
}

/* ---- options ----------------------------------------------------------------------------------
 */

static int set_checksum(struct raw_socket *r, const void *value, size_t size)
{
    int at, err = socket_option_int(value, size, &at);

    if (err < 0)
        return err;
    /* ICMPv6's is where it is, and is always made. */
    if (r->queue.inet.sock.protocol == IPPROTO_ICMPV6)
        return at == offsetof(struct icmp6_hdr, icmp6_cksum) ? 0 : -EINVAL;
    if (at > 0 && (at & 1))
        return -EINVAL;
    r->checksum_at = MAX(at, -1);
    return 0;
}

static int raw_setsockopt(struct socket *s, int level, int name, const void *value, size_t size)
{
    struct raw_socket *r = raw_of(s);
    bool v4 = s->domain == AF_INET;
    int err;

    if (level == IPPROTO_RAW && v4 && name == ICMP_FILTER) {
        if (s->protocol != IPPROTO_ICMP)
            return -EOPNOTSUPP;
        memcpy(&r->icmp_filter, value, MIN(size, sizeof(r->icmp_filter)));
        return 0;
    }
    if (level == IPPROTO_ICMPV6 && !v4 && name == ICMP6_FILTER) {
        if (s->protocol != IPPROTO_ICMPV6)
            return -EOPNOTSUPP;
        memcpy(r->icmp6_filter, value, MIN(size, sizeof(r->icmp6_filter)));
        return 0;
    }
    if (!v4 && (level == IPPROTO_RAW || level == IPPROTO_IPV6) && name == OPT_CHECKSUM)
        return set_checksum(r, value, size);
    if (level == IPPROTO_IP && v4 && name == IP_HDRINCL) {
        err = socket_option_int(value, size, &r->header_included);
        return err;
    }
    return ip_setsockopt(s, level, name, value, size);
}

static int raw_getsockopt(struct socket *s, int level, int name, void *value, size_t *size)
{
    struct raw_socket *r = raw_of(s);
    bool v4 = s->domain == AF_INET;

    if (level == IPPROTO_RAW && v4 && name == ICMP_FILTER)
        return s->protocol != IPPROTO_ICMP
                   ? -EOPNOTSUPP
                   : socket_option_put(value, size, &r->icmp_filter, sizeof(r->icmp_filter));
    if (level == IPPROTO_ICMPV6 && !v4 && name == ICMP6_FILTER)
        return s->protocol != IPPROTO_ICMPV6
                   ? -EOPNOTSUPP
                   : socket_option_put(value, size, r->icmp6_filter, sizeof(r->icmp6_filter));
    if (!v4 && (level == IPPROTO_RAW || level == IPPROTO_IPV6) && name == OPT_CHECKSUM)
        return socket_option_put_int(value, size, r->checksum_at);
    if (level == IPPROTO_IP && v4 && name == IP_HDRINCL)
        return socket_option_put_int(value, size, r->header_included != 0);
    return ip_getsockopt(s, level, name, value, size);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static int raw_abort(struct socket *s, int error)
{
    const struct socket_address nobody = {.size = sizeof(nobody.family), .family = AF_UNSPEC};

    socket_set_error(s, error);
    return raw_connect(s, &nobody, true, NULL);
}

static void raw_close(struct socket *s)
{
    struct inet_ns *ns = inet_ns_of(s->net);

    lock_acquire(&ns->lock);
    list_del_init(&raw_of(s)->node);
    __atomic_sub_fetch(&ns->raw_count, 1, __ATOMIC_RELAXED);
    lock_release(&ns->lock);
    groups_leave_all(inet_of(s));
    __atomic_store_n(&udp_of(s)->shut, 3, __ATOMIC_RELEASE);
    udp_purge(udp_of(s));
}

static void raw_free(struct socket *s)
{
    struct raw_socket *r = raw_of(s);

    udp_fini(&r->queue);
    free(r);
}

void raw_for_each(struct net_ns *net, int family, inet_report_fn show, void *arg)
{
    struct inet_ns *ns = inet_ns_of(net);
    struct inet_report report;
    struct raw_socket *r;
    bool more = true;

    lock_acquire(&ns->lock);
    list_for_each (r, &ns->raws, node) {
        if (!more || raw_sock(r)->domain != family)
            continue;
        udp_report(&r->queue.inet, &report);
        more = show(&report, arg);
    }
    lock_release(&ns->lock);
}

static const struct socket_operations raw_operations = {
    .bind = raw_bind,
    .connect = raw_connect,
    .getname = inet_getname,
    .sendmsg = raw_send,
    .recvmsg = udp_receive,
    .shutdown = udp_shutdown,
    .setsockopt = raw_setsockopt,
    .getsockopt = raw_getsockopt,
    .abort = raw_abort,
    .queued = udp_queued,
    .ioctl = udp_ioctl,
    .poll = udp_poll,
    .close = raw_close,
    .free = raw_free,
};

int raw_create(struct net_ns *net, int domain, int protocol, struct socket **ret)
{
    struct inet_ns *ns = inet_ns_of(net);
    struct raw_socket *r;

    if (!net_capable(net, CAP_NET_RAW))
        return -EPERM;
    r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOBUFS;
    udp_init(&r->queue, net, &raw_operations, domain, SOCK_RAW, protocol);
    r->queue.inet.local.port = (uint16_t)protocol; /* that is what getsockname(2) tells */
    r->header_included = protocol == IPPROTO_RAW;
    r->checksum_at = protocol == IPPROTO_ICMPV6 && domain == AF_INET6
                         ? (int)offsetof(struct icmp6_hdr, icmp6_cksum)
                         : -1;
    lock_acquire(&ns->lock);
    list_add_tail(&ns->raws, &r->node);
    __atomic_add_fetch(&ns->raw_count, 1, __ATOMIC_RELAXED);
    lock_release(&ns->lock);
    *ret = raw_sock(r);
    return 0;
}
