/*
 * The jail, tried from inside: each case forks, closes it, does one thing, and looks at how the
 * child ended.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "host/io.h"
#include "host/jail.h"
#include "host/landlock.h"
#include "host/path.h"

static int status_fd; /* /proc/self/status of the child, opened before the jail closes */

static void enter(uint32_t roles)
{
    struct jail_request req = {.roles = roles};

    status_fd = open("/proc/thread-self/status", O_RDONLY);
    jail_isolate();
    if (jail_enter(&req) < 0)
        _exit(99);
}

/* The wait status of a child that runs `fn` in the jail and exits with what that returns. */
static int run_jailed(uint32_t roles, int (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        enter(roles);
        _exit(fn());
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

#define assert_survives(role, fn)                                                                  \
    do {                                                                                           \
        int status_ = run_jailed(role, fn);                                                        \
        cr_expect(WIFEXITED(status_) && WEXITSTATUS(status_) == 0, "%s: status %#x", #fn,          \
                  status_);                                                                        \
    } while (0)
#define assert_killed(role, fn)                                                                    \
    do {                                                                                           \
        int status_ = run_jailed(role, fn);                                                        \
        cr_expect(WIFSIGNALED(status_) && WTERMSIG(status_) == SIGSYS, "%s: status %#x", #fn,      \
                  status_);                                                                        \
    } while (0)

static int do_open(void)
{
    return open("/etc/passwd", O_RDONLY) < 0;
}

static int do_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int do_execve(void)
{
    char *argv[] = {"/bin/true", NULL};

    return execve("/bin/true", argv, argv);
}

static int do_fork(void)
{
    return (int)syscall(SYS_fork);
}

static int do_clone_process(void)
{
    return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int do_map_exec(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED;
}

static int do_protect_exec(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int do_kill_other(void)
{
    return kill(getppid(), 0);
}

static int do_kill_init(void)
{
    return kill(1, 0);
}

static int do_sticky_ioctl(void)
{
    char c = 'x';

    return host_ioctl(0, 0x5412 /* TIOCSTI */, &c);
}

static int do_x32_call(void)
{
    return (int)syscall(0x40000000 | SYS_getpid);
}

static int do_personality(void)
{
    return (int)syscall(SYS_personality, 0xffffffff);
}

static void *thread_main(void *arg)
{
    return arg;
}

static int do_threads(void)
{
    pthread_t t;
    void *ret = NULL;
    int mark;

    if (pthread_create(&t, NULL, thread_main, &mark) != 0 || pthread_join(t, &ret) != 0)
        return 1;
    return ret != &mark;
}

static int do_allocate(void)
{
    for (size_t size = 16; size < (64u << 20); size *= 4) {
        void *p = malloc(size);
        void *bigger;

        if (!p)
            return 1;
        memset(p, 1, size);
        bigger = realloc(p, size * 3);
        if (!bigger)
            return 2;
        free(bigger);
    }
    return 0;
}

static int do_log(void)
{
    log_info("from inside");
    return 0;
}

static int read_status(char *buf, size_t size)
{
    ssize_t n = host_read(status_fd, buf, size - 1);

    if (n <= 0)
        return 1;
    buf[n] = '\0';
    return 0;
}

static int field_is(const char *text, const char *field, const char *value)
{
    const char *at = strstr(text, field);

    return at && strncmp(at + strlen(field), value, strlen(value)) == 0;
}

static int do_privileges(void)
{
    static const char *const sets[] = {"\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapAmb:"};
    char text[8192];

    if (read_status(text, sizeof(text)))
        return 1;
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
        if (!field_is(text, sets[i], "\t0000000000000000\n"))
            return 2;
    }
    if (!field_is(text, "\nNoNewPrivs:", "\t1\n"))
        return 3;
    return field_is(text, "\nSeccomp:", "\t2\n") ? 0 : 4;
}

static int do_bounding_set(void)
{
    char text[8192];

    if (read_status(text, sizeof(text)))
        return 1;
    return field_is(text, "\nCapBnd:", "\t0000000000000000\n") ? 0 : 2;
}

Test(jail, forbidden_calls_kill)
{
    assert_killed(JAIL_SENTRY, do_open);
    assert_killed(JAIL_SENTRY, do_socket);
    assert_killed(JAIL_SENTRY, do_execve);
    assert_killed(JAIL_SENTRY, do_fork);
    assert_killed(JAIL_SENTRY, do_clone_process);
    assert_killed(JAIL_SENTRY, do_map_exec);
    assert_killed(JAIL_SENTRY, do_protect_exec);
    assert_killed(JAIL_SENTRY, do_kill_other);
    assert_killed(JAIL_SENTRY, do_kill_init);
    assert_killed(JAIL_SENTRY, do_sticky_ioctl);
    assert_killed(JAIL_SENTRY, do_x32_call);
    assert_killed(JAIL_SENTRY, do_personality);
}

Test(jail, gofer_is_jailed_too)
{
    assert_killed(JAIL_GOFER, do_socket);
    assert_killed(JAIL_GOFER, do_execve);
    assert_killed(JAIL_GOFER, do_threads);
    assert_survives(JAIL_GOFER, do_log);
}

Test(jail, listed_calls_survive)
{
    assert_survives(JAIL_SENTRY, do_threads);
    assert_survives(JAIL_SENTRY, do_allocate);
    assert_survives(JAIL_SENTRY, do_log);
}

Test(jail, privileges_are_gone)
{
    assert_survives(JAIL_SENTRY, do_privileges);
    /* Only who has CAP_SETPCAP can empty the bounding set. */
    if (geteuid() == 0)
        assert_survives(JAIL_SENTRY, do_bounding_set);
}

/* Beneath the root reading is allowed and writing is not; outside nothing is. */
static int use_read_only(void)
{
    char dir[] = "/tmp/jail-test-XXXXXX", name[64];
    int root, err, fd;

    if (!mkdtemp(dir))
        return 1;
    snprintf(name, sizeof(name), "%s/file", dir);
    close(open(name, O_CREAT | O_WRONLY, 0600));
    root = host_open_root(dir);
    if (root < 0 || jail_drop_privileges() < 0)
        return 2;
    err = host_landlock_read_only(root);
    if (err == -ENOSYS || err == -EOPNOTSUPP)
        return 77;
    if (err < 0)
        return 3;
    fd = open(name, O_RDONLY);
    if (fd < 0 || open(name, O_WRONLY) >= 0 || errno != EACCES || unlink(name) == 0)
        return 4;
    return open("/etc/passwd", O_RDONLY) >= 0 ? 5 : 0;
}

Test(jail, landlock_lets_the_gofer_read)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(use_read_only());
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        cr_skip_test("this host has no Landlock");
    cr_expect_eq(WEXITSTATUS(status), 0);
    cr_expect_eq(system("rm -rf /tmp/jail-test-??????"), 0);
}
