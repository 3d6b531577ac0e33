/* File handles: name_to_handle_at(2), open_by_handle_at(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>

#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/attr/handle.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/path/open.h"

/* Newer than Debian 12's headers. */
#define HANDLE_FLAG_UNIQUE      0x1U
#define HANDLE_FLAG_CONNECTABLE 0x2U
#define HANDLE_FLAG_FID         0x200U

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

    if (at->dentry) {
        err = handle_encode(at->dentry, wish, ret);
        if (!err && wish == HANDLE_PLACED)
            ret->type |=
                TYPE_CONNECTABLE | (inode_type(at->dentry->inode) == S_IFDIR ? TYPE_DIRECTORY : 0);
        return err;
    }
    if (wish != HANDLE_ID)
        return -EOPNOTSUPP;
    err = file_stat(found->file, &st);
    if (!err)
        handle_of_numbers(st.st_ino, ret);
    return err;
}

static int give_mount(struct task *task, const struct walk_result *found, uaddr_t ptr, bool unique)
{
    const struct path *at = found->file ? &found->file->at : &found->path;
    uint64_t wide = at->mount ? at->mount->unique_id : 0;
    int id = at->mount ? (int)at->mount->id : 0;

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
    return 0;
}

/* The place whose file system is meant. */
static int get_root(struct task *task, int fd, struct path *ret)
{
    struct file *file;

    if (fd == AT_FDCWD) {
        *ret = fs_context_cwd(task->fs);
        return 0;
    }
    file = fdtable_get(task->files, fd);
    if (!file)
        return -EBADF;
    *ret = file->at.dentry && file->at.mount ? path_ref(file->at) : (struct path){NULL, NULL};
    file_unref(file);
    return ret->dentry ? 0 : -ESTALE;
}

/* may_decode_fh(): `ret_checked`: only directories, and only those that the caller may search. */
static int may_decode(struct task *task, const struct path *root, uint32_t flags, bool *ret_checked)
{
    const struct vfs_identity *id = vfs_identity();
    const uint64_t needed = 1UL << CAP_DAC_READ_SEARCH | 1UL << CAP_SYS_ADMIN;
    uint64_t owner = root->dentry->sb->owner_id;

    *ret_checked = false;
    if (vfs_has_cap(CAP_DAC_READ_SEARCH))
        return 0;
    *ret_checked = true;
    if (!(flags & O_DIRECTORY) || owner == 0 || owner != task->cred->user_ns->ns.id)
        return -EPERM;
    return (id->caps & needed) == needed ? 0 : -EPERM;
}

static int check_found(const struct path *found)
{
    const struct inode *inode = found->dentry->inode;

    if (inode_type(inode) != S_IFDIR)
        return -ENOTDIR;
    return vfs_has_cap_over(__atomic_load_n(&inode->uid, __ATOMIC_RELAXED),
                            __atomic_load_n(&inode->gid, __ATOMIC_RELAXED), CAP_DAC_READ_SEARCH)
               ? 0
               : -EPERM;
}

SYSCALL_DEFINE3(open_by_handle_at, int, mount_fd, uaddr_t, handle_ptr, int, flags)
{
    struct path root, found = {NULL, NULL};
    struct handle handle;
    struct file *file;
    bool checked;
    int err = get_handle(task, handle_ptr, &handle);

    if (!err)
        err = get_root(task, mount_fd, &root);
    if (err < 0)
        return err;
    err = may_decode(task, &root, (uint32_t)flags, &checked);
    if (!err && copy_from_user(task->mm, handle.bytes, handle_ptr + sizeof(struct handle_head),
                               handle.size) < 0)
        err = -EFAULT;
    if (!err) {
        bool placed = handle.type & TYPE_CONNECTABLE;

        handle.type &= ~TYPE_FLAGS;
        err = handle_decode(&root, &handle, placed, &found);
    }
    if (!err && checked)
        err = check_found(&found);
    if (!err)
        err = vfs_open_found(&found, (uint32_t)flags, &file);
    path_unref(&found);
    path_unref(&root);
    return err < 0 ? err : task_install(task, file, 0, flags & O_CLOEXEC);
}
