/*
 * ptrace(2): where tracees stop and what their tracer is told. Signals, calls, events, stops of the
 * whole process, and both ends of the relation.
 */
#include <pthread.h>
#include <stddef.h>

#include "tracee.h"

static atomic_int handled;

static void count_signal(int signo)
{
    atomic_fetch_add(&handled, signo);
}

static int with_handler(void)
{
    signal(SIGUSR1, count_signal);
    signal(SIGUSR2, count_signal);
    raise(SIGUSR1);
    raise(SIGUSR1);
    raise(SIGUSR1);
    return atomic_load(&handled);
}

/* Delivered, dropped, turned into another one. */
static void test_signals(void)
{
    pid_t pid = start_tracee(with_handler, 0);
    siginfo_t info;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
    CHECK(info.si_signo == SIGUSR1 && info.si_code == SI_TKILL && info.si_pid == pid);
    CHECK_EQ(go(pid, PTRACE_CONT, SIGUSR1), STOPPED(SIGUSR1, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, SIGUSR2), (SIGUSR1 + SIGUSR2) << 8);
    CHECK_ERRNO(ptrace(PTRACE_CONT, pid, 0, 0), ESRCH);
}

static int ignored_signals(void)
{
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    raise(SIGCHLD);
    kill(getpid(), SIGTERM);
    return 5;
}

/* A tracer sees what the program ignores; and what kills it. */
static void test_ignored(void)
{
    pid_t pid = start_tracee(ignored_signals, 0);

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGUSR1, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, SIGUSR1), STOPPED(SIGCHLD, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, SIGCHLD), STOPPED(SIGTERM, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, SIGTERM), SIGTERM);
}

static int some_calls(void)
{
    long pid = RAW(SYS_getpid), nothing = RAW(SYS_getuid), made_up = RAW(SYS_getppid);

    return pid == 4321 && nothing == -ENOSYS && made_up == 77 ? 6 : 7;
}

/* Before and after each call: another number, no call at all, another result. */
static void test_calls(void)
{
    pid_t pid = start_tracee(some_calls, PTRACE_O_TRACESYSGOOD);
    struct user_regs_struct regs;

    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    regs = regs_of(pid);
    CHECK_EQ(regs.orig_rax, SYS_getpid);
    CHECK_EQ(regs.rax, -ENOSYS);
    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    regs = regs_of(pid);
    CHECK(regs.orig_rax == SYS_getpid && (pid_t)regs.rax == pid);
    regs.rax = 4321;
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    CHECK_EQ(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.orig_rax), -1), 0);
    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    CHECK_EQ(regs_of(pid).rax, -ENOSYS);
    CHECK_EQ(go(pid, PTRACE_SYSEMU, 0), SYSCALL_STOP);
    regs = regs_of(pid);
    CHECK_EQ(regs.orig_rax, SYS_getppid);
    regs.rax = 77;
    CHECK_EQ(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 6 << 8);
}

static int one_fork(void)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        _exit(9);
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* fork's event, the child that is traced from its birth, exit's event. */
static void test_fork(void)
{
    pid_t pid = start_tracee(one_fork, PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXIT);
    int status;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, PTRACE_EVENT_FORK));
    pid_t child = (pid_t)message_of(pid);
    CHECK_EQ(waitpid(child, &status, __WALL), child);
    CHECK_EQ(status, STOPPED(SIGSTOP, 0));
    CHECK_EQ(regs_of(child).rax, 0);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    CHECK_EQ(go(child, PTRACE_CONT, 0), STOPPED(SIGTRAP, PTRACE_EVENT_EXIT));
    CHECK_EQ(message_of(child), 9 << 8);
    CHECK_EQ(go(child, PTRACE_CONT, 0), 9 << 8);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, STOPPED(SIGCHLD, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, SIGCHLD), STOPPED(SIGTRAP, PTRACE_EVENT_EXIT));
    CHECK_EQ(message_of(pid), 9 << 8);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 9 << 8);
}

static int one_vfork(void)
{
    pid_t pid = vfork();

    if (pid == 0)
        _exit(4);
    waitpid(pid, NULL, 0);
    return 11;
}

static void test_vfork(void)
{
    pid_t pid = start_tracee(one_vfork, PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE);
    int status;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, PTRACE_EVENT_VFORK));
    pid_t child = (pid_t)message_of(pid);
    CHECK_EQ(waitpid(child, &status, __WALL), child);
    CHECK_EQ(status, STOPPED(SIGSTOP, 0));
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    CHECK_EQ(go(child, PTRACE_CONT, 0), 4 << 8);
    while (waitpid(pid, &status, 0) == pid && status == STOPPED(SIGCHLD, 0))
        ptrace(PTRACE_CONT, pid, 0, SIGCHLD);
    CHECK_EQ(status, STOPPED(SIGTRAP, PTRACE_EVENT_VFORK_DONE));
    CHECK_EQ((pid_t)message_of(pid), child);
    status = go(pid, PTRACE_CONT, 0);
    if (status == STOPPED(SIGCHLD, 0))
        status = go(pid, PTRACE_CONT, 0);
    CHECK_EQ(status, 11 << 8);
}

static void *thread_body(void *arg)
{
    return (void *)RAW(SYS_gettid);
}

static int one_thread(void)
{
    pthread_t thread;
    void *tid = NULL;

    pthread_create(&thread, NULL, thread_body, NULL);
    pthread_join(thread, &tid);
    return tid ? 12 : 13;
}

/* A thread is waited for by its own number, and has an end of its own. */
static void test_threads(void)
{
    pid_t pid = start_tracee(one_thread, PTRACE_O_TRACECLONE);
    int status;

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, PTRACE_EVENT_CLONE));
    pid_t thread = (pid_t)message_of(pid);
    CHECK_EQ(waitpid(thread, &status, __WALL), thread);
    CHECK_EQ(status, STOPPED(SIGSTOP, 0));
    /* The other one stands still meanwhile: its exit_group would give the thread its own status. */
    CHECK_EQ(go(thread, PTRACE_CONT, 0), 0);
    CHECK_ERRNO(ptrace(PTRACE_CONT, thread, 0, 0), ESRCH);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 12 << 8);
}

static int run_myself(void)
{
    execl("/proc/self/exe", "ptrace_stops", "child", NULL);
    return 1;
}

static void test_exec(void)
{
    pid_t pid = start_tracee(run_myself, PTRACE_O_TRACEEXEC);

    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, PTRACE_EVENT_EXEC));
    CHECK_EQ((pid_t)message_of(pid), pid);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 33 << 8);
    pid = start_tracee(run_myself, 0);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGTRAP, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, 0), 33 << 8);
}

static pid_t start_pausing(void)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static int next_stop(pid_t pid)
{
    int status = 0;

    return waitpid(pid, &status, __WALL) == pid ? status : -errno;
}

/* Seized: no stop at first, interruptions, group-stops that PTRACE_LISTEN leaves alone. */
static void test_seize(void)
{
    pid_t pid = start_pausing();
    const int event_stop = PTRACE_EVENT_STOP;
    siginfo_t info;

    CHECK_ERRNO(ptrace(PTRACE_SEIZE, pid, 8, 0), EIO);
    CHECK_EQ(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD), 0);
    CHECK_ERRNO(ptrace(PTRACE_SEIZE, pid, 0, 0), EPERM);
    CHECK_ERRNO(ptrace(PTRACE_CONT, pid, 0, 0), ESRCH);
    CHECK_EQ(ptrace(PTRACE_INTERRUPT, pid, 0, 0), 0);
    CHECK_EQ(next_stop(pid), STOPPED(SIGTRAP, event_stop));
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0);
    kill(pid, SIGSTOP);
    CHECK_EQ(next_stop(pid), STOPPED(SIGSTOP, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, SIGSTOP), STOPPED(SIGSTOP, event_stop));
    CHECK_EQ(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), 0);
    CHECK_EQ(info.si_code, SIGSTOP | event_stop << 8);
    CHECK_EQ(ptrace(PTRACE_LISTEN, pid, 0, 0), 0);
    CHECK_ERRNO(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), ESRCH);
    kill(pid, SIGCONT);
    CHECK_EQ(next_stop(pid), STOPPED(SIGTRAP, event_stop));
    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGCONT, 0));
    CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, 0), 0);
    kill(pid, SIGKILL);
    CHECK_EQ(next_stop(pid), SIGKILL);
}

/* The old way: SIGSTOP at first; a group-stop has no siginfo. */
static void test_attach(void)
{
    pid_t pid = start_pausing();
    siginfo_t info;

    CHECK_EQ(ptrace(PTRACE_ATTACH, pid, 0, 0), 0);
    CHECK_EQ(next_stop(pid), STOPPED(SIGSTOP, 0));
    CHECK_ERRNO(ptrace(PTRACE_INTERRUPT, pid, 0, 0), EIO);
    CHECK_ERRNO(ptrace(PTRACE_LISTEN, pid, 0, 0), EIO);
    CHECK_EQ(go(pid, PTRACE_CONT, SIGSTOP), STOPPED(SIGSTOP, 0));
    CHECK_ERRNO(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), EINVAL);
    CHECK_EQ(ptrace(PTRACE_CONT, pid, 0, 0), 0); /* it runs, though its process is stopped */
    kill(pid, SIGTSTP);
    CHECK_EQ(next_stop(pid), STOPPED(SIGTSTP, 0));
    kill(pid, SIGSTOP);
    CHECK_EQ(go(pid, PTRACE_CONT, 0), STOPPED(SIGSTOP, 0));
    CHECK_EQ(go(pid, PTRACE_CONT, SIGSTOP), STOPPED(SIGSTOP, 0));
    CHECK_ERRNO(ptrace(PTRACE_GETSIGINFO, pid, 0, &info), EINVAL);
    /* It belongs to the stopped process again, and no signal goes along. */
    CHECK_EQ(ptrace(PTRACE_DETACH, pid, 0, SIGTERM), 0);
    kill(pid, SIGTERM);
    kill(pid, SIGCONT);
    CHECK_EQ(next_stop(pid), SIGTERM);
    CHECK_ERRNO(ptrace(PTRACE_ATTACH, getpid(), 0, 0), EPERM);
    CHECK_ERRNO(ptrace(PTRACE_ATTACH, 4194303, 0, 0), ESRCH);
    CHECK_ERRNO(ptrace(PTRACE_CONT, getppid(), 0, 0), ESRCH);
}

/* A tracer dies: the tracee goes on, or dies with it. */
static void test_tracer_death(bool exitkill)
{
    pid_t pid = start_pausing(), tracer = fork();
    int status;

    if (tracer == 0) {
        if (ptrace(PTRACE_SEIZE, pid, 0, exitkill ? PTRACE_O_EXITKILL : 0) != 0 ||
            ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0 || next_stop(pid) < 0)
            _exit(1);
        _exit(0);
    }
    CHECK_EQ(waitpid(tracer, &status, 0), tracer);
    CHECK_EQ(status, 0);
    if (!exitkill) {
        CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
        kill(pid, SIGTERM);
    }
    CHECK_EQ(next_stop(pid), exitkill ? SIGKILL : SIGTERM);
}

/* Somebody else's child: the parent hears of the end after the tracer. */
static void test_stranger(void)
{
    pid_t pid = start_pausing(), tracer = fork();
    siginfo_t info = {0};

    if (tracer == 0) {
        if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
            _exit(1);
        _exit(next_stop(pid) == SIGKILL ? 2 : 3);
    }
    usleep(50000);
    kill(pid, SIGKILL);
    CHECK_EQ(waitid(P_PID, (id_t)tracer, &info, WEXITED), 0);
    CHECK_EQ(info.si_status, 2);
    CHECK_EQ(next_stop(pid), SIGKILL);
}

/* SIGKILL ends a tracee in any stop; PTRACE_KILL likewise. */
static void test_kill(void)
{
    pid_t pid = start_tracee(some_calls, PTRACE_O_TRACESYSGOOD);

    CHECK_EQ(go(pid, PTRACE_SYSCALL, 0), SYSCALL_STOP);
    kill(pid, SIGKILL);
    CHECK_EQ(next_stop(pid), SIGKILL);
    pid = start_tracee(some_calls, PTRACE_O_TRACEEXIT);
    CHECK_EQ(ptrace(PTRACE_KILL, pid, 0, 0), 0);
    int status = next_stop(pid);
    if (status == STOPPED(SIGTRAP, PTRACE_EVENT_EXIT))
        status = go(pid, PTRACE_CONT, 0);
    CHECK_EQ(status, SIGKILL);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return 33;
    test_signals();
    test_ignored();
    test_calls();
    test_fork();
    test_vfork();
    test_threads();
    test_exec();
    test_seize();
    test_attach();
    test_tracer_death(false);
    test_tracer_death(true);
    test_stranger();
    test_kill();
    return check_done();
}
