/*
 * Pipes as files. Writes of at most PIPE_BUF bytes happen whole or not at all, since each needs at
 * most one slot of the ring; longer ones take what room there is, and the system-call layer comes
 * back with the rest.
 *
 * Locks: pipe->lock, of two pipes the one at the lower address first; the file that splice(2) moves
 * bytes from or to is read or written under it, into the ring itself.
 */
#include "sentry/fs/pipe/pipe.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "sentry/fs/pipe/internal.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/plainstat.h"
#include "sentry/vfs/path/open.h"

#define PIPE_DEV_MINOR 14 /* st_dev of the file system that pipes are in */
#define SLOTS_SMALL    2

uint64_t pipe_size_max = 1048576;
static uint64_t pipes_pages; /* atomic: slots of all rings; their bytes are the Sentry's memory */

static bool account_slots(uint32_t count)
{
    if (__atomic_add_fetch(&pipes_pages, count, __ATOMIC_RELAXED) <= PIPE_PAGES_SOFT)
        return true;
    __atomic_sub_fetch(&pipes_pages, count, __ATOMIC_RELAXED);
    return false;
}

static void unaccount_slots(uint32_t count)
{
    __atomic_sub_fetch(&pipes_pages, count, __ATOMIC_RELAXED);
}

static ssize_t pipe_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pipe *p = pipe_of(f);
    bool was_full, room;
    ssize_t n;

    if (uio->left == 0)
        return 0;
    lock_acquire(&p->lock);
    was_full = ring_full(&p->ring);
    if (!ring_empty(&p->ring))
        n = ring_read(&p->ring, uio, true);
    else
        n = p->writers ? -EAGAIN : 0;
    room = !ring_full(&p->ring);
    lock_release(&p->lock);
    /* An edge for those who wait to write: a slot has become free where there was none. */
    if (was_full && room)
        pipe_wake_writers(p);
    return n;
}

static ssize_t pipe_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pipe *p = pipe_of(f);
    bool packet = __atomic_load_n(&f->flags, __ATOMIC_RELAXED) & O_DIRECT;
    ssize_t n;

    if (uio->left == 0)
        return 0;
    lock_acquire(&p->lock);
    if (!p->readers)
        n = -EPIPE;
    else
        n = ring_write(&p->ring, uio, packet);
    lock_release(&p->lock);
    if (n > 0)
        pipe_wake_readers(p);
    return n == 0 ? -EAGAIN : n;
}

static uint32_t pipe_poll(struct file *f, struct wait_entry *entry)
{
    struct pipe_end *end = container_of(f, struct pipe_end, file);
    struct pipe *p = end->pipe;
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&p->queue, entry);
    lock_acquire(&p->lock);
    if (file_can_read(f)) {
        events |= ring_empty(&p->ring) ? 0 : POLLIN | POLLRDNORM;
        /* Nobody writes any more; on a FIFO that nobody has written yet that is no hang-up. */
        events |= !p->writers && end->writers_seen != p->writers_ever ? POLLHUP : 0;
    }
    if (file_can_write(f)) {
        events |= ring_full(&p->ring) ? 0 : POLLOUT | POLLWRNORM;
        events |= p->readers ? 0 : POLLERR;
    }
    lock_release(&p->lock);
    return events;
}

static void pipe_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&pipe_of(f)->queue, entry);
}

static int pipe_stat(struct file *f, struct linux_stat *ret)
{
    struct pipe *p = pipe_of(f);
    struct dentry *named = f->at.dentry;

    if (named)
        return named->inode->ops->stat(named, false, ret);
    *ret = (struct linux_stat){
        .st_dev = makedev(0, PIPE_DEV_MINOR),
        .st_ino = p->ino,
        .st_nlink = 1,
        .st_blksize = 4096,
    };
    own_attr_stat(&p->attr, ret);
    return 0;
}

static struct own_attr *pipe_own_attr(struct file *f)
{
    return &pipe_of(f)->attr;
}

/* /proc/PID/fd: another end of it. fs/pipe.c:fifo_open() waits for nobody here. */
static int pipe_reopen(struct file *f, uint32_t flags, struct file **ret)
{
    struct pipe *p = pipe_of(f);
    uint32_t mode = flags & O_ACCMODE;
    int err;

    if (f->at.dentry)
        return vfs_open_found(&f->at, flags, ret);
    err = own_attr_permission(&p->attr,
                              (mode != O_WRONLY ? R_OK : 0) | (mode != O_RDONLY ? W_OK : 0));
    return err ? err : pipe_open(p, flags, ret);
}

static int pipe_statfs(struct file *f, struct linux_statfs *ret)
{
    struct dentry *named = f->at.dentry;

    if (named && named->inode->ops->statfs)
        return named->inode->ops->statfs(named, ret);
    *ret = statfs_of_memory(0x50495045); /* PIPEFS_MAGIC */
    return 0;
}

static long pipe_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct pipe *p = pipe_of(f);
    int used;

    if (cmd != FIONREAD)
        return -ENOTTY;
    lock_acquire(&p->lock);
    used = (int)ring_bytes(&p->ring);
    lock_release(&p->lock);
    return copy_struct_to_user(mm, arg, &used);
}

struct pipe *pipe_unref(struct pipe *p)
{
    if (p && refcount_put(&p->refs)) {
        lock_destroy(&p->lock);
        own_attr_fini(&p->attr);
        free(p);
    }
    return NULL;
}

static void pipe_release(struct file *f)
{
    struct pipe *p = pipe_of(f);

    lock_acquire(&p->lock);
    p->readers -= file_can_read(f);
    p->writers -= file_can_write(f);
    if (!p->readers && !p->writers) {
        unaccount_slots(p->ring.count);
        ring_fini(&p->ring);
    }
    lock_release(&p->lock);
    /* The other end learns of it: end of file, or EPIPE. */
    wait_queue_wake(&p->queue, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLERR);
    pipe_unref(p);
    file_fini(f);
    free(container_of(f, struct pipe_end, file));
}

static const struct file_operations pipe_operations = {
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .unpoll = pipe_unpoll,
    .stat = pipe_stat,
    .own_attr = pipe_own_attr,
    .reopen = pipe_reopen,
    .statfs = pipe_statfs,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
};

bool pipe_is(const struct file *f)
{
    return f->ops == &pipe_operations;
}

/* With the first end comes the ring. */
static int make_ring_locked(struct pipe *p) __must_hold(p->lock)
{
    uint32_t count = PIPE_SIZE_DEFAULT / PAGE_SIZE;
    int err;

    if (!account_slots(count)) {
        count = SLOTS_SMALL;
        __atomic_add_fetch(&pipes_pages, count, __ATOMIC_RELAXED);
    }
    err = ring_init(&p->ring, count);
    if (err < 0)
        unaccount_slots(count);
    return err;
}

struct pipe *pipe_new(uint32_t uid, uint32_t gid)
{
    static uint64_t last_ino = 4096; /* atomic */
    struct pipe *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    refcount_set(&p->refs, 1);
    p->ino = __atomic_add_fetch(&last_ino, 1, __ATOMIC_RELAXED);
    own_attr_init(&p->attr, S_IFIFO | 0600, uid, gid);
    wait_queue_init(&p->queue);
    lock_init(&p->lock);
    return p;
}

int pipe_open(struct pipe *p, uint32_t flags, struct file **ret)
{
    struct pipe_end *end = calloc(1, sizeof(*end));
    int err = 0;

    if (!end)
        return -ENOMEM;
    file_init(&end->file, &pipe_operations, flags);
    lock_acquire(&p->lock);
    if ((flags & O_NONBLOCK) && (flags & O_ACCMODE) == O_WRONLY && !p->readers)
        err = -ENXIO;
    else if (!p->ring.count)
        err = make_ring_locked(p);
    if (!err) {
        refcount_get(&p->refs);
        end->pipe = p;
        end->met = file_can_write(&end->file) ? p->readers > 0 : p->writers > 0;
        end->readers_seen = p->readers_ever;
        end->writers_seen = file_can_write(&end->file) ? 0 : p->writers_ever;
        p->readers += file_can_read(&end->file);
        p->readers_ever += file_can_read(&end->file);
        p->writers += file_can_write(&end->file);
        p->writers_ever += file_can_write(&end->file);
    }
    lock_release(&p->lock);
    if (err < 0) {
        file_fini(&end->file);
        free(end);
        return err;
    }
    wait_queue_wake(&p->queue, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
    *ret = &end->file;
    return 0;
}

void pipe_ends(struct pipe *p, uint32_t *ret_readers, uint32_t *ret_writers)
{
    lock_acquire(&p->lock);
    *ret_readers = p->readers;
    *ret_writers = p->writers;
    lock_release(&p->lock);
}

int pipe_create(uint32_t flags, uint32_t uid, uint32_t gid, struct file **ret_read,
                struct file **ret_write)
{
    struct pipe *p = pipe_new(uid, gid);
    struct file *read_end = NULL;
    int err = p ? pipe_open(p, (flags & O_NONBLOCK) | O_RDONLY, &read_end) : -ENOMEM;

    if (!err)
        err = pipe_open(p, (flags & (O_NONBLOCK | O_DIRECT)) | O_WRONLY, ret_write);
    if (err < 0)
        file_unref(read_end);
    else
        *ret_read = read_end;
    pipe_unref(p);
    return err;
}

int pipe_get_size(struct file *f)
{
    struct pipe *p;
    int size;

    if (!pipe_is(f))
        return -EBADF;
    p = pipe_of(f);
    lock_acquire(&p->lock);
    size = (int)(p->ring.count * PAGE_SIZE);
    lock_release(&p->lock);
    return size;
}

/* May it become so large? Shrinking always may. */
static int may_resize(struct pipe *p, uint64_t size, bool privileged)
{
    uint32_t now;

    lock_acquire(&p->lock);
    now = p->ring.count;
    lock_release(&p->lock);
    if (size / PAGE_SIZE > now && size > __atomic_load_n(&pipe_size_max, __ATOMIC_RELAXED) &&
        !privileged)
        return -EPERM;
    return account_slots((uint32_t)(size / PAGE_SIZE)) ? 0 : -EPERM;
}

int pipe_set_size(struct file *f, uint64_t size, bool privileged)
{
    struct pipe *p;
    uint64_t rounded = PAGE_SIZE;
    struct pipe_ring ring, old;
    int err;

    if (!pipe_is(f))
        return -EBADF;
    if (size > 1UL << 31)
        return -EINVAL;
    while (rounded < size)
        rounded *= 2;
    p = pipe_of(f);
    err = may_resize(p, rounded, privileged);
    if (err < 0)
        return err;
    err = ring_init(&ring, (uint32_t)(rounded / PAGE_SIZE));
    if (err < 0) {
        unaccount_slots((uint32_t)(rounded / PAGE_SIZE));
        return err;
    }
    lock_acquire(&p->lock);
    old = ring;
    if (p->ring.used > ring.count) {
        err = -EBUSY;
    } else {
        ring_transfer(&p->ring, &ring);
        old = p->ring;
        p->ring = ring;
    }
    lock_release(&p->lock);
    unaccount_slots(old.count);
    ring_fini(&old);
    if (err < 0)
        return err;
    pipe_wake_writers(p);
    return (int)rounded;
}
