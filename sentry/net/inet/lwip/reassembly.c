/*
 * Fragments of IP packets, put together before lwIP sees them, which has room for ten alone: RFC
 * 791, RFC 8200 section 4.5. A packet in the making is what has come of it and a map of the
 * eight-byte blocks that have. Overlaps end it, RFC 5722; so does its age. What all of them take is
 * bounded: the one that was begun first goes when a new one would be too much.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "host/clock.h"
#include "sentry/net/inet/lwip/stack.h"

#define BLOCK        8      /* bytes, in which offsets count */
#define PAYLOAD_MAX  65535U /* bytes */
#define BLOCKS       8192
#define LIFE_NS      (30 * 1000000000ULL) /* ipfrag_time */
#define PARTIALS_MAX 64
#define V6_HEADER    40

struct partial {
    struct list node; /* in the order of their beginning */
    struct in6_addr from, to;
    uint32_t id;
    uint8_t protocol;
    bool v4;
    uint64_t begin_ns;
    uint8_t header[60]; /* of the first fragment */
    uint8_t header_size;
    uint32_t size; /* of the payload, bytes; 0: the end has not come */
    uint32_t blocks, got;
    uint64_t map[BLOCKS / 64];
    uint8_t data[BLOCKS * BLOCK];
};

/* One fragment, as its header tells. */
struct fragment {
    struct in6_addr from, to;
    uint32_t id;
    uint8_t protocol;
    bool v4, more;
    const uint8_t *header, *data;
    uint32_t header_size, offset, size; /* bytes */
};

static struct list partials = LIST_INIT(partials); /* under stack_lock, as all of this */
static int partial_count;

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* ---- one fragment -----------------------------------------------------------------------------
 */

static bool parse_v4(const uint8_t *ip, size_t size, struct fragment *ret)
{
    uint32_t header = (ip[0] & 15U) * 4, total = get16(ip + 2), flags = get16(ip + 6);

    if (header < 20 || total < header || total > size)
        return false;
    *ret = (struct fragment){.v4 = true,
                             .id = get16(ip + 4),
                             .protocol = ip[9],
                             .more = flags & 0x2000,
                             .header = ip,
                             .header_size = header,
                             .data = ip + header,
                             .offset = (flags & 0x1fff) * BLOCK,
                             .size = total - header};
    memcpy(&ret->from.s6_addr32[3], ip + 12, 4);
    memcpy(&ret->to.s6_addr32[3], ip + 16, 4);
    return true;
}

static bool parse_v6(const uint8_t *ip, size_t size, struct fragment *ret)
{
    const uint8_t *head = ip + V6_HEADER;
    uint32_t total = get16(ip + 4);

    if (total < BLOCK || total > size - V6_HEADER)
        return false;
    *ret = (struct fragment){.protocol = head[0],
                             .more = head[3] & 1,
                             .header = ip,
                             .header_size = V6_HEADER,
                             .data = head + BLOCK,
                             .offset = get16(head + 2) & 0xfff8,
                             .size = total - BLOCK};
    memcpy(&ret->id, head + 4, sizeof(ret->id));
    memcpy(&ret->from, ip + 8, sizeof(ret->from));
    memcpy(&ret->to, ip + 24, sizeof(ret->to));
    return true;
}

bool stack_is_fragment(const uint8_t *ip, size_t size)
{
    if (size >= 20 && ip[0] >> 4 == 4)
        return get16(ip + 6) & 0x3fff;
    return size >= V6_HEADER + BLOCK && ip[0] >> 4 == 6 && ip[6] == IPPROTO_FRAGMENT;
}

/* ---- packets in the making --------------------------------------------------------------------
 */

static void partial_destroy(struct partial *p)
{
    list_del_init(&p->node);
    partial_count--;
    free(p);
}

static struct partial *partial_find(const struct fragment *f, uint64_t now)
{
    struct partial *p, *next;

    list_for_each_safe (p, next, &partials, node) {
        if (now - p->begin_ns > LIFE_NS)
            partial_destroy(p);
        else if (p->id == f->id && p->v4 == f->v4 && (!f->v4 || p->protocol == f->protocol) &&
                 memcmp(&p->from, &f->from, sizeof(p->from)) == 0 &&
                 memcmp(&p->to, &f->to, sizeof(p->to)) == 0)
            return p;
    }
    return NULL;
}

static struct partial *partial_create(const struct fragment *f, uint64_t now)
{
    struct partial *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    if (partial_count == PARTIALS_MAX)
        partial_destroy(list_first(&partials, struct partial, node));
    p->from = f->from;
    p->to = f->to;
    p->id = f->id;
    p->v4 = f->v4;
    p->protocol = f->protocol;
    p->begin_ns = now;
    list_add_tail(&partials, &p->node);
    partial_count++;
    return p;
}

/* 1: taken, 0: it was there already, -1: it does not fit what came before. */
static int partial_add(struct partial *p, const struct fragment *f)
{
    uint32_t first = f->offset / BLOCK, count = (f->size + BLOCK - 1) / BLOCK, seen = 0;

    if (f->more ? p->size && f->offset + f->size > p->size
                : (p->size && p->size != f->offset + f->size) || p->blocks > first + count)
        return -1;
    for (uint32_t i = first; i < first + count; i++)
        seen += p->map[i / 64] >> (i % 64) & 1;
    if (seen)
        return seen == count ? 0 : -1;
    for (uint32_t i = first; i < first + count; i++)
        p->map[i / 64] |= 1ULL << (i % 64);
    memcpy(p->data + f->offset, f->data, f->size);
    p->got += count;
    p->blocks = MAX(p->blocks, first + count);
    if (!f->more)
        p->size = f->offset + f->size;
    if (f->offset == 0) {
        memcpy(p->header, f->header, f->header_size);
        p->header_size = (uint8_t)f->header_size;
        p->protocol = f->protocol;
    }
    return 1;
}

static void finish_v4(const struct partial *p, uint8_t *packet)
{
    uint32_t sum = 0;

    put16(packet + 2, p->header_size + p->size);
    put16(packet + 6, 0);
    put16(packet + 10, 0);
    for (uint32_t i = 0; i < p->header_size; i += 2)
        sum += get16(packet + i);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(packet + 10, ~(sum + (sum >> 16)) & 0xffff);
}

/* The packet's size once all of it is there, else 0. */
static size_t partial_finish(const struct partial *p, uint8_t *packet)
{
    if (!p->size || p->got != (p->size + BLOCK - 1) / BLOCK ||
        p->header_size + p->size > STACK_PACKET_MAX)
        return 0;
    memcpy(packet, p->header, p->header_size);
    memcpy(packet + p->header_size, p->data, p->size);
    if (p->v4) {
        finish_v4(p, packet);
    } else {
        put16(packet + 4, p->size);
        packet[6] = p->protocol;
    }
    return p->header_size + p->size;
}

size_t stack_reassemble(const uint8_t *ip, size_t size, uint8_t *ret)
{
    uint64_t now = host_clock_ns(CLOCK_MONOTONIC);
    struct fragment f;
    struct partial *p;
    size_t whole = 0;
    int added;

    if (!(ip[0] >> 4 == 4 ? parse_v4(ip, size, &f) : parse_v6(ip, size, &f)) || f.size == 0 ||
        (f.more && f.size % BLOCK) || f.offset + f.size > PAYLOAD_MAX)
        return 0;
    p = partial_find(&f, now);
    if (!p)
        p = partial_create(&f, now);
    if (!p)
        return 0;
    added = partial_add(p, &f);
    if (added > 0)
        whole = partial_finish(p, ret);
    if (added < 0 || whole || (p->size && p->got == (p->size + BLOCK - 1) / BLOCK))
        partial_destroy(p);
    return whole;
}
