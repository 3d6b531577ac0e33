/*
 * The host descriptor may be shared with processes outside, so its O_NONBLOCK is never touched:
 * before each read or write the descriptor is polled, and a write to a stream is cut to what the
 * host takes without blocking when it says POLLOUT. Another reader may still snatch the bytes
 * between poll and read; then this thread sleeps in the host until a signal or more bytes come.
 */
#include "sentry/fs/hostfd/hostfd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/io.h"
#include "host/memory.h"
#include "host/poll.h"
#include "sentry/fs/hostfd/internal.h"
#include "sentry/fs/hostfd/tty.h"
#include "sentry/fs/hostio.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

/* A pipe with POLLOUT has room for one page, terminals and sockets for at least this (pipe(7)). */
#define STREAM_CHUNK 4096

struct hostfd {
    struct file file;
    struct host_stream *stream; /* owned reference */
    struct host_file *host;     /* the stream's */
    struct memfile *memfile;    /* borrowed: outlives all files */
    uint32_t type;              /* S_IFMT */
    bool host_append;
};

static struct hostfd *hostfd_of(struct file *f)
{
    return container_of(f, struct hostfd, file);
}

static ssize_t stream_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct hostfd *h = hostfd_of(f);

    if (uio->left > 0 && !host_poll_now(h->host->fd, POLLIN))
        return -EAGAIN;
    return hostio_read(h->host->fd, uio, NULL, UINT64_MAX);
}

static ssize_t stream_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct hostfd *h = hostfd_of(f);

    if (uio->left > 0 && !host_poll_now(h->host->fd, POLLOUT))
        return -EAGAIN;
    return hostio_write(h->host->fd, uio, NULL, STREAM_CHUNK);
}

static ssize_t seekable_read(struct file *f, struct uio *uio, int64_t *pos)
{
    return hostio_read(hostfd_of(f)->host->fd, uio, pos, UINT64_MAX);
}

static ssize_t seekable_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct hostfd *h = hostfd_of(f);

    /* The guest asked for O_APPEND with F_SETFL; the host's flag stays as it is. */
    if (!pos && (f->flags & O_APPEND) && !h->host_append && !uio->no_append)
        host_lseek(h->host->fd, 0, SEEK_END);
    return hostio_write(h->host->fd, uio, pos, UINT64_MAX);
}

static int64_t seekable_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return host_lseek(hostfd_of(f)->host->fd, offset, whence);
}

static void start_watching(struct host_stream *s)
{
    lock_acquire(&s->watch_lock);
    /* Regular files and /dev/null cannot be watched (EPERM), and are always ready. */
    if (!s->watch && hostpoll_watch(s->host->fd, &s->queue, &s->watch) < 0)
        s->watch = NULL;
    lock_release(&s->watch_lock);
}

static uint32_t hostfd_poll(struct file *f, struct wait_entry *entry)
{
    struct hostfd *h = hostfd_of(f);

    if (entry) {
        wait_queue_add(&h->stream->queue, entry);
        start_watching(h->stream);
    }
    return host_poll_now(h->host->fd, POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM |
                                          POLLRDBAND | POLLWRBAND | POLLRDHUP);
}

static void hostfd_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&hostfd_of(f)->stream->queue, entry);
}

static int hostfd_stat(struct file *f, struct linux_stat *ret)
{
    return hostio_stat(hostfd_of(f)->host->fd, ret);
}

static int hostfd_statfs(struct file *f, struct linux_statfs *ret)
{
    return hostio_statfs(hostfd_of(f)->host->fd, ret);
}

static long hostfd_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct hostfd *h = hostfd_of(f);

    if (f->terminal)
        return tty_ioctl(h->host->fd, mm, cmd, arg);
    return hostio_ioctl(h->host->fd, mm, cmd, arg);
}

static int hostfd_mmap(struct file *f, struct mappable **ret_object)
{
    struct hostfd *h = hostfd_of(f);

    /* Pages of a file that others write through us would have to be written back. */
    if (h->type != S_IFREG || file_can_write(f))
        return -ENODEV;
    return hostio_mmap(h->host, h->memfile, ret_object);
}

static int hostfd_sync(struct file *f)
{
    return host_fsync(hostfd_of(f)->host->fd);
}

static int hostfd_truncate(struct file *f, uint64_t size)
{
    return host_ftruncate(hostfd_of(f)->host->fd, size);
}

static void hostfd_release(struct file *f)
{
    struct hostfd *h = hostfd_of(f);

    host_stream_unref(h->stream);
    file_fini(f);
    free(h);
}

static const struct file_operations stream_operations = {
    .read = stream_read,
    .write = stream_write,
    .poll = hostfd_poll,
    .unpoll = hostfd_unpoll,
    .stat = hostfd_stat,
    .attr_error = -EROFS,
    .statfs = hostfd_statfs,
    .ioctl = hostfd_ioctl,
    .sync = hostfd_sync,
    .release = hostfd_release,
    .own_position = true,
};

static const struct file_operations seekable_operations = {
    .read = seekable_read,
    .write = seekable_write,
    .llseek = seekable_llseek,
    .stat = hostfd_stat,
    .attr_error = -EROFS,
    .statfs = hostfd_statfs,
    .ioctl = hostfd_ioctl,
    .mmap = hostfd_mmap,
    .sync = hostfd_sync,
    .truncate = hostfd_truncate,
    .release = hostfd_release,
    .own_position = true,
};

static struct host_stream *host_stream_create(int fd)
{
    struct host_file *host = host_file_create(fd, "");
    struct host_stream *s = host ? calloc(1, sizeof(*s)) : NULL;

    if (!s) {
        host_file_unref(host);
        return NULL;
    }
    refcount_set(&s->refs, 1);
    s->host = host;
    wait_queue_init(&s->queue);
    lock_init(&s->watch_lock);
    return s;
}

struct host_stream *host_stream_ref(struct host_stream *s)
{
    refcount_get(&s->refs);
    return s;
}

struct host_stream *host_stream_unref(struct host_stream *s)
{
    if (s && refcount_put(&s->refs)) {
        if (s->watch)
            hostpoll_unwatch(s->watch);
        host_file_unref(s->host);
        lock_destroy(&s->watch_lock);
        free(s);
    }
    return NULL;
}

static struct hostfd *hostfd_new(struct host_stream *s, const struct file_operations *ops,
                                 uint32_t flags)
{
    struct hostfd *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    file_init(&h->file, ops, flags);
    h->stream = host_stream_ref(s);
    h->host = s->host;
    return h;
}

int hostfd_reopen(struct host_stream *s, struct terminal *terminal, uint32_t flags,
                  struct file **ret)
{
    struct hostfd *h = hostfd_new(s, &stream_operations, flags);

    if (!h)
        return -ENOMEM;
    h->type = S_IFCHR;
    h->file.terminal = terminal;
    *ret = &h->file;
    return 0;
}

static int open_stream(struct host_stream *s, const char *name, struct memfile *memfile,
                       struct file **ret)
{
    int fd = s->host->fd, flags = host_get_flags(fd), err;
    bool seekable = host_lseek(fd, 0, SEEK_CUR) >= 0;
    struct linux_stat st;
    struct hostfd *h;

    if (flags < 0)
        return flags;
    err = hostio_stat(fd, &st);
    if (err < 0)
        return err;
    h = hostfd_new(s, seekable ? &seekable_operations : &stream_operations,
                   (uint32_t)flags & ~(uint32_t)O_CLOEXEC);
    if (!h)
        return -ENOMEM;
    h->file.path = name[0] ? strdup(name) : NULL;
    h->memfile = memfile;
    h->type = st.st_mode & S_IFMT;
    h->host_append = flags & O_APPEND;
    if (tty_is_terminal(fd))
        h->file.terminal = host_terminal_get(s, st.st_rdev);
    *ret = &h->file;
    return 0;
}

int hostfd_create(int fd, const char *name, struct memfile *memfile, struct file **ret)
{
    struct host_stream *s = host_stream_create(fd);
    int err = s ? open_stream(s, name, memfile, ret) : -ENOMEM;

    host_stream_unref(s);
    return err;
}
