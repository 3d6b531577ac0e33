/*
 * Inside sentry/fs/share: an inode is a handle of the gofer's, given back when it goes. Attributes
 * are what the host said last; who changes an object gets the new ones with the answer.
 */
#ifndef SENTRY_FS_SHARE_INTERNAL_H
#define SENTRY_FS_SHARE_INTERNAL_H

#include "host/share_protocol.h"
#include "sentry/vfs/inode.h"

#define SHARE_WRITE_LOCKS 16

struct host_file;
struct mappable;

struct share {
    struct super_block sb;
    struct memfile *memfile;       /* borrowed */
    struct lock lock;              /* one question at a time; innermost */
    int socket __guarded_by(lock); /* -1 once the conversation has failed */
    struct share_request request __guarded_by(lock);
    struct share_reply reply __guarded_by(lock);
    struct lock pages_lock;                     /* innermost but for reference counts */
    struct list pages __guarded_by(pages_lock); /* of files that are mapped (pages.c) */
    uint32_t pages_count;                       /* atomic */
    /* By a file's number: pagecache_source.write_lock; taken before all others here. */
    struct lock write_locks[SHARE_WRITE_LOCKS];
};

/* What statx(2) says beyond that. */
struct share_more {
    bool has_birth;
    struct timespec birth;
    uint64_t attributes, attributes_known;
};

struct share_inode {
    struct inode inode;
    struct share *fs; /* borrowed: outlives its inodes */
    uint32_t handle;
    bool linkable; /* made without a name */
    uint32_t acls; /* enum share_acls, as last seen; atomic */
    struct lock lock;
    struct linux_stat stat __guarded_by(lock);
    struct share_more more __guarded_by(lock);
    char *target; /* S_IFLNK; owned */
};

static inline struct share *share_of(struct super_block *sb)
{
    return container_of(sb, struct share, sb);
}

static inline struct share_inode *share_inode_of(const struct dentry *dentry)
{
    return container_of(dentry->inode, struct share_inode, inode);
}

/* client.c */
struct share_answer {
    uint32_t handle;
    uint64_t size;
    struct linux_stat stat;
    uint32_t acls;
    struct share_more more;
    void *data; /* room for the data, or NULL; ... */
    size_t room;
    size_t data_size; /* ... and how much came, at most `room` */
    int fd;           /* donated; -1 */
};
/* One round trip: what the gofer says, 0 or -errno. ret->data and ret->room are the caller's. */
int share_ask(struct share *fs, const struct share_request_head *head, struct name name,
              const void *data, size_t data_size, struct share_answer *ret);

/* share.c */
extern const struct inode_operations share_operations;
/* Of an answer; gives its handle back on failure. NULL: no memory. */
struct inode *share_inode_new(struct share *fs, const struct share_answer *answer,
                              const char *target);
/* Gives an answer's handle back. */
void share_forget(struct share *fs, uint32_t handle);
/* The host just said this of the object. -EIO: that it is of another type, which cannot be. */
int share_update(struct share_inode *inode, const struct linux_stat *st);
/* The same of an answer of the gofer's. */
int share_learn(struct share_inode *inode, const struct share_answer *answer);
int share_look(struct share_inode *inode, struct linux_stat *ret);

/* names.c */
int share_lookup(struct dentry *dir, const struct name *names, int count, struct inode **ret_inodes,
                 int *ret_error);
int share_make(struct dentry *dir, struct name name, const struct inode_make *make,
               struct inode **ret);
int share_tmpfile(struct dentry *dir, const struct inode_make *make, bool linkable,
                  struct inode **ret);
int share_link(struct dentry *dir, struct name name, struct dentry *object);
int share_remove(struct dentry *dir, struct dentry *victim);
int share_rename(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir,
                 struct name name, struct dentry *replaced);
int share_exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b);

/* pages.c: what is mapped of a file, by whomever; `dev` and `ino` say which. */
/* The object to map. `writable`: `host` is open for writing, and mappings may be, too. */
int share_pages_get(struct share *fs, const struct inode *inode, struct host_file *host,
                    bool writable, struct mappable **ret);
/* Before bytes are read from the host: what mappings changed of them goes there. */
int share_pages_flush(struct share *fs, const struct inode *inode, uint64_t offset, uint64_t size);
/*
 * Around a change of the bytes on the host, during which nothing else changes them from here; `how`
 * says what became of them. User memory is not touched in between. Afterwards mappings know.
 */
struct share_change {
    enum { SHARE_NOTHING, SHARE_WRITTEN, SHARE_ZEROED, SHARE_SHIFTED, SHARE_CUT } how;
    uint64_t offset, size; /* SHARE_CUT: the new size in `size` */
    uint64_t old_size;     /* of the file, where it is mapped; from share_change_begin() */
};
void share_change_begin(struct share *fs, const struct inode *inode, struct share_change *ret);
void share_change_end(struct share *fs, const struct inode *inode,
                      const struct share_change *change);

/* file.c */
/* Takes over `fd`, on failure too. */
int share_file_create(struct dentry *dentry, int fd, uint32_t flags, struct file **ret);

#endif
