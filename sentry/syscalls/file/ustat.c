/* ustat(2): how much is free on the file system with a device number; statfs(2) by another key. */
#include <errno.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/ns/mntns.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/mount/mount.h"

struct guest_ustat {
    int32_t blocks_free;
    uint64_t inodes_free;
    char name[6], pack[6]; /* nobody fills them */
};
static_assert(sizeof(struct guest_ustat) == 32, "struct ustat");

/* new_decode_dev() */
static uint32_t decode(uint32_t dev)
{
    return (uint32_t)makedev((dev & 0xfff00) >> 8, (dev & 0xff) | ((dev >> 12) & 0xfff00));
}

/* The root of a file system with that number which is mounted where the task is, referenced. */
static bool find_root(struct task *task, uint32_t dev, struct path *ret)
{
    struct mount_ns *ns = task_mount_ns(task);
    bool found = false;
    struct mount *m;

    mount_lock();
    list_for_each (m, &ns->mounts, ns_node) {
        /*
         * An overlay's root has the number of where it comes from, which may be one of ours: of
         * what cannot tell, such as /dev, there is nothing to find.
         */
        if (m->root->inode->ops->statfs && (m->sb->dev == dev || m->root->inode->dev == dev)) {
            *ret = path_ref((struct path){m, m->root});
            found = true;
            break;
        }
    }
    mount_unlock();
    return found;
}

SYSCALL_DEFINE2(ustat, uint32_t, dev, uaddr_t, ptr)
{
    struct guest_ustat out = {0};
    struct linux_statfs fs;
    struct path root;
    int error;

    if (!find_root(task, decode(dev), &root))
        return -EINVAL;
    error = path_statfs(&root, &fs);
    path_unref(&root);
    if (error < 0)
        return error;
    out.blocks_free = (int32_t)fs.f_bfree;
    out.inodes_free = fs.f_ffree;
    return copy_struct_to_user(task->mm, ptr, &out);
}
