/*
 * Descriptor tables: numbers to open files, shared by tasks with CLONE_FILES.
 */
#ifndef SENTRY_VFS_FDTABLE_H
#define SENTRY_VFS_FDTABLE_H

#include "base/compiler.h"

struct file;
struct fdtable;

/* /proc/sys/fs/nr_open: what no RLIMIT_NOFILE goes beyond. Atomic. */
extern uint64_t fdtable_nr_open;
#define FDTABLE_NR_OPEN_MAX (1U << 21)

int fdtable_create(struct fdtable **ret);
int fdtable_clone(struct fdtable *t, struct fdtable **ret); /* fork: same files, same flags */
struct fdtable *fdtable_ref(struct fdtable *t);
struct fdtable *fdtable_unref(struct fdtable *t);
void fdtable_close_on_exec(struct fdtable *t);
bool fdtable_shared(const struct fdtable *t);

/* A new reference, or NULL when the number is not open (EBADF). */
struct file *fdtable_get(struct fdtable *t, int fd);
/* Lowest free number >= min and < limit; takes over the reference on success. -EMFILE, -EINVAL. */
int fdtable_install(struct fdtable *t, struct file *f, int min, uint64_t limit, bool cloexec);
/* Puts `f` at exactly `fd`, closing what was there (dup2); takes over the reference. -EBADF. */
int fdtable_replace(struct fdtable *t, int fd, struct file *f, uint64_t limit, bool cloexec);
/* No number below `limit` is free: what open(2) looks at before anything else. */
bool fdtable_full(struct fdtable *t, uint64_t limit);
int fdtable_close(struct fdtable *t, int fd); /* -EBADF */
int fdtable_get_cloexec(struct fdtable *t, int fd);
int fdtable_set_cloexec(struct fdtable *t, int fd, bool cloexec);
/* close_range(2) over [first, last]; with `cloexec` only marks. */
int fdtable_close_range(struct fdtable *t, unsigned first, unsigned last, bool cloexec);
int fdtable_count(struct fdtable *t);
/* Numbers from here on have never been open. */
int fdtable_capacity(struct fdtable *t);

#endif
