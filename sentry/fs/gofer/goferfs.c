#include "sentry/fs/gofer/goferfs.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "host/io.h"
#include "host/news.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/internal.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/attr/handle.h"

static const struct inode_operations gofer_operations;

struct gofer_inode *gofer_inode_new(struct goferfs *fs, const struct gofer_entry *entry,
                                    const char *target)
{
    const struct linux_stat *st = &entry->stat;
    struct gofer_inode *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    g->target = target ? strdup(target) : NULL;
    if (target && !g->target) {
        free(g);
        return NULL;
    }
    inode_init(&g->inode, &gofer_operations, st->st_mode, st->st_dev, st->st_ino);
    lock_init(&g->lock);
    list_init(&g->handle_node);
    g->fs = fs;
    gofer_inode_learn(g, entry);
    return g;
}

static uint32_t flags_of(uint64_t attributes)
{
    return (attributes & STATX_ATTR_COMPRESSED ? FS_COMPR_FL : 0) |
           (attributes & STATX_ATTR_IMMUTABLE ? FS_IMMUTABLE_FL : 0) |
           (attributes & STATX_ATTR_APPEND ? FS_APPEND_FL : 0) |
           (attributes & STATX_ATTR_NODUMP ? FS_NODUMP_FL : 0) |
           (attributes & STATX_ATTR_ENCRYPTED ? FS_ENCRYPT_FL : 0) |
           (attributes & STATX_ATTR_VERITY ? FS_VERITY_FL : 0);
}

void gofer_inode_learn(struct gofer_inode *g, const struct gofer_entry *entry)
{
    lock_acquire(&g->lock);
    g->about = (struct gofer_about){
        .birth = {(time_t)entry->birth_sec, (long)MIN(entry->birth_nsec, 999999999U)},
        .flags = entry->flags,
        .attributes = entry->attributes,
        .attributes_known = entry->attributes_known,
        .at = stamp_of(&entry->stat),
    };
    lock_release(&g->lock);
    __atomic_store_n(&g->inode.flags, flags_of(entry->attributes), __ATOMIC_RELAXED);
    gofer_inode_update(g, &entry->stat);
}

void gofer_inode_update(struct gofer_inode *g, const struct linux_stat *st)
{
    bool differs;

    lock_acquire(&g->lock);
    differs = memcmp(&g->stat, st, sizeof(*st)) != 0;
    g->stat = *st;
    lock_release(&g->lock);
    if (differs)
        host_news_note();
    __atomic_store_n(&g->inode.mode, inode_type(&g->inode) | (st->st_mode & ~(uint32_t)S_IFMT),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&g->inode.uid, st->st_uid, __ATOMIC_RELAXED);
    __atomic_store_n(&g->inode.gid, st->st_gid, __ATOMIC_RELAXED);
}

void gofer_inode_last_seen(struct gofer_inode *g, struct linux_stat *ret)
{
    lock_acquire(&g->lock);
    *ret = g->stat;
    lock_release(&g->lock);
}

/*
 * Was it looked at in this tick of the host's clock, and has nothing come from outside since? Then
 * nobody in the sandbox can know of a change, and what was seen is as good as new. Walks meet the
 * same directories over and over, who opens a file has just found it, and each look is a call of
 * the host.
 */
static bool seen_just_now(struct gofer_inode *g, const struct look *now, struct linux_stat *ret)
{
    bool known;

    lock_acquire(&g->lock);
    known = g->look.tick_ns == now->tick_ns && g->look.news == now->news;
    if (known)
        *ret = g->stat;
    lock_release(&g->lock);
    return known;
}

static void note_look(struct gofer_inode *g, const struct look *look)
{
    lock_acquire(&g->lock);
    g->look = *look;
    lock_release(&g->lock);
}

bool gofer_inode_ask_host(struct gofer_inode *g, struct linux_stat *ret)
{
    struct host_file *handle = handle_get(g);
    bool seen = handle && hostio_stat(handle->fd, ret) == 0;

    host_file_unref(handle);
    if (seen)
        gofer_inode_update(g, ret);
    return seen;
}

bool gofer_inode_look(struct gofer_inode *g, struct linux_stat *ret)
{
    struct look now;
    bool proven;

    if (g->fs->exclusive) {
        gofer_inode_last_seen(g, ret);
        return true;
    }
    proven = readings_prove(&g->fs->readings);
    now = (struct look){host_clock_ns(CLOCK_MONOTONIC_COARSE), host_news()};
    if (proven && seen_just_now(g, &now, ret))
        return true;
    if (!gofer_inode_ask_host(g, ret))
        return false;
    note_look(g, &now); /* what changed since it was made has made news */
    return true;
}

static void gofer_inode_release(struct inode *inode)
{
    struct gofer_inode *g = gofer_inode_of(inode);

    handle_drop(g);
    free(g->target);
    lock_destroy(&g->lock);
    free(g);
}

static void gofer_refresh(struct inode *inode, struct inode *fresh)
{
    struct gofer_inode *g = gofer_inode_of(inode), *from = gofer_inode_of(fresh);
    struct gofer_about about;
    struct linux_stat st;

    if (g == from)
        return;
    gofer_inode_last_seen(from, &st);
    gofer_inode_update(g, &st);
    lock_acquire(&from->lock);
    about = from->about;
    lock_release(&from->lock);
    lock_acquire(&g->lock);
    g->about = about;
    lock_release(&g->lock);
    handle_move(from, g);
}

uint32_t gofer_depth(struct dentry *dentry)
{
    uint32_t depth = 0;

    for (; dentry->parent; dentry = dentry->parent)
        depth++;
    return depth;
}

int gofer_start_request(struct dentry *dentry, enum gofer_op op, struct gofer_request *req)
{
    ssize_t length = dentry_path(dentry, req->path, sizeof(req->path));

    if (length < 0)
        return (int)length;
    req->head = (struct gofer_request_head){.op = op, .path_size = (uint32_t)length};
    return 0;
}

int gofer_ask_about(struct dentry *dentry, enum gofer_op op, uint32_t mode,
                    struct gofer_reply *ret_reply, int *ret_fds)
{
    struct gofer_request req;
    int err = gofer_start_request(dentry, op, &req);

    if (err < 0)
        return err;
    req.head.mode = mode;
    if (op == GOFER_WALK && dentry->parent)
        req.head.skip = gofer_depth(dentry) - 1;
    err = gofer_ask(goferfs_of(dentry)->client, &req, ret_reply, ret_fds);
    return err < 0 ? err : ret_reply->head.error;
}

/* Asks the gofer what the name leads to now; false where that is another object, or unknown. */
static bool ask_status(struct dentry *dentry, struct linux_stat *ret)
{
    struct gofer_reply reply;

    if (gofer_ask_about(dentry, GOFER_WALK, 0, &reply, NULL) < 0 || reply.head.count != 1 ||
        reply.entries[0].stat.st_ino != dentry->inode->ino ||
        reply.entries[0].stat.st_dev != dentry->inode->dev)
        return false;
    *ret = reply.entries[0].stat;
    gofer_inode_learn(gofer_inode_of(dentry->inode), &reply.entries[0]);
    return true;
}

static ssize_t gofer_readlink(struct dentry *link, char *buf, size_t size)
{
    struct gofer_inode *g = gofer_inode_of(link->inode);
    size_t length;

    if (!g->target)
        return -EINVAL;
    length = strlen(g->target);
    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(buf, g->target, length + 1);
    return (ssize_t)length;
}

/* Opened by the gofer, and kept for the next one if it is still what the name meant. */
static int open_anew(struct dentry *dentry, struct host_file **ret)
{
    struct gofer_inode *g = gofer_inode_of(dentry->inode);
    int fds[GOFER_WALK_MAX], err;
    char name[GOFER_PATH_MAX + 2] = "/";
    struct gofer_reply reply;
    struct stamp stamp;

    err = gofer_ask_about(dentry, GOFER_OPEN, 0, &reply, fds);
    if (err == -ENFILE) {
        handles_shrink(&g->fs->handles);
        err = gofer_ask_about(dentry, GOFER_OPEN, 0, &reply, fds);
    }
    if (err < 0)
        return err;
    if (dentry_path(dentry, name + 1, sizeof(name) - 1) < 0)
        name[1] = '\0';
    *ret = host_file_create(fds[0], name);
    if (!*ret)
        return -ENOMEM;
    stamp = stamp_of(&reply.entries[0].stat);
    if (reply.entries[0].stat.st_ino == dentry->inode->ino &&
        reply.entries[0].stat.st_dev == dentry->inode->dev)
        handle_keep(g, *ret, &stamp);
    return 0;
}

/* The next files that are found in its directory come open at once, or no longer. */
static void note_open(struct dentry *dentry, bool was_open)
{
    struct gofer_inode *dir;
    uint32_t opens;

    if (!dentry->parent || inode_type(dentry->inode) != S_IFREG)
        return;
    dir = gofer_inode_of(dentry->parent->inode);
    opens = __atomic_load_n(&dir->opens, __ATOMIC_RELAXED);
    opens = was_open ? MIN(opens + OPENS_MORE, OPENS_MAX) : MAX(opens, OPENS_FIRST);
    __atomic_store_n(&dir->opens, opens, __ATOMIC_RELAXED);
}

int gofer_host_file(struct dentry *dentry, bool alone, struct host_file **ret)
{
    struct gofer_inode *g = gofer_inode_of(dentry->inode);
    struct linux_stat st;

    *ret = NULL;
    if (gofer_inode_look(g, &st)) {
        struct stamp now = stamp_of(&st);

        *ret = handle_get_readable(g, g->fs->exclusive ? NULL : &now, alone);
    }
    note_open(dentry, *ret != NULL);
    return *ret ? 0 : open_anew(dentry, ret);
}

static int gofer_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct host_file *host;
    /* The host has a place in a directory: two readers would disturb each other. */
    int err = gofer_host_file(dentry, inode_type(dentry->inode) == S_IFDIR, &host);

    return err < 0 ? err : gofer_file_create(dentry, host, flags, ret);
}

static int gofer_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    struct gofer_inode *g = gofer_inode_of(dentry->inode);

    /* Where the name leads elsewhere now, what was last known of the object stands. */
    if (fresh || !(gofer_inode_look(g, ret) || ask_status(dentry, ret)))
        gofer_inode_last_seen(g, ret);
    return 0;
}

static bool gofer_birth(struct dentry *dentry, struct timespec *ret)
{
    struct gofer_inode *g = gofer_inode_of(dentry->inode);
    bool known;

    lock_acquire(&g->lock);
    known = g->about.flags & GOFER_HAS_BIRTH;
    if (known)
        *ret = g->about.birth; /* never changes */
    lock_release(&g->lock);
    return known;
}

static uint64_t gofer_attributes(struct dentry *dentry, uint64_t *ret_known)
{
    const uint64_t passed = STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND |
                            STATX_ATTR_NODUMP | STATX_ATTR_ENCRYPTED | STATX_ATTR_VERITY |
                            STATX_ATTR_DAX;
    struct gofer_inode *g = gofer_inode_of(dentry->inode);
    uint64_t attributes;

    lock_acquire(&g->lock);
    attributes = g->about.attributes & passed;
    *ret_known = (*ret_known & ~passed) | (g->about.attributes_known & passed) | STATX_ATTR_DAX;
    lock_release(&g->lock);
    return attributes;
}

static int gofer_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    struct host_file *handle = handle_get(gofer_inode_of(dentry->inode));
    struct gofer_reply reply;
    int err;

    if (handle) {
        err = hostio_statfs(handle->fd, ret);
        host_file_unref(handle);
        return err;
    }
    err = gofer_ask_about(dentry, GOFER_STATFS, 0, &reply, NULL);
    if (!err)
        *ret = reply.statfs;
    return err;
}

/* What the host permitted before, it permits until the object is changed. */
static bool was_granted(struct gofer_inode *g, uint32_t mode, const struct stamp *now)
{
    bool granted;

    lock_acquire(&g->lock);
    if (!g->fs->exclusive && !stamp_same(&g->granted_at, now)) {
        g->granted = 0;
        g->granted_at = *now;
    }
    granted = !(mode & ~g->granted);
    lock_release(&g->lock);
    return granted;
}

static int gofer_access(struct dentry *dentry, int mode)
{
    struct gofer_inode *g = gofer_inode_of(dentry->inode);
    struct gofer_reply reply;
    struct linux_stat st;
    struct stamp now;
    bool seen = gofer_inode_look(g, &st);
    int err;

    if (seen)
        now = stamp_of(&st);
    if (seen && mode && was_granted(g, (uint32_t)mode, &now))
        return 0;
    err = gofer_ask_about(dentry, GOFER_ACCESS, (uint32_t)mode, &reply, NULL);
    if (err || !seen)
        return err;
    lock_acquire(&g->lock);
    if (g->fs->exclusive || stamp_same(&g->granted_at, &now))
        g->granted |= (uint32_t)mode;
    lock_release(&g->lock);
    return 0;
}

static const struct inode_operations gofer_operations = {
    .handles = HANDLES_CONNECTABLE,
    .lookup = gofer_lookup,
    .refresh = gofer_refresh,
    .readlink = gofer_readlink,
    .open = gofer_open,
    .stat = gofer_stat,
    .statfs = gofer_statfs,
    .access = gofer_access,
    .getxattr = gofer_getxattr,
    .listxattr = gofer_listxattr,
    .get_acl = gofer_get_acl,
    .attributes = gofer_attributes,
    .birth = gofer_birth,
    .release = gofer_inode_release,
};

static void gofer_super_release(struct super_block *sb)
{
    struct goferfs *fs = container_of(sb, struct goferfs, sb);

    listings_clear(&fs->listings);
    readings_clear(&fs->readings);
    namecache_clear(&fs->names);
    lock_destroy(&fs->handles.lock);
    free(fs);
}

/* The root's handle is held for good: every walk that is checked begins there. */
static int ask_root(const struct goferfs_config *config, struct gofer_entry *ret, int *ret_fd)
{
    struct gofer_request req = {.head = {.op = GOFER_WALK, .mode = GOFER_WALK_DONATE}};
    struct gofer_reply reply;
    int fds[GOFER_WALK_MAX], err;

    err = gofer_ask(config->client, &req, &reply, fds);
    if (err < 0)
        return err;
    if (reply.head.error || reply.head.count != 1)
        return reply.head.error ? reply.head.error : -EIO;
    if (!S_ISDIR(reply.entries[0].stat.st_mode)) {
        host_close(fds[0]);
        return -EIO;
    }
    *ret = reply.entries[0];
    *ret_fd = fds[0];
    return 0;
}

/* Both parts only grow. What was looked at in this tick, with no news since, is believed. */
static uint64_t gofer_epoch(struct super_block *sb)
{
    struct goferfs *fs = container_of(sb, struct goferfs, sb);

    if (fs->exclusive)
        return 1;
    return readings_prove(&fs->readings) ? host_clock_ns(CLOCK_MONOTONIC_COARSE) + host_news() : 0;
}

static struct goferfs *goferfs_new(const struct goferfs_config *config,
                                   const struct gofer_entry *root_entry)
{
    struct goferfs *fs = calloc(1, sizeof(*fs));
    struct gofer_inode *root;

    if (!fs)
        return NULL;
    fs->client = config->client;
    fs->memfile = config->memfile;
    fs->exclusive = config->exclusive;
    fs->sb.far = true;
    handles_init(&fs->handles, config->handle_limit);
    listings_init(&fs->listings);
    readings_init(&fs->readings);
    if (namecache_init(&fs->names, config->cache_bytes) < 0) {
        free(fs);
        return NULL;
    }
    root = gofer_inode_new(fs, root_entry, NULL);
    if (root)
        root->pinned = true;
    if (!root || super_init(&fs->sb, &root->inode, gofer_super_release) < 0) {
        inode_unref(root ? &root->inode : NULL);
        namecache_clear(&fs->names);
        free(fs);
        return NULL;
    }
    fs->sb.type = "gofer";
    fs->sb.epoch = gofer_epoch;
    fs->sb.dev = (uint32_t)root->inode.dev;
    fs->sb.read_only = true;
    fs->sb.checks_modes = config->checks_modes;
    fs->sb.has_acls = true;
    fs->sb.has_flags = true;
    return fs;
}

int goferfs_create(const struct goferfs_config *config, struct super_block **ret)
{
    struct gofer_entry root_entry;
    struct goferfs *fs;
    int fd, err;

    err = ask_root(config, &root_entry, &fd);
    if (err < 0)
        return err;
    fs = goferfs_new(config, &root_entry);
    if (!fs) {
        host_close(fd);
        return -ENOMEM;
    }
    handle_give(gofer_inode_of(fs->sb.root->inode), fd);
    *ret = &fs->sb;
    return 0;
}
