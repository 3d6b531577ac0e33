/*
 * The pid table: task numbers, handed out in rising order and taken up again only after all others,
 * so that a stale number does not soon name somebody else. Below the first pid namespace a task
 * gets a number in each that it is seen in (pidns.h).
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "host/futex.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"

#define RESERVED_PIDS 300 /* after the first round, as Linux: low numbers stay with early tasks */

/* A group or session may outlive the process that named it. */
static bool is_taken(const struct kernel *kernel, const struct pid_ns *ns, int32_t number)
{
    if (ns->level > 0)
        return ns->globals[number] != 0;
    return number == KERNEL_PID_SENTRY || kernel->pids[number] || kernel->groups[number] ||
           kernel->sessions[number];
}

/* set_tid of clone3(2), of which the innermost level comes first: Linux alloc_pid(). */
static int32_t wanted_number(struct task *task, const struct pid_ns *ns, int index)
{
    int32_t number = task->wanted_tids[index];

    if (number < 1 || number >= ns->pid_max || (number != 1 && ns->level > 0 && !ns->init))
        return -EINVAL;
    if (!cred_has_ns_cap(task_current()->cred, ns->ns.owner, CAP_CHECKPOINT_RESTORE) &&
        !cred_has_ns_cap(task_current()->cred, ns->ns.owner, CAP_SYS_ADMIN))
        return -EPERM;
    return is_taken(task->kernel, ns, number) ? -EEXIST : number;
}

static int32_t next_number(const struct kernel *kernel, struct pid_ns *ns)
{
    int32_t number = ns->last_pid;

    for (int tried = 0; tried < KERNEL_PID_MAX; tried++) {
        if (++number >= ns->pid_max)
            number = MIN(RESERVED_PIDS, ns->pid_max - 1);
        if (is_taken(kernel, ns, number))
            continue;
        ns->last_pid = number;
        return number;
    }
    return -EAGAIN;
}

/* A number for each level, from the innermost up to the first. */
static int choose_numbers(struct kernel *kernel, struct task *task, int32_t *numbers)
{
    struct pid_ns *ns = task->process->pid_ns;
    int index = 0;

    for (; ns; ns = ns->parent, index++) {
        int32_t number;

        if (ns->closed)
            return -ENOMEM; /* its init has ended */
        number =
            index < task->wanted_count ? wanted_number(task, ns, index) : next_number(kernel, ns);
        if (number < 0)
            return number;
        numbers[ns->level] = number;
    }
    return 0;
}

static struct pid_names *make_names(struct pid_ns *ns, const int32_t *numbers)
{
    struct pid_names *names = malloc(sizeof(*names) + (size_t)(ns->level + 1) * sizeof(int32_t));

    if (!names)
        return NULL;
    names->ns = pid_ns_ref(ns);
    for (int level = 0; level <= ns->level; level++)
        names->numbers[level] = numbers[level];
    return names;
}

static void enter_names(struct kernel *kernel, struct pid_names *names, int32_t global)
{
    lock_acquire(&kernel->names_lock);
    kernel->pid_names[global] = names;
    for (struct pid_ns *ns = names->ns; ns->level > 0; ns = ns->parent)
        ns->globals[names->numbers[ns->level]] = global;
    lock_release(&kernel->names_lock);
}

int pid_alloc_locked(struct kernel *kernel, struct task *task)
{
    int32_t numbers[PID_NS_LEVEL_MAX + 1] = {0};
    struct pid_ns *ns = task->process->pid_ns;
    struct pid_names *names = NULL;
    int error = choose_numbers(kernel, task, numbers);

    if (error < 0)
        return error;
    if (ns->level > 0) {
        names = make_names(ns, numbers);
        if (!names)
            return -ENOMEM;
        enter_names(kernel, names, numbers[0]);
    }
    task->tid = numbers[0];
    task->vtid = numbers[ns->level];
    kernel->pids[task->tid] = task_ref(task);
    if (ns->level > 0 && task->vtid == 1) {
        ns->init = task->process;
        task->process->unkillable = true;
    }
    return 0;
}

void pid_names_drop_locked(struct kernel *kernel, int32_t global)
{
    struct pid_names *names = kernel->pid_names[global];

    if (!names || kernel->pids[global] || kernel->groups[global] || kernel->sessions[global])
        return;
    lock_acquire(&kernel->names_lock);
    kernel->pid_names[global] = NULL;
    for (struct pid_ns *ns = names->ns; ns->level > 0; ns = ns->parent)
        ns->globals[names->numbers[ns->level]] = 0;
    lock_release(&kernel->names_lock);
    ns_unref(&names->ns->ns);
    free(names);
}

/* An init that ends waits for all others: see pid_ns_task_ends(). */
static void tell_leaving(struct pid_ns *ns)
{
    for (; ns->level > 0; ns = ns->parent) {
        if (!ns->closed)
            continue;
        __atomic_add_fetch(&ns->changes, 1, __ATOMIC_RELEASE);
        host_futex_wake(&ns->changes, INT32_MAX);
    }
}

void pid_free_locked(struct kernel *kernel, struct task *task)
{
    struct pid_ns *ns = task->process->pid_ns;

    BUG_ON(kernel->pids[task->tid] != task);
    kernel->pids[task->tid] = NULL;
    cgroup_release_locked(task);
    tell_leaving(ns);
    if (task->process == ns->init && task->vtid == 1) {
        ns->init = NULL;
        if (!ns->closed)
            ns->last_pid = 0; /* it never ran: the next one shall be the first */
    }
    pid_names_drop_locked(kernel, task->tid);
    task_unref(task);
}

void pid_take_over_locked(struct kernel *kernel, struct task *task, struct task *leader)
{
    pid_free_locked(kernel, task);
    BUG_ON(kernel->pids[leader->tid] != leader);
    task->tid = leader->tid;
    task->vtid = leader->vtid;
    kernel->pids[task->tid] = task_ref(task);
    cgroup_take_over_locked(task, leader);
    task_unref(leader);
}

struct task *task_find(struct kernel *kernel, int32_t tid)
{
    struct task *task = NULL;

    if (tid <= 0 || tid >= KERNEL_PID_MAX)
        return NULL;
    lock_acquire(&kernel->lock);
    if (kernel->pids[tid])
        task = task_ref(kernel->pids[tid]);
    lock_release(&kernel->lock);
    return task;
}
