#include "sentry/fs/overlay/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/path/special.h"
#include "sentry/vfs/attr/handle.h"

static int ov_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    switch (inode_type(dentry->inode)) {
    case S_IFREG:
        return ov_file_open(dentry, flags, ret);
    case S_IFDIR:
        return ov_dir_open(dentry, flags, ret);
    default:
        /* Never the host's: who is at a FIFO's other end is in the sandbox, and so are devices. */
        return vfs_special_open(dentry, flags, ret);
    }
}

/* ---- changes of names: each is one batch of the journal ---------------------------------------
 */

static int done(struct dentry *dir, int result)
{
    ov_commit(overlay_of(dir->sb));
    return result;
}

static int make(struct dentry *dir, struct name name, const struct inode_make *what,
                struct inode **ret)
{
    int err = ov_begin(overlay_of(dir->sb));

    return err ? err : done(dir, ov_make(dir, name, what, ret));
}

static int make_unnamed(struct dentry *dir, const struct inode_make *what, bool linkable,
                        struct inode **ret)
{
    int err = ov_begin(overlay_of(dir->sb));

    return err ? err : done(dir, ov_tmpfile(dir, what, linkable, ret));
}

static int link(struct dentry *dir, struct name name, struct dentry *object)
{
    int err = ov_begin(overlay_of(dir->sb));

    return err ? err : done(dir, ov_link(dir, name, object));
}

static int remove_name(struct dentry *dir, struct dentry *victim)
{
    int err = ov_begin(overlay_of(dir->sb));

    return err ? err : done(dir, ov_remove(dir, victim));
}

static int rename_name(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir,
                       struct name name, struct dentry *replaced)
{
    int err = ov_begin(overlay_of(old_dir->sb));

    return err ? err : done(old_dir, ov_rename(old_dir, old, new_dir, name, replaced));
}

static int exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b)
{
    int err = ov_begin(overlay_of(a_dir->sb));

    return err ? err : done(a_dir, ov_exchange(a_dir, a, b_dir, b));
}

const struct inode_operations ov_operations = {
    .handles = HANDLES_CONNECTABLE,
    .lookup = ov_lookup,
    .refresh = ov_refresh,
    .readlink = ov_readlink,
    .open = ov_open,
    .stat = ov_stat,
    .birth = ov_birth,
    .statfs = ov_statfs,
    .release = ov_inode_release,
    .make = make,
    .link = link,
    .remove = remove_name,
    .rename = rename_name,
    .exchange = exchange,
    .tmpfile = make_unnamed,
    .setattr = ov_setattr,
    .truncate = ov_truncate,
    .getxattr = ov_getxattr,
    .setxattr = ov_setxattr,
    .listxattr = ov_listxattr,
    .get_acl = ov_get_acl,
    .set_flags = ov_set_flags,
    .attributes = ov_attributes,
};

static void ov_free(struct overlay *fs)
{
    ov_bytes_forget(fs);
    dentry_unref(fs->data);
    ov_journal_close(fs->journal);
    ov_buffer_free(&fs->changes);
    ov_buffer_free(&fs->batch);
    super_unref(fs->lower);
    super_unref(fs->upper);
    lock_destroy(&fs->recent_lock);
    lock_destroy(&fs->links_lock);
    free(fs);
}

static void ov_super_release(struct super_block *sb)
{
    ov_links_clear(overlay_of(sb));
    ov_free(overlay_of(sb));
}

/* What the sandbox changes is in the dentries at once: it is the lower one that may change. */
static uint64_t ov_epoch(struct super_block *sb)
{
    struct super_block *lower = overlay_of(sb)->lower;

    return lower->epoch ? lower->epoch(lower) : 0;
}

static struct overlay *ov_new(const struct overlay_config *config)
{
    struct overlay *fs = calloc(1, sizeof(*fs));

    if (!fs)
        return NULL;
    fs->sb.type = "overlay";
    fs->sb.checks_modes = true;
    fs->sb.has_acls = true;
    fs->sb.has_flags = true;
    fs->sb.stacked = true;
    super_make_uuid(&fs->sb);
    fs->sb.far = true;
    fs->sb.idle_limit = OV_IDLE_NAMES;
    fs->sb.epoch = ov_epoch;
    fs->sb.read_only = config->read_only;
    fs->sb.dev = (uint32_t)makedev(0, config->dev_minor);
    fs->entry_limit = config->entry_limit;
    fs->imagined = config->imagined;
    fs->last_id = OV_ROOT_NODE;
    lock_init(&fs->links_lock);
    lock_init(&fs->recent_lock);
    list_init(&fs->noted);
    for (int i = 0; i < OV_LINK_BUCKETS; i++)
        list_init(&fs->links[i]);
    fs->lower = super_ref(config->lower);
    fs->upper = super_ref(config->upper);
    return fs;
}

int overlay_create(const struct overlay_config *config, struct super_block **ret)
{
    struct overlay *fs = ov_new(config);
    struct ov_inode *root = fs ? ov_inode_of_lower(fs, dentry_ref(config->lower->root)) : NULL;
    int err;

    if (!root || super_init(&fs->sb, &root->inode, ov_super_release) < 0) {
        if (root)
            inode_unref(&root->inode);
        if (fs)
            ov_free(fs);
        return -ENOMEM;
    }
    root->id = OV_ROOT_NODE;
    err = config->store ? ov_keep_in(fs, config->store) : 0;
    if (err < 0)
        super_unref(&fs->sb);
    else
        *ret = &fs->sb;
    return err;
}
