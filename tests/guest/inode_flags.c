/*
 * Flags of files: FS_IOC_SETFLAGS and its relatives, file_setattr(2), what they forbid, and what
 * statx(2) says of them. On a tmpfs of its own. As root.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

#define file_getattr_nr 468
#define file_setattr_nr 469
#define SUPPORTED       (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL)

struct file_attr_abi {
    uint64_t xflags;
    uint32_t extsize, nextents, projid, cowextsize;
};

static int open_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK);

    CHECK(fd >= 0);
    return fd;
}

static int get_flags(const char *path)
{
    int fd = open_read(path), flags = -1;

    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        flags = -errno;
    close(fd);
    return flags;
}

static int set_flags(const char *path, int flags)
{
    int fd = open_read(path), err = ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;

    close(fd);
    return err;
}

static void show(const char *path)
{
    uint64_t wanted = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP |
                      STATX_ATTR_MOUNT_ROOT | STATX_ATTR_COMPRESSED | STATX_ATTR_ENCRYPTED |
                      STATX_ATTR_AUTOMOUNT | STATX_ATTR_VERITY | STATX_ATTR_DAX;
    struct file_attr_abi attr = {0};
    struct fsxattr x = {0};
    struct statx st;
    int fd = open_read(path);

    CHECK_EQ(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME | 0x2000 | 0x8000, &st), 0);
    CHECK_EQ(ioctl(fd, FS_IOC_FSGETXATTR, &x), 0);
    if (syscall(file_getattr_nr, AT_FDCWD, path, &attr, sizeof(attr), 0) < 0) {
        CHECK_EQ(errno, ENOSYS);
        attr.xflags = x.fsx_xflags;
    }
    note("%s: flags %x xflags %x %llx attributes %llx of %llx, mask %x", path, get_flags(path),
         x.fsx_xflags, (unsigned long long)attr.xflags,
         (unsigned long long)(st.stx_attributes & wanted),
         (unsigned long long)(st.stx_attributes_mask & wanted), st.stx_mask & ~STATX_MNT_ID);
    close(fd);
}

static int try(int result)
{
    return result < 0 ? -errno : 0;
}

static void make(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0644);

    CHECK_EQ(write(fd, "hello", 5), 5);
    CHECK_EQ(close(fd), 0);
}

/* Everything that changes a file, one digit string of errors. */
static void try_all(const char *path)
{
    struct timespec times[2] = {{1000, 0}, {1000, 0}}, now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    int fd = -1;
    char line[300];
    size_t at = 0;

#define TRY(what)                                                                                  \
    do {                                                                                           \
        at += (size_t)snprintf(line + at, sizeof(line) - at, " %d", -try(what));                   \
    } while (0)
    TRY(fd = open(path, O_WRONLY));
    close(fd);
    TRY(fd = open(path, O_RDWR | O_TRUNC));
    close(fd);
    TRY(fd = open(path, O_WRONLY | O_APPEND | O_TRUNC));
    close(fd);
    TRY(fd = open(path, O_WRONLY | O_APPEND));
    if (fd >= 0) {
        TRY((int)write(fd, "x", 1));
        TRY(ftruncate(fd, 3));
        TRY(fallocate(fd, 0, 0, 4));
        TRY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4));
        TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4));
        TRY(fcntl(fd, F_SETFL, 0));
        TRY(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
        close(fd);
    }
    TRY(truncate(path, 3));
    TRY(chmod(path, 0600));
    TRY(chown(path, 0, 0));
    TRY(utimensat(AT_FDCWD, path, times, 0));
    TRY(utimensat(AT_FDCWD, path, now, 0));
    TRY(setxattr(path, "user.a", "b", 1, 0));
    TRY(removexattr(path, "user.a"));
    TRY(link(path, "linked"));
    unlink("linked");
    TRY(access(path, R_OK));
    TRY(access(path, W_OK));
    TRY(rename(path, "renamed"));
    rename("renamed", path);
    make("other");
    TRY(rename("other", path));
    unlink("other");
    TRY(unlink(path));
    note("%s (%x):%s", path, access(path, F_OK) == 0 ? get_flags(path) : -1, line);
    unlink(path);
}

static void test_files(void)
{
    static const int each[] = {0,
                               FS_NODUMP_FL,
                               FS_NOATIME_FL,
                               FS_APPEND_FL,
                               FS_IMMUTABLE_FL,
                               FS_IMMUTABLE_FL | FS_APPEND_FL};

    for (size_t i = 0; i < ARRAY_COUNT(each); i++) {
        make("file");
        CHECK_EQ(set_flags("file", each[i]), 0);
        show("file");
        try_all("file");
        if (access("file", F_OK) == 0) {
            CHECK_EQ(set_flags("file", 0), 0);
            CHECK_EQ(unlink("file"), 0);
        }
    }
    make("file");
    for (int bit = 0; bit < 32; bit++) {
        int err = set_flags("file", (int)(1U << bit));

        note("flag %x: %d, then %x", 1U << bit, err, get_flags("file"));
        CHECK_EQ(set_flags("file", 0), 0);
    }
    CHECK_EQ(unlink("file"), 0);
}

/* What was open before stays open. */
static void test_open_before(void)
{
    int fd, fd2;
    void *p;

    make("file");
    fd = open("file", O_RDWR);
    CHECK_EQ(set_flags("file", FS_IMMUTABLE_FL), 0);
    note("write %d ftruncate %d fchmod %d fallocate %d", try((int)write(fd, "x", 1)),
         try(ftruncate(fd, 2)), try(fchmod(fd, 0600)), try(fallocate(fd, 0, 0, 10)));
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    note("mmap %d", p == MAP_FAILED ? errno : 0);
    munmap(p, 4096);
    CHECK_EQ(set_flags("file", FS_APPEND_FL), 0);
    note("write %d ftruncate %d", try((int)write(fd, "x", 1)), try(ftruncate(fd, 2)));
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    note("shared mmap %d", p == MAP_FAILED ? errno : 0);
    p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    note("shared, read-only mmap %d", p == MAP_FAILED ? errno : 0);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    note("private mmap %d", p == MAP_FAILED ? errno : 0);
    munmap(p, 4096);
    CHECK_EQ(set_flags("file", FS_IMMUTABLE_FL), 0);
    make("from");
    fd2 = open_read("from");
    note("copy %d", try((int)copy_file_range(fd2, NULL, fd, NULL, 3, 0)));
    CHECK_EQ(set_flags("file", 0), 0);
    close(fd2);
    close(fd);
    unlink("file");
    unlink("from");
}

static void test_folders(void)
{
    CHECK_EQ(mkdir("dir", 0755), 0);
    CHECK_EQ(mkdir("dir/below", 0755), 0);
    make("dir/file");
    CHECK_EQ(set_flags("dir", FS_IMMUTABLE_FL), 0);
    show("dir");
    note("immutable: create %d mkdir %d unlink %d rmdir %d rename %d symlink %d link %d in %d "
         "rmdir %d tmpfile %d",
         try(open("dir/new", O_CREAT | O_WRONLY, 0600)), try(mkdir("dir/d2", 0700)),
         try(unlink("dir/file")), try(rmdir("dir/below")), try(rename("dir/file", "out")),
         try(symlink("a", "dir/sym")), try(link("dir/file", "dir/l2")),
         try(truncate("dir/file", 2)), try(rmdir("dir")),
         try(open("dir", O_TMPFILE | O_RDWR, 0600)));
    CHECK_EQ(set_flags("dir", FS_APPEND_FL), 0);
    show("dir");
    note("append: create %d mkdir %d unlink %d rmdir %d rename %d within %d symlink %d",
         try(open("dir/new", O_CREAT | O_WRONLY, 0600)), try(mkdir("dir/d2", 0700)),
         try(unlink("dir/file")), try(rmdir("dir/below")), try(rename("dir/file", "out")),
         try(rename("dir/file", "dir/out")), try(symlink("a", "dir/sym")));
    CHECK_EQ(set_flags("dir", FS_NODUMP_FL | FS_NOATIME_FL), 0);
    make("dir/heir");
    CHECK_EQ(mkdir("dir/heirs", 0755), 0);
    show("dir/heir");
    show("dir/heirs");
    CHECK_EQ(unlink("dir/heir") + rmdir("dir/heirs") + unlink("dir/new") + rmdir("dir/d2"), 0);
    CHECK_EQ(unlink("dir/sym") + unlink("dir/file") + rmdir("dir/below") + rmdir("dir"), 0);
}

static void test_noatime(void)
{
    struct timespec old[2] = {{1000, 0}, {2000, 0}};
    struct stat st;
    char c;
    int fd;

    for (int on = 0; on < 2; on++) {
        make("file");
        CHECK_EQ(set_flags("file", on ? FS_NOATIME_FL : 0), 0);
        CHECK_EQ(utimensat(AT_FDCWD, "file", old, 0), 0);
        fd = open_read("file");
        CHECK_EQ(read(fd, &c, 1), 1);
        CHECK_EQ(fstat(fd, &st), 0);
        CHECK_EQ(st.st_atime == 1000, on);
        close(fd);
        unlink("file");
    }
}

static void test_xattr_form(void)
{
    struct file_attr_abi attr[2] = {{0}};
    struct fsxattr x = {0};
    int fd;

    make("file");
    fd = open_read("file");
    x.fsx_xflags = FS_XFLAG_NODUMP | FS_XFLAG_APPEND;
    CHECK_EQ(ioctl(fd, FS_IOC_FSSETXATTR, &x), 0);
    show("file");
    x.fsx_projid = 5;
    note("projid %d", try(ioctl(fd, FS_IOC_FSSETXATTR, &x)));
    x.fsx_projid = 0;
    x.fsx_xflags = FS_XFLAG_EXTSIZE;
    x.fsx_extsize = 4096;
    note("extsize %d", try(ioctl(fd, FS_IOC_FSSETXATTR, &x)));
    x.fsx_extsize = 0;
    note("extsize 0: %d", try(ioctl(fd, FS_IOC_FSSETXATTR, &x)));
    x.fsx_xflags = FS_XFLAG_SYNC;
    note("sync %d", try(ioctl(fd, FS_IOC_FSSETXATTR, &x)));
    x.fsx_xflags = FS_XFLAG_REALTIME;
    note("realtime %d", try(ioctl(fd, FS_IOC_FSSETXATTR, &x)));
    x.fsx_xflags = 1U << 29;
    note("unknown %d", try(ioctl(fd, FS_IOC_FSSETXATTR, &x)));
    x.fsx_xflags = 0;
    CHECK_EQ(ioctl(fd, FS_IOC_FSSETXATTR, &x), 0);
    show("file");
    CHECK_ERRNO(ioctl(fd, FS_IOC_FSSETXATTR, (void *)8), EFAULT);
    CHECK_ERRNO(ioctl(fd, FS_IOC_FSGETXATTR, (void *)8), EFAULT);
    CHECK_ERRNO(ioctl(fd, FS_IOC_GETFLAGS, (void *)8), EFAULT);
    CHECK_ERRNO(ioctl(fd, FS_IOC_SETFLAGS, (void *)8), EFAULT);
    if (syscall(file_getattr_nr, fd, "", attr, sizeof(attr[0]), AT_EMPTY_PATH) == 0) {
        attr[0].xflags = FS_XFLAG_IMMUTABLE;
        CHECK_EQ(syscall(file_setattr_nr, AT_FDCWD, "file", attr, sizeof(attr[0]), 0), 0);
        show("file");
        attr[0].xflags = 0;
        CHECK_EQ(syscall(file_setattr_nr, fd, "", attr, sizeof(attr), AT_EMPTY_PATH), 0);
        CHECK_EQ(syscall(file_getattr_nr, fd, NULL, attr, sizeof(attr), AT_EMPTY_PATH), 0);
        attr[1].xflags = 1;
        note("too much %d",
             try((int)syscall(file_setattr_nr, fd, "", attr, sizeof(attr), AT_EMPTY_PATH)));
        attr[0].xflags = 1ULL << 40;
        note("unknown %d", try((int)syscall(file_setattr_nr, fd, "", attr, 24, AT_EMPTY_PATH)));
        attr[0].xflags = FS_XFLAG_REALTIME;
        note("realtime %d", try((int)syscall(file_setattr_nr, fd, "", attr, 24, AT_EMPTY_PATH)));
        attr[0].xflags = 0;
        CHECK_ERRNO(syscall(file_getattr_nr, fd, "", attr, 23, AT_EMPTY_PATH), EINVAL);
        CHECK_ERRNO(syscall(file_setattr_nr, fd, "", attr, 23, AT_EMPTY_PATH), EINVAL);
        CHECK_ERRNO(syscall(file_getattr_nr, fd, "", attr, 4097, AT_EMPTY_PATH), E2BIG);
        CHECK_ERRNO(syscall(file_getattr_nr, fd, "", attr, 24, 0), ENOENT);
        CHECK_ERRNO(syscall(file_getattr_nr, fd, "", attr, 24, 1), EINVAL);
        CHECK_ERRNO(syscall(file_getattr_nr, 99, "", attr, 24, AT_EMPTY_PATH), EBADF);
        CHECK_ERRNO(syscall(file_getattr_nr, AT_FDCWD, "none", attr, 24, 0), ENOENT);
        CHECK_EQ(symlink("file", "sym"), 0);
        note("link %d %d",
             try((int)syscall(file_getattr_nr, AT_FDCWD, "sym", attr, 24, AT_SYMLINK_NOFOLLOW)),
             try((int)syscall(file_setattr_nr, AT_FDCWD, "sym", attr, 24, AT_SYMLINK_NOFOLLOW)));
        note("proc %d",
             try((int)syscall(file_getattr_nr, AT_FDCWD, "/proc/self/status", attr, 24, 0)));
        unlink("sym");
    } else {
        CHECK_EQ(errno, ENOSYS);
    }
    close(fd);
    unlink("file");
}

static void test_rights(void)
{
    pid_t child;
    int status;

    make("theirs");
    make("own");
    CHECK_EQ(chown("own", 1000, 1000), 0);
    CHECK_EQ(chmod(".", 0777), 0);
    child = fork();
    if (child == 0) {
        if (setgid(1000) || setuid(1000))
            _exit(100);
        CHECK_EQ(set_flags("theirs", FS_NODUMP_FL), -EPERM);
        CHECK_EQ(set_flags("own", FS_NODUMP_FL), 0);
        CHECK_EQ(set_flags("own", FS_NODUMP_FL | FS_APPEND_FL), -EPERM);
        CHECK_EQ(set_flags("own", FS_IMMUTABLE_FL), -EPERM);
        CHECK_EQ(get_flags("own"), FS_NODUMP_FL);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(unlink("own") + unlink("theirs"), 0);
}

static void test_others(void)
{
    int fd = open_read("/proc/self/status"), flags = 0, pipes[2];
    char buf[300];

    CHECK_ERRNO(ioctl(fd, FS_IOC_GETFLAGS, &flags), ENOTTY);
    CHECK_ERRNO(ioctl(fd, FS_IOC_SETFLAGS, &flags), ENOTTY);
    close(fd);
    CHECK_EQ(pipe(pipes), 0);
    CHECK_ERRNO(ioctl(pipes[0], FS_IOC_GETFLAGS, &flags), ENOTTY);
    CHECK_ERRNO(ioctl(pipes[0], FS_IOC_FSGETXATTR, buf), ENOTTY);
    close(pipes[0]);
    close(pipes[1]);
    make("file");
    fd = open_read("file");
    CHECK_ERRNO(ioctl(fd, FS_IOC_GETVERSION, &flags), ENOTTY);
    CHECK_ERRNO(ioctl(fd, FS_IOC_SETVERSION, &flags), ENOTTY);
    CHECK_ERRNO(ioctl(fd, FS_IOC_GETFSLABEL, buf), ENOTTY);
    CHECK_ERRNO(ioctl(fd, FS_IOC_SETFSLABEL, buf), ENOTTY);
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    close(fd);
    fd = open_read("fifo");
    CHECK_ERRNO(ioctl(fd, FS_IOC_GETFLAGS, &flags), ENOTTY);
    close(fd);
    CHECK_EQ(unlink("fifo") + unlink("file"), 0);
}

int main(void)
{
    char folder[] = "/tmp/kvmsentry-flags-XXXXXX";

    umask(022);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return CHECK_SKIPPED;
    CHECK(mkdtemp(folder));
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chdir(folder), 0);
    test_files();
    test_open_before();
    test_folders();
    test_noatime();
    test_xattr_form();
    test_rights();
    test_others();
    show(".");
    CHECK_EQ(chdir("/") + umount2(folder, MNT_DETACH) + rmdir(folder), 0);
    return check_done();
}
