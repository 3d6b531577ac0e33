#include "sentry/kernel/ns/nsfile.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/path/open.h"

#define NS_GET_MNTNS_ID_IOCTL _IOR(NSIO, 0x5, uint64_t)
#define NS_MNT_GET_INFO_IOCTL _IOR(NSIO, 10, struct mnt_ns_info_abi)
#define NS_MNT_GET_NEXT_IOCTL _IOR(NSIO, 11, struct mnt_ns_info_abi)
#define NS_MNT_GET_PREV_IOCTL _IOR(NSIO, 12, struct mnt_ns_info_abi)
#define NS_GET_ID_IOCTL       _IOR(NSIO, 13, uint64_t)

#ifndef NS_GET_PID_FROM_PIDNS
#define NS_GET_PID_FROM_PIDNS  _IOR(NSIO, 6, int)
#define NS_GET_TGID_FROM_PIDNS _IOR(NSIO, 7, int)
#define NS_GET_PID_IN_PIDNS    _IOR(NSIO, 8, int)
#define NS_GET_TGID_IN_PIDNS   _IOR(NSIO, 9, int)
#endif

struct ns_file {
    struct file file;
    struct ns *ns; /* owned reference */
};

static struct ns_file *ns_file_of(struct file *f)
{
    return container_of(f, struct ns_file, file);
}

/* Among the caller's descriptors. */
static long open_ns(struct ns *ns)
{
    struct task *task = task_current();
    struct file *file;
    long fd = ns_file_create(ns, &file);

    if (fd < 0)
        return fd;
    fd = fdtable_install(task->files, file, 0, task_rlimit(task, RLIMIT_NOFILE), true);
    if (fd < 0)
        file_unref(file);
    return fd;
}

/* A user namespace above `ns`, if the caller may see it: it is in or below the caller's own. */
static long open_owner(struct ns *ns)
{
    struct user_ns *own = task_current()->cred->user_ns;

    if (!ns->owner || !user_ns_is_below(ns->owner, own))
        return -EPERM;
    return open_ns(&ns->owner->ns);
}

static long open_parent(struct pid_ns *ns)
{
    if (!ns->parent || !pid_ns_is_below(ns->parent, task_current()->process->pid_ns))
        return -EPERM;
    return open_ns(&ns->parent->ns);
}

/* Numbers of one namespace in the other: NS_GET_PID_FROM_PIDNS and its kin. */
static long translate(struct ns *base, uint32_t cmd, uint64_t number)
{
    bool from = cmd == NS_GET_PID_FROM_PIDNS || cmd == NS_GET_TGID_FROM_PIDNS;
    bool process = cmd == NS_GET_TGID_FROM_PIDNS || cmd == NS_GET_TGID_IN_PIDNS;
    struct pid_ns *own = task_current()->process->pid_ns, *ns;
    struct task *task;
    int32_t shown;

    if (base->type != NS_PID)
        return -EINVAL;
    ns = pid_ns_of(base);
    task = task_find(ns->kernel, pid_global(from ? ns : own, (int32_t)number));
    if (!task)
        return -ESRCH;
    shown = pid_shown(from ? own : ns, process ? task->process->pid : task->tid);
    task_unref(task);
    return shown ? shown : -ESRCH;
}

struct mnt_ns_info_abi {
    uint32_t size, mounts;
    uint64_t id;
};
static_assert(sizeof(struct mnt_ns_info_abi) == 16, "struct mnt_ns_info");

static long give_mounts(struct mnt_ns *ns, struct mm *mm, uint64_t arg)
{
    struct mnt_ns_info_abi info = {.size = sizeof(info), .id = ns_number(&ns->ns)};

    mount_lock();
    info.mounts = ns->tree->count;
    mount_unlock();
    return copy_struct_to_user(mm, arg, &info);
}

/* NS_MNT_GET_NEXT, NS_MNT_GET_PREV: what beside it the caller rules over. */
static long open_beside(struct ns *ns, bool before, struct mm *mm, uint64_t arg)
{
    struct mnt_ns *found = mnt_ns_beside(mnt_ns_of(ns), before);
    long result;

    if (!found)
        return -ENOENT;
    result = arg ? give_mounts(found, mm, arg) : 0;
    if (!result)
        result = open_ns(&found->ns);
    ns_unref(&found->ns);
    return result;
}

static long owner_uid(struct ns *ns, struct mm *mm, uint64_t arg)
{
    uint32_t uid;

    if (ns->type != NS_USER)
        return -EINVAL;
    uid = id_map_shown(user_ns_map(task_current()->cred->user_ns, ID_USER), user_ns_of(ns)->owner);
    return copy_struct_to_user(mm, arg, &uid);
}

/* ioctl_nsfs(2). */
static long ns_file_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct ns *ns = ns_file_of(f)->ns;
    uint64_t number = ns_number(ns);

    switch (cmd) {
    case NS_GET_NSTYPE:
        return (long)ns_flag(ns->type);
    case NS_GET_USERNS:
        return open_owner(ns);
    case NS_GET_PARENT:
        if (ns->type == NS_USER)
            return open_owner(ns);
        return ns->type == NS_PID ? open_parent(pid_ns_of(ns)) : -EINVAL;
    case NS_GET_OWNER_UID:
        return owner_uid(ns, mm, arg);
    case NS_GET_PID_FROM_PIDNS:
    case NS_GET_TGID_FROM_PIDNS:
    case NS_GET_PID_IN_PIDNS:
    case NS_GET_TGID_IN_PIDNS:
        return translate(ns, cmd, arg);
    case NS_GET_MNTNS_ID_IOCTL:
        return ns->type == NS_MNT ? copy_struct_to_user(mm, arg, &number) : -EINVAL;
    case NS_MNT_GET_INFO_IOCTL:
        return ns->type == NS_MNT ? give_mounts(mnt_ns_of(ns), mm, arg) : -EINVAL;
    case NS_MNT_GET_NEXT_IOCTL:
    case NS_MNT_GET_PREV_IOCTL:
        if (ns->type != NS_MNT)
            return -EINVAL;
        return open_beside(ns, cmd == NS_MNT_GET_PREV_IOCTL, mm, arg);
    case NS_GET_ID_IOCTL:
        return copy_struct_to_user(mm, arg, &number);
    default:
        return -ENOTTY;
    }
}

static void ns_file_release(struct file *f)
{
    struct ns_file *n = ns_file_of(f);

    file_fini(f);
    ns_unref(n->ns);
    free(n);
}

static const struct file_operations ns_file_operations = {
    .ioctl = ns_file_ioctl,
    .release = ns_file_release,
};

int ns_file_open(struct ns *ns, uint32_t flags, struct file **ret)
{
    struct ns_file *n = calloc(1, sizeof(*n));

    if (!n)
        return -ENOMEM;
    file_init(&n->file, &ns_file_operations, flags);
    n->ns = ns_ref(ns);
    *ret = &n->file;
    return 0;
}

int ns_file_create(struct ns *ns, struct file **ret)
{
    struct path at;
    int err = nsfs_path(ns, &at);

    if (err < 0)
        return err;
    err = vfs_open_found(&at, O_RDONLY, ret);
    path_unref(&at);
    return err;
}

struct ns *ns_of_file(struct file *file)
{
    return file->ops == &ns_file_operations ? ns_file_of(file)->ns : NULL;
}
