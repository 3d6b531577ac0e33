#include "sentry/vfs/path/open.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/vfs/landlock/landlock.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/path/modify.h"
#include "sentry/vfs/notify.h"
#include "sentry/vfs/attr/permission.h"

/* Not kept in a file's flags: they matter while it is opened. */
#define OPEN_ONLY_FLAGS                                                                            \
    (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC | OPEN_QUIET | OPEN_FOR_EXEC)
/* Not of open(2): nobody hears of it or is asked; it is to be executed. */
#define OPEN_QUIET    0x40000000U
#define OPEN_FOR_EXEC 0x20000000U
#define OPEN_KNOWN_FLAGS                                                                           \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC | O_APPEND | O_NONBLOCK |       \
     O_SYNC | O_DSYNC | O_ASYNC | O_DIRECT | O_LARGEFILE | LARGEFILE_BIT | O_DIRECTORY |           \
     O_NOFOLLOW | O_NOATIME | O_PATH | O_TMPFILE)
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

int vfs_open_place(const struct path *at, struct file **ret)
{
    return open_place(*at, O_PATH, ret);
}

static bool wants_write(uint32_t flags)
{
    return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR || (flags & O_TRUNC);
}

static int wanted_access(uint32_t flags)
{
    static const int access[] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};

    return access[flags & O_ACCMODE] | (flags & O_TRUNC ? W_OK : 0);
}

/* The object is there: may it be opened so? fs/namei.c:may_open() has the order. */
static int check_open(const struct path *at, uint32_t flags)
{
    struct dentry *dentry = at->dentry;
    uint32_t type = inode_type(dentry->inode);
    int err = 0;

    if (type == S_IFLNK)
        return -ELOOP;
    if (type == S_IFDIR && (wants_write(flags) || (flags & O_CREAT)))
        return -EISDIR;
    if ((flags & O_DIRECTORY) && type != S_IFDIR)
        return -ENOTDIR;
    /* Devices, FIFOs and sockets may be written on a read-only file system. */
    if (type == S_IFREG && wants_write(flags) && path_read_only(at))
        return -EROFS;
    if ((type == S_IFCHR || type == S_IFBLK) &&
        ((mount_get_flags(at->mount) & MOUNT_NODEV) || dentry->sb->owner_id))
        return -EACCES;
    if (dentry->sb->checks_modes) {
        err = path_permission(at, wanted_access(flags));
        if (!err && (flags & O_NOATIME) && !path_owned(at))
            err = -EPERM;
        if (!err && inode_is_append(dentry->inode) &&
            ((flags & O_TRUNC) || ((flags & O_ACCMODE) != O_RDONLY && !(flags & O_APPEND))))
            err = -EPERM;
    }
    return err;
}

/* Counts the writer, empties the file if that is asked for: the last steps of open(2). */
static int settle(const struct path *at, uint32_t flags, struct file *f)
{
    uint32_t event = NOTIFY_OPEN | (flags & OPEN_FOR_EXEC ? NOTIFY_OPEN_EXEC : 0);
    struct inode *inode = at->dentry->inode;
    int err;

    if (!f->at.dentry && refcount_read(&f->refs) == 1)
        f->at = path_ref(*at);
    if (flags & OPEN_QUIET)
        f->quiet = refcount_read(&f->refs) == 1;
    if (inode_type(inode) != S_IFREG || !wants_write(flags) || f->at.dentry != at->dentry) {
        if (inode_type(inode) == S_IFREG && f->at.dentry == at->dentry) {
            f->counts_as_reader = true;
            __atomic_fetch_add(&inode->read_count, 1, __ATOMIC_RELAXED);
        }
        if (!(flags & OPEN_QUIET))
            notify_path(at, event);
        return 0;
    }
    err = mount_get_write(at->mount);
    if (err < 0)
        return err;
    err = inode_get_write(inode);
    if (err < 0) {
        mount_put_write(at->mount);
        return err;
    }
    if ((flags & O_ACCMODE) != O_RDONLY)
        f->counts_as_writer = true;
    if (!(flags & OPEN_QUIET))
        notify_path(at, event);
    if (flags & O_TRUNC) {
        err = inode->ops->truncate ? inode->ops->truncate(at->dentry, 0) : -EINVAL;
        if (!err)
            notify_path(at, NOTIFY_MODIFY);
    }
    if (!f->counts_as_writer) {
        inode_put_write(inode);
        mount_put_write(at->mount);
    }
    return err;
}

/* fsnotify_open_perm() */
static int ask(const struct path *at, uint32_t flags)
{
    int err = flags & OPEN_FOR_EXEC ? notify_ask(at, NOTIFY_OPEN_EXEC_PERM) : 0;

    return err ? err : notify_ask(at, NOTIFY_OPEN_PERM);
}

/* `made`: open(2) has just made the object, whose mode does not matter to it. */
static int open_at(const struct path *at, uint32_t flags, bool made, struct file **ret)
{
    struct inode *inode = at->dentry->inode;
    uint32_t denied;
    struct file *f;
    int err = 0;

    if (flags & O_PATH) {
        if ((flags & O_DIRECTORY) && inode_type(inode) != S_IFDIR)
            return -ENOTDIR;
        return open_place(*at, flags, ret);
    }
    if (made)
        flags &= ~(uint32_t)O_TRUNC;
    else
        err = check_open(at, flags);
    if (!err)
        err = landlock_check_open(at, flags, &denied);
    if (err < 0)
        return err;
    if (!inode->ops->open)
        return -ENXIO;
    err = flags & OPEN_QUIET ? 0 : ask(at, flags);
    if (err < 0)
        return err;
    if (inode_type(inode) == S_IFREG) {
        err = lease_break(inode, (flags & O_ACCMODE) != O_RDONLY);
        if (err < 0)
            return err;
    }
    err = inode->ops->open(at->dentry, flags & ~(uint32_t)OPEN_ONLY_FLAGS, &f);
    if (err < 0)
        return err;
    if (denied && refcount_read(&f->refs) == 1)
        f->landlock_denied = denied;
    err = settle(at, flags, f);
    if (err < 0) {
        file_unref(f);
        return err;
    }
    if (made && !(flags & OPEN_QUIET) && f->at.dentry == at->dentry)
        f->created = true;
    *ret = f;
    return 0;
}

/* O_CREAT: the object that is there, or a new file; `ret_made` tells which. */
static int open_or_make(struct fs_context *fs, const struct path *start, const char *name,
                        uint32_t flags, uint32_t mode, unsigned walk_flags, struct walk_result *ret,
                        bool *ret_made)
{
    struct inode_make make = {.mode = S_IFREG | (mode & 07777), .umask = fs_context_umask(fs)};
    int err;

    if (!(flags & (O_EXCL | O_NOFOLLOW)))
        walk_flags |= WALK_FOLLOW;

    for (;;) {
        struct walk_parent parent;
        struct walk_result found;

        err = path_walk_create(fs, start, name, walk_flags, &parent, &found);
        if (!err && (flags & O_EXCL)) {
            walk_result_unref(&found);
            err = -EEXIST;
        } else if (!err) {
            *ret = found;
        } else if (err == -ENOENT && parent.path.dentry) {
            err = vfs_make_at(&parent, &make, &ret->path);
            *ret_made = !err;
        }
        path_unref(&parent.path);
        /* Somebody else was faster: it is there now. */
        if (err != -EEXIST || (flags & O_EXCL))
            return err;
    }
}

/* O_TMPFILE: `name` is the directory. */
static int open_tmpfile(struct fs_context *fs, const struct path *start, const char *name,
                        uint32_t flags, uint32_t mode, unsigned walk_flags, struct file **ret)
{
    struct inode_make make = {.mode = S_IFREG | (mode & 07777), .umask = fs_context_umask(fs)};
    struct walk_result dir;
    struct path at;
    int err;

    if (!(flags & O_ACCMODE))
        return -EINVAL;
    err = path_walk(fs, start, name, walk_flags | WALK_FOLLOW | WALK_DIRECTORY, &dir);
    if (err < 0)
        return err;
    err = vfs_make_unnamed(&dir.path, &make, !(flags & O_EXCL), &at);
    walk_result_unref(&dir);
    if (err < 0)
        return err;
    err = open_at(&at, flags & ~(uint32_t)(O_DIRECTORY | O_TRUNC), true, ret);
    path_unref(&at);
    return err;
}

/* sock_no_open() */
static bool is_socket(struct file *file)
{
    struct linux_stat st;

    return file_stat(file, &st) == 0 && (st.st_mode & S_IFMT) == S_IFSOCK;
}

/* Something without a place in the tree: /dev/stdin when that is a pipe. */
static int open_magic(struct file *file, uint32_t flags, struct file **ret)
{
    bool readable = (flags & O_ACCMODE) != O_WRONLY;
    bool writable = (flags & O_ACCMODE) != O_RDONLY;
    int err;

    if (!(flags & (O_DIRECTORY | O_PATH)) && is_socket(file)) {
        file_unref(file);
        return -ENXIO;
    }

    if (file->ops->reopen && !(flags & (O_DIRECTORY | O_PATH))) {
        err = file->ops->reopen(file, flags & ~(uint32_t)OPEN_ONLY_FLAGS, ret);
        file_unref(file);
        if (!err)
            notify_file(*ret, NOTIFY_OPEN);
        return err;
    }
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
    return vfs_open_within(fs, start, name, flags, mode, 0, ret);
}

/* Bits that nobody knows are not looked at: open(2). */
static uint32_t known_flags(uint32_t flags)
{
    flags &= OPEN_KNOWN_FLAGS;
    return flags & O_PATH ? flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                          : flags | LARGEFILE_BIT;
}

int vfs_open_found(const struct path *at, uint32_t flags, struct file **ret)
{
    flags = known_flags(flags);
    return flags & TMPFILE_BIT ? -EINVAL : open_at(at, flags, false, ret);
}

int vfs_open_quietly(const struct path *at, uint32_t flags, struct file **ret)
{
    return open_at(at, known_flags(flags) | OPEN_QUIET, true, ret);
}

int vfs_open_within(struct fs_context *fs, const struct path *start, const char *name,
                    uint32_t flags, uint32_t mode, unsigned walk_flags, struct file **ret)
{
    struct walk_result found = {0};
    bool made = false;
    int err;

    flags = known_flags(flags);
    walk_flags |= flags & O_PATH ? 0 : WALK_OPEN;
    if ((flags & O_TMPFILE) == O_TMPFILE && !(flags & O_CREAT))
        return open_tmpfile(fs, start, name, flags, mode, walk_flags, ret);
    if (flags & TMPFILE_BIT)
        return -EINVAL;
    if ((flags & O_CREAT) && (flags & O_DIRECTORY))
        return -EINVAL;
    if (flags & O_CREAT)
        err = open_or_make(fs, start, name, flags, mode, walk_flags, &found, &made);
    else
        err =
            path_walk(fs, start, name, walk_flags | (flags & O_NOFOLLOW ? 0 : WALK_FOLLOW), &found);
    if (err < 0)
        return err;
    if (found.file)
        return open_magic(found.file, flags, ret);
    err = open_at(&found.path, flags, made, ret);
    walk_result_unref(&found);
    return err;
}

/* Programs that may be executed and not read are opened all the same. */
static int open_for_exec(const struct path *at, struct file **ret)
{
    int err = landlock_check(at, LANDLOCK_EXECUTE);

    if (!err)
        err = open_at(at, O_RDONLY | OPEN_FOR_EXEC, at->dentry->sb->checks_modes, ret);
    if (!err)
        (*ret)->denies_writers = true;
    return err;
}

int vfs_open_exec_at(const struct path *at, struct file **ret)
{
    struct inode *inode = at->dentry->inode;
    int err;

    if (inode_type(inode) == S_IFLNK)
        return -ELOOP;
    if (inode_type(inode) != S_IFREG || (mount_get_flags(at->mount) & MOUNT_NOEXEC))
        return -EACCES;
    err = path_permission(at, X_OK);
    if (!err)
        err = inode_deny_write(inode);
    if (!err) {
        err = open_for_exec(at, ret);
        if (err < 0)
            inode_allow_write(inode);
    }
    return err;
}

int vfs_open_exec(struct fs_context *fs, const struct path *start, const char *name,
                  unsigned walk_flags, struct file **ret)
{
    struct walk_result found;
    int err;

    err = path_walk(fs, start, name, walk_flags | WALK_OPEN, &found);
    if (err < 0)
        return err;
    err = found.file ? -EACCES : vfs_open_exec_at(&found.path, ret);
    walk_result_unref(&found);
    return err;
}
