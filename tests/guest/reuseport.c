/* SO_ATTACH_REUSEPORT_CBPF: a program chooses among the sockets that share a port. */
#include <linux/filter.h>

#include "inet.h"

#define SOCKETS 4

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

static int attach(int fd, struct sock_filter *program, int count)
{
    struct sock_fprog filter = {(unsigned short)count, program};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof(filter));
}

static int always(int fd, uint32_t which)
{
    struct sock_filter program[] = {BPF_STMT(BPF_RET | BPF_K, which)};

    return attach(fd, program, 1);
}

static void make(int type, int fd[SOCKETS])
{
    for (int i = 0; i < SOCKETS; i++) {
        fd[i] = socket(AF_INET, type, 0);
        CHECK_EQ(set_option(fd[i], SOL_SOCKET, SO_REUSEPORT, 1), 0);
        CHECK_EQ(bind_to(fd[i], INADDR_LOOPBACK, i ? port_of(fd[0]) : 0), 0);
        if (type == SOCK_STREAM)
            CHECK_EQ(listen(fd[i], 10), 0);
    }
}

/* Which of them has something, -1 for none: takes one message, or connection. */
static int taken_by(int type, int fd[SOCKETS])
{
    struct pollfd p[SOCKETS];
    char byte[8];

    for (int i = 0; i < SOCKETS; i++)
        p[i] = (struct pollfd){fd[i], POLLIN, 0};
    CHECK(poll(p, SOCKETS, 10000) == 1);
    for (int i = 0; i < SOCKETS; i++)
        if (p[i].revents) {
            if (type == SOCK_STREAM)
                close(accept(fd[i], NULL, NULL));
            else
                recv(fd[i], byte, sizeof(byte), 0);
            return i;
        }
    return -1;
}

static int send_to(int type, int fd[SOCKETS], char byte)
{
    int client = socket(AF_INET, type, 0), which;

    CHECK_EQ(connect_to(client, INADDR_LOOPBACK, port_of(fd[0])), 0);
    if (type == SOCK_DGRAM)
        CHECK_EQ(send(client, &byte, 1, 0), 1);
    which = taken_by(type, fd);
    close(client);
    return which;
}

static void test_choice(int type)
{
    int fd[SOCKETS], which;

    make(type, fd);
    for (unsigned i = 0; i < SOCKETS; i++) {
        CHECK_EQ(always(fd[3 - i], i), 0); /* through any of the group */
        for (int times = 0; times < 3; times++)
            CHECK_EQ(send_to(type, fd, 'x'), i);
    }
    /* Nonsense falls back to spreading. */
    CHECK_EQ(always(fd[0], 1000), 0);
    which = send_to(type, fd, 'x');
    CHECK(which >= 0 && which < SOCKETS);
    CHECK_EQ(set_option(fd[1], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0), 0);
    CHECK_ERRNO(set_option(fd[2], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0), ENOENT);
    for (int i = 0; i < SOCKETS; i++)
        close(fd[i]);
}

/* The program sees the datagram's bytes. */
static void test_by_content(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, SOCKETS),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    int fd[SOCKETS];

    make(SOCK_DGRAM, fd);
    CHECK_EQ(attach(fd[0], program, ARRAY_COUNT(program)), 0);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(send_to(SOCK_DGRAM, fd, (char)(i + 40)), (i + 40) % SOCKETS);
    for (int i = 0; i < SOCKETS; i++)
        close(fd[i]);
}

static void test_errors(void)
{
    struct sock_filter bad[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), local = socket(AF_UNIX, SOCK_DGRAM, 0);

    CHECK_ERRNO(always(fd, 0), EINVAL); /* no SO_REUSEPORT */
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0), EINVAL);
    CHECK_ERRNO(always(local, 0), EINVAL);
    CHECK_EQ(set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1), 0);
    CHECK_ERRNO(set_option(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0), ENOENT);
    CHECK_ERRNO(attach(fd, bad, 1), EINVAL);
    CHECK_ERRNO(attach(fd, bad, 0), EINVAL);
    CHECK_EQ(always(fd, 0), 0); /* before it is bound */
    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(set_option(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0), 0);
    close(fd);
    close(local);
}

int main(void)
{
    test_choice(SOCK_DGRAM);
    test_choice(SOCK_STREAM);
    test_by_content();
    test_errors();
    return check_done();
}
