/*
 * A few thousand random memory calls and accesses in a small window, the same ones each time. What
 * they answered goes into a running checksum, printed as it goes, so that natively and in the
 * sandbox the same lines must come. Only what all kernels since 5.0 do alike is called.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "check.h"

#define PAGE   4096UL
#define PAGES  64
#define STEPS  3000
#define WINDOW 0x210000000UL

static uint64_t random_state = 88172645463325252UL, checksum = 14695981039346656037UL;
static sigjmp_buf fault_exit;
static volatile int fault_code;
static int pipe_ends[2];

static uint64_t any(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

static void record(int64_t value)
{
    checksum = (checksum ^ (uint64_t)value) * 1099511628211UL;
}

static void record_call(int64_t result)
{
    record(result < 0 ? -errno : result);
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
    fault_code = signo * 100 + info->si_code;
    siglongjmp(fault_exit, 1);
}

/* The byte that is read, or what the fault said. */
static int load(const volatile uint8_t *p)
{
    if (sigsetjmp(fault_exit, 1))
        return -fault_code;
    return *p;
}

static int store(volatile uint8_t *p, uint8_t value)
{
    if (sigsetjmp(fault_exit, 1))
        return -fault_code;
    *p = value;
    return 0;
}

static int any_prot(void)
{
    static const int prots[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ,
                                PROT_READ | PROT_EXEC, PROT_NONE};

    return prots[any(ARRAY_COUNT(prots))];
}

static void any_map(uint8_t *p, size_t size)
{
    int flags = MAP_ANONYMOUS | MAP_FIXED | (any(3) ? MAP_PRIVATE : MAP_SHARED);

    if (any(8) == 0)
        flags |= MAP_POPULATE;
    if (any(8) == 0)
        flags |= MAP_NORESERVE;
    record_call((int64_t)mmap(p, size, any_prot(), flags, -1, 0));
}

static void any_advice(uint8_t *p, size_t size)
{
    static const int advices[] = {MADV_DONTNEED,  MADV_DONTNEED, MADV_NORMAL,     MADV_RANDOM,
                                  MADV_WILLNEED,  MADV_DONTFORK, MADV_DOFORK,     MADV_WIPEONFORK,
                                  MADV_DONTDUMP,  MADV_DODUMP,   MADV_KEEPONFORK, 77,
                                  MADV_SEQUENTIAL};

    record_call(madvise(p, size, advices[any(ARRAY_COUNT(advices))]));
}

/* The kernel's own copies, one byte each way. */
static void any_copy(uint8_t *p)
{
    uint8_t byte = (uint8_t)any(256);

    if (any(2)) {
        ssize_t n = write(pipe_ends[1], p, 1);

        record_call(n);
        if (n == 1 && read(pipe_ends[0], &byte, 1) == 1)
            record(byte);
        return;
    }
    CHECK_EQ(write(pipe_ends[1], &byte, 1), 1);
    if (read(pipe_ends[0], p, 1) == 1)
        return;
    record(-errno);
    CHECK_EQ(read(pipe_ends[0], &byte, 1), 1);
}

static void any_access(uint8_t *p, size_t size)
{
    for (size_t at = 0; at < size && at < 5 * PAGE; at += PAGE) {
        switch (any(3)) {
        case 0:
            record(store(p + at + any(PAGE), (uint8_t)any(256)));
            break;
        case 1:
            any_copy(p + at + any(PAGE));
            break;
        default:
            record(load(p + at + any(PAGE)));
            break;
        }
    }
}

static void step(uint8_t *window)
{
    uint64_t first = any(PAGES), count = 1 + any(PAGES - first);
    uint8_t *p = window + first * PAGE;
    size_t size = (count > 20 ? count % 20 + 1 : count) * PAGE;

    if (any(50) == 0)
        p += 1 + any(PAGE - 1); /* not aligned: EINVAL */
    switch (any(12)) {
    case 0:
    case 1:
        any_map(p, size);
        break;
    case 2:
        record_call(munmap(p, size));
        break;
    case 3:
    case 4:
        record_call(mprotect(p, size, any_prot()));
        break;
    case 5:
        /* One page never crosses a mapping, however the kernel has merged them. */
        record_call((int64_t)mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                                    window + any(PAGES) * PAGE));
        break;
    case 6:
        any_advice(p, size);
        break;
    case 7:
        record_call(msync(p, size, (int)any(8)));
        break;
    default:
        any_access(p, size);
        break;
    }
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    uint8_t *window = mmap((void *)WINDOW, PAGES * PAGE, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (!CHECK(window == (void *)WINDOW) || !CHECK_EQ(pipe(pipe_ends), 0))
        return check_done();
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    for (int i = 1; i <= STEPS; i++) {
        step(window);
        if (i % 250 == 0)
            note("%d: %016lx", i, checksum);
    }
    CHECK_EQ(munmap(window, PAGES * PAGE), 0);
    return check_done();
}
