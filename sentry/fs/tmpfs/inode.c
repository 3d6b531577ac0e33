/* tmpfs objects: their life, times and attributes. */
#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/vfs/attr/permission.h"
#include "sentry/vfs/attr/setattr.h"
#include "sentry/vfs/path/special.h"

#define DIRENT_SIZE 20  /* what Linux's tmpfs says a name takes */
#define SHORT_LINK  128 /* targets from here on take a page of the budget */
#define A_DAY       (24 * 60 * 60)

/* Each takes memory of the Sentry itself, and there can be many file systems. */
#define ALL_INODES_MAX (1UL << 21)

static uint64_t all_inodes; /* atomic */

static void uncount_inode(struct tmpfs *fs)
{
    __atomic_sub_fetch(&all_inodes, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&fs->inode_count, 1, __ATOMIC_RELAXED);
}

static int count_inode(struct tmpfs *fs)
{
    uint64_t all = __atomic_add_fetch(&all_inodes, 1, __ATOMIC_RELAXED);
    uint64_t count = __atomic_add_fetch(&fs->inode_count, 1, __ATOMIC_RELAXED);

    if (all <= ALL_INODES_MAX && count <= __atomic_load_n(&fs->inode_limit, __ATOMIC_RELAXED))
        return 0;
    uncount_inode(fs);
    return -ENOSPC;
}

static int set_target(struct tmpfs_inode *inode, const char *target)
{
    if (strlen(target) >= SHORT_LINK) {
        int err = shmem_budget_take(inode->fs->budget, PAGE_SIZE);

        if (err < 0)
            return err;
        inode->charged = PAGE_SIZE;
    }
    inode->target = strdup(target);
    return inode->target ? 0 : -ENOMEM;
}

int tmpfs_inode_create(struct tmpfs *fs, const struct inode_make *make, struct tmpfs_inode **ret)
{
    struct tmpfs_inode *inode;
    int err = count_inode(fs);

    if (err < 0)
        return err;
    inode = calloc(1, sizeof(*inode));
    if (!inode) {
        uncount_inode(fs);
        return -ENOMEM;
    }
    inode_init(&inode->inode, &tmpfs_operations, make->mode, fs->sb.dev,
               __atomic_add_fetch(&fs->last_ino, 1, __ATOMIC_RELAXED));
    inode->inode.uid = make->uid;
    inode->inode.gid = make->gid;
    inode->inode.flags = make->flags;
    inode->fs = fs;
    inode->rdev = make->rdev;
    inode->seals = F_SEAL_SEAL;
    inode->atime = inode->mtime = inode->ctime = inode->btime = vfs_now();
    lock_init(&inode->lock);
    lock_init(&inode->content_lock);
    nametable_init(&inode->dir.entries, TMPFS_FIRST_COOKIE);
    list_init(&inode->xattrs);
    if (S_ISREG(make->mode))
        err = shmem_file_create(fs->memfile, fs->budget, &inode->data);
    else if (S_ISLNK(make->mode))
        err = set_target(inode, make->target);
    if (!err)
        err = tmpfs_add_acls(inode, make);
    if (err < 0)
        inode_unref(&inode->inode);
    else
        *ret = inode;
    return err;
}

void tmpfs_inode_release(struct inode *base)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(base);
    struct tmpfs *fs = inode->fs;

    tmpfs_dir_clear(inode);
    vfs_fifo_release(base);
    tmpfs_xattrs_free(inode);
    mappable_unref(inode->data);
    if (inode->charged)
        shmem_budget_give(fs->budget, inode->charged);
    free(inode->target);
    lock_destroy(&inode->lock);
    lock_destroy(&inode->content_lock);
    free(inode);
    uncount_inode(fs);
}

void tmpfs_touch(struct tmpfs_inode *inode, unsigned which)
{
    struct timespec now = vfs_now();

    lock_acquire(&inode->lock);
    if (which & TOUCH_ATIME)
        inode->atime = now;
    if (which & TOUCH_MTIME)
        inode->mtime = now;
    if (which & TOUCH_CTIME)
        inode->ctime = now;
    lock_release(&inode->lock);
}

static bool not_after(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec <= b->tv_nsec);
}

void tmpfs_accessed(struct tmpfs_inode *inode, enum atime_rule rule)
{
    struct timespec now;

    if (rule == ATIME_NEVER || (inode_flags(&inode->inode) & FS_NOATIME_FL))
        return;
    now = vfs_now();
    lock_acquire(&inode->lock);
    if (rule == ATIME_ALWAYS || not_after(&inode->atime, &inode->mtime) ||
        not_after(&inode->atime, &inode->ctime) || now.tv_sec - inode->atime.tv_sec >= A_DAY)
        inode->atime = now;
    lock_release(&inode->lock);
}

enum atime_rule tmpfs_atime_of(const struct file *f)
{
    if (f->flags & O_NOATIME)
        return ATIME_NEVER;
    if (!f->at.mount) /* below an overlay */
        return ATIME_RELATIVE;
    return mount_atime(f->at.mount, inode_type(f->at.dentry->inode) == S_IFDIR);
}

void tmpfs_drop_privileges(struct tmpfs_inode *inode)
{
    uint32_t mode = mode_without_privileges(&inode->inode);

    if (mode != inode_mode(&inode->inode))
        __atomic_store_n(&inode->inode.mode, mode, __ATOMIC_RELAXED);
    if (!list_empty(&inode->xattrs))
        tmpfs_drop_file_caps(inode);
}

static int64_t size_of(struct tmpfs_inode *inode)
{
    if (inode->data)
        return (int64_t)shmem_file_size(inode->data);
    if (inode->target)
        return (int64_t)strlen(inode->target);
    if (S_ISDIR(inode->inode.mode))
        return (int64_t)(nametable_count(&inode->dir.entries) + 2) * DIRENT_SIZE;
    return 0;
}

int tmpfs_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(dentry->inode);

    lock_acquire(&inode->lock);
    *ret = (struct linux_stat){
        .st_dev = inode->inode.dev,
        .st_ino = inode->inode.ino,
        .st_nlink = __atomic_load_n(&inode->nlink, __ATOMIC_RELAXED),
        .st_mode = inode_mode(&inode->inode),
        .st_uid = inode->inode.uid,
        .st_gid = inode->inode.gid,
        .st_rdev = inode->rdev,
        .st_size = size_of(inode),
        .st_blksize = PAGE_SIZE,
        .st_blocks = inode->data ? (int64_t)shmem_resident_size(inode->data) / 512 : 0,
        .st_atime_sec = (uint64_t)inode->atime.tv_sec,
        .st_atime_nsec = (uint64_t)inode->atime.tv_nsec,
        .st_mtime_sec = (uint64_t)inode->mtime.tv_sec,
        .st_mtime_nsec = (uint64_t)inode->mtime.tv_nsec,
        .st_ctime_sec = (uint64_t)inode->ctime.tv_sec,
        .st_ctime_nsec = (uint64_t)inode->ctime.tv_nsec,
    };
    lock_release(&inode->lock);
    return 0;
}

bool tmpfs_birth(struct dentry *dentry, struct timespec *ret)
{
    *ret = tmpfs_inode_of(dentry->inode)->btime; /* does not change while anybody sees it */
    return true;
}

int tmpfs_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    struct tmpfs *fs = tmpfs_of(dentry->sb);
    uint64_t used = __atomic_load_n(&fs->budget->used, __ATOMIC_RELAXED);
    uint64_t inodes = __atomic_load_n(&fs->inode_count, __ATOMIC_RELAXED);
    uint64_t limit = __atomic_load_n(&fs->budget->limit, __ATOMIC_RELAXED);
    uint64_t free_pages = (limit - MIN(used, limit)) / PAGE_SIZE;
    bool sized = limit != TMPFS_UNLIMITED;

    *ret = (struct linux_statfs){
        .f_type = TMPFS_MAGIC,
        .f_bsize = PAGE_SIZE,
        .f_frsize = PAGE_SIZE,
        .f_blocks = sized ? limit / PAGE_SIZE : 0,
        .f_bfree = sized ? free_pages : 0,
        .f_bavail = sized ? free_pages : 0,
        .f_fsid = {(int32_t)fs->sb.dev, 0},
        .f_namelen = VFS_NAME_MAX,
    };
    limit = __atomic_load_n(&fs->inode_limit, __ATOMIC_RELAXED);
    if (limit != TMPFS_UNLIMITED) {
        ret->f_files = limit;
        ret->f_ffree = limit - MIN(inodes, limit);
    }
    return 0;
}

int tmpfs_set_flags(struct dentry *dentry, uint32_t flags)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(dentry->inode);

    __atomic_store_n(&inode->inode.flags, flags, __ATOMIC_RELAXED);
    tmpfs_touch(inode, TOUCH_CTIME);
    return 0;
}

int tmpfs_setattr(struct dentry *dentry, const struct inode_attr *attr)
{
    struct tmpfs_inode *inode = tmpfs_inode_of(dentry->inode);
    uint32_t type = inode_type(&inode->inode);
    int err = 0;

    lock_acquire(&inode->lock);
    if ((attr->mask & ATTR_MODE) && (inode->seals & TMPFS_SEAL_EXEC) &&
        ((attr->mode ^ inode_mode(&inode->inode)) & 0111)) {
        lock_release(&inode->lock);
        return -EPERM;
    }
    if (attr->mask & ATTR_MODE)
        err = tmpfs_chmod_acl(inode, attr->mode);
    if (err < 0) {
        lock_release(&inode->lock);
        return err;
    }
    if (attr->mask & ATTR_MODE)
        __atomic_store_n(&inode->inode.mode, type | attr->mode, __ATOMIC_RELAXED);
    if (attr->mask & ATTR_UID)
        __atomic_store_n(&inode->inode.uid, attr->uid, __ATOMIC_RELAXED);
    if (attr->mask & ATTR_GID)
        __atomic_store_n(&inode->inode.gid, attr->gid, __ATOMIC_RELAXED);
    if (attr->mask & ATTR_ATIME)
        inode->atime = attr->atime;
    if (attr->mask & ATTR_MTIME)
        inode->mtime = attr->mtime;
    inode->ctime = attr->mask & ATTR_CTIME ? attr->ctime : vfs_now();
    if (attr->mask & ATTR_BTIME)
        inode->btime = attr->btime;
    lock_release(&inode->lock);
    return 0;
}
