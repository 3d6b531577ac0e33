/* Netlink sockets, as sock_diag(7) tells of them: net/netlink/diag.c. */
#include <errno.h>
#include <linux/netlink_diag.h>
#include <linux/sock_diag.h>
#include <string.h>

#include "sentry/net/info.h"
#include "sentry/net/netlink/internal.h"

struct question {
    struct netlink_reply *reply;
    struct netlink_diag_req req;
};

static void put_details(struct netlink_reply *r, uint32_t show, const struct netlink_info *info)
{
    const uint64_t groups = info->groups;
    const uint32_t memory[SK_MEMINFO_VARS] = {
        [SK_MEMINFO_RMEM_ALLOC] = info->queued,
        [SK_MEMINFO_RCVBUF] = info->rcvbuf,
        [SK_MEMINFO_SNDBUF] = info->sndbuf,
        [SK_MEMINFO_DROPS] = info->drops,
    };
    const struct {
        int option;
        uint32_t flag;
    } flags[] = {{NETLINK_PKTINFO, NDIAG_FLAG_PKTINFO},
                 {NETLINK_BROADCAST_ERROR, NDIAG_FLAG_BROADCAST_ERROR},
                 {NETLINK_NO_ENOBUFS, NDIAG_FLAG_NO_ENOBUFS},
                 {NETLINK_LISTEN_ALL_NSID, NDIAG_FLAG_LISTEN_ALL_NSID},
                 {NETLINK_CAP_ACK, NDIAG_FLAG_CAP_ACK}};
    uint32_t set = 0;

    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        set |= info->options >> flags[i].option & 1 ? flags[i].flag : 0;
    if ((show & NDIAG_SHOW_GROUPS) && groups)
        reply_attribute(r, NETLINK_DIAG_GROUPS, &groups, sizeof(groups));
    if (show & NDIAG_SHOW_MEMINFO)
        reply_attribute(r, NETLINK_DIAG_MEMINFO, memory, sizeof(memory));
    if (show & NDIAG_SHOW_FLAGS)
        reply_attribute_u32(r, NETLINK_DIAG_FLAGS, set);
}

static bool show(void *arg, const struct netlink_info *info)
{
    const struct question *q = arg;
    struct netlink_diag_msg *msg;

    if (q->req.sdiag_protocol != NDIAG_PROTO_ALL && q->req.sdiag_protocol != info->protocol)
        return true;
    msg = reply_begin(q->reply, SOCK_DIAG_BY_FAMILY, sizeof(*msg));
    if (!msg)
        return false;
    *msg = (struct netlink_diag_msg){
        .ndiag_family = AF_NETLINK,
        .ndiag_type = info->type,
        .ndiag_protocol = (uint8_t)info->protocol,
        .ndiag_state = SOCKET_CLOSED,
        .ndiag_portid = info->port,
        .ndiag_dst_portid = info->to_port,
        .ndiag_dst_group = info->to_groups,
        .ndiag_ino = (uint32_t)info->ino,
        .ndiag_cookie = {(uint32_t)info->ino, (uint32_t)(info->ino >> 32)},
    };
    put_details(q->reply, q->req.ndiag_show, info);
    return true;
}

int netlink_diag_answer(struct netlink_reply *r, bool *ret_dump)
{
    struct question q = {.reply = r};
    bool known;

    if (r->question->nlmsg_len < NLMSG_LENGTH(sizeof(q.req)))
        return -EINVAL;
    memcpy(&q.req, (const uint8_t *)r->question + NLMSG_HDRLEN, sizeof(q.req));
    if (!(r->question->nlmsg_flags & NLM_F_DUMP))
        return -EOPNOTSUPP;
    r->multi = true;
    netlink_list(r->to->sock.net, show, &q);
    known = q.req.sdiag_protocol == NDIAG_PROTO_ALL || q.req.sdiag_protocol < MAX_LINKS;
    reply_end(r, known ? 0 : -ENOENT);
    *ret_dump = r->error == 0;
    return r->error;
}
