/*
 * /proc/PID/fd: links to what a process has open, and /proc/PID/fdinfo. The key of an entry is the
 * task's number and the descriptor's together; which process had that number is not in it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/net/socket.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/lock/filelock.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/mount/mount.h"
#include "sentry/vfs/path/namei.h"

#define FD_KEY(tid, fd) ((tid) << 32 | (uint64_t)(fd))
#define KEY_TID(key)    ((key) >> 32)
#define KEY_FD(key)     ((int)(uint32_t)(key))

static const struct tree_node fd_node, info_node;

static int get_files(uint64_t tid, struct fdtable **ret)
{
    struct task *task;
    int err = proc_look_into(tid, &task);

    if (err < 0)
        return err;
    *ret = task_get_files(task);
    task_unref(task);
    return *ret ? 0 : -ENOENT;
}

static int get_file(uint64_t key, struct file **ret)
{
    struct fdtable *files;
    int err = get_files(KEY_TID(key), &files);

    if (err < 0)
        return err;
    *ret = fdtable_get(files, KEY_FD(key));
    fdtable_unref(files);
    return *ret ? 0 : -ENOENT;
}

static int find_entry(uint64_t tid, struct name name, const struct tree_node *node,
                      const struct tree_node **ret_node, uint64_t *ret_key)
{
    struct fdtable *files;
    uint64_t fd;
    int err = proc_parse_number(name, INT32_MAX, &fd);

    if (err < 0)
        return err;
    err = get_files(tid, &files);
    if (err < 0)
        return err;
    if (fdtable_get_cloexec(files, (int)fd) < 0)
        err = -ENOENT;
    fdtable_unref(files);
    if (!err) {
        *ret_node = node;
        *ret_key = FD_KEY(tid, fd);
    }
    return err;
}

static int64_t list_entries(uint64_t tid, int64_t from, char *ret_name, size_t size)
{
    struct fdtable *files;
    int64_t found = -1;

    if (get_files(tid, &files) < 0)
        return -1;
    for (int64_t fd = from; found < 0 && fd < fdtable_capacity(files); fd++) {
        if (fdtable_get_cloexec(files, (int)fd) >= 0)
            found = fd;
    }
    fdtable_unref(files);
    if (found >= 0)
        snprintf(ret_name, size, "%ld", found);
    return found;
}

static ssize_t name_file(struct file *file, char *buf, size_t size)
{
    struct linux_stat st;

    if (file->at.dentry) {
        struct path root = fs_context_root(task_current()->fs);
        ssize_t n = path_to_link(&root, &file->at, buf, size);

        path_unref(&root);
        return n;
    }
    if (file->path)
        return snprintf(buf, size, "%s", file->path);
    if (file_stat(file, &st) == 0 && (st.st_mode & S_IFMT) == S_IFIFO)
        return snprintf(buf, size, "pipe:[%lu]", st.st_ino);
    if (socket_is(file))
        return snprintf(buf, size, "socket:[%lu]", socket_of(file)->ino);
    return -ENOENT;
}

static ssize_t fd_readlink(uint64_t key, char *buf, size_t size)
{
    struct file *file;
    ssize_t n = get_file(key, &file);

    if (n < 0)
        return n;
    n = name_file(file, buf, size);
    file_unref(file);
    return n >= 0 && (size_t)n >= size ? -ENAMETOOLONG : n;
}

static int fd_follow(uint64_t key, struct link_target *ret)
{
    struct file *file;
    int err = get_file(key, &file);

    if (err < 0)
        return err;
    if (file->at.dentry) {
        ret->path = path_ref(file->at);
        file_unref(file);
    } else {
        ret->file = file;
    }
    return 0;
}

static void fd_owner(uint64_t key, uint32_t *ret_uid, uint32_t *ret_gid)
{
    proc_task_owner(KEY_TID(key), ret_uid, ret_gid);
}

/* The rights of the link are those with which the file was opened. */
static void fd_status(uint64_t key, struct linux_stat *st)
{
    struct file *file;

    st->st_size = 64;
    if (get_file(key, &file) < 0)
        return;
    st->st_mode =
        S_IFLNK | 0100 | (file_can_read(file) ? 0400 : 0) | (file_can_write(file) ? 0200 : 0);
    file_unref(file);
}

static const struct tree_node fd_node = {
    .name = "",
    .mode = S_IFLNK | 0700,
    .readlink = fd_readlink,
    .follow = fd_follow,
    .status = fd_status,
    .owner = fd_owner,
    .no_mounts = true,
};

/* However much it is: seldom more than a few lines. */
static void add_info(struct proc_text *text, struct file *file)
{
    size_t size = 1024;

    for (;;) {
        char *more = malloc(size);
        ssize_t length = more ? file->ops->info(file, more, size) : 0;

        if (length > 0 && (size_t)length < size)
            proc_printf(text, "%s", more);
        free(more);
        if (length < 0 || (size_t)length < size)
            return;
        size = (size_t)length + 4096;
    }
}

/* show_fd_locks(): those that this descriptor holds. */
static void add_locks(struct proc_text *text, uint64_t key, const struct file *file,
                      const void *table)
{
    const struct inode *inode = file->at.dentry ? file->at.dentry->inode : NULL;
    struct lock_view *views;
    size_t count, number = 0;

    if (!inode || proc_take_locks(&views, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct lock_view *v = &views[i];

        if (v->waiting || v->dev != inode->dev || v->ino != inode->ino ||
            (v->is.owner != file && v->is.owner != table))
            continue;
        proc_printf(text, "lock:\t");
        proc_put_lock(text, key, ++number, v);
    }
    free(views);
}

static ssize_t info_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct linux_stat st = {0};
    uint32_t mount_id = 0;
    uint64_t unique;
    struct fdtable *files;
    const void *table;
    struct file *file;
    int cloexec, err = get_files(KEY_TID(key), &files);

    if (err < 0)
        return err;
    file = fdtable_get(files, KEY_FD(key));
    cloexec = fdtable_get_cloexec(files, KEY_FD(key));
    table = files; /* only compared */
    fdtable_unref(files);
    if (!file)
        return -ENOENT;
    file_stat(file, &st);
    if (file->at.mount)
        mount_id = file->at.mount->id;
    else
        (void)mount_kernel_id(st.st_dev, &mount_id, &unique);
    lock_acquire(&file->pos_lock);
    proc_printf(&text, "pos:\t%ld\n", file->pos);
    lock_release(&file->pos_lock);
    proc_printf(&text, "flags:\t0%o\nmnt_id:\t%u\nino:\t%lu\n",
                file->flags | (cloexec > 0 ? O_CLOEXEC : 0), mount_id, st.st_ino);
    add_locks(&text, KEY_TID(key), file, table);
    if (file->ops->info)
        add_info(&text, file);
    file_unref(file);
    return (ssize_t)text.length;
}

static const struct tree_node info_node = {
    .name = "",
    .mode = S_IFREG | 0444,
    .text = info_text,
    .owner = fd_owner,
    .no_mounts = true,
};

int proc_find_fd(uint64_t tid, struct name name, const struct tree_node **ret_node,
                 uint64_t *ret_key)
{
    return find_entry(tid, name, &fd_node, ret_node, ret_key);
}

int64_t proc_list_fds(uint64_t tid, int64_t from, char *ret_name, size_t size,
                      const struct tree_node **ret_node)
{
    *ret_node = &fd_node;
    return list_entries(tid, from, ret_name, size);
}

int proc_find_fdinfo(uint64_t tid, struct name name, const struct tree_node **ret_node,
                     uint64_t *ret_key)
{
    return find_entry(tid, name, &info_node, ret_node, ret_key);
}

int64_t proc_list_fdinfo(uint64_t tid, int64_t from, char *ret_name, size_t size,
                         const struct tree_node **ret_node)
{
    *ret_node = &info_node;
    return list_entries(tid, from, ret_name, size);
}
