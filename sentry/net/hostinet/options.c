/*
 * Options: the pairs of level and name in host/sockopts.def go to the host, with at most as many
 * bytes as the option has. Of SOL_SOCKET the base keeps what is about waiting.
 */
#include <errno.h>
#include <string.h>

#include "host/socket.h"
#include "sentry/net/hostinet/internal.h"

int hostinet_setsockopt(struct socket *s, int level, int name, const void *value, size_t size)
{
    const struct host_sockopt *o = host_sockopt_find(level, name);

    if (level == SOL_SOCKET || !o || !(o->ways & HOST_SOCKOPT_SET)) {
        /* To take options away is what programs do that never had any. */
        if (level == IPPROTO_IP && name == IP_OPTIONS && size == 0)
            return 0;
        return -ENOPROTOOPT;
    }
    return host_socket_set(hostinet_of(s)->fd, level, name, value,
                           (socklen_t)MIN(size, (size_t)o->max));
}

int hostinet_getsockopt(struct socket *s, int level, int name, void *value, size_t *size)
{
    const struct host_sockopt *o = host_sockopt_find(level, name);
    socklen_t room;
    int err;

    if (level == SOL_SOCKET || !o || !(o->ways & HOST_SOCKOPT_GET))
        return -ENOPROTOOPT;
    room = (socklen_t)MIN(*size, (size_t)o->max);
    err = host_socket_get(hostinet_of(s)->fd, level, name, value, &room);
    if (!err)
        *size = MIN(*size, (size_t)room);
    return err;
}

/*
 * The host resets a connection that is closed with a linger time of 0; to wait in close(2) for any
 * other would hold a thread of the Sentry, so the host sends what is left without being waited for.
 */
static int set_linger(struct socket *s, const void *value, size_t size)
{
    struct linger linger;

    if (size < sizeof(linger))
        return -EINVAL;
    memcpy(&linger, value, sizeof(linger));
    linger.l_onoff = linger.l_onoff && linger.l_linger == 0;
    linger.l_linger = 0;
    return host_socket_set(hostinet_of(s)->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

int hostinet_set_base_option(struct socket *s, int name, const void *value, size_t size)
{
    const struct host_sockopt *o = host_sockopt_find(SOL_SOCKET, name);
    int number = 0;

    switch (name) {
    case SO_LINGER:
        return set_linger(s, value, size);
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
    case SO_MARK:
        return -EPERM; /* the Sentry has no capability on the host */
    case SO_ZEROCOPY:
        if (size < sizeof(number))
            return -EINVAL;
        memcpy(&number, value, sizeof(number));
        return number ? -EOPNOTSUPP : 0;
    default:
        if (!o || !(o->ways & HOST_SOCKOPT_SET))
            return 0;
        number = host_socket_set(hostinet_of(s)->fd, SOL_SOCKET, name, value,
                                 (socklen_t)MIN(size, (size_t)o->max));
        return number < 0 || name != SO_BINDTODEVICE ? number : 1;
    }
}

int hostinet_get_base_option(struct socket *s, int name, void *value, size_t *size)
{
    const struct host_sockopt *o = host_sockopt_find(SOL_SOCKET, name);
    socklen_t room;
    int err;

    if (name == SO_ERROR && socket_error(s))
        return -ENOPROTOOPT; /* the base has one that the host has told of already */
    if (!o || !(o->ways & HOST_SOCKOPT_GET))
        return -ENOPROTOOPT;
    room = (socklen_t)MIN(*size, (size_t)o->max);
    err = host_socket_get(hostinet_of(s)->fd, SOL_SOCKET, name, value, &room);
    if (!err)
        *size = MIN(*size, (size_t)room);
    return err;
}
