/* Time namespaces: offsets of the clocks, who is in which, absolute times: time_namespaces(7). */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "text.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define MONOTONIC 100000L
#define BOOTTIME  200000L

static struct timespec monotonic_before, boottime_before;

static int put(const char *text)
{
    return write_text("/proc/self/timens_offsets", text) < 0 ? -errno : 0;
}

static void get(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, buf, size - 1);

    buf[n < 0 ? 0 : n] = '\0';
    close(fd);
}

static ino_t number_of(const char *path)
{
    struct stat st;

    CHECK_EQ(stat(path, &st), 0);
    return st.st_ino;
}

static int status_of(int (*fn)(void), uint64_t flags)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    int status;
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

    if (pid == 0) {
        check_failures = 0;
        status = fn();
        _exit(check_failures ? 99 : status);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static bool is_ahead(clockid_t clock, const struct timespec *before, long by)
{
    struct timespec raw, now;

    /* By the vDSO and by the call. */
    CHECK_EQ(clock_gettime(clock, &now), 0);
    CHECK_EQ(syscall(SYS_clock_gettime, clock, &raw), 0);
    CHECK(raw.tv_sec - now.tv_sec <= 600 && raw.tv_sec >= now.tv_sec);
    return now.tv_sec - before->tv_sec >= by && now.tv_sec - before->tv_sec < by + 600;
}

static int inside(void)
{
    struct itimerspec setting = {.it_value = {1, 0}};
    struct timespec now, target;
    uint64_t ticks = 0;
    int fd;

    CHECK(is_ahead(CLOCK_MONOTONIC, &monotonic_before, MONOTONIC));
    CHECK(is_ahead(CLOCK_MONOTONIC_COARSE, &monotonic_before, MONOTONIC));
    CHECK(is_ahead(CLOCK_BOOTTIME, &boottime_before, BOOTTIME));
    CHECK_EQ(number_of("/proc/self/ns/time"), number_of("/proc/self/ns/time_for_children"));
    /* A time of long ago outside would be far in the future if it were not converted. */
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    target = now;
    target.tv_nsec += 1000000;
    if (target.tv_nsec >= 1000000000) {
        target.tv_nsec -= 1000000000;
        target.tv_sec++;
    }
    CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &target, NULL), 0);
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    CHECK(now.tv_sec > target.tv_sec ||
          (now.tv_sec == target.tv_sec && now.tv_nsec >= target.tv_nsec));
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    setting.it_value = target; /* has passed */
    CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, NULL), 0);
    CHECK_EQ(read(fd, &ticks, sizeof(ticks)), sizeof(ticks));
    CHECK_EQ(ticks, 1);
    CHECK_EQ(put("monotonic 1 0"), -EACCES); /* somebody is in it */
    return 3;
}

/* A child that shares memory enters when it execs. */
static int status_of_execed(void)
{
    char *argv[] = {"timens", "inside", NULL};
    int status;
    pid_t pid = vfork();

    if (pid == 0) {
        execv("/proc/self/exe", argv);
        _exit(98);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static int read_inside(void)
{
    struct timespec now;

    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    CHECK(now.tv_sec > MONOTONIC);
    return check_failures ? 99 : 5;
}

static int unshared(void)
{
    ino_t old = number_of("/proc/self/ns/time");
    char text[128], want[128];

    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &monotonic_before), 0);
    CHECK_EQ(clock_gettime(CLOCK_BOOTTIME, &boottime_before), 0);
    CHECK_EQ(put("monotonic 1 0"), -EACCES); /* the first one is in use */
    CHECK_EQ(unshare(CLONE_NEWTIME), 0);
    CHECK_EQ(number_of("/proc/self/ns/time"), old);
    CHECK(number_of("/proc/self/ns/time_for_children") != old);
    CHECK_EQ(put("monotonic 1"), -EINVAL);
    CHECK_EQ(put("realtime 1 0"), -EINVAL);
    CHECK_EQ(put("monotonic 1 1000000000"), -EINVAL);
    CHECK_EQ(put("monotonic -1000000000 0"), -ERANGE);
    CHECK_EQ(put("monotonic 5000000000 0"), -ERANGE);
    snprintf(text, sizeof(text), "monotonic %ld 5\n7 %ld 0\n", MONOTONIC, BOOTTIME);
    CHECK_EQ(put(text), 0);
    get("/proc/self/timens_offsets", text, sizeof(text));
    snprintf(want, sizeof(want), "monotonic  %10ld %9d\nboottime   %10ld %9d\n", MONOTONIC, 5,
             BOOTTIME, 0);
    CHECK_EQ(strcmp(text, want), 0);
    CHECK(is_ahead(CLOCK_MONOTONIC, &monotonic_before, 0));
    CHECK_EQ(status_of(inside, 0), 3 << 8);
    CHECK_EQ(put("monotonic 1 0"), -EACCES);
    CHECK_EQ(status_of_execed(), 5 << 8);
    return 0;
}

static int enter(void)
{
    int fd;

    CHECK_EQ(unshare(CLONE_NEWTIME), 0);
    CHECK_EQ(put("monotonic 100000 0"), 0);
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &monotonic_before), 0);
    fd = open("/proc/self/ns/time_for_children", O_RDONLY);
    CHECK_EQ(setns(fd, CLONE_NEWTIME), 0);
    CHECK(is_ahead(CLOCK_MONOTONIC, &monotonic_before, MONOTONIC));
    return 0;
}

int main(int argc, char **argv)
{
    if (geteuid() != 0)
        check_skip("needs root");
    if (access("/proc/self/ns/time", F_OK) < 0)
        check_skip("no time namespaces");
    if (argc > 1)
        return read_inside();
    CHECK_EQ(status_of(unshared, 0), 0);
    CHECK_EQ(status_of(enter, 0), 0);
    return check_done();
}
