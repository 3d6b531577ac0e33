/*
 * Between the files of loop devices:
 *
 *   loop.c      the devices that there are, their openers; /dev/loop-control's requests
 *   binding.c   what is bound to them
 *   request.c   their own requests of ioctl(2)
 *   block.c     those that any block device takes
 *   file.c      open files: bytes
 */
#ifndef SENTRY_FS_LOOP_INTERNAL_H
#define SENTRY_FS_LOOP_INTERNAL_H

#include "base/lock.h"
#include "sentry/fs/loop/loop.h"
#include "sentry/vfs/file.h"

enum loop_state { LOOP_UNBOUND, LOOP_BOUND, LOOP_ENDING };

/* As long as it has openers it stays. All but `number` under loop_lock. */
struct loop_device {
    unsigned number;
    unsigned openers;
    enum loop_state state;
    struct file *backing; /* owned; NULL: unbound */
    uint64_t size;        /* bytes, whole sectors: as it was found when it was last asked for */
    uint64_t offset, size_limit;
    uint32_t flags; /* LO_FLAGS_* */
    uint32_t block_size;
    uint32_t soft_block_size; /* BLKBSZSET: kept, of no effect */
    uint64_t read_ahead;      /* bytes, likewise */
    bool read_only;           /* BLKROSET */
    uint64_t sequence;
    uint8_t name[LO_NAME_SIZE]; /* as its binder calls the file */
};

struct loop_file {
    struct file file;
    struct loop_device *device;
};

extern struct lock loop_lock; /* innermost */

static inline struct loop_file *loop_file_of(struct file *f)
{
    return container_of(f, struct loop_file, file);
}

/* What a transfer needs to know; `backing` is a reference for the caller, NULL: none. */
struct loop_bytes {
    struct file *backing;
    uint64_t offset, size;
    uint32_t block_size;
    bool read_only;
};
void loop_bytes_get(struct loop_device *device, struct loop_bytes *ret);

/* loop.c */
struct loop_device *loop_get(unsigned number); /* counts an opener; NULL */
void loop_put(struct loop_device *device);
/* LOOP_CTL_*; -ENOSYS: another one. */
long loop_control_request(struct mm *mm, uint32_t cmd, uint64_t arg);

/* binding.c, besides loop_bind() and loop_change(): -ENXIO where nothing is bound. */
/* LOOP_CLR_FD: it ends with its last opener. */
int loop_unbind(struct loop_device *device);
/* `info` NULL: the size is looked at again, nothing else. */
int loop_set_status(struct loop_device *device, const struct loop_info64 *info);
int loop_get_status(struct loop_device *device, struct loop_info64 *ret);
/* Every file here takes O_DIRECT; the flag is all that changes. */
int loop_set_direct(struct loop_device *device, bool on);
int loop_set_block_size(struct loop_device *device, uint64_t size);

/* request.c: LOOP_*; block.c: BLK*; -ENOTTY: another one. */
long loop_request(struct loop_file *f, struct mm *mm, uint32_t cmd, uint64_t arg);
long loop_block_request(struct loop_file *f, struct mm *mm, uint32_t cmd, uint64_t arg);

/* file.c: the range reads as zeroes; `give_back`: and takes no room, or -EOPNOTSUPP. */
int loop_zero(struct loop_device *device, uint64_t start, uint64_t size, bool give_back);
int loop_sync(struct loop_device *device);

#endif
