/*
 * netlink(7) and netdevice(7) as far as the loopback interface goes: questions about links,
 * addresses and routes, malformed ones, ports, and the ioctls on interfaces. On another machine
 * there are more interfaces: only lo is looked at.
 */
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>

#include "check.h"

static char answer[65536] __attribute__((aligned(8)));

static int open_route(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
}

static void ask(int fd, int type, int flags, const void *fixed, size_t size)
{
    static char question[256] __attribute__((aligned(8)));
    struct nlmsghdr *h = (void *)question;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    memset(question, 0, sizeof(question));
    h->nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
    h->nlmsg_type = (uint16_t)type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = 4711;
    memcpy(NLMSG_DATA(h), fixed, size);
    CHECK_EQ(sendto(fd, h, h->nlmsg_len, 0, (void *)&kernel, sizeof(kernel)), h->nlmsg_len);
}

/* The error that the kernel answers with: 0 for an acknowledgement. */
static int error_of(int fd)
{
    ssize_t n = recv(fd, answer, sizeof(answer), 0);
    struct nlmsghdr *h = (void *)answer;

    if (!CHECK(n >= (ssize_t)NLMSG_LENGTH(sizeof(int))) || !CHECK_EQ(h->nlmsg_type, NLMSG_ERROR))
        return 1;
    CHECK_EQ(h->nlmsg_seq, 4711);
    return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static const void *attribute(const struct nlmsghdr *h, size_t fixed, int type)
{
    int left = (int)(h->nlmsg_len - NLMSG_LENGTH(NLMSG_ALIGN(fixed)));
    struct rtattr *a = (void *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(fixed));

    for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == type)
            return RTA_DATA(a);
    }
    return NULL;
}

/* Walks through a dump; how many messages `good` likes. */
static int dump(int fd, bool (*good)(const struct nlmsghdr *h))
{
    int found = 0;

    for (;;) {
        int n = (int)recv(fd, answer, sizeof(answer), 0);
        struct nlmsghdr *h = (void *)answer;

        if (!CHECK(n > 0))
            return -1;
        for (; NLMSG_OK(h, (unsigned)n); h = NLMSG_NEXT(h, n)) {
            CHECK_EQ(h->nlmsg_seq, 4711);
            CHECK(h->nlmsg_flags & NLM_F_MULTI);
            if (h->nlmsg_type == NLMSG_DONE)
                return found;
            if (!CHECK(h->nlmsg_type != NLMSG_ERROR))
                return -1;
            found += good(h);
        }
    }
}

static bool is_lo(const struct nlmsghdr *h)
{
    const struct ifinfomsg *info = NLMSG_DATA(h);
    const char *name = attribute(h, sizeof(*info), IFLA_IFNAME);
    const uint32_t *mtu = attribute(h, sizeof(*info), IFLA_MTU);

    return h->nlmsg_type == RTM_NEWLINK && name && strcmp(name, "lo") == 0 &&
           info->ifi_index == 1 && info->ifi_type == 772 && mtu && *mtu == 65536 &&
           (info->ifi_flags & IFF_LOOPBACK);
}

static bool is_localhost(const struct nlmsghdr *h)
{
    const struct ifaddrmsg *info = NLMSG_DATA(h);
    const uint32_t *address = attribute(h, sizeof(*info), IFA_LOCAL);

    return info->ifa_family == AF_INET && info->ifa_index == 1 && info->ifa_prefixlen == 8 &&
           address && *address == htonl(0x7f000001);
}

static bool is_local_route(const struct nlmsghdr *h)
{
    const struct rtmsg *info = NLMSG_DATA(h);
    const uint32_t *to = attribute(h, sizeof(*info), RTA_DST);

    return info->rtm_family == AF_INET && info->rtm_type == RTN_LOCAL && info->rtm_dst_len == 8 &&
           to && *to == htonl(0x7f000000);
}

static void test_questions(void)
{
    const struct ifinfomsg all = {0}, none = {.ifi_index = 4000};
    struct ifinfomsg lo = {.ifi_index = 1};
    const struct rtgenmsg any = {.rtgen_family = AF_UNSPEC};
    struct rtmsg route = {.rtm_family = AF_INET};
    int fd = open_route();

    CHECK(fd >= 0);
    ask(fd, RTM_GETLINK, NLM_F_DUMP, &all, sizeof(all));
    CHECK_EQ(dump(fd, is_lo), 1);
    ask(fd, RTM_GETADDR, NLM_F_DUMP, &any, sizeof(any));
    CHECK_EQ(dump(fd, is_localhost), 1);
    ask(fd, RTM_GETROUTE, NLM_F_DUMP, &route, sizeof(route));
    CHECK_EQ(dump(fd, is_local_route), 1);
    ask(fd, RTM_GETLINK, 0, &lo, sizeof(lo));
    CHECK(recv(fd, answer, sizeof(answer), 0) > 0);
    CHECK(is_lo((void *)answer));
    CHECK_EQ(((struct nlmsghdr *)answer)->nlmsg_flags, 0);
    ask(fd, RTM_GETLINK, NLM_F_ACK, &none, sizeof(none));
    CHECK_EQ(error_of(fd), -ENODEV);
    ask(fd, RTM_GETLINK, NLM_F_ACK, &all, sizeof(all));
    CHECK_EQ(error_of(fd), -EINVAL);
    ask(fd, 9999, 0, &all, sizeof(all));
    CHECK_EQ(error_of(fd), -EOPNOTSUPP);
    ask(fd, 5, NLM_F_ACK, &all, sizeof(all)); /* below the first type: only acknowledged */
    CHECK_EQ(error_of(fd), 0);
    close(fd);
}

/* How another network namespace is called here: it is not, unless somebody gives it a number. */
static void ask_nsid(int fd, uint16_t type, uint32_t value)
{
    const struct {
        struct rtgenmsg head;
        uint8_t pad[3];
        struct rtattr attr;
        uint32_t value;
    } question = {.attr = {.rta_len = 8, .rta_type = type}, .value = value};

    ask(fd, RTM_GETNSID, NLM_F_ACK, &question, type ? sizeof(question) : sizeof(question.head));
}

static void test_nsid(void)
{
    int fd = open_route(), own = open("/proc/self/ns/net", O_RDONLY), other[2];
    const uint16_t types[] = {NETNSA_PID, NETNSA_FD};
    const uint32_t good[] = {(uint32_t)getpid(), (uint32_t)own};
    const struct nlmsghdr *h = (void *)answer;

    for (int i = 0; i < 2; i++) {
        const int32_t *id;

        ask_nsid(fd, types[i], good[i]);
        CHECK(recv(fd, answer, sizeof(answer), 0) > 0);
        id = attribute(h, sizeof(struct rtgenmsg), NETNSA_NSID);
        CHECK(h->nlmsg_type == RTM_NEWNSID && id && *id == -1);
        CHECK_EQ(error_of(fd), 0);
    }
    CHECK_EQ(pipe(other), 0);
    ask_nsid(fd, NETNSA_FD, (uint32_t)other[0]);
    CHECK_EQ(error_of(fd), -EINVAL);
    close(other[0]);
    close(other[1]);
    ask_nsid(fd, NETNSA_FD, 1000);
    CHECK_EQ(error_of(fd), -EBADF);
    ask_nsid(fd, NETNSA_PID, 0x7fffffff);
    CHECK_EQ(error_of(fd), -ESRCH);
    ask_nsid(fd, NETNSA_NSID, 12345);
    CHECK_EQ(error_of(fd), -ENOENT);
    ask_nsid(fd, 0, 0);
    CHECK_EQ(error_of(fd), -EINVAL);
    close(own);
    close(fd);
}

static void test_malformed(void)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK}, bad = {.nl_family = AF_INET};
    uint32_t words[64];
    unsigned seed = 99;
    int fd = open_route();

    CHECK_ERRNO(send(fd, "", 0, 0), ENODATA);
    CHECK_EQ(send(fd, "short", 5, 0), 5);
    CHECK_ERRNO(recv(fd, answer, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&bad, sizeof(bad)), EINVAL);
    CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&kernel, 4), EINVAL);
    CHECK_ERRNO(send(fd, "x", 1, MSG_OOB), EOPNOTSUPP);
    memset(words, 0, sizeof(words));
    words[0] = 1000; /* more than there is */
    CHECK_EQ(send(fd, words, sizeof(words), 0), sizeof(words));
    words[0] = 3; /* less than a header */
    CHECK_EQ(send(fd, words, sizeof(words), 0), sizeof(words));
    CHECK_ERRNO(recv(fd, answer, 1, MSG_DONTWAIT), EAGAIN);
    /* Random ones, of which none can change anything: they ask, with random attributes. */
    for (int round = 0; round < 3000; round++) {
        for (int i = 0; i < 64; i++) {
            seed = seed * 1103515245 + 12345;
            words[i] = seed >> 8 & (i < 8 ? 0xffffff : 0x3f003f);
        }
        words[0] = 16 + (seed >> 20) % 200;
        words[1] =
            (uint32_t)(RTM_GETLINK + (int)(seed >> 16) % 16 * 4) | 0x10000u | (seed & 0x4000000);
        send(fd, words, words[0] > 256 ? 256 : words[0], MSG_DONTWAIT);
        while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
            ;
    }
    close(fd);
}

/* Our own sockets as sock_diag(7) tells them, where there is somebody to ask. */
static void test_diag(void)
{
    struct {
        uint8_t family, protocol;
        uint16_t pad;
        uint32_t states, ino, show, cookie[2];
    } req = {AF_UNIX, 0, 0, ~0u, 0, 4, {~0u, ~0u}};
    int fd = socket(AF_NETLINK, SOCK_DGRAM, 4), pair[2];
    struct nlmsghdr *h = (void *)answer;
    const uint32_t *peer;
    struct stat a, b;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_EQ(fstat(pair[0], &a) | fstat(pair[1], &b), 0);
    req.ino = (uint32_t)a.st_ino;
    if (fd >= 0) {
        ask(fd, 20, 0, &req, sizeof(req));
        CHECK(recv(fd, answer, sizeof(answer), 0) > 0);
        if (h->nlmsg_type == 20) {
            const uint8_t *msg = NLMSG_DATA(h);

            CHECK_EQ(msg[0], AF_UNIX);
            CHECK_EQ(msg[1], SOCK_STREAM);
            CHECK_EQ(msg[2], 1);
            peer = attribute(h, 16, 2);
            CHECK(peer && *peer == (uint32_t)b.st_ino);
            req.ino = 0x7fffffff;
            ask(fd, 20, 0, &req, sizeof(req));
            CHECK_EQ(error_of(fd), -ENOENT);
            ask(fd, 20, 0, &req, 4);
            CHECK_EQ(error_of(fd), -EINVAL);
        }
        ask(fd, 99, 0, &req, sizeof(req));
        CHECK_EQ(error_of(fd), -EINVAL);
        close(fd);
    }
    close(pair[0]);
    close(pair[1]);
}

static void test_ports(void)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK}, got;
    socklen_t size = sizeof(got);
    int a = open_route(), b = open_route();

    CHECK_ERRNO(socket(AF_NETLINK, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_NETLINK, SOCK_RAW, 31), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_NETLINK, SOCK_RAW, -1), EPROTONOSUPPORT);
    CHECK_ERRNO(listen(a, 1), EOPNOTSUPP);
    CHECK_EQ(getsockname(a, (void *)&got, &size), 0);
    CHECK_EQ(size, sizeof(got));
    CHECK_EQ(got.nl_pid, 0);
    CHECK_EQ(bind(a, (void *)&addr, sizeof(addr)), 0);
    CHECK_EQ(getsockname(a, (void *)&got, &size), 0);
    CHECK_EQ(got.nl_pid, getpid());
    CHECK_EQ(bind(b, (void *)&addr, sizeof(addr)), 0);
    CHECK_EQ(getsockname(b, (void *)&got, &size), 0);
    CHECK(got.nl_pid != 0 && got.nl_pid != (unsigned)getpid());
    addr.nl_pid = (unsigned)getpid();
    CHECK_ERRNO(bind(b, (void *)&addr, sizeof(addr)), EINVAL);
    CHECK_ERRNO(bind(a, (void *)&addr, 4), EINVAL);
    close(a);
    a = open_route();
    addr.nl_pid = 77777;
    CHECK_EQ(bind(a, (void *)&addr, sizeof(addr)), 0);
    close(b);
    b = open_route();
    CHECK_ERRNO(bind(b, (void *)&addr, sizeof(addr)), EADDRINUSE);
    close(a);
    close(b);
}

static void test_interfaces(void)
{
    struct ifreq r = {0}, many[64];
    struct ifconf conf = {.ifc_len = sizeof(many)};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    bool found = false;

    strcpy(r.ifr_name, "lo");
    CHECK_EQ(ioctl(fd, SIOCGIFFLAGS, &r), 0);
    CHECK_EQ(r.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING),
             IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
    CHECK_EQ(ioctl(fd, SIOCGIFMTU, &r), 0);
    CHECK_EQ(r.ifr_mtu, 65536);
    CHECK_EQ(ioctl(fd, SIOCGIFINDEX, &r), 0);
    CHECK_EQ(r.ifr_ifindex, 1);
    CHECK_EQ(ioctl(fd, SIOCGIFHWADDR, &r), 0);
    CHECK_EQ(r.ifr_hwaddr.sa_family, 772);
    CHECK_EQ(ioctl(fd, SIOCGIFTXQLEN, &r), 0);
    CHECK_EQ(r.ifr_qlen, 1000);
    memset(&r, 0, sizeof(r));
    r.ifr_ifindex = 1;
    CHECK_EQ(ioctl(fd, SIOCGIFNAME, &r), 0);
    CHECK(strcmp(r.ifr_name, "lo") == 0);
    r.ifr_ifindex = 4000;
    CHECK_ERRNO(ioctl(fd, SIOCGIFNAME, &r), ENODEV);
    strcpy(r.ifr_name, "nosuch0");
    CHECK_ERRNO(ioctl(fd, SIOCGIFFLAGS, &r), ENODEV);
    CHECK_ERRNO(ioctl(fd, SIOCGIFFLAGS, 8), EFAULT);
    conf.ifc_req = many;
    CHECK_EQ(ioctl(fd, SIOCGIFCONF, &conf), 0);
    for (int i = 0; i < conf.ifc_len / (int)sizeof(r); i++)
        found |= strcmp(many[i].ifr_name, "lo") == 0;
    CHECK(found);
    conf.ifc_len = 1;
    CHECK_EQ(ioctl(fd, SIOCGIFCONF, &conf), 0);
    CHECK_EQ(conf.ifc_len, 0);
    CHECK_EQ(if_nametoindex("lo"), 1);
    close(fd);
}

/* A socket goes with answers that nobody has read. */
static void test_unread(void)
{
    for (int i = 0; i < 20; i++) {
        struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
        int fd = open_route();

        ask(fd, RTM_GETLINK, NLM_F_DUMP, &link, sizeof(link));
        CHECK(recv(fd, answer, 20, MSG_PEEK) == 20);
        CHECK_EQ(close(fd), 0);
    }
}

int main(void)
{
    test_questions();
    test_nsid();
    test_unread();
    test_malformed();
    test_diag();
    test_ports();
    test_interfaces();
    return check_done();
}
