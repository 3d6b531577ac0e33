#include "runtime/changes.h"

#include <errno.h>
#include <stdio.h>

#include "host/io.h"
#include "sentry/fs/overlay/overlay.h"

#define LINE_MAX_BYTES 8192 /* written at once; a longer line in pieces */

struct writer {
    int fd, err;
    size_t size;
    char buf[LINE_MAX_BYTES];
};

static void flush(struct writer *w)
{
    size_t done = 0;

    while (done < w->size && !w->err) {
        ssize_t n = host_write(w->fd, w->buf + done, w->size - done);

        if (n < 0 && n != -EINTR)
            w->err = (int)n;
        done += n > 0 ? (size_t)n : 0;
    }
    w->size = 0;
}

static void put(struct writer *w, unsigned char c)
{
    if (w->size + 8 > sizeof(w->buf))
        flush(w);
    if (c < ' ' || c == '\\' || c == 0x7f)
        w->size += (size_t)snprintf(w->buf + w->size, 8, "\\%03o", c);
    else
        w->buf[w->size++] = (char)c;
}

static void put_change(void *arg, enum overlay_change change, const char *path)
{
    struct writer *w = arg;

    put(w, (unsigned char)change);
    put(w, ' ');
    for (; *path; path++)
        put(w, (unsigned char)*path);
    if (w->size + 8 > sizeof(w->buf))
        flush(w);
    w->buf[w->size++] = '\n';
}

int changes_write(struct super_block *overlay, int fd)
{
    struct writer w = {.fd = fd};
    int err = overlay_changes(overlay, put_change, &w);

    flush(&w);
    return err ? err : w.err;
}
