/* Directories: getdents64(2), getcwd(2), chdir(2), umask(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/dirent.h"
#include "sentry/vfs/attr/permission.h"

#define DIRENT_MAX 320 /* a record with the longest name */

/* Records go to the guest one by one, each copied once. */
struct guest_sink {
    struct dirent_sink sink;
    struct mm *mm;
    uaddr_t at;
    size_t left;
    size_t filled;
    int error;
    bool old; /* getdents(2)'s records */
};

struct dirent64_head {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
} __packed;
static_assert(sizeof(struct dirent64_head) == 19, "struct linux_dirent64");

struct dirent_head {
    uint64_t ino;
    uint64_t off;
    uint16_t reclen;
} __packed;
static_assert(sizeof(struct dirent_head) == 18, "struct linux_dirent");

/* Builds a record; its size. The old form has the type in its last byte. */
static size_t make_record(const struct guest_sink *g, char *record, const char *name, size_t size,
                          uint64_t ino, int64_t next, uint8_t type)
{
    size_t head = g->old ? sizeof(struct dirent_head) : sizeof(struct dirent64_head);
    size_t reclen = round_up(head + size + 1 + (g->old ? 1 : 0), 8UL);

    memset(record, 0, reclen);
    if (g->old) {
        struct dirent_head h = {ino, (uint64_t)next, (uint16_t)reclen};

        memcpy(record, &h, sizeof(h));
        record[reclen - 1] = (char)type;
    } else {
        struct dirent64_head h = {ino, next, (uint16_t)reclen, type};

        memcpy(record, &h, sizeof(h));
    }
    memcpy(record + head, name, size);
    return reclen;
}

static bool emit(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                 int64_t next, uint8_t type)
{
    struct guest_sink *g = container_of(sink, struct guest_sink, sink);
    char record[DIRENT_MAX];
    size_t reclen;

    if (size > VFS_NAME_MAX)
        return true;
    reclen = make_record(g, record, name, size, ino, next, type);
    if (reclen > g->left) {
        g->error = -EINVAL;
        return false;
    }
    if (copy_to_user(g->mm, g->at, record, reclen) < 0) {
        g->error = -EFAULT;
        return false;
    }
    g->at += reclen;
    g->left -= reclen;
    g->filled += reclen;
    return true;
}

static long do_getdents(struct task *task, int fd, uaddr_t buf, unsigned size, bool old)
{
    struct guest_sink sink = {
        .sink.emit = emit,
        .mm = task->mm,
        .at = buf,
        .left = size,
        .old = old,
    };
    struct file *file = task_file(task, fd);
    int err;

    if (!file)
        return -EBADF;
    err = file_getdents(file, &sink.sink);
    file_unref(file);
    if (sink.filled > 0)
        return (long)sink.filled;
    return err < 0 ? err : sink.error;
}

SYSCALL_DEFINE3(getdents, int, fd, uaddr_t, buf, unsigned, size)
{
    return do_getdents(task, fd, buf, size, true);
}

SYSCALL_DEFINE3(getdents64, int, fd, uaddr_t, buf, unsigned, size)
{
    return do_getdents(task, fd, buf, size, false);
}

SYSCALL_DEFINE2(getcwd, uaddr_t, buf, uint64_t, size)
{
    struct path root = fs_context_root(task->fs);
    struct path cwd = fs_context_cwd(task->fs);
    char name[PATH_MAX];
    ssize_t n = dentry_gone(cwd.dentry) ? -ENOENT : path_to_string(&root, &cwd, name, sizeof(name));

    path_unref(&root);
    path_unref(&cwd);
    if (n < 0)
        return n;
    if ((uint64_t)n + 1 > size)
        return -ERANGE;
    return copy_to_user(task->mm, buf, name, (size_t)n + 1) < 0 ? -EFAULT : n + 1;
}

/* Search permission on the directory, as chdir(2) wants it. */
static int enter(struct task *task, struct path to)
{
    int err = path_permission(&to, X_OK);

    if (!err)
        fs_context_set_cwd(task->fs, to);
    return err;
}

SYSCALL_DEFINE1(chdir, uaddr_t, path)
{
    struct walk_result found;
    int err = at_path_walk(task, AT_FDCWD, path, WALK_FOLLOW | WALK_DIRECTORY, &found);

    if (err < 0)
        return err;
    err = enter(task, found.path);
    walk_result_unref(&found);
    return err;
}

SYSCALL_DEFINE1(chroot, uaddr_t, path)
{
    struct walk_result found;
    int err = at_path_walk(task, AT_FDCWD, path, WALK_FOLLOW | WALK_DIRECTORY, &found);

    if (err < 0)
        return err;
    err = path_permission(&found.path, X_OK);
    if (!err && !task_has_own_cap(task, CAP_SYS_CHROOT))
        err = -EPERM;
    if (!err)
        fs_context_set_root(task->fs, found.path);
    walk_result_unref(&found);
    return err;
}

SYSCALL_DEFINE1(fchdir, int, fd)
{
    struct file *file = fdtable_get(task->files, fd);
    int err = -ENOTDIR;

    if (!file)
        return -EBADF;
    if (file->at.dentry && inode_type(file->at.dentry->inode) == S_IFDIR)
        err = enter(task, file->at);
    file_unref(file);
    return err;
}

SYSCALL_DEFINE1(umask, uint32_t, mask)
{
    return fs_context_set_umask(task->fs, mask);
}
