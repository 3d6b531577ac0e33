/* memfd_secret(2), and memfd_create(2) with MFD_HUGETLB. */
#ifndef SENTRY_FS_TMPFS_SECRETMEM_H
#define SENTRY_FS_TMPFS_SECRETMEM_H

#include "base/compiler.h"

struct file;
struct memfile;
struct shmem_budget;

/* Before the first program starts, from memfd_setup(): where the pages come from; borrowed. */
void secretmem_setup(struct memfile *memfile, struct shmem_budget *budget);

/*
 * A file that is nothing but memory to be mapped, shared and locked, and that nobody reaches
 * through another's hand: not ptrace(2), not process_vm_readv(2). -ENOMEM.
 */
int secretmem_create(struct file **ret);
/* A file of huge pages, named "memfd:NAME", of which there are none. -ENOMEM. */
int hugemem_create(const char *name, uint64_t page_size, bool sealable, bool exec,
                   struct file **ret);
/* F_ADD_SEALS and F_GET_SEALS on such a file: 0 or the seals; -EPERM. False: it is another kind. */
bool hugemem_add_seals(struct file *f, uint32_t seals, int *ret);
bool hugemem_get_seals(struct file *f, int *ret);

#endif
