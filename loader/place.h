/*
 * Where things go in a new address space: Linux's x86-64 layout (arch/x86/mm/mmap.c,
 * fs/binfmt_elf.c), its ranges of randomness shrunk where the platform's user space is smaller.
 */
#ifndef LOADER_PLACE_H
#define LOADER_PLACE_H

#include "loader/loader.h"
#include "platform/platform.h"

struct placement {
    uaddr_t stack_top; /* page aligned; with ASLR the vDSO finds room above it */
    uaddr_t vdso_hint; /* 0: anywhere */
    uaddr_t mmap_base;
    uaddr_t dyn_base;       /* for the program when it is ET_DYN; page aligned */
    uint64_t brk_gap;       /* bytes from the program's end to the heap, whole pages */
    uint64_t stack_padding; /* bytes, below 8192 */
};

/* `vdso_size`: bytes of [vvar] and [vdso] together. */
void placement_choose(const struct load_request *req, const struct platform_limits *limits,
                      uint64_t vdso_size, struct placement *ret_placement);

#endif
