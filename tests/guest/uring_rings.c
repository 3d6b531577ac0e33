/*
 * io_uring: rings that a thread has registered, which it names by a number, and rings whose
 * transfers are to be polled for, where no file can be.
 */
#include "uring.h"

#define REGISTER_RINGS   20
#define UNREGISTER_RINGS 21
#define USE_REGISTERED   (1u << 31)
#define BY_NUMBER        16 /* IORING_ENTER_REGISTERED_RING */
#define ANY              UINT32_MAX
#define REGISTER_PROBE   8
#define SETUP_IOPOLL     1u
#define SETUP_HYBRID     (1u << 17)

struct update {
    uint32_t offset, resv;
    uint64_t data;
};

static long change(int fd, unsigned op, struct update *u, unsigned count)
{
    return RAW(SYS_io_uring_register, fd, op, u, count);
}

static void *in_thread(void *arg)
{
    long result = RAW(SYS_io_uring_enter, 0, 0, 0, BY_NUMBER, 0, 8);

    CHECK(result == -EBADF || result == -EINVAL); /* it has its own table, or none */
    return NULL;
}

static void test_registered(void)
{
    struct update u = {.offset = ANY}, many[3] = {{.offset = ANY}, {.offset = ANY}, {.offset = 3}};
    struct ring r;
    pthread_t thread;
    struct cqe c;
    int pipes[2];

    CHECK(make_ring(&r, 4, 0, 0));
    CHECK_EQ(pipe(pipes), 0);
    u.data = (uint64_t)r.fd;
    CHECK_EQ(RAW(SYS_io_uring_enter, 0, 0, 0, BY_NUMBER, 0, 8) < 0, true);
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 1), 1);
    CHECK_EQ(u.offset, 0);
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 0), -EINVAL);
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 17), -EINVAL);
    CHECK_EQ(change(r.fd, REGISTER_RINGS, (void *)8, 1), -EFAULT);
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 1), -EBUSY); /* 0 is taken */
    u = (struct update){.offset = 16, .data = (uint64_t)r.fd};
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 1), -EINVAL);
    u = (struct update){.offset = ANY, .data = (uint64_t)pipes[0]};
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 1), -EOPNOTSUPP);
    u = (struct update){.offset = ANY, .data = 9999};
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 1), -EBADF);
    u = (struct update){.offset = ANY, .resv = 1, .data = (uint64_t)r.fd};
    CHECK_EQ(change(r.fd, REGISTER_RINGS, &u, 1), -EINVAL);
    for (int i = 0; i < 3; i++)
        many[i].data = (uint64_t)r.fd;
    CHECK_EQ(change(r.fd, REGISTER_RINGS, many, 3), 3);
    CHECK_EQ(many[0].offset, 1);
    CHECK_EQ(many[1].offset, 2);
    CHECK_EQ(many[2].offset, 3);
    add(&r, NOP, -1, NULL, 0, 0, 77);
    CHECK_EQ(RAW(SYS_io_uring_enter, 1, 1, 1, BY_NUMBER | 1, 0, 8), 1);
    CHECK(take(&r, &c) && c.user_data == 77 && c.res == 0);
    CHECK_EQ(RAW(SYS_io_uring_enter, 5, 0, 0, BY_NUMBER, 0, 8), -EBADF);
    CHECK_EQ(RAW(SYS_io_uring_enter, 16, 0, 0, BY_NUMBER, 0, 8), -EINVAL);
    CHECK_EQ(pthread_create(&thread, NULL, in_thread, NULL), 0);
    pthread_join(thread, NULL);
    /* It outlives its descriptor. */
    close(r.fd);
    add(&r, NOP, -1, NULL, 0, 0, 78);
    CHECK_EQ(RAW(SYS_io_uring_enter, 2, 1, 1, BY_NUMBER | 1, 0, 8), 1);
    CHECK(take(&r, &c) && c.user_data == 78);
    for (int i = 0; i < 3; i++)
        many[i].data = 0;
    CHECK_EQ(change(0, UNREGISTER_RINGS | USE_REGISTERED, many, 3), 3);
    CHECK_EQ(RAW(SYS_io_uring_enter, 2, 0, 0, BY_NUMBER, 0, 8), -EBADF);
    u = (struct update){.offset = 0, .data = 1};
    CHECK_EQ(change(0, UNREGISTER_RINGS | USE_REGISTERED, &u, 1), -EINVAL);
    u.data = 0;
    CHECK_EQ(change(0, UNREGISTER_RINGS | USE_REGISTERED, &u, 1), 1);
    CHECK_EQ(change(0, UNREGISTER_RINGS | USE_REGISTERED, &u, 1), -EBADF);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_polled(void)
{
    struct params p = {.flags = SETUP_HYBRID};
    int file = open("/proc/self/exe", O_RDONLY);
    struct ring r;
    struct cqe c;

    CHECK_EQ(RAW(SYS_io_uring_setup, 4, &p), -EINVAL);
    CHECK(make_ring(&r, 4, SETUP_IOPOLL, 0));
    add(&r, NOP, -1, NULL, 0, 0, 1);
    add(&r, READ, file, buffer, 16, 0, 2); /* not opened for direct transfers */
    add(&r, FSYNC, file, NULL, 0, 0, 3);
    CHECK_EQ(go(&r, 0), 3);
    CHECK(take(&r, &c) && c.user_data == 1 && c.res == 0);
    CHECK(take(&r, &c) && c.user_data == 2 && c.res == -EOPNOTSUPP);
    CHECK(take(&r, &c) && c.user_data == 3 && c.res == -EINVAL);
    drop_ring(&r);
    close(file);
}

int main(void)
{
    need_uring();
    test_registered();
    test_polled();
    return check_done();
}
