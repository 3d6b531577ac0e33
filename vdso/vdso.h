/* What the vDSO's own sources share: the parameter page, exports, raw system calls. */
#ifndef VDSO_VDSO_H
#define VDSO_VDSO_H

#include "vdso/timepage.h"

#define VDSO_EXPORT __attribute__((visibility("default"), used))

/*
 * Each call has its name with and without the prefix, as in Linux (arch/x86/entry/vdso). By
 * assembly, since libc's headers declare the short ones with attributes that would clash.
 */
#define VDSO_ALIAS(name) __asm__(".weak " #name "\n\t.set " #name ", __vdso_" #name)

/* Not const, though nothing here writes it: the Sentry does, at any time. */
extern struct timepage vdso_timepage __attribute__((visibility("hidden")));

static inline long vdso_call3(long number, long a, long b, long c)
{
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return ret;
}

static inline long vdso_call2(long number, long a, long b)
{
    return vdso_call3(number, a, b, 0);
}

#endif
