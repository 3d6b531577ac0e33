/* io_uring: tags, which tell by a completion that a registered file or buffer is used no more. */
#include "uring.h"

enum {
    UNREGISTER_BUFFERS = 1,
    UNREGISTER_FILES = 3,
    FILES2 = 13,
    FILES_UPDATE2,
    BUFFERS2,
    BUFFERS_UPDATE,
};

struct set {
    uint32_t nr, flags;
    uint64_t resv2, data, tags;
};

struct update {
    uint32_t offset, resv;
    uint64_t data, tags;
    uint32_t nr, resv2;
};

static long set(struct ring *r, int op, const void *data, const uint64_t *tags, uint32_t nr,
                uint32_t flags)
{
    struct set s = {.nr = nr, .flags = flags, .data = (uintptr_t)data, .tags = (uintptr_t)tags};

    return RAW(SYS_io_uring_register, r->fd, op, &s, sizeof(s));
}

static long update(struct ring *r, int op, uint32_t at, const void *data, const uint64_t *tags,
                   uint32_t nr)
{
    struct update u = {.offset = at, .data = (uintptr_t)data, .tags = (uintptr_t)tags, .nr = nr};

    return RAW(SYS_io_uring_register, r->fd, op, &u, sizeof(u));
}

static long end(struct ring *r, int op)
{
    return RAW(SYS_io_uring_register, r->fd, op, 0, 0);
}

/* Completions of these names, in any order. */
static void both(struct ring *r, uint64_t a, uint64_t b)
{
    struct cqe c = {0}, d = {0};

    enter(r, 0, 2);
    CHECK(take(r, &c) && take(r, &d));
    CHECK((c.user_data == a && d.user_data == b) || (c.user_data == b && d.user_data == a));
    CHECK_EQ(c.res, 0);
    CHECK_EQ(c.flags, 0);
    CHECK_EQ(d.res, 0);
}

static void test_files(void)
{
    uint64_t tags[3] = {101, 0, 103}, one = 104;
    int pipes[2], fds[3], hole = -1, skip = -2, bad = 9999;
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(pipe(pipes), 0);
    fds[0] = pipes[0];
    fds[1] = pipes[1];
    fds[2] = pipes[1];
    /* A table that is refused tells nothing of what was in it for a moment. */
    fds[2] = bad;
    CHECK_EQ(set(&r, FILES2, fds, tags, 3, 0), -EBADF);
    fds[2] = -1; /* nothing, with a tag */
    CHECK_EQ(set(&r, FILES2, fds, tags, 3, 0), -EINVAL);
    fds[2] = pipes[1];
    CHECK_EQ(set(&r, FILES2, fds, (void *)8, 3, 0), -EFAULT);
    CHECK_EQ(set(&r, FILES2, NULL, tags, 3, 1), -EINVAL);
    CHECK_EQ(set(&r, FILES2, fds, tags, 3, 1), -EINVAL);
    CHECK_EQ(set(&r, FILES2, NULL, tags, 3, 0), -EINVAL);
    CHECK_EQ(set(&r, FILES2, fds, tags, 3, 2), -EINVAL);
    CHECK(none(&r));
    CHECK_EQ(set(&r, FILES2, fds, tags, 3, 0), 0);
    CHECK_EQ(set(&r, FILES2, fds, tags, 3, 0), -EBUSY);
    /* Another takes its place. */
    CHECK_EQ(update(&r, FILES_UPDATE2, 2, &pipes[0], &one, 1), 1);
    CHECK_EQ(RESULT(&r, 103), 0);
    CHECK_EQ(update(&r, FILES_UPDATE2, 2, &skip, &one, 1), -EINVAL);
    CHECK_EQ(update(&r, FILES_UPDATE2, 2, &hole, &one, 1), -EINVAL);
    CHECK_EQ(update(&r, FILES_UPDATE2, 2, &hole, (void *)8, 1), -EFAULT);
    CHECK_EQ(update(&r, FILES_UPDATE2, 3, &hole, NULL, 1), -EINVAL);
    CHECK_EQ(update(&r, FILES_UPDATE2, UINT32_MAX, &hole, NULL, 1), -EOVERFLOW);
    CHECK(none(&r));
    CHECK_EQ(update(&r, FILES_UPDATE2, 2, &skip, NULL, 1), 1);
    CHECK(none(&r));
    /* What was there goes, though nothing comes. */
    CHECK_EQ(update(&r, FILES_UPDATE2, 2, &bad, NULL, 1), -EBADF);
    CHECK_EQ(RESULT(&r, 104), 0);
    CHECK(none(&r));
    /* While a request uses it, it is there. */
    add(&r, READ, 0, buffer, 4, -1, 1)->flags = FIXED_FILE;
    CHECK_EQ(go(&r, 0), 1);
    CHECK_EQ(end(&r, UNREGISTER_FILES), 0);
    CHECK_EQ(end(&r, UNREGISTER_FILES), -ENXIO);
    CHECK(none(&r));
    CHECK_EQ(write(pipes[1], "abc", 3), 3);
    CHECK_EQ(RESULT(&r, 1), 3);
    CHECK_EQ(RESULT(&r, 101), 0);
    CHECK(none(&r));
    /* By the operations, too. */
    CHECK_EQ(set(&r, FILES2, NULL, NULL, 2, 1), 0);
    CHECK_EQ(update(&r, FILES_UPDATE2, 0, pipes, tags, 1), 1);
    add(&r, CLOSE, 0, NULL, 0, 0, 2)->file_index = 1;
    CHECK_EQ(go(&r, 0), 1);
    both(&r, 2, 101);
    drop_ring(&r);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_buffers(void)
{
    static char bytes[3][4096];
    struct iovec iov[3] = {{bytes[0], 4096}, {bytes[1], 4096}, {bytes[2], 4096}}, hole = {0};
    struct iovec bad = {(void *)8, 16};
    uint64_t tags[3] = {201, 202, 0}, one = 204;
    int pipes[2];
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(pipe(pipes), 0);
    iov[2] = bad;
    CHECK_EQ(set(&r, BUFFERS2, iov, tags, 3, 0), -EFAULT);
    iov[2] = (struct iovec){bytes[2], 4096};
    CHECK_EQ(set(&r, BUFFERS2, iov, (void *)8, 3, 0), -EFAULT);
    CHECK_EQ(set(&r, BUFFERS2, NULL, tags, 3, 0), -EINVAL);
    CHECK_EQ(set(&r, BUFFERS2, NULL, tags, 3, 1), -EINVAL);
    CHECK(none(&r));
    CHECK_EQ(set(&r, BUFFERS2, iov, tags, 3, 0), 0);
    CHECK_EQ(update(&r, BUFFERS_UPDATE, 1, &hole, &one, 1), -EINVAL);
    CHECK_EQ(update(&r, BUFFERS_UPDATE, 1, &bad, &one, 1), -EFAULT);
    CHECK_EQ(update(&r, BUFFERS_UPDATE, 3, &hole, NULL, 1), -EINVAL);
    CHECK(none(&r));
    CHECK_EQ(update(&r, BUFFERS_UPDATE, 1, &hole, NULL, 1), 1);
    CHECK_EQ(RESULT(&r, 202), 0);
    CHECK_EQ(update(&r, BUFFERS_UPDATE, 1, &iov[1], &one, 1), 1);
    CHECK_EQ(update(&r, BUFFERS_UPDATE, 1, &iov[1], NULL, 1), 1);
    CHECK_EQ(RESULT(&r, 204), 0);
    add(&r, READ_FIXED, pipes[0], bytes[0], 4, -1, 1);
    CHECK_EQ(go(&r, 0), 1);
    CHECK_EQ(end(&r, UNREGISTER_BUFFERS), 0);
    CHECK_EQ(end(&r, UNREGISTER_BUFFERS), -ENXIO);
    CHECK(none(&r));
    CHECK_EQ(write(pipes[1], "abc", 3), 3);
    CHECK_EQ(RESULT(&r, 1), 3);
    CHECK_EQ(RESULT(&r, 201), 0);
    CHECK(none(&r));
    CHECK(memcmp(bytes[0], "abc", 3) == 0);
    drop_ring(&r);
    close(pipes[0]);
    close(pipes[1]);
}

/* More of them than the queue holds are kept until there is room. */
static void test_many(void)
{
    uint64_t tags[64];
    int fds[64];
    struct ring r;
    struct cqe c;

    CHECK(make_ring(&r, 4, 0, 0));
    for (int i = 0; i < 64; i++) {
        tags[i] = 1000 + (uint64_t)i;
        fds[i] = STDERR_FILENO;
    }
    CHECK_EQ(set(&r, FILES2, fds, tags, 64, 0), 0);
    CHECK_EQ(end(&r, UNREGISTER_FILES), 0);
    for (int i = 63; i >= 0; i--) { /* the last one first */
        if (!take(&r, &c)) {
            CHECK_EQ(enter(&r, 0, 1), 0);
            CHECK(take(&r, &c));
        }
        CHECK_EQ(c.user_data, 1000 + i);
    }
    CHECK(none(&r));
    /* A ring that ends with tags in it. */
    CHECK_EQ(set(&r, FILES2, fds, tags, 64, 0), 0);
    drop_ring(&r);
}

int main(void)
{
    need_uring();
    test_files();
    test_buffers();
    test_many();
    return check_done();
}
