/*
 * ACLs as programs get and set them: the ids are those of the asker's user namespace; setting one
 * sets the mode as well. Asked for by getfacl(1), setfacl(1) and who copies files.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/posix_acl.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/attr/permission.h"

static bool has_acls(const struct dentry *dentry)
{
    return dentry->sb->has_acls && inode_type(dentry->inode) != S_IFLNK;
}

int acl_get(struct inode *inode, struct dentry *dentry, enum acl_kind kind, struct acl **ret)
{
    *ret = NULL;
    return inode->ops->get_acl ? inode->ops->get_acl(inode, dentry, kind, ret) : 0;
}

/* Between the ids of the asker's user namespace and the kernel's; -EINVAL where one is in none. */
static int translate(struct acl *acl, bool to_kernel)
{
    const struct vfs_identity *id = vfs_identity();

    if (!id->uids)
        return 0;
    for (uint32_t i = 0; i < acl->count; i++) {
        struct acl_entry *e = &acl->entries[i];
        const struct id_map *const *map = e->tag == ACL_USER    ? id->uids
                                          : e->tag == ACL_GROUP ? id->gids
                                                                : NULL;
        const struct id_map *ids = map ? __atomic_load_n(map, __ATOMIC_ACQUIRE) : NULL;

        if (!map)
            continue;
        e->id = to_kernel ? id_map_to_kernel(ids, e->id) : id_map_from_kernel(ids, e->id);
        if (to_kernel && e->id == ID_NONE)
            return -EINVAL;
    }
    return 0;
}

void acl_to_seen(struct acl *acl, const struct mount_map *map)
{
    for (uint32_t i = 0; map && i < acl->count; i++) {
        struct acl_entry *e = &acl->entries[i];

        if (e->tag == ACL_USER)
            e->id = seen_uid(map, e->id);
        else if (e->tag == ACL_GROUP)
            e->id = seen_gid(map, e->id);
    }
}

/* And back: -EINVAL where one cannot be kept. */
static int to_kept(struct acl *acl, const struct mount_map *map)
{
    for (uint32_t i = 0; map && i < acl->count; i++) {
        struct acl_entry *e = &acl->entries[i];

        if (e->tag != ACL_USER && e->tag != ACL_GROUP)
            continue;
        e->id = e->tag == ACL_USER ? kept_uid(map, e->id) : kept_gid(map, e->id);
        if (e->id == ID_NONE)
            return -EINVAL;
    }
    return 0;
}

ssize_t acl_getxattr(const struct path *path, enum acl_kind kind, void *buf, size_t size)
{
    struct dentry *dentry = path->dentry;
    struct acl *acl;
    ssize_t n;
    int err;

    if (!has_acls(dentry))
        return -EOPNOTSUPP;
    err = acl_get(dentry->inode, dentry, kind, &acl);
    if (err < 0)
        return err;
    if (!acl)
        return -ENODATA;
    n = (ssize_t)acl_size(acl);
    if (size > 0 && size < (size_t)n)
        n = -ERANGE;
    if (n > 0 && size > 0) {
        acl_to_seen(acl, path_map(path));
        translate(acl, false);
        acl_format(acl, buf);
    }
    free(acl);
    return n;
}

static int store(struct dentry *dentry, enum acl_kind kind, const struct acl *acl)
{
    const char *name = kind == ACL_DEFAULT ? ACL_DEFAULT_NAME : ACL_ACCESS_NAME;
    const struct inode_operations *ops = dentry->inode->ops;
    size_t size = acl ? acl_size(acl) : 0;
    void *value = NULL;
    int err;

    if (acl) {
        value = malloc(size);
        if (!value)
            return -ENOMEM;
        acl_format(acl, value);
    }
    err = ops->setxattr(dentry, name, value, size, 0);
    free(value);
    return !acl && err == -ENODATA ? 0 : err;
}

/* The mode follows, and an ACL that says no more than that goes: posix_acl_update_mode(). */
static int set_access(const struct path *path, const struct acl *acl)
{
    struct dentry *dentry = path->dentry;
    struct inode *inode = dentry->inode;
    const struct mount_map *map = path_map(path);
    struct inode_attr attr = {.mask = ATTR_MODE};
    uint32_t permissions;
    bool all;
    int err;

    if (!acl)
        return store(dentry, ACL_ACCESS, NULL);
    all = acl_to_mode(acl, &permissions);
    err = store(dentry, ACL_ACCESS, all ? NULL : acl);
    if (err < 0)
        return err;
    attr.mode = (inode_mode(inode) & 07000) | permissions;
    if (!vfs_in_group(inode_gid(map, inode)) && !inode_has_cap(map, inode, CAP_FSETID))
        attr.mode &= ~(uint32_t)S_ISGID;
    return inode->ops->setattr(dentry, &attr);
}

int acl_setxattr(const struct path *path, enum acl_kind kind, const void *value, size_t size)
{
    struct dentry *dentry = path->dentry;
    const struct inode_operations *ops = dentry->inode->ops;
    struct acl *acl = NULL;
    int err = 0;

    if (value && size > 0)
        err = acl_parse(value, size, &acl);
    if (!err && acl)
        err = translate(acl, true);
    if (!err && acl)
        err = to_kept(acl, path_map(path));
    if (!err && (!has_acls(dentry) || !ops->setxattr || !ops->setattr))
        err = -EOPNOTSUPP;
    if (!err && kind == ACL_DEFAULT && inode_type(dentry->inode) != S_IFDIR) {
        err = acl ? -EACCES : 0;
        free(acl);
        return err;
    }
    if (!err && !path_owned(path))
        err = -EPERM;
    if (!err && acl)
        err = acl_validate(acl);
    if (!err)
        err = kind == ACL_DEFAULT ? store(dentry, kind, acl) : set_access(path, acl);
    free(acl);
    return err;
}
