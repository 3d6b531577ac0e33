/*
 * What the calls on sockets share: from a number to a socket, addresses in and out of the program's
 * memory, control messages, and waiting with the time limits of SO_RCVTIMEO and SO_SNDTIMEO.
 */
#ifndef SENTRY_SYSCALLS_SOCKETS_H
#define SENTRY_SYSCALLS_SOCKETS_H

#include <fcntl.h>

#include "sentry/kernel/task.h"
#include "sentry/net/socket.h"

struct task_transfer;

/* A reference on its file. -EBADF, -ENOTSOCK. */
int task_socket(struct task *task, int fd, struct socket **ret);
static inline bool socket_is_nonblocking(const struct socket *s)
{
    return __atomic_load_n(&s->file.flags, __ATOMIC_RELAXED) & O_NONBLOCK;
}
static inline void task_socket_put(struct socket *s)
{
    file_unref(&s->file);
}

/* -EINVAL: no such length; -EFAULT. */
int address_from_user(struct task *task, uaddr_t addr, int size, struct socket_address *ret);
/* To `addr`, as far as the int at `size_addr` says, which becomes the real length. */
int address_to_user(struct task *task, const struct socket_address *address, uaddr_t addr,
                    uaddr_t size_addr);

/* One wait of a call: many attempts, one time limit. */
struct socket_sleep {
    struct task *task;
    uint64_t deadline_ns;     /* UINT64_MAX: none */
    struct wait_queue *queue; /* the entry is in it; NULL: in none */
    struct socket *room_of;   /* owned: whose queue that is, if not the socket's own */
    struct wait_entry entry;
};
/* `timeo_ns`: SOCKET_TIMEO_MAX is none. */
void socket_sleep_begin(struct socket_sleep *w, struct task *task, uint64_t timeo_ns);
/*
 * Until `events` of s, or room in `room` (whose reference is taken over; NULL), may be there: 0,
 * try again. -ETIMEDOUT; -ERESTARTSYS, or -EINTR where a time limit was set (signal(7)).
 */
int socket_sleep(struct socket_sleep *w, struct socket *s, uint32_t events, struct socket *room);
void socket_sleep_end(struct socket_sleep *w);

/*
 * sendmsg(2) and recvmsg(2) of a message in hand. MSG_DONTWAIT in its flags, or `nonblock`: -EAGAIN
 * instead of waiting. Raises SIGPIPE.
 */
ssize_t socket_send(struct task *task, struct socket *s, struct socket_message *msg, bool nonblock);
ssize_t socket_receive(struct task *task, struct socket *s, struct socket_message *msg,
                       bool nonblock);
/* What a message still holds: rights that nobody took. */
void socket_message_end(struct socket_message *msg);
/* read(2) and write(2). */
ssize_t socket_transfer(struct task_transfer *t, bool nonblock);

/* struct msghdr, as programs have it. */
struct guest_msghdr {
    uint64_t name;
    int32_t name_size;
    uint32_t pad;
    uint64_t iov, iov_count;
    uint64_t control, control_size;
    uint32_t flags, pad2;
};
static_assert(sizeof(struct guest_msghdr) == 56, "struct msghdr");

/* sendmsg(2) on a socket in hand; the header is a copy. */
ssize_t socket_sendmsg(struct task *task, struct socket *s, const struct guest_msghdr *hdr,
                       int flags, bool nonblock);
/* recvmsg(2): the header's outputs are changed in the copy; the name goes out. */
ssize_t socket_recvmsg(struct task *task, struct socket *s, struct guest_msghdr *hdr, int flags,
                       bool nonblock);
/*
 * The same in two steps, for io_uring: what the header points to is read first, the address into
 * `ret_to` (size 0: none) and the buffers, which the caller releases. -EMSGSIZE, -EINVAL, -EFAULT.
 */
int msghdr_import(struct task *task, struct guest_msghdr *hdr, bool sends,
                  struct socket_address *ret_to, struct uio *ret_uio);
ssize_t socket_sendmsg_uio(struct task *task, struct socket *s, const struct guest_msghdr *hdr,
                           struct socket_address *to, struct uio *uio, int flags, bool nonblock);
ssize_t socket_recvmsg_uio(struct task *task, struct socket *s, struct guest_msghdr *hdr,
                           struct uio *uio, int flags, bool nonblock);
/* The same two with the header where the program has it; *ret_flags: MSG_* of what came. */
ssize_t socket_sendmsg_at(struct task *task, struct socket *s, uaddr_t addr, int flags);
ssize_t socket_recvmsg_at(struct task *task, struct socket *s, uaddr_t addr, int flags,
                          uint32_t *ret_flags);
/* Writes what recvmsg(2) changes of a header. */
int msghdr_to_user(struct task *task, uaddr_t addr, const struct guest_msghdr *hdr);

/* sockcontrol.c. `ret_buf`: owned, what msg->control points to. */
int control_from_user(struct task *task, struct socket *s, uaddr_t addr, uint64_t size,
                      struct socket_message *msg, uint8_t **ret_buf);
/* Writes what was received, as far as hdr->control_size has room, and sets it to what was used. */
void control_to_user(struct task *task, struct socket *s, struct socket_message *msg,
                     struct guest_msghdr *hdr);

/* Bodies that io_uring shares. */
int socket_option_from(struct task *task, struct socket *s, int level, int name, uaddr_t addr,
                       int size);
/* Of SOL_SOCKET; its size, or -errno. */
int socket_base_option_to(struct task *task, struct socket *s, int name, uaddr_t addr, int size);
int task_accept(struct task *task, struct socket *s, unsigned flags, bool nonblock,
                struct file **ret);
int task_connect(struct task *task, struct socket *s, const struct socket_address *addr,
                 bool nonblock);

#endif
