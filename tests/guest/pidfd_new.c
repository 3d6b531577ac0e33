/* Process handles as Linux has them since 6.9: threads, signals' scopes, what a handle tells. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "check.h"

#define HANDLE_THREAD  O_EXCL
#define GET_INFO(size) _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, size)
#define SELF_THREAD    -10000
#define SELF_PROCESS   -10001

static atomic_int tid, may_end, hits, hit_tid;

static void on_signal(int signo)
{
    hit_tid = (int)syscall(SYS_gettid);
    atomic_fetch_add(&hits, 1);
}

static void *thread_body(void *argument)
{
    tid = (int)syscall(SYS_gettid);
    while (!may_end)
        usleep(1000);
    return NULL;
}

static void await_hits(int count)
{
    for (int i = 0; i < 5000 && hits < count; i++)
        usleep(1000);
    CHECK_EQ(hits, count);
}

static void test_thread(void)
{
    struct pollfd p = {.events = POLLIN};
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, thread_body, NULL), 0);
    while (!tid)
        usleep(1000);
    CHECK_ERRNO(syscall(SYS_pidfd_open, tid, 0), ENOENT);
    p.fd = (int)syscall(SYS_pidfd_open, tid, HANDLE_THREAD);
    CHECK(p.fd >= 0);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, p.fd, SIGUSR1, NULL, 0), 0);
    await_hits(1);
    CHECK_EQ(hit_tid, tid);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, p.fd, SIGUSR1, NULL, 2), 0); /* to the process */
    await_hits(2);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, p.fd, SIGUSR1, NULL, 3), EINVAL);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, p.fd, SIGUSR1, NULL, 8), EINVAL);
    CHECK_ERRNO(waitid(3, (id_t)p.fd, NULL, WEXITED), ECHILD);
    may_end = 1;
    CHECK_EQ(poll(&p, 1, -1), 1);
    CHECK_EQ(p.revents, POLLIN | POLLHUP);
    pthread_join(thread, NULL);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, p.fd, 0, NULL, 0), ESRCH);
    close(p.fd);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, SELF_THREAD, SIGUSR1, NULL, 0), 0);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, SELF_PROCESS, SIGUSR1, NULL, 0), 0);
    CHECK_EQ(hits, 4);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, -10002, SIGUSR1, NULL, 0), EBADF);
}

static void test_group(void)
{
    int status, fd;
    pid_t pid;

    signal(SIGUSR1, SIG_DFL);
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        for (;;)
            pause();
    }
    setpgid(pid, pid);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 4), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGUSR1);
    close(fd);
}

static int thread_handle = -1;

static int exit_at_once(void *argument)
{
    return 0;
}

static void test_thread_clone(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    struct pollfd p = {.events = POLLIN};
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

    CHECK(clone(exit_at_once, stack + sizeof(stack), flags | CLONE_PIDFD, NULL, &thread_handle) >
          0);
    p.fd = thread_handle;
    CHECK_EQ(poll(&p, 1, -1), 1);
    close(thread_handle);
}

static void test_info(void)
{
    struct {
        uint64_t mask, cgroup;
        uint32_t pid, tgid, ppid, ids[8];
        int32_t exit_code;
    } info = {0};
    struct pollfd p = {.events = POLLIN};
    struct stat a, b;
    struct statfs fs;
    pid_t pid = fork();
    int fd, twin;

    if (pid == 0)
        _exit(3);
    fd = p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    twin = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK_EQ(poll(&p, 1, -1), 1);
    CHECK_EQ(p.revents, POLLIN);
    CHECK_EQ(fstat(fd, &a), 0);
    CHECK_EQ(fstat(twin, &b), 0);
    CHECK_EQ(a.st_ino, b.st_ino);
    CHECK_EQ(a.st_mode, 0700);
    CHECK_EQ(fstatfs(fd, &fs), 0);
    CHECK_EQ(fs.f_type, 0x50494446);
    CHECK_EQ(ioctl(fd, GET_INFO(64), &info), 0);
    CHECK_EQ(info.mask & 3, 3);
    CHECK_EQ(info.pid, pid);
    CHECK_EQ(info.tgid, pid);
    CHECK_EQ(info.ppid, getpid());
    CHECK_EQ(info.ids[0], getuid());
    CHECK_ERRNO(ioctl(fd, GET_INFO(56), &info), ENOTTY);
    CHECK_ERRNO(ioctl(fd, GET_INFO(64), NULL), EINVAL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(poll(&p, 1, -1), 1);
    CHECK_EQ(p.revents, POLLIN | POLLHUP);
    info.mask = 1;
    CHECK_ERRNO(ioctl(fd, GET_INFO(64), &info), ESRCH);
    info.mask = 8;
    CHECK_EQ(ioctl(fd, GET_INFO(64), &info), 0);
    CHECK_EQ(info.mask & 8, 8);
    CHECK_EQ(info.exit_code, 3 << 8);
    close(fd);
    close(twin);
}

/* Nobody hears of a process that his pid namespace does not show. */
static void test_info_across(void)
{
    struct {
        uint64_t mask, rest[8];
    } info = {.mask = 8};
    pid_t pid = fork(), child;
    int fd = (int)syscall(SYS_pidfd_open, pid ? pid : getpid(), 0), status = -1;

    if (pid == 0)
        _exit(0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
            _exit(0); /* not for us here */
        child = fork();
        if (child == 0)
            /* What was ESRCH is EREMOTE since 6.18.14. */
            _exit(ioctl(fd, GET_INFO(72), &info) == -1 && (errno == ESRCH || errno == EREMOTE));
        _exit(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 1 ? 0 : 1);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    close(fd);
}

int main(void)
{
    signal(SIGUSR1, on_signal);
    test_thread();
    test_group();
    test_thread_clone();
    test_info();
    test_info_across();
    return check_done();
}
