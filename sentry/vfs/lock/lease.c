#include "sentry/vfs/lock/lease.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

#include "host/clock.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/mountmap.h"

struct lease {
    struct list node;
    const struct file *file; /* borrowed: lease_released() */
    uint64_t dev, ino;
    int32_t pid;
    int type;             /* F_RDLCK, F_WRLCK */
    int target;           /* what it is to become; == type: nobody asks */
    uint64_t deadline_ns; /* when it becomes that by itself */
    uint32_t writers;     /* how many attempts to write wait for it */
    void (*broken)(struct file *f);
};

uint32_t lease_break_seconds = 45;
uint32_t lease_count;

static struct lock lock = LOCK_INIT;
static struct list leases __guarded_by(lock) = LIST_INIT(leases);
static struct list waiters __guarded_by(lock) = LIST_INIT(waiters);

static uint64_t changes; /* atomic */
static _Thread_local struct lease_attempt *attempt;

static void wake_waiters(void) __must_hold(lock)
{
    struct lease_waiter *w;

    __atomic_fetch_add(&changes, 1, __ATOMIC_RELAXED);
    list_for_each (w, &waiters, node)
        w->wake(w);
}

static void drop(struct lease *l) __must_hold(lock)
{
    list_del_init(&l->node);
    __atomic_fetch_sub(&lease_count, 1, __ATOMIC_RELAXED);
    free(l);
    wake_waiters();
}

/* Holders that did not answer in time. */
static void expire(void) __must_hold(lock)
{
    uint64_t now = host_monotonic_ns();
    struct lease *l, *tmp;

    list_for_each_safe (l, tmp, &leases, node) {
        if (l->target == l->type || now < l->deadline_ns)
            continue;
        l->type = l->target;
        if (l->type == F_UNLCK)
            drop(l);
        else
            wake_waiters();
    }
}

static bool is_on(const struct lease *l, const struct inode *inode)
{
    return l->dev == inode->dev && l->ino == inode->ino;
}

static int32_t load(const int32_t *count)
{
    return __atomic_load_n(count, __ATOMIC_RELAXED);
}

/* Linux counts who waits to write as a writer. */
static bool awaited(const struct inode *inode) __must_hold(lock)
{
    struct lease *l;

    list_for_each (l, &leases, node) {
        if (is_on(l, inode) && l->writers > 0)
            return true;
    }
    return false;
}

/* check_conflicting_open(): a write lease wants the file for itself. */
static int check_opens(const struct file *f, int type) __must_hold(lock)
{
    const struct inode *inode = f->at.dentry->inode;
    int32_t writers = load(&inode->write_count), readers = load(&inode->read_count);

    if (type == F_RDLCK)
        return writers > 0 || awaited(inode) ? -EAGAIN : 0;
    return MAX(writers, 0) != (f->counts_as_writer ? 1 : 0) ||
                   readers != (f->counts_as_reader ? 1 : 0)
               ? -EAGAIN
               : 0;
}

/* generic_add_lease(); *ret_own: the one that this file has. */
static int check_others(const struct file *f, int type, struct lease **ret_own) __must_hold(lock)
{
    struct lease *l;

    *ret_own = NULL;
    list_for_each (l, &leases, node) {
        if (l->file == f)
            *ret_own = l;
        else if (is_on(l, f->at.dentry->inode) && (type == F_WRLCK || l->target == F_UNLCK))
            return -EAGAIN;
    }
    return 0;
}

static int give_back(const struct file *f) __must_hold(lock)
{
    struct lease *l, *tmp;

    list_for_each_safe (l, tmp, &leases, node) {
        if (l->file == f) {
            drop(l);
            return 0;
        }
    }
    return -EAGAIN;
}

static int take(struct file *f, int type, int32_t pid, void (*broken)(struct file *f))
    __must_hold(lock)
{
    struct lease *l;
    int err = check_opens(f, type);

    if (!err)
        err = check_others(f, type, &l);
    if (err < 0)
        return err;
    if (!l) {
        l = calloc(1, sizeof(*l));
        if (!l)
            return -ENOMEM;
        l->file = f;
        l->dev = f->at.dentry->inode->dev;
        l->ino = f->at.dentry->inode->ino;
        list_add_tail(&leases, &l->node);
        __atomic_fetch_add(&lease_count, 1, __ATOMIC_RELAXED);
    }
    l->type = l->target = type;
    l->broken = broken;
    l->pid = pid;
    wake_waiters();
    return 0;
}

int lease_set(struct file *f, int type, int32_t pid, void (*broken)(struct file *f))
{
    const struct inode *inode = f->at.dentry ? f->at.dentry->inode : NULL;
    int err;

    if (type != F_RDLCK && type != F_WRLCK && type != F_UNLCK)
        return -EINVAL;
    if (!inode)
        return -EINVAL;
    if (vfs_identity()->uid != inode_uid(path_map(&f->at), inode) && !vfs_has_cap(CAP_LEASE))
        return -EACCES;
    if (inode_type(inode) != S_IFREG)
        return -EINVAL;
    lock_acquire(&lock);
    expire();
    err = type == F_UNLCK ? give_back(f) : take(f, type, pid, broken);
    lock_release(&lock);
    return err;
}

int lease_get(const struct file *f)
{
    int type = F_UNLCK;
    struct lease *l;

    lock_acquire(&lock);
    expire();
    list_for_each (l, &leases, node) {
        if (l->file == f)
            type = l->target;
    }
    lock_release(&lock);
    return type;
}

void lease_released(const struct file *f)
{
    if (__atomic_load_n(&lease_count, __ATOMIC_RELAXED) == 0)
        return;
    lock_acquire(&lock);
    give_back(f);
    lock_release(&lock);
}

/* Is it in the way, and its holder to be told? */
static bool conflicts(const struct lease *l, bool write)
{
    return write || l->type == F_WRLCK;
}

/* The thread's attempt waits for `l`, with others on the same file perhaps. */
static void count_writer(struct lease *l) __must_hold(lock)
{
    struct lease_attempt *a = attempt;

    if (!a || (a->counted && (a->dev != l->dev || a->ino != l->ino)))
        return;
    l->writers += !a->counted;
    a->dev = l->dev;
    a->ino = l->ino;
    a->counted = true;
}

void lease_attempt_begin(struct lease_attempt *a)
{
    *a = (struct lease_attempt){.seen = 0};
    attempt = a;
}

void lease_attempt_again(struct lease_attempt *a)
{
    a->seen = __atomic_load_n(&changes, __ATOMIC_RELAXED);
}

void lease_attempt_end(struct lease_attempt *a)
{
    struct lease *l;

    attempt = NULL;
    if (!a->counted)
        return;
    lock_acquire(&lock);
    list_for_each (l, &leases, node) {
        if (l->dev == a->dev && l->ino == a->ino && l->writers > 0) {
            l->writers--;
            break;
        }
    }
    lock_release(&lock);
}

int lease_break_slowly(const struct inode *inode, bool write)
{
    int target = write ? F_UNLCK : F_RDLCK, err = 0;
    struct lease *l;

    lock_acquire(&lock);
    expire();
    list_for_each (l, &leases, node) {
        if (!is_on(l, inode) || !conflicts(l, write))
            continue;
        err = -EAGAIN;
        if (write)
            count_writer(l);
        if (l->target == F_UNLCK || l->target == target)
            continue; /* told already */
        l->target = target;
        l->deadline_ns = host_monotonic_ns() +
                         __atomic_load_n(&lease_break_seconds, __ATOMIC_RELAXED) * 1000000000UL;
        l->broken((struct file *)l->file);
    }
    lock_release(&lock);
    return err;
}

uint64_t lease_wait_begin(struct lease_waiter *w, const struct lease_attempt *a)
{
    uint64_t next = UINT64_MAX;
    struct lease *l;

    lock_acquire(&lock);
    list_add_tail(&waiters, &w->node);
    list_for_each (l, &leases, node) {
        if (l->target != l->type && l->deadline_ns < next)
            next = l->deadline_ns;
    }
    if (a->seen != changes)
        next = 0;
    lock_release(&lock);
    return next;
}

void lease_wait_end(struct lease_waiter *w)
{
    lock_acquire(&lock);
    list_del_init(&w->node);
    lock_release(&lock);
}

size_t lease_list(struct lease_view *views, size_t count)
{
    struct lease *l;
    size_t n = 0;

    lock_acquire(&lock);
    expire();
    list_for_each (l, &leases, node) {
        if (n < count)
            views[n] = (struct lease_view){.dev = l->dev,
                                           .ino = l->ino,
                                           .pid = l->pid,
                                           .type = l->target,
                                           .breaking = l->target != l->type};
        n++;
    }
    lock_release(&lock);
    return n;
}
