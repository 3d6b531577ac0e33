/* Regular files of tmpfs: their bytes are guest memory (sentry/mm/shmem.h). */
#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/path/namei.h"

static struct tmpfs_inode *inode_of(struct file *f)
{
    return tmpfs_inode_of(f->at.dentry->inode);
}

static ssize_t tmpfs_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct tmpfs_inode *inode = inode_of(f);
    ssize_t n = shmem_file_read(inode->data, uio, (uint64_t)*pos);

    if (n > 0)
        *pos += n;
    if (n >= 0)
        tmpfs_accessed(inode, tmpfs_atime_of(f));
    return n;
}

/* generic_write_checks(): how many of the bytes may be written at `offset`; -EFBIG for none. */
static ssize_t check_limits(const struct uio *uio, uint64_t offset)
{
    uint64_t limit = MIN(uio->size_limit, SHMEM_SIZE_MAX);

    if (uio->left == 0)
        return 0;
    return offset >= limit ? -EFBIG : (ssize_t)MIN(uio->left, limit - offset);
}

/* shmem_write_begin(): what seals leave of a write of `n` bytes, page by page; -EPERM for none. */
static ssize_t check_seals(struct tmpfs_inode *inode, uint64_t offset, ssize_t n)
{
    uint64_t size = shmem_file_size(inode->data), whole = round_down(size, PAGE_SIZE);

    if (inode->seals & TMPFS_NO_WRITE)
        return -EPERM;
    if (!(inode->seals & F_SEAL_GROW) || offset + (uint64_t)n <= size)
        return n;
    return offset < whole ? (ssize_t)(whole - offset) : -EPERM;
}

static ssize_t tmpfs_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct tmpfs_inode *inode = inode_of(f);
    uint64_t offset;
    ssize_t n;

    lock_acquire(&inode->content_lock);
    offset =
        (f->flags & O_APPEND) && !uio->no_append ? shmem_file_size(inode->data) : (uint64_t)*pos;
    n = check_limits(uio, offset);
    if (n > 0)
        n = check_seals(inode, offset, n);
    if (n > 0) {
        tmpfs_drop_privileges(inode);
        n = shmem_file_write(inode->data, uio, offset, (uint64_t)n);
    }
    if (n > 0) {
        tmpfs_touch(inode, TOUCH_MTIME | TOUCH_CTIME);
        *pos = (int64_t)offset + n;
    }
    lock_release(&inode->content_lock);
    return n;
}

static int64_t tmpfs_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    struct tmpfs_inode *inode = inode_of(f);

    if (whence == SEEK_DATA || whence == SEEK_HOLE)
        return shmem_file_seek(inode->data, offset, whence);
    return file_seek_in(offset, whence, pos, (int64_t)shmem_file_size(inode->data));
}

static int truncate_inode(struct tmpfs_inode *inode, uint64_t size)
{
    uint64_t old;
    int err = 0;

    lock_acquire(&inode->content_lock);
    old = shmem_file_size(inode->data);
    if ((size < old && (inode->seals & F_SEAL_SHRINK)) ||
        (size > old && (inode->seals & F_SEAL_GROW)))
        err = -EPERM;
    if (!err) {
        tmpfs_drop_privileges(inode);
        shmem_file_truncate(inode->data, size);
        tmpfs_touch(inode, TOUCH_MTIME | TOUCH_CTIME);
    }
    lock_release(&inode->content_lock);
    return err;
}

int tmpfs_truncate(struct dentry *dentry, uint64_t size)
{
    return truncate_inode(tmpfs_inode_of(dentry->inode), size);
}

static int file_truncate(struct file *f, uint64_t size)
{
    return truncate_inode(inode_of(f), size);
}

static bool allocation_sealed(struct tmpfs_inode *inode, int mode, uint64_t end)
{
    if (mode & FALLOC_FL_PUNCH_HOLE)
        return inode->seals & TMPFS_NO_WRITE;
    return (inode->seals & F_SEAL_GROW) && end > shmem_file_size(inode->data);
}

/* fallocate(2). What tmpfs on Linux does not do, this one does not either. */
static int tmpfs_allocate(struct file *f, int mode, uint64_t offset, uint64_t size)
{
    struct tmpfs_inode *inode = inode_of(f);
    int err = 0;

    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
        return -EOPNOTSUPP;
    if (offset + size > SHMEM_SIZE_MAX && !(mode & FALLOC_FL_PUNCH_HOLE))
        return -EFBIG;
    lock_acquire(&inode->content_lock);
    if (allocation_sealed(inode, mode, offset + size))
        err = -EPERM;
    else if (mode & FALLOC_FL_PUNCH_HOLE)
        shmem_file_punch(inode->data, offset, size);
    else
        err = shmem_file_allocate(inode->data, offset, size);
    if (!err) {
        bool grow = !(mode & FALLOC_FL_KEEP_SIZE) && offset + size > shmem_file_size(inode->data);

        tmpfs_drop_privileges(inode);
        if (grow)
            shmem_file_truncate(inode->data, offset + size);
        tmpfs_touch(inode, TOUCH_MTIME | TOUCH_CTIME);
    }
    lock_release(&inode->content_lock);
    return err;
}

/* For those who look at an open file without the tree: the loader. */
static int tmpfs_file_stat(struct file *f, struct linux_stat *ret)
{
    return tmpfs_stat(f->at.dentry, false, ret);
}

/*
 * Maps show the name by which the file was last opened for mapping: f->path where this file system
 * is below another, which knows it.
 */
static int tmpfs_mmap(struct file *f, struct mappable **ret_object)
{
    struct tmpfs_inode *inode = inode_of(f);
    char *name = f->path ? strdup(f->path) : malloc(PATH_MAX);

    if (f->at.mount && name && !f->path && path_to_link(NULL, &f->at, name, PATH_MAX) < 0)
        name[0] = '\0';
    if (name && (f->path || f->at.mount) && name[0])
        shmem_file_set_name(inode->data, name);
    free(name);
    *ret_object = mappable_ref(inode->data);
    return 0;
}

/* shmem_mmap(), seal_check_write() */
static int tmpfs_map_begin(struct file *f, int prot, bool shared, int *max_prot)
{
    struct tmpfs_inode *inode = inode_of(f);
    int err = 0;

    if (!shared || !(*max_prot & PROT_WRITE))
        return 0;
    lock_acquire(&inode->lock);
    if (!(inode->seals & TMPFS_NO_WRITE))
        inode->mapping_writers++;
    else if (prot & PROT_WRITE)
        err = -EPERM;
    else
        *max_prot &= ~PROT_WRITE;
    lock_release(&inode->lock);
    return err;
}

static void tmpfs_map_end(struct file *f, int max_prot, bool shared)
{
    struct tmpfs_inode *inode = inode_of(f);

    if (!shared || !(max_prot & PROT_WRITE))
        return;
    lock_acquire(&inode->lock);
    inode->mapping_writers--;
    lock_release(&inode->lock);
}

static int tmpfs_sync(struct file *f)
{
    return 0; /* there is nothing behind it */
}

static void tmpfs_file_release(struct file *f)
{
    file_fini(f);
    free(f);
}

static const struct file_operations regular_operations = {
    .read = tmpfs_read,
    .write = tmpfs_write,
    .llseek = tmpfs_llseek,
    .stat = tmpfs_file_stat,
    .mmap = tmpfs_mmap,
    .map_begin = tmpfs_map_begin,
    .map_end = tmpfs_map_end,
    .truncate = file_truncate,
    .allocate = tmpfs_allocate,
    .sync = tmpfs_sync,
    .release = tmpfs_file_release,
};

int tmpfs_file_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct file *f = malloc(sizeof(*f));

    if (!f)
        return -ENOMEM;
    file_init(f, &regular_operations, flags);
    *ret = f;
    return 0;
}
