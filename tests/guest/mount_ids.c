/*
 * Mounts of other mount namespaces by number: listmount(2), statmount(2) and the ioctls of their
 * files. As root.
 */
#include <fcntl.h>
#include <signal.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "text.h"

#define NR_STATMOUNT 457
#define NR_LISTMOUNT 458
#define ROOT_OF_ALL  UINT64_MAX
#define MNT_BASIC    2
#define MNT_POINT    0x10
#define MNT_NS_ID    0x40
#define GET_MNTNS_ID _IOR(0xb7, 5, uint64_t)
#define MNT_INFO     _IOR(0xb7, 10, struct ns_info)
#define MNT_NEXT     _IOR(0xb7, 11, struct ns_info)
#define MNT_PREV     _IOR(0xb7, 12, struct ns_info)

struct ns_info {
    uint32_t size, mounts;
    uint64_t id;
};

struct request {
    uint32_t size, spare;
    uint64_t mount, param, ns;
};

struct status {
    uint32_t size, mnt_opts;
    uint64_t mask;
    uint32_t sb_dev_major, sb_dev_minor;
    uint64_t sb_magic;
    uint32_t sb_flags, fs_type;
    uint64_t mnt_id, mnt_parent_id;
    uint32_t mnt_id_old, mnt_parent_id_old;
    uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
    uint32_t mnt_root, mnt_point;
    uint64_t mnt_ns_id;
    uint8_t rest[1000];
};

static long list(uint64_t ns, uint64_t from, uint64_t *ids, size_t count)
{
    struct request r = {.size = sizeof(r), .mount = from, .ns = ns};

    return syscall(NR_LISTMOUNT, &r, ids, count, 0);
}

static long status_of(uint64_t ns, uint64_t mount, uint64_t mask, struct status *ret)
{
    struct request r = {.size = sizeof(r), .mount = mount, .param = mask, .ns = ns};

    memset(ret, 0, sizeof(*ret));
    return syscall(NR_STATMOUNT, &r, ret, sizeof(*ret), 0);
}

static uint64_t id_of(int fd)
{
    uint64_t id = 0;

    CHECK_EQ(ioctl(fd, GET_MNTNS_ID, &id), 0);
    return id;
}

static int map_root(void)
{
    return write_text("/proc/self/setgroups", "deny") | write_text("/proc/self/uid_map", "0 0 1") |
           write_text("/proc/self/gid_map", "0 0 1");
}

/* A process in a namespace of its own with two more mounts. */
static pid_t start(unsigned flags, int *ret_ns)
{
    int ready[2], hold[2];
    char path[40], c;
    pid_t child;

    CHECK_EQ(pipe(ready) + pipe(hold), 0);
    child = fork();
    if (child == 0) {
        if (unshare(flags) < 0 || ((flags & CLONE_NEWUSER) && map_root() < 0) ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", "/tmp", "tmpfs", 0, NULL) < 0 || mkdir("/tmp/in", 0755) < 0 ||
            mount("none", "/tmp/in", "tmpfs", 0, NULL) < 0)
            _exit(1);
        close(hold[1]);
        (void)!write(ready[1], "x", 1);
        (void)!read(hold[0], &c, 1);
        _exit(0);
    }
    close(ready[1]);
    CHECK_EQ(read(ready[0], &c, 1), 1);
    snprintf(path, sizeof(path), "/proc/%d/ns/mnt", child);
    *ret_ns = open(path, O_RDONLY);
    CHECK(*ret_ns >= 0);
    close(ready[0]);
    close(hold[0]);
    return child;
}

static void look_at(int ns_fd, const char *title)
{
    static uint64_t ids[1000];
    struct ns_info info = {.size = sizeof(info)};
    struct status st;
    uint64_t ns = id_of(ns_fd), last;
    long count = list(ns, ROOT_OF_ALL, ids, 1000);

    CHECK(count >= 2);
    CHECK_EQ(ioctl(ns_fd, MNT_INFO, &info), 0);
    CHECK_EQ(info.id, ns);
    CHECK(info.mounts >= count);
    for (long i = 0; i < count; i++) {
        CHECK_EQ(status_of(ns, ids[i], MNT_BASIC | MNT_POINT | MNT_NS_ID, &st), 0);
        CHECK_EQ(st.mnt_id, ids[i]);
        CHECK_EQ(st.mnt_ns_id, ns);
    }
    last = ids[count - 1];
    CHECK_EQ(status_of(ns, last, MNT_BASIC, &st), 0);
    CHECK_EQ(list(ns, st.mnt_parent_id, ids, 1000), 1);
    CHECK_EQ(ids[0], last);
    /* It is none of ours. */
    CHECK_ERRNO(status_of(0, last, MNT_BASIC, &st), ENOENT);
    CHECK_ERRNO(list(0, last, ids, 1000), ENOENT);
    note("%s: seen", title);
}

static void as_nobody(uint64_t ns)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        uint64_t ids[100];
        struct status st;

        if (setgid(1000) || setuid(1000))
            _exit(100);
        CHECK_ERRNO(list(ns, ROOT_OF_ALL, ids, 100), ENOENT);
        CHECK_ERRNO(status_of(ns, 1UL << 32, MNT_BASIC, &st), EPERM);
        CHECK_ERRNO(list(1UL << 60, ROOT_OF_ALL, ids, 100), ENOENT);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

int main(void)
{
    int own, fds[2];
    pid_t children[2];
    uint64_t ids[2], found = 0;
    struct ns_info info = {.size = sizeof(info)};
    struct status st;

    if (getuid() != 0)
        return CHECK_SKIPPED;
    own = open("/proc/self/ns/mnt", O_RDONLY);
    if (ioctl(own, GET_MNTNS_ID, &ids[0]) < 0)
        return CHECK_SKIPPED;
    CHECK(list(id_of(own), ROOT_OF_ALL, ids, 2) > 0);
    CHECK_EQ(status_of(id_of(own), ids[0], MNT_NS_ID, &st), 0);
    CHECK_EQ(st.mnt_ns_id, id_of(own));
    CHECK_ERRNO(list(1UL << 60, ROOT_OF_ALL, ids, 2), ENOENT);
    CHECK_ERRNO(status_of(1UL << 60, ids[0], MNT_BASIC, &st), ENOENT);
    children[0] = start(CLONE_NEWNS, &fds[0]);
    children[1] = start(CLONE_NEWNS | CLONE_NEWUSER, &fds[1]);
    look_at(fds[0], "sibling");
    look_at(fds[1], "of a user namespace");
    as_nobody(id_of(fds[0]));
    /* In the order of their numbers. */
    int low = id_of(fds[0]) < id_of(fds[1]) ? fds[0] : fds[1], high = fds[0] + fds[1] - low;
    for (int fd = dup(low), next; found != id_of(high); fd = next) {
        next = ioctl(fd, MNT_NEXT, &info);
        close(fd);
        if (!CHECK(next >= 0))
            break;
        CHECK_EQ(info.id, id_of(next));
        CHECK(info.id > found);
        found = info.id;
        if (found == id_of(high))
            close(next);
    }
    int prev = ioctl(high, MNT_PREV, &info);
    CHECK(prev >= 0 && info.id < id_of(high) && info.id >= id_of(low));
    close(prev);
    int other = open("/proc/self/ns/uts", O_RDONLY);
    uint64_t id;
    CHECK_ERRNO(ioctl(other, GET_MNTNS_ID, &id), EINVAL);
    for (int i = 0; i < 2; i++) {
        kill(children[i], 9);
        waitpid(children[i], NULL, 0);
        id = id_of(fds[i]);
        close(fds[i]);
    }
    CHECK_ERRNO(list(id, ROOT_OF_ALL, ids, 2), ENOENT);
    return check_done();
}
