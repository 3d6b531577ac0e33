/* What programs can mount: tmpfs, proc, sysfs, cgroup2, devtmpfs, devpts. */
#ifndef RUNTIME_FSTYPES_H
#define RUNTIME_FSTYPES_H

#include "base/compiler.h"

struct memfile;
struct super_block;

struct fstypes_config {
    struct memfile *memfile;                /* borrowed, for ever */
    uint64_t size, inodes;                  /* what a tmpfs gets unless it is told */
    struct super_block *dev, *sys, *cgroup; /* the ones there are; references are taken */
};

void fstypes_register(const struct fstypes_config *config);

#endif
