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
    return file_ref(ring->files[index]->file);
}

struct file *uring_use_file(struct uring_req *req, enum uring_use what, uint32_t index)
{
    struct file *file = uring_fixed_file(req->ring, index);

    if (file)
        uring_hold(req, what, req->ring->files[index]);
    return file;
}

static void drop_files(struct uring *ring, bool tell)
{
    struct uring_rsrc **table = ring->files;
    uint32_t count = ring->file_count;

    ring->files = NULL;
    ring->file_count = 0;
    uring_table_destroy(ring, table, count, tell);
}

void uring_files_fini(struct uring *ring)
{
    drop_files(ring, false);
}

int uring_unregister_files(struct uring *ring)
{
    if (!ring->files)
        return -ENXIO;
    drop_files(ring, true);
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

/* A file with a tag becomes a thing for the table. -EBADF, -ENOMEM. */
static int make_rsrc(struct task *task, int fd, uint64_t tag, struct uring_rsrc **ret)
{
    struct uring_rsrc *rsrc;
    struct file *file;
    int err = get_file(task, fd, &file);

    if (err < 0)
        return err;
    rsrc = uring_rsrc_create(tag);
    if (!rsrc) {
        file_unref(file);
        return -ENOMEM;
    }
    rsrc->file = file;
    *ret = rsrc;
    return 0;
}

/* Place `i` of a new table: a descriptor, or -1 for a hole, which has no tag. */
static int read_file(struct task *task, uaddr_t addr, uaddr_t tags, uint32_t i,
                     struct uring_rsrc **ret)
{
    int32_t fd = -1;
    uint64_t tag;
    int err = uring_read_tag(task, tags, i, &tag);

    if (!err && addr)
        err = copy_struct_from_user(task->mm, &fd, addr + i * sizeof(fd));
    if (err < 0)
        return err;
    if (fd == -1)
        return tag ? -EINVAL : 0;
    return make_rsrc(task, fd, tag, ret);
}

int uring_register_files(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count,
                         uaddr_t tags)
{
    int err = 0;

    if (ring->files)
        return -EBUSY;
    if (count == 0)
        return -EINVAL;
    if (count > URING_FILES_MAX || count > task_rlimit(task, RLIMIT_NOFILE))
        return -EMFILE;
    ring->files = uring_table_create(count);
    if (!ring->files)
        return -ENOMEM;
    ring->file_count = count;
    ring->alloc_from = 0;
    ring->alloc_end = count;
    for (uint32_t i = 0; i < count && !err && (addr || tags); i++)
        err = read_file(task, addr, tags, i, &ring->files[i]);
    if (err < 0)
        drop_files(ring, false);
    return err;
}

/* What was there goes even if the new descriptor is none, as on Linux. */
static int update_one(struct uring *ring, struct task *task, uint32_t index, int32_t fd,
                      uint64_t tag)
{
    ring->files[index] = uring_rsrc_unref(ring, ring->files[index]);
    return fd == -1 ? 0 : make_rsrc(task, fd, tag, &ring->files[index]);
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
int uring_place_files(struct uring *ring, struct task *task, uaddr_t addr, uint32_t count)
{
    uint32_t done = 0;
    int err = 0;

    if (!ring->files)
        return -ENXIO;
    while (done < count && !err) {
        uaddr_t at = addr + done * sizeof(int32_t);
        int32_t fd, slot = find_slot(ring);

        err = slot < 0 ? slot : copy_struct_from_user(task->mm, &fd, at);
        if (!err)
            err = update_one(ring, task, (uint32_t)slot, fd, 0);
        if (!err && copy_struct_to_user(task->mm, at, &slot) < 0) {
            update_one(ring, task, (uint32_t)slot, -1, 0);
            err = -EFAULT;
        }
        done += err == 0;
    }
    return done ? (int)done : err;
}

int uring_update_files(struct uring *ring, struct task *task,
                       const struct uring_rsrc_update *update)
{
    uint32_t done = 0, end;
    int err = 0;

    if (__builtin_add_overflow(update->offset, update->nr, &end))
        return -EOVERFLOW;
    if (!ring->files)
        return -ENXIO;
    if (end > ring->file_count)
        return -EINVAL;
    while (done < update->nr && !err) {
        uint64_t tag;
        int32_t fd;

        err = uring_read_tag(task, update->tags, done, &tag);
        if (!err)
            err = copy_struct_from_user(task->mm, &fd, update->data + done * sizeof(fd));
        if (!err && tag && (fd == -1 || fd == UPDATE_SKIP))
            err = -EINVAL;
        if (!err && fd != UPDATE_SKIP)
            err = update_one(ring, task, update->offset + done, fd, tag);
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
    struct uring_rsrc *new = uring_rsrc_create(0), *old = NULL;
    int index, res = new ? 0 : -ENOMEM;

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
        new->file = file;
        old = ring->files[index];
        ring->files[index] = new;
        res = slot == URING_FILE_INDEX_ALLOC ? index : 0;
    }
    lock_release(&ring->submit_lock);
    uring_rsrc_unref(ring, res < 0 ? new : old);
    if (res < 0)
        file_unref(file);
    return res;
}

int uring_close_fixed(struct uring *ring, uint32_t index)
{
    struct uring_rsrc *old = NULL;
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
    uring_rsrc_unref(ring, old);
    return res;
}
