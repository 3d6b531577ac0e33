/* Where getdents puts what a directory lists: the sink belongs to the reader. */
#ifndef SENTRY_VFS_DIRENT_H
#define SENTRY_VFS_DIRENT_H

#include "base/compiler.h"

struct dirent_sink {
    /*
     * One entry: `next` is the position behind it, `type` a DT_*. False when it did not fit; the
     * directory stops and keeps its position before this entry.
     */
    bool (*emit)(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                 int64_t next, uint8_t type);
};

#endif
