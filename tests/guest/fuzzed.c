/* What the call fuzzer (tests/fuzz/calls.c) once broke the Sentry with, each as a test of its own.
 */
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"

/* Many groups, out of order: sorting them must not need anything of the host. */
static void test_groups(void)
{
    enum { COUNT = 2000 };
    static gid_t groups[COUNT], got[COUNT];
    bool sorted = true;

    for (int i = 0; i < COUNT; i++)
        groups[i] = (gid_t)(i * 7919 % COUNT);
    if (geteuid() != 0 || setgroups(COUNT, groups) != 0) {
        note("not for root: no groups");
        return;
    }
    CHECK_EQ(getgroups(COUNT, got), COUNT);
    for (int i = 0; i < COUNT; i++)
        sorted = sorted && got[i] == (gid_t)i;
    CHECK(sorted);
    CHECK_EQ(setgroups(0, NULL), 0);
}

static void on_alarm(int signo)
{
}

/* Writable is not writable by so much: the writer sleeps, a signal ends that. */
static void test_eventfd_full(void)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval soon = {{.tv_usec = 20000}, {.tv_usec = 20000}}, never = {0};
    uint64_t some = 5, greatest = UINT64_MAX - 1;
    int fd = eventfd(0, 0);

    sigaction(SIGALRM, &action, NULL);
    CHECK_EQ(write(fd, &some, sizeof(some)), sizeof(some));
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK_ERRNO(write(fd, &greatest, sizeof(greatest)), EINTR);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK_EQ(read(fd, &some, sizeof(some)), sizeof(some));
    CHECK_EQ(some, 5);
    CHECK_EQ(write(fd, &greatest, sizeof(greatest)), sizeof(greatest));
    close(fd);
}

/* What has no place in the tree is no program either. */
static void test_exec_of_no_file(void)
{
    char *const none[] = {NULL};
    int fd = eventfd(0, 0), ends[2];

    CHECK_EQ(pipe(ends), 0);
    CHECK_ERRNO(syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH), EACCES);
    CHECK_ERRNO(syscall(SYS_execveat, ends[0], "", none, none, AT_EMPTY_PATH), EACCES);
    CHECK_ERRNO(syscall(SYS_execveat, ends[0], "name", none, none, 0), ENOTDIR);
    close(fd);
}

/* A link of /proc that leads nowhere is not a name that is free. */
static void test_create_through_nothing(void)
{
    siginfo_t info;
    char name[32];
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    snprintf(name, sizeof(name), "/proc/%d/cwd", pid);
    CHECK_ERRNO(open(name, O_CREAT | O_WRONLY, 0600), ENOENT);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

/* A terminal drops what is too much of a line: whoever sends for ever can be ended. */
static void test_endless_line(void)
{
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), zero = open("/dev/zero", O_RDONLY), status;
    pid_t pid = fork();

    if (pid == 0) {
        sendfile(master, zero, NULL, 1UL << 40);
        for (;;)
            pause();
    }
    usleep(20000);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, SIGKILL);
    close(master);
    close(zero);
}

int main(void)
{
    test_endless_line();
    test_create_through_nothing();
    test_groups();
    test_eventfd_full();
    test_exec_of_no_file();
    return check_done();
}
