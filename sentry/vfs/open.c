#include "sentry/vfs/open.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Not kept in a file's flags: they matter while it is opened. */
#define OPEN_ONLY_FLAGS (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)
#define OPEN_KNOWN_FLAGS                                                                           \
    (O_ACCMODE | OPEN_ONLY_FLAGS | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_ASYNC | O_DIRECT | \
     O_LARGEFILE | LARGEFILE_BIT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_PATH | O_TMPFILE)
/* libc says 0 on x86-64; the kernel sets this bit for every 64-bit caller, F_GETFL shows it. */
#define LARGEFILE_BIT 0100000
/* libc puts O_DIRECTORY into O_TMPFILE and __O_TMPFILE alike. */
#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)

/* A file that only names a place (O_PATH): stat, fchdir, openat and the like, nothing else. */
static void place_release(struct file *f)
{
    file_fini(f);
    free(f);
}

static const struct file_operations place_operations = {.release = place_release};

static int open_place(struct path at, uint32_t flags, struct file **ret)
{
    struct file *f = malloc(sizeof(*f));

    if (!f)
        return -ENOMEM;
    file_init(f, &place_operations, flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW));
    f->at = path_ref(at);
    *ret = f;
    return 0;
}

static bool wants_write(uint32_t flags)
{
    return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR || (flags & O_TRUNC);
}

/* The object is there: may it be opened so? fs/namei.c:may_open() has the order. */
static int check_open(const struct path *at, uint32_t flags)
{
    uint32_t type = inode_type(at->dentry->inode);

    if (type == S_IFLNK)
        return -ELOOP;
    if (type == S_IFDIR && (wants_write(flags) || (flags & O_CREAT)))
        return -EISDIR;
    if ((flags & O_DIRECTORY) && type != S_IFDIR)
        return -ENOTDIR;
    /* Devices, FIFOs and sockets may be written on a read-only file system. */
    if (type == S_IFREG && wants_write(flags) && at->dentry->sb->read_only)
        return -EROFS;
    return 0;
}

static int open_at(const struct path *at, uint32_t flags, struct file **ret)
{
    struct inode *inode = at->dentry->inode;
    struct file *f;
    int err;

    if (flags & O_PATH) {
        if ((flags & O_DIRECTORY) && inode_type(inode) != S_IFDIR)
            return -ENOTDIR;
        return open_place(*at, flags, ret);
    }
    err = check_open(at, flags);
    if (err < 0)
        return err;
    if (!inode->ops->open)
        return -ENXIO;
    err = inode->ops->open(at->dentry, flags & ~(uint32_t)OPEN_ONLY_FLAGS, &f);
    if (err < 0)
        return err;
    if (!f->at.dentry && refcount_read(&f->refs) == 1)
        f->at = path_ref(*at);
    *ret = f;
    return 0;
}

/* With O_CREAT: the last name is looked at by itself, since it may not be there. */
static int walk_to_create(struct fs_context *fs, const struct path *start, const char *name,
                          uint32_t flags, struct walk_result *ret)
{
    struct walk_parent parent;
    struct walk_result found;
    int err;

    err = path_walk_parent(fs, start, name, &parent);
    if (err < 0)
        return err;
    if (parent.kind != LAST_NAME || parent.slash) {
        path_unref(&parent.path);
        return -EISDIR;
    }
    err = path_lookup_one(&parent.path, parent.name, &found);
    if (err == -ENOENT && parent.path.dentry->sb->read_only)
        err = -EROFS;
    path_unref(&parent.path);
    if (err < 0)
        return err;
    if (flags & O_EXCL) {
        walk_result_unref(&found);
        return -EEXIST;
    }
    if (inode_type(found.path.dentry->inode) != S_IFLNK || (flags & O_NOFOLLOW)) {
        *ret = found;
        return 0;
    }
    walk_result_unref(&found);
    err = path_walk(fs, start, name, WALK_FOLLOW, ret);
    /* A dangling link asks for its target to be made. */
    return err == -ENOENT ? -EROFS : err;
}

/* Something without a place in the tree: /dev/stdin when that is a pipe. */
static int open_magic(struct file *file, uint32_t flags, struct file **ret)
{
    bool readable = (flags & O_ACCMODE) != O_WRONLY;
    bool writable = (flags & O_ACCMODE) != O_RDONLY;

    if ((flags & O_DIRECTORY) || (readable && !file_can_read(file)) ||
        (writable && !file_can_write(file))) {
        file_unref(file);
        return flags & O_DIRECTORY ? -ENOTDIR : -EACCES;
    }
    *ret = file;
    return 0;
}

int vfs_open(struct fs_context *fs, const struct path *start, const char *name, uint32_t flags,
             uint32_t mode, struct file **ret)
{
    struct walk_result found;
    int err;

    flags &= OPEN_KNOWN_FLAGS;
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    else
        flags |= LARGEFILE_BIT;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        err = path_walk(fs, start, name, WALK_FOLLOW | WALK_DIRECTORY, &found);
        if (!err)
            walk_result_unref(&found);
        if (!wants_write(flags))
            return -EINVAL;
        return err < 0 ? err : -EROFS;
    }
    if (flags & TMPFILE_BIT)
        return -EINVAL;
    if ((flags & O_CREAT) && (flags & O_DIRECTORY))
        return -EINVAL;
    if (flags & O_CREAT)
        err = walk_to_create(fs, start, name, flags, &found);
    else
        err = path_walk(fs, start, name, flags & O_NOFOLLOW ? 0 : WALK_FOLLOW, &found);
    if (err < 0)
        return err;
    if (found.file)
        return open_magic(found.file, flags, ret);
    err = open_at(&found.path, flags, ret);
    walk_result_unref(&found);
    return err;
}

int vfs_open_exec(struct fs_context *fs, const struct path *start, const char *name,
                  unsigned walk_flags, struct file **ret)
{
    struct walk_result found;
    struct inode *inode;
    int err;

    err = path_walk(fs, start, name, walk_flags, &found);
    if (err < 0)
        return err;
    if (found.file) {
        walk_result_unref(&found);
        return -EACCES;
    }
    inode = found.path.dentry->inode;
    if (inode_type(inode) == S_IFLNK)
        err = -ELOOP;
    else if (inode_type(inode) != S_IFREG)
        err = -EACCES;
    else if (inode->ops->access)
        err = inode->ops->access(found.path.dentry, X_OK);
    if (!err)
        err = open_at(&found.path, O_RDONLY, ret);
    walk_result_unref(&found);
    return err;
}
