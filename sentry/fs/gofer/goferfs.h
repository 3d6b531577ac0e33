/*
 * The host's tree, seen through the gofer: read-only. What was looked up is remembered, and so are
 * descriptors of what was opened, within limits. What the host changes meanwhile:
 *
 *   shared      is seen at once: what is remembered is checked against the times of the folder and
 *               the status of the object, by descriptors that are held. What leaves no trace there
 *               (a file system mounted upon a folder) is seen within GOFER_RECHECK_SECONDS.
 *   exclusive   may never be seen: the tree is believed to be nobody else's.
 *
 * Files that are mapped keep the pages they have in both.
 */
#ifndef SENTRY_FS_GOFER_GOFERFS_H
#define SENTRY_FS_GOFER_GOFERFS_H

#include "base/compiler.h"

struct gofer_client;
struct memfile;
struct super_block;

#define GOFER_RECHECK_SECONDS 10
/* Of names and attributes; with the pages that hostmap.c keeps it makes 64 MiB. */
#define GOFER_CACHE_BYTES (16UL << 20)

struct goferfs_config {
    struct gofer_client *client; /* borrowed, as long as the file system lives */
    struct memfile *memfile;     /* likewise */
    bool exclusive;
    bool checks_modes;     /* the gofer may look at everything: the Sentry is to judge */
    size_t cache_bytes;    /* of remembered names and attributes */
    uint32_t handle_limit; /* host descriptors that are remembered, beside those in use */
};

/* -EIO when the gofer does not answer. */
int goferfs_create(const struct goferfs_config *config, struct super_block **ret);

#endif
