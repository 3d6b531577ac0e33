/*
 * Many signals to many threads at any moment: none is lost that must not be, none is invented, and
 * the threads' own work is right in the end.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

#define THREADS 6
#define SIGNALS 300

static atomic_int handled[THREADS];
static atomic_int running = THREADS;
static _Thread_local int self;
static _Thread_local volatile uint64_t scratch;

static void on_realtime(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    CHECK_EQ(info->si_value.sival_int, self);
    scratch++;
    errno = EDOM;
    atomic_fetch_add(&handled[self], 1);
}

/* Half of it is arithmetic, half system calls, so that signals come in both. */
static void *work(void *argument)
{
    uint64_t sum = 0, want = 0;
    int rounds = 0;

    sigset_t realtime;

    self = (int)(long)argument;
    sigemptyset(&realtime);
    sigaddset(&realtime, SIGRTMIN + 1);
    pthread_sigmask(SIG_UNBLOCK, &realtime, NULL);
    while (handled[self] < SIGNALS) {
        for (uint64_t i = 0; i < 2000; i++)
            sum = sum * 6364136223846793005UL + i;
        CHECK_EQ(syscall(SYS_getppid), getppid());
        if (rounds % 8 == 0)
            sched_yield();
        rounds++;
    }
    for (int r = 0; r < rounds; r++) {
        for (uint64_t i = 0; i < 2000; i++)
            want = want * 6364136223846793005UL + i;
    }
    CHECK_EQ(sum, want);
    CHECK_EQ(scratch, SIGNALS);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static volatile int process_signals;

static void on_process(int signo)
{
    (void)signo;
    process_signals++;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_realtime, .sa_flags = SA_SIGINFO | SA_RESTART};
    pthread_t threads[THREADS];
    sigset_t set;

    CHECK_EQ(sigaction(SIGRTMIN + 1, &action, NULL), 0);
    signal(SIGUSR1, on_process);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 1);
    /* The threads inherit it: only main() takes SIGUSR1, and they take theirs when they know self.
     */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (long i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* nobody sends main() the real-time one */

    for (int n = 0; n < SIGNALS; n++) {
        for (int i = 0; i < THREADS; i++) {
            const union sigval value = {.sival_int = i};
            CHECK_EQ(pthread_sigqueue(threads[i], SIGRTMIN + 1, value), 0);
        }
        int before = process_signals;
        CHECK_EQ(kill(getpid(), SIGUSR1), 0);
        CHECK_EQ(process_signals, before + 1);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(handled[i], SIGNALS);
    }
    CHECK_EQ(running, 0);
    CHECK_EQ(process_signals, SIGNALS);
    return check_done();
}
