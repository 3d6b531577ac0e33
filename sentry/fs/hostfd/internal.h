/* Between the files of this folder. */
#ifndef SENTRY_FS_HOSTFD_INTERNAL_H
#define SENTRY_FS_HOSTFD_INTERNAL_H

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/wait/wait.h"

struct file;
struct host_file;
struct hostpoll_watch;
struct memfile;
struct terminal;

/* What all files on one host descriptor share: it can be watched only once. */
struct host_stream {
    refcount_t refs;
    struct host_file *host; /* owned reference */
    struct wait_queue queue;
    struct lock watch_lock;
    struct hostpoll_watch *watch __guarded_by(watch_lock); /* made when somebody first waits */
};

struct host_stream *host_stream_ref(struct host_stream *s);
struct host_stream *host_stream_unref(struct host_stream *s);
/* One more file on the same descriptor, with flags of its own. -ENOMEM. */
int hostfd_reopen(struct host_stream *s, struct terminal *terminal, uint32_t flags,
                  struct file **ret);
/* The terminal of this device: each has one, however many descriptors there are. NULL: no memory.
 */
struct terminal *host_terminal_get(struct host_stream *s, uint64_t device);

#endif
