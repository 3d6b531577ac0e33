/*
 * PACKET_FANOUT: sockets that share what passes, each frame one's: fanout_add() and its neighbours
 * in net/packet/af_packet.c. A group lasts as long as it has sockets. All frames are taken for
 * received by one processor from one queue. Groups and who is in them: under the namespace's lock.
 */
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/net/filter.h"
#include "sentry/net/packet/internal.h"

#define MEMBERS_DEFAULT 256
#define MEMBERS_MAX     65536

/* Newer than some headers. */
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif
#define FLAGS                                                                                      \
    (PACKET_FANOUT_FLAG_ROLLOVER | PACKET_FANOUT_FLAG_UNIQUEID | PACKET_FANOUT_FLAG_IGNORE_OUTGOING)

struct packet_fanout {
    struct list node; /* in packet_ns.fanouts */
    uint16_t id, protocol;
    uint16_t flags; /* PACKET_FANOUT_FLAG_* */
    uint8_t type;
    int interface;
    uint32_t max, count, next;
    struct packet_socket **members; /* in the order in which they came */
    struct socket_filter *program;  /* PACKET_FANOUT_DATA; NULL: the first */
};

/* ---- joining ----------------------------------------------------------------------------------
 */

static struct packet_fanout *find_locked(struct packet_ns *ns, uint16_t id)
{
    struct packet_fanout *f;

    list_for_each (f, &ns->fanouts, node)
        if (f->id == id)
            return f;
    return NULL;
}

static int free_id_locked(struct packet_ns *ns, uint16_t *ret)
{
    for (uint32_t tries = 0; tries <= UINT16_MAX; tries++)
        if (!find_locked(ns, ++ns->next_fanout)) {
            *ret = ns->next_fanout;
            return 0;
        }
    return -ENOMEM;
}

static void free_if_empty(struct packet_fanout *f)
{
    if (f->count)
        return;
    list_del_init(&f->node);
    socket_filter_unref(f->program);
    free(f->members);
    free(f);
}

static int make_locked(struct packet_ns *ns, const struct packet_socket *p,
                       const struct fanout_args *args, struct packet_fanout **ret)
{
    struct packet_fanout *f;

    if (args->max_num_members > MEMBERS_MAX)
        return -EINVAL;
    f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->id = args->id;
    f->type = (uint8_t)args->type_flags;
    f->flags = args->type_flags & 0xff00;
    f->protocol = p->protocol;
    f->interface = p->interface;
    f->max = args->max_num_members ? args->max_num_members : MEMBERS_DEFAULT;
    list_add_tail(&ns->fanouts, &f->node);
    *ret = f;
    return 0;
}

static int enter_locked(struct packet_fanout *f, struct packet_socket *p, uint8_t type)
{
    struct packet_socket **more;

    if (!p->protocol || f->type != type || f->protocol != p->protocol ||
        f->interface != p->interface)
        return -EINVAL;
    if (f->count == f->max)
        return -ENOSPC;
    more = realloc(f->members, (f->count + 1) * sizeof(struct packet_socket *));
    if (!more)
        return -ENOMEM;
    f->members = more;
    f->members[f->count++] = p;
    p->fanout = f;
    return 0;
}

static int add_locked(struct packet_ns *ns, struct packet_socket *p, struct fanout_args *args)
{
    struct packet_fanout *f;
    int err = 0;

    if (p->fanout)
        return -EALREADY;
    if (args->type_flags & PACKET_FANOUT_FLAG_UNIQUEID) {
        err = args->id ? -EINVAL : free_id_locked(ns, &args->id);
        args->type_flags &= (uint16_t)~PACKET_FANOUT_FLAG_UNIQUEID;
    }
    if (err < 0)
        return err;
    f = find_locked(ns, args->id);
    if (f && (f->flags != (args->type_flags & 0xff00) ||
              (args->max_num_members && args->max_num_members != f->max)))
        return -EINVAL;
    if (!f)
        err = make_locked(ns, p, args, &f);
    if (err < 0)
        return err;
    err = enter_locked(f, p, (uint8_t)args->type_flags);
    free_if_empty(f);
    return err;
}

int packet_fanout_join(struct packet_socket *p, const void *value, size_t size)
{
    struct packet_ns *ns = packet_ns_of(p->sock.net);
    struct fanout_args args = {0};
    int err;

    if (size != sizeof(uint32_t) && size != sizeof(args))
        return -EINVAL;
    memcpy(&args, value, size);
    switch (args.type_flags & 0xff) {
    case PACKET_FANOUT_ROLLOVER:
        if (args.type_flags & PACKET_FANOUT_FLAG_ROLLOVER)
            return -EINVAL;
        break;
    case PACKET_FANOUT_HASH:
    case PACKET_FANOUT_LB:
    case PACKET_FANOUT_CPU:
    case PACKET_FANOUT_RND:
    case PACKET_FANOUT_QM:
    case PACKET_FANOUT_CBPF:
        break;
    default: /* eBPF has no programs here */
        return -EINVAL;
    }
    if (args.type_flags & 0xff00 & ~FLAGS)
        return -EINVAL; /* PACKET_FANOUT_FLAG_DEFRAG: fragments stay what they are */
    lock_acquire(&ns->lock);
    lock_acquire(&p->sock.lock);
    err = add_locked(ns, p, &args);
    lock_release(&p->sock.lock);
    lock_release(&ns->lock);
    return err;
}

void packet_fanout_leave_locked(struct packet_socket *p)
{
    struct packet_fanout *f = p->fanout;
    uint32_t at = 0;

    if (!f)
        return;
    while (f->members[at] != p)
        at++;
    f->members[at] = f->members[--f->count];
    p->fanout = NULL;
    free_if_empty(f);
}

int packet_fanout_get(struct packet_socket *p)
{
    struct packet_ns *ns = packet_ns_of(p->sock.net);
    uint32_t value = 0;

    lock_acquire(&ns->lock);
    if (p->fanout)
        value = p->fanout->id | (uint32_t)(p->fanout->type | p->fanout->flags) << 16;
    lock_release(&ns->lock);
    return (int)value;
}

int packet_fanout_set_program(struct socket *s, struct socket_filter *program)
{
    struct packet_ns *ns = packet_ns_of(s->net);
    struct packet_fanout *f;
    struct socket_filter *old = NULL;

    lock_acquire(&ns->lock);
    f = packet_of(s)->fanout;
    if (f && f->type == PACKET_FANOUT_CBPF) {
        old = f->program;
        f->program = program;
    } else {
        f = NULL;
    }
    lock_release(&ns->lock);
    socket_filter_unref(old);
    return f ? 0 : -EINVAL;
}

/* What has gone on to others. -EINVAL: that is not so in its group. */
int packet_fanout_statistics(struct packet_socket *p, struct tpacket_rollover_stats *ret)
{
    struct packet_ns *ns = packet_ns_of(p->sock.net);
    const struct packet_fanout *f;
    int err = -EINVAL;

    lock_acquire(&ns->lock);
    f = p->fanout;
    if (f && (f->type == PACKET_FANOUT_ROLLOVER || (f->flags & PACKET_FANOUT_FLAG_ROLLOVER))) {
        *ret = p->rollover;
        err = 0;
    }
    lock_release(&ns->lock);
    return err;
}

/* ---- choosing ---------------------------------------------------------------------------------
 */

/* FNV-1a of one end of a flow. */
static uint32_t hash_end(const uint8_t *address, size_t size, const uint8_t *port)
{
    uint32_t h = 2166136261U;

    for (size_t i = 0; i < size; i++)
        h = (h ^ address[i]) * 16777619U;
    for (size_t i = 0; port && i < 2; i++)
        h = (h ^ port[i]) * 16777619U;
    return h;
}

/* Where the ports lie behind a header of IP; NULL: not to be seen. */
static const uint8_t *find_ports(const struct net_frame *f, size_t at, uint8_t protocol)
{
    return (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE) &&
                   at + 4 <= f->size
               ? f->bytes + at
               : NULL;
}

/* The same for both directions of a flow, and for all fragments of a packet but the first. */
static uint32_t hash_flow(const struct net_frame *f, uint16_t protocol)
{
    const uint8_t *ip = f->bytes + ETH_HLEN, *ports = NULL, *from = f->bytes + ETH_ALEN,
                  *to = f->bytes;
    size_t size = ETH_ALEN;
    uint32_t sum;

    if (protocol == ETH_P_IP && f->size >= ETH_HLEN + sizeof(struct iphdr)) {
        size = 4;
        from = ip + offsetof(struct iphdr, saddr);
        to = ip + offsetof(struct iphdr, daddr);
        if (!((ip[6] & 0x3f) | ip[7]))
            ports = find_ports(f, ETH_HLEN + (ip[0] & 15U) * 4, ip[9]);
    } else if (protocol == ETH_P_IPV6 && f->size >= ETH_HLEN + sizeof(struct ip6_hdr)) {
        size = 16;
        from = ip + offsetof(struct ip6_hdr, ip6_src);
        to = ip + offsetof(struct ip6_hdr, ip6_dst);
        ports = find_ports(f, ETH_HLEN + sizeof(struct ip6_hdr), ip[6]);
    }
    sum = hash_end(from, size, ports) + hash_end(to, size, ports ? ports + 2 : NULL);
    sum = (sum ^ sum >> 16) * 0x85ebca6bU; /* murmur3's end */
    sum = (sum ^ sum >> 13) * 0xc2b2ae35U;
    return sum ^ sum >> 16;
}

/* packet_rcv_has_room(): a quarter of what may wait is free. */
static bool has_room(struct packet_socket *p)
{
    bool room;

    lock_acquire(&p->sock.lock);
    room = p->ring.bytes ? packet_ring_has_room_locked(p)
                         : p->queued < (uint64_t)p->sock.opt.rcvbuf * 3 / 4;
    lock_release(&p->sock.lock);
    return room;
}

/* fanout_demux_rollover(): to the next with room, beginning where it was found last. */
static uint32_t roll_over(struct packet_fanout *f, uint32_t chosen, bool try_chosen)
{
    struct packet_socket *p = f->members[chosen];
    uint32_t first = MIN(p->rollover_next, f->count - 1), i = first;

    if (try_chosen && has_room(p))
        return chosen;
    do {
        if (!(try_chosen && i == chosen) && has_room(f->members[i])) {
            p->rollover_next = i;
            p->rollover.tp_all++;
            return i;
        }
        i = (i + 1) % f->count;
    } while (i != first);
    p->rollover.tp_failed++;
    return chosen;
}

/* Of what comes in it sees the packet first, of what goes out the link header. */
static uint32_t run_program(const struct socket_filter *program, const struct net_frame *f,
                            uint16_t protocol)
{
    uint32_t skip = f->kind == PACKET_OUTGOING ? 0 : ETH_HLEN;

    struct bpf_packet packet = packet_for_program(f, skip, protocol);

    return socket_filter_choose_packet(program, &packet);
}

static uint32_t choose(struct packet_fanout *f, const struct net_frame *frame, uint16_t protocol)
{
    uint32_t random, chosen = 0;

    switch (f->type) {
    case PACKET_FANOUT_HASH:
        chosen = (uint32_t)((uint64_t)hash_flow(frame, protocol) * f->count >> 32);
        break;
    case PACKET_FANOUT_LB:
        chosen = f->next++ % f->count;
        break;
    case PACKET_FANOUT_RND:
        host_random(&random, sizeof(random));
        chosen = random % f->count;
        break;
    case PACKET_FANOUT_CBPF:
        if (f->program)
            chosen = run_program(f->program, frame, protocol) % f->count;
        break;
    case PACKET_FANOUT_ROLLOVER:
        return roll_over(f, 0, false);
    default:
        break;
    }
    return f->flags & PACKET_FANOUT_FLAG_ROLLOVER ? roll_over(f, chosen, true) : chosen;
}

static bool wants(const struct packet_fanout *f, const struct net_frame *frame, uint16_t protocol)
{
    const bool outgoing = frame->kind == PACKET_OUTGOING, all = f->protocol == ETH_P_ALL;

    return (!f->interface || f->interface == frame->interface) &&
           (all || (f->protocol == protocol && !outgoing)) &&
           !(outgoing && (f->flags & PACKET_FANOUT_FLAG_IGNORE_OUTGOING));
}

void packet_fanout_each_locked(struct packet_ns *ns, const struct net_frame *frame,
                               uint16_t protocol, void (*gets)(void *arg, struct packet_socket *p),
                               void *arg)
{
    struct packet_fanout *f;

    list_for_each (f, &ns->fanouts, node)
        if (wants(f, frame, protocol))
            gets(arg, f->members[choose(f, frame, protocol)]);
}
