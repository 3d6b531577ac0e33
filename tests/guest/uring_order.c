/*
 * io_uring(7): timeouts, chains and the drain, cancellation, overflow of the completion queue,
 * restrictions.
 */
#include "uring.h"

static long elapsed_ms(const struct timespec *from)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - from->tv_sec) * 1000 + (now.tv_nsec - from->tv_nsec) / 1000000;
}

static void test_timeouts(void)
{
    struct timespec ms = {0, 20000000}, minute = {60, 0}, start;
    struct cqe c;
    struct ring r;
    int p[2], sum;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(pipe(p), 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    add(&r, TIMEOUT, -1, &ms, 1, 0, 1);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), -ETIME);
    CHECK(elapsed_ms(&start) >= 19);
    /* After two completions. */
    add(&r, TIMEOUT, -1, &minute, 1, 2, 2);
    CHECK_EQ(go(&r, 0), 1);
    add(&r, NOP, -1, NULL, 0, 0, 3);
    add(&r, NOP, -1, NULL, 0, 0, 4);
    CHECK_EQ(go(&r, 3), 2);
    CHECK_EQ(RESULT(&r, 3), 0);
    CHECK_EQ(RESULT(&r, 4), 0);
    CHECK_EQ(RESULT(&r, 2), 0);
    add(&r, TIMEOUT, -1, &minute, 1, 0, 5);
    CHECK_EQ(go(&r, 0), 1);
    add(&r, TIMEOUT_REMOVE, -1, (void *)5, 0, 0, 6);
    CHECK_EQ(go(&r, 2), 1);
    sum = 0;
    for (int i = 0; i < 2 && take(&r, &c); i++)
        sum += c.user_data == 5 ? c.res == -ECANCELED : c.user_data == 6 && c.res == 0;
    CHECK_EQ(sum, 2);
    add(&r, TIMEOUT_REMOVE, -1, (void *)5, 0, 0, 7);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 7), -ENOENT);
    add(&r, TIMEOUT, -1, (void *)16, 1, 0, 8);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 8), -EFAULT);
    add(&r, TIMEOUT, -1, &ms, 2, 0, 9);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 9), -EINVAL);
    /* A timeout for another request: it comes, or the request is faster. */
    add(&r, READ, p[0], buffer, 10, 0, 10)->flags = LINK;
    add(&r, LINK_TIMEOUT, -1, &ms, 1, 0, 11);
    CHECK_EQ(go(&r, 2), 2);
    sum = 0;
    for (int i = 0; i < 2 && take(&r, &c); i++)
        sum += c.user_data == 10 ? c.res == -ECANCELED : c.user_data == 11 && c.res == -ETIME;
    CHECK_EQ(sum, 2);
    add(&r, READ, p[0], buffer, 10, 0, 12)->flags = LINK;
    add(&r, LINK_TIMEOUT, -1, &minute, 1, 0, 13);
    CHECK_EQ(go(&r, 0), 2);
    CHECK_EQ(write(p[1], "abc", 3), 3);
    CHECK_EQ(enter(&r, 0, 2), 0);
    sum = 0;
    for (int i = 0; i < 2 && take(&r, &c); i++)
        sum += c.user_data == 12 ? c.res == 3 : c.user_data == 13 && c.res == -ECANCELED;
    CHECK_EQ(sum, 2);
    /* Waiting itself with a timeout, and interrupted. */
    struct {
        uint64_t mask;
        uint32_t size, pad;
        uint64_t ts;
    } arg = {0, 8, 0, (uintptr_t)&ms};
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 0, 1, 1 | 8, &arg, sizeof(arg)), -ETIME);
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 0, 1, 1 | 8, &arg, 8), -EINVAL);
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 0, 1, 1 | 8, 8, sizeof(arg)), -EFAULT);
    close(p[0]);
    close(p[1]);
    drop_ring(&r);
}

static void test_chains(void)
{
    char got[10] = "";
    struct cqe c;
    struct ring r;
    int p[2];

    CHECK(make_ring(&r, 16, 0, 0));
    CHECK_EQ(pipe(p), 0);
    add(&r, WRITE, p[1], "chain", 5, 0, 1)->flags = LINK;
    add(&r, READ, p[0], got, 5, 0, 2)->flags = LINK;
    add(&r, NOP, -1, NULL, 0, 0, 3);
    CHECK_EQ(go(&r, 3), 3);
    CHECK_EQ(RESULT(&r, 1), 5);
    CHECK_EQ(RESULT(&r, 2), 5);
    CHECK_EQ(RESULT(&r, 3), 0);
    CHECK(memcmp(got, "chain", 5) == 0);
    /* One that fails ends its chain; less than asked for is a failure; hard links go on. */
    add(&r, READ, 99, got, 5, 0, 4)->flags = LINK;
    add(&r, NOP, -1, NULL, 0, 0, 5)->flags = LINK;
    add(&r, NOP, -1, NULL, 0, 0, 6);
    CHECK_EQ(go(&r, 3), 3);
    CHECK_EQ(RESULT(&r, 4), -EBADF);
    CHECK_EQ(RESULT(&r, 5), -ECANCELED);
    CHECK_EQ(RESULT(&r, 6), -ECANCELED);
    add(&r, WRITE, p[1], "ab", 2, 0, 7)->flags = LINK;
    add(&r, READ, p[0], got, 5, 0, 8)->flags = LINK;
    add(&r, NOP, -1, NULL, 0, 0, 9);
    CHECK_EQ(go(&r, 3), 3);
    CHECK_EQ(RESULT(&r, 7), 2);
    CHECK_EQ(RESULT(&r, 8), 2);
    CHECK_EQ(RESULT(&r, 9), -ECANCELED);
    add(&r, READ, 99, got, 5, 0, 10)->flags = HARDLINK;
    add(&r, NOP, -1, NULL, 0, 0, 11);
    CHECK_EQ(go(&r, 2), 2);
    CHECK_EQ(RESULT(&r, 10), -EBADF);
    CHECK_EQ(RESULT(&r, 11), 0);
    /* A chain that waits in its middle. */
    add(&r, NOP, -1, NULL, 0, 0, 12)->flags = LINK;
    add(&r, READ, p[0], got, 3, 0, 13)->flags = LINK;
    add(&r, NOP, -1, NULL, 0, 0, 14);
    CHECK_EQ(go(&r, 1), 3);
    CHECK_EQ(RESULT(&r, 12), 0);
    CHECK(none(&r));
    CHECK_EQ(write(p[1], "xyz", 3), 3);
    CHECK_EQ(RESULT(&r, 13), 3);
    CHECK_EQ(RESULT(&r, 14), 0);
    /* The drain waits for what is older. */
    add(&r, READ, p[0], got, 3, 0, 15);
    add(&r, NOP, -1, NULL, 0, 0, 16)->flags = DRAIN;
    CHECK_EQ(go(&r, 0), 2);
    usleep(2000);
    CHECK(none(&r));
    CHECK_EQ(write(p[1], "xyz", 3), 3);
    CHECK_EQ(RESULT(&r, 15), 3);
    CHECK_EQ(RESULT(&r, 16), 0);
    /* No completion for what goes well. */
    add(&r, NOP, -1, NULL, 0, 0, 17)->flags = SKIP;
    add(&r, READ, 99, got, 1, 0, 18)->flags = SKIP;
    CHECK_EQ(go(&r, 1), 2);
    CHECK_EQ(RESULT(&r, 18), -EBADF);
    CHECK(!take(&r, &c));
    close(p[0]);
    close(p[1]);
    drop_ring(&r);
}

static void test_cancel(void)
{
    struct cqe c;
    struct ring r;
    int p[2], sum = 0;

    CHECK(make_ring(&r, 16, 0, 0));
    CHECK_EQ(pipe(p), 0);
    for (int i = 0; i < 4; i++)
        add(&r, READ, p[0], buffer, 10, 0, 1);
    CHECK_EQ(go(&r, 0), 4);
    add(&r, ASYNC_CANCEL, -1, (void *)1, 0, 0, 2);
    CHECK_EQ(go(&r, 2), 1);
    for (int i = 0; i < 2 && take(&r, &c); i++)
        sum += c.user_data == 1 ? c.res == -ECANCELED : c.user_data == 2 && c.res == 0;
    CHECK_EQ(sum, 2);
    add(&r, ASYNC_CANCEL, p[0], NULL, 0, 0, 3)->op_flags = 1 | 2; /* all of that file */
    CHECK_EQ(go(&r, 4), 1);
    sum = 0;
    for (int i = 0; i < 4 && take(&r, &c); i++)
        sum += c.user_data == 1 ? c.res == -ECANCELED : c.user_data == 3 && c.res == 3;
    CHECK_EQ(sum, 4);
    add(&r, ASYNC_CANCEL, -1, (void *)1, 0, 0, 4);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 4), -ENOENT);
    close(p[0]);
    close(p[1]);
    drop_ring(&r);
}

static void test_overflow(void)
{
    struct ring r;

    CHECK(make_ring(&r, 2, 8, 2));
    CHECK_EQ(r.p.cq_entries, 2);
    for (unsigned i = 0; i < 6; i++) {
        add(&r, NOP, -1, NULL, 0, 0, i);
        CHECK_EQ(go(&r, 0), 1);
    }
    CHECK_EQ(*word(&r, r.p.cq.tail), 2);
    CHECK_EQ(*word(&r, r.p.sq.flags) & 2, 2);
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(RESULT(&r, i), 0);
    CHECK_EQ(*word(&r, r.p.sq.flags) & 2, 0);
    CHECK_EQ(*word(&r, r.p.cq.overflow), 0);
    drop_ring(&r);
}

static void test_restrictions(void)
{
    struct {
        uint16_t op;
        uint8_t what, resv;
        uint32_t resv2[3];
    } allow[2] = {{.op = 1, .what = NOP}, {.op = 0, .what = 4}};
    struct ring r;
    int fd = 0;

    CHECK(make_ring(&r, 4, 1u << 6, 0));
    CHECK_EQ(enter(&r, 0, 0), -EBADFD);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 11, allow, 2), 0);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 12, 0, 0), 0);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 12, 0, 0), -EACCES);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 2, &fd, 1), -EACCES);
    add(&r, NOP, -1, NULL, 0, 0, 1);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), 0);
    add(&r, READ, 0, buffer, 1, 0, 2);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 2), -EACCES);
    drop_ring(&r);
}

int main(void)
{
    need_uring();
    test_timeouts();
    test_chains();
    test_cancel();
    test_overflow();
    test_restrictions();
    return check_done();
}
