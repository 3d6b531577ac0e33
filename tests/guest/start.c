/*
 * What a program finds on its stack when it starts: arguments, environment, auxiliary vector
 * (System V ABI x86-64, 3.4; Linux fs/binfmt_elf.c: create_elf_tables()).
 */
#include <elf.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "check.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

extern const char __ehdr_start[]; /* the linker's name for the ELF header, loaded with the text */
extern char _start[];

static const Elf64_auxv_t *auxv;

static const Elf64_auxv_t *auxv_find(uint64_t type)
{
    for (const Elf64_auxv_t *a = auxv; a->a_type != AT_NULL; a++) {
        if (a->a_type == type)
            return a;
    }
    return NULL;
}

static uint64_t auxv_value(uint64_t type)
{
    const Elf64_auxv_t *a = auxv_find(type);

    if (!a)
        note("no entry of type %lu", (unsigned long)type);
    return CHECK(a != NULL) ? a->a_un.a_val : 0;
}

/* The strings lie behind each other: arguments, environment, then the path (setproctitle needs it).
 */
static void check_strings(int argc, char **argv, char **envp)
{
    char *next = argv[0];

    for (int i = 0; i < argc; i++) {
        CHECK(argv[i] == next);
        next += strlen(argv[i]) + 1;
    }
    CHECK(argv[argc] == NULL);
    CHECK(envp == argv + argc + 1);
    for (char **e = envp; *e; e++) {
        CHECK(*e == next);
        next += strlen(*e) + 1;
    }
    CHECK((uintptr_t)next == auxv_value(AT_EXECFN));
}

static void check_image(void)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)__ehdr_start;
    const Elf64_Phdr *phdr = (const Elf64_Phdr *)auxv_value(AT_PHDR);

    CHECK_EQ((uintptr_t)phdr, (uintptr_t)__ehdr_start + header->e_phoff);
    CHECK_EQ(auxv_value(AT_PHENT), sizeof(Elf64_Phdr));
    CHECK_EQ(auxv_value(AT_PHNUM), header->e_phnum);
    CHECK_EQ(auxv_value(AT_ENTRY), (uintptr_t)_start);
    CHECK_EQ(auxv_value(AT_BASE), 0);
    CHECK_EQ(auxv_value(AT_FLAGS), 0);
    if (header->e_type == ET_EXEC)
        CHECK_EQ(auxv_value(AT_ENTRY), header->e_entry);
}

static void check_vdso(void)
{
    const Elf64_Ehdr *vdso = (const Elf64_Ehdr *)auxv_value(AT_SYSINFO_EHDR);

    if (!CHECK(vdso != NULL))
        return;
    CHECK_EQ((uintptr_t)vdso % 4096, 0);
    CHECK(memcmp(vdso->e_ident, ELFMAG, SELFMAG) == 0);
    CHECK_EQ(vdso->e_type, ET_DYN);
    CHECK_EQ(vdso->e_machine, EM_X86_64);
}

static void check_numbers(void)
{
    CHECK_EQ(auxv_value(AT_PAGESZ), 4096);
    CHECK_EQ(auxv_value(AT_CLKTCK), 100);
    CHECK_EQ(auxv_value(AT_UID), getuid());
    CHECK_EQ(auxv_value(AT_EUID), geteuid());
    CHECK_EQ(auxv_value(AT_GID), getgid());
    CHECK_EQ(auxv_value(AT_EGID), getegid());
    CHECK_EQ(auxv_value(AT_SECURE), 0);
    CHECK(strcmp((const char *)auxv_value(AT_PLATFORM), "x86_64") == 0);

    uint32_t eax = 1, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    /* FPU, TSC, CX8, CMOV, MMX, FXSR, SSE, SSE2: every x86-64 has them. */
    const uint32_t base = 0x07808111;
    CHECK_EQ(auxv_value(AT_HWCAP) & base, base);
    CHECK_EQ(auxv_value(AT_HWCAP) & ~(uint64_t)edx & base, 0);
    if (auxv_value(AT_HWCAP2) & 2) {
        uint64_t fs, self;
        __asm__ volatile("rdfsbase %0; mov %%fs:0, %1" : "=r"(fs), "=r"(self));
        CHECK_EQ(fs, self);
    }

    const unsigned char *random = (const unsigned char *)auxv_value(AT_RANDOM);
    unsigned distinct = 0;
    for (int i = 1; i < 16; i++)
        distinct += random[i] != random[0];
    CHECK(distinct > 8);

    /* A signal frame holds at least the legacy FP state, the XSAVE header and the ucontext. */
    CHECK(auxv_value(AT_MINSIGSTKSZ) >= 512 + 64 + 440);
    CHECK(auxv_value(AT_MINSIGSTKSZ) <= 65536);
}

int main(int argc, char **argv, char **envp)
{
    char **end = envp;

    while (*end)
        end++;
    auxv = (const Elf64_auxv_t *)(void *)(end + 1);
    for (int i = 0; i < argc; i++)
        note("argv[%d] = \"%s\"", i, argv[i]);
    for (int i = 0; envp[i]; i++)
        note("envp[%d] = \"%s\"", i, envp[i]);
    note("AT_EXECFN = \"%s\"", (const char *)auxv_value(AT_EXECFN));

    /* argc lies where rsp pointed at the entry: 16-byte aligned, eight bytes before argv. */
    CHECK_EQ((uintptr_t)(argv - 1) % 16, 0);
    CHECK_EQ(*(long *)(argv - 1), argc);
    check_strings(argc, argv, envp);
    check_image();
    check_vdso();
    check_numbers();
    return check_done();
}
