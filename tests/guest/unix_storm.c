/*
 * Descriptors in flight under attack: threads send sockets over sockets, in rings and to
 * themselves, look at them without taking them, take them, close them, all at once. A pipe's end
 * goes with each message; when everything is closed, nobody may hold it any more.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "check.h"

#define THREADS 4
#define SLOTS   16
#define ROUNDS  3000

static _Atomic int slots[SLOTS]; /* descriptors; 0: none */
static int write_end;

static unsigned next_random(unsigned *state)
{
    *state = *state * 1103515245 + 12345;
    return *state >> 12;
}

static void put(int fd, unsigned *state)
{
    int old = atomic_exchange(&slots[next_random(state) % SLOTS], fd);

    if (old > 0)
        close(old);
}

static int take(unsigned *state)
{
    return atomic_exchange(&slots[next_random(state) % SLOTS], 0);
}

static void send_two(int over, int what)
{
    char control[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec iov = {(char *)"x", 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    const int fds[2] = {what, write_end};
    struct cmsghdr *cmsg;

    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    cmsg = CMSG_FIRSTHDR(&msg);
    *cmsg = (struct cmsghdr){CMSG_LEN(sizeof(fds)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
    sendmsg(over, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void receive(int over, int flags, unsigned *state)
{
    char control[CMSG_SPACE(2 * sizeof(int))] = {0}, byte;
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;
    int fds[2];

    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    if (recvmsg(over, &msg, MSG_DONTWAIT | flags) <= 0)
        return;
    cmsg = CMSG_FIRSTHDR(&msg);
    if (!cmsg || cmsg->cmsg_len != CMSG_LEN(sizeof(fds)))
        return;
    memcpy(fds, CMSG_DATA(cmsg), sizeof(fds));
    close(fds[1]);
    put(fds[0], state);
}

static void one_step(unsigned *state)
{
    int a, b, pair[2];

    switch (next_random(state) % 6) {
    case 0:
        if (socketpair(AF_UNIX, next_random(state) % 2 ? SOCK_STREAM : SOCK_DGRAM, 0, pair) == 0) {
            put(pair[0], state);
            put(pair[1], state);
        }
        return;
    case 1:
    case 2:
        a = take(state);
        b = next_random(state) % 4 == 0 ? a : take(state);
        if (a > 0 && b > 0)
            send_two(a, b);
        if (a > 0)
            put(a, state);
        if (b > 0 && b != a && next_random(state) % 2)
            put(b, state);
        else if (b > 0 && b != a)
            close(b);
        return;
    case 3:
    case 4:
        a = take(state);
        if (a > 0) {
            receive(a, next_random(state) % 3 ? 0 : MSG_PEEK, state);
            put(a, state);
        }
        return;
    default:
        a = take(state);
        if (a > 0)
            close(a);
    }
}

static void *storm(void *arg)
{
    unsigned state = (unsigned)(uintptr_t)arg * 77777 + 1;

    for (int i = 0; i < ROUNDS; i++)
        one_step(&state);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    struct pollfd p = {.events = POLLIN};
    int pipes[2];

    CHECK_EQ(pipe(pipes), 0);
    write_end = pipes[1];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, storm, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i] > 0)
            close(slots[i]);
    }
    close(write_end);
    p.fd = pipes[0];
    CHECK_EQ(poll(&p, 1, 20000), 1);
    CHECK_EQ(p.revents, POLLHUP);
    return check_done();
}
