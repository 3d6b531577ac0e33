/* Raw sockets on loopback: ICMP's echo in both families, headers of our own; filters of sockets. */
#include <net/if.h> /* before what Linux has of the same */

#include <linux/filter.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/un.h>

#include "inet.h"

#define IDENT 0x4b76

static uint16_t checksum(const void *data, size_t size)
{
    const uint16_t *words = data;
    uint32_t sum = 0;

    for (size_t i = 0; i < size / 2; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

struct echo {
    struct icmphdr head;
    char text[32];
};

static struct echo request(int sequence)
{
    struct echo e = {.head = {.type = ICMP_ECHO}, .text = "are you there?"};

    e.head.un.echo.id = htons(IDENT);
    e.head.un.echo.sequence = htons((uint16_t)sequence);
    e.head.checksum = checksum(&e, sizeof(e));
    return e;
}

/* The next packet of ours, after its header; its type, or -1. */
static int next_type(int fd, struct echo *ret)
{
    char packet[256];
    struct iphdr ip;
    ssize_t n;

    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};

        if (poll(&p, 1, 200) != 1)
            return -1;
        n = recv(fd, packet, sizeof(packet), 0);
        if (n != (ssize_t)(sizeof(ip) + sizeof(*ret)))
            continue;
        memcpy(&ip, packet, sizeof(ip));
        memcpy(ret, packet + sizeof(ip), sizeof(*ret));
        if (ntohs(ret->head.un.echo.id) != IDENT)
            continue;
        CHECK_EQ(ip.protocol, IPPROTO_ICMP);
        CHECK_EQ(ip.version, 4);
        CHECK_EQ(ntohs(ip.tot_len), n);
        CHECK_EQ(ntohl(ip.saddr), INADDR_LOOPBACK);
        CHECK_EQ(checksum(&ip, sizeof(ip)), 0);
        CHECK_EQ(checksum(ret, sizeof(*ret)), 0);
        return ret->head.type;
    }
}

static void test_echo(void)
{
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    struct sockaddr_in to = v4(INADDR_LOOPBACK, 0);
    struct echo e = request(1), got;
    struct icmp_filter filter = {1u << ICMP_ECHO};

    CHECK(fd >= 0);
    CHECK_EQ(port_of(fd), IPPROTO_ICMP);
    CHECK_ERRNO(send(fd, &e, sizeof(e), 0), EDESTADDRREQ);
    CHECK_EQ(sendto(fd, &e, sizeof(e), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(e));
    CHECK_EQ(next_type(fd, &got), ICMP_ECHO);
    CHECK_EQ(next_type(fd, &got), ICMP_ECHOREPLY);
    CHECK(memcmp(got.text, e.text, sizeof(e.text)) == 0);
    CHECK_EQ(setsockopt(fd, IPPROTO_RAW, ICMP_FILTER, &filter, sizeof(filter)), 0);
    CHECK_EQ(connect_to(fd, INADDR_LOOPBACK, 0), 0);
    e = request(2);
    CHECK_EQ(send(fd, &e, sizeof(e), 0), sizeof(e));
    CHECK_EQ(next_type(fd, &got), ICMP_ECHOREPLY);
    CHECK_EQ(ntohs(got.head.un.echo.sequence), 2);
    e.head.checksum++; /* a spoilt one gets no answer */
    CHECK_EQ(send(fd, &e, sizeof(e), 0), sizeof(e));
    CHECK_EQ(next_type(fd, &got), -1);
    CHECK_ERRNO(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), -1);
    close(fd);
}

static void test_echo6(void)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct icmp6_hdr h = {.icmp6_type = ICMP6_ECHO_REQUEST}, got = {0};
    int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    struct icmp6_filter filter;

    CHECK(fd >= 0);
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    CHECK_EQ(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)), 0);
    h.icmp6_id = htons(IDENT);
    CHECK_EQ(sendto(fd, &h, sizeof(h), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(h));
    CHECK_EQ(recv(fd, &got, sizeof(got), 0), sizeof(got));
    CHECK_EQ(got.icmp6_type, ICMP6_ECHO_REPLY);
    CHECK_EQ(got.icmp6_id, htons(IDENT));
    CHECK_ERRNO(sendto(fd, &h, 3, 0, (struct sockaddr *)&to, sizeof(to)), EINVAL); /* no checksum */
    close(fd);
}

/* RFC 2292's names of what a datagram brings along. */
static void test_old_names(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), hops = 0, infos = 0;
    char control[256], byte;
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};

    CHECK_EQ(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    name.sin6_port = htons((uint16_t)port_of(fd));
    CHECK_EQ(set_option(fd, IPPROTO_IPV6, IPV6_2292PKTINFO, 1), 0);
    CHECK_EQ(set_option(fd, IPPROTO_IPV6, IPV6_2292HOPLIMIT, 1), 0);
    CHECK_EQ(option(fd, IPPROTO_IPV6, IPV6_2292HOPLIMIT), 1);
    CHECK_EQ(sendto(fd, "x", 1, 0, (struct sockaddr *)&name, sizeof(name)), 1);
    CHECK_EQ(recvmsg(fd, &msg, 0), 1);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        hops += c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_2292HOPLIMIT;
        infos += c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_2292PKTINFO;
    }
    CHECK_EQ(hops, 1);
    CHECK_EQ(infos, 1);
    close(fd);
}

/* A datagram put together by hand comes to a socket of UDP, and what comes to nobody is told. */
static void test_own_header(void)
{
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), udp = socket(AF_INET, SOCK_DGRAM, 0);
    int icmp = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), port;
    struct sockaddr_in to = v4(INADDR_LOOPBACK, 0), from;
    socklen_t size = sizeof(from);
    struct {
        struct iphdr ip;
        struct udphdr udp;
        char text[4];
    } p = {.ip = {.version = 4, .ihl = 5, .ttl = 9, .protocol = IPPROTO_UDP}, .text = "hand"};
    char buf[128];

    CHECK_EQ(bind_to(udp, INADDR_LOOPBACK, 0), 0);
    port = port_of(udp);
    p.ip.daddr = htonl(INADDR_LOOPBACK);
    p.udp.source = htons(4321);
    p.udp.dest = htons((uint16_t)port);
    p.udp.len = htons(sizeof(p.udp) + sizeof(p.text));
    CHECK_EQ(sendto(fd, &p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(p));
    CHECK_EQ(recvfrom(udp, buf, sizeof(buf), 0, (struct sockaddr *)&from, &size), 4);
    CHECK(memcmp(buf, "hand", 4) == 0);
    CHECK_EQ(ntohs(from.sin_port), 4321);
    CHECK_ERRNO(sendto(fd, &p, 10, 0, (struct sockaddr *)&to, sizeof(to)), EINVAL);
    close(udp);
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    to.sin_port = htons((uint16_t)port);
    CHECK_EQ(sendto(udp, "?", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
    CHECK(recv(icmp, buf, sizeof(buf), 0) > 48);
    CHECK_EQ(buf[20], ICMP_DEST_UNREACH);
    CHECK_EQ(buf[21], ICMP_PORT_UNREACH);
    close(fd);
    close(udp);
    close(icmp);
}

/* ---- filters ----------------------------------------------------------------------------------
 */

static int attach(int fd, struct sock_filter *code, size_t count)
{
    struct sock_fprog program = {(unsigned short)count, code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* Lets through what begins with 'y', behind `header` bytes. */
#define FILTER_Y(header)                                                                           \
    {                                                                                              \
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, header),                                                \
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1), BPF_STMT(BPF_RET | BPF_K, 0xffff),     \
            BPF_STMT(BPF_RET | BPF_K, 0),                                                          \
    }

static void test_datagrams(void)
{
    struct sock_filter code[] = FILTER_Y(8), cut[] = {BPF_STMT(BPF_RET | BPF_K, 10)}, back[4];
    /* Of the IP header, before the packet: the protocol; then the length, and ancillary words. */
    struct sock_filter far[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (unsigned)SKF_NET_OFF + 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 12, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)SKF_AD_OFF + SKF_AD_IFINDEX),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 2),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 7),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    int fd = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t size = 0;
    char buf[64];

    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(connect_to(from, INADDR_LOOPBACK, port_of(fd)), 0);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, NULL, 0), EINVAL);
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_DETACH_FILTER, 0), ENOENT);
    CHECK_EQ(attach(fd, code, 4), 0);
    CHECK_EQ(send(from, "no", 2, 0), 2);
    CHECK_EQ(send(from, "yes", 3, 0), 3);
    CHECK_EQ(recv(fd, buf, sizeof(buf), 0), 3);
    CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &size), 0);
    CHECK_EQ(size, 4);
    CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, back, &size), 0);
    CHECK(memcmp(back, code, sizeof(code)) == 0);
    size = 3;
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, back, &size), EINVAL);
    CHECK_EQ(attach(fd, cut, 1), 0);
    CHECK_EQ(send(from, "long", 4, 0), 4);
    CHECK_EQ(recv(fd, buf, sizeof(buf), 0), 2);
    CHECK_EQ(attach(fd, far, 9), 0);
    CHECK_EQ(send(from, "longer", 6, 0), 6);
    CHECK_EQ(send(from, "four", 4, 0), 4);
    CHECK_EQ(recv(fd, buf, sizeof(buf), 0), 4);
    CHECK_EQ(set_option(fd, SOL_SOCKET, SO_DETACH_FILTER, 0), 0);
    CHECK_EQ(send(from, "no", 2, 0), 2);
    CHECK_EQ(recv(fd, buf, sizeof(buf), 0), 2);
    CHECK_EQ(attach(fd, code, 4), 0);
    CHECK_EQ(set_option(fd, SOL_SOCKET, SO_LOCK_FILTER, 1), 0);
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_DETACH_FILTER, 0), EPERM);
    CHECK_ERRNO(attach(fd, cut, 1), EPERM);
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_LOCK_FILTER, 0), EPERM);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_LOCK_FILTER), 1);
    close(fd);
    close(from);
}

static void test_refused_programs(void)
{
    struct sock_filter bad[][2] = {
        {BPF_STMT(BPF_LD | BPF_IMM, 1), BPF_STMT(BPF_LD | BPF_IMM, 1)},
        {BPF_STMT(0xffff, 1), BPF_STMT(BPF_RET | BPF_K, 1)},
        {BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 1)},
        {BPF_STMT(BPF_LD | BPF_MEM, 3), BPF_STMT(BPF_RET | BPF_K, 1)},
        {BPF_STMT(BPF_LD | BPF_MEM, 16), BPF_STMT(BPF_RET | BPF_K, 1)},
        {BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, 1)},
        {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)SKF_AD_OFF + 64),
         BPF_STMT(BPF_RET | BPF_K, 1)},
    };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sock_fprog program = {1, bad[0]};

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        CHECK_ERRNO(attach(fd, bad[i], 2), EINVAL);
    CHECK_ERRNO(attach(fd, bad[0], 0), EINVAL);
    CHECK_ERRNO(attach(fd, (void *)8, 1), EFAULT);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, 8), EINVAL);
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_ATTACH_BPF, -1), EBADF);
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_ATTACH_BPF, fd), EINVAL);
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, -1), EBADF);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program, 8), EINVAL);
    close(fd);
}

static void test_local(void)
{
    struct sock_filter code[] = FILTER_Y(0);
    char buf[8];
    int fd[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd), 0);
    CHECK_EQ(attach(fd[1], code, 4), 0);
    CHECK_EQ(send(fd[0], "no", 2, 0), 2);
    CHECK_EQ(send(fd[0], "yes", 3, 0), 3);
    CHECK_EQ(recv(fd[1], buf, sizeof(buf), 0), 3);
    close_both(fd);
}

/* What a filter drops of a stream comes once the filter is gone. */
static void test_stream(void)
{
    struct sock_filter none[] = {BPF_STMT(BPF_RET | BPF_K, 0)},
                       all[] = {BPF_STMT(BPF_RET | BPF_K, ~0u)};
    char buf[8];
    int fd[2];

    connection(fd);
    CHECK_EQ(attach(fd[1], none, 1), 0);
    CHECK_EQ(send(fd[0], "abc", 3, 0), 3);
    usleep(20000);
    CHECK_ERRNO(recv(fd[1], buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(attach(fd[1], all, 1), 0);
    CHECK_EQ(recv(fd[1], buf, 3, MSG_WAITALL), 3);
    close_both(fd);
}

int main(void)
{
    test_echo();
    test_echo6();
    test_own_header();
    test_old_names();
    test_datagrams();
    test_refused_programs();
    test_local();
    test_stream();
    return check_done();
}
