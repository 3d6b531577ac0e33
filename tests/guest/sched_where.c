/*
 * Scheduling that shows: processors by affinity, also of other threads and of children; nice values
 * and I/O priorities, with their errors; what SCHED_DEADLINE and the idle class are refused for.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static int first_cpu, last_cpu;
static atomic_int tid, may_end, seen_cpu;

static int raw_cpu(void)
{
    unsigned cpu = ~0u;

    CHECK_EQ(RAW(SYS_getcpu, &cpu, NULL, NULL), 0);
    return (int)cpu;
}

static void pin(pid_t pid, int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK_EQ(sched_setaffinity(pid, sizeof(set), &set), 0);
    CPU_ZERO(&set);
    CHECK(sched_getaffinity(pid, sizeof(set), &set) >= 0);
    CHECK_EQ(CPU_COUNT(&set), 1);
    CHECK(CPU_ISSET(cpu, &set));
}

/* Runs without system calls but for the one that tells where. */
static void *busy_body(void *argument)
{
    tid = (int)syscall(SYS_gettid);
    while (!may_end) {
        for (volatile int i = 0; i < 20000; i++)
            ;
        seen_cpu = raw_cpu();
    }
    return NULL;
}

static void test_affinity(void)
{
    cpu_set_t all, set;
    pthread_t thread;
    pid_t pid;
    int status;

    CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
        if (CPU_ISSET(cpu, &all))
            first_cpu = cpu;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all))
            last_cpu = cpu;
    }
    for (int round = 0; round < 3; round++) {
        pin(0, last_cpu);
        for (int i = 0; i < 50; i++)
            CHECK_EQ(raw_cpu(), last_cpu);
        CHECK_EQ(sched_getcpu(), last_cpu);
        pin(0, first_cpu);
        for (int i = 0; i < 50; i++)
            CHECK_EQ(raw_cpu(), first_cpu);
    }
    /* Children and threads begin where their maker is. */
    pin(0, last_cpu);
    pid = fork();
    if (pid == 0) {
        cpu_set_t mine;

        sched_getaffinity(0, sizeof(mine), &mine);
        _exit(CPU_COUNT(&mine) == 1 && raw_cpu() == last_cpu && sched_getcpu() == last_cpu ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    /* Another thread is moved while it runs. */
    CHECK_EQ(pthread_create(&thread, NULL, busy_body, NULL), 0);
    while (!tid)
        usleep(1000);
    for (int round = 0; round < 4; round++) {
        int cpu = round & 1 ? last_cpu : first_cpu;

        pin(tid, cpu);
        seen_cpu = -1;
        for (int i = 0; i < 2000 && seen_cpu != cpu; i++)
            usleep(1000);
        CHECK_EQ(seen_cpu, cpu);
    }
    may_end = 1;
    pthread_join(thread, NULL);
    CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);

    CPU_ZERO(&set);
    CHECK_ERRNO(sched_setaffinity(0, sizeof(set), &set), EINVAL);
    CHECK_ERRNO(sched_setaffinity(0x7fffffff, sizeof(all), &all), ESRCH);
    CHECK_ERRNO(syscall(SYS_sched_setaffinity, 0, sizeof(all), 8), EFAULT);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 1, &set), EINVAL);
}

static void as_nobody(void)
{
    CHECK_EQ(setresgid(65534, 65534, 65534), 0);
    CHECK_EQ(setresuid(65534, 65534, 65534), 0);
}

struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static long set_attr(const struct attr *attr)
{
    return syscall(SYS_sched_setattr, 0, attr, 0);
}

/* An ordinary user: upward only as the limits say. */
static void in_child(void)
{
    struct attr deadline = {sizeof(deadline), 6, 0, 0, 0, 1000000, 5000000, 10000000};
    struct rlimit limit = {0, 0};
    struct sched_param param = {0};

    CHECK_EQ(setrlimit(RLIMIT_NICE, &limit), 0);
    CHECK_EQ(setrlimit(RLIMIT_RTPRIO, &limit), 0);
    if (getuid() == 0)
        as_nobody();
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, 5), 0);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), 5);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, 0, 4), EACCES);
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, 100), 0);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), 19);
    CHECK_ERRNO(nice(-1), EPERM);
    CHECK_ERRNO(setpriority(7, 0, 0), EINVAL);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, 0x7fffffff, 0), ESRCH);
    CHECK_ERRNO(set_attr(&deadline), EPERM);
    deadline.runtime = 10;
    CHECK_ERRNO(set_attr(&deadline), EINVAL);
    CHECK_ERRNO(sched_setscheduler(0, 6, &param), EINVAL);
    CHECK_EQ(sched_setscheduler(0, SCHED_BATCH, &param), 0);
    CHECK_EQ(sched_setscheduler(0, SCHED_IDLE, &param), 0);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_OTHER, &param), EPERM);
    param.sched_priority = 1;
    CHECK_ERRNO(sched_setscheduler(0, SCHED_FIFO, &param), EPERM);
    param.sched_priority = 100;
    CHECK_ERRNO(sched_setscheduler(0, SCHED_RR, &param), EINVAL);
    CHECK_ERRNO(syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4), EPERM);
    CHECK_ERRNO(syscall(SYS_ioprio_set, 1, 0, 1), EINVAL);
    CHECK_ERRNO(syscall(SYS_ioprio_set, 1, 0, 7 << 13), EINVAL);
    CHECK_EQ(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6), 0);
    CHECK_EQ(syscall(SYS_ioprio_get, 1, 0), 2 << 13 | 6);
    CHECK_EQ(syscall(SYS_ioprio_set, 1, 0, 3 << 13), 0);
    CHECK_EQ(syscall(SYS_ioprio_get, 1, 0), 3 << 13);
    CHECK_ERRNO(syscall(SYS_ioprio_get, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_ioprio_get, 4, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_ioprio_get, 1, 0x7fffffff), ESRCH);
    CHECK_EQ(syscall(SYS_ioprio_get, 2, 0), 3 << 13);
}

/* Who may reserve time has what it asked for, and cannot hand it on. */
static void test_deadline(void)
{
    struct attr want = {sizeof(want), 6, 0, 0, 0, 1000000, 5000000, 10000000}, got;
    struct attr plain = {sizeof(plain), SCHED_OTHER, 0, 0, 0, 0, 0, 0};
    struct timespec slice = {1, 1};

    if (set_attr(&want) != 0)
        return; /* not root */
    CHECK_EQ(sched_getscheduler(0), 6);
    CHECK_EQ(syscall(SYS_sched_getattr, 0, &got, sizeof(got), 0), 0);
    CHECK_EQ(got.policy, 6);
    CHECK_EQ(got.runtime, 1000000);
    CHECK_EQ(got.deadline, 5000000);
    CHECK_EQ(got.period, 10000000);
    CHECK_EQ(sched_rr_get_interval(0, &slice), 0);
    CHECK_EQ(slice.tv_sec + slice.tv_nsec, 0);
    CHECK_ERRNO(syscall(SYS_fork), EAGAIN);
    CHECK_EQ(set_attr(&plain), 0);
    CHECK_EQ(syscall(SYS_sched_getattr, 0, &got, sizeof(got), 0), 0);
    CHECK_EQ(got.period, 0);
}

static void test_limits(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, 0);
        in_child();
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

/*
 * Processor time is promised only as far as there is some: as many tasks as processors cannot each
 * have all of one. And who reserves it may not be kept from a processor.
 */
static void test_admission(void)
{
    struct attr whole = {sizeof(whole), 6, 0, 0, 0, 50000000, 50000000, 50000000};
    struct attr half = {sizeof(half), 6, 0, 0, 0, 5000000, 10000000, 10000000};
    const struct sched_param none = {0};
    cpu_set_t all, one;
    int cpus, taken = 0, pipes[2];
    pid_t pids[CPU_SETSIZE];
    char c = 0;

    if (syscall(SYS_sched_setattr, 0, &half, 0) != 0)
        return; /* not root */
    CHECK_EQ(sched_setscheduler(0, SCHED_OTHER, &none), 0);
    CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    cpus = CPU_COUNT(&all);
    CHECK_EQ(pipe(pipes), 0);
    for (int i = 0; i < cpus; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            long result = syscall(SYS_sched_setattr, 0, &whole, 0);

            c = result == 0 ? 't' : errno == EBUSY ? 'b' : '?';
            if (write(pipes[1], &c, 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        CHECK_EQ(read(pipes[0], &c, 1), 1);
        CHECK(c == 't' || c == 'b');
        taken += c == 't';
    }
    CHECK(c == 'b');
    CHECK(taken < cpus);
    for (int i = 0; i < cpus; i++) {
        CHECK_EQ(kill(pids[i], SIGKILL), 0);
        CHECK_EQ(waitpid(pids[i], NULL, 0), pids[i]);
    }
    /* What the dead had comes back a period later. */
    while (syscall(SYS_sched_setattr, 0, &half, 0) != 0 && errno == EBUSY)
        usleep(5000);
    CHECK_EQ(sched_getscheduler(0), 6);
    CPU_ZERO(&one);
    CPU_SET(first_cpu, &one);
    if (cpus > 1)
        CHECK_ERRNO(sched_setaffinity(0, sizeof(one), &one), EBUSY);
    CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
    CHECK_EQ(sched_setscheduler(0, SCHED_OTHER, &none), 0);
    CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    if (cpus > 1)
        CHECK_ERRNO(syscall(SYS_sched_setattr, 0, &half, 0), EPERM);
    CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
    close(pipes[0]);
    close(pipes[1]);
}

int main(void)
{
    test_affinity();
    test_deadline();
    test_admission();
    test_limits();
    return check_done();
}
