/*
 * seccomp(2): strict mode, filters and their verdicts, who goes before whom, threads in step, what
 * is inherited; and listeners that answer for others (seccomp_unotify(2)).
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define COUNT(p) (unsigned short)ARRAY_COUNT(p)

static long seccomp(unsigned op, unsigned flags, void *args)
{
    return syscall(SYS_seccomp, op, flags, args);
}

/* A filter with this verdict for one call, and ALLOW for all others. */
static long filter_call(int nr, uint32_t verdict, unsigned flags)
{
    struct sock_filter insns[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, verdict),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(insns), insns};

    return seccomp(SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* How a child that runs body ends. */
static int status_of(int (*body)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        _exit(body());
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static int strict(void)
{
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) != 0)
        return 1;
    if (write(1, "strict: written\n", 16) != 16)
        return 2;
    RAW(SYS_exit, 21);
    return 3;
}

static int strict_violated(void)
{
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
    RAW(SYS_getpid);
    return 1;
}

static int verdict_errno(void)
{
    if (filter_call(SYS_getppid, SECCOMP_RET_ERRNO | 77, 0) != 0)
        return 1;
    if (RAW(SYS_getppid) != -77 || RAW(SYS_getpid) <= 0)
        return 2;
    filter_call(SYS_getuid, SECCOMP_RET_ERRNO | 0xffff, 0);
    filter_call(SYS_getgid, SECCOMP_RET_ERRNO, 0);
    if (RAW(SYS_getuid) != -4095 || RAW(SYS_getgid) != 0)
        return 3;
    return prctl(PR_GET_SECCOMP) == 2 ? 0 : 4;
}

/* Numbers that mean "again" within a kernel are errors like others to a program without a signal.
 */
static int verdict_restart(void)
{
    for (unsigned error = 511; error <= 517; error++) {
        filter_call(SYS_getppid, SECCOMP_RET_ERRNO | error, 0);
        if (RAW(SYS_getppid) != -(long)error || RAW(SYS_getpid) <= 0)
            return (int)error - 510;
    }
    return 0;
}

/* KILL goes before TRAP before ERRNO before ALLOW, whatever came last. */
static int precedence(void)
{
    filter_call(SYS_getppid, SECCOMP_RET_ERRNO | 5, 0);
    filter_call(SYS_getppid, SECCOMP_RET_ALLOW, 0);
    filter_call(SYS_getppid, SECCOMP_RET_LOG, 0);
    filter_call(SYS_getppid, SECCOMP_RET_TRACE, 0);
    filter_call(SYS_getppid, SECCOMP_RET_ERRNO | 6, 0); /* the newest of equals */
    return RAW(SYS_getppid) == -6 ? 0 : 1;
}

static int killed(void)
{
    filter_call(SYS_getppid, SECCOMP_RET_ERRNO | 5, 0);
    filter_call(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0);
    RAW(SYS_getppid);
    return 1;
}

static int traced_by_nobody(void)
{
    filter_call(SYS_getppid, SECCOMP_RET_TRACE | 3, 0);
    return RAW(SYS_getppid) == -ENOSYS ? 0 : 1;
}

static siginfo_t trapped;
static volatile long trapped_rax;

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    trapped = *info;
    trapped_rax = uc->uc_mcontext.gregs[REG_RAX];
    uc->uc_mcontext.gregs[REG_RAX] = 1234;
}

static int verdict_trap(void)
{
    struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};

    sigaction(SIGSYS, &action, NULL);
    filter_call(SYS_getppid, SECCOMP_RET_TRAP | 9, 0);
    if (RAW(SYS_getppid) != 1234)
        return 1;
    if (trapped.si_code != 1 || trapped.si_errno != 9 || trapped.si_syscall != SYS_getppid ||
        trapped.si_arch != AUDIT_ARCH_X86_64 || !trapped.si_call_addr)
        return 2;
    return trapped_rax == SYS_getppid ? 0 : 3;
}

static void *call_forbidden(void *arg)
{
    RAW(SYS_getppid);
    return NULL;
}

/* KILL_THREAD ends one thread of several, without a word to those who join. */
static int kill_thread(void)
{
    pthread_t thread;

    filter_call(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0);
    pthread_create(&thread, NULL, call_forbidden, NULL);
    pthread_join(thread, NULL);
    return 17;
}

static atomic_int stage;

static void *synchronised(void *arg)
{
    while (atomic_load(&stage) == 0)
        usleep(1000);
    return (void *)(RAW(SYS_getppid) == -33 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0L
                                                                                           : 1L);
}

static void *stubborn(void *arg)
{
    filter_call(SYS_getuid, SECCOMP_RET_ERRNO | 2, 0);
    atomic_store(&stage, 1);
    while (atomic_load(&stage) == 1)
        usleep(1000);
    return NULL;
}

static int tsync(void)
{
    pthread_t thread;
    void *result = NULL;
    long tid;

    pthread_create(&thread, NULL, synchronised, NULL);
    if (filter_call(SYS_getppid, SECCOMP_RET_ERRNO | 33, SECCOMP_FILTER_FLAG_TSYNC) != 0)
        return 1;
    atomic_store(&stage, 1);
    pthread_join(thread, &result);
    if (result)
        return 2;
    atomic_store(&stage, 0);
    pthread_create(&thread, NULL, stubborn, NULL);
    while (atomic_load(&stage) == 0)
        usleep(1000);
    tid = filter_call(SYS_getgid, SECCOMP_RET_ERRNO | 33, SECCOMP_FILTER_FLAG_TSYNC);
    if (tid <= 0 || tid == getpid())
        return 3;
    if (filter_call(SYS_getgid, SECCOMP_RET_ERRNO | 33,
                    SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH) != -1 ||
        errno != ESRCH)
        return 4;
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
    return 0;
}

/* Through fork and execve. */
static int inherited(void)
{
    int status;

    filter_call(SYS_getppid, SECCOMP_RET_ERRNO | 44, 0);
    if (fork() == 0)
        _exit(RAW(SYS_getppid) == -44 ? 0 : 1);
    wait(&status);
    if (status != 0)
        return 1;
    execl("/proc/self/exe", "filters", "inherited", NULL);
    return 2;
}

static int status_file(void)
{
    char text[8192];
    int fd;

    filter_call(SYS_getppid, SECCOMP_RET_ERRNO, 0);
    filter_call(SYS_getuid, SECCOMP_RET_ERRNO, 0);
    fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    return strstr(text, "NoNewPrivs:\t1\n") && strstr(text, "Seccomp:\t2\n") &&
                   strstr(text, "Seccomp_filters:\t2\n")
               ? 0
               : 1;
}

static void test_verdicts(void)
{
    CHECK_EQ(status_of(strict), 21 << 8);
    CHECK_EQ(status_of(strict_violated), SIGKILL);
    CHECK_EQ(status_of(verdict_errno), 0);
    CHECK_EQ(status_of(verdict_restart), 0);
    CHECK_EQ(status_of(precedence), 0);
    CHECK_EQ(WTERMSIG(status_of(killed)), SIGSYS);
    CHECK_EQ(status_of(traced_by_nobody), 0);
    CHECK_EQ(status_of(verdict_trap), 0);
    CHECK_EQ(status_of(kill_thread), 17 << 8);
    CHECK_EQ(status_of(tsync), 0);
    CHECK_EQ(status_of(inherited), 0);
    CHECK_EQ(status_of(status_file), 0);
}

static void test_arguments(void)
{
    struct sock_filter bad[] = {BPF_STMT(BPF_LD | BPF_IMM, 0)};
    struct sock_fprog program = {1, bad}, empty = {0, bad}, huge = {5000, bad};
    uint32_t action = SECCOMP_RET_USER_NOTIF, none = 0x12340000;
    struct seccomp_notif_sizes sizes;

    CHECK_ERRNO(seccomp(99, 0, NULL), EINVAL);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_STRICT, 1, NULL), EINVAL);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_STRICT, 0, &program), EINVAL);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0x8000, &program), EINVAL);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, NULL), EFAULT);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, &empty), EINVAL);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, &huge), EINVAL);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER, 0, &program), EINVAL);
    CHECK_ERRNO(seccomp(SECCOMP_SET_MODE_FILTER,
                        SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_NEW_LISTENER, &program),
                EINVAL);
    CHECK_EQ(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action), 0);
    CHECK_ERRNO(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &none), EOPNOTSUPP);
    CHECK_EQ(seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes), 0);
    CHECK(sizes.seccomp_notif == 80 && sizes.seccomp_notif_resp == 24 && sizes.seccomp_data == 64);
    CHECK_EQ(prctl(PR_GET_SECCOMP), 0);
    CHECK_ERRNO(prctl(PR_SET_SECCOMP, 7, 0), EINVAL);
}

/* ---- a listener --------------------------------------------------------------------------- */

/* The child sends its listener's number; we fetch it with pidfd_getfd(2)'s elder: fork order. */
static int listener;
static int sync_pipe[2];

static void *asking(void *arg)
{
    char byte;

    if (RAW(SYS_getppid) != 4711 || RAW(SYS_getppid) != -514 || RAW(SYS_getuid) != -EXDEV ||
        RAW(SYS_getpid) != getpid())
        return (void *)1L;
    int fd = (int)RAW(SYS_dup, 0); /* answered with a descriptor of the listener's */
    if (fd < 0 || read(fd, &byte, 1) != 1 || byte != '!')
        return (void *)2L;
    return RAW(SYS_getppid) == -ENOSYS ? NULL : (void *)3L; /* the listener is gone */
}

static int filter_listened(void)
{
    struct sock_filter insns[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getuid, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpid, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(insns), insns};

    return (int)seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* The thread that is filtered; its process is not. */
static void *filtered_thread(void *arg)
{
    listener = filter_listened();
    atomic_store(&stage, 10);
    return listener < 0 ? (void *)4L : asking(NULL);
}

static struct seccomp_notif receive(void)
{
    struct seccomp_notif notif = {0};
    struct pollfd poller = {.fd = listener, .events = POLLIN | POLLOUT};

    CHECK_EQ(poll(&poller, 1, 5000), 1);
    CHECK_EQ(poller.revents & POLLIN, POLLIN);
    CHECK_EQ(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif), 0);
    CHECK_EQ(notif.data.arch, AUDIT_ARCH_X86_64);
    CHECK_EQ(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notif.id), 0);
    return notif;
}

static void answer(uint64_t id, long val, int error, unsigned flags)
{
    struct seccomp_notif_resp resp = {.id = id, .val = val, .error = error, .flags = flags};

    CHECK_EQ(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp), 0);
}

static void test_listener(void)
{
    struct seccomp_notif notif, dirty = {.id = 1};
    struct seccomp_notif_resp bad = {.flags = 2};
    struct seccomp_notif_addfd add = {0};
    void *result = NULL;
    pthread_t thread;

    CHECK_EQ(pipe(sync_pipe), 0);
    CHECK_EQ(write(sync_pipe[1], "!", 1), 1);
    atomic_store(&stage, 0);
    pthread_create(&thread, NULL, filtered_thread, NULL);
    while (atomic_load(&stage) != 10)
        usleep(1000);
    CHECK_ERRNO(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &dirty), EINVAL);
    CHECK_ERRNO(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &bad), EINVAL);
    notif = receive();
    CHECK(notif.data.nr == SYS_getppid && notif.pid != 0 && notif.pid != (unsigned)getpid());
    bad = (struct seccomp_notif_resp){.id = notif.id + 99};
    CHECK_ERRNO(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &bad), ENOENT);
    answer(notif.id, 4711, 0, 0);
    notif = receive();
    answer(notif.id, 0, -514, 0); /* no restart: there is no signal */
    notif = receive();
    CHECK_EQ(notif.data.nr, SYS_getuid);
    answer(notif.id, 0, -EXDEV, 0);
    notif = receive();
    CHECK_EQ(notif.data.nr, SYS_getpid);
    answer(notif.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
    notif = receive();
    CHECK_EQ(notif.data.nr, SYS_getpid); /* libc's own */
    answer(notif.id, getpid(), 0, 0);
    notif = receive();
    CHECK_EQ(notif.data.nr, SYS_dup);
    add = (struct seccomp_notif_addfd){.id = notif.id, .srcfd = (unsigned)sync_pipe[0]};
    int fd = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    CHECK(fd > 2);
    add.newfd = 99;
    CHECK_ERRNO(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add), EINVAL);
    add.flags = SECCOMP_ADDFD_FLAG_SETFD;
    CHECK_EQ(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add), 99);
    add.srcfd = 555;
    CHECK_ERRNO(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add), EBADF);
    answer(notif.id, fd, 0, 0);
    notif = receive();
    CHECK_EQ(notif.data.nr, SYS_getppid);
    close(listener); /* without an answer */
    pthread_join(thread, &result);
    CHECK_EQ((long)result, 0);
}

/* A signal interrupts who asks, and the question is gone. */
static void on_usr1(int signo)
{
}

static void *interrupted(void *arg)
{
    listener = filter_listened();
    atomic_store((atomic_int *)arg, (int)RAW(SYS_gettid));
    return (void *)RAW(SYS_getppid);
}

static void test_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_usr1};
    atomic_int tid = 0;
    void *result = NULL;
    struct seccomp_notif notif;
    pthread_t thread;

    sigaction(SIGUSR1, &action, NULL);
    pthread_create(&thread, NULL, interrupted, &tid);
    while (atomic_load(&tid) == 0)
        usleep(1000);
    notif = receive();
    CHECK_EQ(RAW(SYS_tgkill, getpid(), atomic_load(&tid), SIGUSR1), 0);
    pthread_join(thread, &result);
    CHECK_EQ((long)result, -EINTR);
    CHECK_ERRNO(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notif.id), ENOENT);
    struct pollfd poller = {.fd = listener, .events = POLLIN};
    CHECK_EQ(poll(&poller, 1, 5000), 1);
    CHECK_EQ(poller.revents, POLLHUP); /* nobody is left who could ask */
    close(listener);
}

/* ---- with a tracer ------------------------------------------------------------------------ */

static void test_tracer(void)
{
    unsigned long message = 0;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        filter_call(SYS_getppid, SECCOMP_RET_TRACE | 55, 0);
        _exit(RAW(SYS_getppid) == -77 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP), 0);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, PTRACE_EVENT_SECCOMP << 16 | SIGTRAP << 8 | 0x7f);
    CHECK_EQ(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message), 0);
    CHECK_EQ(message, 55);
    CHECK_EQ(ptrace(PTRACE_PEEKUSER, pid, 15 * 8, 0), SYS_getppid);
    CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, 15 * 8, -1), 0);
    CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, 10 * 8, -77L), 0);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return RAW(SYS_getppid) == -44 ? 0 : 3;
    test_arguments();
    test_verdicts();
    test_listener();
    test_interrupted();
    test_tracer();
    return check_done();
}
