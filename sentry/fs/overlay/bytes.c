/*
 * Where the bytes of changed files are: with upper's half, or, in an overlay that is kept, in files
 * of the host's folder, "data/ID". The host's are found by name; a few stay at hand.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/fs/overlay/journal.h"
#include "sentry/vfs/attr/filecaps.h"
#include "sentry/vfs/attr/permission.h"

struct bytes_name {
    char text[24];
};

static struct bytes_name name_of(const struct ov_inode *ov)
{
    struct bytes_name name;

    snprintf(name.text, sizeof(name.text), "%lx", ov->id);
    return name;
}

static bool own_file(const struct ov_inode *ov)
{
    return ov->fs->data && inode_type(&ov->inode) == S_IFREG;
}

/* Keeps a reference on it, in place of another. */
static void remember(struct ov_inode *ov, struct dentry *bytes)
{
    struct overlay *fs = ov->fs;
    struct dentry *old;

    lock_acquire(&fs->recent_lock);
    old = fs->recent[ov->id % OV_RECENT];
    fs->recent[ov->id % OV_RECENT] = bytes ? dentry_ref(bytes) : NULL;
    lock_release(&fs->recent_lock);
    dentry_unref(old);
}

int ov_bytes(struct ov_inode *ov, struct dentry **ret)
{
    struct bytes_name name = name_of(ov);
    int err;

    if (!own_file(ov)) {
        *ret = dentry_ref(ov_upper(ov));
        return 0;
    }
    *ret = dentry_find(ov->fs->data, (struct name){name.text, strlen(name.text)});
    if (*ret)
        return 0;
    err = ov_store_find(ov->fs->data, name.text, ret);
    if (err == -ENOENT)
        return -EIO;
    if (!err)
        remember(ov, *ret);
    return err;
}

int ov_bytes_make(struct ov_inode *ov)
{
    struct bytes_name name = name_of(ov);
    struct dentry *bytes;
    int err;

    if (!own_file(ov))
        return 0;
    err = ov_store_make(ov->fs->data, name.text, S_IFREG | 0600, &bytes);
    if (err == -EEXIST) {
        /* Of an attempt that failed, or of a sandbox that died before it wrote of this file. */
        ov_store_remove(ov->fs->data, name.text);
        err = ov_store_make(ov->fs->data, name.text, S_IFREG | 0600, &bytes);
    }
    if (err < 0)
        return err;
    remember(ov, bytes);
    dentry_unref(bytes);
    return 0;
}

void ov_bytes_remove(struct ov_inode *ov)
{
    if (!own_file(ov) || !ov->id)
        return;
    remember(ov, NULL);
    ov_store_remove(ov->fs->data, name_of(ov).text);
}

void ov_bytes_forget(struct overlay *fs)
{
    for (int i = 0; i < OV_RECENT; i++)
        fs->recent[i] = dentry_unref(fs->recent[i]);
}

static bool later(uint64_t sec, uint64_t nsec, const struct linux_stat *st)
{
    return sec > st->st_ctime_sec || (sec == st->st_ctime_sec && nsec > st->st_ctime_nsec);
}

void ov_bytes_stat(struct ov_inode *ov, const struct linux_stat *bytes, struct linux_stat *st)
{
    st->st_size = bytes->st_size;
    st->st_blocks = bytes->st_blocks;
    st->st_blksize = bytes->st_blksize;
    st->st_atime_sec = bytes->st_atime_sec;
    st->st_atime_nsec = bytes->st_atime_nsec;
    st->st_mtime_sec = bytes->st_mtime_sec;
    st->st_mtime_nsec = bytes->st_mtime_nsec;
    if (later(bytes->st_ctime_sec, bytes->st_ctime_nsec, st)) {
        st->st_ctime_sec = bytes->st_ctime_sec;
        st->st_ctime_nsec = bytes->st_ctime_nsec;
    }
}

bool ov_bytes_apart(const struct ov_inode *ov)
{
    return own_file(ov) && ov_copied(ov);
}

int ov_bytes_set_times(struct ov_inode *ov, const struct inode_attr *attr)
{
    struct inode_attr times = *attr;
    struct dentry *bytes;
    int err;

    times.mask &= ATTR_ATIME | ATTR_MTIME;
    if (!ov_bytes_apart(ov) || !times.mask)
        return 0;
    err = ov_bytes(ov, &bytes);
    if (err < 0)
        return err;
    err = bytes->inode->ops->setattr(bytes, &times);
    dentry_unref(bytes);
    return err;
}

/* Upper, which would do it at a write, sees none. */
void ov_bytes_written(struct ov_inode *ov)
{
    struct inode_attr attr = {.mask = ATTR_MODE, .mode = mode_without_privileges(&ov->inode)};
    struct dentry *upper = ov_upper(ov);
    bool caps, mode;

    if (!ov_bytes_apart(ov)) {
        ov_follow_upper(ov);
        return;
    }
    mode = attr.mode != inode_mode(&ov->inode);
    caps = upper->inode->ops->getxattr(upper, FILE_CAPS_NAME, NULL, 0) > 0;
    if (!mode && !caps)
        return;
    attr.mode &= 07777;
    tree_lock(&ov->fs->sb);
    if (mode && upper->inode->ops->setattr(upper, &attr) == 0)
        ov_follow_upper(ov);
    if (caps && upper->inode->ops->setxattr(upper, FILE_CAPS_NAME, NULL, 0, 0) == 0)
        ov_note_xattr(ov, FILE_CAPS_NAME, NULL, 0);
    ov_note(ov);
    ov_commit(ov->fs);
    tree_unlock(&ov->fs->sb);
}
