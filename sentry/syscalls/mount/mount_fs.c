/*
 * Making a file system step by step: fsopen(2), fsconfig(2), fsmount(2), fspick(2); fs/fsopen.c.
 *
 *     fsopen -> PARAMS -> (CMD_CREATE) -> READY -> (fsmount) -> RECONFIGURE
 *     fspick ------------------------------------------------> RECONFIGURE
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/ns/mntns.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/mount/mount.h"
#include "sentry/vfs/fstype.h"
#include "sentry/vfs/mount/mount_ops.h"

#define KEY_MAX       256
#define CREATE_EXCL   8U /* FSCONFIG_CMD_CREATE_EXCL */
#define PICK_EMPTY    8U
#define PICK_NOFOLLOW 2U
#define PICK_FLAGS    0xfU
#define BINARY_MAX    (1024 * 1024)
#define MESSAGES      8

enum phase { PARAMS, READY, RECONFIGURE, FAILED };

struct fs_file {
    struct file file;
    struct lock lock;
    enum phase phase __guarded_by(lock);
    struct fs_setup setup __guarded_by(lock);
    char *source __guarded_by(lock);           /* owned */
    struct super_block *sb __guarded_by(lock); /* owned reference; from READY on */
    /* What went wrong, for read(2): the newest MESSAGES, of which `first` is the oldest; owned. */
    char *messages[MESSAGES] __guarded_by(lock);
    unsigned first __guarded_by(lock), count __guarded_by(lock);
};

/* fs/fs_context.c:logfc(). Without memory nothing is said. */
static void complain(struct fs_file *fs, const char *text) __must_hold(fs->lock)
{
    unsigned at = (fs->first + fs->count) % MESSAGES;
    char *line;

    if (!text[0] || asprintf(&line, "e %s\n", text) < 0)
        return;
    if (fs->count == MESSAGES) {
        free(fs->messages[at]);
        fs->first = (fs->first + 1) % MESSAGES;
    } else {
        fs->count++;
    }
    fs->messages[at] = line;
}

/* One message each time; it stays where there is not enough room for it. */
static int take_message(struct fs_file *fs, size_t room, char **ret)
{
    int err = 0;

    lock_acquire(&fs->lock);
    if (!fs->count) {
        err = -ENODATA;
    } else if (strlen(fs->messages[fs->first]) > room) {
        err = -EMSGSIZE;
    } else {
        *ret = fs->messages[fs->first];
        fs->messages[fs->first] = NULL;
        fs->first = (fs->first + 1) % MESSAGES;
        fs->count--;
    }
    lock_release(&fs->lock);
    return err;
}

static ssize_t fs_read(struct file *f, struct uio *uio, int64_t *pos)
{
    char *line;
    ssize_t n = take_message(container_of(f, struct fs_file, file), uio->left, &line);

    if (n < 0)
        return n;
    n = uio_copy_out(uio, line, strlen(line));
    free(line);
    return n;
}

static void fs_release(struct file *f)
{
    struct fs_file *fs = container_of(f, struct fs_file, file);

    file_fini(f);
    super_unref(fs->sb);
    for (unsigned i = 0; i < MESSAGES; i++)
        free(fs->messages[i]);
    free(fs->source);
    lock_destroy(&fs->lock);
    free(fs);
}

static const struct file_operations fs_operations = {
    .read = fs_read,
    .release = fs_release,
    .no_splice = true,
};

static long create(struct task *task, const struct fs_type *type, struct super_block *sb,
                   bool cloexec)
{
    struct fs_file *fs = calloc(1, sizeof(*fs));

    if (fs)
        fs->file.path = NULL;
    if (!fs)
        return -ENOMEM;
    file_init(&fs->file, &fs_operations, O_RDWR);
    fs->file.path = strdup("anon_inode:[fscontext]");
    lock_init(&fs->lock);
    fs->setup.type = type;
    fs->phase = sb ? RECONFIGURE : PARAMS;
    fs->sb = sb ? super_ref(sb) : NULL;
    return task_install(task, &fs->file, 0, cloexec);
}

SYSCALL_DEFINE2(fsopen, uaddr_t, name_ptr, unsigned, flags)
{
    const struct fs_type *type;
    char *name;
    int err;

    if (!task_may_mount(task))
        return -EPERM;
    if (flags & ~1U)
        return -EINVAL;
    if (!name_ptr)
        return -EFAULT;
    err = mount_copy_string(task, name_ptr, &name);
    if (err < 0)
        return err;
    type = fs_type_find(name);
    free(name);
    return type ? create(task, type, NULL, flags & 1) : -ENODEV;
}

SYSCALL_DEFINE3(fspick, int, dirfd, uaddr_t, path, unsigned, flags)
{
    unsigned walk =
        (flags & PICK_NOFOLLOW ? 0 : WALK_FOLLOW) | (flags & PICK_EMPTY ? WALK_EMPTY : 0);
    struct walk_result found;
    long fd;

    if (!task_may_mount(task))
        return -EPERM;
    if (flags & ~PICK_FLAGS)
        return -EINVAL;
    fd = at_path_walk(task, dirfd, path, walk, &found);
    if (fd < 0)
        return fd;
    if (found.file || found.path.dentry != found.path.mount->root) {
        fd = -EINVAL;
    } else {
        struct super_block *sb = found.path.mount->sb;

        fd = create(task, fs_type_find(sb->type), sb, flags & 1);
    }
    walk_result_unref(&found);
    return fd;
}

/* ---- fsconfig(2) --------------------------------------------------------------------------- */

/* Which arguments a command has: fs/fsopen.c. */
static int check_arguments(unsigned cmd, uaddr_t key, uaddr_t value, int aux)
{
    switch (cmd) {
    case FSCONFIG_SET_FLAG:
        return !key || value || aux ? -EINVAL : 0;
    case FSCONFIG_SET_STRING:
        return !key || !value || aux ? -EINVAL : 0;
    case FSCONFIG_SET_BINARY:
        return !key || !value || aux <= 0 || aux > BINARY_MAX ? -EINVAL : 0;
    case FSCONFIG_SET_PATH:
    case FSCONFIG_SET_PATH_EMPTY:
        return !key || !value || (aux != AT_FDCWD && aux < 0) ? -EINVAL : 0;
    case FSCONFIG_SET_FD:
        return !key || value || aux < 0 ? -EINVAL : 0;
    case FSCONFIG_CMD_CREATE:
    case CREATE_EXCL:
    case FSCONFIG_CMD_RECONFIGURE:
        return key || value || aux ? -EINVAL : 0;
    default:
        return -EOPNOTSUPP;
    }
}

static int set_source(struct fs_file *fs, char *value) __must_hold(fs->lock)
{
    if (fs->source || !value) {
        complain(fs, value ? "Multiple sources" : "Non-string source");
        return -EINVAL;
    }
    fs->source = strdup(value);
    return fs->source ? 0 : -ENOMEM;
}

static int set_parameter(struct fs_file *fs, unsigned cmd, const char *key, char *value)
    __must_hold(fs->lock)
{
    bool text = cmd == FSCONFIG_SET_FLAG || cmd == FSCONFIG_SET_STRING;
    int err;

    if (fs->phase != PARAMS && fs->phase != RECONFIGURE)
        return -EBUSY;
    if (strcmp(key, "source") == 0)
        return set_source(fs, value);
    if (!fs->setup.type)
        return -EINVAL;
    /* No file system here takes descriptors, paths or blobs. */
    err = text ? fs_setup_option(&fs->setup, key, value) : fs_setup_blob(&fs->setup, key);
    if (err)
        complain(fs, fs->setup.complaint);
    return err;
}

static int command(struct task *task, struct fs_file *fs, unsigned cmd) __must_hold(fs->lock)
{
    int err;

    if (cmd == FSCONFIG_CMD_RECONFIGURE) {
        if (fs->phase != RECONFIGURE)
            return -EBUSY;
        if (!task_may_change_super(task, fs->sb))
            return -EPERM;
        fs->setup.complaint[0] = '\0';
        err = fs->sb->reconfigure ? fs->sb->reconfigure(fs->sb, &fs->setup) : 0;
        if (err)
            complain(fs, fs->setup.complaint);
        else
            err = super_set_read_only(fs->sb, fs->setup.read_only);
        fs->setup = (struct fs_setup){.type = fs->setup.type};
        return err;
    }
    if (fs->phase != PARAMS)
        return -EBUSY;
    err = mount_create_super(task, &fs->setup, &fs->sb);
    if (!err && fs->setup.read_only)
        err = super_set_read_only(fs->sb, true);
    fs->phase = err ? FAILED : READY;
    return err;
}

static int copy_key(struct task *task, uaddr_t ptr, char *ret)
{
    ssize_t n = strncpy_from_user(task->mm, ret, ptr, KEY_MAX);

    return n < 0 ? (n == -ENAMETOOLONG ? -EINVAL : (int)n) : 0;
}

/* Of a blob only whether it can be read at all: byte for byte at its ends, pages in between. */
static int check_blob(struct task *task, uaddr_t ptr, int size)
{
    uint8_t byte;

    for (uint64_t at = 0; at < (uint64_t)size; at = MIN(at + PAGE_SIZE, (uint64_t)size)) {
        if (copy_from_user(task->mm, &byte, ptr + at, 1) < 0)
            return -EFAULT;
    }
    return copy_from_user(task->mm, &byte, ptr + (uint64_t)size - 1, 1);
}

/* The value of FSCONFIG_SET_STRING; others are looked at for errors. */
static int copy_value(struct task *task, unsigned cmd, uaddr_t ptr, int aux, char *ret)
{
    struct file *file;
    char *path;
    int err;

    switch (cmd) {
    case FSCONFIG_SET_STRING:
        return copy_key(task, ptr, ret);
    case FSCONFIG_SET_BINARY:
        return check_blob(task, ptr, aux);
    case FSCONFIG_SET_PATH:
    case FSCONFIG_SET_PATH_EMPTY:
        err = mount_copy_string(task, ptr, &path);
        if (!err && !path[0] && cmd == FSCONFIG_SET_PATH)
            err = -ENOENT;
        free(path);
        return err;
    case FSCONFIG_SET_FD:
        file = fdtable_get(task->files, aux);
        file_unref(file);
        return file ? 0 : -EBADF;
    default:
        return 0;
    }
}

static int configure(struct task *task, struct fs_file *fs, unsigned cmd, uaddr_t key_ptr,
                     uaddr_t value_ptr, int aux)
{
    char key[KEY_MAX] = "", value[KEY_MAX] = "";
    int err = 0;

    if (key_ptr)
        err = copy_key(task, key_ptr, key);
    if (!err)
        err = copy_value(task, cmd, value_ptr, aux, value);
    if (err < 0)
        return err;
    lock_acquire(&fs->lock);
    if (key_ptr)
        err = set_parameter(fs, cmd, key, cmd == FSCONFIG_SET_STRING ? value : NULL);
    else
        err = task_may_mount(task) ? command(task, fs, cmd) : -EPERM;
    lock_release(&fs->lock);
    return err;
}

SYSCALL_DEFINE5(fsconfig, int, fd, unsigned, cmd, uaddr_t, key, uaddr_t, value, int, aux)
{
    struct file *file;
    int err;

    if (fd < 0)
        return -EINVAL;
    err = check_arguments(cmd, key, value, aux);
    if (err < 0)
        return err;
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    err = file->ops != &fs_operations
              ? -EINVAL
              : configure(task, container_of(file, struct fs_file, file), cmd, key, value, aux);
    file_unref(file);
    return err;
}

/* ---- fsmount(2) ---------------------------------------------------------------------------- */

static int mount_it(struct fs_file *fs, uint32_t flags, struct path *ret)
{
    int err;

    lock_acquire(&fs->lock);
    if (!fs->sb)
        err = -EINVAL;
    else if (fs->phase != READY)
        err = -EBUSY;
    else
        err = vfs_mount_alone(fs->sb, fs->source, flags, ret);
    if (!err) {
        fs->phase = RECONFIGURE;
        fs->setup = (struct fs_setup){.type = fs->setup.type};
    }
    lock_release(&fs->lock);
    return err;
}

SYSCALL_DEFINE3(fsmount, int, fd, unsigned, flags, unsigned, attr)
{
    struct file *file;
    struct path at;
    uint32_t mount_flags;
    int err;

    if (!task_may_mount(task))
        return -EPERM;
    if (flags & ~1U)
        return -EINVAL;
    err = mount_attr_flags(attr, &mount_flags);
    if (err < 0)
        return err;
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    err = file->ops != &fs_operations
              ? -EINVAL
              : mount_it(container_of(file, struct fs_file, file), mount_flags, &at);
    file_unref(file);
    return err ? err : mount_open_place(task, at, true, flags & 1);
}
