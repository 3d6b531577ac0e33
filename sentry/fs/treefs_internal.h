/*
 * Between the files of treefs:
 *
 *   treefs.c        inodes and the super block: looking up, links, making and removing
 *   treefs_attr.c   stat(2), access(2), who may change what
 *   treefs_file.c   opening; files that are a text
 *   treefs_dir.c    open directories
 */
#ifndef SENTRY_FS_TREEFS_INTERNAL_H
#define SENTRY_FS_TREEFS_INTERNAL_H

#include "base/lock.h"
#include "sentry/fs/treefs.h"

struct tree_inode {
    struct inode inode;
    const struct tree_node *node;
    uint64_t key;
    struct timespec seen; /* when this object came to be in memory: all times of stat(2) */
};

struct snapshot;

/* A directory or a text that is being read. */
struct tree_file {
    struct file file;
    struct lock lock;
    struct snapshot *snapshot __guarded_by(lock); /* a reference; NULL: not read yet */
    const struct tree_node *node;
    uint64_t key;
};

static inline struct tree_inode *tree_inode_of(const struct dentry *dentry)
{
    return container_of(dentry->inode, struct tree_inode, inode);
}

static inline const struct tree_node *tree_node_of(const struct dentry *dentry)
{
    return tree_inode_of(dentry)->node;
}

static inline struct tree_file *tree_file_of(struct file *f)
{
    return container_of(f, struct tree_file, file);
}

/* treefs.c */
/*
 * Stable, and tells nothing about where things are in our memory. `key` is its own of a child that
 * comes and goes, since its name may come back for another object; 0 of one that is always there.
 */
uint64_t tree_child_ino(uint64_t parent_ino, const char *name, size_t size, uint64_t key);

/* treefs_attr.c: for inode_operations. */
int tree_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret);
int tree_truncate(struct dentry *dentry, uint64_t size);
int tree_setattr(struct dentry *dentry, const struct inode_attr *attr);
/* By what holds now, `mask` as access(2) has it. -EACCES. */
int tree_access(struct dentry *dentry, int mask);
/* For those who ask the inode: chmod(2) and its kin. */
void tree_take_attributes(struct tree_inode *inode);

/* treefs_file.c */
int tree_open(struct dentry *dentry, uint32_t flags, struct file **ret);
void tree_file_release(struct file *f);

/* treefs_dir.c */
extern const struct file_operations tree_dir_operations;

/* st_blksize of what is in it. */
int64_t tree_block_size(struct super_block *sb);

#endif
