/*
 * Control groups, version 2: making and removing, members and moving, freezing, killing, threaded
 * groups, limits, namespaces, clone3(2) into a group. Everything happens below a group of its own.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "text.h"

static char top[128], base[160], text[65536];
static volatile int *shared; /* what children count in */

static const char *at(const char *name)
{
    static char paths[8][400];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
    return path;
}

static const char *get(const char *name)
{
    int fd = open(name[0] == '/' ? name : at(name), O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (!CHECK(n >= 0))
        note("%s", name);
    text[n > 0 ? n : 0] = 0;
    close(fd);
    return text;
}

static int put(const char *name, const char *what)
{
    return write_text(name[0] == '/' ? name : at(name), what);
}

static int put_pid(const char *name, pid_t pid)
{
    char number[16];

    snprintf(number, sizeof(number), "%d\n", pid);
    return put(name, number);
}

/* Tells what was there at last. */
static bool becomes(const char *name, const char *want)
{
    for (int i = 0; i < 5000; i++) {
        if (strcmp(get(name), want) == 0)
            return true;
        usleep(1000);
    }
    note("%s stays %s", name, text);
    return false;
}

static bool holds(const char *name, pid_t pid)
{
    char line[16];

    snprintf(line, sizeof(line), "%d\n", pid);
    get(name);
    return strncmp(text, line, strlen(line)) == 0 ||
           (strstr(text, line) && strstr(text, line)[-1] == '\n');
}

static const char *where(pid_t pid)
{
    char path[64], *line;

    snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
    get(path);
    line = strstr(text, "0::");
    if (!CHECK(line != NULL))
        return "";
    line[strcspn(line, "\n")] = 0;
    return line + 3;
}

/* A child whose failures are its own. */
static pid_t part(void)
{
    pid_t pid = fork();

    if (pid == 0)
        check_failures = 0;
    return pid;
}

static pid_t spawn(void)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;) {
            ++*shared;
            usleep(500);
        }
    return pid;
}

static void finish(pid_t pid)
{
    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void test_names(void)
{
    struct stat st;

    CHECK_EQ(mkdir(at("a"), 0755), 0);
    CHECK_ERRNO(mkdir(at("a"), 0755), EEXIST);
    CHECK_ERRNO(mkdir(at("cgroup.procs"), 0755), EEXIST);
    CHECK_ERRNO(mkdir(at("two\nlines"), 0755), EINVAL);
    CHECK_EQ(mkdir(at("a/b"), 0755), 0);
    CHECK_EQ(stat(at("a"), &st), 0);
    CHECK_EQ(st.st_nlink, 3);
    CHECK_ERRNO(rmdir(at("a")), EBUSY);
    CHECK_ERRNO(unlink(at("a/cgroup.procs")), EPERM);
    CHECK_ERRNO(rmdir(at("a/cgroup.procs")), ENOTDIR);
    CHECK(strcmp(get("cgroup.stat"), "nr_descendants 2\n") == 0 ||
          strncmp(text, "nr_descendants 2\n", 17) == 0);
    int dir = open(at("a/b"), O_RDONLY | O_DIRECTORY);
    CHECK_EQ(rmdir(at("a/b")), 0);
    CHECK(openat(dir, "cgroup.procs", O_RDONLY) == -1 && (errno == ENOENT || errno == ENODEV));
    close(dir);
    CHECK_EQ(stat(at("a"), &st), 0);
    ino_t old = st.st_ino;
    CHECK_EQ(rmdir(at("a")), 0);
    CHECK_ERRNO(stat(at("a"), &st), ENOENT);
    CHECK_EQ(mkdir(at("a"), 0700), 0);
    CHECK_EQ(stat(at("a"), &st), 0);
    CHECK(st.st_ino != old);
    CHECK_EQ(rmdir(at("a")), 0);
}

static void test_members(void)
{
    char want[256];

    CHECK_EQ(mkdir(at("m"), 0755), 0);
    CHECK(strcmp(get("m/cgroup.events"), "populated 0\nfrozen 0\n") == 0);
    pid_t pid = spawn();
    CHECK_EQ(put_pid("m/cgroup.procs", pid), 0);
    CHECK(holds("m/cgroup.procs", pid) && holds("m/cgroup.threads", pid));
    CHECK(strcmp(get("m/cgroup.events"), "populated 1\nfrozen 0\n") == 0);
    CHECK(strcmp(get("cgroup.events"), "populated 1\nfrozen 0\n") == 0);
    snprintf(want, sizeof(want), "%s/m", strrchr(base, '/'));
    CHECK(strcmp(where(pid), want) == 0);
    CHECK_ERRNO(rmdir(at("m")), EBUSY);
    CHECK_ERRNO(put("m/cgroup.procs", "x"), EINVAL);
    CHECK_ERRNO(put("m/cgroup.procs", "-4"), EINVAL);
    CHECK_ERRNO(put_pid("m/cgroup.procs", 4194000), ESRCH);
    finish(pid);
    CHECK(strcmp(get("m/cgroup.events"), "populated 0\nfrozen 0\n") == 0);
    /* Children are born where their parent is. */
    pid = part();
    if (pid == 0) {
        int failed = put("m/cgroup.procs", "0") != 0;
        pid_t child = spawn();

        failed |= !holds("m/cgroup.procs", child);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        _exit(failed || check_failures);
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    long used = 0;
    CHECK_EQ(sscanf(get("m/cpu.stat"), "usage_usec %ld", &used), 1);
    CHECK(used > 0);
    CHECK_EQ(rmdir(at("m")), 0);
}

static void test_zombie(void)
{
    char want[256];
    siginfo_t info;

    CHECK_EQ(mkdir(at("z"), 0755), 0);
    pid_t pid = spawn();
    CHECK_EQ(put_pid("z/cgroup.procs", pid), 0);
    kill(pid, SIGKILL);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK(becomes("z/cgroup.procs", ""));
    CHECK_EQ(rmdir(at("z")), 0);
    snprintf(want, sizeof(want), "%s/z (deleted)", strrchr(base, '/'));
    CHECK(strcmp(where(pid), want) == 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void test_poll(void)
{
    CHECK_EQ(mkdir(at("p"), 0755), 0);
    int fd = open(at("p/cgroup.events"), O_RDONLY);
    struct pollfd p = {.fd = fd, .events = POLLPRI};
    char buf[64];

    CHECK_EQ(read(fd, buf, sizeof(buf)), 21);
    CHECK_EQ(poll(&p, 1, 0), 0);
    pid_t pid = spawn();
    CHECK_EQ(put_pid("p/cgroup.procs", pid), 0);
    CHECK_EQ(poll(&p, 1, 5000), 1);
    CHECK_EQ(p.revents, POLLPRI | POLLERR);
    CHECK_EQ(pread(fd, buf, sizeof(buf), 0), 21);
    CHECK(memcmp(buf, "populated 1\n", 12) == 0);
    CHECK_EQ(poll(&p, 1, 0), 0);
    finish(pid);
    CHECK_EQ(poll(&p, 1, 5000), 1);
    CHECK_EQ(pread(fd, buf, sizeof(buf), 0), 21);
    CHECK(memcmp(buf, "populated 0\n", 12) == 0);
    CHECK_EQ(rmdir(at("p")), 0);
    CHECK_ERRNO(pread(fd, buf, sizeof(buf), 0), ENODEV);
    close(fd);
}

static void test_freeze(void)
{
    CHECK_EQ(mkdir(at("f"), 0755), 0);
    CHECK_EQ(mkdir(at("f/g"), 0755), 0);
    CHECK(strcmp(get("f/cgroup.freeze"), "0\n") == 0);
    CHECK_ERRNO(put("f/cgroup.freeze", "2"), ERANGE);
    CHECK_ERRNO(put("f/cgroup.freeze", "x"), EINVAL);
    pid_t busy = fork();
    if (busy == 0)
        for (;;)
            ++*shared; /* never calls anything */
    pid_t sleeper = spawn();
    CHECK_EQ(put_pid("f/g/cgroup.procs", busy), 0);
    CHECK_EQ(put_pid("f/cgroup.procs", sleeper), 0);
    CHECK_EQ(put("f/cgroup.freeze", "1"), 0);
    CHECK(becomes("f/cgroup.events", "populated 1\nfrozen 1\n"));
    CHECK(becomes("f/g/cgroup.events", "populated 1\nfrozen 1\n"));
    CHECK(strcmp(get("f/g/cgroup.freeze"), "0\n") == 0);
    int before = *shared;
    usleep(20000);
    CHECK_EQ(*shared, before);
    /* A new member freezes as well; one that leaves thaws. */
    pid_t late = spawn();
    CHECK_EQ(put_pid("f/g/cgroup.procs", late), 0);
    CHECK(becomes("f/cgroup.events", "populated 1\nfrozen 1\n"));
    before = *shared;
    CHECK_EQ(put_pid("cgroup.procs", late), 0);
    for (int i = 0; i < 5000 && *shared == before; i++)
        usleep(1000);
    CHECK(*shared != before);
    finish(late);
    kill(sleeper, SIGKILL); /* reaches what is frozen */
    CHECK_EQ(waitpid(sleeper, NULL, 0), sleeper);
    CHECK_EQ(put("f/cgroup.freeze", "0"), 0);
    CHECK(becomes("f/g/cgroup.events", "populated 1\nfrozen 0\n"));
    before = *shared;
    for (int i = 0; i < 5000 && *shared == before; i++)
        usleep(1000);
    CHECK(*shared != before);
    finish(busy);
    CHECK_EQ(put("f/cgroup.freeze", "1"), 0);
    CHECK(strcmp(get("f/cgroup.events"), "populated 0\nfrozen 1\n") == 0);
    CHECK_EQ(rmdir(at("f/g")), 0);
    CHECK_EQ(rmdir(at("f")), 0);
}

/* Who waits in vfork(2) counts as frozen; inotify(7) tells of it. */
static void test_freeze_vfork(void)
{
    struct inotify_event event;

    CHECK_EQ(mkdir(at("v"), 0755), 0);
    int watch = inotify_init1(IN_NONBLOCK);
    CHECK(inotify_add_watch(watch, at("v/cgroup.events"), IN_MODIFY) >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        put("v/cgroup.procs", "0");
        if (vfork() == 0)
            for (;;)
                pause();
        _exit(0);
    }
    while (strchr(get("v/cgroup.procs"), '\n') == strrchr(text, '\n'))
        usleep(1000);
    CHECK_EQ(put("v/cgroup.freeze", "1"), 0);
    CHECK(becomes("v/cgroup.events", "populated 1\nfrozen 1\n"));
    CHECK_EQ(read(watch, &event, sizeof(event)), sizeof(event));
    CHECK_EQ(event.mask, IN_MODIFY);
    CHECK_EQ(put("v/cgroup.freeze", "0"), 0);
    CHECK(becomes("v/cgroup.events", "populated 1\nfrozen 0\n"));
    CHECK_EQ(put("v/cgroup.kill", "1"), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK(becomes("v/cgroup.events", "populated 0\nfrozen 0\n"));
    CHECK_EQ(rmdir(at("v")), 0);
    close(watch);
}

static void test_kill(void)
{
    pid_t pids[3];
    int status;

    CHECK_EQ(mkdir(at("k"), 0755), 0);
    CHECK_EQ(mkdir(at("k/l"), 0755), 0);
    for (int i = 0; i < 3; i++) {
        pids[i] = spawn();
        CHECK_EQ(put_pid(i ? "k/cgroup.procs" : "k/l/cgroup.procs", pids[i]), 0);
    }
    CHECK_ERRNO(put("k/cgroup.kill", "0"), ERANGE);
    CHECK_EQ(put("k/cgroup.kill", "1"), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    CHECK_EQ(rmdir(at("k/l")), 0);
    CHECK_EQ(rmdir(at("k")), 0);
}

static void test_limits(void)
{
    CHECK_EQ(mkdir(at("l"), 0755), 0);
    CHECK(strcmp(get("l/cgroup.max.depth"), "max\n") == 0);
    CHECK_EQ(put("l/cgroup.max.depth", "1"), 0);
    CHECK_EQ(mkdir(at("l/a"), 0755), 0);
    CHECK_ERRNO(mkdir(at("l/a/b"), 0755), EAGAIN);
    CHECK_EQ(put("l/cgroup.max.depth", "max"), 0);
    CHECK_EQ(put("l/cgroup.max.descendants", "2"), 0);
    CHECK_EQ(mkdir(at("l/a/b"), 0755), 0);
    CHECK_ERRNO(mkdir(at("l/c"), 0755), EAGAIN);
    CHECK_ERRNO(put("l/cgroup.max.descendants", "-1"), ERANGE);
    CHECK_ERRNO(put("l/cgroup.max.descendants", "many"), EINVAL);
    CHECK(strncmp(get("l/cgroup.stat"), "nr_descendants 2\n", 17) == 0);
    CHECK_ERRNO(put("l/cgroup.subtree_control", "+nonsense"), EINVAL);
    CHECK_ERRNO(put("l/a/cgroup.subtree_control", "memory"), EINVAL);
    CHECK_EQ(rmdir(at("l/a/b")), 0);
    CHECK_EQ(rmdir(at("l/a")), 0);
    CHECK_EQ(rmdir(at("l")), 0);
}

static void *wait_for_end(void *arg)
{
    *(volatile pid_t *)arg = gettid();
    for (;;)
        pause();
    return NULL;
}

static void test_threads(void)
{
    CHECK_EQ(mkdir(at("d"), 0755), 0);
    CHECK_EQ(mkdir(at("d/t"), 0755), 0);
    CHECK(strcmp(get("d/cgroup.type"), "domain\n") == 0);
    CHECK_ERRNO(put("d/t/cgroup.type", "domain"), EINVAL);
    CHECK_EQ(put("d/t/cgroup.type", "threaded"), 0);
    CHECK(strcmp(get("d/t/cgroup.type"), "threaded\n") == 0);
    CHECK(strcmp(get("d/cgroup.type"), "domain threaded\n") == 0);
    CHECK_EQ(mkdir(at("d/u"), 0755), 0);
    CHECK(strcmp(get("d/u/cgroup.type"), "domain invalid\n") == 0);
    int fd = open(at("d/t/cgroup.procs"), O_RDONLY);
    CHECK_ERRNO(read(fd, text, sizeof(text)), EOPNOTSUPP);
    close(fd);
    pid_t pid = part();
    if (pid == 0) {
        pthread_t thread;
        volatile pid_t tid = 0;

        put("d/cgroup.procs", "0");
        pthread_create(&thread, NULL, wait_for_end, (void *)&tid);
        while (tid == 0)
            usleep(1000);
        CHECK_EQ(put_pid("d/t/cgroup.threads", tid), 0);
        CHECK(holds("d/t/cgroup.threads", tid) && !holds("d/cgroup.threads", tid));
        CHECK(holds("d/cgroup.threads", getpid()));
        CHECK_ERRNO(put_pid("d/u/cgroup.procs", 0), EOPNOTSUPP);
        CHECK_ERRNO(put_pid("cgroup.threads", tid), EOPNOTSUPP);
        CHECK_EQ(put_pid("d/cgroup.threads", tid), 0);
        CHECK(holds("d/cgroup.threads", tid));
        _exit(check_failures != 0);
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(rmdir(at("d/u")), 0);
    CHECK_EQ(rmdir(at("d/t")), 0);
    CHECK(strcmp(get("d/cgroup.type"), "domain\n") == 0);
    CHECK_EQ(rmdir(at("d")), 0);
}

static long clone_into(int fd)
{
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd};

    return syscall(SYS_clone3, &args, sizeof(args));
}

static void test_clone(void)
{
    CHECK_EQ(mkdir(at("c"), 0755), 0);
    int fd = open(at("c"), O_RDONLY | O_DIRECTORY), file = open(at("c/cgroup.procs"), O_RDONLY);
    int other = open("/", O_RDONLY | O_DIRECTORY), status;
    long pid = clone_into(fd);

    if (pid == 0)
        _exit(holds("c/cgroup.procs", getpid()) ? 0 : 1);
    CHECK(pid > 0);
    CHECK_EQ(waitpid((pid_t)pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    int place = open(at("c"), O_PATH | O_DIRECTORY);
    pid = clone_into(place);
    if (pid == 0)
        _exit(holds("c/cgroup.procs", getpid()) ? 0 : 1);
    CHECK_EQ(waitpid((pid_t)pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(place);
    CHECK_ERRNO(clone_into(other), EBADF);
    CHECK_ERRNO(clone_into(1000), EBADF);
    CHECK(clone_into(file) == -1);
    CHECK_EQ(rmdir(at("c")), 0);
    CHECK(clone_into(fd) == -1 && (errno == ENOENT || errno == ENODEV));
    close(fd);
    close(file);
    close(other);
}

/* What mountinfo calls the root of the mount there. */
static bool mounted_root(const char *place, const char *want)
{
    char root[256], where_to[256];

    get("/proc/self/mountinfo");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (sscanf(line, "%*d %*d %*s %255s %255s", root, where_to) == 2 &&
            strcmp(where_to, place) == 0)
            return strcmp(root, want) == 0;
    }
    return false;
}

static void in_namespace(void)
{
    char want[256], dir[160];

    CHECK_EQ(put("n/i/cgroup.procs", "0"), 0);
    int old = open("/proc/self/ns/cgroup", O_RDONLY);
    CHECK_EQ(unshare(CLONE_NEWCGROUP), 0);
    CHECK(strcmp(where(getpid()), "/") == 0);
    snprintf(want, sizeof(want), "/../../..");
    CHECK_EQ(put("n/cgroup.procs", "0"), 0);
    CHECK(strcmp(where(getpid()), "/..") == 0);
    CHECK_EQ(put("n/j/cgroup.procs", "0"), 0);
    CHECK(strcmp(where(getpid()), "/../j") == 0);
    /* A mount shows what is in the namespace. */
    snprintf(dir, sizeof(dir), "%s.inner", top);
    CHECK_EQ(mkdir(dir, 0700), 0);
    CHECK_EQ(mount("none", dir, "cgroup2", 0, NULL), 0);
    snprintf(want, sizeof(want), "%s/cgroup.events", dir);
    CHECK(strcmp(get(want), "populated 0\nfrozen 0\n") == 0);
    CHECK(mounted_root(dir, "/") && mounted_root(top, "/../../.."));
    CHECK_EQ(put_pid("n/i/cgroup.procs", getpid()), 0);
    CHECK(strcmp(get(want), "populated 1\nfrozen 0\n") == 0);
    CHECK_EQ(umount(dir), 0);
    CHECK_EQ(rmdir(dir), 0);
    CHECK_EQ(setns(old, CLONE_NEWCGROUP), 0);
    snprintf(want, sizeof(want), "%s/n/i", strrchr(base, '/'));
    CHECK(strcmp(where(getpid()), want) == 0);
}

static void test_namespace(void)
{
    int status;

    CHECK_EQ(mkdir(at("n"), 0755), 0);
    CHECK_EQ(mkdir(at("n/i"), 0755), 0);
    CHECK_EQ(mkdir(at("n/j"), 0755), 0);
    pid_t pid = part();
    if (pid == 0) {
        in_namespace();
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(rmdir(at("n/i")), 0);
    CHECK_EQ(rmdir(at("n/j")), 0);
    CHECK_EQ(rmdir(at("n")), 0);
}

/* Where the host has the controller elsewhere (version 1), there is nothing to compare. */
static void test_pids(void)
{
    char root[200];
    int status;

    snprintf(root, sizeof(root), "%s/cgroup.controllers", top);
    if (!strstr(get(root), "pids"))
        return;
    if (!strstr(get("cgroup.controllers"), "pids")) {
        snprintf(root, sizeof(root), "%s/cgroup.subtree_control", top);
        CHECK_EQ(put(root, "+pids"), 0);
    }
    CHECK_EQ(put("cgroup.subtree_control", "+pids"), 0);
    CHECK(strcmp(get("cgroup.subtree_control"), "pids\n") == 0);
    CHECK_EQ(mkdir(at("q"), 0755), 0);
    CHECK(strcmp(get("q/pids.max"), "max\n") == 0);
    CHECK(strcmp(get("q/pids.current"), "0\n") == 0);
    CHECK_EQ(put("q/pids.max", "2"), 0);
    CHECK_ERRNO(put("q/pids.max", "-1"), EINVAL);
    pid_t pid = part();
    if (pid == 0) {
        CHECK_EQ(put("q/cgroup.procs", "0"), 0);
        pid_t first = spawn(), second = fork();
        int saved = errno;

        CHECK(first > 0);
        CHECK(second == -1 && saved == EAGAIN);
        CHECK(strcmp(get("q/pids.current"), "2\n") == 0);
        kill(first, SIGKILL);
        siginfo_t info;
        CHECK_EQ(waitid(P_PID, (id_t)first, &info, WEXITED | WNOWAIT), 0);
        CHECK(strcmp(get("q/pids.current"), "2\n") == 0); /* a zombie counts */
        CHECK_EQ(waitpid(first, NULL, 0), first);
        CHECK(strcmp(get("q/pids.current"), "1\n") == 0);
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK(strcmp(get("q/pids.events"), "max 1\n") == 0);
    CHECK_ERRNO(put("cgroup.subtree_control", "-nonsense"), EINVAL);
    CHECK_EQ(put("cgroup.subtree_control", "-pids"), 0);
    CHECK_ERRNO(open(at("q/pids.max"), O_RDONLY), ENOENT);
    CHECK_EQ(rmdir(at("q")), 0);
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("only root makes groups");
    snprintf(top, sizeof(top), "/tmp/cgroup.%d", getpid());
    snprintf(base, sizeof(base), "%s/test-%d", top, getpid());
    mkdir(top, 0700);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", top, "cgroup2", 0, NULL) < 0)
        check_skip("cgroup2 cannot be mounted here");
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(mkdir(base, 0755), 0);
    test_names();
    test_members();
    test_zombie();
    test_poll();
    test_freeze();
    test_freeze_vfork();
    test_kill();
    test_limits();
    test_threads();
    test_clone();
    test_namespace();
    test_pids();
    CHECK_EQ(rmdir(base), 0);
    CHECK_EQ(umount2(top, MNT_DETACH), 0);
    rmdir(top);
    return check_done();
}
