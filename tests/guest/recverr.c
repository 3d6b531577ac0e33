/* IP_RECVERR, IPV6_RECVERR: what became of datagrams that nobody took. */
#include <time.h>

#include <linux/errqueue.h>

#include "inet.h"

#define CONTROL_SIZE 256

struct heard {
    struct sock_extended_err error;
    struct sockaddr_storage offender, to;
    char bytes[1024];
    ssize_t size;
    int flags;
};

static ssize_t hear(int fd, struct heard *h, int flags)
{
    union {
        struct cmsghdr head;
        char bytes[CONTROL_SIZE];
    } control;
    struct iovec iov = {h->bytes, sizeof(h->bytes)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_name = &h->to,
                         .msg_namelen = sizeof(h->to),
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};

    memset(h, 0, sizeof(*h));
    memset(&control, 0, sizeof(control));
    h->size = recvmsg(fd, &msg, MSG_ERRQUEUE | flags);
    if (h->size < 0)
        return h->size;
    h->flags = msg.msg_flags;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        note("level %d type %d size %zu", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
        memcpy(&h->error, CMSG_DATA(c), sizeof(h->error));
        memcpy(&h->offender, CMSG_DATA(c) + sizeof(h->error),
               c->cmsg_len - CMSG_LEN(sizeof(h->error)));
    }
    return h->size;
}

/* A port that was somebody's just now. */
static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), port;

    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), 0);
    port = port_of(fd);
    close(fd);
    return port;
}

static void test_v4(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), port = free_port();
    struct sockaddr_in to = v4(INADDR_LOOPBACK, port), name;
    struct heard h;
    char big[900] = {0};

    CHECK_EQ(sendto(fd, "lost", 4, 0, (struct sockaddr *)&to, sizeof(to)), 4);
    CHECK_ERRNO(hear(fd, &h, 0), EAGAIN); /* nobody has asked */
    CHECK_EQ(set_option(fd, IPPROTO_IP, IP_RECVERR, 1), 0);
    CHECK_EQ(sendto(fd, "lost", 4, 0, (struct sockaddr *)&to, sizeof(to)), 4);
    CHECK(events_with(fd, POLLERR) & POLLERR);
    CHECK_EQ(hear(fd, &h, 0), 4);
    CHECK(memcmp(h.bytes, "lost", 4) == 0);
    CHECK_EQ(h.flags, MSG_ERRQUEUE);
    CHECK_EQ(h.error.ee_errno, ECONNREFUSED);
    CHECK_EQ(h.error.ee_origin, SO_EE_ORIGIN_ICMP);
    CHECK_EQ(h.error.ee_type, 3);
    CHECK_EQ(h.error.ee_code, 3);
    memcpy(&name, &h.to, sizeof(name));
    CHECK_EQ(ntohs(name.sin_port), port);
    CHECK_EQ(ntohl(name.sin_addr.s_addr), INADDR_LOOPBACK);
    memcpy(&name, &h.offender, sizeof(name));
    CHECK_EQ(name.sin_family, AF_INET);
    CHECK_EQ(name.sin_port, 0);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_ERROR), 0); /* it went with the message */
    CHECK_EQ(events_with(fd, POLLOUT) & POLLERR, 0);
    /* Only so much is quoted; the error is told once more by the next call. */
    CHECK_EQ(sendto(fd, big, sizeof(big), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(big));
    events_with(fd, POLLERR);
    CHECK_ERRNO(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), ECONNREFUSED);
    CHECK_EQ(hear(fd, &h, 0), 520);
    CHECK_ERRNO(hear(fd, &h, 0), EAGAIN);
    close(fd);
}

/* How the error came is told like that of a datagram: when, where to, how far. */
static void test_described(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1, tos = 0x14;
    struct sockaddr_in to = v4(INADDR_LOOPBACK + 1, free_port());
    union {
        struct cmsghdr head;
        char bytes[CONTROL_SIZE];
    } control;
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};

    CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)), 0);
    CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
    CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
    CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), 0);
    CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on)), 0);
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)), 0);
    CHECK_EQ(sendto(fd, "l", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
    CHECK(events_with(fd, POLLERR) & POLLERR);
    CHECK_EQ(recvmsg(fd, &msg, MSG_ERRQUEUE), 1);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        note("level %d type %d size %zu", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
            CHECK_EQ(*(int *)CMSG_DATA(c), 64);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
            CHECK_EQ(*CMSG_DATA(c), 0xd4);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof(info));
            CHECK_EQ(ntohl(info.ipi_addr.s_addr), INADDR_LOOPBACK);
            CHECK_EQ(info.ipi_spec_dst.s_addr, 0);
            CHECK_EQ(info.ipi_ifindex, 1);
        }
    }
    close(fd);
}

static void test_v6(void)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}, name;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct heard h;

    to.sin6_port = htons((uint16_t)free_port());
    CHECK_EQ(set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1), 0);
    CHECK_EQ(sendto(fd, "lost", 4, 0, (struct sockaddr *)&to, sizeof(to)), 4);
    CHECK(events_with(fd, POLLERR) & POLLERR);
    CHECK_EQ(hear(fd, &h, 0), 4);
    CHECK_EQ(h.error.ee_origin, SO_EE_ORIGIN_ICMP6);
    CHECK_EQ(h.error.ee_type, 1);
    CHECK_EQ(h.error.ee_code, 4);
    memcpy(&name, &h.to, sizeof(name));
    CHECK_EQ(name.sin6_port, to.sin6_port);
    memcpy(&name, &h.offender, sizeof(name));
    CHECK(memcmp(&name.sin6_addr, &to.sin6_addr, 16) == 0);
    close(fd);
}

int main(void)
{
    test_v4();
    test_described();
    test_v6();
    return check_done();
}
