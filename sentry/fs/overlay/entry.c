/* The names that a directory of the overlay keeps itself: objects and whiteouts. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "sentry/fs/overlay/internal.h"

static struct ov_entry *entry_of(struct named *named)
{
    return named ? container_of(named, struct ov_entry, named) : NULL;
}

struct ov_entry *ov_entry_find(struct ov_inode *dir, struct name name)
{
    return entry_of(nametable_find(&dir->dir.entries, name));
}

struct ov_entry *ov_entry_next(struct ov_inode *dir, int64_t from)
{
    return entry_of(nametable_next(&dir->dir.entries, from));
}

int ov_entry_new(struct ov_inode *dir, struct name name, struct ov_entry **ret)
{
    struct overlay *fs = dir->fs;
    struct named *named;

    if (__atomic_add_fetch(&fs->entry_count, 1, __ATOMIC_RELAXED) > fs->entry_limit) {
        __atomic_sub_fetch(&fs->entry_count, 1, __ATOMIC_RELAXED);
        return -ENOSPC;
    }
    named = named_new(sizeof(struct ov_entry), name);
    if (!named) {
        __atomic_sub_fetch(&fs->entry_count, 1, __ATOMIC_RELAXED);
        return -ENOMEM;
    }
    *ret = entry_of(named);
    return 0;
}

void ov_entry_free(struct ov_inode *dir, struct ov_entry *entry)
{
    if (!entry)
        return;
    __atomic_sub_fetch(&dir->fs->entry_count, 1, __ATOMIC_RELAXED);
    free(entry);
}

static void take_out(struct ov_inode *dir, struct ov_entry *entry)
{
    nametable_remove(&dir->dir.entries, &entry->named);
    ov_entry_free(dir, entry);
}

void ov_entry_set(struct ov_inode *dir, struct ov_entry *spare, struct ov_inode *inode,
                  bool in_lower)
{
    struct ov_entry *there = ov_entry_find(dir, spare->named.name);

    if (there) {
        ov_entry_free(dir, spare);
    } else {
        there = spare;
        there->in_lower = in_lower;
        nametable_insert(&dir->dir.entries, &there->named);
    }
    if (there->inode) {
        dir->dir.live_count--;
        inode_unref(&there->inode->inode);
    }
    there->inode = inode;
    if (inode)
        dir->dir.live_count++;
    ov_note_name(dir, there);
}

static struct ov_inode *clear(struct ov_inode *dir, struct ov_entry *entry)
{
    struct ov_inode *inode = entry->inode;

    entry->inode = NULL;
    if (inode)
        dir->dir.live_count--;
    if (!entry->in_lower)
        take_out(dir, entry);
    return inode;
}

struct ov_inode *ov_entry_clear(struct ov_inode *dir, struct ov_entry *entry)
{
    struct ov_inode *inode = entry->inode;
    bool in_lower = entry->in_lower;

    if (inode)
        entry->type = IFTODT(inode_mode(&inode->inode));
    if (!in_lower)
        ov_note_no_name(dir, entry);
    clear(dir, entry);
    if (in_lower)
        ov_note_name(dir, entry);
    return inode;
}

/* Without recursion: a tree may be deeper than our stack. */
void ov_dir_clear(struct ov_inode *top)
{
    struct ov_inode *dir = top;

    for (;;) {
        struct ov_entry *entry = entry_of(nametable_first(&dir->dir.entries));
        struct ov_inode *child;

        if (!entry && dir == top)
            return;
        if (!entry) {
            child = dir;
            dir = dir->dir.up;
            inode_unref(&child->inode);
            continue;
        }
        entry->in_lower = false;
        child = clear(dir, entry);
        if (child && nametable_count(&child->dir.entries) > 0 &&
            refcount_read(&child->inode.refs) == 1) {
            child->dir.up = dir;
            dir = child;
        } else if (child) {
            inode_unref(&child->inode);
        }
    }
}

/* 1: an entry leads to it now; 0: one did already, or the name is another's. */
static int pin_one(struct dentry *dentry)
{
    struct ov_inode *dir = ov_of(dentry->parent);
    struct ov_entry *entry;
    int err;

    if (ov_entry_find(dir, dentry_name(dentry)))
        return 0;
    err = ov_note_possible(ov_of(dentry));
    if (!err)
        err = ov_entry_new(dir, dentry_name(dentry), &entry);
    if (err < 0)
        return err;
    inode_ref(dentry->inode);
    ov_entry_set(dir, entry, ov_of(dentry), true);
    return 1;
}

static void unpin_one(struct dentry *dentry)
{
    struct ov_inode *dir = ov_of(dentry->parent);
    struct ov_entry *entry = ov_entry_find(dir, dentry_name(dentry));

    if (!entry)
        return;
    entry->in_lower = false;
    inode_unref(&ov_entry_clear(dir, entry)->inode);
}

int ov_pin(struct dentry *dentry)
{
    struct dentry *at = dentry;
    int done = 0, r = 0;

    for (; at->parent && !at->gone; at = at->parent) {
        r = pin_one(at);
        if (r <= 0)
            break;
        done++;
    }
    for (at = dentry; r < 0 && done > 0; at = at->parent, done--)
        unpin_one(at);
    return MIN(r, 0);
}
