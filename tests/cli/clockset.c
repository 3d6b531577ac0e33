/*
 * Sets real time: the sandbox's own clock jumps, all that goes by it follows, and what goes by
 * other clocks does not. Never run natively: there it would set the machine's.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/check.h"

#define HOUR 3600

static int64_t seconds(clockid_t clock)
{
    struct timespec ts;

    CHECK_EQ(clock_gettime(clock, &ts), 0);
    return ts.tv_sec;
}

static int64_t seconds_by_call(clockid_t clock)
{
    struct timespec ts;

    CHECK_EQ(RAW(SYS_clock_gettime, clock, &ts), 0);
    return ts.tv_sec;
}

/* Two readings, some moments apart, differ by `distance` seconds. */
static bool near(int64_t a, int64_t b, int64_t distance)
{
    return a - b >= distance - 20 && a - b <= distance + 20;
}

static void set(int64_t sec)
{
    const struct timespec ts = {.tv_sec = sec};

    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, &ts), 0);
}

static void check_clocks(int64_t real)
{
    struct timeval tv;
    struct stat st;
    int fd = open("/tmp/clockset", O_RDWR | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    CHECK(near(st.st_mtime, real, 0));
    close(fd);
    CHECK_EQ(gettimeofday(&tv, NULL), 0);
    CHECK(near(tv.tv_sec, real, 0));
    CHECK(near(time(NULL), real, 0));
    CHECK(near(seconds(CLOCK_REALTIME), real, 0));
    CHECK(near(seconds_by_call(CLOCK_REALTIME), real, 0));
    CHECK(near(seconds(CLOCK_REALTIME_COARSE), real, 0));
    CHECK(near(seconds(CLOCK_TAI), real, 37) || near(seconds(CLOCK_TAI), real, 0));
}

static void test_reading(void)
{
    int64_t real = seconds(CLOCK_REALTIME), monotonic = seconds(CLOCK_MONOTONIC);
    int64_t boot = seconds(CLOCK_BOOTTIME);
    struct timeval tv = {.tv_sec = real + 100 * HOUR};

    set(real - HOUR);
    check_clocks(real - HOUR);
    CHECK_EQ(RAW(SYS_settimeofday, &tv, NULL), 0);
    check_clocks(real + 100 * HOUR);
    CHECK(near(seconds(CLOCK_MONOTONIC), monotonic, 0));
    CHECK(near(seconds(CLOCK_BOOTTIME), boot, 0));
    usleep(1300000); /* the Sentry has compared its clocks with the host's meanwhile */
    check_clocks(real + 100 * HOUR);
    set(real);
    check_clocks(real);
}

static void *sleeper(void *arg)
{
    const struct timespec until = {.tv_sec = *(int64_t *)arg + HOUR};

    CHECK_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL), 0);
    return NULL;
}

static void test_waiting(void)
{
    int64_t real = seconds(CLOCK_REALTIME);
    const struct itimerspec later = {.it_value = {.tv_sec = real + HOUR}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    int plain = timerfd_create(CLOCK_REALTIME, 0), cancelled = timerfd_create(CLOCK_REALTIME, 0);
    uint64_t ticks = 0;
    pthread_t thread;
    timer_t timer;
    sigset_t usr1;
    int signal = 0;

    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
    CHECK_EQ(timer_create(CLOCK_REALTIME, &event, &timer), 0);
    CHECK_EQ(timer_settime(timer, TIMER_ABSTIME, &later, NULL), 0);
    CHECK_EQ(timerfd_settime(plain, TFD_TIMER_ABSTIME, &later, NULL), 0);
    CHECK_EQ(timerfd_settime(cancelled, flags, &later, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, sleeper, &real), 0);
    usleep(50000);
    set(real + 2 * HOUR);
    CHECK_ERRNO(read(cancelled, &ticks, sizeof(ticks)), ECANCELED);
    CHECK_EQ(read(plain, &ticks, sizeof(ticks)), 8);
    CHECK_EQ(ticks, 1);
    CHECK_EQ(sigwait(&usr1, &signal), 0);
    CHECK_EQ(signal, SIGUSR1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void test_refusals(void)
{
    const struct timezone zone = {.tz_minuteswest = 60}, utc = {0};
    struct timespec ts = {.tv_sec = 0};
    int64_t real = seconds(CLOCK_REALTIME);

    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, &ts), -EINVAL); /* before the machine began */
    ts = (struct timespec){.tv_sec = real, .tv_nsec = 1000000000};
    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, &ts), -EINVAL);
    ts = (struct timespec){.tv_sec = INT64_MAX};
    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, &ts), -EINVAL);
    CHECK_EQ(RAW(SYS_settimeofday, NULL, &zone), -EPERM);
    CHECK_EQ(RAW(SYS_settimeofday, NULL, &utc), 0);
    ts = (struct timespec){.tv_sec = real + HOUR};
    CHECK_EQ(setuid(65534), 0);
    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, &ts), -EPERM);
    CHECK(near(seconds(CLOCK_REALTIME), real, 0));
}

int main(void)
{
    test_reading();
    test_waiting();
    test_refusals();
    return check_done();
}
