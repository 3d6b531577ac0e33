/*
 * Queues by name, and as files. A queue lives as long as its name or an open file; it is counted
 * against RLIMIT_MSGQUEUE with the most that it may ever hold, as Linux does.
 */
#include "sentry/kernel/ipc/mqueue.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/plainstat.h"
#include "sentry/vfs/attr/setattr.h"

/* What Linux counts for each message and each priority, sizeof(struct msg_msg) and a tree node. */
#define MESSAGE_HEAD 48
#define TREE_NODE    48

struct mq_file {
    struct file file;
    struct mqueue *queue; /* a reference */
};

static const struct file_operations mqueue_operations;

void mq_table_init(struct mq_table *table)
{
    lock_init(&table->lock);
    list_init(&table->all);
}

bool mq_is_queue(const struct file *file)
{
    return file->ops == &mqueue_operations;
}

struct mqueue *mqueue_of(struct file *file)
{
    return container_of(file, struct mq_file, file)->queue;
}

struct mqueue *mqueue_unref(struct mqueue *q)
{
    struct mq_table *table;

    if (!q || !refcount_put(&q->refs))
        return NULL;
    table = &q->ns->mqueues;
    lock_acquire(&table->lock);
    list_del_init(&q->node);
    lock_release(&table->lock);
    mq_free_messages(q);
    process_unref(q->owner);
    file_unref(q->cookie.socket);
    lock_destroy(&q->lock);
    ipc_ns_drop(q->ns);
    free(q);
    return NULL;
}

/* ---- as a file ---------------------------------------------------------------------------- */

/* "QSIZE:... NOTIFY:... SIGNO:... NOTIFY_PID:...", as mqueue_read_file() prints it. */
static ssize_t status_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct mqueue *q = mqueue_of(f);
    char text[MQUEUE_TEXT_SIZE];
    ssize_t n;
    int length;

    lock_acquire(&q->lock);
    length = snprintf(text, sizeof(text), "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n",
                      q->bytes, q->owner ? q->event.sigev_notify : 0,
                      q->owner && q->event.sigev_notify == SIGEV_SIGNAL ? q->event.sigev_signo : 0,
                      q->owner ? q->owner->pid : 0);
    lock_release(&q->lock);
    if (*pos < 0 || *pos >= length)
        return 0;
    n = uio_copy_out(uio, text + *pos, (size_t)(length - *pos));
    if (n > 0)
        *pos += n;
    return n;
}

static int64_t status_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return file_seek_in(offset, whence, pos, MQUEUE_TEXT_SIZE);
}

static uint32_t mqueue_poll(struct file *f, struct wait_entry *entry)
{
    struct mqueue *q = mqueue_of(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&q->poll_queue, entry);
    lock_acquire(&q->lock);
    if (q->count > 0)
        events |= POLLIN | POLLRDNORM;
    if (q->count < q->max_messages)
        events |= POLLOUT | POLLWRNORM;
    lock_release(&q->lock);
    return events;
}

static void mqueue_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&mqueue_of(f)->poll_queue, entry);
}

void mq_stat(struct mqueue *q, struct linux_stat *ret)
{
    *ret = (struct linux_stat){
        .st_dev = makedev(0, MQUEUE_DEV_MINOR),
        .st_ino = q->ino,
        .st_nlink = __atomic_load_n(&q->name, __ATOMIC_RELAXED) ? 1 : 0,
        .st_mode = S_IFREG | __atomic_load_n(&q->mode, __ATOMIC_RELAXED),
        .st_uid = __atomic_load_n(&q->uid, __ATOMIC_RELAXED),
        .st_gid = __atomic_load_n(&q->gid, __ATOMIC_RELAXED),
        .st_size = MQUEUE_TEXT_SIZE,
        .st_blksize = 4096,
    };
    lock_acquire(&q->lock);
    stat_set_times(ret, &q->times.atime, &q->times.mtime, &q->times.ctime);
    lock_release(&q->lock);
}

static int mqueue_stat(struct file *f, struct linux_stat *ret)
{
    mq_stat(mqueue_of(f), ret);
    return 0;
}

static int mqueue_statfs(struct file *f, struct linux_statfs *ret)
{
    *ret = statfs_of_memory(MQUEUE_MAGIC);
    return 0;
}

/* close(2), of any descriptor: a process that does it gets no notification any more. */
static void mqueue_flush(struct file *f)
{
    struct mqueue *q = mqueue_of(f);
    struct task *task = task_current();
    struct mq_registration was = {0};

    lock_acquire(&q->lock);
    if (q->owner && task && q->owner == task->process)
        was = mq_unregister_locked(q);
    lock_release(&q->lock);
    mq_tell(&was, MQ_COOKIE_REMOVED);
}

static void mqueue_release(struct file *f)
{
    struct mq_file *mf = container_of(f, struct mq_file, file);

    mqueue_unref(mf->queue);
    file_fini(f);
    free(mf);
}

static const struct file_operations mqueue_operations = {
    .read = status_read,
    .llseek = status_llseek,
    .poll = mqueue_poll,
    .unpoll = mqueue_unpoll,
    .stat = mqueue_stat,
    .statfs = mqueue_statfs,
    .flush = mqueue_flush,
    .release = mqueue_release,
};

/* ---- names -------------------------------------------------------------------------------- */

struct mqueue *mq_find_locked(struct mq_table *table, struct name name)
{
    struct mqueue *q;

    list_for_each (q, &table->all, node) {
        if (q->name && name_same((struct name){q->name, strlen(q->name)}, name))
            return q;
    }
    return NULL;
}

static int check_name(const char *name)
{
    if (strlen(name) > VFS_NAME_MAX)
        return -ENAMETOOLONG;
    return strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? -EACCES : 0;
}

/* mq_attr_ok(), and how much the queue counts. */
static int check_attr(const struct task *task, const struct mq_attr *attr, uint64_t *ret_bytes)
{
    const struct ipc_limits *limits = &task_ipc_ns(task)->limits;
    uint64_t max_count = ipc_limit(&limits->mq_messages), max_size = ipc_limit(&limits->mq_size);
    bool trusted = task_has_cap(task, CAP_SYS_RESOURCE);
    uint64_t count = (uint64_t)attr->mq_maxmsg, nodes = MIN(count, (uint64_t)MQ_PRIORITIES);

    if (attr->mq_maxmsg <= 0 || attr->mq_msgsize <= 0)
        return -EINVAL;
    if (count > (trusted ? MQ_MSG_HARD_MAX : max_count) ||
        (uint64_t)attr->mq_msgsize > (trusted ? (uint64_t)MQ_MSGSIZE_HARD_MAX : max_size))
        return -EINVAL;
    *ret_bytes = count * MESSAGE_HEAD + nodes * TREE_NODE + count * (uint64_t)attr->mq_msgsize;
    return 0;
}

static uint64_t counted_bytes(const struct mqueue *q)
{
    uint64_t count = (uint64_t)q->max_messages, nodes = MIN(count, (uint64_t)MQ_PRIORITIES);

    return count * MESSAGE_HEAD + nodes * TREE_NODE + count * (uint64_t)q->max_size;
}

static bool within_limit(struct mq_table *table, uint32_t uid, uint64_t bytes, uint64_t limit)
{
    struct mqueue *q;

    list_for_each (q, &table->all, node) {
        if (q->account == uid)
            bytes += counted_bytes(q);
    }
    return bytes <= limit;
}

static int create_locked(struct task *task, struct ipc_ns *ns, struct name name, uint32_t mode,
                         const struct mq_attr *attr, uint64_t limit, struct mqueue **ret)
{
    const struct timespec now = vfs_now();
    static uint64_t last_ino = 2; /* atomic */
    struct mq_table *table = &ns->mqueues;
    struct mqueue *q;
    uint64_t bytes;
    int err;

    if (table->named >= ipc_limit(&ns->limits.mq_queues) && !task_has_cap(task, CAP_SYS_RESOURCE))
        return -ENOSPC;
    err = check_attr(task, attr, &bytes);
    if (err < 0)
        return err;
    if (!within_limit(table, task->cred->uid, bytes, limit))
        return -EMFILE;
    q = calloc(1, sizeof(*q));
    if (!q || !(q->name = strndup(name.text, name.size))) {
        free(q);
        return -ENOMEM;
    }
    refcount_set(&q->refs, 1);
    refcount_get(&ns->holds);
    q->ns = ns;
    q->mode = mode;
    q->uid = task->cred->fsuid;
    q->gid = task->cred->fsgid;
    q->account = task->cred->uid;
    q->ino = __atomic_add_fetch(&last_ino, 1, __ATOMIC_RELAXED);
    q->max_messages = attr->mq_maxmsg;
    q->max_size = attr->mq_msgsize;
    wait_queue_init(&q->poll_queue);
    lock_init(&q->lock);
    q->times = (struct mq_times){now, now, now};
    list_init(&q->messages);
    list_init(&q->receivers);
    list_init(&q->senders);
    list_add_tail(&table->all, &q->node);
    table->named++;
    *ret = q;
    return 0;
}

static bool may_open(const struct task *task, const struct mqueue *q, int flags)
{
    static const unsigned wanted[] = {[O_RDONLY] = 4, [O_WRONLY] = 2, [O_RDWR] = 6};
    const struct cred *cred = task->cred;
    unsigned granted = __atomic_load_n(&q->mode, __ATOMIC_RELAXED);
    uint32_t uid = __atomic_load_n(&q->uid, __ATOMIC_RELAXED);
    uint32_t gid = __atomic_load_n(&q->gid, __ATOMIC_RELAXED);

    if (cred->fsuid == uid)
        granted >>= 6;
    else if (cred_in_group(cred, gid))
        granted >>= 3;
    return !(wanted[flags & O_ACCMODE] & ~granted) || vfs_has_cap_over(uid, gid, CAP_DAC_OVERRIDE);
}

/* An existing queue or a new one, with a reference for the file. */
static int look_up(struct task *task, struct ipc_ns *ns, const char *name, int flags, uint32_t mode,
                   const struct mq_attr *attr, uint64_t limit, struct mqueue **ret)
{
    const struct name wanted = {name, strlen(name)};
    struct mqueue *q = mq_find_locked(&ns->mqueues, wanted);
    int err = 0;

    if (q && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    if (q && !may_open(task, q, flags))
        return -EACCES;
    if (!q && !(flags & O_CREAT))
        return -ENOENT;
    if (!q)
        err = create_locked(task, ns, wanted, mode, attr, limit, &q);
    if (err < 0)
        return err;
    refcount_get(&q->refs);
    *ret = q;
    return 0;
}

/* mqueue_get_inode(): what a queue is like whose maker does not say; never above the limits. */
static struct mq_attr default_attr(const struct ipc_ns *ns)
{
    const struct ipc_limits *limits = &ns->limits;

    return (struct mq_attr){
        .mq_maxmsg =
            (long)MIN(ipc_limit(&limits->mq_messages), ipc_limit(&limits->mq_messages_default)),
        .mq_msgsize = (long)MIN(ipc_limit(&limits->mq_size), ipc_limit(&limits->mq_size_default)),
    };
}

int mq_file_create(struct mqueue *q, uint32_t flags, char *path, struct file **ret)
{
    struct mq_file *f = calloc(1, sizeof(*f));

    if (!f) {
        mqueue_unref(q);
        free(path);
        return -ENOMEM;
    }
    file_init(&f->file, &mqueue_operations, flags);
    f->file.path = path;
    f->queue = q;
    *ret = &f->file;
    return 0;
}

int mq_open_file(struct task *task, const char *name, int flags, uint32_t mode,
                 const struct mq_attr *attr, struct file **ret)
{
    uint64_t limit = task_rlimit(task, RLIMIT_MSGQUEUE);
    struct ipc_ns *ns = task_ipc_ns(task);
    const struct mq_attr defaults = default_attr(ns);
    struct mqueue *q;
    char *path;
    int err = check_name(name);

    if (err < 0)
        return err;
    if (asprintf(&path, "/%s", name) < 0)
        return -ENOMEM;
    lock_acquire(&ns->mqueues.lock);
    err = look_up(task, ns, name, flags, mode, attr ? attr : &defaults, limit, &q);
    lock_release(&ns->mqueues.lock);
    if (err < 0) {
        free(path);
        return err;
    }
    return mq_file_create(q, (uint32_t)flags & (O_ACCMODE | O_NONBLOCK), path, ret);
}

int mq_make(struct task *task, struct ipc_ns *ns, struct name name, const struct inode_make *make,
            struct mqueue **ret)
{
    uint64_t limit = task_rlimit(task, RLIMIT_MSGQUEUE);
    struct mq_table *table = &ns->mqueues;
    const struct mq_attr attr = default_attr(ns);
    struct mqueue *q;
    int err = -EACCES;

    lock_acquire(&table->lock);
    if (!table->ended)
        err = mq_find_locked(table, name)
                  ? -EEXIST
                  : create_locked(task, ns, name, make->mode & 07777, &attr, limit, &q);
    if (!err) {
        q->uid = make->uid;
        q->gid = make->gid;
        refcount_get(&q->refs);
        *ret = q;
    }
    lock_release(&table->lock);
    return err;
}

static void forget_name_locked(struct mq_table *table, struct mqueue *q)
{
    free(q->name);
    __atomic_store_n(&q->name, NULL, __ATOMIC_RELAXED);
    table->named--;
}

/* The directory of queues is sticky, and root's. */
static bool may_unlink(const struct cred *cred, const struct mqueue *q)
{
    uint32_t uid = __atomic_load_n(&q->uid, __ATOMIC_RELAXED);

    return cred->fsuid == uid || cred->fsuid == 0 ||
           vfs_has_cap_over(uid, __atomic_load_n(&q->gid, __ATOMIC_RELAXED), CAP_FOWNER);
}

int mq_unlink_name(struct task *task, const char *name)
{
    struct mq_table *table = &task_ipc_ns(task)->mqueues;
    int err = check_name(name);
    struct mqueue *q;

    if (err < 0)
        return err;
    lock_acquire(&table->lock);
    q = mq_find_locked(table, (struct name){name, strlen(name)});
    if (!q)
        err = -ENOENT;
    else if (!may_unlink(task->cred, q))
        err = -EPERM;
    else
        forget_name_locked(table, q);
    lock_release(&table->lock);
    if (err == 0)
        mqueue_unref(q);
    return err;
}

void mq_forget_name(struct mqueue *q)
{
    struct mq_table *table = &q->ns->mqueues;
    bool had_name;

    lock_acquire(&table->lock);
    had_name = q->name != NULL;
    if (had_name)
        forget_name_locked(table, q);
    lock_release(&table->lock);
    if (had_name)
        mqueue_unref(q);
}

void mq_forget_all(struct mq_table *table)
{
    struct mqueue *q, *found;

    do {
        found = NULL;
        lock_acquire(&table->lock);
        list_for_each (q, &table->all, node) {
            if (q->name)
                found = q;
        }
        if (found)
            forget_name_locked(table, found);
        lock_release(&table->lock);
        mqueue_unref(found);
    } while (found);
}

void mq_destroy_all(struct ipc_ns *ns)
{
    struct mq_table *table = &ns->mqueues;
    bool mounted;

    lock_acquire(&table->lock);
    table->ended = true;
    mounted = table->sb != NULL;
    lock_release(&table->lock);
    if (!mounted)
        mq_forget_all(table);
}
