/*
 * Mount options of proc(5): hidepid and gid, by which processes are closed or hidden to those who
 * may not look into them. They are in the upper half of the root's key, where those of processes
 * have something else. subset=pid is another root.
 */
#include <errno.h>
#include <stdio.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/vfs/attr/identity.h"

#define GID_BITS   30
#define GID_SHIFT  32
#define KIND_SHIFT (GID_SHIFT + GID_BITS)
#define GID_MASK   ((1U << GID_BITS) - 1)

uint64_t proc_hide_key(const struct procfs_options *options)
{
    return (uint64_t)options->hide << KIND_SHIFT | (uint64_t)(options->gid & GID_MASK) << GID_SHIFT;
}

static enum procfs_hide kind_of(uint64_t root_key)
{
    return (enum procfs_hide)(root_key >> KIND_SHIFT);
}

static uint32_t gid_of(uint64_t root_key)
{
    return (uint32_t)(root_key >> GID_SHIFT) & GID_MASK;
}

/* has_pid_permissions(); of the Sentry itself only root may know. */
static bool may_see(uint64_t root_key, struct task *task)
{
    if (kind_of(root_key) == PROCFS_HIDE_NOTHING)
        return true;
    if (kind_of(root_key) != PROCFS_HIDE_UNTRACEABLE && vfs_in_group(gid_of(root_key)))
        return true;
    if (!task)
        return vfs_identity()->uid == 0;
    return ptrace_may_access(task_current(), task, PTRACE_READ_FSCREDS) == 0;
}

enum proc_visibility proc_visibility(uint64_t root_key, struct task *task)
{
    if (may_see(root_key, task))
        return PROC_OPEN;
    return kind_of(root_key) == PROCFS_HIDE_CONTENT ? PROC_CLOSED : PROC_HIDDEN;
}

/* A directory that is there, and that nobody enters. */
static int closed_find(uint64_t key, struct name name, const struct tree_node **ret_node,
                       uint64_t *ret_key)
{
    return -EPERM;
}

static int closed_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return -EPERM;
}

const struct tree_node proc_closed_node = {
    .name = "",
    .mode = S_IFDIR | 0555,
    .find = closed_find,
    .open_object = closed_open,
};

void proc_show_options(struct super_block *sb, char *buf, size_t size)
{
    static const char *const kinds[] = {"", ",hidepid=noaccess", ",hidepid=invisible",
                                        ",hidepid=ptraceable"};
    uint64_t key = treefs_key(sb->root);
    int at = 0;

    buf[0] = 0;
    if (gid_of(key))
        at = snprintf(buf, size, ",gid=%u", gid_of(key));
    snprintf(buf + at, size - (size_t)at, "%s%s", kinds[kind_of(key)],
             proc_is_subset(sb) ? ",subset=pid" : "");
}
