/* /proc/PID/cmdline, environ and auxv: what the program was started with, as its memory has it. */
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"

#define TEXT_AREA_MAX (128UL << 10) /* of cmdline and environ */

/* Copies out of the guest what lies in [start, end), as far as it can be read. */
static ssize_t area_text(struct mm *mm, uaddr_t start, uaddr_t end, char *buf, size_t size)
{
    uint64_t length = end > start ? MIN(end - start, TEXT_AREA_MAX) : 0;

    if (length > size)
        return (ssize_t)length;
    return (ssize_t)copy_from_user_partial(mm, buf, start, length);
}

/*
 * get_mm_cmdline(): a program that has written over the end of its arguments has given itself a
 * title, one string that may go on where the environment was.
 */
static ssize_t command_line(struct mm *mm, const struct mm_layout *l, char *buf, size_t size)
{
    uaddr_t end = l->env_end > l->arg_end && l->env_start == l->arg_end ? l->env_end : l->arg_end;
    ssize_t n;
    char last;

    if (l->arg_end <= l->arg_start || copy_from_user_partial(mm, &last, l->arg_end - 1, 1) != 1 ||
        !last)
        return area_text(mm, l->arg_start, l->arg_end, buf, size);
    n = area_text(mm, l->arg_start, end, buf, size);
    if (n < 0 || (size_t)n > size)
        return n;
    return MIN((ssize_t)strnlen(buf, (size_t)n) + 1, n); /* its end is part of it */
}

ssize_t proc_cmdline_text(uint64_t key, char *buf, size_t size)
{
    struct task *task = proc_find_task(key);
    struct mm *mm = task ? task_get_mm(task) : NULL;
    struct mm_layout layout;
    ssize_t n = 0;

    if (mm) {
        mm_get_layout(mm, &layout);
        n = command_line(mm, &layout, buf, size);
    }
    mm_unref(mm);
    task_unref(task);
    return n;
}

ssize_t proc_environ_text(uint64_t key, char *buf, size_t size)
{
    struct mm_layout layout;
    struct mm *mm;
    ssize_t n = proc_look_into_memory(key, &mm);

    if (n == 0 && mm) {
        mm_get_layout(mm, &layout);
        n = area_text(mm, layout.env_start, layout.env_end, buf, size);
    }
    if (n >= 0)
        mm_unref(mm);
    return n;
}

ssize_t proc_auxv_text(uint64_t key, char *buf, size_t size)
{
    struct mm_layout layout;
    struct mm *mm;
    ssize_t n = proc_look_into_memory(key, &mm);

    if (n < 0 || !mm)
        return n;
    mm_get_layout(mm, &layout);
    n = (ssize_t)(layout.auxv_count * 2 * sizeof(layout.auxv[0]));
    memcpy(buf, layout.auxv, MIN((size_t)n, size));
    mm_unref(mm);
    return n;
}
