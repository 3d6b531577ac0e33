/*
 * A share's answers (host/share_protocol.h). A handle is the number of one of our descriptors,
 * O_PATH, found beneath the folder; the table says which numbers were given out. Names are looked
 * up one at a time in a descriptor of their directory, symbolic links not followed, so no request
 * leads out of the folder, whoever renames in it meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gofer/gofer.h"
#include "host/change.h"
#include "host/io.h"
#include "host/message.h"
#include "host/path.h"
#include "host/share_protocol.h"

#define HANDLES_MAX 65536

struct share {
    struct gofer *gofer;
    const struct share_request_head *req;
    char name[SHARE_NAME_MAX + 1]; /* terminated, as is the data */
    char *data;
    struct share_reply *reply;
    int passed; /* the descriptor that goes along; -1 */
};

/* What a handle stands for. A file that was made here can be opened once as its maker may. */
static struct {
    bool given;
    int made; /* -1; or open for reading and writing */
} handles[HANDLES_MAX];

static void put_stat(struct share *s, const struct stat *st)
{
    static_assert(sizeof(*st) == sizeof(s->reply->head.stat), "struct stat is the guest's");
    memcpy(&s->reply->head.stat, st, sizeof(*st));
}

/* What fstat(2) does not say. */
static void put_rest(struct share *s, int fd)
{
    struct share_reply_head *head = &s->reply->head;
    struct statx st;
    uint32_t mode = head->stat.st_mode, acls = 0;

    if (!S_ISLNK(mode) && host_getxattr_fd(fd, "system.posix_acl_access", NULL, 0) > 0)
        acls |= SHARE_ACL;
    if (S_ISDIR(mode) && host_getxattr_fd(fd, "system.posix_acl_default", NULL, 0) > 0)
        acls |= SHARE_DEFAULT_ACL;
    head->acls = acls;
    if (host_statx(fd, &st) < 0)
        return;
    head->has_birth = (st.stx_mask & STATX_BTIME) != 0;
    head->birth_sec = st.stx_btime.tv_sec;
    head->birth_nsec = st.stx_btime.tv_nsec;
    head->attributes = st.stx_attributes;
    head->attributes_known = st.stx_attributes_mask;
}

static int fd_of(const struct share *s, uint32_t handle)
{
    if (handle == SHARE_ROOT)
        return s->gofer->root;
    return handle < HANDLES_MAX && handles[handle].given ? (int)handle : -EBADF;
}

/* Gives `fd`, O_PATH, out, with its status in the reply. */
static int give(struct share *s, int fd, int made)
{
    struct stat st;
    int err = fd < HANDLES_MAX ? host_fstat(fd, &st) : -ENFILE;

    if (err < 0) {
        host_close(fd);
        if (made >= 0)
            host_close(made);
        return err;
    }
    put_stat(s, &st);
    put_rest(s, fd);
    if (st.st_dev == s->req->known_dev && st.st_ino == s->req->known_ino && made < 0) {
        host_close(fd);
        return 0;
    }
    handles[fd].given = true;
    handles[fd].made = made;
    s->reply->head.handle = (uint32_t)fd;
    return 0;
}

static int forget(struct share *s)
{
    int fd = fd_of(s, s->req->handle);

    if (fd < 0 || s->req->handle == SHARE_ROOT)
        return -EBADF;
    if (handles[fd].made >= 0)
        host_close(handles[fd].made);
    handles[fd].given = false;
    host_close(fd);
    return 0;
}

static int find(int dir, const char *name)
{
    return host_open_beneath(dir, name, O_PATH | O_NOFOLLOW);
}

static int lookup(struct share *s, int dir)
{
    int fd = find(dir, s->name);
    ssize_t n;
    int err;

    if (fd < 0)
        return fd;
    n = host_readlink_fd(fd, s->reply->data, SHARE_DATA_MAX);
    err = give(s, fd, -1);
    if (!err && S_ISLNK(s->reply->head.stat.st_mode)) {
        if (n < 0)
            return (int)n;
        s->reply->head.data_size = (uint32_t)n;
    }
    return err;
}

static int report(struct share *s, int fd)
{
    struct stat st;
    int err = host_fstat(fd, &st);

    if (!err) {
        put_stat(s, &st);
        put_rest(s, fd);
    }
    return err;
}

static int report_statfs(struct share *s, int fd)
{
    struct statfs fs;
    int err = host_fstatfs(fd, &fs);

    static_assert(sizeof(fs) == sizeof(struct linux_statfs), "struct statfs is the guest's");
    if (err < 0)
        return err;
    memcpy(s->reply->data, &fs, sizeof(fs));
    s->reply->head.data_size = sizeof(fs);
    return 0;
}

static int open_object(struct share *s, int fd)
{
    struct statfs fs;
    int err = report(s, fd);

    if (err < 0)
        return err;
    if (!S_ISREG(s->reply->head.stat.st_mode) && !S_ISDIR(s->reply->head.stat.st_mode))
        return -EACCES;
    if (host_fstatfs(fd, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC)
        return -EACCES;
    if (s->req->handle != SHARE_ROOT && handles[fd].made >= 0) {
        s->passed = handles[fd].made;
        handles[fd].made = -1;
        return 0;
    }
    s->passed = host_reopen_for(fd, (int)s->req->flags & O_ACCMODE);
    return MIN(s->passed, 0);
}

/* Owner and group that the host does not permit stay ours. */
static void set_owner(struct share *s, int fd)
{
    const struct linux_stat *st = &s->reply->head.stat;

    if (st->st_uid == s->req->uid && st->st_gid == s->req->gid)
        return;
    if (host_chown_fd(fd, s->req->uid, s->req->gid) == 0 && !S_ISLNK(s->req->mode))
        host_chmod_fd(fd, s->req->mode & 07777);
    report(s, fd);
}

static int make(struct share *s, int dir)
{
    uint32_t mode = s->req->mode;
    int made = -1, err, fd;

    if (S_ISREG(mode)) {
        made = host_make_file(dir, s->name, mode & 07777);
        err = MIN(made, 0);
    } else if (S_ISDIR(mode)) {
        err = host_make_directory(dir, s->name, mode & 07777);
    } else if (S_ISLNK(mode)) {
        err = host_make_symlink(dir, s->name, s->data);
    } else if (S_ISFIFO(mode) || S_ISSOCK(mode) || S_ISCHR(mode)) {
        err = host_make_node(dir, s->name, mode);
    } else {
        err = -EPERM;
    }
    if (err < 0)
        return err;
    fd = find(dir, s->name);
    if (fd < 0) {
        if (made >= 0)
            host_close(made);
        return fd;
    }
    err = give(s, fd, made);
    if (!err)
        set_owner(s, (int)s->reply->head.handle);
    return err;
}

static int tmpfile_in(struct share *s, int dir)
{
    int made = host_make_unnamed(dir, s->req->mode & 07777), fd;

    if (made < 0)
        return made;
    /* A handle of its own: the other goes to the Sentry. */
    fd = host_dup_above(made, 0);
    if (fd < 0) {
        host_close(made);
        return fd;
    }
    return give(s, fd, made);
}

static int set_times(struct share *s, int fd)
{
    const struct share_request_head *req = s->req;
    struct timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};

    if (req->mask & SHARE_ATTR_ATIME)
        times[0] = (struct timespec){req->atime_sec, req->atime_nsec};
    if (req->mask & SHARE_ATTR_MTIME)
        times[1] = (struct timespec){req->mtime_sec, req->mtime_nsec};
    return host_set_times_fd(fd, times);
}

static int cut(struct share *s, int fd)
{
    int writable, err = report(s, fd);

    if (!err && !S_ISREG(s->reply->head.stat.st_mode))
        err = -EINVAL;
    writable = err ? err : host_reopen_for(fd, O_WRONLY);
    if (writable < 0)
        return writable;
    err = host_truncate(writable, s->req->size);
    host_close(writable);
    return err;
}

static int set_attributes(struct share *s, int fd)
{
    const struct share_request_head *req = s->req;
    int err = 0;

    if (req->mask & SHARE_ATTR_SIZE)
        err = cut(s, fd);
    if (!err && (req->mask & (SHARE_ATTR_UID | SHARE_ATTR_GID)))
        err = host_chown_fd(fd, req->mask & SHARE_ATTR_UID ? req->uid : UINT32_MAX,
                            req->mask & SHARE_ATTR_GID ? req->gid : UINT32_MAX);
    if (!err && (req->mask & SHARE_ATTR_MODE))
        err = host_chmod_fd(fd, req->mode & 07777);
    if (!err && (req->mask & (SHARE_ATTR_ATIME | SHARE_ATTR_MTIME)))
        err = set_times(s, fd);
    return err ? err : report(s, fd);
}

static int get_xattr(struct share *s, int fd)
{
    size_t room = MIN(s->req->size, (uint64_t)SHARE_DATA_MAX);
    ssize_t n = s->req->op == SHARE_GETXATTR ? host_getxattr_fd(fd, s->name, s->reply->data, room)
                                             : host_listxattr_fd(fd, s->reply->data, room);

    if (n < 0)
        return (int)n;
    s->reply->head.size = (uint64_t)n;
    s->reply->head.data_size = room ? (uint32_t)n : 0;
    return 0;
}

static int set_xattr(struct share *s, int fd)
{
    int err;

    if (s->req->flags == SHARE_XATTR_REMOVE)
        err = host_removexattr_fd(fd, s->name);
    else
        err = host_setxattr_fd(fd, s->name, s->data, s->req->data_size, (int)s->req->flags & 3);
    return err ? err : report(s, fd);
}

static int connect_to(struct share *s, int fd)
{
    int type = (int)s->req->mode;

    if (!s->gofer->connects)
        return -ECONNREFUSED;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -EINVAL;
    s->passed = host_connect_fd(fd, type);
    return MIN(s->passed, 0);
}

/* Of what can be opened for reading: the call wants a file that is open. */
static int flags_of(struct share *s, int fd, bool set)
{
    uint32_t flags = s->req->flags;
    int err = report(s, fd), opened;

    if (err < 0)
        return err;
    if (!s->gofer->writable ||
        (!S_ISREG(s->reply->head.stat.st_mode) && !S_ISDIR(s->reply->head.stat.st_mode)))
        return -ENOTTY;
    opened = host_reopen_for(fd, O_RDONLY);
    if (opened < 0)
        return opened;
    err = set ? host_set_file_flags(opened, flags) : host_get_file_flags(opened, &flags);
    host_close(opened);
    s->reply->head.size = flags;
    return err || !set ? err : report(s, fd);
}

static bool changes(const struct share_request_head *req)
{
    if (req->op == SHARE_OPEN)
        return (req->flags & O_ACCMODE) != O_RDONLY;
    return (req->op >= SHARE_MAKE && req->op <= SHARE_SETATTR) || req->op == SHARE_SETXATTR ||
           req->op == SHARE_SETFLAGS;
}

static int serve(struct share *s)
{
    int fd = fd_of(s, s->req->handle), fd2 = fd_of(s, s->req->handle2);

    if (fd < 0)
        return fd;
    if (changes(s->req) && !s->gofer->writable)
        return -EROFS;
    switch ((enum share_op)s->req->op) {
    case SHARE_LOOKUP:
        return lookup(s, fd);
    case SHARE_STAT:
        return report(s, fd);
    case SHARE_STATFS:
        return report_statfs(s, fd);
    case SHARE_OPEN:
        return open_object(s, fd);
    case SHARE_MAKE:
        return make(s, fd);
    case SHARE_TMPFILE:
        return tmpfile_in(s, fd);
    case SHARE_LINK:
        return fd2 < 0 ? fd2 : host_link_fd(fd, fd2, s->name);
    case SHARE_REMOVE:
        return host_remove(fd, s->name, (int)s->req->flags & AT_REMOVEDIR);
    case SHARE_RENAME:
        return fd2 < 0 ? fd2 : host_rename(fd, s->name, fd2, s->data, s->req->flags);
    case SHARE_SETATTR:
        return set_attributes(s, fd);
    case SHARE_GETXATTR:
    case SHARE_LISTXATTR:
        return get_xattr(s, fd);
    case SHARE_SETXATTR:
        return set_xattr(s, fd);
    case SHARE_FORGET:
        return forget(s);
    case SHARE_CONNECT:
        return connect_to(s, fd);
    case SHARE_GETFLAGS:
    case SHARE_SETFLAGS:
        return flags_of(s, fd, s->req->op == SHARE_SETFLAGS);
    default:
        return -ENOSYS;
    }
}

int share_serve(struct gofer *gofer, struct share_request *req, size_t size)
{
    static struct share_reply reply;
    struct share s = {.gofer = gofer, .req = &req->head, .reply = &reply, .passed = -1};
    struct iovec iov[2];
    int err;

    if (!share_request_valid(req, size))
        return -EPROTO;
    memcpy(s.name, req->bytes, req->head.name_size);
    s.data = req->bytes + req->head.name_size;
    s.data[req->head.data_size] = '\0';
    memset(&reply.head, 0, sizeof(reply.head));
    reply.head.error = serve(&s);
    if (reply.head.error < 0)
        reply.head.data_size = 0;
    iov[0] = (struct iovec){&reply.head, sizeof(reply.head)};
    iov[1] = (struct iovec){reply.data, reply.head.data_size};
    err = host_send_message(gofer->socket, iov, ARRAY_COUNT(iov), s.passed);
    if (s.passed >= 0)
        host_close(s.passed);
    return err;
}
