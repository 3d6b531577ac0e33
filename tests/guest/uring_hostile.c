/*
 * io_uring(7) with nonsense: entries of random bytes, heads and tails that point anywhere, rings
 * unmapped while they work. Nothing is expected but that the program lives, and that an ordinary
 * ring works afterwards.
 */
#include "uring.h"

#define ROUNDS 40

static uint64_t seed = 12345;

static uint64_t roll(void)
{
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return seed >> 33;
}

static uint64_t pick_address(void)
{
    static char *const good = buffer;

    switch (roll() % 6) {
    case 0:
        return 0;
    case 1:
        return roll() << 33 | roll();
    case 2:
        return (uintptr_t)good + roll() % sizeof(buffer);
    case 3:
        return 0x7ffffffff000 - roll() % 64;
    default:
        return (uintptr_t)good + roll() % 16 * 4096;
    }
}

static int pick_fd(const int *fds)
{
    uint64_t n = roll() % 12;

    if (n < 6)
        return fds[n];
    return n < 8 ? (int)n - 9 : n < 11 ? (int)(roll() % 4) + 90 : (int)roll();
}

static uint32_t pick_bits(void)
{
    uint64_t n = roll() % 4;

    return n == 0   ? 0
           : n == 1 ? 1u << roll() % 32
           : n == 2 ? (uint32_t)roll() % 8
                    : (uint32_t)roll();
}

static void fill(struct ring *r, const int *fds)
{
    /* Names and files that exist are left alone: this runs outside a sandbox too. */
    struct sqe *s = add(r, (int)(roll() % 70), pick_fd(fds), (void *)(uintptr_t)pick_address(),
                        roll() % 3 ? (unsigned)roll() % 5000 : pick_bits(),
                        roll() % 2 ? (long)roll() % 3 - 1 : (long)pick_address(), roll() % 16);

    s->flags = roll() % 2 ? 0 : (uint8_t)roll();
    s->ioprio = roll() % 8 ? 0 : (uint16_t)roll();
    s->op_flags = pick_bits();
    s->buf_index = roll() % 2 ? 0 : (uint16_t)roll() % 20;
    s->personality = roll() % 8 ? 0 : (uint16_t)roll() % 3;
    s->file_index = roll() % 2 ? 0 : (uint32_t)roll() % 20;
    s->addr3 = roll() % 2 ? 0 : pick_address();
    /* No new processes' waits and no memory of ours taken away. */
    if (s->op == MADVISE || (s->op == CLOSE && s->fd < 90))
        s->op = NOP;
}

static void one_round(int round)
{
    static const uint32_t setups[] = {0, 1u << 7, 1u << 16, 8, 1u << 12};
    int fds[6], files[4];
    struct ring r;
    struct iovec iov[2] = {{buffer, 8192}, {buffer + 8192, 100}};

    memset(buffer, '/', sizeof(buffer)); /* no path of these is a file */
    if (!make_ring(&r, 16, setups[round % 4], 32))
        return;
    if (pipe2(fds, O_NONBLOCK * (round % 2)) || pipe(fds + 2))
        return;
    fds[4] = eventfd(0, 0);
    fds[5] = r.fd;
    memcpy(files, fds, sizeof(files));
    RAW(SYS_io_uring_register, r.fd, 2, files, 4);
    RAW(SYS_io_uring_register, r.fd, 0, iov, 2);
    for (int i = 0; i < 60; i++) {
        int count = 1 + (int)(roll() % 8);

        for (int j = 0; j < count; j++)
            fill(&r, fds);
        go(&r, 0);
        if (roll() % 16 == 0)
            *word(&r, r.p.cq.head) = (uint32_t)roll();
        if (roll() % 32 == 0)
            *word(&r, r.p.sq.tail) += (uint32_t)roll();
        if (roll() % 4)
            *word(&r, r.p.cq.head) = *word(&r, r.p.cq.tail);
        if (roll() % 8 == 0)
            RAW(SYS_io_uring_register, r.fd, 8 + roll() % 28, pick_address(), roll() % 3);
        if (i % 4 == 0 && poll(&(struct pollfd){.fd = fds[3], .events = POLLOUT}, 1, 0) == 1)
            (void)!write(fds[3], "x", 1);
    }
    for (int i = 0; i < 5; i++)
        close(fds[i]);
    drop_ring(&r);
}

int main(void)
{
    struct ring r;

    need_uring();
    signal(SIGPIPE, SIG_IGN);
    /* In a process of its own, whose descriptors may be closed or replaced. */
    for (int round = 0; round < ROUNDS; round += 10) {
        pid_t child = fork();
        int status = 0;

        if (child == 0) {
            seed += (uint64_t)round;
            alarm(20);
            for (int i = round; i < round + 10; i++)
                one_round(i);
            _exit(0);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status) || WTERMSIG(status) == SIGALRM);
    }
    CHECK(make_ring(&r, 4, 0, 0));
    add(&r, NOP, -1, NULL, 0, 0, 7);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 7), 0);
    drop_ring(&r);
    return check_done();
}
