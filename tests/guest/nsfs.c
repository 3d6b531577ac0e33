/*
 * Files on namespaces: bound to a place they keep their namespace, and mount namespaces do not come
 * to keep themselves (mount_namespaces(7)). name_to_handle_at(2) and open_by_handle_at(2). As root.
 */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "check.h"

#define NSFS_ROOT     (-10003)
#define NSFS_MAGIC_   0x6e736673
#define FID           0x200
#define CONNECTABLE   2
#define GET_ID        _IOR(NSIO, 13, uint64_t)
#define CHAIN         300
#define NR_OPEN_TREE  428
#define NR_MOVE_MOUNT 429
#define TREE_CLONE    1
#define FROM_EMPTY    4

struct handle {
    struct file_handle head;
    union {
        struct {
            uint64_t id;
            uint32_t type, inum;
        } ns;
        unsigned char room[MAX_HANDLE_SZ];
    };
};

static char top[64];
static char first[64]; /* the mount namespace that this began in */

static char *at(const char *name)
{
    static char text[4][128];
    static unsigned next;
    char *path = text[next++ % 4];

    snprintf(path, sizeof(text[0]), "%s/%s", top, name);
    return path;
}

static void make(const char *name)
{
    close(open(at(name), O_CREAT | O_WRONLY, 0644));
}

static char *ns_of(pid_t pid, const char *kind)
{
    static char text[64];

    snprintf(text, sizeof(text), "/proc/%d/ns/%s", pid, kind);
    return text;
}

static ino_t ino_of(const char *path)
{
    struct stat st = {0};

    CHECK_EQ(stat(path, &st), 0);
    return st.st_ino;
}

static int bind_to(const char *from, const char *to)
{
    return mount(from, to, NULL, MS_BIND, NULL);
}

/* A child that has left these namespaces and waits; ended by end(). */
static pid_t start(int flags)
{
    int ready[2];
    pid_t pid;
    char c;

    CHECK_EQ(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        close(ready[0]);
        c = unshare(flags) == 0 && (!(flags & CLONE_NEWUTS) || sethostname("kept", 4) == 0);
        if (write(ready[1], &c, 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    CHECK(read(ready[0], &c, 1) == 1 && c == 1);
    close(ready[0]);
    return pid;
}

static void end(pid_t pid)
{
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static bool mounted(const char *place, const char *root)
{
    char line[1024], want[256];
    FILE *f = fopen("/proc/self/mountinfo", "r");
    bool found = false;

    snprintf(want, sizeof(want), " 0:4 %s %s rw - nsfs nsfs rw\n", root, place);
    while (f && !found && fgets(line, sizeof(line), f))
        found = strstr(line, want) != NULL;
    if (f)
        fclose(f);
    return found;
}

static void test_kept(void)
{
    char root[64], link[64], host[16] = "";
    pid_t pid = start(CLONE_NEWUTS), inside;
    ino_t ino = ino_of(ns_of(pid, "uts"));
    struct statfs fs;
    int fd, status;
    ssize_t n;

    make("uts");
    CHECK_EQ(bind_to(ns_of(pid, "uts"), at("uts")), 0);
    end(pid);
    snprintf(root, sizeof(root), "uts:[%lu]", (unsigned long)ino);
    CHECK(mounted(at("uts"), root));
    CHECK_EQ(ino_of(at("uts")), ino);
    CHECK(statfs(at("uts"), &fs) == 0 && fs.f_type == NSFS_MAGIC_);
    CHECK_ERRNO(open(at("uts"), O_RDWR), EPERM);
    CHECK_ERRNO(chmod(at("uts"), 0600), EPERM);
    CHECK_ERRNO(unlink(at("uts")), EBUSY);
    fd = open(at("uts"), O_RDONLY);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, root, sizeof(root) - 1);
    CHECK(n > 0 && (root[n] = '\0', strcmp(root, at("uts")) == 0));
    CHECK_EQ(ioctl(fd, NS_GET_NSTYPE), CLONE_NEWUTS);
    inside = fork();
    if (inside == 0) {
        CHECK_EQ(setns(fd, 0), 0);
        CHECK(gethostname(host, sizeof(host)) == 0 && strcmp(host, "kept") == 0);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK(waitpid(inside, &status, 0) == inside && status == 0);
    close(fd);
    CHECK_EQ(umount(at("uts")), 0);
}

/* Not mounted: a name of its own. */
static void test_names(void)
{
    char want[64], link[64], text[64] = "";
    int fd = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
    ssize_t n;

    snprintf(want, sizeof(want), "ipc:[%lu]", (unsigned long)ino_of("/proc/self/ns/ipc"));
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, text, sizeof(text) - 1);
    CHECK(n > 0 && strcmp(text, want) == 0);
    CHECK_EQ(fcntl(fd, F_GETFL), 0100000);
    close(fd);
    fd = open("/proc/self/ns/ipc", O_PATH);
    CHECK_EQ(fcntl(fd, F_GETFL), O_PATH);
    CHECK_ERRNO(setns(fd, 0), EBADF);
    close(fd);
    CHECK_ERRNO(open("/proc/self/ns/ipc", O_WRONLY), EPERM);
    CHECK_ERRNO(open("/proc/self/ns/ipc", O_DIRECTORY), ENOTDIR);
    CHECK_ERRNO(bind_to("/proc/self/ns/ipc", top), ENOTDIR);
}

/* ---- mount namespaces ----------------------------------------------------------------------- */

static void test_circles(void)
{
    pid_t pid = start(CLONE_NEWNS), other;
    int tree, status;

    make("mnt");
    CHECK_ERRNO(bind_to("/proc/self/ns/mnt", at("mnt")), EINVAL);
    CHECK_ERRNO(bind_to(first, at("mnt")), EINVAL);
    CHECK_EQ(bind_to(ns_of(pid, "mnt"), at("mnt")), 0);
    /* Copies of the tree do without it... */
    other = fork();
    if (other == 0) {
        CHECK_EQ(unshare(CLONE_NEWNS), 0);
        CHECK_EQ(umount(at("mnt")) < 0 && errno == EINVAL, 1);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK(waitpid(other, &status, 0) == other && status == 0);
    /* ...and it cannot be brought where it would keep itself. */
    tree = (int)syscall(NR_OPEN_TREE, AT_FDCWD, at("mnt"), TREE_CLONE);
    CHECK(tree >= 0);
    other = fork();
    if (other == 0) {
        int inside = open(at("mnt"), O_RDONLY);

        CHECK_EQ(setns(inside, CLONE_NEWNS), 0);
        CHECK_ERRNO(syscall(NR_MOVE_MOUNT, tree, "", AT_FDCWD, at("mnt"), FROM_EMPTY), ELOOP);
        CHECK_ERRNO(bind_to("/proc/self/ns/mnt", at("mnt")), EINVAL);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK(waitpid(other, &status, 0) == other && status == 0);
    close(tree);
    end(pid);
    CHECK_EQ(umount(at("mnt")), 0);
    /* Where mounts are shared, one could not be in all of them. */
    pid = start(CLONE_NEWNS);
    CHECK_EQ(mount(NULL, top, NULL, MS_SHARED, NULL), 0);
    other = start(CLONE_NEWNS);
    CHECK_ERRNO(bind_to(ns_of(pid, "mnt"), at("mnt")), EINVAL);
    CHECK_EQ(mount(NULL, top, NULL, MS_PRIVATE, NULL), 0);
    end(other);
    end(pid);
}

/* Each keeps the next one; all go with the first. */
static void test_chain(void)
{
    int start = open("/proc/self/ns/mnt", O_RDONLY), old = dup(start), new = -1;
    char link[64];

    for (int i = 0; i < CHAIN; i++) {
        CHECK_EQ(unshare(CLONE_NEWNS), 0);
        new = open("/proc/self/ns/mnt", O_RDONLY);
        CHECK_EQ(setns(old, CLONE_NEWNS), 0);
        snprintf(link, sizeof(link), "/proc/self/fd/%d", new);
        CHECK_EQ(bind_to(link, at("mnt")), 0);
        CHECK_EQ(setns(new, CLONE_NEWNS), 0);
        close(old);
        old = new;
    }
    CHECK_EQ(setns(start, CLONE_NEWNS), 0);
    close(new);
    close(start);
    CHECK_EQ(umount(at("mnt")), 0);
}

/* ---- handles -------------------------------------------------------------------------------- */

static int encode(const char *path, struct handle *h, int flags)
{
    int mount_id = 0, result;

    memset(h, 0, sizeof(*h));
    h->head.handle_bytes = MAX_HANDLE_SZ;
    result = name_to_handle_at(AT_FDCWD, path, &h->head, &mount_id, AT_SYMLINK_FOLLOW | flags);
    CHECK(result < 0 || mount_id > 0);
    return result;
}

/* 0, or why not. */
static int try(int fd, const struct handle *h, int flags)
{
    int got = open_by_handle_at(fd, (void *)&h->head, flags), err = got < 0 ? errno : 0;

    close(got);
    return err;
}

static void test_handle(const char *path, int type)
{
    struct handle h, other;
    int fd = open(path, O_RDONLY), got;
    uint64_t id = 0;
    struct stat st;

    if (encode(path, &h, 0) < 0 && errno == EOPNOTSUPP) {
        close(fd);
        return; /* before Linux 6.18 */
    }
    CHECK_EQ(h.head.handle_bytes, 16);
    CHECK_EQ(h.head.handle_type, 0xf1);
    CHECK_EQ(h.ns.type, (uint32_t)type);
    CHECK(fstat(fd, &st) == 0 && h.ns.inum == st.st_ino);
    CHECK(ioctl(fd, GET_ID, &id) == 0 && id == h.ns.id && id != 0);
    CHECK(encode(path, &other, FID) == 0 && memcmp(&h, &other, sizeof(h)) == 0);
    CHECK_ERRNO(encode(path, &other, CONNECTABLE), EOPNOTSUPP);
    got = open_by_handle_at(NSFS_ROOT, &h.head, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(ino_of(path), st.st_ino);
    CHECK(got >= 0 && fstat(got, &st) == 0 && st.st_ino == h.ns.inum);
    CHECK_EQ(ioctl(got, NS_GET_NSTYPE), type);
    close(got);
    CHECK_EQ(try(fd, &h, O_PATH), 0);
    CHECK_EQ(try(fd, &h, O_RDWR), EPERM);
    other = h;
    other.ns.type = other.ns.inum = 0;
    other.ns.inum = h.ns.inum;
    CHECK_EQ(try(fd, &other, O_RDONLY), ESTALE);
    other = h;
    other.ns.id = 0;
    CHECK_EQ(try(fd, &other, O_RDONLY), ESTALE);
    other = h;
    other.head.handle_bytes = 8;
    CHECK_EQ(try(fd, &other, O_RDONLY), ESTALE);
    other = h;
    other.head.handle_bytes = 20;
    CHECK_EQ(try(fd, &other, O_RDONLY), 0);
    other = h;
    other.head.handle_type = 1;
    CHECK_EQ(try(fd, &other, O_RDONLY), ESTALE);
    close(fd);
}

/* Of one that has ended, and of one that an ordinary user is not in. */
static void test_strange(void)
{
    pid_t pid = start(CLONE_NEWUTS), user;
    struct handle h, own;
    int status;

    if (encode(ns_of(pid, "uts"), &h, 0) == 0) {
        CHECK_EQ(try(NSFS_ROOT, &h, O_RDONLY), 0);
        CHECK_EQ(encode("/proc/self/ns/uts", &own, 0), 0);
        user = fork();
        if (user == 0) {
            CHECK(setgid(1000) == 0 && setuid(1000) == 0);
            CHECK_EQ(try(NSFS_ROOT, &h, O_RDONLY), ESTALE);
            CHECK_EQ(try(NSFS_ROOT, &own, O_RDONLY), 0);
            _exit(atomic_load(&check_failures) > 0);
        }
        CHECK(waitpid(user, &status, 0) == user && status == 0);
    }
    end(pid);
    if (h.head.handle_type == 0xf1)
        CHECK_EQ(try(NSFS_ROOT, &h, O_RDONLY), ESTALE);
}

int main(void)
{
    snprintf(first, sizeof(first), "/proc/self/fd/%d", open("/proc/self/ns/mnt", O_RDONLY));
    cpu_set_t one;

    /* Linux gives each processor numbers of its own, and what is made later is told by them. */
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    if (getuid() != 0 || unshare(CLONE_NEWNS | CLONE_NEWUTS) < 0)
        return CHECK_SKIPPED;
    snprintf(top, sizeof(top), "/tmp/nsfs-%d", getpid());
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mkdir(top, 0755), 0);
    CHECK_EQ(mount("none", top, "tmpfs", 0, NULL), 0);
    test_kept();
    test_names();
    test_circles();
    test_chain();
    test_handle("/proc/self/ns/uts", CLONE_NEWUTS);
    test_handle("/proc/self/ns/mnt", CLONE_NEWNS);
    test_handle("/proc/self/ns/net", CLONE_NEWNET);
    test_handle("/proc/self/ns/user", CLONE_NEWUSER);
    test_handle("/proc/self/ns/pid", CLONE_NEWPID);
    test_strange();
    CHECK_EQ(umount(top), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
