/* Job control without a terminal: stops and continues as a parent sees them, groups, sessions. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static volatile sig_atomic_t chld_count, chld_code, chld_status;

static void on_chld(int signo, siginfo_t *info, void *context)
{
    chld_count++;
    chld_code = info->si_code;
    chld_status = info->si_status;
}

/* wait(2) may find that a child stopped or went on before the signal about it comes. */
static void await_chld(int count)
{
    while (chld_count < count)
        usleep(1000);
    CHECK_EQ(chld_count, count);
}

static void handle_chld(int flags)
{
    struct sigaction action = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | flags};

    sigaction(SIGCHLD, &action, NULL);
    chld_count = chld_code = chld_status = 0;
}

static int wait_status(pid_t pid, int options)
{
    int status = -1;

    while (waitpid(pid, &status, options) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return status;
}

/* A child in a group of its own, which only sleeps. */
static pid_t sleeper(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGCHLD, SIG_DFL);
        setpgid(0, 0);
        for (;;)
            pause();
    }
    setpgid(pid, pid);
    return pid;
}

static void finish(pid_t pid)
{
    kill(pid, SIGKILL);
    CHECK_EQ(wait_status(pid, 0), SIGKILL);
}

static void test_reports(void)
{
    pid_t pid = sleeper();
    siginfo_t info;
    int status;

    CHECK_EQ(waitpid(pid, &status, WNOHANG | WUNTRACED), 0);
    kill(pid, SIGSTOP);
    memset(&info, 0, sizeof(info));
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
    CHECK_EQ(info.si_code, CLD_STOPPED);
    CHECK_EQ(info.si_status, SIGSTOP);
    CHECK_EQ(info.si_pid, pid);
    CHECK_EQ(wait_status(pid, WUNTRACED), SIGSTOP << 8 | 0x7f);
    CHECK_EQ(waitpid(pid, &status, WNOHANG | WUNTRACED), 0); /* told once */
    CHECK_EQ(waitpid(pid, &status, WNOHANG | WCONTINUED), 0);

    kill(pid, SIGCONT);
    CHECK_EQ(waitpid(pid, &status, WNOHANG | WUNTRACED), 0);
    memset(&info, 0, sizeof(info));
    CHECK_EQ(waitid(P_PGID, (id_t)pid, &info, WCONTINUED | WNOWAIT), 0);
    CHECK_EQ(info.si_code, CLD_CONTINUED);
    CHECK_EQ(info.si_status, SIGCONT);
    CHECK_EQ(wait_status(pid, WCONTINUED), 0xffff);
    CHECK_EQ(waitpid(pid, &status, WNOHANG | WCONTINUED), 0);

    /* Each of the stop signals says its name; a stop that nobody asked about is forgotten. */
    for (int i = 0; i < 3; i++) {
        static const int stops[] = {SIGTSTP, SIGTTIN, SIGTTOU};

        kill(pid, stops[i]);
        CHECK_EQ(wait_status(pid, WUNTRACED), stops[i] << 8 | 0x7f);
        kill(pid, SIGCONT);
        CHECK_EQ(wait_status(pid, WCONTINUED), 0xffff);
    }
    kill(pid, SIGSTOP);
    waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT);
    kill(pid, SIGCONT);
    CHECK_EQ(waitpid(pid, &status, WNOHANG | WUNTRACED), 0);
    finish(pid);

    /* A stopped process dies of SIGKILL alone; others wait for its continuing. */
    pid = sleeper();
    kill(pid, SIGSTOP);
    CHECK_EQ(wait_status(pid, WUNTRACED), SIGSTOP << 8 | 0x7f);
    kill(pid, SIGTERM);
    usleep(10000);
    CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
    kill(pid, SIGCONT);
    CHECK_EQ(wait_status(pid, 0), SIGTERM);
    pid = sleeper();
    kill(pid, SIGSTOP);
    wait_status(pid, WUNTRACED);
    finish(pid);
}

static void test_signals_to_the_parent(void)
{
    pid_t pid;

    handle_chld(SA_RESTART);
    pid = sleeper();
    kill(pid, SIGTSTP);
    wait_status(pid, WUNTRACED);
    await_chld(1);
    CHECK_EQ(chld_code, CLD_STOPPED);
    CHECK_EQ(chld_status, SIGTSTP);
    kill(pid, SIGCONT);
    wait_status(pid, WCONTINUED);
    await_chld(2);
    CHECK_EQ(chld_code, CLD_CONTINUED);
    CHECK_EQ(chld_status, SIGCONT);

    handle_chld(SA_RESTART | SA_NOCLDSTOP);
    kill(pid, SIGSTOP);
    wait_status(pid, WUNTRACED);
    kill(pid, SIGCONT);
    wait_status(pid, WCONTINUED);
    CHECK_EQ(chld_count, 0);
    finish(pid);
    CHECK_EQ(chld_count, 1);
    CHECK_EQ(chld_code, CLD_KILLED);
    CHECK_EQ(chld_status, SIGKILL);
    signal(SIGCHLD, SIG_DFL);
}

static void *spin(void *arg)
{
    for (;;)
        ++*(volatile unsigned *)arg;
    return NULL;
}

static void *sleep_on(void *arg)
{
    for (;;)
        pause();
    return NULL;
}

/* A stop is one thing for all threads: told once, and then nobody runs. */
static void test_threads(void)
{
    int fds[2], status;
    pid_t pid;
    char c;

    CHECK_EQ(pipe(fds), 0);
    handle_chld(SA_RESTART);
    pid = fork();
    if (pid == 0) {
        unsigned counter = 0;
        pthread_t thread;

        signal(SIGCHLD, SIG_DFL);
        setpgid(0, 0);
        pthread_create(&thread, NULL, spin, &counter);
        pthread_create(&thread, NULL, sleep_on, NULL);
        if (write(fds[1], "x", 1) != 1)
            _exit(1);
        for (;;) {
            if (write(fds[1], "x", 1) != 1)
                _exit(1);
            usleep(1000);
        }
    }
    CHECK_EQ(read(fds[0], &c, 1), 1);
    for (int i = 0; i < 5; i++) {
        char buf[65536];
        int before = chld_count;

        kill(pid, SIGSTOP);
        CHECK_EQ(wait_status(pid, WUNTRACED), SIGSTOP << 8 | 0x7f);
        await_chld(before + 1);
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        while (read(fds[0], buf, sizeof(buf)) > 0)
            ;
        fcntl(fds[0], F_SETFL, 0);
        CHECK_EQ(waitpid(pid, &status, WNOHANG | WUNTRACED), 0);
        kill(pid, SIGCONT);
        CHECK_EQ(wait_status(pid, WCONTINUED), 0xffff);
        await_chld(before + 2);
        CHECK_EQ(read(fds[0], &c, 1), 1);
    }
    finish(pid);
    close(fds[0]);
    close(fds[1]);
    signal(SIGCHLD, SIG_DFL);
}

static int told_fd;

static void tell(int signo)
{
    char name = signo == SIGHUP ? 'h' : signo == SIGCONT ? 'c' : '?';

    if (write(told_fd, &name, 1) != 1)
        _exit(1);
}

/* A grandchild in a group of its own; its parent ends when told by a byte. */
static pid_t make_tied_group(int ret_tell[2], int *ret_release, pid_t *ret_parent)
{
    int release[2];
    pid_t pid = 0, parent;

    CHECK_EQ(pipe(ret_tell), 0);
    CHECK_EQ(pipe(release), 0);
    parent = fork();
    if (parent == 0) {
        char c;

        close(release[1]);
        pid = fork();
        if (pid == 0) {
            struct sigaction action = {.sa_handler = tell};

            setpgid(0, 0);
            close(release[0]);
            told_fd = ret_tell[1];
            sigaction(SIGHUP, &action, NULL);
            sigaction(SIGCONT, &action, NULL);
            pid = getpid();
            if (write(told_fd, &pid, sizeof(pid)) != sizeof(pid))
                _exit(1);
            for (;;)
                pause();
        }
        while (read(release[0], &c, 1) < 0 && errno == EINTR)
            ;
        _exit(0);
    }
    close(release[0]);
    CHECK_EQ(read(ret_tell[0], &pid, sizeof(pid)), sizeof(pid));
    *ret_release = release[1];
    *ret_parent = parent;
    return pid;
}

/* Until it is stopped; it is nobody's child whom we could wait for. */
static void await_stopped(pid_t pid)
{
    char name[32], state = '?';

    snprintf(name, sizeof(name), "/proc/%d/stat", pid);
    while (state != 'T') {
        FILE *f = fopen(name, "r");

        CHECK(f && fscanf(f, "%*d %*s %c", &state) == 1);
        if (!f)
            return;
        fclose(f);
        usleep(1000);
    }
}

/* Nothing comes through the pipe for a while. */
static bool nothing_told(int fd)
{
    char c;
    ssize_t n;

    usleep(50000);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    n = read(fd, &c, 1);
    fcntl(fd, F_SETFL, 0);
    return n < 0;
}

/* The one byte that comes through the pipe. */
static char told(int fd)
{
    char c = 0;

    CHECK_EQ(read(fd, &c, 1), 1);
    CHECK(nothing_told(fd));
    return c;
}

static void test_orphaned_groups(void)
{
    int fds[2], release;
    pid_t pid, parent;
    char buf[8] = "";

    /* Orphaned while stopped: SIGHUP, then SIGCONT, so that nobody is stopped for ever. */
    pid = make_tied_group(fds, &release, &parent);
    kill(pid, SIGTSTP);
    await_stopped(pid);
    close(release);
    CHECK_EQ(wait_status(parent, 0), 0);
    while (strlen(buf) < 2) {
        if (read(fds[0], buf + strlen(buf), 1) != 1)
            break;
    }
    CHECK(strcmp(buf, "hc") == 0 || strcmp(buf, "ch") == 0);
    /* Now it is: stops do nothing, but SIGSTOP does. */
    kill(pid, SIGTSTP);
    kill(pid, SIGTTIN);
    kill(pid, SIGTTOU);
    kill(pid, SIGHUP);
    CHECK_EQ(told(fds[0]), 'h');
    kill(pid, SIGSTOP);
    await_stopped(pid);
    kill(pid, SIGHUP);
    CHECK(nothing_told(fds[0]));
    kill(pid, SIGKILL);
    close(fds[0]);
    close(fds[1]);

    /* Orphaned while it runs: nobody is told. */
    pid = make_tied_group(fds, &release, &parent);
    close(release);
    CHECK_EQ(wait_status(parent, 0), 0);
    kill(pid, SIGCONT);
    CHECK_EQ(told(fds[0]), 'c');
    kill(pid, SIGKILL);
    close(fds[0]);
    close(fds[1]);
}

static void test_sessions(void)
{
    pid_t pid = sleeper(), other;
    int fds[2], status;
    char c;

    CHECK_EQ(getpgid(pid), pid);
    CHECK_ERRNO(setpgid(-1, 0), EINVAL);
    CHECK_ERRNO(setpgid(0, -1), EINVAL);
    CHECK_ERRNO(setpgid(pid, 0x7ffffff), EPERM);
    CHECK_ERRNO(setpgid(getppid(), 0), ESRCH);
    CHECK_EQ(setpgid(pid, pid), 0);

    /* A process of the same session may join the group, and leads none when it leaves. */
    other = fork();
    if (other == 0) {
        bool good = setpgid(0, pid) == 0 && getpgrp() == pid && setsid() == getpid() &&
                    getpgrp() == getpid() && setpgid(0, pid) == -1 && errno == EPERM &&
                    setsid() == -1 && errno == EPERM && kill(-pid, 0) == 0;

        _exit(good ? 0 : 1);
    }
    CHECK_EQ(wait_status(other, 0), 0);

    /* A group outlives its leader; its number is the leader's no longer. */
    CHECK_EQ(pipe(fds), 0);
    other = fork();
    if (other == 0) {
        close(fds[1]);
        setpgid(0, pid);
        if (read(fds[0], &c, 1) != 0)
            _exit(1);
        _exit(getpgrp() == pid && kill(pid, 0) == -1 && errno == ESRCH && kill(-pid, 0) == 0 ? 0
                                                                                             : 1);
    }
    CHECK_EQ(setpgid(other, pid), 0);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(wait_status(pid, 0), SIGKILL);
    CHECK_EQ(getpgid(other), pid);
    CHECK_ERRNO(getpgid(pid), ESRCH);
    CHECK_EQ(waitpid(-pid, &status, WNOHANG), 0);
    close(fds[0]);
    close(fds[1]);
    CHECK_EQ(waitpid(-pid, &status, 0), other);
    CHECK_EQ(status, 0);
    CHECK_ERRNO(kill(-pid, 0), ESRCH);
    CHECK_ERRNO(waitpid(-pid, &status, 0), ECHILD);
}

int main(void)
{
    /* A session of our own: whoever started us may be any kind of parent. Orphans leave it. */
    pid_t pid;

    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid = fork();
    if (pid > 0)
        return wait_status(pid, 0) == 0 ? 0 : 1;
    alarm(20);
    CHECK_EQ(setsid(), getpid());
    test_reports();
    test_signals_to_the_parent();
    test_threads();
    test_orphaned_groups();
    test_sessions();
    return check_done();
}
