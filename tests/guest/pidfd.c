/* Process handles: pidfd_open, signals and waiting through them, poll, CLONE_PIDFD, set_tid. */
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define P_HANDLE       3 /* P_PIDFD */
#define HANDLE_THREAD  O_EXCL
#define HANDLE_GETINFO 0xc040ff0bUL /* PIDFD_GET_INFO with the first structure's size */

static int pidfd_open_(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static int pidfd_signal(int fd, int signo, siginfo_t *info, unsigned flags)
{
    return (int)syscall(SYS_pidfd_send_signal, fd, signo, info, flags);
}

static int pidfd_getfd_(int fd, int target, unsigned flags)
{
    return (int)syscall(SYS_pidfd_getfd, fd, target, flags);
}

/* A child that waits until it is killed or its pipe is closed. */
static pid_t start_child(int gate[2])
{
    pid_t pid;

    CHECK_EQ(pipe(gate), 0);
    pid = fork();
    if (pid == 0) {
        char c;

        close(gate[1]);
        _exit(read(gate[0], &c, 1) == 0 ? 7 : 8);
    }
    close(gate[0]);
    return pid;
}

static int events_of(int fd, int timeout)
{
    struct pollfd p = {fd, POLLIN, 0};

    return poll(&p, 1, timeout) < 0 ? -1 : p.revents & POLLIN;
}

static void test_open(void)
{
    char path[64], name[64] = "";
    int fd = pidfd_open_(getpid(), 0);

    CHECK(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (readlink(path, name, sizeof(name) - 1) > 0)
        CHECK_EQ(strcmp(name, "anon_inode:[pidfd]"), 0);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(path, "r");
    if (info) {
        char line[64];
        int pid = 0, flags = 0;

        while (fgets(line, sizeof(line), info)) {
            sscanf(line, "Pid: %d", &pid);
            sscanf(line, "flags: %o", (unsigned *)&flags);
        }
        fclose(info);
        CHECK_EQ(pid, getpid());
        CHECK_EQ(flags, O_RDWR | O_CLOEXEC);
    }
    CHECK_ERRNO(read(fd, name, 1), EINVAL);
    CHECK_ERRNO(write(fd, name, 1), EINVAL);
    CHECK_EQ(events_of(fd, 0), 0);
    close(fd);
    fd = pidfd_open_(getpid(), O_NONBLOCK);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    close(fd);
    CHECK_ERRNO(pidfd_open_(0, 0), EINVAL);
    CHECK_ERRNO(pidfd_open_(-1, 0), EINVAL);
    CHECK_ERRNO(pidfd_open_(getpid(), 1), EINVAL);
    CHECK_ERRNO(pidfd_open_(0x7fffffff, 0), ESRCH);
}

static void test_wait(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77}, got;
    int gate[2], fd, ep = epoll_create1(0);
    siginfo_t info;
    pid_t pid = start_child(gate);

    fd = pidfd_open_(pid, 0);
    CHECK(fd >= 0);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event), 0);
    CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0);
    CHECK_EQ(waitid(P_HANDLE, (id_t)fd, &info, WEXITED | WNOHANG), 0);
    close(gate[1]);
    CHECK_EQ(epoll_wait(ep, &got, 1, 5000), 1);
    CHECK_EQ(got.data.u64, 77);
    CHECK_EQ(events_of(fd, -1), POLLIN);
    CHECK_EQ(waitid(P_HANDLE, (id_t)fd, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(info.si_pid, pid);
    CHECK_EQ(info.si_status, 7);
    CHECK_EQ(pidfd_signal(fd, 0, NULL, 0), 0); /* a zombie */
    CHECK_EQ(waitid(P_HANDLE, (id_t)fd, &info, WEXITED), 0);
    CHECK_EQ(info.si_code, CLD_EXITED);
    CHECK_ERRNO(waitid(P_HANDLE, (id_t)fd, &info, WEXITED), ECHILD);
    CHECK_ERRNO(pidfd_signal(fd, 0, NULL, 0), ESRCH);
    CHECK_ERRNO(pidfd_getfd_(fd, 0, 0), ESRCH);
    CHECK_EQ(events_of(fd, 0), POLLIN);
    close(fd);
    close(ep);

    pid = start_child(gate);
    fd = pidfd_open_(pid, O_NONBLOCK);
    CHECK_ERRNO(waitid(P_HANDLE, (id_t)fd, &info, WEXITED), EAGAIN);
    CHECK_EQ(pidfd_signal(fd, SIGKILL, NULL, 0), 0);
    CHECK_EQ(events_of(fd, -1), POLLIN);
    CHECK_EQ(waitid(P_HANDLE, (id_t)fd, &info, WEXITED), 0);
    CHECK_EQ(info.si_code, CLD_KILLED);
    CHECK_EQ(info.si_status, SIGKILL);
    close(gate[1]);
    close(fd);
    CHECK_ERRNO(waitid(P_HANDLE, 0, &info, WEXITED), EBADF);
    CHECK_ERRNO(waitid(P_HANDLE, (id_t)-1, &info, WEXITED), EINVAL);
    fd = pidfd_open_(getpid(), 0);
    CHECK_ERRNO(waitid(P_HANDLE, (id_t)fd, &info, WEXITED), ECHILD);
    close(fd);
}

static volatile sig_atomic_t last_code, last_value;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
}

static void test_signal(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    int gate[2], fd = pidfd_open_(getpid(), 0), other;
    pid_t pid;

    sigaction(SIGUSR1, &action, NULL);
    CHECK_EQ(pidfd_signal(fd, SIGUSR1, NULL, 0), 0);
    CHECK_EQ(last_code, SI_USER);
    info.si_value.sival_int = 1234;
    CHECK_EQ(pidfd_signal(fd, SIGUSR1, &info, 0), 0);
    CHECK_EQ(last_code, SI_QUEUE);
    CHECK_EQ(last_value, 1234);
    info.si_code = SI_USER; /* to oneself one may say anything */
    CHECK_EQ(pidfd_signal(fd, SIGUSR1, &info, 0), 0);
    CHECK_ERRNO(pidfd_signal(fd, SIGUSR2, &info, 0), EINVAL);
    CHECK_ERRNO(pidfd_signal(fd, 65, NULL, 0), EINVAL);
    CHECK_ERRNO(pidfd_signal(fd, SIGUSR1, NULL, 0x80), EINVAL);
    CHECK_ERRNO(pidfd_signal(fd, SIGUSR1, (siginfo_t *)8, 0), EFAULT);
    CHECK_ERRNO(pidfd_signal(0, SIGUSR1, NULL, 0), EBADF);
    CHECK_ERRNO(pidfd_signal(-1, SIGUSR1, NULL, 0), EBADF);
    other = open("/proc/self", O_DIRECTORY | O_CLOEXEC);
    if (other >= 0) {
        last_code = 77;
        CHECK_EQ(pidfd_signal(other, SIGUSR1, NULL, 0), 0);
        CHECK_EQ(last_code, SI_USER);
        close(other);
    }
    close(fd);
    pid = start_child(gate);
    other = pidfd_open_(pid, 0);
    CHECK_ERRNO(pidfd_signal(other, SIGUSR1, &info, 0), EPERM);
    info.si_code = SI_TKILL;
    CHECK_ERRNO(pidfd_signal(other, SIGUSR1, &info, 0), EPERM);
    close(gate[1]);
    CHECK_EQ(waitid(P_HANDLE, (id_t)other, &info, WEXITED), 0);
    close(other);
}

static void test_getfd(void)
{
    int gate[2], data[2], fd, got;
    char c = 0;
    pid_t pid;

    CHECK_EQ(pipe(data), 0);
    pid = start_child(gate);
    fd = pidfd_open_(pid, 0);
    CHECK_EQ(write(data[1], "x", 1), 1);
    got = pidfd_getfd_(fd, data[0], 0);
    CHECK(got >= 0);
    CHECK_EQ(fcntl(got, F_GETFD), FD_CLOEXEC);
    close(data[0]);
    CHECK_EQ(read(got, &c, 1), 1);
    CHECK_EQ(c, 'x');
    CHECK_ERRNO(pidfd_getfd_(fd, 9999, 0), EBADF);
    CHECK_ERRNO(pidfd_getfd_(fd, 0, 1), EINVAL);
    CHECK_ERRNO(pidfd_getfd_(got, 0, 0), EBADF);
    close(got);
    close(data[1]);
    close(gate[1]);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    close(fd);
}

static long clone3_(struct clone_args *args, size_t size)
{
    long pid = syscall(SYS_clone3, args, size);

    if (pid == 0)
        _exit(3);
    return pid;
}

static void test_clone(void)
{
    int fd = -1, status;
    struct clone_args args = {
        .flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD};
    siginfo_t info;
    pid_t free_pid, set[2];
    long pid = clone3_(&args, sizeof(args));

    CHECK(pid > 0);
    CHECK(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(waitid(P_HANDLE, (id_t)fd, &info, WEXITED), 0);
    CHECK_EQ(info.si_pid, pid);
    close(fd);
    /* The same by the old call, where the parent's word takes it. */
    pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
    if (pid == 0)
        _exit(4);
    CHECK_EQ(waitid(P_HANDLE, (id_t)fd, &info, WEXITED), 0);
    CHECK_EQ(info.si_status, 4);
    close(fd);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &fd, 0, 0),
                EINVAL);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0, &fd, 0, 0), EINVAL);
    args.pidfd = 8;
    CHECK_ERRNO(clone3_(&args, sizeof(args)), EFAULT);
    CHECK_ERRNO(waitpid(-1, &status, 0), ECHILD);

    /* A number of one's choice: one that was free a moment ago. */
    args = (struct clone_args){.exit_signal = SIGCHLD};
    free_pid = (pid_t)clone3_(&args, sizeof(args));
    CHECK_EQ(waitpid(free_pid, NULL, 0), free_pid);
    set[0] = free_pid;
    args.set_tid = (uintptr_t)set;
    args.set_tid_size = 1;
    pid = clone3_(&args, sizeof(args));
    if (pid > 0) {
        CHECK_EQ(pid, free_pid);
        CHECK_EQ(waitpid(free_pid, NULL, 0), free_pid);
        set[0] = getpid();
        CHECK_ERRNO(clone3_(&args, sizeof(args)), EEXIST);
        set[0] = 0;
        CHECK_ERRNO(clone3_(&args, sizeof(args)), EINVAL);
        set[0] = 1 << 30;
        CHECK_ERRNO(clone3_(&args, sizeof(args)), EINVAL);
    } else {
        CHECK_EQ(errno, EPERM); /* an ordinary user's run */
    }
    args.set_tid_size = 33;
    CHECK_ERRNO(clone3_(&args, sizeof(args)), EINVAL);
    args.set_tid = 0;
    args.set_tid_size = 1;
    CHECK_ERRNO(clone3_(&args, sizeof(args)), EINVAL);
    args.set_tid_size = 0;
    args.flags = CLONE_INTO_CGROUP;
    args.cgroup = 999;
    CHECK_ERRNO(clone3_(&args, sizeof(args)), EBADF);
    args.cgroup = 1UL << 32;
    CHECK_ERRNO(clone3_(&args, sizeof(args)), EINVAL);
    args.flags = CLONE_CLEAR_SIGHAND | CLONE_SIGHAND | CLONE_VM;
    CHECK_ERRNO(clone3_(&args, sizeof(args)), EINVAL);
    CHECK_ERRNO(clone3_(&args, 32), EINVAL);
    CHECK_ERRNO(clone3_(&args, 8192), E2BIG);
}

static void test_limit(void)
{
    struct rlimit old, none = {.rlim_cur = 3};
    int fd;
    struct clone_args args = {
        .flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD};

    getrlimit(RLIMIT_NOFILE, &old);
    none.rlim_max = old.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_ERRNO(clone3_(&args, sizeof(args)), EMFILE);
    CHECK_ERRNO(pidfd_open_(getpid(), 0), EMFILE);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
}

static pid_t made_by_thread;
static atomic_int thread_may_end;

static void *thread_body(void *argument)
{
    made_by_thread = fork();
    if (made_by_thread == 0)
        _exit(0);
    while (!thread_may_end)
        usleep(1000);
    return NULL;
}

/* __WNOTHREAD: whose child it is among threads, and who takes it over. */
static void test_thread_children(void)
{
    pthread_t thread;
    siginfo_t info;

    CHECK_EQ(pthread_create(&thread, NULL, thread_body, NULL), 0);
    while (__atomic_load_n(&made_by_thread, __ATOMIC_SEQ_CST) == 0)
        usleep(1000);
    CHECK_ERRNO(waitpid(made_by_thread, NULL, __WNOTHREAD), ECHILD);
    CHECK_EQ(waitid(P_PID, (id_t)made_by_thread, &info, WEXITED | WNOWAIT), 0);
    thread_may_end = 1;
    pthread_join(thread, NULL);
    for (int i = 0; i < 2000 && waitpid(made_by_thread, NULL, __WNOTHREAD) < 0; i++)
        usleep(1000);
    CHECK_ERRNO(waitpid(made_by_thread, NULL, 0), ECHILD);
    /* A child that ends without SIGCHLD is a "clone" child. */
    pid_t pid = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0)
        _exit(5);
    CHECK_ERRNO(waitpid(pid, NULL, 0), ECHILD);
    CHECK_EQ(waitpid(pid, NULL, __WCLONE), pid);
    pid = (pid_t)syscall(SYS_clone, 200 /* no signal at all */, 0, 0, 0, 0);
    if (pid == 0)
        _exit(6);
    CHECK_EQ(waitpid(pid, NULL, __WALL), pid);
}

int main(void)
{
    test_open();
    test_wait();
    test_signal();
    test_getfd();
    test_clone();
    test_limit();
    test_thread_children();
    return check_done();
}
