#include "sentry/vfs/attr/filecaps.h"

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/types.h>

#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"

/* Little-endian on disk; the root id is in the third revision alone. */
struct kept {
    uint32_t magic;
    struct {
        uint32_t permitted, inheritable;
    } half[2];
    uint32_t root;
};
static_assert(sizeof(struct kept) == XATTR_CAPS_SZ_3, "struct vfs_ns_cap_data");

static bool form_known(const struct kept *kept, size_t size)
{
    switch (kept->magic & VFS_CAP_REVISION_MASK) {
    case VFS_CAP_REVISION_1:
        return size == XATTR_CAPS_SZ_1;
    case VFS_CAP_REVISION_2:
        return size == XATTR_CAPS_SZ_2;
    case VFS_CAP_REVISION_3:
        return size == XATTR_CAPS_SZ_3;
    default:
        return false;
    }
}

static ssize_t load(struct dentry *dentry, struct kept *ret)
{
    const struct inode_operations *ops = dentry->inode->ops;
    ssize_t n = -ENODATA;

    *ret = (struct kept){0};
    if (ops->getxattr)
        n = ops->getxattr(dentry, FILE_CAPS_NAME, ret, sizeof(*ret));
    if (n == -EOPNOTSUPP)
        return -ENODATA;
    if (n < 0)
        return n;
    return (size_t)n >= sizeof(ret->magic) && form_known(ret, (size_t)n) ? n : -EINVAL;
}

int file_caps_read(const struct path *path, struct file_caps *ret)
{
    const uint64_t all = (1UL << (CAP_LAST_CAP + 1)) - 1;
    struct kept kept;
    ssize_t n = load(path->dentry, &kept);

    if (n < 0)
        return (int)n;
    *ret = (struct file_caps){
        .permitted = (kept.half[0].permitted | (uint64_t)kept.half[1].permitted << 32) & all,
        .inheritable = (kept.half[0].inheritable | (uint64_t)kept.half[1].inheritable << 32) & all,
        .effective = kept.magic & VFS_CAP_FLAGS_EFFECTIVE,
        .root = seen_uid(path_map(path), kept.root),
    };
    return ret->root == ID_NONE ? -ENODATA : 0;
}

/* The asker's map of user ids; NULL: every id is itself. */
static const struct id_map *own_map(void)
{
    const struct vfs_identity *id = vfs_identity();

    return id->uids ? __atomic_load_n(id->uids, __ATOMIC_ACQUIRE) : NULL;
}

ssize_t file_caps_get(const struct path *path, void *buf, size_t size)
{
    struct kept kept;
    ssize_t n = load(path->dentry, &kept);
    uint32_t root;

    if (n < 0)
        return n;
    root = seen_uid(path_map(path), kept.root);
    if (root != kept.root && n == XATTR_CAPS_SZ_2) { /* of other namespaces than it says */
        kept.magic = (kept.magic & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_3;
        n = XATTR_CAPS_SZ_3;
    }
    root = vfs_identity()->uids ? id_map_from_kernel(own_map(), root) : root;
    if ((kept.magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3) {
        if (root == ID_NONE)
            return -EOVERFLOW;
        if (root == 0) { /* the asker's own: as it was before there were namespaces */
            kept.magic = (kept.magic & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_2;
            n = XATTR_CAPS_SZ_2;
        }
        kept.root = root;
    }
    if (size == 0)
        return n;
    if (size < (size_t)n)
        return -ERANGE;
    memcpy(buf, &kept, (size_t)n);
    return n;
}

static bool may_change(const struct path *path)
{
    return inode_has_cap(path_map(path), path->dentry->inode, CAP_SETFCAP);
}

int file_caps_set(const struct path *path, const void *value, size_t size, int flags)
{
    struct dentry *dentry = path->dentry;
    const struct mount_map *map = path_map(path);
    const struct inode_operations *ops = dentry->inode->ops;
    bool nested = vfs_identity()->uids != NULL;
    struct kept kept = {0};

    if (!ops->setxattr)
        return -EOPNOTSUPP;
    if (!value)
        return may_change(path) ? ops->setxattr(dentry, FILE_CAPS_NAME, NULL, 0, flags) : -EPERM;
    if (size < XATTR_CAPS_SZ_2 || size > sizeof(kept))
        return -EINVAL;
    memcpy(&kept, value, size);
    if (!form_known(&kept, size))
        return -EINVAL;
    if (!may_change(path))
        return -EPERM;
    /* Of a namespace below, they count there and below alone. */
    if (nested || map || (kept.magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3) {
        kept.magic = (kept.magic & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_3;
        kept.root = nested ? id_map_to_kernel(own_map(), kept.root) : kept.root;
        kept.root = kept.root == ID_NONE ? ID_NONE : kept_uid(map, kept.root);
        if (kept.root == ID_NONE)
            return -EINVAL;
        size = XATTR_CAPS_SZ_3;
    }
    return ops->setxattr(dentry, FILE_CAPS_NAME, &kept, size, flags);
}

void file_caps_drop(struct dentry *dentry)
{
    const struct inode_operations *ops = dentry->inode->ops;

    if (ops->setxattr && S_ISREG(inode_mode(dentry->inode)))
        ops->setxattr(dentry, FILE_CAPS_NAME, NULL, 0, XATTR_REPLACE);
}
