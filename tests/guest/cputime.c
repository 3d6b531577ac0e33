/*
 * Processor time: who used it (getrusage(2), times(2), wait4(2)), its clocks, and what happens when
 * it is used up (setitimer(2), RLIMIT_CPU). Bounds are generous: machines are loaded.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "clock.h"

static int64_t tv_ns(const struct timeval *tv)
{
    return tv->tv_sec * SECOND + tv->tv_usec * 1000;
}

static int64_t now_quiet(clockid_t clock)
{
    struct timespec ts = {-1, 0};

    clock_gettime(clock, &ts);
    return in_ns(&ts);
}

static volatile uint64_t sink;

/* In user mode, but for a look at the clock now and then. */
static void burn(int64_t ns)
{
    int64_t begin = now_quiet(CLOCK_THREAD_CPUTIME_ID);

    while (now_quiet(CLOCK_THREAD_CPUTIME_ID) - begin < ns) {
        for (int i = 0; i < 200000; i++)
            sink += (uint64_t)i * sink;
    }
}

/* In the kernel. */
static void burn_system(int64_t ns)
{
    static char buffer[8 << 20];
    int64_t begin = now_quiet(CLOCK_THREAD_CPUTIME_ID);
    int fd = open("/dev/zero", O_RDONLY);

    while (now_quiet(CLOCK_THREAD_CPUTIME_ID) - begin < ns) {
        for (int i = 0; i < 3; i++)
            CHECK_EQ(read(fd, buffer, sizeof(buffer)), sizeof(buffer));
    }
    close(fd);
}

static void test_split(void)
{
    struct rusage a, b, thread;
    struct tms before, after;

    CHECK_EQ(getrusage(RUSAGE_SELF, &a), 0);
    CHECK(times(&before) > 0);
    burn(120 * MS);
    CHECK_EQ(getrusage(RUSAGE_SELF, &b), 0);
    CHECK(tv_ns(&b.ru_utime) - tv_ns(&a.ru_utime) >= 60 * MS);
    CHECK(tv_ns(&b.ru_stime) - tv_ns(&a.ru_stime) <= 60 * MS);
    a = b;
    burn_system(120 * MS);
    CHECK_EQ(getrusage(RUSAGE_SELF, &b), 0);
    CHECK(tv_ns(&b.ru_stime) - tv_ns(&a.ru_stime) >= 30 * MS);
    CHECK_EQ(getrusage(RUSAGE_THREAD, &thread), 0);
    CHECK(tv_ns(&thread.ru_utime) >= 60 * MS && tv_ns(&thread.ru_stime) >= 30 * MS);
    CHECK(times(&after) > 0);
    CHECK(after.tms_utime - before.tms_utime >= 5);
    CHECK(after.tms_stime - before.tms_stime >= 2);
    CHECK(b.ru_maxrss > 100);
    CHECK(b.ru_minflt > 0);
    CHECK_ERRNO(getrusage(17, &a), EINVAL);
    CHECK_EQ(RAW(SYS_getrusage, RUSAGE_SELF, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_times, 8), -EFAULT);
    CHECK(RAW(SYS_times, NULL) > 0);
}

/* Neither part goes back, and together they are the clock. */
static void test_monotonic(void)
{
    struct rusage last = {0}, usage;

    for (int i = 0; i < 300; i++) {
        CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
        if (!CHECK(tv_ns(&usage.ru_utime) >= tv_ns(&last.ru_utime)) ||
            !CHECK(tv_ns(&usage.ru_stime) >= tv_ns(&last.ru_stime)))
            break;
        last = usage;
    }
    CHECK(tv_ns(&usage.ru_utime) + tv_ns(&usage.ru_stime) <=
          now(CLOCK_PROCESS_CPUTIME_ID) + 2 * MS);
}

static void test_counts(void)
{
    const struct timespec pause = {0, MS};
    struct rusage a, b;
    char *page = aligned_alloc(1 << 21, 1 << 23);

    CHECK_EQ(getrusage(RUSAGE_THREAD, &a), 0);
    for (int i = 0; i < 10; i++)
        nanosleep(&pause, NULL);
    for (int i = 0; i < 1 << 23; i += 4096)
        page[i] = 1;
    CHECK_EQ(getrusage(RUSAGE_THREAD, &b), 0);
    CHECK(b.ru_nvcsw - a.ru_nvcsw >= 10);
    CHECK(b.ru_minflt - a.ru_minflt >= 1);
    CHECK(b.ru_maxrss >= a.ru_maxrss);
    free(page);
}

static void test_children(void)
{
    struct rusage usage, all, none = {0};
    siginfo_t info = {0};
    struct tms tms;
    int status;

    CHECK_EQ(getrusage(RUSAGE_CHILDREN, &all), 0);
    CHECK_EQ(tv_ns(&all.ru_utime), 0);
    pid_t pid = fork();
    if (pid == 0) {
        burn(60 * MS);
        burn_system(60 * MS);
        _exit(3);
    }
    CHECK_EQ(wait4(pid, &status, 0, &usage), pid);
    CHECK_EQ(WEXITSTATUS(status), 3);
    CHECK(tv_ns(&usage.ru_utime) >= 25 * MS && tv_ns(&usage.ru_stime) >= 15 * MS);
    CHECK(usage.ru_maxrss > 100 && usage.ru_minflt > 0);
    CHECK_EQ(getrusage(RUSAGE_CHILDREN, &all), 0);
    CHECK_EQ(tv_ns(&all.ru_utime), tv_ns(&usage.ru_utime));
    CHECK_EQ(tv_ns(&all.ru_stime), tv_ns(&usage.ru_stime));
    CHECK(times(&tms) > 0);
    CHECK(tms.tms_cutime >= 2 && tms.tms_cstime >= 1);

    /* A grandchild counts when its parent has waited for it. */
    pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            burn(50 * MS);
            _exit(0);
        }
        wait(NULL);
        _exit(0);
    }
    memset(&usage, 0, sizeof(usage));
    CHECK_EQ(RAW(SYS_waitid, P_PID, pid, &info, WEXITED | WNOWAIT, &usage), 0);
    CHECK_EQ(info.si_pid, pid);
    CHECK(tv_ns(&usage.ru_utime) + tv_ns(&usage.ru_stime) >= 50 * MS);
    CHECK_EQ(wait4(pid, &status, 0, &none), pid);
    CHECK(tv_ns(&none.ru_utime) + tv_ns(&none.ru_stime) >= 50 * MS);
    /* Whoever does not wait is not told. */
    CHECK_EQ(getrusage(RUSAGE_CHILDREN, &all), 0);
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0) {
        burn(20 * MS);
        _exit(0);
    }
    CHECK_ERRNO(wait4(-1, &status, 0, NULL), ECHILD);
    signal(SIGCHLD, SIG_DFL);
    CHECK_EQ(getrusage(RUSAGE_CHILDREN, &usage), 0);
    CHECK_EQ(tv_ns(&all.ru_utime), tv_ns(&usage.ru_utime));
    /* Nobody there: nothing is written. */
    usage.ru_maxrss = 77;
    CHECK_ERRNO(wait4(-1, &status, 0, &usage), ECHILD);
    CHECK_EQ(usage.ru_maxrss, 77);
    CHECK_EQ(RAW(SYS_wait4, -1, NULL, 0, 8), -ECHILD);
}

static volatile sig_atomic_t ticks;

static void on_tick(int signo)
{
    (void)signo;
    ticks++;
}

static void test_itimer(int which, int signo)
{
    struct sigaction action = {.sa_handler = on_tick}, before;
    struct itimerval set = {.it_value = {0, 20000}, .it_interval = {0, 10000}}, got;
    const struct timespec pause = {0, 60 * MS};

    CHECK_EQ(getitimer(which, &got), 0);
    CHECK(tv_ns(&got.it_value) == 0 && tv_ns(&got.it_interval) == 0);
    sigaction(signo, &action, &before);
    ticks = 0;
    CHECK_EQ(setitimer(which, &set, NULL), 0);
    CHECK_EQ(getitimer(which, &got), 0);
    CHECK(tv_ns(&got.it_value) > 0 && tv_ns(&got.it_value) <= 30 * MS);
    CHECK_EQ(tv_ns(&got.it_interval), 10 * MS);
    nanosleep(&pause, NULL);
    CHECK_EQ(ticks, 0); /* nothing was used */
    int64_t begin = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
    while (ticks < 3 && now_quiet(CLOCK_MONOTONIC) - wall < 30 * SECOND)
        burn(MS);
    CHECK(ticks >= 3);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - begin >= 10 * MS);
    set = (struct itimerval){0};
    CHECK_EQ(setitimer(which, &set, &got), 0);
    CHECK(tv_ns(&got.it_value) > 0);
    CHECK_EQ(tv_ns(&got.it_interval), 10 * MS);
    int seen = ticks;
    burn(30 * MS);
    CHECK_EQ(ticks, seen);
    CHECK_EQ(RAW(SYS_getitimer, which, 8), -EFAULT);
    sigaction(signo, &before, NULL);
}

static void test_itimer_errors(void)
{
    struct itimerval set = {.it_value = {0, 1000000}};

    CHECK_ERRNO(setitimer(ITIMER_PROF, &set, NULL), EINVAL);
    set.it_value.tv_usec = 0;
    set.it_interval.tv_usec = -1;
    CHECK_ERRNO(setitimer(ITIMER_VIRTUAL, &set, NULL), EINVAL);
    set.it_interval.tv_usec = 0;
    CHECK_EQ(RAW(SYS_setitimer, 3, &set, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_setitimer, 3, 8, NULL), -EFAULT);
    CHECK_EQ(RAW(SYS_getitimer, 3, &set), -EINVAL);
    CHECK_EQ(RAW(SYS_getitimer, -1, &set), -EINVAL);
}

/* A second process that is busy and one that sleeps; their clocks as others see them. */
static void test_others_clocks(void)
{
    clockid_t clock;
    struct timespec ts;
    int stop[2];
    char c;

    CHECK_EQ(pipe(stop), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(stop[1]);
        burn(30 * MS);
        _exit(read(stop[0], &c, 1) == 0 ? 0 : 1);
    }
    CHECK_EQ(clock_getcpuclockid(pid, &clock), 0);
    int64_t wall = now(CLOCK_MONOTONIC);
    while (now_quiet(clock) < 30 * MS && now_quiet(CLOCK_MONOTONIC) - wall < 30 * SECOND)
        sched_yield();
    CHECK(now(clock) >= 30 * MS);
    CHECK_EQ(clock_getres(clock, &ts), 0);
    CHECK_EQ(in_ns(&ts), 1);
    /* Another process's thread: no. */
    CHECK_EQ(RAW(SYS_clock_gettime, (int)(~(unsigned)pid << 3) | 6, &ts), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_settime, clock, &ts), -EPERM);
    close(stop[1]);
    close(stop[0]);
    waitpid(pid, NULL, 0);
    CHECK_ERRNO(clock_gettime(clock, &ts), EINVAL);
    CHECK_EQ(clock_getcpuclockid(0, &clock), 0);
    CHECK(now(clock) > 0);
    CHECK_EQ(clock_getcpuclockid(0x3ffffff0, &clock), ESRCH);
}

static atomic_int thread_stop;

static void *spin(void *argument)
{
    (void)argument;
    while (!thread_stop)
        burn(MS);
    return NULL;
}

static void test_thread_clocks(void)
{
    const unsigned own = ~(unsigned)syscall(SYS_gettid);
    struct timespec ts;
    clockid_t clock;
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, spin, NULL), 0);
    CHECK_EQ(pthread_getcpuclockid(thread, &clock), 0);
    int64_t wall = now(CLOCK_MONOTONIC);
    while (now_quiet(clock) < 20 * MS && now_quiet(CLOCK_MONOTONIC) - wall < 30 * SECOND)
        sched_yield();
    CHECK(now(clock) >= 20 * MS);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) >= now(CLOCK_THREAD_CPUTIME_ID));
    /* CPU clocks can be slept on, but for one's own. */
    ts = (struct timespec){0, 5 * MS};
    CHECK_EQ(clock_nanosleep(clock, 0, &ts, NULL), 0);
    int64_t begin = now(CLOCK_PROCESS_CPUTIME_ID);
    CHECK_EQ(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &ts, NULL), 0);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - begin >= 5 * MS);
    ts = (struct timespec){0, 1};
    CHECK_EQ(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &ts, NULL), 0);
    thread_stop = 1;
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(RAW(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &ts, NULL), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &ts, NULL), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_clock_nanosleep, (int)(own << 3) | 6, 0, &ts, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_nanosleep, -2, 0, &ts, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_nanosleep, 77, 0, &ts, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, 8, NULL), -EFAULT);
    /* The three kinds of time of this thread and this process. */
    for (int which = 0; which < 3; which++) {
        CHECK_EQ(RAW(SYS_clock_gettime, (int)(own << 3) | 4 | which, &ts), 0);
        CHECK_EQ(RAW(SYS_clock_gettime, (int)(own << 3) | which, &ts), 0);
        CHECK_EQ(RAW(SYS_clock_gettime, (int)(~0U << 3) | 4 | which, &ts), 0);
    }
    CHECK_EQ(RAW(SYS_clock_gettime, (int)(own << 3) | 7, &ts), -EINVAL);
}

static void on_timeout(int signo)
{
    static const char text[] = "SIGXCPU\n";

    if (write(1, text, sizeof(text) - 1) < 0)
        _exit(1);
    ticks++;
    (void)signo;
}

static void test_cpu_limit(void)
{
    struct rlimit limit = {1, 2};
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        /* Used-up seconds are whole ones, so the limit is in the past at once. */
        limit = (struct rlimit){0, 5};
        signal(SIGXCPU, on_timeout);
        ticks = 0;
        setrlimit(RLIMIT_CPU, &limit);
        for (int i = 0; i < 1000 && ticks == 0; i++)
            burn(MS);
        getrlimit(RLIMIT_CPU, &limit);
        _exit(ticks == 1 && limit.rlim_cur == 1 && limit.rlim_max == 5 ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    pid = fork();
    if (pid == 0) {
        limit = (struct rlimit){0, 0};
        setrlimit(RLIMIT_CPU, &limit);
        burn(20 * SECOND);
        _exit(1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* Children inherit the limit, not what was used. */
    pid = fork();
    if (pid == 0) {
        limit = (struct rlimit){1, 9};
        setrlimit(RLIMIT_CPU, &limit);
        burn(100 * MS);
        if (fork() == 0) {
            burn(20 * SECOND);
            _exit(1);
        }
        wait(&status);
        _exit(WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(WEXITSTATUS(status), SIGXCPU);
}

static void test_setting(void)
{
    struct timespec ts = {0, SECOND};
    struct timeval tv = {0, 1000001};
    struct timex tx = {.modes = 0};

    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, &ts), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_MONOTONIC, &ts), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_settime, 77, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_settimeofday, &tv, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_settimeofday, 8, NULL), -EFAULT);
    CHECK(RAW(SYS_adjtimex, &tx) >= 0);
    CHECK(llabs(tx.time.tv_sec - time(NULL)) <= 30);
    CHECK(tx.tick >= 9000 && tx.tick <= 11000);
    CHECK(tx.precision >= 1);
    CHECK_EQ(RAW(SYS_adjtimex, 8), -EFAULT);
    tx.modes = 0;
    CHECK(RAW(SYS_clock_adjtime, CLOCK_REALTIME, &tx) >= 0);
    CHECK_EQ(RAW(SYS_clock_adjtime, CLOCK_MONOTONIC, &tx), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_clock_adjtime, 77, &tx), -EINVAL);
    CHECK_EQ(RAW(SYS_clock_adjtime, 77, 8), -EFAULT);
    tx.modes = ADJ_OFFSET_SS_READ;
    CHECK(RAW(SYS_adjtimex, &tx) >= 0);
}

int main(void)
{
    test_children();
    test_split();
    test_monotonic();
    test_counts();
    test_itimer(ITIMER_VIRTUAL, SIGVTALRM);
    test_itimer(ITIMER_PROF, SIGPROF);
    test_itimer_errors();
    test_others_clocks();
    test_thread_clocks();
    test_cpu_limit();
    test_setting();
    return check_done();
}
