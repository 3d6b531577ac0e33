/*
 * Invariant: the POSIX and OFD locks of one owner on one object never overlap, and neighbours of
 * one type are one lock. A context is kept while it has locks or waiters.
 */
#include "sentry/vfs/lock/filelock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "sentry/vfs/file.h"

#define BUCKETS        256
#define LOCKS_MAX      (1U << 19) /* in all: they are memory of the Sentry itself */
#define DEADLOCK_STEPS 10         /* as far as Linux follows a chain of waiters */

struct file_lock {
    struct list node;
    struct lock_request is;
};

/* The locks of one object. */
struct lock_context {
    struct list bucket;
    uint64_t dev, ino;
    struct list flocks, ranges, waiters;
};

static struct lock locks_lock = LOCK_INIT; /* guards everything here */
static struct list contexts[BUCKETS];
static uint32_t lock_count;
static uint32_t posix_count; /* of lock_count; atomic for those who only look whether it is 0 */

/* What has no place in the tree is known by its open file. */
static void key_of(const struct file *f, uint64_t *ret_dev, uint64_t *ret_ino)
{
    const struct inode *inode = f->at.dentry ? f->at.dentry->inode : NULL;

    *ret_dev = inode ? inode->dev : UINT64_MAX;
    *ret_ino = inode ? inode->ino : (uint64_t)(uintptr_t)f;
}

/* NULL: there is none, and none was to be made, or could be. */
static struct lock_context *context_of(const struct file *f, bool make) __must_hold(locks_lock)
{
    struct lock_context *c;
    struct list *bucket;
    uint64_t dev, ino;

    key_of(f, &dev, &ino);
    bucket = &contexts[(ino ^ ino >> 8 ^ dev) % BUCKETS];
    if (!bucket->next)
        list_init(bucket);
    list_for_each (c, bucket, bucket) {
        if (c->dev == dev && c->ino == ino)
            return c;
    }
    c = make ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    c->dev = dev;
    c->ino = ino;
    list_init(&c->flocks);
    list_init(&c->ranges);
    list_init(&c->waiters);
    list_add(bucket, &c->bucket);
    return c;
}

static void context_settle(struct lock_context *c) __must_hold(locks_lock)
{
    if (!list_empty(&c->flocks) || !list_empty(&c->ranges) || !list_empty(&c->waiters))
        return;
    list_del_init(&c->bucket);
    free(c);
}

static void wake_all(struct lock_context *c) __must_hold(locks_lock)
{
    struct lock_waiter *w;

    list_for_each (w, &c->waiters, node)
        w->wake(w);
}

static void count(const struct file_lock *l, int by) __must_hold(locks_lock)
{
    lock_count += (uint32_t)by;
    if (l->is.kind == LOCK_POSIX)
        __atomic_add_fetch(&posix_count, (uint32_t)by, __ATOMIC_RELAXED);
}

static void lock_free(struct file_lock *l) __must_hold(locks_lock)
{
    list_del_init(&l->node);
    count(l, -1);
    free(l);
}

static struct list *list_for(struct lock_context *c, enum lock_kind kind)
{
    return kind == LOCK_FLOCK ? &c->flocks : &c->ranges;
}

static bool same_owner(const struct lock_request *a, const struct lock_request *b)
{
    return a->kind == b->kind && a->owner == b->owner;
}

static bool conflicts(const struct lock_request *a, const struct lock_request *b)
{
    return !same_owner(a, b) && a->start <= b->end && b->start <= a->end &&
           (a->type == F_WRLCK || b->type == F_WRLCK);
}

static struct file_lock *find_conflict(struct lock_context *c, const struct lock_request *request)
    __must_hold(locks_lock)
{
    struct file_lock *l;

    list_for_each (l, list_for(c, request->kind), node) {
        if (conflicts(&l->is, request))
            return l;
    }
    return NULL;
}

/* ---- waiting ------------------------------------------------------------------------------- */

/* Whose lock the owner waits for; NULL: it does not. */
static const void *blocker_of(const void *owner) __must_hold(locks_lock)
{
    struct lock_context *c;
    struct lock_waiter *w;

    for (int i = 0; i < BUCKETS; i++) {
        if (!contexts[i].next)
            continue;
        list_for_each (c, &contexts[i], bucket) {
            list_for_each (w, &c->waiters, node) {
                if (w->owner == owner && w->blocker)
                    return w->blocker;
            }
        }
    }
    return NULL;
}

static bool would_deadlock(const void *owner, const void *blocker) __must_hold(locks_lock)
{
    for (int i = 0; blocker && i < DEADLOCK_STEPS; i++) {
        blocker = blocker_of(blocker);
        if (blocker == owner)
            return true;
    }
    return false;
}

/* `l` is in the way. */
static int enqueue(struct lock_context *c, const struct lock_request *request,
                   const struct file_lock *l, struct lock_waiter *w) __must_hold(locks_lock)
{
    bool posix = request->kind == LOCK_POSIX && l->is.kind == LOCK_POSIX;

    if (!w)
        return -EAGAIN;
    if (posix && would_deadlock(request->owner, l->is.owner))
        return -EDEADLK;
    w->context = c;
    w->owner = request->owner;
    w->wanted = *request;
    w->in_the_way = &l->is;
    w->blocker = posix ? l->is.owner : NULL;
    list_add_tail(&c->waiters, &w->node);
    return -EAGAIN;
}

void lock_waiter_init(struct lock_waiter *w, void (*wake)(struct lock_waiter *w))
{
    *w = (struct lock_waiter){.wake = wake};
    list_init(&w->node);
}

void filelock_unwait(struct lock_waiter *w)
{
    lock_acquire(&locks_lock);
    if (w->context) {
        list_del_init(&w->node);
        context_settle(w->context);
        w->context = NULL;
    }
    lock_release(&locks_lock);
}

/* ---- taking and giving back ----------------------------------------------------------------- */

/* A lock of the same owner and another type gives up [r->start, r->end]; `spare` for its far part.
 */
static void cut(struct file_lock *l, const struct lock_request *r, struct file_lock **spare)
    __must_hold(locks_lock)
{
    if (l->is.start < r->start && l->is.end > r->end) {
        struct file_lock *far = *spare;

        *spare = NULL;
        far->is = l->is;
        far->is.start = r->end + 1;
        l->is.end = r->start - 1;
        list_add(&l->node, &far->node);
        count(far, 1);
    } else if (l->is.start < r->start) {
        l->is.end = r->start - 1;
    } else if (l->is.end > r->end) {
        l->is.start = r->end + 1;
    } else {
        lock_free(l);
    }
}

static bool touches(const struct lock_request *a, const struct lock_request *b)
{
    bool before = a->end != INT64_MAX && a->end + 1 < b->start;
    bool behind = b->end != INT64_MAX && b->end + 1 < a->start;

    return !before && !behind;
}

/* Makes room for *r among the owner's own locks but `fresh`; *r may swallow some. */
static void settle_own(struct lock_context *c, struct lock_request *r, struct file_lock *fresh,
                       struct file_lock **spare) __must_hold(locks_lock)
{
    struct file_lock *l, *tmp;

    list_for_each_safe (l, tmp, list_for(c, r->kind), node) {
        if (l == fresh || !same_owner(&l->is, r))
            continue;
        if (l->is.type == r->type && touches(&l->is, r)) {
            r->start = MIN(r->start, l->is.start);
            r->end = MAX(r->end, l->is.end);
            lock_free(l);
        } else if (l->is.type != r->type && l->is.start <= r->end && r->start <= l->is.end) {
            cut(l, r, spare);
        }
    }
}

/*
 * Where the owner's locks are, ordered by their start, else behind all: F_GETLK tells the first
 * that is in the way, so the order shows.
 */
static void insert(struct lock_context *c, struct lock_request *r, struct file_lock *fresh,
                   struct file_lock **spare) __must_hold(locks_lock)
{
    struct list *all = list_for(c, r->kind);
    struct file_lock *l;

    list_for_each (l, all, node) {
        if (same_owner(&l->is, r))
            break;
    }
    list_add_tail(&l->node == all ? all : &l->node, &fresh->node);
    settle_own(c, r, fresh, spare);
    fresh->is = *r;
    count(fresh, 1);
    while (fresh->node.next != all) {
        l = list_entry(fresh->node.next, struct file_lock, node);
        if (!same_owner(&l->is, r) || l->is.start > r->start)
            break;
        list_del_init(&fresh->node);
        list_add(&l->node, &fresh->node);
    }
}

static int set_locked(struct lock_context *c, const struct lock_request *request,
                      struct file_lock **fresh, struct file_lock **spare, struct lock_waiter *w)
    __must_hold(locks_lock)
{
    struct lock_request r = *request;
    struct file_lock *conflict;

    /* flock(2): changing the type gives the old lock up first, whatever comes of it. */
    if (r.kind == LOCK_FLOCK)
        settle_own(c, &r, NULL, spare);
    conflict = r.type == F_UNLCK ? NULL : find_conflict(c, &r);
    if (conflict) {
        wake_all(c);
        return enqueue(c, &r, conflict, w);
    }
    if (r.type != F_UNLCK && lock_count >= LOCKS_MAX)
        return -ENOLCK;
    if (r.type != F_UNLCK) {
        insert(c, &r, *fresh, spare);
        *fresh = NULL;
    } else {
        settle_own(c, &r, NULL, spare);
    }
    wake_all(c);
    return 0;
}

int filelock_set(struct file *f, const struct lock_request *request, struct lock_waiter *w)
{
    struct file_lock *fresh = calloc(1, sizeof(*fresh)), *spare = calloc(1, sizeof(*spare));
    struct lock_context *c;
    int err = -ENOMEM;

    if (fresh && spare) {
        lock_acquire(&locks_lock);
        c = context_of(f, true);
        if (c) {
            err = set_locked(c, request, &fresh, &spare, w);
            context_settle(c);
        }
        if (!err && request->kind != LOCK_POSIX)
            __atomic_store_n(&f->has_locks, true, __ATOMIC_RELAXED);
        lock_release(&locks_lock);
    }
    free(fresh);
    free(spare);
    return err;
}

bool filelock_test(struct file *f, const struct lock_request *request,
                   struct lock_request *ret_lock)
{
    struct file_lock *l = NULL;
    struct lock_context *c;

    lock_acquire(&locks_lock);
    c = context_of(f, false);
    if (c)
        l = find_conflict(c, request);
    if (l)
        *ret_lock = l->is;
    lock_release(&locks_lock);
    return l != NULL;
}

static void drop_owned(struct file *f, struct list *(*which)(struct lock_context *c),
                       const void *owner) __must_hold(locks_lock)
{
    struct lock_context *c = context_of(f, false);
    struct file_lock *l, *tmp;

    if (!c)
        return;
    list_for_each_safe (l, tmp, which(c), node) {
        if (l->is.owner == owner)
            lock_free(l);
    }
    wake_all(c);
    context_settle(c);
}

static struct list *ranges_of(struct lock_context *c)
{
    return &c->ranges;
}

static struct list *flocks_of(struct lock_context *c)
{
    return &c->flocks;
}

void filelock_closed(struct file *f, const void *table)
{
    if (__atomic_load_n(&posix_count, __ATOMIC_RELAXED) == 0)
        return;
    lock_acquire(&locks_lock);
    drop_owned(f, ranges_of, table);
    lock_release(&locks_lock);
}

void filelock_released(struct file *f)
{
    if (!__atomic_load_n(&f->has_locks, __ATOMIC_RELAXED))
        return;
    lock_acquire(&locks_lock);
    drop_owned(f, ranges_of, f);
    drop_owned(f, flocks_of, f);
    lock_release(&locks_lock);
}

/* ---- telling ------------------------------------------------------------------------------- */

struct listing {
    struct lock_view *views;
    size_t room, count;
};

static void list_one(struct listing *to, const struct lock_context *c,
                     const struct lock_request *is, bool waiting)
{
    if (to->count < to->room)
        to->views[to->count] =
            (struct lock_view){.is = *is, .dev = c->dev, .ino = c->ino, .waiting = waiting};
    to->count++;
}

static void list_locks(struct listing *to, struct lock_context *c, struct list *locks)
    __must_hold(locks_lock)
{
    struct file_lock *l;
    struct lock_waiter *w;

    list_for_each (l, locks, node) {
        list_one(to, c, &l->is, false);
        list_for_each (w, &c->waiters, node) {
            if (w->in_the_way == &l->is)
                list_one(to, c, &w->wanted, true);
        }
    }
}

size_t filelock_list(struct lock_view *views, size_t count)
{
    struct listing to = {.views = views, .room = count};
    struct lock_context *c;

    lock_acquire(&locks_lock);
    for (int i = 0; i < BUCKETS; i++) {
        if (!contexts[i].next)
            continue;
        list_for_each (c, &contexts[i], bucket) {
            list_locks(&to, c, &c->flocks);
            list_locks(&to, c, &c->ranges);
        }
    }
    lock_release(&locks_lock);
    return to.count;
}
