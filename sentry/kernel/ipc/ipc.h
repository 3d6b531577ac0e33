/*
 * System V IPC: sysvipc(7). What shared memory, semaphores and message queues have in common: a
 * namespace, numbers, keys, owners and permissions; and how tasks wait.
 *
 *   struct ipc_ns      one namespace: three tables and their totals. There may be several
 *   struct ipc_table   numbers to objects, as ipc/util.c hands them out: id = sequence << 15 |
 * slot, so that a stale number does not soon name another object struct ipc_object  the head of a
 * segment, a set or a queue
 *
 * One lock for each table guards the table and everything in its objects. It is innermost: nothing
 * is copied from or to the guest under it, no task sleeps under it, and it may be taken under
 * mm->lock (a VMA of a segment begins or ends).
 */
#ifndef SENTRY_KERNEL_IPC_H
#define SENTRY_KERNEL_IPC_H

#include <sys/ipc.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/ipc/mqueue.h"
#include "sentry/kernel/ns/ns.h"

struct mm_env;
struct task;

enum ipc_kind { IPC_KIND_SHM, IPC_KIND_SEM, IPC_KIND_MSG, IPC_KIND_COUNT };

#define IPC_SLOT_BITS 15 /* Linux IPCMNI_SHIFT */
#define IPC_ID_ANY    UINT32_MAX
#define IPC_COUNT_MAX (1 << IPC_SLOT_BITS) /* objects of a kind, whatever the limits are */

struct ipc_object {
    int32_t id;
    int32_t key;
    uint32_t uid, gid, cuid, cgid;
    uint32_t mode; /* permissions, and SHM_DEST, SHM_LOCKED */
};

struct ipc_table {
    struct lock lock;
    struct ipc_object **slots __guarded_by(lock);
    int32_t capacity __guarded_by(lock);
    int32_t in_use __guarded_by(lock);
    int32_t last_slot, sequence __guarded_by(lock); /* of the object made last */
    uint64_t
        next_id; /* kernel.*_next_id: what the next object is to be called; IPC_ID_ANY. Atomic */
};

/* What /proc/sys says of a namespace; each field is written and read whole, without a lock. */
struct ipc_limits {
    uint64_t shm_size, shm_pages, shm_count;            /* kernel.shmmax, shmall, shmmni */
    uint64_t msg_size, msg_queue_bytes, msg_count;      /* kernel.msgmax, msgmnb, msgmni */
    uint64_t sem_per_set, sem_total, sem_ops, sem_sets; /* kernel.sem */
    uint64_t mq_queues, mq_messages, mq_size;      /* fs.mqueue.queues_max, msg_max, msgsize_max */
    uint64_t mq_messages_default, mq_size_default; /* fs.mqueue.*_default */
};

static inline uint64_t ipc_limit(const uint64_t *limit)
{
    return __atomic_load_n(limit, __ATOMIC_RELAXED);
}

struct ipc_ns {
    struct ns ns;     /* its references are users: the last one destroys the objects */
    refcount_t holds; /* on the memory: one for all users, one for each segment */
    struct mm_env *mm_env;
    struct ipc_limits limits;
    struct ipc_table tables[IPC_KIND_COUNT];
    struct mq_table mqueues;       /* POSIX message queues, with locks of their own */
    uint64_t shm_pages;            /* under the table's lock: size of all segments */
    uint64_t sem_count;            /* likewise: semaphores in all sets */
    uint64_t msg_count, msg_bytes; /* likewise: in all queues */
    uint64_t undo_bytes;           /* of semaphore adjustments; under the sets' lock */
};

struct ipc_ns *ipc_ns_create(struct mm_env *mm_env); /* NULL without memory */
struct ipc_ns *ipc_ns_ref(struct ipc_ns *ns);
struct ipc_ns *ipc_ns_unref(struct ipc_ns *ns); /* takes NULL, returns NULL */
void ipc_ns_drop(struct ipc_ns *ns);            /* a hold */
/* The namespace that the task's calls work on. */
struct ipc_ns *task_ipc_ns(const struct task *task);

/* What the three *get(2) calls are asked. */
struct ipc_request {
    int32_t key;
    int flags;
    uint64_t size;     /* shmget: bytes; semget: semaphores */
    int32_t max_count; /* objects that may be at once */
    /* Makes an object, its head not filled yet; the table's lock is held. */
    int (*create)(struct task *task, const struct ipc_request *request, struct ipc_object **ret);
    void (*discard)(struct ipc_ns *ns, struct ipc_object *object); /* one that found no place */
    /* -EINVAL when an object that exists is not what is wanted; may be NULL. */
    int (*fits)(const struct ipc_object *object, const struct ipc_request *request);
};
/* The object's number. -ENOENT, -EEXIST, -EACCES, -EINVAL, -ENOSPC, -ENOMEM. */
int ipc_get(struct task *task, enum ipc_kind kind, const struct ipc_request *request);

/* With the table's lock held; NULL where Linux says EINVAL. */
struct ipc_object *ipc_find(const struct ipc_table *table, int id);
struct ipc_object *ipc_at(const struct ipc_table *table, int slot);
/* The same with the right to it (as ipc_permits()); *ret is set with EACCES, too: -EINVAL, -EACCES.
 */
int ipc_find_permitted(struct task *task, const struct ipc_table *table, int id, unsigned mode,
                       struct ipc_object **ret);
/* For changing and removing it: -EINVAL, -EPERM. */
int ipc_find_owned(struct task *task, const struct ipc_table *table, int id,
                   struct ipc_object **ret);
enum ipc_stat_by { IPC_BY_ID, IPC_BY_SLOT, IPC_BY_SLOT_ANY /* without looking at permissions */ };
/*
 * A *_STAT command: with the table's lock taken, fill() tells of the object; its id. -EINVAL,
 * -EACCES.
 */
int ipc_stat(struct task *task, struct ipc_table *table, int id, enum ipc_stat_by by,
             void (*fill)(struct ipc_object *object, void *ret), void *ret);
/* The highest slot in use; 0 when there is none. */
int ipc_max_slot(const struct ipc_table *table);
void ipc_remove(struct ipc_table *table, struct ipc_object *object);

/* ipcperms(): are all of these rights (0444, 0222, 0111 style) granted? */
bool ipc_permits(const struct task *task, const struct ipc_object *object, unsigned mode);
/* May change and remove it: owner, creator, CAP_SYS_ADMIN. */
bool ipc_owns(const struct task *task, const struct ipc_object *object);
/* For IPC_STAT. */
void ipc_get_perm(const struct ipc_object *object, struct ipc_perm *ret);
/* For IPC_SET: -EINVAL. */
int ipc_set_perm(struct ipc_object *object, const struct ipc_perm *perm);
/*
 * A task that waits for an object, on that task's stack and in a list of the object's. Whoever ends
 * its sleep takes it off the list, sets `result` as the last thing, and wakes the task; from then
 * on the sleeper belongs to its task alone.
 */
struct ipc_sleeper {
    struct list node; /* under the object's lock */
    struct task *task;
    int result; /* atomic */
};
#define IPC_ASLEEP 1 /* no result yet */

/* Onto the list, with the lock of the object, whose release ipc_sleep() follows. */
void ipc_sleep_locked(struct ipc_sleeper *s, struct task *task, struct list *sleepers);
/* Until somebody ends it: what that one said. Else -ETIMEDOUT, at CLOCK_MONOTONIC; -ERESTARTSYS. */
int ipc_sleep(struct lock *lock, struct ipc_sleeper *s, uint64_t deadline_ns);
void ipc_end_sleep_locked(struct ipc_sleeper *s, int result);

/* Real time in seconds, as objects note it. */
int64_t ipc_seconds(void);

#endif
