/* Benchmarks of what goes on between tasks: making, switching, waking, signalling. See measure.h.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/measure.h"

#define STACK_BYTES 16384
/* As hackbench(8) has it, with fewer messages. */
#define PAIRS    20  /* senders, and as many receivers, of a group */
#define MESSAGES 5   /* of each sender to each receiver */
#define MESSAGE  100 /* bytes */

static void wait_for(pid_t pid)
{
    int status;

    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        die("a child");
}

static uint64_t fork_exit(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        wait_for(pid);
    }
    return now_ns() - begin;
}

static uint64_t fork_exec(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            execl("/proc/self/exe", "nothing", (char *)NULL);
            _exit(1);
        }
        wait_for(pid);
    }
    return now_ns() - begin;
}

static uint64_t vfork_exec(uint64_t count)
{
    char *const arguments[] = {"nothing", NULL};
    uint64_t begin = now_ns();
    pid_t pid;

    for (uint64_t i = 0; i < count; i++) {
        if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, NULL) != 0)
            die("posix_spawn");
        wait_for(pid);
    }
    return now_ns() - begin;
}

/* There and back between two processes, by functions that pass the turn on and wait for it. */
static uint64_t ping_pong(uint64_t count, void (*give)(int to), void (*take)(int self))
{
    pid_t pid = fork();
    uint64_t begin;

    if (pid == 0) {
        for (uint64_t i = 0; i < count; i++) {
            take(1);
            give(0);
        }
        _exit(0);
    }
    begin = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        give(1);
        take(0);
    }
    begin = now_ns() - begin;
    wait_for(pid);
    return begin;
}

static int pipes[2][2], events[2], polls[2];

static void pipe_give(int to)
{
    if (write(pipes[to][1], "x", 1) != 1)
        die("write");
}

static void pipe_take(int self)
{
    char byte;

    if (read(pipes[self][0], &byte, 1) != 1)
        die("read");
}

static uint64_t pipe_switch(uint64_t count)
{
    return ping_pong(count, pipe_give, pipe_take);
}

static _Atomic uint32_t *turn;

static void futex_give(int to)
{
    atomic_store(turn, (uint32_t)to);
    syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_take(int self)
{
    uint32_t seen;

    while ((seen = atomic_load(turn)) != (uint32_t)self)
        syscall(SYS_futex, turn, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static uint64_t futex_switch(uint64_t count)
{
    atomic_store(turn, 0);
    return ping_pong(count, futex_give, futex_take);
}

static void event_give(int to)
{
    uint64_t one = 1;

    if (write(events[to], &one, sizeof(one)) != sizeof(one))
        die("eventfd");
}

static void epoll_take(int self)
{
    struct epoll_event event;
    uint64_t value;

    if (epoll_wait(polls[self], &event, 1, -1) != 1 ||
        read(events[self], &value, sizeof(value)) != sizeof(value))
        die("epoll_wait");
}

static uint64_t epoll_wake(uint64_t count)
{
    return ping_pong(count, event_give, epoll_take);
}

static volatile sig_atomic_t handled;

static void on_signal(int signo)
{
    handled++;
}

static uint64_t signals(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
    return now_ns() - begin;
}

static pthread_barrier_t all_there;

static void *meet(void *arg)
{
    pthread_barrier_wait(&all_there);
    return arg;
}

/* So many threads that live at the same time, made and joined. */
static uint64_t many_threads(uint64_t count, unsigned many)
{
    pthread_t *threads = calloc(many, sizeof(*threads));
    uint64_t begin = now_ns();
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (uint64_t i = 0; i < count; i++) {
        pthread_barrier_init(&all_there, NULL, many + 1);
        for (unsigned t = 0; t < many; t++)
            if (pthread_create(&threads[t], &attr, meet, NULL) != 0)
                die("pthread_create");
        pthread_barrier_wait(&all_there);
        for (unsigned t = 0; t < many; t++)
            pthread_join(threads[t], NULL);
        pthread_barrier_destroy(&all_there);
    }
    free(threads);
    return now_ns() - begin;
}

static uint64_t threads_1000(uint64_t count)
{
    return many_threads(count, 1000);
}

static uint64_t threads_10000(uint64_t count)
{
    return many_threads(count, 10000);
}

static void move(int fd, bool out, int messages)
{
    char message[MESSAGE] = {0};

    for (int i = 0; i < messages; i++) {
        ssize_t got = 0;

        while (got < MESSAGE) {
            ssize_t n = out ? write(fd, message + got, (size_t)(MESSAGE - got))
                            : read(fd, message + got, (size_t)(MESSAGE - got));

            if (n <= 0)
                _exit(1);
            got += n;
        }
    }
}

static int socket_pair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}

/* A group in which every sender writes to every receiver's pipe or socket. */
static void group(pid_t pids[2 * PAIRS], int (*connect)(int ends[2]))
{
    int ends[PAIRS][2];

    for (int i = 0; i < PAIRS; i++) {
        if (connect(ends[i]) != 0)
            die("connecting");
    }
    for (int i = 0; i < 2 * PAIRS; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        if (i < PAIRS) {
            move(ends[i][0], false, MESSAGES * PAIRS);
        } else {
            for (int m = 0; m < MESSAGES; m++)
                for (int to = 0; to < PAIRS; to++)
                    move(ends[to][1], true, 1);
        }
        _exit(0);
    }
    for (int i = 0; i < PAIRS; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}

static uint64_t hackbench(uint64_t count, int (*connect)(int ends[2]))
{
    uint64_t begin = now_ns();
    pid_t pids[2 * PAIRS];

    for (uint64_t i = 0; i < count; i++) {
        group(pids, connect);
        for (int p = 0; p < 2 * PAIRS; p++)
            wait_for(pids[p]);
    }
    return now_ns() - begin;
}

static uint64_t hackbench_pipes(uint64_t count)
{
    return hackbench(count, pipe);
}

static uint64_t hackbench_sockets(uint64_t count)
{
    return hackbench(count, socket_pair);
}

static const struct benchmark benchmarks[] = {
    {"fork_exit", fork_exit},
    {"fork_exec", fork_exec},
    {"vfork_exec", vfork_exec},
    {"pipe_switch", pipe_switch},
    {"futex_switch", futex_switch},
    {"epoll_wake", epoll_wake},
    {"signal", signals},
    {"hackbench_pipes", hackbench_pipes},
    {"hackbench_sockets", hackbench_sockets},
    {"threads_1000", threads_1000},
    {"threads_10000", threads_10000},
};

int main(int argc, char **argv)
{
    struct epoll_event wanted = {.events = EPOLLIN};

    if (argc == 1)
        return 0; /* what fork_exec executes */
    signal(SIGUSR1, on_signal);
    turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (turn == MAP_FAILED)
        die("mmap");
    for (int i = 0; i < 2; i++) {
        events[i] = eventfd(0, 0);
        polls[i] = epoll_create1(0);
        if (pipe(pipes[i]) != 0 || epoll_ctl(polls[i], EPOLL_CTL_ADD, events[i], &wanted) != 0)
            die("descriptors");
    }
    return measure_main(argc, argv, benchmarks, sizeof(benchmarks) / sizeof(benchmarks[0]));
}
