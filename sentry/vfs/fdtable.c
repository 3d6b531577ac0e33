/*
 * Descriptor tables. An array of slots that doubles; `first_free` is a lower bound of the lowest
 * free number, so that opening does not search from 0 each time.
 */
#include "sentry/vfs/fdtable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/vfs/file.h"
#include "sentry/vfs/lock/filelock.h"

#define FDTABLE_INITIAL 64

uint64_t fdtable_nr_open = 1 << 20;

struct fd_slot {
    struct file *file; /* owned; NULL: free */
    bool cloexec;
};

struct fdtable {
    refcount_t refs;
    struct lock lock;
    struct fd_slot *slots __guarded_by(lock);
    int capacity __guarded_by(lock);
    int first_free __guarded_by(lock);
    int count __guarded_by(lock);
};

int fdtable_create(struct fdtable **ret)
{
    struct fdtable *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    refcount_set(&t->refs, 1);
    lock_init(&t->lock);
    *ret = t;
    return 0;
}

/* Drops what a number stood for in `t`; NULL: nothing. */
static void close_file(struct fdtable *t, struct file *f)
{
    if (f && f->ops->flush)
        f->ops->flush(f);
    if (f)
        filelock_closed(f, t);
    file_unref(f);
}

/* Makes room for the number `fd`. -EMFILE beyond the hard limit, -ENOMEM. */
static int grow_locked(struct fdtable *t, int fd) __must_hold(t->lock)
{
    int capacity = t->capacity ? t->capacity : FDTABLE_INITIAL;
    struct fd_slot *slots;

    if (fd < t->capacity)
        return 0;
    if ((uint64_t)fd >= __atomic_load_n(&fdtable_nr_open, __ATOMIC_RELAXED))
        return -EMFILE;
    while (capacity <= fd)
        capacity *= 2;
    slots = realloc(t->slots, (size_t)capacity * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    memset(slots + t->capacity, 0, (size_t)(capacity - t->capacity) * sizeof(*slots));
    t->slots = slots;
    t->capacity = capacity;
    return 0;
}

int fdtable_clone(struct fdtable *t, struct fdtable **ret)
{
    struct fdtable *copy;
    int err = fdtable_create(&copy), end;

    if (err < 0)
        return err;
    lock_acquire(&t->lock);
    for (end = t->capacity; end > 0 && !t->slots[end - 1].file; end--)
        ;
    if (end > 0)
        err = grow_locked(copy, end - 1);
    if (!err) {
        for (int fd = 0; fd < end; fd++) {
            copy->slots[fd] = t->slots[fd];
            if (copy->slots[fd].file)
                file_ref(copy->slots[fd].file);
        }
        copy->first_free = t->first_free;
        copy->count = t->count;
    }
    lock_release(&t->lock);
    if (err < 0) {
        fdtable_unref(copy);
        return err;
    }
    *ret = copy;
    return 0;
}

struct fdtable *fdtable_ref(struct fdtable *t)
{
    refcount_get(&t->refs);
    return t;
}

struct fdtable *fdtable_unref(struct fdtable *t)
{
    if (t && refcount_put(&t->refs)) {
        for (int fd = 0; fd < t->capacity; fd++)
            close_file(t, t->slots[fd].file);
        free(t->slots);
        lock_destroy(&t->lock);
        free(t);
    }
    return NULL;
}

bool fdtable_shared(const struct fdtable *t)
{
    return refcount_read(&t->refs) > 1;
}

static struct fd_slot *slot_locked(struct fdtable *t, int fd) __must_hold(t->lock)
{
    if (fd < 0 || fd >= t->capacity || !t->slots[fd].file)
        return NULL;
    return &t->slots[fd];
}

/* Empties a slot; the caller drops the file outside the lock. */
static struct file *take_locked(struct fdtable *t, int fd) __must_hold(t->lock)
{
    struct fd_slot *slot = slot_locked(t, fd);
    struct file *f;

    if (!slot)
        return NULL;
    f = slot->file;
    *slot = (struct fd_slot){NULL, false};
    t->first_free = MIN(t->first_free, fd);
    t->count--;
    return f;
}

struct file *fdtable_get(struct fdtable *t, int fd)
{
    struct fd_slot *slot;
    struct file *f = NULL;

    lock_acquire(&t->lock);
    slot = slot_locked(t, fd);
    if (slot)
        f = file_ref(slot->file);
    lock_release(&t->lock);
    return f;
}

static int lowest_free_locked(struct fdtable *t, int min) __must_hold(t->lock)
{
    int fd = MAX(min, t->first_free);

    while (fd < t->capacity && t->slots[fd].file)
        fd++;
    return fd;
}

int fdtable_install(struct fdtable *t, struct file *f, int min, uint64_t limit, bool cloexec)
{
    int fd, err;

    if (min < 0 || (uint64_t)min >= limit)
        return -EINVAL;
    lock_acquire(&t->lock);
    fd = lowest_free_locked(t, min);
    err = (uint64_t)fd >= limit ? -EMFILE : grow_locked(t, fd);
    if (!err) {
        t->slots[fd] = (struct fd_slot){f, cloexec};
        t->count++;
        if (min <= t->first_free)
            t->first_free = fd + 1;
    }
    lock_release(&t->lock);
    return err < 0 ? err : fd;
}

bool fdtable_full(struct fdtable *t, uint64_t limit)
{
    int fd;

    lock_acquire(&t->lock);
    fd = lowest_free_locked(t, 0);
    lock_release(&t->lock);
    return (uint64_t)fd >= limit;
}

int fdtable_replace(struct fdtable *t, int fd, struct file *f, uint64_t limit, bool cloexec)
{
    struct file *old = NULL;
    int err;

    if (fd < 0 || (uint64_t)fd >= limit)
        return -EBADF;
    lock_acquire(&t->lock);
    err = grow_locked(t, fd);
    if (!err) {
        old = take_locked(t, fd);
        t->slots[fd] = (struct fd_slot){f, cloexec};
        t->count++;
        if (t->first_free == fd)
            t->first_free = fd + 1;
    }
    lock_release(&t->lock);
    close_file(t, old);
    return err < 0 ? err : fd;
}

int fdtable_close(struct fdtable *t, int fd)
{
    struct file *f;

    lock_acquire(&t->lock);
    f = take_locked(t, fd);
    lock_release(&t->lock);
    if (!f)
        return -EBADF;
    close_file(t, f);
    return 0;
}

int fdtable_get_cloexec(struct fdtable *t, int fd)
{
    struct fd_slot *slot;
    int result;

    lock_acquire(&t->lock);
    slot = slot_locked(t, fd);
    result = slot ? slot->cloexec : -EBADF;
    lock_release(&t->lock);
    return result;
}

int fdtable_set_cloexec(struct fdtable *t, int fd, bool cloexec)
{
    struct fd_slot *slot;

    lock_acquire(&t->lock);
    slot = slot_locked(t, fd);
    if (slot)
        slot->cloexec = cloexec;
    lock_release(&t->lock);
    return slot ? 0 : -EBADF;
}

/* Drops the files that `doomed` picks, one at a time, so that none is dropped under the lock. */
static void drop_each(struct fdtable *t, unsigned first, unsigned last, bool cloexec_only)
{
    for (unsigned fd = first; fd <= last; fd++) {
        struct file *f = NULL;
        struct fd_slot *slot;

        lock_acquire(&t->lock);
        if (fd >= (unsigned)t->capacity) {
            lock_release(&t->lock);
            return;
        }
        slot = slot_locked(t, (int)fd);
        if (slot && (slot->cloexec || !cloexec_only))
            f = take_locked(t, (int)fd);
        lock_release(&t->lock);
        close_file(t, f);
    }
}

void fdtable_close_on_exec(struct fdtable *t)
{
    drop_each(t, 0, UINT32_MAX, true);
}

int fdtable_close_range(struct fdtable *t, unsigned first, unsigned last, bool cloexec)
{
    if (first > last)
        return -EINVAL;
    if (!cloexec) {
        drop_each(t, first, last, false);
        return 0;
    }
    lock_acquire(&t->lock);
    for (unsigned fd = first; fd <= last && fd < (unsigned)t->capacity; fd++) {
        if (t->slots[fd].file)
            t->slots[fd].cloexec = true;
    }
    lock_release(&t->lock);
    return 0;
}

int fdtable_count(struct fdtable *t)
{
    int count;

    lock_acquire(&t->lock);
    count = t->count;
    lock_release(&t->lock);
    return count;
}

int fdtable_capacity(struct fdtable *t)
{
    int capacity;

    lock_acquire(&t->lock);
    capacity = t->capacity;
    lock_release(&t->lock);
    return capacity;
}
