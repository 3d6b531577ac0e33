/*
 * A program to be killed in the middle of things: one thread computes, one waits on a futex, one
 * maps and unmaps memory, and the first waits for input. Says "ready" when all of them run; ends
 * when its input ends.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAP_SIZE (256UL << 10)

static _Atomic uint32_t started, never;
static volatile uint64_t computed;

static void *compute(void *arg)
{
    atomic_fetch_add(&started, 1);
    for (;;)
        computed++;
    return arg;
}

static void *wait_for_ever(void *arg)
{
    atomic_fetch_add(&started, 1);
    for (;;)
        syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return arg;
}

static void *map_memory(void *arg)
{
    atomic_fetch_add(&started, 1);
    for (;;) {
        char *at = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (at == MAP_FAILED)
            _exit(1);
        memset(at, 1, MAP_SIZE);
        munmap(at, MAP_SIZE);
    }
    return arg;
}

int main(void)
{
    static void *(*const bodies[])(void *) = {compute, wait_for_ever, map_memory};
    pthread_t thread;
    char byte;

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        if (pthread_create(&thread, NULL, bodies[i], NULL) != 0)
            return 1;
    }
    while (atomic_load(&started) < 3)
        usleep(100);
    if (write(STDOUT_FILENO, "ready\n", 6) != 6)
        return 1;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    _exit(0);
}
