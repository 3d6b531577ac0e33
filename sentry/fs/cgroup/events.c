/*
 * cgroup.events and pids.events: small texts whose changes poll(2) tells, by POLLPRI and POLLERR,
 * until they are read again from the beginning.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sentry/fs/cgroup/internal.h"
#include "sentry/mm/uio.h"

#define TEXT_MAX 64

enum kind { EVENTS, PIDS_EVENTS, PIDS_EVENTS_LOCAL };

struct events_file {
    struct file file;
    struct cgroup *cg; /* owned reference */
    enum kind kind;
    uint64_t seen; /* atomic: the count of changes when it was read last */
};

static struct events_file *events_of(struct file *f)
{
    return container_of(f, struct events_file, file);
}

static uint64_t changes_locked(const struct events_file *e)
{
    if (e->kind == EVENTS)
        return e->cg->changes;
    return e->kind == PIDS_EVENTS ? e->cg->pids_events : e->cg->pids_events_local;
}

static ssize_t events_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct events_file *e = events_of(f);
    char text[TEXT_MAX];
    uint32_t state;
    int length;
    ssize_t n;

    cgroup_lock();
    if (e->cg->removed) {
        cgroup_unlock();
        return -ENODEV;
    }
    state = cgroup_state_locked(e->cg);
    if (*pos == 0)
        __atomic_store_n(&e->seen, changes_locked(e), __ATOMIC_RELAXED);
    if (e->kind == EVENTS)
        length = snprintf(text, sizeof(text), "populated %u\nfrozen %u\n", state & 1, state >> 1);
    else
        length = snprintf(text, sizeof(text), "max %lu\n", changes_locked(e));
    cgroup_unlock();
    if (*pos >= length)
        return 0;
    n = uio_copy_out(uio, text + *pos, (size_t)(length - *pos));
    if (n > 0)
        *pos += n;
    return n;
}

static int64_t events_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return whence == SEEK_END ? -EINVAL : file_seek_in(offset, whence, pos, 0);
}

static uint32_t events_poll(struct file *f, struct wait_entry *entry)
{
    struct events_file *e = events_of(f);
    uint32_t mask = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

    if (entry)
        wait_queue_add(&e->cg->events, entry);
    cgroup_lock();
    if (changes_locked(e) != __atomic_load_n(&e->seen, __ATOMIC_RELAXED))
        mask |= POLLERR | POLLPRI;
    cgroup_unlock();
    return mask;
}

static void events_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&events_of(f)->cg->events, entry);
}

static void events_release(struct file *f)
{
    struct events_file *e = events_of(f);

    file_fini(f);
    cgroup_unref(e->cg);
    free(e);
}

static const struct file_operations events_operations = {
    .read = events_read,
    .llseek = events_llseek,
    .poll = events_poll,
    .unpoll = events_unpoll,
    .release = events_release,
};

static int open_events(uint64_t key, enum kind kind, uint32_t flags, struct file **ret)
{
    struct events_file *e;
    struct cgroup *cg;
    int err = cgroupfs_get(key, &cg);

    if (err < 0)
        return err;
    e = (flags & O_ACCMODE) == O_RDONLY ? calloc(1, sizeof(*e)) : NULL;
    if (!e) {
        cgroup_unref(cg);
        return (flags & O_ACCMODE) == O_RDONLY ? -ENOMEM : -EACCES;
    }
    file_init(&e->file, &events_operations, flags);
    e->cg = cg;
    e->kind = kind;
    cgroup_lock();
    e->seen = changes_locked(e);
    cgroup_unlock();
    *ret = &e->file;
    return 0;
}

int cgroupfs_events_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return open_events(key, EVENTS, flags, ret);
}

int cgroupfs_pids_events_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return open_events(key, PIDS_EVENTS, flags, ret);
}

int cgroupfs_pids_events_local_open(uint64_t key, uint32_t flags, struct file **ret)
{
    return open_events(key, PIDS_EVENTS_LOCAL, flags, ret);
}
