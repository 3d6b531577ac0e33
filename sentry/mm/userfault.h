/*
 * userfaultfd(2), the part that address spaces know: which VMAs leave their faults to whom, and how
 * pages get there. Who waits, and what is told, is the business of the kernel floor.
 *
 *   struct mm_userfault   one descriptor's registration with one address space; VMAs refer to it
 *
 * Its lock is taken under mm->lock. A fault enqueues its wait under mm->lock, and pages are put in
 * under mm->lock before waiters are woken: so no wake is lost in between.
 */
#ifndef SENTRY_MM_USERFAULT_H
#define SENTRY_MM_USERFAULT_H

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"

struct mm;
struct mm_userfault;

#define MM_UFFD_MISSING 1 /* UFFDIO_REGISTER_MODE_* */
#define MM_UFFD_WP      2
#define MM_UFFD_MINOR   4

/* A fault that waits; on its thread's stack. */
struct mm_userfault_wait {
    uaddr_t addr;   /* of the access */
    uint64_t flags; /* UFFD_PAGEFAULT_FLAG_* */
    bool user;      /* the program's own access, not a system call's copy */

    /* The kernel floor's. */
    struct list node;
    struct task *task;
    bool told, woken;
};

enum mm_userfault_kind {
    MM_UFFD_REMOVE, /* pages are about to be taken away */
    MM_UFFD_UNMAP,  /* the range is unmapped */
    MM_UFFD_REMAP,  /* it lies elsewhere, and is watched there */
    MM_UFFD_FORK,   /* a child has the same memory, and is watched as well */
};

/* What whoever watches may want to hear of; who does it waits until that was read. */
struct mm_userfault_event {
    enum mm_userfault_kind kind;
    uaddr_t start, end;         /* of the range; REMAP: where it was */
    uaddr_t to;                 /* REMAP: where its start is now */
    struct mm_userfault *child; /* FORK: what watches the child; owned reference */

    struct mm_userfault *about; /* who is to be told; owned reference */
    struct mm_userfault_event *next;

    /* The kernel floor's. */
    struct list node;
    struct task *task;
    bool told, done; /* `done` atomic: it was told, or nobody will ever be */
};

struct mm_userfault_ops {
    /* Under mm->lock. False: there is nobody who may wait, the access fails. */
    bool (*enqueue)(struct mm_userfault *u, struct mm_userfault_wait *w);
    /* Without it, until woken (0) or given up (-EINTR); then the wait is off all lists. */
    int (*sleep)(struct mm_userfault *u, struct mm_userfault_wait *w);
    /* Under mm->lock: is it to be told of such events? */
    bool (*wants)(struct mm_userfault *u, enum mm_userfault_kind kind);
    /* Without it: returns when it was told (true), or never will be. */
    bool (*tell)(struct mm_userfault *u, struct mm_userfault_event *e);
    /* One that watches as this does, tied to nothing yet. NULL: no memory. */
    struct mm_userfault *(*fork)(struct mm_userfault *u);
    void (*release)(struct mm_userfault *u); /* the last reference has gone; takes no locks */
};

struct mm_userfault {
    const struct mm_userfault_ops *ops;
    refcount_t refs;
    struct lock lock;
    struct mm *mm __guarded_by(lock); /* borrowed: it says so before it goes */
    bool lets_writes;    /* UFFD_FEATURE_WP_ASYNC: a write takes the protection away by itself */
    bool protects_holes; /* UFFD_FEATURE_WP_UNPOPULATED: private memory without a page, too */
    /* Atomic, raised under mm->lock: of those under way; no page comes meanwhile. */
    uint32_t events;
    struct list mm_node; /* in mm->userfaults, under mm->lock */
};

void mm_userfault_init(struct mm_userfault *u, const struct mm_userfault_ops *ops);
/* Ties it to the address space. */
void mm_userfault_tie(struct mm_userfault *u, struct mm *mm);
/* Takes all registrations back and unties; the file goes. */
void mm_userfault_close(struct mm_userfault *u);
struct mm_userfault *mm_userfault_ref(struct mm_userfault *u);
struct mm_userfault *mm_userfault_unref(struct mm_userfault *u); /* takes NULL, returns NULL */
/* The address space, referenced; NULL: it has gone. */
struct mm *mm_userfault_get_mm(struct mm_userfault *u);

/* Ranges are page aligned and not empty. Errors as the UFFDIO_* requests; -EAGAIN: an event is
 * under way. */
int mm_userfault_register(struct mm *mm, struct mm_userfault *u, uaddr_t start, uaddr_t end,
                          unsigned modes);
int mm_userfault_unregister(struct mm *mm, struct mm_userfault *u, uaddr_t start, uaddr_t end);
/* One page with these bytes (NULL: zeroes). -ENOENT, -EEXIST, -ENOMEM. Bytes replace guards, too.
 */
int mm_userfault_fill(struct mm *mm, uaddr_t addr, const void *bytes, bool protect);
/* Maps the page that the shared memory has there. Errors as above; -EFAULT: it has none;
 * -EINVAL: private memory, or beyond the end. */
int mm_userfault_continue(struct mm *mm, uaddr_t addr, bool protect);
/* From now on an access to the page fails as one to broken memory does. Errors as above. */
int mm_userfault_poison(struct mm *mm, uaddr_t addr);
/*
 * Moves private pages, some at a time: the bytes that came (holes included, with `holes`), less
 * than `size` when there are more to do; or an error when it is the very first page's or the
 * range's: -ENOENT, -EEXIST, -EINVAL, -EBUSY (somebody else sees the page), -EFAULT (a guard).
 */
int64_t mm_userfault_move(struct mm *mm, const struct mm_userfault *u, uaddr_t dst, uaddr_t src,
                          uint64_t size, bool holes);
int mm_userfault_protect(struct mm *mm, uaddr_t start, uaddr_t end, bool protect);

#endif
