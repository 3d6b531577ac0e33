/* Processes: fork, vfork, execve, waiting, zombies and orphans, groups, stops, memory apart. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static char *self;
static volatile sig_atomic_t chld_code, chld_status, chld_count;
static volatile pid_t chld_pid;

static void on_chld(int signo, siginfo_t *info, void *context)
{
    chld_code = info->si_code;
    chld_status = info->si_status;
    chld_pid = info->si_pid;
    chld_count++;
}

static void on_usr2(int signo)
{
}

static int wait_status(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void test_exit_and_wait(void)
{
    int status;
    pid_t pid;

    CHECK_ERRNO(waitpid(-1, &status, 0), ECHILD);
    pid = fork();
    if (pid == 0)
        _exit(getppid() == getpid() ? 1 : 42);
    CHECK_EQ(wait_status(pid), 42 << 8);
    CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
    CHECK_EQ(chld_code, CLD_EXITED);
    CHECK_EQ(chld_status, 42);
    CHECK_EQ(chld_pid, pid);

    pid = fork();
    if (pid == 0)
        raise(SIGKILL);
    CHECK_EQ(wait_status(pid), SIGKILL);
    CHECK_EQ(chld_code, CLD_KILLED);
    CHECK_ERRNO(kill(pid, 0), ESRCH);
    CHECK_ERRNO(waitpid(-1, &status, 0x40), EINVAL);
}

static void test_waitid(void)
{
    siginfo_t info;
    pid_t pid = fork();
    int gate[2];

    if (pid == 0)
        _exit(9);
    memset(&info, 0xff, sizeof(info));
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(info.si_pid, pid);
    CHECK_EQ(info.si_code, CLD_EXITED);
    CHECK_EQ(info.si_status, 9);
    CHECK_EQ(kill(pid, 0), 0); /* a zombie still has its number */
    CHECK_EQ(waitid(P_ALL, 0, &info, WEXITED), 0);
    CHECK_ERRNO(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
    CHECK_ERRNO(waitid(P_ALL, 0, &info, 0), EINVAL);

    CHECK_EQ(pipe(gate), 0);
    pid = fork();
    if (pid == 0) {
        char c;

        close(gate[1]);
        _exit(read(gate[0], &c, 1) == 0 ? 0 : 1);
    }
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG), 0);
    CHECK_EQ(info.si_pid, 0);
    CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
    close(gate[0]);
    close(gate[1]);
    CHECK_EQ(wait_status(pid), 0);
}

static void test_memory_is_apart(void)
{
    static int in_data = 1;
    int *private = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid;

    for (int i = 0; i < 256; i++)
    private[i * 1024] = i;
    pid = fork();
    if (pid == 0) {
        bool good = in_data == 1;

        for (int i = 0; i < 256; i++) {
            good &= private[i * 1024] == i;
            private[i * 1024] = -1;
        }
        in_data = 2;
        *shared = 77;
        _exit(good ? 0 : 1);
    }
    private[5 * 1024] = 500;
    CHECK_EQ(wait_status(pid), 0);
    CHECK_EQ(in_data, 1);
    CHECK_EQ(*shared, 77);
    CHECK_EQ(private[5 * 1024], 500);
    for (int i = 0; i < 256; i++)
        CHECK(private[i * 1024] == (i == 5 ? 500 : i));
    munmap(private, 1 << 20);
    munmap(shared, 4096);
}

static void test_exec(void)
{
    char *argv[] = {self, "child", "two words", "", NULL};
    char *envp[] = {"NAME=value", NULL};
    int fds[2], kept;
    pid_t pid;
    char fd_text[16];

    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    kept = dup(fds[0]);
    snprintf(fd_text, sizeof(fd_text), "%d", kept);
    argv[3] = fd_text;
    pid = fork();
    if (pid == 0) {
        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, on_usr2);
        execve(self, argv, envp);
        _exit(100);
    }
    CHECK_EQ(wait_status(pid), 5 << 8);
    close(fds[0]);
    close(fds[1]);
    close(kept);

    pid = vfork();
    if (pid == 0) {
        execve("/nonexistent", argv, envp);
        _exit(errno);
    }
    CHECK_EQ(wait_status(pid), ENOENT << 8);
    CHECK_ERRNO(execve("/", argv, envp), EACCES);
    CHECK_ERRNO(execve("", argv, envp), ENOENT);
    CHECK_EQ(RAW(SYS_execve, 8, argv, envp), -EFAULT);
    CHECK_EQ(RAW(SYS_execve, self, 8, envp), -EFAULT);
}

/* The program that test_exec() becomes. */
static int exec_child(int argc, char **argv)
{
    struct sigaction action;
    int kept = atoi(argv[3]);

    if (argc != 4 || strcmp(argv[2], "two words") != 0 || !getenv("NAME") ||
        strcmp(getenv("NAME"), "value") != 0)
        return 1;
    sigaction(SIGUSR1, NULL, &action);
    if (action.sa_handler != SIG_IGN)
        return 2;
    sigaction(SIGUSR2, NULL, &action);
    if (action.sa_handler != SIG_DFL)
        return 3;
    if (fcntl(kept, F_GETFD) < 0 || fcntl(kept - 1, F_GETFD) >= 0)
        return 4;
    return 5;
}

static void *exec_in_thread(void *arg)
{
    char *argv[] = {self, "pid", arg, NULL};

    execv(self, argv);
    _exit(101);
}

static void *sleep_for_ever(void *arg)
{
    for (;;)
        pause();
    return NULL;
}

/* A thread that is not the leader execs: the process keeps its number, the others are gone. */
static void test_exec_from_thread(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        pthread_t thread;
        char text[16];

        snprintf(text, sizeof(text), "%d", getpid());
        pthread_create(&thread, NULL, sleep_for_ever, NULL);
        pthread_create(&thread, NULL, exec_in_thread, text);
        sleep_for_ever(NULL);
    }
    CHECK_EQ(wait_status(pid), 6 << 8);
}

static void test_vfork(void)
{
    static volatile int seen;
    pid_t pid;

    seen = 0;
    pid = vfork();
    if (pid == 0) {
        usleep(20000);
        seen = 1; /* in the parent's memory, which waits */
        _exit(3);
    }
    CHECK_EQ(seen, 1);
    CHECK_EQ(wait_status(pid), 3 << 8);
}

static void test_stop_and_continue(void)
{
    siginfo_t info;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        raise(SIGSTOP);
        _exit(8);
    }
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK_EQ(kill(pid, SIGCONT), 0);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WCONTINUED | WEXITED | WNOWAIT), 0);
    CHECK(info.si_code == CLD_CONTINUED || info.si_code == CLD_EXITED);
    CHECK_EQ(wait_status(pid), 8 << 8);
}

static void test_orphan(void)
{
    int fds[2], parent = -1;
    pid_t pid;

    CHECK_EQ(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        pid_t me = getpid();

        if (fork() == 0) {
            while (getppid() == me)
                usleep(1000);
            parent = getppid();
            _exit(write(fds[1], &parent, sizeof(parent)) == sizeof(parent) ? 0 : 1);
        }
        _exit(0);
    }
    CHECK_EQ(wait_status(pid), 0);
    CHECK_EQ(read(fds[0], &parent, sizeof(parent)), sizeof(parent));
    CHECK(parent != getpid());
    CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
    close(fds[0]);
    close(fds[1]);
}

static void test_subreaper(void)
{
    pid_t pid, orphan = -1;
    int fds[2], value;

    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0), 0);
    CHECK_EQ(value, 1);
    CHECK_EQ(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        orphan = fork();
        if (orphan == 0) {
            usleep(20000);
            _exit(getppid() == getpgrp() ? 1 : 23);
        }
        _exit(write(fds[1], &orphan, sizeof(orphan)) == sizeof(orphan) ? 0 : 1);
    }
    CHECK_EQ(read(fds[0], &orphan, sizeof(orphan)), sizeof(orphan));
    CHECK_EQ(wait_status(pid), 0);
    value = wait_status(orphan);
    CHECK(value == 23 << 8 || value == 1 << 8);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);
    close(fds[0]);
    close(fds[1]);
}

static void test_usage(void)
{
    struct rusage before, after;
    pid_t pid;

    getrusage(RUSAGE_CHILDREN, &before);
    pid = fork();
    if (pid == 0) {
        clock_t start = clock();

        while (clock() - start < CLOCKS_PER_SEC / 20)
            ;
        _exit(0);
    }
    CHECK_EQ(wait_status(pid), 0);
    getrusage(RUSAGE_CHILDREN, &after);
    CHECK(after.ru_utime.tv_sec + after.ru_utime.tv_usec / 1e6 + after.ru_stime.tv_sec +
              after.ru_stime.tv_usec / 1e6 >=
          before.ru_utime.tv_sec + before.ru_utime.tv_usec / 1e6 + before.ru_stime.tv_sec +
              before.ru_stime.tv_usec / 1e6 + 0.04);
}

static void test_ignored_children_are_reaped(void)
{
    struct sigaction ign = {.sa_handler = SIG_IGN}, old;
    pid_t pid;

    sigaction(SIGCHLD, &ign, &old);
    pid = fork();
    if (pid == 0)
        _exit(1);
    CHECK_ERRNO(waitpid(pid, NULL, 0), ECHILD);
    sigaction(SIGCHLD, &old, NULL);
}

static void test_groups(void)
{
    int fds[2];
    pid_t pid;
    char c;

    CHECK_EQ(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        close(fds[1]);
        if (read(fds[0], &c, 1) != 0)
            _exit(1);
        _exit(getpgrp() == getpid() && setsid() == -1 && errno == EPERM ? 0 : 2);
    }
    CHECK_EQ(setpgid(pid, 0), 0);
    CHECK_EQ(getpgid(pid), pid);
    CHECK_EQ(getsid(pid), getsid(0));
    CHECK_ERRNO(setpgid(pid, 0x7ffffff), EPERM);
    CHECK_ERRNO(waitpid(0, NULL, WNOHANG), ECHILD);
    CHECK_EQ(kill(-pid, 0), 0);
    close(fds[0]);
    close(fds[1]);
    CHECK_EQ(waitpid(-pid, NULL, 0), pid);
    CHECK_ERRNO(kill(-pid, 0), ESRCH);

    pid = fork();
    if (pid == 0)
        _exit(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid() ? 0 : 1);
    CHECK_EQ(wait_status(pid), 0);
}

static void test_many(void)
{
    int good = 0;

    for (int round = 0; round < 10; round++) {
        pid_t pids[8];

        for (int i = 0; i < 8; i++) {
            pids[i] = fork();
            if (pids[i] == 0)
                _exit(i);
        }
        for (int i = 0; i < 8; i++)
            good += wait_status(pids[i]) == i << 8;
    }
    CHECK_EQ(good, 80);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | SA_RESTART};

    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return exec_child(argc, argv);
    if (argc > 2 && strcmp(argv[1], "pid") == 0)
        return getpid() == atoi(argv[2]) && syscall(SYS_gettid) == getpid() ? 6 : 1;
    sigaction(SIGCHLD, &action, NULL);
    test_exit_and_wait();
    test_waitid();
    test_memory_is_apart();
    test_exec();
    test_exec_from_thread();
    test_vfork();
    test_stop_and_continue();
    test_orphan();
    test_subreaper();
    test_usage();
    test_ignored_children_are_reaped();
    test_groups();
    test_many();
    return check_done();
}
