/*
 * lwIP behind names of our own: its header files and those of sentry/net/inet have functions of the
 * same names, so no file sees both.
 */
#ifndef SENTRY_NET_INET_LWIP_STACK_H
#define SENTRY_NET_INET_LWIP_STACK_H

#include "base/lock.h"
#include "sentry/net/inet/lwip/lwip.h"

/* Outside all locks of sockets, but inside a connecting socket's connect_lock. */
extern struct lock stack_lock;

struct stack_name {
    struct in6_addr addr; /* IPv4: ::ffff:a.b.c.d */
    uint16_t port;        /* host order */
};

/* ---- setup.c, device.c
 * ---------------------------------------------------------------------------------
 */

int stack_load(const char **ret_why);
/* The device, with its addresses. -errno. */
int stack_add_device(const struct lwip_config *config);
/* Reads what has arrived, for a while. False: there may be more. stack_lock is held. */
bool stack_input(void);
/* Runs the timers that are due; milliseconds until the next. stack_lock is held. */
uint32_t stack_timers(void);
const struct lwip_config *stack_config(void);
/* Frames and bytes in and out, for those who count. */
struct stack_counts {
    uint64_t in_frames, in_bytes, out_frames, out_bytes, dropped;
};
extern struct stack_counts stack_counts; /* atomic each */

/* Whole frames are shown to `seen` from now on, stack_lock held. */
void stack_watch(void (*seen)(const uint8_t *frame, size_t size, bool outgoing));
/* One of at least a link header leaves as it is; stack_lock is held. -ENOBUFS. */
int stack_frame_send(const void *frame, size_t size);
/* RFC 1071: `sum` and what the bytes sum up to, as the network's words, folded, not inverted. */
uint32_t stack_sum(const void *bytes, size_t size, uint64_t sum);

/*
 * While this is allowed, lwIP hands TCP's segments of IPv4 over in one piece, however long, to be
 * cut by the device; else it makes fragments of what is longer than a packet. stack_lock is held.
 */
void stack_allow_long_segments(bool allow);
/* Bytes of a TCP segment that fill a packet of the device's. */
uint16_t stack_segment_size(bool v4);

/* ---- routes.c: the addresses and routes that stack_config() has --------------------------------
 */

static inline bool stack_has_v4(void)
{
    return stack_config()->v4_count > 0;
}

bool stack_owns(const struct in6_addr *addr);
bool stack_is_broadcast(const struct in6_addr *addr);
/* From which address to `dst`. -ENETUNREACH. */
int stack_route(const struct in6_addr *dst, struct in6_addr *ret_src);
/* Whom on the device's network a packet to one address, no group and no broadcast, is given to. */
int stack_next_hop(const struct in6_addr *dst, struct in6_addr *ret);
/* Is there a way to there, be it a group? */
bool stack_has_way(const struct in6_addr *dst);
/* Is `addr` in that network? */
bool stack_in_network(const struct in6_addr *addr, const struct lwip_address *network);

/* ---- neighbours.c -----------------------------------------------------------------------------
 */

#define STACK_NEIGHBOURS_MAX 32

struct stack_neighbour {
    struct in6_addr addr;
    uint8_t hardware[6];
    uint16_t state; /* NUD_* of rtnetlink(7) */
    bool has_hardware, is_router;
};
/* How many the stack knows; takes stack_lock. */
uint32_t stack_neighbours(struct stack_neighbour ret[STACK_NEIGHBOURS_MAX]);

/* groups.c: the device is to be in that multicast group, or not. stack_lock is held. -ENOBUFS. */
int stack_group_set(const struct in6_addr *group, bool member);

/* ---- reassembly.c: with stack_lock held --------------------------------------------------------
 */

#define STACK_PACKET_MAX 65535U /* bytes of a packet with its header: the library's counters */

bool stack_is_fragment(const uint8_t *ip, size_t size);
/* The packet that a fragment completes, of *ret STACK_PACKET_MAX bytes at most: its size, else 0.
 */
size_t stack_reassemble(const uint8_t *ip, size_t size, uint8_t *ret);

/* ---- stream.c: with stack_lock held -----------------------------------------------------------
 */

struct stack_stream;

/* What the streams' user does; called with stack_lock held, from within lwIP. */
struct stack_stream_user {
    /* A connection has come in: what `user` will be in the calls below; NULL: refused. */
    void *(*incoming)(struct stack_stream *c, const struct stack_name *from,
                      const struct stack_name *to);
    /* Something has changed: look at it soon. */
    void (*changed)(void *user);
};
void stack_stream_start(const struct stack_stream_user *user);

enum stack_stream_state { STREAM_OPENING, STREAM_OPEN, STREAM_DEAD };

/* -ENOBUFS, -EADDRNOTAVAIL, -ENETUNREACH. */
int stack_stream_connect(const struct stack_name *from, const struct stack_name *to, void *user,
                         struct stack_stream **ret);
/* Has the other side of some connection not heard all that was sent, the end included? */
bool stack_streams_ending(void);
/* Of the connections that have ended, the oldest go when there are too many. */
void stack_stream_trim(void);
/* Is told of connections to that port, or no more. */
int stack_stream_listen(uint16_t port);
void stack_stream_deafen(uint16_t port);
enum stack_stream_state stack_stream_state(const struct stack_stream *c);
/* Why it is dead: -ECONNREFUSED, -ECONNRESET, -ETIMEDOUT...; 0: it has ended well. */
int stack_stream_error(const struct stack_stream *c);
/* Bytes that may be written now. */
size_t stack_stream_room(struct stack_stream *c);
/* All `size` bytes, of which there is room. -ENOBUFS: later. */
int stack_stream_write(struct stack_stream *c, const void *data, size_t size);
void stack_stream_push(struct stack_stream *c); /* what was written may leave */
/* The next bytes that have come: how many lie at *ret. */
size_t stack_stream_peek(const struct stack_stream *c, const void **ret);
void stack_stream_take(struct stack_stream *c, size_t size);
/* Everything has come and was taken: the other side has finished. */
bool stack_stream_ended(const struct stack_stream *c);
/* Nothing more will be written. */
void stack_stream_finish(struct stack_stream *c);
/* Seconds; `idle` 0: it is not kept alive. */
void stack_stream_keep_alive(struct stack_stream *c, uint32_t idle, uint32_t interval,
                             uint32_t count);
/* The object goes; `reset`: so does the connection, else it ends by itself. */
void stack_stream_close(struct stack_stream *c, bool reset);

/* ---- datagram.c: with stack_lock held ----------------------------------------------------------
 */

struct stack_datagram {
    struct stack_name from, to;
    uint8_t tos, ttl;
};

struct stack_datagram_user {
    /* A datagram of `size` bytes, which `copy` fetches. False: nobody wants it. */
    bool (*arrived)(const struct stack_datagram *d, size_t size,
                    void (*copy)(void *arg, void *to, size_t size), void *arg);
    /* A whole packet with its header of IP came in, whatever else becomes of it. NULL: not told. */
    void (*packet)(const uint8_t *bytes, size_t size);
    /* What `from` sent to `to` did not get there: -ECONNREFUSED, -EHOSTUNREACH. */
    void (*failed)(const struct stack_name *from, const struct stack_name *to, int error);
};
int stack_datagram_start(const struct stack_datagram_user *user);
/* -EMSGSIZE, -ENOBUFS, -EHOSTUNREACH. */
int stack_datagram_send(const struct stack_datagram *d, const void *data, size_t size);
/* A packet with its header, whose destination is `to`: beyond our own addresses. */
int stack_packet_send(const struct in6_addr *to, const void *bytes, size_t size);
/* The device's part: a packet that is for us. */
void stack_packet_arrived(const uint8_t *bytes, size_t size);

#endif
