/*
 * The objects of file systems, and the names that lead to them.
 *
 *   struct super_block   one file system instance; owns its root dentry
 *   struct inode         an object: its type, its identity, its operations
 *   struct dentry        a name in a directory; the tree of dentries that are in use now. There is
 *                        one per (parent, name), so mount points and working directories have an
 *                        identity; nobody's dentries are freed at once, or stay for the next walk
 *                        where the file system has an `idle_limit`: there making an object is dear
 *
 * A dentry holds its parent and its inode; the inode never changes while it lives, parent and name
 * only by rename(2). Whether a name still leads to the same object is asked anew by each walk
 * (namei.c): the file system answers with a fresh inode, and if that is another object, the dentry
 * is taken out of the tree and replaced.
 *
 * Where names can be changed, super_block->tree_lock makes looking a name up and acting on the
 * answer one step: walks hold it from lookup() until the dentry is attached, the calls that change
 * names from their look-ups until the dentries are in line again.
 *
 * Lock order: tree_lock, then mount_lock() (mount.h), then super_block->lock, which is innermost
 * but for mm and memfile and never held across operations.
 */
#ifndef SENTRY_VFS_INODE_H
#define SENTRY_VFS_INODE_H

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "abi/stat.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"

struct acl;
struct dentry;
struct file;
struct fs_setup;
struct inode;
struct mount;
struct super_block;

#define VFS_NAME_MAX 255

/* Where something is: a dentry, and the mount it is seen through. Holds a reference on both. */
struct path {
    struct mount *mount;
    struct dentry *dentry;
};

/* A name inside a path that is being walked: not terminated. */
struct name {
    const char *text;
    size_t size;
};

static inline bool name_same(struct name a, struct name b)
{
    return a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
}

/* What a magic link (/proc/self/exe, /proc/self/fd/N) leads to: one of them, referenced. */
struct link_target {
    struct path path;
    struct file *file; /* something without a place in the tree: a pipe, the caller's stdin */
};

/* What is to be made: mknod(2), mkdir(2), symlink(2). */
struct inode_make {
    uint32_t mode;  /* S_IFMT bits and permissions; without what the umask takes, once checked */
    uint32_t umask; /* what acl_inherit() takes from it */
    uint32_t flags; /* fileattr_inherited() */
    uint32_t uid, gid;
    uint64_t rdev;
    const char *target; /* of a symbolic link */
    /* acl.h: what the object gets; owned by who asks for it; NULL: none. */
    struct acl *access_acl, *default_acl;
};

enum inode_attr_mask {
    ATTR_MODE = 1,
    ATTR_UID = 2,
    ATTR_GID = 4,
    ATTR_ATIME = 8,
    ATTR_MTIME = 16,
    ATTR_CTIME = 32, /* these two only for what was kept from an earlier life */
    ATTR_BTIME = 64,
};

/* What is to be changed; the file system sets the time of change where the mask does not say. */
struct inode_attr {
    unsigned mask;
    uint32_t mode, uid, gid; /* mode: permissions only */
    struct timespec atime, mtime, ctime, btime;
};

struct inode_operations {
    uint8_t handles; /* enum handle_support (handle.h) */
    /*
     * Looks up names[0] in the directory `dir`, names[1] below what that is, and so on; at least
     * one, at most `count`. Stops at the first that is not a directory. Returns how many it found,
     * with new references in ret_inodes; ret_error says why the next one was not (0 when it did not
     * get that far). A file system far away answers many names in one round trip.
     */
    int (*lookup)(struct dentry *dir, const struct name *names, int count,
                  struct inode **ret_inodes, int *ret_error);
    /* The inode of a dentry was looked up again and is the same object: takes over attributes. */
    void (*refresh)(struct inode *inode, struct inode *fresh);
    /* The target of a symbolic link into buf, terminated; its length, or -errno. */
    ssize_t (*readlink)(struct dentry *link, char *buf, size_t size);
    /* Only magic links have it. */
    int (*follow)(struct dentry *link, struct link_target *ret);
    /* Opens an object that is no symbolic link. The caller has checked O_DIRECTORY and EROFS. */
    int (*open)(struct dentry *dentry, uint32_t flags, struct file **ret);
    /* Connects to whoever listens at this socket outside of the sandbox, with one of this type
     * (SOCK_*): a descriptor, nonblocking. -ECONNREFUSED. NULL: nobody is outside. */
    int (*connect)(struct dentry *dentry, int type, int *ret_fd);
    /* `fresh`: the dentry was looked up just now, attributes from then will do. */
    int (*stat)(struct dentry *dentry, bool fresh, struct linux_stat *ret);
    /* When the object was made; false: nobody knows. NULL: nobody ever does. */
    bool (*birth)(struct dentry *dentry, struct timespec *ret);
    int (*statfs)(struct dentry *dentry, struct linux_statfs *ret);
    /* R_OK, W_OK, X_OK; 0 or -EACCES... Write access to a read-only file system was refused
     * before. */
    int (*access)(struct dentry *dentry, int mode);
    void (*release)(struct inode *inode); /* frees it */

    /*
     * Changing names, with sb->tree_lock held. The caller has looked the names up under it and
     * checked all permissions; what only the file system knows is left: -ENOENT in a directory that
     * was removed, -ENOTEMPTY, -ENOSPC, -EMLINK. NULL: -EPERM.
     */
    int (*make)(struct dentry *dir, struct name name, const struct inode_make *make,
                struct inode **ret);
    int (*link)(struct dentry *dir, struct name name, struct dentry *object);
    int (*remove)(struct dentry *dir, struct dentry *victim);
    /* `replaced` is what has the new name now, or NULL. */
    int (*rename)(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir,
                  struct name name, struct dentry *replaced);
    int (*exchange)(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b);
    /* A file without a name (O_TMPFILE); `linkable`: link() may give it one. NULL: -EOPNOTSUPP. */
    int (*tmpfile)(struct dentry *dir, const struct inode_make *make, bool linkable,
                   struct inode **ret);

    /* Changing objects, permissions having been checked; without tree_lock. */
    int (*setattr)(struct dentry *dentry, const struct inode_attr *attr);
    int (*truncate)(struct dentry *dentry, uint64_t size);

    /* xattr.h; NULL: there are none. `value` NULL removes; `trusted`: shows trusted.* as well. */
    ssize_t (*getxattr)(struct dentry *dentry, const char *name, void *buf, size_t size);
    int (*setxattr)(struct dentry *dentry, const char *name, const void *value, size_t size,
                    int flags);
    ssize_t (*listxattr)(struct dentry *dentry, bool trusted, char *buf, size_t size);
    /* fileattr.h: takes FS_*_FL; what else than them there is to know, as statx(2) has it. */
    int (*set_flags)(struct dentry *dentry, uint32_t flags);
    /* Where it decides by itself which there are: all of them. NULL: FILEATTR_MODIFIABLE, as
     * inode->flags has them. */
    int (*get_flags)(struct dentry *dentry, uint32_t *ret);
    uint64_t (*attributes)(struct dentry *dentry, uint64_t *ret_known);
    /* acl_get(); NULL: there are none. */
    int (*get_acl)(struct inode *inode, struct dentry *dentry, int kind, struct acl **ret);
    /* The object keeps that mount namespace: its mount_ns->id; 0: it does not. NULL: none does. */
    uint64_t (*mount_ns_id)(const struct inode *inode);
};

struct inode {
    const struct inode_operations *ops;
    refcount_t refs;
    /* > 0: so many files are open for writing; < 0: so many are being executed. Atomic. */
    int32_t write_count;
    int32_t read_count;  /* so many are open for reading alone, where opens are counted; atomic */
    uint32_t mode;       /* S_IFMT bits and permissions; atomic where they can be changed */
    uint32_t uid, gid;   /* likewise; of use with super_block->checks_modes alone */
    uint64_t dev, ino;   /* with the type: identity */
    void *fifo;          /* special.h; NULL until it is opened */
    uint32_t write_hint; /* F_SET_RW_HINT; atomic */
    uint32_t flags;      /* FS_*_FL of <linux/fs.h> (fileattr.h); atomic */
    bool no_mounts;      /* its name comes and goes by itself: nothing is mounted upon it */
    /* Atomic: its last name, there, is gone, and somebody watches (notify.h); NULL. */
    const struct super_block *unlinked_from;
};

struct super_block {
    refcount_t refs;
    const char *type;  /* static: the name in /proc/mounts */
    bool read_only;    /* its names never change, so tree_lock is not needed */
    bool remounted_ro; /* atomic: made read-only by mount(2) */
    uint32_t writers;  /* atomic: files open for writing */
    uint32_t mounts;   /* atomic: how many there are of it */
    uint64_t owner_id; /* of the user namespace that made it; 0: the first one */
    bool hidden;       /* mounted nowhere: its names are shown as if from a root */
    bool bindable;     /* MS_BIND takes its objects all the same */
    bool checks_modes; /* permissions are those in struct inode, not what ops->access says */
    bool no_questions; /* nobody may be asked before a file of it is opened (notify.h) */
    bool has_flags;    /* fileattr.h */
    bool has_acls;     /* acl.h; SB_POSIXACL */
    bool has_uuid;     /* FS_IOC_GETFSUUID */
    bool stacked;      /* answers requests as overlayfs does, by those it is made of */
    uint8_t uuid[16];
    bool has_maps;         /* its mounts may have one: mountmap.h */
    bool far;              /* looking a name up may take a round trip to somewhere else; set
                              before super_init() */
    struct lock tree_lock; /* unused where read_only */
    uint32_t dev;          /* st_dev of the objects that have none of their own */
    struct dentry *root;
    uint32_t idle_limit; /* so many dentries without a user stay; set before super_init() */
    struct lock lock;
    struct list *buckets __guarded_by(lock); /* owned */
    uint32_t bucket_count;
    struct list idle __guarded_by(lock); /* the last used first */
    uint32_t idle_count __guarded_by(lock);
    void (*release)(struct super_block *sb); /* after the last dentry is gone; frees sb */
    /* Options beyond ro, as /proc/mounts shows them, each with a comma in front; may be NULL. */
    void (*show_options)(struct super_block *sb, char *buf, size_t size);
    /* What mountinfo calls the root of a mount, where that is not its path; under mount_lock(). May
     * be NULL. The length, or -errno. */
    ssize_t (*show_root)(struct dentry *root, char *buf, size_t size);
    /* mount(2) with MS_REMOUNT, fsconfig(2): takes what `setup` sets (fstype.h); NULL: nothing. */
    int (*reconfigure)(struct super_block *sb, struct fs_setup *setup);
    /*
     * As long as it says the same, what a name leads to is what it was, unless somebody in the
     * sandbox changed it; 0: nobody knows. NULL: looking a name up costs little here.
     */
    uint64_t (*epoch)(struct super_block *sb);
};

struct dentry {
    refcount_t refs;
    uint32_t mount_count;   /* mounts upon it, in any namespace; atomic */
    struct super_block *sb; /* borrowed: a path's mount keeps it */
    struct inode *inode;    /* owned */

    /* Guarded by sb->lock; also stable under sb->tree_lock, and where the tree is read-only. */
    struct dentry *parent; /* owned; NULL for a root */
    char *name;            /* owned, terminated */
    uint32_t name_size;
    bool gone;          /* atomic: removed or replaced: the name is what it had last */
    uint64_t seen;      /* atomic: sb->epoch() before it was looked up last; 0: none */
    struct list bucket; /* empty once gone */
    struct list idle_node;
};

void inode_init(struct inode *inode, const struct inode_operations *ops, uint32_t mode,
                uint64_t dev, uint64_t ino);
struct inode *inode_ref(struct inode *inode);
struct inode *inode_unref(struct inode *inode);

static inline uint32_t inode_type(const struct inode *inode)
{
    return __atomic_load_n(&inode->mode, __ATOMIC_RELAXED) & S_IFMT;
}

static inline uint32_t inode_mode(const struct inode *inode)
{
    return __atomic_load_n(&inode->mode, __ATOMIC_RELAXED);
}

static inline uint32_t inode_flags(const struct inode *inode)
{
    return __atomic_load_n(&inode->flags, __ATOMIC_RELAXED);
}

/* FS_IMMUTABLE_FL: nobody changes it. FS_APPEND_FL: it can only grow. */
bool inode_is_immutable(const struct inode *inode);
bool inode_is_append(const struct inode *inode);

/* Counts as one that writes; -ETXTBSY while the file is being executed. Or the other way round. */
int inode_get_write(struct inode *inode);
void inode_put_write(struct inode *inode);
int inode_deny_write(struct inode *inode);
void inode_allow_write(struct inode *inode);

static inline bool super_read_only(const struct super_block *sb)
{
    return sb->read_only || __atomic_load_n(&sb->remounted_ro, __ATOMIC_RELAXED);
}

/* tree_lock, where the tree can change at all. */
void tree_lock(struct super_block *sb);
void tree_unlock(struct super_block *sb);

/* Makes `sb` (allocated by the file system) usable; takes over `root`'s reference. -ENOMEM. */
int super_init(struct super_block *sb, struct inode *root, void (*release)(struct super_block *sb));
/* Of a file system that is in memory alone: super_block->uuid. */
void super_make_uuid(struct super_block *sb);
/* The minor number of st_dev for a file system that has no fixed one. -ENOSPC. */
int super_take_minor(uint32_t *ret);
void super_give_minor(uint32_t minor);
struct super_block *super_ref(struct super_block *sb);
struct super_block *super_unref(struct super_block *sb);

struct dentry *dentry_ref(struct dentry *dentry);
struct dentry *dentry_unref(struct dentry *dentry);
/* The live dentry of that name, referenced; NULL. Says nothing about the file system. */
struct dentry *dentry_find(struct dentry *parent, struct name name);
/*
 * The file system just said that `name` in `parent` is `inode` (the reference is taken over): the
 * dentry for it, old or new, referenced. NULL: out of memory.
 */
struct dentry *dentry_attach(struct dentry *parent, struct name name, struct inode *inode);
/* The file system just said that there is no such name: a live dentry of it leaves the tree. */
void dentry_detach(struct dentry *parent, struct name name);
/* This name was removed. */
void dentry_remove(struct dentry *dentry);
/* The object of `dentry` is now `name` in `parent`; what was there is gone. */
void dentry_move(struct dentry *dentry, struct dentry *parent, struct name name);
void dentry_exchange(struct dentry *a, struct dentry *b);
/* A dentry for an object that has no name in the tree (O_TMPFILE); `inode` is taken over. */
struct dentry *dentry_unnamed(struct dentry *parent, struct name name, struct inode *inode);
/* Borrowed: as long as the dentry is not moved. */
static inline struct name dentry_name(const struct dentry *dentry)
{
    return (struct name){dentry->name, dentry->name_size};
}
bool dentry_gone(struct dentry *dentry);
/* Does `name` in `parent` mean it? With tree_lock held where the tree can change. */
static inline bool dentry_is_at(const struct dentry *dentry, const struct dentry *parent,
                                struct name name)
{
    return dentry->parent == parent && name_same(dentry_name(dentry), name) &&
           !__atomic_load_n(&dentry->gone, __ATOMIC_RELAXED);
}
/* Is it `top`, or somewhere below? */
bool dentry_is_below(struct dentry *dentry, const struct dentry *top);
/* The look-up that led to it began in that epoch. */
static inline void dentry_set_seen(struct dentry *dentry, uint64_t epoch)
{
    __atomic_store_n(&dentry->seen, epoch, __ATOMIC_RELAXED);
}
static inline bool dentry_was_seen(const struct dentry *dentry, uint64_t epoch)
{
    return epoch && __atomic_load_n(&dentry->seen, __ATOMIC_RELAXED) == epoch;
}
/* A new reference; NULL for a root. */
struct dentry *dentry_parent(struct dentry *dentry);
/*
 * Writes the name in front of buf[*at], moving *at down, and gives the parent as dentry_parent();
 * -ENAMETOOLONG when *at would fall below `low`.
 */
int dentry_put_name(struct dentry *dentry, char *buf, size_t low, size_t *at,
                    struct dentry **ret_parent);
/*
 * The names from the root of the file system down to `dentry`, joined by slashes, none at the
 * front; the length, or -ENAMETOOLONG. What stateless file systems ask with.
 */
ssize_t dentry_path(struct dentry *dentry, char *buf, size_t size);

struct path path_ref(struct path path);
void path_unref(struct path *path); /* and clears it; an empty one is fine */

#endif
