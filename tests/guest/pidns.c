/* Pid namespaces: numbers on several levels, entering, signals between them: pid_namespaces(7). */
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sys/ioctl.h>

#include "pidns.h"

static pid_t gettid_(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int see_numbers(void)
{
    siginfo_t info;
    pid_t pid;

    CHECK_EQ(getpid(), 1);
    CHECK_EQ(gettid_(), 1);
    CHECK_EQ(getppid(), 0);
    CHECK_EQ(getpgrp(), 0); /* of a group above */
    CHECK_EQ(getsid(0), 0);
    pid = start(see_child, 0);
    CHECK_EQ(pid, 2);
    CHECK_EQ(waitid(P_PID, 2, &info, WEXITED), 0);
    CHECK_EQ(info.si_pid, 2);
    CHECK_EQ(info.si_status, 0);
    CHECK_EQ(setsid(), 1);
    CHECK_EQ(getpgrp(), 1);
    CHECK_EQ(getsid(0), 1);
    CHECK_EQ(getpgid(1), 1);
    CHECK_ERRNO(kill(7, 0), ESRCH);
    CHECK_ERRNO(getpgid(7), ESRCH);
    return 0;
}

/* ---- seen from above ------------------------------------------------------------------------- */

static int wait_inside(void)
{
    pass(0);
    await(1);
    return 0;
}

static int nest(void)
{
    pid_t pid = start(wait_inside, CLONE_NEWPID);

    CHECK_EQ(pid, 2);
    pass(2);
    return status_of(pid);
}

static ino_t number_of(int fd)
{
    struct stat st;

    CHECK_EQ(fstat(fd, &st), 0);
    return st.st_ino;
}

static pid_t only_child(pid_t pid)
{
    char path[64], text[64] = "";
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return atoi(text);
}

static void see_status(pid_t pid, const char *what, const char *want_end)
{
    char path[64], text[4096], want[128], *line;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    fd = open(path, O_RDONLY);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    snprintf(want, sizeof(want), "%s:\t%d%s\n", what, pid, want_end);
    line = strstr(text, want);
    CHECK(line != NULL);
}

static void test_levels(void)
{
    char path[64];
    pid_t pid, inner = 0;
    int outer_ns, ns;

    open_pipes();
    pid = start(nest, CLONE_NEWPID);
    await(0);
    await(2);
    see_status(pid, "NSpid", "\t1");
    see_status(pid, "Tgid", "");
    inner = only_child(pid);
    if (inner) {
        see_status(inner, "NSpid", "\t2\t1");
        snprintf(path, sizeof(path), "/proc/%d/ns/pid", inner);
        ns = open(path, O_RDONLY);
        CHECK(ns >= 0);
        snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
        outer_ns = open(path, O_RDONLY);
        CHECK_EQ(number_of(ioctl(ns, NS_GET_PARENT)), number_of(outer_ns));
        CHECK_ERRNO(ioctl(open("/proc/self/ns/pid", O_RDONLY), NS_GET_PARENT), EPERM);
        close(ns);
        close(outer_ns);
    }
    pass(1);
    CHECK_EQ(status_of(pid), 0);
}

/* ---- entering -------------------------------------------------------------------------------- */

static int enter_child(void)
{
    CHECK(getpid() > 1);
    CHECK_EQ(getppid(), 0);
    CHECK_EQ(kill(1, 0), 0);
    return 3;
}

static int enter(void)
{
    pid_t pid, mine = getpid();
    int fd;

    open_pipes();
    pid = start(wait_inside, CLONE_NEWPID);
    await(0);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK_EQ(setns(fd, CLONE_NEWPID), 0);
    CHECK_EQ(getpid(), mine);
    CHECK_EQ(status_of(start(enter_child, 0)), 3 << 8);
    CHECK_EQ(setns(open("/proc/self/ns/pid", O_RDONLY), CLONE_NEWPID), 0);
    CHECK_EQ(status_of(start(nothing, 0)), 0);
    pass(1);
    CHECK_EQ(status_of(pid), 0);
    return 0;
}

static int enter_above(void)
{
    CHECK_ERRNO(setns(pipes[0][0], CLONE_NEWPID), EINVAL);
    return 0;
}

static void test_enter_above(void)
{
    pipes[0][0] = open("/proc/self/ns/pid", O_RDONLY);
    run(enter_above, CLONE_NEWPID);
}

/* ---- chosen numbers -------------------------------------------------------------------------- */

static pid_t clone_at(uint64_t flags, const pid_t *tids, size_t count)
{
    struct clone_args args = {
        .flags = flags,
        .exit_signal = SIGCHLD,
        .set_tid = (uint64_t)(uintptr_t)tids,
        .set_tid_size = count,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

    if (pid == 0)
        _exit(getpid() == tids[0] ? 0 : 98);
    return pid;
}

static int choose(void)
{
    int fd = open("/proc/sys/kernel/ns_last_pid", O_RDWR);
    char text[16] = "";
    pid_t one[] = {77}, two[] = {1, 55}, bad[] = {5, 56}, taken[] = {1},
          many[] = {1, 2, 3, 4, 5, 6};

    CHECK_EQ(read(fd, text, sizeof(text)), 2);
    CHECK_EQ(strcmp(text, "1\n"), 0);
    CHECK_EQ(pwrite(fd, "500", 3, 0), 3);
    CHECK_EQ(status_of(start(nothing, 0)), 0);
    close(fd);
    fd = open("/proc/sys/kernel/ns_last_pid", O_RDWR);
    CHECK_EQ(read(fd, text, sizeof(text)), 4);
    CHECK_EQ(strcmp(text, "501\n"), 0);
    CHECK_EQ(clone_at(0, one, 1), 77);
    CHECK_EQ(status_of(77), 0);
    CHECK_EQ(clone_at(CLONE_NEWPID, two, 2), 55);
    CHECK_EQ(status_of(55), 0);
    CHECK_ERRNO(clone_at(CLONE_NEWPID, bad, 2), EINVAL); /* it has to be 1 */
    CHECK_ERRNO(clone_at(0, taken, 1), EEXIST);
    CHECK_ERRNO(clone_at(0, many, 6), EINVAL);
    return 0;
}

/* ---- kill, groups, sigqueue ------------------------------------------------------------------ */

static int kill_everybody(void)
{
    pid_t pid[3];

    open_pipes();
    for (int i = 0; i < 3; i++) {
        pid[i] = start(sleep_for_ever, 0);
        await(0);
    }
    CHECK_EQ(kill(-1, SIGKILL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(status_of(pid[i]), SIGKILL);
    CHECK_ERRNO(kill(-1, SIGKILL), ESRCH);
    return 0;
}

static int tell_above(void)
{
    sigset_t set;
    siginfo_t info;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pass(0);
    CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQ(info.si_code, SI_QUEUE);
    CHECK_EQ(info.si_pid, 0); /* not seen from here */
    return 0;
}

static void test_queue(void)
{
    union sigval value = {.sival_int = 4};
    pid_t pid;

    open_pipes();
    pid = start(tell_above, CLONE_NEWPID);
    await(0);
    CHECK_EQ(sigqueue(pid, SIGUSR1, value), 0);
    CHECK_EQ(status_of(pid), 0);
}

/* Whoever owns a pid namespace may mount a /proc of it: what is there is its members. */
static int mount_proc(void)
{
    char link[16] = "";

    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), 0);
    CHECK_EQ(readlink("/proc/self", link, sizeof(link)), 1);
    CHECK_EQ(strcmp(link, "1"), 0);
    CHECK_ERRNO(access("/proc/2", F_OK), ENOENT);
    return 0;
}

static pid_t waiting_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        for (;;)
            pause();
    }
    return pid;
}

/* A number that comes back is another process, whatever was opened by its name before. */
static int reuse_number(void)
{
    siginfo_t info;
    struct stat old, now;
    pid_t pid;
    int dir, again, last;

    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", "/proc", "proc", 0, NULL), 0);
    pid = waiting_child();
    CHECK_EQ(pid, 2);
    dir = open("/proc/2", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(fstat(dir, &old), 0);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, dir, 0, NULL, 0), 0);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitid(P_PID, 2, &info, WEXITED), 0);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, dir, 0, NULL, 0), ESRCH);
    last = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
    CHECK_EQ(write(last, "1", 1), 1);
    CHECK_EQ(waiting_child(), 2);
    again = open("/proc/2", O_RDONLY | O_DIRECTORY);
    CHECK_EQ(fstat(again, &now), 0);
    CHECK(old.st_ino != now.st_ino);
    CHECK_ERRNO(syscall(SYS_pidfd_send_signal, dir, SIGKILL, NULL, 0), ESRCH);
    CHECK_ERRNO(openat(dir, "stat", O_RDONLY), ESRCH);
    CHECK_EQ(syscall(SYS_pidfd_send_signal, again, SIGKILL, NULL, 0), 0);
    CHECK_EQ(waitid(P_PID, 2, &info, WEXITED), 0);
    return 0;
}

/* Task 1 of the first namespace is there for who looks for it. */
static void test_first(void)
{
    int pid = 0, parent = -1;
    char name[32], state;
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 1};
    struct __user_cap_data_struct caps[2];
    struct sched_param param;
    struct stat st;
    cpu_set_t cpus;
    FILE *f = fopen("/proc/1/stat", "r");

    CHECK(f != NULL);
    if (!f)
        return;
    CHECK_EQ(fscanf(f, "%d (%31[^)]) %c %d", &pid, name, &state, &parent), 4);
    fclose(f);
    CHECK_EQ(pid, 1);
    CHECK_EQ(parent, 0);
    CHECK_EQ(stat("/proc/1/comm", &st), 0);
    CHECK_EQ(kill(1, 0), 0);
    CHECK_EQ(sched_getscheduler(1), SCHED_OTHER);
    CHECK_EQ(sched_getparam(1, &param), 0);
    CHECK_EQ(param.sched_priority, 0);
    CHECK_ERRNO(sched_setscheduler(1, 99, &param), EINVAL);
    param.sched_priority = 1;
    CHECK_ERRNO(sched_setscheduler(1, SCHED_OTHER, &param), EINVAL);
    CHECK_EQ(syscall(SYS_capget, &head, caps), 0);
    CHECK_EQ(sched_getaffinity(1, sizeof(cpus), &cpus), 0);
    CHECK(CPU_COUNT(&cpus) > 0);
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("needs root");
    run(see_numbers, CLONE_NEWPID);
    test_levels();
    run(enter, 0);
    test_enter_above();
    run(choose, CLONE_NEWPID);
    run(kill_everybody, CLONE_NEWPID);
    test_queue();
    test_first();
    run(reuse_number, CLONE_NEWPID | CLONE_NEWNS);
    run(mount_proc, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS);
    return check_done();
}
