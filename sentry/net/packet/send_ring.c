/*
 * PACKET_TX_RING: frames that a program has put into memory that it has mapped, and which one
 * send(2) sends all: tpacket_snd(). The ring is ring.c's, of all versions in frames of one size.
 *
 *   frame:   header (tpacket_hdr, tpacket2_hdr, tpacket3_hdr) | bytes, or with PACKET_TX_HAS_OFF
 *            wherever the header says
 */
#include <errno.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/packet/internal.h"

/* What a header says, read once. */
struct said {
    uint32_t size, mac, network;
    bool linked; /* of V3: to another, which Linux refuses */
};

static uint32_t *status_of(const struct packet_socket *p, uint8_t *frame)
{
    return (uint32_t *)(void *)(frame + (p->version == TPACKET_V3
                                             ? offsetof(struct tpacket3_hdr, tp_status)
                                             : 0));
}

static struct said read_header(const struct packet_socket *p, const uint8_t *frame)
{
    struct said s = {0};

    switch (p->version) {
    case TPACKET_V3: {
        const struct tpacket3_hdr *h = (const void *)frame;

        s.size = __atomic_load_n(&h->tp_len, __ATOMIC_RELAXED);
        s.mac = __atomic_load_n(&h->tp_mac, __ATOMIC_RELAXED);
        s.network = __atomic_load_n(&h->tp_net, __ATOMIC_RELAXED);
        s.linked = __atomic_load_n(&h->tp_next_offset, __ATOMIC_RELAXED) != 0;
        break;
    }
    case TPACKET_V2: {
        const struct tpacket2_hdr *h = (const void *)frame;

        s.size = __atomic_load_n(&h->tp_len, __ATOMIC_RELAXED);
        s.mac = __atomic_load_n(&h->tp_mac, __ATOMIC_RELAXED);
        s.network = __atomic_load_n(&h->tp_net, __ATOMIC_RELAXED);
        break;
    }
    default: {
        const struct tpacket_hdr *h = (const void *)frame;

        s.size = __atomic_load_n(&h->tp_len, __ATOMIC_RELAXED);
        s.mac = __atomic_load_n(&h->tp_mac, __ATOMIC_RELAXED);
        s.network = __atomic_load_n(&h->tp_net, __ATOMIC_RELAXED);
    }
    }
    return s;
}

/* Where its bytes lie, and how many: tpacket_parse_header(). */
static int find_bytes(const struct packet_socket *p, const uint8_t *frame, uint32_t max,
                      uint32_t *ret_at, uint32_t *ret_size)
{
    const uint32_t least =
        packet_ring_header_size(p->version) - (uint32_t)sizeof(struct sockaddr_ll);
    const struct said s = read_header(p, frame);
    uint32_t at = least;

    if (s.linked)
        return -EINVAL;
    if (s.size > MIN(max, p->send_ring.frame_size - least))
        return -EMSGSIZE;
    if (p->has_offset) {
        at = p->sock.type == SOCK_DGRAM ? s.network : s.mac;
        if (at < least || at > p->send_ring.frame_size - s.size)
            return -EINVAL;
    }
    *ret_at = at;
    *ret_size = s.size;
    return 0;
}

/* One frame: its bytes, or -errno. */
static int send_one(struct packet_socket *p, const struct packet_way *way, const uint8_t *frame)
{
    const uint32_t max =
        (uint32_t)way->device.mtu + (p->sock.type == SOCK_RAW ? ETH_HLEN : 0) + PACKET_VLAN_SIZE;
    uint32_t at, size;
    uint8_t *copy;
    int err = find_bytes(p, frame, p->vnet ? UINT32_MAX : max, &at, &size);

    if (err < 0)
        return err;
    copy = malloc(MAX(size, 1U));
    if (!copy)
        return -ENOBUFS;
    memcpy(copy, frame + at, size);
    err = packet_send_bytes(p, way, copy, size);
    free(copy);
    return err < 0 ? err : (int)size;
}

ssize_t packet_send_ring(struct packet_socket *p, const struct packet_way *way)
{
    struct packet_ring *r = &p->send_ring;
    ssize_t sum = 0;

    /* Once around: a program that goes on filling it meanwhile sends again. */
    for (uint32_t i = 0; i < r->frame_count; i++) {
        uint8_t *frame = packet_ring_frame(r, r->head);
        uint32_t *status = status_of(p, frame);
        int n;

        if (__atomic_load_n(status, __ATOMIC_ACQUIRE) != TP_STATUS_SEND_REQUEST)
            break;
        __atomic_store_n(status, TP_STATUS_SENDING, __ATOMIC_RELAXED);
        n = send_one(p, way, frame);
        if (n < 0 && !p->loss) {
            __atomic_store_n(status, TP_STATUS_WRONG_FORMAT, __ATOMIC_RELEASE);
            return n;
        }
        __atomic_store_n(status, TP_STATUS_AVAILABLE, __ATOMIC_RELEASE);
        r->head = (r->head + 1) % r->frame_count;
        sum += MAX(n, 0);
    }
    return sum;
}
