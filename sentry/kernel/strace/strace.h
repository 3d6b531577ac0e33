/*
 * --strace: one line for each system call of the guest, in the form that strace(1) made familiar:
 *
 *     [2] write(1, "hello\n", 6) = 6
 *     [2] openat(AT_FDCWD, "/nonexistent", O_RDONLY) = -1 ENOENT (No such file or directory)
 *
 * What to print comes from the call's row in the table (its "args" language is described at the
 * head of sentry/syscalls/syscalls.def), so a new call needs no code here. Everything that is read
 * from the guest is read through usercopy and escaped: a line holds printable ASCII only.
 */
#ifndef SENTRY_KERNEL_STRACE_H
#define SENTRY_KERNEL_STRACE_H

#include "base/compiler.h"

struct mm;
struct syscall_entry;
struct syscall_table;

#define STRACE_LINE_MAX    1024 /* longer lines are cut */
#define STRACE_CALLS_MAX   512
#define STRACE_STRING_MAX  48 /* bytes shown of a buffer; paths are shown whole */
#define STRACE_ELEMENT_MAX 16 /* elements shown of an array */

/* Which calls are traced. All zero: none. Constant once the guest runs. */
struct strace_filter {
    bool on;
    uint64_t wanted[STRACE_CALLS_MAX / 64];
};

/* A line under construction. */
struct strace_buf {
    char text[STRACE_LINE_MAX];
    size_t used;
};

/* One call in progress, on the stack of the task's thread. */
struct strace_call {
    struct mm *mm; /* borrowed from the task; not looked at after a NULL */
    const struct syscall_entry *entry;
    uint32_t nr;
    uint64_t args[6];
    const char *rest; /* the part of the row that is printed when the call returns */
    struct strace_buf line;
};

/*
 * `names` is the list behind --strace=, separated by commas; NULL or "" means every call. -EINVAL
 * for a name that is no system call: it is copied to ret_bad (at most 31 bytes and a NUL).
 */
int strace_filter_parse(const struct syscall_table *table, const char *names,
                        struct strace_filter *ret_filter, char ret_bad[32]);

static inline bool strace_wants(const struct strace_filter *filter, uint64_t nr)
{
    return filter->on && nr < STRACE_CALLS_MAX && (filter->wanted[nr / 64] >> (nr % 64) & 1);
}

/*
 * Before the call is served: formats what the guest passes in, up to the first argument that the
 * call fills. `entry` may be NULL or a gap: the line then says syscall_0x1f4(...).
 */
void strace_enter(struct strace_call *call, struct mm *mm, int tid, uint64_t nr,
                  const struct syscall_entry *entry, const uint64_t args[6]);
/*
 * Afterwards: the rest, and the result as the body returned it (restart codes included). Pass the
 * task's present mm: execve(2) has replaced it. Writes the line to the log.
 */
void strace_leave(struct strace_call *call, struct mm *mm, long result);
/* For calls that do not come back (exit, exit_group, a good rt_sigreturn): "= ?". */
void strace_leave_noreturn(struct strace_call *call, struct mm *mm);
/* "[2] --- SIGSEGV {si_code=1, si_addr=0x8} ---" for a signal that is being delivered. */
void strace_signal(int tid, int signo, int si_code, uaddr_t addr);
/* "[2] +++ exited with 1 +++", "[2] +++ killed by SIGSEGV +++": `status` as wait(2) encodes it. */
void strace_exited(int tid, int status);

#endif
