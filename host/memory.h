/*
 * Host memory: mappings and memory files of the Sentry. All return -errno; addresses come back
 * through ret_*. The rows of these calls in the jail's list are told apart by their flags.
 */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include "base/compiler.h"

/* memfd_create(2) with MFD_CLOEXEC: the descriptor. */
int host_memfd_create(const char *name);
void host_memfd_close(int fd);
/* ftruncate(2). */
int host_ftruncate(int fd, uint64_t size);
/* fallocate(2) with PUNCH_HOLE|KEEP_SIZE: the range reads as zeroes and holds no memory. */
int host_punch_hole(int fd, uint64_t offset, uint64_t size);

/* mmap(2), PROT_* and MAP_* as there. `addr` may be NULL. */
int host_mmap(void *addr, uint64_t size, int prot, int flags, int fd, uint64_t offset,
              void **ret_mapping);
int host_munmap(void *addr, uint64_t size);
/* madvise(2), MADV_* as there. */
int host_madvise(void *addr, uint64_t size, int advice);
/* mincore(2): one byte a page. */
int host_mincore(void *addr, uint64_t size, uint8_t *vec);

#endif
