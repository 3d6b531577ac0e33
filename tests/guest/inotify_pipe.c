/* inotify of what has no place in the tree: pipes and sockets, by /proc/self/fd. */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "check.h"

static const char *fd_path(int fd)
{
    static char path[4][40];
    static int next;
    char *p = path[next++ & 3];

    snprintf(p, sizeof(path[0]), "/proc/self/fd/%d", fd);
    return p;
}

static void show(const char *title, int fd)
{
    char buf[4096] __attribute__((aligned(8))), line[500] = "";
    ssize_t n = read(fd, buf, sizeof(buf));

    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const void *)(buf + at);

        sprintf(line + strlen(line), " %d:%x%s%s", e->wd, e->mask, e->len ? "/" : "",
                e->len ? e->name : "");
        at += (ssize_t)(sizeof(*e) + e->len);
    }
    note("%s:%s", title, line);
}

static void test_pipe(void)
{
    int in = inotify_init1(IN_NONBLOCK), fds[2], again, wd;
    char c;

    CHECK_EQ(pipe(fds), 0);
    wd = inotify_add_watch(in, fd_path(fds[0]), IN_ALL_EVENTS);
    CHECK_EQ(wd, 1);
    CHECK_EQ(inotify_add_watch(in, fd_path(fds[1]), IN_ALL_EVENTS), 1);
    CHECK_EQ(write(fds[1], "ab", 2), 2);
    show("written", in);
    CHECK_EQ(read(fds[0], &c, 1), 1);
    show("read", in);
    again = open(fd_path(fds[0]), O_RDONLY);
    CHECK(again >= 0);
    show("opened", in);
    close(again);
    show("closed", in);
    again = dup(fds[1]);
    close(again);
    show("dup", in);
    close(fds[1]);
    show("end", in);
    close(fds[0]);
    show("other end", in);
    CHECK_EQ(inotify_rm_watch(in, wd), 0);
    show("removed", in);
    close(in);
}

static void test_socket(void)
{
    int in = inotify_init1(IN_NONBLOCK), fds[2];
    char c;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_EQ(inotify_add_watch(in, fd_path(fds[0]), IN_ALL_EVENTS), 1);
    CHECK_EQ(inotify_add_watch(in, fd_path(fds[1]), IN_ALL_EVENTS), 2);
    CHECK_EQ(write(fds[1], "ab", 2), 2);
    CHECK_EQ(send(fds[1], "ab", 2, 0), 2);
    show("written", in);
    CHECK_EQ(read(fds[0], &c, 1), 1);
    CHECK_EQ(recv(fds[0], &c, 1, 0), 1);
    show("read", in);
    close(fds[1]);
    show("closed", in);
    close(fds[0]);
    show("closed", in);
    close(in);
}

static void test_others(void)
{
    int in = inotify_init1(IN_NONBLOCK), mem = memfd_create("m", 0), event = eventfd(0, 0);
    uint64_t one = 1;

    note("memfd %d event %d self %d", inotify_add_watch(in, fd_path(mem), IN_ALL_EVENTS),
         inotify_add_watch(in, fd_path(event), IN_MODIFY),
         inotify_add_watch(in, fd_path(in), IN_OPEN) > 0);
    CHECK_EQ(write(mem, "abc", 3), 3);
    show("memfd", in);
    CHECK_EQ(write(event, &one, 8), 8);
    show("event", in);
    CHECK_ERRNO(inotify_add_watch(in, fd_path(event), IN_ONLYDIR | IN_OPEN), ENOTDIR);
    close(in);
}

int main(void)
{
    test_pipe();
    test_socket();
    test_others();
    return check_done();
}
