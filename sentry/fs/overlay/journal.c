#include "sentry/fs/overlay/journal.h"

#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "sentry/fs/overlay/internal.h"
#include "sentry/mm/uio.h"

#define RESERVE_BYTES (1UL << 20)
#define MARGIN_BYTES  (256UL << 10) /* more than the records of one change take */
#define LONG_BYTES    (16UL << 20)  /* from here on a journal is worth being written anew */
#define JOURNAL_NAME  "journal"
#define FRESH_NAME    "journal.new"

/* ---- records in memory ------------------------------------------------------------------------
 */

void *ov_buffer_add(struct ov_buffer *b, uint16_t type, uint16_t flags, uint64_t id, size_t size)
{
    size_t at = MAX(b->size, sizeof(struct ov_batch));
    struct ov_record *record;

    size = round_up(size, 8);
    if (at + size > b->room) {
        size_t room = 2 * (at + size);
        uint8_t *bytes = realloc(b->bytes, room);

        if (!bytes) {
            b->failed = true;
            return NULL;
        }
        b->bytes = bytes;
        b->room = room;
    }
    record = (struct ov_record *)(b->bytes + at);
    memset(record, 0, size);
    *record = (struct ov_record){.type = type, .flags = flags, .size = (uint32_t)size, .id = id};
    b->size = at + size;
    return record;
}

void ov_buffer_free(struct ov_buffer *b)
{
    free(b->bytes);
    *b = (struct ov_buffer){.bytes = NULL};
}

static uint64_t hash_of(const struct ov_batch *batch, const void *records)
{
    return XXH3_64bits_withSeed(records, batch->size, batch->number * 31 + batch->size);
}

/* ---- files of the store -----------------------------------------------------------------------
 */

int ov_store_find(struct dentry *dir, const char *text, struct dentry **ret)
{
    struct name name = {text, strlen(text)};
    struct inode *inode;
    int found, err = 0;

    tree_lock(dir->sb);
    found = dir->inode->ops->lookup(dir, &name, 1, &inode, &err);
    if (found == 1)
        *ret = dentry_attach(dir, name, inode);
    tree_unlock(dir->sb);
    if (found < 0)
        return found;
    if (found == 0)
        return err ? err : -ENOENT;
    return *ret ? 0 : -ENOMEM;
}

int ov_store_make(struct dentry *dir, const char *text, uint32_t mode, struct dentry **ret)
{
    struct name name = {text, strlen(text)};
    /* Its owner is ours, whoever the program is. */
    const struct inode_make make = {
        .mode = mode, .uid = dir->sb->root->inode->uid, .gid = dir->sb->root->inode->gid};
    struct inode *inode;
    int err;

    tree_lock(dir->sb);
    err = dir->inode->ops->make(dir, name, &make, &inode);
    if (!err) {
        *ret = dentry_attach(dir, name, inode);
        err = *ret ? 0 : -ENOMEM;
    }
    tree_unlock(dir->sb);
    return err;
}

int ov_store_remove(struct dentry *dir, const char *text)
{
    struct dentry *victim;
    int err = ov_store_find(dir, text, &victim);

    if (err < 0)
        return err;
    tree_lock(dir->sb);
    err = dir->inode->ops->remove(dir, victim);
    if (!err)
        dentry_remove(victim);
    tree_unlock(dir->sb);
    dentry_unref(victim);
    return err;
}

static int open_file(struct super_block *store, const char *name, bool fresh, struct file **ret)
{
    struct dentry *dentry;
    int err = fresh ? -ENOENT : ov_store_find(store->root, name, &dentry);

    if (err == -ENOENT)
        err = ov_store_make(store->root, name, S_IFREG | 0600, &dentry);
    if (err < 0)
        return err;
    err = inode_type(dentry->inode) == S_IFREG ? ov_open_half(dentry, O_RDWR, ret) : -EUCLEAN;
    dentry_unref(dentry);
    return err;
}

int ov_journal_open(struct super_block *store, struct ov_journal **ret)
{
    struct ov_journal *j = calloc(1, sizeof(*j));
    int err = j ? open_file(store, JOURNAL_NAME, false, &j->file) : -ENOMEM;

    if (err < 0) {
        free(j);
        return err;
    }
    lock_init(&j->lock);
    j->store = super_ref(store);
    *ret = j;
    return 0;
}

void ov_journal_close(struct ov_journal *j)
{
    if (!j)
        return;
    file_unref(j->file);
    super_unref(j->store);
    lock_destroy(&j->lock);
    free(j);
}

/* ---- writing ------------------------------------------------------------------------------------
 */

int ov_journal_ready(struct ov_journal *j)
{
    struct file *f;
    int err = 0;

    if (__atomic_load_n(&j->broken, __ATOMIC_RELAXED))
        return -EIO;
    lock_acquire(&j->lock);
    f = j->file;
    if (j->end + MARGIN_BYTES > j->reserved) {
        err = f->ops->allocate(f, FALLOC_FL_KEEP_SIZE, j->end, RESERVE_BYTES);
        if (!err)
            j->reserved = j->end + RESERVE_BYTES;
        else if (err == -EOPNOTSUPP)
            err = 0;
    }
    lock_release(&j->lock);
    return err;
}

static int write_all(struct file *f, const void *bytes, size_t size, uint64_t offset)
{
    int64_t pos = (int64_t)offset;
    struct uio uio;

    uio_init_host(&uio, (void *)(uintptr_t)bytes, size);
    while (uio.left > 0) {
        ssize_t n = f->ops->write(f, &uio, &pos);

        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
    }
    return 0;
}

int ov_journal_write_locked(struct ov_journal *j, struct ov_buffer *b)
{
    struct ov_batch *batch = (struct ov_batch *)b->bytes;
    int err;

    if (b->failed)
        return -ENOMEM;
    if (b->size == 0)
        return 0;
    *batch = (struct ov_batch){.magic = OV_BATCH_MAGIC,
                               .number = j->number + 1,
                               .size = b->size - sizeof(struct ov_batch)};
    batch->hash = hash_of(batch, batch + 1);
    err = write_all(j->file, b->bytes, b->size, j->end);
    if (err < 0)
        return err;
    j->number++;
    j->end += b->size;
    j->unsynced = true;
    b->size = 0;
    return 0;
}

int ov_journal_append(struct ov_journal *j, struct ov_buffer *b)
{
    int err = 0;

    if (b->size == 0 && !b->failed)
        return 0;
    lock_acquire(&j->lock);
    err = j->broken ? -EIO : ov_journal_write_locked(j, b);
    if (err < 0 && !j->broken) {
        log_error(
            "overlay: the journal cannot be written (%s): what the program changes from now on "
            "is lost",
            strerror(-err));
        __atomic_store_n(&j->broken, true, __ATOMIC_RELAXED);
    }
    lock_release(&j->lock);
    b->size = 0;
    return err < 0 ? -EIO : 0;
}

int ov_journal_sync(struct ov_journal *j)
{
    int err = 0;

    lock_acquire(&j->lock);
    if (j->broken)
        err = -EIO;
    else if (j->unsynced)
        err = j->file->ops->sync(j->file);
    j->unsynced = err != 0;
    lock_release(&j->lock);
    return err;
}

bool ov_journal_is_long(struct ov_journal *j)
{
    bool is_long;

    lock_acquire(&j->lock);
    is_long = !j->broken && j->end > LONG_BYTES && j->end > 4 * j->short_size;
    lock_release(&j->lock);
    return is_long;
}

/* The new journal, whole and on the disk, gets the old one's name. */
static int take_place(struct ov_journal *j)
{
    struct dentry *root = j->store->root, *fresh, *old = NULL;
    int err = ov_store_find(root, FRESH_NAME, &fresh);

    if (err < 0)
        return err;
    err = ov_store_find(root, JOURNAL_NAME, &old);
    if (!err) {
        tree_lock(j->store);
        err = root->inode->ops->rename(root, fresh, root,
                                       (struct name){JOURNAL_NAME, strlen(JOURNAL_NAME)}, old);
        if (!err)
            dentry_move(fresh, root, (struct name){JOURNAL_NAME, strlen(JOURNAL_NAME)});
        tree_unlock(j->store);
    }
    dentry_unref(old);
    dentry_unref(fresh);
    return err;
}

int ov_journal_rewrite(struct ov_journal *j, ov_dump_fn dump, void *arg)
{
    struct ov_journal fresh = {.store = j->store};
    int err;

    lock_acquire(&j->lock);
    ov_store_remove(j->store->root, FRESH_NAME);
    err = open_file(j->store, FRESH_NAME, true, &fresh.file);
    if (!err)
        err = dump(arg, &fresh);
    if (!err)
        err = fresh.file->ops->sync(fresh.file);
    if (!err)
        err = take_place(j);
    if (!err) {
        struct file *old = j->file;

        j->file = fresh.file;
        fresh.file = old;
        j->end = j->short_size = fresh.end;
        j->number = fresh.number;
        j->reserved = 0;
    }
    file_unref(fresh.file);
    lock_release(&j->lock);
    return err;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

ssize_t ov_journal_file_read(void *journal, void *buf, size_t size, uint64_t offset)
{
    struct ov_journal *j = journal;
    int64_t pos = (int64_t)offset;
    struct uio uio;

    uio_init_host(&uio, buf, size);
    return j->file->ops->read(j->file, &uio, &pos);
}

/* All of it; 1, or 0 when the file ends before. */
static int read_all(overlay_read_fn read, void *arg, void *buf, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = read(arg, (uint8_t *)buf + done, size - done, offset + done);

        if (n == -EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        done += (size_t)n;
    }
    return 1;
}

static bool text_valid(const char *text, size_t size, size_t max)
{
    return size <= max && !memchr(text, '\0', size);
}

static bool name_valid(const char *name, size_t size)
{
    if (size == 0 || !text_valid(name, size, VFS_NAME_MAX) || memchr(name, '/', size))
        return false;
    return name[0] != '.' || (size != 1 && (size != 2 || name[1] != '.'));
}

static bool node_valid(const struct ov_node_record *r)
{
    uint32_t type = r->mode & S_IFMT;

    for (int i = 0; i < OV_TIMES; i++)
        if (r->nsec[i] >= 1000000000)
            return false;
    return (type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO ||
            type == S_IFSOCK || type == S_IFCHR || type == S_IFBLK) &&
           (type == S_IFLNK || r->target_size == 0) &&
           (type != S_IFLNK || !(r->head.flags & OV_HAS_UPPER) || r->target_size > 0) &&
           text_valid(r->text, r->path_size, OV_PATH_MAX) &&
           text_valid(r->text + r->path_size, r->target_size, PATH_MAX - 1);
}

/* `size`: what is left of the batch. */
static bool record_valid(const struct ov_record *record, size_t size)
{
    const struct ov_node_record *node = (const void *)record;
    const struct ov_xattr_record *xattr = (const void *)record;
    const struct ov_name_record *name = (const void *)record;

    if (size < sizeof(*record) || record->size < sizeof(*record) || record->size > size ||
        record->size % 8 || record->id == 0)
        return false;
    switch ((enum ov_record_type)record->type) {
    case OV_NODE:
        return record->size >= sizeof(*node) &&
               round_up(sizeof(*node) + (uint64_t)node->path_size + node->target_size, 8) ==
                   record->size &&
               node_valid(node);
    case OV_XATTR:
        return record->size >= sizeof(*xattr) &&
               round_up(sizeof(*xattr) + (uint64_t)xattr->name_size + xattr->value_size, 8) ==
                   record->size &&
               xattr->name_size > 0 && text_valid(xattr->text, xattr->name_size, VFS_NAME_MAX) &&
               xattr->value_size <= OV_XATTR_BYTES;
    case OV_NAME:
        return record->size >= sizeof(*name) &&
               round_up(sizeof(*name) + (uint64_t)name->name_size, 8) == record->size &&
               name_valid(name->name, name->name_size);
    case OV_COPIED:
        return true;
    default:
        return false;
    }
}

static int apply_all(const uint8_t *bytes, size_t size, ov_apply_fn apply, void *arg)
{
    int err = 0;

    for (size_t at = 0; at < size && !err;) {
        const struct ov_record *record = (const void *)(bytes + at);

        if (!record_valid(record, size - at))
            return -EUCLEAN;
        err = apply(arg, record);
        at += record->size;
    }
    return err;
}

int ov_journal_read(overlay_read_fn read, void *read_arg, ov_apply_fn apply, void *arg,
                    uint64_t *ret_end, uint64_t *ret_number)
{
    uint64_t at = 0, number = 0;
    uint8_t *bytes = NULL;
    size_t room = 0;
    int r;

    for (;;) {
        struct ov_batch batch;

        r = read_all(read, read_arg, &batch, sizeof(batch), at);
        if (r <= 0 || batch.magic != OV_BATCH_MAGIC || batch.number != number + 1 ||
            batch.size > OV_BATCH_MAX)
            break;
        if (batch.size > room) {
            free(bytes);
            room = batch.size;
            bytes = malloc(room);
            r = bytes ? r : -ENOMEM;
        }
        if (r > 0)
            r = read_all(read, read_arg, bytes, batch.size, at + sizeof(batch));
        if (r <= 0 || hash_of(&batch, bytes) != batch.hash)
            break;
        r = apply_all(bytes, batch.size, apply, arg);
        if (r < 0)
            break;
        at += sizeof(batch) + batch.size;
        number++;
    }
    free(bytes);
    if (r < 0)
        return r;
    *ret_end = at;
    *ret_number = number;
    return 0;
}
