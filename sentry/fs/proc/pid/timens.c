/* /proc/PID/timens_offsets: the clocks of the namespace that its children will be in. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/timens.h"

#define LINES_MAX 2

ssize_t proc_timens_text(uint64_t key, char *buf, size_t size)
{
    struct task *task = proc_find_task(key);
    struct ns *ns = task ? task_get_child_ns(task, NS_TIME) : NULL;
    struct time_offset monotonic, boottime;

    task_unref(task);
    if (!ns)
        return -ESRCH;
    monotonic = time_ns_offset(time_ns_of(ns), CLOCK_MONOTONIC);
    boottime = time_ns_offset(time_ns_of(ns), CLOCK_BOOTTIME);
    ns_unref(ns);
    return snprintf(buf, size, "%-10s %10ld %9ld\n%-10s %10ld %9ld\n", "monotonic", monotonic.sec,
                    monotonic.ns, "boottime", boottime.sec, boottime.ns);
}

/* "CLOCK SECONDS NANOSECONDS"; the clock by name or number. */
static int parse_line(const char *line, clockid_t *ret_clock, struct time_offset *ret)
{
    char clock[16], rest;
    long sec, ns;

    if (sscanf(line, "%9s %ld %ld %c", clock, &sec, &ns, &rest) != 3)
        return -EINVAL;
    if (ns < 0)
        return -EINVAL;
    if (strcmp(clock, "monotonic") == 0 || strcmp(clock, "1") == 0)
        *ret_clock = CLOCK_MONOTONIC;
    else if (strcmp(clock, "boottime") == 0 || strcmp(clock, "7") == 0)
        *ret_clock = CLOCK_BOOTTIME;
    else
        return -EINVAL;
    *ret = (struct time_offset){sec, ns};
    return 0;
}

static int parse(const char *text, clockid_t clocks[LINES_MAX],
                 struct time_offset offsets[LINES_MAX])
{
    int count = 0;

    while (*text) {
        size_t length = strcspn(text, "\n");
        char line[80];

        if (count == LINES_MAX || length >= sizeof(line))
            return -EINVAL;
        memcpy(line, text, length);
        line[length] = '\0';
        if (parse_line(line, &clocks[count], &offsets[count]) < 0)
            return -EINVAL;
        count++;
        text += length + (text[length] == '\n');
    }
    return count;
}

int proc_timens_write(uint64_t key, const char *text, size_t size)
{
    struct time_offset offsets[LINES_MAX];
    clockid_t clocks[LINES_MAX];
    int count = parse(text, clocks, offsets), err;
    struct task *task;
    struct ns *ns;

    if (count < 0)
        return count;
    task = proc_find_task(key);
    ns = task ? task_get_child_ns(task, NS_TIME) : NULL;
    task_unref(task);
    if (!ns)
        return -ESRCH;
    if (!task_has_ns_cap(task_current(), ns->owner, CAP_SYS_TIME))
        err = -EPERM;
    else
        err = time_ns_set_offsets(time_ns_of(ns), clocks, offsets, count);
    ns_unref(ns);
    return err;
}
