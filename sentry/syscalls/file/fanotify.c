/* fanotify(7): fanotify_init(2), fanotify_mark(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fanotify.h>
#include <unistd.h>

#include "sentry/kernel/fanotify/fanotify.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/attr/permission.h"

SYSCALL_DEFINE2(fanotify_init, uint32_t, flags, uint32_t, event_flags)
{
    struct file *file;
    int err = fanotify_create(flags, event_flags, &file);

    return err ? err : task_install(task, file, 0, flags & FAN_CLOEXEC);
}

/* fanotify_find_path(): what is to be marked; given back by walk_result_unref(). */
static int find(struct task *task, int dirfd, uaddr_t path, uint32_t flags, struct walk_result *ret)
{
    unsigned walk = (flags & FAN_MARK_DONT_FOLLOW ? 0 : WALK_FOLLOW) |
                    (flags & FAN_MARK_ONLYDIR ? WALK_DIRECTORY : 0);
    struct file *file;

    if (path)
        return at_path_walk(task, dirfd, path, walk, ret);
    if (dirfd == AT_FDCWD)
        return -EBADF;
    file = task_file(task, dirfd);
    if (!file)
        return -EBADF;
    *ret = (struct walk_result){0};
    if (!file->at.dentry || !file->at.mount) {
        ret->file = file;
        return 0;
    }
    ret->path = path_ref(file->at);
    file_unref(file);
    if ((flags & FAN_MARK_ONLYDIR) && inode_type(ret->path.dentry->inode) != S_IFDIR) {
        walk_result_unref(ret);
        return -ENOTDIR;
    }
    return 0;
}

/* FAN_MARK_MNTNS: by a file of /proc/PID/ns. */
static int mark_ns(struct task *task, struct file *file, const struct fanotify_request *request,
                   const struct walk_result *found)
{
    struct ns *ns = found->path.dentry ? ns_of_dentry(found->path.dentry) : NULL;

    if (!ns || ns->type != NS_MNT)
        return -EINVAL;
    if (!task_has_ns_cap(task, ns->owner, CAP_SYS_ADMIN))
        return -EPERM;
    return fanotify_mark_ns(file, request, mnt_ns_of(ns)->tree, ns->inum);
}

static int mark(struct task *task, struct file *file, struct fanotify_request *request, int dirfd,
                uaddr_t path)
{
    struct walk_result found;
    int err = fanotify_check(file, request);

    if (err < 0)
        return err;
    if (request->flags & FAN_MARK_FLUSH) {
        fanotify_flush(file, request->flags);
        return 0;
    }
    err = find(task, dirfd, path, request->flags, &found);
    if (err < 0)
        return err;
    if (fanotify_wants_ns(request)) {
        err = mark_ns(task, file, request, &found);
        walk_result_unref(&found);
        return err;
    }
    /* What has no place in the tree, a pipe, cannot be watched. */
    err = found.file ? -EINVAL : path_permission(&found.path, R_OK);
    if (!err)
        err = fanotify_mark(file, request, &found.path);
    walk_result_unref(&found);
    return err;
}

SYSCALL_DEFINE5(fanotify_mark, int, fd, uint32_t, flags, uint64_t, mask, int, dirfd, uaddr_t, path)
{
    struct fanotify_request request = {.flags = flags, .mask = mask};
    struct file *file = task_file(task, fd);
    int err;

    if (!file)
        return -EBADF;
    err = mark(task, file, &request, dirfd, path);
    file_unref(file);
    return err;
}
