#include "sentry/vfs/notify.h"

#include <stdlib.h>
#include <string.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/mount/mount.h"

#define BUCKETS 512

uint32_t notify_mark_count, notify_asking, notify_file_marks;

static const struct notify_listener *listener;
static uint32_t listener_marks; /* atomic */

static struct lock lock = LOCK_INIT;
static struct list buckets[BUCKETS] __guarded_by(lock);
static uint32_t last_cookie; /* atomic */

void notify_lock(void) __no_lock_analysis
{
    lock_acquire(&lock);
}

void notify_unlock(void) __no_lock_analysis
{
    lock_release(&lock);
}

void notify_set_listener(const struct notify_listener *who)
{
    listener = who;
}

void notify_listener_marks(int by, int asking)
{
    __atomic_fetch_add(&listener_marks, (uint32_t)by, __ATOMIC_RELAXED);
    __atomic_fetch_add(&notify_mark_count, (uint32_t)by, __ATOMIC_RELAXED);
    __atomic_fetch_add(&notify_asking, (uint32_t)asking, __ATOMIC_RELAXED);
}

int notify_ask_slowly(const struct path *path, uint32_t mask)
{
    return listener->ask(path, mask);
}

static void tell_listener(const struct notify_event *event)
{
    if (__atomic_load_n(&listener_marks, __ATOMIC_RELAXED) > 0)
        listener->event(event);
}

static struct list *bucket_of(uint64_t dev, uint64_t ino)
{
    struct list *bucket = &buckets[(ino * 0x9e3779b97f4a7c15UL + dev) >> 32 & (BUCKETS - 1)];

    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

static void mark_locked(struct notify_group *group, struct notify_mark *mark, uint64_t dev,
                        uint64_t ino, uint32_t mask)
{
    mark->group = group;
    mark->dev = dev;
    mark->ino = ino;
    mark->mask = mask;
    list_add_tail(bucket_of(dev, ino), &mark->hashed);
    list_add_tail(&group->marks, &mark->group_node);
    __atomic_fetch_add(&notify_mark_count, 1, __ATOMIC_RELAXED);
}

void notify_mark_locked(struct notify_group *group, struct notify_mark *mark,
                        const struct dentry *dentry, uint32_t mask)
{
    mark->sb = dentry->sb;
    mark_locked(group, mark, dentry->inode->dev, dentry->inode->ino, mask);
}

void notify_mark_file_locked(struct notify_group *group, struct notify_mark *mark, uint64_t dev,
                             uint64_t ino, uint32_t mask)
{
    mark->sb = NULL;
    __atomic_fetch_add(&notify_file_marks, 1, __ATOMIC_RELAXED);
    mark_locked(group, mark, dev, ino, mask);
}

void notify_unmark_locked(struct notify_mark *mark)
{
    list_del_init(&mark->hashed);
    list_del_init(&mark->group_node);
    __atomic_fetch_sub(&notify_mark_count, 1, __ATOMIC_RELAXED);
    if (!mark->sb)
        __atomic_fetch_sub(&notify_file_marks, 1, __ATOMIC_RELAXED);
}

struct notify_mark *notify_find_locked(const struct notify_group *group, uint64_t dev, uint64_t ino)
{
    struct list *bucket = bucket_of(dev, ino);
    struct notify_mark *mark;

    list_for_each (mark, bucket, hashed) {
        if (mark->group == group && mark->dev == dev && mark->ino == ino)
            return mark;
    }
    return NULL;
}

/* To all marks of one object. */
static void tell_locked(uint64_t dev, uint64_t ino, const struct notify_event *event)
{
    struct list *bucket = bucket_of(dev, ino);
    struct notify_mark *mark, *tmp;

    list_for_each_safe (mark, tmp, bucket, hashed) {
        if (mark->dev == dev && mark->ino == ino &&
            (mark->mask & event->mask & ~(uint32_t)NOTIFY_ISDIR))
            mark->group->event(mark, event);
    }
}

static uint32_t with_type(const struct inode *inode, uint32_t mask)
{
    return inode_type(inode) == S_IFDIR ? mask | NOTIFY_ISDIR : mask;
}

void notify_path_slowly(const struct path *path, uint32_t mask)
{
    struct dentry *dentry = path->dentry, *parent;
    struct notify_event event = {.path = path};
    char name[VFS_NAME_MAX + 1];
    size_t at = sizeof(name);
    bool named;

    event.mask = with_type(dentry->inode, mask);
    name[--at] = '\0';
    named = dentry_put_name(dentry, name, 0, &at, &parent) == 0 && parent;
    event.unlinked = dentry_gone(dentry);
    event.object = dentry;
    event.inode = dentry->inode;
    event.dir = named ? parent : NULL;
    event.name = named ? name + at : NULL;
    tell_listener(&event);
    notify_lock();
    if (named) {
        tell_locked(parent->inode->dev, parent->inode->ino, &event);
        event.name = NULL;
    }
    tell_locked(dentry->inode->dev, dentry->inode->ino, &event);
    notify_unlock();
    if (named)
        dentry_unref(parent);
}

void notify_file_slowly(struct file *f, uint32_t mask)
{
    const struct notify_event event = {.mask = mask};
    struct linux_stat st;

    if (!f->ops->stat || f->ops->stat(f, &st) < 0 ||
        (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
        return;
    notify_lock();
    tell_locked(st.st_dev, st.st_ino, &event);
    notify_unlock();
}

void notify_self_slowly(struct dentry *dentry, uint32_t mask)
{
    const struct inode *inode = dentry->inode;
    struct notify_event event = {.mask = with_type(inode, mask), .object = dentry, .inode = inode};

    tell_listener(&event);
    notify_lock();
    tell_locked(inode->dev, inode->ino, &event);
    notify_unlock();
}

void notify_inode_slowly(const struct inode *inode, uint32_t mask)
{
    struct notify_event event = {.mask = with_type(inode, mask), .inode = inode};

    notify_lock();
    tell_locked(inode->dev, inode->ino, &event);
    notify_unlock();
}

static void tell_dir(const struct dentry *dir, const struct notify_event *event)
{
    tell_listener(event);
    notify_lock();
    tell_locked(dir->inode->dev, dir->inode->ino, event);
    notify_unlock();
}

void notify_dir_slowly(struct dentry *dir, const char *name, uint32_t mask, bool is_dir,
                       struct dentry *child)
{
    struct notify_event event = {.mask = mask | (is_dir ? NOTIFY_ISDIR : 0U),
                                 .name = name,
                                 .object = child,
                                 .inode = child ? child->inode : NULL,
                                 .dir = dir};

    tell_dir(dir, &event);
}

void notify_removed(struct dentry *dir, const char *name, bool is_dir, struct dentry *victim)
{
    struct notify_event event = {.mask = NOTIFY_DELETE | (is_dir ? NOTIFY_ISDIR : 0U),
                                 .name = name,
                                 .object = victim,
                                 .inode = victim->inode,
                                 .dir = dir};

    if (notify_active())
        tell_listener(&event);
    dentry_unref(victim);
    if (!notify_active())
        return;
    notify_lock();
    tell_locked(dir->inode->dev, dir->inode->ino, &event);
    notify_unlock();
}

void notify_move(struct dentry *from, const char *old_name, struct dentry *to, const char *new_name,
                 struct dentry *moved, struct dentry *replaced)
{
    struct notify_event event = {.mask = with_type(moved->inode, NOTIFY_RENAME),
                                 .name = old_name,
                                 .object = moved,
                                 .inode = moved->inode,
                                 .dir = from,
                                 .new_dir = to,
                                 .new_name = new_name};

    if (!notify_active())
        return;
    tell_listener(&event);
    event.new_dir = NULL;
    event.cookie = __atomic_add_fetch(&last_cookie, 1, __ATOMIC_RELAXED);
    event.mask = with_type(moved->inode, NOTIFY_MOVED_FROM);
    event.stays = from->inode == to->inode;
    tell_dir(from, &event);
    event.mask = with_type(moved->inode, NOTIFY_MOVED_TO);
    event.stays = false;
    event.name = new_name;
    event.dir = to;
    tell_dir(to, &event);
    if (replaced)
        notify_self_slowly(replaced, NOTIFY_ATTRIB);
    notify_self_slowly(moved, NOTIFY_MOVE_SELF);
}

/* The last event of a mark: the group forgets it at NOTIFY_IGNORED. */
static void end_locked(struct notify_mark *mark, uint32_t mask)
{
    struct notify_event event = {.mask = mask};

    if (mark->mask & mask)
        mark->group->event(mark, &event);
    event.mask = NOTIFY_IGNORED;
    if (!list_empty(&mark->hashed))
        mark->group->event(mark, &event);
}

void notify_gone(const struct inode *inode)
{
    struct notify_mark *mark, *tmp;
    struct list *bucket;

    if (!notify_active())
        return;
    tell_listener(
        &(struct notify_event){.mask = with_type(inode, NOTIFY_DELETE_SELF),
                               .inode = inode,
                               .sb = __atomic_load_n(&inode->unlinked_from, __ATOMIC_RELAXED)});
    notify_lock();
    bucket = bucket_of(inode->dev, inode->ino);
    list_for_each_safe (mark, tmp, bucket, hashed) {
        if (mark->dev == inode->dev && mark->ino == inode->ino)
            end_locked(mark, NOTIFY_DELETE_SELF);
    }
    notify_unlock();
}

void notify_super_gone(const struct super_block *sb)
{
    if (!notify_active())
        return;
    if (__atomic_load_n(&listener_marks, __ATOMIC_RELAXED) > 0)
        listener->super_gone(sb);
    notify_lock();
    for (int i = 0; i < BUCKETS; i++) {
        struct notify_mark *mark, *tmp;

        if (!buckets[i].next)
            continue;
        list_for_each_safe (mark, tmp, &buckets[i], hashed) {
            if (mark->sb == sb)
                end_locked(mark, NOTIFY_UNMOUNT);
        }
    }
    notify_unlock();
}

void notify_mount_slowly(const struct mount_ns *ns, uint64_t unique_id, uint32_t mask)
{
    if (listener)
        listener->mounts_changed(ns, unique_id, mask);
}
