/*
 * The host's tree, seen through the gofer: read-only. Every walk asks the gofer anew, so what
 * others change on the host is seen at once (files that are mapped keep the pages they have).
 */
#ifndef SENTRY_FS_GOFER_GOFERFS_H
#define SENTRY_FS_GOFER_GOFERFS_H

#include "base/compiler.h"

struct gofer_client;
struct memfile;
struct super_block;

/* Borrows both for as long as the file system lives. -EIO when the gofer does not answer. */
int goferfs_create(struct gofer_client *client, struct memfile *memfile, struct super_block **ret);

#endif
