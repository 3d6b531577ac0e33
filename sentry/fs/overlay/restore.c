/*
 * An overlay that was kept comes back: the journal's records are applied one after the other, so
 * that the tree grows as it grew. Objects are found by their numbers meanwhile; those that no name
 * leads to in the end go, and so do bytes that are no object's.
 */
#include <errno.h>
#include <linux/fs.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/fs/overlay/journal.h"

#define BUCKETS 4096

struct known {
    struct known *next;
    struct ov_inode *ov; /* owned reference */
};

struct restorer {
    struct overlay *fs;
    struct known *buckets[BUCKETS];
    uint64_t last_id;
};

static struct ov_inode *find(struct restorer *r, uint64_t id)
{
    for (struct known *k = r->buckets[id % BUCKETS]; k; k = k->next)
        if (k->ov->id == id)
            return k->ov;
    return NULL;
}

static int enter(struct restorer *r, struct ov_inode *ov)
{
    struct known *k = malloc(sizeof(*k));

    if (!k)
        return -ENOMEM;
    *k = (struct known){.next = r->buckets[ov->id % BUCKETS], .ov = ov};
    r->buckets[ov->id % BUCKETS] = k;
    r->last_id = MAX(r->last_id, ov->id);
    return 0;
}

static void forget_all(struct restorer *r)
{
    for (int i = 0; i < BUCKETS; i++) {
        while (r->buckets[i]) {
            struct known *k = r->buckets[i];

            r->buckets[i] = k->next;
            inode_unref(&k->ov->inode);
            free(k);
        }
    }
}

/* ---- objects ------------------------------------------------------------------------------------
 */

static int make_upper(struct ov_inode *ov, const struct ov_node_record *node)
{
    struct inode_make make = {
        .mode = node->mode, .uid = node->uid, .gid = node->gid, .rdev = node->rdev};
    struct dentry *upper;
    char target[PATH_MAX];
    int err;

    if (S_ISLNK(node->mode)) {
        memcpy(target, node->text + node->path_size, node->target_size);
        target[node->target_size] = '\0';
        make.target = target;
    }
    err = ov_make_upper(ov->fs, &make, &upper);
    if (!err)
        __atomic_store_n(&ov->upper, upper, __ATOMIC_RELEASE);
    return err;
}

static struct timespec time_of(const struct ov_node_record *node, enum ov_time which)
{
    return (struct timespec){node->sec[which], node->nsec[which]};
}

static int set_attributes(struct ov_inode *ov, const struct ov_node_record *node)
{
    const struct inode_attr attr = {
        .mask = ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME | ATTR_MTIME | ATTR_CTIME | ATTR_BTIME,
        .mode = node->mode & 07777,
        .uid = node->uid,
        .gid = node->gid,
        .atime = time_of(node, OV_ATIME),
        .mtime = time_of(node, OV_MTIME),
        .ctime = time_of(node, OV_CTIME),
        .btime = time_of(node, OV_BTIME),
    };
    struct dentry *upper = ov_upper(ov);
    uint32_t flags = (node->head.flags & OV_IMMUTABLE ? FS_IMMUTABLE_FL : 0) |
                     (node->head.flags & OV_APPEND ? FS_APPEND_FL : 0) |
                     (node->head.flags & OV_NODUMP ? FS_NODUMP_FL : 0) |
                     (node->head.flags & OV_NOATIME ? FS_NOATIME_FL : 0);
    int err = 0;

    if (inode_flags(upper->inode) != flags)
        err = upper->inode->ops->set_flags(upper, flags);
    if (!err)
        err = upper->inode->ops->setattr(upper, &attr);

    ov_follow_upper(ov);
    return err;
}

static int new_node(struct restorer *r, const struct ov_node_record *node, struct ov_inode **ret)
{
    struct ov_inode *ov;
    struct dentry *lower;
    int err = ov_find_below(r->fs, node, &lower);

    if (err < 0)
        return err;
    ov = ov_inode_restored(r->fs, node->mode, node->dev, node->ino);
    if (!ov) {
        dentry_unref(lower);
        return -ENOMEM;
    }
    ov->lower = lower;
    ov->id = node->head.id;
    ov->path_told = ov->xattrs_told = true;
    err = enter(r, ov);
    if (err < 0)
        inode_unref(&ov->inode);
    else
        *ret = ov;
    return err;
}

static int apply_node(struct restorer *r, const struct ov_node_record *node)
{
    uint16_t flags = node->head.flags;
    struct ov_inode *ov = find(r, node->head.id);
    int err = 0;

    if (!ov && node->head.id == OV_ROOT_NODE)
        return -EUCLEAN;
    if (!ov)
        err = new_node(r, node, &ov);
    if (err < 0)
        return err;
    if (inode_type(&ov->inode) != (node->mode & S_IFMT))
        return -EUCLEAN;
    /* What was below and is gone has what was known of it. */
    if (!ov_upper(ov) && ((flags & OV_HAS_UPPER) || !ov->lower))
        err = make_upper(ov, node);
    if (!err && ov_upper(ov))
        err = set_attributes(ov, node);
    if (err < 0)
        return err;
    ov->nlink = node->nlink;
    if (flags & OV_HAS_BYTES)
        ov->copied = true;
    ov_restored(ov, flags & OV_IS_LINKED);
    if (ov->inode.ino >= OV_FIRST_INO)
        r->fs->last_ino = MAX(r->fs->last_ino, ov->inode.ino - OV_FIRST_INO);
    return 0;
}

static int apply_xattr(struct restorer *r, const struct ov_xattr_record *x)
{
    struct ov_inode *ov = find(r, x->head.id);
    struct dentry *upper = ov ? ov_upper(ov) : NULL;
    char name[VFS_NAME_MAX + 1];
    bool removed = x->head.flags & OV_REMOVED;
    struct inode_attr attr = {.mask = ATTR_CTIME};
    struct linux_stat st;
    int err;

    if (!upper || !upper->inode->ops->setxattr || upper->inode->ops->stat(upper, true, &st) < 0)
        return -EUCLEAN;
    memcpy(name, x->text, x->name_size);
    name[x->name_size] = '\0';
    err = upper->inode->ops->setxattr(upper, name, removed ? NULL : x->text + x->name_size,
                                      removed ? 0 : x->value_size, 0);
    if (err < 0)
        return err == -ENODATA ? 0 : err;
    attr.ctime = (struct timespec){(time_t)st.st_ctime_sec, (long)st.st_ctime_nsec};
    return upper->inode->ops->setattr(upper, &attr);
}

/* ---- names --------------------------------------------------------------------------------------
 */

static int apply_name(struct restorer *r, const struct ov_name_record *record)
{
    struct ov_inode *dir = find(r, record->head.id);
    struct ov_inode *ov = record->node ? find(r, record->node) : NULL;
    const struct name name = {record->name, record->name_size};
    struct ov_entry *entry, *spare;
    bool in_lower = record->head.flags & OV_IN_LOWER;
    int err;

    if (!dir || !ov_is_dir(dir) || (record->node && (!ov || ov->id == OV_ROOT_NODE)))
        return -EUCLEAN;
    entry = ov_entry_find(dir, name);
    if (record->head.flags & OV_NO_ENTRY) {
        if (entry) {
            entry->in_lower = false;
            ov = ov_entry_clear(dir, entry);
            if (ov)
                inode_unref(&ov->inode);
        }
        return 0;
    }
    err = ov_entry_new(dir, name, &spare);
    if (err < 0)
        return err;
    if (ov)
        inode_ref(&ov->inode);
    ov_entry_set(dir, spare, ov, in_lower);
    entry = ov_entry_find(dir, name);
    entry->in_lower = in_lower;
    entry->type = (uint8_t)record->type;
    return 0;
}

static int apply(void *arg, const struct ov_record *record)
{
    struct restorer *r = arg;
    struct ov_inode *ov;

    switch ((enum ov_record_type)record->type) {
    case OV_NODE:
        return apply_node(r, (const void *)record);
    case OV_XATTR:
        return apply_xattr(r, (const void *)record);
    case OV_NAME:
        return apply_name(r, (const void *)record);
    case OV_COPIED:
        ov = find(r, record->id);
        if (!ov || inode_type(&ov->inode) != S_IFREG || !ov_upper(ov))
            return -EUCLEAN;
        ov->copied = true;
        return 0;
    default:
        return -EUCLEAN;
    }
}

/* Two names for one directory make a tree that does not end. */
static int seen_once(void *arg, struct ov_inode *dir, const struct ov_entry *entry,
                     const char *path)
{
    const uint32_t *round = arg;

    if (!entry->inode || !ov_is_dir(entry->inode))
        return 0;
    if (entry->inode->dumped == *round)
        return -EUCLEAN;
    entry->inode->dumped = *round;
    return 0;
}

/* Directories that nothing leads to might lead to each other, and so stay for ever. */
static void break_circles(struct restorer *r, uint32_t round)
{
    for (int i = 0; i < BUCKETS; i++)
        for (struct known *k = r->buckets[i]; k; k = k->next)
            if (k->ov->dumped != round && k->ov->id != OV_ROOT_NODE && ov_is_dir(k->ov))
                ov_dir_clear(k->ov);
}

/* A file whose bytes were below and are gone with it: what is left is an empty one. */
static int mend(struct restorer *r)
{
    int err = 0;

    for (int i = 0; i < BUCKETS; i++) {
        for (struct known *k = r->buckets[i]; k && !err; k = k->next) {
            struct ov_inode *ov = k->ov;

            if (inode_type(&ov->inode) != S_IFREG || ov->lower || ov->copied)
                continue;
            err = r->fs->data ? ov_bytes_make(ov) : 0;
            ov->copied = true;
        }
    }
    return err;
}

static int restore(struct restorer *r, overlay_read_fn read, void *arg, uint64_t *ret_end,
                   uint64_t *ret_number)
{
    struct overlay *fs = r->fs;
    struct ov_inode *root = ov_of(fs->sb.root);
    uint32_t round = ++fs->dump_round;
    int err;

    root->id = OV_ROOT_NODE;
    root->path_told = true;
    inode_ref(&root->inode);
    err = enter(r, root);
    if (err < 0) {
        inode_unref(&root->inode);
        return err;
    }
    fs->restoring = true;
    tree_lock(&fs->sb);
    err = ov_journal_read(read, arg, apply, r, ret_end, ret_number);
    if (!err)
        err = mend(r);
    if (!err)
        err = ov_walk_entries(root, seen_once, &round);
    break_circles(r, err ? fs->dump_round + 1 : round);
    tree_unlock(&fs->sb);
    fs->restoring = false;
    fs->last_id = r->last_id;
    return err;
}

int overlay_imagine(struct super_block *sb, overlay_read_fn read, void *arg)
{
    struct restorer r = {.fs = overlay_of(sb)};
    uint64_t end, number;
    int err = restore(&r, read, arg, &end, &number);

    forget_all(&r);
    return err;
}

static bool has_bytes(void *arg, uint64_t id)
{
    const struct ov_inode *ov = find(arg, id);

    return ov && ov->copied && refcount_read(&ov->inode.refs) > 1;
}

static int open_data(struct overlay *fs, struct super_block *store)
{
    int err = ov_store_find(store->root, "data", &fs->data);

    if (err == -ENOENT)
        err = ov_store_make(store->root, "data", S_IFDIR | 0700, &fs->data);
    if (!err && inode_type(fs->data->inode) != S_IFDIR)
        err = -ENOTDIR;
    return err;
}

int ov_keep_in(struct overlay *fs, struct super_block *store)
{
    struct restorer r = {.fs = fs};
    struct ov_journal *j;
    int err = open_data(fs, store);

    if (!err)
        err = ov_journal_open(store, &j);
    if (err < 0)
        return err;
    fs->journal = j;
    err = restore(&r, ov_journal_file_read, j, &j->end, &j->number);
    if (!err)
        err = ov_bytes_sweep(fs->data, has_bytes, &r);
    forget_all(&r);
    if (!err)
        err = ov_rewrite_journal(fs);
    return err;
}
