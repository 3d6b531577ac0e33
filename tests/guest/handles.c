/*
 * File handles: name_to_handle_at(2), open_by_handle_at(2). On a tmpfs of its own and in a folder
 * below the one that is named. As root.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>

#include "check.h"

#define AT_HANDLE_MNT_ID_UNIQUE_ 1
#define AT_HANDLE_CONNECTABLE_   2
#define AT_HANDLE_FID_           0x200

struct handle {
    struct file_handle head;
    unsigned char room[MAX_HANDLE_SZ];
};

static int encode(int dir, const char *path, struct handle *h, int flags)
{
    int mount_id = -1;

    memset(h, 0, sizeof(*h));
    h->head.handle_bytes = MAX_HANDLE_SZ;
    return name_to_handle_at(dir, path, &h->head, &mount_id, flags);
}

static bool same(const struct handle *a, const struct handle *b)
{
    return a->head.handle_bytes == b->head.handle_bytes &&
           a->head.handle_type == b->head.handle_type &&
           memcmp(a->head.f_handle, b->head.f_handle, a->head.handle_bytes) == 0;
}

static int decode(struct handle *h, int flags)
{
    int root = open(".", O_RDONLY), fd = open_by_handle_at(root, &h->head, flags), err = errno;

    close(root);
    errno = err;
    return fd;
}

static void make(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0644);

    CHECK_EQ(write(fd, text, strlen(text)), (long)strlen(text));
    CHECK_EQ(close(fd), 0);
}

static void check_opens(struct handle *h, const char *text)
{
    char buf[20] = "";
    int fd = decode(h, O_RDONLY);

    CHECK(fd >= 0);
    CHECK_EQ(read(fd, buf, sizeof(buf)), (long)strlen(text));
    CHECK(strcmp(buf, text) == 0);
    close(fd);
}

static void test_errors(void)
{
    struct handle h, other;
    long mount_id;
    int fd;

    make("file", "hello");
    CHECK_EQ(encode(AT_FDCWD, "file", &h, 0), 0);
    CHECK(h.head.handle_bytes > 0 && h.head.handle_bytes <= MAX_HANDLE_SZ);
    CHECK_ERRNO(encode(AT_FDCWD, "none", &other, 0), ENOENT);
    CHECK_ERRNO(encode(AT_FDCWD, "", &other, 0), ENOENT);
    CHECK_ERRNO(encode(99, "file", &other, 0), EBADF);
    CHECK_ERRNO(encode(AT_FDCWD, "file/x", &other, 0), ENOTDIR);
    CHECK_ERRNO(encode(AT_FDCWD, "file", &other, AT_SYMLINK_NOFOLLOW), EINVAL);
    CHECK_ERRNO(encode(AT_FDCWD, "file", &other, AT_HANDLE_FID_ | AT_HANDLE_CONNECTABLE_), EINVAL);
    CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "file", (void *)8, (int *)&mount_id, 0), EFAULT);
    CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "file", &h.head, (int *)8, 0), EFAULT);
    other.head.handle_bytes = 0;
    CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "file", &other.head, (int *)&mount_id, 0), EOVERFLOW);
    CHECK_EQ(other.head.handle_bytes, h.head.handle_bytes);
    other.head.handle_bytes = MAX_HANDLE_SZ + 1;
    CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "file", &other.head, (int *)&mount_id, 0), EINVAL);
    fd = open("file", O_PATH);
    CHECK_EQ(encode(fd, "", &other, AT_EMPTY_PATH), 0);
    CHECK_EQ(encode(AT_FDCWD, "file", &h, 0), 0);
    CHECK(same(&h, &other));
    close(fd);

    CHECK_ERRNO(open_by_handle_at(99, &h.head, O_RDONLY), EBADF);
    CHECK_ERRNO(open_by_handle_at(AT_FDCWD, (void *)8, O_RDONLY), EFAULT);
    other = h;
    other.head.handle_bytes = 0;
    CHECK_ERRNO(decode(&other, O_RDONLY), EINVAL);
    other.head.handle_bytes = MAX_HANDLE_SZ + 1;
    CHECK_ERRNO(decode(&other, O_RDONLY), EINVAL);
    other = h;
    other.room[other.head.handle_bytes - 1] ^= 0x55;
    CHECK_ERRNO(decode(&other, O_RDONLY), ESTALE);
    other = h;
    other.head.handle_type = -1;
    CHECK_ERRNO(decode(&other, O_RDONLY), EINVAL);
    other = h;
    other.head.handle_bytes = 4;
    CHECK_ERRNO(decode(&other, O_RDONLY), ESTALE);
    CHECK_EQ(unlink("file"), 0);
}

static void test_names(void)
{
    struct handle h, h2, dir, to;
    struct stat a, b;
    char path[100], target[300] = "";
    int fd;

    make("one", "first");
    CHECK_EQ(encode(AT_FDCWD, "one", &h, 0), 0);
    check_opens(&h, "first");
    check_opens(&h, "first");
    CHECK_EQ(rename("one", "two"), 0);
    check_opens(&h, "first");
    CHECK_EQ(encode(AT_FDCWD, "two", &h2, 0), 0);
    CHECK(same(&h, &h2));
    CHECK_EQ(mkdir("dir", 0755), 0);
    CHECK_EQ(encode(AT_FDCWD, "dir", &dir, 0), 0);
    CHECK_EQ(rename("two", "dir/three"), 0);
    check_opens(&h, "first");
    CHECK_EQ(rename("dir", "folder"), 0);
    fd = decode(&dir, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0 && fstat(fd, &a) == 0 && stat("folder", &b) == 0 && a.st_ino == b.st_ino);
    CHECK_EQ(faccessat(fd, "three", R_OK, 0), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHECK(readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "/folder"));
    close(fd);
    CHECK_ERRNO(decode(&h, O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_ERRNO(decode(&dir, O_WRONLY), EISDIR);
    /* Another name of the same file. */
    CHECK_EQ(link("folder/three", "four"), 0);
    CHECK_EQ(encode(AT_FDCWD, "four", &h2, 0), 0);
    CHECK(same(&h, &h2));
    CHECK_EQ(unlink("folder/three"), 0);
    check_opens(&h, "first");
    fd = open("four", O_RDONLY);
    CHECK_EQ(unlink("four"), 0);
    close(fd);
    CHECK_ERRNO(decode(&h, O_RDONLY), ESTALE);
    CHECK_EQ(rmdir("folder"), 0);
    CHECK_ERRNO(decode(&dir, O_RDONLY), ESTALE);
    /* One that is replaced. */
    make("old", "old");
    make("new", "new");
    CHECK_EQ(encode(AT_FDCWD, "old", &h, 0) + encode(AT_FDCWD, "new", &h2, 0), 0);
    CHECK(!same(&h, &h2));
    CHECK_EQ(rename("new", "old"), 0);
    CHECK_ERRNO(decode(&h, O_RDONLY), ESTALE);
    check_opens(&h2, "new");
    CHECK_EQ(symlink("old", "sym"), 0);
    CHECK_EQ(encode(AT_FDCWD, "sym", &to, 0), 0);
    CHECK(!same(&to, &h2));
    CHECK_ERRNO(decode(&to, O_RDONLY), ELOOP);
    fd = decode(&to, O_PATH);
    CHECK(fd >= 0 && readlinkat(fd, "", target, sizeof(target)) == 3);
    close(fd);
    CHECK_EQ(encode(AT_FDCWD, "sym", &to, AT_SYMLINK_FOLLOW), 0);
    CHECK(same(&to, &h2));
    /* Made anew, it is another one. */
    CHECK_EQ(unlink("old") + unlink("sym"), 0);
    make("old", "anew");
    CHECK_ERRNO(decode(&h2, O_RDONLY), ESTALE);
    CHECK_EQ(unlink("old"), 0);
    CHECK_EQ(encode(AT_FDCWD, ".", &dir, 0), 0);
    fd = decode(&dir, O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
}

static void test_writing(void)
{
    struct handle h;
    char buf[20] = "";
    int fd;

    make("file", "hello");
    CHECK_EQ(encode(AT_FDCWD, "file", &h, 0), 0);
    fd = decode(&h, O_RDWR | O_APPEND | O_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(write(fd, " you", 4), 4);
    close(fd);
    check_opens(&h, "hello you");
    fd = decode(&h, O_PATH);
    CHECK(fd >= 0);
    CHECK_ERRNO(read(fd, buf, 1), EBADF);
    close(fd);
    fd = decode(&h, O_WRONLY | O_TRUNC);
    close(fd);
    check_opens(&h, "");
    CHECK_EQ(unlink("file"), 0);
}

static void test_rights(void)
{
    struct handle h, dir;
    pid_t child;
    int status;

    make("file", "hello");
    CHECK_EQ(encode(AT_FDCWD, "file", &h, 0) + encode(AT_FDCWD, ".", &dir, 0), 0);
    child = fork();
    if (child == 0) {
        if (setgid(1000) || setuid(1000))
            _exit(100);
        CHECK_ERRNO(decode(&h, O_RDONLY), EPERM);
        CHECK_ERRNO(decode(&dir, O_RDONLY | O_DIRECTORY), EPERM);
        CHECK_EQ(encode(AT_FDCWD, "file", &h, 0), 0);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    child = fork();
    if (child == 0) {
        CHECK_EQ(unshare(CLONE_NEWUSER), 0);
        CHECK_ERRNO(decode(&h, O_RDONLY), EPERM);
        CHECK_ERRNO(decode(&dir, O_RDONLY | O_DIRECTORY), EPERM);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(unlink("file"), 0);
}

/* By the mount's number of 32 or 64 bits. */
static void test_mount_ids(void)
{
    uint64_t unique = 0;
    struct handle h;
    struct statx st;
    int id = 0;

    make("file", "hello");
    h.head.handle_bytes = MAX_HANDLE_SZ;
    CHECK_EQ(name_to_handle_at(AT_FDCWD, "file", &h.head, &id, 0), 0);
    CHECK_EQ(statx(AT_FDCWD, "file", 0, STATX_MNT_ID, &st), 0);
    CHECK_EQ(st.stx_mnt_id, (uint64_t)id);
    h.head.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(AT_FDCWD, "file", &h.head, (int *)&unique, AT_HANDLE_MNT_ID_UNIQUE_) ==
        0) {
        CHECK_EQ(statx(AT_FDCWD, "file", 0, 0x4000, &st), 0);
        CHECK_EQ(st.stx_mnt_id, unique);
    }
    CHECK_EQ(unlink("file"), 0);
}

static uint64_t mount_of(int fd)
{
    char path[64], line[256];
    struct statx st = {0};
    long told = -1;
    FILE *info;

    CHECK_EQ(statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st), 0);
    CHECK(st.stx_mask & STATX_MNT_ID);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    info = fopen(path, "r");
    while (CHECK(info != NULL) && fgets(line, sizeof(line), info)) {
        if (sscanf(line, "mnt_id: %ld", &told) == 1)
            break;
    }
    fclose(info);
    CHECK_EQ(told, st.stx_mnt_id);
    return st.stx_mnt_id;
}

/* What has no name lies in mounts of the kernel's own, one for each kind. */
static void test_mounts_of_nameless(void)
{
    int fds[2], more[2], socket_fd = socket(AF_UNIX, SOCK_STREAM, 0), dir = open(".", O_RDONLY);
    uint64_t pipes;

    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(pipe(more), 0);
    pipes = mount_of(fds[0]);
    CHECK(pipes > 0);
    CHECK_EQ(mount_of(more[1]), pipes);
    CHECK(mount_of(socket_fd) != pipes && mount_of(socket_fd) != mount_of(dir));
    CHECK(mount_of(dir) != pipes);
    close(fds[0]);
    close(fds[1]);
    close(more[0]);
    close(more[1]);
    close(socket_fd);
    close(dir);
}

static void test_kinds(const char *where)
{
    struct handle h;
    int fds[2];

    note("%s: fid %d connectable %d", where, encode(AT_FDCWD, ".", &h, AT_HANDLE_FID_) ? errno : 0,
         encode(AT_FDCWD, ".", &h, AT_HANDLE_CONNECTABLE_) ? errno : 0);
    CHECK_ERRNO(encode(AT_FDCWD, "/proc/self/status", &h, 0), EOPNOTSUPP);
    CHECK_EQ(encode(AT_FDCWD, "/proc/self/status", &h, AT_HANDLE_FID_), 0);
    note("proc: type %x, %u bytes", h.head.handle_type, h.head.handle_bytes);
    CHECK_EQ(pipe(fds), 0);
    CHECK_ERRNO(encode(fds[0], "", &h, AT_EMPTY_PATH), EOPNOTSUPP);
    close(fds[0]);
    close(fds[1]);
}

static void test_all(const char *where)
{
    test_errors();
    test_names();
    test_writing();
    test_rights();
    test_mount_ids();
    test_mounts_of_nameless();
    test_kinds(where);
}

/* After the file system has gone nothing is left. */
static void test_unmounted(const char *folder)
{
    struct handle h;

    CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL) + chdir(folder), 0);
    make("file", "hello");
    CHECK_EQ(encode(AT_FDCWD, "file", &h, 0), 0);
    check_opens(&h, "hello");
    CHECK_EQ(chdir("/") + umount(folder), 0);
    CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL) + chdir(folder), 0);
    CHECK_ERRNO(decode(&h, O_RDONLY), ESTALE);
    CHECK_EQ(chdir("/") + umount(folder), 0);
}

int main(int argc, char **argv)
{
    char folder[200];

    umask(022);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return CHECK_SKIPPED;
    snprintf(folder, sizeof(folder), "%s/kvmsentry-handles-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    CHECK(mkdtemp(folder) && chmod(folder, 0755) == 0);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    if (argc > 1)
        CHECK_EQ(chdir(folder), 0);
    else
        CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL) + chdir(folder), 0);
    test_all(argc > 1 ? "folder" : "tmpfs");
    CHECK_EQ(chdir("/"), 0);
    if (argc == 1)
        CHECK_EQ(umount(folder), 0);
    test_unmounted(folder);
    CHECK_EQ(rmdir(folder), 0);
    return check_done();
}
