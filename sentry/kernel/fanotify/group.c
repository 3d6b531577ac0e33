/* A group: its descriptor, how it is made, and on whose account it is. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/fanotify/internal.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/inode.h"

#include <linux/capability.h>

#define INIT_KNOWN                                                                                 \
    (FAN_CLASSES | FAN_ID_MODES | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_TID | FAN_REPORT_PIDFD | \
     FAN_FLAG_MOUNTS | FAN_FLAG_FD_ERROR | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS |             \
     FAN_ENABLE_AUDIT)
/* What only an administrator may ask for. */
#define INIT_PRIVILEGED                                                                            \
    (FAN_CLASSES | FAN_REPORT_TID | FAN_REPORT_PIDFD | FAN_FLAG_FD_ERROR | FAN_UNLIMITED_QUEUE |   \
     FAN_UNLIMITED_MARKS | FAN_ENABLE_AUDIT)
#define EVENT_FLAGS_KNOWN                                                                          \
    (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_CLOEXEC | 0100000 | O_NOATIME)

#define INFO_MAX (1UL << 20) /* of what fdinfo shows */

uint32_t fanotify_max_queued = 16384, fanotify_max_groups = 128, fanotify_max_marks = 65536;

struct list fan_groups = LIST_INIT(fan_groups);

static struct lock lock = LOCK_INIT;
static struct list accounts = LIST_INIT(accounts); /* under the lock */

static const struct file_operations group_operations;

void fan_lock(void) __no_lock_analysis
{
    lock_acquire(&lock);
}

void fan_unlock(void) __no_lock_analysis
{
    lock_release(&lock);
}

bool fanotify_is(const struct file *file)
{
    return file->ops == &group_operations;
}

/* ---- the file ------------------------------------------------------------------------------- */

static uint32_t group_poll(struct file *f, struct wait_entry *entry)
{
    struct fan_group *group = fan_group_of(f);
    uint32_t now;

    if (entry)
        wait_queue_add(&group->queue, entry);
    fan_lock();
    now = list_empty(&group->events) ? 0 : POLLIN | POLLRDNORM;
    fan_unlock();
    return now;
}

static void group_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&fan_group_of(f)->queue, entry);
}

static long group_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct fan_group *group = fan_group_of(f);
    struct fan_event *e;
    size_t total = 0;
    int size;

    if (cmd != FIONREAD)
        return -ENOTTY;
    fan_lock();
    list_for_each (e, &group->events, node)
        total += fan_event_size(group, e);
    fan_unlock();
    size = (int)MIN(total, (size_t)INT32_MAX);
    return copy_struct_to_user(mm, arg, &size);
}

/* fs/notify/fdinfo.c */
static int mark_info(const struct fan_mark *mark, char *buf, size_t size)
{
    uint32_t flags = (mark->survives ? FAN_MARK_IGNORED_SURV_MODIFY : 0U) |
                     (mark->evictable ? FAN_MARK_EVICTABLE : 0U) |
                     (mark->with_flags ? FAN_MARK_IGNORE : 0U);

    switch (mark->kind) {
    case FAN_KIND_MOUNT:
        return snprintf(buf, size, "fanotify mnt_id:%lx mflags:%x mask:%x ignored_mask:%x\n",
                        mark->ino, flags, mark->mask, mark->ignored);
    case FAN_KIND_SUPER:
        return snprintf(buf, size, "fanotify sdev:%x mflags:%x mask:%x ignored_mask:%x\n",
                        mark->sb->dev, flags, mark->mask, mark->ignored);
    case FAN_KIND_NS:
        return snprintf(buf, size, "fanotify mnt_ns:%lu mflags:%x mask:%x ignored_mask:%x\n",
                        mark->dev, flags, mark->mask, mark->ignored);
    default:
        return snprintf(buf, size, "fanotify ino:%lx sdev:%lx mflags:%x mask:%x ignored_mask:%x \n",
                        mark->ino, mark->dev, flags, mark->mask, mark->ignored);
    }
}

static ssize_t group_info(struct file *f, char *buf, size_t size)
{
    struct fan_group *group = fan_group_of(f);
    struct fan_mark *mark;
    size_t length = (size_t)snprintf(buf, size, "fanotify flags:%x event-flags:%x\n", group->flags,
                                     group->event_flags);

    fan_lock();
    list_for_each (mark, &group->marks, group_node) {
        int n =
            mark_info(mark, length < size ? buf + length : NULL, length < size ? size - length : 0);

        length += (size_t)MAX(n, 0);
        if (length > INFO_MAX)
            break;
    }
    fan_unlock();
    return (ssize_t)length;
}

/* What was read and not answered is allowed, as what nobody will read. */
static void group_release(struct file *f)
{
    struct fan_group *group = fan_group_of(f);
    struct list events = LIST_INIT(events);

    fan_lock();
    list_del_init(&group->node);
    fan_marks_clear_locked(group, -1);
    while (!list_empty(&group->asked))
        fan_answer_locked(list_first(&group->asked, struct fan_event, node)->ask, false);
    while (!list_empty(&group->events)) {
        struct fan_event *e = list_first(&group->events, struct fan_event, node);

        if (e->ask) {
            fan_answer_locked(e->ask, false);
            continue;
        }
        list_del_init(&e->node);
        list_add_tail(&events, &e->node);
    }
    watch_account_leave_locked(group->account);
    fan_unlock();
    while (!list_empty(&events)) {
        struct fan_event *e = list_first(&events, struct fan_event, node);

        list_del_init(&e->node);
        fan_event_free(e);
    }
    file_fini(f);
    free(group);
}

static const struct file_operations group_operations = {
    .read = fan_group_read,
    .write = fan_group_write,
    .poll = group_poll,
    .unpoll = group_unpoll,
    .stat = anon_stat,
    .ioctl = group_ioctl,
    .info = group_info,
    .seek_ignored = true,
    .release = group_release,
};

/* ---- making one ----------------------------------------------------------------------------- */

static int check_init(uint32_t flags, uint32_t event_flags, bool privileged)
{
    uint32_t ids = flags & FAN_ID_MODES;

    if (!privileged && ((flags & INIT_PRIVILEGED) || !(ids || (flags & FAN_FLAG_MOUNTS))))
        return -EPERM;
    if ((flags & ~(uint32_t)INIT_KNOWN) || (flags & FAN_CLASSES) == FAN_CLASSES)
        return -EINVAL;
    if ((flags & FAN_FLAG_MOUNTS) && (ids || (flags & FAN_CLASSES)))
        return -EINVAL;
    if ((flags & FAN_REPORT_PIDFD) && (flags & FAN_REPORT_TID))
        return -EINVAL;
    if ((event_flags & ~(uint32_t)EVENT_FLAGS_KNOWN) || (event_flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    if ((ids && (flags & FAN_CLASSES)) || ((ids & FAN_REPORT_NAME) && !(ids & FAN_REPORT_DIR_FID)))
        return -EINVAL;
    if ((ids & FAN_REPORT_TARGET_FID) && (ids & FAN_ID_MODES) != FAN_ID_MODES)
        return -EINVAL;
    return 0;
}

/* Those who are asked first stand first. */
static void enter_locked(struct fan_group *group)
{
    struct fan_group *other;

    list_for_each (other, &fan_groups, node) {
        if ((other->flags & FAN_CLASSES) < (group->flags & FAN_CLASSES))
            break;
    }
    list_add_tail(&other->node, &group->node);
}

static int join(struct fan_group *group)
{
    uint32_t max = __atomic_load_n(&fanotify_max_groups, __ATOMIC_RELAXED);
    int err;

    fan_lock();
    err = watch_account_join_locked(&accounts, max, &group->account);
    if (!err)
        enter_locked(group);
    fan_unlock();
    return err;
}

int fanotify_create(uint32_t flags, uint32_t event_flags, struct file **ret)
{
    bool privileged = vfs_has_cap(CAP_SYS_ADMIN);
    int err = check_init(flags, event_flags, privileged);
    struct fan_group *group;

    if (err < 0)
        return err;
    if ((flags & FAN_ENABLE_AUDIT) && !vfs_has_cap(CAP_AUDIT_WRITE))
        return -EPERM;
    group = calloc(1, sizeof(*group));
    if (!group)
        return -ENOMEM;
    file_init(&group->file, &group_operations, O_RDWR | (flags & FAN_NONBLOCK ? O_NONBLOCK : 0U));
    group->flags = flags;
    group->event_flags = event_flags;
    group->unprivileged = !privileged;
    wait_queue_init(&group->queue);
    list_init(&group->marks);
    list_init(&group->events);
    list_init(&group->asked);
    list_init(&group->node);
    err = join(group);
    if (err < 0) {
        file_fini(&group->file);
        free(group);
        return err;
    }
    *ret = &group->file;
    return 0;
}

void fanotify_start(void)
{
    static const struct notify_listener fanotify = {.event = fan_event_happened,
                                                    .ask = fan_ask,
                                                    .mounts_changed = fan_mounts_changed,
                                                    .super_gone = fan_super_gone};

    notify_set_listener(&fanotify);
}
