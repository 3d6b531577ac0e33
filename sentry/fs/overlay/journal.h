/*
 * The journal's file: batches of records (record.h) at its end, reading it from the beginning, and
 * putting a shorter one in its place.
 */
#ifndef SENTRY_FS_OVERLAY_JOURNAL_H
#define SENTRY_FS_OVERLAY_JOURNAL_H

#include "base/lock.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/overlay/record.h"

struct dentry;
struct file;

/* Records that are to become one batch; the batch's head has its room in front. */
struct ov_buffer {
    uint8_t *bytes;
    size_t size, room;
    bool failed; /* no memory */
};

/* Room for a record of `size` bytes, rounded up, zeroed; NULL: no memory, and `failed`. */
void *ov_buffer_add(struct ov_buffer *b, uint16_t type, uint16_t flags, uint64_t id, size_t size);
void ov_buffer_free(struct ov_buffer *b);

struct ov_journal {
    struct super_block *store; /* owned reference: the host's folder */
    struct lock lock;          /* taken after tree_lock and copy_lock */
    struct file *file;         /* owned; as what follows, under lock */
    uint64_t end;              /* where the next batch goes */
    uint64_t reserved;         /* so far the host has promised room */
    uint64_t number;           /* of the last batch */
    uint64_t short_size;       /* of the journal when it was written anew last */
    bool unsynced;
    bool broken; /* atomic: a write failed, nothing can be kept any more */
};

/* Opens "journal" in `store`'s root, or makes it; a reference on `store` is taken. */
int ov_journal_open(struct super_block *store, struct ov_journal **ret);
void ov_journal_close(struct ov_journal *j);
/* Is there room for a change? -ENOSPC, -EIO. */
int ov_journal_ready(struct ov_journal *j);
/* Writes the buffer's records, if there are any, as one batch, and empties it. -EIO. */
int ov_journal_append(struct ov_journal *j, struct ov_buffer *b);
int ov_journal_sync(struct ov_journal *j);
bool ov_journal_is_long(struct ov_journal *j);

/*
 * A journal that says what `dump` says takes the place of this one; `dump` appends to the new one
 * by ov_journal_write_locked(). Nobody else appends meanwhile. On failure the old one stays.
 */
typedef int (*ov_dump_fn)(void *arg, struct ov_journal *fresh);
int ov_journal_rewrite(struct ov_journal *j, ov_dump_fn dump, void *arg);
int ov_journal_write_locked(struct ov_journal *j, struct ov_buffer *b);

/*
 * Reads batches until there is no whole one, and gives each record to `apply` after its sizes,
 * names and texts were checked. The end of the last batch and its number. -EUCLEAN for a record
 * that makes no sense, -EIO, -ENOMEM, or what `apply` returns.
 */
typedef int (*ov_apply_fn)(void *arg, const struct ov_record *record);
int ov_journal_read(overlay_read_fn read, void *read_arg, ov_apply_fn apply, void *arg,
                    uint64_t *ret_end, uint64_t *ret_number);
/* As overlay_read_fn, of the journal's own file. */
ssize_t ov_journal_file_read(void *journal, void *buf, size_t size, uint64_t offset);

/* One name in the store's folder `dir`: the dentry, referenced; -ENOENT. */
int ov_store_find(struct dentry *dir, const char *name, struct dentry **ret);
int ov_store_make(struct dentry *dir, const char *name, uint32_t mode, struct dentry **ret);
int ov_store_remove(struct dentry *dir, const char *name);

#endif
