/*
 * fanotify of a mount namespace: which mounts come, go and move (FAN_REPORT_MNT), and what cannot
 * be asked for together with it. FAN_PRE_ACCESS, which file systems in memory refuse. As root.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define REPORT_MNT     0x4000
#define MARK_NS        0x110
#define MNT_ATTACH     0x1000000UL
#define MNT_GONE       0x2000000UL
#define PRE_ACCESS     0x100000UL
#define TREE_CLONE     1
#define TREE_RECURSIVE 0x8000

static uint64_t known[32];
static int known_count;

/* Numbers differ from run to run: told in the order of their appearance. */
static int name_of(uint64_t id)
{
    for (int i = 0; i < known_count; i++) {
        if (known[i] == id)
            return i;
    }
    known[known_count] = id;
    return known_count++;
}

static void show_event(const struct fanotify_event_metadata *m)
{
    const char *at = (const char *)m + m->metadata_len, *end = (const char *)m + m->event_len;
    char line[200];
    int n = snprintf(line, sizeof(line), "  %llx fd %d, from us %d, %u bytes:", m->mask, m->fd,
                     m->pid == getpid(), m->event_len);

    while (at < end) {
        struct fanotify_event_info_header head;
        uint64_t id = 0;

        memcpy(&head, at, sizeof(head));
        if (head.info_type == 7)
            memcpy(&id, at + sizeof(uint64_t), sizeof(id));
        n += snprintf(line + n, sizeof(line) - (size_t)n, " %u/%u", head.info_type, head.len);
        if (id)
            n += snprintf(line + n, sizeof(line) - (size_t)n, " mount %d", name_of(id));
        at += head.len;
    }
    note("%s", line);
}

static void drain(int group, const char *what)
{
    char buf[8192] __attribute__((aligned(8)));
    ssize_t n = read(group, buf, sizeof(buf));

    note("%s: %d", what, n < 0 ? errno : 0);
    for (ssize_t at = 0; at < n;) {
        const struct fanotify_event_metadata *m = (const void *)(buf + at);

        show_event(m);
        at += m->event_len;
    }
}

static int new_group(unsigned flags)
{
    return fanotify_init(flags | FAN_NONBLOCK, O_RDONLY);
}

static int watch(int group, unsigned flags, uint64_t mask, int ns)
{
    return fanotify_mark(group, flags | MARK_NS, mask, ns, NULL) < 0 ? errno : 0;
}

static int put(const char *where)
{
    return mount("none", where, "tmpfs", 0, "");
}

static int bind_to(const char *from, const char *to, unsigned long flags)
{
    return mount(from, to, NULL, MS_BIND | flags, NULL);
}

static void test_events(int group)
{
    int tree;

    drain(group, "nothing");
    CHECK_EQ(put("a") + mkdir("a/x", 0755) + put("a/x"), 0);
    drain(group, "two");
    CHECK_EQ(bind_to("a", "b", 0) + bind_to("a", "c", MS_REC), 0);
    drain(group, "bound, one and two");
    CHECK_EQ(mount("c", "d", NULL, MS_MOVE, NULL), 0);
    drain(group, "moved");
    CHECK_EQ(umount("b") + umount2("d", MNT_DETACH), 0);
    drain(group, "unmounted, one and two");
    tree = (int)syscall(428, AT_FDCWD, "a", TREE_CLONE | TREE_RECURSIVE);
    drain(group, "alone");
    CHECK_EQ(syscall(429, tree, "", AT_FDCWD, "b", 4), 0);
    drain(group, "attached");
    close(tree);
    close((int)syscall(428, AT_FDCWD, "a", TREE_CLONE));
    CHECK_EQ(mount("none", "a", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    drain(group, "nothing moved");
    CHECK_EQ(umount2("b", MNT_DETACH), 0);
    drain(group, "away");
    CHECK_EQ(mount(NULL, "a", NULL, MS_SHARED, NULL) + bind_to("a", "b", 0), 0);
    drain(group, "shared");
    CHECK_EQ(umount2("b", MNT_DETACH) + umount2("a", MNT_DETACH), 0);
    drain(group, "all away");
}

static void test_masks(int group, int ns)
{
    int attach = new_group(REPORT_MNT), with_pidfd = new_group(REPORT_MNT | FAN_REPORT_PIDFD);

    CHECK_EQ(watch(group, FAN_MARK_REMOVE, MNT_ATTACH, ns), 0);
    CHECK_EQ(watch(attach, FAN_MARK_ADD, MNT_ATTACH, ns), 0);
    CHECK_EQ(watch(with_pidfd, FAN_MARK_ADD, MNT_GONE, ns), 0);
    CHECK_EQ(put("a") + mount("a", "b", NULL, MS_MOVE, NULL) + umount("b"), 0);
    drain(attach, "what came");
    drain(group, "what went");
    drain(with_pidfd, "and who did it");
    CHECK_EQ(watch(attach, FAN_MARK_REMOVE, MNT_ATTACH, ns), 0);
    CHECK_EQ(watch(attach, FAN_MARK_REMOVE, MNT_ATTACH, ns), ENOENT);
    CHECK_EQ(watch(with_pidfd, FAN_MARK_FLUSH, 0, ns), 0);
    CHECK_EQ(put("a") + umount("a"), 0);
    drain(attach, "no more");
    drain(with_pidfd, "no more");
    drain(group, "still");
    close(attach);
    close(with_pidfd);
}

static void test_other_namespace(int group)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(unshare(CLONE_NEWNS) || put("a") || umount("a"));
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    drain(group, "elsewhere");
}

static void test_pivot(int group)
{
    pid_t pid;
    int status;

    CHECK_EQ(put("a") + mkdir("a/old", 0755), 0);
    drain(group, "one more");
    pid = fork();
    if (pid == 0)
        _exit(syscall(SYS_pivot_root, "a", "a/old") < 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    drain(group, "pivoted");
}

static void test_refusals(int group, int ns)
{
    int user = open("/proc/self/ns/user", O_RDONLY), file = open("file", O_CREAT | O_RDWR, 0600);
    int plain = new_group(0), before = new_group(FAN_CLASS_PRE_CONTENT);

    CHECK_ERRNO(new_group(REPORT_MNT | FAN_CLASS_CONTENT), EINVAL);
    CHECK_ERRNO(new_group(REPORT_MNT | FAN_REPORT_FID), EINVAL);
    CHECK_EQ(watch(group, FAN_MARK_ADD, MNT_ATTACH, user), EINVAL);
    CHECK_EQ(watch(group, FAN_MARK_ADD, MNT_ATTACH, file), EINVAL);
    CHECK_EQ(watch(group, FAN_MARK_ADD, FAN_OPEN, ns), EINVAL);
    CHECK_EQ(watch(group, FAN_MARK_ADD, MNT_ATTACH | FAN_ONDIR, ns), EINVAL);
    CHECK_EQ(watch(plain, FAN_MARK_ADD, MNT_ATTACH, ns), EINVAL);
    CHECK_EQ(watch(plain, FAN_MARK_ADD, FAN_OPEN, ns), EINVAL);
    CHECK_EQ(watch(plain, FAN_MARK_FLUSH, 0, ns), EINVAL);
    CHECK_ERRNO(fanotify_mark(group, FAN_MARK_ADD, MNT_ATTACH, AT_FDCWD, "file"), EINVAL);
    CHECK_ERRNO(fanotify_mark(plain, FAN_MARK_ADD, MNT_ATTACH, AT_FDCWD, "file"), EINVAL);
    CHECK_ERRNO(fanotify_mark(plain, FAN_MARK_ADD, PRE_ACCESS, AT_FDCWD, "file"), EINVAL);
    CHECK_ERRNO(fanotify_mark(before, FAN_MARK_ADD, PRE_ACCESS, AT_FDCWD, "file"), EOPNOTSUPP);
    CHECK_ERRNO(fanotify_mark(before, FAN_MARK_ADD | FAN_MARK_MOUNT, PRE_ACCESS, AT_FDCWD, "."),
                EOPNOTSUPP);
    close(user);
    close(file);
    close(plain);
    close(before);
}

static void test_unprivileged(int ns)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        int group;

        if (setgid(1000) || setuid(1000))
            _exit(100);
        group = new_group(REPORT_MNT);
        CHECK(group >= 0);
        CHECK_EQ(watch(group, FAN_MARK_ADD, MNT_ATTACH, ns), EPERM);
        CHECK_ERRNO(new_group(REPORT_MNT | FAN_UNLIMITED_MARKS), EPERM);
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void test_info(int group, int ns)
{
    char path[64], line[200];
    struct stat st;
    unsigned ino;
    FILE *info;

    CHECK_EQ(fstat(ns, &st), 0);
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", group);
    info = fopen(path, "r");
    while (CHECK(info != NULL) && fgets(line, sizeof(line), info)) {
        char *rest = strstr(line, " mflags");

        if (sscanf(line, "fanotify mnt_ns:%u", &ino) == 1 && rest) {
            CHECK_EQ(ino, st.st_ino);
            note("fanotify mnt_ns:...%s", strtok(rest, "\n"));
        }
    }
    fclose(info);
}

int main(void)
{
    char folder[] = "/tmp/kvmsentry-fanotify-XXXXXX";
    int ns, group;

    umask(022);
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return CHECK_SKIPPED;
    group = new_group(REPORT_MNT);
    if (group < 0)
        return CHECK_SKIPPED;
    CHECK(mkdtemp(folder));
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(put(folder) + chdir(folder), 0);
    CHECK_EQ(mkdir("a", 0755) + mkdir("b", 0755) + mkdir("c", 0755) + mkdir("d", 0755), 0);
    ns = open("/proc/self/ns/mnt", O_RDONLY);
    test_refusals(group, ns);
    test_unprivileged(ns);
    CHECK_EQ(watch(group, FAN_MARK_ADD, MNT_ATTACH | MNT_GONE, ns), 0);
    test_info(group, ns);
    test_events(group);
    test_other_namespace(group);
    test_masks(group, ns);
    CHECK_EQ(watch(group, FAN_MARK_ADD, MNT_ATTACH, ns), 0);
    test_pivot(group);
    /* The root is another one now. */
    CHECK_EQ(chdir("/old") + umount2(folder + 1, MNT_DETACH) + rmdir(folder + 1), 0);
    return check_done();
}
