/*
 * Ancillary data: ip(7), ipv6(7), udp(7). What a program hands in is read message by message, and
 * the host gets messages made here, of the kinds and sizes that are listed; what comes from the
 * host passes a list of its own.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "host/sockopt_names.h"
#include "sentry/net/hostinet/internal.h"

#define SCM_TIMESTAMP_OLD   29
#define SCM_TIMESTAMPNS_OLD 35
#define SCM_TIMESTAMP_NEW   63
#define SCM_TIMESTAMPNS_NEW 64
#define SCM_TCP_INQ         36

struct kind {
    int level, type;
    uint32_t min, max; /* bytes of data */
};

static const struct kind sent[] = {
    {IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo), sizeof(struct in_pktinfo)},
    {IPPROTO_IP, IP_TOS, 1, sizeof(int)},
    {IPPROTO_IP, IP_TTL, sizeof(int), sizeof(int)},
    {IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo), sizeof(struct in6_pktinfo)},
    {IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof(int), sizeof(int)},
    {IPPROTO_IPV6, IPV6_TCLASS, sizeof(int), sizeof(int)},
    {IPPROTO_IPV6, IPV6_DONTFRAG, sizeof(int), sizeof(int)},
    {IPPROTO_UDP, OPT_UDP_SEGMENT, sizeof(uint16_t), sizeof(uint16_t)},
};

static const struct kind received[] = {
    {SOL_SOCKET, SCM_TIMESTAMP_OLD, 16, 16},
    {SOL_SOCKET, SCM_TIMESTAMPNS_OLD, 16, 16},
    {SOL_SOCKET, SCM_TIMESTAMP_NEW, 16, 16},
    {SOL_SOCKET, SCM_TIMESTAMPNS_NEW, 16, 16},
    {SOL_SOCKET, SO_RXQ_OVFL, 4, 4},
    {IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo), sizeof(struct in_pktinfo)},
    {IPPROTO_IP, IP_TOS, 1, sizeof(int)},
    {IPPROTO_IP, IP_TTL, sizeof(int), sizeof(int)},
    {IPPROTO_IP, IP_RECVERR, 16, 64},
    {IPPROTO_IP, IP_RECVOPTS, 0, 40},
    {IPPROTO_IP, IP_RETOPTS, 0, 40},
    {IPPROTO_IP, IP_ORIGDSTADDR, sizeof(struct sockaddr_in), sizeof(struct sockaddr_in)},
    {IPPROTO_IP, OPT_IP_RECVFRAGSIZE, sizeof(int), sizeof(int)},
    {IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo), sizeof(struct in6_pktinfo)},
    {IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof(int), sizeof(int)},
    {IPPROTO_IPV6, IPV6_TCLASS, sizeof(int), sizeof(int)},
    {IPPROTO_IPV6, IPV6_RECVERR, 16, 64},
    {IPPROTO_IPV6, IPV6_PATHMTU, sizeof(struct ip6_mtuinfo), sizeof(struct ip6_mtuinfo)},
    {IPPROTO_IPV6, OPT_IPV6_ORIGDSTADDR, sizeof(struct sockaddr_in6), sizeof(struct sockaddr_in6)},
    {IPPROTO_IPV6, OPT_IPV6_RECVFRAGSIZE, sizeof(int), sizeof(int)},
    {IPPROTO_UDP, OPT_UDP_GRO, sizeof(int), sizeof(int)},
    {IPPROTO_TCP, SCM_TCP_INQ, sizeof(int), sizeof(int)},
};

static const struct kind *find(const struct kind *list, size_t count, const struct cmsghdr *head)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].level == head->cmsg_level && list[i].type == head->cmsg_type)
            return &list[i];
    return NULL;
}

/*
 * 1: to be sent, 0: Linux does not look at it. SOL_SOCKET: __sock_cmsg_send(), where rights and
 * credentials are passed over, a mark needs a capability on the host, and time stamps and times of
 * sending are not offered; the family's own level: ip_cmsg_send(), ip6_datagram_send_ctl().
 */
static int judge(const struct socket *s, const struct cmsghdr *head, size_t size)
{
    const struct kind *kind = find(sent, ARRAY_COUNT(sent), head);

    if (head->cmsg_level == SOL_SOCKET) {
        if (head->cmsg_type == SCM_RIGHTS || head->cmsg_type == SCM_CREDENTIALS)
            return 0;
        return head->cmsg_type == SO_MARK ? -EPERM : -EINVAL;
    }
    if (s->ops->stream)
        return 0;
    if (kind)
        return size >= kind->min && size <= kind->max ? 1 : -EINVAL;
    return head->cmsg_level == IPPROTO_IP || head->cmsg_level == IPPROTO_IPV6 ? -EINVAL : 0;
}

int hostinet_control_in(const struct socket *s, const struct socket_message *msg, uint8_t *buf,
                        size_t *ret_size)
{
    const uint8_t *from = msg->control;
    size_t left = msg->control ? msg->control_size : 0, used = 0;

    while (left >= sizeof(struct cmsghdr)) {
        struct cmsghdr head;
        size_t size, step;
        int verdict;

        memcpy(&head, from, sizeof(head));
        if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > left)
            return -EINVAL;
        size = head.cmsg_len - CMSG_LEN(0);
        verdict = judge(s, &head, size);
        if (verdict < 0)
            return verdict;
        if (verdict) {
            if (HOSTINET_CONTROL_MAX - used < CMSG_SPACE(size))
                return -ENOBUFS;
            memset(buf + used, 0, CMSG_SPACE(size));
            memcpy(buf + used, &head, sizeof(head));
            memcpy(buf + used + CMSG_LEN(0), from + CMSG_LEN(0), size);
            used += CMSG_SPACE(size);
        }
        step = MIN(CMSG_ALIGN(head.cmsg_len), left);
        from += step;
        left -= step;
    }
    *ret_size = used;
    return 0;
}

void hostinet_control_out(struct socket_message *msg, const uint8_t *buf, size_t size)
{
    size_t at = 0;

    while (size - at >= sizeof(struct cmsghdr)) {
        const struct kind *kind;
        struct cmsghdr head;
        size_t bytes, step;

        memcpy(&head, buf + at, sizeof(head));
        if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > size - at)
            return;
        bytes = head.cmsg_len - CMSG_LEN(0);
        kind = find(received, ARRAY_COUNT(received), &head);
        if (kind && bytes >= kind->min && bytes <= kind->max)
            socket_control_put(msg, head.cmsg_level, head.cmsg_type, buf + at + CMSG_LEN(0), bytes);
        step = CMSG_ALIGN(head.cmsg_len);
        if (step > size - at)
            return;
        at += step;
    }
}
