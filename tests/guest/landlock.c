/*
 * Landlock: what rulesets take and refuse, and what a program may still do under one: open, make,
 * remove, rename and link, truncate, execute, send signals, trace. Layers add up.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "check.h"

#define NR_CREATE   444
#define NR_ADD      445
#define NR_RESTRICT 446

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    MAKE_FIFO = 1 << 10,
    MAKE_SYM = 1 << 12,
    REFER = 1 << 13,
    TRUNCATE = 1 << 14,
    IOCTL_DEV = 1 << 15,
    ALL = (1 << 16) - 1,
};

struct attr {
    uint64_t fs, net, scoped, more;
};

struct path_rule {
    uint64_t allowed;
    int fd;
} __attribute__((packed));

static char top[64];

static const char *at(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ & 3];

    snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
    return path;
}

static long create(uint64_t fs, uint64_t net, uint64_t scoped)
{
    struct attr attr = {fs, net, scoped, 0};

    return syscall(NR_CREATE, &attr, 24, 0);
}

static long allow(long ruleset, uint64_t rights, const char *path)
{
    struct path_rule rule = {rights, open(path, O_PATH | O_CLOEXEC)};
    long result = syscall(NR_ADD, ruleset, 1, &rule, 0);

    close(rule.fd);
    return result;
}

static void enforce(long ruleset)
{
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(syscall(NR_RESTRICT, ruleset, 0), 0);
    close((int)ruleset);
}

static void test_arguments(void)
{
    struct attr attr = {ALL, 3, 3, 1};
    struct path_rule rule = {READ_FILE, -1};
    struct {
        uint64_t allowed, port;
    } port = {1, 80};
    long ruleset;
    int fds[2];

    CHECK(syscall(NR_CREATE, NULL, 0, 1) >= 6);
    CHECK_ERRNO(syscall(NR_CREATE, NULL, 0, 8), EINVAL);
    CHECK_ERRNO(syscall(NR_CREATE, &attr, 24, 1), EINVAL);
    CHECK_ERRNO(syscall(NR_CREATE, NULL, 24, 0), EFAULT);
    CHECK_ERRNO(syscall(NR_CREATE, 8, 24, 0), EFAULT);
    CHECK_ERRNO(syscall(NR_CREATE, &attr, 4, 0), EINVAL);
    CHECK_ERRNO(syscall(NR_CREATE, &attr, 5000, 0), E2BIG);
    CHECK_ERRNO(syscall(NR_CREATE, &attr, 32, 0), E2BIG);
    attr.more = 0;
    ruleset = syscall(NR_CREATE, &attr, 32, 0);
    CHECK(ruleset >= 0);
    CHECK_EQ(fcntl((int)ruleset, F_GETFD), FD_CLOEXEC);
    close((int)ruleset);
    CHECK_ERRNO(create(1UL << 40, 0, 0), EINVAL);
    CHECK_ERRNO(create(0, 1UL << 40, 0), EINVAL);
    CHECK_ERRNO(create(0, 0, 1UL << 40), EINVAL);
    CHECK_ERRNO(create(0, 0, 0), ENOMSG);
    ruleset = create(READ_FILE | READ_DIR | TRUNCATE, 1, 0);
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 1, &rule, 1), EINVAL);
    CHECK_ERRNO(syscall(NR_ADD, -1, 9, &rule, 0), EBADF);
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 9, &rule, 0), EINVAL);
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 1, 8, 0), EFAULT);
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 1, &rule, 0), EBADF);
    rule.allowed = 0;
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 1, &rule, 0), ENOMSG);
    rule.allowed = WRITE_FILE; /* not handled */
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 1, &rule, 0), EINVAL);
    rule = (struct path_rule){READ_FILE, (int)ruleset};
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 1, &rule, 0), EBADFD);
    CHECK_EQ(pipe(fds), 0);
    rule.fd = fds[0];
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 1, &rule, 0), EBADFD);
    CHECK_ERRNO(syscall(NR_ADD, fds[1], 1, &rule, 0), EBADFD);
    CHECK_ERRNO(allow(ruleset, READ_DIR, "/proc/self/status"), EINVAL); /* no directory */
    CHECK_EQ(allow(ruleset, READ_FILE, "/proc/self/status"), 0);
    CHECK_EQ(syscall(NR_ADD, ruleset, 2, &port, 0), 0);
    port.port = 65536;
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 2, &port, 0), EINVAL);
    port.allowed = 2;
    CHECK_ERRNO(syscall(NR_ADD, ruleset, 2, &port, 0), EINVAL);
    CHECK_ERRNO(syscall(NR_RESTRICT, ruleset, 1 << 20), EINVAL);
    CHECK_ERRNO(syscall(NR_RESTRICT, -1, 0), EBADF);
    CHECK_ERRNO(syscall(NR_RESTRICT, fds[0], 0), EBADFD);
    close(fds[0]);
    close(fds[1]);
    close((int)ruleset);
}

static void in_child(void (*fn)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        fn();
        _exit(check_failures != 0);
    }
    waitpid(pid, &status, 0);
    if (!CHECK_EQ(status, 0))
        note("in a child");
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags, 0644);

    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

static void test_unprivileged(void)
{
    long ruleset = create(READ_FILE, 0, 0);

    CHECK_EQ(setuid(4242), 0);
    CHECK_ERRNO(syscall(NR_RESTRICT, -1, 1 << 20), EPERM);
    CHECK_ERRNO(syscall(NR_RESTRICT, ruleset, 0), EPERM);
    enforce(ruleset);
    CHECK_ERRNO(try_open("/proc/self/status", O_RDONLY), EACCES);
}

static void test_opening(void)
{
    long ruleset = create(READ_FILE | WRITE_FILE | READ_DIR | EXECUTE, 0, 0);
    int before = open(at("closed/file"), O_RDWR);
    char c;

    CHECK_EQ(allow(ruleset, READ_FILE | READ_DIR, at("open")), 0);
    CHECK_EQ(allow(ruleset, WRITE_FILE, at("open/inner")), 0);
    CHECK_EQ(allow(ruleset, READ_FILE, at("closed/granted")), 0);
    enforce(ruleset);
    CHECK_EQ(try_open(at("open/file"), O_RDONLY), 0);
    CHECK_EQ(try_open(at("open"), O_RDONLY | O_DIRECTORY), 0);
    CHECK_ERRNO(try_open(at("open/file"), O_WRONLY), EACCES);
    CHECK_ERRNO(try_open(at("open/file"), O_RDWR), EACCES);
    CHECK_EQ(try_open(at("open/inner/file"), O_RDWR), 0);
    CHECK_ERRNO(try_open(at("closed/file"), O_RDONLY), EACCES);
    CHECK_ERRNO(try_open(at("closed"), O_RDONLY | O_DIRECTORY), EACCES);
    CHECK_ERRNO(try_open("/", O_RDONLY | O_DIRECTORY), EACCES);
    CHECK_EQ(try_open(at("closed/granted"), O_RDONLY), 0);
    CHECK_EQ(try_open(at("closed/file"), O_PATH), 0); /* a place is no content */
    CHECK_ERRNO(try_open(at("closed/missing"), O_RDONLY), ENOENT);
    CHECK_EQ(pread(before, &c, 1, 0), 1); /* what was open stays so */
    CHECK_EQ(access(at("closed/file"), R_OK), 0);
    /* Not handled: making and removing go on. */
    CHECK_EQ(mkdir(at("closed/made"), 0755), 0);
    CHECK_EQ(rmdir(at("closed/made")), 0);
    CHECK_ERRNO(execl("/proc/self/exe", "x", NULL), EACCES);
}

static void test_names(void)
{
    long ruleset =
        create(MAKE_DIR | MAKE_REG | MAKE_SYM | MAKE_FIFO | REMOVE_DIR | REMOVE_FILE, 0, 0);

    CHECK_EQ(allow(ruleset, MAKE_REG | REMOVE_FILE, at("open")), 0);
    enforce(ruleset);
    CHECK_EQ(try_open(at("open/new"), O_CREAT | O_EXCL | O_RDWR), 0);
    CHECK_EQ(unlink(at("open/new")), 0);
    CHECK_ERRNO(mkdir(at("open/dir"), 0755), EACCES);
    CHECK_ERRNO(mkdir(at("open/inner"), 0755), EEXIST);
    CHECK_ERRNO(rmdir(at("open/inner")), EACCES);
    CHECK_ERRNO(symlink("x", at("open/link")), EACCES);
    CHECK_ERRNO(mkfifo(at("open/fifo"), 0644), EACCES);
    CHECK_ERRNO(try_open(at("closed/new"), O_CREAT | O_RDWR), EACCES);
    CHECK_ERRNO(unlink(at("closed/file")), EACCES);
    CHECK_ERRNO(unlink(at("closed/missing")), ENOENT);
    CHECK_EQ(try_open(at("closed/file"), O_CREAT | O_RDWR), 0); /* it is there */
    /* Renaming in place needs to make and to remove; elsewhere it is never free. */
    CHECK_EQ(rename(at("open/file"), at("open/renamed")), 0);
    CHECK_EQ(rename(at("open/renamed"), at("open/file")), 0);
    CHECK_ERRNO(rename(at("closed/file"), at("closed/renamed")), EACCES);
    CHECK_ERRNO(rename(at("open/file"), at("open/inner/moved")), EXDEV);
    CHECK_ERRNO(link(at("open/file"), at("open/inner/linked")), EXDEV);
    CHECK_EQ(link(at("open/file"), at("open/linked")), 0);
    CHECK_EQ(unlink(at("open/linked")), 0);
    CHECK_ERRNO(link(at("closed/file"), at("open/linked")), EXDEV);
    CHECK_ERRNO(rename(at("closed/file"), at("open/moved")), EACCES);
}

static void test_refer(void)
{
    long ruleset = create(REFER | READ_FILE | EXECUTE | MAKE_REG | REMOVE_FILE, 0, 0);

    CHECK_EQ(allow(ruleset, REFER | MAKE_REG | REMOVE_FILE, top), 0);
    CHECK_EQ(allow(ruleset, READ_FILE, at("open")), 0);
    CHECK_EQ(allow(ruleset, READ_FILE | EXECUTE, at("open/inner")), 0);
    enforce(ruleset);
    /* Where there are fewer rights it may go, where there are more it may not. */
    CHECK_EQ(rename(at("open/file"), at("closed/moved")), 0);
    CHECK_ERRNO(rename(at("closed/moved"), at("open/file")), EXDEV);
    CHECK_EQ(rename(at("open/inner/file"), at("open/moved")), 0);
    CHECK_ERRNO(rename(at("open/moved"), at("open/inner/file")), EXDEV);
    CHECK_ERRNO(link(at("closed/file"), at("open/linked")), EXDEV);
    CHECK_EQ(link(at("open/moved"), at("closed/linked")), 0);
    CHECK_ERRNO(syscall(SYS_renameat2, AT_FDCWD, at("open/moved"), AT_FDCWD, at("closed/linked"),
                        RENAME_NOREPLACE),
                EEXIST);
    CHECK_ERRNO(syscall(SYS_renameat2, AT_FDCWD, at("open/moved"), AT_FDCWD, at("closed/file"),
                        RENAME_EXCHANGE),
                EXDEV);
}

static void test_truncate(void)
{
    long ruleset = create(TRUNCATE | IOCTL_DEV, 0, 0);
    int before = open(at("closed/file"), O_RDWR), fd, number, null;

    CHECK_EQ(allow(ruleset, TRUNCATE, at("open")), 0);
    enforce(ruleset);
    CHECK_EQ(truncate(at("open/inner/long"), 3), 0);
    CHECK_ERRNO(truncate(at("closed/file"), 0), EACCES);
    CHECK_ERRNO(try_open(at("closed/file"), O_WRONLY | O_TRUNC), EACCES);
    CHECK_ERRNO(try_open(at("closed/file"), O_RDONLY | O_TRUNC), EACCES);
    CHECK_EQ(try_open(at("open/inner/long"), O_WRONLY | O_TRUNC), 0);
    fd = open(at("closed/file"), O_RDWR);
    CHECK(fd >= 0);
    CHECK_ERRNO(ftruncate(fd, 1), EACCES);
    CHECK_EQ(ftruncate(before, 4), 0);
    null = open("/dev/null", O_RDWR);
    CHECK(null >= 0);
    CHECK_ERRNO(ioctl(null, TCGETS, &number), EACCES);
    number = 1;
    CHECK_EQ(ioctl(null, FIONBIO, &number), 0);
    CHECK_ERRNO(ioctl(fd, TCGETS, &number), ENOTTY);
}

static void test_layers(void)
{
    long ruleset = create(READ_FILE | READ_DIR, 0, 0);

    CHECK_EQ(allow(ruleset, READ_FILE | READ_DIR, at("open")), 0);
    enforce(ruleset);
    ruleset = create(READ_FILE, 0, 0);
    CHECK_EQ(allow(ruleset, READ_FILE, at("closed")), 0);
    CHECK_EQ(allow(ruleset, READ_FILE, at("open/inner")), 0);
    enforce(ruleset);
    CHECK_EQ(try_open(at("open/inner/file"), O_RDONLY), 0);
    CHECK_ERRNO(try_open(at("open/file"), O_RDONLY), EACCES);
    CHECK_ERRNO(try_open(at("closed/file"), O_RDONLY), EACCES);
    CHECK_EQ(try_open(at("open"), O_RDONLY | O_DIRECTORY), 0);
    for (int i = 2; i < 16; i++) {
        ruleset = create(MAKE_SYM, 0, 0);
        enforce(ruleset);
    }
    ruleset = create(MAKE_SYM, 0, 0);
    CHECK_ERRNO(syscall(NR_RESTRICT, ruleset, 0), E2BIG);
}

static void test_processes(void)
{
    pid_t outside = fork(), inside;
    int status;

    if (outside == 0) {
        pause();
        _exit(0);
    }
    CHECK_EQ(kill(outside, 0), 0);
    enforce(create(0, 0, 2 /* signals */));
    CHECK_ERRNO(kill(outside, 0), EPERM);
    CHECK_ERRNO(kill(outside, SIGTERM), EPERM);
    CHECK_ERRNO(ptrace(PTRACE_SEIZE, outside, 0, 0), EPERM);
    CHECK_EQ(kill(getpid(), 0), 0);
    inside = fork();
    if (inside == 0) {
        pause();
        _exit(0);
    }
    CHECK_EQ(ptrace(PTRACE_SEIZE, inside, 0, 0), 0);
    CHECK_EQ(kill(inside, SIGKILL), 0);
    CHECK_EQ(waitpid(inside, &status, 0), inside);
    /* It ends with our end: nobody inside can reach it, so it watches us itself. */
    _exit(check_failures != 0);
}

/* Abstract names are everybody's: a scope keeps to those that were taken inside. */
static void test_abstract(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const socklen_t size = sizeof(name.sun_family) + 24;
    int outside = socket(AF_UNIX, SOCK_STREAM, 0), inside, client;

    snprintf(name.sun_path + 1, 22, "landlock.%d", (int)getpid());
    CHECK_EQ(bind(outside, (struct sockaddr *)&name, size), 0);
    CHECK_EQ(listen(outside, 1), 0);
    enforce(create(0, 0, 1));
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(client, (struct sockaddr *)&name, size), EPERM);
    inside = socket(AF_UNIX, SOCK_STREAM, 0);
    name.sun_path[1] = 'L';
    CHECK_EQ(bind(inside, (struct sockaddr *)&name, size), 0);
    CHECK_EQ(listen(inside, 1), 0);
    CHECK_EQ(connect(client, (struct sockaddr *)&name, size), 0);
}

static int tcp_bound_to(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), result = bind(fd, (struct sockaddr *)&at, sizeof(at));

    close(fd);
    return result;
}

static int tcp_connected_to(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int result = connect(fd, (struct sockaddr *)&at, sizeof(at));

    close(fd);
    return result;
}

static void test_ports(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct {
        uint64_t allowed, port;
    } rule = {.allowed = 2};
    socklen_t size = sizeof(at);
    int server = socket(AF_INET, SOCK_STREAM, 0), udp;
    long ruleset = create(0, 3, 0);
    uint16_t port;

    CHECK_EQ(bind(server, (struct sockaddr *)&at, size), 0);
    CHECK_EQ(listen(server, 4), 0);
    CHECK_EQ(getsockname(server, (struct sockaddr *)&at, &size), 0);
    port = ntohs(at.sin_port);
    CHECK_EQ(tcp_connected_to(port), 0);
    rule.port = port;
    CHECK_EQ(syscall(NR_ADD, ruleset, 2, &rule, 0), 0);
    enforce(ruleset);
    CHECK_EQ(tcp_connected_to(port), 0);
    CHECK_ERRNO(tcp_connected_to(port ^ 1), EACCES);
    CHECK_ERRNO(tcp_bound_to(port ^ 1), EACCES);
    CHECK_ERRNO(tcp_bound_to(0), EACCES);
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    at.sin_port = 0;
    CHECK_EQ(bind(udp, (struct sockaddr *)&at, sizeof(at)), 0); /* of TCP alone */
}

static void in_group(void)
{
    int status = -1;
    pid_t pid;

    setpgid(0, 0);
    pid = fork();
    if (pid == 0)
        test_processes();
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
}

static void put(const char *name, mode_t mode)
{
    int fd = open(at(name), O_CREAT | O_WRONLY, mode);

    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "something", 9), 9);
    close(fd);
}

int main(void)
{
    if (syscall(NR_CREATE, NULL, 0, 1) < 6)
        check_skip("no Landlock, or one that is too old");
    snprintf(top, sizeof(top), "/tmp/landlock.%d", (int)getpid());
    CHECK_EQ(mkdir(top, 0755), 0);
    CHECK_EQ(mkdir(at("open"), 0755), 0);
    CHECK_EQ(mkdir(at("open/inner"), 0755), 0);
    CHECK_EQ(mkdir(at("closed"), 0755), 0);
    put("open/file", 0755);
    put("open/inner/file", 0755);
    put("open/inner/long", 0644);
    put("closed/file", 0644);
    put("closed/granted", 0644);
    test_arguments();
    in_child(test_unprivileged);
    in_child(test_opening);
    in_child(test_names);
    in_child(test_truncate);
    in_child(test_layers);
    in_child(in_group);
    in_child(test_abstract);
    in_child(test_ports);
    in_child(test_refer);
    unlink(at("open/moved"));
    unlink(at("open/inner/long"));
    unlink(at("closed/moved"));
    unlink(at("closed/linked"));
    unlink(at("closed/file"));
    unlink(at("closed/granted"));
    CHECK_EQ(rmdir(at("open/inner")), 0);
    CHECK_EQ(rmdir(at("open")), 0);
    CHECK_EQ(rmdir(at("closed")), 0);
    CHECK_EQ(rmdir(top), 0);
    return check_done();
}
