/*
 * loader/stack.c against a golden model: a reader that walks the stack as a C library's start-up
 * code does and knows nothing of how it was written; and one stack compared byte for byte.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "loader/stack.h"

#define TOP   0x7ffd12345000UL
#define LIMIT (8UL << 20)

static char words[256];
static struct why why = {words, sizeof(words)};
static const uint8_t random_bytes[16] = "0123456789abcdef";
static const struct auxv_entry auxv[] = {
    {AT_PAGESZ, 4096},
    {AT_RANDOM, 0},
    {AT_EXECFN, 0},
    {AT_PLATFORM, 0},
};

static struct stack_spec spec_of(const char *const *argv, const char *const *envp)
{
    return (struct stack_spec){
        .top = TOP,
        .path = "/bin/prog",
        .argv = argv,
        .envp = envp,
        .limit = LIMIT,
        .at_random = random_bytes,
        .auxv = auxv,
        .auxv_count = ARRAY_COUNT(auxv),
    };
}

static const void *at(const struct stack_image *s, uaddr_t addr)
{
    cr_assert(addr >= s->sp && addr < TOP, "%#lx is not on the stack", (unsigned long)addr);
    return s->bytes + (addr - s->sp);
}

/* Compares a vector of pointers on the stack; returns the word behind its NULL. */
static const uint64_t *same_strings(const struct stack_image *s, const uint64_t *word,
                                    const char *const *strings, uaddr_t start, uaddr_t end)
{
    uaddr_t next = start;

    for (; *strings; strings++, word++) {
        cr_assert_eq(*word, next, "strings lie one behind the other");
        cr_assert_str_eq(at(s, *word), *strings);
        next += strlen(*strings) + 1;
    }
    cr_assert_eq(next, end);
    cr_assert_eq(*word, 0);
    return word + 1;
}

static void same_stack(const struct stack_spec *spec, const char *const *argv)
{
    const uint64_t *word;
    struct stack_image s;
    uint64_t argc = 0;
    int r = stack_build(spec, &s, &why);

    cr_assert_eq(r, 0, "%s", words);
    cr_assert_eq(s.sp % 16, 0);
    cr_assert_eq(s.sp + s.size, TOP);
    word = at(&s, s.sp);
    while (argv[argc])
        argc++;
    cr_assert_eq(*word, argc);
    word = same_strings(&s, word + 1, argv, s.arg_start, s.arg_end);
    cr_assert_eq(s.arg_end, s.env_start);
    word = same_strings(&s, word, spec->envp, s.env_start, s.env_end);
    cr_assert_eq(word[0], AT_PAGESZ);
    cr_assert_eq(word[1], 4096);
    cr_assert_eq(word[2], AT_RANDOM);
    cr_assert_arr_eq(at(&s, word[3]), random_bytes, 16);
    cr_assert_eq(word[4], AT_EXECFN);
    cr_assert_str_eq(at(&s, word[5]), spec->path);
    cr_assert_eq(word[5], s.env_end);
    cr_assert_eq(word[6], AT_PLATFORM);
    cr_assert_str_eq(at(&s, word[7]), "x86_64");
    cr_assert_eq(word[8], AT_NULL);
    cr_assert_eq(word[9], 0);
    cr_assert_lt((uintptr_t)(word + 10), (uintptr_t)at(&s, s.arg_start) + 1);
    cr_assert_eq(s.auxv_count, 5);
    cr_assert_arr_eq(s.auxv, word, 5 * sizeof(s.auxv[0]));
    for (int i = 1; i <= 8; i++)
        cr_assert_eq(*(const uint8_t *)at(&s, TOP - i), 0);
    free(s.bytes);
}

Test(stack, ordinary)
{
    static const char *const argv[] = {"prog", "", "two words", NULL};
    static const char *const envp[] = {"HOME=/root", "EMPTY=", NULL};

    for (uint64_t padding = 0; padding < 8192; padding += 241) {
        struct stack_spec spec = spec_of(argv, envp);

        spec.padding = padding;
        same_stack(&spec, argv);
    }
}

Test(stack, alignment_for_each_count)
{
    const char *argv[20] = {NULL}, *envp[20] = {NULL};

    for (int argc = 1; argc < 12; argc++) {
        argv[argc - 1] = &"argument"[argc % 8];
        memset(envp, 0, sizeof(envp));
        for (int envc = 0; envc < 12; envc++) {
            struct stack_spec spec = spec_of(argv, envp);

            same_stack(&spec, argv);
            envp[envc] = "A=b";
        }
    }
}

Test(stack, no_arguments_become_one_empty_one)
{
    static const char *const none[] = {NULL};
    static const char *const one[] = {"", NULL};
    struct stack_spec spec = spec_of(none, none);

    same_stack(&spec, one);
}

/*
 * Captured from Linux 6.18 (no ASLR) for execve("/x", {"/x"}, {"A=1"}), counted from the top:
 * 464 bytes, strings, random bytes and platform where the offsets below say.
 */
Test(stack, golden_bytes)
{
    static const char *const argv[] = {"/x", NULL};
    static const char *const envp[] = {"A=1", NULL};
    static const struct auxv_entry pairs[] = {
        {33, 0x7ffff7ffd000},
        {51, 0x2eb0},
        {16, 0x1f8bfbff},
        {6, 4096},
        {17, 100},
        {3, 0x400040},
        {4, 56},
        {5, 5},
        {7, 0},
        {8, 0},
        {9, 0x401000},
        {11, 0},
        {12, 0},
        {13, 0},
        {14, 0},
        {23, 0},
        {25, TOP - 55},
        {26, 2},
        {31, TOP - 11},
        {15, TOP - 39},
        {27, 28},
        {28, 32},
        {0, 0},
    };
    const uint64_t pointers[] = {1, TOP - 18, 0, TOP - 15, 0};
    struct stack_spec spec = spec_of(argv, envp);
    struct stack_image s;

    spec.path = "/x";
    spec.auxv = pairs;
    spec.auxv_count = ARRAY_COUNT(pairs) - 1;
    cr_assert_eq(stack_build(&spec, &s, &why), 0);
    cr_assert_eq(s.sp, TOP - 464);
    cr_assert_arr_eq(s.bytes, pointers, sizeof(pointers));
    cr_assert_arr_eq(s.bytes + sizeof(pointers), pairs, sizeof(pairs));
    cr_assert_arr_eq(at(&s, TOP - 55), random_bytes, 16);
    cr_assert_arr_eq(at(&s, TOP - 39), "x86_64", 7);
    cr_assert_arr_eq(at(&s, TOP - 18), "/x\0A=1\0/x", 10);
    free(s.bytes);
}

Test(stack, limits)
{
    static const char *const envp[] = {NULL};
    char *big = calloc(1, STACK_STRING_MAX + 1);
    const char *argv[80] = {"prog", big, NULL};
    struct stack_spec spec = spec_of(argv, envp);
    struct stack_image s;

    /* One string: 131071 bytes and the NUL. */
    memset(big, 'a', STACK_STRING_MAX - 1);
    cr_assert_eq(stack_build(&spec, &s, &why), 0, "%s", words);
    free(s.bytes);
    big[STACK_STRING_MAX - 1] = 'a';
    cr_assert_eq(stack_build(&spec, &s, &why), -E2BIG);
    cr_assert(strstr(words, "argument string 1 is longer than 131071 bytes"), "%s", words);

    /* All together: a quarter of the stack's limit. */
    big[STACK_STRING_MAX - 1] = '\0';
    for (int i = 1; i < 16; i++)
        argv[i] = big;
    argv[16] = NULL;
    cr_assert_eq(stack_build(&spec, &s, &why), 0, "%s", words);
    free(s.bytes);
    argv[16] = big;
    cr_assert_eq(stack_build(&spec, &s, &why), -E2BIG);
    spec.limit = UINT64_MAX;
    cr_assert_eq(stack_build(&spec, &s, &why), 0, "%s", words);
    free(s.bytes);
    for (int i = 16; i < 49; i++)
        argv[i] = big;
    cr_assert_eq(stack_build(&spec, &s, &why), -E2BIG, "never more than 6 MiB");
    /* A tiny stack limit still leaves 128 KiB. */
    spec.limit = 4096;
    argv[1] = big + STACK_STRING_MAX - 100000;
    argv[2] = NULL;
    cr_assert_eq(stack_build(&spec, &s, &why), 0, "%s", words);
    free(s.bytes);
    free(big);
}
