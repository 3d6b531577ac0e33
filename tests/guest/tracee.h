/* What the tests of ptrace(2) share: starting tracees, letting them go on, reading statuses. */
#ifndef TESTS_GUEST_TRACEE_H
#define TESTS_GUEST_TRACEE_H

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "check.h"

#define STOPPED(signo, event) (((event) << 16) | ((signo) << 8) | 0x7f)
#define SYSCALL_STOP          STOPPED(SIGTRAP | 0x80, 0)

/* A child that asked to be traced and stopped itself, once; with these options. */
__attribute__((unused)) static pid_t start_tracee(int (*body)(void), long options)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
            _exit(99);
        raise(SIGSTOP);
        _exit(body());
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, STOPPED(SIGSTOP, 0));
    CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, 0, options), 0);
    return pid;
}

/* Lets it go on that way; the status of its next stop or its end. */
__attribute__((unused)) static int go(pid_t pid, int request, int signo)
{
    int status = 0;

    if (ptrace(request, pid, 0, signo) != 0)
        return -errno;
    if (waitpid(pid, &status, __WALL) != pid)
        return -errno;
    return status;
}

__attribute__((unused)) static struct user_regs_struct regs_of(pid_t pid)
{
    struct user_regs_struct regs = {0};

    CHECK_EQ(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
    return regs;
}

__attribute__((unused)) static unsigned long message_of(pid_t pid)
{
    unsigned long message = 0;

    CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message), 0);
    return message;
}

__attribute__((unused)) static void end_tracee(pid_t pid)
{
    kill(pid, SIGKILL);
    for (int status; waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status);)
        ptrace(PTRACE_CONT, pid, 0, 0);
}

#endif
