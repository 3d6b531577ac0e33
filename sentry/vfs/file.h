/*
 * An open file description: what open(2) makes and dup(2) shares. Implementations live in
 * sentry/fs; they never sleep: they answer -EAGAIN, and the system-call layer waits on poll() and
 * asks again, unless the file is O_NONBLOCK.
 */
#ifndef SENTRY_VFS_FILE_H
#define SENTRY_VFS_FILE_H

#include <fcntl.h>

#include "abi/stat.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/vfs/inode.h"

struct uio;
struct mm;
struct mappable;
struct terminal;
struct wait_entry;
struct dirent_sink;
struct own_attr;

/* Any member but release may be NULL: the call then fails as on such a file in Linux. */
struct file_operations {
    /*
     * `pos`: where to read or write; advanced by the implementation. A file that cannot seek
     * (ops->llseek NULL) ignores it; with own_position it is NULL for read(2) and write(2). Bytes
     * moved, 0 at the end of file, -errno.
     */
    ssize_t (*read)(struct file *f, struct uio *uio, int64_t *pos);
    ssize_t (*write)(struct file *f, struct uio *uio, int64_t *pos);
    /*
     * The new position for whence SEEK_*, computed from the old position `pos`; with own_position,
     * moves it.
     */
    int64_t (*llseek)(struct file *f, int64_t offset, int whence, int64_t pos);
    /*
     * POLL* bits that hold now. With `entry`, first adds it to the queue(s) that will be woken;
     * unpoll() takes it out again.
     */
    uint32_t (*poll)(struct file *f, struct wait_entry *entry);
    void (*unpoll)(struct file *f, struct wait_entry *entry);
    bool poll_tells_once; /* poll() changes what it tells the next time */
    int (*stat)(struct file *f, struct linux_stat *ret_stat);
    int (*statfs)(struct file *f, struct linux_statfs *ret_statfs);
    /* Mode, owner and times of what has no place in the tree and lets them be changed (ownattr.h).
     */
    struct own_attr *(*own_attr)(struct file *f);
    int attr_error; /* without: -errno of a change; 0: -EOPNOTSUPP, as anonymous inodes have it */
    /* Entries from *pos on into the sink until it is full; *pos is opaque to callers. */
    int (*getdents)(struct file *f, struct dirent_sink *sink, int64_t *pos);
    /* `arg` is the raw third argument; guest memory is reached through usercopy on `mm`. */
    long (*ioctl)(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg);
    /* What mmap(2) maps; a reference for the caller. -ENODEV is the usual refusal. */
    int (*mmap)(struct file *f, struct mappable **ret_object);
    /*
     * Before mm_map() with these PROT_* bits: -EPERM where seals forbid it; takes rights away from
     * *max_prot. After success map_end() is called, with that *max_prot, when the mapping is there
     * or failed. Both NULL: nothing to check.
     */
    int (*map_begin)(struct file *f, int prot, bool shared, int *max_prot);
    void (*map_end)(struct file *f, int max_prot, bool shared);
    int (*set_flags)(struct file *f, uint32_t flags); /* F_SETFL: told after f->flags changed */
    int (*sync)(struct file *f);
    /* What /proc/PID/fdinfo says beyond position and flags: snprintf(3)'s result. */
    ssize_t (*info)(struct file *f, char *buf, size_t size);
    int (*truncate)(struct file *f, uint64_t size);
    /* A descriptor of it is closed, the last one or not: on the closing task's thread. */
    void (*flush)(struct file *f);
    /* Opening it by /proc/PID/fd makes a file of its own; NULL: it is the same one again. */
    int (*reopen)(struct file *f, uint32_t flags, struct file **ret);
    /* fallocate(2): FALLOC_FL_* of `mode`, all sizes having been checked. NULL: -EOPNOTSUPP. */
    int (*allocate)(struct file *f, int mode, uint64_t offset, uint64_t size);
    void (*release)(struct file *f); /* frees f */
    /* The position is kept elsewhere: that of a host descriptor, shared with other processes. */
    bool own_position;
    bool not_passed;   /* refused by SCM_RIGHTS: unix(7) */
    bool no_splice;    /* splice(2) and sendfile(2) do not take it, though it can be read */
    bool seek_ignored; /* without llseek: lseek(2) says 0 and does nothing, as on an eventfd */
};

/* Who wants to know that a file is about to go: epoll keeps no reference on what it watches. */
struct file_watch {
    struct list node;
    void (*gone)(struct file_watch *watch); /* called without locks; the watch is off the list */
};

/* What other floors hang on a file: goes with it, before its release(). */
struct file_companion {
    void (*release)(struct file_companion *companion);
};

struct file {
    const struct file_operations *ops;
    refcount_t refs;
    uint32_t
        flags; /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_DIRECT..., atomically changed by F_SETFL */
    struct lock pos_lock;
    int64_t pos __guarded_by(pos_lock);
    struct file_companion *companion; /* owned; set once, atomically (kernel/async.h) */
    bool has_locks;                   /* atomic: it may own some (filelock.h) */
    bool counts_as_writer;            /* of at's inode and mount; undone by file_fini() */
    bool counts_as_reader;            /* of at's inode: it is open for reading alone */
    bool denies_writers;              /* likewise: it is being executed */
    bool created;                     /* open(2) has made it */
    bool quiet;                       /* nobody hears of what is done with it (notify.h) */
    bool dissolves;                   /* a tree of mounts that is alone goes with it */
    uint32_t landlock_denied;         /* what its opener was not granted (landlock.h) */
    struct path at; /* where it was opened; empty for what is not in the tree: pipes, stdio */
    struct terminal *terminal; /* borrowed from the implementation; NULL for all but terminals */
    char *path; /* how /proc/self/fd names what is not in the tree; owned; may be NULL */
    struct list watches __guarded_by(pos_lock);
};

/* For implementations: fills the head of a freshly allocated file, one reference. */
void file_init(struct file *f, const struct file_operations *ops, uint32_t flags);
/* Frees what the head owns (at, path); called by release implementations before free(). */
void file_fini(struct file *f);
struct file *file_ref(struct file *f);
struct file *file_unref(struct file *f); /* takes NULL, returns NULL */

/* How many there are in the sandbox, for those who look for leaks. */
uint32_t file_count(void);

/* The checked operations that system calls use: access mode, seekability, O_APPEND. */
ssize_t file_read(struct file *f, struct uio *uio);
ssize_t file_write(struct file *f, struct uio *uio);
ssize_t file_pread(struct file *f, struct uio *uio, int64_t pos);
ssize_t file_pwrite(struct file *f, struct uio *uio, int64_t pos);
int64_t file_llseek(struct file *f, int64_t offset, int whence);
/* POLL* that hold; always ready for reading and writing where a file has no poll of its own. */
uint32_t file_poll(struct file *f, struct wait_entry *entry);
void file_unpoll(struct file *f, struct wait_entry *entry);
int file_stat(struct file *f, struct linux_stat *ret);
int file_statfs(struct file *f, struct linux_statfs *ret);
/* statfs(2) of a place. */
int path_statfs(const struct path *path, struct linux_statfs *ret);
/* -ENOTDIR; -ENOENT for a directory that was removed. */
int file_getdents(struct file *f, struct dirent_sink *sink);

static inline bool file_can_read(const struct file *f)
{
    return !(f->flags & O_PATH) && (f->flags & O_ACCMODE) != O_WRONLY;
}

static inline bool file_can_write(const struct file *f)
{
    return !(f->flags & O_PATH) &&
           ((f->flags & O_ACCMODE) == O_WRONLY || (f->flags & O_ACCMODE) == O_RDWR);
}

/* lseek(2) on an object of `size` bytes without holes, for implementations. */
int64_t file_seek_in(int64_t offset, int whence, int64_t pos, int64_t size);

void file_watch_add(struct file *f, struct file_watch *watch);
/* False: the file is going, gone() is being called or will be. */
bool file_watch_remove(struct file *f, struct file_watch *watch);

#endif
