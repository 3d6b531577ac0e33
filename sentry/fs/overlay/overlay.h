/*
 * A writable tree over a read-only one: what the program makes, changes and removes is kept by this
 * file system and by another one above; what lies below is only ever read.
 */
#ifndef SENTRY_FS_OVERLAY_OVERLAY_H
#define SENTRY_FS_OVERLAY_OVERLAY_H

#include <sys/types.h>

#include "base/compiler.h"

struct super_block;

struct overlay_config {
    struct super_block *lower; /* referenced; any that can be looked up, read and listed */
    struct super_block *upper; /* referenced; makes unnamed objects of every type (O_TMPFILE) */
    uint64_t entry_limit;      /* names that may differ from what is below */
    uint32_t dev_minor;
    bool read_only; /* nothing can be changed: upper is never asked for anything */
    /*
     * A folder of the host's in which names, owners and bytes are kept from one sandbox to the
     * next, in a form of its own (record.h); NULL: all of it ends with this one. Referenced.
     */
    struct super_block *store;
    bool imagined; /* for overlay_imagine() */
};

/* -ENOMEM; of the store: -EUCLEAN when what is kept there makes no sense, -EIO... */
int overlay_create(const struct overlay_config *config, struct super_block **ret);

/*
 * The tree that a journal tells of, over a `lower` that is never looked at (imagined.c): good for
 * overlay_changes() alone. `read` gives the journal's bytes as pread(2).
 */
typedef ssize_t (*overlay_read_fn)(void *arg, void *buf, size_t size, uint64_t offset);
int overlay_imagine(struct super_block *sb, overlay_read_fn read, void *arg);
int imagined_create(struct super_block **ret);

enum overlay_change { OVERLAY_ADDED = 'A', OVERLAY_MODIFIED = 'M', OVERLAY_REMOVED = 'D' };
/* `type`: DT_*; of what was removed: what it was. */
typedef void (*overlay_change_fn)(void *arg, enum overlay_change change, uint8_t type,
                                  const char *path);
/*
 * Calls `fn` for each name of the overlay `sb` that does not mean what it means below, directories
 * before what is in them; what was renamed is removed there and added here, and of a directory that
 * was renamed only what differs in it. The tree is locked meanwhile. -ENOMEM.
 */
int overlay_changes(struct super_block *sb, overlay_change_fn fn, void *arg);

#endif
