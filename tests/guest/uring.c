/*
 * io_uring(7): rings and their layout, operations on files, pipes and names, requests that wait,
 * polls, registered files and buffers, provided buffers, and the end of a process with requests.
 */
#include "uring.h"

static void test_setup(void)
{
    struct params p = {0};
    struct stat st;
    struct ring r;

    CHECK_EQ(RAW(SYS_io_uring_setup, 0, &p), -EINVAL);
    CHECK_EQ(RAW(SYS_io_uring_setup, 40000, &p), -EINVAL);
    CHECK_EQ(RAW(SYS_io_uring_setup, 4, 8), -EFAULT);
    p.resv[1] = 1;
    CHECK_EQ(RAW(SYS_io_uring_setup, 4, &p), -EINVAL);
    p = (struct params){.flags = 1u << 31};
    CHECK_EQ(RAW(SYS_io_uring_setup, 4, &p), -EINVAL);
    p = (struct params){.flags = 8, .cq_entries = 2};
    CHECK_EQ(RAW(SYS_io_uring_setup, 4, &p), -EINVAL);
    CHECK(make_ring(&r, 5, 0, 0));
    CHECK_EQ(r.p.sq_entries, 8);
    CHECK_EQ(r.p.cq_entries, 16);
    CHECK_EQ(*word(&r, r.p.sq.mask), 7);
    CHECK_EQ(*word(&r, r.p.cq.entries), 16);
    CHECK_EQ(r.p.features & 0x7f, 0x7f);
    CHECK_EQ(fcntl(r.fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(r.fd, F_GETFL), O_RDWR);
    CHECK_EQ(fstat(r.fd, &st), 0);
    CHECK_ERRNO(read(r.fd, buffer, 10), EINVAL);
    CHECK_EQ(RAW(SYS_io_uring_enter, r.fd, 0, 0, 0x8000, 0, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_io_uring_enter, 99, 0, 0, 0, 0, 0), -EBADF);
    CHECK_EQ(RAW(SYS_io_uring_enter, 1, 0, 0, 0, 0, 0), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 1000, 0, 0), -EINVAL);
    CHECK_EQ(enter(&r, 0, 0), 0);
    CHECK_EQ(enter(&r, 5, 0), 0); /* nothing is queued */
    struct pollfd pfd = {.fd = r.fd, .events = POLLIN | POLLOUT};
    CHECK_EQ(poll(&pfd, 1, 0), 1);
    CHECK_EQ(pfd.revents, POLLOUT);
    add(&r, NOP, -1, NULL, 0, 0, 77);
    CHECK_EQ(go(&r, 0), 1);
    CHECK_EQ(poll(&pfd, 1, 0), 1);
    CHECK_EQ(pfd.revents, POLLIN | POLLOUT);
    CHECK_EQ(RESULT(&r, 77), 0);
    add(&r, 200, -1, NULL, 0, 0, 78);
    CHECK_EQ(go(&r, 0), 1);
    CHECK_EQ(RESULT(&r, 78), -EINVAL);
    add(&r, NOP, -1, NULL, 0, 0, 79)->flags = 128;
    CHECK_EQ(go(&r, 0), 1);
    CHECK_EQ(RESULT(&r, 79), -EINVAL);
    /* An index that names no entry is dropped. */
    add(&r, NOP, -1, NULL, 0, 0, 80);
    *word(&r, r.p.sq.array + ((*word(&r, r.p.sq.tail) - 1) & 7) * 4) = 1000;
    CHECK_EQ(go(&r, 0), 0);
    CHECK_EQ(*word(&r, r.p.sq.dropped), 1);
    CHECK(none(&r));
    drop_ring(&r);
}

static void test_files(void)
{
    struct iovec iov[2] = {{buffer, 10}, {buffer + 100, 90}};
    char want[200], path[] = "/dev/null";
    struct cqe c;
    struct ring r;
    int fd = open(self, O_RDONLY), p[2];

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(pread(fd, want, 200, 0), 200);
    add(&r, READ, fd, buffer, 100, 50, 1);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), 100);
    CHECK(memcmp(buffer, want + 50, 100) == 0);
    add(&r, READV, fd, iov, 2, 0, 2);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 2), 100);
    CHECK(memcmp(buffer + 100, want + 10, 90) == 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
    add(&r, READ, fd, buffer, 10, -1, 3); /* at the file's own position */
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 3), 10);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 10);
    add(&r, READ, 99, buffer, 10, 0, 4);
    add(&r, WRITE, fd, buffer, 10, 0, 5);
    add(&r, READ, fd, (void *)16, 10, 0, 6);
    CHECK_EQ(go(&r, 3), 3);
    CHECK_EQ(RESULT(&r, 4), -EBADF);
    CHECK_EQ(RESULT(&r, 5), -EBADF);
    CHECK_EQ(RESULT(&r, 6), -EFAULT);
    CHECK_EQ(pipe(p), 0);
    add(&r, WRITE, p[1], "hello", 5, 0, 7);
    add(&r, READ, p[0], buffer, 100, 0, 8);
    CHECK_EQ(go(&r, 2), 2);
    CHECK_EQ(RESULT(&r, 7), 5);
    CHECK_EQ(RESULT(&r, 8), 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
    add(&r, FSYNC, p[0], NULL, 0, 0, 9);
    add(&r, FSYNC, fd, NULL, 0, 0, 10);
    CHECK_EQ(go(&r, 2), 2);
    take(&r, &c);
    int first = c.res;
    take(&r, &c);
    CHECK_EQ(first + c.res, -EINVAL);
    add(&r, OPENAT, AT_FDCWD, path, 0, 0, 11)->op_flags = O_RDWR | O_CLOEXEC;
    CHECK_EQ(go(&r, 1), 1);
    int null = RESULT(&r, 11);
    CHECK(null > 2);
    CHECK_EQ(fcntl(null, F_GETFD), FD_CLOEXEC);
    add(&r, CLOSE, null, NULL, 0, 0, 12);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 12), 0);
    CHECK_EQ(fcntl(null, F_GETFD), -1);
    add(&r, CLOSE, null, NULL, 0, 0, 13);
    add(&r, CLOSE, r.fd, NULL, 0, 0, 14);
    CHECK_EQ(go(&r, 2), 2);
    CHECK_EQ(RESULT(&r, 13), -EBADF);
    CHECK_EQ(RESULT(&r, 14), -EBADF);
    add(&r, OPENAT, AT_FDCWD, "/no/such/file", 0, 0, 15);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 15), -ENOENT);
    struct statx stx = {0};
    add(&r, STATX, AT_FDCWD, path, STATX_BASIC_STATS, (long)&stx, 16);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 16), 0);
    CHECK(S_ISCHR(stx.stx_mode));
    /* From a file into a pipe. */
    struct sqe *s = add(&r, SPLICE, p[1], (void *)10, 50, -1, 17);
    s->file_index = (uint32_t)fd;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 17), 50);
    CHECK_EQ(read(p[0], buffer, 100), 50);
    CHECK(memcmp(buffer, want + 10, 50) == 0);
    close(p[0]);
    signal(SIGPIPE, SIG_IGN);
    add(&r, WRITE, p[1], "hello", 5, 0, 18);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 18), -EPIPE);
    close(p[1]);
    close(fd);
    drop_ring(&r);
}

static void test_waiting(void)
{
    int p[2], flags[2] = {0, ASYNC};
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pipe(p), 0);
        add(&r, READ, p[0], buffer, 100, 0, 1)->flags = (uint8_t)flags[i];
        CHECK_EQ(go(&r, 0), 1);
        usleep(2000);
        CHECK(none(&r));
        CHECK_EQ(write(p[1], "later", 5), 5);
        CHECK_EQ(RESULT(&r, 1), 5);
        /* A full pipe. */
        while (fcntl(p[1], F_SETFL, O_NONBLOCK), write(p[1], buffer, 4096) > 0)
            ;
        fcntl(p[1], F_SETFL, 0);
        add(&r, WRITE, p[1], "more", 4, 0, 2)->flags = (uint8_t)flags[i];
        CHECK_EQ(go(&r, 0), 1);
        usleep(2000);
        CHECK(none(&r));
        CHECK_EQ(read(p[0], buffer, sizeof(buffer)), 65536);
        CHECK_EQ(RESULT(&r, 2), 4);
        CHECK_EQ(read(p[0], buffer, 100), 4);
        /* The end of a pipe wakes its reader. */
        add(&r, READ, p[0], buffer, 100, 0, 3)->flags = (uint8_t)flags[i];
        CHECK_EQ(go(&r, 0), 1);
        close(p[1]);
        CHECK_EQ(RESULT(&r, 3), 0);
        close(p[0]);
    }
    /* RWF_NOWAIT does not wait. */
    CHECK_EQ(pipe(p), 0);
    add(&r, READ, p[0], buffer, 100, 0, 4)->op_flags = RWF_NOWAIT;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 4), -EAGAIN);
    close(p[0]);
    close(p[1]);
    drop_ring(&r);
}

static void test_polls(void)
{
    int e = eventfd(0, EFD_NONBLOCK);
    uint64_t one = 1;
    struct cqe c;
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    add(&r, POLL_ADD, e, NULL, 0, 0, 1)->op_flags = POLLIN | POLLOUT;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), POLLOUT);
    add(&r, POLL_ADD, e, NULL, 0, 0, 2)->op_flags = POLLIN;
    CHECK_EQ(go(&r, 0), 1);
    CHECK(none(&r));
    CHECK_EQ(write(e, &one, 8), 8);
    CHECK_EQ(RESULT(&r, 2), POLLIN);
    CHECK_EQ(read(e, &one, 8), 8);
    /* Removed, and not there. */
    add(&r, POLL_ADD, e, NULL, 0, 0, 3)->op_flags = POLLIN;
    CHECK_EQ(go(&r, 0), 1);
    add(&r, POLL_REMOVE, 0, (void *)3, 0, 0, 4);
    CHECK_EQ(go(&r, 2), 1);
    int sum = 0;
    for (int i = 0; i < 2 && take(&r, &c); i++)
        sum += c.user_data == 3 ? c.res == -ECANCELED : c.user_data == 4 && c.res == 0;
    CHECK_EQ(sum, 2);
    add(&r, POLL_REMOVE, 0, (void *)3, 0, 0, 5);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 5), -ENOENT);
    /* Again and again. */
    add(&r, POLL_ADD, e, NULL, 1, 0, 6)->op_flags = POLLIN;
    CHECK_EQ(go(&r, 0), 1);
    for (int i = 0; i < 3; i++) {
        one = 1;
        CHECK_EQ(write(e, &one, 8), 8);
        CHECK_EQ(enter(&r, 0, 1), 0);
        CHECK(take(&r, &c));
        CHECK_EQ(c.user_data, 6);
        CHECK_EQ(c.res, POLLIN);
        CHECK_EQ(c.flags, 2);
        CHECK_EQ(read(e, &one, 8), 8);
    }
    add(&r, ASYNC_CANCEL, 0, (void *)6, 0, 0, 7);
    CHECK_EQ(go(&r, 2), 1);
    sum = 0;
    for (int i = 0; i < 2 && take(&r, &c); i++)
        sum += c.user_data == 6 ? c.res == -ECANCELED && c.flags == 0 : c.user_data == 7 && !c.res;
    CHECK_EQ(sum, 2);
    close(e);
    drop_ring(&r);
}

static void test_registered(void)
{
    struct iovec iov[2] = {{buffer, 4096}, {NULL, 0}};
    int files[3], fd = open(self, O_RDONLY), p[2], e = eventfd(0, EFD_NONBLOCK);
    uint64_t count;
    struct ring r;

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(pipe(p), 0);
    files[0] = fd;
    files[1] = -1;
    files[2] = p[1];
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 3, 0, 0), -ENXIO);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 2, files, 3), 0);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 2, files, 3), -EBUSY);
    add(&r, READ, 0, buffer, 10, 0, 1)->flags = FIXED_FILE;
    add(&r, READ, 1, buffer, 10, 0, 2)->flags = FIXED_FILE;
    add(&r, READ, 100, buffer, 10, 0, 3)->flags = FIXED_FILE;
    CHECK_EQ(go(&r, 3), 3);
    CHECK_EQ(RESULT(&r, 1), 10);
    CHECK_EQ(RESULT(&r, 2), -EBADF);
    CHECK_EQ(RESULT(&r, 3), -EBADF);
    struct {
        uint32_t offset, resv;
        uint64_t data;
    } update = {1, 0, (uintptr_t)&p[0]};
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 6, &update, 1), 1);
    add(&r, WRITE, 2, "fixed", 5, 0, 4)->flags = FIXED_FILE | LINK;
    add(&r, READ, 1, buffer, 10, 0, 5)->flags = FIXED_FILE;
    CHECK_EQ(go(&r, 2), 2);
    CHECK_EQ(RESULT(&r, 4), 5);
    CHECK_EQ(RESULT(&r, 5), 5);
    /* Opened into a slot, used, and closed there. */
    add(&r, OPENAT, AT_FDCWD, "/dev/zero", 0, 0, 6)->file_index = 2;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 6), 0);
    buffer[0] = 1;
    add(&r, READ, 1, buffer, 10, 0, 7)->flags = FIXED_FILE;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 7), 10);
    CHECK_EQ(buffer[0], 0);
    add(&r, CLOSE, 0, NULL, 0, 0, 8)->file_index = 2;
    add(&r, CLOSE, 0, NULL, 0, 0, 9)->file_index = 2;
    CHECK_EQ(go(&r, 2), 2);
    CHECK_EQ(RESULT(&r, 8), 0);
    CHECK_EQ(RESULT(&r, 9), -EBADF);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 3, 0, 0), 0);

    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 0, iov, 2), 0);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 0, iov, 2), -EBUSY);
    add(&r, READ_FIXED, fd, buffer + 1000, 100, 0, 10);
    add(&r, READ_FIXED, fd, buffer + 4090, 100, 0, 11); /* beyond its end */
    add(&r, READ_FIXED, fd, buffer, 100, 0, 12)->buf_index = 1;
    add(&r, READ_FIXED, fd, buffer, 100, 0, 13)->buf_index = 7;
    CHECK_EQ(go(&r, 4), 4);
    CHECK_EQ(RESULT(&r, 10), 100);
    CHECK_EQ(RESULT(&r, 11), -EFAULT);
    CHECK_EQ(RESULT(&r, 12), -EFAULT);
    CHECK_EQ(RESULT(&r, 13), -EFAULT);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 1, 0, 0), 0);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 1, 0, 0), -ENXIO);

    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 4, &e, 1), 0);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 4, &e, 1), -EBUSY);
    add(&r, NOP, -1, NULL, 0, 0, 14);
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 14), 0);
    CHECK_EQ(read(e, &count, 8), 8);
    CHECK_EQ(count, 1);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 5, 0, 0), 0);
    CHECK_EQ(RAW(SYS_io_uring_register, r.fd, 5, 0, 0), -ENXIO);
    close(fd);
    close(e);
    close(p[0]);
    close(p[1]);
    drop_ring(&r);
}

static void test_provided(void)
{
    struct cqe c;
    struct ring r;
    int p[2];

    CHECK(make_ring(&r, 8, 0, 0));
    CHECK_EQ(pipe(p), 0);
    add(&r, PROVIDE_BUFFERS, 2, buffer, 100, 5, 1)->buf_index = 9;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 1), 0);
    for (int i = 0; i < 2; i++) {
        struct sqe *s = add(&r, READ, p[0], NULL, 100, 0, 2);

        s->flags = SELECT;
        s->buf_index = 9;
        CHECK_EQ(go(&r, 0), 1);
        CHECK_EQ(write(p[1], "picked", 6), 6);
        CHECK_EQ(enter(&r, 0, 1), 0);
        CHECK(take(&r, &c));
        CHECK_EQ(c.res, 6);
        CHECK_EQ(c.flags & 1, 1);
        CHECK_EQ(c.flags >> 16, 5 + i);
        CHECK(memcmp(buffer + i * 100, "picked", 6) == 0);
    }
    CHECK_EQ(write(p[1], "more", 4), 4);
    struct sqe *s = add(&r, READ, p[0], NULL, 100, 0, 3);
    s->flags = SELECT;
    s->buf_index = 9;
    CHECK_EQ(go(&r, 1), 1);
    CHECK_EQ(RESULT(&r, 3), -ENOBUFS);
    close(p[0]);
    close(p[1]);
    drop_ring(&r);
}

/* A process that ends, or executes, lets its requests go, and what they hold. */
static void test_end(void)
{
    int p[2], status;
    struct ring r;

    CHECK_EQ(pipe(p), 0);
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();

        if (child == 0) {
            if (!make_ring(&r, 4, 0, 0))
                _exit(1);
            add(&r, READ, p[0], buffer, 10, 0, 1)->flags = i ? ASYNC : 0;
            add(&r, POLL_ADD, p[0], NULL, 0, 0, 2)->op_flags = POLLIN;
            if (go(&r, 0) != 2)
                _exit(2);
            if (i)
                execl(self, self, "nothing", NULL);
            _exit(9);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(WEXITSTATUS(status), 9);
    }
    /* A child that ends lets its own go, and its parent sees that. */
    CHECK(make_ring(&r, 4, 0, 0));
    add(&r, READ, p[0], buffer, 10, 0, 4);
    CHECK_EQ(go(&r, 0), 1);
    pid_t child = fork();
    if (child == 0) {
        add(&r, POLL_ADD, r.fd, NULL, 0, 0, 5)->op_flags = POLLIN;
        _exit(go(&r, 0) == 1 ? 9 : 1);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(WEXITSTATUS(status), 9);
    CHECK_EQ(RESULT(&r, 5), -ECANCELED);
    CHECK_EQ(write(p[1], "x", 1), 1);
    CHECK_EQ(RESULT(&r, 4), 1);
    drop_ring(&r);
    /* A ring that is closed cancels too. */
    CHECK(make_ring(&r, 4, 0, 0));
    add(&r, READ, p[0], buffer, 10, 0, 1);
    CHECK_EQ(go(&r, 0), 1);
    drop_ring(&r);
    close(p[1]);
    CHECK_EQ(read(p[0], buffer, 1), 0);
    close(p[0]);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return 9;
    self = argv[0];
    need_uring();
    test_setup();
    test_files();
    test_waiting();
    test_polls();
    test_registered();
    test_provided();
    test_end();
    return check_done();
}
