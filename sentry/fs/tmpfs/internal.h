/*
 * Inside tmpfs: its objects.
 *
 *   struct tmpfs         the file system: limits, inode numbers
 *   struct tmpfs_inode   an object; lives while a name, a dentry or an open file has it
 *   struct tmpfs_entry   a name in a directory: found by name, listed by cookie
 *
 * Locks: sb.tree_lock guards all names (entries, nlink) and is held by the VFS around the
 * operations that read or change them. An inode's content_lock serialises what changes a file's
 * bytes, as Linux's inode lock does; it is held while user memory is copied, so nothing that a page
 * fault needs may take it. An inode's lock guards its times and attributes, and is innermost.
 */
#ifndef SENTRY_FS_TMPFS_INTERNAL_H
#define SENTRY_FS_TMPFS_INTERNAL_H

#include "sentry/fs/nametable.h"
#include "sentry/mm/shmem.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/mount/mount.h"

struct tmpfs {
    struct super_block sb;
    struct memfile *memfile;     /* borrowed */
    struct shmem_budget *budget; /* owned reference */
    uint64_t inode_limit;        /* atomic */
    uint64_t default_size, default_inodes;
    uint32_t minor;       /* to be given back; 0: a fixed one */
    uint64_t inode_count; /* atomic */
    uint64_t last_ino;    /* atomic */
};

struct tmpfs_entry {
    struct named named;
    struct tmpfs_inode *inode; /* owned reference */
};

struct tmpfs_dir {
    struct nametable entries; /* under tree_lock, as all of it */
    struct tmpfs_inode *up;   /* while the file system is taken down */
};

struct tmpfs_inode {
    struct inode inode;
    struct tmpfs *fs; /* borrowed: its super_block outlives all dentries */
    uint64_t rdev;    /* devices */
    uint32_t nlink;   /* atomic; changed under tree_lock */
    bool linkable;    /* O_TMPFILE: link() may give it its first name */
    struct lock content_lock;

    struct lock lock;         /* guards the times, xattrs, seals and mapping_writers */
    uint32_t seals;           /* F_SEAL_*; changed under content_lock as well */
    uint32_t mapping_writers; /* mmap calls on their way to a shared, writable mapping */
    struct timespec atime, mtime, ctime, btime;
    struct list xattrs;
    uint32_t acl_count; /* atomic: how many of xattrs are ACLs */

    struct tmpfs_dir dir;
    struct mappable *data; /* S_IFREG; owned reference */
    char *target;          /* S_IFLNK; owned */
    uint64_t charged;      /* bytes of the budget that the target takes */
};

#define TMPFS_SEAL_EXEC 0x20 /* F_SEAL_EXEC: newer than Debian 12's headers */
#define TMPFS_SEALS                                                                                \
    (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE |              \
     TMPFS_SEAL_EXEC)
#define TMPFS_NO_WRITE     (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

#define TMPFS_UNLIMITED    (UINT64_MAX >> 1)
#define TMPFS_FIRST_COOKIE 2 /* 0 is ".", 1 is ".." */

static inline struct tmpfs *tmpfs_of(struct super_block *sb)
{
    return container_of(sb, struct tmpfs, sb);
}

static inline struct tmpfs_inode *tmpfs_inode_of(struct inode *inode)
{
    return container_of(inode, struct tmpfs_inode, inode);
}

extern const struct inode_operations tmpfs_operations;

/* options.c: what /proc/mounts shows, and what a remount changes. */
void tmpfs_show_options(struct super_block *sb, char *buf, size_t size);
int tmpfs_reconfigure(struct super_block *sb, struct fs_setup *setup);
/* What a percentage of `size` means. */
void tmpfs_set_memory(uint64_t size);
/* A limit of 0 is none. */
uint64_t tmpfs_limit(uint64_t said);

/* inode.c */
/* -ENOSPC, -ENOMEM. One reference, no name yet. */
int tmpfs_inode_create(struct tmpfs *fs, const struct inode_make *make, struct tmpfs_inode **ret);
void tmpfs_inode_release(struct inode *inode);
enum tmpfs_touch { TOUCH_ATIME = 1, TOUCH_MTIME = 2, TOUCH_CTIME = 4 };
void tmpfs_touch(struct tmpfs_inode *inode, unsigned which);
/* A read, of which with ATIME_RELATIVE most leave no trace. */
void tmpfs_accessed(struct tmpfs_inode *inode, enum atime_rule rule);
/* By O_NOATIME and the mount. */
enum atime_rule tmpfs_atime_of(const struct file *f);
int tmpfs_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret);
bool tmpfs_birth(struct dentry *dentry, struct timespec *ret);
int tmpfs_statfs(struct dentry *dentry, struct linux_statfs *ret);
int tmpfs_set_flags(struct dentry *dentry, uint32_t flags);
int tmpfs_setattr(struct dentry *dentry, const struct inode_attr *attr);
/* What a write takes away: setuid and setgid. */
void tmpfs_drop_privileges(struct tmpfs_inode *inode);

/* dir.c: names; with tree_lock held. */
/* Gives all entries back, however deep the tree below is. */
void tmpfs_dir_clear(struct tmpfs_inode *dir);
int tmpfs_lookup(struct dentry *dir, const struct name *names, int count, struct inode **ret_inodes,
                 int *ret_error);
int tmpfs_make(struct dentry *dir, struct name name, const struct inode_make *make,
               struct inode **ret);
int tmpfs_tmpfile(struct dentry *dir, const struct inode_make *make, bool linkable,
                  struct inode **ret);
int tmpfs_link(struct dentry *dir, struct name name, struct dentry *object);
int tmpfs_remove(struct dentry *dir, struct dentry *victim);
int tmpfs_rename(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir,
                 struct name name, struct dentry *replaced);
int tmpfs_exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b);
int tmpfs_dir_open(struct dentry *dentry, uint32_t flags, struct file **ret);

/* xattr.c */
ssize_t tmpfs_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size);
int tmpfs_setxattr(struct dentry *dentry, const char *name, const void *value, size_t size,
                   int flags);
ssize_t tmpfs_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size);
int tmpfs_get_acl(struct inode *inode, struct dentry *dentry, int kind, struct acl **ret);
/* What `make` has for an object that nobody else knows yet. */
int tmpfs_add_acls(struct tmpfs_inode *inode, const struct inode_make *make);
/* The access ACL follows the mode; under the inode's lock. */
int tmpfs_chmod_acl(struct tmpfs_inode *inode, uint32_t mode) __must_hold(inode->lock);
/* Whoever writes to a file takes its capabilities. */
void tmpfs_drop_file_caps(struct tmpfs_inode *inode);
void tmpfs_xattrs_free(struct tmpfs_inode *inode);

/* file.c */
int tmpfs_file_open(struct dentry *dentry, uint32_t flags, struct file **ret);
int tmpfs_truncate(struct dentry *dentry, uint64_t size);

#endif
