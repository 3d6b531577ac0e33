/*
 * POSIX access control lists: acl(5), fs/posix_acl.c. An object's access ACL refines its mode, of
 * which the group's bits are then the mask; a directory's default ACL is what is made in it gets.
 *
 * A file system keeps them as the extended attributes below, in the form of that interface, with
 * kernel ids; super_block->has_acls says that it can. An access ACL that says no more than the mode
 * is not kept.
 */
#ifndef SENTRY_VFS_ACL_H
#define SENTRY_VFS_ACL_H

#include "sentry/vfs/inode.h"

#define ACL_ACCESS_NAME  "system.posix_acl_access"
#define ACL_DEFAULT_NAME "system.posix_acl_default"

struct mount_map;

enum acl_kind { ACL_ACCESS, ACL_DEFAULT };

struct acl_entry {
    uint16_t tag;  /* ACL_USER_OBJ... of <linux/posix_acl.h> */
    uint16_t perm; /* R_OK, W_OK, X_OK */
    uint32_t id;   /* ACL_USER, ACL_GROUP: kernel id */
};

struct acl {
    uint32_t count;
    struct acl_entry entries[];
};

/* Is `name` one of the two? */
bool acl_kind_of(const char *name, enum acl_kind *ret);

/*
 * From the attribute's form; *ret is for the caller to free(), NULL where there are no entries.
 * -EINVAL, -EOPNOTSUPP (another version), -ENOMEM. Whether it is a whole ACL is not looked at.
 */
int acl_parse(const void *value, size_t size, struct acl **ret);
/* The size of the attribute, and its bytes in `buf`, which has room for them. */
size_t acl_size(const struct acl *acl);
void acl_format(const struct acl *acl, void *buf);
/* One entry of each kind that there must be, in order. -EINVAL. */
int acl_validate(const struct acl *acl);

/* The object's; *ret (to be freed) is NULL where it has none. `dentry` may be NULL where the file
 * system finds an object by its inode. */
int acl_get(struct inode *inode, struct dentry *dentry, enum acl_kind kind, struct acl **ret);
/* May the caller, by the ACL of an object that is uid's and gid's? 0, -EACCES. */
int acl_permission(const struct acl *acl, uint32_t uid, uint32_t gid, int mask);
/* Kept ids become those that are seen through the mount; ID_NONE for nobody. */
void acl_to_seen(struct acl *acl, const struct mount_map *map);
/* What the permissions of `mode` make of the ACL. */
void acl_chmod(struct acl *acl, uint32_t mode);
/* The permissions that the ACL means; true when they say all of it. */
bool acl_to_mode(const struct acl *acl, uint32_t *ret_permissions);

/*
 * What is made in `dir`: its mode, from which the umask or the default ACL takes, and its ACLs,
 * which acl_inherited_free() frees. -ENOMEM, -EIO.
 */
int acl_inherit(struct dentry *dir, struct inode_make *make);
void acl_inherited_free(struct inode_make *make);

/* getxattr(2), setxattr(2) of the two; `value` NULL or without entries removes. As vfs_setxattr. */
ssize_t acl_getxattr(const struct path *path, enum acl_kind kind, void *buf, size_t size);
int acl_setxattr(const struct path *path, enum acl_kind kind, const void *value, size_t size);

#endif
