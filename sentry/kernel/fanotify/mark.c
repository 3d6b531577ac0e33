/* Marks: found by what they are on, and what the masks of all that match say together. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/kernel/fanotify/internal.h"
#include "sentry/vfs/attr/handle.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/mount/mount.h"

#define BUCKETS       1024
#define MARKS_AT_MOST (1U << 18) /* of one group, whatever it was promised */

#define MARK_KINDS    (FAN_MARK_MOUNT | FAN_MARK_FILESYSTEM)
#define MARK_IGNORES  (FAN_MARK_IGNORE | FAN_MARK_IGNORED_MASK)
#define MARK_COMMANDS (FAN_MARK_ADD | FAN_MARK_REMOVE | FAN_MARK_FLUSH)
#define MARK_KNOWN                                                                                 \
    (MARK_KINDS | MARK_IGNORES | MARK_COMMANDS | FAN_MARK_DONT_FOLLOW | FAN_MARK_ONLYDIR |         \
     FAN_MARK_IGNORED_SURV_MODIFY | FAN_MARK_EVICTABLE)
#define WITH_DESCRIPTOR                                                                            \
    (FAN_ACCESS | FAN_MODIFY | FAN_CLOSE | FAN_OPEN | FAN_OPEN_EXEC | FAN_QUESTIONS)
#define MASK_KNOWN                                                                                 \
    (WITH_DESCRIPTOR | FAN_DIRENT | FAN_ATTRIB | FAN_MOVE_SELF | FAN_DELETE_SELF | FAN_FS_ERROR |  \
     FAN_EVENT_FLAGS)

static struct list buckets[BUCKETS];

/* What a mark is on. */
struct place {
    enum fan_mark_kind kind;
    uint64_t dev, ino;
    const struct super_block *sb;
};

static struct list *bucket_of(const struct place *at)
{
    uint64_t hash =
        ((at->ino ^ (at->kind == FAN_KIND_NS ? 0 : at->dev << 32)) + (uint64_t)at->kind) *
        0x9e3779b97f4a7c15UL;
    struct list *bucket = &buckets[hash >> 40 & (BUCKETS - 1)];

    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

static bool is_on(const struct fan_mark *mark, const struct place *at)
{
    return mark->kind == at->kind && (mark->dev == at->dev || at->kind == FAN_KIND_NS) &&
           mark->ino == at->ino && (at->kind != FAN_KIND_SUPER || mark->sb == at->sb);
}

static struct place place_of_inode(const struct inode *inode)
{
    return (struct place){.kind = FAN_KIND_INODE, .dev = inode->dev, .ino = inode->ino};
}

static struct place place_of_mount(const struct mount *mount)
{
    return (struct place){.kind = FAN_KIND_MOUNT, .ino = mount->unique_id};
}

static struct place place_of_super(const struct super_block *sb)
{
    return (struct place){.kind = FAN_KIND_SUPER, .ino = (uintptr_t)sb, .sb = sb};
}

static struct place place_of_ns(const struct mount_ns *ns, uint64_t ino)
{
    return (struct place){.kind = FAN_KIND_NS, .dev = ino, .ino = ns->id};
}

static struct fan_mark *find_locked(const struct fan_group *group, const struct place *at)
{
    struct fan_mark *mark;

    list_for_each (mark, bucket_of(at), hashed) {
        if (mark->group == group && is_on(mark, at))
            return mark;
    }
    return NULL;
}

/* ---- matching ------------------------------------------------------------------------------- */

/* Does it watch what is in its directory? fsnotify_iter_select_report_types() */
static bool watches_children(const struct fan_mark *mark)
{
    return (mark->mask | (mark->with_flags ? mark->ignored : 0)) & FAN_EVENT_ON_CHILD;
}

/* fsnotify_effective_ignore_mask() */
static uint32_t ignored_by(const struct fan_mark *mark, bool is_dir, bool as_parent)
{
    uint32_t flags = mark->ignored & FAN_EVENT_FLAGS;

    if (!(mark->ignored & ~(uint32_t)FAN_EVENT_FLAGS))
        return 0;
    if (!mark->with_flags)
        flags = FAN_ONDIR | (mark->mask & FAN_EVENT_ON_CHILD);
    if ((is_dir && !(flags & FAN_ONDIR)) || (as_parent && !(flags & FAN_EVENT_ON_CHILD)))
        return 0;
    return mark->ignored & ~(uint32_t)FAN_EVENT_FLAGS;
}

static void visit_locked(const struct place *at, uint32_t event, bool as_parent, uint32_t kind)
{
    bool is_dir = event & FAN_ONDIR;
    struct fan_mark *mark;

    list_for_each (mark, bucket_of(at), hashed) {
        struct fan_group *group = mark->group;

        if (!is_on(mark, at) || (as_parent && !watches_children(mark)))
            continue;
        if ((event & FAN_MODIFY) && !mark->survives)
            mark->ignored &= FAN_EVENT_FLAGS;
        if (!group->touched) {
            group->touched = true;
            group->matched = group->ignored = group->match_kinds = 0;
        }
        group->ignored |= ignored_by(mark, is_dir, as_parent);
        if ((is_dir && !(mark->mask & FAN_ONDIR)) ||
            (as_parent && !(mark->mask & FAN_EVENT_ON_CHILD)))
            continue;
        group->matched |= mark->mask;
        if (mark->mask & event & FAN_RENAME)
            group->match_kinds |= kind;
    }
}

void fan_match_locked(const struct notify_event *event)
{
    bool dirent = event->mask & FAN_DIRENT;
    const struct super_block *sb = event->object ? event->object->sb
                                   : event->dir  ? event->dir->sb
                                                 : event->sb;
    struct place at;

    if (event->dir && (dirent || event->path)) {
        at = place_of_inode(event->dir->inode);
        visit_locked(&at, event->mask, !dirent, FAN_MATCH_OLD);
    }
    if (event->new_dir) {
        at = place_of_inode(event->new_dir->inode);
        visit_locked(&at, event->mask, false, FAN_MATCH_NEW);
    }
    if (!dirent && event->inode) {
        at = place_of_inode(event->inode);
        visit_locked(&at, event->mask, false, 0);
    }
    if (event->path && event->path->mount) {
        at = place_of_mount(event->path->mount);
        visit_locked(&at, event->mask, false, 0);
    }
    if (sb) {
        at = place_of_super(sb);
        visit_locked(&at, event->mask, false, FAN_MATCH_OTHER);
    }
}

void fan_match_ns_locked(const struct mount_ns *ns, uint32_t mask)
{
    struct place at = place_of_ns(ns, 0);

    visit_locked(&at, mask, false, 0);
}

/* fanotify_group_event_mask() */
uint32_t fan_take_match_locked(struct fan_group *group, uint32_t mask)
{
    group->touched = false;
    mask &= group->matched & ~group->ignored & ~(uint32_t)FAN_EVENT_ON_CHILD;
    if (!(group->flags & FAN_ID_MODES))
        mask &= ~(uint32_t)FAN_ONDIR;
    return mask & ~(uint32_t)FAN_ONDIR ? mask : 0;
}

/* ---- adding and removing -------------------------------------------------------------------- */

static void drop_locked(struct fan_mark *mark)
{
    struct fan_group *group = mark->group;
    int asking = mark->mask & FAN_QUESTIONS ? 1 : 0;

    list_del_init(&mark->hashed);
    list_del_init(&mark->group_node);
    group->mark_count--;
    group->account->watches--;
    notify_listener_marks(-1, -asking);
    free(mark);
}

void fan_marks_clear_locked(struct fan_group *group, int kind)
{
    struct fan_mark *mark, *tmp;

    list_for_each_safe (mark, tmp, &group->marks, group_node) {
        if (kind < 0 || mark->kind == (enum fan_mark_kind)kind)
            drop_locked(mark);
    }
}

void fan_inode_gone(const struct inode *inode)
{
    struct place at = place_of_inode(inode);
    struct fan_mark *mark, *tmp;

    fan_lock();
    list_for_each_safe (mark, tmp, bucket_of(&at), hashed) {
        if (is_on(mark, &at))
            drop_locked(mark);
    }
    fan_unlock();
}

void fan_super_gone(const struct super_block *sb)
{
    struct fan_group *group;

    fan_lock();
    list_for_each (group, &fan_groups, node) {
        struct fan_mark *mark, *tmp;

        list_for_each_safe (mark, tmp, &group->marks, group_node) {
            if (mark->sb == sb)
                drop_locked(mark);
        }
    }
    fan_unlock();
}

static int kind_of(uint32_t flags)
{
    return (flags & FAN_FLAG_NS) == FAN_FLAG_NS ? FAN_KIND_NS
           : flags & FAN_MARK_FILESYSTEM        ? FAN_KIND_SUPER
           : flags & FAN_MARK_MOUNT             ? FAN_KIND_MOUNT
                                                : FAN_KIND_INODE;
}

void fanotify_flush(struct file *file, uint32_t flags)
{
    fan_lock();
    fan_marks_clear_locked(fan_group_of(file), kind_of(flags));
    fan_unlock();
}

static int check_flags(const struct fanotify_request *r)
{
    uint32_t command = r->flags & MARK_COMMANDS;

    if (r->mask >> 32 || (r->flags & ~(uint32_t)MARK_KNOWN))
        return -EINVAL;
    if (command == FAN_MARK_FLUSH)
        return r->flags & ~(uint32_t)(MARK_KINDS | FAN_MARK_FLUSH) ? -EINVAL : 0;
    if ((command != FAN_MARK_ADD && command != FAN_MARK_REMOVE) || !r->mask)
        return -EINVAL;
    return 0;
}

int fanotify_check(struct file *file, struct fanotify_request *r)
{
    struct fan_group *group = fan_group_of(file);
    bool on_inode = !(r->flags & MARK_KINDS);
    int err = check_flags(r);

    if (err < 0)
        return err;
    if ((r->mask & ~(uint64_t)(MASK_KNOWN | FAN_MOUNTS | FAN_BEFORE_ACCESS)) ||
        (r->flags & MARK_IGNORES) == MARK_IGNORES)
        return -EINVAL;
    if (r->flags & FAN_MARK_IGNORED_MASK)
        r->mask &= ~(uint64_t)FAN_EVENT_FLAGS;
    if (!fanotify_is(file))
        return -EINVAL;
    if (group->flags & FAN_FLAG_MOUNTS)
        return (r->mask & ~(uint64_t)FAN_MOUNTS) || !fanotify_wants_ns(r) ? -EINVAL : 0;
    if ((r->mask & FAN_MOUNTS) || fanotify_wants_ns(r))
        return -EINVAL;
    if (group->unprivileged && !on_inode)
        return -EPERM;
    if ((r->mask & FAN_BEFORE_ACCESS) && !(group->flags & FAN_CLASS_PRE_CONTENT))
        return -EINVAL;
    if ((r->mask & FAN_QUESTIONS) && !(group->flags & FAN_CLASSES))
        return -EINVAL;
    if (((r->mask & FAN_FS_ERROR) && !(r->flags & FAN_MARK_FILESYSTEM)) ||
        ((r->flags & FAN_MARK_EVICTABLE) && !on_inode))
        return -EINVAL;
    if ((r->mask & ~(uint64_t)(WITH_DESCRIPTOR | FAN_EVENT_FLAGS | FAN_BEFORE_ACCESS)) &&
        (!(group->flags & FAN_ID_MODES) || (r->flags & FAN_MARK_MOUNT)))
        return -EINVAL;
    return (r->mask & FAN_RENAME) && !(group->flags & FAN_REPORT_NAME) ? -EINVAL : 0;
}

/* fanotify_events_supported(), fanotify_test_fid(). */
static int check_object(const struct fan_group *group, const struct fanotify_request *r,
                        const struct path *path)
{
    bool is_dir = inode_type(path->dentry->inode) == S_IFDIR;
    bool strict = (group->flags & FAN_REPORT_TARGET_FID) || (r->mask & FAN_RENAME) ||
                  (r->flags & FAN_MARK_IGNORE);

    if (!(r->flags & FAN_MARK_ADD))
        return 0;
    /* Contents come from elsewhere on disks' file systems alone: SB_I_ALLOW_HSM. */
    if (r->mask & FAN_BEFORE_ACCESS)
        return -EOPNOTSUPP;
    if ((r->mask & FAN_QUESTIONS) && path->dentry->sb->no_questions)
        return -EINVAL;
    if (strict && !(r->flags & MARK_KINDS) && !is_dir && (r->mask & (FAN_DIRENT | FAN_EVENT_FLAGS)))
        return -ENOTDIR;
    if ((r->flags & FAN_MARK_IGNORE) && !(r->flags & FAN_MARK_IGNORED_SURV_MODIFY) &&
        ((r->flags & MARK_KINDS) || is_dir))
        return r->flags & MARK_KINDS ? -EINVAL : -EISDIR;
    if ((group->flags & FAN_ID_MODES) && (r->flags & MARK_KINDS) &&
        path->dentry->inode->ops->handles == HANDLES_NONE)
        return -EOPNOTSUPP;
    return 0;
}

static int may_update(const struct fan_mark *mark, uint32_t flags)
{
    if ((flags & FAN_MARK_EVICTABLE) && !mark->evictable)
        return -EEXIST;
    if ((flags & FAN_MARK_IGNORED_MASK) && mark->with_flags)
        return -EEXIST;
    if ((flags & FAN_MARK_IGNORE) && !(flags & FAN_MARK_IGNORED_SURV_MODIFY) && mark->survives)
        return -EEXIST;
    return 0;
}

static void update_locked(struct fan_mark *mark, uint32_t flags, uint32_t mask)
{
    bool asked = mark->mask & FAN_QUESTIONS;

    if (flags & MARK_IGNORES) {
        mark->ignored |= mask;
        mark->with_flags |= (flags & FAN_MARK_IGNORE) != 0;
        mark->survives |= (flags & FAN_MARK_IGNORED_SURV_MODIFY) != 0;
    } else {
        mark->mask |= mask;
    }
    if (!(flags & FAN_MARK_EVICTABLE))
        mark->evictable = false;
    notify_listener_marks(0, (mark->mask & FAN_QUESTIONS) && !asked ? 1 : 0);
}

static uint32_t limit_of(const struct fan_group *group)
{
    return group->flags & FAN_UNLIMITED_MARKS
               ? MARKS_AT_MOST
               : MIN(MARKS_AT_MOST, __atomic_load_n(&fanotify_max_marks, __ATOMIC_RELAXED));
}

static int add_locked(struct fan_group *group, const struct place *at, uint32_t flags,
                      uint32_t mask, struct fan_mark **fresh)
{
    struct fan_mark *mark = find_locked(group, at);
    int err = mark ? may_update(mark, flags) : 0;

    if (err < 0)
        return err;
    if (!mark) {
        if (group->account->watches >= limit_of(group) || group->mark_count >= MARKS_AT_MOST)
            return -ENOSPC;
        mark = *fresh;
        *fresh = NULL;
        mark->group = group;
        mark->kind = at->kind;
        mark->dev = at->dev;
        mark->ino = at->ino;
        mark->evictable = flags & FAN_MARK_EVICTABLE;
        list_add_tail(bucket_of(at), &mark->hashed);
        list_add_tail(&group->marks, &mark->group_node);
        group->mark_count++;
        group->account->watches++;
        notify_listener_marks(1, 0);
    }
    update_locked(mark, flags, mask);
    return 0;
}

static int add(struct fan_group *group, const struct place *at, const struct path *path,
               uint32_t flags, uint32_t mask)
{
    struct fan_mark *fresh;
    int err;

    /* Whoever has it open for writing would make the mask void at once. */
    if (at->kind == FAN_KIND_INODE && (flags & MARK_IGNORES) &&
        !(flags & FAN_MARK_IGNORED_SURV_MODIFY) &&
        __atomic_load_n(&path->dentry->inode->write_count, __ATOMIC_RELAXED) > 0)
        return 0;
    fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return -ENOMEM;
    fresh->sb = path ? path->dentry->sb : NULL;
    fan_lock();
    err = add_locked(group, at, flags, mask, &fresh);
    fan_unlock();
    free(fresh);
    return err;
}

static int take_away(struct fan_group *group, const struct place *at, uint32_t flags, uint32_t mask)
{
    struct fan_mark *mark;
    bool asked;

    fan_lock();
    mark = find_locked(group, at);
    if (mark) {
        asked = mark->mask & FAN_QUESTIONS;
        if (flags & MARK_IGNORES)
            mark->ignored &= ~mask;
        else
            mark->mask &= ~mask;
        if (asked && !(mark->mask & FAN_QUESTIONS))
            notify_listener_marks(0, -1);
        if (!(mark->mask & ~(uint32_t)FAN_EVENT_FLAGS) &&
            !(mark->ignored & ~(uint32_t)FAN_EVENT_FLAGS))
            drop_locked(mark);
    }
    fan_unlock();
    return mark ? 0 : -ENOENT;
}

bool fanotify_wants_ns(const struct fanotify_request *r)
{
    return kind_of(r->flags) == FAN_KIND_NS;
}

int fanotify_mark_ns(struct file *file, const struct fanotify_request *r, const struct mount_ns *ns,
                     uint64_t ino)
{
    struct place at = place_of_ns(ns, ino);
    uint32_t mask = (uint32_t)r->mask;

    return r->flags & FAN_MARK_ADD ? add(fan_group_of(file), &at, NULL, r->flags, mask)
                                   : take_away(fan_group_of(file), &at, r->flags, mask);
}

int fanotify_mark(struct file *file, const struct fanotify_request *r, const struct path *path)
{
    struct fan_group *group = fan_group_of(file);
    const struct inode *inode = path->dentry->inode;
    uint32_t mask = (uint32_t)r->mask;
    struct place at;
    int err = check_object(group, r, path);

    if (err < 0)
        return err;
    switch (kind_of(r->flags)) {
    case FAN_KIND_MOUNT:
        at = place_of_mount(path->mount);
        break;
    case FAN_KIND_SUPER:
        at = place_of_super(path->dentry->sb);
        break;
    default:
        at = place_of_inode(inode);
    }
    if (at.kind != FAN_KIND_INODE || inode_type(inode) != S_IFDIR)
        mask &= ~(uint32_t)FAN_EVENT_ON_CHILD;
    return r->flags & FAN_MARK_ADD ? add(group, &at, path, r->flags, mask)
                                   : take_away(group, &at, r->flags, mask);
}
