/*
 * File systems that are a fixed tree written down in tables: /dev, the global part of /proc, /sys.
 * The objects are constants; only dentries and inodes are made, while they are in use. Reading of
 * texts, listing and looking up are done here; what a device does is its node's business.
 */
#ifndef SENTRY_FS_TREEFS_H
#define SENTRY_FS_TREEFS_H

#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

struct tree_node {
    const char *name;
    uint32_t mode;         /* S_IFMT and permissions */
    uint32_t major, minor; /* devices */
    /* S_IFDIR */
    const struct tree_node *children;
    size_t child_count;
    /* S_IFLNK: a fixed target, or whatever follow says (magic links; then readlink as well) */
    const char *target;
    int (*follow)(struct dentry *link, struct link_target *ret);
    ssize_t (*readlink)(struct dentry *link, char *buf, size_t size);
    /*
     * S_IFREG: the whole text, made when the file is opened. Writes at most `size` bytes to buf;
     * the length it has or would have had.
     */
    ssize_t (*text)(char *buf, size_t size);
    /* Devices: a file of their own. */
    int (*open)(const struct tree_node *node, uint32_t flags, struct file **ret);
};

#define TREE_DIR(name_, children_)                                                                 \
    {                                                                                              \
        .name = name_, .mode = S_IFDIR | 0555, .children = children_,                              \
        .child_count = ARRAY_COUNT(children_)                                                      \
    }
#define TREE_LINK(name_, target_)                                                                  \
    {                                                                                              \
        .name = name_, .mode = S_IFLNK | 0777, .target = target_                                   \
    }
#define TREE_TEXT(name_, text_)                                                                    \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0444, .text = text_                                       \
    }

/*
 * `root` is a directory node, constant and living as long as the program; `fs_type` is what
 * statfs(2) reports; `dev_minor` tells the trees apart in st_dev.
 */
int treefs_create(const struct tree_node *root, int64_t fs_type, uint32_t dev_minor,
                  struct super_block **ret);
/* The node behind a dentry of such a tree. */
const struct tree_node *treefs_node(const struct dentry *dentry);

#endif
