/*
 * open_by_handle_at(2) without power over the machine: who could mount the file system, or bind the
 * place that he names, opens the directories that he could walk to. And handles that say where
 * their object has to lie. As root.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define CONNECTABLE 2

struct handle {
    struct file_handle head;
    unsigned char room[MAX_HANDLE_SZ];
};

static struct handle encode(const char *path)
{
    struct handle h = {.head.handle_bytes = MAX_HANDLE_SZ};
    int mount_id;

    CHECK_EQ(name_to_handle_at(AT_FDCWD, path, &h.head, &mount_id, 0), 0);
    return h;
}

/* 0, or why not; named by the directory `root`. */
static int decode(const char *root, const struct handle *h, int flags)
{
    int fd = open(root, O_RDONLY), got = open_by_handle_at(fd, (void *)&h->head, flags);
    int err = got < 0 ? errno : 0;

    CHECK(fd >= 0);
    close(fd);
    close(got);
    return err;
}

static void drop(int cap)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    CHECK_EQ(syscall(SYS_capget, &head, data), 0);
    data[0].effective &= ~(1U << cap);
    CHECK_EQ(syscall(SYS_capset, &head, data), 0);
}

static void make(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0644);

    CHECK(fd >= 0);
    close(fd);
}

#define DIR (O_RDONLY | O_DIRECTORY)

static struct handle top, sub, file, foreign, below_foreign, covered;

/* In a mount namespace of one's own, a file system of somebody else's. */
static void test_bound(int outer)
{
    CHECK_ERRNO(open_by_handle_at(outer, &sub.head, DIR), EPERM);
    CHECK_EQ(decode("dir", &sub, DIR), 0);
    CHECK_EQ(decode("dir", &sub, O_RDONLY), EPERM);
    CHECK_EQ(decode("dir", &file, O_RDONLY), EPERM);
    CHECK_EQ(decode("dir", &file, DIR), ESTALE);
    CHECK_EQ(decode("dir/sub", &sub, DIR), 0);
    CHECK_EQ(decode("foreign", &sub, DIR), ESTALE);
    CHECK_EQ(decode("dir", &top, DIR), ESTALE);
    CHECK_EQ(decode("foreign", &foreign, DIR), ESTALE);
    CHECK_EQ(decode("foreign", &below_foreign, DIR), ESTALE);
    CHECK_EQ(decode("foreign/below", &below_foreign, DIR), 0);
    /* Something locked lies there, which may hide what is below. */
    CHECK_EQ(decode(".", &sub, DIR), EPERM);
    CHECK_EQ(decode("covered", &covered, DIR), ESTALE);
}

static void test_own(void)
{
    struct handle a, b;

    CHECK_EQ(mount("none", "dir", "tmpfs", 0, NULL), 0);
    CHECK_EQ(mkdir("dir/a", 0755) + mkdir("dir/b", 0), 0);
    a = encode("dir/a");
    b = encode("dir/b");
    make("dir/file");
    file = encode("dir/file");
    CHECK_EQ(decode("dir", &a, DIR), 0);
    CHECK_EQ(decode("dir/b", &a, DIR), 0);
    CHECK_EQ(decode("dir/a", &b, DIR), 0);
    CHECK_EQ(decode("dir/a", &b, O_RDONLY), EPERM);
    CHECK_EQ(decode("dir/a", &file, DIR), ESTALE);
    CHECK_EQ(umount("dir"), 0);
}

static int child(int outer, int ready, int mapped)
{
    char c = 0;

    CHECK_EQ(unshare(CLONE_NEWUSER | CLONE_NEWNS), 0);
    CHECK_EQ(write(ready, &c, 1), 1);
    CHECK_EQ(read(mapped, &c, 1), 1);
    test_bound(outer);
    test_own();
    drop(CAP_DAC_READ_SEARCH);
    CHECK_EQ(decode("dir", &sub, DIR), EPERM);
    drop(CAP_SYS_ADMIN);
    CHECK_EQ(decode("dir", &sub, DIR), EPERM);
    return atomic_load(&check_failures) > 0;
}

static void map_ids(pid_t pid, const char *which)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, which);
    fd = open(path, O_WRONLY);
    CHECK_EQ(write(fd, "0 0 1000", 8), 8);
    close(fd);
}

static void test_unprivileged(void)
{
    int ready[2], mapped[2], outer = open("dir", O_RDONLY), status;
    pid_t pid;
    char c;

    CHECK_EQ(pipe(ready) + pipe(mapped), 0);
    pid = fork();
    if (pid == 0)
        _exit(child(outer, ready[1], mapped[0]));
    CHECK_EQ(read(ready[0], &c, 1), 1);
    map_ids(pid, "uid_map");
    map_ids(pid, "gid_map");
    CHECK_EQ(write(mapped[1], &c, 1), 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(outer);
}

/* A handle that knows its place, where the file system gives such ones. */
static void test_placed(const char *folder)
{
    struct handle h = {.head.handle_bytes = MAX_HANDLE_SZ};
    int mount_id, path_fd;

    CHECK_EQ(chdir(folder), 0);
    CHECK_EQ(mkdir("a", 0755) + mkdir("a/sub", 0755) + mkdir("b", 0755), 0);
    make("a/sub/file");
    if (name_to_handle_at(AT_FDCWD, "a/sub/file", &h.head, &mount_id, CONNECTABLE) == 0) {
        CHECK_EQ(decode("a", &h, O_RDONLY), 0);
        CHECK_EQ(decode(".", &h, O_RDONLY), 0);
        CHECK_EQ(decode("b", &h, O_RDONLY), ESTALE);
        CHECK_EQ(decode("a/sub/file", &h, O_RDONLY), 0);
        h.head.handle_type |= 0x20000; /* that it is a directory */
        CHECK_EQ(decode("a", &h, O_RDONLY), ESTALE);
        h.head.handle_type |= 0x40000;
        CHECK_EQ(decode("a", &h, O_RDONLY), EINVAL);
        h.head.handle_bytes = MAX_HANDLE_SZ;
        CHECK_EQ(name_to_handle_at(AT_FDCWD, "a/sub", &h.head, &mount_id, CONNECTABLE), 0);
        CHECK_EQ(h.head.handle_type & 0x30000, 0x30000);
        CHECK_EQ(decode("a", &h, DIR), 0);
        CHECK_EQ(decode("b", &h, DIR), ESTALE);
    } else {
        CHECK_EQ(errno, EOPNOTSUPP);
    }
    h = encode("a/sub/file");
    CHECK_EQ(decode("b", &h, O_RDONLY), 0);
    path_fd = open("a", O_PATH);
    CHECK_ERRNO(open_by_handle_at(path_fd, &h.head, O_RDONLY), EBADF);
    close(path_fd);
    CHECK_EQ(unlink("a/sub/file") + rmdir("a/sub") + rmdir("a") + rmdir("b"), 0);
}

int main(int argc, char **argv)
{
    char folder[200];

    umask(022);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return CHECK_SKIPPED;
    snprintf(folder, sizeof(folder), "%s/kvmsentry-handles-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    CHECK(mkdtemp(folder) && chmod(folder, 0755) == 0);
    test_placed(folder);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL) + chdir(folder), 0);
    CHECK_EQ(mkdir("dir", 0755) + mkdir("dir/sub", 0755) + mkdir("foreign", 0755) +
                 mkdir("foreign/below", 0755) + mkdir("covered", 0755),
             0);
    CHECK_EQ(chown("foreign", 5000, 0), 0);
    make("dir/file");
    top = encode(".");
    sub = encode("dir/sub");
    file = encode("dir/file");
    foreign = encode("foreign");
    below_foreign = encode("foreign/below");
    covered = encode("covered");
    CHECK_EQ(mount("none", "covered", "tmpfs", 0, NULL), 0);
    test_unprivileged();
    CHECK_EQ(umount("covered"), 0);
    CHECK_EQ(chdir("/") + umount(folder), 0);
    CHECK_EQ(rmdir(folder), 0);
    return check_done();
}
