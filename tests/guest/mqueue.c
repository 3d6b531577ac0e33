/* POSIX message queues: names, priorities, waiting, notification, limits, as files. */
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "child.h"

static char name[64];
static char buf[8192];

static mqd_t make(int flags, long count, long size)
{
    struct mq_attr attr = {.mq_maxmsg = count, .mq_msgsize = size};

    return mq_open(name, O_CREAT | O_RDWR | flags, 0600, &attr);
}

static bool take(mqd_t q, const char *want, unsigned want_priority)
{
    unsigned priority = 77777;
    ssize_t n;

    memset(buf, 0, sizeof(buf));
    n = mq_receive(q, buf, sizeof(buf), &priority);
    return n == (ssize_t)strlen(want) && strcmp(buf, want) == 0 && priority == want_priority;
}

static int put(mqd_t q, const char *text, unsigned priority)
{
    return mq_send(q, text, strlen(text), priority);
}

static struct timespec in_ms(long ms)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += ms * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    return ts;
}

static void test_names(void)
{
    char longest[300];
    struct mq_attr attr;
    mqd_t q, other;

    CHECK_ERRNO(mq_open(name, O_RDWR), ENOENT);
    q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL);
    CHECK(q >= 0);
    CHECK_ERRNO(mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL), EEXIST);
    other = mq_open(name, O_RDONLY | O_NONBLOCK);
    CHECK(other >= 0);
    CHECK_EQ(mq_getattr(q, &attr), 0);
    CHECK_EQ(attr.mq_maxmsg, 10);
    CHECK_EQ(attr.mq_msgsize, 8192);
    CHECK_EQ(attr.mq_curmsgs, 0);
    CHECK_EQ(attr.mq_flags, 0);
    CHECK_EQ(mq_getattr(other, &attr), 0);
    CHECK_EQ(attr.mq_flags, O_NONBLOCK);
    CHECK_EQ(put(q, "hello", 3), 0);
    CHECK_ERRNO(put(other, "x", 0), EBADF);
    CHECK(take(other, "hello", 3));
    CHECK_ERRNO(mq_receive(other, buf, sizeof(buf), NULL), EAGAIN);
    CHECK_EQ(mq_unlink(name), 0);
    CHECK_ERRNO(mq_unlink(name), ENOENT);
    CHECK_EQ(put(q, "still there", 0), 0);
    CHECK(take(other, "still there", 0));
    CHECK_EQ(mq_close(q), 0);
    CHECK_EQ(mq_close(other), 0);
    CHECK_ERRNO(mq_close(other), EBADF);

    CHECK_EQ(RAW(SYS_mq_open, "", O_RDONLY, 0, 0), -ENOENT);
    CHECK_EQ(RAW(SYS_mq_open, "a/b", O_RDONLY, 0, 0), -EACCES);
    CHECK_EQ(RAW(SYS_mq_open, "..", O_RDONLY, 0, 0), -EACCES);
    CHECK_EQ(RAW(SYS_mq_open, 8, O_RDONLY, 0, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_mq_open, name + 1, O_CREAT, 0600, 8), -EFAULT);
    memset(longest, 'a', sizeof(longest));
    longest[256] = 0;
    CHECK_EQ(RAW(SYS_mq_open, longest, O_CREAT, 0600, 0), -ENAMETOOLONG);
    CHECK_ERRNO(make(0, 0, 10), EINVAL);
    CHECK_ERRNO(make(0, 10, 0), EINVAL);
    CHECK_ERRNO(make(0, -1, 10), EINVAL);
    CHECK_ERRNO(make(0, 65537, 10), EINVAL);
    CHECK_ERRNO(make(0, 10, (16 << 20) + 1), EINVAL);
    CHECK_ERRNO(mq_open(name, O_RDWR), ENOENT);
}

static void test_messages(void)
{
    mqd_t q = make(O_NONBLOCK, 4, 16);
    struct mq_attr attr;
    unsigned priority;

    CHECK_EQ(put(q, "low", 1), 0);
    CHECK_EQ(put(q, "high", 9), 0);
    CHECK_EQ(put(q, "low too", 1), 0);
    CHECK_EQ(put(q, "", 32767), 0);
    CHECK_ERRNO(put(q, "no room", 0), EAGAIN);
    CHECK_EQ(mq_getattr(q, &attr), 0);
    CHECK_EQ(attr.mq_curmsgs, 4);
    CHECK(take(q, "", 32767));
    CHECK(take(q, "high", 9));
    CHECK(take(q, "low", 1));
    CHECK(take(q, "low too", 1));
    CHECK_ERRNO(mq_receive(q, buf, 16, &priority), EAGAIN);

    CHECK_ERRNO(put(q, "x", 32768), EINVAL);
    CHECK_ERRNO(put(q, "seventeen bytes !", 0), EMSGSIZE);
    CHECK_ERRNO(mq_receive(q, buf, 15, NULL), EMSGSIZE);
    CHECK_ERRNO(mq_send(q, (char *)8, 5, 0), EFAULT);
    CHECK_EQ(put(q, "x", 0), 0);
    CHECK_ERRNO(mq_receive(q, (char *)8, 16, NULL), EFAULT);
    CHECK_ERRNO(mq_receive(q, buf, 16, NULL), EAGAIN); /* it was lost */
    CHECK_ERRNO(mq_send(0x7fffffff, "x", 1, 0), EBADF);
    CHECK_ERRNO(mq_send(STDOUT_FILENO, "x", 1, 0), EBADF);

    struct timespec bad = {0, 1000000000}, past = {1, 0}, soon;
    struct mq_attr block = {.mq_flags = 0};
    CHECK_ERRNO(mq_timedreceive(q, buf, 16, NULL, &bad), EINVAL);
    block.mq_flags = O_APPEND;
    CHECK_ERRNO(mq_setattr(q, &block, NULL), EINVAL);
    block.mq_flags = 0;
    CHECK_EQ(mq_setattr(q, &block, &attr), 0);
    CHECK_EQ(attr.mq_flags, O_NONBLOCK);
    CHECK_ERRNO(mq_timedreceive(q, buf, 16, NULL, &past), ETIMEDOUT);
    soon = in_ms(20);
    CHECK_ERRNO(mq_timedreceive(q, buf, 16, NULL, &soon), ETIMEDOUT);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(put(q, "x", 0), 0);
    soon = in_ms(20);
    CHECK_ERRNO(mq_timedsend(q, "x", 1, 0, &soon), ETIMEDOUT);
    CHECK_EQ(mq_close(q), 0);
    CHECK_EQ(mq_unlink(name), 0);
}

static long messages(mqd_t q)
{
    struct mq_attr attr;

    CHECK_EQ(mq_getattr(q, &attr), 0);
    return attr.mq_curmsgs;
}

static void test_waiting(void)
{
    mqd_t q = make(0, 2, 64);
    pid_t pid = fork();

    if (pid == 0) {
        CHECK(take(q, "one", 1));
        CHECK_EQ(put(q, "a", 5), 0);
        CHECK_EQ(put(q, "b", 5), 0);
        CHECK_EQ(put(q, "c", 6), 0); /* waits for room */
        _exit(check_failures != 0);
    }
    usleep(20000);
    CHECK_EQ(put(q, "one", 1), 0);
    while (messages(q) < 2) /* "a" and "b" are there, and "one" is not */
        usleep(1000);
    usleep(10000);
    CHECK(take(q, "a", 5));
    CHECK_EQ(status_of(pid), 0);
    CHECK(take(q, "c", 6));
    CHECK(take(q, "b", 5));
    CHECK_EQ(mq_close(q), 0);
    CHECK_EQ(mq_unlink(name), 0);
}

static volatile sig_atomic_t got_signo, got_code, got_value, got_pid, got_count;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    got_signo = signo;
    got_code = info->si_code;
    got_value = info->si_value.sival_int;
    got_pid = info->si_pid;
    got_count++;
}

static void test_notify(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    mqd_t q = make(0, 4, 64);
    int copy, status;
    pid_t pid;

    sigaction(SIGUSR1, &action, NULL);
    event.sigev_value.sival_int = 4711;
    CHECK_EQ(mq_notify(q, &event), 0);
    CHECK_ERRNO(mq_notify(q, &event), EBUSY);
    pid = fork();
    if (pid == 0) {
        CHECK_ERRNO(mq_notify(q, &event), EBUSY);
        CHECK_EQ(mq_notify(q, NULL), 0); /* not ours: nothing happens */
        _exit(put(q, "wake", 0) != 0 || check_failures != 0);
    }
    while (waitpid(pid, &status, 0) < 0)
        ;
    CHECK_EQ(status, 0);
    CHECK_EQ(got_signo, SIGUSR1);
    CHECK_EQ(got_code, SI_MESGQ);
    CHECK_EQ(got_value, 4711);
    CHECK_EQ(got_pid, pid);
    /* Used up, and only for a message into an empty queue. */
    CHECK_EQ(mq_notify(q, &event), 0);
    CHECK_EQ(put(q, "second", 0), 0);
    CHECK_EQ(got_count, 1);
    CHECK(take(q, "wake", 0));
    CHECK(take(q, "second", 0));
    CHECK_EQ(put(q, "third", 0), 0);
    CHECK_EQ(got_count, 2);
    CHECK_EQ(got_pid, getpid());
    CHECK(take(q, "third", 0));
    CHECK_EQ(put(q, "fourth", 0), 0);
    CHECK_EQ(got_count, 2);
    CHECK(take(q, "fourth", 0));

    /* Taking back, and by closing any descriptor of it. */
    CHECK_EQ(mq_notify(q, &event), 0);
    CHECK_EQ(mq_notify(q, NULL), 0);
    CHECK_EQ(mq_notify(q, NULL), 0);
    CHECK_EQ(mq_notify(q, &event), 0);
    copy = dup(q);
    close(copy);
    CHECK_EQ(put(q, "fifth", 0), 0);
    CHECK_EQ(got_count, 2);
    CHECK(take(q, "fifth", 0));

    event.sigev_notify = SIGEV_NONE;
    CHECK_EQ(mq_notify(q, &event), 0);
    CHECK_EQ(put(q, "sixth", 0), 0);
    CHECK_EQ(mq_notify(q, &event), 0);
    CHECK_EQ(mq_notify(q, NULL), 0);
    event.sigev_notify = 99;
    CHECK_ERRNO(mq_notify(q, &event), EINVAL);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = 65;
    CHECK_ERRNO(mq_notify(q, &event), EINVAL);
    CHECK_ERRNO(mq_notify(STDOUT_FILENO, NULL), EBADF);
    CHECK_EQ(RAW(SYS_mq_notify, q, 8), -EFAULT);
    CHECK_EQ(mq_close(q), 0);
    CHECK_EQ(mq_unlink(name), 0);
}

/* A handler ends a wait, unless it is to be restarted. */
static atomic_int thread_value;

static void notified(union sigval value)
{
    atomic_store(&thread_value, value.sival_int);
}

/* SIGEV_THREAD: libc makes threads of what comes over a netlink socket. */
static void test_threads(void)
{
    mqd_t q = make(0, 4, 32);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 17};
    struct sigevent raw = {.sigev_notify = SIGEV_THREAD};
    int socket_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
    char cookie[32] = "cookie", got[64];

    event.sigev_notify_function = notified;
    CHECK_EQ(mq_notify(q, &event), 0);
    CHECK_EQ(mq_send(q, "x", 1, 0), 0);
    for (int i = 0; i < 5000 && atomic_load(&thread_value) == 0; i++)
        usleep(1000);
    CHECK_EQ(atomic_load(&thread_value), 17);
    CHECK(take(q, "x", 0));
    /* The same by hand. */
    raw.sigev_value.sival_ptr = cookie;
    raw.sigev_signo = socket_fd;
    CHECK_EQ(RAW(SYS_mq_notify, q, &raw), 0);
    CHECK_EQ(RAW(SYS_mq_notify, q, &raw), -EBUSY);
    CHECK_EQ(mq_send(q, "y", 1, 0), 0);
    CHECK_EQ(recv(socket_fd, got, sizeof(got), 0), 32);
    CHECK(strcmp(got, "cookie") == 0);
    CHECK_EQ(got[31], 1);
    CHECK(take(q, "y", 0));
    CHECK_EQ(RAW(SYS_mq_notify, q, &raw), 0);
    CHECK_EQ(RAW(SYS_mq_notify, q, NULL), 0);
    CHECK_EQ(recv(socket_fd, got, sizeof(got), 0), 32);
    CHECK_EQ(got[31], 2);
    raw.sigev_signo = STDOUT_FILENO;
    CHECK_EQ(RAW(SYS_mq_notify, q, &raw), -ENOTSOCK);
    raw.sigev_signo = 9999;
    CHECK_EQ(RAW(SYS_mq_notify, q, &raw), -EBADF);
    raw.sigev_value.sival_ptr = NULL;
    CHECK_EQ(RAW(SYS_mq_notify, q, &raw), -EFAULT);
    close(socket_fd);
    mq_close(q);
    mq_unlink(name);
}

static void test_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    mqd_t q = make(0, 4, 64);
    pid_t parent = getpid(), pid;

    sigaction(SIGUSR1, &action, NULL);
    pid = fork();
    if (pid == 0) {
        usleep(30000);
        kill(parent, SIGUSR1);
        usleep(50000);
        kill(parent, SIGUSR2);
        usleep(30000);
        _exit(put(q, "at last", 0));
    }
    action.sa_flags |= SA_RESTART;
    sigaction(SIGUSR2, &action, NULL);
    CHECK_ERRNO(mq_receive(q, buf, sizeof(buf), NULL), EINTR);
    CHECK(take(q, "at last", 0));
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(mq_close(q), 0);
    CHECK_EQ(mq_unlink(name), 0);
}

static void test_file(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    mqd_t q = make(O_NONBLOCK, 2, 64);
    struct pollfd poller = {q, POLLIN | POLLOUT, 0};
    struct epoll_event ready = {.events = EPOLLIN};
    int epoll = epoll_create1(0), pid = 0, signo = 0, kind = -1;
    unsigned long size = 0;
    struct stat st;

    CHECK_EQ(fstat(q, &st), 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0600);
    CHECK_EQ(st.st_size, 80);
    CHECK_EQ(poll(&poller, 1, 0), 1);
    CHECK_EQ(poller.revents, POLLOUT);
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, q, &ready), 0);
    CHECK_EQ(epoll_wait(epoll, &ready, 1, 0), 0);
    CHECK_EQ(put(q, "12345", 0), 0);
    CHECK_EQ(epoll_wait(epoll, &ready, 1, 1000), 1);
    CHECK_EQ(poll(&poller, 1, 0), 1);
    CHECK_EQ(poller.revents, POLLIN | POLLOUT);
    CHECK_EQ(put(q, "678", 0), 0);
    CHECK_EQ(poll(&poller, 1, 0), 1);
    CHECK_EQ(poller.revents, POLLIN);
    close(epoll);

    CHECK_EQ(mq_notify(q, &event), 0);
    memset(buf, 0, sizeof(buf));
    CHECK(read(q, buf, sizeof(buf)) > 0);
    CHECK_EQ(sscanf(buf, "QSIZE:%lu NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &size, &kind, &signo, &pid),
             4);
    CHECK_EQ(size, 8);
    CHECK_EQ(kind, SIGEV_SIGNAL);
    CHECK_EQ(signo, SIGUSR1);
    CHECK_EQ(pid, getpid());
    CHECK_EQ(read(q, buf, sizeof(buf)), 0);
    CHECK_EQ(lseek(q, 6, SEEK_SET), 6);
    CHECK_EQ(read(q, buf, 1), 1);
    CHECK_EQ(buf[0], '8');
    CHECK_ERRNO(write(q, "x", 1), EINVAL);
    CHECK_EQ(mq_close(q), 0);
    CHECK_EQ(mq_unlink(name), 0);
}

static void test_limits(void)
{
    struct rlimit limit = {100, 100};
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        /* Who else has queues counts, too: only the extremes are certain. */
        setrlimit(RLIMIT_MSGQUEUE, &limit);
        CHECK_ERRNO(make(0, 1, 100), EMFILE);
        CHECK_ERRNO(mq_open(name, O_RDWR), ENOENT);
        _exit(check_failures != 0);
    }
    CHECK_EQ(status_of(pid), 0);
    if (geteuid() != 0)
        return;
    mqd_t q = make(0, 1, 100);
    pid = fork();
    if (pid == 0) {
        if (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0)
            _exit(9);
        CHECK_ERRNO(mq_open(name, O_RDONLY), EACCES);
        CHECK_EQ(RAW(SYS_mq_unlink, name + 1), -EPERM);
        strcat(name, "x");
        CHECK_ERRNO(make(0, 11, 100), EINVAL);
        CHECK_ERRNO(make(0, 10, 8193), EINVAL);
        _exit(check_failures != 0);
    }
    status = status_of(pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(mq_close(q), 0);
    CHECK_EQ(mq_unlink(name), 0);
}

int main(void)
{
    snprintf(name, sizeof(name), "/check_mqueue_%d", getpid());
    test_names();
    test_messages();
    test_waiting();
    test_notify();
    test_threads();
    test_signals();
    test_file();
    test_limits();
    return check_done();
}
