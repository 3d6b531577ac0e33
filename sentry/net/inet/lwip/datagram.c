/*
 * Datagrams. They leave through one pcb that stands for all sockets, and are caught before lwIP
 * looks for one; what nobody inside wants goes on to lwIP, which answers that the port is
 * unreachable. Such answers of others are caught likewise.
 */
#include <errno.h>
#include <string.h>

#include "sentry/net/inet/lwip/library.h"

#define UDP_HEADER 8
#define ICMP_ERROR 8 /* bytes before the packet that it is about */

static const struct stack_datagram_user *datagrams;
static struct udp_pcb *sender;
static struct raw_pcb *raw_sender;

/* What lies in a packet, behind its IP header. */
struct packet {
    struct stack_datagram d;
    ip_addr_t from, to;
    uint16_t header; /* bytes */
    uint8_t protocol;
    bool v4;
};

static bool parse_ip(const uint8_t *ip, size_t size, struct packet *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (size >= 20 && ip[0] >> 4 == 4) {
        ret->v4 = true;
        ret->header = (uint16_t)((ip[0] & 15) * 4);
        ret->protocol = ip[9];
        ret->d.tos = ip[1];
        ret->d.ttl = ip[8];
        ret->d.from.addr.s6_addr32[2] = ret->d.to.addr.s6_addr32[2] = PP_HTONL(0xffffUL);
        memcpy(&ret->d.from.addr.s6_addr32[3], ip + 12, 4);
        memcpy(&ret->d.to.addr.s6_addr32[3], ip + 16, 4);
    } else if (size >= 40 && ip[0] >> 4 == 6) {
        ret->header = 40;
        ret->protocol = ip[6];
        ret->d.tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
        ret->d.ttl = ip[7];
        memcpy(&ret->d.from.addr, ip + 8, 16);
        memcpy(&ret->d.to.addr, ip + 24, 16);
    } else {
        return false;
    }
    stack_address_in(&ret->d.from.addr, &ret->from);
    stack_address_in(&ret->d.to.addr, &ret->to);
    return true;
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

struct payload {
    struct pbuf *p;
    uint16_t at;
};

static void copy_payload(void *arg, void *to, size_t size)
{
    const struct payload *payload = arg;

    lwip.pbuf_copy_partial(payload->p, to, (u16_t)size, payload->at);
}

static bool checksum_good(struct pbuf *p, const struct packet *packet, uint16_t size)
{
    uint16_t sum;

    lwip.pbuf_remove_header(p, packet->header);
    sum = lwip.ip_chksum_pseudo(p, IPPROTO_UDP, size, &packet->from, &packet->to);
    lwip.pbuf_add_header_force(p, packet->header);
    return sum == 0;
}

/* 1: taken, and the packet is ours to free. */
static u8_t on_datagram(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
    uint8_t head[60 + UDP_HEADER];
    struct payload payload = {p, 0};
    struct packet packet;
    uint16_t got = lwip.pbuf_copy_partial(p, head, sizeof(head), 0), size;
    const uint8_t *udp;

    if (!parse_ip(head, got, &packet) || got < packet.header + UDP_HEADER)
        return 0;
    udp = head + packet.header;
    size = get16(udp + 4);
    if (size < UDP_HEADER || size > p->tot_len - packet.header)
        return 0;
    if ((get16(udp + 6) || !packet.v4) && !checksum_good(p, &packet, size))
        return 0; /* lwIP drops it, too */
    packet.d.from.port = get16(udp);
    packet.d.to.port = get16(udp + 2);
    payload.at = (uint16_t)(packet.header + UDP_HEADER);
    if (!datagrams->arrived(&packet.d, size - UDP_HEADER, copy_payload, &payload))
        return 0;
    lwip.pbuf_free(p);
    return 1;
}

/* The error that a message of ICMP means for who sent; 0: none. */
static int error_of(bool v4, uint8_t type, uint8_t code)
{
    if (v4)
        return type != 3 ? 0 : code == 3 || code == 2 ? -ECONNREFUSED : -EHOSTUNREACH;
    return type != 1 ? 0 : code == 4 ? -ECONNREFUSED : -EHOSTUNREACH;
}

/* Always 0: lwIP looks at it as well. */
static u8_t on_icmp(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
    uint8_t head[60 + ICMP_ERROR + 60 + UDP_HEADER];
    struct packet outer, inner;
    uint16_t got = lwip.pbuf_copy_partial(p, head, sizeof(head), 0), at;
    int error;

    if (!parse_ip(head, got, &outer) || got < outer.header + ICMP_ERROR)
        return 0;
    error = error_of(outer.v4, head[outer.header], head[outer.header + 1]);
    at = (uint16_t)(outer.header + ICMP_ERROR);
    if (!error || !parse_ip(head + at, got - at, &inner) || inner.protocol != IPPROTO_UDP ||
        got < at + inner.header + 4)
        return 0;
    inner.d.from.port = get16(head + at + inner.header);
    inner.d.to.port = get16(head + at + inner.header + 2);
    if (stack_owns(&inner.d.from.addr))
        datagrams->failed(&inner.d.from, &inner.d.to, error);
    return 0;
}

static int catch (u8_t protocol, raw_recv_fn fn)
{
    struct raw_pcb *pcb = lwip.raw_new_ip_type(IPADDR_TYPE_ANY, protocol);

    if (!pcb)
        return -ENOMEM;
    lwip.raw_recv(pcb, fn, NULL);
    return 0;
}

void stack_packet_arrived(const uint8_t *bytes, size_t size)
{
    struct packet packet;
    size_t stated;

    if (!datagrams || !datagrams->packet || !parse_ip(bytes, size, &packet) ||
        stack_is_fragment(bytes, size))
        return;
    stated = packet.v4 ? get16(bytes + 2) : get16(bytes + 4) + 40U;
    if (packet.header >= 20 && stated >= packet.header && stated <= size)
        datagrams->packet(bytes, stated);
}

int stack_packet_send(const struct in6_addr *to, const void *bytes, size_t size)
{
    struct packet packet;
    struct pbuf *p;
    int err;

    if (!parse_ip(bytes, size, &packet) || size > UINT16_MAX ||
        memcmp(&packet.d.to.addr, to, sizeof(*to)) != 0 || stack_owns(to))
        return -EINVAL;
    p = lwip.pbuf_alloc(PBUF_LINK, (u16_t)size, PBUF_RAM);
    if (!p)
        return -ENOBUFS;
    lwip.pbuf_take(p, bytes, (u16_t)size);
    err =
        stack_errno(lwip.raw_sendto_if_src(raw_sender, p, &packet.to, stack_netifs, &packet.from));
    lwip.pbuf_free(p);
    return err;
}

int stack_datagram_start(const struct stack_datagram_user *user)
{
    datagrams = user;
    sender = lwip.udp_new_ip_type(IPADDR_TYPE_ANY);
    if (!sender || catch (IPPROTO_UDP, on_datagram) < 0 || catch (IPPROTO_ICMP, on_icmp) < 0 ||
        catch (IPPROTO_ICMPV6, on_icmp) < 0)
        return -ENOMEM;
    raw_sender = lwip.raw_new_ip_type(IPADDR_TYPE_ANY, 0);
    if (!raw_sender)
        return -ENOMEM;
    raw_set_flags(raw_sender, RAW_FLAGS_HDRINCL);
    ip_set_option(raw_sender, SOF_BROADCAST);
    ip_set_option(sender, SOF_BROADCAST);
    return 0;
}

int stack_datagram_send(const struct stack_datagram *d, const void *data, size_t size)
{
    struct pbuf *p;
    ip_addr_t from, to;
    int err;

    /* With its headers it is one packet of lwIP's, whose length has 16 bits. */
    if (size > UINT16_MAX - UDP_HEADER - (IN6_IS_ADDR_V4MAPPED(&d->to.addr) ? 20U : 40U))
        return -EMSGSIZE;
    p = lwip.pbuf_alloc(PBUF_TRANSPORT, (u16_t)size, PBUF_RAM);
    if (!p)
        return -ENOBUFS;
    lwip.pbuf_take(p, data, (u16_t)size);
    stack_address_in(&d->from.addr, &from);
    stack_address_in(&d->to.addr, &to);
    sender->local_port = d->from.port;
    sender->tos = d->tos;
    sender->ttl = d->ttl;
    udp_set_multicast_ttl(sender, d->ttl);
    err = stack_errno(lwip.udp_sendto_if_src(sender, p, &to, d->to.port, stack_netifs, &from));
    lwip.pbuf_free(p);
    return err;
}
