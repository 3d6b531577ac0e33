/* signalfd(2): each kind of signal as a record, waiting, polling, and sharing across fork(2). */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define MS 1000000LL

static sigset_t blocked;

static sigset_t set_of(int a, int b, int c)
{
    sigset_t set;

    sigemptyset(&set);
    if (a)
        sigaddset(&set, a);
    if (b)
        sigaddset(&set, b);
    if (c)
        sigaddset(&set, c);
    return set;
}

static int make(int a, int b, int c, int flags)
{
    sigset_t set = set_of(a, b, c);
    int fd = signalfd(-1, &set, flags);

    CHECK(fd >= 0);
    return fd;
}

static struct signalfd_siginfo take(int fd)
{
    struct signalfd_siginfo r = {0};
    ssize_t n = read(fd, &r, sizeof(r));

    CHECK_EQ(n, sizeof(r));
    return r;
}

static void test_errors(void)
{
    sigset_t set = set_of(SIGUSR1, SIGKILL, SIGSTOP);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), plain = make(SIGUSR1, 0, 0, 0);
    int other = open("/dev/null", O_RDONLY);
    char small[127];

    CHECK(fd >= 0); /* what cannot be blocked is silently left out */
    CHECK_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(plain, F_GETFL), O_RDWR);
    CHECK_EQ(fcntl(plain, F_GETFD), 0);
    CHECK_EQ(RAW(SYS_signalfd4, -1, &set, 8, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_signalfd4, -1, &set, 4, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_signalfd4, -1, 8, 16, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_signalfd4, -1, 8, 8, 1), -EFAULT);
    CHECK_EQ(RAW(SYS_signalfd4, -2, &set, 8, 0), -EBADF);
    CHECK_EQ(RAW(SYS_signalfd4, other, &set, 8, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_signalfd4, fd, &set, 8, 0), fd);
    CHECK_EQ(RAW(SYS_signalfd, fd, &set, 8), fd);
    CHECK_ERRNO(read(fd, small, sizeof(small)), EINVAL);
    CHECK_ERRNO(write(fd, small, 8), EINVAL);
    struct signalfd_siginfo r;
    CHECK_ERRNO(read(fd, &r, sizeof(r)), EAGAIN);
    kill(getpid(), SIGUSR1);
    CHECK_EQ(RAW(SYS_read, fd, 8, sizeof(r)), -EFAULT);
    CHECK_ERRNO(read(fd, &r, sizeof(r)), EAGAIN); /* the signal is lost */
    char path[64], name[64] = "";
    struct stat st;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (readlink(path, name, sizeof(name) - 1) > 0)
        CHECK_EQ(strcmp(name, "anon_inode:[signalfd]"), 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode, 0600);
    close(fd);
    close(plain);
    close(other);
}

static void test_records(void)
{
    int fd = make(SIGUSR1, SIGRTMIN + 1, SIGALRM, SFD_NONBLOCK);
    struct signalfd_siginfo r[4];

    kill(getpid(), SIGUSR1);
    r[0] = take(fd);
    CHECK_EQ(r[0].ssi_signo, SIGUSR1);
    CHECK_EQ(r[0].ssi_code, SI_USER);
    CHECK_EQ(r[0].ssi_pid, getpid());
    CHECK_EQ(r[0].ssi_uid, getuid());
    CHECK_EQ(r[0].ssi_int, 0);

    CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_ptr = (void *)0x123456789a}),
             0);
    r[0] = take(fd);
    CHECK_EQ(r[0].ssi_signo, SIGRTMIN + 1);
    CHECK_EQ(r[0].ssi_code, SI_QUEUE);
    CHECK_EQ(r[0].ssi_ptr, 0x123456789a);
    CHECK_EQ(r[0].ssi_int, 0x3456789a);
    CHECK_EQ(r[0].ssi_pid, getpid());

    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec its = {.it_value = {0, 1}};
    int id = -1;
    event.sigev_value.sival_int = 77;
    CHECK_EQ(RAW(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), 0);
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, &its, NULL), 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 10000), 1);
    r[0] = take(fd);
    CHECK_EQ(r[0].ssi_code, SI_TIMER);
    CHECK_EQ((int)r[0].ssi_tid, id);
    CHECK_EQ(r[0].ssi_overrun, 0);
    CHECK_EQ(r[0].ssi_int, 77);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);

    /* Several at once, in the order of their numbers; what does not fit stays. */
    for (int i = 0; i < 3; i++)
        sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i});
    kill(getpid(), SIGUSR1);
    CHECK_EQ(read(fd, r, 3 * sizeof(r[0]) + 17), 3 * sizeof(r[0]));
    CHECK_EQ(r[0].ssi_signo, SIGUSR1);
    CHECK_EQ(r[1].ssi_int, 0);
    CHECK_EQ(r[2].ssi_int, 1);
    CHECK_EQ(take(fd).ssi_int, 2);
    CHECK_ERRNO(read(fd, r, sizeof(r)), EAGAIN);
    close(fd);
}

static void test_child(void)
{
    int fd = make(SIGCHLD, 0, 0, 0);
    pid_t pid = fork();

    if (pid == 0)
        _exit(23);
    struct signalfd_siginfo r = take(fd);
    CHECK_EQ(r.ssi_signo, SIGCHLD);
    CHECK_EQ(r.ssi_code, CLD_EXITED);
    CHECK_EQ(r.ssi_pid, pid);
    CHECK_EQ(r.ssi_status, 23);
    CHECK_EQ(r.ssi_uid, getuid());
    CHECK(r.ssi_utime < 1000 && r.ssi_stime < 1000);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    pid = fork();
    if (pid == 0) {
        sigset_t none = set_of(0, 0, 0);

        sigprocmask(SIG_SETMASK, &none, NULL);
        for (;;)
            pause();
    }
    kill(pid, SIGKILL);
    r = take(fd);
    CHECK_EQ(r.ssi_code, CLD_KILLED);
    CHECK_EQ(r.ssi_status, SIGKILL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    close(fd);
}

static pthread_t main_thread;

static void *send_later(void *argument)
{
    const struct timespec pause_ = {0, 20 * MS};

    nanosleep(&pause_, NULL);
    if (argument)
        pthread_kill(main_thread, SIGUSR2);
    else
        kill(getpid(), SIGUSR2);
    return NULL;
}

static volatile int handled;

static void on_signal(int signo)
{
    (void)signo;
    handled++;
}

static void test_waiting(void)
{
    int fd = make(SIGUSR1, 0, 0, 0), ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    struct signalfd_siginfo r;
    sigset_t set = set_of(SIGUSR1, SIGUSR2, 0), open = blocked;
    pthread_t thread;

    main_thread = pthread_self();
    /* The mask changes: what is pending then counts. */
    kill(getpid(), SIGUSR2);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event), 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    CHECK_EQ(signalfd(fd, &set, 0), fd);
    CHECK_EQ(epoll_wait(ep, &event, 1, 10000), 1);
    CHECK_EQ(event.events, EPOLLIN);
    CHECK_EQ(take(fd).ssi_signo, SIGUSR2);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);

    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pthread_create(&thread, NULL, send_later, i ? &blocked : NULL), 0);
        r = take(fd);
        CHECK_EQ(r.ssi_signo, SIGUSR2);
        CHECK_EQ(r.ssi_code, i ? SI_TKILL : SI_USER);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(pthread_create(&thread, NULL, send_later, i ? &blocked : NULL), 0);
        CHECK_EQ(epoll_wait(ep, &event, 1, 10000), 1);
        CHECK_EQ(take(fd).ssi_signo, SIGUSR2);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    /* A signal of another set goes to its handler, and interrupts the read. */
    struct sigaction action = {.sa_handler = on_signal};
    CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
    set = set_of(SIGUSR1, 0, 0);
    CHECK_EQ(signalfd(fd, &set, 0), fd);
    sigdelset(&open, SIGUSR2);
    sigprocmask(SIG_SETMASK, &open, NULL);
    CHECK_EQ(pthread_create(&thread, NULL, send_later, &blocked), 0);
    CHECK_ERRNO(read(fd, &r, sizeof(r)), EINTR);
    CHECK_EQ(handled, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    close(ep);
    close(fd);
}

/* A thread's own signals are its own: another thread does not read them. */
static void *look(void *argument)
{
    struct pollfd p = {.fd = *(int *)argument, .events = POLLIN};
    struct signalfd_siginfo r;

    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_ERRNO(read(p.fd, &r, sizeof(r)), EAGAIN);
    return NULL;
}

static void test_whose(void)
{
    int fd = make(SIGUSR1, 0, 0, SFD_NONBLOCK);
    struct signalfd_siginfo r;
    pthread_t thread;
    int status = -1;

    pthread_kill(pthread_self(), SIGUSR1);
    CHECK_EQ(pthread_create(&thread, NULL, look, &fd), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(take(fd).ssi_signo, SIGUSR1);
    /* A child reads its own signals, not its parent's. */
    kill(getpid(), SIGUSR1);
    pid_t pid = fork();
    if (pid == 0) {
        int bad = read(fd, &r, sizeof(r)) != -1;

        sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 9});
        bad |= read(fd, &r, sizeof(r)) != sizeof(r) || r.ssi_int != 9;
        _exit(bad);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(take(fd).ssi_code, SI_USER);
    close(fd);
}

int main(void)
{
    sigfillset(&blocked);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    test_errors();
    test_records();
    test_child();
    test_waiting();
    test_whose();
    return check_done();
}
