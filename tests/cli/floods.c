/*
 * Peers that take all they are given and give nothing back: each kind of flood goes on until
 * nothing more is taken, or for so many rounds; then "ready", and what it has made is held until
 * the input ends. What the sandbox needs for it is measured from outside.
 *
 *     floods datagrams | streams | circles | questions | packets
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS 100
#define ROUNDS  2000

static char block[32768];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int receiver(struct sockaddr_in *ret)
{
    socklen_t size = sizeof(*ret);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, size) < 0 ||
        getsockname(fd, (struct sockaddr *)ret, &size) < 0)
        die("receiver");
    return fd;
}

/* Nobody reads them. */
static void datagrams(void)
{
    int from = socket(AF_INET, SOCK_DGRAM, 0);

    for (int i = 0; i < SOCKETS; i++) {
        struct sockaddr_in to;

        receiver(&to);
        for (int j = 0; j < ROUNDS / 20; j++) {
            sendto(from, block, sizeof(block), 0, (struct sockaddr *)&to, sizeof(to));
            sendto(from, block, j % 16, 0, (struct sockaddr *)&to, sizeof(to));
        }
    }
}

/* Readers that never read, each sent to until it takes no more. */
static void streams(void)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

    for (int i = 0; i < SOCKETS; i++) {
        int fd[2];

        if (socketpair(AF_UNIX, types[i % 3], 0, fd) < 0)
            die("socketpair");
        for (int j = 0; j < ROUNDS; j++)
            if (send(fd[0], block, i % 2 ? sizeof(block) : 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
                break;
    }
}

/* Sockets that only a circle of queues holds: they must go. */
static void circles(void)
{
    for (int i = 0; i < 2 * ROUNDS; i++) {
        union {
            struct cmsghdr head;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec iov = {block, 1000};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
        int fd[2];

        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fd) < 0)
            die("socketpair");
        for (int j = 0; j < 2; j++) {
            memcpy(CMSG_DATA(&control.head), &fd[j], sizeof(int));
            if (sendmsg(fd[j], &msg, MSG_DONTWAIT) < 0)
                die("sendmsg");
        }
        close(fd[0]);
        close(fd[1]);
    }
}

/* Whoever asks and does not read the answers. */
static void questions(void)
{
    struct {
        struct nlmsghdr head;
        struct rtgenmsg any;
    } q = {.head = {sizeof(q), RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, 0, 0}};

    for (int i = 0; i < SOCKETS; i++) {
        int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

        for (int j = 0; j < ROUNDS / 4; j++)
            send(fd, &q, sizeof(q), MSG_DONTWAIT);
    }
}

/* Packet sockets that see everything, and read nothing. */
static void packets(void)
{
    int from = socket(AF_INET, SOCK_DGRAM, 0), to;
    struct sockaddr_in name;

    for (int i = 0; i < SOCKETS; i++)
        if (socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) < 0)
            die("packet socket");
    to = receiver(&name);
    for (int i = 0; i < ROUNDS / 4; i++) {
        sendto(from, block, i % 2 ? sizeof(block) : 1, 0, (struct sockaddr *)&name, sizeof(name));
        recv(to, block, sizeof(block), MSG_DONTWAIT);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"datagrams", datagrams},
               {"streams", streams},
               {"circles", circles},
               {"questions", questions},
               {"packets", packets}};

    for (size_t i = 0; argc > 1 && i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(argv[1], all[i].name) == 0)
            all[i].run();
    puts("ready");
    fflush(stdout);
    getchar();
    return 0;
}
