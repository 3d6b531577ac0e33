/*
 * Inside AF_PACKET.
 *
 *   packet.c    a socket's life, its names, poll(2)
 *   receive.c   frames that pass, into queues and rings, and recvmsg(2)
 *   send.c      frames that programs put together
 *   send_ring.c those that lie in mapped memory: PACKET_TX_RING
 *   options.c   SOL_PACKET
 *   diag.c      what sock_diag(7) tells
 *   fanout.c    sockets that share what passes
 *   ring.c      frames in memory that the program has mapped: TPACKET_V1 to V3
 *
 * Locks: the namespace's list, then sock.lock, which guards queue and ring; both innermost.
 */
#ifndef SENTRY_NET_PACKET_INTERNAL_H
#define SENTRY_NET_PACKET_INTERNAL_H

#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "base/bpf.h"
#include "base/list.h"
#include "sentry/net/frames.h"
#include "sentry/net/netns.h"
#include "sentry/net/packet/packet.h"
#include "sentry/wait/timer.h"

#define PACKET_MEMBERSHIPS_MAX 64
#define PACKET_RING_MAX        (64UL << 20) /* bytes */
#define PACKET_VNET_SIZE       sizeof(struct virtio_net_hdr)
#define PACKET_VLAN_SIZE       4U /* more than the MTU, for who writes the header */

struct packet_ns {
    struct lock lock;
    struct list sockets __guarded_by(lock);
    struct list fanouts __guarded_by(lock); /* of struct packet_fanout */
    uint16_t next_fanout __guarded_by(lock);
};

static inline struct packet_ns *packet_ns_of(struct net_ns *net)
{
    return net_ns_family(net, AF_PACKET);
}

struct packet_fanout;

/* A frame in a queue, from its link header on or behind it, as the socket's type has it. */
struct packet_message {
    struct list node;
    struct sockaddr_ll from;
    uint64_t time_ns; /* CLOCK_REALTIME */
    uint32_t whole;   /* bytes of the frame before a filter cut it */
    uint32_t size;
    uint16_t network; /* where its packet begins */
    uint8_t bytes[];
};

struct packet_membership {
    struct packet_mreq mreq;
    uint32_t count;
};

/*
 * A ring. What is said of it here is ours alone; in the shared memory we read nothing but the word
 * that says whose a frame, or with V3 a block of frames, is.
 */
struct packet_ring {
    uint8_t *bytes;  /* NULL: there is none */
    uint64_t offset; /* where it lies in the socket's memory */
    uint32_t block_size, block_count, frame_size, per_block, frame_count;
    uint32_t head; /* the frame, or the block, that is next */
    /* V3: */
    uint32_t private_size, timeout_ms;
    bool open;       /* frames have been put into the block at `head` */
    uint32_t used;   /* bytes of it */
    uint32_t last;   /* where its last frame lies */
    uint32_t frames; /* in it */
    uint64_t next_sequence;
};

struct packet_socket {
    struct socket sock;
    /* Under the namespace's lock: */
    struct list node;             /* in its list */
    struct packet_fanout *fanout; /* NULL: the socket is alone */
    uint32_t rollover_next;
    struct tpacket_rollover_stats rollover;
    struct lock read_lock;
    struct lock send_lock; /* one who sends; outside sock.lock */
    struct timer retire;   /* V3: an open block is the program's after a while */
    /* Under sock.lock: */
    int interface;     /* 0: all of them */
    uint16_t protocol; /* ETH_P_*; 0: nothing is received */
    bool running;      /* frames are received: counts among those who look on */
    struct list messages;
    uint64_t queued;
    uint32_t packets, drops, freezes;
    struct mappable *memory; /* of both rings, the one to receive first; owned; NULL: never had */
    struct packet_ring ring;
    struct packet_ring send_ring; /* also under send_lock */
    int version;                  /* TPACKET_* */
    uint32_t reserve;
    int auxdata, origdev, ignore_outgoing, vnet, loss, copy_threshold, timestamp, has_offset;
    struct packet_membership memberships[PACKET_MEMBERSHIPS_MAX];
};

static inline struct packet_socket *packet_of(struct socket *s)
{
    return container_of(s, struct packet_socket, sock);
}

/*
 * fanout.c. PACKET_FANOUT: -EINVAL, -EALREADY, -ENOSPC, -ENOMEM.
 */
int packet_fanout_join(struct packet_socket *p, const void *value, size_t size);
int packet_fanout_get(struct packet_socket *p); /* as getsockopt(2) tells; 0: in none */
/* The namespace's lock is held. */
void packet_fanout_leave_locked(struct packet_socket *p);
/* struct socket_operations': PACKET_FANOUT_DATA. */
int packet_fanout_set_program(struct socket *s, struct socket_filter *program);
int packet_fanout_statistics(struct packet_socket *p, struct tpacket_rollover_stats *ret);
/* For each group that the frame is for, the socket that gets it. The namespace's lock is held. */
void packet_fanout_each_locked(struct packet_ns *ns, const struct net_frame *frame,
                               uint16_t protocol, void (*gets)(void *arg, struct packet_socket *p),
                               void *arg);

/* diag.c: struct socket_family's. */
int packet_diag(struct net_ns *net, const struct nlmsghdr *question,
                void (*each)(void *arg, const struct nlmsghdr *answer), void *arg);
/* options.c */
int packet_setsockopt(struct socket *s, int level, int name, const void *value, size_t size);
int packet_getsockopt(struct socket *s, int level, int name, void *value, size_t *size);
/* receive.c */
ssize_t packet_recvmsg(struct socket *s, struct socket_message *msg);
void packet_purge(struct packet_socket *p);
/* A frame as a filter sees it, whose data begins behind `skip` bytes. */
struct bpf_packet packet_for_program(const struct net_frame *f, uint32_t skip, uint16_t protocol);
/* send.c */
/* Where to, and with which header. */
struct packet_way {
    struct net_device device;
    uint16_t protocol; /* ETH_P_* */
    const uint8_t *to; /* NULL: not said */
};
ssize_t packet_sendmsg(struct socket *s, struct socket_message *msg);
/* One frame, as the socket's type has it. -EMSGSIZE, -EINVAL, -ENOBUFS. */
int packet_send_bytes(struct packet_socket *p, const struct packet_way *way, const uint8_t *bytes,
                      size_t size);
/* send_ring.c: all that are ready; bytes, or of the first that is not as it must be -errno. */
ssize_t packet_send_ring(struct packet_socket *p, const struct packet_way *way);

/* ring.c: PACKET_RX_RING, PACKET_TX_RING (`sends`). -EINVAL, -EBUSY, -ENOMEM. */
int packet_ring_set(struct packet_socket *p, bool sends, const void *value, size_t size);
int packet_ring_mmap(struct socket *s, struct mappable **ret);
void packet_ring_fini(struct packet_socket *p);
void packet_ring_setup(struct memfile *memfile);
/* Bytes of the header and the address behind it; 0: no such version. */
uint32_t packet_ring_header_size(int version);
/* `m` with `size` bytes of its frame goes in. False: there is no room. sock.lock is held. */
bool packet_ring_put_locked(struct packet_socket *p, const struct packet_message *m,
                            const uint8_t *bytes);
bool packet_ring_readable_locked(const struct packet_socket *p);
uint8_t *packet_ring_frame(const struct packet_ring *r, uint32_t index);
/* A quarter of the ring is free. */
bool packet_ring_has_room_locked(const struct packet_socket *p);
void packet_ring_retire(struct timer *timer);

#endif
