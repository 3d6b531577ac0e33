/* Packet sockets, as sock_diag(7) tells of them: net/packet/diag.c. Their filters it does not. */
#include <errno.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/nlattr.h"
#include "sentry/net/packet/internal.h"

#define MESSAGE_MAX 3584 /* bytes; all memberships fit */

struct message {
    struct nlmsghdr head;
    struct packet_diag_msg body;
    uint8_t attributes[MESSAGE_MAX - NLMSG_HDRLEN - sizeof(struct packet_diag_msg)];
};

static void put(struct message *m, uint16_t type, const void *data, size_t size)
{
    nlattr_put(&m->head, sizeof(*m), type, data, size);
}

static void put_info(struct message *m, struct packet_socket *p)
{
    const uint32_t uid = own_attr_uid(&p->sock.attr);
    const struct packet_diag_info info = {
        .pdi_index = (uint32_t)p->interface,
        .pdi_version = (uint32_t)p->version,
        .pdi_reserve = p->reserve,
        .pdi_copy_thresh = (uint32_t)p->copy_threshold,
        .pdi_tstamp = (uint32_t)p->timestamp,
        .pdi_flags = (p->running ? PDI_RUNNING : 0U) | (p->auxdata ? PDI_AUXDATA : 0U) |
                     (p->origdev ? PDI_ORIGDEV : 0U) | (p->vnet ? PDI_VNETHDR : 0U) |
                     (p->loss ? PDI_LOSS : 0U),
    };

    put(m, PACKET_DIAG_INFO, &info, sizeof(info));
    put(m, PACKET_DIAG_UID, &uid, sizeof(uid));
}

static void put_memberships(struct message *m, const struct packet_socket *p)
{
    struct packet_diag_mclist list[PACKET_MEMBERSHIPS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < PACKET_MEMBERSHIPS_MAX; i++) {
        const struct packet_membership *from = &p->memberships[i];

        if (!from->count)
            continue;
        list[n] = (struct packet_diag_mclist){.pdmc_index = (uint32_t)from->mreq.mr_ifindex,
                                              .pdmc_count = from->count,
                                              .pdmc_type = from->mreq.mr_type,
                                              .pdmc_alen = from->mreq.mr_alen};
        memcpy(list[n++].pdmc_addr, from->mreq.mr_address, sizeof(from->mreq.mr_address));
    }
    put(m, PACKET_DIAG_MCLIST, list, n * sizeof(list[0]));
}

static void put_ring(struct message *m, const struct packet_socket *p, uint16_t type,
                     const struct packet_ring *r)
{
    const bool blocks = type == PACKET_DIAG_RX_RING && p->version == TPACKET_V3;
    const struct packet_diag_ring ring = {
        .pdr_block_size = r->block_size,
        .pdr_block_nr = r->block_count,
        .pdr_frame_size = r->frame_size,
        .pdr_frame_nr = r->frame_count,
        .pdr_retire_tmo = blocks ? r->timeout_ms : 0,
        .pdr_sizeof_priv = blocks ? r->private_size : 0,
    };

    if (r->bytes)
        put(m, type, &ring, sizeof(ring));
}

static void put_memory(struct message *m, const struct packet_socket *p)
{
    const uint32_t memory[SK_MEMINFO_VARS] = {
        [SK_MEMINFO_RMEM_ALLOC] = (uint32_t)p->queued,
        [SK_MEMINFO_RCVBUF] = (uint32_t)p->sock.opt.rcvbuf,
        [SK_MEMINFO_SNDBUF] = (uint32_t)p->sock.opt.sndbuf,
        [SK_MEMINFO_DROPS] = p->drops,
    };

    put(m, PACKET_DIAG_MEMINFO, memory, sizeof(memory));
}

static void describe(struct packet_socket *p, uint32_t show, struct message *m)
{
    uint32_t fanout = show & PACKET_SHOW_FANOUT ? (uint32_t)packet_fanout_get(p) : 0;

    memset(m, 0, sizeof(*m));
    m->head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    m->head.nlmsg_len = NLMSG_LENGTH(sizeof(m->body));
    m->body = (struct packet_diag_msg){
        .pdiag_family = AF_PACKET,
        .pdiag_type = (uint8_t)p->sock.type,
        .pdiag_ino = (uint32_t)p->sock.ino,
        .pdiag_cookie = {(uint32_t)p->sock.ino, (uint32_t)(p->sock.ino >> 32)},
    };
    lock_acquire(&p->sock.lock);
    m->body.pdiag_num = p->protocol;
    if (show & PACKET_SHOW_INFO)
        put_info(m, p);
    if (show & PACKET_SHOW_MCLIST)
        put_memberships(m, p);
    if (show & PACKET_SHOW_RING_CFG) {
        put_ring(m, p, PACKET_DIAG_RX_RING, &p->ring);
        put_ring(m, p, PACKET_DIAG_TX_RING, &p->send_ring);
    }
    if (fanout) { /* number and kind */
        fanout &= 0x00ffffff;
        put(m, PACKET_DIAG_FANOUT, &fanout, sizeof(fanout));
    }
    if (show & PACKET_SHOW_MEMINFO)
        put_memory(m, p);
    lock_release(&p->sock.lock);
}

/* All of a namespace's, referenced; NULL: none, or no memory. */
static struct packet_socket **collect(struct packet_ns *ns, size_t *ret_count)
{
    struct packet_socket **list = NULL, *p;
    size_t count = 0, n = 0;

    lock_acquire(&ns->lock);
    list_for_each (p, &ns->sockets, node)
        count++;
    list = calloc(MAX(count, (size_t)1), sizeof(struct packet_socket *));
    list_for_each (p, &ns->sockets, node)
        if (list) {
            socket_ref(&p->sock);
            list[n++] = p;
        }
    lock_release(&ns->lock);
    *ret_count = n;
    return list;
}

int packet_diag(struct net_ns *net, const struct nlmsghdr *question,
                void (*each)(void *arg, const struct nlmsghdr *answer), void *arg)
{
    struct packet_diag_req req;
    struct packet_socket **list;
    struct message m;
    size_t count;

    if (question->nlmsg_len < NLMSG_LENGTH(sizeof(req)))
        return -EINVAL;
    memcpy(&req, (const uint8_t *)question + NLMSG_HDRLEN, sizeof(req));
    if (req.sdiag_protocol)
        return -EINVAL;
    if (!(question->nlmsg_flags & NLM_F_DUMP))
        return -EOPNOTSUPP;
    list = collect(packet_ns_of(net), &count);
    for (size_t i = 0; i < count; i++) {
        describe(list[i], req.pdiag_show, &m);
        each(arg, &m.head);
        socket_unref(&list[i]->sock);
    }
    free(list);
    return 0;
}
