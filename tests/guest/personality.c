/* What personality(2) changes for a 64-bit program, here and in what it executes. */
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096UL

static int run(const char *self, const char *what, unsigned long persona)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        if (personality(persona) < 0)
            _exit(99);
        execl(self, self, what, NULL);
        _exit(98);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static uintptr_t map(void)
{
    void *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    return (uintptr_t)p;
}

/* Where the next mappings go; a child's as well. */
static void places(bool up)
{
    uintptr_t a = map(), b = map(), stack = (uintptr_t)__builtin_frame_address(0);
    int status;

    CHECK_EQ(b > a, up);
    CHECK_EQ(a < stack / 2, up);
    if (fork() == 0)
        _exit((map() > b) != up);
    CHECK(wait(&status) > 0);
    CHECK_EQ(status, 0);
}

static void machine(const char *name)
{
    struct utsname uts;

    CHECK_EQ(uname(&uts), 0);
    CHECK_EQ(strcmp(uts.machine, name), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        bool up = strcmp(argv[1], "up") == 0;

        if (strcmp(argv[1], "32") == 0)
            machine("i686");
        else
            places(up);
        return check_failures ? 1 : 0;
    }
    CHECK_EQ(personality(0xffffffff), PER_LINUX);
    machine("x86_64");
    CHECK_EQ(personality(PER_LINUX32), PER_LINUX);
    machine("i686");
    CHECK_EQ(personality(PER_LINUX), PER_LINUX32);
    machine("x86_64");
    CHECK_EQ(run("/proc/self/exe", "down", PER_LINUX), 0);
    CHECK_EQ(run("/proc/self/exe", "up", ADDR_COMPAT_LAYOUT), 0);
    CHECK_EQ(run("/proc/self/exe", "up", ADDR_COMPAT_LAYOUT | ADDR_NO_RANDOMIZE), 0);
    CHECK_EQ(run("/proc/self/exe", "down", ADDR_NO_RANDOMIZE | MMAP_PAGE_ZERO | SHORT_INODE), 0);
    CHECK_EQ(run("/proc/self/exe", "32", PER_LINUX32 | ADDR_LIMIT_3GB | WHOLE_SECONDS), 0);
    return check_done();
}
