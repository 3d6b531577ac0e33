/*
 * Pending signals: real-time ones queue with their values and come lowest first, ordinary ones
 * merge; sigpending, sigsuspend, sigwait and sigtimedwait (signal(7), "Real-time signals").
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

static volatile int order[64], values[64], codes[64];
static volatile int received;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    (void)context;
    if (received < 64) {
        order[received] = signo;
        values[received] = info->si_value.sival_int;
        codes[received] = info->si_code;
    }
    received++;
}

static void handle(int signo)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

    sigfillset(&action.sa_mask);
    CHECK_EQ(sigaction(signo, &action, NULL), 0);
}

static void queue(int signo, int value)
{
    CHECK_EQ(sigqueue(getpid(), signo, (union sigval){.sival_int = value}), 0);
}

static void test_order(void)
{
    const int rt = SIGRTMIN;
    sigset_t all, before, pending;

    sigfillset(&all);
    for (int i = 0; i < 4; i++)
        handle(rt + i);
    handle(SIGUSR1);
    handle(SIGUSR2);
    sigprocmask(SIG_SETMASK, &all, &before);
    for (int i = 3; i >= 0; i--) {
        queue(rt + i, 10 * i);
        queue(rt + i, 10 * i + 1);
        queue(rt + i, 10 * i + 2);
    }
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGUSR2));
    CHECK(sigismember(&pending, rt) && sigismember(&pending, rt + 3));
    CHECK(!sigismember(&pending, rt + 4) && !sigismember(&pending, SIGTERM));
    CHECK_EQ(received, 0);

    sigprocmask(SIG_SETMASK, &before, NULL);
    CHECK_EQ(received, 14);
    for (int i = 0; i < received && i < 64; i++)
        note("signal %d%s%d, value %d, code %d", i, order[i] >= rt ? ": SIGRTMIN+" : ": ",
             order[i] >= rt ? order[i] - rt : order[i], order[i] >= rt ? values[i] : 0, codes[i]);
    sigpending(&pending);
    CHECK(!sigismember(&pending, rt) && !sigismember(&pending, SIGUSR1));
}

static void test_discard(void)
{
    sigset_t set, before, pending;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &before);
    kill(getpid(), SIGUSR1);
    signal(SIGUSR1, SIG_IGN); /* forgets what was pending */
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGUSR1));
    received = 0;
    handle(SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, NULL);
    CHECK_EQ(received, 0);
}

static void test_timedwait(void)
{
    const struct timespec zero = {0, 0}, short_time = {0, 30000000}, bad = {0, 1000000000};
    const int rt = SIGRTMIN;
    sigset_t set, before;
    siginfo_t info;
    int signo;

    sigemptyset(&set);
    sigaddset(&set, rt);
    sigaddset(&set, rt + 1);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &before);
    CHECK_ERRNO(sigtimedwait(&set, &info, &zero), EAGAIN);
    CHECK_ERRNO(sigtimedwait(&set, &info, &short_time), EAGAIN);
    CHECK_ERRNO(sigtimedwait(&set, &info, &bad), EINVAL);
    received = 0;
    queue(rt + 1, 7);
    queue(rt, 8);
    queue(rt, 9);
    kill(getpid(), SIGUSR1);
    memset(&info, 0, sizeof(info));
    CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQ(info.si_signo, SIGUSR1);
    CHECK_EQ(info.si_code, SI_USER);
    CHECK_EQ(info.si_pid, getpid());
    CHECK_EQ(sigtimedwait(&set, &info, &short_time), rt);
    CHECK_EQ(info.si_code, SI_QUEUE);
    CHECK_EQ(info.si_value.sival_int, 8);
    CHECK_EQ(sigwait(&set, &signo), 0);
    CHECK_EQ(signo, rt);
    CHECK_EQ(sigwaitinfo(&set, NULL), rt + 1);
    CHECK_EQ(received, 0);
    CHECK_EQ(RAW(SYS_rt_sigtimedwait, &set, NULL, &zero, 4), -EINVAL);
    CHECK_EQ(RAW(SYS_rt_sigtimedwait, 8, NULL, &zero, 8), -EFAULT);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void test_suspend(void)
{
    sigset_t block, open, before, now;

    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &before);
    sigprocmask(SIG_BLOCK, NULL, &open);
    sigdelset(&open, SIGUSR1);
    received = 0;
    kill(getpid(), SIGUSR1);
    CHECK_EQ(received, 0);
    CHECK_ERRNO(sigsuspend(&open), EINTR);
    CHECK_EQ(received, 1);
    sigprocmask(SIG_BLOCK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1)); /* the mask is back as it was */
    sigprocmask(SIG_SETMASK, &before, NULL);
    CHECK_EQ(received, 1);
}

static pthread_t main_thread;

static void *send_later(void *argument)
{
    const struct timespec delay = {0, 30000000};

    nanosleep(&delay, NULL);
    pthread_kill(main_thread, *(int *)argument);
    return NULL;
}

/* The same waits, with the signal coming from another thread while the call sleeps. */
static void test_from_thread(void)
{
    sigset_t set, before, open;
    siginfo_t info;
    pthread_t thread;
    int signo = SIGUSR1;

    main_thread = pthread_self();
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    CHECK_EQ(pthread_create(&thread, NULL, send_later, &signo), 0);
    /* Raw: glibc passes SI_TKILL on as SI_USER. */
    CHECK_EQ(RAW(SYS_rt_sigtimedwait, &set, &info, NULL, 8), SIGUSR1);
    CHECK_EQ(info.si_code, SI_TKILL);
    CHECK_EQ(info.si_pid, getpid());
    CHECK_EQ(pthread_join(thread, NULL), 0);

    received = 0;
    pthread_sigmask(SIG_BLOCK, NULL, &open);
    sigdelset(&open, SIGUSR1);
    CHECK_EQ(pthread_create(&thread, NULL, send_later, &signo), 0);
    CHECK_ERRNO(sigsuspend(&open), EINTR);
    CHECK_EQ(received, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);

    /* A signal outside the set, with a handler, interrupts the wait. */
    signo = SIGUSR2;
    handle(SIGUSR2);
    CHECK_EQ(pthread_create(&thread, NULL, send_later, &signo), 0);
    CHECK_ERRNO(sigwaitinfo(&set, &info), EINTR);
    CHECK_EQ(received, 2);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void test_errors(void)
{
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};

    CHECK_ERRNO(sigqueue(getpid(), 65, (union sigval){.sival_int = 0}), EINVAL);
    CHECK_EQ(sigqueue(getpid(), 0, (union sigval){.sival_int = 0}), 0);
    CHECK_ERRNO(sigqueue(0x7ffffff0, SIGUSR1, (union sigval){.sival_int = 0}), ESRCH);
    CHECK_EQ(RAW(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_rt_sigpending, 8, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_rt_sigpending, &info, 16), -EINVAL);
    received = 0;
    CHECK_EQ(RAW(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGUSR1, &info), 0);
    CHECK_EQ(received, 1);
    CHECK_EQ(codes[0], SI_QUEUE);
}

int main(void)
{
    test_order();
    test_discard();
    test_timedwait();
    test_suspend();
    test_from_thread();
    test_errors();
    return check_done();
}
