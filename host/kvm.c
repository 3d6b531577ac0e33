#include "host/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define KICK_SIGNAL SIGUSR2 /* of no meaning to the sandbox's caller */

int host_kvm_open(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

void host_kvm_close(int fd)
{
    close(fd);
}

int host_kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int value = ioctl(fd, request, arg);

    return value < 0 ? -errno : value;
}

int host_kvm_ioctl_number(int fd, unsigned long request, unsigned long arg)
{
    int value = ioctl(fd, request, arg);

    return value < 0 ? -errno : value;
}

bool host_kvm_nested_paging(void)
{
    static const char *const parameters[] = {
        "/sys/module/kvm_intel/parameters/ept",
        "/sys/module/kvm_amd/parameters/npt",
    };
    char value = 'N';

    for (size_t i = 0; i < ARRAY_COUNT(parameters); i++) {
        int fd = open(parameters[i], O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            continue;
        if (read(fd, &value, 1) != 1)
            value = 'N';
        close(fd);
        return value == 'Y';
    }
    return false;
}

bool host_kvm_threads_may_change(void)
{
    struct utsname name;
    unsigned int major, minor;

    if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > 6 || (major == 6 && minor >= 13);
}

ssize_t host_kvm_read_stats(int fd, void *buf, size_t size, uint64_t offset)
{
    ssize_t n = pread(fd, buf, size, (off_t)offset);

    return n < 0 ? -errno : n;
}

static void on_kick(int signo)
{
    (void)signo; /* arriving was all: the interrupted call returns -EINTR */
}

int host_kick_init(void)
{
    struct sigaction action = {.sa_handler = on_kick};

    return sigaction(KICK_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}

pid_t host_kick_register(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return (pid_t)syscall(SYS_gettid);
}

void host_kick_thread(pid_t tid)
{
    syscall(SYS_tgkill, getpid(), tid, KICK_SIGNAL);
}
