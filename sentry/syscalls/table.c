/* The array of system calls; each row comes from syscalls.def and from nowhere else. */
#include "sentry/syscalls/table.h"

#define SYS_FULL(nr, name, args)          [nr] = {#name, sys_##name, SYSCALL_FULL, args, ""},
#define SYS_PARTIAL(nr, name, args, note) [nr] = {#name, sys_##name, SYSCALL_PARTIAL, args, note},
#define SYS_REFUSED(nr, name, args, note) [nr] = {#name, sys_##name, SYSCALL_REFUSED, args, note},
#define SYS_ABSENT(nr, name, args, note)  [nr] = {#name, NULL, SYSCALL_ABSENT, args, note},
#define SYS_RETIRED(nr, name)             [nr] = {#name, NULL, SYSCALL_RETIRED, "", "Linux answers ENOSYS too"},

static const struct syscall_entry entries[] = {
#include "sentry/syscalls/syscalls.def"
};

const struct syscall_table syscall_table = {entries, ARRAY_COUNT(entries)};
