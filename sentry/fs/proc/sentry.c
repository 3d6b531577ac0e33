/*
 * /proc/1 of the first pid namespace: the Sentry itself, parent of the first program and of
 * orphans. It is no task; what ps(1) and its like read of any process is there, and nothing else.
 */
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"

#define NAME "kvmsentry"

static ssize_t comm_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, NAME "\n");
}

static ssize_t cmdline_text(uint64_t key, char *buf, size_t size)
{
    memcpy(buf, NAME, MIN(size, sizeof(NAME)));
    return sizeof(NAME);
}

static ssize_t cgroup_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "0::/\n");
}

/* Its memory and its time are the host's affair. */
static ssize_t statm_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "0 0 0 0 0 0 0\n");
}

static ssize_t stat_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size,
                    "%d (" NAME ") S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 0 0 0 "
                    "18446744073709551615 0 0 0 0 0 0 0 4096 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 "
                    "0\n",
                    KERNEL_PID_SENTRY);
}

static ssize_t status_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size,
                    "Name:\t" NAME "\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t1\nNgid:\t0\n"
                    "Pid:\t1\nPPid:\t0\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n"
                    "FDSize:\t0\nGroups:\t \nNStgid:\t1\nNSpid:\t1\nNSpgid:\t1\nNSsid:\t1\n"
                    "Kthread:\t0\nThreads:\t1\n");
}

static const struct tree_node nodes[] = {
    TREE_TEXT("cgroup", cgroup_text), TREE_TEXT("cmdline", cmdline_text),
    TREE_TEXT("comm", comm_text),     TREE_TEXT("stat", stat_text),
    TREE_TEXT("statm", statm_text),   TREE_TEXT("status", status_text),
};

const struct tree_node proc_sentry_node = {
    .name = "",
    .mode = S_IFDIR | 0555,
    .children = nodes,
    .child_count = ARRAY_COUNT(nodes),
};
