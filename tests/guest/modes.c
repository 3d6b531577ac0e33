/*
 * Who may do what: permission bits for owner, group and others, the sticky bit, setgid folders,
 * set-id bits that go, changing modes, owners and times. As root in child processes with other ids,
 * below /tmp; without root it is skipped.
 */
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <utime.h>

#include "check.h"

static mode_t mode_of(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0 ? st.st_mode : 0;
}

static void make_file(const char *name, mode_t mode)
{
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

    CHECK(fd >= 0);
    CHECK_EQ(fchmod(fd, mode), 0);
    close(fd);
}

/* Runs the checks of `fn` as somebody else. */
static void as(uid_t uid, gid_t gid, gid_t extra, void (*fn)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        check_failures = 0;
        CHECK_EQ(setgroups(1, &extra), 0);
        CHECK_EQ(setresgid(gid, gid, gid), 0);
        CHECK_EQ(setresuid(uid, uid, uid), 0);
        fn();
        _exit(check_failures ? 1 : 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void owner_checks(void)
{
    CHECK(access("by_mode", R_OK | W_OK) == 0);
    CHECK_ERRNO(access("by_mode", X_OK), EACCES);
    CHECK_EQ(chmod("by_mode", 0070), 0);
    CHECK_ERRNO(open("by_mode", O_RDONLY), EACCES); /* the owner has the owner's bits alone */
    CHECK_EQ(chmod("by_mode", 0640), 0);
    CHECK_ERRNO(chown("by_mode", 2000, -1), EPERM);
    CHECK_EQ(chown("by_mode", -1, 1001), 0); /* a group of ours */
    CHECK_ERRNO(chown("by_mode", -1, 3000), EPERM);
    CHECK_EQ(chown("by_mode", 1000, 1000), 0);
    struct timeval times[2] = {{5, 0}, {6, 0}};
    CHECK_EQ(utimes("by_mode", times), 0);
    CHECK_EQ(utimes("by_mode", NULL), 0);
    CHECK_ERRNO(open("secret/file", O_RDONLY), EACCES);
    CHECK_ERRNO(stat("secret/.", &(struct stat){0}), EACCES);
    CHECK_ERRNO(chdir("secret"), EACCES);
    CHECK_ERRNO(open("listed/file", O_RDONLY), EACCES); /* may be listed, not searched */
    int fd = open("listed", O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERRNO(open("searched", O_RDONLY | O_DIRECTORY), EACCES);
    fd = open("searched/file", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERRNO(open("searched/new", O_RDWR | O_CREAT, 0644), EACCES);
    CHECK_ERRNO(open("searched/file", O_RDONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    CHECK_ERRNO(mkdir("searched/new", 0755), EACCES);
    CHECK_ERRNO(mkdir("searched/file", 0755), EEXIST);
    CHECK_ERRNO(unlink("searched/file"), EACCES);
    CHECK_ERRNO(unlink("searched/none"), ENOENT);
    CHECK_ERRNO(rename("searched/file", "searched/x"), EACCES);
    CHECK_ERRNO(symlink("x", "searched/x"), EACCES);
    CHECK_ERRNO(link("searched/file", "searched/x"), EACCES);
    CHECK_ERRNO(open("searched", O_RDWR | O_TMPFILE, 0600), EACCES);
}

static void group_checks(void)
{
    int fd = open("by_mode", O_RDONLY);

    CHECK(fd >= 0);
    CHECK_ERRNO(open("by_mode", O_RDWR), EACCES);
    CHECK_ERRNO(open("by_mode", O_RDONLY | O_TRUNC), EACCES);
    CHECK_ERRNO(truncate("by_mode", 0), EACCES);
    CHECK_ERRNO(chmod("by_mode", 0777), EPERM);
    CHECK_ERRNO(fchmod(fd, 0777), EPERM);
    CHECK_ERRNO(utimes("by_mode", NULL), EACCES);
    CHECK_ERRNO(utimes("by_mode", (struct timeval[2]){{5, 0}, {6, 0}}), EPERM);
    CHECK_ERRNO(fchown(fd, -1, 1000), EPERM);
    CHECK_EQ(fchown(fd, -1, -1), 0);
    CHECK_ERRNO(open("by_mode", O_RDONLY | O_NOATIME), EPERM);
    close(fd);
}

static void other_checks(void)
{
    CHECK_ERRNO(open("by_mode", O_RDONLY), EACCES);
    CHECK_ERRNO(access("by_mode", R_OK), EACCES);
    CHECK_EQ(access("by_mode", F_OK), 0);
    /* In a sticky folder everybody removes his own. */
    CHECK_ERRNO(unlink("sticky/by_1000"), EPERM);
    CHECK_ERRNO(rename("sticky/by_1000", "sticky/mine"), EPERM);
    make_file("sticky/by_2000", 0666);
    CHECK_ERRNO(rename("sticky/by_2000", "sticky/by_1000"), EPERM);
    CHECK_EQ(rename("sticky/by_2000", "sticky/mine"), 0);
    CHECK_EQ(unlink("sticky/mine"), 0);
    CHECK_EQ(unlink("open/by_1000"), 0);
    /* A name in a setgid folder gets its group; a folder the bit, too. */
    struct stat st;
    make_file("setgid/file", 0644);
    CHECK_EQ(stat("setgid/file", &st), 0);
    CHECK_EQ(st.st_gid, 1001);
    CHECK_EQ(st.st_uid, 2000);
    CHECK_EQ(mkdir("setgid/dir", 0755), 0);
    CHECK_EQ(stat("setgid/dir", &st), 0);
    CHECK_EQ(st.st_gid, 1001);
    CHECK_EQ(st.st_mode, S_IFDIR | 02755);
    CHECK_EQ(chmod("setgid/file", 02755), 0); /* not a member: the bit is dropped */
    CHECK_EQ(mode_of("setgid/file"), S_IFREG | 0755);
    /* Writing takes set-id bits away. */
    make_file("open/setid", 06777);
    CHECK_EQ(mode_of("open/setid"), S_IFREG | 06777);
    int fd = open("open/setid", O_WRONLY);
    CHECK_EQ(write(fd, "x", 1), 1);
    CHECK_EQ(mode_of("open/setid"), S_IFREG | 0777);
    CHECK_EQ(fchmod(fd, 04711), 0);
    CHECK_EQ(ftruncate(fd, 0), 0);
    CHECK_EQ(mode_of("open/setid"), S_IFREG | 0711);
    close(fd);
    CHECK_ERRNO(mknod("open/dev", S_IFCHR | 0666, 0x103), EPERM);
}

/* access(2) asks for the real ids, everything else for the effective ones. */
static void real_ids(void)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        CHECK_EQ(setresuid(2000, 0, 0), 0);
        CHECK_ERRNO(access("by_mode", R_OK), EACCES);
        CHECK_EQ(faccessat(AT_FDCWD, "by_mode", R_OK, AT_EACCESS), 0);
        int fd = open("by_mode", O_RDWR);
        CHECK(fd >= 0);
        close(fd);
        CHECK_EQ(setresuid(0, 2000, 0), 0);
        CHECK_EQ(access("by_mode", R_OK), 0);
        CHECK_ERRNO(open("by_mode", O_RDONLY), EACCES);
        _exit(check_failures ? 1 : 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void root_checks(void)
{
    make_file("none", 0);
    int fd = open("none", O_RDWR);
    CHECK(fd >= 0);
    CHECK_EQ(access("none", R_OK | W_OK), 0);
    CHECK_ERRNO(access("none", X_OK), EACCES);
    CHECK_EQ(fchmod(fd, 06755), 0);
    CHECK_EQ(write(fd, "x", 1), 1); /* root's writing leaves the bits */
    CHECK_EQ(mode_of("none"), S_IFREG | 06755);
    CHECK_EQ(fchown(fd, 5, 6), 0); /* a new owner takes them, from everybody */
    CHECK_EQ(mode_of("none"), S_IFREG | 0755);
    CHECK_EQ(symlink("none", "link"), 0);
    CHECK_EQ(lchown("link", 7, 8), 0);
    struct stat st;
    CHECK_EQ(lstat("link", &st), 0);
    CHECK(st.st_uid == 7 && st.st_gid == 8);
    CHECK_EQ(stat("none", &st), 0);
    CHECK(st.st_uid == 5 && st.st_gid == 6);
    CHECK_ERRNO(fchmodat(AT_FDCWD, "none", 0644, 0x4000), EINVAL);
    CHECK_EQ(chmod("link", 0600), 0);
    CHECK_EQ(mode_of("none"), S_IFREG | 0600);
    close(fd);
}

static void check_times(const char *name, long atime, long atime_ns, long mtime, long mtime_ns)
{
    struct stat st;

    CHECK_EQ(lstat(name, &st), 0);
    CHECK_EQ(st.st_atim.tv_sec, atime);
    CHECK_EQ(st.st_atim.tv_nsec, atime_ns);
    CHECK_EQ(st.st_mtim.tv_sec, mtime);
    CHECK_EQ(st.st_mtim.tv_nsec, mtime_ns);
}

static void test_times(void)
{
    struct timespec now, times[2] = {{100, 5}, {200, 6}};
    struct stat st, later;

    CHECK_EQ(utimensat(AT_FDCWD, "none", times, 0), 0);
    check_times("none", 100, 5, 200, 6);
    times[0].tv_nsec = UTIME_OMIT;
    times[1] = (struct timespec){300, 999999999};
    CHECK_EQ(utimensat(AT_FDCWD, "link", times, 0), 0);
    check_times("none", 100, 5, 300, 999999999);
    times[0] = (struct timespec){1, 1};
    CHECK_EQ(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW), 0);
    check_times("none", 100, 5, 300, 999999999);
    check_times("link", 1, 1, 300, 999999999);
    times[0].tv_nsec = 1000000000;
    CHECK_ERRNO(utimensat(AT_FDCWD, "none", times, 0), EINVAL);
    CHECK_ERRNO(utimensat(AT_FDCWD, "missing", NULL, 0), ENOENT);
    CHECK_EQ(utime("none", &(struct utimbuf){7, 8}), 0);
    check_times("none", 7, 0, 8, 0);
    times[0].tv_nsec = UTIME_NOW;
    times[1].tv_nsec = UTIME_OMIT;
    CHECK_EQ(utimensat(AT_FDCWD, "none", times, 0), 0);
    clock_gettime(CLOCK_REALTIME, &now);
    CHECK_EQ(stat("none", &st), 0);
    CHECK(st.st_atime <= now.tv_sec && st.st_atime >= now.tv_sec - 5);
    CHECK_EQ(st.st_mtime, 8);
    CHECK(st.st_ctime <= now.tv_sec && st.st_ctime >= now.tv_sec - 5);
    /* A write moves mtime and ctime, a change of a folder's names the folder's. */
    int fd = open("none", O_WRONLY | O_APPEND);
    CHECK_EQ(write(fd, "y", 1), 1);
    CHECK_EQ(fstat(fd, &later), 0);
    CHECK(later.st_mtime >= st.st_ctime);
    close(fd);
    CHECK_EQ(utime("open", &(struct utimbuf){7, 8}), 0);
    make_file("open/fresh", 0600);
    CHECK_EQ(stat("open", &st), 0);
    CHECK(st.st_mtime >= later.st_mtime - 1);
    CHECK_EQ(st.st_atime, 7);
    CHECK_EQ(unlink("none"), 0);
    CHECK_EQ(unlink("link"), 0);
}

int main(void)
{
    char top[] = "/tmp/modes-XXXXXX";

    if (geteuid() != 0)
        check_skip("needs root");
    umask(0);
    if (!mkdtemp(top) || chdir(top) < 0)
        check_skip("no folder can be made in /tmp");
    CHECK_EQ(chmod(top, 0755), 0);
    make_file("by_mode", 0640);
    CHECK_EQ(chown("by_mode", 1000, 1000), 0);
    static const struct {
        const char *name;
        mode_t mode;
    } dirs[] = {{"secret", 0700},  {"listed", 0744}, {"searched", 0711},
                {"sticky", 01777}, {"open", 0777},   {"setgid", 02777}};
    for (unsigned i = 0; i < ARRAY_COUNT(dirs); i++)
        CHECK_EQ(mkdir(dirs[i].name, 0700) | chmod(dirs[i].name, dirs[i].mode), 0);
    CHECK_EQ(chown("setgid", 0, 1001), 0);
    CHECK_EQ(mode_of("setgid"), S_IFDIR | 02777);
    make_file("secret/file", 0666);
    make_file("listed/file", 0666);
    make_file("searched/file", 0666);
    make_file("sticky/by_1000", 0666);
    make_file("open/by_1000", 0600);
    CHECK_EQ(chown("sticky/by_1000", 1000, 1000), 0);
    CHECK_EQ(chown("open/by_1000", 1000, 1000), 0);
    as(1000, 1000, 1001, owner_checks);
    as(1500, 1500, 1000, group_checks);
    as(2000, 2000, 2000, other_checks);
    real_ids();
    root_checks();
    test_times();
    static const char *const leave[] = {"setgid/file",    "open/setid",  "open/fresh",
                                        "secret/file",    "listed/file", "searched/file",
                                        "sticky/by_1000", "by_mode"};
    for (unsigned i = 0; i < ARRAY_COUNT(leave); i++)
        CHECK_EQ(unlink(leave[i]), 0);
    CHECK_EQ(rmdir("setgid/dir"), 0);
    for (unsigned i = 0; i < ARRAY_COUNT(dirs); i++)
        CHECK_EQ(rmdir(dirs[i].name), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
