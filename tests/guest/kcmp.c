/* kcmp, and the bits of a personality that show. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

enum { OF_FILE, OF_VM, OF_FILES, OF_FS, OF_SIGHAND, OF_IO, OF_SYSVSEM, OF_EPOLL };

struct epoll_slot {
    uint32_t efd, tfd, toff;
};

static long kcmp_(pid_t a, pid_t b, int type, unsigned long x, unsigned long y)
{
    return syscall(SYS_kcmp, a, b, type, x, y);
}

static void test_files(void)
{
    int p[2], q, ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    struct epoll_slot slot = {.efd = (uint32_t)ep};
    pid_t me = getpid();

    CHECK_EQ(pipe(p), 0);
    q = dup(p[0]);
    CHECK_EQ(kcmp_(me, me, OF_FILE, (unsigned)p[0], (unsigned)q), 0);
    CHECK(kcmp_(me, me, OF_FILE, (unsigned)p[0], (unsigned)p[1]) > 0);
    CHECK_EQ(kcmp_(me, me, OF_FILE, (unsigned)p[0], (unsigned)p[1]) +
                 kcmp_(me, me, OF_FILE, (unsigned)p[1], (unsigned)p[0]),
             3);
    CHECK_ERRNO(kcmp_(me, me, OF_FILE, 999, (unsigned)q), EBADF);
    CHECK_ERRNO(kcmp_(me, me, 8, 0, 0), EINVAL);
    CHECK_ERRNO(kcmp_(me, me, -1, 0, 0), EINVAL);
    CHECK_ERRNO(kcmp_(me, 0x7fffffff, OF_VM, 0, 0), ESRCH);
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &event), 0);
    slot.tfd = (uint32_t)p[0];
    CHECK_EQ(kcmp_(me, me, OF_EPOLL, (unsigned)q, (unsigned long)&slot), 0);
    CHECK(kcmp_(me, me, OF_EPOLL, (unsigned)p[1], (unsigned long)&slot) > 0);
    slot.toff = 1;
    CHECK_ERRNO(kcmp_(me, me, OF_EPOLL, (unsigned)q, (unsigned long)&slot), ENOENT);
    slot.efd = (uint32_t)q;
    CHECK_ERRNO(kcmp_(me, me, OF_EPOLL, (unsigned)q, (unsigned long)&slot), EINVAL);
    slot.efd = 999;
    CHECK_ERRNO(kcmp_(me, me, OF_EPOLL, (unsigned)q, (unsigned long)&slot), EBADF);
    CHECK_ERRNO(kcmp_(me, me, OF_EPOLL, (unsigned)q, 8), EFAULT);
    close(p[0]);
    close(p[1]);
    close(q);
    close(ep);
}

static int wait_for_signal(void *argument)
{
    while (pause() < 0)
        ;
    return 0;
}

static void compare_with(int flags, const int same[OF_SYSVSEM])
{
    static char stack[65536] __attribute__((aligned(16)));
    pid_t me = getpid(), pid = clone(wait_for_signal, stack + sizeof(stack), flags | SIGCHLD, NULL);

    CHECK(pid > 0);
    for (int type = OF_VM; type <= OF_SIGHAND; type++)
        CHECK_EQ(kcmp_(me, pid, type, 0, 0) == 0, same[type]);
    CHECK_EQ(kcmp_(me, pid, OF_FILE, 1, 1), 0);
    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void test_objects(void)
{
    compare_with(0, (int[]){0, 0, 0, 0, 0, 0});
    compare_with(CLONE_VM, (int[]){0, 1, 0, 0, 0, 0});
    compare_with(CLONE_FILES, (int[]){0, 0, 1, 0, 0, 0});
    compare_with(CLONE_FS, (int[]){0, 0, 0, 1, 0, 0});
    compare_with(CLONE_VM | CLONE_SIGHAND, (int[]){0, 1, 0, 0, 1, 0});
}

static int run_code(void *page)
{
    static const uint8_t code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */

    memcpy(page, code, sizeof(code));
    return ((int (*)(void))page)();
}

static void test_personality(void)
{
    int status;
    pid_t pid;

    CHECK_EQ(personality(0xffffffff), 0);
    pid = fork();
    if (pid == 0) {
        void *page, *other;

        CHECK_EQ(personality(READ_IMPLIES_EXEC), 0);
        CHECK_EQ(personality(0xffffffff), READ_IMPLIES_EXEC);
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK_EQ(run_code(page), 42);
        other = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK_EQ(mprotect(other, 4096, PROT_READ | PROT_WRITE), 0);
        CHECK_EQ(run_code(other), 42);
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

/* Run by itself twice without randomness: everything is where it was. */
static void test_same_places(char *self)
{
    static char *const arg[] = {"kcmp", "where", NULL}, *const env[] = {NULL};
    long places[2][3];

    for (int i = 0; i < 2; i++) {
        int p[2];
        pid_t pid;

        CHECK_EQ(pipe(p), 0);
        pid = fork();
        if (pid == 0) {
            dup2(p[1], 1);
            personality(ADDR_NO_RANDOMIZE);
            execve(self, arg, env);
            _exit(1);
        }
        close(p[1]);
        CHECK_EQ(read(p[0], places[i], sizeof(places[i])), sizeof(places[i]));
        close(p[0]);
        CHECK_EQ(waitpid(pid, NULL, 0), pid);
    }
    CHECK_EQ(memcmp(places[0], places[1], sizeof(places[0])), 0);
    CHECK_EQ(places[0][2], ADDR_NO_RANDOMIZE);
}

static int tell_places(void)
{
    long places[3] = {(long)&places,
                      (long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                      personality(0xffffffff)};

    return write(1, places, sizeof(places)) != sizeof(places);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return tell_places();
    test_files();
    test_objects();
    test_personality();
    test_same_places(argv[0]);
    return check_done();
}
