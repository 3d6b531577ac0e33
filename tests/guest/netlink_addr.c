/*
 * The loopback of a new network namespace: its address is added by hand before it is up, as
 * bubblewrap does it, or comes by itself.
 */
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "check.h"

struct question {
    struct nlmsghdr head;
    union {
        struct ifinfomsg link;
        struct {
            struct ifaddrmsg info;
            struct rtattr local_head;
            uint8_t local[16];
        } addr;
    };
};

/* What the kernel answers; its last message is left in `answer`. */
static int ask(struct question *q, uint16_t type, uint16_t flags, size_t size)
{
    static char answer[8192] __attribute__((aligned(8)));
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    struct nlmsghdr *h = (void *)answer;
    int error = 1;

    q->head = (struct nlmsghdr){.nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
                                .nlmsg_type = type,
                                .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags};
    CHECK(fd >= 0);
    CHECK_EQ(send(fd, q, q->head.nlmsg_len, 0), q->head.nlmsg_len);
    if (CHECK(recv(fd, answer, sizeof(answer), 0) > 0) && CHECK_EQ(h->nlmsg_type, NLMSG_ERROR))
        error = ((struct nlmsgerr *)NLMSG_DATA(h))->error;
    close(fd);
    return error;
}

static int add_v4(uint32_t address, uint8_t prefix, int index, uint16_t flags)
{
    struct question q = {.addr.info = {.ifa_family = AF_INET,
                                       .ifa_prefixlen = prefix,
                                       .ifa_index = (uint32_t)index,
                                       .ifa_scope = RT_SCOPE_HOST},
                         .addr.local_head = {RTA_LENGTH(4), IFA_LOCAL}};

    address = htonl(address);
    memcpy(q.addr.local, &address, 4);
    return ask(&q, RTM_NEWADDR, NLM_F_CREATE | flags,
               address ? sizeof(q.addr.info) + RTA_LENGTH(4) : sizeof(q.addr.info));
}

static int add_v6(void)
{
    struct question q = {
        .addr.info = {.ifa_family = AF_INET6, .ifa_prefixlen = 128, .ifa_index = 1},
        .addr.local_head = {RTA_LENGTH(16), IFA_LOCAL},
        .addr.local = {[15] = 1}};

    return ask(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(q.addr));
}

static int set_up(bool up)
{
    struct question q = {
        .link = {.ifi_index = 1, .ifi_change = IFF_UP, .ifi_flags = up ? IFF_UP : 0}};

    return ask(&q, RTM_NEWLINK, 0, sizeof(q.link));
}

/* Does a datagram come back? -errno where it cannot even be bound. */
static int send_to_self(void)
{
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(self);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), result;
    char c;

    if (bind(fd, (void *)&self, sizeof(self)) < 0) {
        result = -errno;
    } else {
        CHECK_EQ(getsockname(fd, (void *)&self, &size), 0);
        result = sendto(fd, "x", 1, 0, (void *)&self, size) < 0 ? -errno : (int)recv(fd, &c, 1, 0);
    }
    close(fd);
    return result;
}

static void in_namespace(bool by_hand)
{
    CHECK(send_to_self() < 0);
    if (by_hand) {
        CHECK_EQ(add_v4(0, 8, 1, 0), -EINVAL);
        CHECK_EQ(add_v4(INADDR_LOOPBACK, 33, 1, 0), -EINVAL);
        CHECK_EQ(add_v4(INADDR_LOOPBACK, 8, 4000, 0), -ENODEV);
        CHECK_EQ(add_v4(INADDR_LOOPBACK, 8, 1, NLM_F_EXCL), 0);
    }
    CHECK_EQ(set_up(true), 0);
    CHECK_EQ(send_to_self(), 1);
    CHECK_EQ(add_v4(INADDR_LOOPBACK, 8, 1, NLM_F_EXCL), -EEXIST);
    CHECK_EQ(add_v4(INADDR_LOOPBACK, 8, 1, 0), -EEXIST);
    CHECK_EQ(add_v4(INADDR_LOOPBACK, 8, 1, NLM_F_REPLACE), 0);
    CHECK_EQ(add_v6(), -EEXIST);
    CHECK_EQ(set_up(false), 0);
    CHECK_EQ(add_v4(INADDR_LOOPBACK, 8, 1, NLM_F_EXCL), -EEXIST);
}

int main(void)
{
    for (int by_hand = 0; by_hand < 2; by_hand++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            CHECK_EQ(unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET), 0);
            in_namespace(by_hand);
            _exit(check_failures ? 1 : 0);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
    }
    return check_done();
}
