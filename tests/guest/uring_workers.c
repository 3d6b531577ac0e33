/* io_uring: how many threads work at a time, on which processors, and what busy polling is told. */
#include <sched.h>

#include "uring.h"

enum { IOWQ_AFF = 17, NO_IOWQ_AFF, MAX_WORKERS, NAPI = 27, NO_NAPI };

static int reg(int fd, unsigned op, const void *arg, unsigned count)
{
    return (int)RAW(SYS_io_uring_register, fd, op, arg, count);
}

static char fifo[2][64];

static void make_fifos(void)
{
    for (int i = 0; i < 2; i++) {
        snprintf(fifo[i], sizeof(fifo[i]), "/tmp/uring_workers_%d_%d", getpid(), i);
        CHECK_EQ(mkfifo(fifo[i], 0600), 0);
    }
}

static void drop_fifos(void)
{
    unlink(fifo[0]);
    unlink(fifo[1]);
}

static void add_open(struct ring *r, const char *path, uint64_t name)
{
    struct sqe *s = add(r, OPENAT, AT_FDCWD, path, 0, 0, name);

    s->flags = ASYNC;
    s->op_flags = O_RDONLY;
}

/* Lets go who opens it for reading; they may not be there yet. */
static void open_other_side(const char *path)
{
    int fd;

    while ((fd = open(path, O_WRONLY | O_NONBLOCK)) < 0 && errno == ENXIO)
        usleep(100);
    CHECK(fd >= 0);
    close(fd);
}

/* One at a time: who is behind one that blocks waits for it, and is neither lost nor overtaken. */
static void test_limit(void)
{
    uint32_t limit[2] = {1, 0};
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(reg(r.fd, MAX_WORKERS, limit, 2), 0);
    add_open(&r, fifo[0], 1);
    add_open(&r, "/dev/null", 2);
    add_open(&r, "/nonexistent", 3);
    CHECK_EQ(go(&r, 0), 3);
    usleep(20000);
    CHECK(none(&r));
    open_other_side(fifo[0]);
    CHECK(RESULT(&r, 1) >= 0);
    CHECK(RESULT(&r, 2) >= 0);
    CHECK_EQ(RESULT(&r, 3), -ENOENT);
    drop_ring(&r);
}

/* With two, one goes on beside the one that blocks. */
static void test_two(void)
{
    uint32_t limit[2] = {2, 0};
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(reg(r.fd, MAX_WORKERS, limit, 2), 0);
    CHECK_EQ(limit[0] > 0, true);
    add_open(&r, fifo[0], 1);
    CHECK_EQ(go(&r, 0), 1);
    for (int i = 2; i < 6; i++) {
        add_open(&r, "/dev/null", (uint64_t)i);
        CHECK_EQ(go(&r, 1), 1);
        CHECK(RESULT(&r, (uint64_t)i) >= 0);
    }
    open_other_side(fifo[0]);
    CHECK(RESULT(&r, 1) >= 0);
    drop_ring(&r);
}

/* What waits for its turn can be cancelled, and a ring with such requests closed. */
static void test_cancel(void)
{
    uint32_t limit[2] = {1, 0};
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(reg(r.fd, MAX_WORKERS, limit, 2), 0);
    add_open(&r, fifo[0], 1);
    add_open(&r, fifo[1], 2);
    add_open(&r, fifo[1], 3);
    CHECK_EQ(go(&r, 0), 3);
    struct sqe *s = add(&r, ASYNC_CANCEL, 0, NULL, 0, 0, 9);
    s->addr = 2;
    CHECK_EQ(go(&r, 0), 1);
    int seen = 0;
    for (int i = 0; i < 2; i++) {
        struct cqe c = {0};

        while (!take(&r, &c))
            enter(&r, 0, 1);
        if (c.user_data == 2)
            CHECK_EQ(c.res, -ECANCELED);
        else
            CHECK(c.user_data == 9 && c.res == 0);
        seen |= 1 << c.user_data;
    }
    CHECK_EQ(seen, 1 << 2 | 1 << 9);
    open_other_side(fifo[0]);
    CHECK(RESULT(&r, 1) >= 0);
    drop_ring(&r); /* the third one ends with it */
}

/* The processors that threads work on have to be some of ours. */
static void test_processors(void)
{
    cpu_set_t own, one;
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(reg(r.fd, IOWQ_AFF, NULL, 8), -EINVAL);
    CPU_ZERO(&own);
    CHECK_EQ(reg(r.fd, IOWQ_AFF, &own, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, IOWQ_AFF, (void *)8, 8), -EFAULT);
    CHECK_EQ(sched_getaffinity(0, sizeof(own), &own), 0);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, &own))
            continue;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        CHECK_EQ(reg(r.fd, IOWQ_AFF, &one, 8), 0);
        add_open(&r, "/dev/null", 1);
        CHECK_EQ(go(&r, 1), 1);
        CHECK(RESULT(&r, 1) >= 0);
        break;
    }
    CHECK_EQ(reg(r.fd, IOWQ_AFF, &own, sizeof(own)), 0);
    CHECK_EQ(reg(r.fd, NO_IOWQ_AFF, &own, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, NO_IOWQ_AFF, NULL, 8), -EINVAL);
    CHECK_EQ(reg(r.fd, NO_IOWQ_AFF, NULL, 0), 0);
    CHECK_EQ(reg(r.fd, NO_IOWQ_AFF, NULL, 0), 0);
    drop_ring(&r);
}

struct napi {
    uint32_t busy_us;
    uint8_t prefer, op, pad[2];
    uint32_t param, resv;
};

enum { TRACK_DYNAMIC, TRACK_STATIC, TRACK_NOTHING = 255, ADD_ID = 1, REMOVE_ID };

static int napi(struct ring *r, struct napi *n, uint8_t op, uint32_t param)
{
    *n = (struct napi){.busy_us = 50, .prefer = 1, .op = op, .param = param};
    return reg(r->fd, NAPI, n, 1);
}

static void test_napi(void)
{
    struct ring r;
    struct napi n = {0};

    CHECK(make_ring(&r, 8, 0, 0));
    int first = reg(r.fd, NO_NAPI, &n, 1);
    if (first == -EOPNOTSUPP || first == -EINVAL) {
        drop_ring(&r);
        return; /* a kernel without busy polling */
    }
    CHECK_EQ(first, 0);
    CHECK(n.busy_us == 0 && n.param == 0);
    CHECK_EQ(napi(&r, &n, 0, TRACK_DYNAMIC), 0);
    CHECK(n.busy_us == 0 && n.prefer == 0 && n.param == TRACK_NOTHING);
    CHECK_EQ(napi(&r, &n, ADD_ID, 100000), -EINVAL); /* not in this way of keeping track */
    CHECK(n.busy_us == 50 && n.prefer == 1 && n.param == TRACK_DYNAMIC);
    CHECK_EQ(napi(&r, &n, 0, 2), -EINVAL);
    CHECK_EQ(napi(&r, &n, 3, 0), -EINVAL);
    n = (struct napi){.resv = 1};
    CHECK_EQ(reg(r.fd, NAPI, &n, 1), -EINVAL);
    n = (struct napi){.pad = {1}};
    CHECK_EQ(reg(r.fd, NAPI, &n, 1), -EINVAL);
    CHECK_EQ(napi(&r, &n, 0, TRACK_STATIC), 0);
    CHECK_EQ(napi(&r, &n, ADD_ID, 1), -EINVAL); /* the first numbers are processors' */
    CHECK_EQ(napi(&r, &n, ADD_ID, 100000), 0);
    CHECK_EQ(napi(&r, &n, ADD_ID, 100000), -EEXIST);
    CHECK_EQ(napi(&r, &n, REMOVE_ID, 100001), -ENOENT);
    CHECK_EQ(napi(&r, &n, REMOVE_ID, 100000), 0);
    CHECK_EQ(napi(&r, &n, REMOVE_ID, 100000), -ENOENT);
    CHECK_EQ(reg(r.fd, NAPI, (void *)8, 1), -EFAULT);
    CHECK_EQ(reg(r.fd, NO_NAPI, (void *)8, 1), -EFAULT);
    CHECK_EQ(reg(r.fd, NO_NAPI, NULL, 1), 0);
    CHECK_EQ(napi(&r, &n, 0, TRACK_DYNAMIC), 0);
    CHECK(n.busy_us == 0 && n.param == TRACK_NOTHING);
    drop_ring(&r);
}

static void in_child(void (*test)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        alarm(20);
        test();
        _exit(check_failures > 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

int main(void)
{
    need_uring();
    alarm(30);
    make_fifos();
    /* A task keeps its workers for a while, on Linux: each test has a task of its own. */
    in_child(test_limit);
    in_child(test_two);
    in_child(test_cancel);
    drop_fifos();
    test_processors();
    test_napi();
    return check_done();
}
