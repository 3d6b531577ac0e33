/* What a message carries of SOL_SOCKET, on its way out and in: sock_cmsg_send(), sock_recv_cmsgs().
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <time.h>

#include "sentry/net/netns.h"
#include "sentry/net/socket.h"

#define SCM_TXTIME_ 61 /* SCM_TXTIME: newer than some headers */

bool socket_may_mark(const struct socket *s)
{
    return net_capable(s->net, CAP_NET_RAW) || net_capable(s->net, CAP_NET_ADMIN);
}

int socket_next_control(const struct socket_message *msg, size_t *at, struct cmsghdr *ret,
                        const uint8_t **ret_data)
{
    size_t left = msg->control ? msg->control_size - *at : 0;

    if (left < sizeof(*ret))
        return 0;
    memcpy(ret, msg->control + *at, sizeof(*ret));
    if (ret->cmsg_len < sizeof(*ret) || ret->cmsg_len > left)
        return -EINVAL;
    *ret_data = msg->control + *at + CMSG_LEN(0);
    *at += MIN(CMSG_ALIGN(ret->cmsg_len), left);
    return 1;
}

bool socket_may_set_priority(const struct socket *s, int priority)
{
    return (priority >= 0 && priority <= SOCKET_PRIORITY_FREE) || socket_may_mark(s);
}

int socket_take_marks(const struct socket *s, int type, const void *data, size_t size,
                      struct socket_marks *ret)
{
    int number = 0;

    memcpy(&number, data, MIN(size, sizeof(number)));
    switch (type) {
    case SCM_RIGHTS:
    case SCM_CREDENTIALS: /* of those that cannot carry them they are passed over */
        return 0;
    case SO_MARK:
        if (!socket_may_mark(s))
            return -EPERM;
        ret->mark = number;
        return size == sizeof(number) ? 0 : -EINVAL;
    case SO_PRIORITY:
        if (size != sizeof(number))
            return -EINVAL;
        if (!socket_may_set_priority(s, number))
            return -EPERM;
        ret->priority = number;
        return 0;
    case SO_TIMESTAMPING_OLD:
    case SO_TIMESTAMPING_NEW: /* none can be wanted */
        return size == sizeof(number) && number == 0 ? 0 : -EINVAL;
    case SCM_TXTIME_: /* lo has no queue that would wait for it */
        return s->opt.txtime && size == sizeof(uint64_t) ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}

void socket_put_marks(struct socket *s, struct socket_message *msg,
                      const struct socket_marks *marks)
{
    if (s->opt.rcvmark)
        socket_control_put(msg, SOL_SOCKET, SO_MARK, &marks->mark, sizeof(marks->mark));
    if (s->opt.rcvpriority)
        socket_control_put(msg, SOL_SOCKET, SO_PRIORITY, &marks->priority, sizeof(marks->priority));
}

/* When nothing waits in queues, nothing waits for its time. */
int socket_set_txtime(struct socket *s, const void *value, size_t size)
{
    struct {
        int32_t clock;
        uint32_t flags;
    } given;

    if (size != sizeof(given))
        return -EINVAL;
    memcpy(&given, value, sizeof(given));
    if (given.flags & ~3u)
        return -EINVAL;
    if (given.clock != CLOCK_MONOTONIC && !net_capable(s->net, CAP_NET_ADMIN))
        return -EPERM;
    s->opt.txtime = true;
    s->opt.txtime_clock = given.clock;
    s->opt.txtime_flags = given.flags;
    return 0;
}

int socket_get_txtime(const struct socket *s, void *value, size_t *size)
{
    const struct {
        int32_t clock;
        uint32_t flags;
    } kept = {s->opt.txtime_clock, s->opt.txtime_flags};

    return socket_option_put(value, size, &kept, sizeof(kept));
}
