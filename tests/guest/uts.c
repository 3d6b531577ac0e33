/* Host and domain name by namespace: unshare, clone, setns, the links in /proc, ioctls on them. */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "check.h"

static char hostname[65];

static const char *node_name(void)
{
    static struct utsname name;

    CHECK_EQ(uname(&name), 0);
    return name.nodename;
}

static ino_t number_of(const char *path)
{
    struct stat st;

    CHECK_EQ(stat(path, &st), 0);
    return st.st_ino;
}

static void test_links(void)
{
    static const struct {
        const char *name;
        int flag;
    } kinds[] = {
        {"cgroup", CLONE_NEWCGROUP}, {"ipc", CLONE_NEWIPC}, {"mnt", CLONE_NEWNS},
        {"net", CLONE_NEWNET},       {"pid", CLONE_NEWPID}, {"pid_for_children", CLONE_NEWPID},
        {"user", CLONE_NEWUSER},     {"uts", CLONE_NEWUTS},
    };

    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        char path[64], text[64] = "", want[64];
        struct stat st;
        struct statfs fs;
        int fd;

        snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i].name);
        fd = open(path, O_RDONLY);
        CHECK(fd >= 0);
        CHECK_EQ(fstat(fd, &st), 0);
        CHECK_EQ(st.st_mode, S_IFREG | 0444);
        CHECK_EQ(st.st_ino, number_of(path));
        CHECK(readlink(path, text, sizeof(text) - 1) > 0);
        snprintf(want, sizeof(want), "%.*s:[%lu]", (int)strcspn(kinds[i].name, "_"), kinds[i].name,
                 st.st_ino);
        CHECK_EQ(strcmp(text, want), 0);
        CHECK_EQ(fstatfs(fd, &fs), 0);
        CHECK_EQ(fs.f_type, 0x6e736673);
        CHECK_EQ(ioctl(fd, NS_GET_NSTYPE), kinds[i].flag);
        CHECK_ERRNO(ioctl(fd, 0x1234), ENOTTY);
        CHECK_ERRNO(ioctl(fd, NS_GET_PARENT),
                    kinds[i].flag == CLONE_NEWPID || kinds[i].flag == CLONE_NEWUSER ? EPERM
                                                                                    : EINVAL);
        CHECK_ERRNO(read(fd, text, 1), EINVAL);
        CHECK_ERRNO(setns(fd, CLONE_NEWNS | CLONE_NEWNET), EINVAL);
        close(fd);
    }
    CHECK_ERRNO(setns(0, 0), EINVAL);
    CHECK_ERRNO(setns(-1, 0), EBADF);
}

/* In a child, so that the rest goes on where it was. */
static void in_child(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        fn();
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void change_names(void)
{
    int old = open("/proc/self/ns/uts", O_RDONLY), user;
    ino_t before = number_of("/proc/self/ns/uts");
    struct utsname name;
    char text[65] = "", domain[65];

    CHECK_EQ(unshare(CLONE_NEWUTS), 0);
    CHECK(number_of("/proc/self/ns/uts") != before);
    CHECK_EQ(strcmp(node_name(), hostname), 0);
    CHECK_EQ(sethostname("elsewhere", 9), 0);
    CHECK_EQ(setdomainname("far.away", 8), 0);
    CHECK_EQ(uname(&name), 0);
    CHECK_EQ(strcmp(name.nodename, "elsewhere"), 0);
    CHECK_EQ(strcmp(name.domainname, "far.away"), 0);
    CHECK_EQ(gethostname(text, sizeof(text)), 0);
    CHECK_EQ(strcmp(text, "elsewhere"), 0);
    CHECK_EQ(getdomainname(domain, sizeof(domain)), 0);
    CHECK_EQ(strcmp(domain, "far.away"), 0);
    CHECK_EQ(sethostname("", 0), 0);
    CHECK_EQ(strcmp(node_name(), ""), 0);
    memset(text, 'x', 64);
    CHECK_EQ(sethostname(text, 64), 0);
    CHECK_EQ(strlen(node_name()), 64);
    CHECK_ERRNO(sethostname(text, 65), EINVAL);
    CHECK_ERRNO(syscall(SYS_sethostname, text, -1), EINVAL);
    CHECK_ERRNO(syscall(SYS_sethostname, 8, 5), EFAULT);
    user = ioctl(open("/proc/self/ns/uts", O_RDONLY), NS_GET_USERNS);
    CHECK(user >= 0);
    CHECK_EQ(ioctl(user, NS_GET_NSTYPE), CLONE_NEWUSER);
    CHECK_EQ(setns(old, CLONE_NEWUTS), 0);
    CHECK_EQ(number_of("/proc/self/ns/uts"), before);
    CHECK_EQ(strcmp(node_name(), hostname), 0);
}

static int cloned(void *argument)
{
    CHECK_EQ(sethostname("cloned", 6), 0);
    while (pause() < 0)
        ;
    return 0;
}

static void join_by_handle(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    pid_t pid = clone(cloned, stack + sizeof(stack), CLONE_NEWUTS | SIGCHLD, NULL);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    char path[64];

    CHECK(pid > 0);
    CHECK_EQ(strcmp(node_name(), hostname), 0);
    CHECK_ERRNO(setns(fd, 0), EINVAL);
    CHECK_EQ(setns(fd, CLONE_NEWUTS | CLONE_NEWIPC), 0);
    snprintf(path, sizeof(path), "/proc/%d/ns/uts", pid);
    CHECK_EQ(number_of("/proc/self/ns/uts"), number_of(path));
    for (int i = 0; i < 2000 && strcmp(node_name(), "cloned") != 0; i++)
        usleep(1000);
    CHECK_EQ(strcmp(node_name(), "cloned"), 0);
    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(strcmp(node_name(), "cloned"), 0); /* lives on with us in it */
}

static void as_nobody(void)
{
    int fd = open("/proc/self/ns/uts", O_RDONLY);

    CHECK_EQ(setresgid(65534, 65534, 65534), 0);
    CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    CHECK_ERRNO(unshare(CLONE_NEWUTS), EPERM);
    CHECK_ERRNO(setns(fd, 0), EPERM);
    CHECK_ERRNO(sethostname("x", 1), EPERM);
    CHECK_ERRNO(setdomainname("x", 1), EPERM);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0), EPERM);
}

static void *busy_body(void *argument)
{
    pause();
    return NULL;
}

static void test_unshare_flags(void)
{
    pthread_t thread;

    CHECK_EQ(unshare(0), 0);
    CHECK_EQ(unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM | CLONE_THREAD | CLONE_VM), 0);
    CHECK_ERRNO(unshare((int)0x80000000), EINVAL);
    CHECK_ERRNO(unshare(CLONE_PARENT), EINVAL);
    CHECK_EQ(pthread_create(&thread, NULL, busy_body, NULL), 0);
    CHECK_ERRNO(unshare(CLONE_THREAD), EINVAL);
    CHECK_ERRNO(unshare(CLONE_SIGHAND), EINVAL);
    CHECK_ERRNO(unshare(CLONE_VM), EINVAL);
    CHECK_EQ(unshare(CLONE_FILES | CLONE_FS), 0);
}

int main(void)
{
    if (geteuid() != 0)
        check_skip("needs root");
    CHECK_EQ(gethostname(hostname, sizeof(hostname)), 0);
    test_links();
    in_child(change_names);
    in_child(join_by_handle);
    in_child(as_nobody);
    in_child(test_unshare_flags);
    CHECK_EQ(strcmp(node_name(), hostname), 0);
    return check_done();
}
