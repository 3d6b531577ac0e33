/*
 * A folder on the host and a gofer, or a share, that serves a part of it: what their tests begin
 * and end with; and a hostile neighbour.
 */
#ifndef TESTS_UNIT_GOFER_MAKE_H
#define TESTS_UNIT_GOFER_MAKE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "gofer/gofer.h"

static char base[] = "/tmp/gofer-test-XXXXXX"; /* the current one */
static int to_server;
static pid_t server_pid, racer_pid;

static inline void put_file(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0644);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static inline void enter_folder(void)
{
    cr_assert(mkdtemp(base));
    cr_assert_eq(chdir(base), 0);
}

static inline void start_server(const struct gofer_config *config)
{
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    server_pid = fork();
    if (server_pid == 0)
        _exit(gofer_main(pair[1], config));
    close(pair[1]);
    to_server = pair[0];
}

/* It ends by itself, with its socket; its wait status. */
static inline int end_server(void)
{
    char command[64];
    int status;

    close(to_server);
    cr_expect_eq(waitpid(server_pid, &status, 0), server_pid);
    snprintf(command, sizeof(command), "rm -rf %s", base);
    cr_expect_eq(system(command), 0);
    return status;
}

/* A process that does it all the time. */
static inline void start_racer(void (*once)(void))
{
    racer_pid = fork();
    if (racer_pid != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        once();
}

static inline void end_racer(void)
{
    int status;

    kill(racer_pid, SIGKILL);
    waitpid(racer_pid, &status, 0);
}

static inline void exchange(const char *a, const char *b)
{
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

#endif
