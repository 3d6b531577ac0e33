/* semctl(2): looking at sets of semaphores, and changing them other than by semop(2). */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ipc/sem.h"

static struct ipc_table *table_of(struct ipc_ns *ns)
{
    return &ns->tables[IPC_KIND_SEM];
}

int sem_find_locked(struct task *task, struct ipc_ns *ns, int id, unsigned mode,
                    struct sem_set **ret)
{
    struct ipc_object *object;
    int err = ipc_find_permitted(task, table_of(ns), id, mode, &object);

    if (err != -EINVAL)
        *ret = container_of(object, struct sem_set, ipc);
    return err;
}

static int get_number(struct sem_set *set, int number, int cmd)
{
    if (number < 0 || (uint32_t)number >= set->count)
        return -EINVAL;
    switch (cmd) {
    case GETVAL:
        return set->sems[number].value;
    case GETPID:
        return set->sems[number].pid;
    default:
        return sem_count_waiting_locked(set, (unsigned)number, cmd == GETZCNT);
    }
}

int sem_get_number(struct task *task, int id, int number, int cmd)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct sem_set *set;
    int result;

    lock_acquire(&table_of(ns)->lock);
    result = sem_find_locked(task, ns, id, 0444, &set);
    if (result == 0)
        result = get_number(set, number, cmd);
    lock_release(&table_of(ns)->lock);
    return result;
}

/* What was to be undone for this semaphore is forgotten. */
static void set_one(struct sem_set *set, uint32_t number, int value, int32_t pid)
{
    struct sem_undo *undo;

    list_for_each (undo, &set->undos, of_set)
        undo->adjust[number] = 0;
    set->sems[number] = (struct sem){.value = value, .pid = pid};
}

static void values_changed(struct sem_set *set)
{
    set->change_time = ipc_seconds();
    if (sem_update_locked(set))
        set->op_time = ipc_seconds();
}

int sem_set_value(struct task *task, int id, int number, int value)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct sem_set *set;
    int err;

    if (value < 0 || value > SEM_MAX_VALUE)
        return -ERANGE;
    lock_acquire(&table_of(ns)->lock);
    err = sem_find_locked(task, ns, id, 0222, &set);
    if (err != -EINVAL && (number < 0 || (uint32_t)number >= set->count))
        err = -EINVAL;
    if (err == 0) {
        set_one(set, (uint32_t)number, value, task->process->pid);
        values_changed(set);
    }
    lock_release(&table_of(ns)->lock);
    return err;
}

int sem_get_all(struct task *task, int id, uint16_t **ret_values, unsigned *ret_count)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    uint16_t *values = NULL;
    struct sem_set *set;
    int err;

    lock_acquire(&table_of(ns)->lock);
    err = sem_find_locked(task, ns, id, 0444, &set);
    if (err == 0) {
        values = malloc(set->count * sizeof(*values));
        err = values ? 0 : -ENOMEM;
    }
    if (err == 0) {
        for (uint32_t i = 0; i < set->count; i++)
            values[i] = (uint16_t)set->sems[i].value;
        *ret_count = set->count;
        *ret_values = values;
    }
    lock_release(&table_of(ns)->lock);
    return err;
}

int sem_count_for_set(struct task *task, int id)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct sem_set *set;
    int result;

    lock_acquire(&table_of(ns)->lock);
    result = sem_find_locked(task, ns, id, 0222, &set);
    if (result == 0)
        result = (int)set->count;
    lock_release(&table_of(ns)->lock);
    return result;
}

int sem_set_all(struct task *task, int id, const uint16_t *values, unsigned count)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct sem_set *set;
    int err = 0;

    for (unsigned i = 0; i < count; i++) {
        if (values[i] > SEM_MAX_VALUE)
            return -ERANGE;
    }
    lock_acquire(&table_of(ns)->lock);
    /* It was there when its values were copied. */
    if (sem_find_locked(task, ns, id, 0222, &set) < 0 || set->count != count)
        err = -EIDRM;
    for (unsigned i = 0; err == 0 && i < count; i++)
        set_one(set, i, values[i], task->process->pid);
    if (err == 0)
        values_changed(set);
    lock_release(&table_of(ns)->lock);
    return err;
}

static void fill(struct ipc_object *object, void *arg)
{
    const struct sem_set *set = container_of(object, struct sem_set, ipc);
    struct semid_ds *ret = arg;

    *ret = (struct semid_ds){
        .sem_otime = set->op_time,
        .sem_ctime = set->change_time,
        .sem_nsems = set->count,
    };
    ipc_get_perm(object, &ret->sem_perm);
}

int sem_stat(struct task *task, int id, enum ipc_stat_by by, struct semid_ds *ret)
{
    return ipc_stat(task, table_of(task_ipc_ns(task)), id, by, fill, ret);
}

/* The set, if the task may change and remove it. */
static int find_own(struct task *task, struct ipc_ns *ns, int id, struct sem_set **ret)
{
    struct ipc_object *object;
    int err = ipc_find_owned(task, table_of(ns), id, &object);

    if (err == 0)
        *ret = container_of(object, struct sem_set, ipc);
    return err;
}

int sem_set(struct task *task, int id, const struct semid_ds *ds)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct sem_set *set;
    int err;

    lock_acquire(&table_of(ns)->lock);
    err = find_own(task, ns, id, &set);
    if (err == 0)
        err = ipc_set_perm(&set->ipc, &ds->sem_perm);
    if (err == 0)
        set->change_time = ipc_seconds();
    lock_release(&table_of(ns)->lock);
    return err;
}

static void destroy_locked(struct ipc_ns *ns, struct sem_set *set)
{
    struct sem_undo *undo, *next;

    ipc_remove(table_of(ns), &set->ipc);
    list_for_each_safe (undo, next, &set->undos, of_set)
        sem_free_undo_locked(ns, undo);
    sem_end_all_locked(set, -EIDRM);
    ns->sem_count -= set->count;
    free(set);
}

int sem_remove(struct task *task, int id)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct sem_set *set;
    int err;

    lock_acquire(&table_of(ns)->lock);
    err = find_own(task, ns, id, &set);
    if (err == 0)
        destroy_locked(ns, set);
    lock_release(&table_of(ns)->lock);
    return err;
}

int sem_get_info(struct task *task, bool usage, struct seminfo *ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    const struct ipc_limits *limits = &ns->limits;
    struct ipc_table *table = table_of(ns);
    int max;

    lock_acquire(&table->lock);
    *ret = (struct seminfo){
        .semmap = (int)ipc_limit(&limits->sem_total),
        .semmni = (int)ipc_limit(&limits->sem_sets),
        .semmns = (int)ipc_limit(&limits->sem_total),
        .semmnu = (int)ipc_limit(&limits->sem_total),
        .semmsl = (int)ipc_limit(&limits->sem_per_set),
        .semopm = (int)ipc_limit(&limits->sem_ops),
        .semume = (int)ipc_limit(&limits->sem_ops),
        .semusz = usage ? table->in_use : 20,
        .semvmx = SEM_MAX_VALUE,
        .semaem = usage ? (int)ns->sem_count : SEM_MAX_ADJUST,
    };
    max = ipc_max_slot(table);
    lock_release(&table->lock);
    return max;
}

void sem_destroy_all(struct ipc_ns *ns)
{
    struct ipc_table *table = table_of(ns);

    lock_acquire(&table->lock);
    for (int slot = 0; slot < table->capacity; slot++) {
        if (table->slots[slot])
            destroy_locked(ns, container_of(table->slots[slot], struct sem_set, ipc));
    }
    lock_release(&table->lock);
}
