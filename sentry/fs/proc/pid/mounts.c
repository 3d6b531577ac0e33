/*
 * /proc/PID/mounts, mountinfo, mountstats: proc_pid_mountinfo(5). The mounts of the task's
 * namespace, as far as its root shows them. Reading from the start makes the text anew; poll(2)
 * says POLLERR and POLLPRI once when there was a change.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ns/mntns.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/mount/mount_show.h"
#include "sentry/vfs/path/namei.h"
#include "sentry/wait/wait.h"

struct mounts_file {
    struct file file;
    struct mount_ns *ns; /* owned reference */
    struct path root;    /* owned */
    void (*row)(struct proc_text *text, const struct mount *m, const struct path *root);
    struct lock lock;
    char *text __guarded_by(lock); /* owned; NULL: nothing read yet */
    size_t size __guarded_by(lock);
    uint64_t seen; /* atomic: ns->event when poll(2) last told of a change */
    struct wait_queue queue;
    struct mount_watch watch;
};

static struct mounts_file *mounts_file_of(struct file *f)
{
    return container_of(f, struct mounts_file, file);
}

/* seq_escape(3): what separates fields is written in octal. */
static void print_escaped(struct proc_text *text, const char *s)
{
    for (; *s; s++) {
        if (strchr(" \t\n\\#", *s))
            proc_printf(text, "\\%03o", (unsigned char)*s);
        else
            proc_printf(text, "%c", *s);
    }
}

static void print_place(struct proc_text *text, const struct mount *m, const struct path *root)
{
    const struct path at = {(struct mount *)m, m->root};
    char name[PATH_MAX];

    if (path_name_locked(root, &at, false, name, sizeof(name)) > 0)
        print_escaped(text, name);
}

static bool reads_only(const struct mount *m)
{
    return (mount_get_flags(m) & MOUNT_READ_ONLY) || super_read_only(m->sb);
}

static void mounts_row(struct proc_text *text, const struct mount *m, const struct path *root)
{
    char flags[MOUNT_OPTIONS_MAX], options[MOUNT_OPTIONS_MAX];

    mount_show_flags_locked(m, flags);
    mount_show_options_locked(m, options);
    print_escaped(text, m->source ? m->source : "none");
    proc_printf(text, " ");
    print_place(text, m, root);
    proc_printf(text, " %s %s%s%s 0 0\n", m->sb->type, reads_only(m) ? "ro" : "rw", flags, options);
}

static void mountinfo_row(struct proc_text *text, const struct mount *m, const struct path *root)
{
    struct mount_peers peers = mount_peers_locked(m, root);
    char flags[MOUNT_OPTIONS_MAX], options[MOUNT_OPTIONS_MAX], name[PATH_MAX];

    mount_show_flags_locked(m, flags);
    mount_show_options_locked(m, options);
    if (mount_root_name_locked(m, name, sizeof(name)) < 0)
        return;
    proc_printf(text, "%u %u %u:%u ", m->id, m->over.mount ? m->over.mount->id : m->id,
                major(m->sb->dev), minor(m->sb->dev));
    print_escaped(text, name);
    proc_printf(text, " ");
    print_place(text, m, root);
    proc_printf(text, " %s%s", mount_get_flags(m) & MOUNT_READ_ONLY ? "ro" : "rw", flags);
    if (peers.group)
        proc_printf(text, " shared:%u", peers.group);
    if (peers.master)
        proc_printf(text, " master:%u", peers.master);
    if (peers.from && peers.from != peers.master)
        proc_printf(text, " propagate_from:%u", peers.from);
    if (mount_get_flags(m) & MOUNT_UNBINDABLE)
        proc_printf(text, " unbindable");
    proc_printf(text, " - %s ", m->sb->type);
    print_escaped(text, m->source ? m->source : "none");
    proc_printf(text, " %s%s\n", super_read_only(m->sb) ? "ro" : "rw", options);
}

static void mountstats_row(struct proc_text *text, const struct mount *m, const struct path *root)
{
    if (m->source) {
        proc_printf(text, "device ");
        print_escaped(text, m->source);
    } else {
        proc_printf(text, "no device");
    }
    proc_printf(text, " mounted on ");
    print_place(text, m, root);
    proc_printf(text, " with fstype %s\n", m->sb->type);
}

/* As much as fits; the size that it all has. */
static size_t print_all(struct mounts_file *file, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct mount *m;

    mount_lock();
    list_for_each (m, &file->ns->mounts, ns_node) {
        if (mount_visible_locked(m, &file->root))
            file->row(&text, m, &file->root);
    }
    mount_unlock();
    return text.length;
}

static int make_text(struct mounts_file *file) __must_hold(file->lock)
{
    size_t room = 4096;

    for (;;) {
        char *text = realloc(file->text, room + 1);

        if (!text)
            return -ENOMEM;
        file->text = text;
        file->size = print_all(file, text, room + 1);
        if (file->size <= room)
            return 0;
        room = file->size + 4096;
    }
}

static ssize_t mounts_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct mounts_file *file = mounts_file_of(f);
    ssize_t n = 0;

    lock_acquire(&file->lock);
    if (*pos == 0 || !file->text)
        n = make_text(file);
    if (n == 0 && (uint64_t)*pos < file->size)
        n = uio_copy_out(uio, file->text + *pos, file->size - (size_t)*pos);
    lock_release(&file->lock);
    if (n > 0)
        *pos += n;
    return n;
}

static int64_t mounts_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    if (whence != SEEK_SET && whence != SEEK_CUR)
        return -EINVAL;
    return file_seek_in(offset, whence, pos, 0);
}

static uint32_t mounts_poll(struct file *f, struct wait_entry *entry)
{
    struct mounts_file *file = mounts_file_of(f);
    uint64_t now;

    if (entry)
        wait_queue_add(&file->queue, entry);
    now = __atomic_load_n(&file->ns->event, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&file->seen, now, __ATOMIC_RELAXED) == now)
        return POLLIN | POLLRDNORM;
    return POLLIN | POLLRDNORM | POLLERR | POLLPRI;
}

static void mounts_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&mounts_file_of(f)->queue, entry);
}

static void mounts_changed(struct mount_watch *watch)
{
    wait_queue_wake(&container_of(watch, struct mounts_file, watch)->queue, POLLERR | POLLPRI);
}

static void mounts_release(struct file *f)
{
    struct mounts_file *file = mounts_file_of(f);

    mount_ns_unwatch(&file->watch);
    file_fini(f);
    mount_ns_unref(file->ns);
    path_unref(&file->root);
    free(file->text);
    lock_destroy(&file->lock);
    free(file);
}

static const struct file_operations mounts_operations = {
    .read = mounts_read,
    .llseek = mounts_llseek,
    .poll = mounts_poll,
    .poll_tells_once = true,
    .unpoll = mounts_unpoll,
    .release = mounts_release,
};

/* fs/proc_namespace.c:mounts_open_common() */
static int open_common(uint64_t tid, uint32_t flags,
                       void (*row)(struct proc_text *text, const struct mount *m,
                                   const struct path *root),
                       struct file **ret)
{
    struct task *task = proc_find_task(tid);
    struct fs_context *fs = task ? task_get_fs(task) : NULL;
    struct mount_ns *ns = fs ? task_get_mount_ns(task) : NULL;
    struct mounts_file *file = ns ? calloc(1, sizeof(*file)) : NULL;
    int err = !ns ? -EINVAL : !file ? -ENOMEM : 0;

    if (!err) {
        file_init(&file->file, &mounts_operations, flags);
        lock_init(&file->lock);
        wait_queue_init(&file->queue);
        file->row = row;
        file->ns = ns;
        file->root = fs_context_root(fs);
        file->seen = __atomic_load_n(&ns->event, __ATOMIC_RELAXED);
        file->watch.changed = mounts_changed;
        list_init(&file->watch.node);
        mount_ns_watch(ns, &file->watch);
        *ret = &file->file;
    } else {
        mount_ns_unref(ns);
    }
    fs_context_unref(fs);
    task_unref(task);
    return err;
}

int proc_mounts_open(uint64_t tid, uint32_t flags, struct file **ret)
{
    return open_common(tid, flags, mounts_row, ret);
}

int proc_mountinfo_open(uint64_t tid, uint32_t flags, struct file **ret)
{
    return open_common(tid, flags, mountinfo_row, ret);
}

int proc_mountstats_open(uint64_t tid, uint32_t flags, struct file **ret)
{
    return open_common(tid, flags, mountstats_row, ret);
}
