/*
 * semop(2): a list of operations that happens as a whole or waits as a whole. Who waits hangs on
 * its set in one of two queues: those that change nothing (all operations are "wait for zero") and
 * the others, oldest first in each. After each change the first are looked at, then the others,
 * from the start again whenever one of them has changed values.
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
#define HAS_TO_WAIT    1 /* operations that cannot be done now */

struct sem_sleeper {
    struct ipc_sleeper sleep;
    const struct sembuf *ops;
    unsigned count;
    struct sem_undo *undo;         /* NULL: no operation has SEM_UNDO */
    const struct sembuf *blocking; /* the one that cannot be done now */
    bool alters;
};

static struct ipc_table *table_of(struct ipc_ns *ns)
{
    return &ns->tables[IPC_KIND_SEM];
}

static struct sem_set *set_of(struct ipc_object *object)
{
    return object ? container_of(object, struct sem_set, ipc) : NULL;
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

/* One operation; HAS_TO_WAIT when it cannot be done now. */
static int do_one(struct sem_set *set, const struct sembuf *op, struct sem_undo *undo)
{
    struct sem *sem = &set->sems[op->sem_num];
    int value = sem->value + op->sem_op;

    if ((op->sem_op == 0 && value != 0) || value < 0)
        return op->sem_flg & IPC_NOWAIT ? -EAGAIN : HAS_TO_WAIT;
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

/* All of them, or none: 0, HAS_TO_WAIT, -EAGAIN, -ERANGE. */
static int do_all(struct sem_set *set, struct sem_sleeper *s)
{
    int32_t pid = s->sleep.task->process->pid;
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

/* Lets all of them go that can go on. */
static bool wake_zero_waiters(struct sem_set *set)
{
    struct sem_sleeper *s, *next;
    bool any = false;

    list_for_each_safe (s, next, &set->for_zero, sleep.node) {
        int result = do_all(set, s);

        if (result == HAS_TO_WAIT)
            continue;
        any |= result == 0;
        ipc_end_sleep_locked(&s->sleep, result);
    }
    return any;
}

/* Lets go the first of the others that can go on; false: none can. */
static bool wake_one(struct sem_set *set)
{
    struct sem_sleeper *s, *next;

    list_for_each_safe (s, next, &set->for_more, sleep.node) {
        int result = do_all(set, s);

        if (result != HAS_TO_WAIT)
            ipc_end_sleep_locked(&s->sleep, result);
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
        list_for_each (s, queues[i], sleep.node) {
            if (s->blocking->sem_num == number && (s->blocking->sem_op == 0) == for_zero)
                count++;
        }
    }
    return count;
}

void sem_end_all_locked(struct sem_set *set, int result)
{
    struct sem_sleeper *s, *next;

    list_for_each_safe (s, next, &set->for_zero, sleep.node)
        ipc_end_sleep_locked(&s->sleep, result);
    list_for_each_safe (s, next, &set->for_more, sleep.node)
        ipc_end_sleep_locked(&s->sleep, result);
}

/* With the lock: finds the set and tries. */
static int try(struct task *task, struct ipc_ns *ns, int id, struct sem_sleeper *s, bool undo)
{
    struct sem_set *set;
    int err = sem_find_locked(task, ns, id, s->alters ? 0222 : 0444, &set);

    s->sleep.task = task;
    for (unsigned i = 0; err != -EINVAL && i < s->count; i++) {
        if (s->ops[i].sem_num >= set->count)
            return -EFBIG;
    }
    if (err < 0)
        return err;
    if (undo) {
        s->undo = sem_find_undo_locked(task, ns, set);
        if (!s->undo)
            return -ENOMEM;
    }
    err = do_all(set, s);
    if (err == HAS_TO_WAIT) {
        ipc_sleep_locked(&s->sleep, task, s->alters ? &set->for_more : &set->for_zero);
    } else if (err == 0) {
        if (s->alters)
            (void)sem_update_locked(set);
        set->op_time = ipc_seconds();
    }
    return err;
}

static int sleep_on(struct lock *lock, struct sem_sleeper *s, uint64_t deadline_ns)
{
    int err = ipc_sleep(lock, &s->sleep, deadline_ns);

    if (err == -ETIMEDOUT)
        return -EAGAIN;
    return err == -ERESTARTSYS ? -EINTR : err;
}

int sem_operate(struct task *task, int id, const struct sembuf *ops, unsigned count,
                uint64_t deadline_ns)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct lock *lock = &table_of(ns)->lock;
    struct sem_sleeper s = {.ops = ops, .count = count};
    bool undo = false;
    int err;

    for (unsigned i = 0; i < count; i++) {
        s.alters |= ops[i].sem_op != 0;
        undo |= (ops[i].sem_flg & SEM_UNDO) != 0;
    }
    if (undo && sem_prepare_undo(task) < 0)
        return -ENOMEM;
    lock_acquire(lock);
    err = try(task, ns, id, &s, undo);
    lock_release(lock);
    return err == HAS_TO_WAIT ? sleep_on(lock, &s, deadline_ns) : err;
}
