/* memfd_create(2): files of a tmpfs that is mounted nowhere, and what seals forbid. */
#ifndef SENTRY_FS_TMPFS_MEMFD_H
#define SENTRY_FS_TMPFS_MEMFD_H

#include "base/compiler.h"

struct file;
struct memfile;

/* Once, before the first program starts. -ENOMEM. */
int memfd_setup(struct memfile *memfile, uint64_t size_limit, uint64_t inode_limit);

/* `name` without "memfd:", `flags` MFD_*, checked. -ENOMEM, -ENOSPC. */
int memfd_create_file(const char *name, unsigned flags, struct file **ret);
/* F_ADD_SEALS: -EINVAL where there are no seals, -EPERM, -EBUSY. */
int memfd_add_seals(struct file *f, uint32_t seals);
/* F_GET_SEALS: -EINVAL where there are no seals. */
int memfd_get_seals(struct file *f);

#endif
