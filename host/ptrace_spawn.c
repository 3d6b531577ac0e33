/*
 * Starting the first stub. It is exec'ed from a memfd and not merely forked, because execve(2) is
 * what leaves nothing of us behind: memory, signal handlers, the registered rseq area (the host
 * would go on writing to it), alternate stacks, robust lists.
 *
 *   parent                               child
 *   fork                                 PDEATHSIG, getppid() check: cannot outlive us from here
 *   PTRACE_SEIZE + EXITKILL              waits for a byte
 *   writes the byte                      sheds privileges and descriptors, execveat(memfd)
 *   waits for PTRACE_EVENT_EXEC
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/ptrace.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

static int image_fd(const void *image, size_t size)
{
    int fd = memfd_create("stub", MFD_CLOEXEC | MFD_EXEC);
    ssize_t n;
    int err;

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create("stub", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = write(fd, image, size);
    if (n != (ssize_t)size || fchmod(fd, 0500) < 0) {
        err = n < 0 ? -errno : -EIO;
        close(fd);
        return err;
    }
    return fd;
}

/* No handler of ours may run in the stub, and nothing may stay blocked there. */
static void reset_signals(void)
{
    sigset_t none;

    for (int signo = 1; signo < _NSIG; signo++)
        signal(signo, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int shed_privileges(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    struct rlimit limit = {0, 0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &head, none) < 0)
        return -errno;
    if (setrlimit(RLIMIT_CORE, &limit) < 0)
        return -errno;
    /* The guest's limits are the Sentry's affair. */
    if (getrlimit(RLIMIT_AS, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_AS, &limit);
    }
    /* A plain personality, whatever ours: READ_IMPLIES_EXEC would undo NX. Without randomisation
     * the host's vDSO lies near the top, for hosts that do not let it be unmapped; Docker's filter
     * refuses that one. */
    if (personality(PER_LINUX | ADDR_NO_RANDOMIZE) < 0 && personality(PER_LINUX) < 0)
        return -errno;
    return 0;
}

/* `fd` becomes descriptor `as`; both sources were moved out of the way before. */
static int settle_fds(int keep_fd, int image)
{
    int keep_high = fcntl(keep_fd, F_DUPFD, 16);
    int image_high = fcntl(image, F_DUPFD, 16);

    if (keep_high < 0 || image_high < 0)
        return -errno;
    if (dup2(keep_high, HOST_STUB_KEPT_FD) < 0 || dup2(image_high, HOST_STUB_IMAGE_FD) < 0)
        return -errno;
    for (int fd = 0; fd < HOST_STUB_KEPT_FD; fd++)
        close(fd);
    if (syscall(SYS_close_range, HOST_STUB_IMAGE_FD + 1, ~0U, 0) < 0) {
        for (int fd = HOST_STUB_IMAGE_FD + 1; fd < 4096; fd++) /* before Linux 5.9 */
            close(fd);
    }
    return 0;
}

/* In the child: only async-signal-safe calls. Exits with the errno of what failed. */
static __noreturn void become_stub(pid_t parent, int go_fd, int keep_fd, int image)
{
    char *nothing[] = {NULL};
    char byte;
    int err;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(ESRCH);
    if (read(go_fd, &byte, 1) != 1)
        _exit(ESRCH);
    setsid(); /* out of reach of the terminal's signals */
    reset_signals();
    err = shed_privileges();
    if (err == 0)
        err = settle_fds(keep_fd, image);
    if (err == 0) {
        syscall(SYS_execveat, HOST_STUB_IMAGE_FD, "", nothing, nothing, AT_EMPTY_PATH);
        err = -errno;
    }
    _exit(-err);
}

/* *ret_gone: the child has ended and its pid is not ours any more. */
static int await_exec(pid_t pid, bool *ret_gone)
{
    int status;
    int err;

    for (;;) {
        err = host_wait_stub(pid, &status);
        if (err < 0)
            return err;
        *ret_gone = WIFEXITED(status) || WIFSIGNALED(status);
        if (*ret_gone)
            return WIFEXITED(status) && WEXITSTATUS(status) ? -WEXITSTATUS(status) : -ECHILD;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            return 0;
        err = host_ptrace_cont(pid);
        if (err < 0)
            return err;
    }
}

static void reap_failed(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    while (host_wait_stub(pid, &status) == 0 && !WIFEXITED(status) && !WIFSIGNALED(status))
        ;
}

int host_spawn_stub(const void *image, size_t size, int keep_fd, unsigned long options,
                    pid_t *ret_pid, const char **ret_step)
{
    pid_t self = getpid();
    pid_t pid = -1;
    int go[2] = {-1, -1};
    bool gone = false;
    int fd;
    int err;

    *ret_step = "memfd_create";
    fd = image_fd(image, size);
    if (fd < 0)
        return fd;
    *ret_step = "fork";
    if (pipe2(go, O_CLOEXEC) < 0) {
        err = -errno;
        goto out;
    }
    pid = fork();
    err = -errno;
    if (pid < 0)
        goto out;
    if (pid == 0)
        become_stub(self, go[0], keep_fd, fd);
    *ret_step = "PTRACE_SEIZE";
    err = host_ptrace_seize(pid, options | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    if (err == 0 && write(go[1], "", 1) != 1)
        err = -errno;
    if (err == 0) {
        *ret_step = "starting the stub";
        err = await_exec(pid, &gone);
    }
    if (err == 0)
        *ret_pid = pid;
    else if (!gone)
        reap_failed(pid);
out:
    if (go[0] >= 0) {
        close(go[0]);
        close(go[1]);
    }
    close(fd);
    return err;
}
