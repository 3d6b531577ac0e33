/* /proc/PID: one process, or with /proc/PID/task/TID one thread of it. The key is the number. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ptrace/ptrace.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/path/namei.h"

static_assert(KERNEL_PID_MAX == 1 << 15, "a number takes 15 bits of a key");

uint64_t proc_task_key(uint64_t key, const struct task *task)
{
    return (uint64_t)(uint32_t)task->process->serial << 32 |
           PROC_KEY(PROC_KEY_SLOT(key), task->tid);
}

struct task *proc_find_task(uint64_t key)
{
    struct task *task = task_find(task_current()->kernel, PROC_KEY_TID(key));

    if (task && key >> 32 && key >> 32 != (uint32_t)task->process->serial)
        return task_unref(task);
    return task;
}

/* Of the namespace that a /proc shows; the mount keeps it. */
static struct pid_ns *shown_ns(uint64_t key)
{
    return pid_ns_at(task_current()->kernel, PROC_KEY_SLOT(key));
}

int32_t proc_shown(uint64_t key, int32_t global)
{
    struct pid_ns *ns = shown_ns(key);
    int32_t number = ns ? pid_shown(ns, global) : 0;

    if (ns)
        ns_unref(&ns->ns);
    return number;
}

int32_t proc_global(uint64_t key, int32_t number)
{
    struct pid_ns *ns = shown_ns(key);
    int32_t global = ns ? pid_global(ns, number) : 0;

    if (ns)
        ns_unref(&ns->ns);
    return global;
}

void proc_print_numbers(struct proc_text *text, uint64_t key, int32_t global)
{
    struct pid_ns *ns = shown_ns(key);
    int32_t numbers[PID_NS_LEVEL_MAX + 1] = {0};
    int count = ns ? pid_numbers(ns, global, numbers) : 0;

    for (int i = 0; i < MAX(count, 1); i++)
        proc_printf(text, "\t%d", numbers[i]);
    if (ns)
        ns_unref(&ns->ns);
}

int proc_look_into(uint64_t tid, struct task **ret)
{
    struct task *task = proc_find_task(tid);

    if (!task)
        return -ESRCH;
    if (ptrace_may_access(task_current(), task, PTRACE_READ_FSCREDS) < 0) {
        task_unref(task);
        return -EACCES;
    }
    *ret = task;
    return 0;
}

int proc_look_into_memory(uint64_t tid, struct mm **ret)
{
    struct task *task;
    int err = proc_look_into(tid, &task);

    if (err < 0)
        return err;
    *ret = task_get_mm(task);
    task_unref(task);
    return 0;
}

void proc_task_owner(uint64_t tid, uint32_t *ret_uid, uint32_t *ret_gid)
{
    struct task *task = proc_find_task(tid);
    const struct cred *cred;

    if (!task)
        return;
    if (__atomic_load_n(&task->process->dumpable, __ATOMIC_RELAXED) == 1) {
        cred = task_get_cred(task);
        *ret_uid = cred->euid;
        *ret_gid = cred->egid;
        cred_unref(cred);
    }
    task_unref(task);
}

/* exe, cwd and root: what they lead to now. Empty when there is nothing. */
static struct path exe_path(struct task *task)
{
    struct process *process = task->process;
    struct path path = {NULL, NULL};

    lock_acquire(&process->lock);
    if (task->mm && process->exe && process->exe->at.dentry)
        path = path_ref(process->exe->at);
    lock_release(&process->lock);
    return path;
}

static struct path cwd_path(struct task *task)
{
    struct fs_context *fs = task_get_fs(task);
    struct path path = fs ? fs_context_cwd(fs) : (struct path){NULL, NULL};

    fs_context_unref(fs);
    return path;
}

static struct path root_path(struct task *task)
{
    struct fs_context *fs = task_get_fs(task);
    struct path path = fs ? fs_context_root(fs) : (struct path){NULL, NULL};

    fs_context_unref(fs);
    return path;
}

static int find_place(uint64_t tid, struct path (*place)(struct task *task), struct path *ret)
{
    struct task *task;
    int err = proc_look_into(tid, &task);

    if (err < 0)
        return err;
    *ret = place(task);
    task_unref(task);
    return ret->dentry ? 0 : -ENOENT;
}

static ssize_t place_readlink(uint64_t tid, struct path (*place)(struct task *task), char *buf,
                              size_t size)
{
    struct path path, root;
    ssize_t n = find_place(tid, place, &path);

    if (n < 0)
        return n;
    root = fs_context_root(task_current()->fs);
    n = path_to_link(&root, &path, buf, size);
    path_unref(&root);
    path_unref(&path);
    return n;
}

#define PLACE_LINK(name)                                                                           \
    static ssize_t name##_readlink(uint64_t key, char *buf, size_t size)                           \
    {                                                                                              \
        return place_readlink(key, name##_path, buf, size);                                        \
    }                                                                                              \
    static int name##_follow(uint64_t key, struct link_target *ret)                                \
    {                                                                                              \
        return find_place(key, name##_path, &ret->path);                                           \
    }
PLACE_LINK(exe)
PLACE_LINK(cwd)
PLACE_LINK(root)

static ssize_t comm_text(uint64_t key, char *buf, size_t size)
{
    struct task *task = proc_find_task(key);
    ssize_t n;

    if (!task)
        return -ESRCH;
    n = snprintf(buf, size, "%s\n", task->comm);
    task_unref(task);
    return n;
}

/* Threads name each other, other processes' not. */
static int comm_write(uint64_t key, const char *text, size_t size)
{
    struct task *task = proc_find_task(key);
    int err = -EINVAL;

    if (!task)
        return -ESRCH;
    if (task->process == task_current()->process) {
        lock_acquire(&task->process->lock);
        memset(task->comm, 0, sizeof(task->comm));
        memcpy(task->comm, text, strnlen(text, MIN(size, sizeof(task->comm) - 1)));
        lock_release(&task->process->lock);
        err = 0;
    }
    task_unref(task);
    return err;
}

static ssize_t personality_text(uint64_t key, char *buf, size_t size)
{
    struct task *task;
    ssize_t n = proc_look_into(key, &task);

    if (n < 0)
        return n;
    n = snprintf(buf, size, "%08x\n", task->personality);
    task_unref(task);
    return n;
}

/* Not even for who may look into the task: it is the Sentry's, as a Linux's is a Linux's. */
static ssize_t stack_text(uint64_t key, char *buf, size_t size)
{
    return -EACCES;
}

/* As seen from the reader's cgroup namespace. */
static ssize_t cgroup_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct cgroup *cg, *root;
    struct task *task;
    char path[PATH_MAX];

    task = proc_find_task(key);
    if (!task)
        return -ESRCH;
    cg = task_get_cgroup(task);
    root = task_cgroup_root(task_current());
    cgroup_path(cg, root, path, sizeof(path));
    proc_printf(&text, "0::%s%s\n", path,
                __atomic_load_n(&cg->removed, __ATOMIC_RELAXED) ? " (deleted)" : "");
    cgroup_unref(root);
    cgroup_unref(cg);
    task_unref(task);
    return (ssize_t)text.length;
}

/* Of the controller cpuset there is none, so that all are in its root. */
static ssize_t cpuset_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "/\n");
}

/* The Sentry's stack is nobody's business: as on a Linux without the symbols. */
static ssize_t wchan_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "0");
}

int proc_parse_number(struct name name, uint64_t limit, uint64_t *ret)
{
    uint64_t value = 0;

    if (name.size == 0 || name.size > 10 || (name.size > 1 && name.text[0] == '0'))
        return -ENOENT;
    for (size_t i = 0; i < name.size; i++) {
        if (name.text[i] < '0' || name.text[i] > '9')
            return -ENOENT;
        value = value * 10 + (uint64_t)(name.text[i] - '0');
    }
    *ret = value;
    return value < limit ? 0 : -ENOENT;
}

#define MAGIC_LINK(name_)                                                                          \
    {                                                                                              \
        .name = #name_, .mode = S_IFLNK | 0777, .readlink = name_##_readlink,                      \
        .follow = name_##_follow, .owner = proc_task_owner                                         \
    }
#define TASK_TEXT(name_, mode_, text_)                                                             \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | (mode_), .text = text_, .owner = proc_task_owner          \
    }
#define TASK_MAPS(name_)                                                                           \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0444, .text = proc_maps_text, .ioctl = proc_maps_ioctl,   \
        .owner = proc_task_owner                                                                   \
    }
/* Whether it may be read is said by read(2), as of what seq_file's single_open() shows. */
#define TASK_LATE(name_, mode_, text_)                                                             \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | (mode_), .text = text_, .text_at_read = true,             \
        .owner = proc_task_owner                                                                   \
    }
#define TASK_SET(name_, text_, write_)                                                             \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = text_, .write = write_,                     \
        .owner = proc_task_owner                                                                   \
    }
#define TASK_FILE(name_, mode_, open_)                                                             \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | (mode_), .open_object = open_, .owner = proc_task_owner   \
    }
#define TASK_DIR(name_, mode_, find_, list_)                                                       \
    {                                                                                              \
        .name = name_, .mode = S_IFDIR | (mode_), .find = find_, .list = list_,                    \
        .owner = proc_task_owner                                                                   \
    }

#define ID_FILE(name_, open_)                                                                      \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .open_object = open_, .owner = proc_task_owner      \
    }

/* What a thread has as well as a process. */
#define THREAD_NODES                                                                               \
    {.name = "attr",                                                                               \
     .mode = S_IFDIR | 0555,                                                                       \
     .children = proc_attr_nodes,                                                                  \
     .child_count = PROC_ATTR_NODES,                                                               \
     .owner = proc_task_owner},                                                                    \
        TASK_TEXT("auxv", 0400, proc_auxv_text), TASK_TEXT("cmdline", 0444, proc_cmdline_text),    \
        TASK_TEXT("cgroup", 0444, cgroup_text), TASK_SET("comm", comm_text, comm_write),           \
        TASK_TEXT("cpuset", 0444, cpuset_text),                                                    \
        TASK_SET("coredump_filter", proc_coredump_filter_text, proc_coredump_filter_write),        \
        MAGIC_LINK(cwd), TASK_TEXT("environ", 0400, proc_environ_text), MAGIC_LINK(exe),           \
        TASK_DIR("fd", 0500, proc_find_fd, proc_list_fds),                                         \
        TASK_DIR("fdinfo", 0555, proc_find_fdinfo, proc_list_fdinfo),                              \
        TASK_SET("loginuid", proc_loginuid_text, proc_loginuid_write),                             \
        TASK_TEXT("limits", 0444, proc_limits_text), TASK_MAPS("maps"),                            \
        TASK_FILE("mem", 0600, proc_mem_open), TASK_FILE("mountinfo", 0444, proc_mountinfo_open),  \
        TASK_FILE("mounts", 0444, proc_mounts_open),                                               \
        {.name = "net",                                                                            \
         .mode = S_IFDIR | 0555,                                                                   \
         .children = proc_net_nodes,                                                               \
         .child_count = ARRAY_COUNT(proc_net_nodes)},                                              \
        {.name = "ns",                                                                             \
         .mode = S_IFDIR | 0511,                                                                   \
         .children = proc_ns_nodes,                                                                \
         .child_count = ARRAY_COUNT(proc_ns_nodes),                                                \
         .owner = proc_task_owner},                                                                \
        TASK_TEXT("numa_maps", 0444, proc_numa_maps_text),                                         \
        TASK_SET("oom_adj", proc_oom_adj_text, proc_oom_adj_write),                                \
        TASK_TEXT("oom_score", 0444, proc_oom_score_text),                                         \
        TASK_SET("oom_score_adj", proc_oom_score_adj_text, proc_oom_score_adj_write),              \
        TASK_FILE("pagemap", 0400, proc_pagemap_open),                                             \
        TASK_LATE("personality", 0400, personality_text), MAGIC_LINK(root),                        \
        TASK_TEXT("sched", 0444, proc_sched_text),                                                 \
        TASK_TEXT("schedstat", 0444, proc_schedstat_text),                                         \
        TASK_TEXT("sessionid", 0444, proc_sessionid_text),                                         \
        TASK_TEXT("smaps", 0444, proc_smaps_text),                                                 \
        TASK_TEXT("smaps_rollup", 0444, proc_smaps_rollup_text),                                   \
        TASK_LATE("stack", 0400, stack_text), TASK_TEXT("stat", 0444, proc_stat_text),             \
        TASK_TEXT("statm", 0444, proc_statm_text), TASK_TEXT("status", 0444, proc_status_text),    \
        TASK_LATE("syscall", 0400, proc_syscall_text), TASK_TEXT("wchan", 0444, wchan_text),       \
        ID_FILE("uid_map", proc_uid_map_open), ID_FILE("gid_map", proc_gid_map_open),              \
        ID_FILE("projid_map", proc_projid_map_open), ID_FILE("setgroups", proc_setgroups_open)

static const struct tree_node thread_nodes[] = {
    THREAD_NODES,
    TASK_TEXT("children", 0444, proc_children_text),
    TASK_LATE("io", 0400, proc_thread_io_text),
};
static const struct tree_node thread_node = {
    .name = "",
    .mode = S_IFDIR | 0555,
    .children = thread_nodes,
    .child_count = ARRAY_COUNT(thread_nodes),
    .owner = proc_task_owner,
};

static int find_thread(uint64_t key, struct name name, const struct tree_node **ret_node,
                       uint64_t *ret_key)
{
    struct task *process, *thread;
    uint64_t tid;
    int err = proc_parse_number(name, KERNEL_PID_MAX, &tid);

    if (err < 0)
        return err;
    process = proc_find_task(key);
    thread = proc_find_task((uint64_t)proc_global(key, (int32_t)tid));
    if (process && thread && process->process == thread->process) {
        *ret_node = &thread_node;
        *ret_key = proc_task_key(key, thread);
    } else {
        err = -ENOENT;
    }
    task_unref(process);
    task_unref(thread);
    return err;
}

/* The lowest number of a thread that is at least `from`; -1: none. */
static int64_t next_thread(uint64_t key, int64_t from)
{
    struct task *task = proc_find_task(key), *thread;
    int64_t found = -1;

    if (!task)
        return -1;
    lock_acquire(&task->process->lock);
    list_for_each (thread, &task->process->threads, process_node) {
        int32_t tid = proc_shown(key, thread->tid);

        if (tid > 0 && tid >= from && (found < 0 || tid < found))
            found = tid;
    }
    lock_release(&task->process->lock);
    task_unref(task);
    return found;
}

static int64_t list_threads(uint64_t key, int64_t from, char *ret_name, size_t size,
                            const struct tree_node **ret_node)
{
    int64_t tid = next_thread(key, from);

    if (tid >= 0) {
        snprintf(ret_name, size, "%ld", tid);
        *ret_node = &thread_node;
    }
    return tid;
}

static const struct tree_node pid_nodes[] = {
    THREAD_NODES,
    TASK_LATE("io", 0400, proc_io_text),
    TASK_DIR("map_files", 0500, proc_find_mapping, proc_list_mappings),
    TASK_FILE("mountstats", 0400, proc_mountstats_open),
    TASK_SET("timens_offsets", proc_timens_text, proc_timens_write),
    TASK_TEXT("timers", 0444, proc_timers_text),
    TASK_DIR("task", 0555, find_thread, list_threads),
    {
        .name = "timerslack_ns",
        .mode = S_IFREG | 0666,
        .text = proc_timerslack_text,
        .write = proc_timerslack_write,
        .owner = proc_task_owner,
    },
};
const struct tree_node proc_pid_node = {
    .name = "",
    .mode = S_IFDIR | 0555,
    .children = pid_nodes,
    .child_count = ARRAY_COUNT(pid_nodes),
    .owner = proc_task_owner,
};
