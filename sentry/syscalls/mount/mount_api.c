/* Mounts by descriptors: open_tree(2), move_mount(2), mount_setattr(2), open_tree_attr(2). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <string.h>

#include "sentry/kernel/ns/mntns.h"
#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/mount/mount.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/landlock/landlock.h"
#include "sentry/vfs/mount/mount_ops.h"
#include "sentry/vfs/path/open.h"

/* Newer than Debian 12's headers, or not beside <sys/mount.h>. */
#define TREE_CLONE        1U
#define TREE_RECURSIVE    0x8000U
#define EMPTY_PATH        0x1000U
#define NO_AUTOMOUNT      0x800U
#define MOVE_BENEATH      0x200U
#define MOVE_SET_GROUP    0x100U
#define MOVE_FLAGS        0x377U
#define ATTR_NOSYMFOLLOW  0x200000UL
#define MOUNT_ATTR_SIZE_0 32UL

static const struct {
    uint64_t attr;
    uint32_t flag;
} attr_pairs[] = {
    {MOUNT_ATTR_RDONLY, MOUNT_READ_ONLY},      {MOUNT_ATTR_NOSUID, MOUNT_NOSUID},
    {MOUNT_ATTR_NODEV, MOUNT_NODEV},           {MOUNT_ATTR_NOEXEC, MOUNT_NOEXEC},
    {MOUNT_ATTR_NODIRATIME, MOUNT_NODIRATIME}, {ATTR_NOSYMFOLLOW, MOUNT_NOSYMFOLLOW},
};

static uint64_t plain_attrs(void)
{
    uint64_t all = 0;

    for (size_t i = 0; i < ARRAY_COUNT(attr_pairs); i++)
        all |= attr_pairs[i].attr;
    return all;
}

static uint32_t plain_flags(uint64_t attr)
{
    uint32_t flags = 0;

    for (size_t i = 0; i < ARRAY_COUNT(attr_pairs); i++)
        flags |= attr & attr_pairs[i].attr ? attr_pairs[i].flag : 0;
    return flags;
}

static int atime_flags(uint64_t attr, uint32_t *ret)
{
    switch (attr & MOUNT_ATTR__ATIME) {
    case MOUNT_ATTR_RELATIME:
        *ret |= MOUNT_RELATIME;
        return 0;
    case MOUNT_ATTR_NOATIME:
        *ret |= MOUNT_NOATIME;
        return 0;
    case MOUNT_ATTR_STRICTATIME:
        return 0;
    default:
        return -EINVAL;
    }
}

int mount_attr_flags(uint64_t attr, uint32_t *ret)
{
    if (attr & ~(plain_attrs() | MOUNT_ATTR__ATIME))
        return -EINVAL;
    *ret = plain_flags(attr);
    return atime_flags(attr, ret);
}

uint64_t mount_attr_of_flags(uint32_t flags)
{
    uint64_t attr = 0;

    for (size_t i = 0; i < ARRAY_COUNT(attr_pairs); i++)
        attr |= flags & attr_pairs[i].flag ? attr_pairs[i].attr : 0;
    if (flags & MOUNT_NOATIME)
        attr |= MOUNT_ATTR_NOATIME;
    else if (!(flags & MOUNT_RELATIME))
        attr |= MOUNT_ATTR_STRICTATIME;
    return attr;
}

long mount_open_place(struct task *task, struct path at, bool dissolves, bool cloexec)
{
    struct file *file;
    int err = vfs_open_place(&at, &file);

    if (err < 0) {
        if (dissolves)
            vfs_mount_dissolve(at.mount);
        path_unref(&at);
        return err;
    }
    path_unref(&at);
    file->dissolves = dissolves;
    return task_install(task, file, 0, cloexec);
}

/* ---- open_tree(2) -------------------------------------------------------------------------- */

static unsigned walk_flags(unsigned flags)
{
    return (flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW) | (flags & EMPTY_PATH ? WALK_EMPTY : 0);
}

/* A place in the tree; what has none is EINVAL. */
static int find_place(struct task *task, int dirfd, uaddr_t path, unsigned walk, struct path *ret)
{
    struct walk_result found;
    int err = at_path_walk(task, dirfd, path, walk, &found);

    if (err < 0)
        return err;
    if (found.file) {
        walk_result_unref(&found);
        return -EINVAL;
    }
    *ret = found.path;
    return 0;
}

static int check_tree_flags(struct task *task, unsigned flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW | NO_AUTOMOUNT | EMPTY_PATH | TREE_RECURSIVE | TREE_CLONE |
                  (unsigned)O_CLOEXEC))
        return -EINVAL;
    if ((flags & (TREE_RECURSIVE | TREE_CLONE)) == TREE_RECURSIVE)
        return -EINVAL;
    return (flags & TREE_CLONE) && !task_may_mount(task) ? -EPERM : 0;
}

/* The place, or the root of a copy that is alone. */
static int open_tree_at(struct task *task, int dirfd, uaddr_t path, unsigned flags,
                        struct path *ret)
{
    struct path at;
    int err = check_tree_flags(task, flags);

    if (!err)
        err = find_place(task, dirfd, path, walk_flags(flags), &at);
    if (err < 0)
        return err;
    if (!(flags & TREE_CLONE)) {
        *ret = at;
        return 0;
    }
    err = vfs_mount_clone(task_mount_ns(task), &at, flags & TREE_RECURSIVE, ret);
    path_unref(&at);
    return err;
}

SYSCALL_DEFINE3(open_tree, int, dirfd, uaddr_t, path, unsigned, flags)
{
    struct path at;
    int err = open_tree_at(task, dirfd, path, flags, &at);

    return err ? err : mount_open_place(task, at, flags & TREE_CLONE, flags & (unsigned)O_CLOEXEC);
}

/* ---- move_mount(2) ------------------------------------------------------------------------- */

SYSCALL_DEFINE5(move_mount, int, from_dirfd, uaddr_t, from_path, int, to_dirfd, uaddr_t, to_path,
                unsigned, flags)
{
    unsigned from_walk = (flags & 1 ? WALK_FOLLOW : 0) | (flags & 4 ? WALK_EMPTY : 0);
    unsigned to_walk = (flags & 0x10 ? WALK_FOLLOW : 0) | (flags & 0x40 ? WALK_EMPTY : 0);
    struct path from, to;
    int err;

    if (!task_may_mount(task))
        return -EPERM;
    if ((flags & ~MOVE_FLAGS) ||
        (flags & (MOVE_BENEATH | MOVE_SET_GROUP)) == (MOVE_BENEATH | MOVE_SET_GROUP))
        return -EINVAL;
    err = find_place(task, to_dirfd, to_path, to_walk, &to);
    if (err < 0)
        return err;
    err = landlock_check_mounts();
    if (!err)
        err = find_place(task, from_dirfd, from_path, from_walk, &from);
    if (!err) {
        err = flags & MOVE_SET_GROUP
                  ? vfs_mount_set_group(task_mount_ns(task), &to, &from)
                  : vfs_mount_move(task_mount_ns(task), &to, &from, flags & MOVE_BENEATH);
        path_unref(&from);
    }
    path_unref(&to);
    return err;
}

/* ---- mount_setattr(2) ---------------------------------------------------------------------- */

struct guest_mount_attr {
    uint64_t set, clear, propagation, userns_fd;
};

/* A structure of any size: what we do not know must be zero. */
static int copy_attr(struct task *task, uaddr_t ptr, size_t size, struct guest_mount_attr *ret)
{
    int err;

    static_assert(sizeof(*ret) == MOUNT_ATTR_SIZE_0, "struct mount_attr");
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (size < MOUNT_ATTR_SIZE_0)
        return -EINVAL;
    err = check_zero_from_user(task->mm, ptr, MOUNT_ATTR_SIZE_0, size);
    return err < 0 ? err : copy_struct_from_user(task->mm, ret, ptr);
}

static int take_propagation(uint64_t kind, struct mount_change *change)
{
    if (kind & ~(MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED) || (kind & (kind - 1)))
        return -EINVAL;
    change->propagation = (unsigned)kind;
    return 0;
}

/* fs/namespace.c:build_mount_kattr() */
static int take_attr(const struct guest_mount_attr *attr, struct mount_change *change)
{
    uint64_t known = plain_attrs() | MOUNT_ATTR__ATIME | MOUNT_ATTR_IDMAP;
    int err = take_propagation(attr->propagation, change);

    if (err < 0)
        return err;
    if ((attr->set | attr->clear) & ~known)
        return -EINVAL;
    change->set = plain_flags(attr->set);
    change->clear = plain_flags(attr->clear);
    /* Access times are one choice of three: it is set as a whole, after all was cleared. */
    if (attr->clear & MOUNT_ATTR__ATIME) {
        if ((attr->clear & MOUNT_ATTR__ATIME) != MOUNT_ATTR__ATIME)
            return -EINVAL;
        change->clear |= MOUNT_RELATIME | MOUNT_NOATIME;
        return atime_flags(attr->set, &change->set);
    }
    return attr->set & MOUNT_ATTR__ATIME ? -EINVAL : 0;
}

/* One of a deeper user namespace's keeps ids that only that one's maps explain: not done here. */
static bool controls(const struct super_block *sb)
{
    struct task *task = task_current();

    return sb->owner_id == task->cred->user_ns->ns.id && task_may_change_super(task, sb);
}

/* The user namespace of that descriptor, by whose maps a mount may be seen. */
static int find_user_ns(struct task *task, uint64_t fd, struct user_ns **ret)
{
    struct file *file = fd <= INT_MAX ? task_file(task, (int)fd) : NULL;
    struct ns *ns = file ? ns_of_file(file) : NULL;
    int err = 0;

    if (!file)
        return fd <= INT_MAX ? -EBADF : -EINVAL;
    if (!ns || ns->type != NS_USER)
        err = -EINVAL;
    else if (user_ns_of(ns) == &user_ns_first ||
             !task_has_ns_cap(task, user_ns_of(ns), CAP_SYS_ADMIN))
        err = -EPERM;
    else
        *ret = user_ns_ref(user_ns_of(ns));
    file_unref(file);
    return err;
}

/*
 * build_mount_idmapped(). Who asks controls the file system, so that belongs to his own user
 * namespace or to the first one.
 */
static int take_map(struct task *task, const struct guest_mount_attr *attr,
                    struct mount_change *change)
{
    const struct user_ns *own = task->cred->user_ns;
    struct id_maps to, fs = {NULL, NULL};
    struct user_ns *ns;
    int err;

    if (!((attr->set | attr->clear) & MOUNT_ATTR_IDMAP))
        return 0;
    if ((attr->clear & MOUNT_ATTR_IDMAP) && !change->replace)
        return -EINVAL;
    change->remap = true;
    change->controls = controls;
    if (!(attr->set & MOUNT_ATTR_IDMAP))
        return 0;
    err = find_user_ns(task, attr->userns_fd, &ns);
    if (err < 0)
        return err;
    to = (struct id_maps){user_ns_map(ns, ID_USER), user_ns_map(ns, ID_GROUP)};
    if (own != &user_ns_first)
        fs = (struct id_maps){user_ns_map(own, ID_USER), user_ns_map(own, ID_GROUP)};
    err = mount_map_create(to, fs, &change->map);
    change->map_owner = ns->ns.id;
    user_ns_unref(ns);
    return err;
}

static int set_attr(struct task *task, const struct path *at, const struct guest_mount_attr *attr,
                    unsigned flags)
{
    struct mount_change change = {.tree = flags & TREE_RECURSIVE, .replace = flags & TREE_CLONE};
    int err = take_attr(attr, &change);

    if (!err)
        err = take_map(task, attr, &change);
    if (!err)
        err = vfs_mount_setattr(task_mount_ns(task), at, &change);
    mount_map_unref(change.map);
    return err;
}

static bool says_nothing(const struct guest_mount_attr *attr)
{
    return !attr->set && !attr->clear && !attr->propagation;
}

SYSCALL_DEFINE5(mount_setattr, int, dirfd, uaddr_t, path, unsigned, flags, uaddr_t, attr_ptr,
                size_t, size)
{
    struct guest_mount_attr attr;
    struct path at;
    int err;

    if (flags & ~(EMPTY_PATH | TREE_RECURSIVE | AT_SYMLINK_NOFOLLOW | NO_AUTOMOUNT))
        return -EINVAL;
    if (!task_may_mount(task) && size <= PAGE_SIZE && size >= MOUNT_ATTR_SIZE_0)
        return -EPERM;
    err = copy_attr(task, attr_ptr, size, &attr);
    if (err < 0 || says_nothing(&attr))
        return err;
    err = find_place(task, dirfd, path, walk_flags(flags), &at);
    if (err < 0)
        return err;
    err = set_attr(task, &at, &attr, flags);
    path_unref(&at);
    return err;
}

SYSCALL_DEFINE5(open_tree_attr, int, dirfd, uaddr_t, path, unsigned, flags, uaddr_t, attr_ptr,
                size_t, size)
{
    struct guest_mount_attr attr = {0};
    struct path at;
    int err;

    if (!attr_ptr && size)
        return -EINVAL;
    err = open_tree_at(task, dirfd, path, flags, &at);
    if (err < 0)
        return err;
    if (attr_ptr)
        err = copy_attr(task, attr_ptr, size, &attr);
    if (!err && !task_may_mount(task))
        err = -EPERM;
    if (!err && !says_nothing(&attr))
        err = set_attr(task, &at, &attr, flags);
    if (err < 0) {
        if (flags & TREE_CLONE)
            vfs_mount_dissolve(at.mount);
        path_unref(&at);
        return err;
    }
    return mount_open_place(task, at, flags & TREE_CLONE, flags & (unsigned)O_CLOEXEC);
}
