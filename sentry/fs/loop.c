#include "sentry/fs/loop.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/loop_internal.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/path/namei.h"

#define FIRST_DEVICES    8 /* CONFIG_BLK_DEV_LOOP_MIN_COUNT */
#define BLOCK_SIZE_MAX   65536U
#define SOFT_BLOCK_SIZE  4096
#define READ_AHEAD_BYTES (128 * 1024)

struct lock loop_lock = LOCK_INIT;
/* One request about what is bound at a time; taken before loop_lock, may be held while the host
 * is asked. */
static struct lock request_lock = LOCK_INIT;
static struct loop_device *devices[LOOP_LIMIT] __guarded_by(loop_lock);
static uint64_t bound_ever __guarded_by(loop_lock);

/* ---- the numbers that there are ------------------------------------------------------------- */

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

static int find_free_locked(void) __must_hold(loop_lock)
{
    for (int i = 0; i < LOOP_LIMIT; i++) {
        if (devices[i] && devices[i]->state == LOOP_UNBOUND)
            return i;
    }
    return add_locked(-1);
}

long loop_control_request(struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int number = (int)arg;
    long result = -ENOSYS; /* loop_control_ioctl() */

    lock_acquire(&loop_lock);
    if (cmd == LOOP_CTL_ADD)
        result = number < -1 ? -EINVAL : add_locked(number);
    else if (cmd == LOOP_CTL_REMOVE)
        result = number < 0 ? -EINVAL : remove_locked((uint32_t)number);
    else if (cmd == LOOP_CTL_GET_FREE)
        result = find_free_locked();
    lock_release(&loop_lock);
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

/* ---- what is bound -------------------------------------------------------------------------- */

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

static int unbind(struct loop_device *d)
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

/* `info` NULL: the size is looked at again, nothing else. */
static int set_status(struct loop_device *d, const struct loop_info64 *info)
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

static int get_status(struct loop_device *d, struct loop_info64 *ret)
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

/* Every file here takes O_DIRECT; the flag is all that changes. */
static int set_direct(struct loop_device *d, bool on)
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

static int set_block_size(struct loop_device *d, uint64_t size)
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

/* ---- requests ------------------------------------------------------------------------------- */

/* The structure of before 64-bit sizes. */
static void info_from_old(const struct loop_info *old, struct loop_info64 *ret)
{
    *ret = (struct loop_info64){
        .lo_offset = (uint64_t)(int64_t)old->lo_offset,
        .lo_encrypt_type = (uint32_t)old->lo_encrypt_type,
        .lo_encrypt_key_size = (uint32_t)old->lo_encrypt_key_size,
        .lo_flags = (uint32_t)old->lo_flags,
    };
    memcpy(ret->lo_file_name, old->lo_name, LO_NAME_SIZE);
}

static long put_old(struct mm *mm, uaddr_t arg, const struct loop_info64 *info)
{
    struct loop_info old = {
        .lo_number = (int)info->lo_number,
        .lo_device = info->lo_device,
        .lo_inode = info->lo_inode,
        .lo_rdevice = info->lo_rdevice,
        .lo_offset = (int)info->lo_offset,
        .lo_flags = (int)info->lo_flags,
    };

    if (info->lo_offset > INT_MAX)
        return -EOVERFLOW;
    memcpy(old.lo_name, info->lo_file_name, LO_NAME_SIZE);
    return copy_struct_to_user(mm, arg, &old);
}

static long status_request(struct loop_device *d, struct mm *mm, uint32_t cmd, uaddr_t arg)
{
    struct loop_info64 info;
    struct loop_info old;
    int err;

    switch (cmd) {
    case LOOP_SET_STATUS:
        if (copy_struct_from_user(mm, &old, arg) < 0)
            return -EFAULT;
        info_from_old(&old, &info);
        return set_status(d, &info);
    case LOOP_SET_STATUS64:
        if (copy_struct_from_user(mm, &info, arg) < 0)
            return -EFAULT;
        return set_status(d, &info);
    default:
        if (!arg)
            return -EINVAL;
        err = get_status(d, &info);
        if (err < 0)
            return err;
        return cmd == LOOP_GET_STATUS ? put_old(mm, arg, &info)
                                      : copy_struct_to_user(mm, arg, &info);
    }
}

long loop_request(struct loop_file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    bool may_change = file_can_write(&f->file) || vfs_has_cap(CAP_SYS_ADMIN);
    struct loop_device *d = f->device;

    switch (cmd) {
    case LOOP_CLR_FD:
        return unbind(d);
    case LOOP_GET_STATUS:
    case LOOP_GET_STATUS64:
        return status_request(d, mm, cmd, arg);
    case LOOP_SET_STATUS:
    case LOOP_SET_STATUS64:
        return may_change ? status_request(d, mm, cmd, arg) : -EPERM;
    case LOOP_SET_CAPACITY:
        return may_change ? set_status(d, NULL) : -EPERM;
    case LOOP_SET_DIRECT_IO:
        return may_change ? set_direct(d, arg != 0) : -EPERM;
    case LOOP_SET_BLOCK_SIZE:
        return may_change ? set_block_size(d, arg) : -EPERM;
    default:
        return -ENOTTY;
    }
}

/* ---- what others see ------------------------------------------------------------------------ */

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
