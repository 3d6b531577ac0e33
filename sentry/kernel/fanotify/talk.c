/*
 * What a program reads from a group and writes to it: events as bytes, with descriptors made for
 * the reader, and answers to questions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "sentry/kernel/fanotify/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/path/open.h"

#define RECORD_MAX  (sizeof(struct fanotify_event_info_fid) + 8 + FAN_ID_BYTES + VFS_NAME_MAX + 4)
#define MESSAGE_MAX (FAN_EVENT_METADATA_LEN + FAN_RECORDS_MAX * RECORD_MAX + 8 + 16)

/* ---- reading -------------------------------------------------------------------------------- */

/* struct fanotify_event_info_mnt, newer than Debian 12's headers. */
struct mount_info {
    struct fanotify_event_info_header hdr;
    uint64_t id;
};

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

size_t fan_event_size(const struct fan_group *group, const struct fan_event *e)
{
    size_t size = FAN_EVENT_METADATA_LEN;

    for (uint32_t i = 0; i < e->record_count; i++)
        size += record_size(&e->records[i]);
    if ((group->flags & FAN_REPORT_PIDFD) && !(e->mask & FAN_Q_OVERFLOW))
        size += sizeof(struct fanotify_event_info_pidfd);
    if (e->mount)
        size += sizeof(struct mount_info);
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

static int make_pidfd(const struct fan_group *group, const struct fan_event *e)
{
    struct task *actor = e->pid ? find_actor(e) : NULL;
    struct file *file;
    int err = -ESRCH;

    if (actor) {
        err = pidfd_create(actor, 0, &file);
        task_unref(actor);
    }
    if (!err)
        err = install(file, true);
    if (err >= 0 || (group->flags & FAN_FLAG_FD_ERROR))
        return err;
    return err == -ESRCH ? FAN_NOPIDFD : FAN_EPIDFD;
}

static int make_fd(const struct fan_group *group, const struct fan_event *e)
{
    struct file *file;
    int err;

    if (!e->path.dentry)
        return group->flags & FAN_FLAG_FD_ERROR ? -EBADF : FAN_NOFD;
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
        .event_len = (uint32_t)fan_event_size(group, e),
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

        pidfd = make_pidfd(group, e);
        info.pidfd = pidfd;
        put(&m, &info, sizeof(info));
    }
    if (e->mount) {
        const struct mount_info info = {.hdr = {.info_type = FAN_INFO_MOUNT, .len = sizeof(info)},
                                        .id = e->mount};

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
        if (fan_event_size(group, first) > room) {
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

ssize_t fan_group_read(struct file *f, struct uio *uio, int64_t *pos)
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

ssize_t fan_group_write(struct file *f, struct uio *uio, int64_t *pos)
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
