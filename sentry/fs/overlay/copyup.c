/*
 * Copying up: the first change of an object makes it an upper half, which has its metadata from
 * then on; its bytes follow when they are changed first (copydata.c).
 */
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/overlay/internal.h"

int ov_make_upper(struct overlay *fs, const struct inode_make *make, struct dentry **ret)
{
    struct dentry *root = fs->upper->root;
    struct inode *inode;
    char name[24];
    int err;

    tree_lock(fs->upper);
    err = root->inode->ops->tmpfile(root, make, false, &inode);
    tree_unlock(fs->upper);
    if (err < 0)
        return err;
    snprintf(name, sizeof(name), "#%lu", inode->ino);
    *ret = dentry_unnamed(root, (struct name){name, strlen(name)}, inode);
    return *ret ? 0 : -ENOMEM;
}

/* ---- metadata ------------------------------------------------------------------------------- */

static int copy_one_xattr(struct dentry *lower, struct dentry *upper, const char *name, char *value)
{
    ssize_t n = lower->inode->ops->getxattr(lower, name, value, OV_XATTR_BYTES);

    /* It went meanwhile, or is of a kind that only the host's kernel understands. */
    if (n == -ENODATA || n == -EOPNOTSUPP)
        return 0;
    if (n < 0)
        return (int)n;
    return upper->inode->ops->setxattr(upper, name, value, (size_t)n, 0);
}

static int copy_xattrs(struct dentry *lower, struct dentry *upper)
{
    const struct inode_operations *ops = lower->inode->ops;
    char *names, *value;
    ssize_t size = 0;
    int err = 0;

    if (!ops->listxattr || !ops->getxattr || !upper->inode->ops->setxattr)
        return 0;
    size = ops->listxattr(lower, true, NULL, 0);
    if (size <= 0) /* none, or the file system below has none at all */
        return 0;
    names = malloc(OV_XATTR_BYTES + 1);
    value = malloc(OV_XATTR_BYTES);
    if (names && value)
        size = ops->listxattr(lower, true, names, OV_XATTR_BYTES);
    else
        err = -ENOMEM;
    if (!err && size > 0)
        names[size] = '\0';
    for (ssize_t at = 0; !err && at < size; at += (ssize_t)strlen(names + at) + 1)
        err = copy_one_xattr(lower, upper, names + at, value);
    free(names);
    free(value);
    return err;
}

static struct timespec time_of(uint64_t sec, uint64_t nsec)
{
    return (struct timespec){(time_t)sec, (long)nsec};
}

static int copy_times(struct dentry *upper, const struct linux_stat *st)
{
    const struct inode_attr attr = {
        .mask = ATTR_ATIME | ATTR_MTIME,
        .atime = time_of(st->st_atime_sec, st->st_atime_nsec),
        .mtime = time_of(st->st_mtime_sec, st->st_mtime_nsec),
    };

    return upper->inode->ops->setattr(upper, &attr);
}

/* An object of upper that is what lower says, but for its bytes. */
static int copy_object(struct ov_inode *ov, struct dentry **ret)
{
    const struct inode_operations *ops = ov->lower->inode->ops;
    char target[PATH_MAX];
    struct linux_stat st;
    struct inode_make make;
    struct dentry *upper;
    int err = ops->stat(ov->lower, false, &st);

    if (err < 0)
        return err;
    make = (struct inode_make){.mode = st.st_mode,
                               .uid = st.st_uid,
                               .gid = st.st_gid,
                               .rdev = st.st_rdev,
                               .flags = inode_flags(&ov->inode) & (FS_IMMUTABLE_FL | FS_APPEND_FL |
                                                                   FS_NODUMP_FL | FS_NOATIME_FL)};
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = ops->readlink(ov->lower, target, sizeof(target));

        if (n < 0)
            return (int)n;
        make.target = target;
    }
    err = ov_make_upper(ov->fs, &make, &upper);
    if (err < 0)
        return err;
    err = copy_xattrs(ov->lower, upper);
    if (!err)
        err = copy_times(upper, &st);
    if (err < 0)
        dentry_unref(upper);
    else
        *ret = upper;
    return err;
}

int ov_copy_up(struct dentry *dentry)
{
    struct ov_inode *ov = ov_of(dentry);
    struct dentry *upper;
    int err = ov_pin(dentry);

    if (err < 0 || ov_upper(ov))
        return err;
    err = copy_object(ov, &upper);
    if (err < 0)
        return err;
    ov_count(ov);
    __atomic_store_n(&ov->upper, upper, __ATOMIC_RELEASE);
    ov_follow_upper(ov);
    ov_note(ov);
    return 0;
}

int ov_copy_up_unlocked(struct dentry *dentry)
{
    int err;

    if (ov_upper(ov_of(dentry)))
        return 0;
    err = ov_begin(overlay_of(dentry->sb));
    if (err < 0)
        return err;
    tree_lock(dentry->sb);
    err = ov_copy_up(dentry);
    ov_commit(overlay_of(dentry->sb));
    tree_unlock(dentry->sb);
    return err;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

int ov_open_half(struct dentry *half, uint32_t flags, struct file **ret)
{
    struct file *f;
    int err = half->inode->ops->open(half, flags, &f);

    if (err < 0)
        return err;
    if (!f->at.dentry)
        f->at.dentry = dentry_ref(half);
    *ret = f;
    return 0;
}
