/*
 * semop(2): a list of operations that happens as a whole or waits as a whole. Who waits hangs on
 * its set in one of two queues: those that change nothing (all operations are "wait for zero") and
 * the others, oldest first in each. After each change the first are looked at, then the others,
 * from the start again whenever one of them has changed values.
 *
 * A sleeper is on its task's stack. Whoever ends its sleep takes it off the queue, sets `result` as
 * the last thing, and wakes the task; from then on the sleeper belongs to its task alone.
 */
#include "sentry/kernel/ipc/sem.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

/* Linux would give each namespace a thousand million; this bounds the Sentry's own memory. */
#define SEM_KEPT_TOTAL (4U << 20)
#define ASLEEP         1 /* no result yet; also: the operations have to wait */

struct sem_sleeper {
    struct list node;
    struct task *task;
    const struct sembuf *ops;
    unsigned count;
    struct sem_undo *undo;         /* NULL: no operation has SEM_UNDO */
    const struct sembuf *blocking; /* the one that cannot be done now */
    bool alters;
    int result; /* atomic */
};

static struct ipc_table *table_of(struct ipc_ns *ns)
{
    return &ns->tables[IPC_KIND_SEM];
}

static struct sem_set *set_of(struct ipc_object *object)
{
    return object ? container_of(object, struct sem_set, ipc) : NULL;
}

/* With the table's lock: the set, if the task may do that with it. */
static int find(struct task *task, struct ipc_ns *ns, int id, unsigned mode, struct sem_set **ret)
{
    struct sem_set *set = set_of(ipc_find(table_of(ns), id));

    if (!set)
        return -EINVAL;
    *ret = set;
    return ipc_permits(task, &set->ipc, mode) ? 0 : -EACCES;
}

/* ---- semget ------------------------------------------------------------------------------- */

static int create(struct task *task, const struct ipc_request *request, struct ipc_object **ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct sem_set *set;

    if (request->size == 0)
        return -EINVAL;
    if (ns->sem_count + request->size > MIN(SEM_KEPT_TOTAL, ipc_limit(&ns->limits.sem_total)))
        return -ENOSPC;
    set = calloc(1, sizeof(*set) + request->size * sizeof(set->sems[0]));
    if (!set)
        return -ENOMEM;
    list_init(&set->undos);
    list_init(&set->for_zero);
    list_init(&set->for_more);
    set->count = (uint32_t)request->size;
    set->change_time = ipc_seconds();
    ns->sem_count += request->size;
    *ret = &set->ipc;
    return 0;
}

static void discard(struct ipc_ns *ns, struct ipc_object *object)
{
    ns->sem_count -= set_of(object)->count;
    free(set_of(object));
}

static int fits(const struct ipc_object *object, const struct ipc_request *request)
{
    return request->size > container_of(object, const struct sem_set, ipc)->count ? -EINVAL : 0;
}

int sem_get(struct task *task, int32_t key, int count, int flags)
{
    const struct ipc_limits *limits = &task_ipc_ns(task)->limits;
    const struct ipc_request request = {
        .key = key,
        .flags = flags,
        .size = (uint64_t)count,
        .max_count = (int32_t)ipc_limit(&limits->sem_sets),
        .create = create,
        .discard = discard,
        .fits = fits,
    };

    if (count < 0 || (uint64_t)count > ipc_limit(&limits->sem_per_set))
        return -EINVAL;
    return ipc_get(task, IPC_KIND_SEM, &request);
}

/* ---- semop -------------------------------------------------------------------------------- */

/* One operation; ASLEEP when it cannot be done now. */
static int do_one(struct sem_set *set, const struct sembuf *op, struct sem_undo *undo)
{
    struct sem *sem = &set->sems[op->sem_num];
    int value = sem->value + op->sem_op;

    if ((op->sem_op == 0 && value != 0) || value < 0)
        return op->sem_flg & IPC_NOWAIT ? -EAGAIN : ASLEEP;
    if (value > SEM_MAX_VALUE)
        return -ERANGE;
    if (op->sem_flg & SEM_UNDO) {
        int adjust = undo->adjust[op->sem_num] - op->sem_op;

        if (adjust < -SEM_MAX_ADJUST - 1 || adjust > SEM_MAX_ADJUST)
            return -ERANGE;
        undo->adjust[op->sem_num] = (int16_t)adjust;
    }
    sem->value = value;
    return 0;
}

/* All of them, or none: 0, ASLEEP, -EAGAIN, -ERANGE. */
static int do_all(struct sem_set *set, struct sem_sleeper *s)
{
    int32_t pid = s->task->process->pid;
    unsigned done = 0;
    int result = 0;

    while (done < s->count && result == 0) {
        result = do_one(set, &s->ops[done], s->undo);
        if (result == 0)
            done++;
    }
    if (result == 0) {
        for (unsigned i = 0; i < s->count; i++)
            set->sems[s->ops[i].sem_num].pid = pid;
        return 0;
    }
    s->blocking = &s->ops[done];
    while (done-- > 0) {
        const struct sembuf *op = &s->ops[done];

        set->sems[op->sem_num].value -= op->sem_op;
        if (op->sem_flg & SEM_UNDO)
            s->undo->adjust[op->sem_num] = (int16_t)(s->undo->adjust[op->sem_num] + op->sem_op);
    }
    return result;
}

static void end_sleep(struct sem_sleeper *s, int result)
{
    struct task *task = task_ref(s->task);

    list_del_init(&s->node);
    __atomic_store_n(&s->result, result, __ATOMIC_RELEASE);
    waiter_wake(&task->waiter);
    task_unref(task);
}

/* Lets all of them go that can go on. */
static bool wake_zero_waiters(struct sem_set *set)
{
    struct sem_sleeper *s, *next;
    bool any = false;

    list_for_each_safe (s, next, &set->for_zero, node) {
        int result = do_all(set, s);

        if (result == ASLEEP)
            continue;
        any |= result == 0;
        end_sleep(s, result);
    }
    return any;
}

/* Lets go the first of the others that can go on; false: none can. */
static bool wake_one(struct sem_set *set)
{
    struct sem_sleeper *s, *next;

    list_for_each_safe (s, next, &set->for_more, node) {
        int result = do_all(set, s);

        if (result != ASLEEP)
            end_sleep(s, result);
        if (result == 0)
            return true;
    }
    return false;
}

bool sem_update_locked(struct sem_set *set)
{
    bool any = wake_zero_waiters(set);

    while (wake_one(set)) {
        any = true;
        (void)wake_zero_waiters(set);
    }
    return any;
}

int sem_count_waiting_locked(const struct sem_set *set, unsigned number, bool for_zero)
{
    const struct list *queues[] = {&set->for_zero, &set->for_more};
    const struct sem_sleeper *s;
    int count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(queues); i++) {
        list_for_each (s, queues[i], node) {
            if (s->blocking->sem_num == number && (s->blocking->sem_op == 0) == for_zero)
                count++;
        }
    }
    return count;
}

void sem_end_all_locked(struct sem_set *set, int result)
{
    struct sem_sleeper *s, *next;

    list_for_each_safe (s, next, &set->for_zero, node)
        end_sleep(s, result);
    list_for_each_safe (s, next, &set->for_more, node)
        end_sleep(s, result);
}

/* With the lock: finds the set and tries. */
static int try(struct ipc_ns *ns, int id, struct sem_sleeper *s, bool undo)
{
    struct sem_set *set;
    int err = find(s->task, ns, id, s->alters ? 0222 : 0444, &set);

    for (unsigned i = 0; err != -EINVAL && i < s->count; i++) {
        if (s->ops[i].sem_num >= set->count)
            return -EFBIG;
    }
    if (err < 0)
        return err;
    if (undo) {
        s->undo = sem_find_undo_locked(s->task, ns, set);
        if (!s->undo)
            return -ENOMEM;
    }
    err = do_all(set, s);
    if (err == ASLEEP) {
        waiter_reset(&s->task->waiter);
        list_add_tail(s->alters ? &set->for_more : &set->for_zero, &s->node);
    } else if (err == 0) {
        if (s->alters)
            (void)sem_update_locked(set);
        set->op_time = ipc_seconds();
    }
    return err;
}

static int sleep_on(struct lock *lock, struct sem_sleeper *s, uint64_t deadline_ns)
{
    int err, result;

    do {
        err = task_block(s->task, deadline_ns);
        result = __atomic_load_n(&s->result, __ATOMIC_ACQUIRE);
    } while (err == 0 && result == ASLEEP);
    if (result != ASLEEP)
        return result;
    lock_acquire(lock);
    result = __atomic_load_n(&s->result, __ATOMIC_ACQUIRE);
    if (result == ASLEEP) {
        list_del_init(&s->node);
        result = err == -ETIMEDOUT ? -EAGAIN : -EINTR;
    }
    lock_release(lock);
    return result;
}

int sem_operate(struct task *task, int id, const struct sembuf *ops, unsigned count,
                uint64_t deadline_ns)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct lock *lock = &table_of(ns)->lock;
    struct sem_sleeper s = {.task = task, .ops = ops, .count = count, .result = ASLEEP};
    bool undo = false;
    int err;

    for (unsigned i = 0; i < count; i++) {
        s.alters |= ops[i].sem_op != 0;
        undo |= (ops[i].sem_flg & SEM_UNDO) != 0;
    }
    if (undo && sem_prepare_undo(task) < 0)
        return -ENOMEM;
    lock_acquire(lock);
    err = try(ns, id, &s, undo);
    lock_release(lock);
    return err == ASLEEP ? sleep_on(lock, &s, deadline_ns) : err;
}
