/*
 * A writable tree over a read-only one: what the program makes, changes and removes is kept by this
 * file system and by another one above; what lies below is only ever read.
 */
#ifndef SENTRY_FS_OVERLAY_OVERLAY_H
#define SENTRY_FS_OVERLAY_OVERLAY_H

#include "base/compiler.h"

struct super_block;

struct overlay_config {
    struct super_block *lower; /* referenced; any that can be looked up, read and listed */
    struct super_block *upper; /* referenced; makes unnamed objects of every type (O_TMPFILE) */
    uint64_t entry_limit;      /* names that may differ from what is below */
    uint32_t dev_minor;
};

/* -ENOMEM. */
int overlay_create(const struct overlay_config *config, struct super_block **ret);

#endif
