/* Files of /proc/sys that are a number. */
#ifndef SENTRY_FS_PROC_SYS_NUMBER_H
#define SENTRY_FS_PROC_SYS_NUMBER_H

#include <stdio.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/ns.h"

/*
 * `count` numbers in any base, white space around them, as Linux's proc_dointvec_minmax() takes
 * them. -EINVAL.
 */
int proc_parse_numbers(const char *text, int count, uint64_t *ret);

/* `place` is a uint64_t that is read and written whole. -EINVAL beyond the bounds. */
int proc_write_number(uint64_t *place, const char *text, uint64_t min, uint64_t max);
ssize_t proc_number_text(const uint64_t *place, char *buf, size_t size);

#define NUMBER(name, place, min, max)                                                              \
    static ssize_t name##_text(uint64_t key, char *buf, size_t size)                               \
    {                                                                                              \
        return proc_number_text(place, buf, size);                                                 \
    }                                                                                              \
    static int name##_write(uint64_t key, const char *text, size_t size)                           \
    {                                                                                              \
        return proc_write_number(place, text, min, max);                                           \
    }
#define NUMBER_FILE(name_, symbol)                                                                 \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = symbol##_text, .write = symbol##_write      \
    }

#define CONSTANT_TEXT(name, fmt, value)                                                            \
    static ssize_t name##_text(uint64_t key, char *buf, size_t size)                               \
    {                                                                                              \
        return snprintf(buf, size, fmt "\n", value);                                               \
    }

/* Those of the caller's namespace. */
static inline struct ipc_limits *proc_ipc_limits(void)
{
    return &task_ipc_ns(task_current())->limits;
}

#endif
