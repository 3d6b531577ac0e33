#include "sentry/fs/hostio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/io.h"
#include "host/news.h"
#include "host/path.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/dirent.h"
#include "sentry/vfs/file.h"

#define GETDENTS_BYTES 16384
#define PIN_BYTES      (1UL << 20) /* at once: bounds how many pages a slow host call holds */

struct host_file *host_file_create(int fd, const char *name)
{
    size_t size = strlen(name) + 1;
    struct host_file *h = malloc(sizeof(*h) + size);

    if (!h) {
        host_close(fd);
        return NULL;
    }
    refcount_set(&h->refs, 1);
    h->fd = fd;
    memcpy(h->name, name, size);
    return h;
}

struct host_file *host_file_ref(struct host_file *h)
{
    refcount_get(&h->refs);
    return h;
}

struct host_file *host_file_unref(struct host_file *h)
{
    if (h && refcount_put(&h->refs)) {
        host_close(h->fd);
        free(h);
    }
    return NULL;
}

enum move { READ, WRITE, APPEND };

static ssize_t move_pinned(int fd, struct uio_pin *pin, int64_t *pos, enum move how)
{
    if (how == APPEND)
        return host_appendv(fd, pin->iov, pin->count);
    if (how == READ)
        return pos ? host_preadv(fd, pin->iov, pin->count, *pos)
                   : host_readv(fd, pin->iov, pin->count);
    return pos ? host_pwritev(fd, pin->iov, pin->count, *pos)
               : host_writev(fd, pin->iov, pin->count);
}

/* The end before the write counts, and the one after it: others append, too, on the host. */
static ssize_t append_guarded(int fd, struct uio_pin *pin, int64_t *pos, struct hostio_guard *guard)
{
    int64_t end, now;
    ssize_t n;

    guard->begin(guard);
    end = host_lseek(fd, 0, SEEK_END);
    n = end < 0 ? (ssize_t)end : move_pinned(fd, pin, NULL, APPEND);
    if (n > 0) {
        now = host_lseek(fd, 0, SEEK_END);
        *pos = MAX(now, end + n) - n; /* the caller adds n */
        guard->end(guard, (uint64_t)end, (uint64_t)(*pos + n - end));
    } else {
        guard->end(guard, 0, 0);
    }
    return n;
}

static ssize_t write_guarded(int fd, struct uio_pin *pin, int64_t *pos, struct hostio_guard *guard)
{
    ssize_t n;

    guard->begin(guard);
    n = move_pinned(fd, pin, pos, WRITE);
    guard->end(guard, (uint64_t)*pos, n > 0 ? (uint64_t)n : 0);
    return n;
}

static ssize_t move(int fd, struct uio *uio, int64_t *pos, uint64_t max, enum move how,
                    struct hostio_guard *guard)
{
    uint64_t done = 0;

    max = MIN(max, uio->left);
    while (done < max) {
        struct uio_pin pin;
        uint64_t pinned;
        ssize_t n = uio_pin(uio, MIN(max - done, PIN_BYTES), how == READ, &pin);

        if (n < 0)
            return done ? (ssize_t)done : n;
        pinned = pin.size;
        if (!guard)
            n = move_pinned(fd, &pin, pos, how);
        else
            n = how == APPEND ? append_guarded(fd, &pin, pos, guard)
                              : write_guarded(fd, &pin, pos, guard);
        uio_unpin(&pin);
        if (n < 0)
            return done ? (ssize_t)done : n;
        uio_advance(uio, (uint64_t)n);
        done += (uint64_t)n;
        if (pos)
            *pos += n;
        if ((uint64_t)n < pinned)
            break;
    }
    return (ssize_t)done;
}

ssize_t hostio_read(int fd, struct uio *uio, int64_t *pos, uint64_t max)
{
    ssize_t n = move(fd, uio, pos, max, READ, NULL);

    host_news_note();
    return n;
}

ssize_t hostio_read_quietly(int fd, struct uio *uio, int64_t *pos, uint64_t max)
{
    return move(fd, uio, pos, max, READ, NULL);
}

ssize_t hostio_write(int fd, struct uio *uio, int64_t *pos, uint64_t max)
{
    return move(fd, uio, pos, max, WRITE, NULL);
}

ssize_t hostio_write_guarded(int fd, struct uio *uio, int64_t *pos, uint64_t max, bool append,
                             struct hostio_guard *guard)
{
    return move(fd, uio, pos, max, append ? APPEND : WRITE, guard);
}

int64_t hostio_llseek(int fd, int64_t offset, int whence, int64_t pos)
{
    /* The host's own position is not used, and SEEK_CUR is about ours. */
    if (whence == SEEK_CUR)
        return file_seek_in(offset, whence, pos, 0);
    return host_lseek(fd, offset, whence);
}

int64_t hostio_dir_llseek(int fd, int64_t offset, int whence, int64_t pos)
{
    if (whence == SEEK_CUR && offset == 0)
        return pos;
    return host_lseek(fd, offset, whence);
}

/* What getdents64(2) fills in. */
struct dirent64_abi {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

/* Passes on what one getdents64(2) returned; false when the sink is full. */
static bool emit_all(struct dirent_sink *sink, const char *buf, size_t size, int64_t *pos)
{
    for (size_t at = 0; at < size;) {
        const struct dirent64_abi *d = (const struct dirent64_abi *)(buf + at);
        size_t length = strnlen(d->name, d->reclen - offsetof(struct dirent64_abi, name));

        if (!sink->emit(sink, d->name, length, d->ino, d->off, d->type))
            return false;
        *pos = d->off;
        at += d->reclen;
    }
    return true;
}

int hostio_getdents(int fd, struct dirent_sink *sink, int64_t *pos)
{
    char *buf = malloc(GETDENTS_BYTES);
    ssize_t n;

    if (!buf)
        return -ENOMEM;
    /* What the last call fetched and could not pass on is fetched again. */
    n = host_lseek(fd, *pos, SEEK_SET);
    if (n >= 0) {
        do {
            n = host_getdents(fd, buf, GETDENTS_BYTES);
        } while (n > 0 && emit_all(sink, buf, (size_t)n, pos));
    }
    free(buf);
    return n < 0 ? (int)n : 0;
}

int hostio_stat(int fd, struct linux_stat *ret)
{
    struct stat st;
    int err = host_fstat(fd, &st);

    if (err < 0)
        return err;
    static_assert(sizeof(st) == sizeof(*ret), "the host's struct stat is the guest's");
    memcpy(ret, &st, sizeof(*ret));
    return 0;
}

int hostio_statfs(int fd, struct linux_statfs *ret)
{
    struct statfs fs;
    int err = host_fstatfs(fd, &fs);

    if (err < 0)
        return err;
    static_assert(sizeof(fs) == sizeof(*ret), "the host's struct statfs is the guest's");
    memcpy(ret, &fs, sizeof(*ret));
    return 0;
}
