/*
 * Inside sentry/fs/gofer:
 *
 *   goferfs.c     the file system, its inodes and what they answer
 *   lookup.c      names: from what is remembered, the rest in one question
 *   namecache.c   remembered names
 *   listing.c     which names will be looked up next
 *   handle.c      host descriptors that inodes hold, to look at the object again, or to open it
 *   reading.c     files that were read: was that news?
 *   donated.c     open files
 *   client.c      the conversation
 *
 * Locks: each of namecache.lock, handles.lock, listings.lock, readings.lock and an inode's lock is
 * innermost; references are dropped outside of them.
 */
#ifndef SENTRY_FS_GOFER_INTERNAL_H
#define SENTRY_FS_GOFER_INTERNAL_H

#include "host/gofer_protocol.h"
#include "sentry/fs/hostio.h"
#include "sentry/vfs/inode.h"

/* When an object was changed, as far as its status tells. */
struct stamp {
    uint64_t ctime_sec, ctime_nsec, mtime_sec, mtime_nsec;
};

/* A directory's name and what it means, remembered (namecache.c). */
struct cached_name;
struct namecache {
    struct lock lock;
    struct cached_name **buckets __guarded_by(lock); /* owned */
    struct list lru __guarded_by(lock);              /* the last used first */
    size_t bytes __guarded_by(lock);
    size_t limit;
};

struct handles {
    struct lock lock;
    struct list lru __guarded_by(lock); /* of inodes with a handle; the last used first */
    uint32_t count __guarded_by(lock);
    uint32_t limit;
};

/* The names of directories that were listed lately, in that order (listing.c). */
struct listings {
    struct lock lock;
    struct list lru __guarded_by(lock); /* of struct listing; the last one first */
    uint32_t count __guarded_by(lock);
};

/* Files that were read since it was last known that nothing outside has changed (reading.c). */
#define READINGS_MAX 4
struct readings {
    struct lock lock;
    uint32_t count;    /* changed under the lock; atomic */
    uint32_t in_proof; /* atomic: taken out, and it is not known yet whether that was news */
    struct gofer_inode *files[READINGS_MAX] __guarded_by(lock); /* owned references */
};

struct goferfs {
    struct super_block sb;
    struct gofer_client *client; /* borrowed */
    struct memfile *memfile;     /* borrowed */
    bool exclusive;
    struct namecache names;
    struct handles handles;
    struct listings listings;
    struct readings readings;
};

/* What the gofer alone can say, and when it did. */
struct gofer_about {
    struct timespec birth;
    uint32_t flags; /* enum gofer_entry_flags */
    uint64_t attributes, attributes_known;
    struct stamp at;
};

/* When an object was looked at: the host's clock (coarse), and host/news.h. */
struct look {
    uint64_t tick_ns, news;
};

struct gofer_inode {
    struct inode inode;
    struct goferfs *fs; /* borrowed: outlives its inodes */
    char *target;       /* S_IFLNK; owned */

    struct lock lock;
    struct linux_stat stat __guarded_by(lock); /* as last seen */
    struct gofer_about about __guarded_by(lock);
    struct look look __guarded_by(lock); /* the last one */
    uint32_t granted __guarded_by(lock); /* R_OK, W_OK, X_OK: what the host permitted ... */
    struct stamp granted_at __guarded_by(lock);

    /*
     * Of a directory: files that are looked up in it will be opened then, most likely, as some were
     * lately (OPENS_*). Only a hint: anyone reads and writes it at any time.
     */
    uint32_t opens;

    /* Under fs->handles.lock. */
    struct host_file *handle; /* owned reference; O_PATH unless `readable`; NULL */
    bool readable;
    bool pinned;            /* the root's: never let go, not counted */
    struct stamp opened_at; /* `readable`: the object's, then */
    struct list handle_node;
};

/* A file is found first, and opened by a question of its own: so many are asked for openly next. */
#define OPENS_FIRST 4U
#define OPENS_MORE  2U /* for each of these that is opened indeed */
#define OPENS_MAX   16U

static inline struct goferfs *goferfs_of(struct dentry *dentry)
{
    return container_of(dentry->sb, struct goferfs, sb);
}

static inline struct gofer_inode *gofer_inode_of(struct inode *inode)
{
    return container_of(inode, struct gofer_inode, inode);
}

static inline struct stamp stamp_of(const struct linux_stat *st)
{
    return (struct stamp){st->st_ctime_sec, st->st_ctime_nsec, st->st_mtime_sec, st->st_mtime_nsec};
}

static inline bool stamp_same(const struct stamp *a, const struct stamp *b)
{
    return a->ctime_sec == b->ctime_sec && a->ctime_nsec == b->ctime_nsec &&
           a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec;
}

/* goferfs.c */
/* `target` is the symbolic link's, or NULL. NULL: out of memory. */
struct gofer_inode *gofer_inode_new(struct goferfs *fs, const struct gofer_entry *entry,
                                    const char *target);
/* The gofer just said this of the object. */
void gofer_inode_learn(struct gofer_inode *g, const struct gofer_entry *entry);
/* The host just said this of the object. */
void gofer_inode_update(struct gofer_inode *g, const struct linux_stat *st);
/*
 * The object's attributes now: from the host by the handle that is held; as they are remembered
 * where the tree is ours alone, and for a moment elsewhere too, unless something has come from
 * outside. False: the gofer has to be asked.
 */
bool gofer_inode_look(struct gofer_inode *g, struct linux_stat *ret);
/* As they were when somebody looked last. */
void gofer_inode_last_seen(struct gofer_inode *g, struct linux_stat *ret);
/* The same, now, whatever is remembered; false: it holds no handle. */
bool gofer_inode_ask_host(struct gofer_inode *g, struct linux_stat *ret);
/* The object open for reading, from what is held or by the gofer. `alone`: by nobody else. */
int gofer_host_file(struct dentry *dentry, bool alone, struct host_file **ret);
/* The path of `dentry` into the request. */
int gofer_start_request(struct dentry *dentry, enum gofer_op op, struct gofer_request *req);
uint32_t gofer_depth(struct dentry *dentry);
/* Asks about `dentry` itself: a request with its whole path, all names but the last skipped. */
int gofer_ask_about(struct dentry *dentry, enum gofer_op op, uint32_t mode,
                    struct gofer_reply *ret_reply, int *ret_fds);

/* xattr.c */
ssize_t gofer_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size);
ssize_t gofer_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size);

int gofer_get_acl(struct inode *inode, struct dentry *dentry, int kind, struct acl **ret);

/* lookup.c */
int gofer_lookup(struct dentry *dir, const struct name *names, int count, struct inode **ret_inodes,
                 int *ret_error);

/* Was it last changed so long before `now` (coarse CLOCK_REALTIME) that a change would show? */
bool stamp_at_rest(const struct stamp *stamp, uint64_t now);

/* reading.c */
void readings_init(struct readings *r);
void readings_clear(struct readings *r);
void reading_note(struct readings *r, struct gofer_inode *file);
/* What was read is news, or is not any more. False: somebody else is still about to find that out.
 */
bool readings_prove(struct readings *r);

/* namecache.c */
enum cache_answer {
    NAME_UNKNOWN, /* or too long ago */
    NAME_STALE,   /* the directory was changed since: ret_inode is what it was */
    NAME_ABSENT,  /* there is no such name */
    NAME_FOUND,
};
int namecache_init(struct namecache *cache, size_t limit);
void namecache_clear(struct namecache *cache);
/*
 * What `name` in `dir` is. `stamp` is the directory's now; NULL where that does not matter.
 * ret_inode gets a reference, with NAME_FOUND and possibly with NAME_STALE; else it is NULL.
 */
enum cache_answer namecache_find(struct namecache *cache, struct gofer_inode *dir, struct name name,
                                 const struct stamp *stamp, struct gofer_inode **ret_inode);
/* `inode` NULL: there is no such name. `stamp` is from before the host looked. */
void namecache_put(struct namecache *cache, struct gofer_inode *dir, struct name name,
                   struct gofer_inode *inode, const struct stamp *stamp);
/* Whoever changes a name tells it here. */
void namecache_forget(struct namecache *cache, struct gofer_inode *dir, struct name name);

/* listing.c */
#define NAMES_AHEAD (GOFER_WALK_MAX - 1)
struct names_ahead {
    int count;
    struct name names[NAMES_AHEAD]; /* in `text` */
    char text[NAMES_AHEAD][VFS_NAME_MAX];
};
void listings_init(struct listings *l);
void listings_clear(struct listings *l);
/* The directory `dentry` is listed from its beginning. */
void listing_begin(struct listings *l, const struct dentry *dentry);
/* It has `name`, between the positions `from` and `next`. False: no more of this one are noted. */
bool listing_note(struct listings *l, const struct gofer_inode *dir, int64_t from, struct name name,
                  uint8_t type, int64_t next);
/* `name` in `dir` is to be looked up: which will be after it? At most `max`; often none. */
void listing_ahead(struct listings *l, const struct gofer_inode *dir, struct name name, int max,
                   struct names_ahead *ret);

/* handle.c */
void handles_init(struct handles *h, uint32_t limit);
/* Takes over `fd`, O_PATH, for `g` if it has none. */
void handle_give(struct gofer_inode *g, int fd);
/* Takes over `fd`, open for reading since `opened_at`, in place of what `g` has. */
void handle_give_readable(struct gofer_inode *g, int fd, const char *name,
                          const struct stamp *opened_at);
/* `host`, open for reading since `opened_at`, is remembered in place of what `g` has. */
void handle_keep(struct gofer_inode *g, struct host_file *host, const struct stamp *opened_at);
/* A reference on what `g` has; NULL. */
struct host_file *handle_get(struct gofer_inode *g);
/* One to read from, if what was permitted then still is; `now` NULL: it is. `alone`: by nobody
 * else. */
struct host_file *handle_get_readable(struct gofer_inode *g, const struct stamp *now, bool alone);
bool handle_held(struct gofer_inode *g);
bool handle_is(struct gofer_inode *g, const struct host_file *host);
/* `to` gets what `from` has, if it has none. */
void handle_move(struct gofer_inode *from, struct gofer_inode *to);
void handle_drop(struct gofer_inode *g);
/* All that are not in use: descriptors have run out. */
void handles_shrink(struct handles *h);

/* donated.c */
/* The file for a donated descriptor; takes over the reference (on failure too). */
int gofer_file_create(struct dentry *dentry, struct host_file *host, uint32_t flags,
                      struct file **ret);

#endif
