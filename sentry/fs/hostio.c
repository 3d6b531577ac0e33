#include "sentry/fs/hostio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/mm/uio.h"

#define PIN_BYTES (1UL << 20) /* at once: bounds how many pages a slow host call holds */

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

static ssize_t move_pinned(int fd, struct uio_pin *pin, int64_t *pos, bool to_guest)
{
    if (to_guest)
        return pos ? host_preadv(fd, pin->iov, pin->count, *pos)
                   : host_readv(fd, pin->iov, pin->count);
    return pos ? host_pwritev(fd, pin->iov, pin->count, *pos)
               : host_writev(fd, pin->iov, pin->count);
}

static ssize_t move(int fd, struct uio *uio, int64_t *pos, uint64_t max, bool to_guest)
{
    uint64_t done = 0;

    max = MIN(max, uio->left);
    while (done < max) {
        struct uio_pin pin;
        uint64_t pinned;
        ssize_t n = uio_pin(uio, MIN(max - done, PIN_BYTES), to_guest, &pin);

        if (n < 0)
            return done ? (ssize_t)done : n;
        pinned = pin.size;
        n = move_pinned(fd, &pin, pos, to_guest);
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
    return move(fd, uio, pos, max, true);
}

ssize_t hostio_write(int fd, struct uio *uio, int64_t *pos, uint64_t max)
{
    return move(fd, uio, pos, max, false);
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
