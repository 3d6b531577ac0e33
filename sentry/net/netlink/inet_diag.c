/* sock_diag(7) for the sockets of AF_INET and AF_INET6: net/ipv4/inet_diag.c. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>

#include "sentry/net/netlink/internal.h"
#include "sentry/net/netns.h"
#include "sentry/net/nlattr.h"

#define NO_COOKIE 0xffffffffu

/* One question, while the sockets pass by. */
struct question {
    struct netlink_reply *reply;
    struct inet_diag_req_v2 req;
    const uint8_t *program; /* NULL: none */
    size_t program_size;
    bool dump, may_mark, found;
    struct socket *socket; /* the one that was named, referenced; of SOCK_DESTROY */
};

static bool wants(const struct question *q, int extension)
{
    return q->req.idiag_ext >> (extension - 1) & 1;
}

static void put_address(int family, const struct in6_addr *from, uint32_t to[4])
{
    if (family == AF_INET)
        to[0] = from->s6_addr32[3];
    else
        memcpy(to, from, sizeof(*from));
}

static void put_memory(const struct question *q, const struct inet_report *info)
{
    const struct inet_diag_meminfo memory = {.idiag_rmem = info->read_memory};
    const uint32_t all[SK_MEMINFO_VARS] = {
        [SK_MEMINFO_RMEM_ALLOC] = info->read_memory,
        [SK_MEMINFO_RCVBUF] = info->rcvbuf,
        [SK_MEMINFO_SNDBUF] = info->sndbuf,
        [SK_MEMINFO_DROPS] = info->drops,
    };

    if (wants(q, INET_DIAG_MEMINFO))
        reply_attribute(q->reply, INET_DIAG_MEMINFO, &memory, sizeof(memory));
    if (wants(q, INET_DIAG_SKMEMINFO))
        reply_attribute(q->reply, INET_DIAG_SKMEMINFO, all, sizeof(all));
}

static void put_details(const struct question *q, const struct inet_report *info)
{
    bool unconnected = info->state == SOCKET_LISTENING || info->state == SOCKET_CLOSED;
    struct netlink_reply *r = q->reply;

    reply_attribute_u8(r, INET_DIAG_SHUTDOWN, info->shutdown);
    if (wants(q, INET_DIAG_TOS))
        reply_attribute_u8(r, INET_DIAG_TOS, info->tos);
    if (info->family == AF_INET6 && wants(q, INET_DIAG_TCLASS))
        reply_attribute_u8(r, INET_DIAG_TCLASS, info->tclass);
    if (info->family == AF_INET6 && unconnected)
        reply_attribute_u8(r, INET_DIAG_SKV6ONLY, info->v6only);
    if (q->may_mark)
        reply_attribute_u32(r, INET_DIAG_MARK, (uint32_t)info->mark);
    put_memory(q, info);
    if (info->info_size && wants(q, INET_DIAG_INFO))
        reply_attribute(r, INET_DIAG_INFO, info->info, info->info_size);
    if (*info->congestion && wants(q, INET_DIAG_CONG))
        reply_attribute_string(r, INET_DIAG_CONG, info->congestion);
}

static bool put(const struct question *q, const struct inet_report *info)
{
    struct inet_diag_msg *msg = reply_begin(q->reply, SOCK_DIAG_BY_FAMILY, sizeof(*msg));

    if (!msg)
        return false;
    msg->idiag_family = (uint8_t)info->family;
    msg->idiag_state = info->state;
    msg->id.idiag_sport = htons(info->local_port);
    msg->id.idiag_dport = htons(info->remote_port);
    put_address(info->family, &info->local, msg->id.idiag_src);
    put_address(info->family, &info->remote, msg->id.idiag_dst);
    msg->id.idiag_cookie[0] = (uint32_t)info->ino;
    msg->id.idiag_cookie[1] = (uint32_t)(info->ino >> 32);
    msg->idiag_rqueue = info->unread;
    msg->idiag_wqueue = info->unsent;
    msg->idiag_uid = info->uid;
    msg->idiag_inode = (uint32_t)info->ino;
    put_details(q, info);
    return true;
}

static bool show(const struct inet_report *info, void *arg)
{
    struct question *q = arg;
    const struct inet_diag_sockid *id = &q->req.id;

    if (!(q->req.idiag_states >> info->state & 1) ||
        (id->idiag_sport && id->idiag_sport != htons(info->local_port)) ||
        (id->idiag_dport && id->idiag_dport != htons(info->remote_port)))
        return true;
    if (q->program && !diag_filter_run(q->program, q->program_size, info))
        return true;
    return put(q, info);
}

static bool is_named(const struct inet_diag_sockid *id, const struct inet_report *info)
{
    uint32_t local[4] = {0}, remote[4] = {0};
    size_t size = info->family == AF_INET ? 4 : 16;

    put_address(info->family, &info->local, local);
    put_address(info->family, &info->remote, remote);
    return id->idiag_sport == htons(info->local_port) &&
           id->idiag_dport == htons(info->remote_port) && memcmp(local, id->idiag_src, size) == 0 &&
           memcmp(remote, id->idiag_dst, size) == 0;
}

static bool show_one(const struct inet_report *info, void *arg)
{
    struct question *q = arg;
    const uint32_t *cookie = q->req.id.idiag_cookie;

    if (!is_named(&q->req.id, info))
        return true;
    q->found = (cookie[0] == NO_COOKIE && cookie[1] == NO_COOKIE) ||
               (cookie[0] == (uint32_t)info->ino && cookie[1] == (uint32_t)(info->ino >> 32));
    if (q->found && q->reply->question->nlmsg_type == SOCK_DESTROY)
        q->socket = socket_ref(info->socket);
    else if (q->found)
        put(q, info);
    return false;
}

/* sock_diag_destroy() */
static int destroy(struct question *q, const struct socket_family *family)
{
    struct net_ns *net = q->reply->to->sock.net;
    int err;

    family->report(net, q->req.sdiag_protocol, show_one, q);
    if (!q->socket)
        return -ENOENT;
    if (!net_capable(net, CAP_NET_ADMIN))
        err = -EPERM;
    else
        err = q->socket->ops->abort ? q->socket->ops->abort(q->socket, ECONNABORTED) : -EOPNOTSUPP;
    socket_unref(q->socket);
    return err;
}

static bool is_known(int protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
           protocol == IPPROTO_RAW;
}

int inet_diag_answer(struct netlink_reply *r, bool *ret_dump)
{
    struct net_ns *net = r->to->sock.net;
    const struct net_outward *outward = net_ns_outward(net);
    struct question q = {.reply = r, .dump = r->question->nlmsg_flags & NLM_F_DUMP};
    const struct socket_family *family;
    int err;

    if (r->question->nlmsg_len - NLMSG_HDRLEN < sizeof(q.req))
        return -EINVAL;
    memcpy(&q.req, (const uint8_t *)r->question + NLMSG_HDRLEN, sizeof(q.req));
    family = socket_family_find(q.req.sdiag_family);
    if (!family || !family->report || !is_known(q.req.sdiag_protocol) ||
        (outward && outward->create)) /* the sockets are the host's */
        return -ENOENT;
    if (r->question->nlmsg_type == SOCK_DESTROY)
        return destroy(&q, family);
    q.may_mark = net_capable(net, CAP_NET_ADMIN);
    if (!q.dump) {
        family->report(net, q.req.sdiag_protocol, show_one, &q);
        return q.found ? r->error : -ENOENT;
    }
    q.program = nlattr_find(r->question, sizeof(q.req), INET_DIAG_REQ_BYTECODE, &q.program_size);
    err = q.program ? diag_filter_check(q.program, q.program_size, q.may_mark) : 0;
    if (err < 0)
        return err;
    r->multi = true;
    family->report(net, q.req.sdiag_protocol, show, &q);
    reply_done(r);
    *ret_dump = r->error == 0;
    return r->error;
}
