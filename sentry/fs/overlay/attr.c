/* What the overlay's objects say about themselves: upper's half speaks where there is one. */
#include <errno.h>
#include <linux/magic.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/setattr.h"

#define DIR_SIZE 4096 /* of one that was made here: what most file systems say */

void ov_complete_stat(struct ov_inode *ov, struct linux_stat *st)
{
    st->st_dev = ov->inode.dev;
    st->st_ino = ov->inode.ino;
    if (ov->counted)
        st->st_nlink = ov_nlink(ov);
}

static int stat_bytes(struct ov_inode *ov, struct linux_stat *ret)
{
    struct linux_stat st;
    struct dentry *bytes;
    int err = ov_bytes(ov, &bytes);

    if (err < 0)
        return err;
    err = bytes->inode->ops->stat(bytes, false, &st);
    dentry_unref(bytes);
    if (!err)
        ov_bytes_stat(ov, &st, ret);
    return err;
}

int ov_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *upper = ov_upper(ov);
    struct linux_stat below;
    int err;

    if (!upper) {
        /* What an entry found was not asked for below just now. */
        err = ov->lower->inode->ops->stat(ov->lower,
                                          fresh && nametable_count(&ov->dir.entries) == 0, ret);
        if (!err)
            ov_complete_stat(ov, ret);
        return err;
    }
    err = upper->inode->ops->stat(upper, fresh, ret);
    if (err < 0)
        return err;
    ov_complete_stat(ov, ret);
    if (ov_is_dir(ov)) {
        ret->st_size = DIR_SIZE;
        ret->st_blocks = DIR_SIZE / 512;
    }
    if (ov_bytes_apart(ov))
        return stat_bytes(ov, ret);
    if (!ov->lower || ov_copied(ov) || (!ov_is_dir(ov) && inode_type(&ov->inode) != S_IFREG))
        return 0;
    err = ov->lower->inode->ops->stat(ov->lower, true, &below);
    if (err < 0)
        return err;
    if (__atomic_load_n(&ov->pieces, __ATOMIC_ACQUIRE)) {
        ret->st_blocks = MAX(ret->st_blocks, below.st_blocks);
        return 0;
    }
    ret->st_size = below.st_size;
    ret->st_blocks = below.st_blocks;
    ret->st_blksize = below.st_blksize;
    return 0;
}

/* What was copied up is the lower object still. */
bool ov_birth(struct dentry *dentry, struct timespec *ret)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *half = ov->lower ? ov->lower : ov_upper(ov);

    return half->inode->ops->birth && half->inode->ops->birth(half, ret);
}

/* Counts as used what is used below. */
static void add_used_below(struct overlay *fs, struct linux_statfs *st)
{
    struct dentry *lower = fs->lower->root;
    struct linux_statfs below;

    if (!lower->inode->ops->statfs || lower->inode->ops->statfs(lower, &below) < 0 ||
        below.f_bsize <= 0 || below.f_bfree > below.f_blocks || below.f_ffree > below.f_files)
        return;
    uint64_t blocks = below.f_blocks - below.f_bfree;
    /* The host may say anything. */
    if (!__builtin_mul_overflow(blocks, (uint64_t)below.f_bsize, &blocks) && st->f_blocks)
        st->f_blocks += blocks / (uint64_t)st->f_bsize;
    if (st->f_files)
        st->f_files += below.f_files - below.f_ffree;
}

/*
 * Linux tells of the upper file system alone, which as a rule is a disk in use. In memory it is
 * empty at first, and a tree full of files would take no room: so what lies below is in use, and
 * what can be added is free.
 */
int ov_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    struct overlay *fs = ov_of(dentry)->fs;
    struct dentry *upper = fs->data ? fs->data : fs->upper->root;
    int err = upper->inode->ops->statfs(upper, ret);

    if (err < 0)
        return err;
    ret->f_type = OVERLAYFS_SUPER_MAGIC;
    if (!fs->data)
        add_used_below(fs, ret);
    return 0;
}

ssize_t ov_readlink(struct dentry *link, char *buf, size_t size)
{
    struct ov_inode *ov = ov_of(link);
    struct dentry *half = ov_upper(ov) ? ov_upper(ov) : ov->lower;

    return half->inode->ops->readlink(half, buf, size);
}

void ov_touch(struct ov_inode *ov, bool modified)
{
    struct dentry *upper = ov_upper(ov);
    struct inode_attr attr = {.mask = 0};

    if (!upper)
        return;
    if (modified) {
        attr.mask = ATTR_MTIME;
        attr.mtime = vfs_now();
    }
    upper->inode->ops->setattr(upper, &attr);
    ov_note(ov);
}

/* Something of it was changed, and no name: that is all. */
static void changed(struct ov_inode *ov)
{
    if (!ov->fs->journal)
        return;
    tree_lock(&ov->fs->sb);
    ov_note(ov);
    ov_commit(ov->fs);
    tree_unlock(&ov->fs->sb);
}

int ov_setattr(struct dentry *dentry, const struct inode_attr *attr)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *upper;
    int err = ov_copy_up_unlocked(dentry);

    if (err < 0)
        return err;
    err = ov_begin(ov->fs);
    if (!err)
        err = ov_bytes_set_times(ov, attr);
    if (err < 0)
        return err;
    upper = ov_upper(ov);
    err = upper->inode->ops->setattr(upper, attr);
    if (!err) {
        ov_follow_upper(ov);
        if ((attr->mask & ATTR_MODE) && ov->fs->journal &&
            upper->inode->ops->getxattr(upper, ACL_ACCESS_NAME, NULL, 0) > 0)
            ov->xattrs_told = false; /* the ACL has followed the mode */
        changed(ov);
    }
    return err;
}

int ov_truncate(struct dentry *dentry, uint64_t size)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *bytes;
    int err = ov_take_cut(dentry, size);

    if (!err)
        err = ov_bytes(ov, &bytes);
    if (err < 0)
        return err;
    err = bytes->inode->ops->truncate(bytes, size);
    dentry_unref(bytes);
    if (!err)
        ov_bytes_written(ov);
    return err;
}

ssize_t ov_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *half = ov_upper(ov) ? ov_upper(ov) : ov->lower;

    return half->inode->ops->getxattr ? half->inode->ops->getxattr(half, name, buf, size)
                                      : -ENODATA;
}

/* The copy of it that is to be changed. */
static int make_upper(struct dentry *dentry, struct dentry **ret)
{
    int err = ov_copy_up_unlocked(dentry);

    *ret = err < 0 ? NULL : ov_upper(ov_of(dentry));
    return err;
}

int ov_setxattr(struct dentry *dentry, const char *name, const void *value, size_t size, int flags)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *upper;
    int err = make_upper(dentry, &upper);

    if (err == 0)
        err = upper->inode->ops->setxattr ? ov_begin(ov->fs) : -EOPNOTSUPP;
    if (err < 0)
        return err;
    tree_lock(dentry->sb);
    err = upper->inode->ops->setxattr(upper, name, value, size, flags);
    if (!err)
        ov_note_xattr(ov, name, value, size);
    ov_commit(ov->fs);
    tree_unlock(dentry->sb);
    return err;
}

ssize_t ov_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *half = ov_upper(ov) ? ov_upper(ov) : ov->lower;

    return half->inode->ops->listxattr ? half->inode->ops->listxattr(half, trusted, buf, size) : 0;
}

int ov_get_acl(struct inode *inode, struct dentry *dentry, int kind, struct acl **ret)
{
    struct ov_inode *ov = container_of(inode, struct ov_inode, inode);
    struct dentry *half = ov_upper(ov) ? ov_upper(ov) : ov->lower;

    return acl_get(half->inode, half, (enum acl_kind)kind, ret);
}

int ov_set_flags(struct dentry *dentry, uint32_t flags)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *upper;
    int err = make_upper(dentry, &upper);

    if (!err)
        err = upper->inode->ops->set_flags ? ov_begin(ov->fs) : -EOPNOTSUPP;
    if (!err)
        err = upper->inode->ops->set_flags(upper, flags);
    if (!err) {
        ov_follow_upper(ov);
        changed(ov);
    }
    return err;
}

uint64_t ov_attributes(struct dentry *dentry, uint64_t *ret_known)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *lower = ov_upper(ov) ? NULL : ov->lower;

    return lower && lower->inode->ops->attributes ? lower->inode->ops->attributes(lower, ret_known)
                                                  : 0;
}
