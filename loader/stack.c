/*
 * Builds the initial stack (picture in stack.h) in two passes: measure, which also enforces the
 * limits of execve(2), then write top-down into a buffer of exactly that size.
 */
#include "loader/stack.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PLATFORM_NAME    "x86_64"
#define STRINGS_MAX      (6UL << 20) /* three quarters of Linux's default stack, _STK_LIM */
#define STRINGS_MIN      (128UL << 10)
#define POINTERS_MAX     0x7fffffffUL /* MAX_ARG_STRINGS */
#define AT_RANDOM_SIZE   16
#define STACK_ALIGN_MASK 15UL

struct measure {
    uint64_t argc, envc;
    uint64_t arg_size, env_size, path_size; /* bytes of the strings, with their NULs */
};

static const char *const argv_empty[] = {"", NULL};

static int measure_vector(const char *const *vector, const char *what, uint64_t limit,
                          uint64_t *ret_count, uint64_t *ret_size, struct why *why)
{
    uint64_t count, size = 0;

    for (count = 0; vector[count]; count++) {
        uint64_t len = strnlen(vector[count], STACK_STRING_MAX) + 1;

        if (len > STACK_STRING_MAX)
            return why_set(why, -E2BIG, "%s string %lu is longer than %lu bytes", what, count,
                           STACK_STRING_MAX - 1);
        size += len;
        if (count >= POINTERS_MAX || size > limit)
            return why_set(why, -E2BIG, "%s strings have more than %lu bytes", what, limit);
    }
    *ret_count = count;
    *ret_size = size;
    return 0;
}

/* The limit counts strings and pointers together (fs/exec.c: bprm_stack_limits). */
static int measure(const struct stack_spec *spec, const char *const *argv, struct measure *ret,
                   struct why *why)
{
    uint64_t limit = MIN(spec->limit / 4, STRINGS_MAX);
    struct measure m = {0};
    uint64_t total;
    int r;

    limit = MAX(limit, STRINGS_MIN);
    r = measure_vector(argv, "argument", limit, &m.argc, &m.arg_size, why);
    if (r == 0)
        r = measure_vector(spec->envp, "environment", limit, &m.envc, &m.env_size, why);
    if (r)
        return r;
    m.path_size = strnlen(spec->path, PATH_MAX) + 1;
    if (m.path_size > PATH_MAX)
        return why_set(why, -ENAMETOOLONG, "file name too long");

    total = m.arg_size + m.env_size + m.path_size + (m.argc + m.envc) * sizeof(uint64_t);
    if (total > limit)
        return why_set(why, -E2BIG, "arguments and environment have %lu bytes, %lu may be used",
                       total, limit);
    *ret = m;
    return 0;
}

/* Appends the strings of a vector at `at` and their addresses, with a NULL, to the table. */
static uint64_t *put_vector(uint64_t *table, const char *const *vector, uint8_t *at, uaddr_t addr)
{
    for (; *vector; vector++) {
        size_t len = strlen(*vector) + 1;

        memcpy(at, *vector, len);
        *table++ = addr;
        at += len;
        addr += len;
    }
    *table++ = 0;
    return table;
}

static void put_auxv(struct stack_image *image, const struct stack_spec *spec, uaddr_t path,
                     uaddr_t platform, uaddr_t random)
{
    for (uint32_t i = 0; i < spec->auxv_count; i++) {
        struct auxv_entry e = spec->auxv[i];

        if (e.type == AT_EXECFN)
            e.value = path;
        else if (e.type == AT_PLATFORM)
            e.value = platform;
        else if (e.type == AT_RANDOM)
            e.value = random;
        image->auxv[i] = e;
    }
    image->auxv[spec->auxv_count] = (struct auxv_entry){AT_NULL, 0};
    image->auxv_count = spec->auxv_count + 1;
}

int stack_build(const struct stack_spec *spec, struct stack_image *ret_image, struct why *why)
{
    const char *const *argv = spec->argv[0] ? spec->argv : argv_empty;
    struct stack_image image;
    uaddr_t path, platform, random;
    struct measure m = {0};
    uint64_t *table;
    int r;

    r = measure(spec, argv, &m, why);
    if (r)
        return r;

    path = spec->top - sizeof(uint64_t) - m.path_size;
    image.env_end = path;
    image.env_start = image.env_end - m.env_size;
    image.arg_end = image.env_start;
    image.arg_start = image.arg_end - m.arg_size;
    platform = ((image.arg_start - spec->padding) & ~STACK_ALIGN_MASK) - sizeof(PLATFORM_NAME);
    random = platform - AT_RANDOM_SIZE;
    put_auxv(&image, spec, path, platform, random);
    /* The tables follow in two roundings, as in Linux: auxv first, then the pointers. */
    image.sp = random & ~(uaddr_t)(sizeof(uint64_t) - 1);
    image.sp -= image.auxv_count * sizeof(struct auxv_entry);
    image.sp -= (1 + m.argc + 1 + m.envc + 1) * sizeof(uint64_t);
    image.sp &= ~STACK_ALIGN_MASK;

    image.size = spec->top - image.sp;
    image.bytes = calloc(1, image.size);
    if (!image.bytes)
        return why_set(why, -ENOMEM, "out of memory");

    table = (uint64_t *)image.bytes;
    *table++ = m.argc;
    table = put_vector(table, argv, image.bytes + (image.arg_start - image.sp), image.arg_start);
    table =
        put_vector(table, spec->envp, image.bytes + (image.env_start - image.sp), image.env_start);
    memcpy(table, image.auxv, image.auxv_count * sizeof(struct auxv_entry));
    memcpy(image.bytes + (random - image.sp), spec->at_random, AT_RANDOM_SIZE);
    memcpy(image.bytes + (platform - image.sp), PLATFORM_NAME, sizeof(PLATFORM_NAME));
    memcpy(image.bytes + (path - image.sp), spec->path, m.path_size);
    *ret_image = image;
    return 0;
}
