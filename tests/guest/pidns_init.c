/* Init of a pid namespace: its signals, its orphans, its end, and what it leaves:
 * pid_namespaces(7). */
#include "pidns.h"

/* ---- orphans --------------------------------------------------------------------------------- */

static int make_orphan(void)
{
    if (fork() == 0) {
        await(0);
        CHECK_EQ(getppid(), 1);
        _exit(check_failures ? 99 : 7);
    }
    return 0;
}

static int adopt(void)
{
    int status;

    open_pipes();
    CHECK_EQ(status_of(start(make_orphan, 0)), 0);
    pass(0);
    CHECK_EQ(wait(&status), 3);
    CHECK_EQ(WEXITSTATUS(status), 7);
    return 0;
}

/* ---- signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t caught;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    caught = info->si_pid + 1;
}

static int signal_init(void)
{
    CHECK_EQ(kill(1, SIGKILL), 0);
    CHECK_EQ(kill(1, SIGSTOP), 0);
    CHECK_EQ(kill(1, SIGTERM), 0);
    CHECK_EQ(kill(1, SIGUSR1), 0);
    return 0;
}

static int be_init(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};

    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(kill(1, SIGKILL), 0);
    CHECK_EQ(kill(getpid(), SIGTERM), 0);
    CHECK_EQ(status_of(start(signal_init, 0)), 0);
    CHECK_EQ(caught, 2 + 1);
    caught = 0;
    CHECK_ERRNO(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0), EINVAL);
    pass(0);
    while (!caught)
        usleep(1000);
    CHECK_EQ(caught, 0 + 1); /* from somebody above */
    pass(0);
    for (;;)
        pause();
    return 0;
}

static int die_by_fault(void)
{
    static volatile uintptr_t nowhere = 8;

    *(volatile int *)nowhere = 1;
    return 0;
}

static void test_init_signals(void)
{
    pid_t pid;
    int status;

    open_pipes();
    pid = start(be_init, CLONE_NEWPID);
    await(0);
    CHECK_EQ(kill(pid, SIGTERM), 0); /* it has no handler: nothing */
    CHECK_EQ(kill(pid, SIGUSR1), 0);
    await(0);
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK_EQ(status, SIGSTOP << 8 | 0x7f);
    CHECK_EQ(kill(pid, SIGCONT), 0);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(status_of(pid), SIGKILL);
    CHECK_EQ(status_of(start(die_by_fault, CLONE_NEWPID)) & 0x7f, SIGSEGV);
}

/* ---- its end --------------------------------------------------------------------------------- */

static int leave_behind(void)
{
    for (int i = 0; i < 3; i++)
        start(sleep_for_ever, 0);
    for (int i = 0; i < 3; i++)
        await(0);
    return 5;
}

static int leave_behind_by_fault(void)
{
    leave_behind();
    return die_by_fault();
}

static void test_end(int (*init)(void), int status)
{
    struct pollfd ended;
    pid_t pid;

    open_pipes();
    pid = start(init, CLONE_NEWPID);
    CHECK_EQ(status_of(pid) & ~0x80, status); /* be there a core or not */
    /* All of them are gone: nobody holds the pipe any more. */
    close(pipes[0][1]);
    ended = (struct pollfd){pipes[0][0], POLLIN, 0};
    CHECK_EQ(poll(&ended, 1, 0), 1);
    CHECK_EQ(ended.revents, POLLHUP);
}

static int unshare_and_fork(void)
{
    char text[64];
    pid_t pid;

    CHECK_EQ(unshare(CLONE_NEWPID), 0);
    CHECK_ERRNO(unshare(CLONE_NEWPID), EINVAL); /* fork first */
    CHECK_ERRNO(readlink("/proc/self/ns/pid_for_children", text, sizeof(text)), ENOENT);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD,
                        0, 0, 0, 0),
                EINVAL);
    pid = start(nothing, 0);
    CHECK_EQ(status_of(pid), 0);
    CHECK_ERRNO(fork(), ENOMEM); /* its init has gone */
    return 0;
}

/* ---- one that execs -------------------------------------------------------------------------- */

static int exec_init(void)
{
    char *argv[] = {"pidns_init", "exec", NULL};

    execv("/proc/self/exe", argv);
    return 97;
}

static int as_execed(void)
{
    CHECK_EQ(getpid(), 1);
    CHECK_EQ(kill(1, SIGKILL), 0);
    CHECK_EQ(status_of(start(see_child, 0)), 0);
    return check_failures ? 99 : 42;
}

int main(int argc, char **argv)
{
    if (geteuid() != 0)
        check_skip("needs root");
    if (argc > 1)
        return as_execed();
    run(adopt, CLONE_NEWPID);
    test_init_signals();
    test_end(leave_behind, 5 << 8);
    test_end(leave_behind_by_fault, SIGSEGV);
    run(unshare_and_fork, 0);
    CHECK_EQ(status_of(start(exec_init, CLONE_NEWPID)), 42 << 8);
    return check_done();
}
