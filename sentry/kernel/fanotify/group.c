/* The descriptor of a group: events are read from it, answers written to it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/fanotify/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/mount/mount.h"
#include "sentry/vfs/path/open.h"

#include <linux/capability.h>

#define INIT_KNOWN                                                                                 \
    (FAN_CLASSES | FAN_ID_MODES | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_TID | FAN_REPORT_PIDFD | \
     FAN_FLAG_FD_ERROR | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_ENABLE_AUDIT)
/* What only an administrator may ask for. */
#define INIT_PRIVILEGED                                                                            \
    (FAN_CLASSES | FAN_REPORT_TID | FAN_REPORT_PIDFD | FAN_FLAG_FD_ERROR | FAN_UNLIMITED_QUEUE |   \
     FAN_UNLIMITED_MARKS | FAN_ENABLE_AUDIT)
#define EVENT_FLAGS_KNOWN                                                                          \
    (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_CLOEXEC | 0100000 | O_NOATIME)

#define INFO_MAX    (1UL << 20) /* of what fdinfo shows */
#define RECORD_MAX  (sizeof(struct fanotify_event_info_fid) + 8 + FAN_ID_BYTES + VFS_NAME_MAX + 4)
#define MESSAGE_MAX (FAN_EVENT_METADATA_LEN + FAN_RECORDS_MAX * RECORD_MAX + 8)

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

/* ---- reading -------------------------------------------------------------------------------- */

/* What one event is in the program's memory. */
struct message {
    char bytes[MESSAGE_MAX];
    size_t size;
};

static size_t record_size(const struct fan_record *r)
{
    size_t name = r->name ? strlen(r->name) + 1 : 0;

    return round_up(sizeof(struct fanotify_event_info_fid) + 8 + r->id.size + name, 4);
}

static size_t event_size(const struct fan_group *group, const struct fan_event *e)
{
    size_t size = FAN_EVENT_METADATA_LEN;

    for (uint32_t i = 0; i < e->record_count; i++)
        size += record_size(&e->records[i]);
    if ((group->flags & FAN_REPORT_PIDFD) && !(e->mask & FAN_Q_OVERFLOW))
        size += sizeof(struct fanotify_event_info_pidfd);
    return size;
}

static void put(struct message *m, const void *bytes, size_t size)
{
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

/* A directory's id alone is that of any object where nothing is said of its names. */
static uint8_t record_type(const struct fan_group *group, const struct fan_event *e,
                           const struct fan_record *r)
{
    bool plain = (group->flags & FAN_ID_MODES) == FAN_REPORT_DIR_FID &&
                 !(e->mask & (FAN_DIRENT | FAN_ONDIR));

    return plain ? FAN_EVENT_INFO_TYPE_FID : r->type;
}

static void put_record(struct message *m, const struct fan_group *group, const struct fan_event *e,
                       const struct fan_record *r)
{
    struct fanotify_event_info_fid head = {
        .hdr = {.info_type = record_type(group, e, r), .len = (uint16_t)record_size(r)}};
    size_t end = m->size + head.hdr.len;

    memcpy(&head.fsid, e->fsid, sizeof(head.fsid));
    put(m, &head, sizeof(head));
    put(m, &r->id.size, sizeof(r->id.size));
    put(m, &r->id.type, sizeof(r->id.type));
    put(m, r->id.bytes, r->id.size);
    if (r->name)
        put(m, r->name, strlen(r->name) + 1);
    m->size = end; /* the rest is zeroes */
}

/* The process that did it, if it is that still. */
static struct task *find_actor(const struct fan_event *e)
{
    struct task *task = task_find(task_current()->kernel, e->pid);

    if (task && task->serial != e->serial && task->process->pid != e->pid) {
        task_unref(task);
        return NULL;
    }
    return task;
}

static int install(struct file *file, bool cloexec)
{
    struct task *task = task_current();
    int fd = fdtable_install(task->files, file, 0, task_rlimit(task, RLIMIT_NOFILE), cloexec);

    if (fd < 0)
        file_unref(file);
    return fd;
}

static int make_pidfd(const struct fan_event *e)
{
    struct task *actor = e->pid ? find_actor(e) : NULL;
    struct file *file;
    int err = -ESRCH;

    if (actor) {
        err = pidfd_create(actor, 0, &file);
        task_unref(actor);
    }
    if (err < 0)
        return err == -ESRCH ? FAN_NOPIDFD : FAN_EPIDFD;
    err = install(file, true);
    return err < 0 ? FAN_EPIDFD : err;
}

static int make_fd(const struct fan_group *group, const struct fan_event *e)
{
    struct file *file;
    int err;

    if (!e->path.dentry)
        return FAN_NOFD;
    err = vfs_open_quietly(&e->path, group->event_flags & ~(uint32_t)O_CLOEXEC, &file);
    return err < 0 ? err : install(file, group->event_flags & O_CLOEXEC);
}

static int32_t shown_pid(const struct fan_group *group, const struct fan_event *e)
{
    struct task *task = task_current();

    if (!e->pid || (group->unprivileged && e->pid != task->process->pid))
        return 0;
    return task_shown_pid(task, e->pid);
}

static void close_made(int fd)
{
    if (fd >= 0)
        fdtable_close(task_current()->files, fd);
}

/* Tells one event, with descriptors made for the reader. Bytes, or what went wrong. */
static ssize_t tell(const struct fan_group *group, const struct fan_event *e, struct uio *uio,
                    int fd)
{
    struct fanotify_event_metadata head = {
        .event_len = (uint32_t)event_size(group, e),
        .vers = FANOTIFY_METADATA_VERSION,
        .metadata_len = FAN_EVENT_METADATA_LEN,
        .mask = e->mask,
        .fd = fd,
        .pid = shown_pid(group, e),
    };
    struct message m = {.size = 0};
    int pidfd = -1;

    put(&m, &head, sizeof(head));
    for (uint32_t i = 0; i < e->record_count; i++)
        put_record(&m, group, e, &e->records[i]);
    if ((group->flags & FAN_REPORT_PIDFD) && !(e->mask & FAN_Q_OVERFLOW)) {
        struct fanotify_event_info_pidfd info = {
            .hdr = {.info_type = FAN_EVENT_INFO_TYPE_PIDFD, .len = sizeof(info)}};

        pidfd = make_pidfd(e);
        info.pidfd = pidfd;
        put(&m, &info, sizeof(info));
    }
    if (uio_copy_out(uio, m.bytes, m.size) == (ssize_t)m.size)
        return (ssize_t)m.size;
    close_made(pidfd);
    return -EFAULT;
}

/* Under the lock: a copy of a question, which its asker may take back at any moment. */
static struct fan_event *copy_question(struct fan_group *group, struct fan_event *asked)
{
    struct fan_event *copy = malloc(sizeof(*copy));

    if (!copy)
        return NULL;
    memcpy(copy, asked, sizeof(*copy));
    copy->path = path_ref(asked->path);
    asked->ask->told = true;
    list_del_init(&asked->node);
    list_add_tail(&group->asked, &asked->node);
    return copy;
}

/* The next event if it fits; NULL with ret_err -EAGAIN, -EINVAL, -ENOMEM. */
static struct fan_event *take(struct fan_group *group, size_t room, uint64_t *ret_question,
                              int *ret_err)
{
    struct fan_event *event = NULL, *first;

    *ret_err = -EAGAIN;
    *ret_question = 0;
    fan_lock();
    if (!list_empty(&group->events)) {
        first = list_first(&group->events, struct fan_event, node);
        if (event_size(group, first) > room) {
            *ret_err = -EINVAL;
        } else if (first->ask) {
            *ret_question = first->ask->number;
            event = copy_question(group, first);
            *ret_err = -ENOMEM;
        } else {
            event = first;
            list_del_init(&first->node);
        }
        group->event_count -= event ? 1 : 0;
        if (event && event == group->overflow)
            group->overflow = NULL;
    }
    fan_unlock();
    return event;
}

static struct fan_question *find_question_locked(struct fan_group *group, uint64_t number, int fd)
{
    struct fan_event *e;

    list_for_each (e, &group->asked, node) {
        if (number ? e->ask->number == number : e->ask->fd == fd)
            return e->ask;
    }
    return NULL;
}

/* The question is told under this descriptor; a negative one: it was not, and is denied. */
static void question_told(struct fan_group *group, uint64_t number, int fd)
{
    struct fan_question *q;

    if (!number)
        return;
    fan_lock();
    q = find_question_locked(group, number, 0);
    if (q && fd < 0)
        fan_answer_locked(q, true);
    else if (q)
        q->fd = fd;
    fan_unlock();
}

static ssize_t read_one(struct fan_group *group, struct uio *uio)
{
    struct fan_event *event;
    uint64_t question;
    ssize_t n;
    int fd, err;

    event = take(group, uio->left, &question, &err);
    if (!event)
        return err;
    fd = make_fd(group, event);
    if (fd < 0 && fd != FAN_NOFD && !(group->flags & FAN_FLAG_FD_ERROR)) {
        n = fd;
    } else {
        question_told(group, question, fd);
        n = tell(group, event, uio, fd);
        if (n < 0)
            close_made(fd);
    }
    if (n < 0 || fd < 0)
        question_told(group, question, -1);
    fan_event_free(event);
    return n;
}

static ssize_t group_read(struct file *f, struct uio *uio, int64_t *pos)
{
    ssize_t done = 0, n;

    do {
        n = read_one(fan_group_of(f), uio);
        done += MAX(n, 0);
    } while (n > 0 && uio->left > 0);
    return done && n != -EFAULT ? done : n;
}

/* ---- answering ------------------------------------------------------------------------------ */

static int check_response(const struct fan_group *group, uint32_t response)
{
    uint32_t plain = response & ~(uint32_t)(FAN_AUDIT | FAN_BIT_INFO);

    if ((plain != FAN_ALLOW && plain != FAN_DENY) ||
        ((response & FAN_AUDIT) && !(group->flags & FAN_ENABLE_AUDIT)))
        return -EINVAL;
    return 0;
}

static ssize_t group_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct fan_group *group = fan_group_of(f);
    struct fanotify_response response;
    uint64_t size = uio->left;
    struct fan_question *q;
    int err;

    if (size < sizeof(response))
        return -EINVAL;
    if (uio_copy_in(uio, &response, sizeof(response)) != (ssize_t)sizeof(response))
        return -EFAULT;
    err = check_response(group, response.response);
    if (!err && response.fd < 0)
        err = -EINVAL;
    if (err < 0)
        return err;
    fan_lock();
    q = find_question_locked(group, 0, response.fd);
    if (q)
        fan_answer_locked(q, (response.response & FAN_DENY) != 0);
    fan_unlock();
    if (!q)
        return -ENOENT;
    if (!(response.response & FAN_BIT_INFO))
        return sizeof(response);
    uio_advance(uio, uio->left);
    return (ssize_t)size;
}

/* ---- the rest of the file ------------------------------------------------------------------- */

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
        total += event_size(group, e);
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

static void leave_account_locked(struct fan_account *a)
{
    if (--a->groups > 0)
        return;
    list_del_init(&a->node);
    free(a);
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
    leave_account_locked(group->account);
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
    .read = group_read,
    .write = group_write,
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

    if (!privileged && ((flags & INIT_PRIVILEGED) || !ids))
        return -EPERM;
    if ((flags & ~(uint32_t)INIT_KNOWN) || (flags & FAN_CLASSES) == FAN_CLASSES)
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

static struct fan_account *account_locked(uint32_t uid)
{
    struct fan_account *a;

    list_for_each (a, &accounts, node) {
        if (a->uid == uid)
            return a;
    }
    a = calloc(1, sizeof(*a));
    if (a) {
        a->uid = uid;
        list_add_tail(&accounts, &a->node);
    }
    return a;
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
    int err = 0;

    fan_lock();
    group->account = account_locked(vfs_identity()->uid);
    if (!group->account)
        err = -ENOMEM;
    else if (group->account->groups >= __atomic_load_n(&fanotify_max_groups, __ATOMIC_RELAXED))
        err = -EMFILE;
    if (!err) {
        group->account->groups++;
        enter_locked(group);
    }
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
    static const struct notify_listener fanotify = {
        .event = fan_event_happened, .ask = fan_ask, .super_gone = fan_super_gone};

    notify_set_listener(&fanotify);
}
