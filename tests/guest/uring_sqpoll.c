/*
 * io_uring without calls: a thread of the kernel submits (SQPOLL); rings in the program's own
 * memory (NO_MMAP) and without a descriptor (REGISTERED_FD_ONLY).
 */
#include "uring.h"

#define SQPOLL         (1u << 1)
#define SQ_AFF         (1u << 2)
#define ATTACH         (1u << 5)
#define DISABLED       (1u << 6)
#define COOP           (1u << 8)
#define SINGLE         (1u << 12)
#define DEFER          (1u << 13)
#define NO_MMAP        (1u << 14)
#define REGISTERED     (1u << 15)
#define MIXED          (1u << 18)
#define CQE32          (1u << 11)

#define ENTER_EVENTS   1u
#define ENTER_WAKEUP   2u
#define ENTER_WAIT     4u
#define ENTER_BY_INDEX 16u
#define NEED_WAKEUP    1u
#define ENABLE_RINGS   12
#define PAGE           4096UL

static long setup(uint32_t flags, uint32_t wq, uint32_t cpu)
{
    struct params p = {.flags = flags, .wq_fd = wq, .sq_cpu = cpu};
    long fd = RAW(SYS_io_uring_setup, 4, &p);

    if (fd >= 0)
        close((int)fd);
    return fd < 0 ? fd : 0;
}

static void test_refusals(void)
{
    struct params p = {0};
    int plain = (int)RAW(SYS_io_uring_setup, 4, &p);

    CHECK_EQ(setup(SQPOLL, 0, 0), 0);
    CHECK_EQ(setup(SQPOLL | SINGLE, 0, 0), 0);
    CHECK_EQ(setup(SQPOLL | SQ_AFF, 0, 4000), -EINVAL);
    CHECK_EQ(setup(SQ_AFF, 0, 0), -EINVAL);
    CHECK_EQ(setup(SQPOLL | COOP, 0, 0), -EINVAL);
    CHECK_EQ(setup(SQPOLL | SINGLE | DEFER, 0, 0), -EINVAL);
    CHECK_EQ(setup(ATTACH, 999, 0), -ENXIO);
    CHECK_EQ(setup(ATTACH, 0, 0), -EINVAL);
    CHECK_EQ(setup(ATTACH, (uint32_t)plain, 0), 0);
    CHECK_EQ(setup(SQPOLL | ATTACH, 999, 0), -ENXIO);
    CHECK_EQ(setup(SQPOLL | ATTACH, (uint32_t)plain, 0), -EINVAL);
    CHECK_EQ(setup(REGISTERED, 0, 0), -EINVAL);
    CHECK_EQ(setup(MIXED, 0, 0), 0);
    CHECK_EQ(setup(MIXED | CQE32, 0, 0), -EINVAL);
    CHECK_EQ(setup(NO_MMAP, 0, 0), -EFAULT);
    close(plain);
}

/* ---- SQPOLL -------------------------------------------------------------------------------- */

static bool make_polled(struct ring *r, uint32_t flags, uint32_t idle)
{
    struct params p = {.flags = SQPOLL | flags, .sq_idle = idle};
    size_t sq, cq;

    memset(r, 0, sizeof(*r));
    r->fd = (int)RAW(SYS_io_uring_setup, 8, &p);
    r->p = p;
    if (!CHECK(r->fd >= 0))
        return false;
    sq = p.sq.array + p.sq_entries * 4;
    cq = p.cq.cqes + p.cq_entries * 16;
    r->mem = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    r->sqes = mmap(NULL, p.sq_entries * sizeof(struct sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
                   r->fd, 0x10000000);
    return CHECK(r->mem != MAP_FAILED && (void *)r->sqes != MAP_FAILED);
}

static bool sleeps(struct ring *r)
{
    atomic_thread_fence(memory_order_seq_cst);
    return *word(r, r->p.sq.flags) & NEED_WAKEUP;
}

/* As liburing does it: a call only where the thread has gone to sleep. */
static void submit(struct ring *r)
{
    if (sleeps(r))
        CHECK_EQ(RAW(SYS_io_uring_enter, r->fd, 1, 0, ENTER_WAKEUP, 0, 0), 1);
}

static int await(struct ring *r, uint64_t name)
{
    struct cqe c = {0};

    while (!take(r, &c))
        usleep(100);
    CHECK_EQ(c.user_data, name);
    return c.res;
}

static void test_polled(void)
{
    struct ring r;
    int pipes[2];
    char text[8] = "";

    if (!make_polled(&r, 0, 20))
        return;
    CHECK_EQ(pipe(pipes), 0);
    for (uint64_t i = 1; i <= 40; i++) {
        add(&r, NOP, -1, NULL, 0, 0, i);
        submit(&r);
        CHECK_EQ(await(&r, i), 0);
    }
    add(&r, WRITE, pipes[1], "hello", 5, 0, 100);
    submit(&r);
    CHECK_EQ(await(&r, 100), 5);
    add(&r, READ, pipes[0], text, sizeof(text), 0, 101);
    submit(&r);
    CHECK_EQ(await(&r, 101), 5);
    CHECK_EQ(memcmp(text, "hello", 5), 0);
    add(&r, READ, 999, text, 1, 0, 102);
    submit(&r);
    CHECK_EQ(await(&r, 102), -EBADF);
    /* After a while without work it asks to be woken. */
    while (!sleeps(&r))
        usleep(1000);
    add(&r, NOP, -1, NULL, 0, 0, 103);
    usleep(2000);
    CHECK(none(&r));
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 1, 1, ENTER_WAKEUP | ENTER_EVENTS, 0, 8), 1);
    CHECK_EQ(await(&r, 103), 0);
    /* A reader that waits is served when there is something. */
    add(&r, READ, pipes[0], text, sizeof(text), 0, 104);
    submit(&r);
    usleep(2000);
    CHECK(none(&r));
    CHECK_EQ(write(pipes[1], "abc", 3), 3);
    CHECK_EQ(await(&r, 104), 3);
    /* Room is waited for. */
    for (uint64_t i = 0; i < 8; i++)
        add(&r, NOP, -1, NULL, 0, 0, 200 + i);
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 8, 0, ENTER_WAKEUP | ENTER_WAIT, 0, 0), 8);
    CHECK(*word(&r, r.p.sq.tail) - *word(&r, r.p.sq.head) < 8);
    for (uint64_t i = 0; i < 8; i++)
        CHECK_EQ(await(&r, 200 + i), 0);
    close(pipes[0]);
    close(pipes[1]);
    drop_ring(&r);
}

static void test_disabled(void)
{
    struct ring r;

    if (!make_polled(&r, DISABLED, 5))
        return;
    add(&r, NOP, -1, NULL, 0, 0, 1);
    usleep(5000);
    CHECK(none(&r));
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 1, 0, ENTER_WAKEUP, 0, 0), -EBADFD);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, ENABLE_RINGS, NULL, 0), 0);
    submit(&r);
    CHECK_EQ(await(&r, 1), 0);
    drop_ring(&r);
}

/* A process that ends, or executes, with its thread at work; the ring outlives it in the parent. */
static void test_owner(void)
{
    struct ring r;
    int status, pipes[2];
    pid_t pid;

    CHECK_EQ(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        make_polled(&r, 0, 1000);
        add(&r, READ, pipes[0], buffer, 1, 0, 1);
        submit(&r);
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    pid = fork();
    if (pid == 0) {
        make_polled(&r, 0, 1000);
        add(&r, NOP, -1, NULL, 0, 0, 1);
        execl("/proc/self/exe", self, "child", NULL);
        _exit(9);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 5 << 8);
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- the program's own memory --------------------------------------------------------------- */

static void make_own(struct ring *r, uint32_t flags, uint8_t *memory)
{
    struct params p = {.flags = NO_MMAP | flags};

    p.sq.addr = (uintptr_t)memory;
    p.cq.addr = (uintptr_t)memory + PAGE;
    memset(r, 0, sizeof(*r));
    r->fd = (int)RAW(SYS_io_uring_setup, 8, &p);
    CHECK(r->fd >= 0);
    CHECK_EQ(p.sq.addr, (uintptr_t)memory);
    CHECK_EQ(p.cq.addr, (uintptr_t)memory + PAGE);
    r->p = p;
    r->mem = memory + PAGE;
    r->sqes = (struct sqe *)(void *)memory;
}

static uint8_t *own_memory(void)
{
    uint8_t *memory =
        mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(memory != MAP_FAILED);
    return memory;
}

static void test_own_memory(void)
{
    uint8_t *memory = own_memory();
    struct params p = {.flags = NO_MMAP};
    struct ring r;

    p.sq.addr = (uintptr_t)memory + 64;
    p.cq.addr = (uintptr_t)memory + PAGE;
    CHECK_EQ(RAW(SYS_io_uring_setup, 8, &p), -EINVAL);
    p.sq.addr = (uintptr_t)memory;
    p.cq.addr = 2 * PAGE;
    CHECK_EQ(RAW(SYS_io_uring_setup, 8, &p), -EFAULT);
    make_own(&r, 0, memory);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, r.fd, 0) == MAP_FAILED);
    for (uint64_t i = 0; i < 20; i++) {
        add(&r, NOP, -1, NULL, 0, 0, i);
        CHECK_EQ(go(&r, 1), 1);
        CHECK_EQ(RESULT(&r, i), 0);
    }
    CHECK_EQ(close(r.fd), 0);
    CHECK_EQ(munmap(memory, 4 * PAGE), 0);
}

static void test_registered(void)
{
    uint8_t *memory = own_memory();
    struct ring r;
    int before = dup(0), after;

    make_own(&r, REGISTERED, memory);
    CHECK_EQ(r.fd, 0);
    after = dup(0);
    CHECK_EQ(after, before + 1); /* no descriptor was taken */
    add(&r, NOP, -1, NULL, 0, 0, 7);
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 1, 1, ENTER_EVENTS | ENTER_BY_INDEX, 0, 8), 1);
    CHECK_EQ(RAW(SYS_io_uring_enter, 5, 1, 1, ENTER_EVENTS | ENTER_BY_INDEX, 0, 8), -EBADF);
    CHECK_EQ(await(&r, 7), 0);
    close(before);
    close(after);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1)
        return 5;
    need_uring();
    test_refusals();
    test_polled();
    test_disabled();
    test_owner();
    test_own_memory();
    test_registered();
    return check_done();
}
