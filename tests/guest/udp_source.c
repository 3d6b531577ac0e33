/*
 * IP_PKTINFO and IPV6_PKTINFO: a server on any address answers from the one that it was asked at,
 * and from none that is not its own.
 */
#include <net/if.h>

#include "inet.h"

#define LO 1

union control {
    struct cmsghdr head;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* An answer with that control message. */
static ssize_t answer(int fd, const void *to, socklen_t to_size, int level, int type,
                      const void *info, size_t size)
{
    union control control = {.head = {CMSG_LEN(size), level, type}};
    struct iovec iov = {(void *)(uintptr_t) "answer", 6};
    struct msghdr msg = {.msg_name = (void *)(uintptr_t)to,
                         .msg_namelen = to_size,
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = CMSG_SPACE(size)};

    memcpy(CMSG_DATA(&control.head), info, size);
    return sendmsg(fd, &msg, 0);
}

/* Takes a question, and what was said with it. */
static void take(int fd, void *from, socklen_t from_size, int level, int type, void *info,
                 size_t size)
{
    union control control;
    char buf[16];
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr msg = {.msg_name = from,
                         .msg_namelen = from_size,
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};

    CHECK_EQ(recvmsg(fd, &msg, 0), 3);
    CHECK_EQ(control.head.cmsg_level, level);
    CHECK_EQ(control.head.cmsg_type, type);
    memcpy(info, CMSG_DATA(&control.head), size);
}

static void test_v4(void)
{
    int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to, from;
    struct in_pktinfo info;
    socklen_t size = sizeof(to);
    char buf[16];

    CHECK_EQ(bind_to(server, INADDR_ANY, 0), 0);
    CHECK_EQ(bind_to(client, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(set_option(server, IPPROTO_IP, IP_PKTINFO, 1), 0);
    CHECK_EQ(getsockname(server, (struct sockaddr *)&to, &size), 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 4);
    CHECK_EQ(sendto(client, "ask", 3, 0, (struct sockaddr *)&to, sizeof(to)), 3);
    take(server, &from, sizeof(from), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    CHECK_EQ(ntohl(info.ipi_spec_dst.s_addr), INADDR_LOOPBACK + 4);
    CHECK_EQ(ntohl(info.ipi_addr.s_addr), INADDR_LOOPBACK + 4);
    CHECK_EQ(info.ipi_ifindex, LO);
    CHECK_EQ(answer(server, &from, sizeof(from), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)), 6);
    size = sizeof(from);
    CHECK_EQ(recvfrom(client, buf, sizeof(buf), 0, (struct sockaddr *)&from, &size), 6);
    CHECK_EQ(ntohl(from.sin_addr.s_addr), INADDR_LOOPBACK + 4);
    CHECK_EQ(from.sin_port, to.sin_port);
    size = sizeof(from);
    CHECK_EQ(getsockname(client, (struct sockaddr *)&from, &size), 0);
    info = (struct in_pktinfo){.ipi_spec_dst.s_addr = htonl(0xcb007107)}; /* 203.0.113.7 */
    CHECK_ERRNO(answer(server, &from, sizeof(from), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)),
                ENETUNREACH);
    info = (struct in_pktinfo){.ipi_ifindex = 4711};
    CHECK_ERRNO(answer(server, &from, sizeof(from), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)),
                ENODEV);
    info = (struct in_pktinfo){0};
    CHECK_EQ(answer(server, &from, sizeof(from), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)), 6);
    close(server);
    close(client);
}

static void test_v6(void)
{
    int server = socket(AF_INET6, SOCK_DGRAM, 0), client = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6}, from;
    struct in6_pktinfo info;
    socklen_t size = sizeof(to);
    char buf[16];

    CHECK_EQ(bind(server, (struct sockaddr *)&to, sizeof(to)), 0);
    CHECK_EQ(set_option(server, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), 0);
    CHECK_EQ(getsockname(server, (struct sockaddr *)&to, &size), 0);
    /* By its mapped name, of IPv4. */
    inet_pton(AF_INET6, "::ffff:127.0.0.9", &to.sin6_addr);
    CHECK_EQ(sendto(client, "ask", 3, 0, (struct sockaddr *)&to, sizeof(to)), 3);
    take(server, &from, sizeof(from), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    CHECK(memcmp(&info.ipi6_addr, &to.sin6_addr, sizeof(to.sin6_addr)) == 0);
    CHECK_EQ(answer(server, &from, sizeof(from), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info)),
             6);
    size = sizeof(from);
    CHECK_EQ(recvfrom(client, buf, sizeof(buf), 0, (struct sockaddr *)&from, &size), 6);
    CHECK(memcmp(&from.sin6_addr, &to.sin6_addr, sizeof(to.sin6_addr)) == 0);
    inet_pton(AF_INET6, "::1", &to.sin6_addr);
    CHECK_EQ(sendto(client, "ask", 3, 0, (struct sockaddr *)&to, sizeof(to)), 3);
    take(server, &from, sizeof(from), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    CHECK_EQ(answer(server, &from, sizeof(from), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info)),
             6);
    inet_pton(AF_INET6, "2001:db8::7", &info.ipi6_addr);
    CHECK_ERRNO(
        answer(server, &from, sizeof(from), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info)),
        EINVAL);
    info = (struct in6_pktinfo){.ipi6_ifindex = 4711};
    CHECK_ERRNO(
        answer(server, &from, sizeof(from), IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info)),
        ENODEV);
    close(server);
    close(client);
}

int main(void)
{
    test_v4();
    test_v6();
    return check_done();
}
