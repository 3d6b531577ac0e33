/* cachestat(2): how much of a file is in its page cache. */
#include <errno.h>
#include <unistd.h>

#include "sentry/kernel/cred.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/attr/mountmap.h"
#include "sentry/vfs/attr/permission.h"

/* Newer than Debian 12's headers. */
struct cachestat_range {
    uint64_t off, len;
};
struct cachestat {
    uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
};

/* Nothing is ever dirty for long, or evicted to somewhere: only presence is counted. */
static int count_cached(struct task *task, struct mappable *object, uint64_t first, uint64_t end,
                        uint64_t *ret_count)
{
    const struct mappable_ops *ops = object->ops;

    for (uint64_t at = first; at < end; at += PAGE_SIZE) {
        if (ops->cached ? ops->cached(object, at) : ops->resident && ops->resident(object, at))
            (*ret_count)++;
        if (task_interrupted(task))
            return -ERESTARTNOINTR;
    }
    return 0;
}

/* can_do_cachestat(): may write, or owns it. */
static bool allowed(const struct task *task, const struct file *file, const struct linux_stat *st)
{
    if (file_can_write(file) || task->cred->fsuid == seen_uid(path_map(&file->at), st->st_uid))
        return true;
    return file->at.dentry && (path_owned(&file->at) || path_permission(&file->at, W_OK) == 0);
}

static int file_cached(struct task *task, struct file *file, const struct cachestat_range *range,
                       unsigned flags, uint64_t *ret_count)
{
    uint64_t end = range->len ? range->off + range->len : UINT64_MAX;
    struct mappable *object = NULL;
    struct linux_stat st;
    int err = file_stat(file, &st);

    if (err < 0)
        return err;
    if (!allowed(task, file, &st))
        return -EPERM;
    if (flags)
        return -EINVAL;
    if (!file->ops->mmap || file->ops->mmap(file, &object) < 0 || !object)
        return 0; /* no page cache, or nothing in it */
    end = MIN(end, (uint64_t)st.st_size);
    err = count_cached(task, object, round_down(range->off, PAGE_SIZE), end, ret_count);
    mappable_unref(object);
    return err;
}

SYSCALL_DEFINE4(cachestat, int, fd, uaddr_t, range_addr, uaddr_t, stat_addr, unsigned, flags)
{
    struct cachestat stat = {0};
    struct cachestat_range range;
    struct file *file = task_file(task, fd);
    int err = 0;

    if (!file)
        return -EBADF;
    if (copy_struct_from_user(task->mm, &range, range_addr) < 0)
        err = -EFAULT;
    else
        err = file_cached(task, file, &range, flags, &stat.nr_cache);
    file_unref(file);
    return err < 0 ? err : copy_struct_to_user(task->mm, stat_addr, &stat);
}
