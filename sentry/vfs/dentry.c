/*
 * The tree of dentries (inode.h), and those that nobody uses.
 *
 *   in use   refs > 0, in its bucket unless `gone`
 *   idle     refs = 0, in its bucket and in sb->idle: one that found() takes is in use again
 *
 * Only under sb->lock does a count become zero or leave it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "host/io.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/mount/mount.h"
#include "sentry/vfs/notify.h"

/* Where names are far, more stay: those of idle dentries, and those below them. */
#define NEAR_BUCKETS 64
#define FAR_BUCKETS  2048

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
    if (inode && refcount_put(&inode->refs)) {
        if (unlikely(__atomic_load_n(&inode->unlinked_from, __ATOMIC_RELAXED)))
            notify_gone(inode);
        inode->ops->release(inode);
    }
    return NULL;
}

int inode_get_write(struct inode *inode)
{
    int32_t old = __atomic_load_n(&inode->write_count, __ATOMIC_RELAXED);

    do {
        if (old < 0)
            return -ETXTBSY;
    } while (!__atomic_compare_exchange_n(&inode->write_count, &old, old + 1, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return 0;
}

void inode_put_write(struct inode *inode)
{
    __atomic_sub_fetch(&inode->write_count, 1, __ATOMIC_RELAXED);
}

int inode_deny_write(struct inode *inode)
{
    int32_t old = __atomic_load_n(&inode->write_count, __ATOMIC_RELAXED);

    do {
        if (old > 0)
            return -ETXTBSY;
    } while (!__atomic_compare_exchange_n(&inode->write_count, &old, old - 1, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return 0;
}

void inode_allow_write(struct inode *inode)
{
    __atomic_add_fetch(&inode->write_count, 1, __ATOMIC_RELAXED);
}

static struct dentry *dentry_new(struct super_block *sb, struct dentry *parent, struct name name,
                                 struct inode *inode)
{
    struct dentry *d = calloc(1, sizeof(*d));

    if (d)
        d->name = malloc(name.size + 1);
    if (!d || !d->name) {
        free(d);
        return NULL;
    }
    refcount_set(&d->refs, 1);
    d->sb = sb;
    d->parent = parent ? dentry_ref(parent) : NULL;
    d->inode = inode;
    d->name_size = (uint32_t)name.size;
    memcpy(d->name, name.text, name.size);
    d->name[name.size] = '\0';
    list_init(&d->bucket);
    list_init(&d->idle_node);
    return d;
}

int super_init(struct super_block *sb, struct inode *root, void (*release)(struct super_block *sb))
{
    uint32_t count = sb->far ? FAR_BUCKETS : NEAR_BUCKETS;
    struct dentry *dentry = dentry_new(sb, NULL, (struct name){"", 0}, root);
    struct list *buckets = calloc(count, sizeof(*buckets));

    if (!dentry || !buckets) {
        if (dentry)
            free(dentry->name);
        free(dentry);
        free(buckets);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        list_init(&buckets[i]);
    refcount_set(&sb->refs, 1);
    lock_init(&sb->lock);
    lock_init(&sb->tree_lock);
    list_init(&sb->idle);
    sb->buckets = buckets;
    sb->bucket_count = count;
    sb->release = release;
    sb->root = dentry;
    return 0;
}

void super_make_uuid(struct super_block *sb)
{
    sb->has_uuid = host_random(sb->uuid, sizeof(sb->uuid)) == 0;
    sb->uuid[6] = 0x40 | (sb->uuid[6] & 0xf); /* version 4, variant 1: RFC 9562 */
    sb->uuid[8] = 0x80 | (sb->uuid[8] & 0x3f);
}

void tree_lock(struct super_block *sb) __no_lock_analysis
{
    if (!sb->read_only)
        lock_acquire(&sb->tree_lock);
}

void tree_unlock(struct super_block *sb) __no_lock_analysis
{
    if (!sb->read_only)
        lock_release(&sb->tree_lock);
}

static struct list *bucket_of(struct dentry *parent, struct name name)
{
    uint64_t hash = XXH3_64bits_withSeed(name.text, name.size, (uintptr_t)parent);

    return &parent->sb->buckets[hash % parent->sb->bucket_count];
}

static struct dentry *find_locked(struct dentry *parent, struct name name)
    __must_hold(parent->sb->lock)
{
    struct list *bucket = bucket_of(parent, name);
    struct dentry *d;

    list_for_each (d, bucket, bucket) {
        if (d->parent == parent && name_same(dentry_name(d), name))
            return d;
    }
    return NULL;
}

struct dentry *dentry_ref(struct dentry *dentry)
{
    refcount_get(&dentry->refs);
    return dentry;
}

/* A reference on one that stands in its bucket. */
static struct dentry *found_locked(struct dentry *d) __must_hold(d->sb->lock)
{
    if (list_empty(&d->idle_node)) {
        dentry_ref(d);
    } else {
        list_del_init(&d->idle_node);
        d->sb->idle_count--;
        refcount_set(&d->refs, 1);
    }
    return d;
}

/*
 * Nobody uses `d` any more: it becomes idle, if its name leads to it still. Returns which one is to
 * be freed, out of the tree; NULL: none.
 */
static struct dentry *retire_locked(struct dentry *d) __must_hold(d->sb->lock)
{
    struct super_block *sb = d->sb;

    if (sb->idle_limit > 0 && !list_empty(&d->bucket)) {
        list_add(&sb->idle, &d->idle_node);
        if (++sb->idle_count <= sb->idle_limit)
            return NULL;
        d = list_last(&sb->idle, struct dentry, idle_node);
        list_del_init(&d->idle_node);
        sb->idle_count--;
    }
    list_del_init(&d->bucket);
    return d;
}

/* Gives up the last reference, as it seems. Returns the one to give up next: a parent's, or NULL.
 */
static struct dentry *put_last(struct dentry *dentry)
{
    struct super_block *sb = dentry->sb;
    struct dentry *parent, *dead = NULL;

    lock_acquire(&sb->lock);
    if (refcount_put(&dentry->refs))
        dead = retire_locked(dentry);
    lock_release(&sb->lock);
    if (!dead)
        return NULL;
    parent = dead->parent;
    inode_unref(dead->inode);
    free(dead->name);
    free(dead);
    return parent;
}

struct dentry *dentry_unref(struct dentry *dentry)
{
    while (dentry && !refcount_put_unless_last(&dentry->refs))
        dentry = put_last(dentry);
    return NULL;
}

/* The file system goes. */
static void drop_idle(struct super_block *sb)
{
    lock_acquire(&sb->lock);
    sb->idle_limit = 0;
    while (!list_empty(&sb->idle)) {
        struct dentry *d = found_locked(list_first(&sb->idle, struct dentry, idle_node));

        lock_release(&sb->lock);
        dentry_unref(d);
        lock_acquire(&sb->lock);
    }
    lock_release(&sb->lock);
}

struct super_block *super_ref(struct super_block *sb)
{
    refcount_get(&sb->refs);
    return sb;
}

struct super_block *super_unref(struct super_block *sb)
{
    if (sb && refcount_put(&sb->refs)) {
        drop_idle(sb);
        dentry_unref(sb->root);
        free(sb->buckets);
        lock_destroy(&sb->lock);
        lock_destroy(&sb->tree_lock);
        sb->release(sb);
    }
    return NULL;
}

struct dentry *dentry_find(struct dentry *parent, struct name name)
{
    struct dentry *d;

    lock_acquire(&parent->sb->lock);
    d = find_locked(parent, name);
    if (d)
        found_locked(d);
    lock_release(&parent->sb->lock);
    return d;
}

static void set_gone(struct dentry *d)
{
    __atomic_store_n(&d->gone, true, __ATOMIC_RELAXED);
}

/*
 * The name leads elsewhere or nowhere from now on. `d` NULL: it did so before. Returns `d`
 * referenced, to be given up without the lock, since it may be that nobody else uses it.
 */
static struct dentry *leave_locked(struct dentry *d) __must_hold(d->sb->lock)
{
    if (!d)
        return NULL;
    found_locked(d);
    list_del_init(&d->bucket);
    set_gone(d);
    return d;
}

static bool same_object(const struct inode *a, const struct inode *b)
{
    return a->ino == b->ino && a->dev == b->dev && inode_type(a) == inode_type(b);
}

/* The dentry of that name, referenced, if it is the same object's; `inode` is taken over then. */
static struct dentry *reuse(struct dentry *parent, struct name name, struct inode *inode)
{
    struct dentry *d;

    lock_acquire(&parent->sb->lock);
    d = find_locked(parent, name);
    if (d && same_object(d->inode, inode))
        found_locked(d);
    else
        d = NULL;
    lock_release(&parent->sb->lock);
    if (!d)
        return NULL;
    if (d->inode != inode && d->inode->ops->refresh)
        d->inode->ops->refresh(d->inode, inode);
    inode_unref(inode);
    return d;
}

struct dentry *dentry_attach(struct dentry *parent, struct name name, struct inode *inode)
{
    struct super_block *sb = parent->sb;
    struct dentry *d = reuse(parent, name, inode), *old;

    if (d)
        return d;
    d = dentry_new(sb, parent, name, inode);
    if (!d) {
        inode_unref(inode);
        return NULL;
    }
    lock_acquire(&sb->lock);
    old = find_locked(parent, name);
    if (unlikely(old && same_object(old->inode, inode))) {
        /* In a read-only tree somebody else was quicker. */
        struct dentry *ours = d;

        d = found_locked(old);
        old = ours;
    } else {
        old = leave_locked(old);
        list_add(bucket_of(parent, name), &d->bucket);
    }
    lock_release(&sb->lock);
    dentry_unref(old);
    return d;
}

void dentry_detach(struct dentry *parent, struct name name)
{
    struct dentry *d;

    lock_acquire(&parent->sb->lock);
    d = leave_locked(find_locked(parent, name));
    lock_release(&parent->sb->lock);
    dentry_unref(d);
}

void dentry_remove(struct dentry *dentry)
{
    lock_acquire(&dentry->sb->lock);
    list_del_init(&dentry->bucket);
    set_gone(dentry);
    lock_release(&dentry->sb->lock);
}

void dentry_move(struct dentry *dentry, struct dentry *parent, struct name name)
{
    char *text = strndup(name.text, name.size), *old_text = NULL;
    struct dentry *old_parent = NULL, *there;

    lock_acquire(&parent->sb->lock);
    there = find_locked(parent, name);
    there = there != dentry ? leave_locked(there) : NULL;
    list_del_init(&dentry->bucket);
    if (text) {
        old_parent = dentry->parent;
        old_text = dentry->name;
        dentry->parent = dentry_ref(parent);
        dentry->name = text;
        dentry->name_size = (uint32_t)name.size;
        list_add(bucket_of(parent, name), &dentry->bucket);
    } else {
        /* Without memory for its name, whoever stands there loses sight of where that is. */
        set_gone(dentry);
    }
    lock_release(&parent->sb->lock);
    dentry_unref(there);
    dentry_unref(old_parent);
    free(old_text);
}

void dentry_exchange(struct dentry *a, struct dentry *b)
{
    struct dentry *parent = a->parent;
    uint32_t size = a->name_size;
    char *text = a->name;

    lock_acquire(&a->sb->lock);
    list_del_init(&a->bucket);
    list_del_init(&b->bucket);
    a->parent = b->parent;
    a->name = b->name;
    a->name_size = b->name_size;
    b->parent = parent;
    b->name = text;
    b->name_size = size;
    list_add(bucket_of(a->parent, (struct name){a->name, a->name_size}), &a->bucket);
    list_add(bucket_of(b->parent, (struct name){b->name, b->name_size}), &b->bucket);
    lock_release(&a->sb->lock);
}

struct dentry *dentry_unnamed(struct dentry *parent, struct name name, struct inode *inode)
{
    struct dentry *d = dentry_new(parent->sb, parent, name, inode);

    if (!d)
        inode_unref(inode);
    else
        set_gone(d);
    return d;
}

bool dentry_gone(struct dentry *dentry)
{
    return __atomic_load_n(&dentry->gone, __ATOMIC_RELAXED);
}

bool dentry_is_below(struct dentry *dentry, const struct dentry *top)
{
    const struct dentry *at = dentry;

    if (dentry->sb != top->sb)
        return false;
    lock_acquire(&dentry->sb->lock);
    while (at && at != top)
        at = at->parent;
    lock_release(&dentry->sb->lock);
    return at != NULL;
}

struct dentry *dentry_parent(struct dentry *dentry)
{
    struct dentry *parent;

    lock_acquire(&dentry->sb->lock);
    parent = dentry->parent ? dentry_ref(dentry->parent) : NULL;
    lock_release(&dentry->sb->lock);
    return parent;
}

int dentry_put_name(struct dentry *dentry, char *buf, size_t low, size_t *at,
                    struct dentry **ret_parent)
{
    int err = 0;

    lock_acquire(&dentry->sb->lock);
    if (*at < low + dentry->name_size) {
        err = -ENAMETOOLONG;
    } else {
        *at -= dentry->name_size;
        memcpy(buf + *at, dentry->name, dentry->name_size);
        *ret_parent = dentry->parent ? dentry_ref(dentry->parent) : NULL;
    }
    lock_release(&dentry->sb->lock);
    return err;
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
