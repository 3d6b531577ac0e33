/*
 * UDP over loopback (udp(7), ip(7), ipv6(7)): names, connected and not, sizes, peeking, refused
 * datagrams, control messages, groups, shutdown, and the errors in Linux's order.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <linux/sockios.h>

#include "inet.h"

static int bound(uint32_t addr, int port)
{
    struct sockaddr_in name = v4(addr, port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static ssize_t send_to(int fd, const void *data, size_t size, uint32_t addr, int port)
{
    struct sockaddr_in name = v4(addr, port);

    return sendto(fd, data, size, 0, (struct sockaddr *)&name, sizeof(name));
}

static short events_of(int fd, int timeout)
{
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};

    poll(&p, 1, timeout);
    return p.revents;
}

static void test_unconnected(void)
{
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0), n;
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    char buf[16];

    CHECK_EQ(events_of(a, 0), POLLOUT);
    CHECK_ERRNO(send(b, "x", 1, 0), EDESTADDRREQ);
    CHECK_EQ(send_to(b, "hello", 5, INADDR_LOOPBACK, port_of(a)), 5);
    CHECK_EQ(send_to(b, "", 0, INADDR_LOOPBACK, port_of(a)), 0);
    CHECK_EQ(send_to(b, "third", 5, INADDR_LOOPBACK, port_of(a)), 5);
    CHECK_EQ(events_of(a, 0), POLLIN | POLLOUT);
    CHECK_EQ(ioctl(a, FIONREAD, &n), 0);
    CHECK_EQ(n, 5);
    CHECK_EQ(recvfrom(a, buf, 16, MSG_PEEK, (struct sockaddr *)&from, &size), 5);
    CHECK_EQ(ntohs(from.sin_port), port_of(b));
    CHECK_EQ(ntohl(from.sin_addr.s_addr), INADDR_LOOPBACK);
    CHECK_EQ(recv(a, buf, 2, MSG_TRUNC), 5);
    CHECK_EQ(recv(a, buf, 16, 0), 0);
    CHECK_EQ(recv(a, buf, 2, 0), 2);
    CHECK_ERRNO(recv(a, buf, 2, MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(send_to(b, "x", 1, INADDR_LOOPBACK, 0), EINVAL);
    CHECK_ERRNO(sendto(b, "x", 1, 0, (struct sockaddr *)&from, 4), EINVAL);
    from.sin_family = AF_UNIX;
    CHECK_ERRNO(sendto(b, "x", 1, 0, (struct sockaddr *)&from, sizeof(from)), EAFNOSUPPORT);
    CHECK_ERRNO(sendto(b, "x", 1, MSG_OOB, (struct sockaddr *)&from, sizeof(from)), EOPNOTSUPP);
    CHECK_ERRNO(listen(a, 1), EOPNOTSUPP);
    CHECK_ERRNO(accept(a, NULL, NULL), EOPNOTSUPP);
    close(a);
    close(b);
}

static void test_sizes(void)
{
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    static char block[70000];

    CHECK_EQ(send_to(b, block, 65507, INADDR_LOOPBACK, port_of(a)), 65507);
    CHECK_EQ(recv(a, block, sizeof(block), 0), 65507);
    CHECK_ERRNO(send_to(b, block, 65508, INADDR_LOOPBACK, port_of(a)), EMSGSIZE);
    CHECK_ERRNO(send_to(b, block, 70000, INADDR_LOOPBACK, port_of(a)), EMSGSIZE);
    CHECK_EQ(RAW(SYS_sendto, b, (void *)8, 5, 0, NULL, 0), -EDESTADDRREQ);
    close(a);
    close(b);
}

static void test_connected(void)
{
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0), other, gone;
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct sockaddr_in name;
    socklen_t size = sizeof(name);
    char c;

    CHECK_ERRNO(getpeername(b, (struct sockaddr *)&name, &size), ENOTCONN);
    CHECK_EQ(connect_to(b, INADDR_LOOPBACK, port_of(a)), 0);
    CHECK_EQ(getpeername(b, (struct sockaddr *)&name, &size), 0);
    CHECK_EQ(ntohs(name.sin_port), port_of(a));
    CHECK_EQ(write(b, "x", 1), 1);
    CHECK_EQ(read(a, &c, 1), 1);
    /* Only the peer is heard. */
    other = bound(INADDR_LOOPBACK, 0);
    CHECK_EQ(send_to(other, "no", 2, INADDR_LOOPBACK, port_of(b)), 2);
    CHECK_ERRNO(recv(b, &c, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(send_to(a, "y", 1, INADDR_LOOPBACK, port_of(b)), 1);
    CHECK_EQ(recv(b, &c, 1, 0), 1);
    CHECK_EQ(connect(b, &none, sizeof(none)), 0);
    CHECK_ERRNO(getpeername(b, (struct sockaddr *)&name, &size), ENOTCONN);
    /* Nobody is there: the next call is told. */
    gone = port_of(other);
    close(other);
    CHECK_EQ(connect_to(b, INADDR_LOOPBACK, gone), 0);
    CHECK_EQ(write(b, "x", 1), 1);
    CHECK_EQ(events_of(b, 1000) & POLLERR, POLLERR);
    CHECK_ERRNO(recv(b, &c, 1, MSG_DONTWAIT), ECONNREFUSED);
    CHECK_ERRNO(recv(b, &c, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(write(b, "x", 1), 1);
    CHECK_ERRNO(write(b, "x", 1), ECONNREFUSED);
    close(a);
    close(b);
}

static void test_ports(void)
{
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0), t;
    struct sockaddr_in name = v4(INADDR_LOOPBACK, port_of(a));

    CHECK_ERRNO(bind(b, (struct sockaddr *)&name, sizeof(name)), EADDRINUSE);
    CHECK_EQ(set_option(a, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQ(set_option(b, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQ(bind(b, (struct sockaddr *)&name, sizeof(name)), 0);
    /* TCP has ports of its own. */
    t = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_EQ(bind(t, (struct sockaddr *)&name, sizeof(name)), 0);
    close(t);
    close(a);
    close(b);
}

static void test_control(void)
{
    int a = bound(INADDR_ANY, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    char buf[16], control[256];
    struct iovec iov = {buf, 4};
    struct sockaddr_in from;
    struct msghdr msg = {&from, sizeof(from), &iov, 1, control, sizeof(control), 0};
    int seen = 0;

    CHECK_EQ(set_option(a, IPPROTO_IP, IP_PKTINFO, 1), 0);
    CHECK_EQ(set_option(a, IPPROTO_IP, IP_RECVTTL, 1), 0);
    CHECK_EQ(set_option(a, SOL_SOCKET, SO_TIMESTAMP, 1), 0);
    CHECK_EQ(send_to(b, "hello", 5, INADDR_LOOPBACK + 4, port_of(a)), 5);
    CHECK_EQ(recvmsg(a, &msg, 0), 4);
    CHECK_EQ(msg.msg_flags, MSG_TRUNC);
    CHECK_EQ(msg.msg_namelen, sizeof(from));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof(info));
            CHECK_EQ(ntohl(info.ipi_addr.s_addr), INADDR_LOOPBACK + 4);
            CHECK_EQ(info.ipi_ifindex, 1);
            seen |= 1;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) {
            CHECK_EQ(*(int *)CMSG_DATA(c), 64);
            seen |= 2;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMP) {
            seen |= 4;
        }
    }
    CHECK_EQ(seen, 7);
    /* Too little room for them. */
    msg.msg_controllen = 20;
    iov.iov_len = 16;
    CHECK_EQ(send_to(b, "hello", 5, INADDR_LOOPBACK, port_of(a)), 5);
    CHECK_EQ(recvmsg(a, &msg, 0), 5);
    CHECK_EQ(msg.msg_flags, MSG_CTRUNC);
    close(a);
    close(b);
}

static void test_groups(void)
{
    struct ip_mreqn req = {.imr_multiaddr.s_addr = htonl(0xe8010203), .imr_ifindex = 1};
    int a = bound(INADDR_ANY, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    struct in_addr lo = {htonl(INADDR_LOOPBACK)};
    char c;

    CHECK_ERRNO(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &req, sizeof(req)), EADDRNOTAVAIL);
    CHECK_EQ(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &req, sizeof(req)), 0);
    CHECK_ERRNO(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &req, sizeof(req)), EADDRINUSE);
    CHECK_EQ(setsockopt(b, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo)), 0);
    CHECK_EQ(send_to(b, "m", 1, 0xe8010203, port_of(a)), 1);
    CHECK_EQ(events_of(a, 1000) & POLLIN, POLLIN);
    CHECK_EQ(recv(a, &c, 1, MSG_DONTWAIT), 1);
    CHECK_EQ(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &req, sizeof(req)), 0);
    CHECK_EQ(send_to(b, "m", 1, 0xe8010203, port_of(a)), 1);
    CHECK_ERRNO(recv(a, &c, 1, MSG_DONTWAIT), EAGAIN);
    req.imr_multiaddr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_ERRNO(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &req, sizeof(req)), EINVAL);
    CHECK_ERRNO(send_to(b, "x", 1, INADDR_BROADCAST, 9), EACCES);
    CHECK_ERRNO(send_to(b, "x", 1, 0x7fffffff, port_of(a)), EACCES); /* the loopback's */
    CHECK_EQ(set_option(b, SOL_SOCKET, SO_BROADCAST, 1), 0);
    CHECK_EQ(send_to(b, "x", 1, 0x7fffffff, port_of(a)), 1);
    CHECK(events_of(a, 1000) & POLLIN);
    close(a);
    close(b);
}

static void test_v6(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6}, from;
    int a = socket(AF_INET6, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0),
        c = socket(AF_INET6, SOCK_DGRAM, 0);
    socklen_t size = sizeof(from);
    char buf[8], text[64];

    CHECK_EQ(bind(a, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(send_to(b, "four", 4, INADDR_LOOPBACK, port_of(a)), 4);
    CHECK_EQ(recvfrom(a, buf, 8, 0, (struct sockaddr *)&from, &size), 4);
    note("from %s", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)));
    name.sin6_addr = in6addr_loopback;
    name.sin6_port = htons((uint16_t)port_of(a));
    CHECK_EQ(sendto(c, "six", 3, 0, (struct sockaddr *)&name, sizeof(name)), 3);
    size = sizeof(from);
    CHECK_EQ(recvfrom(a, buf, 8, 0, (struct sockaddr *)&from, &size), 3);
    note("from %s", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)));
    /* IPv4's any address, as IPv6 names it, is none of IPv6. */
    close(a);
    a = socket(AF_INET6, SOCK_DGRAM, 0);
    name = (struct sockaddr_in6){.sin6_family = AF_INET6};
    CHECK_EQ(inet_pton(AF_INET6, "::ffff:0.0.0.0", &name.sin6_addr), 1);
    CHECK_EQ(bind(a, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(send_to(b, "four", 4, INADDR_LOOPBACK, port_of(a)), 4);
    CHECK_EQ(recv(a, buf, 8, 0), 4);
    name.sin6_addr = in6addr_loopback;
    name.sin6_port = htons((uint16_t)port_of(a));
    CHECK_EQ(connect(c, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(send(c, "six", 3, 0), 3);
    CHECK(events_with(c, POLLERR) & POLLERR);
    CHECK_EQ(option(c, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    CHECK_EQ(set_option(c, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 5), 0);
    CHECK_ERRNO(set_option(c, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256), EINVAL);
    close(a);
    close(b);
    close(c);
}

static void test_shutdown(void)
{
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    char c;

    CHECK_ERRNO(shutdown(b, SHUT_RD), ENOTCONN);
    close(b);
    b = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_EQ(connect_to(b, INADDR_LOOPBACK, port_of(a)), 0);
    CHECK_EQ(shutdown(b, SHUT_RDWR), 0);
    CHECK_EQ(events_of(b, 0), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    CHECK_EQ(recv(b, &c, 1, 0), 0);
    CHECK_ERRNO(recv(b, &c, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(a);
    close(b);
}

/* Flags and names that change what sendmsg(2) does. */
static void test_flags(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0),
        c = socket(AF_INET6, SOCK_DGRAM, 0), d = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr *any = (struct sockaddr *)&name;
    struct msghdr msg = {0};
    char byte;

    CHECK_EQ(connect_to(b, INADDR_LOOPBACK, port_of(a)), 0);
    CHECK_EQ(send(b, "p", 1, MSG_PROXY), 1); /* Linux's MSG_PROBE: it is not sent */
    CHECK_ERRNO(recv(a, &byte, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(send(b, "p", 1, MSG_OOB), EOPNOTSUPP);
    CHECK_ERRNO(recvmsg(b, &msg, (int)0x80000000), EINVAL); /* MSG_CMSG_COMPAT */
    CHECK_ERRNO(sendmsg(b, &msg, (int)0x80000000), EINVAL);
    CHECK_EQ(bind(c, any, sizeof(name)), 0);
    name.sin6_port = htons((uint16_t)port_of(c));
    CHECK_EQ(sendto(d, "o", 1, MSG_OOB, any, sizeof(name)), 1);
    CHECK_EQ(recv(c, &byte, 1, 0), 1);
    name.sin6_family = AF_UNIX;
    CHECK_ERRNO(sendto(d, "u", 1, 0, any, sizeof(name)), EINVAL);
    name.sin6_family = AF_UNSPEC;
    CHECK_ERRNO(sendto(d, "u", 1, 0, any, sizeof(name)), EDESTADDRREQ);
    name.sin6_family = AF_INET6;
    CHECK_EQ(connect(d, any, sizeof(name)), 0);
    name.sin6_family = AF_UNSPEC;
    CHECK_EQ(sendto(d, "u", 1, 0, any, sizeof(name)), 1);
    CHECK_EQ(recv(c, &byte, 1, 0), 1);
    close(a);
    close(b);
    close(c);
    close(d);
}

/* Marks for one datagram: control messages of sendmsg(2). */
static void test_marks(void)
{
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0), ttl = 7;
    struct sockaddr_in to = v4(INADDR_LOOPBACK, port_of(a));
    char byte = 'x', control[CMSG_SPACE(sizeof(int))], got[64];
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {&to, sizeof(to), &iov, 1, control, sizeof(control), 0};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_TTL;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
    CHECK_EQ(set_option(a, IPPROTO_IP, IP_RECVTTL, 1), 0);
    CHECK_EQ(sendmsg(b, &msg, 0), 1);
    msg.msg_control = got;
    msg.msg_controllen = sizeof(got);
    CHECK_EQ(recvmsg(a, &msg, 0), 1);
    c = CMSG_FIRSTHDR(&msg);
    CHECK(c && c->cmsg_type == IP_TTL && *(int *)CMSG_DATA(c) == 7);
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    ttl = 256;
    memcpy(CMSG_DATA((struct cmsghdr *)control), &ttl, sizeof(ttl));
    CHECK_ERRNO(sendmsg(b, &msg, 0), EINVAL);
    ((struct cmsghdr *)control)->cmsg_len = 4;
    CHECK_ERRNO(sendmsg(b, &msg, 0), EINVAL);
    close(a);
    close(b);
}

/* UDP-Lite has ports of its own, and says how much a checksum covers. */
static void test_lite(void)
{
    int udp = bound(INADDR_LOOPBACK, 0), a = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE), b;
    struct sockaddr_in name = v4(INADDR_LOOPBACK, port_of(udp));
    socklen_t size = sizeof(int);
    char byte = 'l';
    int value;

    if (a < 0 && errno == EPROTONOSUPPORT) /* not every Linux has it */
        return;
    CHECK_EQ(bind(a, (struct sockaddr *)&name, sizeof(name)), 0);
    b = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
    CHECK_EQ(set_option(b, IPPROTO_UDPLITE, 10, 3), 0);
    CHECK_EQ(getsockopt(b, IPPROTO_UDPLITE, 10, &value, &size), 0);
    CHECK_EQ(value, 8);
    CHECK_EQ(sendto(b, &byte, 1, 0, (struct sockaddr *)&name, sizeof(name)), 1);
    CHECK_EQ(recv(a, &byte, 1, 0), 1);
    CHECK_ERRNO(recv(udp, &byte, 1, MSG_DONTWAIT), EAGAIN);
    close(a);
    close(b);
    close(udp);
}

/* A receiver that never reads: what has no room is dropped, and the sender never waits. */
static void test_flood(void)
{
    int a = bound(INADDR_LOOPBACK, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    static char block[1000];
    int got = 0;

    for (int i = 0; i < 3000; i++)
        CHECK_EQ(send_to(b, block, sizeof(block), INADDR_LOOPBACK, port_of(a)), sizeof(block));
    while (recv(a, block, sizeof(block), MSG_DONTWAIT) > 0)
        got++;
    CHECK(got >= 50 && got < 3000);
    CHECK_EQ(send_to(b, "x", 1, INADDR_LOOPBACK, port_of(a)), 1);
    CHECK_EQ(recv(a, block, sizeof(block), 0), 1);
    close(a);
    close(b);
}

int main(void)
{
    test_unconnected();
    test_sizes();
    test_connected();
    test_ports();
    test_control();
    test_groups();
    test_v6();
    test_shutdown();
    test_flags();
    test_marks();
    test_lite();
    test_flood();
    return check_done();
}
