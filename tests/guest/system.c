/* About the system and a process's place in it: chroot(2), personality(2), sysinfo(2), /proc. */
#include <fcntl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "check.h"

static void in_child(void (*test)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        test();
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void chroot_inside(void)
{
    char name[64];
    int outside = open("/", O_RDONLY | O_DIRECTORY), fd;

    CHECK_EQ(chdir("/dev"), 0);
    CHECK_EQ(chroot("/dev"), 0);
    fd = open("/null", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERRNO(open("/dev/null", O_RDONLY), ENOENT);
    CHECK(getcwd(name, sizeof(name)) && strcmp(name, "/") == 0);
    /* No way up ... */
    fd = open("../../null", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    /* ... but for who is outside already. */
    CHECK_EQ(fchdir(outside), 0);
    fd = open("dev/null", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQ(chroot("."), 0);
    CHECK_EQ(access("/dev/null", F_OK), 0);
    close(outside);
}

static void chroot_refused(void)
{
    CHECK_ERRNO(chroot("/nonexistent"), ENOENT);
    CHECK_ERRNO(chroot("/dev/null"), ENOTDIR);
    CHECK_ERRNO(chroot((char *)8), EFAULT);
    if (geteuid() == 0)
        CHECK_EQ(setresuid(-1, 1000, -1), 0);
    CHECK_ERRNO(chroot("/dev"), EPERM);
    CHECK_ERRNO(chroot("/nonexistent"), ENOENT);
}

/* A select(2) that leaves the time alone. */
static void sticky_timeouts(void)
{
    struct timeval tv = {0, 2000};

    CHECK_EQ(select(0, NULL, NULL, NULL, &tv), 0);
    CHECK_EQ(tv.tv_usec, 0);
    tv.tv_usec = 2000;
    CHECK(personality(STICKY_TIMEOUTS) != -1);
    CHECK_EQ(select(0, NULL, NULL, NULL, &tv), 0);
    CHECK_EQ(tv.tv_usec, 2000);
}

static void child_slack(void)
{
    CHECK_EQ(prctl(PR_GET_TIMERSLACK), 70000);
    CHECK_EQ(prctl(PR_SET_TIMERSLACK, 90000), 0);
    CHECK_EQ(prctl(PR_SET_TIMERSLACK, 0), 0); /* back to what the parent had */
    CHECK_EQ(prctl(PR_GET_TIMERSLACK), 70000);
}

static void timer_slack(void)
{
    CHECK_EQ(prctl(PR_SET_TIMERSLACK, 70000), 0);
    in_child(child_slack);
    CHECK_EQ(prctl(PR_SET_TIMERSLACK, 0), 0);
}

static int read_text(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

    close(fd);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void busyness(void)
{
    unsigned long ticks = 0, boot = 0;
    struct sysinfo info;
    char text[65536];
    double average[3];
    int running, tasks, last;

    CHECK(read_text("/proc/loadavg", text, sizeof(text)));
    CHECK_EQ(sscanf(text, "%lf %lf %lf %d/%d %d", &average[0], &average[1], &average[2], &running,
                    &tasks, &last),
             6);
    CHECK(running >= 1 && tasks >= running && last >= 1);
    CHECK(read_text("/proc/stat", text, sizeof(text)));
    CHECK_EQ(sscanf(text, "cpu  %lu", &ticks), 1);
    CHECK(strstr(text, "\ncpu0 ") && strstr(text, "\nctxt ") && strstr(text, "\nprocesses "));
    CHECK(strstr(text, "\nbtime ") && sscanf(strstr(text, "\nbtime "), " btime %lu", &boot) == 1);
    CHECK(boot > 1500000000);
    CHECK_EQ(sysinfo(&info), 0);
    CHECK(info.procs >= 1 && info.totalram > 0 && info.mem_unit > 0);
    CHECK(read_text("/proc/sys/kernel/core_pattern", text, sizeof(text)));
}

/* ustat(2): of whatever has the number that stat(2) tells. */
static void free_by_number(void)
{
    struct {
        int32_t blocks;
        uint64_t inodes;
        char names[12];
    } free;
    struct stat st;

    CHECK_EQ(stat("/proc", &st), 0);
    memset(&free, 0x55, sizeof(free));
    CHECK_EQ(syscall(SYS_ustat, (unsigned)st.st_dev, &free), 0);
    CHECK_EQ(free.blocks, 0);
    CHECK_EQ(free.inodes, 0);
    CHECK_EQ(free.names[0], 0);
    CHECK_EQ(stat("/", &st), 0);
    CHECK_EQ(syscall(SYS_ustat, (unsigned)st.st_dev, &free), 0);
    CHECK_EQ(stat("/dev/shm", &st), 0);
    CHECK_EQ(syscall(SYS_ustat, (unsigned)st.st_dev, &free), 0);
    CHECK(free.inodes > 0);
    CHECK_ERRNO(syscall(SYS_ustat, (unsigned)st.st_dev, 8), EFAULT);
    CHECK_ERRNO(syscall(SYS_ustat, -1U, &free), EINVAL);
}

int main(void)
{
    if (geteuid() == 0)
        in_child(chroot_inside);
    in_child(chroot_refused);
    in_child(sticky_timeouts);
    free_by_number();
    timer_slack();
    busyness();
    return check_done();
}
