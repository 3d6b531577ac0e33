#include "runtime/tree.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "runtime/fstypes.h"
#include "runtime/options.h"
#include "sentry/fs/cgroup/cgroupfs.h"
#include "sentry/fs/dev/dev.h"
#include "sentry/fs/loop/loop.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/goferfs.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/pipe/fifo.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/share/share.h"
#include "sentry/fs/sys/sys.h"
#include "sentry/fs/tmpfs/memfd.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/fs/tty/devpts.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/path/modify.h"
#include "sentry/vfs/path/namei.h"
#include "sentry/vfs/path/open.h"

#define DEV_MINOR         5
#define UPPER_MINOR       38
#define OVERLAY_MINOR     39
#define TMPFS_FIRST_MINOR 40
#define SAFE_FLAGS        (MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC)
#define INODES_MAX        (1UL << 20) /* each takes memory of the Sentry itself */

/* 0, 1 and 2 as the caller has them. ret_tty: one that is a terminal, borrowed, or NULL. */
static int take_stdio(struct tree *tree, const struct tree_config *config, struct file **ret_tty)
{
    *ret_tty = NULL;
    tree->tty = NULL;
    hostfd_set_group(config->host_group);
    for (int fd = 0; fd <= 2; fd++) {
        struct file *file;
        int err;

        if (config->stdio[fd] < 0)
            continue;
        err = hostfd_create(config->stdio[fd], config->stdio_names[fd], config->memfile, &file);
        if (err)
            return err;
        if (file->terminal && !(*ret_tty && file_can_read(*ret_tty) && file_can_write(*ret_tty)))
            *ret_tty = file;
        err = fdtable_install(tree->files, file, fd, (uint64_t)fd + 1, false);
        if (err < 0)
            return err;
    }
    if (*ret_tty && hostfd_controls_caller((*ret_tty)->terminal))
        tree->tty = (*ret_tty)->terminal;
    return 0;
}

/* A directory that is to be a mount point, and those on the way, where they are missing. */
static void make_place(struct tree *tree, const char *where)
{
    struct inode_make make = {.mode = S_IFDIR | 0755};
    char path[PATH_MAX];

    for (const char *end = where; *end;) {
        end = strchrnul(end + 1, '/');
        snprintf(path, sizeof(path), "%.*s", (int)(end - where), where);
        vfs_make(tree->fs, NULL, path, &make);
    }
}

/* Takes over the reference on `sb`; one that is `optional` may have no place. */
static int mount_at(struct tree *tree, const char *where, struct super_block *sb, uint32_t flags,
                    bool optional)
{
    struct walk_result at;
    int err = path_walk(tree->fs, NULL, where, WALK_FOLLOW | WALK_DIRECTORY, &at);

    if (err == -ENOENT) {
        make_place(tree, where);
        err = path_walk(tree->fs, NULL, where, WALK_FOLLOW | WALK_DIRECTORY, &at);
    }
    if (!err) {
        err = mount_attach(tree->ns, &at.path, sb, flags | MOUNT_RELATIME);
        walk_result_unref(&at);
    } else if (optional) {
        /* A tree without such a directory, that cannot be changed, can do without ours. */
        log_info("no %s directory to mount on", where);
        err = 0;
    }
    super_unref(sb);
    return err;
}

static int mount_on(struct tree *tree, const char *where, struct super_block *sb, uint32_t flags)
{
    return mount_at(tree, where, sb, flags, true);
}

static uint64_t inodes_max(const struct tree_config *config)
{
    return MIN(config->memory / 2 / PAGE_SIZE, INODES_MAX);
}

static int create_dev(const struct tree_config *config, struct super_block **ret)
{
    const struct tmpfs_config tmpfs = {
        .memfile = config->memfile,
        .mode = 0755,
        .size_limit = round_down(config->memory / 2, PAGE_SIZE),
        .inode_limit = inodes_max(config),
        .dev_minor = DEV_MINOR,
    };
    int err = tmpfs_create(&tmpfs, ret);

    return err ? err : devfs_fill(*ret);
}

/* The host's own /proc and /sys must not show through: they would tell about the gofer. */
static int mount_kernel_trees(struct tree *tree, const struct tree_config *config, struct file *tty)
{
    struct super_block *dev, *pts, *proc, *sys, *cgroup;
    struct fstypes_config types = {
        .memfile = config->memfile,
        .size = round_down(config->memory / 2, PAGE_SIZE),
        .inodes = inodes_max(config),
    };
    int err;

    err = create_dev(config, &dev);
    if (!err)
        err = sysfs_create(config->cpu_count, config->memfile, &sys);
    cgroup_init();
    if (!err)
        err = cgroupfs_create(cgroup_root(), &cgroup);
    if (err)
        return err;
    types.dev = dev;
    types.sys = sys;
    types.cgroup = cgroup;
    fstypes_register(&types);
    if (!err)
        err = mount_on(tree, "/dev", dev, MOUNT_NOSUID);
    if (!err)
        err = devpts_create(tty, &pts);
    if (!err)
        err = mount_on(tree, "/dev/pts", pts, MOUNT_NOSUID | MOUNT_NOEXEC);
    if (!err)
        err = procfs_create(NULL, NULL, &proc);
    if (!err)
        err = mount_on(tree, "/proc", proc, SAFE_FLAGS);
    if (!err)
        err = mount_on(tree, "/sys", sys, SAFE_FLAGS | MOUNT_READ_ONLY);
    return err ? err : mount_on(tree, "/sys/fs/cgroup", cgroup, SAFE_FLAGS);
}

/* What programs may write. */
static const struct {
    const char *where;
    uint32_t mode;
} writable[] = {{"/tmp", 01777}, {"/dev/shm", 01777}, {"/var/tmp", 01777}, {"/run", 0755}};

/* Half of the memory, as tmpfs(5) has it, unless `size` says how much. */
static int mount_tmpfs(struct tree *tree, const struct tree_config *config, const char *where,
                       uint32_t mode, uint64_t size, uint32_t minor)
{
    const struct tmpfs_config tmpfs = {
        .memfile = config->memfile,
        .mode = mode,
        .uid = config->uid,
        .gid = config->gid,
        .size_limit = round_down(size ? size : config->memory / 2, PAGE_SIZE),
        .inode_limit = inodes_max(config),
        .dev_minor = minor,
    };
    struct super_block *sb;
    int err = tmpfs_create(&tmpfs, &sb);

    return err < 0 ? err : mount_on(tree, where, sb, MOUNT_NOSUID | MOUNT_NODEV);
}

static int mount_writable_trees(struct tree *tree, const struct tree_config *config)
{
    int err = memfd_setup(config->memfile, config->memory, inodes_max(config));
    uint32_t minor = TMPFS_FIRST_MINOR;

    for (size_t i = 0; i < ARRAY_COUNT(writable) && !err; i++)
        err = mount_tmpfs(tree, config, writable[i].where, writable[i].mode, 0, minor++);
    for (size_t i = 0; i < config->tmpfs_count && !err; i++) {
        err =
            mount_tmpfs(tree, config, config->tmpfs[i].path, 0755, config->tmpfs[i].size, minor++);
    }
    return err;
}

static int mount_shares(struct tree *tree, const struct tree_config *config)
{
    for (size_t i = 0; i < config->bind_count; i++) {
        const struct option_bind *bind = &config->binds[i];
        const struct share_config share = {
            .socket = bind->socket, .memfile = config->memfile, .read_only = bind->read_only};
        struct super_block *sb;
        int err = share_create(&share, &sb);

        if (!err)
            err = mount_at(tree, bind->guest, sb,
                           MOUNT_NOSUID | MOUNT_NODEV | (bind->read_only ? MOUNT_READ_ONLY : 0),
                           false);
        if (err < 0) {
            log_error("--bind=%s:%s: %s", bind->host, bind->guest, strerror(-err));
            return err;
        }
    }
    return 0;
}

/* Before anything is mounted: also where the program starts in the host's /tmp. */
static int enter_cwd(struct tree *tree, const char *cwd)
{
    struct walk_result at;
    int err = path_walk(tree->fs, NULL, cwd, WALK_FOLLOW | WALK_DIRECTORY, &at);

    if (err)
        return err;
    fs_context_set_cwd(tree->fs, at.path);
    fs_context_set_cwd(tree->host_fs, at.path);
    walk_result_unref(&at);
    return 0;
}

/* `dir` of the host at the same place of the program's tree, where a tmpfs hides it. */
static int bind_from_host(struct tree *tree, const char *dir)
{
    struct inode_make make = {.mode = S_IFDIR | 0755};
    struct walk_result host, at;
    int err = path_walk(tree->host_fs, NULL, dir, WALK_DIRECTORY, &host);

    if (err)
        return err;
    err = vfs_make(tree->fs, NULL, dir, &make);
    if (!err)
        err = path_walk(tree->fs, NULL, dir, WALK_DIRECTORY, &at);
    if (!err) {
        err =
            mount_bind(tree->ns, &at.path, &host.path, MOUNT_NOSUID | MOUNT_NODEV | MOUNT_RELATIME);
        walk_result_unref(&at);
    }
    walk_result_unref(&host);
    return err;
}

void tree_uncover(struct tree *tree, const char *path)
{
    char dir[VFS_NAME_MAX + 16];

    for (uint32_t i = 0; i < ARRAY_COUNT(writable); i++) {
        size_t size = strlen(writable[i].where), name;
        int err;

        if (strncmp(path, writable[i].where, size) != 0 || path[size] != '/')
            continue;
        name = strcspn(path + size + 1, "/");
        if (name == 0 || name > VFS_NAME_MAX || path[size + 1] == '.')
            return;
        snprintf(dir, sizeof(dir), "%.*s", (int)(size + 1 + name), path);
        err = bind_from_host(tree, dir);
        if (err < 0 && err != -EEXIST)
            log_debug("%s does not show through: error %d", dir, -err);
        return;
    }
}

/* The working directory by its name, now that everything is mounted: not hidden by a tmpfs. */
static int return_to_cwd(struct tree *tree)
{
    struct path root = fs_context_root(tree->fs), cwd = fs_context_cwd(tree->fs);
    char name[PATH_MAX];
    struct walk_result at;
    ssize_t length = path_to_string(&root, &cwd, name, sizeof(name));
    int err = length < 0 ? (int)length : 0;

    path_unref(&root);
    path_unref(&cwd);
    if (!err) {
        tree_uncover(tree, name);
        err = path_walk(tree->fs, NULL, name, WALK_DIRECTORY, &at);
    }
    if (err) /* something else hides it: it stays where the host has it */
        return 0;
    fs_context_set_cwd(tree->fs, at.path);
    walk_result_unref(&at);
    return 0;
}

/* The folder that what is changed is kept in; NULL: none. */
static int open_store(const struct tree_config *config, struct super_block **ret)
{
    const struct share_config share = {.socket = config->store_socket, .memfile = config->memfile};

    return config->store ? share_create(&share, ret) : 0;
}

/* Replaces *root by a tree over it that can be written. */
static int overlay_on(const struct tree_config *config, struct super_block **root,
                      struct super_block **ret_overlay)
{
    const struct tmpfs_config tmpfs = {
        .memfile = config->memfile,
        .mode = 0755,
        .size_limit = round_down(config->memory / 2, PAGE_SIZE),
        .inode_limit = inodes_max(config),
        .dev_minor = UPPER_MINOR,
    };
    struct overlay_config overlay = {
        .lower = *root,
        .entry_limit = inodes_max(config),
        .dev_minor = OVERLAY_MINOR,
        .read_only = config->read_only,
    };
    struct super_block *sb;
    int err = open_store(config, &overlay.store);

    if (!err)
        err = tmpfs_create(&tmpfs, &overlay.upper);
    if (!err)
        err = overlay_create(&overlay, &sb);
    super_unref(overlay.upper);
    super_unref(overlay.store);
    if (err < 0) {
        if (config->store)
            log_error("--overlay=dir:%s: %s", config->store, strerror(-err));
        return err;
    }
    super_unref(*root);
    *root = sb;
    *ret_overlay = sb;
    return 0;
}

static int open_host_tree(struct tree *tree, const struct tree_config *config,
                          struct super_block **ret)
{
    const struct goferfs_config gofer = {
        .client = tree->gofer,
        .memfile = config->memfile,
        .exclusive = config->exclusive,
        .checks_modes = config->checks_modes,
        .cache_bytes = GOFER_CACHE_BYTES,
        .handle_limit = config->handles,
    };

    return goferfs_create(&gofer, ret);
}

/* A working directory that only our mounts have. */
static int enter_mounted_cwd(struct tree *tree, const char *cwd)
{
    struct walk_result at;
    int err = path_walk(tree->fs, NULL, cwd, WALK_FOLLOW | WALK_DIRECTORY, &at);

    if (err)
        return err;
    fs_context_set_cwd(tree->fs, at.path);
    walk_result_unref(&at);
    return 0;
}

int tree_create(const struct tree_config *config, struct tree *ret_tree)
{
    struct super_block *root;
    struct file *tty;
    bool on_host = true;
    int err;

    vfs_set_fifo_operations(&fifo_operations);
    vfs_set_device_open(dev_open);
    loop_init();
    err = gofer_client_create(config->gofer_socket, &ret_tree->gofer);
    if (!err)
        err = open_host_tree(ret_tree, config, &root);
    if (err)
        return err;
    err = config->overlay ? overlay_on(config, &root, &ret_tree->overlay) : 0;
    if (!err)
        err = mount_ns_create(root, &ret_tree->ns);
    if (!err)
        err = mount_ns_create(root, &ret_tree->host_ns);
    super_unref(root);
    if (!err)
        err = fs_context_create(ret_tree->ns, config->umask, &ret_tree->fs);
    if (!err)
        err = fs_context_create(ret_tree->host_ns, config->umask, &ret_tree->host_fs);
    if (!err)
        err = enter_cwd(ret_tree, config->cwd);
    if (err == -ENOENT) {
        on_host = false;
        err = 0;
    }
    if (!err)
        err = fdtable_create(&ret_tree->files);
    if (!err)
        err = take_stdio(ret_tree, config, &tty);
    if (!err)
        err = mount_kernel_trees(ret_tree, config, tty);
    if (!err)
        err = mount_writable_trees(ret_tree, config);
    if (!err)
        err = mount_shares(ret_tree, config);
    if (err)
        return err;
    return on_host ? return_to_cwd(ret_tree) : enter_mounted_cwd(ret_tree, config->cwd);
}

int tree_open_exec(struct tree *tree, const char *path, struct file **ret)
{
    int err = vfs_open_exec(tree->fs, NULL, path, WALK_FOLLOW, ret);

    if (err != -ENOENT)
        return err;
    err = vfs_open_exec(tree->host_fs, NULL, path, WALK_FOLLOW, ret);
    if (!err)
        tree_adopt(tree, *ret);
    return err;
}

void tree_adopt(struct tree *tree, struct file *file)
{
    struct path top = mount_ns_top(tree->ns);
    struct mount *old = file->at.mount;

    file->at.mount = mount_ref(top.mount);
    path_unref(&top);
    mount_unref(old);
}
