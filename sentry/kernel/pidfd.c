/*
 * A handle keeps its process (and thread) as an object, not as a number. The object says by itself
 * how far it has come, so poll(2) needs no lock of the kernel's: whoever changes that wakes
 * process->exit_events afterwards.
 *
 * A thread that execs takes its leader's number. A handle on the leader means the number, as on
 * Linux, so it goes on with the thread that took it; one on the other thread has come to its end.
 */
#include "sentry/kernel/pidfd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/plainstat.h"
#include "sentry/vfs/file.h"

#define PIDFS_MINOR          10
#define PIDFS_MAGIC          0x50494446

#define PIDFD_IOCTL_MAGIC    0xff
#define PIDFD_GET_INFO_NR    11
#define PIDFD_INFO_SIZE_MIN  64u
#define PIDFD_INFO_HAVE_PID  1u
#define PIDFD_INFO_HAVE_CRED 2u
#define PIDFD_INFO_HAVE_CGRP 4u
#define PIDFD_INFO_HAVE_EXIT 8u

struct guest_pidfd_info {
    uint64_t mask, cgroup;
    uint32_t pid, tgid, ppid;
    uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
    uint32_t coredump_mask, spare;
};
static_assert(sizeof(struct guest_pidfd_info) == 80 - 8, "struct pidfd_info");

struct pidfd {
    struct file file;
    struct process *process; /* owned reference */
    struct task *thread;     /* owned reference; NULL: the process, or the thread that leads it */
    int32_t tid;             /* of that thread; it may come to bear its leader's */
    bool is_thread;
};

static const struct file_operations pidfd_operations;

static struct pidfd *pidfd_of(struct file *f)
{
    return container_of(f, struct pidfd, file);
}

bool pidfd_is(const struct file *file)
{
    return file->ops == &pidfd_operations;
}

bool pidfd_is_thread(struct file *file)
{
    return pidfd_of(file)->is_thread;
}

bool pidfd_is_leader(struct file *file)
{
    return pidfd_of(file)->thread == NULL;
}

struct process *pidfd_process(struct file *file)
{
    return pidfd_of(file)->process;
}

static bool thread_gone(const struct pidfd *p)
{
    return __atomic_load_n(&p->thread->dead, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(&p->thread->tid, __ATOMIC_RELAXED) != p->tid;
}

struct task *pidfd_task(struct file *file)
{
    struct pidfd *p = pidfd_of(file);
    struct kernel *kernel = p->process->kernel;
    struct task *task;

    lock_acquire(&kernel->lock);
    if (p->thread)
        task = thread_gone(p) ? NULL : p->thread;
    else
        task = p->process->leader; /* NULL once reaped */
    if (task)
        task_ref(task);
    lock_release(&kernel->lock);
    return task;
}

/* The leader's death is read without a lock, and so without following process->leader. */
static uint32_t events_now(const struct pidfd *p)
{
    const struct process *process = p->process;
    bool ended;

    if (p->thread ? thread_gone(p) : __atomic_load_n(&process->reaped, __ATOMIC_ACQUIRE))
        return POLLIN | POLLRDNORM | POLLHUP;
    if (p->thread)
        return 0;
    ended = __atomic_load_n(&process->zombie, __ATOMIC_ACQUIRE) ||
            (p->is_thread && __atomic_load_n(&process->leader_dead, __ATOMIC_ACQUIRE));
    return ended ? POLLIN | POLLRDNORM : 0;
}

static uint32_t pidfd_poll(struct file *f, struct wait_entry *entry)
{
    struct pidfd *p = pidfd_of(f);

    if (entry)
        wait_queue_add(&p->process->exit_events, entry);
    return events_now(p);
}

static void pidfd_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&pidfd_of(f)->process->exit_events, entry);
}

/* One inode for all handles on one process or thread: compared to find out whether they are. */
static int pidfd_stat(struct file *f, struct linux_stat *ret)
{
    const struct pidfd *p = pidfd_of(f);

    *ret = (struct linux_stat){
        .st_dev = makedev(0, PIDFS_MINOR),
        .st_ino = p->thread ? p->thread->serial : p->process->serial,
        .st_nlink = 1,
        .st_mode = 0700, /* no type, as Linux says it */
        .st_blksize = 4096,
    };
    return 0;
}

static int pidfd_statfs(struct file *f, struct linux_statfs *ret)
{
    *ret = statfs_of_memory(PIDFS_MAGIC);
    return 0;
}

static uint64_t cgroup_id(struct task *task)
{
    struct cgroup *cg = task_get_cgroup(task);
    uint64_t id = cg->id;

    cgroup_unref(cg);
    return id;
}

static void fill_info(struct task *task, struct guest_pidfd_info *ret)
{
    struct process *process = task->process;
    const struct cred *cred = task_get_cred(task), *viewer = task_current()->cred;

    *ret = (struct guest_pidfd_info){
        .mask = PIDFD_INFO_HAVE_PID | PIDFD_INFO_HAVE_CRED | PIDFD_INFO_HAVE_CGRP,
        .cgroup = cgroup_id(task),
        .pid = (uint32_t)task_shown_pid(task_current(), task->tid),
        .tgid = (uint32_t)task_shown_pid(task_current(), process->pid),
        .ppid = (uint32_t)task_shown_pid(task_current(), process->parent_pid),
        .ruid = cred_shown_uid(viewer, cred->uid),
        .rgid = cred_shown_gid(viewer, cred->gid),
        .euid = cred_shown_uid(viewer, cred->euid),
        .egid = cred_shown_gid(viewer, cred->egid),
        .suid = cred_shown_uid(viewer, cred->suid),
        .sgid = cred_shown_gid(viewer, cred->sgid),
        .fsuid = cred_shown_uid(viewer, cred->fsuid),
        .fsgid = cred_shown_gid(viewer, cred->fsgid),
    };
    cred_unref(cred);
}

/* PIDFD_GET_INFO, whose number carries the size that the program knows. */
static long get_info(struct pidfd *p, struct mm *mm, uint32_t cmd, uaddr_t arg)
{
    struct guest_pidfd_info info = {0};
    struct task *task;
    uint64_t asked;

    if (!arg)
        return -EINVAL;
    if (copy_struct_from_user(mm, &asked, arg) < 0)
        return -EFAULT;
    /* pidfd_info() of 6.18: nobody hears of a process that is not in his namespace or below it. */
    if (!pid_ns_is_below(p->process->pid_ns, task_current()->process->pid_ns))
        return -ESRCH;
    task = pidfd_task(&p->file);
    if (task)
        fill_info(task, &info);
    else if (!p->thread && (asked & PIDFD_INFO_HAVE_EXIT)) {
        info.mask = PIDFD_INFO_HAVE_EXIT | PIDFD_INFO_HAVE_CGRP;
        info.cgroup = CGROUP_ROOT_ID;
        info.exit_code = p->process->exit_status;
    }
    task_unref(task);
    if (!info.mask)
        return -ESRCH;
    return copy_to_user(mm, arg, &info, MIN(_IOC_SIZE(cmd), sizeof(info)));
}

static long pidfd_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    if (_IOC_TYPE(cmd) == PIDFD_IOCTL_MAGIC && _IOC_NR(cmd) == PIDFD_GET_INFO_NR &&
        _IOC_DIR(cmd) == (_IOC_READ | _IOC_WRITE) && _IOC_SIZE(cmd) >= PIDFD_INFO_SIZE_MIN)
        return get_info(pidfd_of(f), mm, cmd, arg);
    return -ENOTTY;
}

static ssize_t pidfd_info(struct file *f, char *buf, size_t size)
{
    struct task *task = pidfd_task(f);
    struct pid_ns *ns = task_current()->process->pid_ns;
    int32_t numbers[PID_NS_LEVEL_MAX + 1];
    int count = task ? pid_numbers(ns, task->tid, numbers) : 0;
    int length = snprintf(buf, size, "Pid:\t%d\nNSpid:", count ? numbers[0] : task ? 0 : -1);

    if (count == 0)
        numbers[count++] = task ? 0 : -1;
    for (int i = 0; i < count; i++)
        length += snprintf(buf + length, size - (size_t)length, "\t%d", numbers[i]);
    length += snprintf(buf + length, size - (size_t)length, "\n");
    task_unref(task);
    return length;
}

static void pidfd_release(struct file *f)
{
    struct pidfd *p = pidfd_of(f);

    file_fini(f);
    task_unref(p->thread);
    process_unref(p->process);
    free(p);
}

static const struct file_operations pidfd_operations = {
    .poll = pidfd_poll,
    .unpoll = pidfd_unpoll,
    .stat = pidfd_stat,
    .statfs = pidfd_statfs,
    .ioctl = pidfd_ioctl,
    .info = pidfd_info,
    .release = pidfd_release,
};

int pidfd_create(struct task *task, unsigned flags, struct file **ret)
{
    struct process *process = task->process;
    struct pidfd *p = calloc(1, sizeof(*p));
    char *name = strdup("anon_inode:[pidfd]");
    bool leads, gone;

    if (!p || !name) {
        free(p);
        free(name);
        return -ENOMEM;
    }
    lock_acquire(&process->kernel->lock);
    leads = process->leader == task;
    gone = leads ? process->reaped : task->dead;
    lock_release(&process->kernel->lock);
    if (gone || (!leads && !(flags & PIDFD_FLAG_THREAD))) {
        free(p);
        free(name);
        return gone ? -ESRCH : -ENOENT;
    }
    file_init(&p->file, &pidfd_operations, O_RDWR | (flags & PIDFD_FLAG_NONBLOCK));
    p->file.path = name;
    p->process = process_ref(process);
    p->is_thread = flags & PIDFD_FLAG_THREAD;
    p->thread = leads ? NULL : task_ref(task);
    p->tid = task->tid;
    *ret = &p->file;
    return 0;
}

/* With kernel->lock. */
static uint64_t ino_of(const struct task *task)
{
    return task->process->leader == task ? task->process->serial : task->serial;
}

int pidfd_create_by_ino(struct task *asker, uint64_t ino, unsigned flags, struct file **ret)
{
    struct pid_ns *ns = asker->process->pid_ns;
    struct kernel *kernel = asker->kernel;
    struct task *found = NULL;
    int err = -ESTALE;

    lock_acquire(&kernel->lock);
    for (int32_t tid = 1; tid < KERNEL_PID_MAX && !found; tid++) {
        if (kernel->pids[tid] && ino_of(kernel->pids[tid]) == ino)
            found = task_ref(kernel->pids[tid]);
    }
    if (found && found->process->leader != found)
        flags |= PIDFD_FLAG_THREAD;
    lock_release(&kernel->lock);
    if (found && pid_shown(ns, found->tid) != 0)
        err = pidfd_create(found, flags, ret);
    task_unref(found);
    return err == -ESRCH || err == -ENOENT ? -ESTALE : err;
}
