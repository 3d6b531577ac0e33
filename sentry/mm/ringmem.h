/*
 * Memory that a program maps and the Sentry reads and writes too, such as rings of asynchronous
 * calls. It is an object of its own kind: the program has no way to punch pages out of it, and what
 * the Sentry uses stays allocated however the program maps it.
 *
 * Everything in it is the program's to change at any time: read a word once, then check the copy.
 */
#ifndef SENTRY_MM_RINGMEM_H
#define SENTRY_MM_RINGMEM_H

#include "base/compiler.h"

struct mappable;
struct memfile;

/* An object without areas. `name`: static, for /proc/PID/maps. -ENOMEM. */
int ringmem_create(struct memfile *mf, const char *name, struct mappable **ret);
/*
 * An area of `size` bytes (rounded up to pages, all zero) that mmap(2) finds at `offset`, a
 * multiple of the page size. Its bytes are good until ringmem_remove() or the last reference.
 * -ENOMEM, -EEXIST.
 */
int ringmem_add(struct mappable *m, uint64_t offset, uint64_t size, void **ret_bytes);
/* The area at `offset` is found at `alias` as well. -ENOMEM, -ENOENT. */
int ringmem_alias(struct mappable *m, uint64_t alias, uint64_t offset);
/* What is mapped stays mapped. */
void ringmem_remove(struct mappable *m, uint64_t offset);

/* The area at `from` takes the place of the one at `to`, which is removed. */
void ringmem_move(struct mappable *m, uint64_t to, uint64_t from);

#endif
