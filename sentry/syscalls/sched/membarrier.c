/*
 * membarrier(2): every thread that runs in the guest passes a full memory barrier before the call
 * returns. A thread in the Sentry passes one on its way to the guest (task_run() raises `in_guest`
 * with sequential consistency); one in the guest is fetched out of it, and its leaving counted.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>

#include "host/thread.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/syscalls/define.h"

#define CMD_GET_REGISTRATIONS (1 << 9) /* Linux 6.3 */
#define SUPPORTED                                                                                  \
    (MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |                                     \
     MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED |                 \
     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE |      \
     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ | \
     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ | CMD_GET_REGISTRATIONS)

struct running {
    struct task *task; /* a reference */
    uint32_t switches; /* how often it had left the guest before we interrupted it */
};

/* Interrupts the threads of one process that are in the guest, and appends them to `list`. */
static size_t fetch_process(struct process *process, struct task *self, bool rseq,
                            struct running *list, size_t room)
{
    struct task *task;
    size_t count = 0;

    lock_acquire(&process->lock);
    list_for_each (task, &process->threads, process_node) {
        /* Before it is in the guest again: it may have left it in the middle of a sequence. */
        if (rseq && task != self)
            __atomic_fetch_or(&task->work, TASK_WORK_RSEQ, __ATOMIC_SEQ_CST);
        if (task == self || count == room || !__atomic_load_n(&task->in_guest, __ATOMIC_SEQ_CST))
            continue;
        list[count++] = (struct running){
            .task = task_ref(task),
            .switches = __atomic_load_n(&task->switches, __ATOMIC_ACQUIRE),
        };
        task->ctx->ops->ctx_interrupt(task->ctx);
    }
    lock_release(&process->lock);
    return count;
}

static void await(struct running *running)
{
    struct task *task = running->task;

    while (__atomic_load_n(&task->in_guest, __ATOMIC_SEQ_CST) &&
           __atomic_load_n(&task->switches, __ATOMIC_ACQUIRE) == running->switches)
        host_yield();
    task_unref(task);
}

static long barrier_everywhere(struct task *self, bool only_own, bool rseq)
{
    struct kernel *kernel = self->kernel;
    struct running *list;
    size_t count = 0, room;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    lock_acquire(&kernel->lock);
    room = kernel->task_count;
    list = malloc((room + 1) * sizeof(*list));
    if (!list) {
        lock_release(&kernel->lock);
        return -ENOMEM;
    }
    /* The number of tasks cannot grow while the lock is held. */
    if (only_own) {
        count = fetch_process(self->process, self, rseq, list, room);
    } else {
        for (int pid = 1; pid < KERNEL_PID_MAX; pid++) {
            struct task *task = kernel->pids[pid];

            if (task && task->process->leader == task)
                count += fetch_process(task->process, self, rseq, list + count, room - count);
        }
    }
    lock_release(&kernel->lock);
    for (size_t i = 0; i < count; i++)
        await(&list[i]);
    free(list);
    return 0;
}

SYSCALL_DEFINE3(membarrier, int, cmd, unsigned, flags, int, cpu)
{
    struct process *process = task->process;

    /* With the flag, of the threads on one processor; all of them will do. */
    if (flags && (cmd != MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ || flags != MEMBARRIER_CMD_FLAG_CPU))
        return -EINVAL;
    switch (cmd) {
    case MEMBARRIER_CMD_QUERY:
        return SUPPORTED;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        return barrier_everywhere(task, false, false);
    case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
        __atomic_fetch_or(&process->membarrier_registered, (uint32_t)cmd, __ATOMIC_RELAXED);
        return 0; /* every process is reached anyway */
    case CMD_GET_REGISTRATIONS:
        return __atomic_load_n(&process->membarrier_registered, __ATOMIC_RELAXED);
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ:
        __atomic_fetch_or(&process->membarrier_registered, (uint32_t)cmd, __ATOMIC_RELAXED);
        return 0;
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ:
        /* Each command's registration is the next bit. */
        if (!(__atomic_load_n(&process->membarrier_registered, __ATOMIC_RELAXED) & (uint32_t)cmd
                                                                                       << 1))
            return -EPERM;
        return barrier_everywhere(task, true, cmd == MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ);
    default:
        return -EINVAL;
    }
}
