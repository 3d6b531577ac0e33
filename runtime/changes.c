#include "runtime/changes.h"

#include <dirent.h>
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

static void put_text(struct writer *w, const char *text)
{
    for (; *text; text++) {
        if (w->size + 8 > sizeof(w->buf))
            flush(w);
        w->buf[w->size++] = *text;
    }
}

static void put_path(struct writer *w, const char *path)
{
    for (; *path; path++)
        put(w, (unsigned char)*path);
    put_text(w, "\n");
}

static void put_change(void *arg, enum overlay_change change, uint8_t type, const char *path)
{
    struct writer *w = arg;

    put(w, (unsigned char)change);
    put(w, ' ');
    put_path(w, path);
}

int changes_write(struct super_block *overlay, int fd)
{
    struct writer w = {.fd = fd};
    int err = overlay_changes(overlay, put_change, &w);

    flush(&w);
    return err ? err : w.err;
}

/* ---- with kinds ---------------------------------------------------------------------------------
 */

static const char *kind_of(uint8_t type)
{
    static const char *const kinds[] = {
        [DT_REG] = "file", [DT_DIR] = "folder", [DT_LNK] = "link",    [DT_FIFO] = "fifo",
        [DT_CHR] = "char", [DT_BLK] = "block",  [DT_SOCK] = "socket",
    };

    return type < ARRAY_COUNT(kinds) && kinds[type] ? kinds[type] : "unknown";
}

static void put_kind(void *arg, enum overlay_change change, uint8_t type, const char *path)
{
    struct writer *w = arg;

    put(w, (unsigned char)change);
    put(w, ' ');
    put_text(w, kind_of(type));
    put(w, ' ');
    put_path(w, path);
}

/* How many bytes from `text` on are one UTF-8 character (RFC 3629); 0: none. */
static int utf8_size(const unsigned char *text)
{
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second one */
        int size;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
        int size = 2;

        if (text[0] < forms[i].first || text[0] > forms[i].last || text[1] < forms[i].low ||
            text[1] > forms[i].high)
            continue;
        while (size < forms[i].size && (text[size] & 0xc0) == 0x80)
            size++;
        return size == forms[i].size ? size : 0;
    }
    return 0;
}

/* A byte that is no character becomes the lone surrogate U+DC80..U+DCFF, as Python reads names. */
static void put_json_text(struct writer *w, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at) {
        int size = *at < 0x80 ? 1 : utf8_size(at);

        if (w->size + 16 > sizeof(w->buf))
            flush(w);
        if (size == 0 || *at < ' ' || *at == '"' || *at == '\\' || *at == 0x7f) {
            w->size +=
                (size_t)snprintf(w->buf + w->size, 8, "\\u%04x", size == 0 ? 0xdc00U + *at : *at);
            at++;
            continue;
        }
        while (size-- > 0)
            w->buf[w->size++] = (char)*at++;
    }
}

static void put_json(void *arg, enum overlay_change change, uint8_t type, const char *path)
{
    struct writer *w = arg;

    put_text(w, "{\"change\": \"");
    put(w, (unsigned char)change);
    put_text(w, "\", \"kind\": \"");
    put_text(w, kind_of(type));
    put_text(w, "\", \"path\": \"");
    put_json_text(w, path);
    put_text(w, "\"}\n");
}

int changes_write_kinds(struct super_block *overlay, int fd, bool json)
{
    struct writer w = {.fd = fd};
    int err = overlay_changes(overlay, json ? put_json : put_kind, &w);

    flush(&w);
    return err ? err : w.err;
}
