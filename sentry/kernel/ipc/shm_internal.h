/* Between shm.c and shmctl.c: a segment. */
#ifndef SENTRY_KERNEL_IPC_SHM_INTERNAL_H
#define SENTRY_KERNEL_IPC_SHM_INTERNAL_H

#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/ipc/shm.h"
#include "sentry/mm/mappable.h"

struct shm_segment {
    struct ipc_object ipc;
    struct mappable object;
    struct mappable *pages; /* owned reference */
    struct ipc_ns *ns;      /* a hold */
    uint64_t size;          /* bytes, as asked for */

    /* Under the table's lock. */
    uint64_t attached;
    int32_t creator, last;
    int64_t attach_time, detach_time, change_time;
    bool removed; /* from the table */
};

static inline struct ipc_table *shm_table(struct ipc_ns *ns)
{
    return &ns->tables[IPC_KIND_SHM];
}

static inline uint64_t shm_page_count(const struct shm_segment *s)
{
    return (s->size + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* The table's lock is held; the caller has a reference of its own, or calls release_removed(). */
void shm_remove_locked(struct shm_segment *s);

#endif
