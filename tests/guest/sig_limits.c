/*
 * Signals at their edges: how many are queued, who may pretend to be whom, what SIGCHLD tells and
 * to whom, alternate stacks that disarm themselves, flags that are not known.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#ifndef SI_DETHREAD
#define SI_DETHREAD (-7)
#endif

static sigset_t set_of(int signo)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, signo);
    return set;
}

static void empty(int signo)
{
    const struct timespec zero = {0, 0};
    sigset_t set = set_of(signo);

    while (sigtimedwait(&set, NULL, &zero) == signo)
        ;
}

/* RLIMIT_SIGPENDING counts what is queued for a user, real-time signals and those of sigqueue(3).
 */
static void test_queue_limit(void)
{
    sigset_t set = set_of(SIGRTMIN + 2), before, pending;
    struct rlimit limit, few;
    siginfo_t info = {.si_code = SI_QUEUE};

    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &set, &before);
    CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
    few = (struct rlimit){0, limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &few), 0);
    CHECK_ERRNO(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 1}), EAGAIN);
    CHECK_EQ(RAW(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGRTMIN + 2), -EAGAIN);
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGRTMIN + 2));
    /* kill(2) comes through, but tells nothing; a standard signal likewise. */
    CHECK_EQ(kill(getpid(), SIGRTMIN + 3), 0);
    CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 3);
    CHECK_EQ(info.si_code, SI_USER);
    CHECK_EQ(info.si_pid, 0);
    CHECK_EQ(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 1}), 0);
    CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQ(info.si_code, SI_USER);
    CHECK_EQ(info.si_value.sival_int, 0);
    /* One of the kernel's own, or of kill(2): always with its information. */
    CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQ(info.si_pid, getpid());
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = i}), 0);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 2);
        CHECK_EQ(info.si_value.sival_int, i);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void *pretend(void *argument)
{
    siginfo_t info = {.si_code = SI_USER};
    int tid = (int)syscall(SYS_gettid);

    /* Only to oneself, and "oneself" is the thread. */
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, getpid(), SIGURG, &info), -EPERM);
    CHECK_EQ(RAW(SYS_rt_tgsigqueueinfo, getpid(), tid, SIGURG, &info), 0);
    CHECK_EQ(RAW(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGURG, &info), -EPERM);
    return argument;
}

static void test_pretending(void)
{
    siginfo_t info = {.si_code = SI_USER};
    pthread_t thread;
    int status = -1;

    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, getpid(), SIGURG, &info), 0);
    CHECK_EQ(pthread_create(&thread, NULL, pretend, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, SIGURG, &info), -EPERM);
    info.si_code = SI_KERNEL;
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, SIGURG, &info), -EPERM);
    info.si_code = SI_TKILL;
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, SIGURG, &info), -EPERM);
    info.si_code = SI_TIMER;
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, SIGURG, &info), 0);
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, 0, &info), 0);
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, 65, &info), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, 0, SIGURG, &info), -ESRCH);
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, -pid, SIGURG, &info), -ESRCH);
    CHECK_EQ(RAW(SYS_rt_tgsigqueueinfo, pid, -1, SIGURG, &info), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_tgsigqueueinfo, pid, -1, SIGURG, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_rt_tgsigqueueinfo, getpid(), pid, SIGURG, &info), -ESRCH);
    /* A code that nobody knows must have nothing behind what is known. */
    info.si_code = -70;
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, SIGURG, &info), 0);
    ((char *)&info)[100] = 1;
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, SIGURG, &info), -E2BIG);
    info.si_code = SI_QUEUE;
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, pid, SIGURG, &info), 0);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGKILL);
    CHECK_ERRNO(kill(pid, 0), ESRCH);
    CHECK_ERRNO(kill(INT32_MIN, 0), ESRCH);
    CHECK_ERRNO(kill(getpid(), 65), EINVAL);
    CHECK_ERRNO(kill(getpid(), -1), EINVAL);
    CHECK_EQ(kill(0, 0), 0);
    CHECK_EQ(RAW(SYS_tgkill, getpid(), -1, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_tgkill, -1, getpid(), 0), -EINVAL);
    CHECK_EQ(RAW(SYS_tkill, 0, 0), -EINVAL);
}

static void end_child(int how)
{
    if (how >= 0)
        _exit(how);
    kill(getpid(), -how);
    for (;;)
        pause();
}

static void expect_child(int how, int code, int value)
{
    sigset_t set = set_of(SIGCHLD);
    siginfo_t info = {0}, waited = {0};
    pid_t pid = fork();

    if (pid == 0)
        end_child(how);
    CHECK_EQ(sigwaitinfo(&set, &info), SIGCHLD);
    CHECK_EQ(info.si_code, code);
    CHECK_EQ(info.si_pid, pid);
    CHECK_EQ(info.si_uid, getuid());
    CHECK_EQ(info.si_status, value);
    CHECK(info.si_utime >= 0 && info.si_utime < 1000);
    CHECK(info.si_stime >= 0 && info.si_stime < 1000);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &waited, WEXITED), 0);
    CHECK_EQ(waited.si_code, code);
    CHECK_EQ(waited.si_status, value);
    CHECK_EQ(waited.si_signo, SIGCHLD);
}

static void test_child_info(void)
{
    sigset_t set = set_of(SIGCHLD), before;

    sigprocmask(SIG_BLOCK, &set, &before);
    expect_child(7, CLD_EXITED, 7);
    expect_child(0x1ff, CLD_EXITED, 0xff);
    expect_child(-SIGTERM, CLD_KILLED, SIGTERM);
    expect_child(-SIGKILL, CLD_KILLED, SIGKILL);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void nothing(int signo)
{
    (void)signo;
}

/* Children that leave no zombie: with a signal for who asked by SA_NOCLDWAIT, with none if ignored.
 */
static void test_no_zombies(void)
{
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_NOCLDWAIT}, before;
    sigset_t set = set_of(SIGCHLD), old_mask, pending;
    int status;

    sigprocmask(SIG_BLOCK, &set, &old_mask);
    CHECK_EQ(sigaction(SIGCHLD, &action, &before), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(3);
    CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGCHLD));
    empty(SIGCHLD);
    signal(SIGCHLD, SIG_IGN);
    pid = fork();
    if (pid == 0)
        _exit(3);
    CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGCHLD));
    sigaction(SIGCHLD, &before, NULL);
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
}

static void test_stopped_child(int flags)
{
    struct sigaction action = {.sa_handler = nothing, .sa_flags = flags}, before;
    sigset_t set = set_of(SIGCHLD), old_mask, pending;
    siginfo_t info = {0};
    int status;

    sigprocmask(SIG_BLOCK, &set, &old_mask);
    CHECK_EQ(sigaction(SIGCHLD, &action, &before), 0);
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    sigpending(&pending);
    if (flags & SA_NOCLDSTOP) {
        CHECK(!sigismember(&pending, SIGCHLD));
    } else {
        CHECK_EQ(sigwaitinfo(&set, &info), SIGCHLD);
        CHECK_EQ(info.si_code, CLD_STOPPED);
        CHECK_EQ(info.si_status, SIGSTOP);
        CHECK_EQ(info.si_pid, pid);
    }
    CHECK_EQ(kill(pid, SIGCONT), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    empty(SIGCHLD);
    sigaction(SIGCHLD, &before, NULL);
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
}

static char altstack[65536];
static volatile stack_t inside;
static volatile int result_inside;

static void look_at_stack(int signo)
{
    stack_t now = {0}, other = {.ss_sp = altstack, .ss_size = sizeof(altstack) / 2};

    (void)signo;
    sigaltstack(NULL, &now);
    inside = now;
    result_inside = sigaltstack(&other, NULL) < 0 ? errno : 0;
}

static void test_altstack(void)
{
    struct sigaction action = {.sa_handler = look_at_stack, .sa_flags = SA_ONSTACK};
    stack_t plain = {.ss_sp = altstack, .ss_size = sizeof(altstack)}, got;
    stack_t disarm = plain, off = {.ss_flags = SS_DISABLE, .ss_sp = altstack, .ss_size = 5};

    disarm.ss_flags = (int)(SS_ONSTACK | SS_AUTODISARM);
    sigaction(SIGUSR1, &action, NULL);
    CHECK_EQ(sigaltstack(&plain, &got), 0);
    CHECK_EQ(got.ss_flags, SS_DISABLE);
    raise(SIGUSR1);
    CHECK_EQ(inside.ss_flags, SS_ONSTACK);
    CHECK_EQ(result_inside, EPERM);
    CHECK_EQ(sigaltstack(&disarm, &got), 0);
    CHECK_EQ(got.ss_flags, 0);
    CHECK(got.ss_sp == altstack && got.ss_size == sizeof(altstack));
    raise(SIGUSR1);
    CHECK_EQ(inside.ss_flags, SS_DISABLE); /* gone while the handler runs: it may set another */
    CHECK_EQ(result_inside, 0);
    CHECK_EQ(sigaltstack(NULL, &got), 0);
    CHECK_EQ(got.ss_flags, (int)SS_AUTODISARM); /* and comes back */
    CHECK(got.ss_size == sizeof(altstack));
    CHECK_EQ(sigaltstack(&off, NULL), 0);
    CHECK_EQ(sigaltstack(NULL, &got), 0);
    CHECK(got.ss_flags == SS_DISABLE && got.ss_sp == NULL && got.ss_size == 0);
    plain.ss_size = 2047;
    CHECK_ERRNO(sigaltstack(&plain, NULL), ENOMEM);
    plain.ss_flags = 4;
    CHECK_ERRNO(sigaltstack(&plain, NULL), EINVAL);
    plain.ss_flags = SS_ONSTACK | SS_DISABLE;
    CHECK_ERRNO(sigaltstack(&plain, NULL), EINVAL);
    CHECK_EQ(RAW(SYS_sigaltstack, 8, NULL), -EFAULT);
    CHECK_EQ(RAW(SYS_sigaltstack, NULL, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_sigaltstack, NULL, NULL), 0);
}

/* Flags that the kernel does not know are not shown again, so programs can probe for them. */
static void test_flags(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action = {.handler = SIG_IGN, .flags = 0xffffffff}, got = {0};

    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR2, &action, NULL, 8), 0);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR2, NULL, &got, 8), 0);
    CHECK_EQ(got.flags & 0x400, 0); /* SA_UNSUPPORTED */
    CHECK(got.flags & 0x800);       /* SA_EXPOSE_TAGBITS */
    note("flags %#lx", got.flags);
    action.mask = ~0UL;
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR2, &action, NULL, 8), 0);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR2, NULL, &got, 8), 0);
    CHECK_EQ(got.mask, ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1)));
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGKILL, &action, NULL, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGSTOP, NULL, &got, 8), 0);
    CHECK_EQ(RAW(SYS_rt_sigaction, 0, NULL, &got, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, 65, NULL, &got, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR2, NULL, &got, 4), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigaction, 0, 8, NULL, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_rt_sigaction, SIGUSR2, NULL, 8, 8), -EFAULT);
    signal(SIGUSR2, SIG_DFL);
}

int main(void)
{
    test_queue_limit();
    test_pretending();
    test_child_info();
    test_no_zombies();
    test_stopped_child(0);
    test_stopped_child(SA_NOCLDSTOP);
    test_altstack();
    test_flags();
    return check_done();
}
