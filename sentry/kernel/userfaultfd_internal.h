/* Between userfaultfd.c, userfaultfd_event.c and userfaultfd_request.c. */
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
    int flags;   /* of userfaultfd(2) */
    bool ready;  /* UFFDIO_API was there */
    bool closed; /* nobody will ever answer: let everybody through */
};

struct uffd_msg;

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

/* A file for it, with a reference of its own. -ENOMEM. */
int uffd_open(struct userfaultfd *u, struct file **ret);
/* Gives one back that nobody got: what it is for stays open. */
void uffd_discard(struct file *f);
/* In the midst of a system call: no signal ends the wait, except the process's end. */
void uffd_wait_for_life(struct task *task, const bool *done);

/* ---- userfaultfd_event.c ---- */

bool uffd_wants(struct mm_userfault *base, enum mm_userfault_kind kind);
bool uffd_tell(struct mm_userfault *base, struct mm_userfault_event *e);
/* Off the list; who waits for it goes on, and it may be gone from here on. */
void uffd_event_done_locked(struct mm_userfault_event *e, bool told);
/*
 * The oldest one's message: 1. A fork's has a descriptor that the caller gets by it; `limit`: its
 * RLIMIT_NOFILE. -ENOMEM, -EMFILE: nothing was told.
 */
int uffd_event_message_locked(struct userfaultfd *u, uint64_t limit, struct uffd_msg *ret);

/* Lets go who waits at an address of the range; size 0: everybody. */
void uffd_wake_range(struct userfaultfd *u, uaddr_t start, uint64_t size);
/* userfaultfd_request.c */
long uffd_ioctl(struct file *f, struct mm *caller, uint32_t cmd, uint64_t arg);

#endif
