/* Objects of the overlay: their life, and how a lower file with several names stays one. */
#include <errno.h>
#include <stdlib.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/vfs/path/special.h"

static struct list *bucket_of(struct overlay *fs, uint64_t dev, uint64_t ino)
{
    return &fs->links[(ino ^ (ino >> 16) ^ dev) % OV_LINK_BUCKETS];
}

/* The living object of that lower identity, referenced; NULL. */
static struct ov_inode *link_find(struct overlay *fs, uint64_t dev, uint64_t ino)
{
    struct list *bucket = bucket_of(fs, dev, ino);
    struct ov_inode *ov, *found = NULL;

    lock_acquire(&fs->links_lock);
    list_for_each (ov, bucket, link_node) {
        if (ov->inode.ino == ino && ov->inode.dev == dev &&
            refcount_get_unless_zero(&ov->inode.refs)) {
            found = ov;
            break;
        }
    }
    lock_release(&fs->links_lock);
    return found;
}

void ov_link_enter(struct ov_inode *ov)
{
    struct overlay *fs = ov->fs;

    lock_acquire(&fs->links_lock);
    if (list_empty(&ov->link_node))
        list_add(bucket_of(fs, ov->inode.dev, ov->inode.ino), &ov->link_node);
    lock_release(&fs->links_lock);
}

static struct ov_inode *ov_new(struct overlay *fs, uint32_t mode, uint64_t dev, uint64_t ino)
{
    struct ov_inode *ov = calloc(1, sizeof(*ov));

    if (!ov)
        return NULL;
    inode_init(&ov->inode, &ov_operations, mode, dev, ino);
    ov->fs = fs;
    lock_init(&ov->copy_lock);
    list_init(&ov->link_node);
    list_init(&ov->note_node);
    nametable_init(&ov->dir.entries, 1);
    return ov;
}

static void set_ids(struct ov_inode *ov, uint32_t mode, uint32_t uid, uint32_t gid)
{
    if (inode_mode(&ov->inode) != mode)
        __atomic_store_n(&ov->inode.mode, mode, __ATOMIC_RELAXED);
    __atomic_store_n(&ov->inode.uid, uid, __ATOMIC_RELAXED);
    __atomic_store_n(&ov->inode.gid, gid, __ATOMIC_RELAXED);
}

struct ov_inode *ov_inode_of_lower(struct overlay *fs, struct dentry *lower)
{
    struct ov_inode *ov = NULL;
    struct linux_stat st;
    bool linked;

    if (lower->inode->ops->stat(lower, true, &st) < 0) {
        dentry_unref(lower);
        return NULL;
    }
    linked = !S_ISDIR(st.st_mode) && st.st_nlink > 1;
    if (linked || (S_ISREG(st.st_mode) && __atomic_load_n(&fs->mapped_count, __ATOMIC_RELAXED)))
        ov = link_find(fs, st.st_dev, st.st_ino);
    /* A file with one name that has another one by now is looked at by its new name. */
    if (ov && !linked && ov->lower != lower && !ov_upper(ov)) {
        inode_unref(&ov->inode);
        ov = NULL;
    }
    if (ov) {
        dentry_unref(lower);
        return ov;
    }
    ov = ov_new(fs, st.st_mode, st.st_dev, st.st_ino);
    if (!ov) {
        dentry_unref(lower);
        return NULL;
    }
    set_ids(ov, st.st_mode, st.st_uid, st.st_gid);
    ov->inode.flags = inode_flags(lower->inode);
    ov->lower = lower;
    ov->nlink = (uint32_t)MIN(st.st_nlink, UINT32_MAX);
    if (linked)
        ov_link_enter(ov);
    return ov;
}

struct ov_inode *ov_inode_made(struct overlay *fs, struct dentry *upper, uint64_t dev)
{
    uint64_t ino = OV_FIRST_INO + __atomic_add_fetch(&fs->last_ino, 1, __ATOMIC_RELAXED);
    struct ov_inode *ov = ov_new(fs, inode_mode(upper->inode), dev, ino);

    if (!ov) {
        dentry_unref(upper);
        return NULL;
    }
    ov->upper = upper;
    ov->copied = true;
    ov->counted = true;
    ov_follow_upper(ov);
    return ov;
}

struct ov_inode *ov_inode_restored(struct overlay *fs, uint32_t mode, uint64_t dev, uint64_t ino)
{
    return ov_new(fs, mode, dev, ino);
}

void ov_restored(struct ov_inode *ov, bool linked)
{
    ov->counted = ov_upper(ov) != NULL;
    if (linked && list_empty(&ov->link_node) && !ov_is_dir(ov))
        ov_link_enter(ov);
    if (!list_empty(&ov->link_node) && ov->counted && !ov->kept && ov_nlink(ov) > 0) {
        ov->kept = true;
        inode_ref(&ov->inode);
    }
}

void ov_follow_upper(struct ov_inode *ov)
{
    const struct inode *upper = ov_upper(ov)->inode;

    __atomic_store_n(&ov->inode.flags, inode_flags(upper), __ATOMIC_RELAXED);
    set_ids(ov, inode_mode(upper), __atomic_load_n(&upper->uid, __ATOMIC_RELAXED),
            __atomic_load_n(&upper->gid, __ATOMIC_RELAXED));
}

bool ov_follow_lower(struct ov_inode *ov)
{
    const struct inode *lower = ov->lower->inode;
    struct linux_stat st;

    if (lower->ops->stat(ov->lower, true, &st) < 0)
        return false;
    /* By another name it may be another object of ours already. */
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && list_empty(&ov->link_node))
        return false;
    set_ids(ov, inode_type(&ov->inode) | (st.st_mode & ~(uint32_t)S_IFMT), st.st_uid, st.st_gid);
    __atomic_store_n(&ov->inode.flags, inode_flags(lower), __ATOMIC_RELAXED);
    if (!ov->counted)
        __atomic_store_n(&ov->nlink, (uint32_t)MIN(st.st_nlink, UINT32_MAX), __ATOMIC_RELAXED);
    return true;
}

void ov_refresh(struct inode *inode, struct inode *fresh)
{
    struct ov_inode *ov = container_of(inode, struct ov_inode, inode);

    if (inode == fresh || ov_upper(ov))
        return;
    set_ids(ov, inode_mode(fresh), fresh->uid, fresh->gid);
    __atomic_store_n(&ov->inode.flags, fresh->flags, __ATOMIC_RELAXED);
    if (!ov->counted)
        __atomic_store_n(&ov->nlink, container_of(fresh, struct ov_inode, inode)->nlink,
                         __ATOMIC_RELAXED);
}

void ov_count(struct ov_inode *ov)
{
    if (ov->counted)
        return;
    ov->counted = true;
    ov_note(ov);
    if (!ov_is_dir(ov) && ov_nlink(ov) > 1 && !list_empty(&ov->link_node)) {
        ov->kept = true;
        inode_ref(&ov->inode);
    }
}

void ov_change_nlink(struct ov_inode *ov, int by)
{
    uint32_t now = __atomic_add_fetch(&ov->nlink, (uint32_t)by, __ATOMIC_RELAXED);

    ov_note(ov);
    if (now == 0 && ov->kept) {
        ov->kept = false;
        inode_unref(&ov->inode);
    }
}

void ov_links_clear(struct overlay *fs)
{
    for (int i = 0; i < OV_LINK_BUCKETS; i++) {
        for (;;) {
            struct ov_inode *ov;

            lock_acquire(&fs->links_lock);
            ov = list_empty(&fs->links[i]) ? NULL
                                           : list_first(&fs->links[i], struct ov_inode, link_node);
            lock_release(&fs->links_lock);
            if (!ov)
                break;
            /* Nothing else is left of the tree: all that are still here are kept. */
            BUG_ON(!ov->kept);
            ov->kept = false;
            inode_unref(&ov->inode);
        }
    }
}

void ov_inode_release(struct inode *inode)
{
    struct ov_inode *ov = container_of(inode, struct ov_inode, inode);

    if (!list_empty(&ov->link_node)) {
        lock_acquire(&ov->fs->links_lock);
        list_del_init(&ov->link_node);
        lock_release(&ov->fs->links_lock);
    }
    ov_dir_clear(ov);
    if (ov->counted && ov_nlink(ov) == 0)
        ov_bytes_remove(ov);
    vfs_fifo_release(inode);
    ov_pieces_free(ov);
    dentry_unref(ov->lower);
    dentry_unref(ov->upper);
    lock_destroy(&ov->copy_lock);
    free(ov);
}
