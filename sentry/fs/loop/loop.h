/*
 * Loop devices, loop(4): block devices whose blocks are the bytes of a regular file. Linux's
 * drivers/block/loop.c; here reads and writes go straight to that file, so that there is no cache
 * in between which would have to be written back. Nothing on them can be mounted: no file system
 * here lies on a block device.
 *
 *              bind               LOOP_CLR_FD by the only opener,
 *   unbound ----------> bound ------------------------------------> ending --,
 *      ^                  |  last close after LOOP_CLR_FD or with             |
 *      |                  |  LO_FLAGS_AUTOCLEAR                               |
 *      '------------------'<--------------------------------------------------' last close
 *
 * The states and the numbers that there are belong to the sandbox as a whole.
 */
#ifndef SENTRY_FS_LOOP_LOOP_H
#define SENTRY_FS_LOOP_LOOP_H

#include <linux/loop.h>
#include <sys/types.h>

#include "base/compiler.h"

struct file;
struct mm;

#define LOOP_MAJOR  7
#define LOOP_LIMIT  256 /* numbers below it */
#define LOOP_SECTOR 512 /* bytes */

/* Makes the first ones, before the guest runs. */
void loop_init(void);
/* Is told of each one that is added by LOOP_CTL_ADD, LOOP_CTL_GET_FREE. */
void loop_set_added(void (*added)(unsigned number));
/* Gives the files back that are still bound: nobody has a device open any more. */
void loop_forget(void);

/* A file of the device `number`; `flags` as open(2). -ENXIO: there is none. */
int loop_open(unsigned number, uint32_t flags, struct file **ret);
/* /dev/loop-control */
int loop_control_open(uint32_t flags, struct file **ret);
/* "loopN" of one that there is. -ENOENT. */
int loop_parse_name(const char *text, size_t size, uint64_t *ret_number);
/* The first number of at least `from` that there is; -1: no more. */
int64_t loop_next(uint64_t from);

/* Is it a file of a loop device? Then it takes these three requests, whose descriptors are the
 * caller's affair; all others are its ioctl()'s. */
bool loop_is(const struct file *f);
static inline bool loop_wants_file(uint32_t cmd)
{
    return cmd == LOOP_SET_FD || cmd == LOOP_CONFIGURE || cmd == LOOP_CHANGE_FD;
}
/*
 * LOOP_SET_FD and LOOP_CONFIGURE: `backing` is referenced by the device from then on. -EBUSY: it is
 * bound; -EINVAL: not a regular file, or wrong settings.
 */
int loop_bind(struct file *f, struct file *backing, const struct loop_config *config);
/* LOOP_CHANGE_FD: another file of the same size, on a device that is read-only. */
int loop_change(struct file *f, struct file *backing);

/* What /sys and /proc tell of a device. */
struct loop_view {
    bool bound;
    bool read_only;
    uint64_t size; /* bytes */
    uint64_t offset, size_limit;
    uint32_t flags;      /* LO_FLAGS_* */
    uint32_t block_size; /* bytes */
    uint64_t read_ahead; /* bytes */
    uint64_t sequence;   /* counts what was bound to any of them */
};
bool loop_look(uint64_t number, struct loop_view *ret); /* false: there is no such device */
/* The bound file's name; its length. -ENOENT: none is. */
ssize_t loop_backing_name(uint64_t number, char *buf, size_t size);

#endif
