/*
 * Priority-inheriting futexes: raw operations with their errors, handing over, dead owners,
 * requeue, and what the C library builds of them.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define NR SYS_futex
#define P  FUTEX_PRIVATE_FLAG
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static uint32_t word, cond;
static atomic_int ready, order;

static uint32_t self_tid(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

static void sleep_ms(long ms)
{
    const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

static struct timespec in_ms(clockid_t clock, long ms)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    ts.tv_nsec += ms * 1000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    return ts;
}

/* The word shows that somebody waits. */
static void await_waiters(const uint32_t *address)
{
    for (int i = 0; i < 5000 && !(__atomic_load_n(address, __ATOMIC_SEQ_CST) & FUTEX_WAITERS); i++)
        sleep_ms(1);
    CHECK(__atomic_load_n(address, __ATOMIC_SEQ_CST) & FUTEX_WAITERS);
}

static void test_errors(void)
{
    struct timespec ts;

    word = 0;
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    CHECK_EQ(word, self_tid());
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), -EDEADLK);
    CHECK_EQ(RAW(NR, &word, FUTEX_TRYLOCK_PI | P, 0, NULL), -EDEADLK);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    CHECK_EQ(word, 0);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), -EPERM);
    CHECK_EQ(RAW(NR, &word, FUTEX_TRYLOCK_PI | P), 0);
    CHECK_EQ(word, self_tid());
    word = 0x3fffffff; /* no such thread */
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), -ESRCH);
    CHECK_EQ(RAW(NR, &word, FUTEX_TRYLOCK_PI | P), -ESRCH);
    word = FUTEX_OWNER_DIED;
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    CHECK_EQ(word, self_tid() | FUTEX_OWNER_DIED);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    CHECK_EQ(word, 0);
    CHECK_EQ(RAW(NR, (char *)&word + 1, FUTEX_LOCK_PI | P, 0, NULL), -EINVAL);
    CHECK_EQ(RAW(NR, 8, FUTEX_LOCK_PI | P, 0, NULL), -EFAULT);
    CHECK_EQ(RAW(NR, 8, FUTEX_UNLOCK_PI | P), -EFAULT);
    ts = (struct timespec){0, 1000000000};
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, &ts), -EINVAL);
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, 8), -EFAULT);
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P | FUTEX_CLOCK_REALTIME, 0, NULL), -ENOSYS);
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI2 | P | FUTEX_CLOCK_REALTIME, 0, NULL), 0);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    CHECK_EQ(RAW(NR, &word, FUTEX_CMP_REQUEUE_PI | P, 1, 0, &word, 0), -EINVAL);
    CHECK_EQ(RAW(NR, &word, FUTEX_CMP_REQUEUE_PI | P, 2, 0, &cond, 0), -EINVAL);
    CHECK_EQ(RAW(NR, &cond, FUTEX_CMP_REQUEUE_PI | P, 1, 0, &word, 1), -EAGAIN);
    CHECK_EQ(RAW(NR, &cond, FUTEX_CMP_REQUEUE_PI | P, 1, 5, &word, 0), 0);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAIT_REQUEUE_PI | P, 0, NULL, &word, 0), -EINVAL);
    CHECK_EQ(RAW(NR, &cond, FUTEX_WAIT_REQUEUE_PI | P, 1, NULL, &word, 0), -EAGAIN);
}

struct locker {
    pthread_t thread;
    int op, priority;
    long timeout_ms;
    clockid_t clock;
    long result;
    int place; /* the how manieth that got the lock */
};

static void *lock_body(void *argument)
{
    struct locker *l = argument;
    struct sched_param param = {.sched_priority = l->priority};
    struct timespec ts = in_ms(l->clock, l->timeout_ms);

    if (l->priority)
        sched_setscheduler(0, SCHED_FIFO, &param);
    atomic_fetch_add(&ready, 1);
    l->result = RAW(NR, &word, l->op | P, 0, l->timeout_ms ? &ts : NULL);
    l->place = atomic_fetch_add(&order, 1);
    if (l->result == 0) {
        CHECK_EQ(__atomic_load_n(&word, __ATOMIC_SEQ_CST) & FUTEX_TID_MASK, self_tid());
        CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    }
    return NULL;
}

static void start_locker(struct locker *l)
{
    int before = ready;

    CHECK_EQ(pthread_create(&l->thread, NULL, lock_body, l), 0);
    while (ready == before)
        sleep_ms(1);
    await_waiters(&word);
    sleep_ms(30);
}

static void test_hand_over(void)
{
    struct locker a = {.op = FUTEX_LOCK_PI}, b = {.op = FUTEX_LOCK_PI2}, c = {.op = FUTEX_LOCK_PI};

    word = 0;
    order = 0;
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    start_locker(&a);
    start_locker(&b);
    start_locker(&c);
    CHECK_EQ(word, self_tid() | FUTEX_WAITERS);
    CHECK_EQ(RAW(NR, &word, FUTEX_WAKE | P, 1), -EINVAL);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    pthread_join(a.thread, NULL);
    pthread_join(b.thread, NULL);
    pthread_join(c.thread, NULL);
    CHECK_EQ(a.result, 0);
    CHECK_EQ(a.place, 0);
    CHECK_EQ(b.place, 1);
    CHECK_EQ(c.place, 2);
    CHECK_EQ(word, 0);
}

/* The highest priority is next, where the caller may have one. */
static void test_priority(void)
{
    struct locker low = {.op = FUTEX_LOCK_PI, .priority = 5};
    struct locker high = {.op = FUTEX_LOCK_PI, .priority = 9};
    struct locker plain = {.op = FUTEX_LOCK_PI};
    struct sched_param param = {.sched_priority = 1};

    if (sched_setscheduler(0, SCHED_FIFO, &param) < 0)
        return;
    param.sched_priority = 0;
    sched_setscheduler(0, SCHED_OTHER, &param);
    order = 0;
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    start_locker(&plain);
    start_locker(&low);
    start_locker(&high);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    pthread_join(plain.thread, NULL);
    pthread_join(low.thread, NULL);
    pthread_join(high.thread, NULL);
    CHECK_EQ(high.place, 0);
    CHECK_EQ(low.place, 1);
    CHECK_EQ(plain.place, 2);
}

static void test_timeout(void)
{
    struct locker a = {.op = FUTEX_LOCK_PI, .timeout_ms = 20, .clock = CLOCK_REALTIME};
    struct locker b = {.op = FUTEX_LOCK_PI2, .timeout_ms = 20, .clock = CLOCK_MONOTONIC};
    struct locker t = {.op = FUTEX_TRYLOCK_PI};

    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    start_locker(&a);
    pthread_join(a.thread, NULL);
    CHECK_EQ(a.result, -ETIMEDOUT);
    start_locker(&b);
    pthread_join(b.thread, NULL);
    CHECK_EQ(b.result, -ETIMEDOUT);
    start_locker(&t);
    pthread_join(t.thread, NULL);
    CHECK_EQ(t.result, -EAGAIN);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    CHECK_EQ(word, 0);
}

static uint32_t first_lock, second_lock;

static void *cross_body(void *argument)
{
    CHECK_EQ(RAW(NR, &second_lock, FUTEX_LOCK_PI | P, 0, NULL), 0);
    atomic_fetch_add(&ready, 1);
    CHECK_EQ(RAW(NR, &first_lock, FUTEX_LOCK_PI | P, 0, NULL), 0);
    CHECK_EQ(RAW(NR, &first_lock, FUTEX_UNLOCK_PI | P), 0);
    CHECK_EQ(RAW(NR, &second_lock, FUTEX_UNLOCK_PI | P), 0);
    return NULL;
}

static void test_deadlock(void)
{
    pthread_t thread;

    ready = 0;
    CHECK_EQ(RAW(NR, &first_lock, FUTEX_LOCK_PI | P, 0, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, cross_body, NULL), 0);
    while (!ready)
        sleep_ms(1);
    await_waiters(&first_lock);
    sleep_ms(30);
    CHECK_EQ(RAW(NR, &second_lock, FUTEX_LOCK_PI | P, 0, NULL), -EDEADLK);
    CHECK_EQ(RAW(NR, &first_lock, FUTEX_UNLOCK_PI | P), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(first_lock, 0);
    CHECK_EQ(second_lock, 0);
}

static void *die_with_lock(void *argument)
{
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    ready = 1;
    await_waiters(&word);
    sleep_ms(30);
    return NULL; /* without unlocking */
}

static void test_dead_owner(void)
{
    pthread_t thread;

    word = 0;
    ready = 0;
    CHECK_EQ(pthread_create(&thread, NULL, die_with_lock, NULL), 0);
    while (!ready)
        sleep_ms(1);
    CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    CHECK_EQ(word & (FUTEX_TID_MASK | FUTEX_OWNER_DIED), self_tid() | FUTEX_OWNER_DIED);
    pthread_join(thread, NULL);
    CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
}

static void *requeue_body(void *argument)
{
    long *result = argument;

    atomic_fetch_add(&ready, 1);
    *result = RAW(NR, &cond, FUTEX_WAIT_REQUEUE_PI | P, 0, NULL, &word, 0);
    if (*result == 0) {
        CHECK_EQ(__atomic_load_n(&word, __ATOMIC_SEQ_CST) & FUTEX_TID_MASK, self_tid());
        sleep_ms(2);
        CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    }
    return NULL;
}

static void test_requeue(bool locked)
{
    pthread_t threads[3];
    long results[3] = {-1, -1, -1};
    struct timespec ts;

    word = cond = 0;
    ready = 0;
    if (locked)
        CHECK_EQ(RAW(NR, &word, FUTEX_LOCK_PI | P, 0, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, requeue_body, &results[i]), 0);
    while (ready != 3)
        sleep_ms(1);
    sleep_ms(50);
    CHECK_EQ(RAW(NR, &cond, FUTEX_WAKE | P, 1), -EINVAL);
    CHECK_EQ(RAW(NR, &cond, FUTEX_REQUEUE | P, 1, 1, &word), -EINVAL);
    CHECK_EQ(RAW(NR, &cond, FUTEX_CMP_REQUEUE_PI | P, 1, 0, &second_lock, 0), -EINVAL);
    CHECK_EQ(RAW(NR, &cond, FUTEX_CMP_REQUEUE_PI | P, 1, 100, &word, 0), 3);
    if (locked) {
        CHECK_EQ(word, self_tid() | FUTEX_WAITERS);
        CHECK_EQ(RAW(NR, &word, FUTEX_UNLOCK_PI | P), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(results[i], 0);
    }
    CHECK_EQ(word, 0);
    ts = in_ms(CLOCK_MONOTONIC, 10);
    CHECK_EQ(RAW(NR, &cond, FUTEX_WAIT_REQUEUE_PI | P, 0, &ts, &word, 0), -ETIMEDOUT);
    ts = in_ms(CLOCK_REALTIME, 10);
    CHECK_EQ(RAW(NR, &cond, FUTEX_WAIT_REQUEUE_PI | P | FUTEX_CLOCK_REALTIME, 0, &ts, &word, 0),
             -ETIMEDOUT);
}

/* The C library's mutexes between processes: one dies holding a robust one. */
static void test_robust_process(void)
{
    pthread_mutex_t *mutex =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attr;
    pid_t pid;

    pthread_mutexattr_init(&attr);
    CHECK_EQ(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT), 0);
    CHECK_EQ(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST), 0);
    CHECK_EQ(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
    CHECK_EQ(pthread_mutex_init(mutex, &attr), 0);
    pid = fork();
    if (pid == 0) {
        pthread_mutex_lock(mutex);
        sleep_ms(50);
        _exit(0);
    }
    while (__atomic_load_n(&mutex->__data.__lock, __ATOMIC_SEQ_CST) == 0)
        sleep_ms(1);
    CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
    CHECK_EQ(pthread_mutex_consistent(mutex), 0);
    CHECK_EQ(pthread_mutex_unlock(mutex), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    /* And when nobody waits at that moment. */
    pid = fork();
    if (pid == 0) {
        pthread_mutex_lock(mutex);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(pthread_mutex_trylock(mutex), EOWNERDEAD);
    CHECK_EQ(pthread_mutex_unlock(mutex), 0);
    CHECK_EQ(pthread_mutex_lock(mutex), ENOTRECOVERABLE);
}

#define STORM_THREADS 6
#define STORM_ROUNDS  300

static pthread_mutex_t storm_mutex;
static pthread_cond_t storm_cond = PTHREAD_COND_INITIALIZER;
static long storm_count, storm_turn;

static void *storm_body(void *argument)
{
    for (int i = 0; i < STORM_ROUNDS; i++) {
        pthread_mutex_lock(&storm_mutex);
        storm_count++;
        if (i % 16 == 0)
            sched_yield();
        pthread_mutex_unlock(&storm_mutex);
    }
    pthread_mutex_lock(&storm_mutex);
    while (storm_turn != (long)argument)
        pthread_cond_wait(&storm_cond, &storm_mutex);
    storm_turn++;
    pthread_cond_broadcast(&storm_cond);
    pthread_mutex_unlock(&storm_mutex);
    return NULL;
}

static void test_storm(void)
{
    pthread_t threads[STORM_THREADS];
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    CHECK_EQ(pthread_mutex_init(&storm_mutex, &attr), 0);
    for (long i = 0; i < STORM_THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, storm_body, (void *)i), 0);
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(storm_count, STORM_THREADS * STORM_ROUNDS);
    CHECK_EQ(storm_turn, STORM_THREADS);
}

int main(void)
{
    test_errors();
    test_hand_over();
    test_priority();
    test_timeout();
    test_deadlock();
    test_dead_owner();
    test_requeue(true);
    test_requeue(false);
    test_robust_process();
    test_storm();
    return check_done();
}
