/*
 * Inside AF_UNIX.
 *
 *   unix.c      a socket's life, poll(2), shutdown(2), ioctl(2)
 *   names.c     bind(2): paths, abstract names, those that we choose; finding who has a name
 *   connect.c   connect(2), listen(2), accept(2), socketpair(2)
 *   message.c   what is in a queue, and whose send buffer it fills
 *   stream.c, dgram.c   sending and receiving
 *   garbage.c   descriptors in flight, and sockets that are reachable through them alone
 *
 * Two sockets that talk hold each other; the reference goes when a side is closed, so a closed peer
 * stays for as long as somebody asks for its name.
 *
 * Locks, outer before inner:
 *
 *     state_lock (one for all)    who is connected to whom, who listens
 *       names_lock (of a namespace, and of paths)
 *     read_lock                   one reader; held while user memory is written
 *     garbage's lock
 *       sock.lock                 queues, and reading what state_lock guards; a listener's before
 *                                 that of one who waits there
 *
 * What state_lock guards is changed with sock.lock held as well, so either will do for reading.
 */
#ifndef SENTRY_NET_UNIX_INTERNAL_H
#define SENTRY_NET_UNIX_INTERNAL_H

#include "sentry/net/rights.h"
#include "sentry/net/unix/unix.h"

#define UNIX_CHUNK 65536 /* bytes of one stream message */

struct unix_address {
    refcount_t refs;
    struct socket_address addr;
};

struct unix_message {
    struct list node;
    uint32_t size, offset;      /* bytes; those before `offset` are read */
    uint32_t allocated;         /* bytes at first */
    uint32_t charge;            /* bytes of the sender's send buffer */
    struct unix_socket *sender; /* owned reference */
    struct unix_address *from;  /* owned; NULL: a stream, or no name */
    struct net_creds creds;
    struct net_rights *rights; /* owned, in flight; NULL: none */
    bool urgent;               /* one byte of MSG_OOB */
    char data[];
};

enum unix_state { UNIX_IDLE, UNIX_LISTENING, UNIX_CONNECTED };
enum { UNIX_SHUT_RECEIVE = 1, UNIX_SHUT_SEND = 2, UNIX_SHUT_BOTH = 3 };

struct unix_socket {
    struct socket sock;

    /* Under state_lock (see above). */
    enum unix_state state;
    struct unix_socket *peer;                /* owned reference */
    bool dead;                               /* closed */
    struct net_peer *own_creds, *peer_creds; /* owned; of listen(2), and of the other side */

    struct unix_address *address; /* owned; set once, atomically */
    struct list name_node;        /* in the table of its name */
    struct path at;               /* of a bound path */

    uint32_t shutdown; /* atomic: UNIX_SHUT_* */
    uint64_t sent;     /* atomic: bytes of messages that are not read yet */

    /* Under sock.lock. */
    struct list messages;
    uint64_t queued_bytes;
    uint32_t queued_count;
    struct unix_message *oob; /* the urgent byte, in `messages`; NULL: none, or read */
    struct list waiting;      /* listening: sockets that nobody has accepted yet */
    struct list waiting_node; /* of such a socket */
    uint32_t waiting_count, backlog;

    struct lock read_lock;
    /* dgram: our place in the peer's `room` queue, while `watching`. Under state_lock. */
    struct wait_entry peer_room;
    bool watching;

    /* garbage.c, under its lock. */
    uint32_t inflight; /* how often its file is in a queue */
    struct list inflight_node;
    uint32_t unexplained;
    bool candidate, reached;
    struct list work_node;

    struct list all_node; /* in the namespace's list */

    int outside; /* the host's socket that it is connected to (outside.c); -1: none */
    struct hostpoll_watch *watch;      /* of that, once somebody waits; under sock.lock */
    struct unix_address *outside_name; /* owned: the path of it */

    struct landlock_domain *landlock; /* owned reference: its maker's rules, or NULL */
};

static inline struct unix_socket *unix_of(struct socket *s)
{
    return container_of(s, struct unix_socket, sock);
}

static inline struct unix_socket *unix_ref(struct unix_socket *u)
{
    return unix_of(socket_ref(&u->sock));
}

static inline void unix_unref(struct unix_socket *u)
{
    if (u)
        socket_unref(&u->sock);
}

static inline uint32_t unix_shut(const struct unix_socket *u)
{
    return __atomic_load_n(&u->shutdown, __ATOMIC_ACQUIRE);
}

static inline struct unix_address *unix_name(const struct unix_socket *u)
{
    return __atomic_load_n(&u->address, __ATOMIC_ACQUIRE);
}

/* Half of the buffer is free, or so: sk_write_space() of Linux. */
static inline bool unix_writable(const struct unix_socket *u)
{
    return __atomic_load_n(&u->sent, __ATOMIC_RELAXED) * 4 <= u->sock.opt.sndbuf;
}

static inline bool unix_passes_creds(const struct unix_socket *u)
{
    return u->sock.opt.pass_cred || u->sock.opt.pass_pidfd;
}

extern struct lock unix_state_lock;

/* unix.c */
int unix_create(struct net_ns *net, int type, struct unix_socket **ret);
/* The peer, referenced; NULL: there is none. */
struct unix_socket *unix_get_peer(struct unix_socket *u);
/* Replaces the peer, whose reference is taken over; state_lock held. The old one is returned. */
struct unix_socket *unix_set_peer_locked(struct unix_socket *u, struct unix_socket *peer);

void unix_close(struct socket *s);
void unix_free(struct socket *s);
int unix_getname(struct socket *s, bool peer, struct socket_address *ret);

/* outside.c: nobody inside has the (checked) name; somebody outside may. -ECONNREFUSED. */
int unix_connect_outside(struct unix_socket *u, const struct socket_address *name);

/* names.c */
struct unix_names;
int unix_names_create(struct net_ns *net, void **ret);
void unix_names_destroy(void *names);
void unix_list(struct net_ns *net, socket_info_fn show, void *arg);
void unix_enlist(struct unix_socket *u);
void unix_delist(struct unix_socket *u);
/* -EINVAL unless it is a name of this family; a path's length is what its string has. */
int unix_check_address(const struct socket_address *addr, struct socket_address *ret);
int unix_bind(struct socket *s, const struct socket_address *addr);
int unix_autobind(struct unix_socket *u);
void unix_unbind(struct unix_socket *u); /* the name is free again */
/* Who has the (checked) name, referenced. -ECONNREFUSED, -EPROTOTYPE, -EACCES, as path walks say.
 */
int unix_find(struct unix_socket *asking, const struct socket_address *addr,
              struct unix_socket **ret);
struct unix_address *unix_address_create(const struct socket_address *addr); /* NULL: no memory */
/* The socket inode at a path, which the caller may write to. The result is the caller's. */
struct walk_result;
int unix_walk(const char *path, struct walk_result *ret);
struct unix_address *unix_address_ref(struct unix_address *a);   /* takes NULL */
struct unix_address *unix_address_unref(struct unix_address *a); /* takes NULL, returns NULL */

/* connect.c */
int unix_listen(struct socket *s, int backlog);
int unix_stream_connect(struct socket *s, const struct socket_address *addr, bool first,
                        struct socket **ret_wait);
int unix_dgram_connect(struct socket *s, const struct socket_address *addr, bool first,
                       struct socket **ret_wait);
int unix_accept(struct socket *s, struct socket **ret);
int unix_pair(struct socket *a, struct socket *b);

/* message.c */
/*
 * Takes `size` bytes of the message's data, its credentials and its rights, whose descriptors are
 * in flight from then on; charges the sender. -EAGAIN: the send buffer is full. -EFAULT, -ENOMEM,
 * -ETOOMANYREFS.
 */
int unix_message_create(struct unix_socket *sender, const struct unix_socket *receiver,
                        struct socket_message *msg, size_t size, struct unix_message **ret);
void unix_message_free(struct unix_message *m);
/* Takes it out of the queue; sock.lock held. */
void unix_message_unlink_locked(struct unix_socket *u, struct unix_message *m);
/* Sends back what it held: rights become msg's (or a copy, with `peek`). */
int unix_message_give_rights(struct unix_socket *u, struct unix_message *m,
                             struct socket_message *msg, bool peek);
void unix_purge(struct unix_socket *u);

/* stream.c, dgram.c */
ssize_t unix_stream_send(struct socket *s, struct socket_message *msg);
ssize_t unix_stream_receive(struct socket *s, struct socket_message *msg);
ssize_t unix_dgram_send(struct socket *s, struct socket_message *msg);
ssize_t unix_dgram_receive(struct socket *s, struct socket_message *msg);
ssize_t unix_seqpacket_send(struct socket *s, struct socket_message *msg);
ssize_t unix_seqpacket_receive(struct socket *s, struct socket_message *msg);
bool unix_queue_full(const struct unix_socket *u);

/* garbage.c */
void unix_rights_queued(struct net_rights *rights);
void unix_rights_taken(struct net_rights *rights);
/* A copy for MSG_PEEK. NULL without memory. */
struct net_rights *unix_rights_peek(const struct net_rights *rights);
/* Something was closed: looks soon for what only itself still holds, and takes it apart. */
void unix_garbage_look(void);

#endif
