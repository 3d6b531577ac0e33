#include "sentry/fs/tmpfs/tmpfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/vfs/path/special.h"
#include "sentry/vfs/attr/handle.h"

static ssize_t tmpfs_readlink(struct dentry *link, char *buf, size_t size)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(link->inode);
    size_t length = strlen(inode->target);

    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(buf, inode->target, length + 1);
    tmpfs_accessed(inode, ATIME_RELATIVE);
    return (ssize_t)length;
}

static int tmpfs_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    switch (inode_type(dentry->inode)) {
    case S_IFREG:
        return tmpfs_file_open(dentry, flags, ret);
    case S_IFDIR:
        return tmpfs_dir_open(dentry, flags, ret);
    default:
        return vfs_special_open(dentry, flags, ret);
    }
}

const struct inode_operations tmpfs_operations = {
    .handles = HANDLES_DECODED,
    .lookup = tmpfs_lookup,
    .readlink = tmpfs_readlink,
    .open = tmpfs_open,
    .stat = tmpfs_stat,
    .birth = tmpfs_birth,
    .statfs = tmpfs_statfs,
    .release = tmpfs_inode_release,
    .make = tmpfs_make,
    .link = tmpfs_link,
    .remove = tmpfs_remove,
    .rename = tmpfs_rename,
    .exchange = tmpfs_exchange,
    .tmpfile = tmpfs_tmpfile,
    .setattr = tmpfs_setattr,
    .truncate = tmpfs_truncate,
    .getxattr = tmpfs_getxattr,
    .setxattr = tmpfs_setxattr,
    .listxattr = tmpfs_listxattr,
    .get_acl = tmpfs_get_acl,
    .set_flags = tmpfs_set_flags,
};

static void tmpfs_release(struct super_block *sb)
{
    struct tmpfs *fs = tmpfs_of(sb);

    if (fs->minor)
        super_give_minor(fs->minor);
    shmem_budget_unref(fs->budget);
    free(fs);
}

int tmpfs_create(const struct tmpfs_config *config, struct super_block **ret)
{
    struct inode_make make = {
        .mode = S_IFDIR | config->mode, .uid = config->uid, .gid = config->gid};
    struct tmpfs *fs = calloc(1, sizeof(*fs));
    struct tmpfs_inode *root = NULL;

    if (!fs)
        return -ENOMEM;
    fs->sb.type = "tmpfs";
    fs->sb.checks_modes = true;
    fs->sb.has_acls = true;
    fs->sb.has_flags = true;
    fs->sb.has_maps = true;
    super_make_uuid(&fs->sb);
    fs->sb.dev = (uint32_t)makedev(0, config->dev_minor);
    fs->memfile = config->memfile;
    fs->sb.show_options = tmpfs_show_options;
    fs->sb.reconfigure = tmpfs_reconfigure;
    fs->inode_limit = tmpfs_limit(config->inode_limit);
    fs->default_size = config->default_size ? config->default_size : config->size_limit;
    fs->default_inodes = config->default_inodes ? config->default_inodes : config->inode_limit;
    fs->budget = shmem_budget_create(tmpfs_limit(config->size_limit));
    if (fs->budget && tmpfs_inode_create(fs, &make, &root) == 0)
        root->nlink = 2;
    if (!root || super_init(&fs->sb, &root->inode, tmpfs_release) < 0) {
        if (root)
            inode_unref(&root->inode);
        shmem_budget_unref(fs->budget);
        free(fs);
        return -ENOMEM;
    }
    fs->minor = config->takes_minor ? config->dev_minor : 0;
    *ret = &fs->sb;
    return 0;
}
