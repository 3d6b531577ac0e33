#include "sentry/fs/share/share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/fs/share/internal.h"
#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/handle.h"
#include "sentry/vfs/path/special.h"

static const struct name no_name = {"", 0};

void share_forget(struct share *fs, uint32_t handle)
{
    const struct share_request_head head = {.op = SHARE_FORGET, .handle = handle};
    struct share_answer answer = {.data = NULL};

    if (handle != SHARE_ROOT)
        share_ask(fs, &head, no_name, NULL, 0, &answer);
}

struct inode *share_inode_new(struct share *fs, const struct share_answer *answer,
                              const char *target)
{
    struct share_inode *s = calloc(1, sizeof(*s));

    if (s && target)
        s->target = strdup(target);
    if (!s || (target && !s->target)) {
        free(s);
        share_forget(fs, answer->handle);
        return NULL;
    }
    inode_init(&s->inode, &share_operations, answer->stat.st_mode, answer->stat.st_dev,
               answer->stat.st_ino);
    lock_init(&s->lock);
    s->fs = fs;
    s->handle = answer->handle;
    (void)share_learn(s, answer);
    return &s->inode;
}

static void share_inode_release(struct inode *inode)
{
    struct share_inode *s = container_of(inode, struct share_inode, inode);

    vfs_fifo_release(inode);
    share_forget(s->fs, s->handle);
    lock_destroy(&s->lock);
    free(s->target);
    free(s);
}

int share_update(struct share_inode *s, const struct linux_stat *st)
{
    if ((st->st_mode & S_IFMT) != inode_type(&s->inode))
        return -EIO;
    lock_acquire(&s->lock);
    s->stat = *st;
    lock_release(&s->lock);
    __atomic_store_n(&s->inode.mode, st->st_mode, __ATOMIC_RELAXED);
    __atomic_store_n(&s->inode.uid, st->st_uid, __ATOMIC_RELAXED);
    __atomic_store_n(&s->inode.gid, st->st_gid, __ATOMIC_RELAXED);
    return 0;
}

int share_learn(struct share_inode *s, const struct share_answer *answer)
{
    uint32_t flags = (answer->more.attributes & STATX_ATTR_IMMUTABLE ? FS_IMMUTABLE_FL : 0) |
                     (answer->more.attributes & STATX_ATTR_APPEND ? FS_APPEND_FL : 0) |
                     (answer->more.attributes & STATX_ATTR_NODUMP ? FS_NODUMP_FL : 0);
    int err = share_update(s, &answer->stat);

    if (err < 0)
        return err;
    __atomic_store_n(&s->acls, answer->acls, __ATOMIC_RELAXED);
    __atomic_store_n(&s->inode.flags, flags, __ATOMIC_RELAXED);
    lock_acquire(&s->lock);
    s->more = answer->more;
    lock_release(&s->lock);
    return 0;
}

static void share_refresh(struct inode *inode, struct inode *fresh)
{
    struct share_inode *from = container_of(fresh, struct share_inode, inode), *to;
    struct share_more more;
    struct linux_stat st;

    if (inode == fresh || inode_type(inode) != inode_type(fresh))
        return;
    lock_acquire(&from->lock);
    st = from->stat;
    more = from->more;
    lock_release(&from->lock);
    to = container_of(inode, struct share_inode, inode);
    __atomic_store_n(&to->acls, __atomic_load_n(&from->acls, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    lock_acquire(&to->lock);
    to->more = more;
    lock_release(&to->lock);
    __atomic_store_n(&inode->flags, inode_flags(fresh), __ATOMIC_RELAXED);
    (void)share_update(to, &st);
}

int share_look(struct share_inode *s, struct linux_stat *ret)
{
    const struct share_request_head head = {.op = SHARE_STAT, .handle = s->handle};
    struct share_answer answer = {.data = NULL};
    int err = share_ask(s->fs, &head, no_name, NULL, 0, &answer);

    if (!err)
        err = share_learn(s, &answer);
    if (!err)
        *ret = answer.stat;
    return err;
}

static int share_connect(struct dentry *dentry, int type, int *ret_fd)
{
    struct share_inode *s = share_inode_of(dentry);
    const struct share_request_head head = {
        .op = SHARE_CONNECT, .handle = s->handle, .mode = (uint32_t)type};
    struct share_answer answer = {.data = NULL};
    int err = share_ask(s->fs, &head, no_name, NULL, 0, &answer);

    if (!err)
        *ret_fd = answer.fd;
    return err;
}

static int share_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    struct share_inode *s = share_inode_of(dentry);

    if (!fresh)
        return share_look(s, ret);
    lock_acquire(&s->lock);
    *ret = s->stat;
    lock_release(&s->lock);
    return 0;
}

static struct share_more more_of(struct share_inode *s)
{
    struct share_more more;

    lock_acquire(&s->lock);
    more = s->more;
    lock_release(&s->lock);
    return more;
}

static bool share_birth(struct dentry *dentry, struct timespec *ret)
{
    struct share_more more = more_of(share_inode_of(dentry));

    *ret = more.birth;
    return more.has_birth;
}

static uint64_t share_attributes(struct dentry *dentry, uint64_t *ret_known)
{
    const uint64_t passed =
        STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_VERITY;
    struct share_more more = more_of(share_inode_of(dentry));

    *ret_known |= more.attributes_known & passed;
    return more.attributes & passed;
}

static int share_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    struct share_inode *s = share_inode_of(dentry);
    const struct share_request_head head = {.op = SHARE_STATFS, .handle = s->handle};
    struct share_answer answer = {.data = ret, .room = sizeof(*ret)};
    int err = share_ask(s->fs, &head, no_name, NULL, 0, &answer);

    return !err && answer.data_size != sizeof(*ret) ? -EIO : err;
}

static ssize_t share_readlink(struct dentry *link, char *buf, size_t size)
{
    const char *target = share_inode_of(link)->target;
    size_t length = strlen(target);

    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(buf, target, length + 1);
    return (ssize_t)length;
}

static int share_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct share_inode *s = share_inode_of(dentry);
    struct share_request_head head = {.op = SHARE_OPEN, .handle = s->handle};
    struct share_answer answer = {.fd = -1};
    uint32_t type = inode_type(dentry->inode);
    int err;

    if (type == S_IFIFO)
        return vfs_fifo_open(dentry->inode, flags, ret);
    if (type != S_IFREG && type != S_IFDIR)
        return type == S_IFSOCK ? -ENXIO : -EACCES;
    head.flags = flags & O_ACCMODE;
    err = share_ask(s->fs, &head, no_name, NULL, 0, &answer);
    /* What may be written and not read is fine for pages, too, if the host gives both. */
    return err < 0 ? err : share_file_create(dentry, answer.fd, flags, ret);
}

static int change(struct dentry *dentry, const struct share_request_head *head)
{
    struct share_answer answer = {.data = NULL};
    int err = share_ask(share_inode_of(dentry)->fs, head, no_name, NULL, 0, &answer);

    return err < 0 ? err : share_learn(share_inode_of(dentry), &answer);
}

static int share_setattr(struct dentry *dentry, const struct inode_attr *attr)
{
    static_assert((int)SHARE_ATTR_MODE == (int)ATTR_MODE && (int)SHARE_ATTR_UID == (int)ATTR_UID &&
                      (int)SHARE_ATTR_GID == (int)ATTR_GID &&
                      (int)SHARE_ATTR_ATIME == (int)ATTR_ATIME &&
                      (int)SHARE_ATTR_MTIME == (int)ATTR_MTIME,
                  "masks are passed on");
    struct share_request_head head = {
        .op = SHARE_SETATTR,
        .handle = share_inode_of(dentry)->handle,
        .mask = attr->mask & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME | ATTR_MTIME),
        .mode = attr->mode,
        .uid = attr->uid,
        .gid = attr->gid,
        .atime_sec = attr->atime.tv_sec,
        .atime_nsec = (uint32_t)attr->atime.tv_nsec,
        .mtime_sec = attr->mtime.tv_sec,
        .mtime_nsec = (uint32_t)attr->mtime.tv_nsec,
    };

    /* Symbolic links have no mode of their own; the host takes setuid bits away by itself. */
    if (inode_type(dentry->inode) == S_IFLNK || (attr->mask & (ATTR_UID | ATTR_GID)))
        head.mask &= ~(uint32_t)SHARE_ATTR_MODE;
    return change(dentry, &head);
}

static int share_truncate(struct dentry *dentry, uint64_t size)
{
    struct share *fs = share_inode_of(dentry)->fs;
    const struct share_request_head head = {.op = SHARE_SETATTR,
                                            .handle = share_inode_of(dentry)->handle,
                                            .mask = SHARE_ATTR_SIZE,
                                            .size = size};

    struct share_change cut;
    int err;

    if (size > INT64_MAX)
        return -EFBIG;
    share_change_begin(fs, dentry->inode, &cut);
    err = change(dentry, &head);
    if (!err) {
        cut.how = SHARE_CUT;
        cut.size = size;
    }
    share_change_end(fs, dentry->inode, &cut);
    return err;
}

static ssize_t get_xattr(struct dentry *dentry, enum share_op op, struct name name, void *buf,
                         size_t size)
{
    struct share_inode *s = share_inode_of(dentry);
    const struct share_request_head head = {.op = op, .handle = s->handle, .size = size};
    struct share_answer answer = {.data = size ? buf : NULL, .room = size};
    int err = share_ask(s->fs, &head, name, NULL, 0, &answer);

    if (err < 0)
        return err;
    return size ? (ssize_t)answer.data_size : (ssize_t)MIN(answer.size, (uint64_t)SHARE_DATA_MAX);
}

static ssize_t share_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size)
{
    return get_xattr(dentry, SHARE_GETXATTR, (struct name){name, strlen(name)}, buf, size);
}

static ssize_t share_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size)
{
    return get_xattr(dentry, SHARE_LISTXATTR, no_name, buf, size);
}

static int share_setxattr(struct dentry *dentry, const char *name, const void *value, size_t size,
                          int flags)
{
    struct share_inode *s = share_inode_of(dentry);
    const struct share_request_head head = {
        .op = SHARE_SETXATTR,
        .handle = s->handle,
        .flags = value ? (uint32_t)flags : SHARE_XATTR_REMOVE,
    };
    struct share_answer answer = {.data = NULL};
    int err = share_ask(s->fs, &head, (struct name){name, strlen(name)}, value, value ? size : 0,
                        &answer);

    return err < 0 ? err : share_learn(s, &answer);
}

/* The host decides: without privileges over it, of what is the user's own. */
static int share_get_flags(struct dentry *dentry, uint32_t *ret)
{
    struct share_inode *s = share_inode_of(dentry);
    const struct share_request_head head = {.op = SHARE_GETFLAGS, .handle = s->handle};
    struct share_answer answer = {.data = NULL};
    int err = share_ask(s->fs, &head, no_name, NULL, 0, &answer);

    if (err < 0)
        return err == -ENOTTY ? -EOPNOTSUPP : err;
    *ret = (uint32_t)answer.size;
    return share_learn(s, &answer);
}

static int share_set_flags(struct dentry *dentry, uint32_t flags)
{
    const struct share_request_head head = {
        .op = SHARE_SETFLAGS, .handle = share_inode_of(dentry)->handle, .flags = flags};
    int err = change(dentry, &head);

    return err == -ENOTTY ? -EOPNOTSUPP : err;
}

static ssize_t ask_acl(struct share_inode *s, int kind, void *buf, size_t size)
{
    const char *name = kind == ACL_DEFAULT ? ACL_DEFAULT_NAME : ACL_ACCESS_NAME;
    const struct share_request_head head = {
        .op = SHARE_GETXATTR, .handle = s->handle, .size = size};
    struct share_answer answer = {.data = buf, .room = size};
    int err = share_ask(s->fs, &head, (struct name){name, strlen(name)}, NULL, 0, &answer);

    return err < 0 ? err : (ssize_t)answer.data_size;
}

static int share_get_acl(struct inode *inode, struct dentry *dentry, int kind, struct acl **ret)
{
    struct share_inode *s = container_of(inode, struct share_inode, inode);
    uint32_t bit = kind == ACL_DEFAULT ? SHARE_DEFAULT_ACL : SHARE_ACL;
    ssize_t n;
    void *buf;
    int err;

    if (!(__atomic_load_n(&s->acls, __ATOMIC_RELAXED) & bit))
        return 0;
    buf = malloc(SHARE_DATA_MAX);
    if (!buf)
        return -ENOMEM;
    n = ask_acl(s, kind, buf, SHARE_DATA_MAX);
    err = n < 0 ? (int)n : acl_parse(buf, (size_t)n, ret);
    free(buf);
    return err == -ENODATA || err == -EOPNOTSUPP ? 0 : err;
}

const struct inode_operations share_operations = {
    .handles = HANDLES_CONNECTABLE,
    .lookup = share_lookup,
    .refresh = share_refresh,
    .readlink = share_readlink,
    .open = share_open,
    .connect = share_connect,
    .stat = share_stat,
    .statfs = share_statfs,
    .release = share_inode_release,
    .make = share_make,
    .link = share_link,
    .remove = share_remove,
    .rename = share_rename,
    .exchange = share_exchange,
    .tmpfile = share_tmpfile,
    .setattr = share_setattr,
    .truncate = share_truncate,
    .getxattr = share_getxattr,
    .setxattr = share_setxattr,
    .listxattr = share_listxattr,
    .get_acl = share_get_acl,
    .birth = share_birth,
    .attributes = share_attributes,
    .set_flags = share_set_flags,
    .get_flags = share_get_flags,
};

static void share_super_release(struct super_block *sb)
{
    struct share *fs = share_of(sb);

    if (fs->socket >= 0)
        host_close(fs->socket);
    lock_destroy(&fs->pages_lock);
    for (int i = 0; i < SHARE_WRITE_LOCKS; i++)
        lock_destroy(&fs->write_locks[i]);
    lock_destroy(&fs->lock);
    free(fs);
}

int share_create(const struct share_config *config, struct super_block **ret)
{
    const struct share_request_head head = {.op = SHARE_STAT, .handle = SHARE_ROOT};
    struct share_answer answer = {.data = NULL};
    struct share *fs = calloc(1, sizeof(*fs));
    struct inode *root = NULL;
    int err = -ENOMEM;

    if (!fs) {
        host_close(config->socket);
        return -ENOMEM;
    }
    fs->sb.type = "share";
    fs->sb.checks_modes = true;
    fs->sb.has_acls = true;
    fs->sb.has_flags = true;
    fs->sb.read_only = config->read_only;
    fs->memfile = config->memfile;
    lock_init(&fs->pages_lock);
    for (int i = 0; i < SHARE_WRITE_LOCKS; i++)
        lock_init(&fs->write_locks[i]);
    list_init(&fs->pages);
    lock_init(&fs->lock);
    fs->socket = config->socket;
    err = share_ask(fs, &head, no_name, NULL, 0, &answer);
    if (!err && !S_ISDIR(answer.stat.st_mode))
        err = -ENOTDIR;
    if (!err) {
        root = share_inode_new(fs, &answer, NULL);
        err = root ? super_init(&fs->sb, root, share_super_release) : -ENOMEM;
    }
    if (err < 0) {
        inode_unref(root);
        share_super_release(&fs->sb);
        return err;
    }
    *ret = &fs->sb;
    return 0;
}
