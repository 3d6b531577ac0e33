/* mount(2), umount(2), pivot_root(2); fs/namespace.c:path_mount() has the order. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/mount/mount.h"
#include "sentry/vfs/fstype.h"
#include "sentry/vfs/landlock/landlock.h"
#include "sentry/vfs/mount/mount_ops.h"

#define MS_NOSYMFOLLOW_BIT 256UL
#define MAGIC_MASK         0xffff0000UL
#define ATIME_FLAGS        (MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)
#define PROPAGATIONS       (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

/* copy_mount_string(): NULL stays NULL; too long is EINVAL here. */
int mount_copy_string(struct task *task, uaddr_t ptr, char **ret)
{
    ssize_t n;

    *ret = NULL;
    if (!ptr)
        return 0;
    *ret = malloc(PATH_MAX);
    if (!*ret)
        return -ENOMEM;
    n = strncpy_from_user(task->mm, *ret, ptr, PATH_MAX);
    if (n >= 0)
        return 0;
    free(*ret);
    *ret = NULL;
    return n == -ENAMETOOLONG ? -EINVAL : (int)n;
}

/* copy_mount_options(): a page, or as much of it as there is. */
static int copy_options(struct task *task, uaddr_t ptr, char **ret)
{
    size_t n;

    *ret = NULL;
    if (!ptr)
        return 0;
    *ret = calloc(1, PAGE_SIZE);
    if (!*ret)
        return -ENOMEM;
    n = copy_from_user_partial(task->mm, *ret, ptr, PAGE_SIZE - 1);
    if (n > 0)
        return 0;
    free(*ret);
    *ret = NULL;
    return -EFAULT;
}

struct mount_args {
    char *source, *type, *options;
    uint64_t flags;
};

static uint32_t flags_of(uint64_t ms)
{
    static const struct {
        uint64_t ms;
        uint32_t flag;
    } pairs[] = {
        {MS_RDONLY, MOUNT_READ_ONLY},
        {MS_NOSUID, MOUNT_NOSUID},
        {MS_NODEV, MOUNT_NODEV},
        {MS_NOEXEC, MOUNT_NOEXEC},
        {MS_NOATIME, MOUNT_NOATIME},
        {MS_NODIRATIME, MOUNT_NODIRATIME},
        {MS_NOSYMFOLLOW_BIT, MOUNT_NOSYMFOLLOW},
    };
    uint32_t flags = ms & MS_NOATIME ? 0 : MOUNT_RELATIME;

    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        flags |= ms & pairs[i].ms ? pairs[i].flag : 0;
    if (ms & MS_STRICTATIME)
        flags &= ~(uint32_t)(MOUNT_RELATIME | MOUNT_NOATIME);
    return flags;
}

static int find_source(struct task *task, const char *source, struct walk_result *ret)
{
    if (!source || !*source)
        return -EINVAL;
    return path_walk(task->fs, NULL, source, WALK_FOLLOW, ret);
}

static int do_bind(struct task *task, const struct path *to, const struct mount_args *args)
{
    struct walk_result from;
    int err = find_source(task, args->source, &from);

    if (err < 0)
        return err;
    err = from.file ? -EINVAL
                    : vfs_mount_bind(task_mount_ns(task), to, &from.path, args->flags & MS_REC);
    walk_result_unref(&from);
    return err;
}

static int do_move(struct task *task, const struct path *to, const struct mount_args *args)
{
    struct walk_result from;
    int err = find_source(task, args->source, &from);

    if (err < 0)
        return err;
    err = from.file ? -EINVAL : vfs_mount_move(task_mount_ns(task), to, &from.path, false);
    walk_result_unref(&from);
    return err;
}

static int do_remount(struct task *task, const struct path *path, const struct mount_args *args,
                      uint32_t flags)
{
    struct fs_setup setup = {.type = fs_type_find(path->mount->sb->type),
                             .read_only = args->flags & MS_RDONLY};
    int err = task_may_change_super(task, path->mount->sb) ? 0 : -EPERM;

    if (!err && args->options && setup.type)
        err = fs_setup_options(&setup, args->options);
    return err ? err
               : vfs_remount(task_mount_ns(task), path, flags, setup.read_only,
                             setup.type ? &setup : NULL);
}

int mount_create_super(struct task *task, const struct fs_setup *setup, struct super_block **ret)
{
    int err;

    if (!setup->type->unprivileged && !task_has_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    err = setup->type->create(setup, ret);
    if (!err && setup->type->unprivileged)
        (*ret)->owner_id = task->cred->user_ns->ns.id;
    return err;
}

static int do_new(struct task *task, const struct path *to, const struct mount_args *args,
                  uint32_t flags)
{
    struct fs_setup setup = {.read_only = false};
    struct super_block *sb;
    int err = 0;

    if (!args->type)
        return -EINVAL;
    setup.type = fs_type_find(args->type);
    if (!setup.type)
        return -ENODEV;
    if (args->options)
        err = fs_setup_options(&setup, args->options);
    if (!err)
        err = mount_create_super(task, &setup, &sb);
    if (err < 0)
        return err;
    if (setup.read_only || (args->flags & MS_RDONLY))
        super_set_read_only(sb, true);
    err = vfs_mount(task_mount_ns(task), to, sb, args->source, flags);
    super_unref(sb);
    return err;
}

/* One kind, with MS_REC and MS_SILENT at most beside it. */
static int do_propagation(struct task *task, const struct path *path, uint64_t flags)
{
    uint64_t type = flags & ~(uint64_t)(MS_REC | MS_SILENT);

    if ((type & ~(uint64_t)PROPAGATIONS) || (type & (type - 1)))
        return -EINVAL;
    return vfs_mount_propagation(task_mount_ns(task), path, (unsigned)type, flags & MS_REC);
}

static int do_mount(struct task *task, const struct path *path, struct mount_args *args)
{
    uint32_t flags = flags_of(args->flags);
    uint64_t ms = args->flags;

    if (!task_may_mount(task) || landlock_check_mounts() < 0)
        return -EPERM;
    /* A remount keeps what is said of access times, unless it says something. */
    if ((ms & MS_REMOUNT) && !(ms & ATIME_FLAGS)) {
        flags &= ~(uint32_t)MOUNT_ATIME_MASK;
        flags |= mount_get_flags(path->mount) & MOUNT_ATIME_MASK;
    }
    if ((ms & (MS_REMOUNT | MS_BIND)) == (MS_REMOUNT | MS_BIND))
        return vfs_remount_bind(task_mount_ns(task), path, flags);
    if (ms & MS_REMOUNT)
        return do_remount(task, path, args, flags);
    if (ms & MS_BIND)
        return do_bind(task, path, args);
    if (ms & PROPAGATIONS)
        return do_propagation(task, path, ms);
    if (ms & MS_MOVE)
        return do_move(task, path, args);
    return do_new(task, path, args, flags);
}

SYSCALL_DEFINE5(mount, uaddr_t, source, uaddr_t, target, uaddr_t, type, uint64_t, flags, uaddr_t,
                data)
{
    struct mount_args args = {.flags = flags};
    struct walk_result found;
    int err = mount_copy_string(task, type, &args.type);

    if ((args.flags & MAGIC_MASK) == MS_MGC_VAL)
        args.flags &= ~MAGIC_MASK;
    if (!err)
        err = mount_copy_string(task, source, &args.source);
    if (!err)
        err = copy_options(task, data, &args.options);
    if (!err)
        err = at_path_walk(task, AT_FDCWD, target, WALK_FOLLOW, &found);
    if (!err) {
        err = found.file ? (task_may_mount(task) ? -EINVAL : -EPERM)
                         : do_mount(task, &found.path, &args);
        walk_result_unref(&found);
    }
    free(args.type);
    free(args.source);
    free(args.options);
    return err;
}

SYSCALL_DEFINE2(umount2, uaddr_t, target, int, flags)
{
    struct walk_result found;
    struct path root;
    int err;

    if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
        return -EINVAL;
    err = at_path_walk(task, AT_FDCWD, target, flags & UMOUNT_NOFOLLOW ? 0 : WALK_FOLLOW, &found);
    if (err < 0)
        return err;
    if (!task_may_mount(task) || found.file) {
        walk_result_unref(&found);
        return task_may_mount(task) ? -EINVAL : -EPERM;
    }
    root = fs_context_root(task->fs);
    err = landlock_check_mounts();
    if (!err && (flags & MNT_FORCE || found.path.mount == root.mount) && !(flags & MNT_DETACH) &&
        !task_may_change_super(task, found.path.mount->sb))
        err = -EPERM;
    if (!err)
        err = vfs_umount(task_mount_ns(task), &found.path, &root, flags);
    path_unref(&root);
    path_unref(&found.path); /* this was no use, as walk_result_unref() would have it */
    return err;
}

SYSCALL_DEFINE2(pivot_root, uaddr_t, new_root, uaddr_t, put_old)
{
    const unsigned how = WALK_FOLLOW | WALK_DIRECTORY;
    struct walk_result to, old = {.file = NULL};
    struct path root;
    int err;

    if (!task_may_mount(task))
        return -EPERM;
    err = at_path_walk(task, AT_FDCWD, new_root, how, &to);
    if (err < 0)
        return err;
    err = at_path_walk(task, AT_FDCWD, put_old, how, &old);
    if (!err) {
        root = fs_context_root(task->fs);
        err = landlock_check_mounts();
        if (!err)
            err = vfs_pivot_root(task_mount_ns(task), &to.path, &old.path, &root);
        if (!err)
            mntns_move_roots(task, &root, &to.path);
        path_unref(&root);
    }
    walk_result_unref(&old);
    walk_result_unref(&to);
    return err;
}
