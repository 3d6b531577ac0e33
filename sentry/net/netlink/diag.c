/*
 * NETLINK_SOCK_DIAG: sock_diag(7), for AF_UNIX, the internet families (inet_diag.c), AF_NETLINK
 * (netlink_diag.c), and those that tell of themselves. Of others it says that it knows nothing
 * (ENOENT), and ss(8) then reads /proc/net.
 */
#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>

#include "sentry/net/netlink/internal.h"

/* One question, while the sockets pass by. */
struct unix_question {
    struct netlink_reply *reply;
    struct unix_diag_req req;
    bool dump;
    bool found;
};

static void put_details(struct netlink_reply *r, uint32_t show, const struct socket_info *info)
{
    const struct unix_diag_rqlen queues = {info->reading, info->writing};
    const uint32_t memory[SK_MEMINFO_VARS] = {
        [SK_MEMINFO_SNDBUF] = SOCKET_BUF_DEFAULT, [SK_MEMINFO_RCVBUF] = SOCKET_BUF_DEFAULT};

    if ((show & UDIAG_SHOW_NAME) && info->name_size)
        reply_attribute(r, UNIX_DIAG_NAME, info->name, info->name_size);
    if ((show & UDIAG_SHOW_PEER) && info->peer_ino)
        reply_attribute_u32(r, UNIX_DIAG_PEER, (uint32_t)info->peer_ino);
    if (show & UDIAG_SHOW_RQLEN)
        reply_attribute(r, UNIX_DIAG_RQLEN, &queues, sizeof(queues));
    if (show & UDIAG_SHOW_MEMINFO)
        reply_attribute(r, UNIX_DIAG_MEMINFO, memory, sizeof(memory));
    if (show & 0x40) /* UDIAG_SHOW_UID: newer than some headers */
        reply_attribute_u32(r, UNIX_DIAG_SHUTDOWN + 1, info->uid);
    reply_attribute_u8(r, UNIX_DIAG_SHUTDOWN, info->shutdown);
}

static bool show_unix(void *arg, const struct socket_info *info)
{
    struct unix_question *q = arg;
    struct unix_diag_msg *msg;

    if (q->req.udiag_ino && q->req.udiag_ino != (uint32_t)info->ino)
        return true;
    if (q->dump && !(q->req.udiag_states >> info->state & 1))
        return true;
    q->found = true;
    msg = reply_begin(q->reply, SOCK_DIAG_BY_FAMILY, sizeof(*msg));
    if (!msg)
        return false;
    msg->udiag_family = AF_UNIX;
    msg->udiag_type = info->type;
    msg->udiag_state = info->state;
    msg->udiag_ino = (uint32_t)info->ino;
    msg->udiag_cookie[0] = (uint32_t)info->ino;
    msg->udiag_cookie[1] = (uint32_t)(info->ino >> 32);
    put_details(q->reply, q->req.udiag_show, info);
    return q->dump;
}

static int ask_unix(struct netlink_reply *r, bool *ret_dump)
{
    const struct socket_family *family = socket_family_find(AF_UNIX);
    struct unix_question q = {.reply = r, .dump = r->question->nlmsg_flags & NLM_F_DUMP};

    if (r->question->nlmsg_len - NLMSG_HDRLEN < sizeof(q.req))
        return -EINVAL;
    memcpy(&q.req, (const uint8_t *)r->question + NLMSG_HDRLEN, sizeof(q.req));
    if (!q.dump && !q.req.udiag_ino)
        return -EINVAL;
    if (!family || !family->list)
        return -ENOENT;
    r->multi = q.dump;
    family->list(r->to->sock.net, show_unix, &q);
    if (!q.dump)
        return q.found ? r->error : -ENOENT;
    reply_done(r);
    *ret_dump = r->error == 0;
    return r->error;
}

/* A family that has its own words. */
static int ask_family(struct netlink_reply *r, int number, bool destroys, bool *ret_dump)
{
    const struct socket_family *family = socket_family_find(number);
    int err;

    if (!family || !family->diag)
        return -ENOENT;
    if (destroys)
        return -EOPNOTSUPP;
    r->multi = r->question->nlmsg_flags & NLM_F_DUMP;
    err = family->diag(r->to->sock.net, r->question, reply_copy, r);
    if (err < 0) {
        r->multi = false;
        return err;
    }
    if (r->multi)
        reply_done(r);
    *ret_dump = r->multi && r->error == 0;
    return r->error;
}

int diag_answer(struct netlink_reply *r, bool *ret_dump)
{
    struct sock_diag_req req;
    bool destroys;

    *ret_dump = false;
    /* TCPDIAG_GETSOCK and DCCPDIAG_GETSOCK: an older way to ask, which nobody answers here. */
    if (r->question->nlmsg_type == 18 || r->question->nlmsg_type == 19)
        return -EOPNOTSUPP;
    destroys = r->question->nlmsg_type == SOCK_DESTROY;
    if (r->question->nlmsg_type != SOCK_DIAG_BY_FAMILY && !destroys)
        return -EINVAL;
    if (r->question->nlmsg_len - NLMSG_HDRLEN < sizeof(req))
        return -EINVAL;
    memcpy(&req, (const uint8_t *)r->question + NLMSG_HDRLEN, sizeof(req));
    switch (req.sdiag_family) {
    case AF_UNIX:
        return destroys ? -EOPNOTSUPP : ask_unix(r, ret_dump);
    case AF_INET:
    case AF_INET6:
        return inet_diag_answer(r, ret_dump);
    case AF_NETLINK:
        return destroys ? -EOPNOTSUPP : netlink_diag_answer(r, ret_dump);
    default:
        return ask_family(r, req.sdiag_family, destroys, ret_dump);
    }
}
