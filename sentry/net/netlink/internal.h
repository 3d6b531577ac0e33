/*
 * Inside AF_NETLINK.
 *
 *   netlink.c    sockets: ports, options
 *   message.c    their queues, sending and receiving
 *   route.c      NETLINK_ROUTE's answers
 *   diag.c       NETLINK_SOCK_DIAG's, with inet_diag.c, netlink_diag.c and diag_filter.c
 *   reply.c      building them
 *
 * Locks: the namespace's table (ports), then sock.lock (queue). A question is copied whole, then
 * answered with no lock held: answers are appended to the asker's own queue.
 */
#ifndef SENTRY_NET_NETLINK_INTERNAL_H
#define SENTRY_NET_NETLINK_INTERNAL_H

#include <linux/netlink.h>

#include "sentry/net/netlink/netlink.h"

struct netlink_message {
    struct list node;
    uint32_t size;
    uint32_t port; /* of the sender; 0: the kernel */
    struct net_creds creds;
    uint8_t data[];
};

struct netlink_socket {
    struct socket sock;
    struct list port_node; /* in the table, under its lock; empty: no port yet */
    uint32_t port, groups, to_port, to_groups;
    bool bound;
    uint32_t options; /* bits by NETLINK_* option number */
    /* Under sock.lock. */
    struct list messages;
    uint64_t queued_bytes;
    uint32_t drops;
    struct lock read_lock; /* one reader */
};

static inline struct netlink_socket *netlink_of(struct socket *s)
{
    return container_of(s, struct netlink_socket, sock);
}

/* netlink.c. `port` 0: the process's number, or whatever is free. -EINVAL, -EADDRINUSE. */
int netlink_take_port(struct netlink_socket *n, uint32_t port);
/* The socket of the same protocol that has it, referenced; NULL. */
struct netlink_socket *netlink_find_port(const struct netlink_socket *n, uint32_t port);
/* -EINVAL. */
int netlink_read_address(const struct socket_address *addr, struct sockaddr_nl *ret);

/* message.c */
ssize_t netlink_send(struct socket *s, struct socket_message *msg);
ssize_t netlink_receive(struct socket *s, struct socket_message *msg);
/*
 * Takes the message over. -ENOBUFS: dropped, and the reader will be told. The queue may
 * have `limit` bytes if that is more than its buffer's size: Linux makes a long answer while it is
 * read, here it is made at once.
 */
#define NETLINK_DUMP_MAX (4u << 20)
int netlink_enqueue(struct netlink_socket *n, struct netlink_message *m, uint64_t limit);

/*
 * reply.c: an answer of several messages in datagrams, for readers that take a page at a time: none
 * is longer than NETLINK_PART_MAX (Linux's NLMSG_GOODSIZE) but for the sake of a single message.
 */
#define NETLINK_REPLY_MAX 8192
#define NETLINK_PART_MAX  3776
struct netlink_reply {
    struct netlink_socket *to;
    const struct nlmsghdr *question;
    struct netlink_message *m; /* being built; NULL: none yet */
    uint32_t head;             /* where its last message begins */
    bool multi;
    int error;
};
/* Begins a message with `size` bytes of fixed part; where that lies, or NULL (error is set). */
void *reply_begin(struct netlink_reply *r, uint16_t type, size_t size);
/* A message that somebody else has made; the reply is a struct netlink_reply. */
void reply_copy(void *reply, const struct nlmsghdr *made);
void reply_attribute(struct netlink_reply *r, uint16_t type, const void *data, size_t size);
void reply_attribute_u32(struct netlink_reply *r, uint16_t type, uint32_t value);
void reply_attribute_u8(struct netlink_reply *r, uint16_t type, uint8_t value);
void reply_attribute_string(struct netlink_reply *r, uint16_t type, const char *text);
/* A dump's end: NLMSG_DONE; reply_end(): one that failed on the way, 0 or negative. */
void reply_done(struct netlink_reply *r);
void reply_end(struct netlink_reply *r, int error);
/* NLMSG_ERROR: `error` is 0 or negative. */
void reply_error(struct netlink_reply *r, int error);
/* Sends what is built. */
void reply_flush(struct netlink_reply *r);

/*
 * route.c: one question, whose header says no more bytes than there are. 0: answered; negative: the
 * error that the asker is told. *ret_dump: the answer ended with NLMSG_DONE, no acknowledgement.
 */
int route_answer(struct netlink_reply *r, bool *ret_dump);
/* netnsid.c: likewise for RTM_GETNSID. */
int netnsid_answer(struct netlink_reply *r);
/* diag.c: likewise for NETLINK_SOCK_DIAG. */
int diag_answer(struct netlink_reply *r, bool *ret_dump);
/* inet_diag.c: of that, AF_INET and AF_INET6; netlink_diag.c: AF_NETLINK. */
int inet_diag_answer(struct netlink_reply *r, bool *ret_dump);
int netlink_diag_answer(struct netlink_reply *r, bool *ret_dump);

/*
 * diag_filter.c: the programs that choose among sockets of the internet families, as ss(8) sends
 * them. -EINVAL, -EPERM: not one that may be run; `may_mark`: marks may be asked for.
 */
int diag_filter_check(const uint8_t *program, size_t size, bool may_mark);
/* Of a checked one: is this socket wanted? */
bool diag_filter_run(const uint8_t *program, size_t size, const struct inet_report *report);

#endif
