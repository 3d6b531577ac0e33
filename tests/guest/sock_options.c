/*
 * Options of sockets: which there are, what of a number is kept, and what is refused: socket(7),
 * ip(7), ipv6(7), tcp(7). What has an effect is tested where the effect is.
 */
#include <linux/sock_diag.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "inet.h"

/* Newer than some headers. */
#define OPT_CNX_ADVICE       53
#define OPT_MEMINFO          55
#define OPT_NAPI_ID          56
#define OPT_TXTIME           61
#define OPT_BUSY_POLL_BUDGET 70
#define OPT_NETNS_COOKIE     71
#define OPT_TXREHASH         74
#define OPT_RCVMARK          75
#define OPT_RCVPRIORITY      82
#define OPT_LOCAL_PORT_RANGE 51
#define OPT_ADDR_PREFERENCES 72
#define OPT_RTO_MIN_US       45

/* The number that is kept of `value`, or -errno of setting it. */
static int kept(int fd, int level, int name, int value)
{
    return set_option(fd, level, name, value) < 0 ? -errno : option(fd, level, name);
}

/* Of setting so many bytes that say 1: -errno. */
static int with_size(int fd, int level, int name, socklen_t size)
{
    char bytes[64] = {1};

    return setsockopt(fd, level, name, bytes, size) < 0 ? -errno : 0;
}

static void test_base(void)
{
    int t = tcp(0), u = socket(AF_INET, SOCK_DGRAM, 0), x = socket(AF_UNIX, SOCK_STREAM, 0);
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    struct {
        int32_t clock;
        uint32_t flags;
    } txtime = {CLOCK_MONOTONIC, 1};
    uint64_t cookie = 0, other = 0;
    socklen_t size = sizeof(memory);

    CHECK_EQ(getsockopt(u, SOL_SOCKET, OPT_MEMINFO, memory, &size), 0);
    CHECK_EQ(size, sizeof(memory));
    CHECK_EQ(memory[SK_MEMINFO_RCVBUF], option(u, SOL_SOCKET, SO_RCVBUF));
    CHECK_EQ(memory[SK_MEMINFO_SNDBUF], option(u, SOL_SOCKET, SO_SNDBUF));
    CHECK_EQ(option(u, SOL_SOCKET, OPT_NAPI_ID), 0);
    CHECK_EQ(option(u, SOL_SOCKET, SO_BPF_EXTENSIONS), 64);
    CHECK_EQ(set_option(u, SOL_SOCKET, OPT_CNX_ADVICE, 1), 0);
    CHECK_EQ(option(u, SOL_SOCKET, OPT_CNX_ADVICE), -ENOPROTOOPT);
    CHECK_EQ(option(u, SOL_SOCKET, OPT_BUSY_POLL_BUDGET), -ENOPROTOOPT);
    size = sizeof(cookie);
    CHECK_EQ(getsockopt(u, SOL_SOCKET, OPT_NETNS_COOKIE, &cookie, &size), 0);
    CHECK_EQ(getsockopt(x, SOL_SOCKET, OPT_NETNS_COOKIE, &other, &size), 0);
    CHECK(cookie != 0 && cookie == other);
    CHECK_EQ(option(t, SOL_SOCKET, OPT_TXREHASH), 1);
    CHECK_EQ(kept(t, SOL_SOCKET, OPT_TXREHASH, 0), 0);
    CHECK_EQ(option(u, SOL_SOCKET, OPT_TXREHASH), -EOPNOTSUPP);
    CHECK_EQ(option(x, SOL_SOCKET, SO_PASSSEC), 0);
    CHECK_EQ(kept(u, SOL_SOCKET, OPT_RCVPRIORITY, 7), 1);
    CHECK_EQ(with_size(u, SOL_SOCKET, OPT_TXTIME, 4), -EINVAL);
    CHECK_EQ(setsockopt(u, SOL_SOCKET, OPT_TXTIME, &txtime, sizeof(txtime)), 0);
    txtime.flags = 0;
    CHECK_EQ(getsockopt(u, SOL_SOCKET, OPT_TXTIME, &txtime, &size), 0);
    CHECK_EQ(txtime.clock, CLOCK_MONOTONIC);
    CHECK_EQ(txtime.flags, 1);
    /* Less than nothing is as much as there may be. */
    CHECK_EQ(set_option(u, SOL_SOCKET, SO_RCVBUF, -1), 0);
    CHECK(option(u, SOL_SOCKET, SO_RCVBUF) >= 400000);
    close(t);
    close(u);
    close(x);
}

static void test_ip(void)
{
    int t = tcp(0), u = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(kept(u, IPPROTO_IP, IP_TOS, 0x110), 0x10);
    CHECK_EQ(option(u, SOL_SOCKET, SO_PRIORITY), 6);   /* which it chooses, too */
    CHECK_EQ(kept(t, IPPROTO_IP, IP_TOS, 0x13), 0x10); /* the lower bits are TCP's own */
    CHECK_EQ(kept(u, IPPROTO_IP, IP_MULTICAST_TTL, -1), 1);
    CHECK_EQ(kept(t, IPPROTO_IP, IP_MULTICAST_TTL, 1), -EINVAL);
    CHECK_EQ(kept(u, IPPROTO_IP, IP_MULTICAST_ALL, 2), -EINVAL);
    CHECK_EQ(kept(u, IPPROTO_IP, IP_UNICAST_IF, (int)htonl(1)), (int)htonl(1));
    CHECK_EQ(kept(u, IPPROTO_IP, IP_UNICAST_IF, (int)htonl(77)), -EADDRNOTAVAIL);
    CHECK_EQ(kept(u, IPPROTO_IP, OPT_LOCAL_PORT_RANGE, 0x7fffffff), -EINVAL);
    CHECK_EQ(option(u, IPPROTO_IP, OPT_LOCAL_PORT_RANGE), 0);
    CHECK_EQ(kept(u, IPPROTO_IP, OPT_LOCAL_PORT_RANGE, (int)(50000u | 50020u << 16)),
             (int)(50000u | 50020u << 16));
    CHECK_EQ(bind_to(u, INADDR_LOOPBACK, 0), 0);
    CHECK(port_of(u) >= 50000 && port_of(u) <= 50020);
    CHECK_EQ(option(u, IPPROTO_IP, IP_HDRINCL), 0);
    CHECK_EQ(kept(u, IPPROTO_IP, IP_NODEFRAG, 1), -ENOPROTOOPT);
    CHECK_EQ(with_size(u, IPPROTO_IP, IP_TTL, 0), -EINVAL);
    CHECK_EQ(with_size(u, IPPROTO_IP, IP_TOS, 0), 0);
    CHECK_EQ(with_size(u, IPPROTO_IP, IP_TTL, 1), 0);
    CHECK_EQ(option(u, IPPROTO_IP, IP_TTL), 1);
    close(t);
    close(u);
}

static void test_ipv6(void)
{
    int t = socket(AF_INET6, SOCK_STREAM, 0), u = socket(AF_INET6, SOCK_DGRAM, 0);

    CHECK_EQ(kept(t, IPPROTO_IPV6, IPV6_TCLASS, 0x13), 0x10);
    CHECK_EQ(kept(u, IPPROTO_IPV6, IPV6_TCLASS, -1), 0);
    CHECK_EQ(kept(t, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1), -ENOPROTOOPT);
    CHECK_EQ(kept(u, IPPROTO_IPV6, IPV6_UNICAST_IF, (int)htonl(1)), (int)htonl(1));
    CHECK_EQ(kept(u, IPPROTO_IPV6, IPV6_UNICAST_IF, (int)htonl(77)), -EADDRNOTAVAIL);
    CHECK_EQ(set_option(u, IPPROTO_IPV6, IPV6_MTU, 1280), 0);
    CHECK_ERRNO(set_option(u, IPPROTO_IPV6, IPV6_MTU, 1279), EINVAL);
    CHECK_EQ(option(u, IPPROTO_IPV6, OPT_ADDR_PREFERENCES), 0x500);
    CHECK_EQ(kept(u, IPPROTO_IPV6, OPT_ADDR_PREFERENCES, 5), 0x5);
    CHECK_EQ(kept(u, IPPROTO_IPV6, OPT_ADDR_PREFERENCES, 3), -EINVAL);
    CHECK_EQ(option(u, IPPROTO_IPV6, IPV6_ADDRFORM), -ENOTCONN);
    CHECK_EQ(option(u, IPPROTO_IP, IP_MULTICAST_ALL), 0);
    close(t);
    close(u);
}

static void test_tcp(void)
{
    int fd[2], t = tcp(0);

    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5), 7);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_DEFER_ACCEPT, -1), 0);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_LINGER2, -7), -1);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_LINGER2, 1000), 120);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_LINGER2, 5), 5);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_WINDOW_CLAMP, 1), 1152);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_WINDOW_CLAMP, 0), 0);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_THIN_DUPACK, 1), 0);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_THIN_DUPACK, 2), -EINVAL);
    CHECK_EQ(kept(t, IPPROTO_TCP, OPT_RTO_MIN_US, 100000), 100000);
    CHECK_EQ(kept(t, IPPROTO_TCP, OPT_RTO_MIN_US, 1000000), -EINVAL);
    CHECK_EQ(kept(t, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1), 1);
    close(t);
    connection(fd);
    CHECK_EQ(kept(fd[0], IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1), -EINVAL);
    CHECK_EQ(kept(fd[0], IPPROTO_TCP, TCP_WINDOW_CLAMP, 0), -EINVAL);
    close_both(fd);
}

#define LOW  (4 << 20)
#define MUCH (9 << 20)

static char block[1 << 20];

static void *write_much(void *arg)
{
    int fd = *(int *)arg;

    for (size_t done = 0; done < MUCH;) {
        ssize_t n = write(fd, block, sizeof(block));

        if (n <= 0)
            break;
        done += (size_t)n;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

/* SO_RCVLOWAT of more than the queue takes: who waits for so much gets what there is. */
static void test_low_water(bool by_poll)
{
    pthread_t writer;
    size_t got = 0;
    ssize_t n;
    int fd[2];

    connection(fd);
    CHECK_EQ(set_option(fd[1], SOL_SOCKET, SO_RCVLOWAT, LOW), 0);
    CHECK_EQ(pthread_create(&writer, NULL, write_much, &fd[0]), 0);
    for (;;) {
        struct pollfd p = {fd[1], POLLIN, 0};

        if (by_poll)
            CHECK_EQ(poll(&p, 1, -1), 1);
        n = recv(fd[1], block, sizeof(block), 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(got, MUCH);
    pthread_join(writer, NULL);
    close_both(fd);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    test_base();
    test_ip();
    test_ipv6();
    test_tcp();
    test_low_water(true);
    test_low_water(false);
    return check_done();
}
