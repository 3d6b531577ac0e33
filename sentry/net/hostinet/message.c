/*
 * Sending and receiving. The host reads and writes the program's own pages, pinned; a datagram that
 * lies in more pieces than can be pinned at once, and must not be cut, goes through a buffer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/socket.h"
#include "sentry/mm/uio.h"
#include "sentry/net/hostinet/internal.h"

#define PIN_BYTES    (1UL << 20) /* at once, of a stream */
#define DATAGRAM_MAX 65536UL     /* more than any can have */

#define MSG_PROBE    MSG_PROXY /* as Linux calls it */
#define SEND_FLAGS                                                                                 \
    (MSG_OOB | MSG_DONTROUTE | MSG_PROBE | MSG_EOR | MSG_MORE | MSG_CONFIRM | MSG_FASTOPEN)
#define RECV_FLAGS (MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE)
#define OUT_FLAGS  (MSG_OOB | MSG_TRUNC | MSG_CTRUNC | MSG_EOR | MSG_ERRQUEUE)

/* ---- sending ----------------------------------------------------------------------------------
 */

static int put_address(const struct socket *s, const struct socket_message *msg, struct msghdr *hdr)
{
    const struct socket_address *to = msg->address;

    if (!msg->to_address || s->ops->stream) /* TCP does not look at it */
        return 0;
    if (to->size < sizeof(to->family))
        return -EINVAL;
    if (to->family != AF_INET && to->family != AF_INET6 && to->family != AF_UNSPEC) {
        if (s->domain == AF_INET6 && s->type == SOCK_DGRAM)
            return -EINVAL; /* udpv6_sendmsg() */
        return msg->flags & MSG_OOB ? -EOPNOTSUPP : -EAFNOSUPPORT;
    }
    hdr->msg_name = (void *)to->bytes;
    hdr->msg_namelen = to->size;
    return 0;
}

static ssize_t send_pinned(int fd, struct msghdr *hdr, const struct uio_pin *pin, int flags)
{
    hdr->msg_iov = (struct iovec *)pin->iov;
    hdr->msg_iovlen = (size_t)pin->count;
    return host_socket_send(fd, hdr, flags);
}

static ssize_t send_copied(int fd, struct msghdr *hdr, struct uio *uio, int flags)
{
    struct uio at = *uio; /* another attempt reads it again */
    uint64_t size = uio->left;
    void *buf = malloc(size);
    struct iovec iov = {buf, size};
    ssize_t n;

    if (!buf)
        return -ENOBUFS;
    n = uio_copy_in(&at, buf, size);
    hdr->msg_iov = &iov;
    hdr->msg_iovlen = 1;
    if (n == (ssize_t)size)
        n = host_socket_send(fd, hdr, flags);
    else
        n = -EFAULT;
    free(buf);
    return n;
}

static bool is_connected(struct socket *s)
{
    struct socket_address peer;

    return s->ops->getname(s, true, &peer) == 0;
}

static ssize_t send_bytes(struct socket *s, struct msghdr *hdr, struct uio *uio, int flags)
{
    bool stream = s->ops->stream;
    struct uio_pin pin;
    ssize_t n;

    if (!stream && (flags & MSG_OOB) && s->domain == AF_INET)
        return -EOPNOTSUPP;
    if (!stream && uio->left > DATAGRAM_MAX)
        return -EMSGSIZE;
    n = uio_pin(uio, stream ? PIN_BYTES : DATAGRAM_MAX, false, &pin);
    if (n < 0)
        return !stream && !hdr->msg_name && !is_connected(s) ? -EDESTADDRREQ : n;
    if (stream || pin.size == uio->left)
        n = send_pinned(hostinet_of(s)->fd, hdr, &pin, flags);
    else
        n = send_copied(hostinet_of(s)->fd, hdr, uio, flags);
    uio_unpin(&pin);
    if (n > 0)
        uio_advance(uio, MIN((uint64_t)n, uio->left));
    return n;
}

/*
 * A sender with data for a first segment whose host had no cookie: the connection is being made
 * now. Who may wait goes on as after connect(2).
 */
static ssize_t opening(struct socket_message *msg)
{
    if (msg->flags & MSG_DONTWAIT)
        return -EINPROGRESS;
    msg->flags &= ~MSG_FASTOPEN;
    msg->to_address = false;
    return -EAGAIN;
}

ssize_t hostinet_sendmsg(struct socket *s, struct socket_message *msg)
{
    uint8_t control[HOSTINET_CONTROL_MAX] __aligned_to(8);
    struct msghdr hdr = {.msg_control = control};
    int flags = msg->flags & SEND_FLAGS;
    size_t size = 0;
    ssize_t n;

    /* A first segment with data would go past the rules for connect(2). */
    if (flags & MSG_FASTOPEN) {
        struct socket *unused = NULL;

        if (s->type == SOCK_STREAM) {
            if (!msg->to_address)
                return is_connected(s) ? -EISCONN : -EINVAL;
            n = s->ops->connect(s, msg->address, true, &unused);
            if (n == -EINPROGRESS)
                return opening(msg);
            if (n < 0)
                return n;
        }
        flags &= ~MSG_FASTOPEN;
    }
    n = put_address(s, msg, &hdr);
    if (!n)
        n = hostinet_control_in(s, msg, control, &size);
    if (n < 0)
        return n;
    hdr.msg_controllen = size;
    n = send_bytes(s, &hdr, msg->uio, flags);
    if (n == -EAGAIN)
        hostinet_watch(hostinet_of(s));
    return n;
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static ssize_t receive_copied(int fd, struct msghdr *hdr, struct uio *uio, int flags)
{
    uint64_t size = MIN(uio->left, DATAGRAM_MAX);
    void *buf = malloc(size);
    struct iovec iov = {buf, size};
    ssize_t n, copied;

    if (!buf)
        return -ENOBUFS;
    hdr->msg_iov = &iov;
    hdr->msg_iovlen = 1;
    n = host_socket_receive(fd, hdr, flags);
    copied = n > 0 ? uio_copy_out(uio, buf, MIN((uint64_t)n, size)) : 0;
    free(buf);
    return copied < 0 ? copied : n;
}

static ssize_t receive_bytes(struct socket *s, struct msghdr *hdr, struct uio *uio, int flags)
{
    uint64_t wanted = MIN(uio->left, s->ops->stream ? PIN_BYTES : DATAGRAM_MAX);
    struct uio_pin pin;
    ssize_t n = uio_pin(uio, wanted, true, &pin);

    if (n < 0)
        return n;
    if (s->ops->stream || pin.size == wanted) {
        hdr->msg_iov = pin.iov;
        hdr->msg_iovlen = (size_t)pin.count;
        n = host_socket_receive(hostinet_of(s)->fd, hdr, flags);
        uio_unpin(&pin);
        if (n > 0)
            uio_advance(uio, MIN((uint64_t)n, wanted));
        return n;
    }
    uio_unpin(&pin);
    return receive_copied(hostinet_of(s)->fd, hdr, uio, flags);
}

ssize_t hostinet_recvmsg(struct socket *s, struct socket_message *msg)
{
    uint8_t control[HOSTINET_CONTROL_MAX] __aligned_to(8);
    struct msghdr hdr = {0};
    ssize_t n = socket_take_error(s);

    if (n < 0)
        return n;
    if (msg->control_out) {
        hdr.msg_control = control;
        hdr.msg_controllen = sizeof(control);
    }
    if (msg->address) {
        memset(&msg->address->storage, 0, sizeof(msg->address->storage));
        hdr.msg_name = msg->address->bytes;
        hdr.msg_namelen = sizeof(msg->address->storage);
    }
    n = receive_bytes(s, &hdr, msg->uio, msg->flags & RECV_FLAGS);
    if (n == -EAGAIN)
        hostinet_watch(hostinet_of(s));
    /* Who would wait for a datagram after shutdown(2) is told of an end. */
    if (n == -EAGAIN && !s->ops->stream && !(msg->flags & MSG_DONTWAIT) &&
        __atomic_load_n(&hostinet_of(s)->shut_reading, __ATOMIC_ACQUIRE))
        n = 0;
    if (n < 0)
        return n;
    if (msg->address)
        msg->address->size = MIN(hdr.msg_namelen, (uint32_t)SOCKET_ADDRESS_MAX);
    msg->out_flags |= hdr.msg_flags & OUT_FLAGS;
    if (msg->control_out)
        hostinet_control_out(msg, control, hdr.msg_controllen);
    return n;
}
