/* UDP, for its own files alone: a datagram lies in its receiver's queue at once, or is dropped. */
#ifndef SENTRY_NET_INET_UDP_H
#define SENTRY_NET_INET_UDP_H

#include "sentry/net/inet/internal.h"

#define UDP_SIZE_MAX_V4 65507
#define UDP_SIZE_MAX_V6 65527

/* Newer than some headers: linux/udp.h, linux/in6.h. */
#define OPT_UDP_SEGMENT      103
#define OPT_UDP_GRO          104
#define OPT_IPV6_FLOWINFO    11
#define OPT_IPV6_ORIGDSTADDR 74
#define OPT_IP_PROTOCOL      52
#define UDP_SEGMENTS_MAX     128 /* of one message */

struct udp_message {
    struct list node;
    struct endpoint from;
    struct in6_addr to;
    uint64_t time_ns;    /* CLOCK_REALTIME of its arrival */
    uint32_t size, room; /* bytes */
    int interface;       /* by which it came */
    uint8_t tos, ttl;
    bool is_error;    /* what came back from where `from` says */
    uint16_t segment; /* UDP_SEGMENT: so many bytes in each datagram of it; 0: it is one */
    struct socket_marks marks;
    char data[];
};

struct udp_socket {
    struct inet_socket inet;
    struct lock read_lock;
    /* Under sock.lock: */
    struct list messages;
    uint64_t queued; /* bytes, with SOCKET_MESSAGE_COST for each */
    uint32_t dropped;
    struct list errors; /* of what it sent: udp_error.c */
    uint32_t error_count;
    struct udp_message *gathered; /* MSG_MORE, UDP_CORK: not sent yet; owned */
    struct endpoint gathered_to;
    int cork, no_check6_tx, no_check6_rx, segment, gro;
    int send_coverage, receive_coverage; /* of UDP-Lite: bytes that the checksum covers */
    uint8_t shut;                        /* 1: receive, 2: send; atomic */
};

static inline struct udp_socket *udp_of(struct socket *s)
{
    return container_of(s, struct udp_socket, inet.sock);
}

/* A datagram with room for `size` bytes; -ENOBUFS as NULL. */
struct udp_message *udp_message_create(size_t size);
void udp_message_free(struct udp_message *m); /* takes NULL */
/* Into the queue unless it is full or closed; `m` is taken over. */
void udp_enqueue(struct udp_socket *to, struct udp_message *m);
/* marks.c: what the datagram carries beside its bytes: the socket's options, or its control
 * messages'. */
int udp_mark_message(const struct inet_socket *s, const struct socket_message *msg,
                     const struct endpoint *to, struct udp_message *m);
/* A whole datagram that a raw socket has sent. */
struct inet_packet;
void udp_receive_packet(struct net_ns *net, const struct inet_packet *packet);

/* udp_receive.c: what the socket wants to know of how it came. */
void udp_put_control(struct inet_socket *s, struct socket_message *msg,
                     const struct udp_message *m);
/* udp_error.c: does the socket want to hear what became of a datagram to there? */
bool udp_wants_error(const struct inet_socket *s, const struct in6_addr *to);
/* Nobody has the port `to`; `sent` stays the caller's. */
void udp_error_add(struct udp_socket *u, const struct endpoint *to, const struct udp_message *sent);
ssize_t udp_error_receive(struct udp_socket *u, struct socket_message *msg);

/* udp.c: what raw sockets share. */
void udp_init(struct udp_socket *u, struct net_ns *net, const struct socket_operations *ops,
              int domain, int type, int protocol);
void udp_fini(struct udp_socket *u);
void udp_purge(struct udp_socket *u); /* empties the queue */
int udp_shutdown(struct socket *s, int how);
uint32_t udp_poll(struct socket *s);
int udp_queued(struct socket *s, uint32_t cmd, int *ret);
long udp_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg);
ssize_t udp_send(struct socket *s, struct socket_message *msg);
/*
 * A datagram from m->from to `to` for whoever has that port in the namespace of `as`; `m` is taken
 * over. False: nobody wants it.
 */
bool udp_arrive(struct udp_socket *as, const struct endpoint *to, struct udp_message *m);
/* Sends what MSG_MORE and UDP_CORK have gathered. */
void udp_push(struct udp_socket *u);
ssize_t udp_receive(struct socket *s, struct socket_message *msg);

#endif
