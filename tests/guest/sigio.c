/* Signal-driven reading and writing of pipes: O_ASYNC, owners, and which signal comes. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

/* The next signal of the set, within five seconds: its number, or 0. */
static int next(siginfo_t *info)
{
    struct timespec limit = {5, 0};
    sigset_t set;
    int signo;

    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    sigaddset(&set, SIGRTMIN + 2);
    memset(info, 0, sizeof(*info));
    signo = sigtimedwait(&set, info, &limit);
    return signo < 0 ? 0 : signo;
}

static bool nothing_pending(void)
{
    sigset_t set;

    usleep(5000);
    sigpending(&set);
    return !sigismember(&set, SIGIO) && !sigismember(&set, SIGRTMIN + 2);
}

static void set_async(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);

    CHECK_EQ(fcntl(fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC), 0);
}

static void test_owners(int fd)
{
    struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = 77};

    CHECK_EQ(fcntl(fd, F_GETOWN), 0);
    CHECK_EQ(fcntl(fd, F_GETSIG), 0);
    CHECK_EQ(fcntl(fd, F_SETOWN, getpid()), 0);
    CHECK_EQ(fcntl(fd, F_GETOWN), getpid());
    CHECK_EQ(fcntl(fd, F_GETOWN_EX, &owner), 0);
    CHECK(owner.type == F_OWNER_PID && owner.pid == getpid());
    CHECK_EQ(fcntl(fd, F_SETOWN, -getpgrp()), 0);
    CHECK_EQ(fcntl(fd, F_GETOWN_EX, &owner), 0);
    CHECK(owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
    owner = (struct f_owner_ex){.type = F_OWNER_TID, .pid = (pid_t)RAW(SYS_gettid)};
    CHECK_EQ(fcntl(fd, F_SETOWN_EX, &owner), 0);
    CHECK_EQ(fcntl(fd, F_GETOWN), owner.pid);
    owner.type = 5;
    CHECK_ERRNO(fcntl(fd, F_SETOWN_EX, &owner), EINVAL);
    CHECK_ERRNO(fcntl(fd, F_SETOWN_EX, (void *)8), EFAULT);
    CHECK_EQ(RAW(SYS_fcntl, fd, F_SETOWN, 4000000), -ESRCH);
    CHECK_EQ(RAW(SYS_fcntl, fd, F_SETOWN, -4000000), -ESRCH);
    CHECK_EQ(RAW(SYS_fcntl, fd, F_SETOWN, INT32_MIN), -EINVAL);
    CHECK_ERRNO(fcntl(fd, F_SETSIG, 65), EINVAL);
    CHECK_EQ(fcntl(fd, F_SETOWN, 0), 0);
    CHECK_EQ(fcntl(fd, F_GETOWN), 0);
}

static void test_reading(int r, int w)
{
    siginfo_t info;
    char byte;

    /* Without an owner nobody is told. */
    set_async(r, true);
    CHECK_EQ(write(w, "x", 1), 1);
    CHECK(nothing_pending());
    CHECK_EQ(read(r, &byte, 1), 1);
    CHECK_EQ(fcntl(r, F_SETOWN, getpid()), 0);
    CHECK_EQ(write(w, "x", 1), 1);
    CHECK_EQ(next(&info), SIGIO);
    CHECK_EQ(info.si_code, SI_KERNEL);
    CHECK_EQ(read(r, &byte, 1), 1);
    CHECK_EQ(fcntl(r, F_SETSIG, SIGRTMIN + 2), 0);
    CHECK_EQ(fcntl(r, F_GETSIG), SIGRTMIN + 2);
    CHECK_EQ(write(w, "x", 1), 1);
    CHECK_EQ(next(&info), SIGRTMIN + 2);
    CHECK_EQ(info.si_code, POLL_IN);
    CHECK_EQ(info.si_fd, r);
    CHECK_EQ(info.si_band, POLLIN | POLLRDNORM);
    CHECK_EQ(read(r, &byte, 1), 1);
    set_async(r, false);
    CHECK_EQ(write(w, "x", 1), 1);
    CHECK(nothing_pending());
    CHECK_EQ(read(r, &byte, 1), 1);
}

/* A full pipe that is emptied tells its writer. */
static void test_writing(int r, int w)
{
    static char page[4096];
    siginfo_t info;

    CHECK_EQ(fcntl(w, F_SETFL, O_NONBLOCK), 0);
    while (write(w, page, sizeof(page)) > 0)
        ;
    CHECK_EQ(fcntl(w, F_SETOWN, getpid()), 0);
    CHECK_EQ(fcntl(w, F_SETSIG, SIGRTMIN + 2), 0);
    set_async(w, true);
    CHECK(nothing_pending());
    CHECK_EQ(read(r, page, sizeof(page)), sizeof(page));
    CHECK_EQ(next(&info), SIGRTMIN + 2);
    CHECK_EQ(info.si_code, POLL_OUT);
    CHECK_EQ(info.si_fd, w);
    set_async(w, false);
}

static void test_other_process(void)
{
    int pipes[2], ready[2], status;
    siginfo_t info;
    char byte;

    CHECK_EQ(pipe(pipes) | pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        /* The file's owner is whom the file says, whoever holds it. */
        fcntl(pipes[0], F_SETOWN, getpid());
        set_async(pipes[0], true);
        if (write(ready[1], "r", 1) != 1)
            _exit(1);
        _exit(next(&info) == SIGIO ? 0 : 2);
    }
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    CHECK_EQ(fcntl(pipes[0], F_GETOWN), child);
    CHECK_EQ(write(pipes[1], "x", 1), 1);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(write(pipes[1], "x", 1), 1);
    CHECK_EQ(fcntl(pipes[0], F_GETOWN), 0); /* it has gone */
    CHECK(nothing_pending());
}

int main(void)
{
    int pipes[2];
    sigset_t set;

    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_EQ(pipe(pipes), 0);
    test_owners(pipes[0]);
    test_reading(pipes[0], pipes[1]);
    test_writing(pipes[0], pipes[1]);
    test_other_process();
    return check_done();
}
