/*
 * The ring is ordinary memory of the Sentry; its pages appear as they are first written. Writes of
 * at most PIPE_BUF bytes happen whole or not at all; longer ones take what room there is, and the
 * system-call layer comes back with the rest.
 *
 * Invariant: used <= capacity; the bytes are ring[(start + i) % capacity] for i < used.
 */
#include "sentry/fs/pipe/pipe.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

#define PIPE_DEV_MINOR 14 /* st_dev of the file system that pipes are in */

struct pipe {
    refcount_t refs; /* one for each end */
    uint64_t ino;
    uint32_t uid, gid;
    struct wait_queue queue; /* readers and writers, told apart by their events */

    struct lock lock;
    char *ring __guarded_by(lock);
    size_t capacity __guarded_by(lock);
    size_t start __guarded_by(lock);
    size_t used __guarded_by(lock);
    bool reader __guarded_by(lock); /* the read end is open */
    bool writer __guarded_by(lock);
};

struct pipe_end {
    struct file file;
    struct pipe *pipe; /* owned reference */
};

/*
 * What all pipes together may hold, whoever asks: their bytes are the Sentry's own memory. Beyond
 * it new pipes are small, and none grows (pipe(7), pipe-user-pages-soft).
 */
#define PIPES_SOFT_LIMIT (64UL << 20)
#define PIPE_SIZE_SMALL  8192

static size_t pipes_total; /* atomic: bytes of all rings */

static bool account_ring(size_t size)
{
    if (__atomic_add_fetch(&pipes_total, size, __ATOMIC_RELAXED) <= PIPES_SOFT_LIMIT)
        return true;
    __atomic_sub_fetch(&pipes_total, size, __ATOMIC_RELAXED);
    return false;
}

static struct pipe *pipe_of(struct file *f)
{
    return container_of(f, struct pipe_end, file)->pipe;
}

/* The longest stretch of the ring that begins `skip` bytes behind `start`, at most `size`. */
static size_t stretch(const struct pipe *p, size_t skip, size_t size, char **ret)
{
    size_t at = (p->start + skip) % p->capacity;

    *ret = p->ring + at;
    return MIN(size, p->capacity - at);
}

static ssize_t take_locked(struct pipe *p, struct uio *uio) __must_hold(p->lock)
{
    size_t done = 0;

    while (p->used > 0 && uio->left > 0) {
        char *from;
        size_t size = stretch(p, 0, MIN(p->used, uio->left), &from);
        ssize_t n = uio_copy_out(uio, from, size);

        if (n < 0)
            return done ? (ssize_t)done : n;
        p->start = (p->start + (size_t)n) % p->capacity;
        p->used -= (size_t)n;
        done += (size_t)n;
        if ((size_t)n < size)
            break;
    }
    return (ssize_t)done;
}

/* Copies `size` bytes behind what is there, all or nothing: -EFAULT. They do not count as used yet.
 */
static int fill_locked(struct pipe *p, struct uio *uio, size_t size) __must_hold(p->lock)
{
    size_t done = 0;

    while (done < size) {
        char *to;
        size_t part = stretch(p, p->used + done, size - done, &to);

        if (uio_copy_in(uio, to, part) != (ssize_t)part)
            return -EFAULT;
        done += part;
    }
    return 0;
}

/* Page by page, as Linux fills its buffers: a page that cannot be copied whole is not written. */
static ssize_t put_locked(struct pipe *p, struct uio *uio) __must_hold(p->lock)
{
    size_t done = 0;

    while (p->used < p->capacity && uio->left > 0) {
        size_t room = MIN(p->capacity - p->used, (size_t)PIPE_BUF);
        size_t size = MIN(room, uio->left);
        int err = fill_locked(p, uio, size);

        if (err < 0)
            return done ? (ssize_t)done : err;
        p->used += size;
        done += size;
    }
    return (ssize_t)done;
}

static ssize_t pipe_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pipe *p = pipe_of(f);
    ssize_t n;

    if (uio->left == 0)
        return 0;
    lock_acquire(&p->lock);
    if (p->used > 0)
        n = take_locked(p, uio);
    else
        n = p->writer ? -EAGAIN : 0;
    lock_release(&p->lock);
    if (n > 0)
        wait_queue_wake(&p->queue, POLLOUT | POLLWRNORM);
    return n;
}

static ssize_t pipe_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct pipe *p = pipe_of(f);
    size_t room;
    ssize_t n;

    if (uio->left == 0)
        return 0;
    lock_acquire(&p->lock);
    room = p->capacity - p->used;
    if (!p->reader)
        n = -EPIPE;
    else if (room == 0 || (uio->left <= PIPE_BUF && room < uio->left))
        n = -EAGAIN;
    else
        n = put_locked(p, uio);
    lock_release(&p->lock);
    if (n > 0)
        wait_queue_wake(&p->queue, POLLIN | POLLRDNORM);
    return n;
}

static uint32_t pipe_poll(struct file *f, struct wait_entry *entry)
{
    struct pipe *p = pipe_of(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&p->queue, entry);
    lock_acquire(&p->lock);
    if (file_can_read(f)) {
        events |= p->used > 0 ? POLLIN | POLLRDNORM : 0;
        events |= p->writer ? 0 : POLLHUP;
    }
    if (file_can_write(f)) {
        events |= p->capacity - p->used >= PIPE_BUF ? POLLOUT | POLLWRNORM : 0;
        events |= p->reader ? 0 : POLLERR;
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

    *ret = (struct linux_stat){
        .st_dev = makedev(0, PIPE_DEV_MINOR),
        .st_ino = p->ino,
        .st_nlink = 1,
        .st_mode = S_IFIFO | 0600,
        .st_uid = p->uid,
        .st_gid = p->gid,
        .st_blksize = 4096,
    };
    return 0;
}

static int pipe_statfs(struct file *f, struct linux_statfs *ret)
{
    *ret = (struct linux_statfs){
        .f_type = 0x50495045, /* PIPEFS_MAGIC */
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_namelen = VFS_NAME_MAX,
    };
    return 0;
}

static long pipe_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct pipe *p = pipe_of(f);
    int used;

    if (cmd != FIONREAD)
        return -ENOTTY;
    lock_acquire(&p->lock);
    used = (int)p->used;
    lock_release(&p->lock);
    return copy_struct_to_user(mm, arg, &used);
}

static void pipe_release(struct file *f)
{
    struct pipe *p = pipe_of(f);
    bool read_end = file_can_read(f);

    lock_acquire(&p->lock);
    if (read_end)
        p->reader = false;
    else
        p->writer = false;
    lock_release(&p->lock);
    /* The other end learns of it: end of file, or EPIPE. */
    wait_queue_wake(&p->queue, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLERR);
    if (refcount_put(&p->refs)) {
        __atomic_sub_fetch(&pipes_total, p->capacity, __ATOMIC_RELAXED);
        free(p->ring);
        lock_destroy(&p->lock);
        free(p);
    }
    file_fini(f);
    free(container_of(f, struct pipe_end, file));
}

static const struct file_operations pipe_operations = {
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .unpoll = pipe_unpoll,
    .stat = pipe_stat,
    .statfs = pipe_statfs,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
};

static struct pipe *pipe_new(uint32_t uid, uint32_t gid)
{
    static uint64_t last_ino = 4096; /* atomic */
    struct pipe *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->capacity = PIPE_SIZE_DEFAULT;
    if (!account_ring(p->capacity)) {
        p->capacity = PIPE_SIZE_SMALL;
        __atomic_add_fetch(&pipes_total, p->capacity, __ATOMIC_RELAXED);
    }
    p->ring = malloc(p->capacity);
    if (!p->ring) {
        __atomic_sub_fetch(&pipes_total, p->capacity, __ATOMIC_RELAXED);
        free(p);
        return NULL;
    }
    refcount_set(&p->refs, 2);
    p->ino = __atomic_add_fetch(&last_ino, 1, __ATOMIC_RELAXED);
    p->uid = uid;
    p->gid = gid;
    p->reader = p->writer = true;
    wait_queue_init(&p->queue);
    lock_init(&p->lock);
    return p;
}

int pipe_create(uint32_t flags, uint32_t uid, uint32_t gid, struct file **ret_read,
                struct file **ret_write)
{
    struct pipe_end *read_end = calloc(1, sizeof(*read_end));
    struct pipe_end *write_end = calloc(1, sizeof(*write_end));
    struct pipe *p = pipe_new(uid, gid);

    if (!read_end || !write_end || !p) {
        free(read_end);
        free(write_end);
        if (p) {
            __atomic_sub_fetch(&pipes_total, p->capacity, __ATOMIC_RELAXED);
            free(p->ring);
        }
        free(p);
        return -ENOMEM;
    }
    file_init(&read_end->file, &pipe_operations, (flags & O_NONBLOCK) | O_RDONLY);
    file_init(&write_end->file, &pipe_operations, (flags & O_NONBLOCK) | O_WRONLY);
    read_end->pipe = write_end->pipe = p;
    *ret_read = &read_end->file;
    *ret_write = &write_end->file;
    return 0;
}

int pipe_get_size(struct file *f)
{
    struct pipe *p;
    int size;

    if (f->ops != &pipe_operations)
        return -EBADF;
    p = pipe_of(f);
    lock_acquire(&p->lock);
    size = (int)p->capacity;
    lock_release(&p->lock);
    return size;
}

/* Moves the bytes to `ring` of `capacity` bytes; the old ring is for the caller to free. */
static char *exchange_ring_locked(struct pipe *p, char *ring, size_t capacity) __must_hold(p->lock)
{
    char *old = p->ring, *from;
    size_t first = stretch(p, 0, p->used, &from);

    memcpy(ring, from, first);
    memcpy(ring + first, old, p->used - first);
    __atomic_sub_fetch(&pipes_total, p->capacity, __ATOMIC_RELAXED);
    p->ring = ring;
    p->start = 0;
    p->capacity = capacity;
    return old;
}

int pipe_set_size(struct file *f, uint64_t size)
{
    struct pipe *p;
    size_t capacity = PAGE_SIZE;
    int err = 0;
    char *ring;

    if (f->ops != &pipe_operations)
        return -EBADF;
    if (size > 1UL << 31)
        return -EINVAL;
    while (capacity < size)
        capacity *= 2;
    if (capacity > PIPE_SIZE_MAX || !account_ring(capacity))
        return -EPERM;
    ring = malloc(capacity);
    p = pipe_of(f);
    lock_acquire(&p->lock);
    if (!ring)
        err = -ENOMEM;
    else if (p->used > capacity)
        err = -EBUSY;
    else
        ring = exchange_ring_locked(p, ring, capacity);
    lock_release(&p->lock);
    free(ring);
    if (err < 0) {
        __atomic_sub_fetch(&pipes_total, capacity, __ATOMIC_RELAXED);
        return err;
    }
    wait_queue_wake(&p->queue, POLLOUT | POLLWRNORM);
    return (int)capacity;
}
