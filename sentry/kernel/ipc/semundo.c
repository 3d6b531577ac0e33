/*
 * SEM_UNDO: for each set, what a process has taken with that flag, to be given back when it ends.
 * The list is made at the first such operation, and shared by CLONE_SYSVSEM; fork(2) gives none.
 */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/process.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/task.h"

/* Of all undos in a namespace: bounds what programs can make the Sentry keep. */
#define UNDO_MAX_BYTES (64UL << 20)

static uint64_t undo_size(const struct sem_set *set)
{
    return sizeof(struct sem_undo) + set->count * sizeof(int16_t);
}

int sem_prepare_undo(struct task *task)
{
    struct sem_undo_list *list = task->sem_undo;

    if (list)
        return 0;
    list = malloc(sizeof(*list));
    if (!list)
        return -ENOMEM;
    refcount_set(&list->refs, 1);
    list->ns = ipc_ns_ref(task_ipc_ns(task));
    list_init(&list->undos);
    task->sem_undo = list;
    return 0;
}

int sem_share_undo(struct task *parent, struct task *child)
{
    int err = sem_prepare_undo(parent);

    if (err < 0)
        return err;
    refcount_get(&parent->sem_undo->refs);
    child->sem_undo = parent->sem_undo;
    return 0;
}

struct sem_undo *sem_find_undo_locked(struct task *task, struct ipc_ns *ns, struct sem_set *set)
{
    struct sem_undo *undo;

    list_for_each (undo, &task->sem_undo->undos, of_list) {
        if (undo->set == set)
            return undo;
    }
    if (ns->undo_bytes + undo_size(set) > UNDO_MAX_BYTES)
        return NULL;
    undo = calloc(1, undo_size(set));
    if (!undo)
        return NULL;
    ns->undo_bytes += undo_size(set);
    undo->set = set;
    list_add(&task->sem_undo->undos, &undo->of_list);
    list_add(&set->undos, &undo->of_set);
    return undo;
}

void sem_free_undo_locked(struct ipc_ns *ns, struct sem_undo *undo)
{
    ns->undo_bytes -= undo_size(undo->set);
    list_del_init(&undo->of_list);
    list_del_init(&undo->of_set);
    free(undo);
}

/* Linux exit_sem(): values stay within their limits, whatever the sum says. */
static void apply(struct sem_undo *undo, int32_t pid)
{
    struct sem_set *set = undo->set;

    for (uint32_t i = 0; i < set->count; i++) {
        struct sem *sem = &set->sems[i];

        if (!undo->adjust[i])
            continue;
        sem->value = MIN(MAX(sem->value + undo->adjust[i], 0), SEM_MAX_VALUE);
        sem->pid = pid;
    }
    (void)sem_update_locked(set);
    set->op_time = ipc_seconds();
}

void sem_exit(struct task *task)
{
    struct sem_undo_list *list = task->sem_undo;
    struct sem_undo *undo, *next;
    struct lock *lock;

    task->sem_undo = NULL;
    if (!list || !refcount_put(&list->refs))
        return;
    lock = &list->ns->tables[IPC_KIND_SEM].lock;
    lock_acquire(lock);
    list_for_each_safe (undo, next, &list->undos, of_list) {
        apply(undo, task->process->pid);
        sem_free_undo_locked(list->ns, undo);
    }
    lock_release(lock);
    ipc_ns_unref(list->ns);
    free(list);
}
