/* Between userfaultfd.c and userfaultfd_request.c. */
#ifndef SENTRY_KERNEL_USERFAULTFD_INTERNAL_H
#define SENTRY_KERNEL_USERFAULTFD_INTERNAL_H

#include "base/list.h"
#include "sentry/mm/userfault.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

struct userfaultfd {
    struct mm_userfault base; /* its lock guards what follows */
    struct list waiting;      /* struct mm_userfault_wait, oldest first */
    struct list events;       /* struct mm_userfault_event that are not told yet, oldest first */
    struct wait_queue queue;  /* readers */
    uint64_t features;
    bool ready;     /* UFFDIO_API was there */
    bool closed;    /* nobody will ever answer: let everybody through */
    bool user_only; /* UFFD_USER_MODE_ONLY */
};

struct uffd_file {
    struct file file;
    struct userfaultfd *u; /* a reference */
};

static inline struct userfaultfd *uffd_of(struct mm_userfault *base)
{
    return container_of(base, struct userfaultfd, base);
}

static inline struct userfaultfd *uffd_of_file(struct file *f)
{
    return container_of(f, struct uffd_file, file)->u;
}

/* Lets go who waits at an address of the range; size 0: everybody. */
void uffd_wake_range(struct userfaultfd *u, uaddr_t start, uint64_t size);
long uffd_ioctl(struct file *f, struct mm *caller, uint32_t cmd, uint64_t arg);

#endif
