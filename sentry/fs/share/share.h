/*
 * A folder of the host's that the program may change, seen through its gofer
 * (host/share_protocol.h). Nothing is cached but what open files and current folders hold, so that
 * both sides see each other's changes at once.
 */
#ifndef SENTRY_FS_SHARE_SHARE_H
#define SENTRY_FS_SHARE_SHARE_H

#include "base/compiler.h"

struct memfile;
struct super_block;

struct share_config {
    int socket;              /* to the gofer; taken over, also on failure */
    struct memfile *memfile; /* borrowed */
    bool read_only;
};

/* -EIO when the gofer does not answer. */
int share_create(const struct share_config *config, struct super_block **ret);

#endif
