/*
 * Peers that behave badly: half-open connections, resets in the middle of a message, many that
 * never say anything, one that never reads, floods of datagrams, descriptors that are passed in
 * circles, and messages to netlink and control messages that nobody should send.
 */
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "inet.h"

#define IDLE 2000

static uint64_t seed = 88172645463325252u;

static uint32_t random_number(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

/* One side is done, the other one goes on; and peers that die without a word. */
static void test_half_open(void)
{
    char buf[16];
    int fd[2], status;
    pid_t pid;

    connection(fd);
    CHECK_EQ(shutdown(fd[0], SHUT_WR), 0);
    CHECK_EQ(read(fd[1], buf, sizeof(buf)), 0);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(write(fd[1], "still here", 10), 10);
        CHECK_EQ(recv(fd[0], buf, 10, MSG_WAITALL), 10);
    }
    close_both(fd);

    connection(fd);
    pid = fork();
    if (pid == 0) {
        close(fd[0]);
        write(fd[1], "last words", 10);
        kill(getpid(), SIGKILL);
    }
    close(fd[1]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(recv(fd[0], buf, sizeof(buf), MSG_WAITALL), 10);
    events_with(fd[0], POLLRDHUP);
    send(fd[0], "?", 1, MSG_NOSIGNAL); /* comes back as a reset */
    CHECK(events_with(fd[0], POLLHUP) & POLLHUP);
    close(fd[0]);
}

/* The reader waits for more of a message than ever comes. */
static void test_reset_in_message(void)
{
    struct linger linger = {1, 0};
    char buf[4096];
    int fd[2], status;
    pid_t pid;

    for (int i = 0; i < 20; i++) {
        ssize_t n;

        connection(fd);
        pid = fork();
        if (pid == 0) {
            close(fd[0]);
            setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
            send(fd[1], buf, 1000, 0);
            usleep((unsigned)i * 500);
            _exit(0);
        }
        close(fd[1]);
        n = recv(fd[0], buf, sizeof(buf), MSG_WAITALL);
        CHECK(n == 1000 || (n == -1 && errno == ECONNRESET));
        if (n > 0)
            CHECK_ERRNO(recv(fd[0], buf, sizeof(buf), 0), ECONNRESET);
        CHECK_EQ(recv(fd[0], buf, sizeof(buf), 0), 0);
        CHECK_ERRNO(send(fd[0], buf, 1, MSG_NOSIGNAL), EPIPE);
        waitpid(pid, &status, 0);
        close(fd[0]);
    }
}

/* They are there, and they cost little; the one that speaks is found. */
static void test_idle(void)
{
    struct rlimit limit = {2 * IDLE + 64, 2 * IDLE + 64}, old;
    int epoll = epoll_create1(0), l = listener(128), port = port_of(l), count = IDLE;
    struct epoll_event event = {.events = EPOLLIN}, got;
    static int clients[IDLE], servers[IDLE];

    getrlimit(RLIMIT_NOFILE, &old);
    if (old.rlim_max < limit.rlim_max)
        count = (int)(old.rlim_max - 64) / 2;
    limit.rlim_cur = limit.rlim_max = (rlim_t)(2 * count + 64);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < count; i++) {
        clients[i] = tcp(0);
        if (!CHECK_EQ(connect_to(clients[i], INADDR_LOOPBACK, port), 0))
            break;
        servers[i] = accept(l, NULL, NULL);
        event.data.u32 = (uint32_t)i;
        CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, servers[i], &event), 0);
    }
    CHECK_EQ(epoll_wait(epoll, &got, 1, 0), 0);
    CHECK_EQ(write(clients[count * 3 / 4], "x", 1), 1);
    CHECK_EQ(epoll_wait(epoll, &got, 1, 5000), 1);
    CHECK_EQ(got.data.u32, count * 3 / 4);
    for (int i = 0; i < count; i++) {
        close(clients[i]);
        close(servers[i]);
    }
    close(epoll);
    close(l);
}

/* What it is sent is bounded, and the sender learns so. */
static void test_never_reads(int fd[2], size_t most)
{
    static char block[65536];
    size_t sent = 0;
    ssize_t n;

    CHECK_EQ(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    while (sent < (64 << 20) && (n = send(fd[0], block, sizeof(block), 0)) > 0)
        sent += (size_t)n;
    CHECK_EQ(errno, EAGAIN);
    CHECK(sent > 10000 && sent < most);
    CHECK_EQ(events_with(fd[0], 0) & POLLOUT, 0);
    close_both(fd);
}

/* More than the backlog that nobody accepts: they wait, or are refused, and go away again. */
static void test_never_accepts(void)
{
    int l = listener(4), port = port_of(l), fds[64], begun = 0;

    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        fds[i] = tcp(SOCK_NONBLOCK);
        begun += connect_to(fds[i], INADDR_LOOPBACK, port) == 0 || errno == EINPROGRESS;
    }
    CHECK_EQ(begun, ARRAY_COUNT(fds));
    CHECK(events_with(fds[0], POLLOUT) & POLLOUT);
    for (size_t i = 0; i < ARRAY_COUNT(fds); i += 2)
        close(fds[i]);
    close(l);
    CHECK(events_with(fds[1], POLLHUP) & POLLHUP); /* a reset */
    for (size_t i = 1; i < ARRAY_COUNT(fds); i += 2)
        close(fds[i]);
}

/* ---- datagrams --------------------------------------------------------------------------------
 */

static void test_flood(void)
{
    int to = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0), count = 0;
    char buf[1000] = {0};

    CHECK_EQ(bind_to(to, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(connect_to(from, INADDR_LOOPBACK, port_of(to)), 0);
    for (int i = 0; i < 5000; i++)
        if (send(from, buf, sizeof(buf), 0) != (ssize_t)sizeof(buf))
            CHECK(errno == ENOBUFS || errno == EAGAIN);
    while (recv(to, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        count++;
    CHECK(count > 50 && count < 2000); /* what its buffer takes; the rest got lost */
    CHECK_EQ(send(from, buf, 1, 0), 1);
    CHECK_EQ(recv(to, buf, sizeof(buf), 0), 1);
    close(to);
    close(from);
}

/* ---- descriptors ------------------------------------------------------------------------------
 */

static int pass(int by, int fd, int count)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec iov = {"", 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};

    memset(&control, 0, sizeof(control));
    msg.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    for (int i = 0; i < count; i++)
        memcpy(CMSG_DATA(&control.head) + (size_t)i * sizeof(int), &fd, sizeof(int));
    return (int)sendmsg(by, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sockets that only each other's queues hold, in rings of all sizes. */
static void test_circles(void)
{
    int ring[16][2];

    for (int round = 0; round < 60; round++) {
        int size = 1 + round % 16;

        for (int i = 0; i < size; i++)
            CHECK_EQ(socketpair(AF_UNIX, round % 2 ? SOCK_DGRAM : SOCK_STREAM, 0, ring[i]), 0);
        for (int i = 0; i < size; i++) {
            CHECK_EQ(pass(ring[i][0], ring[(i + 1) % size][1], 1 + round % 3), 1);
            CHECK_EQ(pass(ring[i][0], ring[i][1], 1), 1); /* and into itself */
        }
        for (int i = 0; i < size; i++)
            close_both(ring[i]);
    }
}

/* ---- messages ---------------------------------------------------------------------------------
 */

/* Lengths that are too long, too short, and zero; types of all kinds. */
static void test_control(void)
{
    int unix_fd[2], udp = socket(AF_INET, SOCK_DGRAM, 0), answers = 0;
    struct sockaddr_in self = v4(INADDR_LOOPBACK, 0);

    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, unix_fd), 0);
    CHECK_EQ(bind(udp, (struct sockaddr *)&self, sizeof(self)), 0);
    CHECK_EQ(connect_to(udp, INADDR_LOOPBACK, port_of(udp)), 0);
    for (int i = 0; i < 4000; i++) {
        static const int levels[] = {SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, SOL_SOCKET, 999};
        uint32_t control[32];
        struct iovec iov = {"m", 1};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
        struct cmsghdr head = {.cmsg_len = random_number() % 160};
        char buf[4];

        for (size_t j = 0; j < ARRAY_COUNT(control); j++)
            control[j] = random_number() >> (random_number() % 32);
        if (i % 16 == 0)
            head.cmsg_len = (size_t)random_number() << (random_number() % 33);
        head.cmsg_level = levels[random_number() % ARRAY_COUNT(levels)];
        head.cmsg_type = (int)(random_number() % 60);
        memcpy(control, &head, sizeof(head));
        msg.msg_controllen = random_number() % (sizeof(control) + 1);
        answers += sendmsg(i % 2 ? udp : unix_fd[0], &msg, MSG_DONTWAIT) >= 0;
        while (recv(i % 2 ? udp : unix_fd[1], buf, sizeof(buf), MSG_DONTWAIT) > 0)
            continue;
    }
    CHECK(answers > 0 && answers < 4000);
    close_both(unix_fd);
    close(udp);
}

static void read_all(int fd)
{
    static char answer[16384];
    ssize_t n;

    while ((n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0 || (n < 0 && errno == ENOBUFS))
        continue;
}

static void test_netlink(void)
{
    static const int protocols[] = {NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_USERSOCK};
    char buf[512] __attribute__((aligned(8)));
    struct nlmsghdr *h = (void *)buf;

    for (size_t p = 0; p < ARRAY_COUNT(protocols); p++) {
        int fd = socket(AF_NETLINK, SOCK_RAW, protocols[p]);

        for (int i = 0; i < 1500; i++) {
            size_t size = random_number() % sizeof(buf);

            for (size_t j = 0; j < sizeof(buf); j++)
                buf[j] = (char)(random_number() % 5 ? random_number() % 40 : random_number());
            h->nlmsg_len = random_number() % 4 ? (uint32_t)size : random_number();
            /* Questions only: on a real machine nothing shall be changed. */
            h->nlmsg_type = (uint16_t)(RTM_GETLINK + random_number() % 24 * 4);
            if (protocols[p] == NETLINK_SOCK_DIAG)
                h->nlmsg_type = (uint16_t)(random_number() % 4 ? 20 : 16 + random_number() % 8);
            h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (random_number() % 2 ? NLM_F_DUMP : 0));
            if (h->nlmsg_len < size) /* nor by what lies behind */
                size = h->nlmsg_len;
            send(fd, buf, size, MSG_DONTWAIT);
            read_all(fd);
        }
        CHECK(fd >= 0);
        close(fd);
    }
}

int main(void)
{
    int fd[2];

    signal(SIGPIPE, SIG_IGN);
    test_half_open();
    test_reset_in_message();
    connection(fd);
    test_never_reads(fd, 32 << 20);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    test_never_reads(fd, 1 << 20);
    test_never_accepts();
    test_flood();
    test_circles();
    test_control();
    test_netlink();
    test_idle();
    return check_done();
}
