#include "sentry/vfs/attr/filecaps.h"

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/types.h>

#include "sentry/vfs/attr/identity.h"

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

int file_caps_read(struct dentry *dentry, struct file_caps *ret)
{
    const uint64_t all = (1UL << (CAP_LAST_CAP + 1)) - 1;
    struct kept kept;
    ssize_t n = load(dentry, &kept);

    if (n < 0)
        return (int)n;
    *ret = (struct file_caps){
        .permitted = (kept.half[0].permitted | (uint64_t)kept.half[1].permitted << 32) & all,
        .inheritable = (kept.half[0].inheritable | (uint64_t)kept.half[1].inheritable << 32) & all,
        .effective = kept.magic & VFS_CAP_FLAGS_EFFECTIVE,
        .root = kept.root,
    };
    return 0;
}

/* The asker's map of user ids; NULL: every id is itself. */
static const struct id_map *own_map(void)
{
    const struct vfs_identity *id = vfs_identity();

    return id->uids ? __atomic_load_n(id->uids, __ATOMIC_ACQUIRE) : NULL;
}

ssize_t file_caps_get(struct dentry *dentry, void *buf, size_t size)
{
    struct kept kept;
    ssize_t n = load(dentry, &kept);
    uint32_t root;

    if (n < 0)
        return n;
    root = vfs_identity()->uids ? id_map_from_kernel(own_map(), kept.root) : kept.root;
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

static bool may_change(const struct dentry *dentry)
{
    const struct inode *inode = dentry->inode;

    return vfs_has_cap_over(__atomic_load_n(&inode->uid, __ATOMIC_RELAXED),
                            __atomic_load_n(&inode->gid, __ATOMIC_RELAXED), CAP_SETFCAP);
}

int file_caps_set(struct dentry *dentry, const void *value, size_t size, int flags)
{
    const struct inode_operations *ops = dentry->inode->ops;
    bool nested = vfs_identity()->uids != NULL;
    struct kept kept = {0};

    if (!ops->setxattr)
        return -EOPNOTSUPP;
    if (!value)
        return may_change(dentry) ? ops->setxattr(dentry, FILE_CAPS_NAME, NULL, 0, flags) : -EPERM;
    if (size < XATTR_CAPS_SZ_2 || size > sizeof(kept))
        return -EINVAL;
    memcpy(&kept, value, size);
    if (!form_known(&kept, size))
        return -EINVAL;
    if (!may_change(dentry))
        return -EPERM;
    /* Of a namespace below, they count there and below alone. */
    if (nested || (kept.magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3) {
        kept.magic = (kept.magic & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_3;
        kept.root = nested ? id_map_to_kernel(own_map(), kept.root) : kept.root;
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
