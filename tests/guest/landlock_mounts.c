/*
 * Landlock and mounts: who is under a ruleset about files changes no mounts, whatever its rules
 * are, though it may prepare some; one about ports alone changes nothing. As root.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define NR_OPEN_TREE     428
#define NR_MOVE_MOUNT    429
#define NR_FSOPEN        430
#define NR_FSCONFIG      431
#define NR_FSMOUNT       432
#define NR_MOUNT_SETATTR 442
#define NR_CREATE        444
#define NR_RESTRICT      446

/* <sys/mount.h> and <linux/mount.h> do not go together. */
#define BIND      4096
#define REMOUNT   32
#define MOVE      8192
#define RECURSIVE 16384
#define PRIVATE   (1 << 18)
#define DETACH    2

int mount(const char *source, const char *target, const char *type, unsigned long flags,
          const void *data);
int umount2(const char *target, int flags);

struct attr {
    uint64_t fs, net, scoped;
};

static char top[64];

static int result(long r)
{
    return r < 0 ? errno : 0;
}

static int restrict_self(uint64_t fs, uint64_t net)
{
    struct attr attr = {.fs = fs, .net = net};
    int fd = (int)syscall(NR_CREATE, &attr, sizeof(attr), 0), err;

    if (fd < 0)
        return -1;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    err = (int)syscall(NR_RESTRICT, fd, 0);
    close(fd);
    return err;
}

static int make_detached(void)
{
    int fs = (int)syscall(NR_FSOPEN, "tmpfs", 0), fd;

    if (fs < 0)
        return -1;
    syscall(NR_FSCONFIG, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    fd = (int)syscall(NR_FSMOUNT, fs, 0, 0);
    close(fs);
    return fd;
}

static void try_all(const char *title)
{
    struct mount_attr set = {.attr_set = MOUNT_ATTR_NOSUID};
    int detached, tree;

    note("%s: tmpfs %d bind %d remount %d private %d", title,
         result(mount("none", "a", "tmpfs", 0, NULL)), result(mount("b", "a", NULL, BIND, NULL)),
         result(mount(NULL, "m", NULL, REMOUNT | BIND | 1, NULL)),
         result(mount(NULL, "m", NULL, PRIVATE, NULL)));
    note("%s: move %d umount %d detach %d", title, result(mount("m", "b", NULL, MOVE, NULL)),
         result(umount2("c", 0)), result(umount2("d", DETACH)));
    detached = make_detached();
    tree = (int)syscall(NR_OPEN_TREE, AT_FDCWD, ".", OPEN_TREE_CLONE);
    note("%s: detached %d tree %d", title, detached < 0 ? errno : 0, tree < 0 ? errno : 0);
    note("%s: move_mount %d and %d, setattr %d", title,
         result(syscall(NR_MOVE_MOUNT, detached, "", AT_FDCWD, "e", MOVE_MOUNT_F_EMPTY_PATH)),
         result(syscall(NR_MOVE_MOUNT, tree, "", AT_FDCWD, "f", MOVE_MOUNT_F_EMPTY_PATH)),
         result(syscall(NR_MOUNT_SETATTR, AT_FDCWD, "g", 0, &set, sizeof(set))));
    note("%s: pivot_root %d chroot %d", title, result(syscall(SYS_pivot_root, "g", "g")),
         result(chroot(".")));
    close(detached);
    close(tree);
}

static void run(const char *title, uint64_t fs, uint64_t net)
{
    static const char *const names[] = {"c", "d", "g", "m"};
    pid_t child = fork();
    int status;

    if (child == 0) {
        CHECK_EQ(unshare(CLONE_NEWNS), 0);
        CHECK_EQ(mount(NULL, "/", NULL, RECURSIVE | PRIVATE, NULL), 0);
        CHECK_EQ(mount("none", top, "tmpfs", 0, NULL) + chdir(top), 0);
        for (char c = 'a'; c <= 'g'; c++)
            CHECK_EQ(mkdir((char[]){c, 0}, 0755), 0);
        CHECK_EQ(mkdir("m", 0755), 0);
        for (size_t i = 0; i < ARRAY_COUNT(names); i++)
            CHECK_EQ(mount("none", names[i], "tmpfs", 0, NULL), 0);
        if (fs || net)
            CHECK_EQ(restrict_self(fs, net), 0);
        try_all(title);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

int main(void)
{
    if (getuid() != 0)
        check_skip("mounts are for root");
    if (syscall(NR_CREATE, NULL, 0, 1) < 4)
        check_skip("no Landlock, or one that is too old");
    snprintf(top, sizeof(top), "/tmp/landlock-mounts.%d", (int)getpid());
    CHECK_EQ(mkdir(top, 0755), 0);
    run("free", 0, 0);
    run("ports", 0, 1);
    run("files", 1, 0);
    run("files, seldom", 1 << 12, 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
