/*
 * PACKET_RX_RING, and what PACKET_TX_RING shares with it: frames in memory that the program has
 * mapped, net/packet/af_packet.c.
 *
 *   V1, V2   frames of one size, each with a word that says whose it is
 *   V3       blocks; each is filled with as many frames as fit, or as come until its time is over,
 *            and then is the program's as a whole
 *
 *   frame:   header (tpacket_hdr, tpacket2_hdr, tpacket3_hdr) | sockaddr_ll | ... | bytes
 */
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "host/clock.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/ringmem.h"
#include "sentry/net/packet/internal.h"

#define NSEC_PER_SEC      1000000000ULL
#define NSEC_PER_MSEC     1000000ULL
#define TIMEOUT_DEFAULT   8 /* milliseconds, where the program did not say */
#define BLOCK_ALIGNMENT   8
#define BLOCK_HEADER      round_up(sizeof(struct tpacket_block_desc), BLOCK_ALIGNMENT)
#define LINK_HEADER_SMALL 16 /* what a shorter header is taken for */

static struct memfile *memfile;

void packet_ring_setup(struct memfile *mf)
{
    memfile = mf;
}

/* ---- setting up -------------------------------------------------------------------------------
 */

uint32_t packet_ring_header_size(int version)
{
    switch (version) {
    case TPACKET_V1:
        return TPACKET_HDRLEN;
    case TPACKET_V2:
        return TPACKET2_HDRLEN;
    case TPACKET_V3:
        return TPACKET3_HDRLEN;
    default:
        return 0;
    }
}

static uint32_t block_start(const struct packet_ring *r)
{
    return (uint32_t)(BLOCK_HEADER + round_up(r->private_size, BLOCK_ALIGNMENT));
}

/* packet_set_ring()'s checks, in 64 bits. */
static int check(const struct packet_socket *p, const struct tpacket_req3 *q)
{
    uint64_t least = (uint64_t)packet_ring_header_size(p->version) + p->reserve;
    uint64_t per_block = q->tp_frame_size ? q->tp_block_size / q->tp_frame_size : 0;

    if ((int32_t)q->tp_block_size <= 0 || !is_aligned(q->tp_block_size, PAGE_SIZE))
        return -EINVAL;
    if (p->version == TPACKET_V3) {
        uint64_t header = BLOCK_HEADER + round_up((uint64_t)q->tp_sizeof_priv, BLOCK_ALIGNMENT);

        if (q->tp_block_size < header + least + LINK_HEADER_SMALL)
            return -EINVAL;
    }
    if (q->tp_frame_size < least || !is_aligned(q->tp_frame_size, TPACKET_ALIGNMENT) ||
        per_block == 0 || per_block * q->tp_block_nr != q->tp_frame_nr)
        return -EINVAL;
    return (uint64_t)q->tp_block_size * q->tp_block_nr > PACKET_RING_MAX ? -ENOMEM : 0;
}

static bool is_mapped(struct mappable *m)
{
    bool mapped;

    lock_acquire(&m->mappings_lock);
    mapped = !list_empty(&m->mappings);
    lock_release(&m->mappings_lock);
    return mapped;
}

/* A ring of the size that was asked for, at that place of the socket's memory. */
static int place_locked(struct packet_socket *p, struct packet_ring *r, uint64_t offset)
{
    void *bytes;
    int err = 0;

    if (!p->memory)
        err = ringmem_create(memfile, "socket:[packet]", &p->memory);
    if (!err)
        err = ringmem_add(p->memory, offset, (uint64_t)r->block_size * r->block_count, &bytes);
    if (err < 0)
        return err;
    r->bytes = bytes;
    r->offset = offset;
    return 0;
}

/* The ring to send from lies behind the other; nobody has mapped it. */
static int move_send_ring_locked(struct packet_socket *p, uint64_t offset)
{
    struct packet_ring *r = &p->send_ring;

    if (!r->bytes || r->offset == offset)
        return 0;
    ringmem_remove(p->memory, r->offset);
    r->bytes = NULL;
    r->head = 0;
    return place_locked(p, r, offset);
}

/* sock.lock is held, and send_lock. */
static int make_locked(struct packet_socket *p, bool sends, const struct tpacket_req3 *q)
{
    struct packet_ring *r = sends ? &p->send_ring : &p->ring, made;
    const uint64_t size = (uint64_t)q->tp_block_size * q->tp_block_nr,
                   before = (uint64_t)p->ring.block_size * p->ring.block_count;
    int err;

    if (r->bytes)
        return -EBUSY;
    err = check(p, q);
    if (!err && sends && p->version == TPACKET_V3 &&
        (q->tp_retire_blk_tov || q->tp_sizeof_priv || q->tp_feature_req_word))
        err = -EINVAL;
    made = (struct packet_ring){
        .block_size = q->tp_block_size,
        .block_count = q->tp_block_nr,
        .frame_size = q->tp_frame_size,
        .per_block = q->tp_block_size / MAX(q->tp_frame_size, 1U),
        .frame_count = q->tp_frame_nr,
        .private_size = q->tp_sizeof_priv,
        .timeout_ms = q->tp_retire_blk_tov ? q->tp_retire_blk_tov : TIMEOUT_DEFAULT,
        .next_sequence = 1,
    };
    if (!err && !sends)
        err = move_send_ring_locked(p, size);
    if (!err)
        err = place_locked(p, &made, sends ? before : 0);
    if (!err)
        *r = made;
    return err;
}

static int unmake_locked(struct packet_socket *p, bool sends)
{
    struct packet_ring *r = sends ? &p->send_ring : &p->ring;

    if (r->bytes)
        ringmem_remove(p->memory, r->offset);
    *r = (struct packet_ring){0};
    return sends ? 0 : move_send_ring_locked(p, 0);
}

int packet_ring_set(struct packet_socket *p, bool sends, const void *value, size_t size)
{
    size_t wanted =
        p->version == TPACKET_V3 ? sizeof(struct tpacket_req3) : sizeof(struct tpacket_req);
    struct tpacket_req3 q = {0};
    int err;

    if (size < wanted)
        return -EINVAL;
    memcpy(&q, value, wanted);
    lock_acquire(&p->send_lock);
    lock_acquire(&p->sock.lock);
    if (p->memory && is_mapped(p->memory))
        err = -EBUSY;
    else if (q.tp_block_nr)
        err = make_locked(p, sends, &q);
    else if (q.tp_frame_nr)
        err = -EINVAL;
    else
        err = unmake_locked(p, sends);
    lock_release(&p->sock.lock);
    lock_release(&p->send_lock);
    if (!err)
        packet_purge(p);
    return err;
}

int packet_ring_mmap(struct socket *s, struct mappable **ret)
{
    struct packet_socket *p = packet_of(s);
    int err = -EINVAL;

    lock_acquire(&s->lock);
    if (p->ring.bytes || p->send_ring.bytes) {
        *ret = mappable_ref(p->memory);
        err = 0;
    }
    lock_release(&s->lock);
    return err;
}

void packet_ring_fini(struct packet_socket *p)
{
    mappable_unref(p->memory);
}

/* ---- whose it is ------------------------------------------------------------------------------
 */

uint8_t *packet_ring_frame(const struct packet_ring *r, uint32_t index)
{
    return r->bytes + (uint64_t)(index / r->per_block) * r->block_size +
           (uint64_t)(index % r->per_block) * r->frame_size;
}

static struct tpacket_block_desc *block_at(const struct packet_ring *r, uint32_t index)
{
    return (void *)(r->bytes + (uint64_t)index * r->block_size);
}

/* Both begin with the word, of which V1's has 64 bits. */
static uint32_t *owner_of(const struct packet_socket *p, uint32_t index)
{
    if (p->version == TPACKET_V3)
        return &block_at(&p->ring, index)->hdr.bh1.block_status;
    return (void *)packet_ring_frame(&p->ring, index);
}

static bool is_ours(const struct packet_socket *p, uint32_t index)
{
    return __atomic_load_n(owner_of(p, index), __ATOMIC_ACQUIRE) == TP_STATUS_KERNEL;
}

static void hand_over(const struct packet_socket *p, uint32_t index, uint32_t status)
{
    __atomic_store_n(owner_of(p, index), TP_STATUS_USER | status, __ATOMIC_RELEASE);
}

static uint32_t slots(const struct packet_socket *p)
{
    return p->version == TPACKET_V3 ? p->ring.block_count : p->ring.frame_count;
}

bool packet_ring_readable_locked(const struct packet_socket *p)
{
    const struct packet_ring *r = &p->ring;

    return r->bytes && !is_ours(p, r->head ? r->head - 1 : slots(p) - 1);
}

bool packet_ring_has_room_locked(const struct packet_socket *p)
{
    return is_ours(p, (p->ring.head + slots(p) / 4) % slots(p));
}

static void advance(struct packet_socket *p)
{
    p->ring.head = (p->ring.head + 1) % slots(p);
}

/* ---- filling ----------------------------------------------------------------------------------
 */

/* Where the parts of a frame lie, from its header on. */
struct layout {
    uint32_t mac, network, size; /* `size`: bytes of the frame that there is room for */
};

/* False: Linux drops what it could not say in 16 bits. */
static bool lay_out(const struct packet_socket *p, const struct packet_message *m, uint32_t room,
                    struct layout *ret)
{
    uint32_t header = packet_ring_header_size(p->version);

    if (p->sock.type == SOCK_DGRAM) {
        ret->network = round_up(header, TPACKET_ALIGNMENT) + LINK_HEADER_SMALL + p->reserve;
        ret->mac = ret->network;
    } else {
        ret->network = round_up(header + LINK_HEADER_SMALL, TPACKET_ALIGNMENT) + p->reserve;
        if (p->vnet)
            ret->network += PACKET_VNET_SIZE;
        ret->mac = ret->network - ETH_HLEN;
    }
    if (ret->network > UINT16_MAX || ret->mac >= room)
        return false;
    ret->size = MIN(m->size, room - ret->mac);
    return true;
}

static void put_bytes(const struct packet_socket *p, uint8_t *frame, uint32_t address,
                      const struct layout *at, const struct packet_message *m, const uint8_t *bytes)
{
    memcpy(frame + address, &m->from, sizeof(m->from));
    if (p->vnet)
        memset(frame + at->mac - PACKET_VNET_SIZE, 0, PACKET_VNET_SIZE);
    memcpy(frame + at->mac, bytes, at->size);
}

static bool put_frame(struct packet_socket *p, const struct packet_message *m, const uint8_t *bytes)
{
    struct packet_ring *r = &p->ring;
    uint8_t *frame = packet_ring_frame(r, r->head);
    uint32_t status = p->drops ? TP_STATUS_LOSING : 0;
    struct layout at;

    if (!is_ours(p, r->head) || !lay_out(p, m, r->frame_size, &at))
        return false;
    if (p->version == TPACKET_V1) {
        struct tpacket_hdr *h = (void *)frame;

        h->tp_len = m->whole;
        h->tp_snaplen = at.size;
        h->tp_mac = (uint16_t)at.mac;
        h->tp_net = (uint16_t)at.network;
        h->tp_sec = (uint32_t)(m->time_ns / NSEC_PER_SEC);
        h->tp_usec = (uint32_t)(m->time_ns % NSEC_PER_SEC / 1000);
        put_bytes(p, frame, TPACKET_ALIGN(sizeof(*h)), &at, m, bytes);
    } else {
        struct tpacket2_hdr *h = (void *)frame;

        h->tp_len = m->whole;
        h->tp_snaplen = at.size;
        h->tp_mac = (uint16_t)at.mac;
        h->tp_net = (uint16_t)at.network;
        h->tp_sec = (uint32_t)(m->time_ns / NSEC_PER_SEC);
        h->tp_nsec = (uint32_t)(m->time_ns % NSEC_PER_SEC);
        h->tp_vlan_tci = h->tp_vlan_tpid = 0;
        put_bytes(p, frame, TPACKET_ALIGN(sizeof(*h)), &at, m, bytes);
    }
    hand_over(p, r->head, status);
    advance(p);
    return true;
}

/* ---- V3's blocks ------------------------------------------------------------------------------
 */

static void open_block(struct packet_socket *p, uint64_t now)
{
    struct packet_ring *r = &p->ring;
    struct tpacket_block_desc *b = block_at(r, r->head);

    b->version = TPACKET_V3;
    b->offset_to_priv = BLOCK_HEADER;
    b->hdr.bh1.seq_num = r->next_sequence++;
    b->hdr.bh1.offset_to_first_pkt = block_start(r);
    b->hdr.bh1.ts_first_pkt.ts_sec = (uint32_t)(now / NSEC_PER_SEC);
    b->hdr.bh1.ts_first_pkt.ts_nsec = (uint32_t)(now % NSEC_PER_SEC);
    r->open = true;
    r->used = block_start(r);
    r->frames = 0;
    (void)timer_arm(&p->retire, host_monotonic_ns() + r->timeout_ms * NSEC_PER_MSEC);
}

static void close_block(struct packet_socket *p, uint32_t status)
{
    struct packet_ring *r = &p->ring;
    struct tpacket_block_desc *b = block_at(r, r->head);
    struct tpacket3_hdr *last = (void *)((uint8_t *)b + r->last);

    last->tp_next_offset = 0;
    b->hdr.bh1.num_pkts = r->frames;
    b->hdr.bh1.blk_len = r->used;
    b->hdr.bh1.ts_last_pkt.ts_sec = last->tp_sec;
    b->hdr.bh1.ts_last_pkt.ts_nsec = last->tp_nsec;
    hand_over(p, r->head, status | (p->drops ? TP_STATUS_LOSING : 0));
    r->open = false;
    advance(p);
}

static bool put_in_block(struct packet_socket *p, const struct packet_message *m,
                         const uint8_t *bytes)
{
    struct packet_ring *r = &p->ring;
    struct tpacket3_hdr *h;
    struct layout at;
    uint32_t needed;

    if (!lay_out(p, m, r->block_size - block_start(r), &at))
        return false;
    needed = (uint32_t)round_up((uint64_t)at.mac + at.size, BLOCK_ALIGNMENT);
    if (r->open && r->used + needed > r->block_size)
        close_block(p, 0);
    if (!r->open && !is_ours(p, r->head)) {
        p->freezes++;
        return false;
    }
    if (!r->open)
        open_block(p, m->time_ns);
    r->last = r->used;
    h = (void *)((uint8_t *)block_at(r, r->head) + r->used);
    memset(h, 0, sizeof(*h));
    h->tp_next_offset = needed;
    h->tp_sec = (uint32_t)(m->time_ns / NSEC_PER_SEC);
    h->tp_nsec = (uint32_t)(m->time_ns % NSEC_PER_SEC);
    h->tp_snaplen = at.size;
    h->tp_len = m->whole;
    h->tp_status = TP_STATUS_USER;
    h->tp_mac = (uint16_t)at.mac;
    h->tp_net = (uint16_t)at.network;
    put_bytes(p, (uint8_t *)h, TPACKET_ALIGN(sizeof(*h)), &at, m, bytes);
    r->used = MIN(r->used + needed, r->block_size);
    r->frames++;
    return true;
}

void packet_ring_retire(struct timer *timer)
{
    struct packet_socket *p = container_of(timer, struct packet_socket, retire);
    bool closed;

    lock_acquire(&p->sock.lock);
    closed = p->ring.bytes && p->version == TPACKET_V3 && p->ring.open;
    if (closed)
        close_block(p, TP_STATUS_BLK_TMO);
    lock_release(&p->sock.lock);
    if (closed)
        socket_wake(&p->sock, POLLIN | POLLRDNORM);
}

bool packet_ring_put_locked(struct packet_socket *p, const struct packet_message *m,
                            const uint8_t *bytes)
{
    return p->version == TPACKET_V3 ? put_in_block(p, m, bytes) : put_frame(p, m, bytes);
}
