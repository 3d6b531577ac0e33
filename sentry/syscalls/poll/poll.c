/* poll(2), ppoll(2). */
#include "sentry/syscalls/poll/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/personality.h>

#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

#define SIGSET_SIZE 8UL

/* One file that is waited for. */
struct waiting {
    struct file *file; /* owned; NULL: not open, or not asked for */
    struct wait_entry entry;
};

/* Looks at every file; with `enter`, is told of changes from now on. How many have events. */
static long look(struct pollfd *fds, struct waiting *w, unsigned count, bool enter)
{
    long ready = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t wanted = (uint16_t)fds[i].events | POLLERR | POLLHUP;

        if (fds[i].fd < 0)
            fds[i].revents = 0;
        else if (!w[i].file)
            fds[i].revents = POLLNVAL;
        else
            fds[i].revents = (short)(file_poll(w[i].file, enter ? &w[i].entry : NULL) & wanted);
        ready += fds[i].revents != 0;
    }
    return ready;
}

long poll_files(struct task *task, struct pollfd *fds, unsigned count, uint64_t deadline_ns)
{
    struct waiting *w = calloc(count ? count : 1, sizeof(*w));
    long ready;
    int err = 0;

    if (!w)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        uint32_t wanted = (uint16_t)fds[i].events | POLLERR | POLLHUP;

        wait_entry_init(&w[i].entry, &task->waiter, wanted);
        w[i].file = fds[i].fd < 0 ? NULL : task_file(task, fds[i].fd);
    }
    ready = look(fds, w, count, deadline_ns != 0);
    while (!ready && deadline_ns != 0 && err != -ETIMEDOUT) {
        err = task_block(task, deadline_ns);
        if (err < 0 && err != -ETIMEDOUT)
            break;
        ready = look(fds, w, count, false);
    }
    for (unsigned i = 0; i < count; i++) {
        if (w[i].file && deadline_ns != 0)
            file_unpoll(w[i].file, &w[i].entry);
        file_unref(w[i].file);
    }
    free(w);
    if (ready)
        return ready;
    return err < 0 && err != -ETIMEDOUT ? -EINTR : 0;
}

uint64_t poll_deadline(uint64_t timeout_ns)
{
    return timeout_ns ? time_add(time_monotonic_ns(), timeout_ns) : 0;
}

int poll_get_timeout(struct task *task, uaddr_t addr, uint64_t *ret_deadline_ns)
{
    struct timespec ts;

    if (!addr) {
        *ret_deadline_ns = TIME_NEVER;
        return 0;
    }
    if (copy_struct_from_user(task->mm, &ts, addr) < 0)
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    *ret_deadline_ns = poll_deadline(timespec_ns(&ts));
    return 0;
}

long poll_put_timeout(struct task *task, uaddr_t addr, uint64_t deadline_ns, long result)
{
    uint64_t now = time_monotonic_ns();
    struct timespec left = ns_timespec(deadline_ns > now ? deadline_ns - now : 0);

    if (!addr)
        return result;
    if (!(task->personality & STICKY_TIMEOUTS) && copy_struct_to_user(task->mm, addr, &left) == 0)
        return result;
    return result == -ERESTARTNOHAND ? -EINTR : result;
}

int poll_mask_set(struct task *task, uaddr_t set, size_t size, struct poll_mask *ret)
{
    uint64_t blocked;

    *ret = (struct poll_mask){false, 0};
    if (!set)
        return 0;
    if (size != SIGSET_SIZE)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &blocked, set) < 0)
        return -EFAULT;
    *ret = (struct poll_mask){true, task->blocked};
    signal_set_blocked(task, blocked & ~SIGNALS_UNBLOCKABLE);
    return 0;
}

long poll_mask_restore(struct task *task, const struct poll_mask *mask, long result)
{
    if (mask->changed && result == -EINTR) {
        task->saved_blocked = mask->saved;
        task->restore_blocked = true;
    } else if (mask->changed) {
        signal_set_blocked(task, mask->saved);
    }
    return result == -EINTR ? -ERESTARTNOHAND : result;
}

/* The array of a guest; -EINVAL for more entries than descriptors may be open. */
static int get_array(struct task *task, uaddr_t addr, unsigned count, struct pollfd **ret)
{
    size_t size = (size_t)count * sizeof(struct pollfd);
    struct pollfd *fds;

    if (count > task_rlimit(task, RLIMIT_NOFILE))
        return -EINVAL;
    fds = malloc(size ? size : 1);
    if (!fds)
        return -ENOMEM;
    if (copy_from_user(task->mm, fds, addr, size) < 0) {
        free(fds);
        return -EFAULT;
    }
    *ret = fds;
    return 0;
}

/* Only revents are written: the rest is the guest's. */
static int put_array(struct task *task, uaddr_t addr, unsigned count, const struct pollfd *fds)
{
    for (unsigned i = 0; i < count; i++) {
        uaddr_t at = addr + i * sizeof(struct pollfd) + offsetof(struct pollfd, revents);

        if (copy_struct_to_user(task->mm, at, &fds[i].revents) < 0)
            return -EFAULT;
    }
    return 0;
}

static long do_poll(struct task *task, uaddr_t addr, unsigned count, uint64_t deadline_ns)
{
    struct pollfd *fds;
    long ready = get_array(task, addr, count, &fds);

    if (ready < 0)
        return ready;
    ready = poll_files(task, fds, count, deadline_ns);
    if (ready >= 0 && put_array(task, addr, count, fds) < 0)
        ready = -EFAULT;
    free(fds);
    return ready;
}

static long poll_restart(struct task *task, struct restart_block *block);

/* poll(2) with an absolute deadline: interrupted, it goes on to the same one. */
static long poll_until(struct task *task, uaddr_t addr, unsigned count, uint64_t deadline_ns)
{
    long ready = do_poll(task, addr, count, deadline_ns);

    if (ready != -EINTR)
        return ready;
    task->restart = (struct restart_block){
        .fn = poll_restart, .addr = addr, .value = count, .deadline_ns = deadline_ns};
    return -ERESTART_RESTARTBLOCK;
}

static long poll_restart(struct task *task, struct restart_block *block)
{
    return poll_until(task, block->addr, block->value, block->deadline_ns);
}

SYSCALL_DEFINE3(poll, uaddr_t, fds, unsigned, count, int, timeout_ms)
{
    uint64_t deadline = timeout_ms < 0 ? TIME_NEVER : poll_deadline((uint64_t)timeout_ms * 1000000);

    return poll_until(task, fds, count, deadline);
}

SYSCALL_DEFINE5(ppoll, uaddr_t, fds, unsigned, count, uaddr_t, timeout, uaddr_t, sigmask, size_t,
                size)
{
    struct poll_mask mask;
    uint64_t deadline;
    long result;

    result = poll_get_timeout(task, timeout, &deadline);
    if (result < 0)
        return result;
    result = poll_mask_set(task, sigmask, size, &mask);
    if (result < 0)
        return result;
    result = do_poll(task, fds, count, deadline);
    result = poll_mask_restore(task, &mask, result);
    return poll_put_timeout(task, timeout, deadline, result);
}
