/*
 * What a signal does to a call that sleeps (signal(7), "Interruption of system calls"): with
 * SA_RESTART read() and futex waits go on, without it they give EINTR; nanosleep always gives EINTR
 * and the rest of its time; poll never restarts.
 */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

static volatile int calls;
static pthread_t sleeper;
static int pipe_fds[2];
static uint32_t word;

static void on_signal(int signo)
{
    (void)signo;
    calls++;
}

static void set_action(int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    calls = 0;
}

static void sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&left, &left) != 0)
        ;
}

/* Until the main thread sleeps in its call, however late the machine lets it get there. */
static void await_sleep(void)
{
    char name[48], state = '?';

    snprintf(name, sizeof(name), "/proc/self/task/%d/stat", getpid());
    while (state != 'S') {
        FILE *f = fopen(name, "r");

        CHECK(f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1);
        if (!f)
            return;
        fclose(f);
        sleep_ms(1);
    }
}

enum after { NOTHING, WRITE_PIPE, WAKE_WORD };

static void *interrupter(void *argument)
{
    sleep_ms(20);
    await_sleep();
    pthread_kill(sleeper, SIGUSR1);
    sleep_ms(50);
    switch (*(enum after *)argument) {
    case NOTHING:
        break;
    case WRITE_PIPE:
        CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
        break;
    case WAKE_WORD:
        atomic_store((_Atomic uint32_t *)&word, 1);
        RAW(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
        break;
    }
    return NULL;
}

static pthread_t start_interrupter(enum after *after)
{
    pthread_t thread;

    sleeper = pthread_self();
    CHECK_EQ(pthread_create(&thread, NULL, interrupter, after), 0);
    return thread;
}

static void finish(pthread_t thread)
{
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(calls, 1);
}

static void test_read(void)
{
    enum after after = NOTHING;
    char byte = 0;

    set_action(0);
    pthread_t thread = start_interrupter(&after);
    CHECK_ERRNO(read(pipe_fds[0], &byte, 1), EINTR);
    finish(thread);

    set_action(SA_RESTART);
    after = WRITE_PIPE;
    thread = start_interrupter(&after);
    CHECK_EQ(read(pipe_fds[0], &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    finish(thread);
}

static void test_futex(void)
{
    enum after after = NOTHING;

    set_action(0);
    pthread_t thread = start_interrupter(&after);
    CHECK_EQ(RAW(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL), -EINTR);
    finish(thread);

    set_action(SA_RESTART);
    after = WAKE_WORD;
    word = 0;
    thread = start_interrupter(&after);
    long result = RAW(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
    CHECK(result == 0 || result == -EAGAIN);
    CHECK_EQ(word, 1);
    finish(thread);

    /* With a timeout it is not restarted when a handler ran, SA_RESTART or not. */
    const struct timespec second = {1, 0};
    set_action(0);
    after = NOTHING;
    word = 0;
    thread = start_interrupter(&after);
    CHECK_EQ(RAW(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &second), -EINTR);
    finish(thread);
}

static void test_nanosleep(int flags)
{
    struct timespec request = {5, 0}, left = {0, 0};
    enum after after = NOTHING;

    set_action(flags);
    pthread_t thread = start_interrupter(&after);
    CHECK_ERRNO(nanosleep(&request, &left), EINTR);
    CHECK(left.tv_sec == 4 || (left.tv_sec < 4 && left.tv_sec >= 1));
    finish(thread);

    set_action(flags);
    thread = start_interrupter(&after);
    left.tv_sec = 0;
    CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &request, &left), EINTR);
    CHECK(left.tv_sec >= 1 && left.tv_sec <= 4);
    finish(thread);

    /* An absolute sleep has no rest to report. */
    set_action(flags);
    clock_gettime(CLOCK_MONOTONIC, &request);
    request.tv_sec += 5;
    left = (struct timespec){77, 77};
    thread = start_interrupter(&after);
    CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &request, &left), EINTR);
    CHECK(left.tv_sec == 77 && left.tv_nsec == 77);
    finish(thread);
}

static void test_poll(int flags)
{
    struct pollfd fd = {.fd = pipe_fds[0], .events = POLLIN};
    enum after after = NOTHING;

    set_action(flags);
    pthread_t thread = start_interrupter(&after);
    CHECK_ERRNO(poll(&fd, 1, 5000), EINTR);
    finish(thread);
}

static void test_pause(void)
{
    enum after after = NOTHING;

    set_action(SA_RESTART);
    pthread_t thread = start_interrupter(&after);
    CHECK_ERRNO(pause(), EINTR);
    finish(thread);
}

/* A signal that is ignored, or blocked, does not interrupt anything. */
static void test_ignored(void)
{
    enum after after = WRITE_PIPE;
    sigset_t set;
    char byte;

    signal(SIGUSR1, SIG_IGN);
    pthread_t thread = start_interrupter(&after);
    CHECK_EQ(read(pipe_fds[0], &byte, 1), 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);

    set_action(0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    thread = start_interrupter(&after);
    CHECK_EQ(read(pipe_fds[0], &byte, 1), 1);
    CHECK_EQ(calls, 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    CHECK_EQ(calls, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* A thread that never makes a call must still hear of a signal. */
static volatile bool spinning;

static void *spin(void *argument)
{
    (void)argument;
    spinning = true;
    while (calls == 0)
        ;
    return NULL;
}

static void test_spinning(void)
{
    pthread_t thread;

    set_action(0);
    for (int i = 0; i < 20; i++) {
        calls = 0;
        spinning = false;
        CHECK_EQ(pthread_create(&thread, NULL, spin, NULL), 0);
        while (!spinning)
            sleep_ms(1);
        CHECK_EQ(pthread_kill(thread, SIGUSR1), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(calls, 1);
    }
}

int main(void)
{
    CHECK_EQ(pipe(pipe_fds), 0);
    test_read();
    test_futex();
    test_nanosleep(0);
    test_nanosleep(SA_RESTART);
    test_poll(0);
    test_poll(SA_RESTART);
    test_pause();
    test_ignored();
    test_spinning();
    return check_done();
}
