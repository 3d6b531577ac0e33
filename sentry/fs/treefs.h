/*
 * File systems that are a fixed tree written down in tables: /dev, the global part of /proc, /sys.
 * The objects are constants; only dentries and inodes are made, while they are in use. Reading of
 * texts, listing and looking up are done here; what a device does is its node's business.
 */
#ifndef SENTRY_FS_TREEFS_H
#define SENTRY_FS_TREEFS_H

#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

/*
 * A node may stand for many objects that differ in a number: a process's directory, a descriptor's
 * link. That number is the object's key; children inherit it unless find() gives them another.
 */
struct tree_node {
    const char *name;
    uint32_t mode;         /* S_IFMT and permissions */
    uint32_t major, minor; /* devices */
    /* S_IFDIR: the children that are always there ... */
    const struct tree_node *children;
    size_t child_count;
    /* ... and those that come and go: the node and key of the child `name`, or -ENOENT, */
    int (*find)(uint64_t key, struct name name, const struct tree_node **ret_node,
                uint64_t *ret_key);
    /* and the first of them with a number of at least `from`; its number, or -1: no more. */
    int64_t (*list)(uint64_t key, int64_t from, char *ret_name, size_t size,
                    const struct tree_node **ret_node);
    /* S_IFLNK: a fixed target, or whatever readlink says; magic links have follow as well */
    const char *target;
    ssize_t (*readlink)(uint64_t key, char *buf, size_t size);
    int (*follow)(uint64_t key, struct link_target *ret);
    bool no_mounts; /* upon it: it comes and goes by itself */
    /* What ioctl(2) does on an open text; NULL: nothing. */
    long (*ioctl)(uint64_t key, struct mm *mm, uint32_t cmd, uint64_t arg);
    /*
     * S_IFREG: the whole text, made when the file is opened and read from its beginning. Writes at
     * most `size` bytes to buf; the length it has or would have had, or -errno.
     */
    ssize_t (*text)(uint64_t key, char *buf, size_t size);
    const char *fixed; /* a text that never changes, in place of text() */
    bool text_at_read; /* whether it may be read is told by read(2), not yet by open(2) */
    /* A text that can be written: all of one write(2), terminated, at most a page. 0 or -errno. */
    int (*write)(uint64_t key, const char *text, size_t size);
    /* What stat(2) says of this very object; filled in before with what is above. May be NULL. */
    void (*status)(uint64_t key, struct linux_stat *st);
    /* Devices: a file of their own; for files of an object that can do more than be read, the same
     * by its key. */
    int (*open)(const struct tree_node *node, uint32_t flags, struct file **ret);
    int (*open_object)(uint64_t key, uint32_t flags, struct file **ret);
    /* Whose it is, where it is not root's; unchanged when the object is gone. */
    void (*owner)(uint64_t key, uint32_t *ret_uid, uint32_t *ret_gid);
    /* Permissions that can be changed: all three, and their change. Which of an object's files it
     * is about, `aspect` says. */
    void (*get_attr)(uint64_t key, int aspect, uint32_t *ret_mode, uint32_t *ret_uid,
                     uint32_t *ret_gid);
    int (*set_attr)(uint64_t key, int aspect, const struct inode_attr *attr);
    int aspect;
    /* Objects with numbers of their own, by which list() counts them as well: st_ino. */
    uint64_t (*number)(uint64_t key);
    /* S_IFDIR: makes and removes the directory that find() then finds, or not. NULL: -EPERM. */
    int (*make)(uint64_t key, struct name name, const struct inode_make *make,
                const struct tree_node **ret_node, uint64_t *ret_key);
    int (*remove)(uint64_t child_key);
    bool (*alive)(uint64_t key); /* false: it was removed, and nothing is in it any more */
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

#define TREE_FIXED(name_, fixed_)                                                                  \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0444, .fixed = fixed_                                     \
    }

/* The node of an open directory, and its object's key; NULL: not one of these trees. */
const struct tree_node *treefs_dir_node(const struct file *file, uint64_t *ret_key);

/* The same of a dentry of these trees. */
uint64_t treefs_key(const struct dentry *dentry);
/* The number of a fixed child of the directory with that number. */
uint64_t treefs_ino(uint64_t dir_ino, const char *name);
const struct tree_node *treefs_node(const struct dentry *dentry);

/*
 * `root` is a directory node, constant and living as long as the program; `type` is its name in
 * /proc/mounts, `magic` what statfs(2) reports; `dev_minor` tells the trees apart in st_dev.
 */
int treefs_create(const struct tree_node *root, const char *type, int64_t magic, uint32_t dev_minor,
                  struct super_block **ret);

/* The same with a key for the root, and something that the tree keeps. */
struct tree_config {
    const struct tree_node *root;
    uint64_t key;
    const char *type;
    int64_t magic;
    uint32_t dev_minor;
    void (*release)(void *arg); /* when the tree goes; NULL: nothing */
    void *arg;
};
int treefs_create_with(const struct tree_config *config, struct super_block **ret);
#endif
