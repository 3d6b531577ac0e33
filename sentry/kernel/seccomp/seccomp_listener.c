/*
 * seccomp_unotify(2), the side that answers: a descriptor from which questions are received and to
 * which answers are sent. Alone among files this one sleeps in its ioctl: it belongs to the floor
 * that knows tasks.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/seccomp/seccomp_internal.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

#define ID_VALID_WRONG_DIR      SECCOMP_IOR(2, __u64) /* what the call was before Linux 5.17 */
#define IOCTL_SET_FLAGS         SECCOMP_IOW(4, __u64)
#define ADDFD_SIZE_MAX          4096
#define FLAG_SYNC_WAKE_UP       1UL /* a hint */
#define IOCTL_WITHOUT_SIZE(cmd) ((cmd) & ~(uint32_t)IOCSIZE_MASK)

struct notify_file {
    struct file file;
    struct seccomp_notify *notify; /* owned reference */
};

static struct seccomp_notify *notify_of(struct file *f)
{
    return container_of(f, struct notify_file, file)->notify;
}

/* 1: taken; 0: none yet; -ENOENT: there will be none. */
static int take_question(struct seccomp_notify *notify, struct seccomp_notif *ret)
{
    struct question *q;
    int result = 0;

    lock_acquire(&notify->lock);
    q = seccomp_question_in_locked(notify, ASKED);
    if (q) {
        q->state = RECEIVED;
        *ret = (struct seccomp_notif){
            .id = q->id,
            .pid = (uint32_t)task_shown_pid(task_current(), q->task->tid),
            .data = q->data,
        };
        result = 1;
    } else if (notify->orphan) {
        result = -ENOENT;
    }
    lock_release(&notify->lock);
    return result;
}

/* The listener could not be told after all: the next one may be. */
static void put_question_back(struct seccomp_notify *notify, uint64_t id)
{
    struct question *q;

    lock_acquire(&notify->lock);
    q = seccomp_question_locked(notify, id);
    if (q && q->state == RECEIVED)
        q->state = ASKED;
    lock_release(&notify->lock);
    wait_queue_wake(&notify->queue, POLLIN | POLLRDNORM);
}

static long receive(struct seccomp_notify *notify, struct mm *mm, uaddr_t arg)
{
    static const struct seccomp_notif zero;
    struct task *task = task_current();
    struct seccomp_notif notif;
    struct wait_entry entry;
    int result;

    if (copy_struct_from_user(mm, &notif, arg) < 0)
        return -EFAULT;
    if (memcmp(&notif, &zero, sizeof(notif)) != 0)
        return -EINVAL;
    waiter_reset(&task->waiter);
    wait_entry_init(&entry, &task->waiter, 0);
    wait_queue_add(&notify->queue, &entry);
    while ((result = take_question(notify, &notif)) == 0) {
        result = task_block(task, UINT64_MAX);
        if (result < 0)
            break;
    }
    wait_queue_remove(&notify->queue, &entry);
    if (result < 0)
        return result == -ERESTARTSYS ? -EINTR : result;
    if (copy_struct_to_user(mm, arg, &notif) < 0) {
        put_question_back(notify, notif.id);
        return -EFAULT;
    }
    wait_queue_wake(&notify->queue, POLLOUT | POLLWRNORM);
    return 0;
}

static long send(struct seccomp_notify *notify, struct mm *mm, uaddr_t arg)
{
    struct seccomp_notif_resp resp;
    struct question *q;
    long result = 0;

    if (copy_struct_from_user(mm, &resp, arg) < 0)
        return -EFAULT;
    if ((resp.flags & ~SECCOMP_USER_NOTIF_FLAG_CONTINUE) ||
        ((resp.flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE) && (resp.error || resp.val)))
        return -EINVAL;
    lock_acquire(&notify->lock);
    q = seccomp_question_locked(notify, resp.id);
    if (!q)
        result = -ENOENT;
    else if (q->state != RECEIVED)
        result = -EINPROGRESS;
    else
        seccomp_answer_locked(q, &resp);
    lock_release(&notify->lock);
    return result;
}

static long id_valid(struct seccomp_notify *notify, struct mm *mm, uaddr_t arg)
{
    struct question *q;
    uint64_t id;
    bool valid;

    if (copy_struct_from_user(mm, &id, arg) < 0)
        return -EFAULT;
    lock_acquire(&notify->lock);
    q = seccomp_question_locked(notify, id);
    valid = q && q->state == RECEIVED;
    lock_release(&notify->lock);
    return valid ? 0 : -ENOENT;
}

/* The structure may grow: what is beyond ours has to be zero. */
static long get_addfd(struct mm *mm, uaddr_t arg, uint32_t cmd, struct seccomp_notif_addfd *ret)
{
    size_t size = _IOC_SIZE(cmd);
    uint8_t rest[64];

    if (size < sizeof(*ret) || size >= ADDFD_SIZE_MAX)
        return -EINVAL;
    if (copy_struct_from_user(mm, ret, arg) < 0)
        return -EFAULT;
    for (size_t at = sizeof(*ret); at < size;) {
        size_t n = MIN(sizeof(rest), size - at);

        if (copy_from_user(mm, rest, arg + at, n) < 0)
            return -EFAULT;
        for (size_t i = 0; i < n; i++) {
            if (rest[i])
                return -E2BIG;
        }
        at += n;
    }
    if ((ret->newfd_flags & ~(uint32_t)O_CLOEXEC) ||
        (ret->flags & ~(uint32_t)(SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND)) ||
        (ret->newfd && !(ret->flags & SECCOMP_ADDFD_FLAG_SETFD)))
        return -EINVAL;
    return 0;
}

/* Who asks under that id, referenced. */
static long find_asker(struct seccomp_notify *notify, uint64_t id, bool alone, struct task **ret)
{
    struct question *q, *asked;
    long result = 0;

    lock_acquire(&notify->lock);
    q = seccomp_question_locked(notify, id);
    asked = seccomp_question_in_locked(notify, ASKED);
    if (!q)
        result = -ENOENT;
    else if (q->state != RECEIVED)
        result = -EINPROGRESS;
    else if (alone && asked)
        result = -EBUSY;
    else
        *ret = task_ref(q->task);
    lock_release(&notify->lock);
    return result;
}

static long give_fd(struct task *to, struct file *file, const struct seccomp_notif_addfd *add)
{
    bool cloexec = add->newfd_flags & O_CLOEXEC;
    uint64_t limit = task_rlimit(to, RLIMIT_NOFILE);
    struct fdtable *files = task_get_files(to);
    long fd;

    if (!files)
        return -ESRCH;
    if (add->flags & SECCOMP_ADDFD_FLAG_SETFD)
        fd = fdtable_replace(files, (int)add->newfd, file_ref(file), limit, cloexec);
    else
        fd = fdtable_install(files, file_ref(file), 0, limit, cloexec);
    if (fd < 0)
        file_unref(file);
    else if (add->flags & SECCOMP_ADDFD_FLAG_SETFD)
        fd = (int)add->newfd;
    fdtable_unref(files);
    return fd;
}

static long add_fd(struct seccomp_notify *notify, struct mm *mm, uint32_t cmd, uaddr_t arg)
{
    struct seccomp_notif_addfd add;
    struct task *asker;
    struct question *q;
    struct file *file;
    long result = get_addfd(mm, arg, cmd, &add);

    if (result < 0)
        return result;
    file = fdtable_get(task_current()->files, (int)add.srcfd);
    if (!file)
        return -EBADF;
    result = find_asker(notify, add.id, add.flags & SECCOMP_ADDFD_FLAG_SEND, &asker);
    if (result == 0) {
        result = give_fd(asker, file, &add);
        task_unref(asker);
    }
    file_unref(file);
    if (result >= 0 && (add.flags & SECCOMP_ADDFD_FLAG_SEND)) {
        const struct seccomp_notif_resp resp = {.id = add.id, .val = result};

        lock_acquire(&notify->lock);
        q = seccomp_question_locked(notify, add.id);
        if (q && q->state == RECEIVED)
            seccomp_answer_locked(q, &resp);
        lock_release(&notify->lock);
    }
    return result;
}

static long set_flags(struct mm *mm, uint64_t flags)
{
    return flags & ~FLAG_SYNC_WAKE_UP ? -EINVAL : 0;
}

/* ---- the file ----------------------------------------------------------------------------- */

static long notify_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct seccomp_notify *notify = notify_of(f);

    switch (cmd) {
    case SECCOMP_IOCTL_NOTIF_RECV:
        return receive(notify, mm, arg);
    case SECCOMP_IOCTL_NOTIF_SEND:
        return send(notify, mm, arg);
    case SECCOMP_IOCTL_NOTIF_ID_VALID:
    case ID_VALID_WRONG_DIR:
        return id_valid(notify, mm, arg);
    case IOCTL_SET_FLAGS:
        return set_flags(mm, arg);
    default:
        break;
    }
    if (IOCTL_WITHOUT_SIZE(cmd) == IOCTL_WITHOUT_SIZE(SECCOMP_IOCTL_NOTIF_ADDFD))
        return add_fd(notify, mm, cmd, arg);
    return -EINVAL;
}

static uint32_t notify_poll(struct file *f, struct wait_entry *entry)
{
    struct seccomp_notify *notify = notify_of(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&notify->queue, entry);
    lock_acquire(&notify->lock);
    if (seccomp_question_in_locked(notify, ASKED))
        events |= POLLIN | POLLRDNORM;
    if (seccomp_question_in_locked(notify, RECEIVED))
        events |= POLLOUT | POLLWRNORM;
    if (notify->orphan)
        events |= POLLHUP;
    lock_release(&notify->lock);
    return events;
}

static void notify_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&notify_of(f)->queue, entry);
}

static void notify_release(struct file *f)
{
    struct seccomp_notify *notify = notify_of(f);
    struct question *q;

    lock_acquire(&notify->lock);
    notify->listening = false;
    list_for_each (q, &notify->questions, node) {
        const struct seccomp_notif_resp resp = {.id = q->id, .error = -ENOSYS};

        if (q->state != ANSWERED)
            seccomp_answer_locked(q, &resp);
    }
    lock_release(&notify->lock);
    seccomp_notify_destroy(notify);
    file_fini(f);
    free(container_of(f, struct notify_file, file));
}

static const struct file_operations notify_operations = {
    .poll = notify_poll,
    .unpoll = notify_unpoll,
    .ioctl = notify_ioctl,
    .stat = anon_stat,
    .release = notify_release,
    .seek_ignored = true,
};

int seccomp_notify_create(struct seccomp_filter *filter, struct file **ret)
{
    struct seccomp_notify *notify = calloc(1, sizeof(*notify));
    struct notify_file *f = calloc(1, sizeof(*f));
    char *name = strdup("anon_inode:seccomp notify");

    if (!notify || !f || !name) {
        free(notify);
        free(f);
        free(name);
        return -ENOMEM;
    }
    refcount_set(&notify->refs, 2);
    lock_init(&notify->lock);
    list_init(&notify->questions);
    wait_queue_init(&notify->queue);
    notify->listening = true;
    file_init(&f->file, &notify_operations, O_RDWR);
    f->file.path = name;
    f->notify = notify;
    filter->notify = notify;
    *ret = &f->file;
    return 0;
}
