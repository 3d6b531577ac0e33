/*
 * io_uring: several provided buffers at once for one send or receive (RECVSEND_BUNDLE), commands of
 * sockets (URING_CMD), and waits that are content with less after a while (min_wait_usec).
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "uring.h"

#define URING_CMD      46
#define RECV_ZC        58
#define BUNDLE         16
#define MULTISHOT      2
#define REGISTER_PBUF  22
#define BUFFER_FLAG    1u
#define MORE_FLAG      2u
#define CMD_INQ        0
#define CMD_OUTQ       1
#define CMD_GETSOCKOPT 2
#define CMD_SETSOCKOPT 3
#define EXT_ARG        8u

#define GROUP          5
#define BUFFERS        8
#define BUFFER_SIZE    16

struct buf {
    uint64_t addr;
    uint32_t len;
    uint16_t bid, tail;
};

static struct buf *ring_bufs;
static char bytes[BUFFERS][BUFFER_SIZE];
static uint16_t buf_tail;

static void make_group(struct ring *r)
{
    struct {
        uint64_t addr;
        uint32_t entries;
        uint16_t group, flags;
        uint64_t resv[3];
    } reg = {0};

    ring_bufs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    reg.addr = (uintptr_t)ring_bufs;
    reg.entries = BUFFERS;
    reg.group = GROUP;
    CHECK_EQ(RAW(SYS_io_uring_register, r->fd, REGISTER_PBUF, &reg, 1), 0);
    buf_tail = 0;
}

static void give(int bid, const char *text, uint32_t len)
{
    struct buf *b = &ring_bufs[buf_tail & (BUFFERS - 1)];

    memset(bytes[bid], 0, BUFFER_SIZE);
    if (text)
        memcpy(bytes[bid], text, strlen(text));
    b->addr = (uintptr_t)bytes[bid];
    b->len = len;
    b->bid = (uint16_t)bid;
    buf_tail++;
    __atomic_store_n(&ring_bufs[0].tail, buf_tail, __ATOMIC_RELEASE);
}

static struct cqe run(struct ring *r, int op, int fd, uint16_t ioprio, uint32_t len, uint32_t flags)
{
    struct sqe *s = add(r, op, fd, NULL, len, 0, 1);
    struct cqe c = {0};

    s->flags = SELECT;
    s->buf_index = GROUP;
    s->ioprio = ioprio;
    s->op_flags = flags;
    CHECK_EQ(go(r, 1), 1);
    CHECK(take(r, &c));
    return c;
}

/* Result, number of the first buffer, and whether more will follow. */
#define EXPECT(c, want, bid, more)                                                                 \
    do {                                                                                           \
        struct cqe c_ = (c);                                                                       \
        CHECK_EQ(c_.res, want);                                                                    \
        CHECK_EQ(c_.flags &BUFFER_FLAG ? (int)(c_.flags >> 16) : -1, bid);                         \
        CHECK_EQ(!!(c_.flags & MORE_FLAG), more);                                                  \
    } while (0)

static void test_receive(struct ring *r, int in, int out)
{
    for (int i = 0; i < 4; i++)
        give(i, NULL, BUFFER_SIZE);
    CHECK_EQ(write(out, "0123456789abcdefGHIJKLMNOPQRSTUVwxyz", 36), 36);
    /* Of what is there, as much as fills buffers whole. */
    EXPECT(run(r, RECV, in, BUNDLE, 0, 0), 32, 0, 0);
    CHECK_EQ(memcmp(bytes[0], "0123456789abcdef", 16), 0);
    CHECK_EQ(memcmp(bytes[1], "GHIJKLMNOPQRSTUV", 16), 0);
    CHECK_EQ(write(out, "hello", 5), 5);
    EXPECT(run(r, RECV, in, BUNDLE, 0, 0), 9, 2, 0);
    CHECK_EQ(memcmp(bytes[2], "wxyzhello", 10), 0);
    EXPECT(run(r, RECV, in, BUNDLE, 0, MSG_DONTWAIT), -EAGAIN, -1, 0);
    for (int i = 0; i < 4; i++)
        give(i, NULL, BUFFER_SIZE);
    CHECK_EQ(write(out, "0123456789abcdefGHIJKLMNOPQRSTUVwxyz", 36), 36);
    EXPECT(run(r, RECV, in, BUNDLE, 10, 0), 10, 3, 0); /* that one was left */
    EXPECT(run(r, RECV, in, BUNDLE, 32, 0), 26, 0, 0);
    CHECK_EQ(memcmp(bytes[0], "abcdefGHIJKLMNOP", 16), 0);
    CHECK_EQ(memcmp(bytes[1], "QRSTUVwxyz", 10), 0);
    EXPECT(run(r, RECV, in, BUNDLE, 0, MSG_DONTWAIT), -EAGAIN, -1, 0);
    CHECK_EQ(run(r, RECVMSG, in, BUNDLE, 0, 0).res, -EINVAL);
}

static void test_multishot(struct ring *r, int in, int out)
{
    struct cqe c = {0};
    struct sqe *s = add(r, RECV, in, NULL, 0, 0, 7);

    s->flags = SELECT;
    s->buf_index = GROUP;
    s->ioprio = BUNDLE | MULTISHOT;
    CHECK_EQ(go(r, 0), 1);
    CHECK_EQ(write(out, "first", 5), 5);
    CHECK_EQ(enter(r, 0, 1), 0);
    CHECK(take(r, &c));
    EXPECT(c, 5, 2, 1);
    CHECK_EQ(write(out, "second", 6), 6);
    CHECK_EQ(enter(r, 0, 1), 0);
    CHECK(take(r, &c));
    EXPECT(c, 6, 3, 0); /* the last buffer ends it */
    CHECK_EQ(write(out, "no room", 7), 7);
    give(0, NULL, BUFFER_SIZE);
    EXPECT(run(r, RECV, in, 0, 0, 0), 7, 0, 0);
}

static void test_send(struct ring *r, int in, int out)
{
    char text[64] = "";

    EXPECT(run(r, SEND, out, 0, 0, 0), -ENOBUFS, -1, 0);
    give(4, "one ", 4);
    give(5, "two ", 4);
    give(6, "three", 5);
    EXPECT(run(r, SEND, out, 0, 0, 0), 4, 4, 0);
    EXPECT(run(r, SEND, out, BUNDLE, 0, 0), 9, 5, 0);
    CHECK_EQ(read(in, text, sizeof(text)), 13);
    CHECK_EQ(strcmp(text, "one two three"), 0);
    CHECK_EQ(run(r, SENDMSG, out, BUNDLE, 0, 0).res, -EOPNOTSUPP);
}

static void test_bundles(struct ring *r)
{
    int pair[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    make_group(r);
    test_receive(r, pair[0], pair[1]);
    test_multishot(r, pair[0], pair[1]);
    test_send(r, pair[0], pair[1]);
    close(pair[0]);
    close(pair[1]);
}

/* ---- commands ------------------------------------------------------------------------------- */

static int command(struct ring *r, int fd, uint64_t cmd, int level, int option, void *value,
                   uint32_t size)
{
    struct sqe *s = add(r, URING_CMD, fd, NULL, 0, (long)cmd, 9);

    s->addr = (uint32_t)level | (uint64_t)(uint32_t)option << 32;
    s->addr3 = (uintptr_t)value;
    s->file_index = size;
    CHECK_EQ(go(r, 1), 1);
    return RESULT(r, 9);
}

static void test_commands(struct ring *r)
{
    int tcp = socket(AF_INET, SOCK_STREAM, 0), unix_fd = socket(AF_UNIX, SOCK_STREAM, 0), value = 0;
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET};
    socklen_t size = sizeof(to);

    CHECK_EQ(command(r, tcp, CMD_GETSOCKOPT, SOL_SOCKET, SO_TYPE, &value, 4), 4);
    CHECK_EQ(value, SOCK_STREAM);
    CHECK_EQ(command(r, unix_fd, CMD_GETSOCKOPT, SOL_SOCKET, SO_DOMAIN, &value, 100), 4);
    CHECK_EQ(value, AF_UNIX);
    CHECK_EQ(command(r, tcp, CMD_GETSOCKOPT, IPPROTO_TCP, TCP_NODELAY, &value, 4), -EOPNOTSUPP);
    CHECK_EQ(command(r, tcp, CMD_GETSOCKOPT, SOL_SOCKET, 999, &value, 4), -ENOPROTOOPT);
    CHECK_EQ(command(r, tcp, CMD_GETSOCKOPT, SOL_SOCKET, SO_TYPE, (void *)8, 4), -EFAULT);
    value = 1;
    CHECK_EQ(command(r, tcp, CMD_SETSOCKOPT, IPPROTO_TCP, TCP_NODELAY, &value, 4), 0);
    value = 0;
    size = sizeof(value);
    CHECK_EQ(getsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    CHECK(value != 0);
    CHECK_EQ(command(r, tcp, CMD_INQ, 0, 0, NULL, 0), 0);
    CHECK_EQ(command(r, tcp, CMD_OUTQ, 0, 0, NULL, 0), 0);
    CHECK_EQ(command(r, unix_fd, CMD_INQ, 0, 0, NULL, 0), -EOPNOTSUPP);
    size = sizeof(to);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(bind(udp, (struct sockaddr *)&to, sizeof(to)), 0);
    CHECK_EQ(getsockname(udp, (struct sockaddr *)&to, &size), 0);
    CHECK_EQ(sendto(udp, "seven b", 7, 0, (struct sockaddr *)&to, size), 7);
    CHECK_EQ(command(r, udp, CMD_INQ, 0, 0, NULL, 0), 7);
    CHECK_EQ(command(r, udp, 77, 0, 0, NULL, 0), -EOPNOTSUPP);
    CHECK_EQ(command(r, udp, 1UL << 32, 0, 0, NULL, 0), -EINVAL);
    CHECK_EQ(command(r, r->fd, CMD_INQ, 0, 0, NULL, 0), -EOPNOTSUPP);
    add(r, RECV_ZC, tcp, NULL, 0, 0, 10);
    CHECK_EQ(go(r, 1), 1);
    CHECK_EQ(RESULT(r, 10), -EINVAL);
    close(tcp);
    close(udp);
    close(unix_fd);
}

static void test_nop_flags(struct ring *r)
{
    static const struct {
        uint32_t flags;
        int fd, want;
    } cases[] = {{2, 0, 0},       {2, 999, -EBADF}, {6, 3, -EBADF},
                 {8, 0, -EFAULT}, {16, 0, 0},       {64, 0, -EINVAL}};

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sqe *s = add(r, NOP, cases[i].fd, NULL, 0, 0, 20 + i);

        s->op_flags = cases[i].flags;
        CHECK_EQ(go(r, 1), 1);
        CHECK_EQ(RESULT(r, 20 + i), cases[i].want);
    }
}

/* Two are waited for, and one will do after a while; none at all waits for the timeout. */
static void test_min_wait(struct ring *r)
{
    struct timespec ts = {5, 0}, soon = {0, 20000000};
    struct {
        uint64_t mask;
        uint32_t size, min_usec;
        uint64_t ts;
    } arg = {0, 8, 2000, (uintptr_t)&ts};
    struct cqe c;

    add(r, NOP, -1, NULL, 0, 0, 1);
    CHECK_EQ(go(r, 0), 1);
    CHECK_EQ(RAW(SYS_io_uring_enter, r->fd, 0, 2, 1u | EXT_ARG, &arg, sizeof(arg)), 0);
    CHECK(take(r, &c));
    CHECK(none(r));
    arg.ts = (uintptr_t)&soon;
    CHECK_EQ(RAW(SYS_io_uring_enter, r->fd, 0, 2, 1u | EXT_ARG, &arg, sizeof(arg)), -ETIME);
}

int main(void)
{
    struct ring r;

    need_uring();
    if (!make_ring(&r, 8, 0, 0))
        return 1;
    test_bundles(&r);
    test_commands(&r);
    test_nop_flags(&r);
    test_min_wait(&r);
    drop_ring(&r);
    return check_done();
}
