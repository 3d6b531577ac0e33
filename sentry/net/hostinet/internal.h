/*
 * Inside the host's internet families.
 *
 *   socket.c    a socket's life: making, names, connections, poll(2), ioctl(2)
 *   message.c   sending and receiving
 *   control.c   ancillary data, both ways, through lists
 *   options.c   options, through host/sockopts.def
 *   about.c     the host's interfaces and routes: netlink, netdevice(7), /proc/net
 *
 * No lock but sock.lock, which guards `watch` alone: the host orders the rest.
 */
#ifndef SENTRY_NET_HOSTINET_INTERNAL_H
#define SENTRY_NET_HOSTINET_INTERNAL_H

#include "sentry/net/socket.h"

struct hostpoll_watch;
struct nlmsghdr;

struct hostinet {
    struct socket sock;
    int fd;                       /* the host's; closed with the file */
    bool shut_reading;            /* atomic */
    struct hostpoll_watch *watch; /* made when somebody first has to wait; under sock.lock */
};

static inline struct hostinet *hostinet_of(struct socket *s)
{
    return container_of(s, struct hostinet, sock);
}

int hostinet_create(struct net_ns *net, int domain, int type, int protocol, struct socket **ret);
/* What answered -EAGAIN will wake the socket's queue when it is worth another try. */
void hostinet_watch(struct hostinet *h);

ssize_t hostinet_sendmsg(struct socket *s, struct socket_message *msg);
ssize_t hostinet_recvmsg(struct socket *s, struct socket_message *msg);

/* The control messages that the host is sent; *ret_size bytes of `buf`. -EINVAL, -EPERM. */
#define HOSTINET_CONTROL_MAX 512
int hostinet_control_in(const struct socket *s, const struct socket_message *msg, uint8_t *buf,
                        size_t *ret_size);
/* What the host has sent along, into msg->control_out. */
void hostinet_control_out(struct socket_message *msg, const uint8_t *buf, size_t size);

int hostinet_setsockopt(struct socket *s, int level, int name, const void *value, size_t size);
int hostinet_getsockopt(struct socket *s, int level, int name, void *value, size_t *size);
int hostinet_set_base_option(struct socket *s, int name, const void *value, size_t size);
int hostinet_get_base_option(struct socket *s, int name, void *value, size_t *size);

long hostinet_interface_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg);
int hostinet_route(const struct nlmsghdr *question,
                   void (*each)(void *arg, const struct nlmsghdr *answer), void *arg);
ssize_t hostinet_proc_text(const char *name, char *buf, size_t size);

#endif
