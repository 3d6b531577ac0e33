/*
 * PACKET_FANOUT: packet sockets that share what passes. Who may be in a group, how a frame's
 * socket is chosen, and what becomes of the group as sockets go.
 */
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>

#include "inet.h"

#define LO   1
#define PORT 5252
#define ROOM 64

/* Newer than some headers. */
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

static int udp;

static int member(int protocol)
{
    struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = LO};
    int fd = socket(AF_PACKET, SOCK_RAW, htons((uint16_t)protocol));

    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
    return fd;
}

static int join(int fd, int id, int type)
{
    return set_option(fd, SOL_PACKET, PACKET_FANOUT, id | type << 16);
}

static void send_from(int fd, int count)
{
    struct sockaddr_in to = v4(INADDR_LOOPBACK, PORT);
    char buf[8];

    for (int i = 0; i < count; i++) {
        CHECK_EQ(sendto(fd, "frame", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
        CHECK_EQ(recv(udp, buf, sizeof(buf), 0), 5);
    }
}

static void send_datagrams(int count)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    send_from(fd, count);
    close(fd);
}

static int frames_in(int fd)
{
    char buf[256];
    int n = 0;

    while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        n++;
    return n;
}

static void test_joining(void)
{
    struct fanout_args {
        uint16_t id, type_flags;
        uint32_t max;
    } args = {.id = 9, .type_flags = PACKET_FANOUT_LB, .max = 1};
    int a = member(ETH_P_IP), b = member(ETH_P_IP), arp = member(ETH_P_ARP), none = member(0);
    struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = LO};
    int unique, big = 1 << 17;

    CHECK_ERRNO(join(none, 1, PACKET_FANOUT_HASH), EINVAL);
    CHECK_ERRNO(join(a, 1, 77), EINVAL);
    CHECK_ERRNO(join(a, 1, PACKET_FANOUT_ROLLOVER | PACKET_FANOUT_FLAG_ROLLOVER), EINVAL);
    CHECK_ERRNO(setsockopt(a, SOL_PACKET, PACKET_FANOUT, &args, 3), EINVAL);
    CHECK_EQ(option(a, SOL_PACKET, PACKET_FANOUT), 0);
    CHECK_EQ(join(a, 7, PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_ROLLOVER), 0);
    CHECK_EQ(option(a, SOL_PACKET, PACKET_FANOUT),
             7 | (PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_ROLLOVER) << 16);
    CHECK_ERRNO(join(a, 7, PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_ROLLOVER), EALREADY);
    CHECK_ERRNO(join(b, 7, PACKET_FANOUT_LB | PACKET_FANOUT_FLAG_ROLLOVER), EINVAL);
    CHECK_ERRNO(join(b, 7, PACKET_FANOUT_HASH), EINVAL);
    CHECK_ERRNO(join(arp, 7, PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_ROLLOVER), EINVAL);
    CHECK_ERRNO(bind(a, (struct sockaddr *)&ll, sizeof(ll)), EINVAL);
    CHECK_EQ(join(b, 7, PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_ROLLOVER), 0);
    close(a);
    close(b);
    a = member(ETH_P_IP);
    b = member(ETH_P_IP);
    CHECK_EQ(setsockopt(a, SOL_PACKET, PACKET_FANOUT, &args, sizeof(args)), 0);
    CHECK_ERRNO(setsockopt(b, SOL_PACKET, PACKET_FANOUT, &args, sizeof(args)), ENOSPC);
    args.max = 2;
    CHECK_ERRNO(setsockopt(b, SOL_PACKET, PACKET_FANOUT, &args, sizeof(args)), EINVAL);
    args.id = 10;
    args.max = (uint32_t)big;
    CHECK_ERRNO(setsockopt(b, SOL_PACKET, PACKET_FANOUT, &args, sizeof(args)), EINVAL);
    CHECK_ERRNO(join(b, 1, PACKET_FANOUT_LB | PACKET_FANOUT_FLAG_UNIQUEID), EINVAL);
    CHECK_EQ(join(b, 0, PACKET_FANOUT_LB | PACKET_FANOUT_FLAG_UNIQUEID), 0);
    unique = option(b, SOL_PACKET, PACKET_FANOUT);
    CHECK_EQ(unique >> 16, PACKET_FANOUT_LB);
    CHECK_EQ(join(arp, unique & 0xffff, PACKET_FANOUT_LB), -1);
    close(a);
    a = member(ETH_P_IP);
    CHECK_EQ(join(a, unique & 0xffff, PACKET_FANOUT_LB), 0);
    close(a);
    close(b);
    close(arp);
    close(none);
}

static void make_group(int *fds, int count, int id, int type)
{
    for (int i = 0; i < count; i++) {
        fds[i] = member(ETH_P_IP);
        CHECK_EQ(join(fds[i], id, type), 0);
    }
}

static void test_in_turn(void)
{
    int fds[3], alone = member(ETH_P_IP);

    make_group(fds, 3, 20, PACKET_FANOUT_LB);
    send_datagrams(12);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(frames_in(fds[i]), 4);
    CHECK_EQ(frames_in(alone), 12);
    close(fds[1]);
    send_datagrams(12);
    CHECK_EQ(frames_in(fds[0]), 6);
    CHECK_EQ(frames_in(fds[2]), 6);
    close(fds[0]);
    close(fds[2]);
    close(alone);
}

/* All frames of one flow are one socket's, many flows' are everybody's. */
static void test_flows(void)
{
    int fds[2], flow = socket(AF_INET, SOCK_DGRAM, 0), counts[2], others[2] = {0, 0};

    make_group(fds, 2, 30, PACKET_FANOUT_HASH);
    send_from(flow, 8);
    for (int i = 0; i < 2; i++)
        counts[i] = frames_in(fds[i]);
    CHECK((counts[0] == 8 && counts[1] == 0) || (counts[0] == 0 && counts[1] == 8));
    for (int i = 0; i < 100 && !(others[0] && others[1]); i++) {
        send_datagrams(1);
        for (int j = 0; j < 2; j++)
            others[j] += frames_in(fds[j]);
    }
    CHECK(others[0] && others[1]);
    close(flow);
    close(fds[0]);
    close(fds[1]);
}

/* Until the first is full, all are its own. */
static void test_rollover(void)
{
    struct tpacket_rollover_stats stats;
    socklen_t size = sizeof(stats);
    int fds[2], counts[2];

    make_group(fds, 2, 40, PACKET_FANOUT_ROLLOVER);
    CHECK_EQ(set_option(fds[0], SOL_SOCKET, SO_RCVBUF, 8192), 0);
    send_datagrams(ROOM);
    for (int i = 0; i < 2; i++)
        counts[i] = frames_in(fds[i]);
    CHECK(counts[0] > 0 && counts[1] > 0);
    CHECK_EQ(counts[0] + counts[1], ROOM);
    CHECK_EQ(getsockopt(fds[0], SOL_PACKET, PACKET_ROLLOVER_STATS, &stats, &size), 0);
    CHECK_EQ(size, sizeof(stats));
    CHECK_EQ(stats.tp_all, ROOM);
    CHECK_EQ(stats.tp_failed, 0);
    close(fds[0]);
    close(fds[1]);
}

static void test_program(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 4)}; /* of three: the second */
    struct sock_fprog program = {1, code};
    int fds[3], alone = member(ETH_P_IP);

    CHECK_ERRNO(setsockopt(alone, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof(program)),
                EINVAL);
    make_group(fds, 3, 50, PACKET_FANOUT_CBPF);
    send_datagrams(3);
    CHECK_EQ(frames_in(fds[0]), 3);
    CHECK_ERRNO(setsockopt(fds[0], SOL_PACKET, PACKET_FANOUT_DATA, &program, 4), EINVAL);
    CHECK_EQ(setsockopt(fds[0], SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof(program)), 0);
    CHECK_ERRNO(setsockopt(fds[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)),
                EINVAL);
    CHECK_ERRNO(set_option(fds[0], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0), EINVAL);
    send_datagrams(5);
    CHECK_EQ(frames_in(fds[0]), 0);
    CHECK_EQ(frames_in(fds[1]), 5);
    CHECK_EQ(frames_in(fds[2]), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(alone);
}

static void test_outgoing(void)
{
    int both = member(ETH_P_ALL), in = member(ETH_P_ALL);

    CHECK_EQ(join(both, 60, PACKET_FANOUT_LB), 0);
    CHECK_EQ(join(in, 61, PACKET_FANOUT_LB | PACKET_FANOUT_FLAG_IGNORE_OUTGOING), 0);
    send_datagrams(4);
    CHECK_EQ(frames_in(both), 8);
    CHECK_EQ(frames_in(in), 4);
    close(both);
    close(in);
}

int main(void)
{
    if (!enter_own_network())
        return CHECK_SKIPPED;
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_EQ(bind_to(udp, INADDR_LOOPBACK, PORT), 0);
    test_joining();
    test_in_turn();
    test_flows();
    test_rollover();
    test_program();
    test_outgoing();
    return check_done();
}
