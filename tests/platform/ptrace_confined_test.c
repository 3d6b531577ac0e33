/*
 * With the ptrace platform in use, a Sentry that was taken over may not trace the user's other
 * processes: not from the thread that created the platform, nor from one started later. Skipped
 * (77) where neither Landlock nor Yama could forbid it.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/ptrace.h"
#include "platform/ptrace/ptrace.h"

static pid_t outsider;

static void *attach(void *arg)
{
    int *err = arg;

    *err = host_ptrace_seize(outsider, 0);
    return NULL;
}

static int run(void)
{
    int here = 0, there = 0;
    struct memfile *mf;
    struct platform *p;
    pthread_t thread;
    int err;

    err = memfile_create(HUGE_PAGE_SIZE, &mf);
    if (err == 0)
        err = ptrace_platform_ops.create(mf, &p);
    if (err < 0) {
        printf("create: %s\n", strerror(-err));
        return 1;
    }
    attach(&here);
    if (pthread_create(&thread, NULL, attach, &there) != 0)
        return 1;
    pthread_join(thread, NULL);
    ptrace_platform_ops.destroy(p);
    memfile_destroy(mf);
    if (here == -EPERM && there == -EPERM) {
        printf("ok\n");
        return 0;
    }
    printf("attaching to an outsider: %s, from another thread: %s\n", strerror(-here),
           strerror(-there));
    return 1;
}

int main(void)
{
    struct platform_report report;
    int status, end[2];
    char byte;

    ptrace_platform_ops.probe(&report);
    if (!report.usable) {
        printf("skipped: %s\n", report.why_not);
        return 77;
    }
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0) {
        printf("skipped: no Landlock on this host\n");
        return 77;
    }
    if (pipe(end) < 0)
        return 1;
    outsider = fork();
    if (outsider == 0) {
        close(end[1]);
        _exit((int)read(end[0], &byte, 1)); /* until the test is over */
    }
    status = run();
    close(end[1]);
    waitpid(outsider, NULL, 0);
    return status;
}
