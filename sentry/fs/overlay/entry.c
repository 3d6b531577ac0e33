/* The names that a directory of the overlay keeps itself: objects and whiteouts. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/overlay/internal.h"

static int compare_names(const struct ov_entry *a, const struct ov_entry *b)
{
    int order = memcmp(a->name.text, b->name.text, MIN(a->name.size, b->name.size));

    if (order)
        return order;
    return a->name.size < b->name.size ? -1 : a->name.size > b->name.size;
}

static int compare_cookies(const struct ov_entry *a, const struct ov_entry *b)
{
    return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

/* clang-format off */
RB_GENERATE_INTERNAL(ov_names, ov_entry, by_name, compare_names, __attribute__((unused)) static)
RB_GENERATE_INTERNAL(ov_order, ov_entry, by_cookie, compare_cookies, __attribute__((unused)) static)
/* clang-format on */

void ov_dir_init(struct ov_dir *dir)
{
    RB_INIT(&dir->names);
    RB_INIT(&dir->order);
}

struct ov_entry *ov_entry_find(struct ov_inode *dir, struct name name)
{
    struct ov_entry key = {.name = name};

    return RB_FIND(ov_names, &dir->dir.names, &key);
}

struct ov_entry *ov_entry_next(struct ov_inode *dir, int64_t from)
{
    struct ov_entry key = {.cookie = from};

    return RB_NFIND(ov_order, &dir->dir.order, &key);
}

int ov_entry_new(struct ov_inode *dir, struct name name, struct ov_entry **ret)
{
    struct overlay *fs = dir->fs;
    struct ov_entry *entry;

    if (__atomic_add_fetch(&fs->entry_count, 1, __ATOMIC_RELAXED) > fs->entry_limit) {
        __atomic_sub_fetch(&fs->entry_count, 1, __ATOMIC_RELAXED);
        return -ENOSPC;
    }
    entry = malloc(sizeof(*entry) + name.size);
    if (!entry) {
        __atomic_sub_fetch(&fs->entry_count, 1, __ATOMIC_RELAXED);
        return -ENOMEM;
    }
    *entry = (struct ov_entry){.name = {entry->text, name.size}};
    memcpy(entry->text, name.text, name.size);
    *ret = entry;
    return 0;
}

void ov_entry_free(struct ov_inode *dir, struct ov_entry *entry)
{
    if (!entry)
        return;
    __atomic_sub_fetch(&dir->fs->entry_count, 1, __ATOMIC_RELAXED);
    free(entry);
}

static void insert(struct ov_inode *dir, struct ov_entry *entry)
{
    struct ov_dir *d = &dir->dir;

    entry->cookie = ++d->last_cookie;
    RB_INSERT(ov_names, &d->names, entry);
    RB_INSERT(ov_order, &d->order, entry);
    __atomic_add_fetch(&d->entry_count, 1, __ATOMIC_RELEASE);
}

static void take_out(struct ov_inode *dir, struct ov_entry *entry)
{
    struct ov_dir *d = &dir->dir;

    RB_REMOVE(ov_names, &d->names, entry);
    RB_REMOVE(ov_order, &d->order, entry);
    __atomic_sub_fetch(&d->entry_count, 1, __ATOMIC_RELEASE);
    ov_entry_free(dir, entry);
}

void ov_entry_set(struct ov_inode *dir, struct ov_entry *spare, struct ov_inode *inode,
                  bool in_lower)
{
    struct ov_entry *there = ov_entry_find(dir, spare->name);

    if (there) {
        ov_entry_free(dir, spare);
    } else {
        there = spare;
        there->in_lower = in_lower;
        insert(dir, there);
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
        struct ov_entry *entry = RB_MIN(ov_names, &dir->dir.names);
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
        if (child && child->dir.entry_count > 0 && refcount_read(&child->inode.refs) == 1) {
            child->dir.up = dir;
            dir = child;
        } else if (child) {
            inode_unref(&child->inode);
        }
    }
}

static struct name name_of(const struct dentry *dentry)
{
    return (struct name){dentry->name, dentry->name_size};
}

/* 1: an entry leads to it now; 0: one did already, or the name is another's. */
static int pin_one(struct dentry *dentry)
{
    struct ov_inode *dir = ov_of(dentry->parent);
    struct ov_entry *entry;
    int err;

    if (ov_entry_find(dir, name_of(dentry)))
        return 0;
    err = ov_note_possible(ov_of(dentry));
    if (!err)
        err = ov_entry_new(dir, name_of(dentry), &entry);
    if (err < 0)
        return err;
    inode_ref(dentry->inode);
    ov_entry_set(dir, entry, ov_of(dentry), true);
    return 1;
}

static void unpin_one(struct dentry *dentry)
{
    struct ov_inode *dir = ov_of(dentry->parent);
    struct ov_entry *entry = ov_entry_find(dir, name_of(dentry));

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
