/*
 * Contexts of Linux aio: io_setup(2). A context is named by the address of its ring in the memory
 * that it was made for; it ends with io_destroy(2), or with the process that made it.
 */
#ifndef SENTRY_SYSCALLS_AIO_H
#define SENTRY_SYSCALLS_AIO_H

#include "abi/aio.h"
#include "base/refcount.h"
#include "sentry/kernel/proxy.h"
#include "sentry/syscalls/async.h"

struct task;
struct mm;
struct file;

struct aio_context {
    refcount_t refs;
    struct process_async async;
    struct list node;            /* in the list of all; empty when it is dead */
    struct mm *mm;               /* borrowed, to compare: the context is dead before it goes */
    uaddr_t id;                  /* where the ring is mapped */
    uint64_t mapped_size;        /* of the ring, in bytes */
    uint32_t wanted;             /* what io_setup(2) asked for, counted against aio-max-nr */
    uint32_t slots;              /* events in the ring */
    struct mappable *memory;     /* owned reference; has the ring: */
    struct linux_aio_ring *ring; /* hostile */
    struct wait_queue queue;     /* those who wait for events */

    struct lock lock;
    bool dead __guarded_by(lock);
    uint32_t tail __guarded_by(lock);     /* ours; the ring's is a copy */
    uint32_t flying __guarded_by(lock);   /* submitted, no event yet */
    struct list polls __guarded_by(lock); /* struct aio_poll that can be cancelled */
};

/* io_setup(2) after its argument was read: EINVAL, EAGAIN, ENOMEM. */
int aio_create(struct task *task, uint32_t events, uaddr_t *ret_id);
/* The caller's context of that name, referenced; NULL. */
struct aio_context *aio_find(struct task *task, uaddr_t id);
struct aio_context *aio_unref(struct aio_context *ctx); /* takes NULL, returns NULL */
/* Ends it, and unmaps the ring: io_destroy(2). False: somebody else did. */
bool aio_destroy(struct task *task, struct aio_context *ctx);
/* All contexts' events together: /proc/sys/fs/aio-nr. */
#define AIO_MAX_NR 65536

/* Reserves a place for an event: false when the ring might overflow. */
bool aio_reserve(struct aio_context *ctx);
void aio_unreserve(struct aio_context *ctx);
/* Puts the event of a reserved place into the ring; `notify`: an eventfd that is told, or NULL. */
void aio_complete(struct aio_context *ctx, const struct io_event *event, struct file *notify);
/*
 * Takes up to `max` events out of the ring into the program's memory. How many; -EFAULT, -EINVAL
 * when the context is dead.
 */
long aio_take(struct task *task, struct aio_context *ctx, uaddr_t to, long max);

/* IOCB_CMD_POLL: takes over the reserved place; the event comes when `events` do. 0 or -errno. */
int aio_poll_submit(struct aio_context *ctx, struct file *file, uint32_t events,
                    const struct io_event *event, struct file *notify);
/* io_cancel(2): -EINPROGRESS when it was found, its event comes with 0; -EINVAL. */
int aio_poll_cancel(struct aio_context *ctx, uaddr_t iocb);
/* Cancels all that can be: the context is dead. */
void aio_poll_cancel_all(struct aio_context *ctx);

#endif
