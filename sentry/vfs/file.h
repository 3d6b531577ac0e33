/*
 * An open file description: what open(2) makes and dup(2) shares. Implementations live in
 * sentry/fs; they never sleep: they answer -EAGAIN, and the system-call layer waits on poll() and
 * asks again, unless the file is O_NONBLOCK.
 */
#ifndef SENTRY_VFS_FILE_H
#define SENTRY_VFS_FILE_H

#include "abi/stat.h"
#include "base/lock.h"
#include "base/refcount.h"

struct file;
struct uio;
struct mm;
struct mappable;
struct wait_entry;
struct dirent_sink;

/* Any member but release may be NULL: the call then fails as on such a file in Linux. */
struct file_operations {
    /*
     * `pos`: where to read or write; advanced by the implementation. A file that cannot seek
     * (ops->llseek NULL) ignores it. Bytes moved, 0 at the end of file, -errno.
     */
    ssize_t (*read)(struct file *f, struct uio *uio, int64_t *pos);
    ssize_t (*write)(struct file *f, struct uio *uio, int64_t *pos);
    /* The new position for whence SEEK_*, computed from the old position `pos`. */
    int64_t (*llseek)(struct file *f, int64_t offset, int whence, int64_t pos);
    /*
     * POLL* bits that hold now. With `entry`, first adds it to the queue(s) that will be woken;
     * unpoll() takes it out again.
     */
    uint32_t (*poll)(struct file *f, struct wait_entry *entry);
    void (*unpoll)(struct file *f, struct wait_entry *entry);
    int (*stat)(struct file *f, struct linux_stat *ret_stat);
    int (*statfs)(struct file *f, struct linux_statfs *ret_statfs);
    /* Entries from *pos on into the sink until it is full; *pos is opaque to callers. */
    int (*getdents)(struct file *f, struct dirent_sink *sink, int64_t *pos);
    /* `arg` is the raw third argument; guest memory is reached through usercopy on `mm`. */
    long (*ioctl)(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg);
    /* What mmap(2) maps; a reference for the caller. -ENODEV is the usual refusal. */
    int (*mmap)(struct file *f, struct mappable **ret_object);
    int (*set_flags)(struct file *f, uint32_t flags); /* F_SETFL: told after f->flags changed */
    int (*sync)(struct file *f);
    int (*truncate)(struct file *f, uint64_t size);
    void (*release)(struct file *f); /* frees f */
};

struct file {
    const struct file_operations *ops;
    refcount_t refs;
    uint32_t
        flags; /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_DIRECT..., atomically changed by F_SETFL */
    struct lock pos_lock;
    int64_t pos __guarded_by(pos_lock);
    char *path; /* as /proc/self/fd shows it; owned; NULL when there is none */
};

/* For implementations: fills the head of a freshly allocated file, one reference. */
void file_init(struct file *f, const struct file_operations *ops, uint32_t flags);
/* Frees what file_init() owns (path); called by release implementations before free(). */
void file_fini(struct file *f);
struct file *file_ref(struct file *f);
struct file *file_unref(struct file *f); /* takes NULL, returns NULL */

/* The checked operations that system calls use: access mode, seekability, O_APPEND. */
ssize_t file_read(struct file *f, struct uio *uio);
ssize_t file_write(struct file *f, struct uio *uio);
ssize_t file_pread(struct file *f, struct uio *uio, int64_t pos);
ssize_t file_pwrite(struct file *f, struct uio *uio, int64_t pos);
int64_t file_llseek(struct file *f, int64_t offset, int whence);
uint32_t file_poll(struct file *f, struct wait_entry *entry);
void file_unpoll(struct file *f, struct wait_entry *entry);

#endif
