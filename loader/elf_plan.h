/*
 * Reading an ELF64 file's headers: pure functions from hostile bytes to a checked plan. No host, no
 * mm, no file: the fuzzer and the unit tests come in here.
 *
 *   file bytes --elf_parse_header()--> struct elf_header --elf_parse_segments()--> struct elf_plan
 *
 * What the plan promises, and load.c relies on: segments ascend as in the file; every range is
 * [vaddr, vaddr+memsz) without wrapping and below `limit`; no two share a byte; file bytes lie in
 * the file; vaddr and offset agree modulo the page. Linux checks less and lets such programs die
 * by SIGSEGV or SIGBUS later (fs/binfmt_elf.c); a program that really ran there passes here too.
 *
 * Errors: -ENOEXEC for what is no program for this machine, -EINVAL for impossible segments,
 * -ENOMEM; with words in `why`.
 */
#ifndef LOADER_ELF_PLAN_H
#define LOADER_ELF_PLAN_H

#include <elf.h>

#include "base/compiler.h"

/* Where words go: a buffer of the caller's. */
struct why {
    char *text;
    size_t size;
};
/* Writes the words and returns `error`, so that `return why_set(...)` reads well. */
int why_set(struct why *why, int error, const char *fmt, ...) __printf(3, 4);

struct elf_header {
    bool is_dyn; /* ET_DYN: goes anywhere */
    uint64_t entry;
    uint64_t phoff;
    uint32_t phnum;
};

#define ELF_HEADER_SIZE  sizeof(Elf64_Ehdr)
#define ELF_PHDRS_MAX    65536 /* bytes of program headers that Linux reads */
#define ELF_INTERP_MAX   4096  /* PATH_MAX */
#define ELF_SEGMENTS_MAX 1170  /* that many fit in ELF_PHDRS_MAX */

struct elf_segment {
    uint64_t vaddr, memsz;   /* bytes of memory */
    uint64_t offset, filesz; /* bytes of the file; filesz <= memsz */
    int prot;                /* PROT_* */
};

struct elf_plan {
    struct elf_header header;
    uint64_t start, end;  /* page-aligned span of all segments, before the bias */
    uint64_t align;       /* of the bias; a power of two, at least a page */
    uint64_t phdr_vaddr;  /* where the program headers end up; 0 when in no segment */
    uint64_t brk;         /* end of the last byte of any segment */
    bool exec_stack;      /* PT_GNU_STACK asks for an executable one */
    uint64_t interp_size; /* PT_INTERP in the file, with its NUL; 0: none */
    uint64_t interp_offset;
    uint32_t segment_count;
    struct elf_segment segments[]; /* PT_LOAD with memory, in file order */
};

/* `size` bytes from the beginning of a file of `file_size` bytes. */
int elf_parse_header(const void *buf, size_t size, uint64_t file_size,
                     struct elf_header *ret_header, struct why *why);

/*
 * `phdrs`: header->phnum program headers, as read from header->phoff. `limit`: one past the last
 * user address. The plan is the caller's to free().
 */
int elf_parse_segments(const struct elf_header *header, const void *phdrs, uint64_t file_size,
                       uint64_t limit, struct elf_plan **ret_plan, struct why *why);

/* Whether the (unbiased) address lies in a segment of the plan. */
bool elf_plan_covers(const struct elf_plan *plan, uint64_t vaddr);

/* A `#!` line: what to run instead. Both are NUL-terminated; argument "" when there is none. */
#define SCRIPT_LINE_MAX 256
struct script_line {
    char interpreter[SCRIPT_LINE_MAX];
    char argument[SCRIPT_LINE_MAX];
    bool has_argument;
};
/* The first min(size, 256) bytes of the file, which begin with "#!"; -ENOEXEC (execve(2)). */
int script_parse(const void *buf, size_t size, struct script_line *ret_line, struct why *why);

#endif
