/* User namespaces: maps of ids, capabilities, who may do what: user_namespaces(7). */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "text.h"

#define OVERFLOW_ID 65534

static uint64_t effective_caps(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {0};

    CHECK_EQ(syscall(SYS_capget, &header, data), 0);
    return data[0].effective | (uint64_t)data[1].effective << 32;
}

/* 0 or -errno. */
static int put(const char *path, const char *text)
{
    return write_text(path, text) < 0 ? -errno : 0;
}

static void get(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, buf, size - 1);

    CHECK(n >= 0);
    buf[n < 0 ? 0 : n] = '\0';
    close(fd);
}

/* Runs it in a child, whose own checks count as one here. */
static void in_child(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        check_failures = 0;
        fn();
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void become(uid_t uid)
{
    CHECK_EQ(setgroups(0, NULL), 0);
    CHECK_EQ(setresgid(uid, uid, uid), 0);
    CHECK_EQ(setresuid(uid, uid, uid), 0);
    CHECK_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
}

/* ---- a map of oneself, without any privilege ------------------------------------------------ */

static void test_unmapped(void)
{
    char text[256];
    gid_t groups[4];

    become(1000);
    CHECK_EQ(unshare(CLONE_NEWUSER), 0);
    CHECK_EQ(getuid(), OVERFLOW_ID);
    CHECK_EQ(getegid(), OVERFLOW_ID);
    CHECK_EQ(getgroups(4, groups), 0);
    CHECK(effective_caps() != 0);
    CHECK_EQ(prctl(PR_GET_SECUREBITS), 0);
    get("/proc/self/uid_map", text, sizeof(text));
    CHECK_EQ(strcmp(text, ""), 0);
    CHECK_ERRNO(setuid(0), EINVAL);
    CHECK_ERRNO(setresuid(-1, 5, -1), EINVAL);
    CHECK_ERRNO(setgroups(0, NULL), EPERM);
    CHECK_ERRNO(unshare(CLONE_NEWUSER), EPERM); /* its owner would be nobody */
}

static void test_self_map(void)
{
    char text[256];
    struct stat st;
    gid_t group = 0;

    become(1000);
    CHECK_EQ(stat("/", &st), 0);
    CHECK_EQ(st.st_uid, 0);
    CHECK_EQ(unshare(CLONE_NEWUSER), 0);
    CHECK_EQ(put("/proc/self/uid_map", "0 1000 2\n"), -EPERM);
    CHECK_EQ(put("/proc/self/uid_map", "0 1001 1\n"), -EPERM);
    CHECK_EQ(put("/proc/self/uid_map", "0 1000 1\n"), 0);
    CHECK_EQ(put("/proc/self/uid_map", "0 1000 1\n"), -EPERM); /* once */
    CHECK_EQ(put("/proc/self/gid_map", "0 1000 1\n"), -EPERM); /* setgroups first */
    get("/proc/self/setgroups", text, sizeof(text));
    CHECK_EQ(strcmp(text, "allow\n"), 0);
    CHECK_EQ(put("/proc/self/setgroups", "never"), -EINVAL);
    CHECK_EQ(put("/proc/self/setgroups", "deny"), 0);
    CHECK_EQ(put("/proc/self/setgroups", "allow"), -EPERM);
    CHECK_EQ(put("/proc/self/gid_map", "5 1000 1"), 0);
    CHECK_EQ(put("/proc/self/setgroups", "deny"), -EPERM);
    CHECK_EQ(getuid(), 0);
    CHECK_EQ(geteuid(), 0);
    CHECK_EQ(getgid(), 5);
    get("/proc/self/uid_map", text, sizeof(text));
    CHECK_EQ(strcmp(text, "         0       1000          1\n"), 0);
    get("/proc/self/gid_map", text, sizeof(text));
    CHECK_EQ(strcmp(text, "         5       1000          1\n"), 0);
    CHECK_ERRNO(setgroups(1, &group), EPERM);
    CHECK_EQ(stat("/", &st), 0);
    CHECK_EQ(st.st_uid, OVERFLOW_ID);
    CHECK_EQ(stat("/proc/self", &st), 0);
    CHECK_EQ(st.st_uid, 0);
    CHECK_ERRNO(chown("/dev/shm", 0, 5), EPERM);
    CHECK_EQ(setuid(0), 0);
    CHECK_ERRNO(setuid(1), EINVAL);
    CHECK_EQ(setfsuid(7), 0);
    CHECK_EQ(setfsuid((uid_t)-1), 0);
}

/* ---- a map made by root outside -------------------------------------------------------------- */

static int pipes[2][2];

static void pass(int which)
{
    CHECK_EQ(write(pipes[which][1], "x", 1), 1);
}

static void await(int which)
{
    char c;

    CHECK_EQ(read(pipes[which][0], &c, 1), 1);
}

static void test_groups_inside(void)
{
    gid_t groups[2] = {10, 20}, seen[4] = {0};
    char text[512];

    CHECK_EQ(getuid(), 3);
    CHECK_EQ(setgroups(2, groups), 0);
    CHECK_EQ(getgroups(4, seen), 2);
    CHECK_EQ(seen[0], 10);
    CHECK_EQ(seen[1], 20);
    groups[1] = 4000;
    CHECK_ERRNO(setgroups(2, groups), EINVAL);
    CHECK_EQ(setresgid(10, 11, 12), 0);
    CHECK_EQ(setresuid(0, 0, 0), 0);
    CHECK(effective_caps() != 0); /* from no root to root: they stay */
    CHECK_EQ(setresuid(7, 7, 7), 0);
    CHECK_EQ(effective_caps(), 0);
    CHECK_ERRNO(setuid(8), EPERM);
    get("/proc/self/status", text, sizeof(text));
    CHECK(strstr(text, "Uid:\t7\t7\t7\t7\n") != NULL);
    CHECK(strstr(text, "Gid:\t10\t11\t12\t11\n") != NULL);
}

static void test_files_inside(void)
{
    struct stat st;
    int fd = open("/dev/shm/userns-test", O_RDWR | O_CREAT | O_EXCL, 0600);

    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_uid, 3);
    CHECK_EQ(fchown(fd, 9, 9), 0); /* CAP_CHOWN over what is mapped */
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_uid, 9);
    CHECK_EQ(st.st_gid, 9);
    CHECK_ERRNO(fchown(fd, 4000, -1), EINVAL);
    CHECK_EQ(close(open("/dev/shm/userns-test", O_RDWR)), 0); /* CAP_DAC_OVERRIDE */
    CHECK_EQ(unlink("/dev/shm/userns-test"), 0);
    close(fd);
    CHECK_ERRNO(mknod("/dev/shm/userns-node", S_IFCHR | 0600, 0x105), EPERM);
    CHECK_EQ(stat("/dev/shm/userns-root", &st), 0);
    CHECK_EQ(st.st_uid, OVERFLOW_ID);
    CHECK_ERRNO(open("/dev/shm/userns-root", O_RDONLY), EACCES);
    CHECK_ERRNO(chown("/dev/shm/userns-root", 3, 3), EPERM);
}

static void test_powers_inside(void)
{
    struct rlimit limit;
    struct utsname_like {
        char c[8];
    } name = {"nobody"};

    CHECK_ERRNO(sethostname(name.c, 6), EPERM); /* the namespace is not ours */
    CHECK_EQ(unshare(CLONE_NEWUTS), 0);
    CHECK_EQ(sethostname(name.c, 6), 0);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, 0, -5), EACCES); /* over the machine */
    CHECK_EQ(chroot("/"), 0);
    CHECK_EQ(kill(getppid(), 0), 0); /* the same user, whatever he is called */
}

static void inside(void)
{
    pass(0);
    await(1);
    test_files_inside();
    test_powers_inside();
    test_groups_inside();
}

static void test_root_map(void)
{
    int fd = open("/dev/shm/userns-root", O_RDWR | O_CREAT, 0600), status;
    char path[64], text[256], want[128];
    pid_t pid;

    CHECK_EQ(fchown(fd, 500, 500), 0);
    CHECK_EQ(pipe(pipes[0]), 0);
    CHECK_EQ(pipe(pipes[1]), 0);
    pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        inside();
        _exit(check_failures != 0);
    }
    CHECK(pid > 0);
    await(0);
    snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
    CHECK_EQ(put(path, "0 1000 10\n5 3000 10\n"), -EINVAL); /* meet inside */
    CHECK_EQ(put(path, "0 1000 10\n20 1005 1\n"), -EINVAL); /* and outside */
    CHECK_EQ(put(path, "0 1000\n"), -EINVAL);
    CHECK_EQ(put(path, "0 1000 0\n"), -EINVAL);
    CHECK_EQ(put(path, "4294967295 0 1\n"), -EINVAL);
    CHECK_EQ(put(path, "4294967290 0 10\n"), -EINVAL);
    CHECK_EQ(put(path, "\n"), -EINVAL);
    CHECK_EQ(put(path, "x 0 1\n"), -EINVAL);
    CHECK_EQ(put(path, "0 1000 3\n3 0 1\n4 2000 100\n"), -0); /* root itself is 3 */
    snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
    CHECK_EQ(put(path, " 0\t1000 3\n3 0 1\n4 2000 100"), 0);
    get(path, text, sizeof(text));
    snprintf(want, sizeof(want), "%10u %10u %10u\n%10u %10u %10u\n%10u %10u %10u\n", 0, 1000, 3, 3,
             0, 1, 4, 2000, 100);
    CHECK_EQ(strcmp(text, want), 0);
    pass(1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(unlink("/dev/shm/userns-root"), 0);
    close(fd);
}

/* ---- whose is what --------------------------------------------------------------------------- */

static ino_t number_of(int fd)
{
    struct stat st;

    CHECK_EQ(fstat(fd, &st), 0);
    return st.st_ino;
}

static void test_relations(void)
{
    int first = open("/proc/self/ns/user", O_RDONLY), own, parent, uts;
    uid_t owner = 77;

    CHECK_ERRNO(ioctl(first, NS_GET_PARENT), EPERM);
    CHECK_ERRNO(setns(first, CLONE_NEWUSER), EINVAL); /* its own */
    CHECK_EQ(unshare(CLONE_NEWUSER), 0);
    CHECK_EQ(put("/proc/self/uid_map", "12 0 1"), 0);
    own = open("/proc/self/ns/user", O_RDONLY);
    CHECK(number_of(own) != number_of(first));
    CHECK_EQ(ioctl(own, NS_GET_NSTYPE), CLONE_NEWUSER);
    CHECK_EQ(ioctl(own, NS_GET_OWNER_UID, &owner), 0);
    CHECK_EQ(owner, 12);
    CHECK_ERRNO(ioctl(own, NS_GET_PARENT), EPERM); /* above: not to be seen */
    CHECK_ERRNO(ioctl(first, NS_GET_USERNS), EPERM);
    CHECK_ERRNO(setns(first, 0), EPERM);
    CHECK_ERRNO(setns(own, 0), EINVAL);
    uts = open("/proc/self/ns/uts", O_RDONLY);
    CHECK_ERRNO(ioctl(uts, NS_GET_USERNS), EPERM);
    CHECK_ERRNO(setns(uts, 0), EPERM);
    close(uts);
    CHECK_EQ(put("/proc/self/setgroups", "deny"), 0);
    CHECK_EQ(put("/proc/self/gid_map", "0 0 1"), 0);
    CHECK_EQ(unshare(CLONE_NEWUSER | CLONE_NEWUTS), 0);
    uts = open("/proc/self/ns/uts", O_RDONLY);
    parent = ioctl(uts, NS_GET_USERNS);
    CHECK_EQ(number_of(parent), number_of(open("/proc/self/ns/user", O_RDONLY)));
    CHECK_EQ(setns(uts, CLONE_NEWUTS), 0);
    CHECK_ERRNO(setns(own, 0), EPERM);
}

/* From outside, its maker may come in: alone, and then with all capabilities. */
static void test_enter(void)
{
    char path[64];
    pid_t pid;
    int fd, status;

    become(1000);
    CHECK_EQ(pipe(pipes[0]), 0);
    CHECK_EQ(pipe(pipes[1]), 0);
    pid = fork();
    if (pid == 0) {
        CHECK_EQ(unshare(CLONE_NEWUSER | CLONE_NEWUTS), 0);
        CHECK_EQ(put("/proc/self/uid_map", "50 1000 1"), 0);
        pass(0);
        await(1);
        _exit(check_failures != 0);
    }
    await(0);
    CHECK_EQ(effective_caps(), 0);
    snprintf(path, sizeof(path), "/proc/%d/ns/uts", pid);
    fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK_ERRNO(setns(fd, 0), EPERM);
    close(fd);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK_EQ(setns(fd, CLONE_NEWUSER | CLONE_NEWUTS), 0);
    CHECK_EQ(getuid(), 50);
    CHECK(effective_caps() != 0);
    CHECK_EQ(sethostname("inside", 6), 0);
    pass(1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void test_limits(void)
{
    char text[64];

    CHECK_EQ(unshare(CLONE_NEWUSER), 0);
    CHECK_EQ(put("/proc/self/uid_map", "0 0 1"), 0);
    CHECK_EQ(put("/proc/self/setgroups", "deny"), 0);
    CHECK_EQ(put("/proc/self/gid_map", "0 0 1"), 0);
    CHECK_EQ(put("/proc/sys/user/max_uts_namespaces", "1\n"), 0);
    get("/proc/sys/user/max_uts_namespaces", text, sizeof(text));
    CHECK_EQ(strcmp(text, "1\n"), 0);
    CHECK_EQ(unshare(CLONE_NEWUTS), 0);
    CHECK_ERRNO(unshare(CLONE_NEWUTS), ENOSPC);
    CHECK_EQ(unshare(CLONE_NEWUSER), 0); /* what is made in it counts here as well */
    CHECK_ERRNO(unshare(CLONE_NEWUTS), ENOSPC);
}

/* How deep they nest: the 33rd is the last. */
static void test_depth(void)
{
    int depth = 0;

    while (depth < 100 && unshare(CLONE_NEWUSER) == 0) {
        CHECK_EQ(put("/proc/self/uid_map", "0 0 1"), 0);
        CHECK_EQ(put("/proc/self/setgroups", "deny"), depth ? 0 : 0);
        CHECK_EQ(put("/proc/self/gid_map", "0 0 1"), 0);
        depth++;
    }
    CHECK_EQ(errno, ENOSPC);
    CHECK_EQ(depth, 33);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void test_chrooted(void)
{
    CHECK_EQ(chroot("/dev"), 0);
    CHECK_ERRNO(unshare(CLONE_NEWUSER), EPERM);
}

static int wait_forever(void *arg)
{
    for (;;)
        pause();
    return 0;
}

static void test_thread(void)
{
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/ns/user", O_RDONLY);

    CHECK(clone(wait_forever, stack + 65536,
                CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, NULL) > 0);
    CHECK_ERRNO(unshare(CLONE_NEWUSER), EINVAL);
    CHECK_ERRNO(setns(fd, CLONE_NEWUSER), EINVAL);
    CHECK_ERRNO(clone(wait_forever, stack + 65536, CLONE_NEWUSER | CLONE_FS | SIGCHLD, NULL),
                EINVAL);
}

/* Who sent it is told in the receiver's ids. */
static void test_siginfo(void)
{
    sigset_t set;
    siginfo_t info;
    int status;
    pid_t pid;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK_EQ(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    CHECK_EQ(setresuid(1000, 1000, 0), 0);
    pid = fork();
    if (pid == 0) {
        CHECK_EQ(setresuid(0, 0, 0), 0);
        CHECK_EQ(setresuid(1000, 1000, 1000), 0);
        CHECK_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
        CHECK_EQ(unshare(CLONE_NEWUSER), 0);
        CHECK_EQ(put("/proc/self/uid_map", "42 1000 1"), 0);
        CHECK_EQ(kill(getpid(), SIGUSR1), 0);
        CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
        CHECK_EQ(info.si_uid, 42);
        CHECK_EQ(kill(getppid(), SIGUSR1), 0);
        _exit(check_failures != 0);
    }
    CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQ(info.si_uid, 1000);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(info.si_uid, 1000);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("needs root");
    in_child(test_unmapped);
    in_child(test_self_map);
    in_child(test_root_map);
    in_child(test_relations);
    in_child(test_enter);
    in_child(test_limits);
    in_child(test_depth);
    in_child(test_chrooted);
    in_child(test_thread);
    in_child(test_siginfo);
    return check_done();
}
