#include "sentry/kernel/ipc/ipc.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ipc/msg.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/ipc/shm.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/userns.h"

#define SLOT_MASK    ((1 << IPC_SLOT_BITS) - 1)
#define SEQUENCE_MAX (INT32_MAX >> IPC_SLOT_BITS)
#define MIN_CYCLE    64 /* so many slots are gone through before one is used again */

/* Nobody uses it any more; segments may still be mapped. */
static void ipc_ns_release(struct ns *base)
{
    struct ipc_ns *ns = container_of(base, struct ipc_ns, ns);

    shm_destroy_all(ns);
    sem_destroy_all(ns);
    msg_destroy_all(ns);
    mq_destroy_all(ns);
    ipc_ns_drop(ns);
}

struct ipc_ns *ipc_ns_create(struct mm_env *mm_env)
{
    struct ipc_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    ns->ns.release = ipc_ns_release;
    refcount_set(&ns->holds, 1);
    ns->mm_env = mm_env;
    ns->limits = (struct ipc_limits){
        .shm_size = SHM_MAX_SIZE,
        .shm_pages = SHM_MAX_PAGES,
        .shm_count = SHM_MAX_COUNT,
        .msg_size = MSG_MAX_SIZE,
        .msg_queue_bytes = MSG_MAX_QUEUE,
        .msg_count = MSG_MAX_COUNT,
        .sem_per_set = SEM_MAX_PER_SET,
        .sem_total = SEM_MAX_TOTAL,
        .sem_ops = SEM_MAX_OPS,
        .sem_sets = SEM_MAX_SETS,
        .mq_queues = MQ_QUEUES_MAX,
        .mq_messages = MQ_MSG_MAX,
        .mq_size = MQ_MSGSIZE_MAX,
        .mq_messages_default = MQ_MSG_DEFAULT,
        .mq_size_default = MQ_MSGSIZE_DEFAULT,
    };
    mq_table_init(&ns->mqueues);
    for (int kind = 0; kind < IPC_KIND_COUNT; kind++) {
        lock_init(&ns->tables[kind].lock);
        ns->tables[kind].last_slot = -1;
        ns->tables[kind].next_id = IPC_ID_ANY;
    }
    return ns;
}

struct ipc_ns *ipc_ns_ref(struct ipc_ns *ns)
{
    ns_ref(&ns->ns);
    return ns;
}

void ipc_ns_drop(struct ipc_ns *ns)
{
    if (!refcount_put(&ns->holds))
        return;
    for (int kind = 0; kind < IPC_KIND_COUNT; kind++) {
        lock_destroy(&ns->tables[kind].lock);
        free(ns->tables[kind].slots);
    }
    lock_destroy(&ns->mqueues.lock);
    free(ns);
}

struct ipc_ns *ipc_ns_unref(struct ipc_ns *ns)
{
    if (ns)
        ns_unref(&ns->ns);
    return NULL;
}

struct ipc_ns *task_ipc_ns(const struct task *task)
{
    return container_of(task->namespaces->ns[NS_IPC], struct ipc_ns, ns);
}

int64_t ipc_seconds(void)
{
    return (int64_t)(time_realtime_ns() / NSEC_PER_SEC);
}

/* ---- numbers ------------------------------------------------------------------------------ */

struct ipc_object *ipc_at(const struct ipc_table *table, int slot)
{
    return slot >= 0 && slot < table->capacity ? table->slots[slot] : NULL;
}

struct ipc_object *ipc_find(const struct ipc_table *table, int id)
{
    struct ipc_object *object = id < 0 ? NULL : ipc_at(table, id & SLOT_MASK);

    return object && object->id == id ? object : NULL;
}

int ipc_find_permitted(struct task *task, const struct ipc_table *table, int id, unsigned mode,
                       struct ipc_object **ret)
{
    struct ipc_object *object = ipc_find(table, id);

    if (!object)
        return -EINVAL;
    *ret = object;
    return ipc_permits(task, object, mode) ? 0 : -EACCES;
}

int ipc_find_owned(struct task *task, const struct ipc_table *table, int id,
                   struct ipc_object **ret)
{
    struct ipc_object *object = ipc_find(table, id);

    if (!object)
        return -EINVAL;
    *ret = object;
    return ipc_owns(task, object) ? 0 : -EPERM;
}

int ipc_stat(struct task *task, struct ipc_table *table, int id, enum ipc_stat_by by,
             void (*fill)(struct ipc_object *object, void *ret), void *ret)
{
    struct ipc_object *object;
    int result = -EINVAL;

    lock_acquire(&table->lock);
    object = by == IPC_BY_ID ? ipc_find(table, id) : ipc_at(table, id);
    if (object && by != IPC_BY_SLOT_ANY && !ipc_permits(task, object, 0444)) {
        result = -EACCES;
    } else if (object) {
        fill(object, ret);
        result = object->id;
    }
    lock_release(&table->lock);
    return result;
}

int ipc_max_slot(const struct ipc_table *table)
{
    for (int slot = table->capacity - 1; slot > 0; slot--) {
        if (table->slots[slot])
            return slot;
    }
    return 0;
}

static struct ipc_object *find_key(const struct ipc_table *table, int32_t key)
{
    int left = table->in_use;

    for (int slot = 0; left > 0 && slot < table->capacity; slot++) {
        struct ipc_object *object = table->slots[slot];

        if (!object)
            continue;
        if (object->key == key)
            return object;
        left--;
    }
    return NULL;
}

static int grow(struct ipc_table *table, int32_t slot)
{
    int32_t capacity = MAX(table->capacity, 16);
    struct ipc_object **slots;

    if (slot < table->capacity)
        return 0;
    while (capacity <= slot)
        capacity *= 2;
    slots = realloc(table->slots, (size_t)capacity * sizeof(struct ipc_object *));
    if (!slots)
        return -ENOMEM;
    memset(&slots[table->capacity], 0,
           (size_t)(capacity - table->capacity) * sizeof(struct ipc_object *));
    table->slots = slots;
    table->capacity = capacity;
    return 0;
}

/* idr_alloc_cyclic(): the next free slot after the last one, within a window that grows with use.
 */
static int32_t next_slot(const struct ipc_table *table, int32_t max_count)
{
    int32_t window = MIN(MAX(table->in_use * 3 / 2, MIN_CYCLE), max_count);
    int32_t slot = table->last_slot;

    for (int32_t tried = 0; tried < window; tried++) {
        slot = slot + 1 >= window ? 0 : slot + 1;
        if (!ipc_at(table, slot))
            return slot;
    }
    return -1;
}

static int32_t free_slot_from(const struct ipc_table *table, int32_t slot)
{
    while (slot < IPC_COUNT_MAX && ipc_at(table, slot))
        slot++;
    return slot < IPC_COUNT_MAX ? slot : -1;
}

static int enter(struct task *task, struct ipc_table *table, const struct ipc_request *request,
                 struct ipc_object *object)
{
    uint64_t wanted = IPC_ID_ANY;
    int32_t slot = -1, sequence;

    if (table->in_use < request->max_count) {
        wanted = __atomic_exchange_n(&table->next_id, IPC_ID_ANY, __ATOMIC_RELAXED);
        slot = wanted == IPC_ID_ANY ? next_slot(table, request->max_count)
                                    : free_slot_from(table, (int32_t)(wanted & SLOT_MASK));
    }
    if (slot < 0)
        return -ENOSPC;
    if (grow(table, slot) < 0)
        return -ENOMEM;
    if (wanted != IPC_ID_ANY) {
        sequence = (int32_t)(wanted >> IPC_SLOT_BITS);
    } else {
        if (slot <= table->last_slot && ++table->sequence > SEQUENCE_MAX)
            table->sequence = 0;
        table->last_slot = slot;
        sequence = table->sequence;
    }
    table->slots[slot] = object;
    table->in_use++;
    object->id = sequence << IPC_SLOT_BITS | slot;
    object->key = request->key;
    object->mode = (uint32_t)request->flags & 0777;
    object->uid = object->cuid = task->cred->euid;
    object->gid = object->cgid = task->cred->egid;
    return object->id;
}

void ipc_remove(struct ipc_table *table, struct ipc_object *object)
{
    table->slots[object->id & SLOT_MASK] = NULL;
    table->in_use--;
}

/* ---- *get(2) ------------------------------------------------------------------------------ */

static int create_locked(struct task *task, struct ipc_table *table,
                         const struct ipc_request *request)
{
    struct ipc_object *object;
    int err = request->create(task, request, &object);

    if (err < 0)
        return err;
    err = enter(task, table, request, object);
    if (err < 0)
        request->discard(task_ipc_ns(task), object);
    return err;
}

static int get_locked(struct task *task, struct ipc_table *table, const struct ipc_request *request)
{
    struct ipc_object *object;
    int err;

    object = request->key == IPC_PRIVATE ? NULL : find_key(table, request->key);
    if (!object && request->key != IPC_PRIVATE && !(request->flags & IPC_CREAT))
        return -ENOENT;
    if (!object)
        return create_locked(task, table, request);
    if ((request->flags & (IPC_CREAT | IPC_EXCL)) == (IPC_CREAT | IPC_EXCL))
        return -EEXIST;
    err = request->fits ? request->fits(object, request) : 0;
    if (err < 0)
        return err;
    return ipc_permits(task, object, (unsigned)request->flags) ? object->id : -EACCES;
}

int ipc_get(struct task *task, enum ipc_kind kind, const struct ipc_request *request)
{
    struct ipc_table *table = &task_ipc_ns(task)->tables[kind];
    int id;

    lock_acquire(&table->lock);
    id = get_locked(task, table, request);
    lock_release(&table->lock);
    return id;
}

/* ---- permissions -------------------------------------------------------------------------- */

bool ipc_permits(const struct task *task, const struct ipc_object *object, unsigned mode)
{
    const struct cred *cred = task->cred;
    unsigned wanted = (mode >> 6) | (mode >> 3) | mode, granted = object->mode;

    if (cred->euid == object->cuid || cred->euid == object->uid)
        granted >>= 6;
    else if (cred_in_group(cred, object->cgid) || cred_in_group(cred, object->gid))
        granted >>= 3;
    return !(wanted & ~granted & 7) ||
           task_has_ns_cap(task, task_ipc_ns(task)->ns.owner, CAP_IPC_OWNER);
}

bool ipc_owns(const struct task *task, const struct ipc_object *object)
{
    uint32_t euid = task->cred->euid;

    return euid == object->cuid || euid == object->uid ||
           task_has_ns_cap(task, task_ipc_ns(task)->ns.owner, CAP_SYS_ADMIN);
}

void ipc_get_perm(const struct ipc_object *object, struct ipc_perm *ret)
{
    const struct cred *viewer = task_current()->cred;

    *ret = (struct ipc_perm){
        .__key = object->key,
        .uid = cred_shown_uid(viewer, object->uid),
        .gid = cred_shown_gid(viewer, object->gid),
        .cuid = cred_shown_uid(viewer, object->cuid),
        .cgid = cred_shown_gid(viewer, object->cgid),
        .mode = (__typeof__(ret->mode))object->mode,
        .__seq = (unsigned short)(object->id >> IPC_SLOT_BITS),
    };
}

int ipc_set_perm(struct ipc_object *object, const struct ipc_perm *perm)
{
    const struct cred *cred = task_current()->cred;
    uint32_t uid = cred_kernel_uid(cred, perm->uid), gid = cred_kernel_gid(cred, perm->gid);

    if (uid == ID_NONE || gid == ID_NONE)
        return -EINVAL;
    object->uid = uid;
    object->gid = gid;
    object->mode = (object->mode & ~0777u) | (perm->mode & 0777);
    return 0;
}

/* ---- sleeping ----------------------------------------------------------------------------- */

void ipc_sleep_locked(struct ipc_sleeper *s, struct task *task, struct list *sleepers)
{
    s->task = task;
    s->result = IPC_ASLEEP;
    waiter_reset(&task->waiter);
    list_add_tail(sleepers, &s->node);
}

void ipc_end_sleep_locked(struct ipc_sleeper *s, int result)
{
    struct task *task = task_ref(s->task);

    list_del_init(&s->node);
    __atomic_store_n(&s->result, result, __ATOMIC_RELEASE);
    waiter_wake(&task->waiter);
    task_unref(task);
}

int ipc_sleep(struct lock *lock, struct ipc_sleeper *s, uint64_t deadline_ns)
{
    int err, result;

    do {
        err = task_block(s->task, deadline_ns);
        result = __atomic_load_n(&s->result, __ATOMIC_ACQUIRE);
    } while (err == 0 && result == IPC_ASLEEP);
    if (result != IPC_ASLEEP)
        return result;
    lock_acquire(lock);
    result = __atomic_load_n(&s->result, __ATOMIC_ACQUIRE);
    if (result == IPC_ASLEEP) {
        list_del_init(&s->node);
        result = err;
    }
    lock_release(lock);
    return result;
}
