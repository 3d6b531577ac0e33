/*
 * Host descriptors as sources of bytes: what stdio and donated files have in common. Guest memory
 * is pinned and handed to readv/writev, so that bytes travel once.
 */
#ifndef SENTRY_FS_HOSTIO_H
#define SENTRY_FS_HOSTIO_H

#include "abi/stat.h"
#include "base/refcount.h"

struct dirent_sink;
struct mappable;
struct memfile;
struct uio;

/* A host descriptor that open files and page caches share; closed with the last reference. */
struct host_file {
    refcount_t refs;
    int fd;
    char name[]; /* for /proc/self/maps */
};

/* Takes over `fd` (on failure too: it is closed then). NULL: out of memory. */
struct host_file *host_file_create(int fd, const char *name);
struct host_file *host_file_ref(struct host_file *h);
struct host_file *host_file_unref(struct host_file *h);

/*
 * Moves up to `max` bytes between the guest's buffers and `fd`. `pos` says where and is advanced;
 * NULL: the descriptor's own position. Ends early where the host does. Bytes moved; an error only
 * when none were.
 */
ssize_t hostio_read(int fd, struct uio *uio, int64_t *pos, uint64_t max);
/* At *pos, for who finds out otherwise whether that was news (host/news.h). */
ssize_t hostio_read_quietly(int fd, struct uio *uio, int64_t *pos, uint64_t max);
ssize_t hostio_write(int fd, struct uio *uio, int64_t *pos, uint64_t max);

/*
 * What is to be one step with each of the writes: `begin` goes before it, `end` follows with what
 * was written and where (size 0: nothing). The guest's memory is not touched between them.
 */
struct hostio_guard {
    void (*begin)(struct hostio_guard *guard);
    void (*end)(struct hostio_guard *guard, uint64_t offset, uint64_t size);
};
/* hostio_write() at *pos; with `append` at the end, after which *pos is the new one. */
ssize_t hostio_write_guarded(int fd, struct uio *uio, int64_t *pos, uint64_t max, bool append,
                             struct hostio_guard *guard);

/* What a file of a host descriptor says; positions are the caller's, not the descriptor's. */
int64_t hostio_llseek(int fd, int64_t offset, int whence, int64_t pos);
/* Of a directory: positions are the host's cookies. */
int64_t hostio_dir_llseek(int fd, int64_t offset, int whence, int64_t pos);
int hostio_getdents(int fd, struct dirent_sink *sink, int64_t *pos);
int hostio_stat(int fd, struct linux_stat *ret);
int hostio_statfs(int fd, struct linux_statfs *ret);

/* hostmap.c: read-only pages of a regular file, shared by all who map it. `h` is referenced. */
int hostio_mmap(struct host_file *h, struct memfile *mf, struct mappable **ret);
/* Lets caches go that are kept for the next one. */
void hostio_forget_maps(void);

#endif
