/* Maps the segments of a checked plan into an address space, as fs/binfmt_elf.c: elf_load does. */
#ifndef LOADER_SEGMENT_H
#define LOADER_SEGMENT_H

#include "loader/elf_plan.h"

struct file;
struct mm;

/* Reads exactly `size` bytes of the file at `pos`: 0, -EIO when it is shorter, -errno. */
int read_exact(struct file *file, uint64_t pos, void *buf, uint64_t size);

/*
 * Everything at its vaddr plus `bias`, replacing what was there. The file's own pages where it can
 * be mapped, else a copy. -ENOMEM, -EIO, -errno of mm_map().
 */
int segments_map(struct mm *mm, struct file *file, const struct elf_plan *plan, uint64_t bias,
                 struct why *why);

/*
 * Brings pages of a small program in before it runs: a page fault costs more than several pages,
 * and start-up code touches most of them. Only a wish: what cannot be had comes by fault.
 */
void segments_prefault(struct mm *mm, const struct elf_plan *plan, uint64_t bias);

#endif
