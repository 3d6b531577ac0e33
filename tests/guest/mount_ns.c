/*
 * Mount namespaces: what is mounted in one is not seen in another unless it is to be; entering one;
 * another root; what is told of mounts by number. Root only.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "child.h"

#define SYS_STATMOUNT 457
#define SYS_LISTMOUNT 458

static char base[64];

struct request {
    uint32_t size, spare;
    uint64_t id, param, ns;
};

struct told {
    uint32_t size, opts;
    uint64_t mask;
    uint32_t major, minor;
    uint64_t magic;
    uint32_t sb_flags, fs_type;
    uint64_t id, parent;
    uint32_t old_id, old_parent;
    uint64_t attr, propagation, group, master, from;
    uint32_t root, point;
    uint64_t ns;
    uint32_t subtype, source;
    uint64_t more[48];
    char text[4096];
};

static bool exists(const char *name)
{
    return access(name, F_OK) == 0;
}

/* In a child whose namespace is its own; what it says at its end. */
static int in_namespace(int (*body)(void))
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(CLONE_NEWNS) ? 99 : body());
    return status_of(pid) >> 8;
}

static int mount_privately(void)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("x", "d", "tmpfs", 0, NULL))
        return 1;
    close(open("d/inner", O_CREAT | O_WRONLY, 0600));
    return exists("d/inner") && exists("../") ? 0 : 2;
}

/* The base is shared in the parent, so that it gets what happens here, and the other way round. */
static int mount_shared(void)
{
    return mount("x", "d", "tmpfs", 0, NULL) || mkdir("d/seen", 0755) ? 1 : 0;
}

static int mount_as_slave(void)
{
    if (mount(NULL, base, NULL, MS_SLAVE, NULL) || mount("x", "d", "tmpfs", 0, NULL))
        return 1;
    return mkdir("d/unseen", 0755);
}

static void test_apart(void)
{
    CHECK_EQ(in_namespace(mount_privately), 0);
    CHECK(!exists("d/inner"));
    CHECK_EQ(in_namespace(mount_shared), 0);
    CHECK(!exists("d/seen"));
    CHECK_EQ(mount(NULL, base, NULL, MS_SHARED, NULL), 0);
    CHECK_EQ(in_namespace(mount_shared), 0);
    CHECK(exists("d/seen"));
    CHECK_EQ(umount("d"), 0);
    CHECK_EQ(in_namespace(mount_as_slave), 0);
    CHECK(!exists("d/unseen"));
    CHECK_EQ(mount(NULL, base, NULL, MS_PRIVATE, NULL), 0);
}

/* A child holds a namespace in which something is mounted; we go there and come back. */
static void test_enter(void)
{
    int own = open("/proc/self/ns/mnt", O_RDONLY), there, go[2], ready[2];
    char name[64], first[64], second[64];
    ssize_t n;
    pid_t pid;

    CHECK(pipe(go) == 0 && pipe(ready) == 0);
    pid = fork();
    if (pid == 0) {
        char c;

        close(go[1]);
        if (unshare(CLONE_NEWNS) || mount("x", "d", "tmpfs", 0, NULL) || mkdir("d/there", 0755))
            _exit(1);
        if (write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 0)
            _exit(2);
        _exit(0);
    }
    close(go[0]);
    CHECK_EQ(read(ready[0], name, 1), 1);
    snprintf(name, sizeof(name), "/proc/%d/ns/mnt", pid);
    there = open(name, O_RDONLY);
    n = readlink(name, first, sizeof(first) - 1);
    first[n > 0 ? n : 0] = '\0';
    n = readlink("/proc/self/ns/mnt", second, sizeof(second) - 1);
    second[n > 0 ? n : 0] = '\0';
    CHECK(strcmp(first, second) != 0);
    CHECK(!exists("d/there"));
    CHECK_EQ(setns(there, CLONE_NEWNS), 0);
    CHECK_EQ(chdir(base), 0);
    CHECK(exists("d/there"));
    CHECK_ERRNO(rmdir("d"), EBUSY);
    CHECK_EQ(setns(own, 0), 0);
    CHECK_EQ(chdir(base), 0);
    CHECK(!exists("d/there"));
    /* Here it is no mount point, so it can be removed; what is mounted there goes with it. */
    CHECK_EQ(rmdir("d"), 0);
    CHECK_EQ(setns(there, 0), 0);
    CHECK_EQ(chdir(base), 0);
    CHECK(!exists("d"));
    CHECK_EQ(setns(own, 0), 0);
    CHECK_EQ(chdir(base), 0);
    CHECK_EQ(mkdir("d", 0755), 0);
    close(there);
    close(own);
    close(go[1]);
    CHECK_EQ(status_of(pid), 0);
    close(ready[0]);
    close(ready[1]);
}

static int pivot(void)
{
    struct stat st;

    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mount("new", "d", "tmpfs", 0, NULL) || mkdir("d/old", 0755) || mkdir("d/sub", 0755))
        return 1;
    if (syscall(SYS_pivot_root, "d/sub", "d/old") != -1 || errno != EINVAL) /* no mount point */
        return 2;
    if (syscall(SYS_pivot_root, "/", "/") != -1 || errno != EBUSY)
        return 3;
    if (syscall(SYS_pivot_root, "d", ".") != -1 || errno != EINVAL) /* not below it */
        return 4;
    if (syscall(SYS_pivot_root, "d", "d/old"))
        return 5;
    if (!exists("/old/proc") || !exists("/sub"))
        return 6;
    if (chdir("/") || umount2("/old", MNT_DETACH) || rmdir("/old") || !exists("/sub"))
        return 7;
    return stat("/..", &st) || !exists("/../sub") ? 8 : 0;
}

/* As runc does it: both upon each other. */
static int pivot_in_place(void)
{
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mount("new", "d", "tmpfs", 0, NULL) || mkdir("d/sub", 0755) || chdir("d"))
        return 1;
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        return 2;
    return exists("/sub") && !exists("/proc") ? 0 : 3;
}

static void test_pivot(void)
{
    struct stat before, after;

    CHECK_EQ(stat("/", &before), 0);
    CHECK_EQ(in_namespace(pivot), 0);
    CHECK_EQ(in_namespace(pivot_in_place), 0);
    CHECK_EQ(stat("/", &after), 0);
    CHECK(before.st_dev == after.st_dev && before.st_ino == after.st_ino);
}

static uint64_t unique_id(const char *name)
{
    struct statx stx;

    CHECK_EQ(syscall(SYS_statx, AT_FDCWD, name, 0, 0x4000 /* STATX_MNT_ID_UNIQUE */, &stx), 0);
    CHECK(stx.stx_mask & 0x4000);
    return stx.stx_mnt_id;
}

static void test_told(void)
{
    struct request request = {.size = 32};
    static struct told told;
    uint64_t ids[64], list_id, top, inner;
    char place[128];

    CHECK_EQ(mount("the source", "d", "tmpfs", MS_NODEV, "size=64k"), 0);
    CHECK_EQ(mkdir("d/in", 0755), 0);
    CHECK_EQ(mount("d/in", "d/in", NULL, MS_BIND, NULL), 0);
    top = unique_id("d");
    inner = unique_id("d/in");
    CHECK(top != inner);
    request.id = top;
    request.param = 0x23b; /* super, mount, root, point, type, source */
    CHECK_EQ(syscall(SYS_STATMOUNT, &request, &told, sizeof(told), 0), 0);
    CHECK_EQ(told.mask, request.param);
    CHECK_EQ(told.id, top);
    CHECK_EQ(told.parent, unique_id("."));
    CHECK_EQ(told.magic, 0x1021994);
    CHECK_EQ(told.attr, 4 /* NODEV, relatime */);
    CHECK_EQ(told.propagation, MS_PRIVATE);
    CHECK(strcmp(told.text + told.fs_type, "tmpfs") == 0);
    CHECK(strcmp(told.text + told.source, "the source") == 0);
    CHECK(strcmp(told.text + told.root, "/") == 0);
    snprintf(place, sizeof(place), "%s/d", base);
    CHECK(strcmp(told.text + told.point, place) == 0);
    request.id = inner;
    CHECK_EQ(syscall(SYS_STATMOUNT, &request, &told, sizeof(told), 0), 0);
    CHECK_EQ(told.parent, top);
    CHECK(strcmp(told.text + told.root, "/in") == 0);
    CHECK_ERRNO(syscall(SYS_STATMOUNT, &request, &told, 512, 0), EOVERFLOW);
    CHECK_ERRNO(syscall(SYS_STATMOUNT, &request, &told, sizeof(told), 1), EINVAL);
    request.param = 2;
    CHECK_EQ(syscall(SYS_STATMOUNT, &request, &told, 100, 0), 0);
    request.id = inner + 100000;
    CHECK_ERRNO(syscall(SYS_STATMOUNT, &request, &told, sizeof(told), 0), ENOENT);
    request.id = 1;
    CHECK_ERRNO(syscall(SYS_STATMOUNT, &request, &told, sizeof(told), 0), EINVAL);
    request.size = 8;
    CHECK_ERRNO(syscall(SYS_STATMOUNT, &request, &told, sizeof(told), 0), EINVAL);

    request = (struct request){.size = 24, .id = top};
    CHECK_EQ(syscall(SYS_LISTMOUNT, &request, ids, 64, 0), 1);
    CHECK_EQ(ids[0], inner);
    request.id = unique_id(".");
    CHECK_EQ(syscall(SYS_LISTMOUNT, &request, ids, 64, 0), 2);
    CHECK(ids[0] == top && ids[1] == inner);
    CHECK_EQ(syscall(SYS_LISTMOUNT, &request, ids, 64, 1), 2);
    CHECK(ids[0] == inner && ids[1] == top);
    request.param = top;
    CHECK_EQ(syscall(SYS_LISTMOUNT, &request, ids, 64, 0), 1);
    CHECK_EQ(ids[0], inner);
    request.param = 5;
    CHECK_ERRNO(syscall(SYS_LISTMOUNT, &request, ids, 64, 0), EINVAL);
    request = (struct request){.size = 24, .id = UINT64_MAX};
    list_id = 0;
    for (long n; (n = syscall(SYS_LISTMOUNT, &request, ids, 2, 0)) > 0;) {
        for (long i = 0; i < n; i++)
            list_id = ids[i] == inner ? inner : list_id;
        request.param = ids[n - 1];
    }
    CHECK_EQ(list_id, inner);
    CHECK_EQ(umount2("d", MNT_DETACH), 0);
}

int main(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0)
        return CHECK_SKIPPED;
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    snprintf(base, sizeof(base), "/tmp/mount_ns-%d", getpid());
    CHECK_EQ(mkdir(base, 0755), 0);
    CHECK_EQ(mount("base", base, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chdir(base), 0);
    CHECK_EQ(mkdir("d", 0755), 0);
    test_apart();
    test_enter();
    test_pivot();
    test_told();
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(umount(base), 0);
    CHECK_EQ(rmdir(base), 0);
    return check_done();
}
