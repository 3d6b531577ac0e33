/*
 * What programs may know of the host's network. Questions are made anew here from the few fields
 * that they may have, and asked over a socket that was opened before the jail closed; nothing can
 * be changed, since the Sentry has no capability, and since only questions are asked.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>

#include "host/io.h"
#include "host/socket.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/hostinet/hostinet.h"
#include "sentry/net/hostinet/internal.h"
#include "sentry/net/interface.h"
#include "sentry/net/netns.h"
#include "sentry/net/nlattr.h"

#define ANSWER_MAX    32768 /* bytes; the kernel makes no longer datagrams of answers */
#define PROC_FILES    24
#define PROC_TEXT_MAX (8UL << 20)
#define CONF_MAX      128 /* interfaces that SIOCGIFCONF tells of */

static struct {
    struct lock lock; /* one question at a time, and its answers */
    int route_fd;
    uint32_t sequence;
    uint8_t answer[ANSWER_MAX] __aligned_to(8);
    int question_fd; /* an internet datagram socket that is never bound */
    struct {
        const char *name;
        int fd;
    } proc[PROC_FILES];
    int proc_count;
} about = {.lock = LOCK_INIT, .route_fd = -1, .question_fd = -1};

/* ---- routes -----------------------------------------------------------------------------------
 */

struct question {
    struct nlmsghdr head;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg addr;
        struct rtmsg route;
        struct ndmsg neighbour;
        struct rtgenmsg any;
    };
    uint8_t attributes[128];
};

/* Behind what there is; every attribute that may be asked for fits. */
static void add_attribute(struct question *q, uint16_t type, const void *data, size_t size)
{
    struct nlattr a = {(uint16_t)(NLA_HDRLEN + size), type};
    uint8_t *at = (uint8_t *)q + NLMSG_ALIGN(q->head.nlmsg_len);

    memcpy(at, &a, sizeof(a));
    memcpy(at + NLA_HDRLEN, data, size);
    q->head.nlmsg_len = NLMSG_ALIGN(q->head.nlmsg_len) + NLA_HDRLEN + (uint32_t)NLA_ALIGN(size);
}

/* One link, by number or by name. */
static int ask_link(struct question *q, const struct nlmsghdr *given)
{
    struct ifinfomsg info;
    const uint8_t *name;
    char copy[IFNAMSIZ] = {0};
    size_t size;

    if (given->nlmsg_len < NLMSG_LENGTH(sizeof(info)))
        return -EINVAL;
    memcpy(&info, NLMSG_DATA(given), sizeof(info));
    q->link.ifi_index = info.ifi_index;
    name = nlattr_find(given, sizeof(info), IFLA_IFNAME, &size);
    if (!name)
        name = nlattr_find(given, sizeof(info), IFLA_ALT_IFNAME, &size);
    if (name && info.ifi_index == 0) {
        memcpy(copy, name, MIN(size, sizeof(copy) - 1));
        add_attribute(q, IFLA_IFNAME, copy, sizeof(copy));
    }
    return 0;
}

/* The way to one address. */
static int ask_route(struct question *q, const struct nlmsghdr *given)
{
    static const struct {
        uint16_t type;
        uint8_t size; /* 0: an address of the family */
    } known[] = {{RTA_DST, 0}, {RTA_SRC, 0}, {RTA_OIF, 4}, {RTA_IIF, 4}, {RTA_MARK, 4}};
    struct rtmsg info;
    size_t address, size;

    if (given->nlmsg_len < NLMSG_LENGTH(sizeof(info)))
        return -EINVAL;
    memcpy(&info, NLMSG_DATA(given), sizeof(info));
    if (info.rtm_family != AF_INET && info.rtm_family != AF_INET6)
        return -EOPNOTSUPP;
    address = info.rtm_family == AF_INET ? 4 : 16;
    q->route.rtm_dst_len = info.rtm_dst_len;
    q->route.rtm_src_len = info.rtm_src_len;
    q->route.rtm_tos = info.rtm_tos;
    q->route.rtm_flags = info.rtm_flags & (RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH);
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        size_t expected = known[i].size ? known[i].size : address;
        const uint8_t *data = nlattr_find(given, sizeof(info), known[i].type, &size);

        if (data && size != expected)
            return -EINVAL;
        if (data)
            add_attribute(q, known[i].type, data, expected);
    }
    return 0;
}

/* What is asked of the host instead of `given`. */
static int make_question(struct question *q, const struct nlmsghdr *given)
{
    bool dump = given->nlmsg_flags & NLM_F_DUMP;

    memset(q, 0, sizeof(*q));
    q->head.nlmsg_type = given->nlmsg_type;
    q->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0));
    q->any.rtgen_family = *(const uint8_t *)NLMSG_DATA(given);
    switch (given->nlmsg_type) {
    case RTM_GETLINK:
        q->head.nlmsg_len = NLMSG_LENGTH(sizeof(q->link));
        return dump ? 0 : ask_link(q, given);
    case RTM_GETROUTE:
        q->head.nlmsg_len = NLMSG_LENGTH(sizeof(q->route));
        return dump ? 0 : ask_route(q, given);
    case RTM_GETADDR:
        q->head.nlmsg_len = NLMSG_LENGTH(sizeof(q->addr));
        return dump ? 0 : -EOPNOTSUPP;
    case RTM_GETNEIGH:
        q->head.nlmsg_len = NLMSG_LENGTH(sizeof(q->neighbour));
        return dump ? 0 : -EOPNOTSUPP;
    case RTM_GETRULE:
        q->head.nlmsg_len = NLMSG_LENGTH(sizeof(q->route));
        return dump ? 0 : -EOPNOTSUPP;
    default:
        return -EOPNOTSUPP;
    }
}

/* Hands the messages of one datagram on. 1: the answer is complete; -errno: it was an error. */
static int take_answers(size_t size, bool dump,
                        void (*each)(void *arg, const struct nlmsghdr *answer), void *arg)
    __must_hold(about.lock)
{
    const uint8_t *at = about.answer;

    while (size >= NLMSG_HDRLEN) {
        const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)at;
        size_t step;

        if (m->nlmsg_len < NLMSG_HDRLEN || m->nlmsg_len > size)
            return -EIO;
        if (m->nlmsg_seq == about.sequence) {
            if (m->nlmsg_type == NLMSG_DONE)
                return 1;
            if (m->nlmsg_type == NLMSG_ERROR) {
                int error = -EIO;

                if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
                    memcpy(&error, NLMSG_DATA(m), sizeof(error));
                return error < 0 ? error : 1;
            }
            each(arg, m);
            if (!dump)
                return 1;
        }
        step = MIN((size_t)NLMSG_ALIGN(m->nlmsg_len), size);
        at += step;
        size -= step;
    }
    return 0;
}

static int receive_answers(bool dump, void (*each)(void *arg, const struct nlmsghdr *answer),
                           void *arg) __must_hold(about.lock)
{
    int result = 0;

    while (result == 0) {
        struct iovec iov = {about.answer, sizeof(about.answer)};
        struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
        /* The kernel has made the next part by the time that the last one was taken. */
        ssize_t n = host_socket_receive(about.route_fd, &hdr, 0);

        if (n < 0)
            return n == -EAGAIN ? -EIO : (int)n;
        if (hdr.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        result = take_answers((size_t)n, dump, each, arg);
    }
    return MIN(result, 0);
}

int hostinet_route(const struct nlmsghdr *given,
                   void (*each)(void *arg, const struct nlmsghdr *answer), void *arg)
{
    struct question q;
    struct iovec iov = {&q, 0};
    struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
    int err;

    if (given->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtgenmsg)))
        return -EINVAL;
    err = make_question(&q, given);
    if (err < 0)
        return err;
    lock_acquire(&about.lock);
    q.head.nlmsg_seq = ++about.sequence;
    iov.iov_len = q.head.nlmsg_len;
    err = (int)MIN(host_socket_send(about.route_fd, &hdr, 0), 0);
    if (!err)
        err = receive_answers(q.head.nlmsg_flags & NLM_F_DUMP, each, arg);
    lock_release(&about.lock);
    return err;
}

/* ---- netdevice(7) -----------------------------------------------------------------------------
 */

struct guest_ifconf {
    int32_t size, pad;
    uint64_t requests;
};

static long list_interfaces(struct mm *mm, uint64_t arg)
{
    struct ifreq list[CONF_MAX] = {0};
    struct guest_ifconf given;
    struct ifconf conf = {.ifc_len = 0};
    int err;

    if (copy_struct_from_user(mm, &given, arg) < 0)
        return -EFAULT;
    if (given.requests) {
        conf.ifc_req = list;
        conf.ifc_len = MAX(MIN(given.size, (int32_t)sizeof(list)), 0);
    }
    err = host_ioctl(about.question_fd, SIOCGIFCONF, &conf);
    if (err < 0)
        return err;
    if (given.requests && copy_to_user(mm, given.requests, list, (size_t)conf.ifc_len) < 0)
        return -EFAULT;
    given.size = conf.ifc_len;
    return copy_struct_to_user(mm, arg, &given);
}

long hostinet_interface_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct ifreq r;
    int err;

    switch (cmd) {
    case SIOCGIFCONF:
        return list_interfaces(mm, arg);
    case SIOCGIFADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFNETMASK:
        if (s->domain != AF_INET)
            return -ENOTTY;
        break;
    case SIOCGIFFLAGS:
    case SIOCGIFHWADDR:
    case SIOCGIFINDEX:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFNAME:
    case SIOCGIFTXQLEN:
        break;
    case SIOCETHTOOL:
        return -EOPNOTSUPP;
    default:
        return interface_is_change(cmd) ? -EPERM : -ENOTTY;
    }
    if (copy_struct_from_user(mm, &r, arg) < 0)
        return -EFAULT;
    r.ifr_name[IFNAMSIZ - 1] = '\0';
    err = host_ioctl(about.question_fd, cmd, &r);
    return err < 0 ? err : copy_struct_to_user(mm, arg, &r);
}

/* ---- /proc/net --------------------------------------------------------------------------------
 */

void hostinet_add_proc(const char *name, int fd)
{
    if (about.proc_count == PROC_FILES) {
        host_close(fd);
        return;
    }
    about.proc[about.proc_count].name = name;
    about.proc[about.proc_count++].fd = fd;
}

/* All of it is read in any case: the answer is the whole text's length. */
static ssize_t read_text(int fd, char *buf, size_t size)
{
    char rest[4096];
    size_t done = 0;

    if (size == 0)
        return 0; /* may it be read at all? */

    while (done < PROC_TEXT_MAX) {
        bool fits = done < size;
        ssize_t n = host_pread(fd, fits ? buf + done : rest, fits ? size - done : sizeof(rest),
                               (int64_t)done);

        if (n == -EINTR)
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t hostinet_proc_text(const char *name, char *buf, size_t size)
{
    for (int i = 0; i < about.proc_count; i++)
        if (strcmp(about.proc[i].name, name) == 0)
            return read_text(about.proc[i].fd, buf, size);
    return -ENOENT;
}

void hostinet_start(int route_fd, int question_fd)
{
    static const struct net_outward outward = {
        .create = hostinet_create,
        .interface_ioctl = hostinet_interface_ioctl,
        .route = hostinet_route,
        .proc_text = hostinet_proc_text,
    };

    about.route_fd = route_fd;
    about.question_fd = question_fd;
    net_set_outward(&outward);
}
