/* A session on a pseudo-terminal: who controls it, who may read and write, who gets which signal.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>

#include "check.h"

static int master, slave;
static char name[64];

static void on_signal(int signo)
{
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

static void open_pair(void)
{
    master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(master >= 0 && unlockpt(master) == 0 && ptsname_r(master, name, sizeof(name)) == 0);
}

/* Runs fn as the leader of a new session whose terminal the slave is. Its failures are ours. */
static void in_session(void (*fn)(void), int status)
{
    pid_t pid;

    open_pair();
    pid = fork();
    if (pid == 0) {
        alarm(20);
        check_failures = 0;
        setsid();
        slave = open(name, O_RDWR);
        fn();
        _exit(check_failures ? 1 : 0);
    }
    CHECK_EQ(wait_status(pid, 0), status);
    close(master);
}

/* A job in a group of its own, put into the foreground before it goes on if so wanted. */
static pid_t job(int (*fn)(void), bool foreground)
{
    int gate[2];
    pid_t pid;
    char c;

    CHECK_EQ(pipe(gate), 0);
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        close(gate[1]);
        if (read(gate[0], &c, 1) != 0)
            _exit(99);
        signal(SIGTTOU, SIG_DFL);
        _exit(fn());
    }
    setpgid(pid, pid);
    if (foreground)
        CHECK_EQ(tcsetpgrp(slave, pid), 0);
    close(gate[0]);
    close(gate[1]);
    return pid;
}

/* What ps(1) reads: the terminal's number and its foreground group. */
static void check_proc_stat(void)
{
    char text[512] = "";
    int fd = open("/proc/self/stat", O_RDONLY), tty = 0, foreground = 0;
    struct stat st;

    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    CHECK_EQ(sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %d %d", &tty, &foreground), 2);
    CHECK_EQ(fstat(slave, &st), 0);
    CHECK_EQ(tty, (int)(major(st.st_rdev) << 8 | minor(st.st_rdev)));
    CHECK_EQ(foreground, getpid());
    close(fd);
}

static void test_ids(void)
{
    pid_t pid = getpid(), number = 0, old;
    int other;

    CHECK_EQ(tcgetsid(slave), pid);
    CHECK_EQ(tcgetpgrp(slave), pid);
    check_proc_stat();
    CHECK_EQ(ioctl(master, TIOCGPGRP, &number), 0);
    CHECK_EQ(number, pid);
    CHECK_EQ(ioctl(master, TIOCGSID, &number), 0);
    CHECK_EQ(number, pid);
    CHECK_EQ(ioctl(slave, TIOCSCTTY, 0), 0); /* it is already */
    CHECK_ERRNO(tcsetpgrp(slave, 0x7ffffff), ESRCH);
    CHECK_ERRNO(tcsetpgrp(slave, -1), EINVAL);
    CHECK_ERRNO(tcsetpgrp(slave, getppid()), EPERM);
    other = open("/dev/tty", O_RDWR);
    CHECK(other >= 0);
    CHECK_EQ(tcgetpgrp(other), pid);
    CHECK_EQ(ioctl(other, TIOCSWINSZ, &(struct winsize){.ws_row = 5, .ws_col = 7}), 0);
    close(other);

    /* Another terminal is not ours, and we cannot take it. */
    old = master;
    other = slave;
    open_pair();
    slave = open(name, O_RDWR);
    CHECK_ERRNO(tcgetpgrp(slave), ENOTTY);
    CHECK_ERRNO(tcgetsid(slave), ENOTTY);
    CHECK_ERRNO(tcsetpgrp(slave, pid), ENOTTY);
    CHECK_ERRNO(ioctl(slave, TIOCSCTTY, 0), EPERM);
    CHECK_ERRNO(ioctl(slave, TIOCNOTTY, 0), ENOTTY);
    CHECK_EQ(ioctl(master, TIOCGPGRP, &number), 0);
    CHECK_EQ(number, 0);
    CHECK_ERRNO(ioctl(master, TIOCGSID, &number), ENOTTY);
    close(slave);
    close(master);
    slave = other;
    master = old;

    /* Until we give up ours. */
    signal(SIGHUP, SIG_IGN);
    CHECK_EQ(ioctl(slave, TIOCNOTTY, 0), 0);
    CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
    CHECK_ERRNO(tcgetpgrp(slave), ENOTTY);
    CHECK_EQ(ioctl(slave, TIOCSCTTY, 0), 0);
    CHECK_EQ(tcgetpgrp(slave), pid);
}

static int sleep_on(void)
{
    for (;;)
        pause();
    return 0;
}

static void type(const char *text)
{
    CHECK_EQ(write(master, text, strlen(text)), strlen(text));
}

static void test_keys(void)
{
    pid_t pid;
    sigset_t set;

    signal(SIGTTOU, SIG_IGN);
    /* The keys are for the foreground alone: we would not survive them. */
    pid = job(sleep_on, true);
    type("\003");
    CHECK_EQ(wait_status(pid, 0), SIGINT);
    pid = job(sleep_on, true);
    type("\034");
    CHECK_EQ(wait_status(pid, 0) & 0x7f, SIGQUIT);
    pid = job(sleep_on, true);
    type("\032");
    CHECK_EQ(wait_status(pid, WUNTRACED), SIGTSTP << 8 | 0x7f);
    CHECK_EQ(tcsetpgrp(slave, getpgrp()), 0);
    CHECK_EQ(kill(-pid, SIGCONT), 0);
    CHECK_EQ(wait_status(pid, WCONTINUED), 0xffff);
    CHECK_EQ(kill(-pid, SIGTERM), 0);
    CHECK_EQ(wait_status(pid, 0), SIGTERM);

    /* A new size. */
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGWINCH, on_signal);
    CHECK_EQ(ioctl(master, TIOCSWINSZ, &(struct winsize){.ws_row = 20, .ws_col = 30}), 0);
    CHECK_EQ(sigwaitinfo(&set, NULL), SIGWINCH);
    CHECK_EQ(ioctl(master, TIOCSWINSZ, &(struct winsize){.ws_row = 20, .ws_col = 30}), 0);
    CHECK_EQ(sigtimedwait(&set, NULL, &(struct timespec){0, 20000000}), -1); /* the same */
}

static int read_one(void)
{
    char c = 0;

    return read(slave, &c, 1) == 1 ? c : errno;
}

static int read_ignoring(void)
{
    signal(SIGTTIN, SIG_IGN);
    return read_one();
}

static int write_one(void)
{
    return write(slave, "w", 1) == 1 ? 0 : errno;
}

static int change_settings(void)
{
    struct termios t;

    return tcgetattr(slave, &t) == 0 && tcsetattr(slave, TCSANOW, &t) == 0 ? 0 : errno;
}

static int take_foreground(void)
{
    return tcsetpgrp(slave, getpgrp()) == 0 ? 0 : errno;
}

static void stops_with(int (*fn)(void), int signo, int result)
{
    pid_t pid = job(fn, false);

    CHECK_EQ(wait_status(pid, WUNTRACED), signo << 8 | 0x7f);
    CHECK_EQ(tcsetpgrp(slave, pid), 0);
    kill(-pid, SIGCONT);
    CHECK_EQ(wait_status(pid, 0), result << 8);
    CHECK_EQ(tcsetpgrp(slave, getpgrp()), 0);
}

static void test_background(void)
{
    struct termios t;
    pid_t pid;

    signal(SIGTTOU, SIG_IGN);
    type("ab\n");
    stops_with(read_one, SIGTTIN, 'a');
    pid = job(read_ignoring, false);
    CHECK_EQ(wait_status(pid, 0), EIO << 8);
    pid = job(write_one, false);
    CHECK_EQ(wait_status(pid, 0), 0);
    stops_with(change_settings, SIGTTOU, 0);
    stops_with(take_foreground, SIGTTOU, 0);
    tcgetattr(slave, &t);
    t.c_lflag |= TOSTOP;
    tcsetattr(slave, TCSANOW, &t);
    stops_with(write_one, SIGTTOU, 0);
}

/* The member of an orphaned group: nobody could continue it. */
static void test_orphans(void)
{
    pid_t pid;
    int fds[2], result = -1;

    CHECK_EQ(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            pid_t parent = getppid();

            setpgid(0, 0);
            kill(parent, SIGKILL);
            while (getppid() == parent)
                usleep(1000);
            result = read_one();
            if (write(fds[1], &result, sizeof(result)) < 0)
                _exit(1);
            _exit(0);
        }
        sleep_on();
    }
    CHECK_EQ(wait_status(pid, 0), SIGKILL);
    CHECK_EQ(read(fds[0], &result, sizeof(result)), sizeof(result));
    CHECK_EQ(result, EIO);
}

static int told_fd;

static int tell_hangup(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (write(told_fd, "r", 1) != 1)
        return 1;
    if (sigwaitinfo(&set, NULL) != SIGHUP)
        return 1;
    return write(told_fd, "h", 1) == 1 && open("/dev/tty", O_RDWR) < 0 && errno == ENXIO &&
                   write(told_fd, "t", 1) == 1
               ? 0
               : 1;
}

/* The leader ends: its foreground job hears of it, and loses the terminal. */
static void leave_a_job(void)
{
    char c;
    int ready[2];

    CHECK_EQ(pipe(ready), 0);
    signal(SIGTTOU, SIG_IGN);
    if (fork() == 0) {
        setpgid(0, 0);
        tcsetpgrp(slave, getpgrp());
        close(ready[0]);
        close(ready[1]);
        _exit(tell_hangup());
    }
    close(ready[1]);
    CHECK_EQ(read(ready[0], &c, 1), 0);
    usleep(20000);
}

static void test_leader_ends(void)
{
    char buf[4] = "";
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    told_fd = fds[1];
    in_session(leave_a_job, 0);
    close(fds[1]);
    for (size_t have = 0; have < 3;) {
        ssize_t n = read(fds[0], buf + have, 3 - have);

        if (n <= 0)
            break;
        have += (size_t)n;
    }
    CHECK_EQ(strcmp(buf, "rht"), 0);
    close(fds[0]);
}

/* The other end goes: the leader gets SIGHUP. */
static void test_hangup(void)
{
    sigset_t set;
    char c;
    pid_t pid;

    open_pair();
    pid = fork();
    if (pid == 0) {
        alarm(20);
        check_failures = 0;
        setsid();
        slave = open(name, O_RDWR);
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        close(master);
        CHECK_EQ(sigwaitinfo(&set, NULL), SIGHUP);
        CHECK_EQ(read(slave, &c, 1), 0);
        CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
        _exit(check_failures ? 1 : 0);
    }
    usleep(30000);
    close(master);
    CHECK_EQ(wait_status(pid, 0), 0);
}

static void test_noctty(void)
{
    pid_t pid;

    open_pair();
    pid = fork();
    if (pid == 0) {
        check_failures = 0;
        setsid();
        slave = open(name, O_RDWR | O_NOCTTY);
        CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
        CHECK_ERRNO(tcgetpgrp(slave), ENOTTY);
        close(slave);
        slave = open(name, O_RDWR);
        CHECK_EQ(tcgetpgrp(slave), getpid());
        close(slave); /* nobody has it open now, but it is still ours */
        slave = open("/dev/tty", O_RDWR);
        CHECK(slave >= 0);
        CHECK_EQ(tcgetpgrp(slave), getpid());
        _exit(check_failures ? 1 : 0);
    }
    CHECK_EQ(wait_status(pid, 0), 0);
    close(master);
}

int main(void)
{
    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    alarm(40);
    in_session(test_ids, 0);
    in_session(test_keys, 0);
    in_session(test_background, 0);
    in_session(test_orphans, 0);
    test_leader_ends();
    test_hangup();
    test_noctty();
    return check_done();
}
