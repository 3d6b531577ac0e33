#include "host/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[16];
};

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;

    free(arg);
    prctl(PR_SET_NAME, start.name);
    start.fn(start.arg);
    return NULL;
}

int host_thread_start(const char *name, void (*fn)(void *arg), void *arg)
{
    struct start *start = malloc(sizeof(*start));
    pthread_attr_t attr;
    pthread_t thread;
    int error;

    if (!start)
        return -EAGAIN;
    *start = (struct start){fn, arg, ""};
    strncpy(start->name, name, sizeof(start->name) - 1);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, HOST_THREAD_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attr, thread_main, start);
    pthread_attr_destroy(&attr);
    if (error) {
        free(start);
        return -EAGAIN;
    }
    return 0;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts = {0};

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t host_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t host_process_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int host_thread_cpu_clock(void)
{
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;

    pthread_getcpuclockid(pthread_self(), &clock);
    return clock;
}

void host_yield(void)
{
    sched_yield();
}

void host_getcpu(unsigned *ret_cpu, unsigned *ret_node)
{
    unsigned cpu = 0, node = 0;

    getcpu(&cpu, &node);
    *ret_cpu = cpu;
    *ret_node = node;
}

int host_get_affinity(void *mask, size_t size)
{
    long n = syscall(SYS_sched_getaffinity, 0, size, mask);

    return n < 0 ? -errno : (int)n;
}
