/* What is bound to a device: the file, which part of it, and in blocks of which size. */
#include <errno.h>
#include <string.h>

#include "sentry/fs/loop/internal.h"

#define BLOCK_SIZE_MAX 65536U

/* One request about what is bound at a time; taken before loop_lock, may be held while the host
 * is asked. */
static struct lock request_lock = LOCK_INIT;
static uint64_t bound_ever __guarded_by(loop_lock);

/* Whole sectors of what `backing` has behind the offset. */
static int size_of(struct file *backing, uint64_t offset, uint64_t limit, uint64_t *ret)
{
    struct linux_stat st;
    uint64_t size;
    int err = file_stat(backing, &st);

    if (err < 0)
        return err;
    size = (uint64_t)st.st_size > offset ? (uint64_t)st.st_size - offset : 0;
    if (limit > 0 && limit < size)
        size = limit;
    *ret = round_down(size, LOOP_SECTOR);
    return 0;
}

/* loop_validate_file(): a loop device below another one is not taken. */
static int check_backing(struct file *backing)
{
    struct linux_stat st;
    int err = file_stat(backing, &st);

    if (err < 0)
        return err;
    if ((st.st_mode & S_IFMT) != S_IFREG || !backing->ops->read || !file_can_read(backing) ||
        (file_can_write(backing) && !backing->ops->write))
        return -EINVAL;
    return 0;
}

static int check_block_size(uint32_t size)
{
    bool power = size && !(size & (size - 1));

    return power && size >= LOOP_SECTOR && size <= BLOCK_SIZE_MAX ? 0 : -EINVAL;
}

/* loop_set_status_from_info() */
static int check_info(const struct loop_info64 *info)
{
    if (info->lo_encrypt_key_size > LO_KEY_SIZE || info->lo_encrypt_type != LO_CRYPT_NONE)
        return -EINVAL;
    if (info->lo_offset > INT64_MAX || info->lo_sizelimit > INT64_MAX)
        return -EOVERFLOW;
    return 0;
}

static void take_info_locked(struct loop_device *d, const struct loop_info64 *info)
{
    d->offset = info->lo_offset;
    d->size_limit = info->lo_sizelimit;
    memcpy(d->name, info->lo_file_name, sizeof(d->name));
    d->name[sizeof(d->name) - 1] = 0;
}

int loop_bind(struct file *f, struct file *backing, const struct loop_config *config)
{
    struct loop_device *d = loop_file_of(f)->device;
    const struct loop_info64 *info = &config->info;
    uint32_t flags = info->lo_flags;
    uint64_t size = 0;
    int err;

    lock_acquire(&request_lock);
    lock_acquire(&loop_lock);
    err = d->state == LOOP_UNBOUND ? 0 : -EBUSY;
    lock_release(&loop_lock);
    if (!err)
        err = check_backing(backing);
    if (!err && (flags & ~(uint32_t)LOOP_CONFIGURE_SETTABLE_FLAGS))
        err = -EINVAL;
    if (!err && config->block_size)
        err = check_block_size(config->block_size);
    if (!err)
        err = check_info(info);
    if (!err)
        err = size_of(backing, info->lo_offset, info->lo_sizelimit, &size);
    if (!file_can_write(f) || !file_can_write(backing))
        flags |= LO_FLAGS_READ_ONLY;
    if (!err) {
        lock_acquire(&loop_lock);
        take_info_locked(d, info);
        d->backing = file_ref(backing);
        d->size = size;
        d->flags = flags;
        d->block_size = config->block_size ? config->block_size : LOOP_SECTOR;
        d->sequence = ++bound_ever;
        d->state = LOOP_BOUND;
        lock_release(&loop_lock);
    }
    lock_release(&request_lock);
    return err;
}

/* The bound file, for one who holds request_lock and has the device open: so it stays. */
static int bound_file(struct loop_device *d, struct file **ret, struct loop_view *ret_view)
{
    int err;

    lock_acquire(&loop_lock);
    *ret = d->backing;
    *ret_view = (struct loop_view){.offset = d->offset,
                                   .size_limit = d->size_limit,
                                   .flags = d->flags,
                                   .block_size = d->block_size};
    err = d->state == LOOP_BOUND ? 0 : -ENXIO;
    lock_release(&loop_lock);
    return err;
}

int loop_change(struct file *f, struct file *backing)
{
    struct loop_device *d = loop_file_of(f)->device;
    uint64_t size = 0, old_size = 0;
    struct loop_view view;
    struct file *old;
    int err;

    lock_acquire(&request_lock);
    err = bound_file(d, &old, &view);
    if (!err && !(view.flags & LO_FLAGS_READ_ONLY))
        err = -EINVAL;
    if (!err)
        err = check_backing(backing);
    if (!err)
        err = size_of(backing, view.offset, view.size_limit, &size);
    if (!err)
        err = size_of(old, view.offset, view.size_limit, &old_size);
    if (!err && size != old_size)
        err = -EINVAL;
    if (!err) {
        lock_acquire(&loop_lock);
        d->backing = file_ref(backing);
        d->sequence = ++bound_ever;
        lock_release(&loop_lock);
    }
    lock_release(&request_lock);
    if (!err)
        file_unref(old);
    return err;
}

int loop_unbind(struct loop_device *d)
{
    int err = 0;

    lock_acquire(&request_lock);
    lock_acquire(&loop_lock);
    if (d->state != LOOP_BOUND) {
        err = -ENXIO;
    } else {
        d->flags |= LO_FLAGS_AUTOCLEAR;
        if (d->openers == 1)
            d->state = LOOP_ENDING;
    }
    lock_release(&loop_lock);
    lock_release(&request_lock);
    return err;
}

int loop_set_status(struct loop_device *d, const struct loop_info64 *info)
{
    struct loop_view view;
    struct file *backing;
    uint64_t size;
    int err;

    lock_acquire(&request_lock);
    err = bound_file(d, &backing, &view);
    if (!err && info)
        err = check_info(info);
    if (!err)
        err = size_of(backing, info ? info->lo_offset : view.offset,
                      info ? info->lo_sizelimit : view.size_limit, &size);
    if (!err) {
        lock_acquire(&loop_lock);
        if (!info || info->lo_offset != d->offset || info->lo_sizelimit != d->size_limit)
            d->size = size;
        if (info) {
            uint32_t flags = info->lo_flags & LOOP_SET_STATUS_SETTABLE_FLAGS;

            take_info_locked(d, info);
            d->flags = flags | (d->flags & ~(uint32_t)LOOP_SET_STATUS_CLEARABLE_FLAGS);
        }
        lock_release(&loop_lock);
    }
    lock_release(&request_lock);
    return err;
}

int loop_get_status(struct loop_device *d, struct loop_info64 *ret)
{
    struct loop_view view;
    struct linux_stat st;
    struct file *backing;
    int err;

    *ret = (struct loop_info64){.lo_number = d->number};
    lock_acquire(&request_lock);
    err = bound_file(d, &backing, &view);
    if (!err)
        err = file_stat(backing, &st);
    if (!err) {
        ret->lo_device = st.st_dev;
        ret->lo_inode = st.st_ino;
        ret->lo_rdevice = st.st_rdev;
        ret->lo_offset = view.offset;
        ret->lo_sizelimit = view.size_limit;
        ret->lo_flags = view.flags;
        lock_acquire(&loop_lock);
        memcpy(ret->lo_file_name, d->name, sizeof(d->name));
        lock_release(&loop_lock);
    }
    lock_release(&request_lock);
    return err;
}

int loop_set_direct(struct loop_device *d, bool on)
{
    int err = 0;

    lock_acquire(&loop_lock);
    if (d->state != LOOP_BOUND)
        err = -ENXIO;
    else if (on)
        d->flags |= LO_FLAGS_DIRECT_IO;
    else
        d->flags &= ~(uint32_t)LO_FLAGS_DIRECT_IO;
    lock_release(&loop_lock);
    return err;
}

int loop_set_block_size(struct loop_device *d, uint64_t size)
{
    int err = 0;

    lock_acquire(&loop_lock);
    if (d->state != LOOP_BOUND)
        err = -ENXIO;
    else
        err = check_block_size((uint32_t)MIN(size, UINT32_MAX));
    if (!err)
        d->block_size = (uint32_t)size;
    lock_release(&loop_lock);
    return err;
}
