/*
 * Message queues as files: mount -t mqueue. Names are those of the table (mqueue.c), which is asked
 * at each look-up; mq_open(3) and open(2) give the same kind of file.
 *
 * There is one file system for a namespace at a time. It holds the namespace's memory, and keeps
 * the names of the queues when the last process has left: then nothing is made in it any more.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sentry/kernel/cred.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/ipc/mqueue.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/plainstat.h"
#include "sentry/vfs/attr/setattr.h"
#include "sentry/vfs/dirent.h"

#define ROOT_INO 1

struct mq_super {
    struct super_block sb;
    struct ipc_ns *ns; /* a hold */
};

struct mq_inode {
    struct inode inode;
    struct mqueue *queue;  /* a reference; NULL: the root */
    struct mq_times times; /* the root's; under sb.lock */
};

static struct mq_inode *mq_inode_of(const struct dentry *dentry)
{
    return container_of(dentry->inode, struct mq_inode, inode);
}

static struct mq_table *table_of(const struct dentry *dentry)
{
    return &container_of(dentry->sb, struct mq_super, sb)->ns->mqueues;
}

/* ---- objects -------------------------------------------------------------------------------- */

static const struct inode_operations mqfs_operations;

static uint32_t shared(const uint32_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static void set(uint32_t *field, uint32_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
}

/* Takes over the reference on the queue, also on failure. */
static struct inode *inode_of_queue(struct mqueue *q)
{
    struct mq_inode *m = calloc(1, sizeof(*m));

    if (!m) {
        mqueue_unref(q);
        return NULL;
    }
    inode_init(&m->inode, &mqfs_operations, S_IFREG | shared(&q->mode),
               makedev(0, MQUEUE_DEV_MINOR), q->ino);
    m->inode.uid = shared(&q->uid);
    m->inode.gid = shared(&q->gid);
    m->queue = q;
    return &m->inode;
}

static void mqfs_refresh(struct inode *inode, struct inode *fresh)
{
    set(&inode->mode, inode_mode(fresh));
    set(&inode->uid, shared(&fresh->uid));
    set(&inode->gid, shared(&fresh->gid));
}

static void mqfs_release(struct inode *inode)
{
    struct mq_inode *m = container_of(inode, struct mq_inode, inode);

    mqueue_unref(m->queue);
    free(m);
}

static int root_stat(struct dentry *dentry, struct linux_stat *ret)
{
    struct mq_inode *m = mq_inode_of(dentry);

    *ret = (struct linux_stat){
        .st_dev = m->inode.dev,
        .st_ino = m->inode.ino,
        .st_nlink = 2,
        .st_mode = inode_mode(&m->inode),
        .st_uid = shared(&m->inode.uid),
        .st_gid = shared(&m->inode.gid),
        .st_blksize = 4096,
    };
    lock_acquire(&dentry->sb->lock);
    stat_set_times(ret, &m->times.atime, &m->times.mtime, &m->times.ctime);
    lock_release(&dentry->sb->lock);
    return 0;
}

static int mqfs_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    struct mqueue *q = mq_inode_of(dentry)->queue;

    if (!q)
        return root_stat(dentry, ret);
    mq_stat(q, ret);
    return 0;
}

static int mqfs_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    *ret = statfs_of_memory(MQUEUE_MAGIC);
    ret->f_fsid[0] = MQUEUE_DEV_MINOR;
    return 0;
}

static int mqfs_setattr(struct dentry *dentry, const struct inode_attr *attr)
{
    struct mq_inode *m = mq_inode_of(dentry);
    struct mqueue *q = m->queue;
    struct lock *lock = q ? &q->lock : &dentry->sb->lock;
    struct mq_times *times = q ? &q->times : &m->times;

    if (attr->mask & ATTR_MODE)
        set(&m->inode.mode, (inode_mode(&m->inode) & S_IFMT) | attr->mode);
    if (attr->mask & ATTR_UID)
        set(&m->inode.uid, attr->uid);
    if (attr->mask & ATTR_GID)
        set(&m->inode.gid, attr->gid);
    if (q) {
        set(&q->mode, inode_mode(&m->inode) & 07777);
        set(&q->uid, shared(&m->inode.uid));
        set(&q->gid, shared(&m->inode.gid));
    }
    lock_acquire(lock);
    if (attr->mask & ATTR_ATIME)
        times->atime = attr->atime;
    if (attr->mask & ATTR_MTIME)
        times->mtime = attr->mtime;
    times->ctime = vfs_now();
    lock_release(lock);
    return 0;
}

/* There is nothing to cut. */
static int mqfs_truncate(struct dentry *dentry, uint64_t size)
{
    return 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

static int mqfs_lookup(struct dentry *dir, const struct name *names, int count,
                       struct inode **ret_inodes, int *ret_error)
{
    struct mq_table *table = table_of(dir);
    struct mqueue *q;

    *ret_error = 0;
    lock_acquire(&table->lock);
    q = mq_find_locked(table, names[0]);
    if (q)
        refcount_get(&q->refs);
    lock_release(&table->lock);
    ret_inodes[0] = q ? inode_of_queue(q) : NULL;
    if (ret_inodes[0])
        return 1;
    *ret_error = q ? -ENOMEM : -ENOENT;
    return 0;
}

static int mqfs_make(struct dentry *dir, struct name name, const struct inode_make *make,
                     struct inode **ret)
{
    struct task *task = task_current();
    struct mqueue *q;
    int err;

    if ((make->mode & S_IFMT) != S_IFREG || !task)
        return -EPERM;
    err = mq_make(task, container_of(dir->sb, struct mq_super, sb)->ns, name, make, &q);
    if (err < 0)
        return err;
    *ret = inode_of_queue(q);
    return *ret ? 0 : -ENOMEM;
}

static int mqfs_remove(struct dentry *dir, struct dentry *victim)
{
    mq_forget_name(mq_inode_of(victim)->queue);
    return 0;
}

/* ---- listing -------------------------------------------------------------------------------- */

/* The queue with a name that was made first from number `from` on. False: there are no more. */
static bool next_name(struct mq_table *table, uint64_t from, char name[VFS_NAME_MAX + 1],
                      uint64_t *ret_ino)
{
    const struct mqueue *q;
    bool found = false;

    lock_acquire(&table->lock);
    list_for_each (q, &table->all, node) { /* oldest first */
        found = q->name && q->ino >= from;
        if (!found)
            continue;
        strcpy(name, q->name);
        *ret_ino = q->ino;
        break;
    }
    lock_release(&table->lock);
    return found;
}

static int dir_getdents(struct file *f, struct dirent_sink *sink, int64_t *pos)
{
    char name[VFS_NAME_MAX + 1];
    uint64_t ino = 0;

    for (; *pos < 2; ++*pos) {
        if (!sink->emit(sink, "..", *pos ? 2 : 1, ROOT_INO, *pos + 1, DT_DIR))
            return 0;
    }
    while (next_name(table_of(f->at.dentry), (uint64_t)*pos, name, &ino)) {
        if (!sink->emit(sink, name, strlen(name), ino, (int64_t)ino + 1, DT_REG))
            break;
        *pos = (int64_t)ino + 1;
    }
    return 0;
}

static int64_t dir_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    int64_t target = whence == SEEK_CUR ? pos + offset : offset;

    return whence > SEEK_CUR || target < 0 ? -EINVAL : target;
}

static void dir_release(struct file *f)
{
    file_fini(f);
    free(f);
}

static const struct file_operations dir_operations = {
    .getdents = dir_getdents,
    .llseek = dir_llseek,
    .release = dir_release,
};

static int mqfs_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct mqueue *q = mq_inode_of(dentry)->queue;
    struct file *f;

    if (q) {
        refcount_get(&q->refs);
        return mq_file_create(q, flags, NULL, ret);
    }
    f = malloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    file_init(f, &dir_operations, flags);
    *ret = f;
    return 0;
}

static const struct inode_operations mqfs_operations = {
    .lookup = mqfs_lookup,
    .refresh = mqfs_refresh,
    .open = mqfs_open,
    .stat = mqfs_stat,
    .statfs = mqfs_statfs,
    .release = mqfs_release,
    .make = mqfs_make,
    .remove = mqfs_remove,
    .setattr = mqfs_setattr,
    .truncate = mqfs_truncate,
};

/* ---- the file system ------------------------------------------------------------------------ */

static void release_super(struct super_block *sb)
{
    struct mq_super *super = container_of(sb, struct mq_super, sb);
    struct mq_table *table = &super->ns->mqueues;
    bool last;

    lock_acquire(&table->lock);
    if (table->sb == sb)
        table->sb = NULL;
    last = table->ended && !table->sb;
    lock_release(&table->lock);
    if (last)
        mq_forget_all(table);
    ipc_ns_drop(super->ns);
    free(super);
}

static int create(struct ipc_ns *ns, struct super_block **ret)
{
    struct mq_super *super = calloc(1, sizeof(*super));
    struct mq_inode *root = calloc(1, sizeof(*root));
    const struct timespec now = vfs_now();

    if (!super || !root) {
        free(super);
        free(root);
        return -ENOMEM;
    }
    inode_init(&root->inode, &mqfs_operations, S_IFDIR | 01777, makedev(0, MQUEUE_DEV_MINOR),
               ROOT_INO);
    root->inode.uid = vfs_identity()->uid;
    root->inode.gid = vfs_identity()->gid;
    root->times = (struct mq_times){now, now, now};
    if (super_init(&super->sb, &root->inode, release_super) < 0) {
        free(super);
        free(root);
        return -ENOMEM;
    }
    super->sb.type = "mqueue";
    super->sb.checks_modes = true;
    super->sb.dev = (uint32_t)makedev(0, MQUEUE_DEV_MINOR);
    super->ns = ns;
    refcount_get(&ns->holds);
    *ret = &super->sb;
    return 0;
}

int mqfs_create(struct super_block **ret)
{
    struct task *task = task_current();
    struct ipc_ns *ns = task_ipc_ns(task);
    struct mq_table *table = &ns->mqueues;
    struct super_block *fresh;
    int err;

    if (!task_has_ns_cap(task, ns->ns.owner, CAP_SYS_ADMIN))
        return -EPERM;
    err = create(ns, &fresh);
    if (err < 0)
        return err;
    lock_acquire(&table->lock);
    if (table->sb && refcount_get_unless_zero(&table->sb->refs)) {
        *ret = table->sb;
    } else {
        table->sb = fresh;
        *ret = fresh;
        fresh = NULL;
    }
    lock_release(&table->lock);
    super_unref(fresh);
    return 0;
}
