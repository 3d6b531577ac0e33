/* Bytes that are nobody's: files in an overlay's folder that no object has any more. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/overlay/internal.h"
#include "sentry/fs/overlay/journal.h"
#include "sentry/vfs/dirent.h"

struct sweeper {
    struct dirent_sink sink;
    ov_wanted_fn wanted;
    void *arg;
    char (*names)[VFS_NAME_MAX + 1]; /* owned */
    size_t count, room;
    int err;
};

static bool sweep(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                  int64_t next, uint8_t type)
{
    struct sweeper *s = container_of(sink, struct sweeper, sink);
    char text[VFS_NAME_MAX + 1], *end;
    uint64_t id;

    if (name[0] == '.' || size > VFS_NAME_MAX || type == DT_DIR)
        return true;
    memcpy(text, name, size);
    text[size] = '\0';
    id = strtoul(text, &end, 16);
    if (!*end && s->wanted(s->arg, id))
        return true;
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        void *names = realloc(s->names, room * sizeof(*s->names));

        if (!names) {
            s->err = -ENOMEM;
            return false;
        }
        s->names = names;
        s->room = room;
    }
    memcpy(s->names[s->count++], text, size + 1);
    return true;
}

int ov_bytes_sweep(struct dentry *data, ov_wanted_fn wanted, void *arg)
{
    struct sweeper s = {.sink.emit = sweep, .wanted = wanted, .arg = arg};
    struct file *dir;
    int64_t pos = 0;
    int err = ov_open_half(data, O_RDONLY | O_DIRECTORY, &dir);

    if (err < 0)
        return err;
    err = dir->ops->getdents(dir, &s.sink, &pos);
    for (size_t i = 0; i < s.count && !err; i++)
        ov_store_remove(data, s.names[i]);
    file_unref(dir);
    free(s.names);
    return err ? err : s.err;
}
