/*
 * Id-mapped mounts: who may have one, and what owners are seen, compared and kept through it. On a
 * tmpfs of its own. As root.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

#define open_tree_nr      428
#define move_mount_nr     429
#define mount_setattr_nr  442
#define open_tree_attr_nr 467
#define TREE_CLONE        1
#define IDMAP             0x100000UL

struct attr {
    uint64_t set, clear, propagation, userns_fd;
};

static int why(long result)
{
    return result < 0 ? errno : 0;
}

/* Both maps of a process. */
static void write_maps(pid_t pid, const char *map)
{
    static const char *const kinds[] = {"uid_map", "gid_map"};

    for (int i = 0; i < 2; i++) {
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/%s", pid, kinds[i]);
        fd = open(path, O_WRONLY);
        CHECK_EQ(write(fd, map, strlen(map)), (long)strlen(map));
        close(fd);
    }
}

/* A user namespace with that map; NULL: none. */
static int user_ns(const char *map)
{
    int ready[2], done[2], fd;
    char c = 0, path[64];
    pid_t pid;

    CHECK_EQ(pipe(ready) + pipe(done), 0);
    pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWUSER) < 0 || write(ready[1], &c, 1) != 1 || read(done[0], &c, 1) != 1)
            _exit(1);
        _exit(0);
    }
    CHECK_EQ(read(ready[0], &c, 1), 1);
    if (map)
        write_maps(pid, map);
    snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
    fd = open(path, O_RDONLY);
    CHECK_EQ(write(done[1], &c, 1), 1);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    close(ready[0]);
    close(ready[1]);
    close(done[0]);
    close(done[1]);
    return fd;
}

static int clone_tree(const char *path)
{
    return (int)syscall(open_tree_nr, AT_FDCWD, path, TREE_CLONE);
}

static int set(int fd, uint64_t set_attr, uint64_t clear, int ns)
{
    struct attr attr = {set_attr, clear, 0, (uint64_t)ns};

    return why(syscall(mount_setattr_nr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)));
}

static int tree_attr(int fd, unsigned flags, uint64_t set_attr, uint64_t clear, int ns)
{
    struct attr attr = {set_attr, clear, 0, (uint64_t)ns};

    return (int)syscall(open_tree_attr_nr, fd, "", flags | AT_EMPTY_PATH, &attr, sizeof(attr));
}

static void check_owner(int dir, const char *path, uid_t uid, gid_t gid)
{
    struct stat st;

    CHECK_EQ(fstatat(dir, path, &st, 0), 0);
    CHECK_EQ(st.st_uid, uid);
    CHECK_EQ(st.st_gid, gid);
}

static void make(const char *path, uid_t id)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0644);

    CHECK_EQ(fchown(fd, id, id), 0);
    close(fd);
}

static void become(uid_t id)
{
    CHECK_EQ(seteuid(0) + setegid(0) + setegid(id) + seteuid(id), 0);
}

/* Which namespaces, mounts and file systems are taken. */
static void test_refusals(int ns)
{
    int tree = clone_tree("."), here = open(".", O_RDONLY), empty = user_ns(NULL), other, writer;
    int uts = open("/proc/self/ns/uts", O_RDONLY), own = open("/proc/self/ns/user", O_RDONLY);

    CHECK_EQ(set(tree, IDMAP, 0, empty), EINVAL);
    CHECK_EQ(set(tree, IDMAP, 0, uts), EINVAL);
    CHECK_EQ(set(tree, IDMAP, 0, own), EPERM);
    CHECK_EQ(set(tree, IDMAP, 0, here), EINVAL);
    CHECK_EQ(set(tree, IDMAP, 0, -1), EINVAL);
    CHECK_EQ(set(tree, IDMAP, 0, 99), EBADF);
    CHECK_EQ(set(tree, 0, IDMAP, ns), EINVAL);
    CHECK_EQ(set(here, IDMAP, 0, ns), EINVAL);
    writer = openat(tree, "five", O_WRONLY);
    CHECK_EQ(set(tree, IDMAP, 0, ns), EBUSY);
    close(writer);
    CHECK_EQ(set(tree, IDMAP, 0, ns), 0);
    CHECK_EQ(set(tree, IDMAP, 0, ns), EPERM);
    close(tree);
    tree = clone_tree("/proc");
    CHECK_EQ(set(tree, IDMAP, 0, ns), EINVAL);
    close(tree);
    other = tree_attr(here, TREE_CLONE, IDMAP, 0, ns);
    if (other < 0) {
        CHECK_EQ(errno, ENOSYS);
    } else {
        check_owner(other, "five", 10005, 10005);
        tree = tree_attr(other, TREE_CLONE, 0, IDMAP, 99);
        check_owner(tree, "five", 5, 5);
        close(tree);
        tree = tree_attr(other, TREE_CLONE, IDMAP, IDMAP, ns);
        check_owner(tree, "five", 10005, 10005);
        close(tree);
        CHECK_ERRNO(tree_attr(here, 0, IDMAP, 0, ns), EINVAL);
    }
    close(other);
    close(here);
    close(empty);
    close(uts);
    close(own);
}

static void test_seen(int tree)
{
    check_owner(tree, "zero", 10000, 10000);
    check_owner(tree, "five", 10005, 10005);
    check_owner(tree, "far", 65534, 65534);
    check_owner(tree, "dir", 10500, 10500);
    check_owner(AT_FDCWD, "five", 5, 5);
}

/* Root is nobody there, and may do what he may because he is root. */
static void test_root(int tree)
{
    CHECK_ERRNO(openat(tree, "new", O_CREAT | O_RDWR, 0644), EOVERFLOW);
    CHECK_ERRNO(mkdirat(tree, "new", 0755), EOVERFLOW);
    CHECK_ERRNO(symlinkat("x", tree, "new"), EOVERFLOW);
    CHECK_ERRNO(linkat(tree, "five", tree, "new", 0), EOVERFLOW);
    CHECK_ERRNO(renameat(tree, "five", tree, "new"), EOVERFLOW);
    CHECK_ERRNO(openat(tree, "far", O_RDWR), EACCES);
    CHECK_EQ(why(openat(tree, "far", O_RDONLY)), 0);
    CHECK_ERRNO(fchmodat(tree, "far", 0600, 0), EOVERFLOW);
    CHECK_ERRNO(utimensat(tree, "far", NULL, 0), EACCES);
    CHECK_ERRNO(unlinkat(tree, "far", 0), EOVERFLOW);
    CHECK_ERRNO(fchownat(tree, "zero", 7, 8, 0), EOVERFLOW);
    CHECK_ERRNO(fchownat(tree, "far", 10007, (gid_t)-1, 0), EOVERFLOW);
    CHECK_EQ(fchownat(tree, "zero", 10007, 10008, 0), 0);
    check_owner(AT_FDCWD, "zero", 7, 8);
    CHECK_EQ(fchownat(tree, "far", 10001, 10001, 0), 0);
    check_owner(AT_FDCWD, "far", 1, 1);
    CHECK_EQ(fchmodat(tree, "far", 0600, 0) + utimensat(tree, "far", NULL, 0), 0);
    CHECK_EQ(unlinkat(tree, "far", 0), 0);
}

/* Who is seen as the owner is the owner; who is kept as one is not. */
static void test_users(int tree)
{
    struct stat st;

    become(10005);
    CHECK_EQ(why(openat(tree, "five", O_RDWR)), 0);
    CHECK_EQ(fchmodat(tree, "five", 0600, 0), 0);
    CHECK_ERRNO(open("five", O_RDONLY), EACCES);
    CHECK_EQ(mkdirat(tree, "open/made", 02755), 0);
    check_owner(tree, "open/made", 10005, 10005);
    check_owner(AT_FDCWD, "open/made", 5, 5);
    CHECK_ERRNO(unlinkat(tree, "open/sticky/one", 0), EPERM);
    CHECK_ERRNO(mkdirat(tree, "dir/no", 0755), EACCES);
    become(10500);
    CHECK_EQ(mkdirat(tree, "dir/yes", 0755), 0);
    CHECK_EQ(fstatat(tree, "dir/yes", &st, 0), 0);
    CHECK_EQ(st.st_gid, 10500);
    CHECK_ERRNO(fchownat(tree, "dir", 10501, -1, 0), EPERM);
    become(5);
    CHECK_ERRNO(openat(tree, "five", O_RDONLY), EACCES);
    CHECK_ERRNO(mkdirat(tree, "open/not", 0755), EOVERFLOW);
    become(10001);
    CHECK_EQ(unlinkat(tree, "open/sticky/one", 0), 0);
    become(0);
    check_owner(AT_FDCWD, "dir/yes", 500, 500);
    CHECK_EQ(rmdir("open/made") + rmdir("dir/yes"), 0);
}

static int run_as(uid_t id, const char *path)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        if (setresgid(id, id, id) || setresuid(id, id, id))
            _exit(100);
        execl(path, path, "ids", NULL);
        _exit(101);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void make_program(void)
{
    int from = open("/proc/self/exe", O_RDONLY),
        to = open("run", O_CREAT | O_WRONLY | O_EXCL, 0755);
    char buf[65536];
    ssize_t n;

    while ((n = read(from, buf, sizeof(buf))) > 0)
        CHECK_EQ(write(to, buf, (size_t)n), n);
    CHECK_EQ(fchown(to, 5, 5) + fchmod(to, 06755), 0);
    close(from);
    close(to);
}

/* A set-user-ID program makes him who is seen as its owner; where nobody is, or where its mount is
 * in no namespace yet, it does not. */
static void test_exec(int tree)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d/run", tree);
    CHECK_EQ(run_as(10001, "./run"), 5);
    CHECK_EQ(run_as(10001, path), 101);
    CHECK_EQ(run_as(10001, "at/run"), 105);
    CHECK_EQ(chown("run", 70000, 70000) + chmod("run", 06755), 0);
    CHECK_EQ(run_as(10001, "at/run"), 101);
    CHECK_EQ(unlink("run"), 0);
}

/* An ACL's ids, and the root that file capabilities count for. */
static void test_attributes(int tree)
{
    struct {
        uint32_t version;
        struct {
            uint16_t tag, perm;
            uint32_t id;
        } entries[5];
    } acl = {2, {{1, 6, -1U}, {2, 4, 10077}, {4, 0, -1U}, {16, 4, -1U}, {32, 0, -1U}}}, got;
    struct vfs_ns_cap_data caps = {.magic_etc = VFS_CAP_REVISION_2, .data = {{.permitted = 1}}};
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d/five", tree);
    CHECK_EQ(setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0), 0);
    CHECK_EQ(getxattr("five", "system.posix_acl_access", &got, sizeof(got)), sizeof(got));
    CHECK_EQ(got.entries[1].id, 77);
    CHECK_EQ(getxattr(path, "system.posix_acl_access", &got, sizeof(got)), sizeof(got));
    CHECK_EQ(got.entries[1].id, 10077);
    become(10077);
    CHECK_EQ(why(openat(tree, "five", O_RDONLY)), 0);
    CHECK_ERRNO(open("five", O_RDONLY), EACCES);
    become(77);
    CHECK_ERRNO(openat(tree, "five", O_RDONLY), EACCES);
    CHECK_EQ(why(open("five", O_RDONLY)), 0);
    become(0);
    acl.entries[1].id = 77;
    CHECK_ERRNO(setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0), EINVAL);
    CHECK_EQ(setxattr("five", "security.capability", &caps, XATTR_CAPS_SZ_2, 0), 0);
    CHECK_EQ(getxattr(path, "security.capability", &caps, sizeof(caps)), XATTR_CAPS_SZ_3);
    CHECK_EQ(caps.rootid, 10000);
    CHECK_EQ(removexattr(path, "security.capability"), 0);
}

/* It stays with the mount and its copies, and is shown. */
static void test_attached(int tree, int ns)
{
    char line[512];
    bool shown = false;
    FILE *info;
    int copy;

    CHECK_EQ(mkdir("at", 0755) + mkdir("bound", 0755), 0);
    CHECK_EQ(syscall(move_mount_nr, tree, "", AT_FDCWD, "at", 4), 0);
    check_owner(AT_FDCWD, "at/five", 10005, 10005);
    CHECK_EQ(mount("at/dir", "bound", NULL, MS_BIND, NULL), 0);
    check_owner(AT_FDCWD, "bound", 10500, 10500);
    check_owner(AT_FDCWD, "dir", 500, 500);
    copy = clone_tree("at");
    make_program();
    test_exec(copy);
    CHECK_EQ(set(copy, IDMAP, 0, ns), EPERM);
    CHECK_EQ(set(tree, IDMAP, 0, ns), EPERM);
    close(copy);
    info = fopen("/proc/self/mountinfo", "r");
    while (CHECK(info != NULL) && fgets(line, sizeof(line), info))
        shown |= strstr(line, "/bound ") && strstr(line, ",idmapped ");
    CHECK(shown);
    fclose(info);
    CHECK_EQ(umount("bound") + umount2("at", MNT_DETACH), 0);
}

/* In a user namespace of one's own: of its own file systems, not of others'. */
static int nested(int ready, int mapped, int outer_tree)
{
    int tree, ns;
    char c = 0;

    CHECK_EQ(unshare(CLONE_NEWUSER | CLONE_NEWNS), 0);
    CHECK_EQ(write(ready, &c, 1), 1);
    CHECK_EQ(read(mapped, &c, 1), 1);
    CHECK_EQ(setresgid(0, 0, 0) + setresuid(0, 0, 0) + prctl(PR_SET_DUMPABLE, 1), 0);
    ns = user_ns("0 100 50");
    CHECK_EQ(set(outer_tree, IDMAP, 0, ns), EPERM);
    tree = clone_tree("dir");
    CHECK_EQ(set(tree, IDMAP, 0, ns), EPERM);
    close(tree);
    CHECK_EQ(mount("none", "dir", "tmpfs", 0, NULL), 0);
    make("dir/seven", 7);
    make("dir/late", 60);
    tree = clone_tree("dir");
    CHECK_EQ(set(tree, IDMAP, 0, open("/proc/self/ns/user", O_RDONLY)), EINVAL);
    CHECK_EQ(set(tree, IDMAP, 0, ns), 0);
    check_owner(tree, "seven", 107, 107);
    check_owner(tree, "late", 65534, 65534);
    CHECK_ERRNO(mkdirat(tree, "new", 0755), EOVERFLOW);
    CHECK_EQ(fchownat(tree, "seven", 149, 149, 0), 0);
    check_owner(AT_FDCWD, "dir/seven", 49, 49);
    return atomic_load(&check_failures) > 0;
}

static void test_nested(void)
{
    int ready[2], mapped[2], status, tree = clone_tree(".");
    pid_t pid;
    char c;

    CHECK_EQ(pipe(ready) + pipe(mapped), 0);
    pid = fork();
    if (pid == 0)
        _exit(nested(ready[1], mapped[0], tree));
    CHECK_EQ(read(ready[0], &c, 1), 1);
    write_maps(pid, "0 20000 1000");
    CHECK_EQ(write(mapped[1], &c, 1), 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(tree);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/kvmsentry-idmapped-XXXXXX";
    int ns, tree;

    /* test_exec()'s: who it has become, in short. */
    if (argc > 1)
        return geteuid() == getegid() ? (int)(geteuid() % 10000 + geteuid() / 10000 * 100) : 1;
    umask(022);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return CHECK_SKIPPED;
    CHECK(mkdtemp(folder));
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("none", folder, "tmpfs", 0, "mode=755") + chdir(folder), 0);
    make("zero", 0);
    make("five", 5);
    make("far", 70000);
    CHECK_EQ(mkdir("dir", 0755) + chown("dir", 500, 500), 0);
    CHECK_EQ(mkdir("open", 0755) + chmod("open", 0777), 0);
    CHECK_EQ(mkdir("open/sticky", 0755) + chmod("open/sticky", 01777), 0);
    make("open/sticky/one", 1);
    ns = user_ns("0 10000 1000");
    test_refusals(ns);
    tree = clone_tree(".");
    CHECK_EQ(set(tree, IDMAP, 0, ns), 0);
    test_seen(tree);
    test_root(tree);
    test_users(tree);
    test_attributes(tree);
    test_attached(tree, ns);
    test_nested();
    CHECK_EQ(chdir("/") + umount2(folder, MNT_DETACH) + rmdir(folder), 0);
    return check_done();
}
