/* Extended attributes of tmpfs objects: a list, ordered by name, under the inode's lock. */
#include <errno.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/attr/filecaps.h"

struct tmpfs_xattr {
    struct list node;
    size_t size;     /* of the value */
    uint64_t charge; /* bytes of the budget */
    char *value;     /* behind the name */
    char name[];
};

static struct tmpfs_xattr *find(struct tmpfs_inode *inode, const char *name)
    __must_hold(inode->lock)
{
    struct tmpfs_xattr *x;

    list_for_each (x, &inode->xattrs, node) {
        if (strcmp(x->name, name) == 0)
            return x;
    }
    return NULL;
}

static void xattr_free(struct tmpfs_inode *inode, struct tmpfs_xattr *x)
{
    if (!x)
        return;
    shmem_budget_give(inode->fs->budget, x->charge);
    free(x);
}

static int xattr_new(struct tmpfs_inode *inode, const char *name, const void *value, size_t size,
                     struct tmpfs_xattr **ret)
{
    size_t length = strlen(name) + 1, total = sizeof(struct tmpfs_xattr) + length + size;
    struct tmpfs_xattr *x;
    int err = shmem_budget_take(inode->fs->budget, total);

    if (err < 0)
        return err;
    x = malloc(total);
    if (!x) {
        shmem_budget_give(inode->fs->budget, total);
        return -ENOMEM;
    }
    list_init(&x->node);
    x->size = size;
    x->charge = total;
    memcpy(x->name, name, length);
    x->value = x->name + length;
    if (value && size > 0)
        memcpy(x->value, value, size);
    *ret = x;
    return 0;
}

ssize_t tmpfs_getxattr(struct dentry *dentry, const char *name, void *buf, size_t size)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(dentry->inode);
    struct tmpfs_xattr *x;
    ssize_t n = -ENODATA;

    lock_acquire(&inode->lock);
    x = find(inode, name);
    if (x && size > 0 && x->size > size)
        n = -ERANGE;
    else if (x)
        n = (ssize_t)x->size;
    if (n > 0 && size > 0)
        memcpy(buf, x->value, (size_t)n);
    lock_release(&inode->lock);
    return n;
}

/* ACLs are listed before everything else. */
static bool comes_after(const char *a, const char *b)
{
    enum acl_kind kind;
    bool a_acl = acl_kind_of(a, &kind), b_acl = acl_kind_of(b, &kind);

    return a_acl != b_acl ? b_acl : strcmp(a, b) > 0;
}

static void insert(struct tmpfs_inode *inode, struct tmpfs_xattr *fresh) __must_hold(inode->lock)
{
    struct tmpfs_xattr *x;

    list_for_each (x, &inode->xattrs, node) {
        if (comes_after(x->name, fresh->name))
            break;
    }
    list_add_tail(&x->node, &fresh->node);
}

/* `value` NULL: removes it. */
int tmpfs_setxattr(struct dentry *dentry, const char *name, const void *value, size_t size,
                   int flags)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(dentry->inode);
    struct tmpfs_xattr *fresh = NULL, *old;
    int err = value ? xattr_new(inode, name, value, size, &fresh) : 0;
    enum acl_kind kind;

    if (err < 0)
        return err;
    lock_acquire(&inode->lock);
    old = find(inode, name);
    if (old && (flags & XATTR_CREATE))
        err = -EEXIST;
    else if (!old && (flags & XATTR_REPLACE))
        err = -ENODATA;
    if (!err && old)
        list_del_init(&old->node);
    if (!err && fresh)
        insert(inode, fresh);
    if (!err && acl_kind_of(name, &kind))
        __atomic_add_fetch(&inode->acl_count, (uint32_t)((fresh != NULL) - (old != NULL)),
                           __ATOMIC_RELAXED);
    lock_release(&inode->lock);
    xattr_free(inode, err ? fresh : old);
    if (!err)
        tmpfs_touch(inode, TOUCH_CTIME);
    return err;
}

ssize_t tmpfs_listxattr(struct dentry *dentry, bool trusted, char *buf, size_t size)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(dentry->inode);
    const size_t prefix = strlen(XATTR_TRUSTED_PREFIX);
    struct tmpfs_xattr *x;
    size_t total = 0;
    ssize_t n = 0;

    lock_acquire(&inode->lock);
    list_for_each (x, &inode->xattrs, node) {
        size_t length = strlen(x->name) + 1;

        if (!trusted && strncmp(x->name, XATTR_TRUSTED_PREFIX, prefix) == 0)
            continue;
        if (size > 0 && length > size - total) {
            n = -ERANGE;
            break;
        }
        if (size > 0)
            memcpy(buf + total, x->name, length);
        total += length;
    }
    lock_release(&inode->lock);
    return n < 0 ? n : (ssize_t)total;
}

/* ---- ACLs ----------------------------------------------------------------------------------- */

int tmpfs_get_acl(struct inode *base, struct dentry *dentry, int kind, struct acl **ret)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(base);
    struct tmpfs_xattr *x;
    int err = 0;

    if (__atomic_load_n(&inode->acl_count, __ATOMIC_RELAXED) == 0)
        return 0;
    lock_acquire(&inode->lock);
    x = find(inode, kind == ACL_DEFAULT ? ACL_DEFAULT_NAME : ACL_ACCESS_NAME);
    if (x)
        err = acl_parse(x->value, x->size, ret);
    lock_release(&inode->lock);
    return err;
}

static int add_acl(struct tmpfs_inode *inode, const char *name, const struct acl *acl)
{
    struct tmpfs_xattr *fresh;
    int err;

    if (!acl)
        return 0;
    err = xattr_new(inode, name, NULL, acl_size(acl), &fresh);
    if (err < 0)
        return err;
    acl_format(acl, fresh->value);
    lock_acquire(&inode->lock);
    insert(inode, fresh);
    __atomic_add_fetch(&inode->acl_count, 1, __ATOMIC_RELAXED);
    lock_release(&inode->lock);
    return 0;
}

int tmpfs_add_acls(struct tmpfs_inode *inode, const struct inode_make *make)
{
    int err = add_acl(inode, ACL_ACCESS_NAME, make->access_acl);

    return err ? err : add_acl(inode, ACL_DEFAULT_NAME, make->default_acl);
}

int tmpfs_chmod_acl(struct tmpfs_inode *inode, uint32_t mode)
{
    struct tmpfs_xattr *x = inode->acl_count ? find(inode, ACL_ACCESS_NAME) : NULL;
    struct acl *acl;
    int err = x ? acl_parse(x->value, x->size, &acl) : 0;

    if (err < 0 || !x || !acl)
        return err;
    acl_chmod(acl, mode);
    acl_format(acl, x->value);
    free(acl);
    return 0;
}

void tmpfs_drop_file_caps(struct tmpfs_inode *inode)
{
    struct tmpfs_xattr *x;

    lock_acquire(&inode->lock);
    x = list_empty(&inode->xattrs) ? NULL : find(inode, FILE_CAPS_NAME);
    if (x)
        list_del_init(&x->node);
    lock_release(&inode->lock);
    xattr_free(inode, x);
}

void tmpfs_xattrs_free(struct tmpfs_inode *inode)
{
    while (!list_empty(&inode->xattrs)) {
        struct tmpfs_xattr *x = list_first(&inode->xattrs, struct tmpfs_xattr, node);

        list_del_init(&x->node);
        xattr_free(inode, x);
    }
}
