/* syslog(2): the kernel's log, not syslog(3)'s daemon. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "sentry/fs/dev/kmsg.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

enum syslog_action {
    ACTION_CLOSE,
    ACTION_OPEN,
    ACTION_READ,
    ACTION_READ_ALL,
    ACTION_READ_CLEAR,
    ACTION_CLEAR,
    ACTION_CONSOLE_OFF,
    ACTION_CONSOLE_ON,
    ACTION_CONSOLE_LEVEL,
    ACTION_SIZE_UNREAD,
    ACTION_SIZE_BUFFER,
};

#define CONSOLE_LEVEL_MAX 8
#define CONSOLE_LEVEL_MIN 1
#define CHUNK             4096

/* What ACTION_READ has come to: one reader's place for the whole sandbox, as on Linux. */
static struct {
    struct lock lock;
    uint64_t seq __guarded_by(lock);
    size_t offset __guarded_by(lock);
} reader = {.lock = LOCK_INIT};

/* Everybody may look at the whole log and ask for its size (kernel.dmesg_restrict is 0). */
static int check_permission(struct task *task, int action)
{
    if (action == ACTION_READ_ALL || action == ACTION_SIZE_BUFFER)
        return 0;
    return task_has_cap(task, CAP_SYSLOG) ? 0 : -EPERM;
}

static long read_once(struct task *task, uaddr_t buf, size_t size)
{
    char chunk[CHUNK];
    uint64_t seq;
    size_t offset, n;
    long done = 0;

    /* Copied without the lock: two that read at once may get the same lines, but nobody waits. */
    lock_acquire(&reader.lock);
    seq = reader.seq;
    offset = reader.offset;
    lock_release(&reader.lock);
    while ((size_t)done < size) {
        n = kmsg_read_lines(&seq, &offset, chunk, MIN(sizeof(chunk), size - (size_t)done));
        if (n == 0)
            break;
        if (copy_to_user(task->mm, buf + (size_t)done, chunk, n) < 0)
            return done ? done : -EFAULT;
        done += (long)n;
        lock_acquire(&reader.lock);
        reader.seq = seq;
        reader.offset = offset;
        lock_release(&reader.lock);
    }
    return done;
}

static long read_unread(struct task *task, uaddr_t buf, size_t size)
{
    struct wait_entry entry;
    long result;

    waiter_reset(&task->waiter);
    wait_entry_init(&entry, &task->waiter, 0);
    wait_queue_add(kmsg_queue(), &entry);
    while ((result = read_once(task, buf, size)) == 0) {
        result = task_block(task, UINT64_MAX);
        if (result < 0)
            break;
    }
    wait_queue_remove(kmsg_queue(), &entry);
    return result;
}

/* The last lines since the log was cleared, as many as fit. */
static long read_all(struct task *task, uaddr_t buf, size_t size, bool clear)
{
    uint64_t seq = kmsg_fit(kmsg_cleared(), size);
    char chunk[CHUNK];
    size_t offset = 0, n;
    long done = 0;

    while ((size_t)done < size &&
           (n = kmsg_read_lines(&seq, &offset, chunk, MIN(sizeof(chunk), size - (size_t)done)))) {
        if (copy_to_user(task->mm, buf + (size_t)done, chunk, n) < 0)
            return -EFAULT;
        done += (long)n;
    }
    if (clear)
        kmsg_clear();
    return done;
}

static long read_action(struct task *task, int action, uaddr_t buf, int size)
{
    uaddr_t max = task->kernel->mm_env->limits.user_max;

    if (!buf || size < 0)
        return -EINVAL;
    if (size == 0)
        return 0;
    if (buf > max || (size_t)size > max - buf)
        return -EFAULT;
    if (action == ACTION_READ)
        return read_unread(task, buf, (size_t)size);
    return read_all(task, buf, (size_t)size, action == ACTION_READ_CLEAR);
}

static long size_unread(void)
{
    uint64_t seq;
    size_t offset;

    lock_acquire(&reader.lock);
    seq = reader.seq;
    offset = reader.offset;
    lock_release(&reader.lock);
    return (long)kmsg_lines_size(seq, offset);
}

/* What "on" goes back to; 0: not switched off. */
static int saved_level;

static void switch_console(bool on)
{
    int saved = __atomic_load_n(&saved_level, __ATOMIC_RELAXED);

    if (on && saved) {
        kmsg_set_console_level(saved);
        __atomic_store_n(&saved_level, 0, __ATOMIC_RELAXED);
    } else if (!on) {
        if (!saved)
            __atomic_store_n(&saved_level, kmsg_console_level(), __ATOMIC_RELAXED);
        kmsg_set_console_level(CONSOLE_LEVEL_MIN);
    }
}

SYSCALL_DEFINE3(syslog, int, action, uaddr_t, buf, int, size)
{
    int error = check_permission(task, action);

    if (error < 0)
        return error;
    switch (action) {
    case ACTION_CLOSE:
    case ACTION_OPEN:
        return 0;
    case ACTION_CONSOLE_OFF:
    case ACTION_CONSOLE_ON:
        switch_console(action == ACTION_CONSOLE_ON);
        return 0;
    case ACTION_READ:
    case ACTION_READ_ALL:
    case ACTION_READ_CLEAR:
        return read_action(task, action, buf, size);
    case ACTION_CLEAR:
        kmsg_clear();
        return 0;
    case ACTION_CONSOLE_LEVEL:
        if (size < 1 || size > CONSOLE_LEVEL_MAX)
            return -EINVAL;
        kmsg_set_console_level(size);
        __atomic_store_n(&saved_level, 0, __ATOMIC_RELAXED);
        return 0;
    case ACTION_SIZE_UNREAD:
        return size_unread();
    case ACTION_SIZE_BUFFER:
        return KMSG_BUFFER_SIZE;
    default:
        return -EINVAL;
    }
}
