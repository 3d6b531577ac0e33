/*
 * SOCK_DESTROY of sock_diag(7), what `ss -K` does: connections, listeners and UDP sockets end with
 * ECONNABORTED, and the other side hears of a reset.
 */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/wait.h>

#include "inet.h"

#ifndef SOCK_DESTROY
#define SOCK_DESTROY 21
#endif

/* The error that the kernel answers. */
static int ask(const void *req, size_t size)
{
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    struct {
        struct nlmsghdr h;
        uint8_t req[256];
    } out = {.h = {.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + size),
                   .nlmsg_type = SOCK_DESTROY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
                   .nlmsg_seq = 1}};
    struct {
        struct nlmsghdr h;
        struct nlmsgerr err;
        uint8_t rest[512];
    } in;

    memcpy(out.req, req, size);
    CHECK_EQ(send(fd, &out, out.h.nlmsg_len, 0), out.h.nlmsg_len);
    CHECK(recv(fd, &in, sizeof(in), 0) >= (ssize_t)(NLMSG_HDRLEN + sizeof(in.err)));
    CHECK_EQ(in.h.nlmsg_type, NLMSG_ERROR);
    close(fd);
    return -in.err.error;
}

static int destroy(int fd, int protocol, const struct sockaddr_in *peer, uint32_t cookie)
{
    struct inet_diag_req_v2 req = {.sdiag_family = AF_INET,
                                   .sdiag_protocol = (uint8_t)protocol,
                                   .idiag_states = ~0U,
                                   .id.idiag_cookie = {cookie, cookie}};
    struct sockaddr_in own;
    socklen_t size = sizeof(own);

    CHECK_EQ(getsockname(fd, (struct sockaddr *)&own, &size), 0);
    req.id.idiag_sport = own.sin_port;
    req.id.idiag_src[0] = own.sin_addr.s_addr;
    if (peer) {
        req.id.idiag_dport = peer->sin_port;
        req.id.idiag_dst[0] = peer->sin_addr.s_addr;
    }
    return ask(&req, sizeof(req));
}

static int destroy_connected(int fd, uint32_t cookie)
{
    struct sockaddr_in peer;
    socklen_t size = sizeof(peer);

    CHECK_EQ(getpeername(fd, (struct sockaddr *)&peer, &size), 0);
    return destroy(fd, IPPROTO_TCP, &peer, cookie);
}

static void test_connection(void)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);
    char buf[8];
    int c[2];

    connection(c);
    CHECK_EQ(send(c[1], "unread", 6, 0), 6);
    CHECK_EQ(destroy_connected(c[0], 12345), ENOENT);
    CHECK_EQ(destroy_connected(c[0], INET_DIAG_NOCOOKIE), 0);
    CHECK_EQ(events_with(c[0], POLLIN | POLLOUT) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
    CHECK_EQ(recv(c[0], buf, sizeof(buf), MSG_DONTWAIT), 6);
    CHECK_ERRNO(recv(c[0], buf, sizeof(buf), MSG_DONTWAIT), ECONNABORTED);
    CHECK_EQ(recv(c[0], buf, sizeof(buf), MSG_DONTWAIT), 0);
    CHECK_ERRNO(send(c[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_ERRNO(getpeername(c[0], (struct sockaddr *)&name, &size), ENOTCONN);
    CHECK_ERRNO(recv(c[1], buf, sizeof(buf), 0), ECONNRESET);
    CHECK_EQ(recv(c[1], buf, sizeof(buf), 0), 0);
    close_both(c);
}

/* One that sleeps in a call is woken. */
static void test_sleeper(void)
{
    int c[2], status;
    char byte;
    pid_t pid;

    connection(c);
    pid = fork();
    if (pid == 0)
        _exit(recv(c[0], &byte, 1, 0) < 0 && errno == ECONNABORTED ? 0 : 1);
    CHECK_EQ(destroy_connected(c[0], INET_DIAG_NOCOOKIE), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close_both(c);
}

static void test_listener(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name;
    socklen_t size = sizeof(name);
    char byte;

    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(listen(fd, 4), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    CHECK_EQ(connect(client, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(destroy(fd, IPPROTO_TCP, NULL, INET_DIAG_NOCOOKIE), 0);
    CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_ERROR), ECONNABORTED);
    CHECK_ERRNO(recv(client, &byte, 1, 0), ECONNRESET);
    close(client);
    client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(client, (struct sockaddr *)&name, sizeof(name)), ECONNREFUSED);
    close(client);
    close(fd);
}

static void test_udp(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = v4(INADDR_LOOPBACK, 9), name;
    socklen_t size = sizeof(name);
    char byte;

    CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    CHECK_EQ(destroy(fd, IPPROTO_UDP, &to, INET_DIAG_NOCOOKIE), 0);
    CHECK_ERRNO(recv(fd, &byte, 1, MSG_DONTWAIT), ECONNABORTED);
    CHECK_ERRNO(recv(fd, &byte, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    CHECK_EQ(name.sin_port, 0);
    CHECK_ERRNO(send(fd, &byte, 1, 0), EDESTADDRREQ);
    close(fd);
}

static void test_refusals(void)
{
    struct inet_diag_req_v2 nobody = {
        .sdiag_family = AF_INET,
        .sdiag_protocol = IPPROTO_TCP,
        .idiag_states = ~0U,
        .id = {.idiag_sport = htons(1), .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}};
    struct unix_diag_req path = {.sdiag_family = AF_UNIX, .udiag_states = ~0U, .udiag_ino = 1};
    int c[2], status;
    pid_t pid;

    CHECK_EQ(ask(&nobody, sizeof(nobody)), ENOENT);
    CHECK_EQ(ask(&path, sizeof(path)), EOPNOTSUPP);
    connection(c);
    pid = fork();
    if (pid == 0) {
        if (setresuid(1000, 1000, 1000) < 0)
            _exit(2);
        _exit(destroy_connected(c[0], INET_DIAG_NOCOOKIE) == EPERM ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(send(c[0], "alive", 5, 0), 5);
    close_both(c);
}

int main(void)
{
    if (!enter_own_network())
        return CHECK_SKIPPED;
    test_connection();
    test_sleeper();
    test_listener();
    test_udp();
    test_refusals();
    return check_done();
}
