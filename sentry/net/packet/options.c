/* SOL_PACKET: packet(7). */
#include <errno.h>
#include <net/ethernet.h>
#include <string.h>

#include "sentry/net/netns.h"
#include "sentry/net/packet/internal.h"

/* ---- memberships ------------------------------------------------------------------------------
 */

/* Every frame is heard here without; so that they are only counted. */
static int parse_membership(const struct packet_socket *p, const void *value, size_t size,
                            struct packet_mreq *ret)
{
    if (size < sizeof(*ret))
        return -EINVAL;
    memcpy(ret, value, sizeof(*ret));
    return size < offsetof(struct packet_mreq, mr_address) + ret->mr_alen ? -EINVAL : 0;
}

static bool same(const struct packet_mreq *a, const struct packet_mreq *b)
{
    return a->mr_ifindex == b->mr_ifindex && a->mr_type == b->mr_type && a->mr_alen == b->mr_alen &&
           memcmp(a->mr_address, b->mr_address, MIN((size_t)a->mr_alen, sizeof(a->mr_address))) ==
               0;
}

static int add_membership(struct packet_socket *p, const struct packet_mreq *mreq)
{
    struct packet_membership *free_one = NULL;
    struct net_device device;
    int err = net_ns_device(p->sock.net, mreq->mr_ifindex, &device);

    if (err < 0)
        return err;
    if (mreq->mr_alen > ETH_ALEN)
        return -EINVAL;
    lock_acquire(&p->sock.lock);
    err = -ENOBUFS;
    for (size_t i = 0; i < PACKET_MEMBERSHIPS_MAX; i++) {
        struct packet_membership *m = &p->memberships[i];

        if (m->count && same(&m->mreq, mreq)) {
            m->count++;
            err = 0;
            break;
        }
        if (!m->count && !free_one)
            free_one = m;
    }
    if (err && (mreq->mr_type == PACKET_MR_MULTICAST || mreq->mr_type == PACKET_MR_UNICAST) &&
        mreq->mr_alen != ETH_ALEN)
        err = -EINVAL;
    else if (err && free_one) {
        *free_one = (struct packet_membership){*mreq, 1};
        err = 0;
    }
    lock_release(&p->sock.lock);
    return err;
}

static int drop_membership(struct packet_socket *p, const struct packet_mreq *mreq)
{
    lock_acquire(&p->sock.lock);
    for (size_t i = 0; i < PACKET_MEMBERSHIPS_MAX; i++) {
        if (p->memberships[i].count && same(&p->memberships[i].mreq, mreq)) {
            p->memberships[i].count--;
            break;
        }
    }
    lock_release(&p->sock.lock);
    return 0; /* also where there is none */
}

static int set_membership(struct packet_socket *p, int name, const void *value, size_t size)
{
    struct packet_mreq mreq;
    int err = parse_membership(p, value, size, &mreq);

    if (err < 0)
        return err;
    return name == PACKET_ADD_MEMBERSHIP ? add_membership(p, &mreq) : drop_membership(p, &mreq);
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* What may not change while there is a ring. sock.lock is held. */
static int set_of_ring(struct packet_socket *p, int name, uint32_t value)
{
    if (name == PACKET_VERSION && value > TPACKET_V3)
        return -EINVAL;
    if (name == PACKET_RESERVE && value > INT32_MAX)
        return -EINVAL;
    if (p->ring.bytes || p->send_ring.bytes)
        return name == PACKET_TX_HAS_OFF ? 0 : -EBUSY;
    switch (name) {
    case PACKET_TX_HAS_OFF:
        p->has_offset = value != 0;
        return 0;
    case PACKET_VERSION:
        p->version = (int)value;
        return 0;
    case PACKET_RESERVE:
        p->reserve = value;
        return 0;
    case PACKET_LOSS:
        p->loss = value != 0;
        return 0;
    default: /* PACKET_VNET_HDR */
        p->vnet = value != 0;
        return 0;
    }
}

static int *number_of(struct packet_socket *p, int name)
{
    switch (name) {
    case PACKET_AUXDATA:
        return &p->auxdata;
    case PACKET_ORIGDEV:
        return &p->origdev;
    case PACKET_IGNORE_OUTGOING:
        return &p->ignore_outgoing;
    case PACKET_COPY_THRESH:
        return &p->copy_threshold;
    case PACKET_TIMESTAMP:
        return &p->timestamp;
    case PACKET_LOSS:
        return &p->loss;
    case PACKET_VNET_HDR:
        return &p->vnet;
    case PACKET_VERSION:
        return &p->version;
    case PACKET_TX_HAS_OFF:
        return &p->has_offset;
    default:
        return NULL;
    }
}

static int set_number(struct packet_socket *p, int name, int value)
{
    int *number = number_of(p, name), err = 0;

    lock_acquire(&p->sock.lock);
    switch (name) {
    case PACKET_VERSION:
    case PACKET_RESERVE:
    case PACKET_LOSS:
    case PACKET_VNET_HDR:
    case PACKET_TX_HAS_OFF:
        err = set_of_ring(p, name, (uint32_t)value);
        break;
    case PACKET_IGNORE_OUTGOING:
        err = value < 0 || value > 1 ? -EINVAL : 0;
        *number = err ? *number : value;
        break;
    case PACKET_AUXDATA:
    case PACKET_ORIGDEV:
        *number = value != 0;
        break;
    case PACKET_COPY_THRESH:
    case PACKET_TIMESTAMP:
        *number = value;
        break;
    case PACKET_QDISC_BYPASS: /* there are no queues to pass by */
        break;
    default:
        err = -ENOPROTOOPT;
    }
    lock_release(&p->sock.lock);
    return err;
}

int packet_setsockopt(struct socket *s, int level, int name, const void *value, size_t size)
{
    struct packet_socket *p = packet_of(s);
    int number, err;

    if (level != SOL_PACKET)
        return -ENOPROTOOPT;
    switch (name) {
    case PACKET_ADD_MEMBERSHIP:
    case PACKET_DROP_MEMBERSHIP:
        return set_membership(p, name, value, size);
    case PACKET_RX_RING:
    case PACKET_TX_RING:
        return packet_ring_set(p, name == PACKET_TX_RING, value, size);
    case PACKET_FANOUT:
        return packet_fanout_join(p, value, size);
    case PACKET_VNET_HDR:
        if (s->type != SOCK_RAW)
            return -EINVAL;
        break;
    default:
        break;
    }
    err = socket_option_int(value, size, &number);
    return err < 0 ? err : set_number(p, name, number);
}

/* Since the last time. */
static int get_statistics(struct packet_socket *p, void *value, size_t *size)
{
    struct tpacket_stats_v3 stats;

    lock_acquire(&p->sock.lock);
    stats = (struct tpacket_stats_v3){p->packets + p->drops, p->drops, p->freezes};
    p->packets = p->drops = p->freezes = 0;
    lock_release(&p->sock.lock);
    return socket_option_put(value, size, &stats,
                             p->version == TPACKET_V3 ? sizeof(stats)
                                                      : sizeof(struct tpacket_stats));
}

int packet_getsockopt(struct socket *s, int level, int name, void *value, size_t *size)
{
    struct packet_socket *p = packet_of(s);
    const int *number = number_of(p, name);
    int version = 0;

    if (level != SOL_PACKET)
        return -ENOPROTOOPT;
    switch (name) {
    case PACKET_STATISTICS:
        return get_statistics(p, value, size);
    case PACKET_HDRLEN: /* of the version that the program names */
        if (*size < sizeof(version))
            return -EINVAL;
        memcpy(&version, value, sizeof(version));
        /* sizeof(struct tpacket_hdr) and its kin */
        switch (version) {
        case TPACKET_V1:
            return socket_option_put_int(value, size, sizeof(struct tpacket_hdr));
        case TPACKET_V2:
            return socket_option_put_int(value, size, sizeof(struct tpacket2_hdr));
        case TPACKET_V3:
            return socket_option_put_int(value, size, sizeof(struct tpacket3_hdr));
        default:
            return -EINVAL;
        }
    case PACKET_RESERVE:
        return socket_option_put_int(value, size, (int)p->reserve);
    case PACKET_QDISC_BYPASS:
        return socket_option_put_int(value, size, 0);
    case PACKET_FANOUT:
        return socket_option_put_int(value, size, packet_fanout_get(p));
    case PACKET_ROLLOVER_STATS: {
        struct tpacket_rollover_stats stats;
        int err = packet_fanout_statistics(p, &stats);

        return err < 0 ? err : socket_option_put(value, size, &stats, sizeof(stats));
    }
    default:
        return number ? socket_option_put_int(value, size, *number) : -ENOPROTOOPT;
    }
}
