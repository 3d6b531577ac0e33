/* The root of /proc: what is about the whole sandbox. */
#include "sentry/fs/proc/proc.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/loop/loop.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/vfs/fstype.h"

#define PROC_MINOR 17 /* st_dev of the tree */
#define CLOSED_KEY                                                                                 \
    (1UL << 63) /* a process's directory that one may not enter is another object                  \
                 */

void proc_printf(struct proc_text *text, const char *fmt, ...)
{
    size_t room = text->length < text->size ? text->size - text->length : 0;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(room ? text->buf + text->length : NULL, room, fmt, ap);
    va_end(ap);
    text->length += (size_t)MAX(n, 0);
}

static ssize_t self_readlink(uint64_t key, char *buf, size_t size)
{
    int32_t pid = proc_shown(key, task_current()->process->pid);

    return pid ? snprintf(buf, size, "%d", pid) : -ENOENT;
}

static ssize_t thread_self_readlink(uint64_t key, char *buf, size_t size)
{
    struct task *task = task_current();

    int32_t pid = proc_shown(key, task->process->pid), tid = proc_shown(key, task->tid);

    return pid ? snprintf(buf, size, "%d/task/%d", pid, tid) : -ENOENT;
}

static ssize_t version_text(uint64_t key, char *buf, size_t size)
{
    struct kernel *kernel = task_current()->kernel;

    return snprintf(buf, size, "Linux version %s (kvmsentry@sandbox) (cc) %s\n", kernel->release,
                    kernel->version);
}

static ssize_t filesystems_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    const struct fs_type *type;

    for (unsigned i = 0; (type = fs_type_at(i)) != NULL; i++)
        proc_printf(&text, "nodev\t%s\n", type->name);
    return (ssize_t)text.length;
}

/* proc_cgroupstats_show(): all of the second version's hierarchy. */
static ssize_t cgroups_text(uint64_t key, char *buf, size_t size)
{
    uint64_t count;

    cgroup_lock();
    count = cgroup_root()->descendants + 1;
    cgroup_unlock();
    return snprintf(buf, size,
                    "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t%lu\t1\n"
                    "pids\t0\t%lu\t1\n",
                    count, count);
}

/* A process's directory exists while it has tasks. Threads are found by name, but not listed. */
static int find_pid(uint64_t key, struct name name, const struct tree_node **ret_node,
                    uint64_t *ret_key)
{
    enum proc_visibility seen;
    uint64_t root_key = key;
    char digits[12];
    struct task *task;
    char *end;
    long tid;

    if (name.size == 0 || name.size >= sizeof(digits) || name.text[0] < '1' || name.text[0] > '9')
        return -ENOENT;
    memcpy(digits, name.text, name.size);
    digits[name.size] = '\0';
    tid = strtol(digits, &end, 10);
    if (*end || tid >= KERNEL_PID_MAX)
        return -ENOENT;
    key = PROC_KEY(PROC_KEY_SLOT(key), proc_global(key, (int32_t)tid));
    if (key == PROC_KEY(0, KERNEL_PID_SENTRY)) {
        if (proc_visibility(root_key, NULL) == PROC_HIDDEN)
            return -ENOENT;
        *ret_node = &proc_sentry_node;
        *ret_key = key;
        return 0;
    }
    task = proc_find_task(key);
    if (!task)
        return -ENOENT;
    seen = proc_visibility(root_key, task);
    *ret_node = seen == PROC_OPEN ? &proc_pid_node : &proc_closed_node;
    *ret_key = proc_task_key(key, task) ^ (seen == PROC_OPEN ? 0 : CLOSED_KEY);
    task_unref(task);
    return seen == PROC_HIDDEN ? -ENOENT : 0;
}

static int64_t list_pids(uint64_t key, int64_t from, char *ret_name, size_t size,
                         const struct tree_node **ret_node)
{
    for (int64_t tid = MAX(from, (int64_t)1); tid < KERNEL_PID_MAX; tid++) {
        int32_t global = proc_global(key, (int32_t)tid);
        struct task *task = proc_find_task((uint64_t)global);
        bool sentry = PROC_KEY_SLOT(key) == 0 && tid == KERNEL_PID_SENTRY;
        bool leader = task && task->process->pid == global;

        if ((leader || sentry) && proc_visibility(key, task) == PROC_HIDDEN)
            leader = sentry = false;
        task_unref(task);
        if (leader || sentry) {
            snprintf(ret_name, size, "%ld", tid);
            *ret_node = sentry ? &proc_sentry_node : &proc_pid_node;
            return tid;
        }
    }
    return -1;
}

/* Block devices that have blocks. */
static ssize_t partitions_text(uint64_t key, char *buf, size_t size)
{
    size_t used = 0;

    for (int64_t n = loop_next(0); n >= 0; n = loop_next((uint64_t)n + 1)) {
        struct loop_view view;

        if (!loop_look((uint64_t)n, &view) || view.size == 0)
            continue;
        if (used == 0)
            used = (size_t)snprintf(buf, size, "major minor  #blocks  name\n\n");
        used += (size_t)snprintf(used < size ? buf + used : NULL, used < size ? size - used : 0,
                                 "%4d  %7ld %10lu loop%ld\n", LOOP_MAJOR, n, view.size / 1024, n);
    }
    return (ssize_t)used;
}

#define EMPTY_DIR(name_)                                                                           \
    {                                                                                              \
        .name = name_, .mode = S_IFDIR | 0555                                                      \
    }
/* There are no slabs and no areas of vmalloc(): the lists of both are empty. */
#define SLABINFO_HEAD                                                                              \
    "slabinfo - version: 2.1\n"                                                                    \
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables " \
    "<limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n"

static const struct tree_node root_nodes[] = {
    TREE_TEXT("buddyinfo", proc_buddyinfo_text),
    EMPTY_DIR("bus"),
    TREE_TEXT("cgroups", cgroups_text),
    TREE_FIXED("cmdline", "\n"),
    TREE_TEXT("config.gz", proc_config_text),
    TREE_FIXED("consoles", ""),
    TREE_TEXT("cpuinfo", proc_cpuinfo_text),
    TREE_FIXED("devices", "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n"
                          "  5 /dev/ptmx\n128 ptm\n136 pts\n\nBlock devices:\n  7 loop\n"),
    TREE_FIXED("diskstats", ""),
    EMPTY_DIR("driver"),
    TREE_FIXED("execdomains", "0-0\tLinux           \t[kernel]\n"),
    TREE_TEXT("filesystems", filesystems_text),
    EMPTY_DIR("fs"),
    TREE_TEXT("interrupts", proc_interrupts_text),
    TREE_FIXED("iomem", ""),
    TREE_FIXED("ioports", ""),
    EMPTY_DIR("irq"),
    TREE_TEXT("key-users", proc_key_users_text),
    TREE_TEXT("keys", proc_keys_text),
    TREE_TEXT("loadavg", proc_loadavg_text),
    TREE_TEXT("locks", proc_locks_text),
    TREE_TEXT("meminfo", proc_meminfo_text),
    TREE_FIXED("misc", "258 vsock\n257 userfaultfd\n237 loop-control\n"),
    TREE_FIXED("modules", ""),
    TREE_LINK("mounts", "self/mounts"),
    TREE_LINK("net", "self/net"),
    TREE_TEXT("partitions", partitions_text),
    {.name = "self", .mode = S_IFLNK | 0777, .readlink = self_readlink},
    {.name = "slabinfo", .mode = S_IFREG | 0400, .fixed = SLABINFO_HEAD},
    TREE_TEXT("softirqs", proc_softirqs_text),
    TREE_TEXT("stat", proc_stat_text_all),
    TREE_FIXED("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    TREE_DIR("sys", proc_sys_nodes),
    TREE_DIR("sysvipc", proc_sysvipc_nodes),
    {.name = "thread-self", .mode = S_IFLNK | 0777, .readlink = thread_self_readlink},
    TREE_DIR("tty", proc_tty_nodes),
    TREE_TEXT("uptime", proc_uptime_text),
    TREE_TEXT("version", version_text),
    {.name = "vmallocinfo", .mode = S_IFREG | 0400, .fixed = ""},
    TREE_TEXT("vmstat", proc_vmstat_text),
    TREE_TEXT("zoneinfo", proc_zoneinfo_text),
};

static const struct tree_node root = {
    .name = "",
    .mode = S_IFDIR | 0555,
    .children = root_nodes,
    .child_count = ARRAY_COUNT(root_nodes),
    .find = find_pid,
    .list = list_pids,
};

/* subset=pid */
static const struct tree_node subset_nodes[] = {
    {.name = "self", .mode = S_IFLNK | 0777, .readlink = self_readlink},
    {.name = "thread-self", .mode = S_IFLNK | 0777, .readlink = thread_self_readlink},
};
static const struct tree_node subset_root = {
    .name = "",
    .mode = S_IFDIR | 0555,
    .children = subset_nodes,
    .child_count = ARRAY_COUNT(subset_nodes),
    .find = find_pid,
    .list = list_pids,
};

bool proc_is_subset(const struct super_block *sb)
{
    return treefs_node(sb->root) == &subset_root;
}

enum procfs_process procfs_process_of(const struct file *file, struct task **ret)
{
    uint64_t key;
    const struct tree_node *node = treefs_dir_node(file, &key);

    if (node == &proc_sentry_node)
        return PROCFS_SENTRY;
    if (node != &proc_pid_node)
        return PROCFS_NONE;
    *ret = proc_find_task(key);
    return PROCFS_TASK;
}

static void drop_ns(void *arg)
{
    struct pid_ns *ns = arg;

    ns_unref(&ns->ns);
}

int procfs_create(struct pid_ns *ns, const struct procfs_options *options, struct super_block **ret)
{
    const struct tree_config config = {
        .root = options && options->subset_pid ? &subset_root : &root,
        .key = PROC_KEY(ns ? ns->slot : 0, 0) | (options ? proc_hide_key(options) : 0),
        .type = "proc",
        .magic = PROC_SUPER_MAGIC,
        .dev_minor = PROC_MINOR,
        .release = ns ? drop_ns : NULL,
        .arg = ns,
    };
    int err = treefs_create_with(&config, ret);

    if (err < 0)
        return err;
    if (ns)
        pid_ns_ref(ns);
    (*ret)->read_only = false; /* programs' memory can be written */
    (*ret)->show_options = proc_show_options;
    return 0;
}
