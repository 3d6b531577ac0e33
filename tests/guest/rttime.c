/* RLIMIT_RTTIME: a thread of real time that does not sleep is told, and in the end killed. */
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static volatile sig_atomic_t told;

static void on_xcpu(int signo)
{
    told++;
}

static void set_limit(rlim_t soft, rlim_t hard)
{
    struct rlimit limit = {soft, hard};

    CHECK_EQ(setrlimit(RLIMIT_RTTIME, &limit), 0);
}

static void become_realtime(void)
{
    struct sched_param param = {.sched_priority = 1};

    CHECK_EQ(sched_setscheduler(0, SCHED_FIFO, &param), 0);
}

static int status_of(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        check_failures = 0;
        fn();
        _exit(check_failures ? 99 : 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static void warned(void)
{
    struct rlimit limit;

    CHECK(signal(SIGXCPU, on_xcpu) != SIG_ERR);
    set_limit(20000, 5000000);
    become_realtime();
    while (!told)
        ;
    CHECK_EQ(getrlimit(RLIMIT_RTTIME, &limit), 0);
    CHECK_EQ(limit.rlim_cur, 1020000); /* a second later it would come again */
}

static void killed(void)
{
    CHECK(signal(SIGXCPU, SIG_IGN) != SIG_ERR);
    set_limit(10000, 40000);
    become_realtime();
    for (;;)
        ;
}

static uint64_t own_ns(void)
{
    struct timespec ts;

    CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), 0);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Whoever sleeps now and then is never told. */
static void sleeper(void)
{
    CHECK(signal(SIGXCPU, on_xcpu) != SIG_ERR);
    set_limit(100000, RLIM_INFINITY);
    become_realtime();
    while (own_ns() < 150000000) {
        uint64_t begin = own_ns();

        while (own_ns() - begin < 1000000)
            ;
        usleep(2000);
    }
    CHECK_EQ(told, 0);
}

static void ordinary(void)
{
    CHECK(signal(SIGXCPU, on_xcpu) != SIG_ERR);
    set_limit(10000, 20000);
    while (own_ns() < 60000000)
        ;
    CHECK_EQ(told, 0);
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("needs root");
    CHECK_EQ(status_of(warned), 0);
    CHECK_EQ(status_of(killed), SIGKILL);
    CHECK_EQ(status_of(sleeper), 0);
    CHECK_EQ(status_of(ordinary), 0);
    return check_done();
}
