/*
 * perf_event_open(2) where kernel.perf_event_paranoid is 3, as Debian has it: a program without
 * privileges counts nothing. The attributes are checked before the right, as in
 * kernel/events/core.c.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>

#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define FLAGS_ALL  0xfUL /* PERF_FLAG_FD_NO_GROUP to FD_CLOEXEC */
#define ATTR_SIZE  136u  /* struct perf_event_attr of Linux 6.18 */
#define SAMPLE_ALL ((1UL << 25) - 1)
#define FORMAT_ALL 0x1fUL

/* The size that is known, for a caller who passed another. */
static long tell_size(struct task *task, uaddr_t ptr)
{
    const uint32_t size = ATTR_SIZE;

    return copy_to_user(task->mm, ptr + offsetof(struct perf_event_attr, size), &size,
                        sizeof(size)) < 0
               ? -EFAULT
               : -E2BIG;
}

static long check_attr(struct task *task, uaddr_t ptr)
{
    struct perf_event_attr attr;
    uint32_t size;
    uint8_t rest;

    memset(&attr, 0, sizeof(attr));
    if (copy_from_user(task->mm, &size, ptr + offsetof(struct perf_event_attr, size), 4) < 0)
        return -EFAULT;
    if (size == 0)
        size = PERF_ATTR_SIZE_VER0;
    if (size < PERF_ATTR_SIZE_VER0 || size > PAGE_SIZE)
        return tell_size(task, ptr);
    for (uint32_t at = ATTR_SIZE; at < size; at++) {
        if (copy_struct_from_user(task->mm, &rest, ptr + at) < 0)
            return -EFAULT;
        if (rest)
            return tell_size(task, ptr);
    }
    if (copy_from_user(task->mm, &attr, ptr, MIN(size, sizeof(attr))) < 0)
        return -EFAULT;
    if (attr.__reserved_2 || attr.sample_type & ~SAMPLE_ALL || attr.read_format & ~FORMAT_ALL)
        return -EINVAL;
    return 0;
}

SYSCALL_DEFINE5(perf_event_open, uaddr_t, ptr, int, pid, int, cpu, int, group, unsigned long, flags)
{
    long error;

    if (flags & ~FLAGS_ALL)
        return -EINVAL;
    error = check_attr(task, ptr);
    return error < 0 ? error : -EACCES;
}
