/*
 * ELF64 headers into a checked plan (elf_plan.h). Fields are copied out of the bytes first: the
 * buffer has no alignment.
 */
#include "loader/elf_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int why_set(struct why *why, int error, const char *fmt, ...)
{
    va_list ap;

    if (why->text && why->size) {
        va_start(ap, fmt);
        vsnprintf(why->text, why->size, fmt, ap);
        va_end(ap);
    }
    return error;
}

/* The machines that people really meet; others are told by number. */
static const char *machine_name(uint16_t machine, char *buf, size_t size)
{
    static const struct {
        uint16_t machine;
        const char *name;
    } names[] = {
        {EM_386, "i386"},      {EM_X86_64, "x86-64"}, {EM_AARCH64, "aarch64"}, {EM_ARM, "arm"},
        {EM_RISCV, "riscv"},   {EM_PPC64, "ppc64"},   {EM_PPC, "ppc"},         {EM_S390, "s390"},
        {EM_MIPS, "mips"},     {EM_SPARC, "sparc"},   {EM_SPARCV9, "sparc64"}, {EM_68K, "m68k"},
        {EM_PARISC, "parisc"}, {EM_IA_64, "ia64"},    {EM_SH, "sh"},           {258, "loongarch"},
        {EM_ALPHA, "alpha"},   {EM_BPF, "bpf"},       {EM_ARC_COMPACT, "arc"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (names[i].machine == machine)
            return names[i].name;
    snprintf(buf, size, "number %u", machine);
    return buf;
}

static int check_machine(const Elf64_Ehdr *eh, struct why *why)
{
    bool big = eh->e_ident[EI_DATA] == ELFDATA2MSB;
    uint16_t machine = big ? __builtin_bswap16(eh->e_machine) : eh->e_machine;
    char buf[16];

    if (machine != EM_X86_64 || big)
        return why_set(why, -ENOEXEC, "not an x86-64 ELF (machine is %s%s)",
                       machine_name(machine, buf, sizeof(buf)), big ? ", big-endian" : "");
    /* x32 lies here: x86-64 instructions with 32-bit pointers, another system call table. */
    if (eh->e_ident[EI_CLASS] == ELFCLASS32)
        return why_set(why, -ENOEXEC, "not an x86-64 ELF (32-bit x32 program)");
    return 0;
}

static const char *type_name(uint16_t type)
{
    switch (type) {
    case ET_REL:
        return "an object file";
    case ET_CORE:
        return "a core dump";
    default:
        return "of unknown type";
    }
}

int elf_parse_header(const void *buf, size_t size, uint64_t file_size,
                     struct elf_header *ret_header, struct why *why)
{
    Elf64_Ehdr eh;
    uint64_t phdrs;
    int r;

    if (size == 0)
        return why_set(why, -ENOEXEC, "empty file");
    if (size < SELFMAG || memcmp(buf, ELFMAG, SELFMAG) != 0)
        return why_set(why, -ENOEXEC, "neither an ELF file nor a script");
    if (size < sizeof(eh))
        return why_set(why, -ENOEXEC, "truncated ELF file (%zu bytes, its header has %zu)", size,
                       sizeof(eh));
    memcpy(&eh, buf, sizeof(eh));

    r = check_machine(&eh, why);
    if (r)
        return r;
    if (eh.e_type != ET_EXEC && eh.e_type != ET_DYN)
        return why_set(why, -ENOEXEC, "not a program: the ELF file is %s", type_name(eh.e_type));
    if (eh.e_phentsize != sizeof(Elf64_Phdr))
        return why_set(why, -ENOEXEC, "program headers of %u bytes, not %zu", eh.e_phentsize,
                       sizeof(Elf64_Phdr));
    phdrs = (uint64_t)eh.e_phnum * sizeof(Elf64_Phdr);
    if (phdrs == 0)
        return why_set(why, -ENOEXEC, "no program headers");
    if (phdrs > ELF_PHDRS_MAX)
        return why_set(why, -ENOEXEC, "too many program headers (%u)", eh.e_phnum);
    if (eh.e_phoff > file_size || phdrs > file_size - eh.e_phoff)
        return why_set(why, -ENOEXEC,
                       "truncated ELF file (program headers at %#lx, the file has %lu bytes)",
                       eh.e_phoff, file_size);

    *ret_header = (struct elf_header){
        .is_dyn = eh.e_type == ET_DYN,
        .entry = eh.e_entry,
        .phoff = eh.e_phoff,
        .phnum = eh.e_phnum,
    };
    return 0;
}

static int segment_prot(uint32_t flags)
{
    return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
           (flags & PF_X ? PROT_EXEC : 0);
}

/* One PT_LOAD against the file and the address space; `i` numbers it for the words. */
static int check_load(const Elf64_Phdr *ph, uint32_t i, uint64_t file_size, uint64_t limit,
                      struct why *why)
{
    /* The last file page is mapped whole, so bytes up to its end exist, as zeroes. */
    uint64_t file_end = file_size > UINT64_MAX - PAGE_SIZE ? UINT64_MAX & PAGE_MASK
                                                           : round_up(file_size, PAGE_SIZE);

    if (ph->p_filesz > ph->p_memsz)
        return why_set(why, -EINVAL, "segment %u has more bytes in the file than in memory", i);
    if (ph->p_vaddr >= limit || ph->p_memsz > limit - ph->p_vaddr)
        return why_set(why, -EINVAL, "segment %u does not fit in the address space (%#lx+%#lx)", i,
                       ph->p_vaddr, ph->p_memsz);
    if (ph->p_filesz == 0)
        return 0;
    if (ph->p_offset > file_end || ph->p_filesz > file_end - ph->p_offset)
        return why_set(why, -ENOEXEC,
                       "truncated ELF file (segment %u is at %#lx+%#lx, the file has %lu bytes)", i,
                       ph->p_offset, ph->p_filesz, file_size);
    if ((ph->p_offset ^ ph->p_vaddr) & (PAGE_SIZE - 1))
        return why_set(why, -EINVAL, "segment %u is at %#lx in the file and cannot be at %#lx", i,
                       ph->p_offset, ph->p_vaddr);
    return 0;
}

static int check_overlap(const struct elf_plan *plan, const struct elf_segment *seg, uint32_t i,
                         struct why *why)
{
    for (uint32_t k = 0; k < plan->segment_count; k++) {
        const struct elf_segment *other = &plan->segments[k];

        if (seg->vaddr < other->vaddr + other->memsz && other->vaddr < seg->vaddr + seg->memsz)
            return why_set(why, -ENOEXEC, "overlapping segments (program header %u at %#lx+%#lx)",
                           i, seg->vaddr, seg->memsz);
    }
    return 0;
}

static int add_load(struct elf_plan *plan, const Elf64_Phdr *ph, uint32_t i, uint64_t file_size,
                    uint64_t limit, struct why *why)
{
    uint64_t phoff = plan->header.phoff;
    struct elf_segment seg = {
        .vaddr = ph->p_vaddr,
        .memsz = ph->p_memsz,
        .offset = ph->p_offset,
        .filesz = ph->p_filesz,
        .prot = segment_prot(ph->p_flags),
    };
    int r;

    r = check_load(ph, i, file_size, limit, why);
    if (r)
        return r;
    /* Linux maps nothing for it either. */
    if (seg.memsz == 0)
        return 0;
    r = check_overlap(plan, &seg, i, why);
    if (r)
        return r;

    plan->start = MIN(plan->start, round_down(seg.vaddr, PAGE_SIZE));
    plan->end = MAX(plan->end, round_up(seg.vaddr + seg.memsz, PAGE_SIZE));
    plan->brk = MAX(plan->brk, seg.vaddr + seg.memsz);
    /* As Linux: an alignment that is no power of two is ignored. */
    if (ph->p_align > plan->align && (ph->p_align & (ph->p_align - 1)) == 0)
        plan->align = ph->p_align;
    if (phoff >= seg.offset && phoff - seg.offset < seg.filesz)
        plan->phdr_vaddr = phoff - seg.offset + seg.vaddr;
    plan->segments[plan->segment_count++] = seg;
    return 0;
}

static int add_interp(struct elf_plan *plan, const Elf64_Phdr *ph, uint64_t file_size,
                      struct why *why)
{
    /* The first one counts. */
    if (plan->interp_size)
        return 0;
    if (ph->p_filesz < 2 || ph->p_filesz > ELF_INTERP_MAX)
        return why_set(why, -ENOEXEC, "the interpreter's name has %lu bytes", ph->p_filesz);
    if (ph->p_offset > file_size || ph->p_filesz > file_size - ph->p_offset)
        return why_set(why, -ENOEXEC, "truncated ELF file (the interpreter's name is at %#lx)",
                       ph->p_offset);
    plan->interp_offset = ph->p_offset;
    plan->interp_size = ph->p_filesz;
    return 0;
}

static int add_phdr(struct elf_plan *plan, const Elf64_Phdr *ph, uint32_t i, uint64_t file_size,
                    uint64_t limit, struct why *why)
{
    switch (ph->p_type) {
    case PT_LOAD:
        return add_load(plan, ph, i, file_size, limit, why);
    case PT_INTERP:
        return add_interp(plan, ph, file_size, why);
    case PT_GNU_STACK:
        /* Without the header x86-64 has no executable stack (arch/x86/include/asm/elf.h). */
        plan->exec_stack = ph->p_flags & PF_X;
        return 0;
    default:
        return 0;
    }
}

/* The whole must fit too, and start somewhere. */
static int check_plan(const struct elf_plan *plan, uint64_t limit, struct why *why)
{
    if (plan->segment_count == 0)
        return why_set(why, -ENOEXEC, "no segment to load");
    if (plan->end > limit || (plan->header.is_dyn && plan->end - plan->start > limit / 4))
        return why_set(why, -ENOMEM, "huge program: its segments span %#lx bytes",
                       (plan->end - plan->start));
    if (plan->align > limit / 4)
        return why_set(why, -EINVAL, "huge alignment (%#lx)", plan->align);
    /* With an interpreter it is the interpreter's affair. */
    if (!plan->interp_size && !elf_plan_covers(plan, plan->header.entry))
        return why_set(why, -ENOEXEC, "entry point %#lx is outside every segment",
                       plan->header.entry);
    return 0;
}

int elf_parse_segments(const struct elf_header *header, const void *phdrs, uint64_t file_size,
                       uint64_t limit, struct elf_plan **ret_plan, struct why *why)
{
    struct elf_plan *plan;
    int r = 0;

    plan = calloc(1, sizeof(*plan) + header->phnum * sizeof(plan->segments[0]));
    if (!plan)
        return why_set(why, -ENOMEM, "out of memory");
    plan->header = *header;
    plan->start = UINT64_MAX;
    plan->align = PAGE_SIZE;

    for (uint32_t i = 0; i < header->phnum && r == 0; i++) {
        Elf64_Phdr ph;

        memcpy(&ph, (const char *)phdrs + i * sizeof(ph), sizeof(ph));
        r = add_phdr(plan, &ph, i, file_size, limit, why);
    }
    if (r == 0)
        r = check_plan(plan, limit, why);
    if (r) {
        free(plan);
        return r;
    }
    *ret_plan = plan;
    return 0;
}

bool elf_plan_covers(const struct elf_plan *plan, uint64_t vaddr)
{
    for (uint32_t i = 0; i < plan->segment_count; i++)
        if (vaddr >= plan->segments[i].vaddr &&
            vaddr - plan->segments[i].vaddr < plan->segments[i].memsz)
            return true;
    return false;
}
