/* setsockopt(2), getsockopt(2); what of SOL_SOCKET asks about tasks is answered here. */
#include <errno.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/filter.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"

#define OPTION_MAX    4096 /* no option that is known needs more */
#define OPT_PEERPIDFD 77   /* newer than some headers */
#define NO_ID         UINT32_MAX

/*
 * SO_ATTACH_FILTER; SO_ATTACH_REUSEPORT_CBPF and PACKET_FANOUT_DATA (`chooser`): struct sock_fprog,
 * and the instructions that it points to.
 */
static int attach_filter(struct task *task, struct socket *s, bool chooser, uaddr_t addr,
                         size_t size)
{
    struct sock_filter *program;
    struct {
        uint16_t count, pad[3];
        uint64_t program;
    } given;
    int err;

    if (s->ops->set_base_option) /* the host's socket: it would run there */
        return -ENOPROTOOPT;
    if (size != sizeof(given))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &given, addr) < 0)
        return -EFAULT;
    if (given.count == 0 || given.count > BPF_PROGRAM_MAX)
        return -EINVAL;
    program = calloc(given.count, sizeof(*program));
    if (!program)
        return -ENOMEM;
    err = copy_from_user(task->mm, program, given.program, given.count * sizeof(*program));
    if (!err)
        err = chooser ? socket_filter_set_chooser(s, program, given.count)
                      : socket_filter_attach(s, program, given.count);
    free(program);
    return err;
}

/* SO_ATTACH_BPF: bpf(2) makes no programs here, so no descriptor is one. */
static int attach_bpf(struct task *task, const struct socket *s, const void *value, size_t size)
{
    struct file *file;
    int fd;

    if (size != sizeof(fd))
        return -EINVAL;
    if (s->opt.lock_filter)
        return -EPERM;
    memcpy(&fd, value, sizeof(fd));
    file = task_file(task, fd);
    if (!file)
        return -EBADF;
    file_unref(file);
    return -EINVAL;
}

/* SO_GET_FILTER: sizes are numbers of instructions. */
static int get_filter(struct task *task, struct socket *s, uaddr_t addr, uint32_t max,
                      uint32_t *ret_count)
{
    struct sock_filter *program = calloc(BPF_PROGRAM_MAX, sizeof(*program));
    int err;

    if (!program)
        return -ENOMEM;
    err = socket_filter_get(s, program, max, ret_count);
    if (!err && max > 0 && *ret_count > 0)
        err = copy_to_user(task->mm, addr, program, *ret_count * sizeof(*program));
    free(program);
    return err;
}

static int set_option(struct task *task, struct socket *s, int level, int name, uaddr_t addr,
                      int size)
{
    uint8_t value[OPTION_MAX];
    size_t used = MIN((size_t)size, sizeof(value));
    int err;

    if (level == SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_DETACH_FILTER)) {
        if (name == SO_ATTACH_FILTER)
            err = attach_filter(task, s, false, addr, (size_t)size);
        else
            err = size < (int)sizeof(int) ? -EINVAL : socket_filter_detach(s);
        if (!err && s->ops->option_changed)
            s->ops->option_changed(s, name);
        return err;
    }
    if (level == SOL_SOCKET && s->domain == AF_PACKET &&
        (name == SO_ATTACH_REUSEPORT_CBPF || name == SO_DETACH_REUSEPORT_BPF))
        return -EINVAL;
    if ((level == SOL_SOCKET && name == SO_ATTACH_REUSEPORT_CBPF) ||
        (level == SOL_PACKET && name == PACKET_FANOUT_DATA && s->domain == AF_PACKET))
        return attach_filter(task, s, true, addr, (size_t)size);
    if (level == SOL_SOCKET && name == SO_DETACH_REUSEPORT_BPF)
        return size < (int)sizeof(int) ? -EINVAL : socket_filter_drop_chooser(s);
    if (copy_from_user(task->mm, value, addr, used) < 0)
        return -EFAULT;
    if (level == SOL_SOCKET && (name == SO_ATTACH_BPF || name == SO_ATTACH_REUSEPORT_EBPF))
        return attach_bpf(task, s, value, (size_t)size);
    if (level == SOL_SOCKET)
        return socket_set_option(s, name, value, used);
    return s->ops->setsockopt ? s->ops->setsockopt(s, level, name, value, used) : -EOPNOTSUPP;
}

int socket_option_from(struct task *task, struct socket *s, int level, int name, uaddr_t addr,
                       int size)
{
    return size < 0 ? -EINVAL : set_option(task, s, level, name, addr, size);
}

SYSCALL_DEFINE5(setsockopt, int, fd, int, level, int, name, uaddr_t, addr, int, size)
{
    struct socket *s;
    int err = task_socket(task, fd, &s);

    if (err < 0)
        return err;
    err = socket_option_from(task, s, level, name, addr, size);
    task_socket_put(s);
    return err;
}

static struct net_peer *peer_of(struct socket *s)
{
    return s->ops->peer ? s->ops->peer(s) : NULL;
}

static int peer_cred(struct task *task, struct socket *s, void *value, size_t *size)
{
    struct net_peer *peer = peer_of(s);
    struct ucred cred = {.uid = NO_ID, .gid = NO_ID};

    if (peer)
        cred = (struct ucred){
            .pid = task_shown_pid(task, peer->pid),
            .uid = cred_shown_uid(task->cred, peer->uid),
            .gid = cred_shown_gid(task->cred, peer->gid),
        };
    net_peer_unref(peer);
    return socket_option_put(value, size, &cred, sizeof(cred));
}

/* -ERANGE, with the size that is needed, when there is too little room. */
static int peer_groups(struct task *task, struct socket *s, void *value, size_t *size)
{
    struct net_peer *peer = peer_of(s);
    uint32_t *shown = value;
    size_t needed;
    int err = 0;

    if (!peer)
        return -ENODATA;
    needed = peer->group_count * sizeof(peer->groups[0]);
    if (*size < needed || needed > OPTION_MAX)
        err = -ERANGE;
    else
        for (uint32_t i = 0; i < peer->group_count; i++)
            shown[i] = cred_shown_gid(task->cred, peer->groups[i]);
    *size = needed;
    net_peer_unref(peer);
    return err;
}

static int peer_pidfd(struct task *task, struct socket *s, void *value, size_t *size)
{
    struct net_peer *peer = peer_of(s);
    struct task *leader;
    struct file *file;
    int fd, err;

    if (!peer)
        return -ENODATA;
    leader = task_find(task->kernel, peer->pid);
    if (leader && leader->process->serial != peer->serial)
        leader = task_unref(leader);
    net_peer_unref(peer);
    if (!leader)
        return -ESRCH;
    err = pidfd_create(leader, 0, &file);
    task_unref(leader);
    if (err < 0)
        return err;
    fd = task_install(task, file, 0, true);
    return fd < 0 ? fd : socket_option_put_int(value, size, fd);
}

static int peer_name(struct socket *s, void *value, size_t *size)
{
    struct socket_address address;
    int err = s->ops->getname ? s->ops->getname(s, true, &address) : -ENOTCONN;

    if (err < 0)
        return -ENOTCONN;
    if (address.size < *size)
        return -EINVAL;
    return socket_option_put(value, size, address.bytes, *size);
}

static int get_value(struct task *task, struct socket *s, int level, int name, void *value,
                     size_t *size)
{
    if (level != SOL_SOCKET)
        return s->ops->getsockopt ? s->ops->getsockopt(s, level, name, value, size) : -EOPNOTSUPP;
    switch (name) {
    case SO_PEERCRED:
        return peer_cred(task, s, value, size);
    case SO_PEERGROUPS:
        return peer_groups(task, s, value, size);
    case OPT_PEERPIDFD:
        return peer_pidfd(task, s, value, size);
    case SO_PEERNAME:
        return peer_name(s, value, size);
    default:
        return socket_get_option(s, name, value, size);
    }
}

/* What is to be told depends on what the program's buffer has. */
static bool needs_question(int level, int name)
{
    return (level == IPPROTO_IP && (name == IP_MSFILTER || name == MCAST_MSFILTER)) ||
           (level == IPPROTO_IPV6 && name == MCAST_MSFILTER) ||
           (level == SOL_PACKET && name == PACKET_HDRLEN);
}

static int get_option(struct task *task, struct socket *s, int level, int name, uaddr_t addr,
                      uaddr_t size_addr)
{
    uint8_t value[OPTION_MAX] __attribute__((aligned(8))) = {0};
    size_t used;
    int size, err;

    if (copy_struct_from_user(task->mm, &size, size_addr) < 0)
        return -EFAULT;
    if (size < 0)
        return -EINVAL;
    if (level == SOL_SOCKET && name == SO_GET_FILTER) {
        uint32_t count;

        err = get_filter(task, s, addr, (uint32_t)size, &count);
        size = (int)count;
        return err ? err : copy_struct_to_user(task->mm, size_addr, &size);
    }
    used = MIN((size_t)size, sizeof(value));
    if (needs_question(level, name) && copy_from_user(task->mm, value, addr, used) < 0)
        return -EFAULT;
    err = get_value(task, s, level, name, value, &used);
    if (err < 0 && err != -ERANGE)
        return err;
    size = (int)used;
    if (!err && copy_to_user(task->mm, addr, value, used) < 0)
        return -EFAULT;
    if (copy_struct_to_user(task->mm, size_addr, &size) < 0)
        return -EFAULT;
    return err;
}

int socket_base_option_to(struct task *task, struct socket *s, int name, uaddr_t addr, int size)
{
    uint8_t value[OPTION_MAX] __attribute__((aligned(8))) = {0};
    size_t used = MIN((size_t)size, sizeof(value));
    int err;

    if (size < 0 || name == SO_GET_FILTER)
        return -EINVAL;
    err = get_value(task, s, SOL_SOCKET, name, value, &used);
    if (err < 0)
        return err;
    return copy_to_user(task->mm, addr, value, used) < 0 ? -EFAULT : (int)used;
}

SYSCALL_DEFINE5(getsockopt, int, fd, int, level, int, name, uaddr_t, addr, uaddr_t, size_addr)
{
    struct socket *s;
    int err = task_socket(task, fd, &s);

    if (err < 0)
        return err;
    err = get_option(task, s, level, name, addr, size_addr);
    task_socket_put(s);
    return err;
}
