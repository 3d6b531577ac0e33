/*
 * Device nodes: mknod(2), what opening one gives, where it is refused. On a tmpfs of its own and in
 * a folder below the one that is named. As root.
 */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <linux/capability.h>

#include "check.h"

static void show(const char *path)
{
    struct stat st;

    CHECK_EQ(lstat(path, &st), 0);
    note("%s: %o %u:%u size %ld", path, st.st_mode, major(st.st_rdev), minor(st.st_rdev),
         (long)st.st_size);
}

static void test_kinds(void)
{
    char buf[16];
    int fd;

    CHECK_EQ(mknod("null", S_IFCHR | 0666, makedev(1, 3)), 0);
    CHECK_EQ(mknod("zero", S_IFCHR | 0666, makedev(1, 5)), 0);
    CHECK_EQ(mknod("full", S_IFCHR | 0666, makedev(1, 7)), 0);
    CHECK_EQ(mknod("urandom", S_IFCHR | 0640, makedev(1, 9)), 0);
    CHECK_EQ(mknodat(AT_FDCWD, "none", S_IFCHR | 0666, makedev(200, 77)), 0);
    CHECK_EQ(mknod("block", S_IFBLK | 0600, makedev(241, 5)), 0);
    CHECK_EQ(mknod("big", S_IFCHR | 0600, makedev(4000, 1000000)), 0);
    CHECK_EQ(mknod("gone", S_IFCHR, 0), 0);
    CHECK_ERRNO(mknod("null", S_IFCHR | 0666, makedev(1, 3)), EEXIST);
    CHECK_ERRNO(mknod("dir", S_IFDIR | 0666, makedev(1, 3)), EPERM);
    CHECK_ERRNO(mknod("x", S_IFLNK | 0666, makedev(1, 3)), EINVAL);
    show("null");
    show("urandom");
    show("none");
    show("block");
    show("big");
    show("gone");
    fd = open("null", O_RDWR);
    CHECK_EQ(write(fd, "abc", 3), 3);
    CHECK_EQ(read(fd, buf, 3), 0);
    close(fd);
    fd = open("null", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    CHECK_EQ(write(fd, "abc", 3), 3);
    close(fd);
    fd = open("zero", O_RDWR);
    memset(buf, 1, sizeof(buf));
    CHECK_EQ(read(fd, buf, 16), 16);
    CHECK(buf[0] == 0 && buf[15] == 0);
    void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED && *(volatile char *)p == 0);
    munmap(p, 8192);
    close(fd);
    fd = open("full", O_WRONLY);
    CHECK_ERRNO(write(fd, "a", 1), ENOSPC);
    close(fd);
    fd = open("urandom", O_RDONLY);
    CHECK_EQ(read(fd, buf, 16), 16);
    close(fd);
    CHECK_ERRNO(open("none", O_RDONLY), ENXIO);
    CHECK_ERRNO(open("block", O_RDONLY), ENXIO);
    CHECK_ERRNO(open("big", O_RDONLY), ENXIO);
    CHECK_ERRNO(open("gone", O_RDONLY), ENXIO);
    CHECK_ERRNO(truncate("null", 0), EINVAL);
    CHECK_EQ(rename("none", "other"), 0);
    CHECK_EQ(link("null", "null2"), 0);
    fd = open("null2", O_PATH);
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(chmod("null", 0), 0);
    show("null2");
    fd = open("null", O_RDWR);
    CHECK(fd >= 0);
    struct stat st;
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_rdev, makedev(1, 3));
    close(fd);
}

static void test_rights(void)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        if (setgroups(0, NULL) || setgid(1000) || setuid(1000))
            _exit(100);
        CHECK_ERRNO(mknod("new", S_IFCHR | 0666, makedev(1, 3)), EPERM);
        CHECK_EQ(mknod("fifo", S_IFIFO | 0666, 0), 0);
        CHECK_EQ(mknod("white", S_IFCHR | 0666, 0), 0);
        CHECK_ERRNO(open("urandom", O_RDONLY), EACCES);
        CHECK_ERRNO(open("null", O_RDONLY), EACCES);
        CHECK(close(open("zero", O_RDWR)) == 0);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    child = fork();
    if (child == 0) {
        prctl(PR_CAPBSET_DROP, CAP_MKNOD, 0, 0, 0);
        struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct data[2];

        CHECK_EQ(syscall(SYS_capget, &head, data), 0);
        data[0].effective &= ~(1U << CAP_MKNOD);
        CHECK_EQ(syscall(SYS_capset, &head, data), 0);
        CHECK_ERRNO(mknod("new", S_IFCHR | 0666, makedev(1, 3)), EPERM);
        CHECK_ERRNO(mknod("new", S_IFBLK | 0666, makedev(1, 3)), EPERM);
        CHECK_ERRNO(mknod("new", S_IFBLK | 0666, 0), EPERM);
        CHECK_ERRNO(mknod("null", S_IFCHR | 0666, makedev(1, 3)), EEXIST);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    child = fork();
    if (child == 0) {
        CHECK_EQ(unshare(CLONE_NEWUSER | CLONE_NEWNS), 0);
        CHECK_ERRNO(mknod("new", S_IFCHR | 0666, makedev(1, 3)), EPERM);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void test_nodev(const char *folder)
{
    CHECK_EQ(mount(folder, folder, NULL, MS_BIND, NULL), 0);
    CHECK_EQ(mount(NULL, folder, NULL, MS_BIND | MS_REMOUNT | MS_NODEV, NULL), 0);
    CHECK_EQ(chdir(folder), 0);
    CHECK_ERRNO(open("zero", O_RDONLY), EACCES);
    CHECK_ERRNO(open("none", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("big", O_RDONLY), EACCES);
    CHECK_EQ(mknod("onnodev", S_IFCHR | 0666, makedev(1, 3)), 0);
    CHECK_ERRNO(open("onnodev", O_RDONLY), EACCES);
    CHECK_EQ(close(open("zero", O_PATH)), 0);
    CHECK_EQ(unlink("onnodev"), 0);
    CHECK_EQ(chdir("/") + umount(folder), 0);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"null",  "null2", "zero", "full", "urandom", "other",
                                        "block", "big",   "gone", "fifo", "white"};
    char folder[200];

    umask(0);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return CHECK_SKIPPED;
    snprintf(folder, sizeof(folder), "%s/kvmsentry-devices-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    CHECK(mkdtemp(folder));
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    if (argc == 1)
        CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chmod(folder, 0777) + chdir(folder), 0);
    test_kinds();
    test_rights();
    CHECK_EQ(chdir("/"), 0);
    test_nodev(folder);
    CHECK_EQ(chdir(folder), 0);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        CHECK_EQ(unlink(names[i]), 0);
    CHECK_EQ(chdir("/"), 0);
    if (argc == 1)
        CHECK_EQ(umount(folder), 0);
    CHECK_EQ(rmdir(folder), 0);
    return check_done();
}
