/*
 * /proc/sys: numbers that root changes and that hold from then on, what they refuse, and files of
 * /proc that are read again from their beginning. What is changed is put back.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "text.h"

static char text[8192];

static const char *get(const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = 0;
    close(fd);
    return text;
}

static long number(const char *path)
{
    return atol(get(path));
}

/* 0, or errno of open(2) or write(2). */
static int put(const char *path, const char *value)
{
    return write_text(path, value) < 0 ? errno : 0;
}

static int put_number(const char *path, long value)
{
    char buf[32];

    snprintf(buf, sizeof(buf), "%ld\n", value);
    return put(path, buf);
}

/* A file that stays open shows what holds now, each time it is read from its beginning. */
static void test_read_again(void)
{
    int fd = open("/proc/self/comm", O_RDONLY);
    char name[32] = "";

    CHECK_EQ(prctl(PR_SET_NAME, "first"), 0);
    CHECK_EQ(pread(fd, name, sizeof(name), 0), 6);
    CHECK_EQ(memcmp(name, "first\n", 6), 0);
    CHECK_EQ(prctl(PR_SET_NAME, "second"), 0);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(read(fd, name, 2), 2);
    CHECK_EQ(memcmp(name, "se", 2), 0);
    CHECK_EQ(read(fd, name, sizeof(name)), 5);
    CHECK_EQ(memcmp(name, "cond\n", 5), 0);
    CHECK_EQ(read(fd, name, sizeof(name)), 0);
    close(fd);
}

static void test_refused(void)
{
    const char *path = "/proc/sys/vm/max_map_count";
    long count = number(path);

    CHECK_EQ(put(path, "many"), EINVAL);
    CHECK_EQ(put(path, "-1"), EINVAL);
    CHECK_EQ(put(path, "99999999999"), EINVAL);
    CHECK_EQ(put("/proc/sys/vm/overcommit_memory", "3"), EINVAL);
    CHECK_EQ(put("/proc/sys/kernel/ostype", "BeOS"), EACCES);
    CHECK_EQ(number(path), count);
    CHECK_EQ(put_number(path, count + 1), 0);
    CHECK_EQ(number(path), count + 1);
    CHECK_EQ(put_number(path, count), 0);
}

static void test_ipc(void)
{
    const char *max = "/proc/sys/kernel/msgmax", *sem = "/proc/sys/kernel/sem";
    static struct {
        long type;
        char text[1 << 16];
    } message = {.type = 1};
    long size = number(max), sets[4] = {0};
    int id = msgget(IPC_PRIVATE, 0600);
    char before[128], now[128];

    CHECK_ERRNO(msgsnd(id, &message, (size_t)size + 1, IPC_NOWAIT), EINVAL);
    CHECK_EQ(put_number(max, size + 1), 0);
    CHECK_EQ(msgsnd(id, &message, (size_t)size + 1, IPC_NOWAIT), 0);
    CHECK_EQ(put_number(max, size), 0);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);

    snprintf(before, sizeof(before), "%s", get(sem));
    CHECK_EQ(sscanf(before, "%ld %ld %ld %ld", &sets[0], &sets[1], &sets[2], &sets[3]), 4);
    snprintf(now, sizeof(now), "%ld %ld %ld %ld", sets[0], sets[1], sets[2] + 10, sets[3]);
    CHECK_EQ(put(sem, now), 0);
    struct seminfo info;
    CHECK(semctl(0, 0, IPC_INFO, &info) >= 0);
    CHECK_EQ(info.semopm, sets[2] + 10);
    CHECK_EQ(put(sem, before), 0);
}

static void test_limits(void)
{
    const char *open_max = "/proc/sys/fs/nr_open", *pipe_max = "/proc/sys/fs/pipe-max-size";
    long most = number(open_max), bytes = number(pipe_max);
    struct rlimit limit = {(rlim_t)most + 64, (rlim_t)most + 64};

    CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &limit), EPERM);
    CHECK_EQ(put_number(open_max, most + 64), 0);
    /* Root without CAP_SYS_RESOURCE cannot. Who has a number beyond the limit cannot share it out.
     */
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        CHECK_EQ(dup2(1, (int)most + 10), most + 10);
        CHECK_EQ(put_number(open_max, most), 0);
        errno = 0;
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        CHECK(child == -1 && errno == EMFILE);
        CHECK_EQ(close((int)most + 10), 0);
    }
    CHECK_EQ(put_number(open_max, most), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);

    CHECK_EQ(put_number(pipe_max, bytes + 1), 0);
    CHECK_EQ(number(pipe_max), bytes * 2);
    CHECK_EQ(put_number(pipe_max, bytes), 0);
}

/* Without privileges one reads. */
static void test_others(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        long mode = number("/proc/sys/vm/overcommit_memory");

        if (setresuid(12345, 12345, 12345) != 0)
            _exit(9);
        CHECK_EQ(number("/proc/sys/vm/overcommit_memory"), mode);
        CHECK_EQ(put_number("/proc/sys/vm/overcommit_memory", mode), EACCES);
        CHECK_EQ(access("/proc/sys/kernel/sem", R_OK), 0);
        CHECK_ERRNO(access("/proc/sys/kernel/sem", W_OK), EACCES);
        CHECK_ERRNO(access("/proc/sys/kernel/sem", X_OK), EACCES);
        CHECK_EQ(open("/dev/null", O_RDWR) >= 0, 1);
        _exit(atomic_load(&check_failures) != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(access("/proc/sys/kernel/sem", R_OK | W_OK), 0);
    CHECK_ERRNO(access("/proc/sys/kernel/sem", X_OK), EACCES);
}

/* sysfs(2), the old call: types of file systems by number and name. */
static void test_types(void)
{
    char name[64] = "";
    long count = syscall(SYS_sysfs, 3), proc = syscall(SYS_sysfs, 1, "proc");

    CHECK(count > 2 && proc >= 0 && proc < count);
    CHECK_EQ(syscall(SYS_sysfs, 2, proc, name), 0);
    CHECK_EQ(strcmp(name, "proc"), 0);
    CHECK_ERRNO(syscall(SYS_sysfs, 1, "procs"), EINVAL);
    CHECK_ERRNO(syscall(SYS_sysfs, 1, 8L), EFAULT);
    CHECK_ERRNO(syscall(SYS_sysfs, 2, count, name), EINVAL);
    CHECK_ERRNO(syscall(SYS_sysfs, 2, proc, 8L), EFAULT);
    CHECK_ERRNO(syscall(SYS_sysfs, 4), EINVAL);
}

static void test_names(void)
{
    char name[65];

    CHECK_EQ(unshare(CLONE_NEWUTS), 0);
    CHECK_EQ(put("/proc/sys/kernel/hostname", "inside\nmore"), 0);
    CHECK_EQ(gethostname(name, sizeof(name)), 0);
    CHECK_EQ(strcmp(name, "inside"), 0);
    CHECK_EQ(strcmp(get("/proc/sys/kernel/hostname"), "inside\n"), 0);
}

/* Who wants no more huge pages than there are gets them. */
static void test_huge_pages(void)
{
    const char *pool = "/proc/sys/vm/nr_hugepages";
    long count = number(pool);

    CHECK_EQ(put_number(pool, count), 0);
    CHECK_EQ(number(pool), count);
    CHECK_EQ(put(pool, "x"), EINVAL);
    CHECK_EQ(access("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", R_OK), 0);
}

/* A network namespace has settings of its own. */
static void test_network(void)
{
    const char *lo = "/proc/sys/net/ipv4/conf/lo/tag",
               *usual = "/proc/sys/net/ipv4/conf/default/tag";
    long before = number(lo);
    int status = -1;
    pid_t pid;

    CHECK_EQ(put_number(lo, number(usual) + 7), 0);
    CHECK_EQ(put(lo, "x"), EINVAL);
    pid = fork();
    if (pid == 0) {
        check_failures = 0;
        CHECK_EQ(unshare(CLONE_NEWNET), 0);
        CHECK_EQ(number(lo), number(usual));
        CHECK_EQ(put_number(lo, -3), 0);
        CHECK_EQ(number(lo), -3);
        _exit(check_failures);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(number(lo), number(usual) + 7);
    CHECK_EQ(put_number(lo, before), 0);
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("needs root");
    test_read_again();
    test_refused();
    test_ipc();
    test_limits();
    test_others();
    test_types();
    test_names();
    test_huge_pages();
    test_network();
    return check_done();
}
