/*
 * The initial stack as bytes, before it is anywhere: pure, so that unit tests compare it with the
 * stacks that Linux makes.
 *
 *   top      8 zero bytes
 *            path (AT_EXECFN)            exec strings, downwards: first argv, then envp above it
 *            envp strings
 *            argv strings                <- arg_start
 *            0..8 KiB of random padding, 16-byte alignment
 *            "x86_64" (AT_PLATFORM)
 *            16 random bytes (AT_RANDOM)
 *            alignment
 *            auxv, to AT_NULL
 *            envp pointers, NULL
 *            argv pointers, NULL
 *   sp       argc                        16-byte aligned
 */
#ifndef LOADER_STACK_H
#define LOADER_STACK_H

#include "loader/elf_plan.h"

/* MAX_ARG_STRLEN: bytes of one string with its NUL (execve(2)). */
#define STACK_STRING_MAX (32 * PAGE_SIZE)
#define STACK_AUXV_MAX   28

struct auxv_entry {
    uint64_t type, value; /* AT_*, getauxval(3) */
};

struct stack_spec {
    uaddr_t top;             /* one past the stack's last byte; page aligned */
    const char *path;        /* AT_EXECFN */
    const char *const *argv; /* NULL-terminated; an empty one becomes { "" } as in Linux 5.18 */
    const char *const *envp;
    uint64_t limit;   /* RLIMIT_STACK: strings may take a quarter of it, and at most 6 MiB */
    uint64_t padding; /* bytes of padding, below 8192; 0 without ASLR */
    const uint8_t *at_random;
    /* In Linux's order, without AT_NULL; AT_RANDOM, AT_EXECFN, AT_PLATFORM get their values here.
     */
    const struct auxv_entry *auxv;
    uint32_t auxv_count; /* below STACK_AUXV_MAX */
};

struct stack_image {
    uint8_t *bytes; /* for [sp, sp+size), that is up to the top; owned */
    uint64_t size;
    uaddr_t sp;
    uaddr_t arg_start, arg_end, env_start, env_end;
    struct auxv_entry auxv[STACK_AUXV_MAX]; /* with AT_NULL */
    uint32_t auxv_count;
};

/* -E2BIG as execve(2), -ENOMEM. The image is released with free(image->bytes). */
int stack_build(const struct stack_spec *spec, struct stack_image *ret_image, struct why *why);

#endif
