/* Hand-made ELF files for tests: a header, program headers, and as much content as asked for. */
#ifndef TESTS_UNIT_ELF_MAKE_H
#define TESTS_UNIT_ELF_MAKE_H

#include <elf.h>
#include <stdint.h>
#include <string.h>

#define ELF_MAKE_SIZE  0x4000
#define ELF_MAKE_PHDRS 8

struct elf_make {
    Elf64_Ehdr *eh;
    Elf64_Phdr *ph; /* ELF_MAKE_PHDRS of them have room */
    uint64_t size;
    uint8_t bytes[ELF_MAKE_SIZE] __attribute__((aligned(8)));
};

static inline Elf64_Phdr *elf_make_phdr(struct elf_make *m, uint32_t type, uint32_t flags,
                                        uint64_t offset, uint64_t vaddr, uint64_t filesz,
                                        uint64_t memsz)
{
    Elf64_Phdr *ph = &m->ph[m->eh->e_phnum++];

    *ph = (Elf64_Phdr){.p_type = type,
                       .p_flags = flags,
                       .p_offset = offset,
                       .p_vaddr = vaddr,
                       .p_paddr = vaddr,
                       .p_filesz = filesz,
                       .p_memsz = memsz,
                       .p_align = type == PT_LOAD ? 0x1000 : 8};
    return ph;
}

/*
 * Text at base, with the headers in it; data with .bss two pages on:
 *   0x0000 headers, text (r-x)  ->  base
 *   0x1800 0x900 bytes of data  ->  base + 0x2800, memory to base + 0x5000
 * Byte i of the file beyond the headers is i * 7.
 */
static inline void elf_make_init(struct elf_make *m, uint16_t type, uint64_t base)
{
    memset(m, 0, sizeof(*m));
    m->size = 0x2400;
    m->eh = (Elf64_Ehdr *)m->bytes;
    m->ph = (Elf64_Phdr *)(m->bytes + sizeof(Elf64_Ehdr));
    for (uint64_t i = sizeof(Elf64_Ehdr) + ELF_MAKE_PHDRS * sizeof(Elf64_Phdr); i < m->size; i++)
        m->bytes[i] = (uint8_t)(i * 7);
    memcpy(m->eh->e_ident, ELFMAG, SELFMAG);
    m->eh->e_ident[EI_CLASS] = ELFCLASS64;
    m->eh->e_ident[EI_DATA] = ELFDATA2LSB;
    m->eh->e_ident[EI_VERSION] = EV_CURRENT;
    m->eh->e_type = type;
    m->eh->e_machine = EM_X86_64;
    m->eh->e_version = EV_CURRENT;
    m->eh->e_entry = base + 0x300;
    m->eh->e_phoff = sizeof(Elf64_Ehdr);
    m->eh->e_ehsize = sizeof(Elf64_Ehdr);
    m->eh->e_phentsize = sizeof(Elf64_Phdr);
    elf_make_phdr(m, PT_LOAD, PF_R | PF_X, 0, base, 0x1000, 0x1000);
    elf_make_phdr(m, PT_LOAD, PF_R | PF_W, 0x1800, base + 0x2800, 0x900, 0x2800);
}

#endif
