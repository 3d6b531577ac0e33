#include "sentry/kernel/dnotify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "sentry/kernel/async.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/notify.h"

/* One directory that is open, and what its opener wants to hear; goes with the open file. */
struct dnotify {
    struct notify_group group;
    struct notify_mark mark;
    struct file_watch watch;
    struct file *file; /* borrowed */
    uint32_t wants;    /* DN_*; under notify_lock(); 0: nothing more */
};

static uint32_t mark_mask(uint32_t dn)
{
    static const struct {
        uint32_t dn, mask;
    } pairs[] = {
        {DN_ACCESS, NOTIFY_ACCESS},
        {DN_MODIFY, NOTIFY_MODIFY},
        {DN_CREATE, NOTIFY_CREATE | NOTIFY_MOVED_TO},
        {DN_DELETE, NOTIFY_DELETE | NOTIFY_MOVED_FROM},
        {DN_RENAME, NOTIFY_MOVED_FROM},
        {DN_ATTRIB, NOTIFY_ATTRIB},
    };
    uint32_t mask = 0;

    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++)
        mask |= dn & pairs[i].dn ? pairs[i].mask : 0;
    return mask;
}

/* DN_RENAME is about names that change within the directory (fs/notify/dnotify: FS_RENAME). */
static bool is_wanted(const struct dnotify *d, const struct notify_event *event)
{
    return event->stays || (mark_mask(d->wants & ~(uint32_t)DN_RENAME) & event->mask);
}

/* Of the directory and what is in it; once, unless DN_MULTISHOT says more. */
static void happened(struct notify_mark *mark, const struct notify_event *event)
{
    struct dnotify *d = container_of(mark, struct dnotify, mark);

    if (event->mask == NOTIFY_IGNORED) {
        notify_unmark_locked(mark);
        d->wants = 0;
        return;
    }
    if (!d->wants || !is_wanted(d, event))
        return;
    async_post(d->file, POLLMSG);
    if (!(d->wants & DN_MULTISHOT)) {
        d->wants = 0;
        mark->mask = 0;
    }
}

static void file_gone(struct file_watch *watch)
{
    struct dnotify *d = container_of(watch, struct dnotify, watch);

    notify_lock();
    if (!list_empty(&d->mark.hashed))
        notify_unmark_locked(&d->mark);
    notify_unlock();
    free(d);
}

static struct dnotify *find(struct file *file)
{
    struct file_watch *watch;
    struct dnotify *found = NULL;

    lock_acquire(&file->pos_lock);
    list_for_each (watch, &file->watches, node) {
        if (watch->gone == file_gone)
            found = container_of(watch, struct dnotify, watch);
    }
    lock_release(&file->pos_lock);
    return found;
}

static struct dnotify *create(struct file *file)
{
    struct dnotify *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->group.event = happened;
    list_init(&d->group.marks);
    list_init(&d->mark.hashed);
    list_init(&d->mark.group_node);
    d->file = file;
    d->watch.gone = file_gone;
    file_watch_add(file, &d->watch);
    return d;
}

int dnotify_set(struct task *task, struct file *file, int fd, uint32_t mask)
{
    struct dnotify *d;

    if (!file->at.dentry || inode_type(file->at.dentry->inode) != S_IFDIR)
        return -ENOTDIR;
    d = find(file);
    if (!mark_mask(mask) && !d)
        return 0;
    if (!d)
        d = create(file);
    if (!d || async_prepare(task, file, fd) < 0)
        return -ENOMEM;
    notify_lock();
    /* Another request adds to the one before (fs/notify/dnotify: attach_dn()). */
    d->wants = mark_mask(mask) ? d->wants | mask : 0;
    if (list_empty(&d->mark.hashed) && d->wants)
        notify_mark_locked(&d->group, &d->mark, file->at.dentry, mark_mask(d->wants));
    else
        d->mark.mask = mark_mask(d->wants);
    notify_unlock();
    return 0;
}
