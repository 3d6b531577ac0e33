/*
 * Noting what changes, for an overlay that is kept: under tree_lock a change notes the objects and
 * names that it touches, and commits them as one batch when it is done. An object is written as it
 * is then, once.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sentry/fs/overlay/internal.h"
#include "sentry/fs/overlay/journal.h"
#include "sentry/vfs/attr/fileattr.h"

#define PIECE_BYTES (1U << 20) /* a batch that grows beyond it ends between two objects */

static bool keeps(const struct overlay *fs)
{
    return fs->journal && !fs->restoring;
}

int ov_begin(struct overlay *fs)
{
    return fs->journal ? ov_journal_ready(fs->journal) : 0;
}

void ov_note(struct ov_inode *ov)
{
    struct overlay *fs = ov->fs;

    if (!keeps(fs) || !list_empty(&ov->note_node))
        return;
    if (!ov->id)
        ov->id = ++fs->last_id;
    inode_ref(&ov->inode);
    list_add_tail(&fs->noted, &ov->note_node);
}

int ov_note_possible(const struct ov_inode *ov)
{
    static const size_t room = OV_PATH_MAX + 1;
    char *path;
    ssize_t n;

    if (!keeps(ov->fs) || !ov->lower)
        return 0;
    path = malloc(room);
    n = path ? dentry_path(ov->lower, path, room) : -ENOMEM;
    free(path);
    return n < 0 ? (int)n : 0;
}

static void put_name(struct ov_buffer *b, const struct ov_inode *dir, const struct ov_entry *entry,
                     uint16_t flags)
{
    struct ov_name_record *r =
        ov_buffer_add(b, OV_NAME, flags, dir->id, sizeof(*r) + entry->named.name.size);

    if (!r)
        return;
    r->node = entry->inode ? entry->inode->id : 0;
    r->name_size = (uint32_t)entry->named.name.size;
    r->type = entry->inode ? IFTODT(inode_mode(&entry->inode->inode)) : entry->type;
    memcpy(r->name, entry->named.name.text, entry->named.name.size);
}

static uint16_t flags_of(const struct ov_entry *entry)
{
    return entry->in_lower ? OV_IN_LOWER : 0;
}

void ov_note_name(struct ov_inode *dir, const struct ov_entry *entry)
{
    if (!keeps(dir->fs))
        return;
    ov_note(dir);
    if (entry->inode)
        ov_note(entry->inode);
    put_name(&dir->fs->changes, dir, entry, flags_of(entry));
}

void ov_note_no_name(struct ov_inode *dir, const struct ov_entry *entry)
{
    if (!keeps(dir->fs))
        return;
    ov_note(dir);
    put_name(&dir->fs->changes, dir, entry, OV_NO_ENTRY);
}

static void put_xattr(struct ov_buffer *b, uint64_t id, const char *name, const void *value,
                      size_t size)
{
    size_t length = strlen(name);
    struct ov_xattr_record *r =
        ov_buffer_add(b, OV_XATTR, value ? 0 : OV_REMOVED, id, sizeof(*r) + length + size);

    if (!r)
        return;
    r->name_size = (uint32_t)length;
    r->value_size = (uint32_t)size;
    memcpy(r->text, name, length);
    if (size > 0)
        memcpy(r->text + length, value, size);
}

void ov_note_xattr(struct ov_inode *ov, const char *name, const void *value, size_t size)
{
    if (!keeps(ov->fs))
        return;
    ov_note(ov);
    put_xattr(&ov->fs->changes, ov->id, name, value, size);
}

int ov_note_copied(struct ov_inode *ov)
{
    struct ov_buffer b = {.bytes = NULL};
    int err;

    if (!keeps(ov->fs))
        return 0;
    ov_buffer_add(&b, OV_COPIED, 0, ov->id, sizeof(struct ov_record));
    err = ov_journal_append(ov->fs->journal, &b);
    ov_buffer_free(&b);
    return err;
}

/* ---- an object as it is ------------------------------------------------------------------------
 */

static void put_xattrs(struct ov_buffer *b, const struct ov_inode *ov)
{
    struct dentry *upper = ov_upper(ov);
    const struct inode_operations *ops = upper->inode->ops;
    ssize_t size = ops->listxattr ? ops->listxattr(upper, true, NULL, 0) : 0;
    char *names = NULL, *value = NULL;

    if (size <= 0)
        return;
    names = malloc((size_t)size + 1);
    value = malloc(OV_XATTR_BYTES);
    if (!names || !value)
        b->failed = true;
    else
        size = ops->listxattr(upper, true, names, (size_t)size);
    if (!b->failed && size > 0)
        names[size] = '\0';
    for (ssize_t at = 0; !b->failed && at < size; at += (ssize_t)strlen(names + at) + 1) {
        ssize_t n = ops->getxattr(upper, names + at, value, OV_XATTR_BYTES);

        if (n >= 0)
            put_xattr(b, ov->id, names + at, value, (size_t)n);
    }
    free(names);
    free(value);
}

static void set_time(struct ov_node_record *r, enum ov_time which, uint64_t sec, uint64_t nsec)
{
    r->sec[which] = (int64_t)sec;
    r->nsec[which] = (uint32_t)nsec;
}

static void put_upper(struct ov_node_record *r, struct dentry *upper)
{
    struct timespec birth = {0, 0};
    struct linux_stat st;

    if (upper->inode->ops->stat(upper, true, &st) < 0)
        return;
    r->mode = st.st_mode;
    r->uid = st.st_uid;
    r->gid = st.st_gid;
    r->rdev = st.st_rdev;
    set_time(r, OV_ATIME, st.st_atime_sec, st.st_atime_nsec);
    set_time(r, OV_MTIME, st.st_mtime_sec, st.st_mtime_nsec);
    set_time(r, OV_CTIME, st.st_ctime_sec, st.st_ctime_nsec);
    if (upper->inode->ops->birth && upper->inode->ops->birth(upper, &birth))
        set_time(r, OV_BTIME, (uint64_t)birth.tv_sec, (uint64_t)birth.tv_nsec);
}

/* FS_IMMUTABLE_FL to FS_NOATIME_FL are four bits side by side. */
#define INODE_FLAGS_SHIFT 4
static_assert(FS_IMMUTABLE_FL << INODE_FLAGS_SHIFT == OV_IMMUTABLE &&
                  FS_APPEND_FL << INODE_FLAGS_SHIFT == OV_APPEND &&
                  FS_NODUMP_FL << INODE_FLAGS_SHIFT == OV_NODUMP &&
                  FS_NOATIME_FL << INODE_FLAGS_SHIFT == OV_NOATIME,
              "flags of objects");

static uint16_t node_flags(const struct ov_inode *ov, bool with_path)
{
    return (uint16_t)((ov_upper(ov) ? OV_HAS_UPPER : 0) | (ov_copied(ov) ? OV_HAS_BYTES : 0) |
                      (inode_flags(&ov->inode) & FILEATTR_MODIFIABLE) << INODE_FLAGS_SHIFT |
                      (ov->kept ? OV_IS_LINKED : 0) | (ov->lower ? 0 : OV_IS_MADE) |
                      (with_path ? OV_HAS_PATH : 0));
}

/* `whole`: as if nothing had been said of it before. */
static int put_node(struct ov_buffer *b, struct ov_inode *ov, bool whole)
{
    struct dentry *upper = ov_upper(ov);
    bool with_path = ov->lower && (whole || !ov->path_told);
    char *text = malloc(OV_PATH_MAX + 1 + PATH_MAX);
    ssize_t path_size = 0, target_size = 0;
    struct ov_node_record *r;

    if (text && with_path)
        path_size = dentry_path(ov->lower, text, OV_PATH_MAX + 1);
    if (text && path_size >= 0 && upper && inode_type(&ov->inode) == S_IFLNK)
        target_size = upper->inode->ops->readlink(upper, text + path_size, PATH_MAX);
    if (!text || path_size < 0 || target_size < 0) {
        free(text);
        return -ENOMEM;
    }
    r = ov_buffer_add(b, OV_NODE, node_flags(ov, with_path), ov->id,
                      sizeof(*r) + (size_t)path_size + (size_t)target_size);
    if (r) {
        r->dev = ov->inode.dev;
        r->ino = ov->inode.ino;
        r->mode = inode_mode(&ov->inode);
        r->uid = ov->inode.uid;
        r->gid = ov->inode.gid;
        r->nlink = ov_nlink(ov);
        r->path_size = (uint32_t)path_size;
        r->target_size = (uint32_t)target_size;
        memcpy(r->text, text, (size_t)(path_size + target_size));
        if (upper)
            put_upper(r, upper);
    }
    free(text);
    if (upper && (whole || !ov->xattrs_told))
        put_xattrs(b, ov);
    ov->path_told = true;
    ov->xattrs_told = ov->xattrs_told || upper;
    return b->failed ? -ENOMEM : 0;
}

/* ---- batches ------------------------------------------------------------------------------------
 */

static void append_changes(struct ov_buffer *b, struct ov_buffer *changes)
{
    for (size_t at = sizeof(struct ov_batch); at < changes->size;) {
        const struct ov_record *from = (const void *)(changes->bytes + at);
        struct ov_record *to = ov_buffer_add(b, from->type, from->flags, from->id, from->size);

        if (!to)
            return;
        memcpy(to, from, from->size);
        at += from->size;
    }
    b->failed |= changes->failed;
    changes->size = 0;
    changes->failed = false;
}

static int dump(void *arg, struct ov_journal *fresh);

void ov_commit(struct overlay *fs)
{
    struct ov_buffer *b = &fs->batch;
    int err = 0;

    if (!keeps(fs) || (list_empty(&fs->noted) && fs->changes.size == 0 && !fs->changes.failed))
        return;
    while (!list_empty(&fs->noted)) {
        struct ov_inode *ov = list_first(&fs->noted, struct ov_inode, note_node);

        list_del_init(&ov->note_node);
        if (put_node(b, ov, false) < 0)
            b->failed = true;
        inode_unref(&ov->inode);
        if (b->size > PIECE_BYTES)
            ov_journal_append(fs->journal, b);
    }
    append_changes(b, &fs->changes);
    ov_journal_append(fs->journal, b);
    b->failed = false;
    if (ov_journal_is_long(fs->journal))
        err = ov_journal_rewrite(fs->journal, dump, fs);
    if (err < 0)
        log_warning("overlay: the journal could not be written anew (%s)", strerror(-err));
}

/* ---- everything anew ---------------------------------------------------------------------------
 */

struct dumper {
    struct ov_journal *fresh;
    struct ov_buffer buffer;
    uint32_t round;
};

static int dump_node(struct dumper *d, struct ov_inode *ov)
{
    int err;

    if (ov->dumped == d->round)
        return 0;
    ov->dumped = d->round;
    if (!ov->id)
        ov->id = ++ov->fs->last_id;
    err = put_node(&d->buffer, ov, true);
    if (!err && d->buffer.size > PIECE_BYTES)
        err = ov_journal_write_locked(d->fresh, &d->buffer);
    return err;
}

static int dump_entry(void *arg, struct ov_inode *dir, const struct ov_entry *entry,
                      const char *path)
{
    struct dumper *d = arg;
    int err = entry->inode ? dump_node(d, entry->inode) : 0;

    if (!err)
        put_name(&d->buffer, dir, entry, flags_of(entry));
    return err;
}

/* Files to which other names below lead, without an entry perhaps. */
static int dump_linked(struct dumper *d, struct overlay *fs)
{
    int err = 0;

    lock_acquire(&fs->links_lock);
    for (int i = 0; i < OV_LINK_BUCKETS && !err; i++) {
        struct ov_inode *ov;

        list_for_each (ov, &fs->links[i], link_node) {
            if (ov->kept && !err)
                err = dump_node(d, ov);
        }
    }
    lock_release(&fs->links_lock);
    return err;
}

static int dump(void *arg, struct ov_journal *fresh)
{
    struct overlay *fs = arg;
    struct dumper d = {.fresh = fresh, .round = ++fs->dump_round};
    struct ov_inode *root = ov_of(fs->sb.root);
    int err = dump_node(&d, root);

    if (!err)
        err = ov_walk_entries(root, dump_entry, &d);
    if (!err)
        err = dump_linked(&d, fs);
    if (!err)
        err = ov_journal_write_locked(fresh, &d.buffer);
    ov_buffer_free(&d.buffer);
    return err;
}

int ov_rewrite_journal(struct overlay *fs)
{
    return ov_journal_rewrite(fs->journal, dump, fs);
}
