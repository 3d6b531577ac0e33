/*
 * What sendmsg(2)'s control messages make of datagrams, and recvmsg(2)'s tell: several in one call
 * (UDP_SEGMENT, UDP_GRO of udp(7)), marks of SOL_SOCKET, and what is refused.
 */
#include "inet.h"

/* Newer than some headers. */
#define OPT_UDP_SEGMENT  103
#define OPT_UDP_GRO      104
#define OPT_RCVMARK      75
#define OPT_RCVPRIORITY  82
#define OPT_TXTIME       61
#define OPT_ORIGDSTADDR6 74
#define SEGMENT          700

static char bytes[65536];

static int bound(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), 0);
    return fd;
}

static int connected(int to)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(connect_to(fd, INADDR_LOOPBACK, port_of(to)), 0);
    return fd;
}

/* `size` bytes with one control message. */
static ssize_t send_with(int fd, size_t size, int level, int type, const void *data, size_t room)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(32)];
    } control = {{0}};
    struct iovec iov = {bytes, size};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = CMSG_SPACE(room)};

    control.head.cmsg_level = level;
    control.head.cmsg_type = type;
    control.head.cmsg_len = CMSG_LEN(room);
    memcpy(CMSG_DATA(&control.head), data, room);
    return sendmsg(fd, &msg, 0);
}

static ssize_t send_number(int fd, int level, int type, int number)
{
    return send_with(fd, 1, level, type, &number, sizeof(number));
}

/* The next datagram's size, and the number that such a message tells of it; -1: none. */
static ssize_t receive(int fd, int level, int type, int *ret)
{
    char control[256];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

    *ret = -1;
    if (n >= 0)
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
            if (c->cmsg_level == level && c->cmsg_type == type)
                memcpy(ret, CMSG_DATA(c), sizeof(*ret));
    return n;
}

static void check_pieces(int fd, size_t size)
{
    int told;

    for (size_t left = size; left > 0;) {
        size_t want = left < SEGMENT ? left : SEGMENT;

        if (!CHECK_EQ(receive(fd, IPPROTO_UDP, OPT_UDP_GRO, &told), want))
            break;
        CHECK_EQ(bytes[0], (char)((size - left) / SEGMENT));
        CHECK_EQ(told, -1);
        left -= want;
    }
    CHECK_ERRNO(receive(fd, IPPROTO_UDP, OPT_UDP_GRO, &told), EAGAIN);
}

static void fill(void)
{
    memset(bytes, 0x7f, sizeof(bytes));
    for (size_t i = 0; i * SEGMENT < sizeof(bytes); i++)
        bytes[i * SEGMENT] = (char)i;
}

static void test_segments(void)
{
    int a = bound(), b = connected(a), told;
    uint16_t segment = SEGMENT, tiny = 1;

    fill();
    CHECK_EQ(send_with(b, 10 * SEGMENT + 5, IPPROTO_UDP, OPT_UDP_SEGMENT, &segment, 2),
             10 * SEGMENT + 5);
    check_pieces(a, 10 * SEGMENT + 5);
    fill();
    CHECK_EQ(set_option(b, IPPROTO_UDP, OPT_UDP_SEGMENT, SEGMENT), 0);
    CHECK_EQ(option(b, IPPROTO_UDP, OPT_UDP_SEGMENT), SEGMENT);
    CHECK_EQ(send(b, bytes, 3 * SEGMENT, 0), 3 * SEGMENT);
    check_pieces(a, 3 * SEGMENT);
    CHECK_EQ(send(b, bytes, 10, 0), 10);
    CHECK_EQ(receive(a, 0, 0, &told), 10);
    /* Who wants them so gets them in one piece. */
    CHECK_EQ(set_option(a, IPPROTO_UDP, OPT_UDP_GRO, 1), 0);
    CHECK_EQ(send(b, bytes, 3 * SEGMENT, 0), 3 * SEGMENT);
    CHECK_EQ(receive(a, IPPROTO_UDP, OPT_UDP_GRO, &told), 3 * SEGMENT);
    CHECK_EQ(told, SEGMENT);
    CHECK_EQ(send(b, bytes, SEGMENT, 0), SEGMENT);
    CHECK_EQ(receive(a, IPPROTO_UDP, OPT_UDP_GRO, &told), SEGMENT);
    CHECK_EQ(told, -1);
    /* Too many, and what is no such message. */
    CHECK_ERRNO(send_with(b, 1000, IPPROTO_UDP, OPT_UDP_SEGMENT, &tiny, 2), EINVAL);
    CHECK_ERRNO(send_with(b, 1000, IPPROTO_UDP, OPT_UDP_SEGMENT, &tiny, 1), EINVAL);
    CHECK_ERRNO(send_with(b, 1000, IPPROTO_UDP, OPT_UDP_GRO, &tiny, 2), EINVAL);
    CHECK_ERRNO(set_option(b, IPPROTO_UDP, OPT_UDP_SEGMENT, 65536), EINVAL);
    close(a);
    close(b);
}

/* Each member of the group gets each of them. */
static void test_group(void)
{
    struct ip_mreqn req = {.imr_multiaddr.s_addr = htonl(0xe8010204), .imr_ifindex = 1};
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(bind_to(a, INADDR_ANY, 0), 0);
    CHECK_EQ(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &req, sizeof(req)), 0);
    CHECK_EQ(setsockopt(b, IPPROTO_IP, IP_MULTICAST_IF, &req, sizeof(req)), 0);
    CHECK_EQ(set_option(b, IPPROTO_UDP, OPT_UDP_SEGMENT, SEGMENT), 0);
    CHECK_EQ(connect_to(b, 0xe8010204, port_of(a)), 0);
    fill();
    CHECK_EQ(send(b, bytes, 2 * SEGMENT + 1, 0), 2 * SEGMENT + 1);
    CHECK(events_with(a, POLLIN) & POLLIN);
    check_pieces(a, 2 * SEGMENT + 1);
    close(a);
    close(b);
}

static void test_socket_level(void)
{
    int a = bound(), b = connected(a), t[2], told;
    uint64_t when = 0;

    CHECK_EQ(set_option(a, SOL_SOCKET, OPT_RCVPRIORITY, 1), 0);
    CHECK_EQ(send_number(b, SOL_SOCKET, SO_PRIORITY, 5), 1);
    CHECK_EQ(receive(a, SOL_SOCKET, SO_PRIORITY, &told), 1);
    CHECK_EQ(told, 5);
    CHECK_EQ(set_option(b, SOL_SOCKET, SO_PRIORITY, 3), 0);
    CHECK_EQ(send(b, "x", 1, 0), 1);
    CHECK_EQ(receive(a, SOL_SOCKET, SO_PRIORITY, &told), 1);
    CHECK_EQ(told, 3);
    CHECK_EQ(set_option(a, SOL_SOCKET, OPT_RCVMARK, 1), 0);
    if (set_option(b, SOL_SOCKET, SO_MARK, 76) == 0) { /* not everybody may */
        CHECK_EQ(send(b, "x", 1, 0), 1);
        CHECK_EQ(receive(a, SOL_SOCKET, SO_MARK, &told), 1);
        CHECK_EQ(told, 76);
        CHECK_EQ(send_number(b, SOL_SOCKET, SO_MARK, 77), 1);
        CHECK_EQ(receive(a, SOL_SOCKET, SO_MARK, &told), 1);
        CHECK_EQ(told, 77);
    }
    CHECK_ERRNO(send_number(b, SOL_SOCKET, 99, 1), EINVAL);
    CHECK_ERRNO(send_number(b, SOL_SOCKET, SO_KEEPALIVE, 1), EINVAL);
    CHECK_ERRNO(send_with(b, 1, SOL_SOCKET, OPT_TXTIME, &when, sizeof(when)), EINVAL);
    CHECK_EQ(send_number(b, SOL_SOCKET, SCM_RIGHTS, 0), 1); /* passed over */
    CHECK_EQ(receive(a, 0, 0, &told), 1);
    CHECK_EQ(send_number(b, 999, 1, 1), 1);
    CHECK_EQ(receive(a, 0, 0, &told), 1);
    connection(t);
    CHECK_ERRNO(send_number(t[0], SOL_SOCKET, SO_KEEPALIVE, 1), EINVAL);
    CHECK_EQ(send_number(t[0], IPPROTO_UDP, 1, 1), 1);
    CHECK_EQ(read(t[1], bytes, 9), 1);
    close_both(t);
    close(a);
    close(b);
}

static void test_sizes(void)
{
    int a = bound(), b = connected(a), told, c = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    uint64_t wide = 7;
    int six;

    CHECK_ERRNO(send_with(b, 1, IPPROTO_IP, IP_TTL, &wide, 8), EINVAL);
    CHECK_ERRNO(send_with(b, 1, IPPROTO_IP, IP_TTL, &wide, 1), EINVAL);
    CHECK_EQ(send_with(b, 1, IPPROTO_IP, IP_TOS, &wide, 1), 1);
    CHECK_ERRNO(send_with(b, 1, IPPROTO_IP, IP_TOS, &wide, 8), EINVAL);
    CHECK_EQ(receive(a, 0, 0, &told), 1);
    CHECK_EQ(bind(c, (struct sockaddr *)&any, sizeof(any)), 0);
    any.sin6_port = htons((uint16_t)port_of(c));
    six = socket(AF_INET6, SOCK_DGRAM, 0);
    CHECK_EQ(connect(six, (struct sockaddr *)&any, sizeof(any)), 0);
    CHECK_EQ(set_option(c, IPPROTO_IPV6, IPV6_RECVTCLASS, 1), 0);
    CHECK_EQ(set_option(six, IPPROTO_IPV6, IPV6_TCLASS, 0x20), 0);
    CHECK_EQ(send(six, "x", 1, 0), 1);
    CHECK_EQ(receive(c, IPPROTO_IPV6, IPV6_TCLASS, &told), 1);
    CHECK_EQ(told, 0x20);
    CHECK_EQ(send_number(six, IPPROTO_IPV6, IPV6_TCLASS, 0x30), 1);
    CHECK_EQ(receive(c, IPPROTO_IPV6, IPV6_TCLASS, &told), 1);
    CHECK_EQ(told, 0x30);
    CHECK_EQ(set_option(c, IPPROTO_IPV6, OPT_ORIGDSTADDR6, 1), 0);
    CHECK_EQ(send_number(six, IPPROTO_IPV6, IPV6_DONTFRAG, 1), 1);
    CHECK_EQ(receive(c, IPPROTO_IPV6, OPT_ORIGDSTADDR6, &told), 1);
    CHECK_EQ(told, AF_INET6 | any.sin6_port << 16);
    CHECK_ERRNO(send_number(six, IPPROTO_IPV6, IPV6_DONTFRAG, 2), EINVAL);
    close(a);
    close(b);
    close(c);
    close(six);
}

int main(void)
{
    test_segments();
    test_group();
    test_socket_level();
    test_sizes();
    return check_done();
}
