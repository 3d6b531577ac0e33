/* Message queues as files (mq_overview(7)): mount -t mqueue. As root. */
#include <dirent.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "check.h"

static char top[64];

static char *at(const char *name)
{
    static char text[4][400];
    static unsigned next;
    char *path = text[next++ % 4];

    snprintf(path, sizeof(text[0]), "%s/%s", top, name);
    return path;
}

static mqd_t make_queue(const char *name, int flags)
{
    struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 16};

    return mq_open(name, O_RDWR | O_CREAT | O_EXCL | flags, 0640, &attr);
}

/* How many names there are; -1: "." or ".." is missing, or something twice. */
static int count_names(void)
{
    int names = 0, dots = 0;
    struct dirent *entry;
    DIR *dir = opendir(top);

    while (dir && (entry = readdir(dir))) {
        bool dot = entry->d_name[0] == '.';

        CHECK_EQ(entry->d_type, dot ? DT_DIR : DT_REG);
        dots += dot;
        names += !dot;
    }
    if (dir)
        closedir(dir);
    return dots == 2 ? names : -1;
}

static void test_root(void)
{
    struct statfs fs;
    struct stat st;

    CHECK(statfs(top, &fs) == 0 && fs.f_type == 0x19800202 && fs.f_namelen == 255);
    CHECK_EQ(stat(top, &st), 0);
    CHECK_EQ(st.st_mode, S_IFDIR | 01777);
    CHECK_EQ(st.st_nlink, 2);
    CHECK_EQ(count_names(), 0);
    CHECK_ERRNO(mkdir(at("folder"), 0755), EPERM);
    CHECK_ERRNO(symlink("x", at("link")), EPERM);
    CHECK_ERRNO(mknod(at("fifo"), S_IFIFO | 0644, 0), EPERM);
    CHECK_ERRNO(open(at("none"), O_RDONLY), ENOENT);
}

/* One that mq_open(3) has made. */
static void test_queue(void)
{
    char text[100] = "", got[16];
    struct pollfd p = {.events = POLLIN | POLLOUT};
    struct mq_attr attr;
    struct stat st, by_queue;
    mqd_t q = make_queue("/one", 0);
    int fd = open(at("one"), O_RDWR);
    unsigned priority;

    CHECK(fd >= 0 && q >= 0);
    CHECK(stat(at("one"), &st) == 0 && fstat(q, &by_queue) == 0);
    CHECK(st.st_ino == by_queue.st_ino && st.st_dev == by_queue.st_dev);
    CHECK_EQ(st.st_mode, S_IFREG | 0640);
    CHECK_EQ(st.st_size, 80);
    CHECK_EQ(mq_send(q, "hello", 5, 3), 0);
    CHECK_EQ(read(fd, text, sizeof(text)), 60);
    CHECK(strncmp(text, "QSIZE:5 ", 8) == 0 && text[59] == '\n');
    CHECK_ERRNO(write(fd, "x", 1), EINVAL);
    /* By either descriptor. */
    p.fd = fd;
    CHECK_EQ(poll(&p, 1, 0), 1);
    CHECK_EQ(p.revents, POLLIN | POLLOUT);
    CHECK_EQ(mq_receive(fd, got, sizeof(got), &priority), 5);
    CHECK(memcmp(got, "hello", 5) == 0 && priority == 3);
    CHECK(mq_getattr(fd, &attr) == 0 && attr.mq_maxmsg == 4 && attr.mq_msgsize == 16);
    close(fd);
    CHECK_EQ(chmod(at("one"), 0604), 0);
    CHECK_EQ(chown(at("one"), 1000, 1001), 0);
    CHECK(fstat(q, &st) == 0 && st.st_mode == (S_IFREG | 0604) && st.st_uid == 1000);
    CHECK_EQ(st.st_gid, 1001);
    CHECK_ERRNO(link(at("one"), at("two")), EPERM);
    CHECK_ERRNO(rename(at("one"), at("two")), EPERM);
    CHECK_EQ(count_names(), 1);
    CHECK_EQ(unlink(at("one")), 0);
    CHECK(fstat(q, &st) == 0 && st.st_nlink == 0);
    CHECK_ERRNO(mq_open("/one", O_RDWR), ENOENT);
    CHECK_EQ(mq_send(q, "still", 5, 0), 0);
    mq_close(q);
}

/* One that open(2) has made. */
static void test_made(void)
{
    char name[300];
    struct mq_attr attr;
    int fd = open(at("made"), O_RDWR | O_CREAT | O_EXCL, 0600);
    mqd_t q = mq_open("/made", O_WRONLY);

    CHECK(fd >= 0 && q >= 0);
    CHECK(mq_getattr(fd, &attr) == 0 && attr.mq_maxmsg == 10 && attr.mq_msgsize == 8192);
    CHECK_EQ(mq_send(q, "x", 1, 0), 0);
    CHECK(mq_getattr(fd, &attr) == 0 && attr.mq_curmsgs == 1);
    CHECK_ERRNO(open(at("made"), O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
    CHECK(make_queue("/made", 0) < 0 && errno == EEXIST);
    CHECK_EQ(mq_unlink("/made"), 0);
    CHECK_ERRNO(access(at("made"), F_OK), ENOENT);
    close(fd);
    mq_close(q);
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    close(open(at(name), O_RDWR | O_CREAT, 0600));
    CHECK_EQ(access(at(name), F_OK), 0);
    CHECK_EQ(unlink(at(name)), 0);
}

static void test_many(void)
{
    char name[32];

    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "/q%d", i);
        mq_close(make_queue(name, 0));
    }
    CHECK_EQ(count_names(), 100);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "/q%d", i);
        CHECK_EQ(i % 2 ? mq_unlink(name) : unlink(at(name + 1)), 0);
    }
    CHECK_EQ(count_names(), 0);
}

/* Others may make queues here, and remove none but their own. */
static void test_others(void)
{
    int status;
    pid_t pid;

    mq_close(make_queue("/roots", 0));
    pid = fork();
    if (pid == 0) {
        CHECK(setgid(1000) == 0 && setuid(1000) == 0);
        CHECK_ERRNO(unlink(at("roots")), EPERM);
        CHECK_ERRNO(open(at("roots"), O_RDONLY), EACCES);
        CHECK(open(at("own"), O_RDWR | O_CREAT, 0600) >= 0);
        CHECK_EQ(unlink(at("own")), 0);
        CHECK_ERRNO(mount("mqueue", top, "mqueue", 0, NULL), EPERM);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    /* The same one again, wherever it is mounted. */
    CHECK_ERRNO(mount("mqueue", top, "mqueue", 0, NULL), EBUSY);
    CHECK_EQ(umount(top), 0);
    CHECK_EQ(mount("mqueue", top, "mqueue", 0, NULL), 0);
    CHECK_EQ(count_names(), 1);
    CHECK_EQ(mq_unlink("/roots"), 0);
}

/* What is mounted outlasts the namespace, but takes nothing new. */
static void test_outlasts(void)
{
    int status, fd;
    pid_t pid = fork();

    if (pid == 0) {
        CHECK_EQ(unshare(CLONE_NEWIPC), 0);
        mq_close(make_queue("/left", 0));
        CHECK_EQ(mount("mqueue", top, "mqueue", 0, NULL), 0);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK_EQ(access(at("left"), F_OK), 0);
    fd = open(at("left"), O_RDWR);
    CHECK_EQ(mq_send(fd, "x", 1, 0), 0);
    CHECK_ERRNO(open(at("new"), O_CREAT | O_RDWR, 0600), EACCES);
    CHECK_ERRNO(mq_open("/left", O_RDWR), ENOENT); /* of the own namespace */
    CHECK_ERRNO(umount(top), EBUSY);
    close(fd);
    CHECK_EQ(umount(top), 0);
    CHECK_ERRNO(access(at("left"), F_OK), ENOENT);
}

int main(void)
{
    if (getuid() != 0 || unshare(CLONE_NEWNS | CLONE_NEWIPC) < 0)
        return CHECK_SKIPPED;
    snprintf(top, sizeof(top), "/tmp/mqueue-%d", getpid());
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mkdir(top, 0755), 0);
    if (mount("mqueue", top, "mqueue", 0, NULL) < 0 && errno == ENODEV) {
        rmdir(top);
        return CHECK_SKIPPED;
    }
    test_root();
    test_queue();
    test_made();
    test_many();
    test_others();
    test_outlasts();
    CHECK_EQ(umount(top), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
