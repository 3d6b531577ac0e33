/*
 * As whom io_uring works: whoever submits, also where a thread of the kernel does it; and with
 * IORING_REGISTER_PERSONALITY whoever that was registered as.
 */
#include "uring.h"

#define REGISTER_PERSONALITY 9

static char file_name[64];

static int open_by(struct ring *r, int flags, uint16_t personality)
{
    struct sqe *s = add(r, OPENAT, AT_FDCWD, file_name, 0, 0, 1);
    struct cqe cqe = {0};

    s->flags = (uint8_t)flags;
    s->personality = personality;
    CHECK_EQ(enter(r, 1, 1), 1);
    CHECK(take(r, &cqe));
    if (cqe.res >= 0)
        close(cqe.res);
    return cqe.res < 0 ? cqe.res : 0;
}

static void as_nobody(void)
{
    struct ring r;

    CHECK_EQ(syscall(SYS_setresgid, 65534, 65534, 65534), 0);
    CHECK_EQ(syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    if (!make_ring(&r, 4, 0, 0))
        return;
    CHECK_ERRNO(open(file_name, O_RDONLY), EACCES);
    CHECK_EQ(open_by(&r, 0, 0), -EACCES);
    CHECK_EQ(open_by(&r, ASYNC, 0), -EACCES);
    drop_ring(&r);
}

/* The ring was made, and root's identity registered, before. */
static void with_personality(struct ring *r, int root)
{
    CHECK_EQ(syscall(SYS_setresgid, 65534, 65534, 65534), 0);
    CHECK_EQ(syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    CHECK_EQ(open_by(r, 0, 0), -EACCES);
    CHECK_EQ(open_by(r, 0, (uint16_t)root), 0);
    CHECK_EQ(open_by(r, ASYNC, (uint16_t)root), 0);
    CHECK_EQ(open_by(r, 0, 0), -EACCES);
    CHECK_EQ(open_by(r, ASYNC, 0), -EACCES);
    CHECK_ERRNO(open(file_name, O_RDONLY), EACCES);
    CHECK_EQ(open_by(r, 0, 77), -EINVAL);
}

static void in_child(void (*fn)(void *arg), void *arg)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        check_failures = 0;
        fn(arg);
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void plain(void *arg)
{
    as_nobody();
}

static void registered(void *arg)
{
    struct ring r;
    int root;

    if (!make_ring(&r, 4, 0, 0))
        return;
    root = (int)syscall(SYS_io_uring_register, r.fd, REGISTER_PERSONALITY, NULL, 0);
    CHECK(root > 0);
    with_personality(&r, root);
    drop_ring(&r);
}

int main(void)
{
    int fd;

    if (getuid() != 0)
        check_skip("to become somebody else takes privileges");
    need_uring();
    snprintf(file_name, sizeof(file_name), "/tmp/uring_identity.%d", getpid());
    fd = open(file_name, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    close(fd);
    in_child(plain, NULL);
    in_child(registered, NULL);
    CHECK_EQ(unlink(file_name), 0);
    return check_done();
}
