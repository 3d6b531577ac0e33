/*
 * inotify(7): every kind of event in its order, watches and their options, what queues and limits
 * do. In a folder of its own on a tmpfs.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "check.h"

static int in; /* the instance that the tests use */
static int wds[8];

static const struct {
    uint32_t bit;
    const char *name;
} words[] = {
    {IN_ACCESS, "ACCESS"},
    {IN_MODIFY, "MODIFY"},
    {IN_ATTRIB, "ATTRIB"},
    {IN_CLOSE_WRITE, "CLOSE_WRITE"},
    {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
    {IN_OPEN, "OPEN"},
    {IN_MOVED_FROM, "MOVED_FROM"},
    {IN_MOVED_TO, "MOVED_TO"},
    {IN_CREATE, "CREATE"},
    {IN_DELETE, "DELETE"},
    {IN_DELETE_SELF, "DELETE_SELF"},
    {IN_MOVE_SELF, "MOVE_SELF"},
    {IN_UNMOUNT, "UNMOUNT"},
    {IN_Q_OVERFLOW, "Q_OVERFLOW"},
    {IN_IGNORED, "IGNORED"},
    {IN_ISDIR, "ISDIR"},
};

/* Watches are named by the order in which they were made: 0, 1... */
static int number_of(int wd)
{
    for (int i = 0; i < (int)ARRAY_COUNT(wds); i++) {
        if (wds[i] == wd)
            return i;
    }
    return -1;
}

static void print_event(const struct inotify_event *e)
{
    static uint32_t first_cookie;
    char line[400];
    int at = snprintf(line, sizeof(line), "  %d", number_of(e->wd));

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (e->mask & words[i].bit)
            at += snprintf(line + at, sizeof(line) - (size_t)at, " %s", words[i].name);
    }
    if (e->len)
        at += snprintf(line + at, sizeof(line) - (size_t)at, " \"%s\" (%u)", e->name, e->len);
    if (e->mask & IN_MOVED_FROM)
        first_cookie = e->cookie;
    if ((e->mask & IN_MOVED_TO) && e->cookie != first_cookie)
        snprintf(line + at, sizeof(line) - (size_t)at, " another cookie");
    note("%s", line);
}

static void show(const char *what)
{
    char buf[4096] __attribute__((aligned(8)));
    ssize_t n;

    note("%s", what);
    while ((n = read(in, buf, sizeof(buf))) > 0) {
        for (char *at = buf; at < buf + n;) {
            struct inotify_event *e = (struct inotify_event *)at;

            print_event(e);
            at += sizeof(*e) + e->len;
        }
    }
    CHECK(n == -1 && errno == EAGAIN);
}

static void watch(int number, const char *path, uint32_t mask)
{
    wds[number] = inotify_add_watch(in, path, mask);
    CHECK(wds[number] > 0);
}

static void test_file(void)
{
    char buf[16];
    int fd = open("file", O_CREAT | O_RDWR, 0600);
    struct timespec times[2] = {{1, 0}, {2, 0}};

    CHECK_EQ(write(fd, "text", 4), 4);
    close(fd);
    watch(0, ".", IN_ALL_EVENTS);
    watch(1, "file", IN_ALL_EVENTS);
    fd = open("file", O_RDWR);
    show("open");
    CHECK_EQ(read(fd, buf, sizeof(buf)), 4);
    CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
    CHECK_EQ(pread(fd, buf, 1, 0), 1);
    show("read");
    CHECK_EQ(write(fd, "more", 4), 4);
    CHECK_EQ(write(fd, "more", 0), 0);
    show("write");
    CHECK_EQ(ftruncate(fd, 2), 0);
    CHECK_EQ(truncate("file", 3), 0);
    CHECK_EQ(fallocate(fd, 0, 0, 10), 0);
    show("size");
    CHECK_EQ(fchmod(fd, 0644), 0);
    CHECK_EQ(chown("file", -1, getgid()), 0);
    CHECK_EQ(futimens(fd, times), 0);
    show("attributes");
    times[0].tv_nsec = UTIME_OMIT;
    CHECK_EQ(futimens(fd, times), 0);
    times[0].tv_nsec = 0;
    times[1].tv_nsec = UTIME_OMIT;
    CHECK_EQ(futimens(fd, times), 0);
    show("one time");
    close(fd);
    show("close");
    close(open("file", O_RDONLY));
    close(open("file", O_WRONLY | O_TRUNC));
    show("again");
    close(open("file", O_PATH));
    CHECK_EQ(access("file", R_OK), 0);
    show("nothing");
    CHECK_EQ(link("file", "second"), 0);
    show("link");
    CHECK_EQ(rename("second", "third"), 0);
    show("rename");
    CHECK_EQ(unlink("third"), 0);
    show("unlink one");
    fd = open("file", O_RDONLY);
    CHECK_EQ(unlink("file"), 0);
    show("unlink the last, open");
    close(fd);
    show("close the last");
    CHECK_ERRNO(inotify_rm_watch(in, wds[1]), EINVAL);
}

static void test_names(void)
{
    int fd;

    CHECK_EQ(mkdir("dir", 0700), 0);
    CHECK_EQ(symlink("dir", "link"), 0);
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    close(open("new", O_CREAT | O_WRONLY, 0600));
    close(open("new", O_CREAT | O_RDONLY, 0600));
    show("make");
    watch(2, "dir", IN_ALL_EVENTS);
    CHECK_EQ(rename("new", "dir/moved"), 0);
    show("move there");
    close(open("other", O_CREAT | O_WRONLY, 0600));
    watch(3, "dir/moved", IN_ALL_EVENTS);
    CHECK_EQ(rename("other", "dir/moved"), 0);
    show("move over");
    CHECK_EQ(rename("dir", "dir2"), 0);
    show("move the folder");
    fd = open("dir2", O_RDONLY | O_DIRECTORY);
    char buf[1024];
    CHECK(syscall(217 /* getdents64 */, fd, buf, sizeof(buf)) > 0);
    close(fd);
    show("list");
    CHECK_EQ(unlink("dir2/moved"), 0);
    CHECK_EQ(rmdir("dir2"), 0);
    CHECK_EQ(unlink("link"), 0);
    CHECK_EQ(unlink("fifo"), 0);
    show("remove");
}

static void test_watches(void)
{
    int again;

    close(open("w", O_CREAT | O_WRONLY, 0600));
    show("made");
    watch(4, "w", IN_OPEN);
    again = inotify_add_watch(in, "w", IN_CLOSE | IN_MASK_ADD);
    CHECK_EQ(again, wds[4]);
    CHECK_ERRNO(inotify_add_watch(in, "w", IN_OPEN | IN_MASK_CREATE), EEXIST);
    CHECK_ERRNO(inotify_add_watch(in, "w", IN_OPEN | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
    CHECK_ERRNO(inotify_add_watch(in, "w", 0), EINVAL);
    CHECK_ERRNO(inotify_add_watch(in, "missing", IN_OPEN), ENOENT);
    CHECK_ERRNO(inotify_add_watch(in, "w", IN_OPEN | IN_ONLYDIR), ENOTDIR);
    CHECK_ERRNO(inotify_add_watch(-1, "w", IN_OPEN), EBADF);
    CHECK_ERRNO(inotify_add_watch(0, "w", IN_OPEN), EINVAL);
    CHECK_EQ(inotify_rm_watch(in, wds[0]), 0);
    close(open("w", O_RDONLY));
    show("added to");
    CHECK_EQ(inotify_add_watch(in, "w", IN_ACCESS), wds[4]);
    close(open("w", O_RDONLY));
    show("replaced");
    CHECK_EQ(inotify_add_watch(in, "w", IN_OPEN | IN_ONESHOT), wds[4]);
    close(open("w", O_RDONLY));
    close(open("w", O_RDONLY));
    show("once");
    CHECK_ERRNO(inotify_rm_watch(in, wds[4]), EINVAL);
    CHECK_EQ(symlink("w", "s"), 0);
    watch(4, "s", IN_ALL_EVENTS | IN_DONT_FOLLOW);
    close(open("w", O_RDONLY));
    CHECK_EQ(unlink("s"), 0);
    show("the link itself");
    /* What was removed already, and who does not want to hear of it. */
    watch(0, ".", IN_MODIFY | IN_EXCL_UNLINK);
    int fd = open("w", O_WRONLY);
    CHECK_EQ(write(fd, "x", 1), 1);
    CHECK_EQ(unlink("w"), 0);
    CHECK_EQ(write(fd, "x", 1), 1);
    close(fd);
    show("unlinked");
    CHECK_EQ(inotify_rm_watch(in, wds[0]), 0);
    show("removed");
}

static void test_queue(void)
{
    struct pollfd p = {.fd = in, .events = POLLIN};
    char buf[64];
    int size, fd = open("q", O_CREAT | O_RDWR, 0600);

    watch(0, ".", IN_ALL_EVENTS);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(write(fd, "x", 1), 1);
    CHECK_EQ(write(fd, "x", 1), 1); /* equal: one event */
    CHECK_EQ(pread(fd, buf, 1, 0), 1);
    CHECK_EQ(poll(&p, 1, 1000), 1);
    CHECK_EQ(ioctl(in, FIONREAD, &size), 0);
    CHECK_EQ(size, 64);
    CHECK_ERRNO(read(in, buf, 20), EINVAL);
    CHECK_EQ(read(in, buf, 40), 32);
    CHECK_EQ(ioctl(in, FIONREAD, &size), 0);
    CHECK_EQ(size, 32);
    show("rest");
    close(fd);
    show("closed");
    CHECK_EQ(unlink("q"), 0);
    show("gone");
    CHECK_ERRNO(write(in, "x", 1), EBADF);
    CHECK_ERRNO(inotify_init1(1), EINVAL);
}

static void test_overflow(void)
{
    int limit = 0, events = 0, fd = open("/proc/sys/fs/inotify/max_queued_events", O_RDONLY);
    char buf[4096] __attribute__((aligned(8))), number[16] = "";
    bool overflow = false;
    ssize_t n;

    CHECK(read(fd, number, sizeof(number) - 1) > 0);
    limit = atoi(number);
    close(fd);
    CHECK(limit > 0 && limit <= 100000);
    fd = open("o", O_CREAT | O_RDWR, 0600);
    CHECK_EQ(write(fd, "x", 1), 1);
    show("before");
    for (int i = 0; i <= limit / 2; i++) {
        CHECK(pwrite(fd, "x", 1, 0) == 1 && pread(fd, buf, 1, 0) == 1);
    }
    while ((n = read(in, buf, sizeof(buf))) > 0) {
        for (char *at = buf; at < buf + n; events++) {
            struct inotify_event *e = (struct inotify_event *)at;

            overflow |= e->mask == IN_Q_OVERFLOW && e->wd == -1;
            at += sizeof(*e) + e->len;
        }
    }
    CHECK(overflow);
    CHECK_EQ(events, limit + 1);
    close(fd);
    CHECK_EQ(unlink("o"), 0);
    show("after");
}

static void test_unmount(void)
{
    CHECK_EQ(mkdir("m", 0700), 0);
    if (mount("x", "m", "tmpfs", 0, NULL) != 0) {
        CHECK_EQ(errno, EPERM);
        CHECK_EQ(rmdir("m"), 0);
        return;
    }
    close(open("m/f", O_CREAT | O_WRONLY, 0600));
    CHECK_EQ(inotify_rm_watch(in, wds[0]), 0);
    watch(5, "m/f", IN_ALL_EVENTS);
    CHECK_EQ(umount("m"), 0);
    CHECK_EQ(rmdir("m"), 0);
    show("unmount");
}

int main(void)
{
    char dir[64];

    snprintf(dir, sizeof(dir), "/dev/shm/inotify-%d", getpid());
    if (mkdir(dir, 0755) != 0)
        snprintf(dir, sizeof(dir), "/tmp/inotify-%d", getpid()), mkdir(dir, 0755);
    CHECK_EQ(chdir(dir), 0);
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(in >= 0);
    test_file();
    test_names();
    test_watches();
    test_queue();
    test_overflow();
    test_unmount();
    close(in);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(dir), 0);
    return check_done();
}
