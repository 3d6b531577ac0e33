#include "sentry/vfs/attr/fileattr.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/stat.h>

#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/mount/mount.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/permission.h"

/* What the two forms have in common: FS_COMMON_FL, FS_XFLAG_COMMON. */
static const struct {
    uint32_t flag, xflag;
} common[] = {
    {FS_SYNC_FL, FS_XFLAG_SYNC},
    {FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE},
    {FS_APPEND_FL, FS_XFLAG_APPEND},
    {FS_NODUMP_FL, FS_XFLAG_NODUMP},
    {FS_NOATIME_FL, FS_XFLAG_NOATIME},
    {FS_DAX_FL, FS_XFLAG_DAX},
    {FS_PROJINHERIT_FL, FS_XFLAG_PROJINHERIT},
};

static uint32_t to_xflags(uint32_t flags)
{
    uint32_t xflags = 0;

    for (size_t i = 0; i < ARRAY_COUNT(common); i++)
        xflags |= flags & common[i].flag ? common[i].xflag : 0;
    return xflags;
}

static uint32_t to_flags(uint64_t xflags)
{
    uint32_t flags = 0;

    for (size_t i = 0; i < ARRAY_COUNT(common); i++)
        flags |= xflags & common[i].xflag ? common[i].flag : 0;
    return flags;
}

static bool has_flags(const struct dentry *dentry)
{
    uint32_t type = inode_type(dentry->inode);

    return dentry->sb->has_flags && (type == S_IFREG || type == S_IFDIR);
}

static int get_flags(struct dentry *dentry, uint32_t *ret)
{
    if (dentry->inode->ops->get_flags)
        return dentry->inode->ops->get_flags(dentry, ret);
    *ret = inode_flags(dentry->inode);
    return 0;
}

int vfs_fileattr_get(const struct path *path, struct fileattr *ret)
{
    uint32_t flags;
    int err = has_flags(path->dentry) ? get_flags(path->dentry, &flags) : -EOPNOTSUPP;

    if (err < 0)
        return err;
    *ret = (struct fileattr){.flags = flags, .xflags = to_xflags(flags)};
    return 0;
}

/* fileattr_set_prepare() */
static int check(const struct inode *inode, const struct fileattr *attr, uint32_t old)
{
    bool regular = inode_type(inode) == S_IFREG;

    if (((attr->flags ^ old) & (FS_APPEND_FL | FS_IMMUTABLE_FL)) &&
        !vfs_has_cap(CAP_LINUX_IMMUTABLE))
        return -EPERM;
    if (vfs_identity()->uids && (attr->project || (attr->xflags & FS_XFLAG_PROJINHERIT)))
        return -EINVAL;
    if (((attr->xflags & FS_XFLAG_EXTSIZE) && !regular) ||
        ((attr->xflags & FS_XFLAG_EXTSZINHERIT) && regular))
        return -EINVAL;
    return 0;
}

/* Does it ask for what tmpfs has not: shmem_fileattr_set()? `any`: of flags, that is not known. */
static bool asks_too_much(const struct fileattr *attr, bool any)
{
    uint64_t xflags = attr->xflags & ~(uint64_t)to_xflags(UINT32_MAX);

    if (!attr->extent_size)
        xflags &= ~(uint64_t)(FS_XFLAG_EXTSIZE | FS_XFLAG_EXTSZINHERIT);
    if (!attr->cow_extent_size)
        xflags &= ~(uint64_t)FS_XFLAG_COWEXTSIZE;
    if (attr->by_xflags && (xflags || attr->extent_size || attr->project || attr->cow_extent_size))
        return true;
    return !any && (attr->flags & ~(uint32_t)FILEATTR_MODIFIABLE);
}

int vfs_fileattr_set(const struct path *path, const struct fileattr *attr)
{
    struct dentry *dentry = path->dentry;
    struct fileattr to = *attr;
    uint32_t old;
    int err;

    if (path_read_only(path))
        return -EROFS;
    if (!has_flags(dentry) || !dentry->inode->ops->set_flags)
        return -EOPNOTSUPP;
    if (!path_owned(path))
        return -EPERM;
    err = get_flags(dentry, &old);
    if (err < 0)
        return err;
    if (to.by_xflags)
        to.flags = to_flags(to.xflags) | (old & ~to_flags(UINT64_MAX));
    else
        to.xflags = to_xflags(to.flags);
    err = check(dentry->inode, &to, old);
    if (!err && asks_too_much(&to, dentry->inode->ops->get_flags != NULL))
        err = -EOPNOTSUPP;
    if (!err)
        err = dentry->inode->ops->set_flags(dentry, to.flags);
    if (!err)
        notify_path(path, NOTIFY_ATTRIB);
    return err;
}

uint32_t fileattr_inherited(const struct inode *dir, uint32_t mode)
{
    return S_ISLNK(mode) ? 0 : inode_flags(dir) & (FS_NODUMP_FL | FS_NOATIME_FL);
}

uint64_t vfs_attributes(struct dentry *dentry, uint64_t *ret_known)
{
    const struct inode_operations *ops = dentry->inode->ops;
    uint32_t flags = inode_flags(dentry->inode);
    uint64_t attributes = 0;

    *ret_known = STATX_ATTR_AUTOMOUNT | STATX_ATTR_DAX;
    if (dentry->sb->has_flags)
        *ret_known |= STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP;
    if (ops->attributes)
        attributes = ops->attributes(dentry, ret_known);
    attributes &= ~(uint64_t)(STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP);
    attributes |= (flags & FS_IMMUTABLE_FL ? STATX_ATTR_IMMUTABLE : 0) |
                  (flags & FS_APPEND_FL ? STATX_ATTR_APPEND : 0) |
                  (flags & FS_NODUMP_FL ? STATX_ATTR_NODUMP : 0);
    return attributes & *ret_known;
}
