/*
 * From a TRAP_SYSCALL to the typed body. The table itself is built by sentry/syscalls, two floors
 * up, and handed in when the kernel is created.
 */
#ifndef SENTRY_KERNEL_SYSCALL_H
#define SENTRY_KERNEL_SYSCALL_H

#include "base/compiler.h"

struct task;

enum syscall_level {
    SYSCALL_NONE,    /* a gap in the numbers */
    SYSCALL_ABSENT,  /* Linux has it, we do not yet: ENOSYS, and the log says so once */
    SYSCALL_PARTIAL, /* works; the note says what is missing */
    SYSCALL_REFUSED, /* answers as Linux does where a container may not use it */
    SYSCALL_FULL,
    SYSCALL_RETIRED, /* Linux keeps the number and answers ENOSYS too: nothing to log */
};

typedef long (*syscall_handler)(struct task *task, const uint64_t args[6]);

struct syscall_entry {
    const char *name;        /* NULL for a gap in the numbers */
    syscall_handler handler; /* NULL: ENOSYS */
    uint8_t level;           /* enum syscall_level */
    const char *args;        /* argument kinds, for strace: the language of syscalls.def */
    const char *note;        /* what is missing */
};

struct syscall_table {
    const struct syscall_entry *entries; /* indexed by number */
    uint32_t count;
};

/*
 * Restart codes, returned by bodies and never seen by the guest (Linux include/linux/errno.h):
 * what happens when a signal interrupted the call.
 */
#define ERESTARTSYS           512 /* restart if SA_RESTART or no handler runs, else EINTR */
#define ERESTARTNOINTR        513 /* always restart */
#define ERESTARTNOHAND        514 /* restart only if no handler runs */
#define ERESTART_RESTARTBLOCK 516 /* continue through restart_syscall(2) if no handler runs */

/* Serves the call in the task's registers and stores its result there. */
void syscall_dispatch(struct task *task);

#endif
