/* Inodes of treefs, and its super block. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <xxhash.h>

#include "sentry/fs/treefs_internal.h"
#include "sentry/vfs/attr/plainstat.h"
#include "sentry/vfs/attr/setattr.h"

struct tree_super {
    struct super_block sb;
    int64_t magic;
    int64_t block_size; /* st_blksize */
    void (*release)(void *arg);
    void *arg;
};

static const struct inode_operations tree_operations;
static const struct inode_operations magic_operations;

uint64_t tree_child_ino(uint64_t parent_ino, const char *name, size_t size, uint64_t key)
{
    return XXH3_64bits_withSeed(name, size, parent_ino ^ key << 32 ^ key >> 32) >> 32 | 1;
}

static struct inode *inode_new(const struct tree_node *node, uint64_t key, uint64_t dev,
                               uint64_t ino)
{
    struct tree_inode *inode = malloc(sizeof(*inode));

    if (!inode)
        return NULL;
    if (node->number)
        ino = node->number(key);
    inode_init(&inode->inode, node->follow ? &magic_operations : &tree_operations, node->mode, dev,
               ino);
    inode->node = node;
    inode->key = key;
    inode->inode.no_mounts = node->no_mounts;
    inode->seen = vfs_now();
    tree_take_attributes(inode);
    return &inode->inode;
}

static void tree_inode_release(struct inode *inode)
{
    free(container_of(inode, struct tree_inode, inode));
}

static const struct tree_node *find_fixed(const struct tree_node *node, struct name name)
{
    for (size_t i = 0; i < node->child_count; i++) {
        const struct tree_node *child = &node->children[i];

        if (strlen(child->name) == name.size && memcmp(child->name, name.text, name.size) == 0)
            return child;
    }
    return NULL;
}

static int tree_lookup(struct dentry *dir, const struct name *names, int count,
                       struct inode **ret_inodes, int *ret_error)
{
    const struct tree_node *node = tree_node_of(dir), *child = find_fixed(node, names[0]);
    uint64_t key = tree_inode_of(dir)->key, own_key = 0;

    if (node->alive && !node->alive(key))
        child = NULL;
    *ret_error = child ? 0 : -ENOENT;
    if (!child && node->find) {
        *ret_error = node->find(key, names[0], &child, &own_key);
        key = own_key;
    }
    if (*ret_error < 0)
        return 0;
    ret_inodes[0] =
        inode_new(child, key, dir->inode->dev,
                  tree_child_ino(dir->inode->ino, names[0].text, names[0].size, own_key));
    return ret_inodes[0] ? 1 : -ENOMEM;
}

static ssize_t tree_readlink(struct dentry *link, char *buf, size_t size)
{
    const struct tree_node *node = tree_node_of(link);
    size_t length;

    if (node->readlink)
        return node->readlink(tree_inode_of(link)->key, buf, size);
    length = strlen(node->target);
    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(buf, node->target, length + 1);
    return (ssize_t)length;
}

static int tree_follow(struct dentry *link, struct link_target *ret)
{
    return tree_node_of(link)->follow(tree_inode_of(link)->key, ret);
}

static int tree_make(struct dentry *dir, struct name name, const struct inode_make *make,
                     struct inode **ret)
{
    const struct tree_node *node = tree_node_of(dir), *child;
    uint64_t key;
    int err;

    if (!node->make || !S_ISDIR(make->mode))
        return -EPERM;
    err = node->make(tree_inode_of(dir)->key, name, make, &child, &key);
    if (err < 0)
        return err;
    *ret = inode_new(child, key, dir->inode->dev, 0);
    return *ret ? 0 : -ENOMEM;
}

static int tree_remove(struct dentry *dir, struct dentry *victim)
{
    const struct tree_node *node = tree_node_of(victim);

    return node->remove ? node->remove(tree_inode_of(victim)->key) : -EPERM;
}

static int tree_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    struct tree_super *super = container_of(dentry->sb, struct tree_super, sb);

    *ret = statfs_of_memory(super->magic);
    return 0;
}

const struct tree_node *treefs_node(const struct dentry *dentry)
{
    return tree_node_of(dentry);
}

uint64_t treefs_ino(uint64_t dir_ino, const char *name)
{
    return tree_child_ino(dir_ino, name, strlen(name), 0);
}

uint64_t treefs_key(const struct dentry *dentry)
{
    return tree_inode_of(dentry)->key;
}

static const struct inode_operations tree_operations = {
    .lookup = tree_lookup,
    .readlink = tree_readlink,
    .open = tree_open,
    .stat = tree_stat,
    .statfs = tree_statfs,
    .truncate = tree_truncate,
    .setattr = tree_setattr,
    .make = tree_make,
    .remove = tree_remove,
    .access = tree_access,
    .release = tree_inode_release,
};

static const struct inode_operations magic_operations = {
    .readlink = tree_readlink,
    .follow = tree_follow,
    .stat = tree_stat,
    .statfs = tree_statfs,
    .release = tree_inode_release,
};

int64_t tree_block_size(struct super_block *sb)
{
    return container_of(sb, struct tree_super, sb)->block_size;
}

static void tree_super_release(struct super_block *sb)
{
    struct tree_super *super = container_of(sb, struct tree_super, sb);

    if (super->release)
        super->release(super->arg);
    free(super);
}

int treefs_create_with(const struct tree_config *config, struct super_block **ret)
{
    struct tree_super *super = calloc(1, sizeof(*super));
    uint64_t dev = makedev(0, config->dev_minor);
    struct inode *inode = super ? inode_new(config->root, config->key, dev, 1) : NULL;

    if (!inode || super_init(&super->sb, inode, tree_super_release) < 0) {
        inode_unref(inode);
        free(super);
        return -ENOMEM;
    }
    super->sb.read_only = true;
    super->sb.dev = (uint32_t)dev;
    super->sb.type = config->type;
    super->sb.no_questions = strcmp(config->type, "proc") == 0;
    super->block_size = 1024;
    if (strcmp(config->type, "sysfs") == 0 || strcmp(config->type, "cgroup2") == 0) {
        super->block_size = PAGE_SIZE; /* kernfs */
        super_make_uuid(&super->sb);
    }
    super->magic = config->magic;
    super->release = config->release;
    super->arg = config->arg;
    *ret = &super->sb;
    return 0;
}

int treefs_create(const struct tree_node *root, const char *type, int64_t magic, uint32_t dev_minor,
                  struct super_block **ret)
{
    const struct tree_config config = {
        .root = root, .type = type, .magic = magic, .dev_minor = dev_minor};

    return treefs_create_with(&config, ret);
}
