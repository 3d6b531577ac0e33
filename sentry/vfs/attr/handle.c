/*
 * The objects that handles were given out for: a hash table by identity, and a list by age. An
 * entry keeps a dentry of its object, so the way to it stays known. One lock, taken for moments;
 * dentries are given back outside of it.
 */
#include "sentry/vfs/attr/handle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/vfs/mount/mount.h"

#define BUCKETS 4096

/* Types of handles (include/linux/exportfs.h); the last is ours. */
#define TYPE_INO_GEN   1
#define TYPE_INO64_GEN 0x81
#define TYPE_OWN       0xc1

struct entry {
    struct list hashed, aged;
    const struct super_block *sb;
    uint64_t dev, ino;
    struct dentry *dentry; /* owned */
};

static struct lock lock = LOCK_INIT;
static struct list buckets[BUCKETS] __guarded_by(lock);
static struct list by_age __guarded_by(lock) = LIST_INIT(by_age); /* the oldest first */
static uint32_t count;                                            /* atomic; changed under lock */
static uint32_t secret __guarded_by(lock);

static struct list *bucket_of(uint64_t dev, uint64_t ino) __must_hold(lock)
{
    struct list *bucket = &buckets[(ino * 0x9e3779b97f4a7c15UL + dev) >> 32 & (BUCKETS - 1)];

    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

static struct entry *find_locked(const struct super_block *sb, uint64_t dev, uint64_t ino)
    __must_hold(lock)
{
    struct list *bucket = bucket_of(dev, ino);
    struct entry *e;

    list_for_each (e, bucket, hashed) {
        if (e->sb == sb && e->dev == dev && e->ino == ino)
            return e;
    }
    return NULL;
}

/* Out of the table, to be freed by entry_free(). */
static void take_out_locked(struct entry *e) __must_hold(lock)
{
    list_del_init(&e->hashed);
    list_del_init(&e->aged);
    __atomic_sub_fetch(&count, 1, __ATOMIC_RELAXED);
}

static void entry_free(struct entry *e)
{
    if (!e)
        return;
    dentry_unref(e->dentry);
    free(e);
}

/* ---- giving out ----------------------------------------------------------------------------- */

static int remember(struct dentry *dentry)
{
    struct entry *fresh = calloc(1, sizeof(*fresh)), *e, *oldest = NULL;
    struct inode *inode = dentry->inode;
    struct dentry *old = NULL;

    if (!fresh)
        return -ENOMEM;
    lock_acquire(&lock);
    e = find_locked(dentry->sb, inode->dev, inode->ino);
    if (e && e->dentry != dentry && dentry_gone(e->dentry)) {
        old = e->dentry;
        e->dentry = dentry_ref(dentry);
    } else if (!e) {
        *fresh = (struct entry){.sb = dentry->sb, .dev = inode->dev, .ino = inode->ino};
        fresh->dentry = dentry_ref(dentry);
        if (count >= HANDLES_MAX) {
            oldest = list_first(&by_age, struct entry, aged);
            take_out_locked(oldest);
        }
        list_add(bucket_of(inode->dev, inode->ino), &fresh->hashed);
        list_add_tail(&by_age, &fresh->aged);
        __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
        fresh = NULL;
    }
    lock_release(&lock);
    free(fresh);
    dentry_unref(old);
    entry_free(oldest);
    return 0;
}

/* No number of an object that was not told by somebody who could see it. */
static uint32_t generation(uint64_t dev, uint64_t ino)
{
    uint64_t mixed;

    lock_acquire(&lock);
    while (secret == 0) {
        if (host_random(&secret, sizeof(secret)) < 0)
            secret = 1;
    }
    mixed = (ino ^ (uint64_t)secret << 32) * 0x9e3779b97f4a7c15UL + dev;
    lock_release(&lock);
    return (uint32_t)(mixed >> 32) ^ (uint32_t)mixed;
}

static void put(struct handle *h, const void *value, size_t size)
{
    memcpy(h->bytes + h->size, value, size);
    h->size += (uint32_t)size;
}

void handle_of_numbers(uint64_t ino, struct handle *ret)
{
    const uint32_t none = 0;

    *ret = (struct handle){.type = TYPE_INO64_GEN};
    put(ret, &ino, sizeof(ino));
    put(ret, &none, sizeof(none));
}

bool handle_of_inode(const struct inode *inode, struct handle *ret)
{
    uint32_t gen = generation(inode->dev, inode->ino);

    if (inode->ops->handles == HANDLES_NONE)
        return false;
    *ret = (struct handle){.type = TYPE_INO_GEN};
    put(ret, &gen, sizeof(gen));
    put(ret, &inode->ino, sizeof(inode->ino));
    /* Where the file systems of several devices are one tree, the number alone says too little. */
    if (inode->ops->handles == HANDLES_CONNECTABLE) {
        ret->type = TYPE_OWN;
        put(ret, &inode->dev, sizeof(inode->dev));
    }
    return true;
}

int handle_encode(struct dentry *dentry, enum handle_wish wish, struct handle *ret)
{
    const struct inode *inode = dentry->inode;
    struct linux_stat st;

    if (inode->ops->handles == HANDLES_NONE && wish == HANDLE_ID) {
        handle_of_numbers(inode->ino, ret);
        return 0;
    }
    if (wish == HANDLE_PLACED && inode->ops->handles != HANDLES_CONNECTABLE)
        return -EOPNOTSUPP;
    if (!handle_of_inode(inode, ret))
        return -EOPNOTSUPP;
    if (wish != HANDLE_ID && inode->ops->stat(dentry, false, &st) == 0 && st.st_nlink > 0)
        return remember(dentry);
    return 0;
}

/* ---- finding again -------------------------------------------------------------------------- */

int handle_decode(const struct path *at, const struct handle *handle, bool placed, struct path *ret)
{
    const struct super_block *sb = at->dentry->sb;
    uint64_t ino, dev = sb->dev;
    struct dentry *dentry = NULL;
    struct entry *e;
    uint32_t gen;

    const uint8_t support = at->dentry->inode->ops->handles;

    if (support == HANDLES_NONE || handle->size < sizeof(gen) + sizeof(ino))
        return -ESTALE;
    memcpy(&gen, handle->bytes, sizeof(gen));
    memcpy(&ino, handle->bytes + sizeof(gen), sizeof(ino));
    if (support == HANDLES_CONNECTABLE) {
        if (handle->type != TYPE_OWN || handle->size < sizeof(gen) + sizeof(ino) + sizeof(dev))
            return -ESTALE;
        memcpy(&dev, handle->bytes + sizeof(gen) + sizeof(ino), sizeof(dev));
    }
    if (gen != generation(dev, ino))
        return -ESTALE;
    lock_acquire(&lock);
    e = find_locked(sb, dev, ino);
    if (e)
        dentry = dentry_ref(e->dentry);
    lock_release(&lock);
    if (!dentry || (placed && dentry_gone(dentry))) {
        dentry_unref(dentry);
        return -ESTALE;
    }
    *ret = (struct path){mount_ref(at->mount), dentry};
    return 0;
}

/* ---- forgetting ----------------------------------------------------------------------------- */

void handles_removed(struct dentry *dentry)
{
    const struct inode *inode = dentry->inode;
    struct dentry *other = NULL;
    struct entry *e, *gone = NULL;
    struct linux_stat st;
    char name[24];

    if (__atomic_load_n(&count, __ATOMIC_RELAXED) == 0)
        return;
    /* It may have more names; which they are is not known until somebody comes by. */
    if (inode_type(inode) != S_IFDIR && inode->ops->stat(dentry, false, &st) == 0 &&
        st.st_nlink > 0) {
        snprintf(name, sizeof(name), "#%lu", inode->ino);
        other = dentry_unnamed(dentry->sb->root, (struct name){name, strlen(name)},
                               inode_ref(dentry->inode));
    }
    lock_acquire(&lock);
    e = find_locked(dentry->sb, inode->dev, inode->ino);
    if (e && !other) {
        take_out_locked(e);
        gone = e;
    } else if (e && e->dentry == dentry) {
        struct dentry *old = e->dentry;

        e->dentry = other;
        other = old;
    }
    lock_release(&lock);
    dentry_unref(other);
    entry_free(gone);
}

void handles_super_gone(const struct super_block *sb)
{
    struct list gone = LIST_INIT(gone);
    struct entry *e, *tmp;

    if (__atomic_load_n(&count, __ATOMIC_RELAXED) == 0)
        return;
    lock_acquire(&lock);
    list_for_each_safe (e, tmp, &by_age, aged) {
        if (e->sb == sb) {
            take_out_locked(e);
            list_add_tail(&gone, &e->aged);
        }
    }
    lock_release(&lock);
    while (!list_empty(&gone)) {
        e = list_first(&gone, struct entry, aged);
        list_del_init(&e->aged);
        entry_free(e);
    }
}
