/* File handles: name_to_handle_at(2), open_by_handle_at(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>

#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/attr/handle.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/path/open.h"

/* Newer than Debian 12's headers. */
#define HANDLE_FLAG_UNIQUE      0x1U
#define HANDLE_FLAG_CONNECTABLE 0x2U
#define HANDLE_FLAG_FID         0x200U

/* Instead of a descriptor: the file systems of namespaces and of pidfds, whose handles are inode
 * numbers. */
#define FD_NSFS     (-10003)
#define FD_PIDFS    (-10002)
#define TYPE_KERNFS 0xfe
#define PIDFD_FLAGS ((unsigned)(O_ACCMODE | O_NONBLOCK | O_CLOEXEC | O_EXCL) | 0100000)

/* In handle_type: what AT_HANDLE_CONNECTABLE adds. */
#define TYPE_CONNECTABLE 0x10000
#define TYPE_DIRECTORY   0x20000
#define TYPE_FLAGS       (TYPE_CONNECTABLE | TYPE_DIRECTORY)

struct handle_head {
    uint32_t bytes;
    int32_t type;
};

static int encode(const struct walk_result *found, unsigned flags, struct handle *ret)
{
    const struct path *at = found->file ? &found->file->at : &found->path;
    enum handle_wish wish = flags & HANDLE_FLAG_CONNECTABLE ? HANDLE_PLACED
                            : flags & HANDLE_FLAG_FID       ? HANDLE_ID
                                                            : HANDLE_OPENABLE;
    struct linux_stat st;
    int err;

    if (at->dentry && ns_of_dentry(at->dentry)) {
        if (wish == HANDLE_PLACED)
            return -EOPNOTSUPP;
        ns_handle_encode(ns_of_dentry(at->dentry), ret);
        return 0;
    }
    if (at->dentry) {
        err = handle_encode(at->dentry, wish, ret);
        if (!err && wish == HANDLE_PLACED)
            ret->type |=
                TYPE_CONNECTABLE | (inode_type(at->dentry->inode) == S_IFDIR ? TYPE_DIRECTORY : 0);
        return err;
    }
    if (wish == HANDLE_PLACED || (wish == HANDLE_OPENABLE && !pidfd_is(found->file)))
        return -EOPNOTSUPP;
    err = file_stat(found->file, &st);
    if (err < 0)
        return err;
    if (pidfd_is(found->file)) {
        *ret = (struct handle){.type = TYPE_KERNFS, .size = sizeof(st.st_ino)};
        memcpy(ret->bytes, &st.st_ino, sizeof(st.st_ino));
    } else {
        handle_of_numbers(st.st_ino, ret);
    }
    return 0;
}

static int give_mount(struct task *task, const struct walk_result *found, uaddr_t ptr, bool unique)
{
    const struct path *at = found->file ? &found->file->at : &found->path;
    uint64_t wide = at->mount ? at->mount->unique_id : 0;
    uint32_t id = at->mount ? at->mount->id : 0;
    struct linux_stat st;

    if (!at->mount && found->file && file_stat(found->file, &st) == 0)
        (void)mount_kernel_id(st.st_dev, &id, &wide);
    return unique ? copy_struct_to_user(task->mm, ptr, &wide)
                  : copy_struct_to_user(task->mm, ptr, &id);
}

static int give_handle(struct task *task, const struct handle *h, uint32_t room, uaddr_t ptr)
{
    struct handle_head head = {.bytes = h->size, .type = h->size > room ? 0xff : h->type};

    if (copy_struct_to_user(task->mm, ptr, &head) < 0)
        return -EFAULT;
    if (h->size > room)
        return -EOVERFLOW;
    return copy_to_user(task->mm, ptr + sizeof(head), h->bytes, h->size) < 0 ? -EFAULT : 0;
}

SYSCALL_DEFINE5(name_to_handle_at, int, dirfd, uaddr_t, path, uaddr_t, handle_ptr, uaddr_t,
                mount_id, unsigned, flags)
{
    const unsigned known = AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | HANDLE_FLAG_UNIQUE |
                           HANDLE_FLAG_CONNECTABLE | HANDLE_FLAG_FID;
    unsigned walk_flags =
        (flags & AT_SYMLINK_FOLLOW ? WALK_FOLLOW : 0) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
    struct walk_result found;
    struct handle_head head;
    struct handle handle;
    int err;

    if ((flags & ~known) ||
        ((flags & HANDLE_FLAG_CONNECTABLE) && (flags & (HANDLE_FLAG_FID | AT_EMPTY_PATH))))
        return -EINVAL;
    err = at_path_walk(task, dirfd, path, walk_flags, &found);
    if (err < 0)
        return err;
    err = encode(&found, flags, &handle);
    if (!err && copy_struct_from_user(task->mm, &head, handle_ptr) < 0)
        err = -EFAULT;
    if (!err && head.bytes > HANDLE_BYTES_MAX)
        err = -EINVAL;
    if (!err) {
        err = give_handle(task, &handle, head.bytes, handle_ptr);
        if ((!err || err == -EOVERFLOW) &&
            give_mount(task, &found, mount_id, flags & HANDLE_FLAG_UNIQUE) < 0)
            err = -EFAULT;
    }
    walk_result_unref(&found);
    return err;
}

/* ---- opening -------------------------------------------------------------------------------- */

/* What has to be so with an object that is found: enum handle_to_path_flags. */
enum check {
    CHECK_RIGHTS = 1,    /* the caller could get at it, and through every directory above it */
    CHECK_BELOW = 2,     /* it lies below the place that was named */
    CHECK_DIRECTORY = 4, /* it is one */
};

static int get_handle(struct task *task, uaddr_t ptr, struct handle *ret)
{
    struct handle_head head;

    if (copy_struct_from_user(task->mm, &head, ptr) < 0)
        return -EFAULT;
    if (head.bytes > HANDLE_BYTES_MAX || head.bytes == 0)
        return -EINVAL;
    if (head.type < 0 || ((head.type & ~0xffff) & ~TYPE_FLAGS))
        return -EINVAL;
    *ret = (struct handle){.type = head.type, .size = head.bytes};
    return copy_from_user(task->mm, ret->bytes, ptr + sizeof(head), ret->size) < 0 ? -EFAULT : 0;
}

/* The place whose file system is meant. */
static int get_root(struct task *task, int fd, struct path *ret)
{
    struct file *file;

    if (fd == AT_FDCWD) {
        *ret = fs_context_cwd(task->fs);
        return 0;
    }
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    *ret = file->at.dentry && file->at.mount ? path_ref(file->at) : (struct path){NULL, NULL};
    file_unref(file);
    return ret->dentry ? 0 : -ESTALE;
}

/*
 * may_decode_fh(): who may mount the file system, or make a bind mount of the place, could get at
 * what is there by its name. Only at directories, whose way up is known.
 */
static int may_decode(struct task *task, const struct path *root, uint32_t flags,
                      unsigned *ret_checks)
{
    const struct user_ns *own = task->cred->user_ns;
    bool admin = cred_has_ns_cap(task->cred, own, CAP_SYS_ADMIN);
    unsigned checks = CHECK_RIGHTS | CHECK_DIRECTORY;

    *ret_checks = 0;
    if (vfs_has_cap(CAP_DAC_READ_SEARCH))
        return 0;
    if (!(flags & O_DIRECTORY))
        return -EPERM;
    if (!task_may_change_super(task, root->dentry->sb)) {
        if (!admin || !path_is_bindable(root, own))
            return -EPERM;
        checks |= CHECK_BELOW;
    }
    *ret_checks = checks;
    return cred_has_ns_cap(task->cred, own, CAP_DAC_READ_SEARCH) ? 0 : -EPERM;
}

static bool is_reachable(const struct path *root, const struct inode *inode)
{
    return inode_has_cap(path_map(root), inode, CAP_DAC_READ_SEARCH);
}

/* vfs_dentry_acceptable() */
static int check_found(struct dentry *found, const struct path *root, unsigned checks)
{
    struct dentry *at = dentry_ref(found), *parent;
    bool good = true;

    if ((checks & CHECK_DIRECTORY) && inode_type(found->inode) != S_IFDIR)
        good = false;
    if ((checks & CHECK_RIGHTS) && !is_reachable(root, found->inode))
        good = false;
    while (good && at != root->dentry && (parent = dentry_parent(at)) != NULL) {
        good = !(checks & CHECK_RIGHTS) || is_reachable(root, parent->inode);
        dentry_unref(at);
        at = parent;
    }
    if ((checks & CHECK_BELOW) && at != root->dentry)
        good = false;
    dentry_unref(at);
    return good ? 0 : -ESTALE;
}

static int decode(const struct path *root, struct handle *handle, unsigned checks, struct path *ret)
{
    bool placed = handle->type & TYPE_CONNECTABLE;
    int err;

    checks |= (placed ? (unsigned)CHECK_BELOW : 0) |
              (handle->type & TYPE_DIRECTORY ? (unsigned)CHECK_DIRECTORY : 0);
    handle->type &= ~TYPE_FLAGS;
    err = handle_decode(root, handle, placed, ret);
    return err < 0 || checks == 0 ? err : check_found(ret->dentry, root, checks);
}

/* pidfs_export_permission(), pidfs_fh_to_dentry(): whoever sees a process may. */
static long open_pidfd(struct task *task, uaddr_t handle_ptr, uint32_t flags)
{
    struct handle handle;
    struct file *file;
    uint64_t ino;
    int err;

    if (flags & ~PIDFD_FLAGS)
        return -EINVAL;
    err = get_handle(task, handle_ptr, &handle);
    if (!err && (handle.type != TYPE_KERNFS || handle.size < sizeof(ino)))
        err = -ESTALE;
    if (err < 0)
        return err;
    memcpy(&ino, handle.bytes, sizeof(ino));
    err = pidfd_create_by_ino(task, ino, flags & (PIDFD_FLAG_NONBLOCK | PIDFD_FLAG_THREAD), &file);
    return err < 0 ? err : task_install(task, file, 0, flags & O_CLOEXEC);
}

static bool is_pidfd(struct task *task, int fd)
{
    struct file *file = fd == FD_PIDFS ? NULL : task_file(task, fd);
    bool is = fd == FD_PIDFS || (file && pidfd_is(file));

    file_unref(file);
    return is;
}

static bool is_on_nsfs(struct task *task, int fd)
{
    struct file *file = fd == FD_NSFS ? NULL : task_file(task, fd);
    bool is = fd == FD_NSFS || (file && file->at.dentry && nsfs_is(file->at.dentry->sb));

    file_unref(file);
    return is;
}

/* nsfs_export_open(): as by any other way to it. */
static long open_ns(struct task *task, uaddr_t handle_ptr, uint32_t flags)
{
    struct handle handle;
    struct file *file;
    struct path at;
    struct ns *ns;
    int err = get_handle(task, handle_ptr, &handle);

    if (!err)
        err = ns_handle_decode(task, &handle, &ns);
    if (err < 0)
        return err;
    err = nsfs_path(ns, &at);
    ns_unref(ns);
    if (err < 0)
        return err;
    err = vfs_open_found(&at, flags, &file);
    path_unref(&at);
    return err < 0 ? err : task_install(task, file, 0, flags & O_CLOEXEC);
}

SYSCALL_DEFINE3(open_by_handle_at, int, mount_fd, uaddr_t, handle_ptr, int, flags)
{
    struct path root, found = {NULL, NULL};
    struct handle handle;
    struct file *file;
    unsigned checks;
    int err;

    if (is_pidfd(task, mount_fd))
        return open_pidfd(task, handle_ptr, (uint32_t)flags);
    if (is_on_nsfs(task, mount_fd))
        return open_ns(task, handle_ptr, (uint32_t)flags);
    err = get_root(task, mount_fd, &root);
    if (err < 0)
        return err;
    err = may_decode(task, &root, (uint32_t)flags, &checks);
    if (!err)
        err = get_handle(task, handle_ptr, &handle);
    if (!err)
        err = decode(&root, &handle, checks, &found);
    if (!err)
        err = vfs_open_found(&found, (uint32_t)flags, &file);
    path_unref(&found);
    path_unref(&root);
    return err < 0 ? err : task_install(task, file, 0, flags & O_CLOEXEC);
}
