#include "host/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASSED_ROOM 4 /* more than are allowed, so that a surplus can be closed */

int host_send_message(int socket, const struct iovec *iov, int count, int passed)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t n;

    if (passed >= 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &passed, sizeof(int));
    }
    do {
        n = sendmsg(socket, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Takes the descriptors out of the control data: the first into *ret, the others are closed. */
static int collect_passed(struct msghdr *msg, int *ret)
{
    int total = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (total++ == 0)
                *ret = fd;
            else
                close(fd);
        }
    }
    return total;
}

ssize_t host_receive_message(int socket, void *buf, size_t size, int *ret_passed)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(PASSED_ROOM * sizeof(int))];
    } control;
    struct iovec iov = {buf, size};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    int passed = -1, total;
    ssize_t n;

    do {
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    total = collect_passed(&msg, &passed);
    if (total > 1 || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
        if (passed >= 0)
            close(passed);
        if (msg.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        return total == 0 ? -EMFILE : -EPROTO;
    }
    *ret_passed = passed;
    return n;
}
