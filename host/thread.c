#include "host/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/futex.h"

/* Threads that ended and wait for more to do; the last one first, since its stack is still warm. */
#define PARKED_MAX 16

struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[16];
    bool reuse;
};

struct parked {
    struct start next;
    uint32_t called; /* futex word */
    pid_t tid;
    struct parked *below;
};

static pthread_mutex_t park_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct parked *park_top;
static unsigned int park_count;
/* The host does not let a thread become less nice again; and it had another policy. */
static _Thread_local bool soiled;
static _Thread_local bool reusable;
static _Thread_local void (*at_end)(void);

/* False: there are enough parked threads, the caller ends. */
static bool park(struct start *ret_next)
{
    struct parked self = {.tid = (pid_t)syscall(SYS_gettid)};

    pthread_mutex_lock(&park_mutex);
    if (park_count == PARKED_MAX) {
        pthread_mutex_unlock(&park_mutex);
        return false;
    }
    self.below = park_top;
    park_top = &self;
    park_count++;
    pthread_mutex_unlock(&park_mutex);
    while (!__atomic_load_n(&self.called, __ATOMIC_ACQUIRE))
        host_futex_wait(&self.called, 0, HOST_NEVER);
    *ret_next = self.next;
    return true;
}

/* The wake comes last, without the mutex: by then its stack may be gone, and nobody wakes. */
static bool unpark(const struct start *next, pid_t preferred)
{
    struct parked **at = &park_top, *p;

    pthread_mutex_lock(&park_mutex);
    while (*at && (*at)->tid != preferred)
        at = &(*at)->below;
    if (!*at)
        at = &park_top;
    p = *at;
    if (p) {
        *at = p->below;
        park_count--;
    }
    pthread_mutex_unlock(&park_mutex);
    if (!p)
        return false;
    p->next = *next;
    __atomic_store_n(&p->called, 1, __ATOMIC_RELEASE);
    host_futex_wake(&p->called, 1);
    return true;
}

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;

    free(arg);
    do {
        prctl(PR_SET_NAME, start.name);
        reusable = start.reuse;
        start.fn(start.arg);
    } while (host_thread_is_reusable() && park(&start));
    if (at_end)
        at_end();
    return NULL;
}

static int start_thread(const struct start *wanted)
{
    struct start *start = malloc(sizeof(*start));
    pthread_attr_t attr;
    pthread_t thread;
    int error;

    if (!start)
        return -EAGAIN;
    *start = *wanted;
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

int host_thread_start(const char *name, void (*fn)(void *arg), void *arg)
{
    struct start start = {.fn = fn, .arg = arg};

    strncpy(start.name, name, sizeof(start.name) - 1);
    return start_thread(&start);
}

bool host_thread_is_reusable(void)
{
    return reusable && !soiled;
}

void host_thread_at_end(void (*fn)(void))
{
    at_end = fn;
}

int host_thread_reuse(const char *name, void (*fn)(void *arg), void *arg, int preferred_tid)
{
    struct start start = {.fn = fn, .arg = arg, .reuse = true};

    strncpy(start.name, name, sizeof(start.name) - 1);
    return unpark(&start, preferred_tid) ? 0 : start_thread(&start);
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

int host_current_cpu(void)
{
    int cpu = sched_getcpu();

    return cpu < 0 ? -errno : cpu;
}

void host_getcpu(unsigned *ret_cpu, unsigned *ret_node)
{
    unsigned cpu = 0, node = 0;

    getcpu(&cpu, &node);
    *ret_cpu = cpu;
    *ret_node = node;
}

int host_set_affinity(int tid, const void *mask, size_t size)
{
    return sched_setaffinity(tid, size, mask) < 0 ? -errno : 0;
}

int host_get_nice(void)
{
    return getpriority(PRIO_PROCESS, 0); /* of oneself it does not fail, and -1 is a value */
}

int host_set_nice(int tid, int nice)
{
    if (tid == 0 && nice > 0)
        soiled = true;
    return setpriority(PRIO_PROCESS, (id_t)tid, nice) < 0 ? -errno : 0;
}

int host_set_policy(int policy, int priority)
{
    const struct sched_param param = {.sched_priority = priority};

    soiled = true;
    return sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &param) < 0 ? -errno : 0;
}

int host_get_affinity(void *mask, size_t size)
{
    long n = syscall(SYS_sched_getaffinity, 0, size, mask);

    return n < 0 ? -errno : (int)n;
}
