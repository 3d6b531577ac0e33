#include "sentry/fs/event/eventfd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sentry/fs/event/anon.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

#define COUNT_MAX (UINT64_MAX - 1)

struct eventfd {
    struct file file;
    bool semaphore;
    uint32_t id; /* /proc/PID/fdinfo tells them apart by it */
    struct wait_queue queue;
    struct lock lock;
    uint64_t count __guarded_by(lock);
};

static struct eventfd *eventfd_of(struct file *f)
{
    return container_of(f, struct eventfd, file);
}

static ssize_t counter_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct eventfd *e = eventfd_of(f);
    uint64_t value = 0;
    ssize_t n;

    if (uio->left < sizeof(value))
        return -EINVAL;
    lock_acquire(&e->lock);
    if (e->count > 0) {
        value = e->semaphore ? 1 : e->count;
        e->count -= value;
    }
    lock_release(&e->lock);
    if (value == 0)
        return -EAGAIN;
    wait_queue_wake(&e->queue, POLLOUT | POLLWRNORM);
    n = uio_copy_out(uio, &value, sizeof(value));
    return n < 0 || (size_t)n < sizeof(value) ? -EFAULT : n;
}

static ssize_t counter_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct eventfd *e = eventfd_of(f);
    struct uio before = *uio;
    uint64_t value;
    bool fits;

    if (uio->left < sizeof(value))
        return -EINVAL;
    if (uio_copy_in(uio, &value, sizeof(value)) != sizeof(value))
        return -EFAULT;
    if (value == UINT64_MAX)
        return -EINVAL;
    lock_acquire(&e->lock);
    fits = UINT64_MAX - e->count > value;
    if (fits)
        e->count += value;
    lock_release(&e->lock);
    if (!fits) {
        *uio = before; /* asked again later */
        return -EAGAIN;
    }
    wait_queue_wake(&e->queue, POLLIN | POLLRDNORM);
    return sizeof(value);
}

static uint32_t eventfd_poll(struct file *f, struct wait_entry *entry)
{
    struct eventfd *e = eventfd_of(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&e->queue, entry);
    lock_acquire(&e->lock);
    if (e->count > 0)
        events |= POLLIN | POLLRDNORM;
    if (e->count < COUNT_MAX)
        events |= POLLOUT | POLLWRNORM;
    if (e->count == UINT64_MAX)
        events |= POLLERR; /* more was signalled than can be counted */
    lock_release(&e->lock);
    return events;
}

static void eventfd_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&eventfd_of(f)->queue, entry);
}

static ssize_t eventfd_info(struct file *f, char *buf, size_t size)
{
    struct eventfd *e = eventfd_of(f);
    uint64_t count;

    lock_acquire(&e->lock);
    count = e->count;
    lock_release(&e->lock);
    return snprintf(buf, size, "eventfd-count: %16lx\neventfd-id: %u\neventfd-semaphore: %d\n",
                    count, e->id, e->semaphore);
}

static void eventfd_release(struct file *f)
{
    struct eventfd *e = eventfd_of(f);

    lock_destroy(&e->lock);
    file_fini(f);
    free(e);
}

static const struct file_operations eventfd_operations = {
    .read = counter_read,
    .write = counter_write,
    .poll = eventfd_poll,
    .unpoll = eventfd_unpoll,
    .stat = anon_stat,
    .info = eventfd_info,
    .release = eventfd_release,
    .seek_ignored = true,
};

bool eventfd_is(const struct file *f)
{
    return f->ops == &eventfd_operations;
}

void eventfd_signal(struct file *f)
{
    struct eventfd *e = eventfd_of(f);

    lock_acquire(&e->lock);
    if (e->count < UINT64_MAX)
        e->count++;
    lock_release(&e->lock);
    wait_queue_wake(&e->queue, POLLIN | POLLRDNORM);
}

int eventfd_create(uint32_t initial, int flags, struct file **ret)
{
    static uint32_t last_id; /* atomic */
    struct eventfd *e = calloc(1, sizeof(*e));
    char *name = strdup("anon_inode:[eventfd]");

    if (!e || !name) {
        free(e);
        free(name);
        return -ENOMEM;
    }
    file_init(&e->file, &eventfd_operations, O_RDWR | (flags & EFD_NONBLOCK));
    e->file.path = name;
    e->semaphore = flags & EFD_SEMAPHORE;
    e->count = initial;
    e->id = __atomic_fetch_add(&last_id, 1, __ATOMIC_RELAXED);
    wait_queue_init(&e->queue);
    lock_init(&e->lock);
    *ret = &e->file;
    return 0;
}
