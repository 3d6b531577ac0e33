#include "sentry/kernel/async.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/session.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/timer.h"

/* Made with the first request about a file, kept as long as the file. */
struct async {
    struct file_companion base;
    struct file *file;     /* borrowed: owns this */
    struct kernel *kernel; /* borrowed */
    struct timer timer;    /* fires at once: events are waiting */
    struct wait_entry entry;
    uint32_t events; /* atomic: POLL* not yet told */

    struct lock lock;
    bool on __guarded_by(lock); /* the entry is in the file's queue */
    int fd __guarded_by(lock);
    int type __guarded_by(lock); /* enum async_owner */
    int32_t pid __guarded_by(lock);
    uint32_t uid, euid; /* whoever named the owner: may he signal it? */
    int signo __guarded_by(lock);
};

static void post(struct async *a, uint32_t events)
{
    struct task *caller = task_current();

    __atomic_fetch_or(&a->events, events, __ATOMIC_RELAXED);
    (void)timer_arm(&a->timer, 0);
    if (caller)
        caller->async_due = true;
}

static void wake(struct wait_entry *entry, uint32_t events)
{
    struct async *a = container_of(entry, struct async, entry);

    if (events & entry->events)
        post(a, events & entry->events);
}

void async_settle(struct task *task)
{
    task->async_due = false;
    timers_settle();
}

/* fs/fcntl.c:sigio_perm(); process->lock held. */
static bool may_signal(const struct async *a, const struct cred *target)
{
    return a->euid == 0 || a->euid == target->suid || a->euid == target->uid ||
           a->uid == target->suid || a->uid == target->uid;
}

static void send(const struct async *a, struct task *target, bool thread, const siginfo_t *info)
{
    struct process *process = target->process;
    const siginfo_t *shown = info->si_code ? info : NULL;
    bool may;

    lock_acquire(&process->lock);
    may = may_signal(a, target->cred);
    lock_release(&process->lock);
    if (may && thread)
        signal_send_task(target, info->si_signo, shown);
    else if (may)
        signal_send_process(process, info->si_signo, shown);
}

static void send_to_group(const struct async *a, int32_t pgid, const siginfo_t *info)
{
    struct process_group *group;
    struct process *member;

    lock_acquire(&a->kernel->lock);
    group = group_find_locked(a->kernel, pgid);
    if (group) {
        list_for_each (member, &group->members, group_node)
            send(a, member->leader, false, info);
    }
    lock_release(&a->kernel->lock);
}

static void send_to_owner(const struct async *a, int type, int32_t pid, const siginfo_t *info)
{
    struct task *target;

    if (pid == 0)
        return;
    if (type == ASYNC_GROUP) {
        send_to_group(a, pid, info);
        return;
    }
    target = task_find(a->kernel, pid);
    if (target)
        send(a, target, type == ASYNC_TID, info);
    task_unref(target);
}

/* One event: POLLIN, POLLOUT or POLLPRI. */
static void tell(struct async *a, int code, long band, bool always)
{
    siginfo_t info = {0};
    int32_t pid;
    int type;

    lock_acquire(&a->lock);
    info.si_signo = a->signo ? a->signo : SIGIO;
    info.si_code = a->signo ? code : 0;
    info.si_band = band;
    info.si_fd = a->fd;
    type = a->type;
    pid = a->on || always ? a->pid : 0;
    lock_release(&a->lock);
    send_to_owner(a, type, pid, &info);
}

static void fire(struct timer *timer)
{
    struct async *a = container_of(timer, struct async, timer);
    uint32_t events = __atomic_exchange_n(&a->events, 0, __ATOMIC_RELAXED);

    if (events & POLLIN)
        tell(a, POLL_IN, POLLIN | POLLRDNORM, false);
    if (events & POLLOUT)
        tell(a, POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND, false);
    if (events & POLLMSG)
        tell(a, POLL_MSG, POLLIN | POLLRDNORM | POLLMSG, true);
}

/* The file goes: nobody else has it. */
static void async_release(struct file_companion *base)
{
    struct async *a = container_of(base, struct async, base);

    if (a->on)
        file_unpoll(a->file, &a->entry);
    timer_cancel(&a->timer);
    lock_destroy(&a->lock);
    free(a);
}

static struct async *async_of(struct file *file)
{
    struct file_companion *base = __atomic_load_n(&file->companion, __ATOMIC_ACQUIRE);

    return base ? container_of(base, struct async, base) : NULL;
}

/* NULL without memory. */
static struct async *async_make(struct task *task, struct file *file)
{
    struct async *a = async_of(file);
    struct file_companion *expected = NULL;

    if (a)
        return a;
    a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->base.release = async_release;
    a->file = file;
    a->kernel = task->kernel;
    timer_init(&a->timer, fire);
    lock_init(&a->lock);
    list_init(&a->entry.node);
    a->entry.wake = wake;
    a->entry.events = (file_can_read(file) ? POLLIN : 0U) | (file_can_write(file) ? POLLOUT : 0U);
    if (!__atomic_compare_exchange_n(&file->companion, &expected, &a->base, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        lock_destroy(&a->lock);
        free(a);
        a = container_of(expected, struct async, base);
    }
    return a;
}

static bool exists(struct kernel *kernel, int type, int32_t pid)
{
    struct task *task = NULL;
    bool there;

    if (type == ASYNC_GROUP) {
        lock_acquire(&kernel->lock);
        there = group_find_locked(kernel, pid) != NULL;
        lock_release(&kernel->lock);
        return there;
    }
    task = task_find(kernel, pid);
    there = task != NULL;
    task_unref(task);
    return there;
}

int async_set_owner(struct task *task, struct file *file, int type, int32_t pid)
{
    int32_t asked = pid;
    struct async *a;

    if (type < ASYNC_TID || type > ASYNC_GROUP)
        return -EINVAL;
    if (pid != 0)
        pid = task_global_pid(task, pid);
    if (asked != 0 && !exists(task->kernel, type, pid))
        return -ESRCH;
    a = async_make(task, file);
    if (!a)
        return -ENOMEM;
    lock_acquire(&a->lock);
    a->type = type;
    a->pid = pid;
    a->uid = task->cred->uid;
    a->euid = task->cred->euid;
    lock_release(&a->lock);
    return 0;
}

void async_get_owner(struct task *task, struct file *file, int *ret_type, int32_t *ret_pid)
{
    struct async *a = async_of(file);

    *ret_type = ASYNC_TID;
    *ret_pid = 0;
    if (!a)
        return;
    lock_acquire(&a->lock);
    *ret_type = a->type;
    *ret_pid = a->pid;
    lock_release(&a->lock);
    if (*ret_pid != 0 && !exists(task->kernel, *ret_type, *ret_pid))
        *ret_pid = 0;
}

int async_set_signal(struct task *task, struct file *file, uint64_t signo)
{
    struct async *a;

    if (signo > SIGNAL_COUNT)
        return -EINVAL;
    a = async_make(task, file);
    if (!a)
        return -ENOMEM;
    lock_acquire(&a->lock);
    a->signo = (int)signo;
    lock_release(&a->lock);
    return 0;
}

int async_get_signal(struct file *file)
{
    struct async *a = async_of(file);
    int signo = 0;

    if (a) {
        lock_acquire(&a->lock);
        signo = a->signo;
        lock_release(&a->lock);
    }
    return signo;
}

int async_prepare(struct task *task, struct file *file, int fd)
{
    struct async *a = async_make(task, file);
    bool owned;

    if (!a)
        return -ENOMEM;
    lock_acquire(&a->lock);
    a->fd = fd;
    owned = a->pid != 0;
    lock_release(&a->lock);
    return owned ? 0 : async_set_owner(task, file, ASYNC_PID, task->process->pid);
}

void async_forget(struct file *file)
{
    struct async *a = async_of(file);

    if (!a)
        return;
    lock_acquire(&a->lock);
    a->pid = 0;
    a->signo = 0;
    lock_release(&a->lock);
}

void async_post(struct file *file, uint32_t events)
{
    struct async *a = async_of(file);

    if (a)
        post(a, events);
}

/* As sk_send_sigurg(). */
void async_urgent(struct file *file)
{
    const siginfo_t info = {.si_signo = SIGURG};
    struct async *a = async_of(file);
    int32_t pid;
    int type;

    if (!a)
        return;
    lock_acquire(&a->lock);
    type = a->type;
    pid = a->pid;
    lock_release(&a->lock);
    send_to_owner(a, type, pid, &info);
    tell(a, POLL_PRI, POLLPRI | POLLRDBAND, false);
}

int async_switch(struct task *task, struct file *file, int fd, bool on)
{
    struct async *a = on ? async_make(task, file) : async_of(file);
    bool was_on;

    if (!file->ops->poll)
        return 0; /* nothing ever changes there */
    if (!a)
        return on ? -ENOMEM : 0;
    lock_acquire(&a->lock);
    was_on = a->on;
    a->on = on;
    a->fd = fd;
    /* Adding and removing take the queue's lock alone; the wake function takes none of ours. */
    if (on && !was_on)
        (void)file_poll(file, &a->entry);
    else if (!on && was_on)
        file_unpoll(file, &a->entry);
    lock_release(&a->lock);
    return 0;
}
