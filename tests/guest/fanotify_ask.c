/*
 * fanotify: what may be asked for by whom, and groups that are asked first: answers, and questions
 * that nobody answers. On a tmpfs of its own. As root.
 */
#include <sys/ioctl.h>

#include "fanotify.h"

static void test_errors(void)
{
    int fd = group(FAN_CLASS_NOTIF, O_RDONLY), ids = group(FAN_REPORT_FID, O_RDONLY), plain;
    char small[20];

    note("errors");
    CHECK_ERRNO(fanotify_init(0x80000000, O_RDONLY), EINVAL);
    CHECK_ERRNO(fanotify_init(FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT, O_RDONLY), EINVAL);
    CHECK_ERRNO(fanotify_init(FAN_CLASS_NOTIF, O_ACCMODE), EINVAL);
    CHECK_ERRNO(fanotify_init(FAN_CLASS_NOTIF, O_CREAT), EINVAL);
    CHECK_ERRNO(fanotify_init(FAN_CLASS_CONTENT | FAN_REPORT_FID, O_RDONLY), EINVAL);
    CHECK_ERRNO(fanotify_init(FAN_REPORT_NAME, O_RDONLY), EINVAL);
    CHECK_ERRNO(fanotify_init(FAN_REPORT_DFID_NAME | FAN_REPORT_TARGET_FID, O_RDONLY), EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, 0, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "dir"),
                EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD | 0x8000, FAN_OPEN, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, 0x80000000, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, 1ULL << 40, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "none"), ENOENT);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, 99, "dir"), EBADF);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, 99, NULL), EBADF);
    CHECK_ERRNO(fanotify_mark(99, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "dir"), EBADF);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_OPEN, AT_FDCWD, "dir/file"),
                ENOTDIR);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "dir"), ENOENT);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_FLUSH | FAN_MARK_ONLYDIR, 0, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(ids, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CREATE, AT_FDCWD, "dir"),
                EINVAL);
    CHECK_ERRNO(fanotify_mark(ids, FAN_MARK_ADD, FAN_RENAME, AT_FDCWD, "dir"), EINVAL);
    CHECK_ERRNO(fanotify_mark(ids, FAN_MARK_ADD | FAN_MARK_IGNORE, FAN_OPEN, AT_FDCWD, "dir"),
                EISDIR);
    CHECK_ERRNO(fanotify_mark(ids, FAN_MARK_ADD | FAN_MARK_IGNORE | FAN_MARK_MOUNT, FAN_OPEN,
                              AT_FDCWD, "dir"),
                EINVAL);
    CHECK_ERRNO(fanotify_mark(ids, FAN_MARK_ADD | FAN_MARK_EVICTABLE | FAN_MARK_MOUNT, FAN_OPEN,
                              AT_FDCWD, "dir"),
                EINVAL);
    plain = open("dir/file", O_RDONLY);
    CHECK_ERRNO(fanotify_mark(plain, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "dir"), EINVAL);
    CHECK_EQ(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, plain, NULL), 0);
    close(plain);
    close(open("dir/file", O_RDONLY));
    CHECK_ERRNO(read(fd, small, sizeof(small)), EINVAL);
    int pending = 0;
    CHECK_EQ(ioctl(fd, FIONREAD, &pending), 0);
    CHECK_EQ(pending, FAN_EVENT_METADATA_LEN);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK_EQ(poll(&p, 1, 0), 1);
    show(fd);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK_ERRNO(write(fd, small, 4), EINVAL);
    CHECK_EQ(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_EVICTABLE, FAN_OPEN, AT_FDCWD, "other"), 0);
    CHECK_EQ(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "other"), 0);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_EVICTABLE, FAN_OPEN, AT_FDCWD, "other"),
                EEXIST);
    CHECK_EQ(fanotify_mark(fd, FAN_MARK_FLUSH, 0, AT_FDCWD, "dir"), 0);
    CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "dir/file"), ENOENT);
    close(fd);
    close(ids);
}

static void test_unprivileged(void)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        int fd;

        if (setgid(1000) || setuid(1000))
            _exit(100);
        CHECK_ERRNO(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY), EPERM);
        CHECK_ERRNO(fanotify_init(FAN_CLASS_CONTENT, O_RDONLY), EPERM);
        CHECK_ERRNO(fanotify_init(FAN_REPORT_FID | FAN_UNLIMITED_QUEUE, O_RDONLY), EPERM);
        CHECK_ERRNO(fanotify_init(FAN_REPORT_FID | FAN_REPORT_TID, O_RDONLY), EPERM);
        fd = fanotify_init(FAN_REPORT_FID | FAN_NONBLOCK, O_RDONLY);
        CHECK(fd >= 0);
        CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, AT_FDCWD, "dir"),
                    EPERM);
        CHECK_ERRNO(
            fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "dir"),
            EPERM);
        CHECK_EQ(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "open"), 0);
        CHECK_ERRNO(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "closed"), EACCES);
        close(open("open", O_RDONLY));
        show(fd);
        pid_t other = fork();
        if (other == 0) {
            close(open("open", O_RDONLY));
            _exit(0);
        }
        waitpid(other, &status, 0);
        show(fd);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

/* ---- questions ------------------------------------------------------------------------------ */

static void answer(int fd, unsigned response)
{
    char buf[4096] __attribute__((aligned(8)));
    struct fanotify_event_metadata *e = (void *)buf;
    struct fanotify_response r;
    struct pollfd p = {fd, POLLIN, 0};
    ssize_t n;

    CHECK_EQ(poll(&p, 1, 10000), 1);
    n = read(fd, buf, FAN_EVENT_METADATA_LEN);
    CHECK_EQ(n, FAN_EVENT_METADATA_LEN);
    note("  asked %llx, answered %x", (unsigned long long)e->mask, response);
    r = (struct fanotify_response){.fd = 9999, .response = response};
    CHECK_ERRNO(write(fd, &r, sizeof(r)), ENOENT);
    r = (struct fanotify_response){.fd = e->fd, .response = 7};
    CHECK_ERRNO(write(fd, &r, sizeof(r)), EINVAL);
    r.response = response;
    CHECK_EQ(write(fd, &r, sizeof(r)), (long)sizeof(r));
    close(e->fd);
}

static void on_signal(int sig)
{
}

static void test_questions(void)
{
    static const struct {
        const char *name;
        unsigned flags;
        uint64_t mask;
        const char *path;
        int what, asked;
        unsigned answers[3];
    } cases[] = {
        {"open", FAN_MARK_ADD, FAN_OPEN_PERM, "dir/file", 0, 1, {FAN_ALLOW}},
        {"open", FAN_MARK_ADD, FAN_OPEN_PERM, "dir/file", 0, 1, {FAN_DENY}},
        {"child", FAN_MARK_ADD, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, "dir", 0, 1, {FAN_DENY}},
        {"mount",
         FAN_MARK_ADD | FAN_MARK_MOUNT,
         FAN_OPEN_PERM | FAN_ACCESS_PERM,
         ".",
         1,
         2,
         {FAN_ALLOW, FAN_ALLOW}},
        {"mount",
         FAN_MARK_ADD | FAN_MARK_MOUNT,
         FAN_OPEN_PERM | FAN_ACCESS_PERM,
         ".",
         1,
         2,
         {FAN_ALLOW, FAN_DENY}},
        {"super", FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_EXEC_PERM, ".", 2, 1, {FAN_DENY}},
        {"exec",
         FAN_MARK_ADD,
         FAN_OPEN_EXEC_PERM | FAN_OPEN_PERM,
         "prog",
         2,
         2,
         {FAN_ALLOW, FAN_ALLOW}},
        {"made", FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, ".", 3, 1, {FAN_DENY}},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int fd = group(i % 2 ? FAN_CLASS_CONTENT : FAN_CLASS_PRE_CONTENT, O_RDONLY);
        pid_t child;

        note("question, %s", cases[i].name);
        mark(fd, cases[i].flags, cases[i].mask, cases[i].path);
        child = start(cases[i].what);
        for (int k = 0; k < cases[i].asked; k++)
            answer(fd, cases[i].answers[k]);
        note("  ends with %d", finish(child));
        close(fd);
    }
    unlink("dir/made");
}

static void test_unanswered(void)
{
    struct pollfd p;
    pid_t child;
    int fd = group(FAN_CLASS_CONTENT, O_RDONLY);
    char buf[100] __attribute__((aligned(8)));

    mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, "dir/file");
    /* Who asks may be killed. */
    child = start(0);
    p = (struct pollfd){fd, POLLIN, 0};
    CHECK_EQ(poll(&p, 1, 10000), 1);
    kill(child, SIGKILL);
    note("killed: %d", finish(child));
    show(fd);
    child = start(0);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK_EQ(read(fd, buf, sizeof(buf)), FAN_EVENT_METADATA_LEN);
    kill(child, SIGKILL);
    note("killed: %d", finish(child));
    struct fanotify_response r = {((struct fanotify_event_metadata *)buf)->fd, FAN_ALLOW};
    CHECK_EQ(write(fd, &r, sizeof(r)), (long)sizeof(r));
    close(r.fd);
    /* Other signals wait. */
    signal(SIGUSR1, on_signal);
    child = start(0);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    kill(child, SIGUSR1);
    answer(fd, FAN_ALLOW);
    note("signalled: %d", finish(child));
    /* Nobody is there any more. */
    child = start(0);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    close(fd);
    note("closed: %d", finish(child));
}

int main(void)
{
    if (!begin())
        return CHECK_SKIPPED;
    test_errors();
    test_unprivileged();
    test_questions();
    test_unanswered();
    return end();
}
