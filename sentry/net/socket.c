#include "sentry/net/socket.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/interface.h"
#include "sentry/net/netns.h"
#include "sentry/net/rights.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/plainstat.h"

#define SOCKFS_MINOR 8
#define SOCKFS_MAGIC 0x534f434b
#define NSEC_PER_SEC 1000000000ULL
#define SOCK_MAX     11 /* of Linux: one above the highest type */

static const struct socket_family *families[SOCKET_FAMILIES];
static uint32_t alive;           /* atomic */
static uint64_t last_ino = 8192; /* atomic */

void socket_register_family(const struct socket_family *family)
{
    families[family->family] = family;
}

const struct socket_family *socket_family_find(int family)
{
    return family >= 0 && family < SOCKET_FAMILIES ? families[family] : NULL;
}

uint32_t socket_sockets_alive(void)
{
    return __atomic_load_n(&alive, __ATOMIC_RELAXED);
}

int socket_create(struct net_ns *net, int domain, int type, int protocol, struct socket **ret)
{
    const struct net_outward *outward = net_ns_outward(net);
    const struct socket_family *family;

    if (domain < 0 || domain >= SOCKET_FAMILIES)
        return -EAFNOSUPPORT;
    if (type < 0 || type >= SOCK_MAX)
        return -EINVAL;
    if (outward && outward->create &&
        (domain == AF_INET || domain == AF_INET6 || domain == AF_PACKET))
        return outward->create(net, domain, type, protocol, ret);
    family = families[domain];
    return family ? family->create(net, type, protocol, ret) : -EAFNOSUPPORT;
}

/* ---- as a file --------------------------------------------------------------------------------
 */

/* What a message without room for more brought along. */
static void drop_rest(struct socket_message *msg)
{
    msg->rights = net_rights_free(msg->rights);
    msg->wait = socket_unref(msg->wait);
}

static ssize_t socket_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct socket *s = socket_of(f);
    struct socket_message msg = {.uio = uio, .flags = MSG_DONTWAIT};
    ssize_t n;

    if (uio->left == 0)
        return 0;
    if (!s->ops->recvmsg)
        return -EOPNOTSUPP;
    n = s->ops->recvmsg(s, &msg);
    drop_rest(&msg);
    return n;
}

static ssize_t socket_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct socket *s = socket_of(f);
    struct socket_message msg = {.uio = uio, .flags = MSG_DONTWAIT};
    ssize_t n;

    if (!s->ops->sendmsg)
        return -EOPNOTSUPP;
    n = s->ops->sendmsg(s, &msg);
    drop_rest(&msg);
    return n;
}

static uint32_t socket_poll(struct file *f, struct wait_entry *entry)
{
    struct socket *s = socket_of(f);

    if (entry)
        wait_queue_add(&s->queue, entry);
    return s->ops->poll(s);
}

static void socket_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&socket_of(f)->queue, entry);
}

static int socket_stat(struct file *f, struct linux_stat *ret)
{
    struct socket *s = socket_of(f);

    *ret = (struct linux_stat){
        .st_dev = makedev(0, SOCKFS_MINOR),
        .st_ino = s->ino,
        .st_nlink = 1,
        .st_blksize = 4096,
    };
    own_attr_stat(&s->attr, ret);
    return 0;
}

static struct own_attr *socket_own_attr(struct file *f)
{
    return &socket_of(f)->attr;
}

static int socket_statfs(struct file *f, struct linux_statfs *ret)
{
    *ret = statfs_of_memory(SOCKFS_MAGIC);
    return 0;
}

static long socket_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct socket *s = socket_of(f);
    const struct net_outward *outward = net_ns_outward(s->net);
    long result = s->ops->ioctl ? s->ops->ioctl(s, mm, cmd, arg) : -ENOTTY;

    if (result != -ENOTTY)
        return result;
    return outward ? outward->interface_ioctl(s, mm, cmd, arg) : interface_ioctl(s, mm, cmd, arg);
}

static int socket_mmap(struct file *f, struct mappable **ret)
{
    struct socket *s = socket_of(f);

    return s->ops->mmap ? s->ops->mmap(s, ret) : -ENODEV;
}

static void socket_flush(struct file *f)
{
    struct socket *s = socket_of(f);

    if (s->ops->flush)
        s->ops->flush(s);
}

static void socket_release(struct file *f)
{
    struct socket *s = socket_of(f);

    if (s->ops->close)
        s->ops->close(s);
    file_fini(f);
    socket_unref(s);
}

static const struct file_operations socket_file_operations = {
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .unpoll = socket_unpoll,
    .stat = socket_stat,
    .own_attr = socket_own_attr,
    .statfs = socket_statfs,
    .ioctl = socket_ioctl,
    .mmap = socket_mmap,
    .flush = socket_flush,
    .release = socket_release,
};

bool socket_is(const struct file *f)
{
    return f->ops == &socket_file_operations;
}

/* ---- life -------------------------------------------------------------------------------------
 */

void socket_init(struct socket *s, struct net_ns *net, const struct socket_operations *ops,
                 int domain, int type, int protocol)
{
    const struct vfs_identity *id = vfs_identity();

    file_init(&s->file, &socket_file_operations, O_RDWR);
    refcount_set(&s->refs, 1);
    s->ops = ops;
    s->domain = domain;
    s->type = type;
    s->protocol = protocol;
    s->net = net_ns_ref(net);
    s->ino = __atomic_add_fetch(&last_ino, 1, __ATOMIC_RELAXED);
    own_attr_init(&s->attr, S_IFSOCK | 0777, id->uid, id->gid);
    wait_queue_init(&s->queue);
    wait_queue_init(&s->room);
    lock_init(&s->lock);
    socket_options_init(&s->opt);
    __atomic_add_fetch(&alive, 1, __ATOMIC_RELAXED);
}

struct socket *socket_ref(struct socket *s)
{
    refcount_get(&s->refs);
    return s;
}

struct socket *socket_unref(struct socket *s)
{
    if (s && refcount_put(&s->refs)) {
        struct net_ns *net = s->net; /* families leave its tables when they free */

        socket_filter_unref(s->filter);
        socket_filter_unref(s->chooser);
        lock_destroy(&s->lock);
        own_attr_fini(&s->attr);
        __atomic_sub_fetch(&alive, 1, __ATOMIC_RELAXED);
        s->ops->free(s);
        net_ns_unref(net);
    }
    return NULL;
}

static uint64_t memory; /* atomic: bytes in all queues */

int socket_memory_take(uint64_t size)
{
    if (__atomic_add_fetch(&memory, size, __ATOMIC_RELAXED) <= SOCKET_MEMORY_MAX)
        return 0;
    __atomic_sub_fetch(&memory, size, __ATOMIC_RELAXED);
    return -ENOBUFS;
}

void socket_memory_give(uint64_t size)
{
    __atomic_sub_fetch(&memory, size, __ATOMIC_RELAXED);
}

struct file *socket_get_file(struct socket *s)
{
    return refcount_get_unless_zero(&s->file.refs) ? &s->file : NULL;
}

void socket_tell_urgent(struct socket *s)
{
    struct file *file = socket_get_file(s);

    if (file) {
        net_urgent(file);
        file_unref(file);
    }
}

void socket_set_error(struct socket *s, int error)
{
    __atomic_store_n(&s->error, error, __ATOMIC_RELEASE);
    socket_wake(s, POLLERR | POLLIN | POLLOUT);
}

int socket_take_error(struct socket *s)
{
    if (!socket_error(s))
        return 0;
    return -__atomic_exchange_n(&s->error, 0, __ATOMIC_ACQ_REL);
}

void socket_control_put(struct socket_message *msg, int level, int type, const void *data,
                        size_t size)
{
    struct socket_control *out = msg->control_out;
    struct cmsghdr head = {.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};

    if (!out)
        return;
    if (SOCKET_CONTROL_MAX - out->size < CMSG_SPACE(size)) {
        msg->out_flags |= MSG_CTRUNC;
        return;
    }
    memset(out->bytes + out->size, 0, CMSG_SPACE(size));
    memcpy(out->bytes + out->size, &head, sizeof(head));
    memcpy(out->bytes + out->size + CMSG_LEN(0), data, size);
    out->size += CMSG_SPACE(size);
}

ssize_t socket_message_give(struct socket_message *msg, const void *bytes, size_t size)
{
    const size_t fits = MIN(size, msg->uio->left);

    if (fits < size)
        msg->out_flags |= MSG_TRUNC;
    if (fits > 0 && uio_copy_out(msg->uio, bytes, fits) != (ssize_t)fits)
        return -EFAULT;
    return (ssize_t)(msg->flags & MSG_TRUNC ? size : fits);
}

void socket_put_timestamp(struct socket *s, struct socket_message *msg, uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC)};
    struct timeval tv = {ts.tv_sec, ts.tv_nsec / 1000};

    if (s->opt.timestamp == SO_TIMESTAMP_OLD || s->opt.timestamp == SO_TIMESTAMP_NEW)
        socket_control_put(msg, SOL_SOCKET, s->opt.timestamp, &tv, sizeof(tv));
    else if (s->opt.timestamp)
        socket_control_put(msg, SOL_SOCKET, s->opt.timestamp, &ts, sizeof(ts));
}
