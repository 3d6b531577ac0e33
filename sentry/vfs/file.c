/* Open file descriptions: life, and the checks that every kind of file shares (file.h). */
#include "sentry/vfs/file.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/vfs/dirent.h"
#include "sentry/vfs/lock/filelock.h"
#include "sentry/vfs/lock/lease.h"
#include "sentry/vfs/mount/mount_ops.h"
#include "sentry/vfs/notify.h"

static uint32_t alive; /* atomic */

uint32_t file_count(void)
{
    return __atomic_load_n(&alive, __ATOMIC_RELAXED);
}

void file_init(struct file *f, const struct file_operations *ops, uint32_t flags)
{
    memset(f, 0, sizeof(*f));
    f->ops = ops;
    f->flags = flags;
    refcount_set(&f->refs, 1);
    lock_init(&f->pos_lock);
    list_init(&f->watches);
    __atomic_add_fetch(&alive, 1, __ATOMIC_RELAXED);
}

void file_fini(struct file *f)
{
    if (f->counts_as_writer) {
        inode_put_write(f->at.dentry->inode);
        mount_put_write(f->at.mount);
    }
    if (f->counts_as_reader)
        __atomic_fetch_sub(&f->at.dentry->inode->read_count, 1, __ATOMIC_RELAXED);
    if (f->denies_writers)
        inode_allow_write(f->at.dentry->inode);
    if (f->dissolves)
        vfs_mount_dissolve(f->at.mount);
    if (f->at.mount)
        mount_used(f->at.mount);
    path_unref(&f->at);
    free(f->path);
    lock_destroy(&f->pos_lock);
    __atomic_sub_fetch(&alive, 1, __ATOMIC_RELAXED);
}

struct file *file_ref(struct file *f)
{
    refcount_get(&f->refs);
    return f;
}

/* inotify(7) hears of what is in the tree; what lies below an overlay has no mount. */
static void tell(struct file *f, uint32_t mask)
{
    if (f->at.mount && !(f->flags & O_PATH) && !f->quiet && !f->at.dentry->sb->hidden)
        notify_path(&f->at, mask);
    else if (!f->at.dentry)
        notify_file(f, mask);
}

/* May it be read, as far as those say who want to be asked? */
static int ask(struct file *f)
{
    return f->at.dentry && !f->quiet ? notify_ask(&f->at, NOTIFY_ACCESS_PERM) : 0;
}

static void tell_watches(struct file *f)
{
    lock_acquire(&f->pos_lock);
    while (!list_empty(&f->watches)) {
        struct file_watch *watch = list_first(&f->watches, struct file_watch, node);

        list_del_init(&watch->node);
        lock_release(&f->pos_lock);
        watch->gone(watch);
        lock_acquire(&f->pos_lock);
    }
    lock_release(&f->pos_lock);
}

struct file *file_unref(struct file *f)
{
    if (f && refcount_put(&f->refs)) {
        filelock_released(f);
        lease_released(f);
        tell(f, file_can_write(f) ? NOTIFY_CLOSE_WRITE : NOTIFY_CLOSE_NOWRITE);
        tell_watches(f);
        if (f->companion)
            f->companion->release(f->companion);
        f->ops->release(f);
    }
    return NULL;
}

void file_watch_add(struct file *f, struct file_watch *watch)
{
    lock_acquire(&f->pos_lock);
    list_add_tail(&f->watches, &watch->node);
    lock_release(&f->pos_lock);
}

bool file_watch_remove(struct file *f, struct file_watch *watch)
{
    bool was_on;

    lock_acquire(&f->pos_lock);
    was_on = !list_empty(&watch->node);
    list_del_init(&watch->node);
    lock_release(&f->pos_lock);
    return was_on;
}

typedef ssize_t (*transfer_fn)(struct file *f, struct uio *uio, int64_t *pos);

/* read(2) and write(2): from the file's position, which moves along. */
static ssize_t transfer(struct file *f, transfer_fn fn, struct uio *uio)
{
    int64_t unused = 0;
    ssize_t n;

    if (f->ops->own_position)
        return fn(f, uio, NULL);
    if (!f->ops->llseek)
        return fn(f, uio, &unused);
    lock_acquire(&f->pos_lock);
    n = fn(f, uio, &f->pos);
    lock_release(&f->pos_lock);
    return n;
}

/* What read(2) says where there is nothing to read with: directories have a word of their own. */
static int no_read(const struct file *f)
{
    return f->ops->getdents ? -EISDIR : -EINVAL;
}

ssize_t file_read(struct file *f, struct uio *uio)
{
    ssize_t n;

    if (!file_can_read(f))
        return -EBADF;
    if (!f->ops->read)
        return no_read(f);
    n = ask(f);
    if (n < 0)
        return n;
    n = transfer(f, f->ops->read, uio);
    if (n > 0)
        tell(f, NOTIFY_ACCESS);
    return n;
}

ssize_t file_write(struct file *f, struct uio *uio)
{
    ssize_t n;

    if (!file_can_write(f))
        return -EBADF;
    if (!f->ops->write)
        return -EINVAL;
    n = transfer(f, f->ops->write, uio);
    if (n > 0)
        tell(f, NOTIFY_MODIFY);
    return n;
}

/* As ksys_pread64() and ksys_pwrite64() look at them, one after the other. */
static int check_position(const struct file *f, int64_t pos)
{
    if (pos < 0)
        return -EINVAL;
    if (f->flags & O_PATH)
        return -EBADF;
    return f->ops->llseek ? 0 : -ESPIPE;
}

ssize_t file_pread(struct file *f, struct uio *uio, int64_t pos)
{
    ssize_t n = check_position(f, pos);

    if (n < 0)
        return n;
    if (!file_can_read(f))
        return -EBADF;
    if (!f->ops->read)
        return no_read(f);
    n = ask(f);
    if (n < 0)
        return n;
    n = f->ops->read(f, uio, &pos);
    if (n > 0)
        tell(f, NOTIFY_ACCESS);
    return n;
}

ssize_t file_pwrite(struct file *f, struct uio *uio, int64_t pos)
{
    ssize_t n = check_position(f, pos);

    if (n < 0)
        return n;
    if (!file_can_write(f))
        return -EBADF;
    if (!f->ops->write)
        return -EINVAL;
    n = f->ops->write(f, uio, &pos);
    if (n > 0)
        tell(f, NOTIFY_MODIFY);
    return n;
}

int64_t file_llseek(struct file *f, int64_t offset, int whence)
{
    int64_t pos;

    if (f->flags & O_PATH)
        return -EBADF;
    if (whence < SEEK_SET || whence > SEEK_HOLE)
        return -EINVAL;
    if (!f->ops->llseek)
        return f->ops->seek_ignored ? 0 : -ESPIPE;
    lock_acquire(&f->pos_lock);
    pos = f->ops->llseek(f, offset, whence, f->pos);
    if (pos >= 0)
        f->pos = pos;
    lock_release(&f->pos_lock);
    return pos;
}

int64_t file_seek_in(int64_t offset, int whence, int64_t pos, int64_t size)
{
    int64_t base = whence == SEEK_CUR ? pos : whence == SEEK_END ? size : 0;
    int64_t target;

    if (whence == SEEK_DATA || whence == SEEK_HOLE) {
        if (offset < 0 || offset >= size)
            return -ENXIO;
        return whence == SEEK_DATA ? offset : size;
    }
    if (__builtin_add_overflow(base, offset, &target))
        return -EOVERFLOW;
    return target < 0 ? -EINVAL : target;
}

uint32_t file_poll(struct file *f, struct wait_entry *entry)
{
    if (!f->ops->poll)
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    return f->ops->poll(f, entry);
}

void file_unpoll(struct file *f, struct wait_entry *entry)
{
    if (f->ops->unpoll)
        f->ops->unpoll(f, entry);
}

int file_stat(struct file *f, struct linux_stat *ret)
{
    if (f->ops->stat)
        return f->ops->stat(f, ret);
    if (f->at.dentry)
        return f->at.dentry->inode->ops->stat(f->at.dentry, false, ret);
    return -EBADF;
}

int file_statfs(struct file *f, struct linux_statfs *ret)
{
    if (f->ops->statfs)
        return f->ops->statfs(f, ret);
    return f->at.dentry ? path_statfs(&f->at, ret) : -ENOSYS;
}

int path_statfs(const struct path *path, struct linux_statfs *ret)
{
    const struct inode_operations *ops = path->dentry->inode->ops;
    int err = ops->statfs ? ops->statfs(path->dentry, ret) : -ENOSYS;

    if (!err && path->mount)
        ret->f_flags = mount_statfs_flags(path->mount);
    return err;
}

int file_getdents(struct file *f, struct dirent_sink *sink)
{
    int err;

    if (f->flags & O_PATH)
        return -EBADF;
    if (!f->ops->getdents)
        return -ENOTDIR;
    err = ask(f);
    if (err < 0)
        return err;
    lock_acquire(&f->pos_lock);
    err = f->ops->getdents(f, sink, &f->pos);
    lock_release(&f->pos_lock);
    if (err >= 0)
        tell(f, NOTIFY_ACCESS);
    return err;
}
