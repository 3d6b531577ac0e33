#include "host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "host/path.h"
#include "host/news.h"

#define DATA_BYTES (256UL << 20) /* far more than a gofer needs */

pid_t host_fork_dying_with_us(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* The parent may have died before the line above. */
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

/* The namespace is for the next children; ours is the one that we are in. */
static int enter_pid_namespace(void)
{
    int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), err;

    if (own < 0)
        return -errno;
    if (unshare(CLONE_NEWPID) == 0)
        return own;
    err = -errno;
    close(own);
    return err;
}

pid_t host_fork_apart(void)
{
    int own = enter_pid_namespace();
    pid_t pid;

    if (own < 0)
        return host_fork_dying_with_us();
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    } else {
        if (pid < 0)
            pid = -errno;
        if (setns(own, CLONE_NEWPID) < 0 && pid > 0) {
            int err = -errno;

            kill(pid, SIGKILL);
            pid = err;
        }
    }
    close(own);
    return pid;
}

void host_limit_self(bool writes)
{
    static const struct {
        __rlimit_resource_t resource;
        rlim_t value;
    } limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NPROC, 0},
        {RLIMIT_MEMLOCK, 0},
        {RLIMIT_MSGQUEUE, 0},
        {RLIMIT_SIGPENDING, 64},
#if !SANITIZED /* its shadow memory counts */
        {RLIMIT_DATA, DATA_BYTES},
#endif
        {RLIMIT_FSIZE, 0},
    };

    for (size_t i = 0; i < ARRAY_COUNT(limits); i++) {
        struct rlimit limit = {limits[i].value, limits[i].value};

        if (limits[i].resource != RLIMIT_FSIZE || !writes)
            setrlimit(limits[i].resource, &limit);
    }
}

void host_exit(int status)
{
    for (;;)
        syscall(SYS_exit_group, status);
}

void host_die_by_signal(int signo)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t set;

    prctl(PR_SET_DUMPABLE, 0);
    sigaction(signo, &dfl, NULL);
    sigemptyset(&set);
    sigaddset(&set, signo);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), signo);
    host_exit(128 + signo);
}

int host_signal_block(const sigset_t *set)
{
    return -pthread_sigmask(SIG_BLOCK, set, NULL);
}

int host_signal_wait(const sigset_t *set, bool *ret_from_kernel)
{
    siginfo_t info;
    int signo = sigwaitinfo(set, &info);

    host_news_note();
    if (signo < 0)
        return -errno;
    *ret_from_kernel = info.si_code == SI_KERNEL;
    return signo;
}

bool host_signal_ignored(int signo)
{
    struct sigaction old;

    return sigaction(signo, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
}

int host_signal_ignore(int signo)
{
    struct sigaction ign = {.sa_handler = SIG_IGN};

    return sigaction(signo, &ign, NULL) < 0 ? -errno : 0;
}

void host_get_ids(struct host_ids *ret_ids)
{
    getresuid(&ret_ids->uid, &ret_ids->euid, &ret_ids->suid);
    getresgid(&ret_ids->gid, &ret_ids->egid, &ret_ids->sgid);
    ret_ids->group_count = MAX(getgroups(NGROUPS_MAX, ret_ids->groups), 0);
}

uint64_t host_total_memory(void)
{
    struct sysinfo info;

    return sysinfo(&info) < 0 ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

void host_get_hostname(char *buf, size_t size)
{
    struct utsname name = {.nodename = "localhost"};

    uname(&name);
    snprintf(buf, size, "%s", name.nodename);
}

void host_raise_rlimit(int resource)
{
    struct rlimit64 limit;

    if (getrlimit64((__rlimit_resource_t)resource, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit64((__rlimit_resource_t)resource, &limit);
    }
}

int host_get_rlimit(int resource, struct rlimit64 *ret_limit)
{
    return getrlimit64((__rlimit_resource_t)resource, ret_limit) < 0 ? -errno : 0;
}

int host_getcwd(char *buf, size_t size)
{
    return getcwd(buf, size) ? 0 : -errno;
}

int host_open_log(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);

    return fd < 0 ? -errno : fd;
}

int host_open_list(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);

    return fd < 0 ? -errno : fd;
}

int host_seqpacket_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

int host_stdio_detach(int ret_fds[3])
{
    int null_fd = host_open_null();

    if (null_fd < 0)
        return null_fd;
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        /* A closed one may just have become the number of /dev/null. */
        bool open = fcntl(fd, F_GETFD) >= 0 && fd != null_fd;

        ret_fds[fd] = open ? fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
        if (open && ret_fds[fd] < 0)
            return -errno;
    }
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fd != null_fd && dup2(null_fd, fd) < 0)
            return -errno;
    }
    if (null_fd > STDERR_FILENO)
        close(null_fd);
    return 0;
}

pid_t host_getpid(void)
{
    return getpid();
}

uint32_t host_get_umask(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return mask;
}
