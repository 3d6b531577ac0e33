/* /proc/PID: one process, or with /proc/PID/task/TID one thread of it. The key is the number. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/namei.h"

#define TEXT_AREA_MAX (128UL << 10) /* of cmdline and environ */

static const struct tree_node fd_node;

struct task *proc_find_task(uint64_t tid)
{
    struct task *me = task_current();
    struct task *task = tid <= INT32_MAX ? task_find(me->kernel, (int32_t)tid) : NULL;

    if (task && task->process != me->process)
        task = task_unref(task);
    return task;
}

static ssize_t path_text(struct path path, char *buf, size_t size)
{
    struct path root = fs_context_root(task_current()->fs);
    ssize_t n = path_to_string(&root, &path, buf, size);

    path_unref(&root);
    return n;
}

/* exe, cwd and root: what they lead to now. Empty when there is nothing. */
static struct path exe_path(void)
{
    struct file *exe = task_current()->process->exe;

    return exe && exe->at.dentry ? path_ref(exe->at) : (struct path){NULL, NULL};
}

static struct path cwd_path(void)
{
    return fs_context_cwd(task_current()->fs);
}

static struct path root_path(void)
{
    return fs_context_root(task_current()->fs);
}

static ssize_t place_readlink(struct path path, char *buf, size_t size)
{
    ssize_t n = path.dentry ? path_text(path, buf, size) : -ENOENT;

    path_unref(&path);
    return n;
}

static int place_follow(struct path path, struct link_target *ret)
{
    if (!path.dentry)
        return -ENOENT;
    ret->path = path;
    return 0;
}

#define PLACE_LINK(name)                                                                           \
    static ssize_t name##_readlink(uint64_t key, char *buf, size_t size)                           \
    {                                                                                              \
        return place_readlink(name##_path(), buf, size);                                           \
    }                                                                                              \
    static int name##_follow(uint64_t key, struct link_target *ret)                                \
    {                                                                                              \
        return place_follow(name##_path(), ret);                                                   \
    }
PLACE_LINK(exe)
PLACE_LINK(cwd)
PLACE_LINK(root)

/* Copies out of the guest what lies in [start, end), as far as it can be read. */
static ssize_t area_text(uaddr_t start, uaddr_t end, char *buf, size_t size)
{
    uint64_t length = end > start ? MIN(end - start, TEXT_AREA_MAX) : 0;

    if (length > size)
        return (ssize_t)length;
    return (ssize_t)copy_from_user_partial(task_current()->mm, buf, start, length);
}

static ssize_t cmdline_text(uint64_t key, char *buf, size_t size)
{
    struct mm_layout *layout = mm_layout(task_current()->mm);

    return area_text(layout->arg_start, layout->arg_end, buf, size);
}

static ssize_t environ_text(uint64_t key, char *buf, size_t size)
{
    struct mm_layout *layout = mm_layout(task_current()->mm);

    return area_text(layout->env_start, layout->env_end, buf, size);
}

static ssize_t auxv_text(uint64_t key, char *buf, size_t size)
{
    struct mm_layout *layout = mm_layout(task_current()->mm);
    size_t length = layout->auxv_count * 2 * sizeof(layout->auxv[0]);

    memcpy(buf, layout->auxv, MIN(length, size));
    return (ssize_t)length;
}

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

static ssize_t statm_text(uint64_t key, char *buf, size_t size)
{
    struct mm_stats stats;

    mm_get_stats(task_current()->mm, &stats);
    return snprintf(buf, size, "%lu %lu 0 %lu 0 %lu 0\n", stats.total / PAGE_SIZE,
                    stats.resident / PAGE_SIZE, stats.exec / PAGE_SIZE,
                    (stats.data + stats.stack) / PAGE_SIZE);
}

static void status_ids(struct proc_text *text, struct task *task)
{
    const struct cred *cred = task_current()->cred;
    struct process *process = task->process;

    proc_printf(text, "Tgid:\t%d\nPid:\t%d\nPPid:\t%d\n", process->pid, task->tid,
                process->parent_pid);
    proc_printf(text, "TracerPid:\t0\n");
    proc_printf(text, "Uid:\t%u\t%u\t%u\t%u\n", cred->uid, cred->euid, cred->suid, cred->fsuid);
    proc_printf(text, "Gid:\t%u\t%u\t%u\t%u\n", cred->gid, cred->egid, cred->sgid, cred->fsgid);
    proc_printf(text, "FDSize:\t%d\nGroups:\t", fdtable_capacity(task_current()->files));
    for (uint32_t i = 0; i < cred->group_count; i++)
        proc_printf(text, "%u ", cred->groups[i]);
    proc_printf(text, "\n");
}

static void status_memory(struct proc_text *text)
{
    struct mm_stats stats;

    mm_get_stats(task_current()->mm, &stats);
    proc_printf(text, "VmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmRSS:\t%8lu kB\n", stats.total / 1024,
                stats.locked / 1024, stats.resident / 1024);
    proc_printf(text, "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\n", stats.data / 1024,
                stats.stack / 1024, stats.exec / 1024);
}

static ssize_t status_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = proc_find_task(key);
    uint32_t threads;

    if (!task)
        return -ESRCH;
    lock_acquire(&task->process->lock);
    threads = task->process->thread_count;
    lock_release(&task->process->lock);
    proc_printf(&text, "Name:\t%s\nUmask:\t%04o\n", task->comm,
                fs_context_umask(task_current()->fs));
    proc_printf(&text, "State:\t%s\n", task == task_current() ? "R (running)" : "S (sleeping)");
    status_ids(&text, task);
    status_memory(&text);
    proc_printf(&text, "Threads:\t%u\nNoNewPrivs:\t%d\n", threads,
                task_current()->cred->no_new_privs);
    task_unref(task);
    return (ssize_t)text.length;
}

static ssize_t mounts_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct path root = fs_context_root(task_current()->fs);
    struct mount_ns *ns = root.mount->ns;
    char where[PATH_MAX];
    struct mount *m;

    proc_printf(&text, "%s / %s %s 0 0\n", ns->root->sb->type, ns->root->sb->type,
                ns->root->sb->read_only ? "ro" : "rw");
    lock_acquire(&ns->lock);
    list_for_each (m, &ns->mounts, ns_node) {
        if (path_to_string(&root, &m->over, where, sizeof(where)) > 0)
            proc_printf(&text, "%s %s %s rw,nosuid 0 0\n", m->sb->type, where, m->sb->type);
    }
    lock_release(&ns->lock);
    path_unref(&root);
    return (ssize_t)text.length;
}

/* A decimal number without sign or leading zeroes, as names under fd and task are. */
static int parse_number(struct name name, uint64_t limit, uint64_t *ret)
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

static int find_fd(uint64_t key, struct name name, const struct tree_node **ret_node,
                   uint64_t *ret_key)
{
    uint64_t fd;
    int err = parse_number(name, INT32_MAX, &fd);

    if (!err && fdtable_get_cloexec(task_current()->files, (int)fd) < 0)
        err = -ENOENT;
    if (!err) {
        *ret_node = &fd_node;
        *ret_key = fd;
    }
    return err;
}

static int64_t list_fds(uint64_t key, int64_t from, char *ret_name, size_t size,
                        const struct tree_node **ret_node)
{
    struct fdtable *files = task_current()->files;

    for (int64_t fd = from; fd < fdtable_capacity(files); fd++) {
        if (fdtable_get_cloexec(files, (int)fd) >= 0) {
            snprintf(ret_name, size, "%ld", fd);
            *ret_node = &fd_node;
            return fd;
        }
    }
    return -1;
}

static ssize_t name_file(struct file *file, char *buf, size_t size)
{
    struct linux_stat st;

    if (file->at.dentry)
        return path_text(file->at, buf, size);
    if (file->path)
        return snprintf(buf, size, "%s", file->path);
    if (file_stat(file, &st) == 0 && (st.st_mode & S_IFMT) == S_IFIFO)
        return snprintf(buf, size, "pipe:[%lu]", st.st_ino);
    return -ENOENT;
}

static ssize_t fd_readlink(uint64_t fd, char *buf, size_t size)
{
    struct file *file = fdtable_get(task_current()->files, (int)fd);
    ssize_t n = file ? name_file(file, buf, size) : -ENOENT;

    file_unref(file);
    return n >= 0 && (size_t)n >= size ? -ENAMETOOLONG : n;
}

static int fd_follow(uint64_t fd, struct link_target *ret)
{
    struct file *file = fdtable_get(task_current()->files, (int)fd);

    if (!file)
        return -ENOENT;
    if (file->at.dentry) {
        ret->path = path_ref(file->at);
        file_unref(file);
    } else {
        ret->file = file;
    }
    return 0;
}

static const struct tree_node fd_node = {
    .name = "", .mode = S_IFLNK | 0700, .readlink = fd_readlink, .follow = fd_follow};

#define MAGIC_LINK(name_)                                                                          \
    {                                                                                              \
        .name = #name_, .mode = S_IFLNK | 0777, .readlink = name_##_readlink,                      \
        .follow = name_##_follow                                                                   \
    }
#define OWNER_TEXT(name_, text_)                                                                   \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0400, .text = text_                                       \
    }

/* What a thread has as well as a process. */
#define THREAD_NODES                                                                               \
    MAGIC_LINK(cwd), MAGIC_LINK(exe), MAGIC_LINK(root), OWNER_TEXT("auxv", auxv_text),             \
        TREE_TEXT("cmdline", cmdline_text), TREE_TEXT("comm", comm_text),                          \
        OWNER_TEXT("environ", environ_text), TREE_TEXT("maps", proc_maps_text),                    \
        TREE_TEXT("mounts", mounts_text), TREE_TEXT("statm", statm_text),                          \
        TREE_TEXT("status", status_text),                                                          \
    {                                                                                              \
        .name = "fd", .mode = S_IFDIR | 0500, .find = find_fd, .list = list_fds                    \
    }

static const struct tree_node thread_nodes[] = {THREAD_NODES};
static const struct tree_node thread_node = TREE_DIR("", thread_nodes);

static int find_thread(uint64_t key, struct name name, const struct tree_node **ret_node,
                       uint64_t *ret_key)
{
    struct task *task;
    uint64_t tid;
    int err = parse_number(name, KERNEL_PID_MAX, &tid);

    if (err < 0)
        return err;
    task = proc_find_task(tid);
    if (!task)
        return -ENOENT;
    task_unref(task);
    *ret_node = &thread_node;
    *ret_key = tid;
    return 0;
}

static int64_t list_threads(uint64_t key, int64_t from, char *ret_name, size_t size,
                            const struct tree_node **ret_node)
{
    for (int64_t tid = MAX(from, (int64_t)1); tid < KERNEL_PID_MAX; tid++) {
        struct task *task = proc_find_task((uint64_t)tid);

        if (task) {
            task_unref(task);
            snprintf(ret_name, size, "%ld", tid);
            *ret_node = &thread_node;
            return tid;
        }
    }
    return -1;
}

static const struct tree_node pid_nodes[] = {
    THREAD_NODES,
    {.name = "task", .mode = S_IFDIR | 0555, .find = find_thread, .list = list_threads},
};
const struct tree_node proc_pid_node = TREE_DIR("", pid_nodes);
