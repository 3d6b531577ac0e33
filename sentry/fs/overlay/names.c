/*
 * Making, removing and renaming in the overlay. A change begins with copying up the directories
 * whose times it changes, and with what may fail; entries are moved when nothing can fail any more.
 */
#include <errno.h>

#include "sentry/fs/overlay/internal.h"

/* A directory in which something is about to change. */
static int prepare_dir(struct dentry *dir)
{
    return ov_is_dead(ov_of(dir)) ? -ENOENT : ov_copy_up(dir);
}

static void drop(struct ov_inode *ov)
{
    if (ov)
        inode_unref(&ov->inode);
}

static int make_object(struct dentry *dir, const struct inode_make *make, struct ov_inode **ret)
{
    struct ov_inode *at = ov_of(dir);
    struct dentry *upper;
    int err = ov_make_upper(at->fs, make, &upper);

    if (err < 0)
        return err;
    *ret = ov_inode_made(at->fs, upper, at->inode.dev);
    if (!*ret)
        return -ENOMEM;
    ov_note(*ret);
    err = ov_bytes_make(*ret);
    if (err < 0)
        inode_unref(&(*ret)->inode);
    return err;
}

int ov_make(struct dentry *dentry, struct name name, const struct inode_make *make,
            struct inode **ret)
{
    struct ov_inode *dir = ov_of(dentry), *ov = NULL;
    struct ov_entry *entry;
    int err = prepare_dir(dentry);

    if (!err)
        err = ov_entry_new(dir, name, &entry);
    if (err < 0)
        return err;
    err = make_object(dentry, make, &ov);
    if (err < 0) {
        ov_entry_free(dir, entry);
        return err;
    }
    ov->nlink = 1;
    if (ov_is_dir(ov)) {
        ov->nlink = 2;
        ov_change_nlink(dir, 1);
    }
    *ret = inode_ref(&ov->inode);
    ov_entry_set(dir, entry, ov, false);
    ov_touch(dir, true);
    return 0;
}

int ov_tmpfile(struct dentry *dentry, const struct inode_make *make, bool linkable,
               struct inode **ret)
{
    struct ov_inode *ov = NULL;
    int err = ov_is_dead(ov_of(dentry)) ? -ENOENT : make_object(dentry, make, &ov);

    if (err < 0)
        return err;
    ov->linkable = linkable;
    *ret = &ov->inode;
    return 0;
}

int ov_link(struct dentry *dentry, struct name name, struct dentry *object)
{
    struct ov_inode *dir = ov_of(dentry), *ov = ov_of(object);
    struct ov_entry *entry;
    int err;

    if (ov->counted && ov_nlink(ov) == 0 && !ov->linkable)
        return -ENOENT;
    if (ov_nlink(ov) >= INT32_MAX)
        return -EMLINK;
    err = prepare_dir(dentry);
    if (!err)
        err = ov_copy_up(object);
    if (!err)
        err = ov_entry_new(dir, name, &entry);
    if (err < 0)
        return err;
    inode_ref(&ov->inode);
    ov_entry_set(dir, entry, ov, false);
    ov_change_nlink(ov, 1);
    ov->linkable = false;
    ov_touch(ov, false);
    ov_touch(dir, true);
    return 0;
}

/* A name of `ov` is out of `dir`; the reference that it had is given back. */
static void unlinked(struct ov_inode *dir, struct ov_inode *ov)
{
    if (ov_is_dir(ov)) {
        ov_change_nlink(dir, -1);
        ov_change_nlink(ov, -(int)ov_nlink(ov));
        ov_dir_clear(ov);
    } else {
        ov_change_nlink(ov, -1);
    }
    ov_touch(ov, false);
    drop(ov);
}

/* What it needs that `victim` may lose a name: an entry for it, and that its nlink is ours. */
static int prepare_victim(struct dentry *victim)
{
    struct ov_inode *ov = ov_of(victim);
    int err = ov_is_dir(ov) ? ov_dir_empty(ov) : 0;

    if (err < 0)
        return err;
    /* One that goes altogether needs no upper half for its time of change. */
    if (ov_is_dir(ov) || ov_nlink(ov) == 1) {
        err = ov_pin(victim);
        if (!err)
            ov_count(ov);
        return err;
    }
    return ov_copy_up(victim);
}

int ov_remove(struct dentry *dentry, struct dentry *victim)
{
    struct ov_inode *dir = ov_of(dentry);
    struct ov_entry *entry;
    int err = prepare_dir(dentry);

    if (!err)
        err = prepare_victim(victim);
    if (err < 0)
        return err;
    entry = ov_entry_find(dir, dentry_name(victim));
    if (!entry || !entry->inode)
        return -ENOENT;
    unlinked(dir, ov_entry_clear(dir, entry));
    ov_touch(dir, true);
    return 0;
}

/* A directory goes from one to another: its ".." counts there now. */
static void move_dotdot(struct ov_inode *ov, struct ov_inode *from, struct ov_inode *to)
{
    if (ov_is_dir(ov) && from != to) {
        ov_change_nlink(from, -1);
        ov_change_nlink(to, 1);
    }
}

static void touch_both(struct ov_inode *a, struct ov_inode *b)
{
    ov_touch(a, true);
    if (a != b)
        ov_touch(b, true);
}

int ov_rename(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir, struct name name,
              struct dentry *replaced)
{
    struct ov_inode *from = ov_of(old_dir), *to = ov_of(new_dir), *ov;
    struct ov_entry *entry, *there, *fresh;
    int err = prepare_dir(old_dir);

    if (!err)
        err = prepare_dir(new_dir);
    if (!err)
        err = ov_copy_up(old);
    if (!err && replaced)
        err = prepare_victim(replaced);
    if (!err)
        err = ov_entry_new(to, name, &fresh);
    if (err < 0)
        return err;
    entry = ov_entry_find(from, dentry_name(old));
    if (!entry || !entry->inode) {
        ov_entry_free(to, fresh);
        return -ENOENT;
    }
    there = ov_entry_find(to, name);
    if (there && there->inode)
        unlinked(to, ov_entry_clear(to, there));
    ov = ov_entry_clear(from, entry);
    ov_entry_set(to, fresh, ov, false);
    move_dotdot(ov, from, to);
    ov_touch(ov, false);
    touch_both(from, to);
    return 0;
}

int ov_exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b)
{
    struct ov_inode *a_at = ov_of(a_dir), *b_at = ov_of(b_dir), *ov;
    struct ov_entry *a_entry, *b_entry;
    int err = prepare_dir(a_dir);

    if (!err)
        err = prepare_dir(b_dir);
    if (!err)
        err = ov_copy_up(a);
    if (!err)
        err = ov_copy_up(b);
    if (err < 0)
        return err;
    a_entry = ov_entry_find(a_at, dentry_name(a));
    b_entry = ov_entry_find(b_at, dentry_name(b));
    if (!a_entry || !b_entry || !a_entry->inode || !b_entry->inode)
        return -ENOENT;
    ov = a_entry->inode;
    a_entry->inode = b_entry->inode;
    b_entry->inode = ov;
    ov_note_name(a_at, a_entry);
    ov_note_name(b_at, b_entry);
    move_dotdot(b_entry->inode, a_at, b_at);
    move_dotdot(a_entry->inode, b_at, a_at);
    ov_touch(a_entry->inode, false);
    ov_touch(b_entry->inode, false);
    touch_both(a_at, b_at);
    return 0;
}
