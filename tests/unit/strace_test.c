/*
 * Tests the strace formatter against memory of this process: copy_from_user_partial() is replaced,
 * and addresses below one page play the unmapped ones.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sentry/kernel/strace/strace.h"
#include "sentry/kernel/strace/strace_types.h"
#include "sentry/kernel/syscall.h"
#include "sentry/mm/usercopy.h"

#define SYS_FULL(nr, name, args)          [nr] = {#name, NULL, SYSCALL_FULL, args, ""},
#define SYS_PARTIAL(nr, name, args, note) [nr] = {#name, NULL, SYSCALL_PARTIAL, args, note},
#define SYS_REFUSED(nr, name, args, note) [nr] = {#name, NULL, SYSCALL_REFUSED, args, note},
#define SYS_ABSENT(nr, name, args, note)  [nr] = {#name, NULL, SYSCALL_ABSENT, args, note},
#define SYS_RETIRED(nr, name)             [nr] = {#name, NULL, SYSCALL_RETIRED, "", ""},
static const struct syscall_entry entries[] = {
#include "sentry/syscalls/syscalls.def"
};
static const struct syscall_table table = {entries, ARRAY_COUNT(entries)};

#define ANY_MM ((struct mm *)1)

/* Reads past the ends of our objects, as a guest's memory goes on behind its strings. */
__attribute__((no_sanitize("address"))) size_t copy_from_user_partial(struct mm *mm, void *dst,
                                                                      uaddr_t src, size_t size)
{
    cr_assert(mm == ANY_MM);
    if (src < PAGE_SIZE)
        return 0;
    for (size_t i = 0; i < size; i++)
        ((volatile char *)dst)[i] = ((const char *)src)[i];
    return size;
}

/* The line that the log got for one call. */
static const char *traced(long nr, long result, const uint64_t args[6])
{
    static char line[2 * STRACE_LINE_MAX];
    struct strace_call call;
    int fds[2];
    ssize_t size;

    cr_assert(pipe(fds) == 0);
    log_setup(fds[1], LEVEL_ERROR);
    strace_enter(&call, ANY_MM, 7, (uint64_t)nr, &entries[nr], args);
    strace_leave(&call, ANY_MM, result);
    size = read(fds[0], line, sizeof(line) - 1);
    cr_assert(size > 0);
    line[size] = 0;
    close(fds[0]);
    close(fds[1]);
    return line;
}
#define TRACED(nr, result, ...) traced(nr, result, (const uint64_t[6]){__VA_ARGS__})
#define P(x)                    ((uint64_t)(uintptr_t)(x))

Test(strace, every_row_can_be_formatted)
{
    for (uint32_t nr = 0; nr < table.count; nr++) {
        struct strace_call call = {.entry = &entries[nr]};
        const char *spec = entries[nr].args;
        struct spec_arg arg;
        struct span result;
        int count = 0;

        if (!spec)
            continue;
        while ((spec = spec_next(spec, &arg))) {
            bool known;

            count++;
            if (arg.dir == SPEC_SCALAR)
                known = strace_put_scalar(&call, arg.type, 0);
            else
                known = strace_put_pointer(&call, arg.type, 0, false, 0);
            cr_expect(known, "%s: unknown kind in %s", entries[nr].name, entries[nr].args);
            if (arg.count.size && !span_is(arg.count, "ret") && arg.count.at[0] > '9') {
                cr_expect(spec_find(entries[nr].args, arg.count) >= 0, "%s: no such argument",
                          entries[nr].name);
            }
        }
        cr_expect(count <= 6, "%s has too many arguments", entries[nr].name);
        result = spec_result(entries[nr].args);
        if (result.size)
            cr_expect(strace_put_scalar(&call, result, 0), "%s: result kind", entries[nr].name);
    }
}

Test(strace, buffers_and_strings)
{
    char escapes[] = "a\"\\\n\x01"
                     "7\x7f";
    char long_text[100];

    cr_expect_str_eq(TRACED(SYS_write, 6, 1, P("hello\n"), 6),
                     "[7] write(1, \"hello\\n\", 6) = 6\n");
    cr_expect_str_eq(TRACED(SYS_write, 7, 1, P(escapes), 7),
                     "[7] write(1, \"a\\\"\\\\\\n\\0017\\177\", 7) = 7\n");
    memset(long_text, 'x', sizeof(long_text));
    cr_expect(strstr(TRACED(SYS_write, 100, 1, P(long_text), 100), "xxx\"..., 100) = 100\n") !=
              NULL);
    cr_expect_str_eq(TRACED(SYS_write, -EFAULT, 1, 16, 5),
                     "[7] write(1, 0x10, 5) = -1 EFAULT (Bad address)\n");
    /* What a call fills is read when it returns, and only if it was filled. */
    cr_expect_str_eq(TRACED(SYS_read, 2, 0, P("ok?"), 3), "[7] read(0, \"ok\", 3) = 2\n");
    cr_expect_str_eq(TRACED(SYS_read, -EAGAIN, 0, 0x5000, 3),
                     "[7] read(0, 0x5000, 3) = -1 EAGAIN (Resource temporarily unavailable)\n");
}

Test(strace, flags_and_enumerations)
{
    cr_expect_str_eq(TRACED(SYS_openat, -ENOENT, (uint64_t)AT_FDCWD, P("/x"), O_RDONLY, 0),
                     "[7] openat(AT_FDCWD, \"/x\", O_RDONLY) = -1 ENOENT (No such file or "
                     "directory)\n");
    cr_expect_str_eq(TRACED(SYS_openat, 3, (uint32_t)AT_FDCWD, P("/x"), O_RDWR | O_CREAT, 0644),
                     "[7] openat(AT_FDCWD, \"/x\", O_RDWR|O_CREAT, 0644) = 3\n");
    cr_expect_str_eq(TRACED(SYS_mmap, 0x7f0000000000, 0, 4096, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0),
                     "[7] mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) "
                     "= 0x7f0000000000\n");
    cr_expect_str_eq(TRACED(SYS_mprotect, 0, 0x1000, 4096, PROT_NONE),
                     "[7] mprotect(0x1000, 4096, PROT_NONE) = 0\n");
    cr_expect(strstr(TRACED(SYS_madvise, -EINVAL, 0x1000, 4096, 77), ", 0x4d) = -1") != NULL);
    cr_expect_str_eq(TRACED(SYS_umask, 022, 077), "[7] umask(077) = 022\n");
}

Test(strace, structures)
{
    struct timespec ts = {1, 500};
    struct pollfd pfd[2] = {{3, POLLIN, POLLIN}, {4, POLLOUT, 0}};
    struct iovec iov[2] = {{(char *)"ab", 2}, {(char *)"c", 1}};
    uint64_t set = 1UL << (SIGINT - 1) | 1UL << (SIGCHLD - 1);

    cr_expect_str_eq(TRACED(SYS_nanosleep, 0, P(&ts), 0),
                     "[7] nanosleep({tv_sec=1, tv_nsec=500}, NULL) = 0\n");
    cr_expect_str_eq(TRACED(SYS_poll, 1, P(pfd), 2, (uint32_t)-1),
                     "[7] poll([{fd=3, events=POLLIN, revents=POLLIN}, {fd=4, events=POLLOUT}], 2, "
                     "-1) = 1\n");
    cr_expect_str_eq(
        TRACED(SYS_writev, 3, 1, P(iov), 2),
        "[7] writev(1, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"c\", iov_len=1}], 2) "
        "= 3\n");
    cr_expect_str_eq(TRACED(SYS_rt_sigprocmask, 0, SIG_BLOCK, P(&set), 0, 8),
                     "[7] rt_sigprocmask(SIG_BLOCK, [INT CHLD], NULL, 8) = 0\n");
    cr_expect_str_eq(TRACED(SYS_futex, -EAGAIN, 0x5000, 128, 1, P(&ts), 0, 0),
                     "[7] futex(0x5000, FUTEX_WAIT|FUTEX_PRIVATE_FLAG, 1, {tv_sec=1, tv_nsec=500}, "
                     "NULL, 0) = -1 EAGAIN (Resource temporarily unavailable)\n");
}

Test(strace, restart_codes_are_named)
{
    cr_expect(strstr(TRACED(SYS_pause, -ERESTARTNOHAND, 0), "pause() = ? ERESTARTNOHAND") != NULL);
}

Test(strace, a_line_never_overflows)
{
    struct iovec iov[STRACE_ELEMENT_MAX];
    char bytes[STRACE_STRING_MAX];
    const char *line;

    memset(bytes, 1, sizeof(bytes));
    for (int i = 0; i < STRACE_ELEMENT_MAX; i++)
        iov[i] = (struct iovec){bytes, sizeof(bytes)};
    line = TRACED(SYS_writev, 9, 1, P(iov), STRACE_ELEMENT_MAX);
    cr_expect(strlen(line) <= STRACE_LINE_MAX);
    cr_expect(strstr(line, "...) = 9\n") != NULL, "the result survives the cut");
}

Test(strace, filter)
{
    struct strace_filter filter = {0};
    char bad[32];

    cr_expect(!strace_wants(&filter, SYS_read));
    cr_expect_eq(strace_filter_parse(&table, "read,write", &filter, bad), 0);
    cr_expect(strace_wants(&filter, SYS_read) && strace_wants(&filter, SYS_write));
    cr_expect(!strace_wants(&filter, SYS_close));
    cr_expect_eq(strace_filter_parse(&table, NULL, &filter, bad), 0);
    cr_expect(strace_wants(&filter, SYS_close) && !strace_wants(&filter, 1UL << 40));
    cr_expect_eq(strace_filter_parse(&table, "read,wrote", &filter, bad), -EINVAL);
    cr_expect_str_eq(bad, "wrote");
}
