/* System V semaphores: semget(2), semop(2), semctl(2). */
#ifndef SENTRY_KERNEL_SEM_H
#define SENTRY_KERNEL_SEM_H

#include <sys/sem.h>

#include "base/list.h"
#include "sentry/kernel/ipc/ipc.h"

#define SEM_MAX_PER_SET 32000                            /* semmsl */
#define SEM_MAX_SETS    32000                            /* semmni */
#define SEM_MAX_TOTAL   (SEM_MAX_SETS * SEM_MAX_PER_SET) /* semmns */
#define SEM_MAX_OPS     500                              /* semopm */
#define SEM_MAX_VALUE   32767                            /* semvmx */
#define SEM_MAX_ADJUST  32767                            /* semaem */

int sem_get(struct task *task, int32_t key, int count, int flags);
/*
 * All of the operations, or none. Sleeps until CLOCK_MONOTONIC `deadline_ns`. -EINVAL, -EFBIG,
 * -EACCES, -EAGAIN, -EIDRM, -EINTR, -ENOMEM, -ERANGE.
 */
int sem_operate(struct task *task, int id, const struct sembuf *ops, unsigned count,
                uint64_t deadline_ns);

/* GETVAL, GETPID, GETNCNT, GETZCNT. */
int sem_get_number(struct task *task, int id, int number, int cmd);
int sem_set_value(struct task *task, int id, int number, int value);
/* An array for the caller to free, and its length. */
int sem_get_all(struct task *task, int id, uint16_t **ret_values, unsigned *ret_count);
/* How many values SETALL takes; -EINVAL, -EACCES. */
int sem_count_for_set(struct task *task, int id);
int sem_set_all(struct task *task, int id, const uint16_t *values, unsigned count);

int sem_stat(struct task *task, int id, enum ipc_stat_by by, struct semid_ds *ret);
int sem_set(struct task *task, int id, const struct semid_ds *ds);
int sem_remove(struct task *task, int id);
/* Limits, or with `usage` what is there now; gives the highest slot in use. */
int sem_get_info(struct task *task, bool usage, struct seminfo *ret);
void sem_destroy_all(struct ipc_ns *ns);

/* ---- SEM_UNDO (semundo.c) ----------------------------------------------------------------- */

/* What threads with CLONE_SYSVSEM share. */
struct sem_undo_list {
    refcount_t refs;
    struct ipc_ns *ns; /* a reference */
    struct list undos; /* struct sem_undo, under the sets' lock */
};

/* clone(2) with CLONE_SYSVSEM: the child gets the parent's list, made now if need be. -ENOMEM. */
int sem_share_undo(struct task *parent, struct task *child);
/* The end of a task, or its leaving the namespace: the last of its list's undoes. */
void sem_exit(struct task *task);

/* Inside: one set, and what a list will add to its values. Under the sets' lock. */
struct sem_set;
struct sem_undo {
    struct list of_list, of_set;
    struct sem_set *set;
    int16_t adjust[];
};
struct sem {
    int32_t value;
    int32_t pid; /* sempid: who changed it last */
};
struct sem_set {
    struct ipc_object ipc;
    struct list undos;              /* struct sem_undo */
    struct list for_zero, for_more; /* sleepers: those that change nothing, and the others */
    int64_t op_time, change_time;
    uint32_t count;
    struct sem sems[];
};
/* The set, if the task may do that with it; it is told with EACCES, too. -EINVAL, -EACCES. */
int sem_find_locked(struct task *task, struct ipc_ns *ns, int id, unsigned mode,
                    struct sem_set **ret);
/* The task's undo for the set, made if need be; NULL without memory. */
struct sem_undo *sem_find_undo_locked(struct task *task, struct ipc_ns *ns, struct sem_set *set);
void sem_free_undo_locked(struct ipc_ns *ns, struct sem_undo *undo);
/* Makes the list so that sem_find_undo_locked() finds one; without the lock. -ENOMEM. */
int sem_prepare_undo(struct task *task);
/* Values have changed: lets go who can go on now. True when somebody did. */
bool sem_update_locked(struct sem_set *set);
/* GETNCNT, GETZCNT: whose first operation that cannot be done is on this semaphore. */
int sem_count_waiting_locked(const struct sem_set *set, unsigned number, bool for_zero);
void sem_end_all_locked(struct sem_set *set, int result);

#endif
