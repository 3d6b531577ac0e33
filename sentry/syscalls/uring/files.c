/* Registered files: a table of the ring's own, which entries name with SQE_FIXED_FILE. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/uring.h"

#define UPDATE_SKIP (-2)

struct file *uring_fixed_file(struct uring *ring, uint32_t index)
{
    if (index >= ring->file_count || !ring->files[index])
        return NULL;
    return file_ref(ring->files[index]);
}

int uring_unregister_files(struct uring *ring)
{
    if (!ring->files)
        return -ENXIO;
    for (uint32_t i = 0; i < ring->file_count; i++)
        file_unref(ring->files[i]);
    free(ring->files);
    ring->files = NULL;
    ring->file_count = 0;
    return 0;
}

/* A file that may be registered: no ring, which would keep itself. */
static int get_file(struct task *task, int fd, struct file **ret)
{
    struct file *file = task_file(task, fd);

    if (!file || uring_is(file)) {
        file_unref(file);
        return -EBADF;
    }
    *ret = file;
    return 0;
}

int uring_register_files(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count)
{
    int err = 0;

    if (ring->files)
        return -EBUSY;
    if (count == 0)
        return -EINVAL;
    if (count > URING_FILES_MAX || count > task_rlimit(task, RLIMIT_NOFILE))
        return -EMFILE;
    ring->files = calloc(count, sizeof(struct file *));
    if (!ring->files)
        return -ENOMEM;
    ring->file_count = count;
    ring->alloc_from = 0;
    ring->alloc_end = count;
    for (uint32_t i = 0; addr && i < count && !err; i++) {
        int32_t fd;

        err = copy_struct_from_user(task->mm, &fd, addr + i * sizeof(fd));
        if (!err && fd != -1)
            err = get_file(task, fd, &ring->files[i]);
    }
    if (err < 0)
        uring_unregister_files(ring);
    return err;
}

static int update_one(struct uring *ring, struct task *task, uint32_t index, int32_t fd)
{
    struct file *file = NULL;
    int err = fd == -1 ? 0 : get_file(task, fd, &file);

    if (err < 0)
        return err;
    file_unref(ring->files[index]);
    ring->files[index] = file;
    return 0;
}

/* The first free slot of the range for allocation; -ENFILE. */
static int find_slot(const struct uring *ring)
{
    for (uint32_t i = ring->alloc_from; i < ring->alloc_end && i < ring->file_count; i++) {
        if (!ring->files[i])
            return (int)i;
    }
    return -ENFILE;
}

/* FILES_UPDATE without a place: each descriptor is replaced by the slot it got. */
static int update_anywhere(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count)
{
    uint32_t done = 0;
    int err = 0;

    while (done < count && !err) {
        uaddr_t at = addr + done * sizeof(int32_t);
        int32_t fd, slot = find_slot(ring);

        err = slot < 0 ? slot : copy_struct_from_user(task->mm, &fd, at);
        if (!err)
            err = update_one(ring, task, (uint32_t)slot, fd);
        if (!err && copy_struct_to_user(task->mm, at, &slot) < 0) {
            update_one(ring, task, (uint32_t)slot, -1);
            err = -EFAULT;
        }
        done += err == 0;
    }
    return done ? (int)done : err;
}

int uring_update_files(struct uring *ring, struct task *task, uint32_t offset, uaddr_t addr,
                       uint32_t count)
{
    uint32_t done = 0, end;
    int err = 0;

    if (!ring->files)
        return -ENXIO;
    if (offset == URING_FILE_INDEX_ALLOC)
        return update_anywhere(ring, task, addr, count);
    if (__builtin_add_overflow(offset, count, &end))
        return -EOVERFLOW;
    if (end > ring->file_count)
        return -EINVAL;
    while (done < count && !err) {
        int32_t fd;

        err = copy_struct_from_user(task->mm, &fd, addr + done * sizeof(fd));
        if (!err && fd != UPDATE_SKIP)
            err = update_one(ring, task, offset + done, fd);
        done += err == 0;
    }
    return done ? (int)done : err;
}

int uring_file_range(struct uring *ring, struct task *task, uaddr_t arg)
{
    struct {
        uint32_t off, len;
        uint64_t resv;
    } range;
    uint32_t end;

    if (copy_struct_from_user(task->mm, &range, arg) < 0)
        return -EFAULT;
    if (__builtin_add_overflow(range.off, range.len, &end))
        return -EOVERFLOW;
    if (range.resv || end > ring->file_count)
        return -EINVAL;
    ring->alloc_from = range.off;
    ring->alloc_end = end;
    return 0;
}

int uring_install_fixed(struct uring *ring, struct file *file, uint32_t slot)
{
    struct file *old = NULL;
    int index, res = 0;

    lock_acquire(&ring->submit_lock);
    index = slot == URING_FILE_INDEX_ALLOC ? find_slot(ring) : (int)(slot - 1);
    if (uring_is(file))
        res = -EBADF;
    else if (!ring->files)
        res = -ENXIO;
    else if (index < 0 && slot == URING_FILE_INDEX_ALLOC)
        res = index;
    else if ((uint32_t)index >= ring->file_count)
        res = -EINVAL;
    if (!res) {
        old = ring->files[index];
        ring->files[index] = file;
        res = slot == URING_FILE_INDEX_ALLOC ? index : 0;
    }
    lock_release(&ring->submit_lock);
    file_unref(res < 0 ? file : old);
    return res;
}

int uring_close_fixed(struct uring *ring, uint32_t index)
{
    struct file *old = NULL;
    int res = 0;

    lock_acquire(&ring->submit_lock);
    if (!ring->files)
        res = -ENXIO;
    else if (index >= ring->file_count)
        res = -EINVAL;
    else if (!ring->files[index])
        res = -EBADF;
    if (!res) {
        old = ring->files[index];
        ring->files[index] = NULL;
    }
    lock_release(&ring->submit_lock);
    file_unref(old);
    return res;
}
