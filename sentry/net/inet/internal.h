/*
 * Inside the internet families.
 *
 *   address.c      where a socket is: parsing, what can be reached
 *   ports.c        who has which port; finding the receiver
 *   inet.c         what TCP and UDP share: bind(2), names, making sockets
 *   options.c      IPPROTO_IP and IPPROTO_IPV6
 *   groups.c       multicast groups; joined.c: those of all sockets
 *   tcp.c          a TCP socket's life: states, poll(2), shutdown(2)
 *   tcp_connect.c  connect(2), listen(2), accept(2)
 *   tcp_conn.c     the connection: two queues of bytes
 *   tcp_send.c, tcp_receive.c
 *   tcp_options.c  IPPROTO_TCP
 *   udp.c, udp_send.c, udp_receive.c
 *   marks.c        what a datagram carries beside its bytes
 *   raw.c, icmp.c  raw sockets, and what ICMP answers them
 *   packet.c       packets with their headers, for those who want to see them
 *
 * Locks, outer before inner; a queue's waiters are woken with none of them held:
 *
 *     connect_lock                one thread connects, or undoes it
 *     read_lock, write_lock       one reader, one writer; held while user memory is copied
 *       inet_ns->lock             ports
 *         sock.lock               a socket's own state; a listener's before a client's
 *           tcp_conn->lock        both directions of a connection
 *           inet_ns->groups_lock  groups that sockets are in
 */
#ifndef SENTRY_NET_INET_INTERNAL_H
#define SENTRY_NET_INET_INTERNAL_H

#include "base/list.h"
#include "sentry/net/inet/inet.h"

struct endpoint {
    struct in6_addr addr; /* IPv4: ::ffff:a.b.c.d */
    uint16_t port;        /* host order */
};

#define INET_BUCKETS 256

struct inet_ns;
struct inet_socket;
struct tcp_socket;
struct udp_message;

/*
 * What a namespace reaches beside its loopback: the stack of --network=sandbox (lwip/). Its own
 * addresses are served in memory like the loopback's.
 */
struct inet_outward {
    /* Is this one of the device's addresses? */
    bool (*owns)(const struct in6_addr *addr);
    /* Is this the broadcast address of one of its networks? */
    bool (*is_broadcast)(const struct in6_addr *addr);
    /* From which address to this one. -ENETUNREACH. */
    int (*route)(const struct in6_addr *dst, struct in6_addr *ret_src);
    /* Begins a connection between t's names; tcp_answer() will say how it went. */
    int (*connect)(struct tcp_socket *t);
    /* One that was begun is not wanted any more. `connecting` is what tcp_answer() would get. */
    void (*cancel)(struct tcp_socket *connecting);
    /* Somebody began or ceased to listen there: port_has_listener(). */
    void (*listening_changed)(struct inet_ns *ns, uint16_t port);
    /* Sockets have joined or left that group on the device, or neither: groups_joined(). */
    void (*groups_changed)(struct inet_ns *ns, const struct in6_addr *group);
    /* Is there a way to that group? */
    bool (*has_way)(const struct in6_addr *group);
    int index; /* of the device */
    /* A packet with its header of IP, whose destination is `to`. NULL: -EPERM. */
    int (*send_packet)(const struct in6_addr *to, const void *bytes, size_t size);
    /* A datagram, whose message stays the caller's. */
    int (*send)(const struct inet_socket *s, const struct endpoint *to,
                const struct udp_message *m);
};

enum inet_protocol { INET_TCP, INET_UDP, INET_UDPLITE, INET_PROTOCOLS };

struct inet_ns {
    struct lock lock;
    struct list ports[INET_PROTOCOLS][INET_BUCKETS] __guarded_by(lock); /* of struct port */
    uint32_t low, high;                                                 /* ip_local_port_range */
    struct lock groups_lock;
    struct list groups __guarded_by(groups_lock);      /* that any socket has joined: joined.c */
    uint32_t outward_groups __guarded_by(groups_lock); /* of those: not on lo */
    struct list raws __guarded_by(lock);               /* raw sockets: raw.c */
    uint32_t raw_count;                                /* atomic: of those */
    const struct inet_outward
        *outward;                     /* set once, before programs run; NULL: the loopback alone */
    uint64_t counters[INET_COUNTERS]; /* atomic */
};

/* A port in use; gone with its last user. */
struct port {
    struct list node;
    struct list sockets;  /* that were bound or connected here */
    struct list accepted; /* connections of its listeners */
    uint32_t exclusive;   /* of those: without SO_REUSEADDR */
    uint16_t number;
    uint8_t index; /* enum inet_protocol */
};

/* What IPPROTO_IP and IPPROTO_IPV6 keep; options.c has the table. */
struct ip_options {
    int tos, ttl, mtu_discover, minttl, multicast_ttl, unicast_if;
    int recverr, recvopts, retopts, pktinfo, recvttl, recvtos, freebind, transparent, origdstaddr;
    int multicast_if;              /* IP_MULTICAST_IF's interface; 0: as the way leads */
    struct in_addr multicast_from; /* and its address, as it was named */
    int nodefrag, bind_no_port, multicast_loop, multicast_all, recvfragsize, checksum, passsec;
    int v6only, unicast_hops, multicast_hops, multicast_if6, multicast_loop6, multicast_all6;
    int recvpktinfo, recvhoplimit, recvtclass, tclass, mtu_discover6, recverr6, dontfrag;
    int autoflowlabel, freebind6, flowinfo_send, addr_preferences, minhopcount, recvorigdst6;
    int pktinfo2292, hoplimit2292, rthdr2292, hopopts2292, dstopts2292;
    int recverr_rfc4884, recverr6_rfc4884, flowinfo, router_alert_isolate;
    int recvpathmtu, recvrthdr, recvhopopts, recvdstopts, recvfragsize6, transparent6, unicast_if6;
    uint32_t port_range;
};

#define INET_GROUPS_MAX 20 /* igmp_max_memberships */

/* A multicast group that a socket has joined, and from whom it wants to hear. */
struct inet_group {
    struct in6_addr addr;
    int interface; /* on which */
    int mode;      /* MCAST_EXCLUDE or MCAST_INCLUDE: what `sources` says */
    uint32_t count;
    struct in6_addr *sources; /* owned; NULL: the list was never begun */
};

struct inet_socket {
    struct socket sock;
    struct endpoint local, remote; /* remote.port 0: not connected */
    struct in6_addr bound;         /* what bind(2) asked for; connect(2) may set `local` */
    bool bound_port;               /* bind(2) chose the port, not us */
    bool bound_addr;
    struct port *port;     /* guarded by inet_ns->lock */
    struct list port_node; /* likewise */
    bool exclusive;        /* counts in port->exclusive */
    bool listening;        /* of TCP; guarded by inet_ns->lock and sock.lock */
    struct ip_options ip;
    uint32_t group_count;      /* multicast groups joined; under sock.lock */
    struct inet_group *groups; /* owned */
};

static inline struct inet_socket *inet_of(struct socket *s)
{
    return container_of(s, struct inet_socket, sock);
}

struct inet_ns *inet_ns_of(struct net_ns *net);
static inline void inet_add(struct net_ns *net, enum inet_counter which, uint64_t n)
{
    __atomic_add_fetch(&inet_ns_of(net)->counters[which], n, __ATOMIC_RELAXED);
}
static inline void inet_count(struct net_ns *net, enum inet_counter which)
{
    inet_add(net, which, 1);
}

/* ---- address.c --------------------------------------------------------------------------------
 */

static inline bool addr_is_v4(const struct in6_addr *a)
{
    return IN6_IS_ADDR_V4MAPPED(a);
}
struct in6_addr addr_v4(uint32_t host_order);
uint32_t addr_get_v4(const struct in6_addr *a); /* host order */
bool addr_is_any(const struct in6_addr *a);
bool addr_is_loopback(const struct in6_addr *a);
bool addr_is_multicast(const struct in6_addr *a);
bool addr_is_broadcast(const struct in6_addr *a);
bool addr_equal(const struct in6_addr *a, const struct in6_addr *b);
/* The any address of the socket's family. */
struct in6_addr addr_any(const struct inet_socket *s);
/* -EINVAL: too short; -EAFNOSUPPORT. */
int endpoint_parse(const struct inet_socket *s, const struct socket_address *addr, bool for_bind,
                   struct endpoint *ret);
void endpoint_put(const struct inet_socket *s, const struct endpoint *e,
                  struct socket_address *ret);
/*
 * Where to: replaces any address by loopback, and says from which address. -ENETUNREACH; multicast
 * and broadcast are for the caller.
 */
int endpoint_route(const struct inet_socket *s, struct endpoint *dst, struct in6_addr *ret_src);
/* Is it an address of the namespace's own? */
bool inet_owns(const struct inet_socket *s, const struct in6_addr *addr);
/* By which interface what `other` sends comes, and what is for it goes. */
int endpoint_interface(const struct inet_socket *s, const struct in6_addr *other);
/* What leads there if it is beyond the namespace's own addresses; NULL. */
const struct inet_outward *endpoint_outward(const struct inet_socket *s,
                                            const struct in6_addr *dst);

/* ---- ports.c ----------------------------------------------------------------------------------
 */

int inet_ns_create(struct net_ns *net, void **ret);
void inet_ns_destroy(void *data);
/* Takes `number`, or one of the ephemeral range for 0, at s->bound. -EADDRINUSE, -EACCES. */
int port_take(struct inet_socket *s, uint16_t number);
/* An accepted connection counts at its listener's port. */
void port_share(struct inet_socket *s, struct inet_socket *listener);
void port_drop(struct inet_socket *s);
/* listen(2): nobody else may listen there. -EADDRINUSE. */
int port_listen(struct inet_socket *s);
void port_deafen(struct inet_socket *s); /* and undoes it */
/* Does anybody listen there who can be reached from outside? */
bool port_has_listener(struct inet_ns *ns, uint16_t number);
/* Tells the outward network that listeners of the port have changed; no lock is held. */
void port_tell_listening(struct net_ns *net, uint16_t number);
/* The best receiver for a message of `size` bytes from `src` to `dst`, referenced; NULL. */
struct inet_socket *port_find(struct net_ns *net, int protocol, const struct endpoint *dst,
                              const struct endpoint *src, const void *bytes, size_t size);
/* struct socket_operations'. */
int port_set_chooser(struct socket *sock, struct socket_filter *program);
/* Each socket at that port which `wants`, with a reference, up to `max`; how many. */
int port_find_all(const struct inet_socket *from, const struct endpoint *dst,
                  const struct endpoint *src, int interface, struct inet_socket **ret, int max,
                  bool (*wants)(struct inet_socket *s, const struct endpoint *dst,
                                const struct endpoint *src, int interface));

/* ---- inet.c -----------------------------------------------------------------------------------
 */

void inet_socket_init(struct inet_socket *s, struct net_ns *net,
                      const struct socket_operations *ops, int domain, int type, int protocol);
void inet_socket_fini(struct inet_socket *s);
/* -EADDRNOTAVAIL and the like: no address of ours. */
int inet_check_bindable(const struct inet_socket *s, const struct endpoint *e);
int inet_bind(struct socket *s, const struct socket_address *addr);
/* Before sending or connecting: a port, if it has none yet. */
int inet_autobind(struct inet_socket *s);
void inet_report_locked(struct inet_socket *s, struct inet_report *ret);
int inet_getname(struct socket *s, bool peer, struct socket_address *ret);
/* ioctl(2) requests with an int for an answer. */
long inet_answer(struct mm *mm, uint64_t arg, int answer);

/* ---- options.c --------------------------------------------------------------------------------
 */

void ip_options_init(struct ip_options *opt);
int ip_setsockopt(struct socket *s, int level, int name, const void *value, size_t size);
int ip_getsockopt(struct socket *s, int level, int name, void *value, size_t *size);

/* ---- groups.c ---------------------------------------------------------------------------------
 */

/* Memberships and filters of sources, both families'. -ENOPROTOOPT: none of those. */
int groups_setsockopt(struct inet_socket *s, int level, int name, const void *value, size_t size);
/* group_filter.c: lists of sources, whole. `value`: what the program has there, and the answer. */
int group_filter_set(struct inet_socket *s, int level, int name, const void *value, size_t size);
int groups_getsockopt(struct inet_socket *s, int level, int name, void *value, size_t *size);
#define GROUP_SOURCES_MAX_V4 10 /* igmp_max_msf */
#define GROUP_SOURCES_MAX_V6 64 /* mld_max_msf */
#define GROUP_SOURCES_MAX    GROUP_SOURCES_MAX_V6
/* `sources` is taken over. -EINVAL: not a member. */
int groups_set_filter(struct inet_socket *s, const struct in6_addr *group, int interface, int mode,
                      struct in6_addr *sources, uint32_t count);
/* -EADDRNOTAVAIL: not a member. */
int groups_get_filter(struct inet_socket *s, const struct in6_addr *group, int interface,
                      int *ret_mode, struct in6_addr ret_sources[GROUP_SOURCES_MAX],
                      uint32_t *ret_count);
/* An address of RFC 3678's structures; false: not of the level's family. */
bool group_read_address(int level, const struct sockaddr_storage *ss, struct in6_addr *ret);
/* Does the socket want what `from` sends to the group on that interface? */
bool groups_wants(struct inet_socket *s, const struct in6_addr *group, const struct in6_addr *from,
                  int interface);
/* Whose last user has gone; no lock is held. */
void groups_leave_all(struct inet_socket *s);

/* ---- joined.c ---------------------------------------------------------------------------------
 */

/* A socket is in that group, or no more. -ENOBUFS. */
int joined_add(struct inet_ns *ns, const struct in6_addr *group, int interface);
void joined_drop(struct inet_ns *ns, const struct in6_addr *group, int interface);
/* Thereafter, with no lock held. */
void joined_tell(struct net_ns *net, const struct in6_addr *group);
/* Somebody in the namespace is a member. */
bool groups_joined(struct inet_ns *ns, const struct in6_addr *group, int interface);
/*
 * Which interface is meant: that of `index`; else that of the address `device` of IPv4, in host
 * order; both 0: the one that leads to the group. -ENODEV.
 */
int group_interface(const struct inet_socket *s, const struct in6_addr *group, int index,
                    uint32_t device, int *ret);

/* ---- tcp.c, udp.c ------------------------------------------------------------------------------
 */

int tcp_create(struct net_ns *net, int domain, int protocol, struct socket **ret);
int udp_create(struct net_ns *net, int domain, int protocol, struct socket **ret);
void tcp_report(struct inet_socket *s, struct inet_report *ret);
void udp_report(struct inet_socket *s, struct inet_report *ret);

#endif
