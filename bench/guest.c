/* The micro-benchmarks: an ordinary static program, the same natively and in the sandbox. See
 * measure.h. */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/measure.h"

#define PAGE         4096UL
#define TOUCH_PAGES  1024UL
#define MAPPED_BYTES (16 * PAGE)

static int zero_fd, pipe_fds[2];
static char buffer[PAGE];

static uint64_t bench_getpid(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        syscall(SYS_getpid);
    return now_ns() - begin;
}

static uint64_t bench_clock(uint64_t count)
{
    struct timespec ts;
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        clock_gettime(CLOCK_MONOTONIC, &ts);
    return now_ns() - begin;
}

static uint64_t bench_read_zero(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        if (read(zero_fd, buffer, sizeof(buffer)) != sizeof(buffer))
            die("read /dev/zero");
    return now_ns() - begin;
}

static uint64_t bench_pipe(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++)
        if (write(pipe_fds[1], buffer, 1) != 1 || read(pipe_fds[0], buffer, 1) != 1)
            die("pipe");
    return now_ns() - begin;
}

/* First touches of 4 KiB pages of anonymous memory; making the mapping does not count. */
static uint64_t bench_page_fault(uint64_t count)
{
    uint64_t spent = 0;

    for (uint64_t done = 0; done < count;) {
        uint64_t pages = count - done < TOUCH_PAGES ? count - done : TOUCH_PAGES, begin;
        char *at =
            mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (at == MAP_FAILED)
            die("mmap");
        /* Huge pages would hide the fault that is measured here, on either side. */
        madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
        begin = now_ns();
        for (uint64_t i = 0; i < pages; i++)
            *(volatile char *)(at + i * PAGE) = 1;
        spent += now_ns() - begin;
        munmap(at, pages * PAGE);
        done += pages;
    }
    return spent;
}

static uint64_t bench_mmap(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        void *at =
            mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (at == MAP_FAILED || munmap(at, MAPPED_BYTES) != 0)
            die("mmap");
    }
    return now_ns() - begin;
}

static void *return_at_once(void *arg)
{
    return arg;
}

static uint64_t bench_thread(uint64_t count)
{
    uint64_t begin = now_ns();

    for (uint64_t i = 0; i < count; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, return_at_once, NULL) != 0)
            die("pthread_create");
        pthread_join(thread, NULL);
    }
    return now_ns() - begin;
}

/* Two threads pass a turn to and fro; one operation is there and back. */
static _Atomic uint32_t turn;
static uint64_t turns;

static void wait_for_turn(uint32_t mine)
{
    uint32_t seen;

    while ((seen = atomic_load(&turn)) != mine)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void give_turn(uint32_t other)
{
    atomic_store(&turn, other);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_partner(void *arg)
{
    for (uint64_t i = 0; i < turns; i++) {
        wait_for_turn(1);
        give_turn(0);
    }
    return arg;
}

static uint64_t bench_futex(uint64_t count)
{
    pthread_t thread;
    uint64_t begin;

    turns = count;
    atomic_store(&turn, 0);
    if (pthread_create(&thread, NULL, futex_partner, NULL) != 0)
        die("pthread_create");
    begin = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        give_turn(1);
        wait_for_turn(0);
    }
    begin = now_ns() - begin;
    pthread_join(thread, NULL);
    return begin;
}

static const struct benchmark benchmarks[] = {
    {"getpid", bench_getpid}, {"clock_gettime", bench_clock},   {"read_zero", bench_read_zero},
    {"pipe", bench_pipe},     {"page_fault", bench_page_fault}, {"mmap", bench_mmap},
    {"thread", bench_thread}, {"futex", bench_futex},
};

int main(int argc, char **argv)
{
    zero_fd = open("/dev/zero", O_RDONLY);
    if (zero_fd < 0 || pipe(pipe_fds) != 0)
        die("open");
    return measure_main(argc, argv, benchmarks, sizeof(benchmarks) / sizeof(benchmarks[0]));
}
