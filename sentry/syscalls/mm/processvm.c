/* Another process's memory: process_vm_readv(2), process_vm_writev(2). */
#include <errno.h>
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define CHUNK (64UL << 10)

/* -ESRCH, -EPERM. */
static int get_mm(struct task *task, int pid, struct mm **ret)
{
    struct task *target = task_lookup(task, pid);
    int err = 0;

    if (!target)
        return -ESRCH;
    if (ptrace_may_access(task, target, PTRACE_ATTACH_REALCREDS) < 0)
        err = -EPERM;
    else if (!(*ret = task_get_mm(target)))
        err = -ESRCH;
    task_unref(target);
    return err;
}

/* One stretch of the other's memory, through `buf`. Bytes; fewer than `size`: something faulted. */
static uint64_t transfer(struct mm *mm, uaddr_t addr, uint64_t size, struct uio *local, bool write,
                         void *buf)
{
    uint64_t done = 0;

    while (done < size && local->left > 0) {
        uint64_t want = MIN(size - done, local->left), moved;
        ssize_t n;

        want = MIN(want, CHUNK);
        want = mm_not_secret(mm, addr + done, want);
        if (want == 0)
            break;
        if (write) {
            n = uio_copy_in(local, buf, want);
            moved = n > 0 ? copy_to_user_partial(mm, addr + done, buf, (size_t)n) : 0;
        } else {
            moved = copy_from_user_partial(mm, buf, addr + done, want);
            n = moved ? uio_copy_out(local, buf, moved) : 0;
            moved = n > 0 ? (uint64_t)n : 0;
        }
        done += moved;
        if (moved < want)
            break;
    }
    return done;
}

static long transfer_all(struct mm *mm, const struct uio *remote, struct uio *local, bool write)
{
    void *buf = malloc(CHUNK);
    uint64_t total = 0;
    bool fault = false;

    if (!buf)
        return -ENOMEM;
    for (uint32_t i = 0; i < remote->count && local->left > 0 && !fault; i++) {
        const struct uio_segment *s = &remote->segments[i];
        uint64_t want = MIN(s->size, local->left), done;

        done = transfer(mm, s->base, want, local, write, buf);
        total += done;
        fault = done < want;
    }
    free(buf);
    return fault && !total ? -EFAULT : (long)total;
}

static long process_vm(struct task *task, int pid, uaddr_t local_iov, uint64_t local_count,
                       uaddr_t remote_iov, uint64_t remote_count, uint64_t flags, bool write)
{
    struct uio local, remote;
    struct mm *mm = NULL;
    long result;

    if (flags)
        return -EINVAL;
    result = uio_import(&local, task->mm, local_iov, local_count);
    if (result < 0)
        return result;
    if (local.left == 0) {
        uio_release(&local);
        return 0;
    }
    /* As Linux: the other's addresses are looked at when they are used. */
    result = uio_import_remote(&remote, task->mm, remote_iov, remote_count);
    if (result < 0) {
        uio_release(&local);
        return result;
    }
    if (remote.left > 0)
        result = get_mm(task, pid, &mm);
    if (mm)
        result = transfer_all(mm, &remote, &local, write);
    mm_unref(mm);
    uio_release(&remote);
    uio_release(&local);
    return result;
}

SYSCALL_DEFINE6(process_vm_readv, int, pid, uaddr_t, local_iov, uint64_t, local_count, uaddr_t,
                remote_iov, uint64_t, remote_count, uint64_t, flags)
{
    return process_vm(task, pid, local_iov, local_count, remote_iov, remote_count, flags, false);
}

SYSCALL_DEFINE6(process_vm_writev, int, pid, uaddr_t, local_iov, uint64_t, local_count, uaddr_t,
                remote_iov, uint64_t, remote_count, uint64_t, flags)
{
    return process_vm(task, pid, local_iov, local_count, remote_iov, remote_count, flags, true);
}
