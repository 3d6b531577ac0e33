/*
 * Leases on files (F_SETLEASE): who may have one, who has to wait and who is told; and directories
 * that send signals (F_NOTIFY).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"
#include "child.h"

static int wait_signal(int signo)
{
    const struct timespec limit = {10, 0};
    siginfo_t info;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, signo);
    return sigtimedwait(&set, &info, &limit) == signo ? info.si_fd : -1;
}

static bool no_signal(int signo)
{
    sigset_t set;

    sigpending(&set);
    return !sigismember(&set, signo);
}

static void test_rules(void)
{
    int writer = open("file", O_RDWR), reader = open("file", O_RDONLY), second;

    CHECK_EQ(fcntl(reader, F_GETLEASE), F_UNLCK);
    CHECK_ERRNO(fcntl(reader, F_SETLEASE, F_RDLCK), EAGAIN); /* somebody writes */
    CHECK_ERRNO(fcntl(writer, F_SETLEASE, F_WRLCK), EAGAIN); /* somebody else has it open */
    CHECK_ERRNO(fcntl(reader, F_SETLEASE, F_UNLCK), EAGAIN); /* there is none */
    CHECK_ERRNO(fcntl(reader, F_SETLEASE, 17), EINVAL);
    close(reader);
    CHECK_EQ(fcntl(writer, F_SETLEASE, F_WRLCK), 0);
    CHECK_EQ(fcntl(writer, F_GETLEASE), F_WRLCK);
    CHECK_EQ(fcntl(writer, F_SETLEASE, F_UNLCK), 0);
    close(writer);
    reader = open("file", O_RDONLY);
    second = open("file", O_RDONLY);
    CHECK_EQ(fcntl(reader, F_SETLEASE, F_RDLCK), 0);
    CHECK_EQ(fcntl(second, F_SETLEASE, F_RDLCK), 0);
    CHECK_ERRNO(fcntl(second, F_SETLEASE, F_WRLCK), EAGAIN);
    close(open("file", O_RDONLY)); /* in nobody's way */
    CHECK(no_signal(SIGIO));
    close(second);
    close(reader); /* and the lease with it */
    CHECK_ERRNO(fcntl(0, F_NOTIFY, DN_CREATE), ENOTDIR);
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    CHECK_ERRNO(fcntl(dir, F_SETLEASE, F_RDLCK), EINVAL);
    close(dir);
}

/* A child does what breaks the lease. */
static pid_t child_opens(int flags)
{
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open("file", flags);

        _exit(fd < 0 ? errno : 0);
    }
    return pid;
}

static void test_break(void)
{
    int fd = open("file", O_RDONLY);
    pid_t pid;

    CHECK_EQ(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
    /* Who does not want to wait. */
    CHECK_EQ(exit_of(child_opens(O_WRONLY | O_NONBLOCK)), EAGAIN);
    CHECK(wait_signal(SIGIO) >= 0);
    CHECK_EQ(fcntl(fd, F_GETLEASE), F_UNLCK); /* what it is to become */
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    CHECK_EQ(exit_of(child_opens(O_WRONLY | O_NONBLOCK)), 0);
    /* Who waits until it is given back. */
    CHECK_EQ(fcntl(fd, F_SETSIG, SIGRTMIN), 0);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
    pid = child_opens(O_WRONLY);
    CHECK_EQ(wait_signal(SIGRTMIN), fd);
    CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    CHECK_EQ(exit_of(pid), 0);
    close(fd);
    /* A write lease may become a read lease. */
    fd = open("file", O_RDWR);
    CHECK_EQ(fcntl(fd, F_SETSIG, SIGRTMIN), 0);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    pid = child_opens(O_RDONLY);
    CHECK_EQ(wait_signal(SIGRTMIN), fd);
    CHECK_EQ(fcntl(fd, F_GETLEASE), F_RDLCK);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    CHECK_EQ(exit_of(pid), 0);
    /* Not while somebody waits to write: only giving it back helps. */
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_UNLCK), -1);
    close(fd);
    fd = open("file", O_RDONLY);
    CHECK_EQ(fcntl(fd, F_SETSIG, SIGRTMIN), 0);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    pid = child_opens(O_WRONLY);
    CHECK_EQ(wait_signal(SIGRTMIN), fd);
    CHECK_ERRNO(fcntl(fd, F_SETLEASE, F_RDLCK), EAGAIN);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    CHECK_EQ(exit_of(pid), 0);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_RDLCK), 0); /* that one is gone */
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    close(fd);
    fd = open("file", O_RDWR);
    /* truncate(2) waits as well; closing is giving back. */
    CHECK_EQ(fcntl(fd, F_GETSIG), 0); /* with the lease goes who is to be told */
    CHECK_EQ(fcntl(fd, F_SETSIG, SIGRTMIN), 0);
    CHECK_EQ(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    pid = fork();
    if (pid == 0)
        _exit(close(fd) || truncate("file", 3) ? errno : 0);
    CHECK_EQ(wait_signal(SIGRTMIN), fd);
    close(fd);
    CHECK_EQ(exit_of(pid), 0);
}

static void test_directory(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY);

    CHECK_EQ(fcntl(fd, F_SETSIG, SIGRTMIN + 1), 0);
    CHECK_EQ(fcntl(fd, F_NOTIFY, DN_CREATE | DN_DELETE), 0);
    close(open("made", O_CREAT | O_WRONLY, 0600));
    CHECK(!no_signal(SIGRTMIN + 1)); /* it has come when the call returns */
    CHECK_EQ(wait_signal(SIGRTMIN + 1), fd);
    CHECK_EQ(unlink("made"), 0); /* once is once */
    CHECK(no_signal(SIGRTMIN + 1));
    CHECK_EQ(fcntl(fd, F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT), 0);
    close(open("made", O_CREAT | O_WRONLY, 0600));
    CHECK_EQ(wait_signal(SIGRTMIN + 1), fd);
    CHECK_EQ(unlink("made"), 0);
    CHECK_EQ(wait_signal(SIGRTMIN + 1), fd);
    CHECK_EQ(fcntl(fd, F_NOTIFY, 0), 0);
    CHECK_EQ(fcntl(fd, F_NOTIFY, DN_ATTRIB), 0); /* of itself as well */
    CHECK_EQ(chmod(".", 0700), 0);
    CHECK_EQ(wait_signal(SIGRTMIN + 1), fd);
    close(open("made", O_CREAT | O_WRONLY, 0600));
    CHECK_EQ(unlink("made"), 0);
    close(fd);
    CHECK(no_signal(SIGRTMIN + 1));
}

/* DN_RENAME: names that change within the directory, and nothing else. */
static void test_renames(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY), below;

    CHECK_EQ(mkdir("below", 0700), 0);
    below = open("below", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(fcntl(fd, F_SETSIG, SIGRTMIN + 1), 0);
    CHECK_EQ(fcntl(below, F_SETSIG, SIGRTMIN + 1), 0);
    close(open("made", O_CREAT | O_WRONLY, 0600));
    CHECK_EQ(fcntl(fd, F_NOTIFY, DN_RENAME | DN_MULTISHOT), 0);
    CHECK_EQ(fcntl(below, F_NOTIFY, DN_RENAME | DN_MULTISHOT), 0);
    CHECK_EQ(rename("made", "below/made"), 0);
    CHECK(no_signal(SIGRTMIN + 1));
    CHECK_EQ(rename("below", "under"), 0);
    CHECK_EQ(wait_signal(SIGRTMIN + 1), fd);
    CHECK_EQ(rename("under/made", "under/done"), 0);
    CHECK_EQ(wait_signal(SIGRTMIN + 1), below);
    /* DN_DELETE hears of what is moved away. */
    CHECK_EQ(fcntl(below, F_NOTIFY, DN_DELETE), 0);
    CHECK_EQ(rename("under/done", "made"), 0);
    CHECK_EQ(wait_signal(SIGRTMIN + 1), below);
    CHECK(no_signal(SIGRTMIN + 1));
    close(below);
    close(fd);
    CHECK_EQ(unlink("made"), 0);
    CHECK_EQ(rmdir("under"), 0);
}

/* What else is asked of open files: how long what is written will live, and who has made them. */
static void test_hints(void)
{
    int fd = open("file", O_RDWR | O_CREAT, 0600), made = open("fresh", O_RDWR | O_CREAT, 0600);
    uint64_t hint = 3;

    CHECK_EQ(fcntl(fd, 1024 + 4 /* F_CREATED_QUERY */, 0), 0);
    CHECK_EQ(fcntl(made, 1024 + 4, 0), 1);
    CHECK_EQ(fcntl(fd, F_SET_RW_HINT, &hint), 0);
    hint = 9;
    CHECK_ERRNO(fcntl(fd, F_SET_RW_HINT, &hint), EINVAL);
    CHECK_EQ(fcntl(fd, F_GET_RW_HINT, &hint), 0);
    CHECK_EQ(hint, 3);
    CHECK_ERRNO(fcntl(fd, F_GET_RW_HINT, 8), EFAULT);
    close(fd);
    close(made);
    CHECK_EQ(unlink("fresh"), 0);
}

int main(void)
{
    sigset_t set;
    char dir[64];

    snprintf(dir, sizeof(dir), "/tmp/lease-%d", getpid());
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_EQ(mkdir(dir, 0755), 0);
    CHECK_EQ(chdir(dir), 0);
    close(open("file", O_CREAT | O_WRONLY, 0644));
    test_rules();
    test_break();
    test_directory();
    test_renames();
    test_hints();
    CHECK_EQ(unlink("file"), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(dir), 0);
    return check_done();
}
