/* The tree of dentries in use (inode.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "sentry/vfs/inode.h"
#include "sentry/vfs/mount.h"

void inode_init(struct inode *inode, const struct inode_operations *ops, uint32_t mode,
                uint64_t dev, uint64_t ino)
{
    *inode = (struct inode){.ops = ops, .mode = mode, .dev = dev, .ino = ino};
    refcount_set(&inode->refs, 1);
}

struct inode *inode_ref(struct inode *inode)
{
    refcount_get(&inode->refs);
    return inode;
}

struct inode *inode_unref(struct inode *inode)
{
    if (inode && refcount_put(&inode->refs))
        inode->ops->release(inode);
    return NULL;
}

static struct dentry *dentry_new(struct super_block *sb, struct dentry *parent, struct name name,
                                 struct inode *inode)
{
    struct dentry *d = calloc(1, sizeof(*d) + name.size + 1);

    if (!d)
        return NULL;
    refcount_set(&d->refs, 1);
    d->sb = sb;
    d->parent = parent ? dentry_ref(parent) : NULL;
    d->inode = inode;
    d->name_size = (uint32_t)name.size;
    memcpy(d->name, name.text, name.size);
    list_init(&d->bucket);
    return d;
}

int super_init(struct super_block *sb, struct inode *root, void (*release)(struct super_block *sb))
{
    refcount_set(&sb->refs, 1);
    lock_init(&sb->lock);
    for (int i = 0; i < DENTRY_BUCKETS; i++)
        list_init(&sb->buckets[i]);
    sb->release = release;
    sb->root = dentry_new(sb, NULL, (struct name){"", 0}, root);
    return sb->root ? 0 : -ENOMEM;
}

struct super_block *super_ref(struct super_block *sb)
{
    refcount_get(&sb->refs);
    return sb;
}

struct super_block *super_unref(struct super_block *sb)
{
    if (sb && refcount_put(&sb->refs)) {
        dentry_unref(sb->root);
        lock_destroy(&sb->lock);
        sb->release(sb);
    }
    return NULL;
}

static struct list *bucket_of(struct dentry *parent, struct name name)
{
    uint64_t hash = XXH3_64bits_withSeed(name.text, name.size, (uintptr_t)parent);

    return &parent->sb->buckets[hash % DENTRY_BUCKETS];
}

static struct dentry *find_locked(struct dentry *parent, struct name name)
    __must_hold(parent->sb->lock)
{
    struct list *bucket = bucket_of(parent, name);
    struct dentry *d;

    list_for_each (d, bucket, bucket) {
        if (d->parent == parent && d->name_size == name.size &&
            memcmp(d->name, name.text, name.size) == 0)
            return d;
    }
    return NULL;
}

struct dentry *dentry_ref(struct dentry *dentry)
{
    refcount_get(&dentry->refs);
    return dentry;
}

struct dentry *dentry_unref(struct dentry *dentry)
{
    while (dentry) {
        struct dentry *parent = dentry->parent;
        bool last;

        /* Under the lock, so that dentry_find() never meets one whose count is zero. */
        lock_acquire(&dentry->sb->lock);
        last = refcount_put(&dentry->refs);
        if (last)
            list_del_init(&dentry->bucket);
        lock_release(&dentry->sb->lock);
        if (!last)
            break;
        inode_unref(dentry->inode);
        free(dentry);
        dentry = parent;
    }
    return NULL;
}

struct dentry *dentry_find(struct dentry *parent, struct name name)
{
    struct dentry *d;

    lock_acquire(&parent->sb->lock);
    d = find_locked(parent, name);
    if (d)
        dentry_ref(d);
    lock_release(&parent->sb->lock);
    return d;
}

static bool same_object(const struct inode *a, const struct inode *b)
{
    return a->ino == b->ino && a->dev == b->dev && inode_type(a) == inode_type(b);
}

struct dentry *dentry_attach(struct dentry *parent, struct name name, struct inode *inode)
{
    struct super_block *sb = parent->sb;
    struct dentry *old, *fresh = dentry_new(sb, parent, name, inode);

    if (!fresh) {
        inode_unref(inode);
        return NULL;
    }
    lock_acquire(&sb->lock);
    old = find_locked(parent, name);
    if (old && same_object(old->inode, inode)) {
        dentry_ref(old);
        lock_release(&sb->lock);
        if (old->inode->ops->refresh)
            old->inode->ops->refresh(old->inode, inode);
        dentry_unref(fresh);
        return old;
    }
    if (old)
        list_del_init(&old->bucket);
    list_add(bucket_of(parent, name), &fresh->bucket);
    lock_release(&sb->lock);
    return fresh;
}

void dentry_detach(struct dentry *parent, struct name name)
{
    struct dentry *d;

    lock_acquire(&parent->sb->lock);
    d = find_locked(parent, name);
    if (d)
        list_del_init(&d->bucket);
    lock_release(&parent->sb->lock);
}

ssize_t dentry_path(struct dentry *dentry, char *buf, size_t size)
{
    size_t length = 0, at;

    for (struct dentry *d = dentry; d->parent; d = d->parent)
        length += d->name_size + (length ? 1 : 0);
    if (length >= size)
        return -ENAMETOOLONG;
    at = length;
    buf[at] = '\0';
    for (struct dentry *d = dentry; d->parent; d = d->parent) {
        at -= d->name_size;
        memcpy(buf + at, d->name, d->name_size);
        if (at > 0)
            buf[--at] = '/';
    }
    return (ssize_t)length;
}

struct path path_ref(struct path path)
{
    mount_ref(path.mount);
    dentry_ref(path.dentry);
    return path;
}

void path_unref(struct path *path)
{
    dentry_unref(path->dentry);
    mount_unref(path->mount);
    *path = (struct path){NULL, NULL};
}
