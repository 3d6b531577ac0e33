/*
 * Looking names up: those that are remembered first, one below the other, then the gofer is asked
 * for the rest in one round trip.
 *
 * In a shared tree a remembered name is believed as long as its directory's times are those from
 * before the host looked. Times have a grain, though: within one grain a second change leaves the
 * same time. So what was found in a directory that was changed just before is not remembered.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/clock.h"
#include "host/io.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/internal.h"
#include "sentry/vfs/path/namei.h"

#define NS_PER_S 1000000000UL
/* Longer than any tick of Linux, and what a file system may add to it. */
#define GRAIN_NS (50UL * 1000 * 1000)

/* A directory on the way: where the next name is looked up. */
struct place {
    struct goferfs *fs;
    struct gofer_inode *dir; /* borrowed from whom the walk holds */
    struct stamp stamp;      /* its times, from before the name is looked up */
    bool stamped;            /* they are known; always so in a tree that is ours alone */
    size_t path_size;        /* the first bytes of the request's path that lead here */
};

static void enter(struct place *at, struct gofer_inode *dir, const struct linux_stat *st)
{
    at->dir = dir;
    at->stamp = stamp_of(st);
    at->stamped = true;
}

/* Its attributes are looked at as well: they belong to the answer. */
static enum cache_answer ask_cache(struct place *at, struct name name, struct linux_stat *ret_stat,
                                   struct gofer_inode **ret)
{
    const struct stamp *stamp = at->fs->exclusive ? NULL : &at->stamp;
    enum cache_answer answer = namecache_find(&at->fs->names, at->dir, name, stamp, ret);

    if (answer == NAME_FOUND && !gofer_inode_look(*ret, ret_stat))
        answer = NAME_STALE;
    if (answer != NAME_FOUND && *ret) {
        inode_unref(&(*ret)->inode);
        *ret = NULL;
    }
    return answer;
}

/*
 * As many names as are remembered; *at moves along. True when that was all there is to say, with
 * ret_error set; else the gofer has to be asked for names[*ret_found].
 */
static bool walk_cached(struct place *at, const struct name *names, int count,
                        struct inode **ret_inodes, int *ret_found, int *ret_error)
{
    int found = 0;
    bool done = false;

    while (found < count && at->stamped && !done) {
        struct gofer_inode *inode;
        struct linux_stat st;
        enum cache_answer answer = ask_cache(at, names[found], &st, &inode);

        if (answer == NAME_ABSENT) {
            *ret_error = -ENOENT;
            done = true;
        } else if (answer == NAME_FOUND) {
            ret_inodes[found++] = &inode->inode;
            done = found == count || inode_type(&inode->inode) != S_IFDIR;
            enter(at, inode, &st);
        } else {
            break;
        }
    }
    *ret_found = found;
    return done;
}

/* Appends a name to the request's path; false: no room. */
static bool append_name(struct gofer_request *req, struct name name)
{
    size_t size = req->head.path_size, slash = size ? 1 : 0;

    if (size + slash + name.size > GOFER_PATH_MAX)
        return false;
    if (slash)
        req->path[size] = '/';
    memcpy(req->path + size + slash, name.text, name.size);
    req->head.path_size += (uint32_t)(slash + name.size);
    return true;
}

bool stamp_at_rest(const struct stamp *stamp, uint64_t now)
{
    uint64_t changed = MAX(stamp->ctime_sec, stamp->mtime_sec);

    /* A whole second more than needed where the fraction would have to be looked at. */
    if (changed > now / NS_PER_S)
        return false;
    if (changed + 1 < now / NS_PER_S)
        return true;
    return MAX(stamp->ctime_sec * NS_PER_S + stamp->ctime_nsec,
               stamp->mtime_sec * NS_PER_S + stamp->mtime_nsec) +
               GRAIN_NS <
           now;
}

/* Was the directory at rest before `now`, so that its times tell of every change since? */
static bool at_rest(const struct place *at, uint64_t now)
{
    return at->fs->exclusive || (at->stamped && stamp_at_rest(&at->stamp, now));
}

static void remember(struct place *at, struct name name, struct gofer_inode *inode, uint64_t now)
{
    if (at_rest(at, now))
        namecache_put(&at->fs->names, at->dir, name, inode, &at->stamp);
    else
        namecache_forget(&at->fs->names, at->dir, name);
}

static bool is_object(struct gofer_inode *g, const struct linux_stat *st, const char *target)
{
    return g->inode.ino == st->st_ino && g->inode.dev == st->st_dev &&
           inode_type(&g->inode) == (st->st_mode & S_IFMT) &&
           (!g->target || (target && strcmp(g->target, target) == 0));
}

/* The inode of what was just found: what it was before if it is that still, so that it is one. */
static struct gofer_inode *inode_for(struct place *at, struct name name,
                                     const struct gofer_entry *entry, const char *target)
{
    struct gofer_inode *known;

    namecache_find(&at->fs->names, at->dir, name, NULL, &known);
    if (known && is_object(known, &entry->stat, target)) {
        gofer_inode_learn(known, entry);
        return known;
    }
    if (known)
        inode_unref(&known->inode);
    return gofer_inode_new(at->fs, entry, target);
}

static bool expects_open(struct gofer_inode *dir)
{
    uint32_t opens = __atomic_load_n(&dir->opens, __ATOMIC_RELAXED);

    if (opens == 0)
        return false;
    __atomic_store_n(&dir->opens, opens - 1, __ATOMIC_RELAXED);
    return true;
}

/* One question, with descriptors if there is room for them. */
static int ask(const struct place *at, struct gofer_request *req, bool siblings,
               struct gofer_reply *ret_reply, int *ret_fds)
{
    struct goferfs *fs = at->fs;
    uint32_t mode = siblings ? GOFER_WALK_SIBLINGS : 0;
    int err;

    req->head.mode = mode | (fs->exclusive ? 0 : GOFER_WALK_DONATE);
    if (!fs->exclusive && (walk_is_to_open() || expects_open(at->dir)))
        req->head.mode |= GOFER_WALK_OPEN;
    err = gofer_ask(fs->client, req, ret_reply, ret_fds);
    if (err == -ENFILE) {
        handles_shrink(&fs->handles);
        req->head.mode = mode;
        err = gofer_ask(fs->client, req, ret_reply, ret_fds);
    }
    return err;
}

/* The descriptor that came along with what the reply says of `g`, which is `name` below `dir`. */
static void take_handle(struct gofer_inode *g, struct name dir, struct name name,
                        const struct gofer_entry *entry, int fd)
{
    struct stamp stamp = stamp_of(&entry->stat);
    char path[GOFER_PATH_MAX + 3];

    if (entry->flags & GOFER_READABLE) {
        snprintf(path, sizeof(path), "%s%.*s/%.*s", dir.size ? "/" : "", (int)dir.size, dir.text,
                 (int)name.size, name.text);
        handle_give_readable(g, fd, path, &stamp);
    } else {
        handle_give(g, fd);
    }
}

/*
 * Takes entry `i` of the reply, the object that `name` means, into *ret, remembers it and goes
 * there. A descriptor that came along is its handle.
 */
static int take_entry(struct place *at, const struct gofer_request *req, struct name name,
                      const struct gofer_reply *reply, uint32_t i, int fd, uint64_t now,
                      struct inode **ret)
{
    const struct linux_stat *st = &reply->entries[i].stat;
    bool link = i + 1 == reply->head.count && S_ISLNK(st->st_mode);
    struct gofer_inode *g = inode_for(at, name, &reply->entries[i], link ? reply->target : NULL);

    if (!g) {
        if (fd >= 0)
            host_close(fd);
        return -ENOMEM;
    }
    if (fd >= 0)
        take_handle(g, (struct name){req->path, at->path_size}, name, &reply->entries[i], fd);
    if (at->fs->exclusive || handle_held(g))
        remember(at, name, g, now);
    *ret = &g->inode;
    enter(at, g, st);
    at->path_size += name.size + (at->path_size ? 1 : 0);
    return 0;
}

static void close_rest(const int *fds, uint32_t from, uint32_t count)
{
    for (; from < count; from++)
        host_close(fds[from]);
}

/* The reply's first entry is the directory itself, whose handle had been let go. */
static void take_own(struct place *at, const struct gofer_reply *reply, const int *fds,
                     bool donated)
{
    const struct linux_stat *st = &reply->entries[0].stat;

    if (is_object(at->dir, st, at->dir->target)) {
        gofer_inode_learn(at->dir, &reply->entries[0]);
        enter(at, at->dir, st);
        if (donated)
            handle_give(at->dir, fds[0]);
    } else if (donated) {
        host_close(fds[0]);
    }
}

/* Asks for `count` names below *at, to which names before them led from `dir`; as lookup(). */
static int walk_gofer(struct place *at, struct gofer_request *req, const struct name *names,
                      int count, bool own, struct inode **ret_inodes, int *ret_error)
{
    uint64_t now = host_clock_ns(CLOCK_REALTIME_COARSE);
    int fds[GOFER_WALK_MAX], asked = 0, err;
    struct gofer_reply reply;
    uint32_t passed, i = own ? 1 : 0;
    bool ended = false; /* at what is no directory, whatever else the gofer says */
    int found = 0;

    while (asked < MIN(count, GOFER_WALK_MAX - (int)i) && append_name(req, names[asked]))
        asked++;
    if (asked == 0)
        return -ENAMETOOLONG;
    err = ask(at, req, false, &reply, fds);
    if (err < 0)
        return err;
    passed = gofer_reply_passed(&reply, GOFER_WALK, req->head.mode);
    if (own && reply.head.count > 0)
        take_own(at, &reply, fds, passed > 0);
    for (; i < reply.head.count && found < asked && !err && !ended; i++) {
        err = take_entry(at, req, names[found], &reply, i, passed ? fds[i] : -1, now,
                         &ret_inodes[found]);
        found += err ? 0 : 1;
        ended = !err && inode_type(&at->dir->inode) != S_IFDIR;
    }
    close_rest(fds, i, passed);
    if (err < 0) {
        while (found > 0)
            inode_unref(ret_inodes[--found]);
        return err;
    }
    *ret_error = ended ? 0 : reply.head.error;
    if (found < asked && *ret_error == -ENOENT && (!own || reply.head.count > 0))
        remember(at, names[found], NULL, now);
    return found == 0 && *ret_error == 0 ? -EIO : found;
}

/*
 * As walk_gofer() for one name in a directory that is listed: others that will be looked up next
 * are asked for along with it, and remembered.
 */
static int look_ahead(struct place *at, struct gofer_request *req, struct name name,
                      const struct names_ahead *ahead, struct inode **ret_inode, int *ret_error)
{
    uint64_t now = host_clock_ns(CLOCK_REALTIME_COARSE);
    int fds[GOFER_WALK_MAX], asked = 1, err;
    struct gofer_reply reply;
    uint32_t passed, i = 0;

    if (!append_name(req, name))
        return -ENAMETOOLONG;
    while (asked <= ahead->count && append_name(req, ahead->names[asked - 1]))
        asked++;
    err = ask(at, req, true, &reply, fds);
    if (err < 0)
        return err;
    passed = gofer_reply_passed(&reply, GOFER_WALK, req->head.mode);
    for (; i < MIN(reply.head.count, (uint32_t)asked) && !err; i++) {
        struct name this = i == 0 ? name : ahead->names[i - 1];
        struct place here = *at;
        struct inode *inode;

        err = take_entry(&here, req, this, &reply, i, passed ? fds[i] : -1, now, &inode);
        if (i == 0 && !err)
            *ret_inode = inode;
        else if (!err)
            inode_unref(inode);
    }
    close_rest(fds, i, passed);
    if (i > 1 || (i == 1 && !err))
        return 1;
    *ret_error = err ? err : reply.head.error;
    if (*ret_error == -ENOENT)
        remember(at, name, NULL, now);
    return *ret_error ? 0 : -EIO;
}

/* Asks for `count` names below *at, the last one with those that will be looked up after it. */
static int ask_gofer(struct place *at, struct gofer_request *req, const struct name *names,
                     int count, bool own, struct inode **ret_inodes, int *ret_error)
{
    uint64_t now = host_clock_ns(CLOCK_REALTIME_COARSE);
    struct goferfs *fs = at->fs;
    struct names_ahead ahead;

    if (count == 1 && !fs->exclusive && at_rest(at, now)) {
        listing_ahead(&fs->listings, at->dir, names[0],
                      (int)MIN(fs->handles.limit / 16, (uint32_t)NAMES_AHEAD), &ahead);
        if (ahead.count > 0)
            return look_ahead(at, req, names[0], &ahead, ret_inodes, ret_error);
    }
    return walk_gofer(at, req, names, count, own, ret_inodes, ret_error);
}

int gofer_lookup(struct dentry *dir, const struct name *names, int count, struct inode **ret_inodes,
                 int *ret_error)
{
    struct gofer_request req;
    struct place at = {.fs = goferfs_of(dir), .dir = gofer_inode_of(dir->inode)};
    struct linux_stat st;
    int known, more, err;
    bool own;

    if (gofer_inode_look(at.dir, &st))
        enter(&at, at.dir, &st);
    *ret_error = 0;
    if (walk_cached(&at, names, count, ret_inodes, &known, ret_error))
        return known;
    err = gofer_start_request(dir, GOFER_WALK, &req);
    for (int i = 0; i < known && !err; i++) {
        if (!append_name(&req, names[i]))
            err = -ENAMETOOLONG;
    }
    if (err < 0 && known > 0) {
        *ret_error = err;
        return known;
    }
    if (err < 0)
        return err;
    own = !at.stamped && dir->parent;
    req.head.skip = gofer_depth(dir) + (uint32_t)known - (own ? 1 : 0);
    at.path_size = req.head.path_size;
    more = ask_gofer(&at, &req, names + known, count - known, own, ret_inodes + known, ret_error);
    if (more < 0 && known > 0) {
        *ret_error = more;
        more = 0;
    }
    return more < 0 ? more : known + more;
}
