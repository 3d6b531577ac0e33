/* loader/elf_plan.c and loader/script.c: what is refused, in which words, and what the plan says.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "loader/elf_plan.h"
#include "tests/unit/elf_make.h"

#define BASE  0x400000UL
#define LIMIT 0x7ffffffff000UL

static char words[256];
static struct why why = {words, sizeof(words)};

/* Both stages, as load.c does them. */
static int parse(const struct elf_make *m, struct elf_plan **ret_plan)
{
    struct elf_header header;
    int r;

    words[0] = '\0';
    r = elf_parse_header(m->bytes, MIN(m->size, PAGE_SIZE), m->size, &header, &why);
    if (r == 0)
        r = elf_parse_segments(&header, m->bytes + header.phoff, m->size, LIMIT, ret_plan, &why);
    return r;
}

static void refused(const struct elf_make *m, int error, const char *text)
{
    struct elf_plan *plan = NULL;
    int r = parse(m, &plan);

    cr_assert_eq(r, error, "%d (%s) instead of %d (%s)", r, words, error, text);
    cr_assert(strstr(words, text), "\"%s\" does not say \"%s\"", words, text);
    cr_assert_null(plan);
}

static struct elf_make m;

static void setup(void)
{
    elf_make_init(&m, ET_EXEC, BASE);
}

TestSuite(elf, .init = setup);

Test(elf, plan_of_a_good_file)
{
    struct elf_plan *plan;

    cr_assert_eq(parse(&m, &plan), 0, "%s", words);
    cr_assert_eq(plan->segment_count, 2);
    cr_assert_eq(plan->start, BASE);
    cr_assert_eq(plan->end, BASE + 0x5000);
    cr_assert_eq(plan->brk, BASE + 0x5000);
    cr_assert_eq(plan->phdr_vaddr, BASE + sizeof(Elf64_Ehdr));
    cr_assert_eq(plan->align, PAGE_SIZE);
    cr_assert_eq(plan->segments[0].prot, PROT_READ | PROT_EXEC);
    cr_assert_eq(plan->segments[1].prot, PROT_READ | PROT_WRITE);
    cr_assert(!plan->exec_stack);
    cr_assert(!plan->header.is_dyn);
    free(plan);
}

Test(elf, every_cut_is_refused_or_complete)
{
    uint64_t whole = m.size;

    /* The last page is mapped whole: a cut inside it only loses bytes that nobody refers to. */
    for (m.size = 0; m.size <= whole; m.size++) {
        struct elf_plan *plan;
        int r = parse(&m, &plan);

        if (r == 0) {
            cr_assert_gt(m.size, 0x2000);
            free(plan);
        } else {
            cr_assert_eq(r, -ENOEXEC);
            cr_assert_leq(m.size, 0x2000);
        }
    }
}

Test(elf, empty_and_short_and_other_files)
{
    m.size = 0;
    refused(&m, -ENOEXEC, "empty file");
    m.size = 40;
    refused(&m, -ENOEXEC, "truncated ELF file (40 bytes");
    m.size = 100;
    refused(&m, -ENOEXEC, "truncated ELF file (program headers");
    m.size = 0x1000;
    refused(&m, -ENOEXEC, "truncated ELF file (segment 1");
    m.size = 0x2400;
    m.bytes[0] = 'M';
    refused(&m, -ENOEXEC, "neither an ELF file nor a script");
}

Test(elf, foreign_machines)
{
    m.eh->e_machine = EM_AARCH64;
    refused(&m, -ENOEXEC, "not an x86-64 ELF (machine is aarch64)");
    m.eh->e_ident[EI_CLASS] = ELFCLASS32;
    m.eh->e_machine = EM_386;
    refused(&m, -ENOEXEC, "not an x86-64 ELF (machine is i386)");
    m.eh->e_machine = EM_X86_64;
    refused(&m, -ENOEXEC, "x32");
    m.eh->e_ident[EI_CLASS] = ELFCLASS64;
    m.eh->e_ident[EI_DATA] = ELFDATA2MSB;
    m.eh->e_machine = __builtin_bswap16(EM_S390);
    refused(&m, -ENOEXEC, "machine is s390, big-endian");
    m.eh->e_ident[EI_DATA] = ELFDATA2LSB;
    m.eh->e_machine = 4711;
    refused(&m, -ENOEXEC, "machine is number 4711");
}

Test(elf, not_programs)
{
    m.eh->e_type = ET_REL;
    refused(&m, -ENOEXEC, "an object file");
    m.eh->e_type = ET_CORE;
    refused(&m, -ENOEXEC, "a core dump");
}

Test(elf, program_header_table)
{
    m.eh->e_phentsize = 32;
    refused(&m, -ENOEXEC, "program headers of 32 bytes");
    m.eh->e_phentsize = sizeof(Elf64_Phdr);
    m.eh->e_phnum = 0;
    refused(&m, -ENOEXEC, "no program headers");
    m.eh->e_phnum = 1171;
    refused(&m, -ENOEXEC, "too many program headers (1171)");
    m.eh->e_phnum = 1170;
    refused(&m, -ENOEXEC, "truncated ELF file");
    m.eh->e_phnum = 2;
    m.eh->e_phoff = UINT64_MAX - 10;
    refused(&m, -ENOEXEC, "truncated ELF file");
}

Test(elf, impossible_segments)
{
    m.ph[1].p_memsz = 0x8ff;
    refused(&m, -EINVAL, "segment 1 has more bytes in the file than in memory");
    m.ph[1].p_memsz = LIMIT;
    refused(&m, -EINVAL, "does not fit in the address space");
    m.ph[1].p_memsz = UINT64_MAX;
    refused(&m, -EINVAL, "does not fit in the address space");
    m.ph[1].p_memsz = 0x2800;
    m.ph[1].p_vaddr = UINT64_MAX - 0x7ff;
    refused(&m, -EINVAL, "does not fit in the address space");
    m.ph[1].p_vaddr = BASE + 0x2801;
    refused(&m, -EINVAL, "cannot be at");
    m.ph[1].p_vaddr = BASE + 0x2800;
    m.ph[1].p_offset = UINT64_MAX - 0x7ff;
    refused(&m, -ENOEXEC, "truncated ELF file");
}

Test(elf, huge_position_independent_program)
{
    m.eh->e_type = ET_DYN;
    m.ph[1].p_memsz = LIMIT / 3;
    refused(&m, -ENOMEM, "huge program");
    m.ph[1].p_memsz = 0x2800;
    m.ph[1].p_align = 1UL << 60;
    refused(&m, -EINVAL, "huge alignment");
}

Test(elf, overlapping_segments)
{
    m.ph[1].p_vaddr = BASE + 0x800;
    refused(&m, -ENOEXEC, "overlapping segments");
    /* Sharing a page, but no byte, is what -z noseparate-code does. */
    m.ph[0].p_memsz = m.ph[0].p_filesz = 0x700;
    struct elf_plan *plan;
    cr_assert_eq(parse(&m, &plan), 0, "%s", words);
    free(plan);
}

Test(elf, entry_outside)
{
    m.eh->e_entry = BASE + 0x5000;
    refused(&m, -ENOEXEC, "entry point 0x405000 is outside every segment");
    m.eh->e_entry = BASE + 0x1000;
    refused(&m, -ENOEXEC, "outside every segment");
    m.eh->e_entry = 0;
    refused(&m, -ENOEXEC, "outside every segment");
    m.ph[0].p_type = m.ph[1].p_type = PT_NULL;
    refused(&m, -ENOEXEC, "no segment to load");
}

Test(elf, notes_of_the_plan)
{
    struct elf_plan *plan;

    elf_make_phdr(&m, PT_GNU_STACK, PF_R | PF_W | PF_X, 0, 0, 0, 0);
    elf_make_phdr(&m, PT_INTERP, PF_R, 0x500, BASE + 0x500, 12, 12);
    m.ph[1].p_align = 0x200000;
    m.eh->e_entry = 0; /* no matter with an interpreter */
    cr_assert_eq(parse(&m, &plan), 0, "%s", words);
    cr_assert(plan->exec_stack);
    cr_assert_eq(plan->interp_offset, 0x500);
    cr_assert_eq(plan->interp_size, 12);
    cr_assert_eq(plan->align, 0x200000);
    free(plan);
    m.ph[1].p_align = 0x300000; /* no power of two: ignored */
    cr_assert_eq(parse(&m, &plan), 0, "%s", words);
    cr_assert_eq(plan->align, PAGE_SIZE);
    free(plan);
    m.ph[3].p_filesz = 1;
    refused(&m, -ENOEXEC, "interpreter's name has 1 bytes");
    m.ph[3].p_filesz = 4097;
    refused(&m, -ENOEXEC, "interpreter's name has 4097 bytes");
}

static int script(const char *text, struct script_line *line)
{
    words[0] = '\0';
    return script_parse(text, strlen(text), line, &why);
}

Test(script, ordinary_lines)
{
    struct script_line line;

    cr_assert_eq(script("#!/bin/sh\necho\n", &line), 0);
    cr_assert_str_eq(line.interpreter, "/bin/sh");
    cr_assert(!line.has_argument);
    cr_assert_eq(script("#! \t/bin/sh", &line), 0);
    cr_assert_str_eq(line.interpreter, "/bin/sh");
    cr_assert_eq(script("#!/usr/bin/env  -S a  b \t\nx", &line), 0);
    cr_assert_str_eq(line.interpreter, "/usr/bin/env");
    cr_assert(line.has_argument);
    cr_assert_str_eq(line.argument, "-S a  b");
    cr_assert_eq(script("#!/bin/sh   \n", &line), 0);
    cr_assert(!line.has_argument);
}

Test(script, without_interpreter)
{
    struct script_line line;

    cr_assert_eq(script("#!", &line), -ENOEXEC);
    cr_assert(strstr(words, "names no interpreter"));
    cr_assert_eq(script("#!\n/bin/sh\n", &line), -ENOEXEC);
    cr_assert_eq(script("#!  \t \n", &line), -ENOEXEC);
}

/* 256 bytes are looked at; the last of them only for the line's end (fs/binfmt_script.c). */
Test(script, long_lines)
{
    struct script_line line;
    char text[400];

    memset(text, 'x', sizeof(text));
    memcpy(text, "#!/", 3);
    text[399] = '\0';
    cr_assert_eq(script(text, &line), -ENOEXEC);
    cr_assert(strstr(words, "longer than 255 bytes"));
    text[255] = '\n';
    cr_assert_eq(script(text, &line), 0);
    cr_assert_eq(strlen(line.interpreter), 253);
    text[255] = ' ';
    cr_assert_eq(script(text, &line), 0);
    cr_assert_eq(strlen(line.interpreter), 253);
    text[255] = 'x';
    text[100] = ' ';
    cr_assert_eq(script(text, &line), 0);
    cr_assert_eq(strlen(line.interpreter), 98);
    cr_assert_eq(strlen(line.argument), 154);
    text[255] = '\0';
    cr_assert_eq(script(text, &line), 0);
    cr_assert_eq(strlen(line.argument), 154);
}
