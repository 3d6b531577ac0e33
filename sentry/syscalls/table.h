/*
 * The dispatch table, derived from syscalls.def: prototypes of every body and the array that the
 * runtime hands to the kernel.
 */
#ifndef SENTRY_SYSCALLS_TABLE_H
#define SENTRY_SYSCALLS_TABLE_H

#include "sentry/kernel/syscall.h"

/* A row that promises a body and a family's file that lacks it do not link. */
#define SYS_FULL(nr, name, args)          long sys_##name(struct task *, const uint64_t[6]);
#define SYS_PARTIAL(nr, name, args, note) long sys_##name(struct task *, const uint64_t[6]);
#define SYS_REFUSED(nr, name, args, note) long sys_##name(struct task *, const uint64_t[6]);
#define SYS_ABSENT(nr, name, args, note)
#define SYS_RETIRED(nr, name)
#include "sentry/syscalls/syscalls.def"
#undef SYS_FULL
#undef SYS_PARTIAL
#undef SYS_REFUSED
#undef SYS_ABSENT
#undef SYS_RETIRED

/* Every number of Linux 6.18; gaps have a NULL name. */
extern const struct syscall_table syscall_table;

#endif
