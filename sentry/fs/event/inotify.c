/*
 * An instance has watches, each on one object, and a queue of events. All of it is guarded by the
 * lock of all marks (notify.h), under which events come; readers take what they read out of the
 * queue first and copy it afterwards.
 */
#include "sentry/fs/event/inotify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "sentry/fs/event/account.h"
#include "sentry/fs/event/anon.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/notify.h"
#include "sentry/wait/wait.h"

#define INFO_MAX (1UL << 20) /* of what fdinfo shows */

uint32_t inotify_max_instances = 128, inotify_max_watches = 65536, inotify_max_queued = 16384;

struct event {
    struct list node;
    struct inotify_event head; /* len: with padding */
    char name[];
};

struct watch {
    struct notify_mark mark;
    struct list node; /* in instance.watches, by number */
    int wd;
    uint32_t options; /* IN_ONESHOT, IN_EXCL_UNLINK */
};

struct instance {
    struct file file;
    struct notify_group group;
    struct wait_queue queue;
    struct watch_account *account;
    /* Under notify_lock(): */
    struct list watches, events;
    uint32_t event_count;
    uint64_t event_size; /* what reading them all would give */
    int last_wd;
};

static struct list accounts = LIST_INIT(accounts); /* under notify_lock() */

static const struct file_operations inotify_operations;

static struct instance *instance_of(struct file *f)
{
    return container_of(f, struct instance, file);
}

static uint32_t limit(const uint32_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

/* ---- the queue ------------------------------------------------------------------------------ */

static bool same_event(const struct event *a, const struct event *b)
{
    return a->head.mask == b->head.mask && a->head.wd == b->head.wd && a->head.len == b->head.len &&
           memcmp(a->name, b->name, a->head.len) == 0 && !(a->head.mask & IN_IGNORED);
}

static struct event *make_event(int wd, uint32_t mask, uint32_t cookie, const char *name)
{
    size_t length = name ? strlen(name) + 1 : 0;
    size_t padded = round_up(length, sizeof(struct inotify_event));
    struct event *event = calloc(1, sizeof(*event) + padded);

    if (!event)
        return NULL;
    event->head =
        (struct inotify_event){.wd = wd, .mask = mask, .cookie = cookie, .len = (uint32_t)padded};
    if (name)
        memcpy(event->name, name, length);
    return event;
}

static void append_locked(struct instance *in, struct event *event)
{
    list_add_tail(&in->events, &event->node);
    in->event_count++;
    in->event_size += sizeof(event->head) + event->head.len;
    wait_queue_wake(&in->queue, POLLIN | POLLRDNORM);
}

/* Where the queue is full, or there is no memory, one event says so. */
static void queue_locked(struct instance *in, int wd, uint32_t mask, uint32_t cookie,
                         const char *name)
{
    struct event *event = NULL, *last;

    last = list_empty(&in->events) ? NULL : list_entry(in->events.prev, struct event, node);
    if (in->event_count < limit(&inotify_max_queued))
        event = make_event(wd, mask, cookie, name);
    if (event && last && same_event(last, event)) {
        free(event);
        return;
    }
    if (!event && !(last && (last->head.mask & IN_Q_OVERFLOW)))
        event = make_event(-1, IN_Q_OVERFLOW, 0, NULL);
    if (event)
        append_locked(in, event);
}

static struct event *take_locked(struct instance *in)
{
    struct event *event = list_first(&in->events, struct event, node);

    list_del_init(&event->node);
    in->event_count--;
    in->event_size -= sizeof(event->head) + event->head.len;
    return event;
}

/* ---- watches -------------------------------------------------------------------------------- */

static void drop_watch_locked(struct instance *in, struct watch *w)
{
    queue_locked(in, w->wd, IN_IGNORED, 0, NULL);
    notify_unmark_locked(&w->mark);
    list_del_init(&w->node);
    in->account->watches--;
    free(w);
}

static void happened(struct notify_mark *mark, const struct notify_event *event)
{
    struct instance *in = container_of(mark->group, struct instance, group);
    struct watch *w = container_of(mark, struct watch, mark);
    uint32_t mask = event->mask;

    if (mask == NOTIFY_IGNORED) {
        drop_watch_locked(in, w);
        return;
    }
    if (event->name && event->unlinked && (w->options & IN_EXCL_UNLINK))
        return;
    if (mask & (IN_DELETE_SELF | IN_MOVE_SELF))
        mask &= ~(uint32_t)IN_ISDIR;
    queue_locked(in, w->wd, mask & (IN_ALL_EVENTS | IN_ISDIR | IN_UNMOUNT), event->cookie,
                 event->name);
    if (w->options & IN_ONESHOT)
        drop_watch_locked(in, w);
}

static uint32_t mark_mask(uint32_t mask)
{
    return (mask & IN_ALL_EVENTS) | NOTIFY_UNMOUNT;
}

static int change_locked(struct watch *w, uint32_t mask)
{
    if (mask & IN_MASK_CREATE)
        return -EEXIST;
    if (mask & IN_MASK_ADD) {
        w->mark.mask |= mark_mask(mask);
        w->options |= mask & (IN_ONESHOT | IN_EXCL_UNLINK);
    } else {
        w->mark.mask = mark_mask(mask);
        w->options = mask & (IN_ONESHOT | IN_EXCL_UNLINK);
    }
    return w->wd;
}

/* The next number that is free; they are used again late. */
static int number_locked(struct instance *in, struct list **ret_before)
{
    struct watch *w;
    int wd = in->last_wd == INT32_MAX ? 1 : in->last_wd + 1;

    *ret_before = in->watches.prev;
    if (wd == in->last_wd + 1)
        return in->last_wd = wd;
    /* Once around: the first gap. */
    *ret_before = &in->watches;
    list_for_each (w, &in->watches, node) {
        if (w->wd != wd)
            break;
        wd++;
        *ret_before = &w->node;
    }
    return wd;
}

/* What a watch is on: a place in the tree, or something that is in none, by its numbers. */
struct target {
    const struct dentry *dentry;
    uint64_t dev, ino;
};

static int add(struct instance *in, const struct target *target, uint32_t mask)
{
    struct notify_mark *mark;
    struct watch *fresh = calloc(1, sizeof(*fresh));
    struct list *before;
    int wd;

    if (!fresh)
        return -ENOMEM;
    notify_lock();
    mark = notify_find_locked(&in->group, target->dev, target->ino);
    if (mark) {
        wd = change_locked(container_of(mark, struct watch, mark), mask);
    } else if (in->account->watches >= limit(&inotify_max_watches)) {
        wd = -ENOSPC;
    } else {
        fresh->wd = wd = number_locked(in, &before);
        fresh->options = mask & (IN_ONESHOT | IN_EXCL_UNLINK);
        list_insert_between(&fresh->node, before, before->next);
        if (target->dentry)
            notify_mark_locked(&in->group, &fresh->mark, target->dentry, mark_mask(mask));
        else
            notify_mark_file_locked(&in->group, &fresh->mark, target->dev, target->ino,
                                    mark_mask(mask));
        in->account->watches++;
        fresh = NULL;
    }
    notify_unlock();
    free(fresh);
    return wd;
}

int inotify_add(struct file *f, const struct path *path, uint32_t mask)
{
    const struct target target = {path->dentry, path->dentry->inode->dev, path->dentry->inode->ino};

    return add(instance_of(f), &target, mask);
}

int inotify_add_file(struct file *f, struct file *watched, uint32_t mask)
{
    const struct vfs_identity *id = vfs_identity();
    struct target target = {NULL, 0, 0};
    struct linux_stat st;
    int err = file_stat(watched, &st);

    if (err < 0)
        return err;
    mount_map_stat(path_map(&watched->at), &st);
    if (st.st_uid != id->uid && !(st.st_mode & S_IROTH) &&
        !vfs_has_cap_over(st.st_uid, st.st_gid, CAP_DAC_READ_SEARCH))
        return -EACCES;
    target.dev = st.st_dev;
    target.ino = st.st_ino;
    return add(instance_of(f), &target, mask);
}

int inotify_remove(struct file *f, int wd)
{
    struct instance *in = instance_of(f);
    struct watch *w;
    int err = -EINVAL;

    notify_lock();
    list_for_each (w, &in->watches, node) {
        if (w->wd == wd) {
            drop_watch_locked(in, w);
            err = 0;
            break;
        }
    }
    notify_unlock();
    return err;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* What fits is taken out; it is one reader's even if its memory turns out to be bad. */
static int take_fitting(struct instance *in, size_t room, struct list *ret)
{
    int err = -EAGAIN;

    notify_lock();
    while (!list_empty(&in->events)) {
        struct event *event = list_first(&in->events, struct event, node);
        size_t size = sizeof(event->head) + event->head.len;

        if (size > room) {
            err = err == -EAGAIN ? -EINVAL : err;
            break;
        }
        room -= size;
        event = take_locked(in);
        list_add_tail(ret, &event->node);
        err = 0;
    }
    notify_unlock();
    return err;
}

static ssize_t inotify_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct list events;
    ssize_t done;

    list_init(&events);
    done = take_fitting(instance_of(f), uio->left, &events);
    while (!list_empty(&events)) {
        struct event *event = list_first(&events, struct event, node);
        ssize_t size = (ssize_t)(sizeof(event->head) + event->head.len);

        list_del_init(&event->node);
        if (done >= 0 && uio_copy_out(uio, &event->head, (size_t)size) != size)
            done = -EFAULT;
        done = done >= 0 ? done + size : done;
        free(event);
    }
    return done;
}

static uint32_t inotify_poll(struct file *f, struct wait_entry *entry)
{
    struct instance *in = instance_of(f);
    uint32_t now;

    if (entry)
        wait_queue_add(&in->queue, entry);
    notify_lock();
    now = list_empty(&in->events) ? 0 : POLLIN | POLLRDNORM;
    notify_unlock();
    return now;
}

static void inotify_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&instance_of(f)->queue, entry);
}

static long inotify_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int size;

    if (cmd != FIONREAD)
        return -ENOTTY;
    notify_lock();
    size = (int)MIN(instance_of(f)->event_size, (uint64_t)INT32_MAX);
    notify_unlock();
    return copy_struct_to_user(mm, arg, &size);
}

/* fs/notify/fdinfo.c; without file handles. */
static ssize_t inotify_info(struct file *f, char *buf, size_t size)
{
    struct instance *in = instance_of(f);
    size_t length = 0;
    struct watch *w;

    if (size > 0)
        buf[0] = '\0';
    notify_lock();
    list_for_each (w, &in->watches, node) {
        int n = snprintf(length < size ? buf + length : NULL, length < size ? size - length : 0,
                         "inotify wd:%x ino:%lx sdev:%lx mask:%x ignored_mask:0 \n", w->wd,
                         w->mark.ino, w->mark.dev, (w->mark.mask & IN_ALL_EVENTS) | w->options);

        length += (size_t)MAX(n, 0);
        if (length > INFO_MAX)
            break;
    }
    notify_unlock();
    return (ssize_t)length;
}

static void inotify_release(struct file *f)
{
    struct instance *in = instance_of(f);

    notify_lock();
    while (!list_empty(&in->watches))
        drop_watch_locked(in, list_first(&in->watches, struct watch, node));
    while (!list_empty(&in->events))
        free(take_locked(in));
    watch_account_leave_locked(in->account);
    notify_unlock();
    file_fini(f);
    free(in);
}

static const struct file_operations inotify_operations = {
    .read = inotify_read,
    .poll = inotify_poll,
    .unpoll = inotify_unpoll,
    .stat = anon_stat,
    .ioctl = inotify_ioctl,
    .info = inotify_info,
    .seek_ignored = true,
    .release = inotify_release,
};

static int join_account(struct instance *in)
{
    int err;

    notify_lock();
    err = watch_account_join_locked(&accounts, limit(&inotify_max_instances), &in->account);
    notify_unlock();
    return err;
}

int inotify_create(uint32_t flags, struct file **ret)
{
    struct instance *in = calloc(1, sizeof(*in));
    char *path = strdup("anon_inode:inotify");
    int err = in && path ? join_account(in) : -ENOMEM;

    if (err < 0) {
        free(in);
        free(path);
        return err;
    }
    file_init(&in->file, &inotify_operations, O_RDONLY | flags);
    in->file.path = path;
    wait_queue_init(&in->queue);
    list_init(&in->watches);
    list_init(&in->events);
    list_init(&in->group.marks);
    in->group.event = happened;
    *ret = &in->file;
    return 0;
}

bool inotify_is(const struct file *f)
{
    return f->ops == &inotify_operations;
}
