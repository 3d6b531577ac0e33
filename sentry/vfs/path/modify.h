/*
 * Changing names: mkdir(2), mknod(2), symlink(2), link(2), unlink(2), rmdir(2), rename(2). Walks,
 * checks, and asks the file system, in Linux's order of errors (fs/namei.c).
 */
#ifndef SENTRY_VFS_MODIFY_H
#define SENTRY_VFS_MODIFY_H

#include "sentry/vfs/path/namei.h"

/* `start` as for path_walk(). `make`: owner and group are filled in here. */
int vfs_make(struct fs_context *fs, const struct path *start, const char *name,
             struct inode_make *make);
/* `object` gets another name. */
int vfs_link(struct fs_context *fs, const struct path *start, const char *name,
             const struct walk_result *object);
int vfs_remove(struct fs_context *fs, const struct path *start, const char *name, bool directory);

struct vfs_rename {
    const struct path *old_start, *new_start;
    const char *old_name, *new_name;
    unsigned flags; /* RENAME_* */
};
int vfs_rename(struct fs_context *fs, const struct vfs_rename *args);

/* For open(2): makes the last name of `parent`, which was not there; -EEXIST when it is by now. */
int vfs_make_at(const struct walk_parent *parent, struct inode_make *make, struct path *ret);
/* O_TMPFILE in the directory `dir`. */
int vfs_make_unnamed(const struct path *dir, struct inode_make *make, bool linkable,
                     struct path *ret);
/* A name of it was removed: if that was the last one, who watches it will be told of its end. */
void vfs_mark_unlinked(struct dentry *dentry);

#endif
