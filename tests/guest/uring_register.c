/*
 * io_uring_register(2): questions without a ring, clocks, cloned buffers, regions of memory that
 * have the arguments of waits, and queues of another size.
 */
#include "uring.h"

enum {
    UNREGISTER_BUFFERS = 1,
    ENABLE = 12,
    BUFFERS2 = 15,
    BUFFERS_UPDATE = 16,
    IOWQ_AFF = 17,
    NAPI = 27,
    NO_NAPI,
    CLOCK,
    CLONE,
    MESSAGE,
    ZCRX,
    RESIZE,
    REGION,
    QUERY,
};

enum { ENTER_WAIT = 1, ENTER_EXT = 8, ENTER_ABS = 32, ENTER_REG = 64, R_DISABLED = 64 };

struct query {
    uint64_t next, data;
    uint32_t op, size;
    int32_t result;
    uint32_t resv[3];
};

struct clone {
    uint32_t from, flags, src_off, dst_off, nr, pad[3];
};

struct region {
    uint64_t addr, size;
    uint32_t flags, id;
    uint64_t offset, resv[4];
};

struct region_reg {
    uint64_t region, flags, resv[2];
};

struct wait_arg {
    int64_t ts[2];
    uint32_t min_wait, flags;
    uint64_t sigmask;
    uint32_t sigmask_size, pad[3];
    uint64_t pad2[2];
};

static long reg(int fd, int op, const void *arg, unsigned count)
{
    return RAW(SYS_io_uring_register, fd, op, arg, count);
}

static void test_query(void)
{
    uint64_t data[9];
    struct query q = {.data = (uintptr_t)data, .size = 48}, second = q;

    memset(data, 0xff, sizeof(data));
    CHECK_EQ(reg(-1, QUERY, &q, 0), 0);
    CHECK_EQ(q.result, 0);
    CHECK_EQ(q.size, 48);
    CHECK((uint32_t)data[0] >= 60 && data[0] >> 32 >= 36); /* operations */
    CHECK((data[1] & 0x400) && (data[2] & 1) && (data[3] & 1) && (data[4] & 0x7f) == 0x7f);
    CHECK_EQ(data[6], UINT64_MAX);
    /* Less of it, and more room than it takes. */
    memset(data, 0xff, sizeof(data));
    q.size = 8;
    CHECK_EQ(reg(-1, QUERY, &q, 0), 0);
    CHECK_EQ(q.size, 8);
    CHECK_EQ(data[1], UINT64_MAX);
    q.size = sizeof(data) - 8;
    CHECK_EQ(reg(-1, QUERY, &q, 0), 0);
    CHECK_EQ(q.size, 48);
    CHECK_EQ(data[7], 0);
    CHECK_EQ(data[8], UINT64_MAX);
    /* Two at a time: one that is not known, whose room is cleared. */
    memset(data, 0xff, sizeof(data));
    q = (struct query){.next = (uintptr_t)&second, .data = (uintptr_t)data, .op = 999, .size = 8};
    second.data = (uintptr_t)(data + 1);
    CHECK_EQ(reg(-1, QUERY, &q, 0), 0);
    CHECK_EQ(q.result, -EOPNOTSUPP);
    CHECK_EQ(q.size, 0);
    CHECK_EQ(data[0], 0);
    CHECK_EQ(second.result, 0);
    CHECK_EQ(second.size, 48);
    /* Of a ring, and what is wrong. */
    q = (struct query){.data = (uintptr_t)data, .size = 16, .resv = {0, 1}};
    CHECK_EQ(reg(-1, QUERY, &q, 0), 0);
    CHECK_EQ(q.result, -EINVAL);
    CHECK_EQ(data[0], 0);
    q = (struct query){.data = (uintptr_t)data};
    CHECK_EQ(reg(-1, QUERY, &q, 0), 0);
    CHECK_EQ(q.result, -EINVAL);
    q = (struct query){.data = 8, .size = 48};
    CHECK_EQ(reg(-1, QUERY, &q, 0), -EFAULT);
    q.op = 999;
    CHECK_EQ(reg(-1, QUERY, &q, 0), -EFAULT);
    q = (struct query){.data = (uintptr_t)data, .size = UINT32_MAX};
    CHECK_EQ(reg(-1, QUERY, &q, 1), -EINVAL);
    CHECK_EQ(reg(-1, QUERY, NULL, 0), 0);
    CHECK_EQ(reg(-1, QUERY, (void *)8, 0), -EFAULT);
    q = (struct query){.next = (uintptr_t)&q, .data = (uintptr_t)data, .size = 48};
    CHECK_EQ(reg(-1, QUERY, &q, 0), -ERANGE);
}

static void test_message(void)
{
    struct sqe s = {.op = 40, .len = 7, .off = 55};
    struct ring r, off;

    CHECK(make_ring(&r, 4, 0, 0));
    CHECK(make_ring(&off, 4, R_DISABLED, 0));
    s.fd = r.fd;
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), 0);
    CHECK_EQ(RESULT(&r, 55), 7);
    CHECK_EQ(reg(r.fd, MESSAGE, &s, 1), -EINVAL);
    CHECK_EQ(reg(-1, MESSAGE, &s, 0), -EINVAL);
    CHECK_EQ(reg(-1, MESSAGE, (void *)8, 1), -EFAULT);
    CHECK_EQ(reg(-1, UNREGISTER_BUFFERS, NULL, 0), -EINVAL);
    s.flags = SKIP;
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), -EINVAL);
    s.flags = 0;
    s.op_flags = 1;
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), -EINVAL);
    s.op_flags = 0;
    s.addr = 1; /* a descriptor: of which ring? */
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), -EINVAL);
    s.addr = 0;
    s.op = NOP;
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), -EINVAL);
    s.op = 40;
    s.fd = STDERR_FILENO;
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), -EBADFD);
    s.fd = 9999;
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), -EBADF);
    s.fd = off.fd;
    CHECK_EQ(reg(-1, MESSAGE, &s, 1), -EBADFD);
    CHECK(none(&r));
    drop_ring(&off);
    drop_ring(&r);
}

static void test_clock(void)
{
    uint32_t clock[4] = {CLOCK_BOOTTIME};
    struct {
        uint64_t sigmask;
        uint32_t size, min_wait;
        uint64_t ts;
    } arg = {0};
    struct timespec ts;
    struct ring r;

    CHECK(make_ring(&r, 4, 0, 0));
    CHECK_EQ(reg(r.fd, CLOCK, clock, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, CLOCK, NULL, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, CLOCK, (void *)8, 0), -EFAULT);
    CHECK_EQ(reg(r.fd, CLOCK, clock, 0), 0);
    clock_gettime(CLOCK_BOOTTIME, &ts);
    ts.tv_nsec += 20000000;
    arg.ts = (uintptr_t)&ts;
    CHECK_EQ(
        RAW(SYS_io_uring_enter, r.fd, 0, 1, ENTER_WAIT | ENTER_EXT | ENTER_ABS, &arg, sizeof(arg)),
        -ETIME);
    clock[0] = CLOCK_MONOTONIC;
    CHECK_EQ(reg(r.fd, CLOCK, clock, 0), 0);
    clock[0] = CLOCK_REALTIME;
    CHECK_EQ(reg(r.fd, CLOCK, clock, 0), -EINVAL);
    clock[0] = CLOCK_MONOTONIC;
    clock[3] = 1;
    CHECK_EQ(reg(r.fd, CLOCK, clock, 0), -EINVAL);
    drop_ring(&r);
}

static long cloned(struct ring *to, struct ring *from, uint32_t flags, uint32_t src, uint32_t dst,
                   uint32_t nr)
{
    struct clone c = {(uint32_t)from->fd, flags, src, dst, nr, {0}};

    return reg(to->fd, CLONE, &c, 1);
}

/* How many places the table has: a hole can be put into each of them. */
static long places(struct ring *r)
{
    long n = 0, res;

    do {
        struct iovec hole = {0};
        struct {
            uint32_t offset, resv;
            uint64_t data, tags;
            uint32_t nr, resv2;
        } u = {.offset = (uint32_t)n, .data = (uintptr_t)&hole, .nr = 1};

        res = reg(r->fd, BUFFERS_UPDATE, &u, sizeof(u));
        n += res == 1;
    } while (res == 1);
    return n;
}

/* Reads "abc" from a pipe into the registered buffer of that number. */
static int use(struct ring *r, uint16_t index, const void *to)
{
    int pipes[2], res;

    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(write(pipes[1], "abc", 3), 3);
    add(r, READ_FIXED, pipes[0], to, 3, -1, 9)->buf_index = index;
    CHECK_EQ(go(r, 1), 1);
    res = RESULT(r, 9);
    close(pipes[0]);
    close(pipes[1]);
    return res;
}

static void test_clone(void)
{
    static char bytes[3][4096];
    struct iovec iov[3] = {{bytes[0], 4096}, {NULL, 0}, {bytes[2], 4096}};
    uint64_t tags[3] = {301, 0, 303};
    struct {
        uint32_t nr, flags;
        uint64_t resv2, data, tags;
    } s = {.nr = 3, .data = (uintptr_t)iov, .tags = (uintptr_t)tags};
    struct clone c = {.from = STDERR_FILENO};
    struct ring a, b;

    CHECK(make_ring(&a, 8, 0, 0));
    CHECK(make_ring(&b, 8, 0, 0));
    CHECK_EQ(cloned(&b, &a, 0, 0, 0, 0), -ENXIO);
    CHECK_EQ(reg(a.fd, BUFFERS2, &s, sizeof(s)), 0);
    CHECK_EQ(reg(b.fd, CLONE, &c, 1), -EOPNOTSUPP);
    CHECK_EQ(reg(b.fd, CLONE, &c, 2), -EINVAL);
    CHECK_EQ(reg(b.fd, CLONE, (void *)8, 1), -EFAULT);
    c.from = 9999;
    CHECK_EQ(reg(b.fd, CLONE, &c, 1), -EBADF);
    c.pad[1] = 1;
    CHECK_EQ(reg(b.fd, CLONE, &c, 1), -EINVAL);
    CHECK_EQ(cloned(&b, &a, 4, 0, 0, 0), -EINVAL);
    CHECK_EQ(cloned(&b, &a, 0, 1, 0, 0), -EINVAL);
    CHECK_EQ(cloned(&b, &a, 0, 0, 1, 0), -EINVAL);
    CHECK_EQ(cloned(&b, &a, 0, 0, 0, 4), -EINVAL);
    CHECK_EQ(cloned(&b, &a, 0, 2, 0, 2), -EOVERFLOW);
    CHECK_EQ(cloned(&b, &a, 0, UINT32_MAX, 0, 2), -EOVERFLOW);
    CHECK_EQ(cloned(&b, &a, 0, 0, UINT32_MAX, 2), -EOVERFLOW);
    CHECK_EQ(cloned(&b, &a, 0, 0, 16383, 2), -EINVAL);
    CHECK_EQ(cloned(&b, &a, 0, 0, 0, 0), 0);
    CHECK_EQ(cloned(&b, &a, 0, 0, 0, 0), -EBUSY);
    CHECK_EQ(use(&b, 0, bytes[0]), 3);
    CHECK_EQ(use(&b, 1, bytes[1]), -EFAULT);
    CHECK_EQ(use(&b, 2, bytes[2]), 3);
    /* They stay when the others go; the tags are the others'. */
    CHECK_EQ(reg(a.fd, UNREGISTER_BUFFERS, NULL, 0), 0);
    CHECK_EQ(RESULT(&a, 303), 0);
    CHECK_EQ(RESULT(&a, 301), 0);
    CHECK_EQ(use(&b, 2, bytes[2]), 3);
    CHECK(none(&b));
    /* Part of a table, into another and into its own. */
    CHECK_EQ(reg(a.fd, BUFFERS2, &s, sizeof(s)), 0);
    CHECK_EQ(cloned(&a, &b, 2, 2, 0, 1), 0);
    CHECK_EQ(RESULT(&a, 301), 0);
    CHECK_EQ(use(&a, 0, bytes[2]), 3);
    CHECK_EQ(use(&a, 2, bytes[2]), 3);
    CHECK_EQ(cloned(&a, &a, 2, 0, 4, 2), 0);
    CHECK(none(&a));
    CHECK_EQ(use(&a, 2, bytes[2]), 3);
    CHECK_EQ(use(&a, 3, bytes[2]), -EFAULT);
    CHECK_EQ(use(&a, 4, bytes[2]), 3);
    CHECK_EQ(use(&a, 5, bytes[2]), -EFAULT);
    CHECK_EQ(places(&a), 6);
    CHECK_EQ(RESULT(&a, 303), 0);
    CHECK(none(&a));
    CHECK_EQ(places(&b), 3);
    drop_ring(&a);
    drop_ring(&b);
}

static long region(struct ring *r, struct region *desc, uint64_t flags)
{
    struct region_reg g = {.region = (uintptr_t)desc, .flags = flags};

    return reg(r->fd, REGION, &g, 1);
}

static long wait_by(struct ring *r, uint64_t offset, size_t size)
{
    return RAW(SYS_io_uring_enter, r->fd, 0, 1, ENTER_WAIT | ENTER_EXT | ENTER_REG, offset, size);
}

/* Waits with arguments that stand in the region. */
static void check_waits(struct ring *r, struct wait_arg *w, size_t size)
{
    CHECK_EQ(wait_by(r, 0, 64), -EBADFD);
    CHECK_EQ(reg(r->fd, ENABLE, NULL, 0), 0);
    w[1] = (struct wait_arg){.ts = {0, 1000000}, .flags = 1};
    CHECK_EQ(wait_by(r, 64, 64), -ETIME);
    w[2] = (struct wait_arg){.flags = 2};
    CHECK_EQ(wait_by(r, 128, 64), -EINVAL);
    CHECK_EQ(wait_by(r, 64, 63), -EINVAL);
    CHECK_EQ(wait_by(r, 66, 64), -EFAULT);
    CHECK_EQ(wait_by(r, size - 56, 64), -EFAULT);
    CHECK_EQ(wait_by(r, (uint64_t)-64, 64), -EFAULT);
    add(r, NOP, -1, NULL, 0, 0, 5);
    CHECK_EQ(go(r, 0), 1);
    CHECK_EQ(wait_by(r, 64, 64), 0);
    CHECK_EQ(RESULT(r, 5), 0);
}

static void test_region(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *own = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct region desc = {.size = 2 * page}, bad;
    struct ring r;
    void *mem;

    CHECK(make_ring(&r, 4, 0, 0));
    CHECK_EQ(reg(r.fd, REGION, NULL, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, REGION, &desc, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, REGION, (void *)8, 1), -EFAULT);
    CHECK_EQ(region(&r, (void *)8, 0), -EFAULT);
    CHECK_EQ(region(&r, &desc, 1), -EINVAL); /* the ring is enabled */
    CHECK_EQ(region(&r, &desc, 2), -EINVAL);
    bad = (struct region){.size = 0};
    CHECK_EQ(region(&r, &bad, 0), -EINVAL);
    bad = (struct region){.size = 100};
    CHECK_EQ(region(&r, &bad, 0), -EINVAL);
    bad = (struct region){.size = page, .flags = 1};
    CHECK_EQ(region(&r, &bad, 0), -EFAULT);
    bad = (struct region){.size = page, .addr = (uintptr_t)own};
    CHECK_EQ(region(&r, &bad, 0), -EFAULT);
    bad = (struct region){.size = page, .flags = 2};
    CHECK_EQ(region(&r, &bad, 0), -EINVAL);
    bad = (struct region){.size = page, .resv = {1}};
    CHECK_EQ(region(&r, &bad, 0), -EINVAL);
    bad = (struct region){.size = page, .id = 1};
    CHECK_EQ(region(&r, &bad, 0), -EINVAL);
    bad = (struct region){.size = UINT64_MAX - page + 1};
    CHECK_EQ(region(&r, &bad, 0), -E2BIG);
    bad = (struct region){.size = page, .flags = 1, .addr = page};
    CHECK_EQ(region(&r, &bad, 0), -EFAULT);
    CHECK_EQ(wait_by(&r, 0, 64), -EFAULT);
    CHECK_EQ(region(&r, &desc, 0), 0);
    CHECK_EQ(wait_by(&r, 0, 64), -EFAULT); /* not for this */
    CHECK_EQ(region(&r, &desc, 0), -EBUSY);
    drop_ring(&r);

    CHECK(make_ring(&r, 4, R_DISABLED, 0));
    desc = (struct region){.size = 2 * page};
    CHECK_EQ(region(&r, &desc, 1), 0);
    mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, (off_t)desc.offset);
    if (CHECK(mem != MAP_FAILED))
        check_waits(&r, mem, 2 * page);
    munmap(mem, 2 * page);
    drop_ring(&r);

    CHECK(make_ring(&r, 4, R_DISABLED, 0));
    desc = (struct region){.size = 2 * page, .flags = 1, .addr = (uintptr_t)own};
    CHECK_EQ(region(&r, &desc, 1), 0);
    check_waits(&r, own, 2 * page);
    drop_ring(&r);
    munmap(own, 2 * page);
}

enum { CQSIZE = 8, SINGLE = 1 << 12, DEFER = 1 << 13, NO_ARRAY = 1 << 16 };

/* Maps the queues again, as the parameters say they are. */
static void map_again(struct ring *r, const struct params *p)
{
    int fd = r->fd;

    munmap(r->sqes, r->p.sq_entries * sizeof(struct sqe));
    munmap(r->mem, r->p.cq.cqes + r->p.cq_entries * 16);
    r->p = *p;
    r->mem = mmap(NULL, p->cq.cqes + p->cq_entries * 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    r->sqes = mmap(NULL, p->sq_entries * sizeof(struct sqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                   0x10000000);
    CHECK(r->mem != MAP_FAILED && (void *)r->sqes != MAP_FAILED);
}

static void fill(struct ring *r, uint64_t name)
{
    uint32_t tail = *word(r, r->p.sq.tail);

    r->sqes[tail & (r->p.sq_entries - 1)] = (struct sqe){.op = NOP, .fd = -1, .user_data = name};
    *word(r, r->p.sq.tail) = tail + 1;
}

static void test_resize(void)
{
    struct params p = {.sq_entries = 16};
    struct ring r;

    CHECK(make_ring(&r, 4, SINGLE | DEFER | NO_ARRAY, 0));
    CHECK_EQ(reg(r.fd, RESIZE, &p, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, RESIZE, NULL, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, RESIZE, (void *)8, 1), -EFAULT);
    p.flags = SINGLE;
    CHECK_EQ(reg(r.fd, RESIZE, &p, 1), -EINVAL);
    p.flags = 0;
    p.sq_entries = 0;
    CHECK_EQ(reg(r.fd, RESIZE, &p, 1), -EINVAL);
    p.sq_entries = 1 << 20;
    CHECK_EQ(reg(r.fd, RESIZE, &p, 1), -EINVAL);
    /* Three completions and two entries move along. */
    for (uint64_t i = 1; i <= 3; i++)
        fill(&r, i);
    CHECK_EQ(enter(&r, 3, 3), 3);
    fill(&r, 4);
    fill(&r, 5);
    p = (struct params){.sq_entries = 1, .flags = CQSIZE, .cq_entries = 8};
    CHECK_EQ(reg(r.fd, RESIZE, &p, 1), -EOVERFLOW);
    p = (struct params){.sq_entries = 2, .flags = CQSIZE, .cq_entries = 2};
    CHECK_EQ(reg(r.fd, RESIZE, &p, 1), -EOVERFLOW);
    p = (struct params){.sq_entries = 13, .flags = CQSIZE, .cq_entries = 60};
    CHECK_EQ(reg(r.fd, RESIZE, &p, 1), 0);
    CHECK_EQ(p.sq_entries, 16);
    CHECK_EQ(p.cq_entries, 64);
    map_again(&r, &p);
    CHECK_EQ(*word(&r, p.sq.entries), 16);
    CHECK_EQ(*word(&r, p.cq.mask), 63);
    CHECK_EQ(enter(&r, 2, 5), 2);
    for (uint64_t i = 1; i <= 5; i++)
        CHECK_EQ(RESULT(&r, i), 0);
    CHECK(none(&r));
    /* All of it can be used, and less again. */
    for (uint64_t i = 0; i < 16; i++)
        fill(&r, 100 + i);
    CHECK_EQ(enter(&r, 16, 16), 16);
    for (uint64_t i = 0; i < 16; i++)
        CHECK_EQ(RESULT(&r, 100 + i), 0);
    p = (struct params){.sq_entries = 2};
    CHECK_EQ(reg(r.fd, RESIZE, &p, 1), 0);
    CHECK_EQ(p.cq_entries, 4);
    map_again(&r, &p);
    fill(&r, 7);
    fill(&r, 8);
    CHECK_EQ(enter(&r, 2, 2), 2);
    CHECK_EQ(RESULT(&r, 7), 0);
    CHECK_EQ(RESULT(&r, 8), 0);
    drop_ring(&r);
}

static void test_workers(void)
{
    uint32_t n[2] = {3, 5};
    struct ring r;

    CHECK(make_ring(&r, 4, 0, 0));
    CHECK_EQ(reg(r.fd, 19, n, 2), 0);
    n[0] = n[1] = 0;
    CHECK_EQ(reg(r.fd, 19, n, 2), 0);
    CHECK_EQ(n[0], 3);
    CHECK_EQ(n[1], 5);
    CHECK_EQ(reg(r.fd, 19, n, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, 19, NULL, 2), -EINVAL);
    CHECK_EQ(reg(r.fd, 19, (void *)8, 2), -EFAULT);
    n[1] = 1u << 31;
    CHECK_EQ(reg(r.fd, 19, n, 2), -EINVAL);
    drop_ring(&r);
}

struct cancel {
    uint64_t name;
    int32_t fd;
    uint32_t flags;
    int64_t timeout[2];
    uint8_t op, pad[7];
    uint64_t pad2[3];
};

enum { SYNC_CANCEL = 24, CANCEL_ALL = 1, CANCEL_FD = 2, CANCEL_ANY = 4, CANCEL_FIXED = 8 };

/* Three reads wait on a pipe. */
static void add_reads(struct ring *r, int fd)
{
    for (uint64_t i = 1; i <= 3; i++)
        add(r, READ, fd, buffer, 4, -1, i);
    CHECK_EQ(go(r, 0), 3);
}

static void check_cancelled(struct ring *r, int count)
{
    struct cqe c;

    for (int i = 0; i < count; i++) {
        if (none(r))
            CHECK_EQ(enter(r, 0, 1), 0);
        CHECK(take(r, &c) && c.res == -ECANCELED);
    }
    CHECK(none(r));
}

static void test_cancel(void)
{
    const struct cancel plain = {.name = 2, .timeout = {-1, -1}};
    struct cancel c = plain;
    struct ring r;
    int p[2];

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(pipe(p), 0);
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, NULL, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, (void *)8, 1), -EFAULT);
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), -ENOENT);
    c.flags = 1u << 6;
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), -EINVAL);
    c = plain;
    c.pad[6] = 1;
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), -EINVAL);
    c = plain;
    c.pad2[2] = 1;
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), -EINVAL);
    c = plain;
    c.flags = CANCEL_FD;
    c.fd = 9999;
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), -EBADF);
    c.flags = CANCEL_FD | CANCEL_FIXED;
    c.fd = -1;
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), -EBADF);
    add_reads(&r, p[0]);
    c = plain;
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), 0);
    CHECK_EQ(RESULT(&r, 2), -ECANCELED);
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1), -ENOENT);
    c.flags = CANCEL_FD | CANCEL_ALL;
    c.fd = p[1];
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1) > 0, false);
    CHECK(none(&r));
    c.fd = p[0];
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1) >= 0, true);
    check_cancelled(&r, 2);
    add_reads(&r, p[0]);
    c = plain;
    c.flags = CANCEL_ANY;
    c.timeout[0] = INT64_MAX; /* longer than there are nanoseconds for */
    c.timeout[1] = INT64_MAX;
    CHECK_EQ(reg(r.fd, SYNC_CANCEL, &c, 1) >= 0, true);
    check_cancelled(&r, 3);
    drop_ring(&r);
    close(p[0]);
    close(p[1]);
}

/* What needs more than a plain ring says so. */
static void test_refused(void)
{
    static uint64_t zero[32];
    struct ring r;

    CHECK(make_ring(&r, 4, 0, 0));
    CHECK_EQ(reg(r.fd, NAPI, NULL, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, NAPI, zero, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, NO_NAPI, zero, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, ZCRX, zero, 0), -EINVAL);
    CHECK_EQ(reg(r.fd, ZCRX, NULL, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, ZCRX, zero, 1), geteuid() == 0 ? -EINVAL : -EPERM);
    CHECK_EQ(reg(r.fd, RESIZE, zero, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, IOWQ_AFF, NULL, 1), -EINVAL);
    CHECK_EQ(reg(r.fd, 36, zero, 1), -EINVAL);
    drop_ring(&r);
}

int main(void)
{
    need_uring();
    test_query();
    test_message();
    test_clock();
    test_clone();
    test_region();
    test_resize();
    test_workers();
    test_cancel();
    test_refused();
    return check_done();
}
