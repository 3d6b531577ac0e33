/*
 * The gofer's answers. Every object is reached through an O_PATH descriptor that the kernel found
 * beneath the root; what is opened for reading is that very object again, after its type was seen:
 * devices, sockets and FIFOs are never opened, so no open of the gofer has an effect or blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "gofer/gofer.h"
#include "host/change.h"
#include "host/gofer_protocol.h"
#include "host/io.h"
#include "host/message.h"
#include "host/path.h"

static struct linux_stat to_guest_stat(const struct statx *st)
{
    return (struct linux_stat){
        .st_dev = makedev(st->stx_dev_major, st->stx_dev_minor),
        .st_ino = st->stx_ino,
        .st_nlink = st->stx_nlink,
        .st_mode = st->stx_mode,
        .st_uid = st->stx_uid,
        .st_gid = st->stx_gid,
        .st_rdev = makedev(st->stx_rdev_major, st->stx_rdev_minor),
        .st_size = (int64_t)st->stx_size,
        .st_blksize = st->stx_blksize,
        .st_blocks = (int64_t)st->stx_blocks,
        .st_atime_sec = (uint64_t)st->stx_atime.tv_sec,
        .st_atime_nsec = st->stx_atime.tv_nsec,
        .st_mtime_sec = (uint64_t)st->stx_mtime.tv_sec,
        .st_mtime_nsec = st->stx_mtime.tv_nsec,
        .st_ctime_sec = (uint64_t)st->stx_ctime.tv_sec,
        .st_ctime_nsec = st->stx_ctime.tv_nsec,
    };
}

static uint32_t xattr_flags(int fd, mode_t mode)
{
    uint32_t flags = 0;

    if (S_ISLNK(mode))
        return 0;
    if (host_listxattr_fd(fd, NULL, 0) == 0)
        return GOFER_NO_XATTRS;
    if (host_getxattr_fd(fd, "system.posix_acl_access", NULL, 0) > 0)
        flags |= GOFER_HAS_ACL;
    if (S_ISDIR(mode) && host_getxattr_fd(fd, "system.posix_acl_default", NULL, 0) > 0)
        flags |= GOFER_HAS_DEFAULT_ACL;
    return flags;
}

static int report(int fd, struct gofer_entry *entry)
{
    struct statx st;
    int err = host_statx(fd, &st);

    if (err < 0)
        return err;
    *entry = (struct gofer_entry){
        .stat = to_guest_stat(&st),
        .attributes = st.stx_attributes,
        .attributes_known = st.stx_attributes_mask,
    };
    if (st.stx_mask & STATX_BTIME) {
        entry->flags |= GOFER_HAS_BIRTH;
        entry->birth_sec = st.stx_btime.tv_sec;
        entry->birth_nsec = st.stx_btime.tv_nsec;
    }
    entry->flags |= xattr_flags(fd, st.stx_mode);
    return 0;
}

/* O_PATH on the object itself, symbolic links not followed. The empty path is `dirfd`'s own. */
static int locate(int dirfd, const char *path)
{
    return host_open_beneath(dirfd, *path ? path : ".", O_PATH | O_NOFOLLOW);
}

/* Where the walk begins: the directory that the first `skip` names lead to; ret_rest the others. */
static int start_walk(struct gofer *g, char *path, uint32_t skip, char **ret_rest)
{
    char *at = path, *end = path;
    int fd;

    *ret_rest = path;
    if (skip == 0)
        return host_open_beneath(g->root, ".", O_PATH | O_DIRECTORY);
    for (; skip > 0; skip--) {
        end = strchrnul(at, '/');
        at = *end ? end + 1 : end;
    }
    *end = '\0';
    *ret_rest = at;
    fd = host_open_beneath(g->root, path, O_PATH | O_DIRECTORY);
    /* A name that is a symbolic link now was a directory when the Sentry looked. */
    return fd == -ELOOP ? -ENOTDIR : fd;
}

/* Looks up one name below `dir`: its O_PATH descriptor, or -errno. */
static int step(int dir, const char *name, struct gofer_entry *entry)
{
    int fd = locate(dir, name);
    int err;

    if (fd < 0)
        return fd;
    err = report(fd, entry);
    if (err < 0) {
        host_close(fd);
        return err;
    }
    return fd;
}

static void read_target(int link, struct gofer_reply *reply)
{
    ssize_t n = host_readlink_fd(link, reply->target, GOFER_TARGET_MAX);

    reply->head.error = n < 0 ? (int)n : 0;
    reply->head.target_size = n < 0 ? 0 : (uint32_t)n;
}

/* The root, or the last name alone: nothing on the way needs a descriptor. */
static void walk_to_one(struct gofer *g, const struct gofer_request *req, struct gofer_reply *reply,
                        int *found)
{
    int fd = step(g->root, req->path, &reply->entries[0]);

    if (fd < 0) {
        reply->head.error = fd == -ELOOP ? -ENOTDIR : fd; /* as start_walk() */
        return;
    }
    found[reply->head.count++] = fd;
    if (S_ISLNK(reply->entries[0].stat.st_mode))
        read_target(fd, reply);
}

static void walk_through(struct gofer *g, struct gofer_request *req, uint32_t left,
                         struct gofer_reply *reply, int *found)
{
    struct gofer_reply_head *head = &reply->head;
    bool siblings = req->head.mode & GOFER_WALK_SIBLINGS;
    char *rest;
    int start = start_walk(g, req->path, req->head.skip, &rest), dir = start;

    if (start < 0) {
        head->error = start;
        return;
    }
    while (left > 0 && head->count < GOFER_WALK_MAX) {
        struct gofer_entry *entry = &reply->entries[head->count];
        char *end = strchrnul(rest, '/');
        bool more = *end;
        int fd;

        *end = '\0';
        fd = step(dir, rest, entry);
        if (fd < 0) {
            head->error = fd;
            break;
        }
        found[head->count++] = fd;
        if (S_ISLNK(entry->stat.st_mode))
            read_target(fd, reply);
        if (!siblings)
            dir = fd;
        if (siblings ? S_ISLNK(entry->stat.st_mode) : !S_ISDIR(entry->stat.st_mode))
            break;
        rest = more ? end + 1 : end;
        left--;
    }
    host_close(start);
}

/* `looking`: nobody has asked for it yet. */
static bool may_open(int fd, mode_t mode, bool looking, int *ret_err)
{
    struct statfs fs;

    if (S_ISREG(mode) || S_ISDIR(mode)) {
        /* The host's view of its processes, ourselves among them, is not for the guest. */
        if (host_fstatfs(fd, &fs) == 0 && fs.f_type != PROC_SUPER_MAGIC &&
            !(looking && fs.f_type == AUTOFS_SUPER_MAGIC))
            return true;
        *ret_err = -EACCES;
    } else if (S_ISLNK(mode)) {
        *ret_err = -ELOOP;
    } else {
        /* Sockets cannot be opened on Linux either; a device here is as on a nodev mount. */
        *ret_err = S_ISCHR(mode) || S_ISBLK(mode) ? -EACCES : -ENXIO;
    }
    return false;
}

/*
 * What was found, open for reading where that is what comes next: who looks at a directory often
 * lists it. Not an automount point, which is not sprung by looking at it.
 */
static void open_found(struct gofer *g, const struct gofer_request *req, struct gofer_entry *entry,
                       int *fd)
{
    mode_t mode = entry->stat.st_mode;
    int opened, err;

    if (!S_ISDIR(mode) && !(S_ISREG(mode) && (req->head.mode & GOFER_WALK_OPEN)))
        return;
    opened = may_open(*fd, mode, true, &err) ? host_reopen(g->proc_fds, *fd) : err;
    if (opened < 0)
        return;
    host_close(*fd);
    *fd = opened;
    entry->flags |= GOFER_READABLE;
}

/* The descriptors of all that was found are left in `found`, reply->head.count of them. */
static void walk(struct gofer *g, struct gofer_request *req, uint32_t names,
                 struct gofer_reply *reply, int *found)
{
    uint32_t left = names - req->head.skip, open_from;

    if (names == 0 || left == 1)
        walk_to_one(g, req, reply, found);
    else
        walk_through(g, req, left, reply, found);
    if (!(req->head.mode & GOFER_WALK_DONATE))
        return;
    open_from = req->head.mode & GOFER_WALK_SIBLINGS ? 0 : MAX(left, 1U) - 1;
    for (uint32_t i = open_from; i < reply->head.count; i++)
        open_found(g, req, &reply->entries[i], &found[i]);
}

/* The descriptor to donate, or -errno. */
static int open_object(struct gofer *g, struct gofer_request *req, struct gofer_reply *reply)
{
    int fd = locate(g->root, req->path);
    int err, opened;

    if (fd < 0)
        return fd;
    opened = report(fd, &reply->entries[0]);
    if (opened == 0 && may_open(fd, reply->entries[0].stat.st_mode, false, &err))
        opened = host_reopen(g->proc_fds, fd);
    else if (opened == 0)
        opened = err;
    host_close(fd);
    if (opened >= 0)
        reply->head.count = 1;
    return opened;
}

static int access_object(struct gofer *g, struct gofer_request *req)
{
    int fd = locate(g->root, req->path);
    int err;

    if (fd < 0)
        return fd;
    err = host_access_fd(fd, (int)req->head.mode);
    host_close(fd);
    return err;
}

static int statfs_object(struct gofer *g, struct gofer_request *req, struct linux_statfs *ret)
{
    int fd = locate(g->root, req->path);
    struct statfs fs;
    int err;

    if (fd < 0)
        return fd;
    err = host_fstatfs(fd, &fs);
    host_close(fd);
    static_assert(sizeof(fs) == sizeof(*ret), "struct statfs is the guest's");
    if (!err)
        memcpy(ret, &fs, sizeof(*ret));
    return err;
}

static int send_reply(struct gofer *g, const struct gofer_request *req, struct gofer_reply *reply,
                      const int *passed)
{
    enum gofer_op op = (enum gofer_op)req->head.op;
    struct iovec iov[3] = {
        {&reply->head, sizeof(reply->head)},
        {reply->entries, reply->head.count * sizeof(struct gofer_entry)},
        {reply->target, reply->head.target_size},
    };

    if (op == GOFER_STATFS && reply->head.error == 0)
        iov[1] = (struct iovec){&reply->statfs, sizeof(reply->statfs)};
    return host_send_passing(g->socket, iov, ARRAY_COUNT(iov), passed,
                             (int)gofer_reply_passed(reply, op, req->head.mode));
}

int gofer_serve(struct gofer *g, struct gofer_request *req, size_t size)
{
    static struct gofer_reply reply;
    int found[GOFER_WALK_MAX];
    uint32_t names, count;
    int err;

    static_assert(GOFER_WALK_MAX <= HOST_PASSED_MAX, "all that is found can be passed");
    if (!gofer_request_valid(req, size, &names))
        return -EPROTO;
    memset(&reply.head, 0, sizeof(reply.head));
    switch ((enum gofer_op)req->head.op) {
    case GOFER_WALK:
        walk(g, req, names, &reply, found);
        break;
    case GOFER_OPEN:
        found[0] = open_object(g, req, &reply);
        reply.head.error = MIN(found[0], 0);
        break;
    case GOFER_ACCESS:
        reply.head.error = access_object(g, req);
        break;
    case GOFER_STATFS:
        reply.head.error = statfs_object(g, req, &reply.statfs);
        break;
    }
    count = req->head.op == GOFER_WALK || reply.head.error == 0 ? reply.head.count : 0;
    err = send_reply(g, req, &reply, found);
    for (uint32_t i = 0; i < count; i++)
        host_close(found[i]);
    return err;
}
