/*
 * Threads as glibc and musl make them: 16 at once with a mutex, a condition variable and a barrier,
 * thread-local storage, a robust mutex whose owner dies, and 2,000 that come and go.
 */
#include <pthread.h>
#include <sched.h>

#include "check.h"

#define THREADS 16
#define ROUNDS  500

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long counter;
static int turn;
static int turns_taken;
static atomic_int barrier_serial;
static _Thread_local long local = 17;
static _Thread_local char local_zero[5000];

static void *count_up(void *argument)
{
    long id = (long)argument;

    CHECK_EQ(local, 17);
    CHECK_EQ(local_zero[4999], 0);
    local = id;
    local_zero[4999] = (char)id;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        long seen = counter;
        if (i % 64 == 0)
            sched_yield();
        counter = seen + 1;
        pthread_mutex_unlock(&mutex);
    }
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
        atomic_fetch_add(&barrier_serial, 1);
    CHECK_EQ(counter, THREADS * ROUNDS);
    CHECK_EQ(local, id);
    CHECK_EQ(local_zero[4999], id);
    return (void *)(id * id);
}

/* Everyone waits for their number: the order of the output is the order of the turns. */
static void *take_turns(void *argument)
{
    int id = (int)(long)argument;

    for (int round = 0; round < 3; round++) {
        pthread_mutex_lock(&mutex);
        while (turn != id)
            pthread_cond_wait(&turn_changed, &mutex);
        note("turn %d of thread %d", round, id);
        turn = (turn + 1) % THREADS;
        turns_taken++;
        pthread_cond_broadcast(&turn_changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void run_all(void *(*body)(void *), bool squares)
{
    pthread_t threads[THREADS];
    void *result;

    for (long i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, body, (void *)i), 0);
    for (long i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], &result), 0);
        CHECK_EQ((long)result, squares ? i * i : 0);
    }
}

static void *die_with_mutex(void *argument)
{
    CHECK_EQ(pthread_mutex_lock(argument), 0);
    return NULL;
}

/* The kernel walks the dead thread's robust list and marks the futex (set_robust_list(2)). */
static void robust_mutex(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t robust;
    pthread_t thread;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    CHECK_EQ(pthread_create(&thread, NULL, die_with_mutex, &robust), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
    CHECK_EQ(pthread_mutex_consistent(&robust), 0);
    CHECK_EQ(pthread_mutex_unlock(&robust), 0);
    CHECK_EQ(pthread_mutex_lock(&robust), 0);
    CHECK_EQ(pthread_mutex_unlock(&robust), 0);
}

static void *add_one(void *argument)
{
    atomic_fetch_add((atomic_int *)argument, 1);
    return argument;
}

static void come_and_go(int count)
{
    atomic_int ran = 0;
    pthread_attr_t detached;
    pthread_t thread;

    for (int i = 0; i < count; i++) {
        if (!CHECK_EQ(pthread_create(&thread, NULL, add_one, &ran), 0))
            return;
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK_EQ(ran, count);

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 50; i++)
        CHECK_EQ(pthread_create(&thread, &detached, add_one, &ran), 0);
    while (ran != count + 50)
        sched_yield();
}

int main(int argc, char **argv)
{
    pthread_barrier_init(&barrier, NULL, THREADS);
    run_all(count_up, true);
    CHECK_EQ(barrier_serial, 1);
    CHECK_EQ(local, 17);
    run_all(take_turns, false);
    CHECK_EQ(turns_taken, 3 * THREADS);
    robust_mutex();
    come_and_go(argc > 1 ? atoi(argv[1]) : 2000);
    return check_done();
}
