#include "host/message.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/news.h"
#include "host/thread.h"

#define PASSED_ROOM (HOST_PASSED_MAX + 3) /* more than allowed, so that a surplus can be closed */
#define LOOKS       150                   /* some 40 us */
#define VAIN_SLEEPS 16                    /* without a look after looks in vain */

static int looks_before_sleep;
static int sleeps_left; /* atomic; of those */

void host_message_setup(void)
{
    cpu_set_t cpus;
    int size = host_get_affinity(&cpus, sizeof(cpus));

    looks_before_sleep = size > 0 && CPU_COUNT_S((size_t)size, &cpus) > 1 ? LOOKS : 0;
}

int host_send_passing(int socket, const struct iovec *iov, int count, const int *passed,
                      int passed_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(HOST_PASSED_MAX * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t n;

    if (passed_count > HOST_PASSED_MAX)
        return -EINVAL;
    if (passed_count > 0) {
        size_t size = (size_t)passed_count * sizeof(int);
        struct cmsghdr *cmsg;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(size);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(cmsg), passed, size);
    }
    do {
        n = sendmsg(socket, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int host_send_message(int socket, const struct iovec *iov, int count, int passed)
{
    return host_send_passing(socket, iov, count, &passed, passed >= 0 ? 1 : 0);
}

/* Takes the descriptors out of the control data: the first `room` into ret, others are closed. */
static int collect_passed(struct msghdr *msg, int room, int *ret)
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
            if (total++ < room)
                ret[total - 1] = fd;
            else
                close(fd);
        }
    }
    return total;
}

/*
 * True: that was it. In vain, all processors may be busy, and the sender waits for this one: then
 * it is left to it for the next messages.
 */
static bool look(int socket, struct msghdr *msg, ssize_t *ret)
{
    int left = __atomic_load_n(&sleeps_left, __ATOMIC_RELAXED);

    if (left > 0) {
        __atomic_store_n(&sleeps_left, left - 1, __ATOMIC_RELAXED);
        return false;
    }
    for (int i = 0; i < looks_before_sleep; i++) {
        *ret = recvmsg(socket, msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (*ret >= 0 || (errno != EAGAIN && errno != EINTR))
            return true;
        __builtin_ia32_pause();
    }
    __atomic_store_n(&sleeps_left, VAIN_SLEEPS, __ATOMIC_RELAXED);
    return false;
}

static ssize_t receive(int socket, struct msghdr *msg)
{
    ssize_t n = -1;

    if (look(socket, msg, &n))
        return n;
    do {
        n = recvmsg(socket, msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    return n;
}

ssize_t host_receive_passing(int socket, void *buf, size_t size, int room, int *ret_passed,
                             int *ret_count)
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
    int passed[HOST_PASSED_MAX], total;
    ssize_t n;

    room = MIN(room, HOST_PASSED_MAX);
    n = receive(socket, &msg);
    host_news_note();
    if (n < 0)
        return -errno;
    total = collect_passed(&msg, room, passed);
    if (total > room || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
        for (int i = 0; i < MIN(total, room); i++)
            close(passed[i]);
        if (msg.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        return total <= room ? -EMFILE : -EPROTO;
    }
    memcpy(ret_passed, passed, (size_t)total * sizeof(int));
    *ret_count = total;
    return n;
}

ssize_t host_receive_message(int socket, void *buf, size_t size, int *ret_passed)
{
    int passed = -1, count;
    ssize_t n = host_receive_passing(socket, buf, size, 1, &passed, &count);

    if (n >= 0)
        *ret_passed = passed;
    return n;
}
