/* File handles of pidfds: a process is found again by name_to_handle_at(2) and
 * open_by_handle_at(2). */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define PIDFS_ROOT (-10002)
#define FID        0x200

struct handle {
    struct file_handle head;
    unsigned char room[MAX_HANDLE_SZ];
};

static int encode(int fd, struct handle *h, int flags)
{
    int mount_id = 0, result;

    memset(h, 0, sizeof(*h));
    h->head.handle_bytes = MAX_HANDLE_SZ;
    result = name_to_handle_at(fd, "", &h->head, &mount_id, AT_EMPTY_PATH | flags);
    CHECK(result < 0 || mount_id > 0);
    return result;
}

static int decode(int fd, const struct handle *h, int flags)
{
    return open_by_handle_at(fd, (void *)&h->head, flags);
}

static int open_pid(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* 0, or why not. */
static int try(int fd, const struct handle *h, int flags)
{
    int got = decode(fd, h, flags), err = got < 0 ? errno : 0;

    close(got);
    return err;
}

static void test_same(int pidfd, int self, struct handle *h)
{
    struct stat a, b;
    int got;

    CHECK_EQ(encode(pidfd, h, 0), 0);
    note("type %x, %u bytes", h->head.handle_type, h->head.handle_bytes);
    CHECK_EQ(fstat(pidfd, &a), 0);
    CHECK(memcmp(h->head.f_handle, &a.st_ino, sizeof(a.st_ino)) == 0);
    got = decode(self, h, O_CLOEXEC);
    CHECK(got >= 0 && fstat(got, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    CHECK_EQ(fcntl(got, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, got, 0, NULL, 0), 0);
    close(got);
    got = decode(PIDFS_ROOT, h, O_NONBLOCK | O_EXCL);
    CHECK_EQ(fcntl(got, F_GETFL), O_RDWR | O_NONBLOCK);
    close(got);
}

static void test_errors(int self, const struct handle *good)
{
    static const int refused[] = {O_DIRECTORY, O_PATH, O_TRUNC, O_APPEND, O_CREAT, O_NOFOLLOW};
    int root = open("/", O_RDONLY);
    struct handle h = *good;

    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        CHECK_EQ(try(self, &h, refused[i]), EINVAL);
    h.room[0] ^= 0x55;
    CHECK_EQ(try(self, &h, 0), ESTALE);
    h = *good;
    h.head.handle_type = 1;
    CHECK_EQ(try(self, &h, 0), ESTALE);
    h = *good;
    h.head.handle_bytes = 4;
    CHECK_EQ(try(self, &h, 0), ESTALE);
    h.head.handle_bytes = 0;
    CHECK_EQ(try(self, &h, 0), EINVAL);
    h.head.handle_bytes = 16;
    CHECK_EQ(try(self, &h, 0), 0);
    CHECK_EQ(try(root, good, 0), getuid() == 0 ? ESTALE : EPERM);
    close(root);
}

/* One sees what is in one's pid namespace, as whoever one is. */
static void test_others(int pidfd, int self, const struct handle *good)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct handle h;

        if (setgid(1000) || setuid(1000))
            _exit(100);
        CHECK_EQ(try(self, good, 0), 0);
        CHECK_EQ(encode(pidfd, &h, 0), 0);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    pid = fork();
    if (pid == 0) {
        CHECK_EQ(unshare(CLONE_NEWPID), 0);
        pid = fork();
        if (pid == 0) {
            struct handle own;

            CHECK_EQ(try(self, good, 0), ESTALE);
            CHECK_EQ(encode(open_pid(getpid()), &own, 0), 0);
            CHECK_EQ(try(self, &own, 0), 0);
            _exit(atomic_load(&check_failures) > 0);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        _exit(atomic_load(&check_failures) > 0 || status);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

int main(void)
{
    struct handle h, fid, small = {.head.handle_bytes = 4};
    int pidfd, self = open_pid(getpid()), mount_id;
    struct pollfd ended = {.events = POLLIN};
    pid_t child;

    if (getuid() != 0 || encode(self, &h, 0) < 0)
        return CHECK_SKIPPED;
    child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    pidfd = open_pid(child);
    test_same(pidfd, self, &h);
    CHECK_EQ(encode(pidfd, &fid, FID), 0);
    CHECK(memcmp(&fid, &h, sizeof(struct file_handle) + 8) == 0);
    CHECK_ERRNO(name_to_handle_at(pidfd, "", &small.head, &mount_id, AT_EMPTY_PATH), EOVERFLOW);
    CHECK_EQ(small.head.handle_bytes, 8);
    test_errors(self, &h);
    test_others(pidfd, self, &h);
    /* Until it is waited for. */
    CHECK_EQ(kill(child, SIGKILL), 0);
    ended.fd = pidfd;
    CHECK_EQ(poll(&ended, 1, -1), 1);
    CHECK_EQ(try(self, &h, 0), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(try(self, &h, 0), ESTALE);
    CHECK_EQ(encode(pidfd, &fid, 0), 0);
    return check_done();
}
