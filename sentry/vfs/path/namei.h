/*
 * From a path to what it names: path_resolution(7). Errors in Linux's order; at most 40 symbolic
 * links (ELOOP), names of at most 255 bytes (ENAMETOOLONG).
 */
#ifndef SENTRY_VFS_NAMEI_H
#define SENTRY_VFS_NAMEI_H

#include "sentry/vfs/fs_context.h"

enum walk_flags {
    WALK_FOLLOW = 1,    /* a symbolic link at the end is followed */
    WALK_DIRECTORY = 2, /* -ENOTDIR unless a directory is found */
    WALK_EMPTY = 4,     /* AT_EMPTY_PATH: "" is `start` itself; otherwise -ENOENT */
    /* openat2(2)'s RESOLVE_*: */
    WALK_NO_XDEV = 8,          /* -EXDEV when another mount would be entered */
    WALK_NO_MAGICLINKS = 0x10, /* -ELOOP at a magic link */
    WALK_NO_SYMLINKS = 0x20,   /* -ELOOP at any link */
    WALK_BENEATH = 0x40,       /* -EXDEV when the path would leave `start` */
    WALK_IN_ROOT = 0x80,       /* `start` is the root */
    WALK_CACHED = 0x100,       /* -EAGAIN where a name would have to be looked up far away */
    WALK_OPEN = 0x200,         /* what is found will be opened: no more than a hint */
};

/* Does the calling thread look up what it is going to open? For inode_operations.lookup. */
bool walk_is_to_open(void);

struct walk_result {
    struct path path;  /* referenced, unless `file` is set */
    struct file *file; /* a magic link led to something outside the tree; referenced */
    bool fresh;        /* the file system has just reported the object's attributes */
};

/* The end of a path whose last name is about to be made or removed. */
enum last_kind { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT };
struct walk_parent {
    struct path path; /* the directory; referenced */
    enum last_kind kind;
    char name[VFS_NAME_MAX + 1]; /* for LAST_NAME */
    bool slash;                  /* slashes followed the name */
};

/*
 * `start` is where a relative path begins; NULL for the working directory. On success the caller
 * calls walk_result_unref().
 */
int path_walk(struct fs_context *fs, const struct path *start, const char *name, unsigned flags,
              struct walk_result *ret);
void walk_result_unref(struct walk_result *result);
/* Walks to the directory that the last name is in; looks at the last name no further. */
int path_walk_parent(struct fs_context *fs, const struct path *start, const char *name,
                     struct walk_parent *ret);
/*
 * For open(2) with O_CREAT: the object, or -ENOENT with *ret_parent the directory in which it is to
 * be made, both at the end of all symbolic links. Without WALK_FOLLOW a symbolic link at the end is
 * the object. -EISDIR when the last name can only be a directory's. On success and on -ENOENT the
 * caller gives ret_parent->path back, if set.
 */
int path_walk_create(struct fs_context *fs, const struct path *start, const char *name,
                     unsigned flags, struct walk_parent *ret_parent, struct walk_result *ret);
/* As path_lookup_one(), with tree_lock held; mounts are not crossed. */
int dentry_lookup_locked(struct dentry *dir, const char *name, struct dentry **ret);
/* The object `name` in the directory `dir`, not following; -ENOENT. */
int path_lookup_one(const struct path *dir, const char *name, struct walk_result *ret);

/*
 * The absolute name of `path` as seen from `root`, terminated: its length without the NUL,
 * -ENAMETOOLONG. What cannot be reached from there gets "(unreachable)" in front. `root` NULL: seen
 * from the end of the tree that it is in.
 */
ssize_t path_to_string(const struct path *root, const struct path *path, char *buf, size_t size);
/* The same under mount_lock(); with `must_reach` -ENOENT where it cannot be reached. */
ssize_t path_name_locked(const struct path *root, const struct path *path, bool must_reach,
                         char *buf, size_t size);
/*
 * What links in /proc show: the same with " (deleted)" behind it where that holds, and nothing in
 * front of what cannot be reached.
 */
ssize_t path_to_link(const struct path *root, const struct path *path, char *buf, size_t size);

#endif
