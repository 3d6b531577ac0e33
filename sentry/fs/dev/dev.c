/* The devices of null(4), random(4), tty(4). */
#include "sentry/fs/dev/dev.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/random.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "host/io.h"
#include "sentry/fs/dev/kmsg.h"
#include "sentry/fs/loop/loop.h"
#include "sentry/fs/terminal.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/path/namei.h"

#define RANDOM_POOL_BITS 256 /* as in /proc/sys/kernel/random: the pool is always full */

static ssize_t null_read(struct file *f, struct uio *uio, int64_t *pos)
{
    return 0;
}

/* Takes everything without looking at it, unreadable memory included. */
static ssize_t null_write(struct file *f, struct uio *uio, int64_t *pos)
{
    uint64_t size = uio->left;

    uio_advance(uio, size);
    return (ssize_t)size;
}

static ssize_t zero_read(struct file *f, struct uio *uio, int64_t *pos)
{
    return uio_zero(uio, uio->left);
}

static ssize_t full_write(struct file *f, struct uio *uio, int64_t *pos)
{
    return -ENOSPC;
}

static ssize_t random_read(struct file *f, struct uio *uio, int64_t *pos)
{
    uint8_t buf[1024];
    ssize_t done = 0;

    while (uio->left > 0) {
        size_t size = MIN(uio->left, sizeof(buf));
        int err = host_random(buf, size);
        ssize_t n = err < 0 ? err : uio_copy_out(uio, buf, size);

        if (n < 0)
            return done ? done : n;
        done += n;
        if ((size_t)n < size)
            break;
    }
    return done;
}

/* Entropy is accepted and not used; its memory must be readable all the same. */
static ssize_t random_write(struct file *f, struct uio *uio, int64_t *pos)
{
    uint8_t buf[1024];
    ssize_t done = 0;

    while (uio->left > 0) {
        ssize_t n = uio_copy_in(uio, buf, MIN(uio->left, sizeof(buf)));

        if (n < 0)
            return done ? done : n;
        done += n;
    }
    return done;
}

/* random(4): what programs add counts as little as what they write. */
static long add_entropy(struct mm *mm, uaddr_t arg)
{
    struct rand_pool_info info;
    struct uio uio;
    ssize_t n;

    if (copy_struct_from_user(mm, &info, arg) < 0)
        return -EFAULT;
    if (info.entropy_count < 0)
        return -EINVAL;
    if (info.buf_size < 0)
        return -EFAULT;
    uio_init_user(&uio, mm, arg + sizeof(info), (uint64_t)info.buf_size);
    n = random_write(NULL, &uio, NULL);
    return n == info.buf_size ? 0 : -EFAULT;
}

static long random_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    int count = RANDOM_POOL_BITS;

    switch (cmd) {
    case RNDGETENTCNT:
        return copy_struct_to_user(mm, arg, &count);
    case RNDADDTOENTCNT:
        if (!vfs_has_cap(CAP_SYS_ADMIN))
            return -EPERM;
        if (copy_struct_from_user(mm, &count, arg) < 0)
            return -EFAULT;
        return count < 0 ? -EINVAL : 0;
    case RNDADDENTROPY:
        return vfs_has_cap(CAP_SYS_ADMIN) ? add_entropy(mm, arg) : -EPERM;
    case RNDZAPENTCNT:
    case RNDCLEARPOOL:
    case RNDRESEEDCRNG:
        return vfs_has_cap(CAP_SYS_ADMIN) ? 0 : -EPERM;
    default:
        return -EINVAL;
    }
}

static int64_t device_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return 0;
}

/* Private mappings of /dev/zero are anonymous memory, and shared ones shared anonymous memory. */
static int zero_mmap(struct file *f, struct mappable **ret_object)
{
    *ret_object = NULL;
    return 0;
}

/* The one request that it has never gets here: see dev_is_userfaultfd(). */
static long userfaultfd_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    return -EINVAL;
}

/* AF_VSOCK has no transport here: the machine has no number of its own. */
static long vsock_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    const uint32_t cid = VMADDR_CID_ANY;

    if (cmd != (uint32_t)IOCTL_VM_SOCKETS_GET_LOCAL_CID)
        return -ENOTTY;
    return copy_struct_to_user(mm, arg, &cid);
}

static void device_release(struct file *f)
{
    file_fini(f);
    free(f);
}

#define DEVICE_OPERATIONS(name, ...)                                                               \
    static const struct file_operations name##_operations = {                                      \
        .llseek = device_llseek, .release = device_release, __VA_ARGS__}

DEVICE_OPERATIONS(null, .read = null_read, .write = null_write);
DEVICE_OPERATIONS(zero, .read = zero_read, .write = null_write, .mmap = zero_mmap);
DEVICE_OPERATIONS(full, .read = zero_read, .write = full_write);
DEVICE_OPERATIONS(random, .read = random_read, .write = random_write, .ioctl = random_ioctl);
DEVICE_OPERATIONS(userfaultfd, .ioctl = userfaultfd_ioctl);
DEVICE_OPERATIONS(vsock, .ioctl = vsock_ioctl);

static int open_device(const struct file_operations *ops, uint32_t flags, struct file **ret)
{
    struct file *f = malloc(sizeof(*f));

    if (!f)
        return -ENOMEM;
    file_init(f, ops, flags);
    *ret = f;
    return 0;
}

#define DEVICE_OPEN(name)                                                                          \
    static int name##_open(uint32_t flags, struct file **ret)                                      \
    {                                                                                              \
        return open_device(&name##_operations, flags, ret);                                        \
    }
DEVICE_OPEN(null)
DEVICE_OPEN(zero)
DEVICE_OPEN(full)
DEVICE_OPEN(random)
DEVICE_OPEN(userfaultfd)
DEVICE_OPEN(vsock)

/* The caller's controlling terminal, whichever that is. */
static int tty_open(uint32_t flags, struct file **ret)
{
    struct terminal *t = terminal_current();
    int err = t ? t->ops->open(t, flags, ret) : -ENXIO;

    terminal_unref(t);
    return err;
}

/* ---- the nodes that are there at the start -------------------------------------------------- */

#define DEVICE(name_, mode_, major_, minor_, open_)                                                \
    {                                                                                              \
        .name = name_, .mode = S_IFCHR | (mode_), .major = major_, .minor = minor_, .open = open_  \
    }

static const struct device {
    const char *name;
    uint32_t mode;
    unsigned major, minor;
    int (*open)(uint32_t flags, struct file **ret);
} devices[] = {
    DEVICE("null", 0666, 1, 3, null_open),
    DEVICE("zero", 0666, 1, 5, zero_open),
    DEVICE("full", 0666, 1, 7, full_open),
    DEVICE("random", 0666, 1, 8, random_open),
    DEVICE("urandom", 0666, 1, 9, random_open),
    DEVICE("kmsg", 0644, 1, 11, kmsg_open),
    DEVICE("tty", 0666, 5, 0, tty_open),
    DEVICE("loop-control", 0600, 10, 237, loop_control_open),
    DEVICE("userfaultfd", 0600, 10, 257, userfaultfd_open),
    DEVICE("vsock", 0600, 10, 258, vsock_open),
};

/* Places for mounts, and links. */
static const struct {
    const char *name;
    uint32_t mode;
    const char *target;
} others[] = {
    {"pts", S_IFDIR | 0755, NULL},
    {"ptmx", S_IFLNK | 0777, "pts/ptmx"},
    {"shm", S_IFDIR | S_ISVTX | 0777, NULL},
    {"fd", S_IFLNK | 0777, "/proc/self/fd"},
    {"stdin", S_IFLNK | 0777, "/proc/self/fd/0"},
    {"stdout", S_IFLNK | 0777, "/proc/self/fd/1"},
    {"stderr", S_IFLNK | 0777, "/proc/self/fd/2"},
};

static struct super_block *tree; /* a reference, once there is one */

/* As the kernel itself does, whoever asks: whatever has the name already stays. */
static int make_node(const char *name, const struct inode_make *make)
{
    const struct name text = {.text = name, .size = (uint32_t)strlen(name)};
    struct dentry *root = tree->root, *there;
    struct inode *inode;
    int err;

    tree_lock(tree);
    err = dentry_lookup_locked(root, name, &there);
    if (!err)
        dentry_unref(there);
    if (err == -ENOENT) {
        err = root->inode->ops->make(root, text, make, &inode);
        if (!err)
            inode_unref(inode);
    }
    tree_unlock(tree);
    return err;
}

static void make_loop(unsigned number)
{
    const struct inode_make make = {.mode = S_IFBLK | 0600, .rdev = makedev(LOOP_MAJOR, number)};
    char name[32];

    snprintf(name, sizeof(name), "loop%u", number);
    make_node(name, &make);
}

int devfs_fill(struct super_block *sb)
{
    int err = 0;

    sb->type = "devtmpfs";
    tree = super_ref(sb);
    for (size_t i = 0; i < ARRAY_COUNT(devices) && !err; i++) {
        const struct inode_make make = {.mode = devices[i].mode,
                                        .rdev = makedev(devices[i].major, devices[i].minor)};

        err = make_node(devices[i].name, &make);
    }
    for (size_t i = 0; i < ARRAY_COUNT(others) && !err; i++) {
        const struct inode_make make = {.mode = others[i].mode, .target = others[i].target};

        err = make_node(others[i].name, &make);
    }
    for (int64_t n = loop_next(0); n >= 0; n = loop_next((uint64_t)n + 1))
        make_loop((unsigned)n);
    loop_set_added(make_loop);
    return err;
}

int dev_open(bool block, uint64_t number, uint32_t flags, struct file **ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(devices) && !block; i++) {
        if (makedev(devices[i].major, devices[i].minor) == number)
            return devices[i].open(flags, ret);
    }
    if (block && major(number) == LOOP_MAJOR)
        return loop_open(minor(number), flags, ret);
    return -ENXIO;
}

bool dev_is_userfaultfd(const struct file *f)
{
    return f->ops == &userfaultfd_operations;
}
