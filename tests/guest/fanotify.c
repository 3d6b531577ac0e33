/*
 * fanotify: what groups of each kind hear and in which form, ignore masks, limits. On a tmpfs of
 * its own. As root.
 */
#include "fanotify.h"

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
    if (!begin())
        return CHECK_SKIPPED;
    test_descriptors();
    test_ids();
    test_rename();
    test_ignored();
    test_overflow();
    test_exec();
    test_pidfd();
    test_gone();
    return end();
}
