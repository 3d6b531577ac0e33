/*
 * Inside the overlay: one tree of names over two file systems.
 *
 *   struct ov_inode   an object, whatever becomes of it: identity, number of names, and where its
 *                     two halves are:
 *                       lower only               as the tree below has it
 *                       lower + upper            owner, mode, times, xattrs: upper; bytes: lower
 *                       lower + upper, pieces    bytes: piece by piece (a big file: copydata.c)
 *                       lower + upper, copied    all of it upper (a directory never gets there)
 *                       upper only               made here
 *   struct ov_entry   a name whose meaning is kept here: an object, or nothing (a whiteout)
 *
 * The upper file system holds objects without names. Names are kept here: a directory shows its
 * entries, and below them the names of its lower directory that no entry hides. So renaming a
 * directory moves one entry, wherever its bytes and its lower names are.
 *
 * An object that differs from what is below is pinned: an entry leads to it from its directory, and
 * so on up to the root. Only such directories have entries, so everything below a directory without
 * is found by asking the lower file system once, however many names there are.
 *
 * A file with several names below is one object: `links` finds it by its lower identity.
 *
 * Locks: sb.tree_lock guards entries, nlink, `counted`, and that `upper` is set once. A file's
 * copy_lock is held while its bytes are copied up; no user memory is touched under it, and
 * tree_lock is taken before it.
 */
#ifndef SENTRY_FS_OVERLAY_INTERNAL_H
#define SENTRY_FS_OVERLAY_INTERNAL_H

#include "sentry/fs/nametable.h"
#include "sentry/fs/overlay/journal.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

#define OV_LINK_BUCKETS 256
#define OV_IDLE_NAMES   1024         /* about 1 KiB each, with all that is below */
#define OV_RECENT       64           /* files of changed bytes that stay at hand */
#define OV_XATTR_BYTES  (64UL << 10) /* XATTR_SIZE_MAX, XATTR_LIST_MAX */
/* What is made here gets numbers that no usual file system gives, and that are exact as doubles. */
#define OV_FIRST_INO (1UL << 52)

struct overlay {
    struct super_block sb;
    struct super_block *lower, *upper; /* owned references */
    uint64_t entry_limit;
    uint64_t entry_count; /* atomic */
    uint64_t last_ino;    /* atomic */
    struct lock links_lock;
    struct list links[OV_LINK_BUCKETS] __guarded_by(links_lock); /* of struct ov_inode */
    uint64_t mapped_count; /* atomic: files that somebody has mapped by pages.c */
    uint32_t pieces_count; /* atomic: files that are copied piece by piece */

    /* Of one that is kept in a folder of the host's (note.c, bytes.c): */
    struct ov_journal *journal; /* owned; NULL: it is not */
    struct dentry *data;        /* owned: where the bytes are */
    struct list noted;          /* under tree_lock: what is to be written, each referenced */
    struct ov_buffer changes;   /* likewise: of names and attributes */
    struct ov_buffer batch;     /* likewise */
    uint64_t last_id;           /* likewise */
    uint32_t dump_round;        /* likewise */
    bool restoring;
    bool imagined; /* lower is not looked at: what was kept is only shown */
    struct lock recent_lock;
    struct dentry *recent[OV_RECENT] __guarded_by(recent_lock); /* owned */
};

struct ov_entry {
    struct named named;
    struct ov_inode *inode; /* owned reference; NULL: there is no such name */
    bool in_lower;          /* the lower directory has that name, too */
    uint8_t type;           /* DT_* of what a whiteout stands for */
};

struct ov_dir {
    struct nametable entries; /* under tree_lock, as all of it */
    uint64_t live_count;      /* entries that are not whiteouts */
    struct ov_inode *up;      /* while a tree is taken down */
};

enum ov_half { OV_LOWER, OV_UPPER, OV_HALVES };

/* A file that is copied up piece by piece (copydata.c). */
struct ov_pieces {
    struct file *lower; /* owned */
    uint64_t end;       /* lower's size when this began */
    unsigned shift;     /* a piece has 1 << shift bytes */
    uint64_t count;
    uint64_t left;    /* how many are lower's; under copy_lock */
    uint64_t taken[]; /* a bit for each piece, atomic */
};

struct ov_inode {
    struct inode inode;
    struct overlay *fs;   /* borrowed: its super_block outlives all dentries */
    struct dentry *lower; /* owned; NULL: made here */
    struct dentry *upper; /* owned; atomic: set once */
    bool copied;          /* atomic: a file's bytes are upper's */
    bool counted;         /* nlink is ours to keep; before, it is lower's */
    bool linkable;        /* O_TMPFILE: link() may give it its first name */
    bool kept;            /* `links` owns a reference: other lower names lead here */
    uint32_t nlink;       /* atomic */
    struct lock copy_lock;
    struct ov_pieces *pieces; /* owned; atomic: set once, under copy_lock */
    struct mappable *pages;   /* not owned: it owns us (pages.c); guarded by links_lock */
    struct list link_node;    /* in fs->links; guarded by links_lock */
    uint64_t id;           /* of one that is kept; 0: not yet. With what follows under tree_lock */
    struct list note_node; /* in fs->noted */
    uint32_t dumped;
    bool path_told, xattrs_told; /* the journal knows */
    struct ov_dir dir;
};

static inline struct overlay *overlay_of(struct super_block *sb)
{
    return container_of(sb, struct overlay, sb);
}

static inline struct ov_inode *ov_of(const struct dentry *dentry)
{
    return container_of(dentry->inode, struct ov_inode, inode);
}

static inline struct dentry *ov_upper(const struct ov_inode *ov)
{
    return __atomic_load_n(&ov->upper, __ATOMIC_ACQUIRE);
}

static inline bool ov_copied(const struct ov_inode *ov)
{
    return __atomic_load_n(&ov->copied, __ATOMIC_ACQUIRE);
}

static inline bool ov_is_dir(const struct ov_inode *ov)
{
    return inode_type(&ov->inode) == S_IFDIR;
}

static inline uint32_t ov_nlink(const struct ov_inode *ov)
{
    return __atomic_load_n(&ov->nlink, __ATOMIC_RELAXED);
}

/* A directory that was removed: nothing is in it or can be made in it. */
static inline bool ov_is_dead(const struct ov_inode *ov)
{
    return ov->counted && ov_nlink(ov) == 0;
}

extern const struct inode_operations ov_operations;

/* inode.c: the life of objects. */
/* The object of `lower` (taken over, also on failure); with tree_lock held. NULL: no memory. */
struct ov_inode *ov_inode_of_lower(struct overlay *fs, struct dentry *lower);
/* One that is made now; `upper` is taken over. `dev`: of the directory. NULL: no memory. */
struct ov_inode *ov_inode_made(struct overlay *fs, struct dentry *upper, uint64_t dev);
void ov_inode_release(struct inode *inode);
/* From now on it is found by its lower identity, as long as it lives. */
void ov_link_enter(struct ov_inode *ov);
void ov_refresh(struct inode *inode, struct inode *fresh);
/* Takes over what upper says of mode and owner. */
void ov_follow_upper(struct ov_inode *ov);
/* Takes over what lower says of one that has no upper half. False: it has to be found anew. */
bool ov_follow_lower(struct ov_inode *ov);
/* From now on nlink is kept here; with tree_lock held. */
void ov_count(struct ov_inode *ov);
void ov_change_nlink(struct ov_inode *ov, int by);
/* The super block goes: what `links` keeps alive. */
void ov_links_clear(struct overlay *fs);

/* One that was kept; what the journal says is for the caller to set. NULL: no memory. */
struct ov_inode *ov_inode_restored(struct overlay *fs, uint32_t mode, uint64_t dev, uint64_t ino);
/* nlink, upper and the like were set; `linked`: other names below lead to it. */
void ov_restored(struct ov_inode *ov, bool linked);

/* entry.c: names; with tree_lock held. */
void ov_dir_clear(struct ov_inode *top);
struct ov_entry *ov_entry_find(struct ov_inode *dir, struct name name);
/* -ENOSPC, -ENOMEM. Not in any directory yet; ov_entry_free() if it never gets there. */
int ov_entry_new(struct ov_inode *dir, struct name name, struct ov_entry **ret);
void ov_entry_free(struct ov_inode *dir, struct ov_entry *entry);
/* `name` means `inode` (the reference is taken over). `spare`, a new entry, is used or freed. */
void ov_entry_set(struct ov_inode *dir, struct ov_entry *spare, struct ov_inode *inode,
                  bool in_lower);
/* `name` means nothing any more; the reference that it had is for the caller. */
struct ov_inode *ov_entry_clear(struct ov_inode *dir, struct ov_entry *entry);
/* The first entry with a cookie of at least `from`; NULL: no more. */
struct ov_entry *ov_entry_next(struct ov_inode *dir, int64_t from);
/* Makes `dentry`'s object reachable from here, if it has a name. -ENOSPC, -ENOMEM. */
int ov_pin(struct dentry *dentry);

/* changes.c: calls `fn` for all entries, directories before what is in them; with tree_lock. */
typedef int (*ov_entry_fn)(void *arg, struct ov_inode *dir, const struct ov_entry *entry,
                           const char *path);
int ov_walk_entries(struct ov_inode *root, ov_entry_fn fn, void *arg);

/* note.c: with tree_lock held, where nothing else is said. Nothing is done unless it is kept. */
/* Before a change: is there room for it? -ENOSPC, -EIO. Without tree_lock as well. */
int ov_begin(struct overlay *fs);
/* What has changed: the object itself, a name, an attribute (`value` NULL: it is gone). */
void ov_note(struct ov_inode *ov);
void ov_note_name(struct ov_inode *dir, const struct ov_entry *entry);
void ov_note_no_name(struct ov_inode *dir, const struct ov_entry *entry);
void ov_note_xattr(struct ov_inode *ov, const char *name, const void *value, size_t size);
/* The bytes are upper's; written at once, with copy_lock held. -EIO. */
int ov_note_copied(struct ov_inode *ov);
/* Can it be written of? -ENAMETOOLONG: it lies too deep below. */
int ov_note_possible(const struct ov_inode *ov);
/* The change is done, or has failed: what was noted is written. */
void ov_commit(struct overlay *fs);
int ov_rewrite_journal(struct overlay *fs);

/* restore.c: what was kept in `store` comes back, and changes are kept there from now on. */
int ov_keep_in(struct overlay *fs, struct super_block *store);

/* below.c, for restore.c. What lies below at the place that `node` tells of, referenced, if it is
 * needed and of the right kind; NULL: it is not there any more. */
int ov_find_below(struct overlay *fs, const struct ov_node_record *node, struct dentry **ret);
/* sweep.c, likewise: removes the files of `data` that are no wanted object's. */
typedef bool (*ov_wanted_fn)(void *arg, uint64_t id);
int ov_bytes_sweep(struct dentry *data, ov_wanted_fn wanted, void *arg);

/* bytes.c: the bytes of a file that was made or copied up. */
/* What has them, referenced: upper's half, or a file of the host's. */
int ov_bytes(struct ov_inode *ov, struct dentry **ret);
/* Before there are any. */
int ov_bytes_make(struct ov_inode *ov);
void ov_bytes_remove(struct ov_inode *ov);
void ov_bytes_forget(struct overlay *fs);
/* Are they elsewhere than upper's half? */
bool ov_bytes_apart(const struct ov_inode *ov);
/* What the file that has them says of size and times. */
void ov_bytes_stat(struct ov_inode *ov, const struct linux_stat *bytes, struct linux_stat *st);
int ov_bytes_set_times(struct ov_inode *ov, const struct inode_attr *attr);
/* They were changed by the program: privileges go, mode and owner are looked at again. */
void ov_bytes_written(struct ov_inode *ov);

/* copyup.c */
/* An unnamed object of upper. */
int ov_make_upper(struct overlay *fs, const struct inode_make *make, struct dentry **ret);
/* Owner, mode, times, xattrs are upper's from now on; with tree_lock held. */
int ov_copy_up(struct dentry *dentry);
/* The same, without tree_lock. */
int ov_copy_up_unlocked(struct dentry *dentry);
/* Opens upper's or lower's half of an object. */
int ov_open_half(struct dentry *half, uint32_t flags, struct file **ret);

/* copydata.c: of a regular file; without tree_lock. */
/* The bytes [start, start+size) are about to be changed: they are upper's from now on. */
int ov_take(struct dentry *dentry, uint64_t start, uint64_t size);
/* It is about to be cut or extended to `size` bytes. */
int ov_take_cut(struct dentry *dentry, uint64_t size);
/* As ov_take(), through a mapping: it was opened for writing, so it was taken up then. */
int ov_take_mapped(struct ov_inode *ov, uint64_t start, uint64_t size);
/* Are the bytes at `offset` upper's? And how many more behind it, at most *size of them. */
bool ov_pieces_run(const struct ov_pieces *pieces, uint64_t offset, uint64_t *size);
void ov_pieces_free(struct ov_inode *ov);

/* pages.c: mappings of what lies below, too. */
/* Are they to be of our object, or simply of upper's half? */
bool ov_pages_wanted(struct ov_inode *ov);
/* The object to map; `name`, allocated, is taken over; NULL: it has none. */
int ov_pages_get(struct ov_inode *ov, char *name, struct mappable **ret);
/* Bytes have become upper's: who has mapped them asks again. Without locks. */
void ov_pages_changed(struct ov_inode *ov, uint64_t offset, uint64_t size);

/* lookup.c, names.c: as inode_operations. */
int ov_lookup(struct dentry *dir, const struct name *names, int count, struct inode **ret_inodes,
              int *ret_error);
int ov_make(struct dentry *dir, struct name name, const struct inode_make *make,
            struct inode **ret);
int ov_tmpfile(struct dentry *dir, const struct inode_make *make, bool linkable,
               struct inode **ret);
int ov_link(struct dentry *dir, struct name name, struct dentry *object);
int ov_remove(struct dentry *dir, struct dentry *victim);
int ov_rename(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir, struct name name,
              struct dentry *replaced);
int ov_exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b);

/* attr.c */
int ov_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret);
bool ov_birth(struct dentry *dentry, struct timespec *ret);
/* Puts right what a half said about the whole. */
void ov_complete_stat(struct ov_inode *ov, struct linux_stat *st);
int ov_setattr(struct dentry *dentry, const struct inode_attr *attr);
int ov_truncate(struct dentry *dentry, uint64_t size);
int ov_statfs(struct dentry *dentry, struct linux_statfs *ret);
ssize_t ov_readlink(struct dentry *link, char *buf, size_t size);
ssize_t ov_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size);
int ov_setxattr(struct dentry *dentry, const char *name, const void *value, size_t size, int flags);
ssize_t ov_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size);
int ov_set_flags(struct dentry *dentry, uint32_t flags);
uint64_t ov_attributes(struct dentry *dentry, uint64_t *ret_known);
int ov_get_acl(struct inode *inode, struct dentry *dentry, int kind, struct acl **ret);
/* An object's time of change, a directory's time of modification as well, are now. */
void ov_touch(struct ov_inode *ov, bool modified);

/* file.c, list.c */
int ov_file_open(struct dentry *dentry, uint32_t flags, struct file **ret);
int ov_dir_open(struct dentry *dentry, uint32_t flags, struct file **ret);
/* Is a directory without names? 0, -ENOTEMPTY; with tree_lock held. */
int ov_dir_empty(struct ov_inode *dir);

#endif
