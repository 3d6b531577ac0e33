/* What the tests of pid namespaces share: children in them, and pipes to meet at. */
#ifndef TESTS_GUEST_PIDNS_H
#define TESTS_GUEST_PIDNS_H

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static int pipes[3][2];

static void open_pipes(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(pipes); i++)
        CHECK_EQ(pipe(pipes[i]), 0);
}

static void pass(int which)
{
    CHECK_EQ(write(pipes[which][1], "x", 1), 1);
}

static void await(int which)
{
    char c;

    CHECK_EQ(read(pipes[which][0], &c, 1), 1);
}

/* A child in a new namespace (or where unshare and setns left us), which runs `fn` and ends. */
static pid_t start(int (*fn)(void), uint64_t flags)
{
    pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

    if (pid == 0) {
        check_failures = 0;
        int status = fn();

        _exit(check_failures ? 99 : status);
    }
    CHECK(pid > 0);
    return pid;
}

static int status_of(pid_t pid)
{
    int status = -1;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

__attribute__((unused)) static void run(int (*fn)(void), uint64_t flags)
{
    CHECK_EQ(status_of(start(fn, flags)), 0);
}

static int see_child(void)
{
    CHECK_EQ(getpid(), 2);
    CHECK_EQ(getppid(), 1);
    return 0;
}

static int sleep_for_ever(void)
{
    sigset_t set;

    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pass(0);
    for (;;)
        pause();
    return 0;
}

__attribute__((unused)) static int nothing(void)
{
    return 0;
}

#endif
