/*
 * System calls that no sane program makes: numbers that do not exist, and pointers that lead
 * nowhere. Linux's own answers are printed, and so compared.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <time.h>

#include "check.h"

#define PAGE 4096

static char *edge; /* the first byte that is not mapped: the page before it is */

static void test_numbers(void)
{
    static const long missing[] = {340,  400,        423, 600, 1000,  4095,
                                   9999, 0x7fffffff, -1,  -2,  -4096, (long)0x8000000000000000};

    for (size_t i = 0; i < ARRAY_COUNT(missing); i++) {
        long nr = missing[i];
        if (nr == (long)0x8000000000000000) /* eax is 0 then: read() of a bad descriptor */
            CHECK_EQ(RAW(nr, -1, 0, 0), -EBADF);
        else
            CHECK_EQ(RAW(nr, 1, 2, 3, 4, 5, 6), -ENOSYS);
    }
    /* Only eax counts. */
    CHECK_EQ(RAW(SYS_getppid | 0x7fffffff00000000L), getppid());
    /* Calls that are gone from the kernel, or were never there. */
    static const int gone[] = {SYS_uselib,          SYS_create_module, SYS_get_kernel_syms,
                               SYS_query_module,    SYS_nfsservctl,    SYS_getpmsg,
                               SYS_putpmsg,         SYS_afs_syscall,   SYS_tuxcall,
                               SYS_security,        SYS_vserver,       SYS_set_thread_area,
                               SYS_get_thread_area, SYS_epoll_ctl_old, SYS_epoll_wait_old};
    for (size_t i = 0; i < ARRAY_COUNT(gone); i++) {
        if (gone[i] == SYS_uselib) /* there where old binary formats are configured */
            continue;
        CHECK_EQ(RAW(gone[i], 0, 0, 0), -ENOSYS);
    }
}

/* Every argument of the right kind but one pointer. */
static void test_pointers(void)
{
    char *const bad[] = {(char *)8,
                         edge,
                         (char *)0x7ffffffff000,
                         (char *)0x800000000000,
                         (char *)0xffff800000000000,
                         (char *)-8,
                         (char *)-1};
    struct timespec zero = {0, 0};
    int pipe_fds[2], zero_fd = open("/dev/zero", O_RDWR), file = open("words.txt", O_RDONLY);
    int folder = open(".", O_RDONLY | O_DIRECTORY);

    CHECK_EQ(pipe(pipe_fds), 0);
    CHECK_EQ(write(pipe_fds[1], "0123456789", 10), 10);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char *p = bad[i];
        const struct {
            const char *name;
            long result;
        } results[] = {
            {"read of zero", RAW(SYS_read, zero_fd, p, 16)},
            {"read of file", RAW(SYS_read, file, p, 16)},
            {"read of pipe", RAW(SYS_read, pipe_fds[0], p, 4)},
            {"write to pipe", RAW(SYS_write, pipe_fds[1], p, 4)},
            {"pread", RAW(SYS_pread64, file, p, 16, 0)},
            {"readv", RAW(SYS_readv, file, p, 1)},
            {"writev", RAW(SYS_writev, pipe_fds[1], p, 1)},
            {"open", RAW(SYS_open, p, O_RDONLY)},
            {"stat", RAW(SYS_stat, p, edge - 512)},
            {"stat to", RAW(SYS_stat, "words.txt", p)},
            {"fstat", RAW(SYS_fstat, file, p)},
            {"access", RAW(SYS_access, p, 0)},
            {"readlink", RAW(SYS_readlink, p, edge - 512, 100)},
            {"getcwd", RAW(SYS_getcwd, p, 512)},
            {"chdir", RAW(SYS_chdir, p)},
            {"getdents64", RAW(SYS_getdents64, folder, p, 512)},
            {"pipe", RAW(SYS_pipe, p)},
            {"poll", RAW(SYS_poll, p, 1, 0)},
            {"nanosleep", RAW(SYS_nanosleep, p, NULL)},
            {"clock_gettime", RAW(SYS_clock_gettime, CLOCK_MONOTONIC, p)},
            {"clock_nanosleep", RAW(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, p, NULL)},
            {"gettimeofday", RAW(SYS_gettimeofday, p, NULL)},
            {"rt_sigaction", RAW(SYS_rt_sigaction, SIGUSR1, p, NULL, 8)},
            {"rt_sigaction old", RAW(SYS_rt_sigaction, SIGUSR1, NULL, p, 8)},
            {"rt_sigprocmask", RAW(SYS_rt_sigprocmask, SIG_BLOCK, p, NULL, 8)},
            {"rt_sigpending", RAW(SYS_rt_sigpending, p, 8)},
            {"rt_sigtimedwait", RAW(SYS_rt_sigtimedwait, p, NULL, &zero, 8)},
            {"sigaltstack", RAW(SYS_sigaltstack, p, NULL)},
            {"futex wait", RAW(SYS_futex, (uintptr_t)p & ~7UL, 0, 0, &zero)},
            {"uname", RAW(SYS_uname, p)},
            {"getrandom", RAW(SYS_getrandom, p, 16, 0)},
            {"getrlimit", RAW(SYS_getrlimit, RLIMIT_STACK, p)},
            {"prlimit64", RAW(SYS_prlimit64, 0, RLIMIT_CORE, p, NULL)},
            {"getrusage", RAW(SYS_getrusage, RUSAGE_SELF, p)},
            {"sysinfo", RAW(SYS_sysinfo, p)},
            {"sched_getaffinity", RAW(SYS_sched_getaffinity, 0, 128, p)},
            {"sched_getparam", RAW(SYS_sched_getparam, 0, p)},
            {"getresuid", RAW(SYS_getresuid, p, p, p)},
            {"getcpu", RAW(SYS_getcpu, p, NULL, NULL)},
            {"statfs", RAW(SYS_statfs, "/", p)},
            {"prctl name", RAW(SYS_prctl, 16 /* PR_GET_NAME */, p)},
            {"arch_prctl", RAW(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, p)},
        };
        for (size_t j = 0; j < ARRAY_COUNT(results); j++)
            note("%s, pointer %zu: %ld", results[j].name, i, results[j].result);
    }
    /* A null pointer where Linux takes none. */
    note("time(8): %ld", RAW(SYS_time, 8));
    note("set_robust_list(8): %ld", RAW(SYS_set_robust_list, 8, 24));
    CHECK_EQ(read(pipe_fds[0], edge - 10, 10), 10);
    CHECK(memcmp(edge - 10, "0123456789", 10) == 0);
}

/* Buffers that begin well and end in nothing: what was possible is done. */
static void test_partial(void)
{
    int zero_fd = open("/dev/zero", O_RDONLY), null_fd = open("/dev/null", O_WRONLY);
    int file = open("words.txt", O_RDONLY), fd[2];
    struct iovec iov[2] = {{edge - 8, 8}, {edge, 8}};

    memset(edge - PAGE, 'q', PAGE);
    note("read zero: %ld", RAW(SYS_read, zero_fd, edge - 16, 100));
    note("read file: %ld", RAW(SYS_read, file, edge - 16, 81));
    note("offset: %ld", RAW(SYS_lseek, file, 0, SEEK_CUR));
    note("readv file: %ld", RAW(SYS_readv, file, iov, 2));
    note("write null: %ld", RAW(SYS_write, null_fd, edge - 16, 100));
    CHECK_EQ(pipe2(fd, O_NONBLOCK), 0);
    note("writev pipe, bad second: %ld", RAW(SYS_writev, fd[1], iov, 2));
    iov[1].iov_len = 0;
    note("writev pipe, empty second: %ld", RAW(SYS_writev, fd[1], iov, 2));
    iov[1].iov_len = -1UL;
    note("writev pipe, negative: %ld", RAW(SYS_writev, fd[1], iov, 2));
    note("stat into the edge: %ld", RAW(SYS_stat, "words.txt", edge - 16));
    memcpy(edge - 9, "words.txt", 9);
    note("path that ends at the edge: %ld", RAW(SYS_access, edge - 9, 0));
    memcpy(edge - 10, "words.txt\0", 10);
    note("path with its end: %ld", RAW(SYS_access, edge - 10, 0));
    note("poll across the edge: %ld", RAW(SYS_poll, edge - 12, 2, 0));
    note("read-only destination: %ld", RAW(SYS_read, zero_fd, "constant", 4));
    note("huge read: %ld", RAW(SYS_read, file, edge - 16, -1L));
    note("huge count: %ld", RAW(SYS_read, zero_fd, edge - 16, 0x7fffffff));
}

int main(void)
{
    char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    edge = p + PAGE;
    CHECK_EQ(munmap(edge, PAGE), 0);
    test_numbers();
    test_pointers();
    test_partial();
    return check_done();
}
