/*
 * fanotify: what groups of each kind hear and in which form, marks and their ignore masks, answers
 * to questions, limits, errors. On a tmpfs of its own. As root.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/prctl.h>
#include <signal.h>

#include "check.h"

static char folder[100];

/* Things whose ids are told: by name. */
static struct known {
    char name[32];
    struct {
        struct file_handle head;
        unsigned char room[MAX_HANDLE_SZ];
    } h;
} known[32];
static size_t known_count;

static void learn(const char *path, const char *name)
{
    struct known *k = &known[known_count++];
    int mount_id;

    snprintf(k->name, sizeof(k->name), "%s", name);
    memset(&k->h, 0, sizeof(k->h));
    k->h.head.handle_bytes = MAX_HANDLE_SZ;
    CHECK_EQ(name_to_handle_at(AT_FDCWD, path, &k->h.head, &mount_id, 0), 0);
}

static const char *who(const void *handle)
{
    const struct file_handle *h = handle;

    for (size_t i = known_count; i-- > 0;) {
        if (known[i].h.head.handle_bytes == h->handle_bytes &&
            known[i].h.head.handle_type == h->handle_type &&
            memcmp((const char *)&known[i].h + 8, (const char *)handle + 8, h->handle_bytes) == 0)
            return known[i].name;
    }
    return "?";
}

static void show_info(char *line, const struct fanotify_event_metadata *e)
{
    size_t at = e->metadata_len;

    while (at < e->event_len) {
        const struct fanotify_event_info_header *head = (const void *)((const char *)e + at);
        const char *body = (const char *)head + 12;

        if (head->info_type == FAN_EVENT_INFO_TYPE_PIDFD) {
            int fd = *(const int *)((const char *)head + 4);

            sprintf(line + strlen(line), " pidfd %s",
                    fd >= 0    ? "yes"
                    : fd == -1 ? "none"
                               : "error");
            close(fd);
        } else {
            const struct file_handle *h = (const void *)body;
            size_t used = 12 + 8 + h->handle_bytes;

            sprintf(line + strlen(line), " type %d %s", head->info_type, who(body));
            if (head->len > used)
                sprintf(line + strlen(line), "/%s", body + 8 + h->handle_bytes);
        }
        at += head->len;
    }
}

static void show(int fd)
{
    static char buf[65536] __attribute__((aligned(8)));
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        const struct fanotify_event_metadata *e = (const void *)buf;

        for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
            char line[900], path[300] = "";

            sprintf(line, "  %llx", (unsigned long long)e->mask);
            CHECK_EQ(e->vers, FANOTIFY_METADATA_VERSION);
            if (e->pid != getpid())
                sprintf(line + strlen(line), " pid %s", e->pid ? "other" : "0");
            if (e->fd >= 0) {
                char name[40];
                ssize_t length;

                snprintf(name, sizeof(name), "/proc/self/fd/%d", e->fd);
                length = readlink(name, path, sizeof(path) - 1);
                path[length > 0 ? length : 0] = 0;
                sprintf(line + strlen(line), " fd %s flags %x",
                        strncmp(path, folder, strlen(folder)) == 0 ? path + strlen(folder) : path,
                        fcntl(e->fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
                close(e->fd);
            } else if (e->fd != FAN_NOFD) {
                sprintf(line + strlen(line), " fd error %d", e->fd);
            }
            show_info(line, e);
            note("%s", line);
        }
    }
    if (n < 0 && errno != EAGAIN)
        note("  read: errno %d", errno);
}

static void make(const char *path)
{
    close(open(path, O_CREAT | O_WRONLY, 0644));
}

static void touch_all(void)
{
    char c;
    int fd;

    fd = open("dir/file", O_RDWR);
    CHECK_EQ(read(fd, &c, 1), 0);
    CHECK_EQ(write(fd, "x", 1), 1);
    close(fd);
    fd = open("dir", O_RDONLY | O_DIRECTORY);
    close(fd);
    chmod("dir/file", 0600);
    truncate("dir/file", 0);
}

static void change_names(void)
{
    make("dir/new");
    mkdir("dir/sub", 0755);
    rename("dir/new", "dir/newer");
    rename("dir/newer", "other/newest");
    unlink("other/newest");
    rmdir("dir/sub");
    link("dir/file", "dir/second");
    unlink("dir/second");
    symlink("a", "dir/sym");
    unlink("dir/sym");
}

static int group(unsigned flags, unsigned event_flags)
{
    int fd = fanotify_init(flags | FAN_NONBLOCK | FAN_CLOEXEC, event_flags);

    if (fd < 0)
        note("fanotify_init %x: errno %d", flags, errno);
    return fd;
}

static void mark(int fd, unsigned flags, uint64_t mask, const char *path)
{
    if (fanotify_mark(fd, flags, mask, AT_FDCWD, path) < 0)
        note("mark %x %llx %s: errno %d", flags, (unsigned long long)mask, path, errno);
}

#define BASIC  (FAN_ACCESS | FAN_MODIFY | FAN_OPEN | FAN_CLOSE)
#define NAMES  (FAN_CREATE | FAN_DELETE | FAN_MOVE)
#define SELVES (FAN_ATTRIB | FAN_DELETE_SELF | FAN_MOVE_SELF)

static void test_descriptors(void)
{
    static const struct {
        const char *name;
        unsigned flags;
        uint64_t mask;
        const char *path;
    } cases[] = {
        {"file", FAN_MARK_ADD, BASIC, "dir/file"},
        {"file of parent", FAN_MARK_ADD, BASIC | FAN_EVENT_ON_CHILD, "dir"},
        {"dir", FAN_MARK_ADD, BASIC | FAN_ONDIR, "dir"},
        {"dir and parent", FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD | FAN_ONDIR, "dir"},
        {"mount", FAN_MARK_ADD | FAN_MARK_MOUNT, BASIC, "."},
        {"mount with dirs", FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN | FAN_ONDIR, "dir/file"},
        {"super", FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE | FAN_CLOSE_NOWRITE, "."},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int fd = group(FAN_CLASS_NOTIF, O_RDONLY | O_NONBLOCK);

        note("descriptors, %s", cases[i].name);
        mark(fd, cases[i].flags, cases[i].mask, cases[i].path);
        touch_all();
        show(fd);
        close(fd);
    }
}

static void test_ids(void)
{
    static const unsigned modes[] = {
        FAN_REPORT_FID,
        FAN_REPORT_DIR_FID,
        FAN_REPORT_DIR_FID | FAN_REPORT_FID,
        FAN_REPORT_DFID_NAME,
        FAN_REPORT_DFID_NAME | FAN_REPORT_FID,
        FAN_REPORT_DFID_NAME_TARGET,
    };
    static const struct {
        const char *name;
        unsigned flags;
        const char *path;
        uint64_t more;
    } places[] = {
        {"inode of file", FAN_MARK_ADD, "dir/file", 0},
        {"dir", FAN_MARK_ADD, "dir", FAN_EVENT_ON_CHILD | FAN_ONDIR | NAMES},
        {"dir alone", FAN_MARK_ADD, "dir", NAMES},
        {"super", FAN_MARK_ADD | FAN_MARK_FILESYSTEM, ".", FAN_ONDIR | NAMES},
    };

    for (size_t m = 0; m < ARRAY_COUNT(modes); m++) {
        for (size_t p = 0; p < ARRAY_COUNT(places); p++) {
            int fd = group(FAN_CLASS_NOTIF | modes[m], O_RDONLY);

            note("ids %x, %s", modes[m], places[p].name);
            mark(fd, places[p].flags,
                 FAN_OPEN | FAN_CLOSE_WRITE | FAN_MODIFY | SELVES | places[p].more, places[p].path);
            touch_all();
            show(fd);
            change_names();
            show(fd);
            close(fd);
        }
    }
}

static void test_rename(void)
{
    static const char *const watched[] = {"dir", "other"};

    for (size_t i = 0; i < 4; i++) {
        int fd = group(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME, O_RDONLY);

        note("renames %zu", i);
        if (i < 2)
            mark(fd, FAN_MARK_ADD, FAN_RENAME | FAN_ONDIR, watched[i]);
        else if (i == 2)
            mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_RENAME, ".");
        else {
            mark(fd, FAN_MARK_ADD, FAN_RENAME, watched[0]);
            mark(fd, FAN_MARK_ADD, FAN_RENAME | FAN_MOVED_TO, watched[1]);
        }
        make("dir/a");
        mkdir("dir/d", 0755);
        rename("dir/a", "dir/b");
        rename("dir/b", "other/c");
        rename("dir/d", "other/e");
        unlink("other/c");
        rmdir("other/e");
        show(fd);
        close(fd);
    }
}

static void test_ignored(void)
{
    static const unsigned kinds[] = {FAN_MARK_IGNORED_MASK,
                                     FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
                                     FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY};

    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        int fd = group(FAN_CLASS_NOTIF, O_RDONLY);

        note("ignored %x", kinds[i]);
        mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN | FAN_CLOSE_WRITE | FAN_ONDIR, ".");
        mark(fd, FAN_MARK_ADD | kinds[i], FAN_OPEN, "dir/file");
        close(open("dir/file", O_RDONLY));
        close(open("other", O_RDONLY));
        show(fd);
        int w = open("dir/file", O_WRONLY);
        CHECK_EQ(write(w, "x", 1), 1);
        close(w);
        show(fd);
        close(open("dir/file", O_RDONLY));
        show(fd);
        mark(fd, FAN_MARK_REMOVE | kinds[i], FAN_OPEN, "dir/file");
        close(open("dir/file", O_RDONLY));
        show(fd);
        mark(fd, FAN_MARK_ADD | kinds[i], FAN_OPEN | FAN_EVENT_ON_CHILD, "dir");
        close(open("dir/file", O_RDONLY));
        close(open("dir", O_RDONLY));
        show(fd);
        close(fd);
    }
}

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

static void test_overflow(void)
{
    int fd = group(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME, O_RDONLY), got = 0, over = 0;
    static char buf[65536] __attribute__((aligned(8)));
    ssize_t n;

    mark(fd, FAN_MARK_ADD, FAN_CREATE | FAN_DELETE, "other");
    for (int i = 0; i < 9000; i++) {
        char name[40];

        snprintf(name, sizeof(name), "other/f%d", i);
        mknod(name, S_IFREG | 0600, 0);
        link(name, "other/l");
        unlink("other/l");
        unlink(name);
        if (i % 2)
            continue;
        snprintf(name, sizeof(name), "other/g%d", i);
        mknod(name, S_IFREG | 0600, 0);
        unlink(name);
    }
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        const struct fanotify_event_metadata *e = (const void *)buf;

        for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
            got += e->mask != FAN_Q_OVERFLOW;
            over += e->mask == FAN_Q_OVERFLOW;
        }
    }
    note("overflow: %d and %d", got > 8000 && got <= 16384, over);
    close(fd);
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

static int child_does(int what)
{
    char c;
    int fd;

    switch (what) {
    case 0:
        fd = open("dir/file", O_RDONLY);
        return fd < 0 ? errno : 0;
    case 1:
        fd = open("dir/file", O_RDONLY);
        if (fd < 0)
            return errno;
        return read(fd, &c, 1) < 0 ? errno : 0;
    case 2:
        execl("prog", "prog", NULL);
        return errno;
    default:
        fd = open("dir/made", O_CREAT | O_EXCL | O_WRONLY, 0600);
        return fd < 0 ? errno : 0;
    }
}

static pid_t start(int what)
{
    pid_t child = fork();

    if (child == 0) {
        close_range(3, ~0U, 0);
        _exit(child_does(what));
    }
    return child;
}

static int finish(pid_t child)
{
    int status;

    CHECK_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
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

static void test_exec(void)
{
    int fd = group(FAN_CLASS_NOTIF, O_RDONLY);

    note("exec");
    mark(fd, FAN_MARK_ADD, FAN_OPEN_EXEC | FAN_OPEN, "prog");
    close(open("prog", O_RDONLY));
    note("  ends with %d", finish(start(2)));
    show(fd);
    close(fd);
}

static void test_pidfd(void)
{
    int fd = group(FAN_CLASS_NOTIF | FAN_REPORT_PIDFD, O_RDONLY);
    pid_t child;

    note("pidfd");
    mark(fd, FAN_MARK_ADD, FAN_OPEN, "dir/file");
    close(open("dir/file", O_RDONLY));
    show(fd);
    child = start(0);
    finish(child);
    show(fd);
    close(fd);
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

/* A mark goes with its object. */
static void test_gone(void)
{
    int fd = group(FAN_REPORT_FID, O_RDONLY), held;

    note("gone");
    make("dir/mortal");
    learn("dir/mortal", "mortal");
    mark(fd, FAN_MARK_ADD, FAN_DELETE_SELF | FAN_ATTRIB | FAN_CLOSE, "dir/mortal");
    held = open("dir/mortal", O_RDONLY);
    unlink("dir/mortal");
    show(fd);
    close(held);
    show(fd);
    close(fd);
}

int main(void)
{
    snprintf(folder, sizeof(folder), "/tmp/kvmsentry-fanotify-XXXXXX");
    umask(022);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return CHECK_SKIPPED;
    CHECK(mkdtemp(folder) && chmod(folder, 0755) == 0);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL) + chdir(folder), 0);
    chmod(".", 0755);
    CHECK_EQ(mkdir("dir", 0755) + mkdir("other", 0755), 0);
    make("dir/file");
    make("open");
    make("closed");
    chmod("closed", 0600);
    int fd = open("prog", O_CREAT | O_WRONLY, 0755), self = open("/proc/self/exe", O_RDONLY);
    (void)self;
    CHECK_EQ(write(fd, "#!/bin/true\n", 12), 12);
    close(fd);
    close(self);
    learn(".", "root");
    learn("dir", "dir");
    learn("other", "other");
    learn("dir/file", "file");
    learn("open", "open");
    test_descriptors();
    test_ids();
    test_rename();
    test_ignored();
    test_errors();
    test_overflow();
    test_questions();
    test_unanswered();
    test_exec();
    test_pidfd();
    test_unprivileged();
    test_gone();
    CHECK_EQ(chdir("/") + umount2(folder, MNT_DETACH) + rmdir(folder), 0);
    return check_done();
}
