/*
 * File handles: open_by_handle_at(2), and the file ids of fanotify(7). A handle says which object
 * of a file system is meant, whatever its name has become.
 *
 * An object is found by its handle as long as it has a name: what a handle was given out for is
 * remembered with its dentry, which follows renames, until its last name or its last mount goes.
 * At most HANDLES_MAX are, then the oldest is forgotten and its handle stale.
 */
#ifndef SENTRY_VFS_HANDLE_H
#define SENTRY_VFS_HANDLE_H

#include "sentry/vfs/inode.h"

#define HANDLES_MAX      65536
#define HANDLE_BYTES_MAX 128 /* MAX_HANDLE_SZ: what programs provide room for */

struct handle {
    int32_t type;
    uint32_t size;
    uint8_t bytes[HANDLE_BYTES_MAX];
};

/* Whether a file system's objects can be found again; inode_operations.handles. */
enum handle_support {
    HANDLES_NONE,        /* they have ids alone */
    HANDLES_DECODED,     /* yes */
    HANDLES_CONNECTABLE, /* and with their place: AT_HANDLE_CONNECTABLE */
};

enum handle_wish { HANDLE_OPENABLE, HANDLE_ID, HANDLE_PLACED };

/* -EOPNOTSUPP, -ENOMEM. */
int handle_encode(struct dentry *dentry, enum handle_wish wish, struct handle *ret);
/* The same without a name; false where a file system gives out none. */
bool handle_of_inode(const struct inode *inode, struct handle *ret);
/* What is in no tree has an id, too. */
void handle_of_numbers(uint64_t ino, struct handle *ret);
/* The object, seen through the mount of `at`; referenced. -ESTALE. `placed`: it must have a name.*/
int handle_decode(const struct path *at, const struct handle *handle, bool placed,
                  struct path *ret);

/* A name of it was removed. */
void handles_removed(struct dentry *dentry);
/* The last mount of it has gone. */
void handles_super_gone(const struct super_block *sb);

#endif
