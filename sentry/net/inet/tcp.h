/*
 * TCP, for its own files alone (internal.h has the list).
 *
 * A connection is one object with two ends. Each end has the queue of bytes that are to be read
 * there; what is written at one end goes straight to the other's queue. Instead of segments there
 * are two marks: `fin` at the end that will get nothing more, and `reset`.
 *
 *      struct tcp_socket --> struct tcp_conn <-- struct tcp_socket
 *                             end[0]  end[1]        (or a listener's queue, until accept(2))
 */
#ifndef SENTRY_NET_INET_TCP_H
#define SENTRY_NET_INET_TCP_H

#include "sentry/net/inet/internal.h"
#include "sentry/wait/timer.h"

/* Bytes that a direction may hold when neither SO_SNDBUF nor SO_RCVBUF was set: half of it each. */
#define TCP_BUF_AUTO    (512 << 10)
#define TCP_MEMORY_MAX  (256ULL << 20) /* in all queues; then each direction gets TCP_BUF_SCARCE */
#define TCP_BUF_SCARCE  (16 << 10)
#define TCP_CHUNK_MAX   (64 << 10)
#define TCP_CHUNK_SMALL 2000         /* what little writes are gathered in */
#define TCP_CORK_NS     200000000ULL /* how long MSG_MORE and TCP_CORK hold bytes back */
#define TCP_LO_MSS      32768        /* what lo's MTU leaves of a segment, as TCP_MAXSEG tells it */

struct tcp_chunk {
    struct list node;
    uint32_t room, size, offset; /* bytes; those before `offset` are read */
    char data[];
};

struct tcp_socket;

struct tcp_end {
    struct tcp_socket *owner; /* borrowed; NULL: not accepted yet, or closed */
    struct endpoint name;
    uint32_t initial;         /* sequence number, for those who look on: wire.h */
    struct list chunks;       /* to be read here */
    uint64_t bytes;           /* in them */
    uint64_t held;            /* behind those: written, but not sent yet */
    uint64_t memory;          /* of them */
    uint64_t arrived, taken;  /* positions in the stream */
    uint32_t segments;        /* in which it arrived */
    bool fin;                 /* nothing more will come */
    bool closed;              /* nobody will read or write here any more */
    bool reset;               /* the other end has reset the connection */
    bool stalled;             /* a filter has dropped bytes: nothing comes any more */
    bool starved;             /* found no room in the other end's queue, and waits */
    bool urgent, urgent_read; /* there is an urgent byte; it was read */
    uint8_t urgent_byte;
    uint64_t urgent_at; /* its position */
    uint32_t rcvbuf;    /* bytes; 0: not set */
    uint32_t sndbuf;
};

struct tcp_conn {
    refcount_t refs;
    struct net_ns *net; /* borrowed from its sockets; NULL: it leads out, not over lo */
    struct lock lock;
    struct tcp_end end[2];  /* 0: who connected */
    struct list queue_node; /* in the listener's queue, guarded by its lock */
    int broken;             /* why it will be reset, if not by the other side: ETIMEDOUT... */
    uint8_t first_closer;   /* 0: none, 1 + the end that sent FIN first */
};

enum tcp_state {
    TCP_IDLE, /* and after everything: both sides are done */
    TCP_LISTENING,
    TCP_WAITING,   /* the listener's queue is full */
    TCP_CONNECTED, /* and half-closed, and reset */
};

struct tcp_parameters {
    int nodelay, cork, maxseg, keepidle, keepintvl, keepcnt, syncnt, linger2, defer_accept;
    int window_clamp, quickack, user_timeout, fastopen, fastopen_connect, fastopen_no_cookie;
    int notsent_lowat, thin_linear, thin_dupack, inq, rto_max, rto_min, delack_max;
    char congestion[16];
};

enum { TCP_SHUT_RECEIVE = 1, TCP_SHUT_SEND = 2, TCP_SHUT_BOTH = 3 };

struct tcp_socket {
    struct inet_socket inet;
    struct lock connect_lock; /* outermost: who connects, or undoes it */
    struct lock read_lock, write_lock;
    /* Under sock.lock: */
    enum tcp_state state;
    bool unreported;             /* connect(2) has not said how it went yet */
    int side;                    /* which end of `conn` is ours */
    struct tcp_conn *conn;       /* owned; NULL unless connected */
    uint8_t shut;                /* TCP_SHUT_*; atomic */
    bool reset;                  /* atomic: the connection is over */
    bool sent_in_vain;           /* the other end was closed already */
    struct tcp_socket *listener; /* owned, of one that waits */
    struct tcp_socket
        *outside;          /* owned, while a connection is made that leads out: its other end */
    bool foreign;          /* stands for somebody outside */
    struct list wait_node; /* in its `hopefuls`, guarded by its lock */
    struct timer cork;     /* what is held is sent in the end */
    struct list queue;     /* connections to accept */
    struct list hopefuls;  /* clients that wait for room in it */
    uint32_t queued, backlog;
    struct tcp_parameters opt;
};

static inline struct tcp_socket *tcp_of(struct socket *s)
{
    return container_of(s, struct tcp_socket, inet.sock);
}
static inline struct socket *tcp_sock(struct tcp_socket *t)
{
    return &t->inet.sock;
}

/* ---- tcp.c ------------------------------------------------------------------------------------
 */

/* One that is in no state yet; its file's reference is the caller's. */
int tcp_alloc(struct net_ns *net, int domain, struct tcp_socket **ret);

/* TCP_ESTABLISHED and so on; `c` is its connection, or NULL. */
uint8_t tcp_state_number(struct tcp_socket *t, struct tcp_conn *c);

/* ---- tcp_conn.c --------------------------------------------------------------------------------
 */

/* `net`: whose lo it goes over; NULL: it leads out. */
struct tcp_conn *tcp_conn_create(struct net_ns *net, const struct endpoint *client,
                                 const struct endpoint *server);
/* A first sequence number. */
uint32_t tcp_initial(void);
struct tcp_conn *tcp_conn_ref(struct tcp_conn *c);
struct tcp_conn *tcp_conn_unref(struct tcp_conn *c); /* takes NULL, returns NULL */
/* The connection of a socket, referenced; NULL. */
struct tcp_conn *tcp_get_conn(struct tcp_socket *t);
/* The socket at that end, referenced; NULL. */
struct tcp_socket *tcp_owner_locked(struct tcp_end *end);
/* Bytes that may still be written to `to`, whose writer is `from`. */
int64_t tcp_room_locked(const struct tcp_end *from, const struct tcp_end *to);
/* Enough of it that who waits for it should be told. */
bool tcp_writable_locked(const struct tcp_end *from, const struct tcp_end *to);
/* NULL: there is no memory, or sockets have too much of it. */
struct tcp_chunk *tcp_chunk_create(size_t room);
void tcp_chunk_free(struct tcp_chunk *chunk);
/* Its bytes are held until they are released. */
void tcp_chunk_add_locked(struct tcp_end *to, struct tcp_chunk *chunk);
/* The reader may see what was held: all of it, or as many segments as it fills. */
void tcp_release_locked(struct tcp_end *to, bool all);
/* `size` more bytes of the first chunk are read; it goes when all are. */
void tcp_chunk_take_locked(struct tcp_end *end, size_t size);
/* Nothing more will be written at `side`: shutdown(2). */
void tcp_conn_finish(struct tcp_conn *c, int side);
/* Nobody uses `side` any more; `reset`: the other end shall be told so. */
void tcp_conn_close(struct tcp_conn *c, int side, bool reset);
/* It is over for both: the other end is told of a reset, the owner of `side` is the caller's. */
void tcp_conn_abort(struct tcp_conn *c, int side);
/* Does `side` take no more bytes, though its socket is still there? shutdown(2), both ways. */
bool tcp_deaf_locked(const struct tcp_conn *c, int side);
/* Bytes came for such a one: both ends are reset. */
void tcp_conn_refuse(struct tcp_conn *c, int side);
/* Both sides have finished: to the socket it is as if it had never been connected. */
bool tcp_conn_is_over(struct tcp_conn *c);
/* TCP_ESTABLISHED, TCP_CLOSE_WAIT and so on. */
uint8_t tcp_conn_state(struct tcp_conn *c, int side);

/* ---- tcp_listen.c ------------------------------------------------------------------------------
 */

int tcp_listen(struct socket *s, int backlog);
int tcp_accept(struct socket *s, struct socket **ret);
/* To a listener, whose lock is taken first. -ECONNREFUSED; 1: its queue is full. */
int tcp_join(struct tcp_socket *t, struct tcp_socket *listener);
/* Does not wait for room in a queue any more. */
void tcp_leave_listener(struct tcp_socket *t);
/* Who waited to be accepted, or for room to wait, is told. */
void tcp_stop_listening(struct tcp_socket *t);
/* Of SO_RCVBUF and SO_SNDBUF, what struct tcp_end has. */
static inline uint32_t tcp_set_size(uint32_t size, bool locked)
{
    return locked ? size / 2 : 0;
}

/* ---- tcp_connect.c, tcp_outside.c --------------------------------------------------------------
 */

int tcp_connect(struct socket *s, const struct socket_address *addr, bool first,
                struct socket **ret_wait);
/* Whatever state it is in, it is idle afterwards: close(2), connect(2) to AF_UNSPEC. */
void tcp_disconnect(struct tcp_socket *t, bool reset);
/* What it has begun and does not want any more. */
void tcp_leave_outside(struct tcp_socket *t);
/*
 * For connections that lead out: the other end is a socket that no program has, `peer`, with names
 * of its own. tcp_meet(): it came from outside, to a listener: 0, 1: it waits for room in the
 * queue, and is woken; -ECONNREFUSED. tcp_answer(): what `t` began has succeeded, or failed.
 */
int tcp_meet(struct tcp_socket *peer, const struct endpoint *from, const struct endpoint *to);
void tcp_answer(struct tcp_socket *t, struct tcp_socket *peer, int error);

/* ---- tcp_send.c, tcp_receive.c, tcp_options.c --------------------------------------------------
 */

/* Sends what MSG_MORE and TCP_CORK hold back at `side`. */
void tcp_push(struct tcp_conn *c, int side);
/* The filter of `side` has gone: what it held back comes. */
void tcp_filter_gone(struct tcp_conn *c, int side);
void tcp_cork_expired(struct timer *timer);
ssize_t tcp_send(struct socket *s, struct socket_message *msg);
ssize_t tcp_receive(struct socket *s, struct socket_message *msg);

/* TCP_INFO. *size: the room, then what is used of it. */
int tcp_get_info(struct tcp_socket *t, void *value, size_t *size);
void tcp_parameters_init(struct tcp_parameters *opt);
int tcp_setsockopt(struct socket *s, int level, int name, const void *value, size_t size);
int tcp_getsockopt(struct socket *s, int level, int name, void *value, size_t *size);
void tcp_option_changed(struct socket *s, int name);

#endif
