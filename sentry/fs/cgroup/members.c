/* cgroup.procs and cgroup.threads: who is in a group, and the way into it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "sentry/fs/cgroup/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"

/* Numbers as the reader has them, ascending, each once; who is not seen from there is 0. */
static ssize_t put_numbers(struct task **tasks, size_t count, bool processes, char *buf,
                           size_t size)
{
    uint32_t *numbers = malloc((count + 1) * sizeof(*numbers));
    size_t at = 0;

    if (!numbers)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        numbers[i] = (uint32_t)task_shown_pid(task_current(),
                                              processes ? tasks[i]->process->pid : tasks[i]->tid);
    sort_u32(numbers, count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && numbers[i] == numbers[i - 1] && numbers[i])
            continue;
        at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, "%u\n",
                               numbers[i]);
    }
    free(numbers);
    return (ssize_t)at;
}

/* A domain shows the processes of its threaded groups as its own: those are below. */
static ssize_t put_members(uint64_t key, bool processes, char *buf, size_t size)
{
    struct task **tasks = NULL;
    size_t count = 0;
    struct cgroup *cg;
    ssize_t n = cgroupfs_get(key, &cg);
    bool threaded;

    if (n < 0)
        return n;
    threaded = cg->threaded; /* never changes back */
    if (processes && threaded)
        n = -EOPNOTSUPP;
    else
        n = cgroup_members(cg, false, &tasks, &count);
    if (n == 0)
        n = put_numbers(tasks, count, processes, buf, size);
    cgroup_members_free(tasks, count);
    cgroup_unref(cg);
    return n;
}

ssize_t cgroupfs_procs_text(uint64_t key, char *buf, size_t size)
{
    return put_members(key, true, buf, size);
}

ssize_t cgroupfs_threads_text(uint64_t key, char *buf, size_t size)
{
    return put_members(key, false, buf, size);
}

static int move(uint64_t key, const char *text, bool process)
{
    struct cgroup *cg;
    char *end;
    long pid;
    int err = cgroupfs_get(key, &cg);

    if (err < 0)
        return err;
    errno = 0;
    pid = strtol(text, &end, 0);
    if (end == text || end[strspn(end, " \t\n")] || errno || pid < 0 || pid > INT32_MAX)
        err = -EINVAL;
    else
        err = cgroup_attach(cg, (int32_t)pid, process);
    cgroup_unref(cg);
    return err;
}

int cgroupfs_procs_write(uint64_t key, const char *text, size_t size)
{
    return move(key, text, true);
}

int cgroupfs_threads_write(uint64_t key, const char *text, size_t size)
{
    return move(key, text, false);
}
