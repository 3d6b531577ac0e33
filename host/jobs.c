#include "host/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t host_process_group(void)
{
    return getpgrp();
}

/* The fourth field of /proc/PID/stat; the second is in parentheses, and may hold any. */
static pid_t parent_of(pid_t pid)
{
    char path[32], text[512], *at;
    ssize_t size;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    at = strrchr(text, ')');
    return at && strlen(at) > 4 ? (pid_t)strtol(at + 4, NULL, 10) : 0;
}

bool host_is_job(void)
{
    pid_t group = getpgrp(), pid = getppid();

    while (pid > 0 && getpgid(pid) == group)
        pid = parent_of(pid);
    return pid > 0 && getsid(pid) == getsid(0);
}

void host_stop_self(int signo)
{
    sigset_t set;

    /* To this very thread: another one may be waiting for the signal, to pass it on. */
    sigemptyset(&set);
    sigaddset(&set, signo);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), signo);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int host_terminal_group(int fd)
{
    pid_t group;

    return ioctl(fd, TIOCGPGRP, &group) < 0 ? -errno : group;
}
