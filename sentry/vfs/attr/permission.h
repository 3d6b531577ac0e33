/* May the caller? Owner, group and others' bits, capabilities, the sticky bit (fs/namei.c). */
#ifndef SENTRY_VFS_PERMISSION_H
#define SENTRY_VFS_PERMISSION_H

#include "sentry/vfs/inode.h"

/* `mask`: R_OK, W_OK, X_OK. 0, -EACCES. -EROFS is not looked at. */
int path_permission(const struct path *path, int mask);
/* By mode, kept ids and, where the file system finds it without a name, its ACL. */
int inode_permission(struct inode *inode, int mask);
/* The owner, or CAP_FOWNER. */
bool path_owned(const struct path *path);
/* May this name in `dir` be removed: write and search permission, the sticky bit. -EOVERFLOW: it is
 * nobody's there. */
int may_remove(const struct path *dir, const struct inode *victim);
/* May a name be made in `dir`? -EOVERFLOW: the caller cannot own anything there. */
int may_make(const struct path *dir);
/*
 * Owner and group of what is made in `dir`, and what a setgid directory does to its mode:
 * inode_init_owner(), mode_strip_sgid().
 */
void make_owner(const struct path *dir, struct inode_make *make);
/* The mode that a write or a change of size leaves of `mode`: file_remove_privs(). */
uint32_t mode_without_privileges(const struct inode *inode);

#endif
