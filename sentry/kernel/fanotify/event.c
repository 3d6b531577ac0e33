/*
 * From what happened to what a group is told: by a descriptor, which read(2) makes, or by ids.
 * Events of the same kind that wait in a queue become one.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/kernel/fanotify/internal.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/attr/handle.h"
#include "sentry/vfs/mount/mount.h"

#define MERGE_LOOKS 128 /* so many queued events are looked at, as on Linux */
#define QUEUE_LIMIT (1U << 17)

/* An event with all that a group may want to know. */
struct source {
    const struct notify_event *event;
    bool with_ids;
    int32_t fsid[2];
    struct fan_id object, dir, new_dir;
};

static uint64_t last_question; /* under the lock */

void fan_event_free(struct fan_event *event)
{
    if (!event)
        return;
    path_unref(&event->path);
    free(event);
}

/* ---- ids ------------------------------------------------------------------------------------ */

static void set_id(const struct handle *h, struct fan_id *ret)
{
    if (h->size > FAN_ID_BYTES)
        return;
    ret->type = h->type;
    ret->size = h->size;
    memcpy(ret->bytes, h->bytes, h->size);
}

static void id_of_dentry(struct dentry *dentry, struct fan_id *ret)
{
    struct handle h;

    if (handle_encode(dentry, dentry->inode->ops->handles ? HANDLE_OPENABLE : HANDLE_ID, &h) == 0)
        set_id(&h, ret);
}

static bool somebody_wants_ids(void)
{
    struct fan_group *group;
    bool wants = false;

    fan_lock();
    list_for_each (group, &fan_groups, node)
        wants = wants || (group->flags & FAN_ID_MODES);
    fan_unlock();
    return wants;
}

/* Without the lock: it may take a while, and give objects back. */
static void find_ids(struct source *s)
{
    const struct notify_event *event = s->event;
    struct dentry *known = event->object ? event->object
                           : event->dir  ? event->dir
                           : event->sb   ? event->sb->root
                                         : NULL;
    struct linux_statfs fs;
    struct handle h;

    if (event->object)
        id_of_dentry(event->object, &s->object);
    else if (event->inode && handle_of_inode(event->inode, &h))
        set_id(&h, &s->object);
    if (event->dir)
        id_of_dentry(event->dir, &s->dir);
    if (event->new_dir)
        id_of_dentry(event->new_dir, &s->new_dir);
    if (known && known->inode->ops->statfs && known->inode->ops->statfs(known, &fs) == 0)
        memcpy(s->fsid, fs.f_fsid, sizeof(s->fsid));
}

static void add_record(struct fan_event *e, uint8_t type, const struct fan_id *id, const char *name)
{
    struct fan_record *r = &e->records[e->record_count++];

    *r = (struct fan_record){.type = type, .id = *id};
    r->name = (char *)(uintptr_t)name;
}

/* fanotify_alloc_event(), copy_info_records_to_user(): false where there is nothing to tell. */
static bool describe(const struct fan_group *group, const struct source *s, uint32_t mask,
                     struct fan_event *e)
{
    const struct notify_event *event = s->event;
    uint32_t mode = group->flags & FAN_ID_MODES;
    bool named = mode & FAN_REPORT_NAME;
    const uint8_t with_dir = named ? FAN_EVENT_INFO_TYPE_DFID_NAME : FAN_EVENT_INFO_TYPE_DFID;

    memcpy(e->fsid, s->fsid, sizeof(e->fsid));
    if (mask & FAN_RENAME) {
        if (group->match_kinds & (FAN_MATCH_OLD | FAN_MATCH_OTHER))
            add_record(e, FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, &s->dir, event->name);
        if (group->match_kinds & (FAN_MATCH_NEW | FAN_MATCH_OTHER))
            add_record(e, FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, &s->new_dir, event->new_name);
    } else if (mask & FAN_DIRENT) {
        add_record(e, mode & FAN_REPORT_DIR_FID ? with_dir : FAN_EVENT_INFO_TYPE_FID, &s->dir,
                   named ? event->name : NULL);
    }
    if (mask & FAN_DIRENT) {
        if ((mode & FAN_REPORT_TARGET_FID) && s->object.size)
            add_record(e, FAN_EVENT_INFO_TYPE_FID, &s->object, NULL);
        return true;
    }
    if (!(mode & FAN_REPORT_DIR_FID)) {
        add_record(e, FAN_EVENT_INFO_TYPE_FID, &s->object, NULL);
    } else if (event->mask & FAN_ONDIR) {
        add_record(e, with_dir, &s->object, named ? "." : NULL);
    } else if (event->dir && event->path) {
        add_record(e, with_dir, &s->dir, named ? event->name : NULL);
        if (mode & FAN_REPORT_FID)
            add_record(e, FAN_EVENT_INFO_TYPE_FID, &s->object, NULL);
    } else if (mode & FAN_REPORT_FID) {
        add_record(e, FAN_EVENT_INFO_TYPE_FID, &s->object, NULL);
    } else {
        return false;
    }
    return true;
}

/* ---- queues --------------------------------------------------------------------------------- */

static void set_who(const struct fan_group *group, struct fan_event *e)
{
    const struct task *task = task_current();

    if (!task)
        return;
    e->pid = group->flags & FAN_REPORT_TID ? task->tid : task->process->pid;
    e->serial = task->serial;
}

static bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_event(const struct fan_event *a, const struct fan_event *b)
{
    const uint64_t kinds = FAN_ONDIR | FAN_RENAME;

    if (a->ask || b->ask || a->mount || b->mount || a->pid != b->pid ||
        ((a->mask ^ b->mask) & kinds) || ((a->mask | b->mask) & FAN_Q_OVERFLOW) ||
        a->record_count != b->record_count || a->path.dentry != b->path.dentry ||
        a->path.mount != b->path.mount || memcmp(a->fsid, b->fsid, sizeof(a->fsid)) != 0)
        return false;
    for (uint32_t i = 0; i < a->record_count; i++) {
        const struct fan_record *x = &a->records[i], *y = &b->records[i];

        if (x->type != y->type || memcmp(&x->id, &y->id, sizeof(x->id)) != 0 || !x->id.size ||
            !same_name(x->name, y->name))
            return false;
    }
    return true;
}

static bool merge_locked(struct fan_group *group, const struct fan_event *event)
{
    int looks = 0;

    for (struct list *at = group->events.prev; at != &group->events && looks < MERGE_LOOKS;
         at = at->prev, looks++) {
        struct fan_event *queued = list_entry(at, struct fan_event, node);

        if (same_event(queued, event)) {
            queued->mask |= event->mask;
            return true;
        }
    }
    return false;
}

static uint32_t limit_of(const struct fan_group *group)
{
    return group->flags & FAN_UNLIMITED_QUEUE
               ? QUEUE_LIMIT
               : MIN(QUEUE_LIMIT, __atomic_load_n(&fanotify_max_queued, __ATOMIC_RELAXED));
}

static void append_locked(struct fan_group *group, struct fan_event *event)
{
    list_add_tail(&group->events, &event->node);
    group->event_count++;
    wait_queue_wake(&group->queue, POLLIN | POLLRDNORM);
}

static void overflow_locked(struct fan_group *group)
{
    struct fan_event *event = group->overflow ? NULL : calloc(1, sizeof(*event));

    if (!event)
        return;
    event->mask = FAN_Q_OVERFLOW;
    group->overflow = event;
    append_locked(group, event);
}

/* The event with its names in it; NULL: no memory. */
static struct fan_event *keep(const struct fan_event *from)
{
    struct fan_event *event;
    size_t size = 0;
    char *at;

    for (uint32_t i = 0; i < from->record_count; i++)
        size += from->records[i].name ? strlen(from->records[i].name) + 1 : 0;
    event = malloc(sizeof(*event) + size);
    if (!event)
        return NULL;
    memcpy(event, from, sizeof(*event));
    at = event->names;
    for (uint32_t i = 0; i < event->record_count; i++) {
        if (event->records[i].name)
            event->records[i].name = strcpy(at, from->records[i].name);
        if (event->records[i].name)
            at += strlen(at) + 1;
    }
    if (event->path.dentry)
        event->path = path_ref(event->path);
    return event;
}

/* As it is, or as part of what is lost. */
static void queue_locked(struct fan_group *group, const struct fan_event *e)
{
    struct fan_event *event = group->event_count < limit_of(group) ? keep(e) : NULL;

    if (event)
        append_locked(group, event);
    else
        overflow_locked(group);
}

/* Is it about a file or a directory that can be opened? */
static bool has_file(const struct notify_event *event)
{
    uint32_t type = event->path ? inode_type(event->path->dentry->inode) : 0;

    return type == S_IFREG || type == S_IFDIR;
}

static void tell_locked(struct fan_group *group, const struct source *s)
{
    uint32_t kinds = group->match_kinds, mask = fan_take_match_locked(group, s->event->mask);
    struct fan_event e = {.mask = mask};

    group->match_kinds = kinds;
    if (!mask)
        return;
    if (group->flags & FAN_ID_MODES) {
        if (!s->with_ids || !describe(group, s, mask, &e))
            return;
    } else if (!has_file(s->event)) {
        return;
    } else {
        e.path = *s->event->path;
    }
    set_who(group, &e);
    if (!merge_locked(group, &e))
        queue_locked(group, &e);
}

void fan_event_happened(const struct notify_event *event)
{
    struct source s = {.event = event};
    struct fan_group *group;

    if (somebody_wants_ids()) {
        s.with_ids = true;
        find_ids(&s);
    }
    fan_lock();
    fan_match_locked(event);
    list_for_each (group, &fan_groups, node) {
        if (group->touched)
            tell_locked(group, &s);
    }
    fan_unlock();
    if (event->mask & FAN_DELETE_SELF)
        fan_inode_gone(event->inode);
}

void fan_mounts_changed(const struct mount_ns *ns, uint64_t unique_id, uint32_t mask)
{
    struct fan_group *group;

    fan_lock();
    fan_match_ns_locked(ns, mask);
    list_for_each (group, &fan_groups, node) {
        struct fan_event e = {.mount = unique_id};

        if (!group->touched)
            continue;
        e.mask = fan_take_match_locked(group, mask);
        set_who(group, &e);
        if (e.mask)
            queue_locked(group, &e);
    }
    fan_unlock();
}

/* ---- questions ------------------------------------------------------------------------------ */

void fan_answer_locked(struct fan_question *q, bool denied)
{
    if (!q->told)
        q->group->event_count--;
    list_del_init(&q->event.node);
    if (!q->task) {
        free(q);
        return;
    }
    q->answered = true;
    q->denied = denied;
    waiter_wake(&q->task->waiter);
}

/* Its asker is about to end. What was told stays until it is answered: true, it is not ours now. */
static bool give_up_locked(struct fan_question *q)
{
    q->event.path = (struct path){NULL, NULL};
    if (!q->told) {
        q->group->event_count--;
        list_del_init(&q->event.node);
        return false;
    }
    q->task = NULL;
    return true;
}

/* Whom to ask, in order; each with a reference on its file. */
static size_t collect_locked(uint32_t mask, struct fan_group **ret, size_t room)
{
    struct fan_group *group;
    size_t count = 0;

    list_for_each (group, &fan_groups, node) {
        bool asked = group->touched && fan_take_match_locked(group, mask) != 0;

        if (asked && (group->flags & FAN_CLASSES) && count < room &&
            refcount_get_unless_zero(&group->file.refs))
            ret[count++] = group;
    }
    return count;
}

/* Sleeps until there is an answer, or nobody needs one any more; frees `q`. */
static int wait_for_answer(struct task *task, struct fan_question *q)
{
    int err = 0;

    for (;;) {
        bool answered, leaving = err < 0 && task_is_leaving(task), kept = false;

        fan_lock();
        answered = q->answered;
        if (answered)
            err = q->denied ? -EPERM : 0;
        else if (leaving)
            kept = give_up_locked(q);
        fan_unlock();
        if (answered || leaving) {
            if (!kept)
                free(q);
            return answered ? err : -EINTR;
        }
        if (err < 0)
            task_ignore_signals(task);
        err = task_block(task, UINT64_MAX);
    }
}

/* Takes over the reference on the group's file. */
static int ask_group(struct fan_group *group, const struct path *path, uint32_t mask)
{
    struct task *task = task_current();
    struct fan_question *q = calloc(1, sizeof(*q));
    bool full;
    int err;

    if (!q) {
        file_unref(&group->file);
        return -ENOMEM;
    }
    *q = (struct fan_question){
        .event = {.mask = mask, .path = *path}, .group = group, .task = task, .fd = -1};
    q->event.ask = q;
    list_init(&q->event.node);
    waiter_reset(&task->waiter);
    set_who(group, &q->event);
    fan_lock();
    q->number = ++last_question;
    full = group->event_count >= limit_of(group);
    if (full)
        overflow_locked(group);
    else
        append_locked(group, &q->event);
    fan_unlock();
    /* Whoever waits must not be what keeps it from being closed. */
    file_unref(&group->file);
    if (full) {
        free(q);
        return 0;
    }
    err = wait_for_answer(task, q);
    task_heed_signals(task);
    return err;
}

#define ASKED_MAX 32

int fan_ask(const struct path *path, uint32_t mask)
{
    struct notify_event event = {.mask = mask, .path = path};
    struct fan_group *groups[ASKED_MAX];
    struct dentry *dir = dentry_parent(path->dentry);
    size_t count = 0;
    int err = 0;

    event.object = path->dentry;
    event.inode = path->dentry->inode;
    event.dir = dir;
    event.mask |= inode_type(event.inode) == S_IFDIR ? FAN_ONDIR : 0U;
    if (task_current() && has_file(&event)) {
        fan_lock();
        fan_match_locked(&event);
        count = collect_locked(event.mask, groups, ASKED_MAX);
        fan_unlock();
    }
    for (size_t i = 0; i < count; i++) {
        if (!err)
            err = ask_group(groups[i], path, mask);
        else
            file_unref(&groups[i]->file);
    }
    dentry_unref(dir);
    return err;
}
