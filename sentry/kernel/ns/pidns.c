#include "sentry/kernel/ns/pidns.h"

#include <signal.h>
#include <stdlib.h>

#include "host/futex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/tree.h"

/* ---- the object --------------------------------------------------------------------------- */

static void pid_ns_release(struct ns *base)
{
    struct pid_ns *ns = pid_ns_of(base), *parent = ns->parent;
    struct kernel *kernel = ns->kernel;

    lock_acquire(&kernel->names_lock);
    kernel->pid_namespaces[ns->slot] = NULL;
    lock_release(&kernel->names_lock);
    free(ns->globals);
    free(ns);
    if (parent)
        ns_unref(&parent->ns);
}

static bool take_slot(struct kernel *kernel, struct pid_ns *ns)
{
    bool found = false;

    lock_acquire(&kernel->names_lock);
    for (uint32_t slot = 0; !found && slot < PID_NS_SLOTS; slot++) {
        found = !kernel->pid_namespaces[slot];
        if (found) {
            kernel->pid_namespaces[slot] = ns;
            ns->slot = slot;
        }
    }
    lock_release(&kernel->names_lock);
    return found;
}

struct pid_ns *pid_ns_create(struct kernel *kernel, struct pid_ns *old)
{
    struct pid_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    ns->kernel = kernel;
    ns->pid_max = KERNEL_PID_MAX;
    ns->ns.release = pid_ns_release;
    if (old) {
        ns->level = old->level + 1;
        ns->pid_max = old->pid_max;
        ns->globals = calloc(KERNEL_PID_MAX, sizeof(*ns->globals));
    }
    if ((old && !ns->globals) || !take_slot(kernel, ns)) {
        free(ns->globals);
        free(ns);
        return NULL;
    }
    ns->parent = old ? pid_ns_ref(old) : NULL;
    return ns;
}

struct pid_ns *pid_ns_at(struct kernel *kernel, uint32_t slot)
{
    struct pid_ns *ns = NULL;

    lock_acquire(&kernel->names_lock);
    if (slot < PID_NS_SLOTS)
        ns = kernel->pid_namespaces[slot];
    if (ns && !refcount_get_unless_zero(&ns->ns.refs))
        ns = NULL;
    lock_release(&kernel->names_lock);
    return ns;
}

bool pid_ns_is_below(const struct pid_ns *ns, const struct pid_ns *above)
{
    while (ns->level > above->level)
        ns = ns->parent;
    return ns == above;
}

/* ---- numbers ------------------------------------------------------------------------------ */

int32_t pid_shown(struct pid_ns *ns, int32_t global)
{
    struct kernel *kernel = ns->kernel;
    const struct pid_names *names;
    int32_t number = 0;

    if (ns->level == 0 || global <= 0 || global >= KERNEL_PID_MAX)
        return ns->level == 0 ? global : 0;
    lock_acquire(&kernel->names_lock);
    names = kernel->pid_names[global];
    if (names && pid_ns_is_below(names->ns, ns))
        number = names->numbers[ns->level];
    lock_release(&kernel->names_lock);
    return number;
}

int32_t pid_global(struct pid_ns *ns, int32_t number)
{
    struct kernel *kernel = ns->kernel;
    int32_t global;

    if (ns->level == 0 || number <= 0 || number >= KERNEL_PID_MAX)
        return ns->level == 0 ? number : 0;
    lock_acquire(&kernel->names_lock);
    global = ns->globals[number];
    lock_release(&kernel->names_lock);
    return global;
}

int pid_numbers(struct pid_ns *ns, int32_t global, int32_t *ret)
{
    struct kernel *kernel = ns->kernel;
    const struct pid_names *names;
    int count = 0;

    if (global <= 0 || global >= KERNEL_PID_MAX)
        return 0;
    lock_acquire(&kernel->names_lock);
    names = kernel->pid_names[global];
    if (names && pid_ns_is_below(names->ns, ns)) {
        for (int level = ns->level; level <= names->ns->level; level++)
            ret[count++] = names->numbers[level];
    } else if (ns->level == 0) {
        ret[count++] = global;
    }
    lock_release(&kernel->names_lock);
    return count;
}

int32_t task_shown_pid(const struct task *viewer, int32_t global)
{
    return pid_shown(viewer->process->pid_ns, global);
}

int32_t task_global_pid(const struct task *task, int32_t number)
{
    return pid_global(task->process->pid_ns, number);
}

struct task *task_lookup(const struct task *task, int32_t number)
{
    return task_find(task->kernel, task_global_pid(task, number));
}

/* ---- the end ------------------------------------------------------------------------------ */

static bool is_other(const struct pid_ns *ns, const struct task *task)
{
    return task && task->process != ns->init && task->process->pid_ns->level >= ns->level &&
           pid_ns_is_below(task->process->pid_ns, ns);
}

/* Everybody but init itself gets SIGKILL; what is dead already is reaped. */
static void kill_all_locked(struct pid_ns *ns)
{
    struct kernel *kernel = ns->kernel;
    struct process *child, *next;

    for (int32_t tid = 1; tid < KERNEL_PID_MAX; tid++) {
        struct task *task = kernel->pids[tid];

        if (is_other(ns, task))
            signal_send_process(task->process, SIGKILL, NULL);
    }
    list_for_each_safe (child, next, &ns->init->children, sibling) {
        if (child->zombie)
            tree_settle_zombie_locked(child);
    }
}

static bool others_left_locked(struct pid_ns *ns)
{
    for (int32_t tid = 1; tid < KERNEL_PID_MAX; tid++) {
        if (is_other(ns, ns->kernel->pids[tid]))
            return true;
    }
    return false;
}

void pid_ns_task_ends(struct task *task)
{
    struct kernel *kernel = task->kernel;
    struct pid_ns *ns = task->process->pid_ns;
    bool last;

    if (likely(ns->init != task->process) || ns->level == 0)
        return;
    lock_acquire(&kernel->lock);
    lock_acquire(&task->process->lock);
    last = task->process->leaving == task->process->thread_count;
    lock_release(&task->process->lock);
    if (last && !ns->closed) {
        __atomic_store_n(&ns->closed, true, __ATOMIC_RELEASE);
        kill_all_locked(ns);
        usage_enter(&task->times, MODE_ASLEEP);
        while (others_left_locked(ns)) {
            uint32_t changes = __atomic_load_n(&ns->changes, __ATOMIC_ACQUIRE);

            lock_release(&kernel->lock);
            host_futex_wait(&ns->changes, changes, HOST_NEVER);
            lock_acquire(&kernel->lock);
        }
        usage_enter(&task->times, MODE_SYSTEM);
    }
    lock_release(&kernel->lock);
}
