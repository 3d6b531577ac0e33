#include "sentry/fs/overlay/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/special.h"

static int ov_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    switch (inode_type(dentry->inode)) {
    case S_IFREG:
        return ov_file_open(dentry, flags, ret);
    case S_IFDIR:
        return ov_dir_open(dentry, flags, ret);
    case S_IFIFO:
        /* The host's FIFOs as well: who is at their other end is in the sandbox. */
        return vfs_fifo_open(dentry->inode, flags, ret);
    case S_IFCHR:
    case S_IFBLK:
        return -EACCES; /* as on a mount without devices */
    default:
        return -ENXIO;
    }
}

const struct inode_operations ov_operations = {
    .lookup = ov_lookup,
    .refresh = ov_refresh,
    .readlink = ov_readlink,
    .open = ov_open,
    .stat = ov_stat,
    .birth = ov_birth,
    .statfs = ov_statfs,
    .release = ov_inode_release,
    .make = ov_make,
    .link = ov_link,
    .remove = ov_remove,
    .rename = ov_rename,
    .exchange = ov_exchange,
    .tmpfile = ov_tmpfile,
    .setattr = ov_setattr,
    .truncate = ov_truncate,
    .getxattr = ov_getxattr,
    .setxattr = ov_setxattr,
    .listxattr = ov_listxattr,
    .get_acl = ov_get_acl,
    .set_flags = ov_set_flags,
    .attributes = ov_attributes,
};

static void ov_super_release(struct super_block *sb)
{
    struct overlay *fs = overlay_of(sb);

    ov_links_clear(fs);
    super_unref(fs->lower);
    super_unref(fs->upper);
    lock_destroy(&fs->links_lock);
    free(fs);
}

int overlay_create(const struct overlay_config *config, struct super_block **ret)
{
    struct overlay *fs = calloc(1, sizeof(*fs));
    struct ov_inode *root;

    if (!fs)
        return -ENOMEM;
    fs->sb.type = "overlay";
    fs->sb.checks_modes = true;
    fs->sb.has_acls = true;
    fs->sb.has_flags = true;
    fs->sb.far = true;
    fs->sb.read_only = config->read_only;
    fs->sb.dev = (uint32_t)makedev(0, config->dev_minor);
    fs->entry_limit = config->entry_limit;
    lock_init(&fs->links_lock);
    for (int i = 0; i < OV_LINK_BUCKETS; i++)
        list_init(&fs->links[i]);
    root = ov_inode_of_lower(fs, dentry_ref(config->lower->root));
    if (!root || super_init(&fs->sb, &root->inode, ov_super_release) < 0) {
        if (root)
            inode_unref(&root->inode);
        lock_destroy(&fs->links_lock);
        free(fs);
        return -ENOMEM;
    }
    fs->lower = super_ref(config->lower);
    fs->upper = super_ref(config->upper);
    *ret = &fs->sb;
    return 0;
}
