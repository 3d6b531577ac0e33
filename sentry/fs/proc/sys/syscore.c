/* /proc/sys/kernel/core_pattern and core_uses_pid: core(5). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/core.h"

ssize_t proc_core_pattern_text(uint64_t key, char *buf, size_t size)
{
    char pattern[CORE_PATTERN_SIZE];

    core_get_pattern(pattern);
    return snprintf(buf, size, "%s\n", pattern);
}

int proc_core_pattern_write(uint64_t key, const char *text, size_t size)
{
    core_set_pattern(text);
    return 0;
}

ssize_t proc_core_uses_pid_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%u\n", __atomic_load_n(&core_uses_pid, __ATOMIC_RELAXED));
}

int proc_core_uses_pid_write(uint64_t key, const char *text, size_t size)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || (*end && *end != '\n'))
        return -EINVAL;
    __atomic_store_n(&core_uses_pid, value != 0, __ATOMIC_RELAXED);
    return 0;
}
