/* The devices that there are, their openers, and what others see of them. */
#include "sentry/fs/loop/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/loop/internal.h"
#include "sentry/vfs/path/namei.h"

#define FIRST_DEVICES    8 /* CONFIG_BLK_DEV_LOOP_MIN_COUNT */
#define SOFT_BLOCK_SIZE  4096
#define READ_AHEAD_BYTES (128 * 1024)

struct lock loop_lock = LOCK_INIT;
static void (*added)(unsigned number); /* set before the guest runs */
static struct loop_device *devices[LOOP_LIMIT] __guarded_by(loop_lock);

static void forget_binding_locked(struct loop_device *d)
{
    d->state = LOOP_UNBOUND;
    d->backing = NULL;
    d->size = d->offset = d->size_limit = 0;
    d->flags = 0;
    d->block_size = LOOP_SECTOR;
    d->soft_block_size = SOFT_BLOCK_SIZE;
    memset(d->name, 0, sizeof(d->name));
}

static int add_locked(int64_t number) __must_hold(loop_lock)
{
    struct loop_device *d;

    for (int64_t i = 0; number < 0 && i < LOOP_LIMIT; i++)
        number = devices[i] ? -1 : i;
    if (number < 0 || number >= LOOP_LIMIT)
        return -ENOSPC;
    if (devices[number])
        return -EEXIST;
    d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    forget_binding_locked(d);
    d->number = (unsigned)number;
    d->read_ahead = READ_AHEAD_BYTES;
    devices[number] = d;
    return (int)number;
}

void loop_init(void)
{
    lock_acquire(&loop_lock);
    for (int64_t i = 0; i < FIRST_DEVICES; i++)
        add_locked(i);
    lock_release(&loop_lock);
}

void loop_forget(void)
{
    for (int64_t n = loop_next(0); n >= 0; n = loop_next((uint64_t)n + 1)) {
        struct file *backing;

        lock_acquire(&loop_lock);
        backing = devices[n]->backing;
        forget_binding_locked(devices[n]);
        lock_release(&loop_lock);
        file_unref(backing);
    }
}

static int remove_locked(uint32_t number) __must_hold(loop_lock)
{
    struct loop_device *d = number < LOOP_LIMIT ? devices[number] : NULL;

    if (!d)
        return -ENODEV;
    if (d->state != LOOP_UNBOUND || d->openers > 0)
        return -EBUSY;
    devices[number] = NULL;
    free(d);
    return (int)number;
}

static int find_free_locked(bool *ret_was_there) __must_hold(loop_lock)
{
    for (int i = 0; i < LOOP_LIMIT; i++) {
        if (devices[i] && devices[i]->state == LOOP_UNBOUND)
            return i;
    }
    *ret_was_there = false;
    return add_locked(-1);
}

void loop_set_added(void (*fn)(unsigned number))
{
    added = fn;
}

long loop_control_request(struct mm *mm, uint32_t cmd, uint64_t arg)
{
    bool was_there = true;
    int number = (int)arg;
    long result = -ENOSYS; /* loop_control_ioctl() */

    lock_acquire(&loop_lock);
    if (cmd == LOOP_CTL_ADD)
        result = number < -1 ? -EINVAL : add_locked(number);
    else if (cmd == LOOP_CTL_REMOVE)
        result = number < 0 ? -EINVAL : remove_locked((uint32_t)number);
    else if (cmd == LOOP_CTL_GET_FREE)
        result = find_free_locked(&was_there);
    was_there = was_there && cmd != LOOP_CTL_ADD;
    lock_release(&loop_lock);
    if (result >= 0 && !was_there && added)
        added((unsigned)result);
    return result;
}

int64_t loop_next(uint64_t from)
{
    int64_t found = -1;

    lock_acquire(&loop_lock);
    for (uint64_t i = from; i < LOOP_LIMIT && found < 0; i++)
        found = devices[i] ? (int64_t)i : -1;
    lock_release(&loop_lock);
    return found;
}

int loop_parse_name(const char *text, size_t size, uint64_t *ret_number)
{
    const char head[] = "loop";
    const size_t head_size = sizeof(head) - 1;
    uint64_t number = 0;

    if (size <= head_size || size > head_size + 3 || memcmp(text, head, head_size) != 0)
        return -ENOENT;
    if (text[head_size] == '0' && size > head_size + 1)
        return -ENOENT;
    for (size_t i = head_size; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -ENOENT;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (loop_next(number) != (int64_t)number)
        return -ENOENT;
    *ret_number = number;
    return 0;
}

struct loop_device *loop_get(unsigned number)
{
    struct loop_device *d;

    lock_acquire(&loop_lock);
    d = number < LOOP_LIMIT ? devices[number] : NULL;
    if (d && d->state == LOOP_ENDING)
        d = NULL;
    if (d)
        d->openers++;
    lock_release(&loop_lock);
    return d;
}

void loop_put(struct loop_device *d)
{
    struct file *backing = NULL;

    lock_acquire(&loop_lock);
    d->openers--;
    if (d->openers == 0 &&
        (d->state == LOOP_ENDING || (d->state == LOOP_BOUND && (d->flags & LO_FLAGS_AUTOCLEAR)))) {
        backing = d->backing;
        forget_binding_locked(d);
    }
    lock_release(&loop_lock);
    file_unref(backing);
}

void loop_bytes_get(struct loop_device *d, struct loop_bytes *ret)
{
    lock_acquire(&loop_lock);
    *ret = (struct loop_bytes){
        .backing = d->backing ? file_ref(d->backing) : NULL,
        .offset = d->offset,
        .size = d->size,
        .block_size = d->block_size,
        .read_only = d->read_only || (d->flags & LO_FLAGS_READ_ONLY),
    };
    lock_release(&loop_lock);
}

bool loop_look(uint64_t number, struct loop_view *ret)
{
    const struct loop_device *d;

    lock_acquire(&loop_lock);
    d = number < LOOP_LIMIT ? devices[number] : NULL;
    if (d) {
        *ret = (struct loop_view){
            .bound = d->state != LOOP_UNBOUND,
            .read_only = d->read_only || (d->flags & LO_FLAGS_READ_ONLY),
            .size = d->size,
            .offset = d->offset,
            .size_limit = d->size_limit,
            .flags = d->flags,
            .block_size = d->block_size,
            .read_ahead = d->read_ahead,
            .sequence = d->sequence,
        };
    }
    lock_release(&loop_lock);
    return d;
}

ssize_t loop_backing_name(uint64_t number, char *buf, size_t size)
{
    struct file *backing = NULL;
    ssize_t n = -ENOENT;

    lock_acquire(&loop_lock);
    if (number < LOOP_LIMIT && devices[number] && devices[number]->backing)
        backing = file_ref(devices[number]->backing);
    lock_release(&loop_lock);
    if (backing && backing->at.dentry)
        n = path_to_link(NULL, &backing->at, buf, size);
    else if (backing && backing->path && strlen(backing->path) < size)
        n = (ssize_t)strlen(strcpy(buf, backing->path));
    file_unref(backing);
    return n;
}
