/* The devices of null(4), random(4), tty(4). */
#include "sentry/fs/dev/dev.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/magic.h>
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
#include "sentry/fs/treefs.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/attr/identity.h"

#define DEV_MINOR        5   /* st_dev of the tree */
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
    static int name##_open(const struct tree_node *node, uint32_t flags, struct file **ret)        \
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
static int tty_open(const struct tree_node *node, uint32_t flags, struct file **ret)
{
    struct terminal *t = terminal_current();
    int err = t ? t->ops->open(t, flags, ret) : -ENXIO;

    terminal_unref(t);
    return err;
}

static int control_open(const struct tree_node *node, uint32_t flags, struct file **ret)
{
    return loop_control_open(flags, ret);
}

/* ---- loopN: as many as there are ------------------------------------------------------------ */

static void loop_status(uint64_t number, struct linux_stat *st)
{
    st->st_rdev = makedev(LOOP_MAJOR, (unsigned)number);
}

static int loop_object_open(uint64_t number, uint32_t flags, struct file **ret)
{
    return loop_open((unsigned)number, flags, ret);
}

static const struct tree_node loop_node = {
    .mode = S_IFBLK | 0600, .status = loop_status, .open_object = loop_object_open};

static int find_loop(uint64_t key, struct name name, const struct tree_node **ret_node,
                     uint64_t *ret_key)
{
    *ret_node = &loop_node;
    return loop_parse_name(name.text, name.size, ret_key);
}

static int64_t list_loops(uint64_t key, int64_t from, char *ret_name, size_t size,
                          const struct tree_node **ret_node)
{
    int64_t number = loop_next((uint64_t)from);

    *ret_node = &loop_node;
    snprintf(ret_name, size, "loop%ld", number);
    return number;
}

/* --------------------------------------------------------------------------------------------- */

#define DEVICE(name_, major_, minor_, open_)                                                       \
    {                                                                                              \
        .name = name_, .mode = S_IFCHR | 0666, .major = major_, .minor = minor_, .open = open_     \
    }

/* clang-format off */
static const struct tree_node dev_nodes[] = {
    DEVICE("null", 1, 3, null_open),
    DEVICE("zero", 1, 5, zero_open),
    DEVICE("full", 1, 7, full_open),
    DEVICE("random", 1, 8, random_open),
    DEVICE("urandom", 1, 9, random_open),
    {.name = "kmsg", .mode = S_IFCHR | 0644, .major = 1, .minor = 11, .open = kmsg_open},
    DEVICE("tty", 5, 0, tty_open),
    {.name = "userfaultfd", .mode = S_IFCHR | 0600, .major = 10, .minor = 257, .open = userfaultfd_open},
    {.name = "vsock", .mode = S_IFCHR | 0600, .major = 10, .minor = 258, .open = vsock_open},
    {.name = "loop-control", .mode = S_IFCHR | 0600, .major = 10, .minor = 237, .open = control_open},
    {.name = "pts", .mode = S_IFDIR | 0755}, /* for a mount */
    TREE_LINK("ptmx", "pts/ptmx"),
    {.name = "shm", .mode = S_IFDIR | S_ISVTX | 0777}, /* a tmpfs is mounted there */
    TREE_LINK("fd", "/proc/self/fd"),
    TREE_LINK("stdin", "/proc/self/fd/0"),
    TREE_LINK("stdout", "/proc/self/fd/1"),
    TREE_LINK("stderr", "/proc/self/fd/2"),
};
/* clang-format on */

static const struct tree_node dev_root = {.name = "",
                                          .mode = S_IFDIR | 0755,
                                          .children = dev_nodes,
                                          .child_count = ARRAY_COUNT(dev_nodes),
                                          .find = find_loop,
                                          .list = list_loops};

int dev_open(bool block, uint64_t number, uint32_t flags, struct file **ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(dev_nodes) && !block; i++) {
        const struct tree_node *node = &dev_nodes[i];

        if (node->open && makedev(node->major, node->minor) == number)
            return node->open(node, flags, ret);
    }
    if (block && major(number) == LOOP_MAJOR)
        return loop_open(minor(number), flags, ret);
    return -ENXIO;
}

bool dev_is_userfaultfd(const struct file *f)
{
    return f->ops == &userfaultfd_operations;
}

int devfs_create(struct super_block **ret)
{
    return treefs_create(&dev_root, "devtmpfs", TMPFS_MAGIC, DEV_MINOR, ret);
}
