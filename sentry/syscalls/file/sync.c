/* Written data: fsync(2) and its like, and hints about reading ahead. */
#include <errno.h>
#include <fcntl.h>

#include "sentry/mm/mappable.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

static long do_fsync(struct task *task, int fd)
{
    struct file *file = task_file(task, fd);
    int err;

    if (!file)
        return -EBADF;
    err = file->ops->sync ? file->ops->sync(file) : -EINVAL;
    file_unref(file);
    return err;
}

SYSCALL_DEFINE1(fsync, int, fd)
{
    return do_fsync(task, fd);
}

SYSCALL_DEFINE1(fdatasync, int, fd)
{
    return do_fsync(task, fd);
}

/* What write(2) wrote is with the host; what mappings stored goes there now. */
SYSCALL_DEFINE0(sync)
{
    (void)pagecache_flush_all();
    return 0;
}

SYSCALL_DEFINE1(syncfs, int, fd)
{
    struct file *file = task_file(task, fd);
    int err;

    if (!file)
        return -EBADF;
    err = file->flags & O_PATH ? -EBADF : pagecache_flush_all();
    /* The file itself as far as the disk, and with it what its file system keeps of names. */
    if (!err && file->ops && file->ops->sync)
        err = file->ops->sync(file);
    file_unref(file);
    return err == -EINVAL ? 0 : err; /* a pipe or a terminal: nothing to be written */
}

SYSCALL_DEFINE4(fadvise64, int, fd, int64_t, offset, int64_t, size, int, advice)
{
    struct file *file = task_file(task, fd);
    struct linux_stat st;
    long result = 0;

    if (!file)
        return -EBADF;
    if (file->flags & O_PATH)
        result = -EBADF;
    else if (file_stat(file, &st) == 0 && (st.st_mode & S_IFMT) == S_IFIFO)
        result = -ESPIPE;
    else if (size < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE)
        result = -EINVAL;
    file_unref(file);
    return result;
}

SYSCALL_DEFINE3(readahead, int, fd, int64_t, offset, size_t, count)
{
    struct file *file = task_file(task, fd);
    struct linux_stat st;
    long result = 0;

    if (!file)
        return -EBADF;
    if (!file_can_read(file))
        result = -EBADF;
    else if (file_stat(file, &st) < 0 || (st.st_mode & S_IFMT) != S_IFREG)
        result = -EINVAL;
    file_unref(file);
    return result;
}

/* What is written is with the host, or in memory that nothing is behind: only the file can wait. */
SYSCALL_DEFINE4(sync_file_range, int, fd, int64_t, offset, int64_t, size, unsigned, flags)
{
    const unsigned known =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    struct file *file = task_file(task, fd);
    struct linux_stat st;
    int64_t end;
    long result = 0;

    if (!file)
        return -EBADF;
    if ((flags & ~known) || offset < 0 || size < 0 || __builtin_add_overflow(offset, size, &end))
        result = -EINVAL;
    else if (file_stat(file, &st) < 0 ||
             ((st.st_mode & S_IFMT) != S_IFREG && (st.st_mode & S_IFMT) != S_IFDIR))
        result = -ESPIPE;
    else if ((flags & SYNC_FILE_RANGE_WAIT_AFTER) && file->ops->sync)
        result = file->ops->sync(file);
    file_unref(file);
    return result;
}
