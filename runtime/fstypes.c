#include "runtime/fstypes.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/cgroup/cgroupfs.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/fs/tty/devpts.h"
#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/ipc/mqueue.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/fstype.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/inode.h"

#define PTYS_MAX (1 << 20) /* NR_UNIX98_PTY_MAX */

static struct fstypes_config given;

static int make_tmpfs(const struct fs_setup *setup, struct super_block **ret)
{
    struct tmpfs_config config = {
        .memfile = given.memfile,
        .mode = setup->mask & SETUP_MODE ? setup->mode : 01777,
        .uid = setup->mask & SETUP_UID ? setup->uid : vfs_identity()->uid,
        .gid = setup->mask & SETUP_GID ? setup->gid : vfs_identity()->gid,
        .size_limit = setup->mask & SETUP_SIZE ? setup->size : given.size,
        .inode_limit = setup->mask & SETUP_INODES ? setup->inodes : given.inodes,
        .default_size = given.size,
        .default_inodes = given.inodes,
    };
    int err = super_take_minor(&config.dev_minor);

    if (err < 0)
        return err;
    config.takes_minor = true;
    err = tmpfs_create(&config, ret);
    if (err < 0)
        super_give_minor(config.dev_minor);
    return err;
}

/* What is seen from where the caller is. */
static int make_proc(const struct fs_setup *setup, struct super_block **ret)
{
    struct pid_ns *ns = task_current()->process->pid_ns;
    const struct procfs_options options = {
        .hide = (enum procfs_hide)setup->hide_pid,
        .gid = setup->mask & SETUP_GID ? setup->gid : 0,
        .subset_pid = setup->subset_pid,
    };

    if (!task_has_ns_cap(task_current(), ns->ns.owner, CAP_SYS_ADMIN))
        return -EPERM;
    return procfs_create(ns, &options, ret);
}

static int make_devpts(const struct fs_setup *setup, struct super_block **ret)
{
    return devpts_create(NULL, ret);
}

static int make_sys(const struct fs_setup *setup, struct super_block **ret)
{
    *ret = super_ref(given.sys);
    return 0;
}

/* From where the caller's cgroup namespace begins. */
static int make_cgroup(const struct fs_setup *setup, struct super_block **ret)
{
    struct cgroup *root = task_cgroup_root(task_current());
    int err = 0;

    if (root == cgroup_root())
        *ret = super_ref(given.cgroup);
    else
        err = cgroupfs_create(root, ret);
    cgroup_unref(root);
    return err;
}

static int make_dev(const struct fs_setup *setup, struct super_block **ret)
{
    *ret = super_ref(given.dev);
    return 0;
}

static __printf(2, 3) void complain(struct fs_setup *setup, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(setup->complaint, sizeof(setup->complaint), format, args);
    va_end(args);
}

/* The number or the word; false: neither. */
static bool parse_hide(const char *value, uint8_t *ret)
{
    static const struct {
        const char *number, *word;
        enum procfs_hide hide;
    } values[] = {
        {"0", "off", PROCFS_HIDE_NOTHING},
        {"1", "noaccess", PROCFS_HIDE_CONTENT},
        {"2", "invisible", PROCFS_HIDE_ALL},
        {"4", "ptraceable", PROCFS_HIDE_UNTRACEABLE},
    };

    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        if (strcmp(value, values[i].number) == 0 || strcmp(value, values[i].word) == 0) {
            *ret = (uint8_t)values[i].hide;
            return true;
        }
    }
    return false;
}

/* proc(5) */
static int proc_option(struct fs_setup *setup, const char *key, const char *value)
{
    uint64_t gid;
    int err;

    if (strcmp(key, "gid") == 0) {
        err = fs_parse_number(value, 10, PROCFS_GID_MAX, &gid);
        if (err < 0)
            return err;
        setup->gid = (uint32_t)gid;
        setup->mask |= SETUP_GID;
        return 0;
    }
    if (strcmp(key, "subset") == 0) {
        setup->subset_pid = value && strcmp(value, "pid") == 0;
        if (value && !setup->subset_pid)
            complain(setup, "proc: unsupported subset option - %.64s\n", value);
        return setup->subset_pid ? 0 : -EINVAL;
    }
    if (strcmp(key, "hidepid") != 0)
        return -ENOENT;
    if (!value || parse_hide(value, &setup->hide_pid))
        return value ? 0 : -EINVAL;
    complain(setup, "proc: unknown value of hidepid - %.64s\n", value);
    return -EINVAL;
}

/* Documentation/filesystems/devpts.rst: modes and ids of what is made there are the caller's. */
static int devpts_option(struct fs_setup *setup, const char *key, const char *value)
{
    uint64_t number;

    if (strcmp(key, "newinstance") == 0)
        return value ? -E2BIG : 0;
    if (strcmp(key, "ptmxmode") == 0 || strcmp(key, "mode") == 0)
        return fs_parse_number(value, 8, 07777, &number);
    if (strcmp(key, "uid") == 0 || strcmp(key, "gid") == 0)
        return fs_parse_number(value, 10, UINT32_MAX, &number);
    if (strcmp(key, "max") != 0)
        return -ENOENT;
    if (fs_parse_number(value, 10, UINT32_MAX, &number) < 0)
        return -EINVAL;
    if (number > PTYS_MAX) {
        complain(setup, "max out of range");
        return -EINVAL;
    }
    return 0;
}

/* The queues of the caller's IPC namespace. */
static int make_mqueue(const struct fs_setup *setup, struct super_block **ret)
{
    return mqfs_create(ret);
}

static const struct fs_type types[] = {
    {.name = "sysfs", .create = make_sys},
    {.name = "tmpfs", .create = make_tmpfs, .option = tmpfs_option, .unprivileged = true},
    {.name = "cgroup2", .create = make_cgroup, .unprivileged = true},
    {.name = "devtmpfs", .create = make_dev, .option = tmpfs_option},
    {.name = "mqueue", .create = make_mqueue, .unprivileged = true},
    {.name = "proc", .create = make_proc, .option = proc_option, .unprivileged = true},
    {.name = "devpts", .create = make_devpts, .option = devpts_option, .unprivileged = true},
};

void fstypes_register(const struct fstypes_config *config)
{
    given = *config;
    super_ref(given.dev);
    super_ref(given.sys);
    super_ref(given.cgroup);
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        fs_type_register(&types[i]);
}
