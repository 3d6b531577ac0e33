/* May the caller? Owner, group and others' bits, capabilities, the sticky bit (fs/namei.c). */
#ifndef SENTRY_VFS_PERMISSION_H
#define SENTRY_VFS_PERMISSION_H

#include "sentry/vfs/inode.h"

/* `mask`: R_OK, W_OK, X_OK. 0, -EACCES. -EROFS is not looked at. */
int dentry_permission(struct dentry *dentry, int mask);
/* By mode, ids and, where the file system finds it without a name, its ACL. */
int inode_permission(struct inode *inode, int mask);
/* The owner, or CAP_FOWNER. */
bool inode_owned(const struct inode *inode);
/* May this name in `dir` be removed: write and search permission, the sticky bit. */
int may_remove(struct dentry *dir, const struct inode *victim);
/* May a name be made in `dir`? */
int may_make(struct dentry *dir);
/*
 * Owner and group of what is made in `dir`, and what a setgid directory does to its mode:
 * inode_init_owner(), mode_strip_sgid().
 */
void make_owner(const struct inode *dir, struct inode_make *make);
/* The mode that a write or a change of size leaves of `mode`: file_remove_privs(). */
uint32_t mode_without_privileges(const struct inode *inode);

#endif
