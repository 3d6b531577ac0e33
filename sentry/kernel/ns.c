#include "sentry/kernel/ns.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

#define NSFS_MINOR 4
#define NSFS_MAGIC 0x6e736673
#define FIRST_INUM 0xf0000000UL /* of namespaces that are made later */

/* Linux gives the first of each kind a number that everybody knows. */
static const struct {
    const char *name;
    uint64_t flag, inum;
} kinds[NS_TYPES] = {
    [NS_CGROUP] = {"cgroup", CLONE_NEWCGROUP, 0xeffffffb},
    [NS_IPC] = {"ipc", CLONE_NEWIPC, 0xefffffff},
    [NS_MNT] = {"mnt", CLONE_NEWNS, 0xeffffff8},
    [NS_NET] = {"net", CLONE_NEWNET, 0xeffffff9},
    [NS_PID] = {"pid", CLONE_NEWPID, 0xeffffffc},
    [NS_TIME] = {"time", CLONE_NEWTIME, 0xeffffffa},
    [NS_USER] = {"user", CLONE_NEWUSER, 0xeffffffd},
    [NS_UTS] = {"uts", CLONE_NEWUTS, 0xeffffffe},
};

const char *ns_name(enum ns_type type)
{
    return kinds[type].name;
}

uint64_t ns_flag(enum ns_type type)
{
    return kinds[type].flag;
}

struct ns *ns_ref(struct ns *ns)
{
    refcount_get(&ns->refs);
    return ns;
}

struct ns *ns_unref(struct ns *ns)
{
    if (!ns || !refcount_put(&ns->refs))
        return NULL;
    if (ns->type == NS_UTS) {
        lock_destroy(&uts_ns_of(ns)->lock);
        free(uts_ns_of(ns));
    } else {
        free(ns);
    }
    return NULL;
}

static void ns_init(struct ns *ns, enum ns_type type, uint64_t inum)
{
    refcount_set(&ns->refs, 1);
    ns->type = type;
    ns->inum = inum;
}

static struct uts_ns *uts_create(uint64_t inum)
{
    struct uts_ns *uts = calloc(1, sizeof(*uts));

    if (!uts)
        return NULL;
    ns_init(&uts->ns, NS_UTS, inum);
    lock_init(&uts->lock);
    return uts;
}

int ns_create_initial(struct kernel *kernel, const char *hostname)
{
    for (int type = 0; type < NS_TYPES; type++) {
        struct uts_ns *uts = type == NS_UTS ? uts_create(kinds[type].inum) : NULL;
        struct ns *ns = uts ? &uts->ns : type == NS_UTS ? NULL : calloc(1, sizeof(*ns));

        if (!ns)
            return -ENOMEM;
        if (uts) {
            strncpy(uts->hostname, hostname, sizeof(uts->hostname) - 1);
            strcpy(uts->domainname, "(none)");
        } else {
            ns_init(ns, (enum ns_type)type, kinds[type].inum);
        }
        kernel->initial_ns[type] = ns;
    }
    return 0;
}

void ns_destroy_initial(struct kernel *kernel)
{
    for (int type = 0; type < NS_TYPES; type++)
        kernel->initial_ns[type] = ns_unref(kernel->initial_ns[type]);
}

struct uts_ns *uts_ns_copy(struct kernel *kernel, struct uts_ns *old)
{
    struct uts_ns *uts = uts_create(FIRST_INUM + kernel_serial(kernel));

    if (!uts)
        return NULL;
    lock_acquire(&old->lock);
    memcpy(uts->hostname, old->hostname, sizeof(uts->hostname));
    memcpy(uts->domainname, old->domainname, sizeof(uts->domainname));
    lock_release(&old->lock);
    return uts;
}

struct ns *task_get_ns(struct task *task, enum ns_type type)
{
    struct ns *ns = NULL;

    lock_acquire(&task->process->lock);
    if (task->uts)
        ns = ns_ref(type == NS_UTS ? &task->uts->ns : task->kernel->initial_ns[type]);
    lock_release(&task->process->lock);
    return ns;
}

void task_set_uts(struct task *task, struct uts_ns *uts)
{
    struct uts_ns *old;

    lock_acquire(&task->process->lock);
    old = task->uts;
    task->uts = uts;
    lock_release(&task->process->lock);
    if (old)
        ns_unref(&old->ns);
}

struct ns_file {
    struct file file;
    struct ns *ns; /* owned reference */
};

static struct ns_file *ns_file_of(struct file *f)
{
    return container_of(f, struct ns_file, file);
}

static int ns_file_stat(struct file *f, struct linux_stat *ret)
{
    *ret = (struct linux_stat){
        .st_dev = makedev(0, NSFS_MINOR),
        .st_ino = ns_file_of(f)->ns->inum,
        .st_nlink = 1,
        .st_mode = S_IFREG | 0444,
        .st_blksize = 4096,
    };
    return 0;
}

static int ns_file_statfs(struct file *f, struct linux_statfs *ret)
{
    *ret = (struct linux_statfs){
        .f_type = NSFS_MAGIC,
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_namelen = VFS_NAME_MAX,
    };
    return 0;
}

/* Among the caller's descriptors. */
static long open_ns(struct ns *ns)
{
    struct task *task = task_current();
    struct file *file;
    long fd = ns_file_create(ns, &file);

    if (fd < 0)
        return fd;
    fd = fdtable_install(task->files, file, 0, task_rlimit(task, RLIMIT_NOFILE), true);
    if (fd < 0)
        file_unref(file);
    return fd;
}

/* ioctl_nsfs(2). What lies above the initial namespaces is nobody's to see. */
static long ns_file_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    const struct ns *ns = ns_file_of(f)->ns;
    const uint32_t root = 0;

    switch (cmd) {
    case NS_GET_NSTYPE:
        return (long)ns_flag(ns->type);
    case NS_GET_USERNS:
        return ns->type == NS_USER ? -EPERM : open_ns(task_current()->kernel->initial_ns[NS_USER]);
    case NS_GET_PARENT:
        return ns->type == NS_USER || ns->type == NS_PID ? -EPERM : -EINVAL;
    case NS_GET_OWNER_UID:
        return ns->type == NS_USER ? copy_struct_to_user(mm, arg, &root) : -EINVAL;
    default:
        return -ENOTTY;
    }
}

static void ns_file_release(struct file *f)
{
    struct ns_file *n = ns_file_of(f);

    file_fini(f);
    ns_unref(n->ns);
    free(n);
}

static const struct file_operations ns_file_operations = {
    .stat = ns_file_stat,
    .statfs = ns_file_statfs,
    .ioctl = ns_file_ioctl,
    .release = ns_file_release,
};

int ns_file_create(struct ns *ns, struct file **ret)
{
    struct ns_file *n = calloc(1, sizeof(*n));
    char name[32], *path;

    snprintf(name, sizeof(name), "%s:[%lu]", ns_name(ns->type), ns->inum);
    path = strdup(name);
    if (!n || !path) {
        free(n);
        free(path);
        return -ENOMEM;
    }
    file_init(&n->file, &ns_file_operations, O_RDONLY);
    n->file.path = path;
    n->ns = ns_ref(ns);
    *ret = &n->file;
    return 0;
}

struct ns *ns_of_file(struct file *file)
{
    return file->ops == &ns_file_operations ? ns_file_of(file)->ns : NULL;
}
