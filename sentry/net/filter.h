/*
 * Filters of sockets: SO_ATTACH_FILTER of socket(7). The programs are classic BPF (base/bpf.h);
 * what delivers a packet to a socket asks here first.
 */
#ifndef SENTRY_NET_FILTER_H
#define SENTRY_NET_FILTER_H

#include "base/bpf.h"
#include "sentry/net/socket.h"

/* Takes a copy. -EPERM: locked by SO_LOCK_FILTER; -EINVAL: no good program; -ENOMEM. */
int socket_filter_attach(struct socket *s, const struct sock_filter *program, uint32_t count);
int socket_filter_detach(struct socket *s); /* -ENOENT, -EPERM */
/* SO_ATTACH_REUSEPORT_CBPF, likewise, and SO_DETACH_REUSEPORT_BPF: -ENOENT. */
int socket_filter_set_chooser(struct socket *s, const struct sock_filter *program, uint32_t count);
int socket_filter_drop_chooser(struct socket *s);
/* What such a program says of a message with these bytes: the number of a socket. */
uint32_t socket_filter_choose(const struct socket_filter *program, const void *bytes, size_t size);
/* The same of a packet with its headers. */
uint32_t socket_filter_choose_packet(const struct socket_filter *program,
                                     const struct bpf_packet *packet);
/* Copies the program if `max` instructions are enough (-EINVAL), 0 to only be told the count. */
int socket_filter_get(struct socket *s, struct sock_filter *program, uint32_t max,
                      uint32_t *ret_count);
/* Another socket begins with the same one. */
void socket_filter_inherit(struct socket *s, struct socket *from);
static inline bool socket_has_filter(const struct socket *s)
{
    return __atomic_load_n(&s->filter, __ATOMIC_RELAXED) != NULL;
}
/*
 * How many bytes of the packet may stay, as many as there are without a filter; 0: it is dropped.
 * What of the packet is left unset (mark, random...) is filled in. No lock held.
 */
uint32_t socket_filter_run(struct socket *s, const struct bpf_packet *packet);
/* The same for a message that has no header before its bytes. */
uint32_t socket_filter_bytes(struct socket *s, const void *bytes, size_t size);

#endif
