/*
 * POSIX timers: timer_create(2), timer_settime(2), timer_getoverrun(2). Times are bounded from
 * below by what was asked, from above only generously.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "clock.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static volatile sig_atomic_t received, last_signo, last_code, last_value, last_id, last_overrun;
static volatile sig_atomic_t last_tid;

static void rest(int64_t ns)
{
    struct timespec ts = from_ns(ns);

    while (nanosleep(&ts, &ts) < 0)
        ;
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
    (void)context;
    last_signo = signo;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    last_id = info->si_timerid;
    last_overrun = info->si_overrun;
    last_tid = (int)syscall(SYS_gettid);
    received++;
}

static void handle(int signo)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

    CHECK_EQ(sigaction(signo, &action, NULL), 0);
    received = 0;
}

/* The kernel's own numbers, not libc's handles. */
static int create(clockid_t clock, struct sigevent *event)
{
    int id = -1;
    long result = RAW(SYS_timer_create, clock, event, &id);

    return result < 0 ? (int)result : id;
}

static int create_signal(clockid_t clock, int signo, int value)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};

    event.sigev_value.sival_int = value;
    int id = create(clock, &event);
    CHECK(id >= 0);
    return id;
}

static long set(int id, int flags, int64_t value, int64_t interval)
{
    struct itimerspec its = {.it_value = from_ns(value), .it_interval = from_ns(interval)};

    return RAW(SYS_timer_settime, id, flags, &its, NULL);
}

static struct itimerspec get(int id)
{
    struct itimerspec its = {{-1, -1}, {-1, -1}};

    CHECK_EQ(RAW(SYS_timer_gettime, id, &its), 0);
    return its;
}

static void wait_received(int count)
{
    int64_t begin = now(CLOCK_MONOTONIC);

    while (received < count && now(CLOCK_MONOTONIC) - begin < 30 * SECOND)
        rest(MS);
    CHECK(received >= count);
}

static void test_errors(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec its = {.it_value = {1, 0}};
    int id;

    CHECK_EQ(create(99, &event), -EINVAL);
    CHECK_EQ(create(CLOCK_MONOTONIC_RAW, &event), -EOPNOTSUPP);
    CHECK_EQ(create(CLOCK_REALTIME_COARSE, &event), -EOPNOTSUPP);
    CHECK_EQ(create(CLOCK_MONOTONIC_COARSE, &event), -EOPNOTSUPP);
    CHECK_EQ(create((int)(~12U << 3) | 3, &event), -EOPNOTSUPP); /* a clock behind a descriptor */
    CHECK_EQ(create((int)(~0x7ffffffU << 3) | 2, &event), -EINVAL);
    CHECK_EQ(RAW(SYS_timer_create, 99, 8, &id), -EFAULT);
    CHECK_EQ(RAW(SYS_timer_create, CLOCK_MONOTONIC, &event, 8), -EFAULT);
    event.sigev_signo = 0;
    CHECK_EQ(create(CLOCK_MONOTONIC, &event), -EINVAL);
    event.sigev_signo = 65;
    CHECK_EQ(create(CLOCK_MONOTONIC, &event), -EINVAL);
    event = (struct sigevent){.sigev_notify = 3, .sigev_signo = SIGUSR1};
    CHECK_EQ(create(CLOCK_MONOTONIC, &event), -EINVAL);
    event = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event.sigev_notify_thread_id = 1;
    CHECK_EQ(create(CLOCK_MONOTONIC, &event), -EINVAL);
    event = (struct sigevent){.sigev_notify = SIGEV_NONE, .sigev_signo = 1234};
    id = create(CLOCK_MONOTONIC, &event);
    CHECK(id >= 0);
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, NULL, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, 8, NULL), -EFAULT);
    CHECK_EQ(RAW(SYS_timer_settime, 12345, 0, &its, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_timer_settime, -1, 0, &its, NULL), -EINVAL);
    its.it_value.tv_nsec = SECOND;
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, &its, NULL), -EINVAL);
    its = (struct itimerspec){.it_interval = {0, -1}};
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, &its, NULL), -EINVAL);
    CHECK_EQ(RAW(SYS_timer_gettime, 12345, &its), -EINVAL);
    CHECK_EQ(RAW(SYS_timer_gettime, id, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_timer_getoverrun, 12345), -EINVAL);
    CHECK_EQ(RAW(SYS_timer_delete, 12345), -EINVAL);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
    CHECK_EQ(RAW(SYS_timer_delete, id), -EINVAL);
}

static void test_once(clockid_t clock)
{
    int id = create_signal(clock, SIGUSR1, 42);
    struct itimerspec its = get(id);
    int64_t begin = now(clock);

    CHECK(in_ns(&its.it_value) == 0 && in_ns(&its.it_interval) == 0);
    handle(SIGUSR1);
    CHECK_EQ(set(id, 0, 20 * MS, 0), 0);
    its = get(id);
    CHECK(in_ns(&its.it_value) >= 0 && in_ns(&its.it_value) <= 20 * MS);
    wait_received(1);
    CHECK(now(clock) - begin >= 20 * MS);
    CHECK_EQ(received, 1);
    CHECK_EQ(last_signo, SIGUSR1);
    CHECK_EQ(last_code, SI_TIMER);
    CHECK_EQ(last_value, 42);
    CHECK_EQ(last_id, id);
    CHECK_EQ(last_overrun, 0);
    CHECK_EQ(RAW(SYS_timer_getoverrun, id), 0);
    its = get(id);
    CHECK(in_ns(&its.it_value) == 0 && in_ns(&its.it_interval) == 0);

    begin = now(clock);
    CHECK_EQ(set(id, TIMER_ABSTIME, begin + 20 * MS, 0), 0);
    wait_received(2);
    CHECK(now(clock) - begin >= 20 * MS);
    CHECK_EQ(set(id, TIMER_ABSTIME, 1, 0), 0); /* long ago: at once */
    wait_received(3);
    /* Disarmed before it is due. */
    CHECK_EQ(set(id, 0, 20 * MS, 0), 0);
    CHECK_EQ(set(id, 0, 0, 20 * MS), 0);
    rest(60 * MS);
    CHECK_EQ(received, 3);
    its = get(id);
    CHECK(in_ns(&its.it_value) == 0 && in_ns(&its.it_interval) == 0);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
}

/* While its signal is blocked an interval timer only counts. */
static void test_overrun(void)
{
    int id = create_signal(CLOCK_MONOTONIC, SIGUSR2, 1);
    sigset_t block, before, pending;
    struct itimerspec its;

    handle(SIGUSR2);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR2);
    sigprocmask(SIG_BLOCK, &block, &before);
    CHECK_EQ(set(id, 0, 10 * MS, 10 * MS), 0);
    rest(105 * MS);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR2));
    its = get(id);
    CHECK_EQ(in_ns(&its.it_interval), 10 * MS);
    CHECK(in_ns(&its.it_value) <= 10 * MS);
    CHECK_EQ(received, 0);
    CHECK_EQ(RAW(SYS_timer_getoverrun, id), 0); /* nothing was delivered yet */
    sigprocmask(SIG_SETMASK, &before, NULL);
    sigprocmask(SIG_BLOCK, &block, NULL); /* no other one may come between the two numbers */
    CHECK(received >= 1);
    CHECK(RAW(SYS_timer_getoverrun, id) == last_overrun);
    sigprocmask(SIG_SETMASK, &before, NULL);
    wait_received(4);
    CHECK_EQ(set(id, 0, 0, 0), 0);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);

    /* The first delivery tells of all the intervals that it comes for. */
    id = create_signal(CLOCK_MONOTONIC, SIGUSR2, 1);
    sigprocmask(SIG_BLOCK, &block, &before);
    CHECK_EQ(set(id, TIMER_ABSTIME, now(CLOCK_MONOTONIC) - 995 * MS, 10 * MS), 0);
    siginfo_t info;
    CHECK_EQ(sigwaitinfo(&block, &info), SIGUSR2);
    CHECK_EQ(info.si_code, SI_TIMER);
    CHECK(info.si_overrun >= 99);
    CHECK_EQ(RAW(SYS_timer_getoverrun, id), info.si_overrun);
    /* More than an int holds. */
    CHECK_EQ(set(id, TIMER_ABSTIME, 1, 1), 0);
    CHECK_EQ(sigwaitinfo(&block, &info), SIGUSR2);
    CHECK_EQ(info.si_overrun, INT32_MAX);
    CHECK_EQ(RAW(SYS_timer_getoverrun, id), INT32_MAX);
    CHECK_EQ(set(id, 0, 0, 0), 0);
    CHECK_EQ(RAW(SYS_timer_getoverrun, id), 0);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
    /* A timer that is gone has no signal. */
    rest(20 * MS);
    const struct timespec zero = {0, 0};
    CHECK_ERRNO(sigtimedwait(&block, &info, &zero), EAGAIN);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void test_old_value(void)
{
    int id = create_signal(CLOCK_REALTIME, SIGUSR1, 0);
    struct itimerspec its = {.it_value = {500, 0}, .it_interval = {7, 9}}, old;

    CHECK_EQ(RAW(SYS_timer_settime, id, 0, &its, &old), 0);
    CHECK(in_ns(&old.it_value) == 0 && in_ns(&old.it_interval) == 0);
    its = (struct itimerspec){0};
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, &its, 8), -EFAULT);
    its = (struct itimerspec){.it_value = {500, 0}, .it_interval = {7, 9}};
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, &its, &old), 0);
    CHECK(in_ns(&old.it_value) == 0); /* it was disarmed all the same */
    its = (struct itimerspec){0};
    CHECK_EQ(RAW(SYS_timer_settime, id, 0, &its, &old), 0);
    CHECK(old.it_value.tv_sec >= 400 && old.it_value.tv_sec <= 500);
    CHECK(old.it_interval.tv_sec == 7 && old.it_interval.tv_nsec == 9);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
}

static void test_none(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    int id = create(CLOCK_MONOTONIC, &event);
    struct itimerspec its;

    CHECK_EQ(set(id, 0, 10 * MS, 0), 0);
    its = get(id);
    CHECK(in_ns(&its.it_value) <= 10 * MS);
    rest(20 * MS);
    its = get(id);
    CHECK_EQ(in_ns(&its.it_value), 0);
    CHECK_EQ(set(id, 0, 10 * MS, 100 * SECOND), 0);
    rest(20 * MS);
    its = get(id);
    CHECK_EQ(in_ns(&its.it_interval), 100 * SECOND);
    CHECK(in_ns(&its.it_value) > SECOND && in_ns(&its.it_value) <= 100 * SECOND);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
}

static void test_default_event(void)
{
    int id = create(CLOCK_MONOTONIC, NULL);

    CHECK(id >= 0);
    handle(SIGALRM);
    CHECK_EQ(set(id, 0, 1, 0), 0);
    wait_received(1);
    CHECK_EQ(last_signo, SIGALRM);
    CHECK_EQ(last_value, id);
    CHECK_EQ(last_code, SI_TIMER);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
}

static void *be_told(void *argument)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL | SIGEV_THREAD_ID,
                             .sigev_signo = SIGRTMIN + 3};
    int tid = (int)syscall(SYS_gettid);

    event.sigev_notify_thread_id = tid;
    int id = create(CLOCK_MONOTONIC, &event);
    CHECK(id >= 0);
    handle(SIGRTMIN + 3);
    CHECK_EQ(set(id, 0, MS, MS), 0);
    for (int i = 1; i <= 5; i++) {
        wait_received(i);
        CHECK_EQ(last_tid, tid);
    }
    *(int *)argument = id;
    return NULL;
}

static void test_thread(void)
{
    pthread_t thread;
    int id = -1;

    CHECK_EQ(pthread_create(&thread, NULL, be_told, &id), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    /* The thread is gone, its timer is the process's, and tells nobody. */
    int before = received;
    rest(20 * MS);
    CHECK_EQ(received, before);
    struct itimerspec its = get(id);
    CHECK_EQ(in_ns(&its.it_interval), MS);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
}

static void burn(int64_t ns)
{
    int64_t begin = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);

    while (now(CLOCK_PROCESS_CPUTIME_ID) - begin < ns && now(CLOCK_MONOTONIC) - wall < 30 * SECOND)
        ;
}

static void test_cpu(clockid_t clock)
{
    int id = create_signal(clock, SIGUSR1, 5);
    int64_t begin = now(clock);

    handle(SIGUSR1);
    CHECK_EQ(set(id, 0, 20 * MS, 0), 0);
    rest(50 * MS); /* sleeping does not count */
    CHECK_EQ(received, 0);
    while (received == 0 && now(clock) - begin < 10 * SECOND)
        ;
    CHECK_EQ(received, 1);
    CHECK(now(clock) - begin >= 20 * MS);
    CHECK_EQ(last_code, SI_TIMER);
    CHECK_EQ(set(id, TIMER_ABSTIME, now(clock) + 5 * MS, 5 * MS), 0);
    burn(60 * MS);
    CHECK(received >= 2);
    struct itimerspec its = get(id);
    CHECK_EQ(in_ns(&its.it_interval), 5 * MS);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
}

static void test_ignored(void)
{
    int id = create_signal(CLOCK_MONOTONIC, SIGUSR1, 6);

    signal(SIGUSR1, SIG_IGN);
    CHECK_EQ(set(id, 0, MS, MS), 0);
    rest(20 * MS);
    CHECK_EQ(RAW(SYS_timer_getoverrun, id), 0);
    struct itimerspec its = get(id);
    CHECK_EQ(in_ns(&its.it_interval), MS);
    handle(SIGUSR1); /* it goes on */
    wait_received(2);
    CHECK_EQ(last_value, 6);
    CHECK_EQ(RAW(SYS_timer_delete, id), 0);
}

/* A queued signal is reserved for each timer, in the count that sigqueue(3) draws on. */
static void test_limit(void)
{
    struct rlimit limit, few;
    int ids[3];

    CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
    few = (struct rlimit){0, limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &few), 0);
    CHECK_EQ(create(CLOCK_MONOTONIC, NULL), -EAGAIN);
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
    for (int i = 0; i < 3; i++) {
        ids[i] = create(CLOCK_MONOTONIC, NULL);
        CHECK(ids[i] >= 0);
        CHECK(i == 0 || ids[i] > ids[i - 1]);
    }
    for (int i = 0; i < 3; i++)
        CHECK_EQ(RAW(SYS_timer_delete, ids[i]), 0);
}

/* Until ITIMER_REAL has expired and waits for its signal to be taken. */
static void await_spent(void)
{
    struct itimerval now;

    do {
        rest(MS);
        CHECK_EQ(getitimer(ITIMER_REAL, &now), 0);
    } while (now.it_value.tv_usec != 0);
}

/* setitimer(2): ITIMER_REAL goes on when its SIGALRM is taken, not before. */
static void test_alarm_interval(void)
{
    struct itimerval set = {.it_value = {0, 5000}, .it_interval = {0, 5000}}, got;
    sigset_t block, before;

    signal(SIGALRM, SIG_IGN);
    CHECK_EQ(setitimer(ITIMER_REAL, &set, NULL), 0);
    await_spent();
    rest(20 * MS);
    CHECK_EQ(getitimer(ITIMER_REAL, &got), 0);
    CHECK(got.it_value.tv_usec == 0 && got.it_interval.tv_usec == 5000);
    handle(SIGALRM);
    rest(20 * MS);
    CHECK_EQ(received, 0); /* nobody took it, so it stands */
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, &before);
    CHECK_EQ(setitimer(ITIMER_REAL, &set, NULL), 0);
    await_spent();
    CHECK(received == 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    wait_received(3);
    set.it_value.tv_usec = 0;
    CHECK_EQ(setitimer(ITIMER_REAL, &set, &got), 0);
    CHECK_EQ(got.it_interval.tv_usec, 5000);
    CHECK_EQ(getitimer(ITIMER_REAL, &got), 0);
    CHECK(got.it_value.tv_usec == 0 && got.it_interval.tv_usec == 0);
}

/* Children have none of their parent's timers, and neither has a new program. */
static void test_fork(int id)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct itimerspec its;

        _exit(RAW(SYS_timer_gettime, id, &its) == -EINVAL ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static int after_exec(const char *number)
{
    struct itimerspec its;

    return RAW(SYS_timer_gettime, atoi(number), &its) == -EINVAL ? 0 : 1;
}

static void test_exec(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        char number[16];
        int id = create(CLOCK_MONOTONIC, NULL);

        set(id, 0, 5 * MS, 5 * MS); /* SIGALRM would kill */
        snprintf(number, sizeof(number), "%d", id);
        execl("/proc/self/exe", "timers", number, NULL);
        _exit(2);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        rest(30 * MS);
        return after_exec(argv[1]);
    }
    test_errors();
    test_once(CLOCK_MONOTONIC);
    test_once(CLOCK_REALTIME);
    test_once(CLOCK_BOOTTIME);
    test_once(CLOCK_TAI);
    test_overrun();
    test_old_value();
    test_none();
    test_default_event();
    test_thread();
    test_cpu(CLOCK_PROCESS_CPUTIME_ID);
    test_cpu(CLOCK_THREAD_CPUTIME_ID);
    test_ignored();
    test_limit();
    test_alarm_interval();
    int id = create_signal(CLOCK_MONOTONIC, SIGUSR1, 0);
    test_fork(id);
    test_exec();
    return check_done();
}
