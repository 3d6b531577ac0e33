/* Between net.c and connect.c: what a request on a socket has. */
#ifndef SENTRY_SYSCALLS_URING_NET_INTERNAL_H
#define SENTRY_SYSCALLS_URING_NET_INTERNAL_H

#include "sentry/syscalls/net/sockets.h"
#include "sentry/syscalls/uring/uring.h"

/* What a request keeps of its entry's memory, which the program may use again once it is
 * submitted. */
struct uring_net {
    struct guest_msghdr hdr;
    struct socket_address to; /* size 0: none */
    uint64_t done;            /* bytes that earlier attempts moved: MSG_WAITALL */
    uint64_t whole;           /* bytes in all */
    bool drained;             /* a bundle has taken the last buffers of its group */
};

/* req->net. -ENOMEM. */
int uring_need_net(struct uring_req *req);

static inline struct socket *uring_socket(struct uring_req *req)
{
    return socket_is(req->file) ? socket_of(req->file) : NULL;
}

#endif
