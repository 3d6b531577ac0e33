/*
 * Options of prctl(2) about a whole address space: PR_SET_VMA, PR_SET_MDWE, PR_SET_MEMORY_MERGE;
 * and other small ones: PR_TIMER_CREATE_RESTORE_IDS, PR_SET_THP_DISABLE, PR_GET_SPECULATION_CTRL.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define SET_VMA          0x53564d41
#define SET_MDWE         65
#define GET_MDWE         66
#define SET_MEMORY_MERGE 67
#define GET_MEMORY_MERGE 68
#define TIMER_RESTORE    77
#define FUTEX_HASH       78

#define PAGE             4096UL

static char maps[1 << 16];

/* The line of maps (or smaps) of the mapping that begins at addr. */
static const char *line_of(const char *file, const void *addr)
{
    char start[32], *line;
    size_t size = 0;
    ssize_t n;
    int fd = open(file, O_RDONLY);

    while ((n = read(fd, maps + size, sizeof(maps) - 1 - size)) > 0)
        size += (size_t)n;
    close(fd);
    maps[size] = '\0';
    snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)addr);
    line = strstr(maps, start);
    if (line && file[strlen("/proc/self/")] == 'm')
        *strchrnul(line, '\n') = '\0';
    return line ? line : "";
}

static bool has_name(const void *addr, const char *name)
{
    const char *line = line_of("/proc/self/maps", addr);
    size_t length = strlen(line), size = strlen(name);

    return length >= size && strcmp(line + length - size, name) == 0;
}

static char *area(int flags)
{
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

static long name(void *p, size_t size, const char *text)
{
    return prctl(SET_VMA, 0, p, size, text);
}

static void test_names(void)
{
    char *p = area(MAP_PRIVATE), *s = area(MAP_SHARED), long_name[81];
    int fd = open("/proc/self/exe", O_RDONLY);
    char *f = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);

    memset(long_name, 'n', 80);
    long_name[80] = '\0';
    CHECK_ERRNO(prctl(SET_VMA, 1, p, PAGE, "x"), EINVAL);
    if (name(p, PAGE, "first page") < 0) {
        CHECK_EQ(errno, EINVAL); /* a Linux without CONFIG_ANON_VMA_NAME */
        return;
    }
    CHECK(has_name(p, " [anon:first page]"));
    CHECK(!has_name(p + PAGE, "]"));
    CHECK_ERRNO(name(p, PAGE, "a[b"), EINVAL);
    CHECK_ERRNO(name(p, PAGE, "a\nb"), EINVAL);
    CHECK_ERRNO(name(p, PAGE, "a$b"), EINVAL);
    CHECK_ERRNO(name(p, PAGE, long_name), EINVAL);
    CHECK_ERRNO(name(p, PAGE, (char *)8), EFAULT);
    CHECK_ERRNO(name(p + 1, PAGE, "x"), EINVAL);
    CHECK_ERRNO(name(p, -PAGE, "x"), EINVAL);
    CHECK_EQ(name(p, 0, "x"), 0);
    CHECK_ERRNO(name(f, PAGE, "x"), EBADF);
    CHECK(has_name(p, " [anon:first page]"));
    CHECK_EQ(name(s, 4 * PAGE, "shared"), 0);
    CHECK(has_name(s, " [anon_shmem:shared]"));
    long_name[79] = '\0';
    CHECK_EQ(name(p + PAGE, PAGE, long_name), 0);
    CHECK_EQ(name(p + PAGE, PAGE, "first page"), 0); /* equal names merge */
    CHECK(has_name(p, " [anon:first page]"));
    CHECK(!has_name(p + PAGE, "]"));
    CHECK_EQ(munmap(p + PAGE, PAGE), 0);
    CHECK_ERRNO(name(p, 4 * PAGE, "around"), ENOMEM); /* and yet: */
    CHECK(has_name(p, " [anon:around]"));
    CHECK(has_name(p + 2 * PAGE, " [anon:around]"));
    CHECK_EQ(name(p, PAGE, NULL), 0);
    CHECK(!has_name(p, "]"));
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    CHECK_EQ(munmap(s, 4 * PAGE), 0);
    close(fd);
}

static int in_child(void (*fn)(void))
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        atomic_store(&check_failures, 0);
        fn();
        _exit(atomic_load(&check_failures) != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect_denied(void)
{
    char *p = area(MAP_PRIVATE), *x;

    CHECK_EQ(prctl(GET_MDWE, 0, 0, 0, 0), 1);
    CHECK_EQ(mprotect(p, PAGE, PROT_READ), 0);
    CHECK_ERRNO(mprotect(p, PAGE, PROT_READ | PROT_EXEC), EACCES);
    CHECK_ERRNO(mprotect(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), EACCES);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
               0) == MAP_FAILED);
    CHECK_EQ(errno, EACCES);
    x = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(x != MAP_FAILED);
    CHECK_EQ(mprotect(x, PAGE, PROT_EXEC), 0);
    CHECK_ERRNO(mprotect(x, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), EACCES);
    CHECK_EQ(mprotect(x, PAGE, PROT_READ | PROT_WRITE), 0);
    CHECK_ERRNO(mprotect(x, PAGE, PROT_READ | PROT_EXEC), EACCES);
}

static void deny(void)
{
    CHECK_EQ(prctl(SET_MDWE, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(SET_MDWE, 1, 0, 0, 0), 0);
    CHECK_ERRNO(prctl(SET_MDWE, 0, 0, 0, 0), EPERM);
    CHECK_ERRNO(prctl(SET_MDWE, 3, 0, 0, 0), EPERM);
    expect_denied();
    CHECK_EQ(in_child(expect_denied), 0);
}

static void expect_free(void)
{
    CHECK_EQ(prctl(GET_MDWE, 0, 0, 0, 0), 0);
    CHECK(mmap(NULL, PAGE, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
          MAP_FAILED);
}

static void deny_here(void)
{
    CHECK_EQ(prctl(SET_MDWE, 3, 0, 0, 0), 0);
    CHECK_EQ(prctl(GET_MDWE, 0, 0, 0, 0), 3);
    CHECK_EQ(in_child(expect_free), 0);
}

static void test_deny(void)
{
    CHECK_EQ(prctl(GET_MDWE, 0, 0, 0, 0), 0);
    CHECK_ERRNO(prctl(GET_MDWE, 1, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(SET_MDWE, 1, 1, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(SET_MDWE, 2, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(SET_MDWE, 4, 0, 0, 0), EINVAL);
    CHECK_EQ(prctl(SET_MDWE, 0, 0, 0, 0), 0);
    CHECK_EQ(in_child(deny), 0);
    CHECK_EQ(in_child(deny_here), 0);
}

/* The letters are whole words of the flags' line. */
static bool has_flag(const void *addr, const char *flag)
{
    const char *line = strstr(line_of("/proc/self/smaps", addr), "VmFlags:");

    if (!line)
        return false;
    *strchrnul(line, '\n') = '\0';
    return strstr(line, flag) != NULL;
}

static void expect_merging(void)
{
    CHECK_EQ(prctl(GET_MEMORY_MERGE, 0, 0, 0, 0), 1);
}

static void test_merge(void)
{
    char *p = area(MAP_PRIVATE), *q;

    CHECK_ERRNO(prctl(SET_MEMORY_MERGE, 1, 1, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(GET_MEMORY_MERGE, 1, 0, 0, 0), EINVAL);
    CHECK_EQ(prctl(GET_MEMORY_MERGE, 0, 0, 0, 0), 0);
    CHECK(!has_flag(p, " mg"));
    CHECK_EQ(madvise(p, PAGE, MADV_MERGEABLE), 0);
    CHECK(has_flag(p, " mg"));
    CHECK(!has_flag(p + PAGE, " mg"));
    CHECK_EQ(madvise(p, PAGE, MADV_UNMERGEABLE), 0);
    CHECK(!has_flag(p, " mg"));
    CHECK_EQ(prctl(SET_MEMORY_MERGE, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(GET_MEMORY_MERGE, 0, 0, 0, 0), 1);
    CHECK_EQ(in_child(expect_merging), 0);
    q = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(has_flag(q, " mg"));
    CHECK_EQ(prctl(SET_MEMORY_MERGE, 0, 0, 0, 0), 0);
    CHECK(!has_flag(q, " mg"));
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
    CHECK_EQ(munmap(q, PAGE), 0);
}

static void test_timer_ids(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    int id = 77;

    CHECK_ERRNO(prctl(TIMER_RESTORE, 3, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(TIMER_RESTORE, 1, 1, 0, 0), EINVAL);
    CHECK_EQ(prctl(TIMER_RESTORE, 2, 0, 0, 0), 0);
    CHECK_EQ(prctl(TIMER_RESTORE, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(TIMER_RESTORE, 2, 0, 0, 0), 1);
    CHECK_EQ(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), 0);
    CHECK_EQ(id, 77);
    CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), EBUSY);
    id = -1;
    CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), EINVAL);
    CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, NULL), EFAULT);
    CHECK_EQ(syscall(SYS_timer_delete, 77), 0);
    CHECK_EQ(prctl(TIMER_RESTORE, 0, 0, 0, 0), 0);
}

static void test_small(void)
{
    CHECK_EQ(prctl(PR_SET_THP_DISABLE, 1, 2, 0, 0), 0);
    CHECK_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 3);
    CHECK_ERRNO(prctl(PR_SET_THP_DISABLE, 1, 4, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(PR_SET_THP_DISABLE, 0, 2, 0, 0), EINVAL);
    CHECK_EQ(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 0);
    CHECK_ERRNO(prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 999, 0, 0),
                prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0) & PR_SPEC_PRCTL
                    ? ERANGE
                    : ENXIO);
    CHECK_ERRNO(prctl(PR_GET_SPECULATION_CTRL, 17, 0, 0, 0), ENODEV);
    CHECK_ERRNO(prctl(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(FUTEX_HASH, 9, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(FUTEX_HASH, 1, 3, 0, 0), EINVAL);
}

int main(void)
{
    test_names();
    test_deny();
    test_merge();
    test_timer_ids();
    test_small();
    return check_done();
}
