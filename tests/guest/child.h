/* How a child has ended. */
#ifndef TESTS_GUEST_CHILD_H
#define TESTS_GUEST_CHILD_H

#include <sys/wait.h>

#include "check.h"

/* As wait(2) tells it. */
__attribute__((unused)) static int status_of(pid_t pid)
{
    int status = -1;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

/* What it has passed to _exit(2); -1: a signal ended it. */
__attribute__((unused)) static int exit_of(pid_t pid)
{
    int status = status_of(pid);

    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
