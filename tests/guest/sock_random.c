/*
 * Options, control messages, flags and requests that nobody meant: random ones upon sockets of all
 * internet kinds. What they answer is not looked at, but everything comes back, and new sockets
 * work afterwards. Where sockets are the host's, what is not foreseen ends the sandbox.
 */
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "inet.h"

#define ROUNDS 2500

static uint64_t state = 88172645463325252ULL;

static uint32_t roll(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % n;
}

static void fill(uint8_t *buf, size_t size)
{
    /* Small numbers as often as any: they are indexes, lengths and switches. */
    bool small = roll(2);

    for (size_t i = 0; i < size; i++)
        buf[i] = (uint8_t)(small ? (i % 4 == 0 ? roll(4) : 0) : roll(256));
}

static int pick_level(void)
{
    static const int levels[] = {SOL_SOCKET,   IPPROTO_IP,  IPPROTO_IPV6, IPPROTO_TCP,
                                 IPPROTO_UDP,  IPPROTO_RAW, IPPROTO_ICMP, IPPROTO_ICMPV6,
                                 IPPROTO_SCTP, 276,         282 /* SOL_TLS */};

    return roll(20) ? levels[roll(ARRAY_COUNT(levels))] : (int)roll(1000);
}

static void try_options(int fd)
{
    uint8_t value[300];
    socklen_t size = roll(3) ? 4 : roll(sizeof(value));
    int level = pick_level(), name = roll(20) ? (int)roll(120) : (int)roll(1u << 31);

    /* Time limits and lingering would only make the test wait. */
    if (level == SOL_SOCKET && (name == SO_LINGER || name == SO_RCVTIMEO || name == SO_SNDTIMEO ||
                                name == 66 || name == 67))
        return;
    fill(value, sizeof(value));
    if (roll(2))
        setsockopt(fd, level, name, value, size);
    else
        getsockopt(fd, level, name, value, &size);
}

static void try_message(int fd, const struct sockaddr *to, socklen_t to_size)
{
    uint8_t control[256] __attribute__((aligned(8))), data[64];
    struct sockaddr_storage name;
    struct iovec iov = {data, roll(sizeof(data))};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
    size_t used = 0;

    while (used + CMSG_SPACE(24) <= sizeof(control) && roll(3)) {
        struct cmsghdr head = {.cmsg_len = CMSG_LEN(roll(4) ? 4 : roll(24)),
                               .cmsg_level = pick_level(),
                               .cmsg_type = (int)roll(110)};

        if (!roll(20))
            head.cmsg_len = roll(2) ? roll(40) : (size_t)-1 - roll(20);
        memcpy(control + used, &head, sizeof(head));
        fill(control + used + sizeof(head), 24);
        used += CMSG_SPACE(24);
    }
    msg.msg_controllen = used;
    if (roll(2)) {
        memcpy(&name, to, to_size);
        if (!roll(4))
            name.ss_family = (sa_family_t)roll(50);
        msg.msg_name = &name;
        msg.msg_namelen = roll(4) ? to_size : roll(sizeof(name));
    }
    sendmsg(fd, &msg, (int)roll(1u << 31) | MSG_DONTWAIT | MSG_NOSIGNAL);
    msg.msg_controllen = roll(sizeof(control));
    recvmsg(fd, &msg, (int)roll(1u << 30) | MSG_DONTWAIT);
}

static void try_request(int fd)
{
    uint8_t arg[64];

    fill(arg, sizeof(arg));
    memcpy(arg, "lo", roll(2) ? 3 : 0);
    /* What asks, and only asks, lies between; as root the rest would change the machine. */
    ioctl(fd, roll(2) ? 0x8905 : 0x8910 + roll(3), arg);
    ioctl(fd, 0x541b, arg);
    ioctl(fd, 0x5411, arg);
    for (unsigned i = 0; i < 4; i++) {
        static const unsigned questions[] = {0x8913, 0x8915, 0x8917, 0x8919, 0x891b,
                                             0x891d, 0x8921, 0x8927, 0x8933, 0x8942};

        ioctl(fd, questions[roll(ARRAY_COUNT(questions))], arg);
    }
}

static void torture(int domain, int type, int protocol)
{
    struct sockaddr_in6 name6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in name4 = v4(INADDR_LOOPBACK, 0);
    struct sockaddr *name =
        domain == AF_INET ? (struct sockaddr *)&name4 : (struct sockaddr *)&name6;
    socklen_t size = domain == AF_INET ? sizeof(name4) : sizeof(name6);
    int fd = socket(domain, type | SOCK_NONBLOCK, protocol), other;

    if (fd < 0)
        return; /* sockets of ICMP are not for everybody */
    other = socket(domain, type | SOCK_NONBLOCK, protocol);
    bind(other, name, size);
    getsockname(other, name, &size);
    if (type == SOCK_STREAM)
        listen(other, 5);
    connect(fd, name, size);
    for (int i = 0; i < ROUNDS; i++) {
        int at = roll(4) ? fd : other;

        switch (roll(16)) {
        case 0:
            try_request(at);
            break;
        case 1:
        case 2:
        case 3:
            try_message(at, name, size);
            break;
        case 4:
            if (!roll(50))
                shutdown(at, (int)roll(3));
            if (!roll(50))
                connect(at, name, roll(size + 1));
            break;
        default:
            try_options(at);
        }
    }
    close(fd);
    close(other);
}

static void test_still_works(void)
{
    int listener = tcp(0), client = tcp(0), made;
    char byte = 0;

    CHECK_EQ(bind_to(listener, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(connect_to(client, INADDR_LOOPBACK, port_of(listener)), 0);
    made = accept(listener, NULL, NULL);
    CHECK_EQ(send(client, "x", 1, 0), 1);
    CHECK_EQ(recv(made, &byte, 1, 0), 1);
    CHECK_EQ(byte, 'x');
    close(made);
    close(client);
    close(listener);
}

int main(void)
{
    static const int domains[] = {AF_INET, AF_INET6};

    for (int i = 0; i < 2; i++) {
        torture(domains[i], SOCK_STREAM, 0);
        torture(domains[i], SOCK_DGRAM, 0);
        torture(domains[i], SOCK_DGRAM, IPPROTO_UDPLITE);
        torture(domains[i], SOCK_DGRAM, i ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    }
    test_still_works();
    return check_done();
}
