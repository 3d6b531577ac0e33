/*
 * A read or write in progress: a list of guest (or, for the Sentry's own use, host) buffers and how
 * far it has come. File implementations either copy through it, or pin a stretch and hand its
 * host addresses to readv/writev, so that bytes travel once.
 */
#ifndef SENTRY_MM_UIO_H
#define SENTRY_MM_UIO_H

#include <sys/uio.h>

#include "base/compiler.h"
#include "base/list.h"
#include "platform/memfile.h"

struct mm;

#define UIO_MAX_SEGMENTS 1024 /* UIO_MAXIOV */
#define UIO_MAX_BYTES    0x7ffff000UL

struct uio_segment {
    uint64_t base; /* guest address, or a host pointer when uio->mm is NULL */
    uint64_t size;
};

struct uio {
    struct mm *mm; /* borrowed: the calling task's; NULL for host buffers */
    struct uio_segment *segments;
    struct uio_segment single; /* what `segments` points to for one buffer */
    uint32_t count, index;
    uint64_t done_in_segment;
    uint64_t left;
    bool no_append;      /* RWF_NOAPPEND: the position counts in spite of O_APPEND */
    uint64_t size_limit; /* no file may become longer by this write: RLIMIT_FSIZE */
};

void uio_init_user(struct uio *uio, struct mm *mm, uaddr_t base, uint64_t size);
/* `segments`: of the heap, checked, given away with uio_release(). */
void uio_init_segments(struct uio *uio, struct mm *mm, struct uio_segment *segments,
                       uint32_t count);
void uio_init_host(struct uio *uio, void *base, uint64_t size);
/* From a guest's struct iovec[count]; -EINVAL, -EFAULT, -ENOMEM as readv(2). Then uio_release(). */
int uio_import(struct uio *uio, struct mm *mm, uaddr_t iov, uint64_t count);
/* The same, but the addresses are another process's and are not looked at: process_vm_readv(2). */
int uio_import_remote(struct uio *uio, struct mm *mm, uaddr_t iov, uint64_t count);
void uio_release(struct uio *uio);

/* Copies up to `size` bytes and advances. The bytes moved; -EFAULT only when none could be. */
ssize_t uio_copy_in(struct uio *uio, void *dst, size_t size);        /* guest -> host */
ssize_t uio_copy_out(struct uio *uio, const void *src, size_t size); /* host -> guest */
ssize_t uio_zero(struct uio *uio, size_t size);

#define UIO_PIN_MAX 16
struct uio_pin {
    struct memfile *memfile;
    struct iovec iov[UIO_PIN_MAX];
    struct memfile_range range[UIO_PIN_MAX]; /* referenced until uio_unpin() */
    int count;
    uint64_t size;         /* bytes in all */
    struct mm *writing_mm; /* to_guest: borrowed from the uio; fork must not share these pages */
    struct list node;      /* in its list of pins */
};
/*
 * A file that can also be mapped must not copy with a lock held that its get_pages() or release()
 * takes: the guest's buffer may be a mapping of that very file. Pin first, then lock.
 *
 * Pins up to `max` bytes from the current position without advancing. `to_guest`: the host will
 * write into them. -EFAULT when not one byte is accessible.
 */
int uio_pin(struct uio *uio, uint64_t max, bool to_guest, struct uio_pin *ret_pin);
void uio_unpin(struct uio_pin *pin);
void uio_advance(struct uio *uio, uint64_t size);

#endif
