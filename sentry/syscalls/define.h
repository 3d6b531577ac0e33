/*
 * SYSCALL_DEFINEn(name, type, arg, ...) { body } writes a system call as a typed function:
 *
 *     SYSCALL_DEFINE3(write, int, fd, uaddr_t, buf, size_t, count)
 *     {
 *         return file_write(task_file(task, fd), buf, count);
 *     }
 *
 * defines sys_write(), which the table's row names. Each register is converted to its argument's
 * type as Linux does it: `int fd` takes the low 32 bits with their sign, `size_t` all 64, so that
 * garbage in a register's upper half does what it does on Linux. Guest addresses are uaddr_t, never
 * pointers. The body has `struct task *task`, the caller, and returns a result or -errno.
 */
#ifndef SENTRY_SYSCALLS_DEFINE_H
#define SENTRY_SYSCALLS_DEFINE_H

#include "sentry/syscalls/table.h"

/* SYSCALL_MAPn(m, type, arg, ...): m(type, arg, index) for each pair, separated by commas. */
#define SYSCALL_MAP1(m, i, t, a)      m(t, a, i)
#define SYSCALL_MAP2(m, i, t, a, ...) m(t, a, i), SYSCALL_MAP1(m, i + 1, __VA_ARGS__)
#define SYSCALL_MAP3(m, i, t, a, ...) m(t, a, i), SYSCALL_MAP2(m, i + 1, __VA_ARGS__)
#define SYSCALL_MAP4(m, i, t, a, ...) m(t, a, i), SYSCALL_MAP3(m, i + 1, __VA_ARGS__)
#define SYSCALL_MAP5(m, i, t, a, ...) m(t, a, i), SYSCALL_MAP4(m, i + 1, __VA_ARGS__)
#define SYSCALL_MAP6(m, i, t, a, ...) m(t, a, i), SYSCALL_MAP5(m, i + 1, __VA_ARGS__)

#define SYSCALL_PARAM(t, a, i)        t a
#define SYSCALL_CAST(t, a, i)         (t) args[i]

#define SYSCALL_DEFINEx(n, name, ...)                                                              \
    static long typed_##name(struct task *task, SYSCALL_MAP##n(SYSCALL_PARAM, 0, __VA_ARGS__));    \
    long sys_##name(struct task *task, const uint64_t args[6])                                     \
    {                                                                                              \
        return typed_##name(task, SYSCALL_MAP##n(SYSCALL_CAST, 0, __VA_ARGS__));                   \
    }                                                                                              \
    static long typed_##name(struct task *task, SYSCALL_MAP##n(SYSCALL_PARAM, 0, __VA_ARGS__))

#define SYSCALL_DEFINE0(name)                                                                      \
    static long typed_##name(struct task *task);                                                   \
    long sys_##name(struct task *task, const uint64_t args[6])                                     \
    {                                                                                              \
        return typed_##name(task);                                                                 \
    }                                                                                              \
    static long typed_##name(struct task *task)
#define SYSCALL_DEFINE1(name, ...) SYSCALL_DEFINEx(1, name, __VA_ARGS__)
#define SYSCALL_DEFINE2(name, ...) SYSCALL_DEFINEx(2, name, __VA_ARGS__)
#define SYSCALL_DEFINE3(name, ...) SYSCALL_DEFINEx(3, name, __VA_ARGS__)
#define SYSCALL_DEFINE4(name, ...) SYSCALL_DEFINEx(4, name, __VA_ARGS__)
#define SYSCALL_DEFINE5(name, ...) SYSCALL_DEFINEx(5, name, __VA_ARGS__)
#define SYSCALL_DEFINE6(name, ...) SYSCALL_DEFINEx(6, name, __VA_ARGS__)

#endif
