/* TCP connections and datagrams between the sockets of sentry/net/inet and the stack. */
#ifndef SENTRY_NET_INET_LWIP_BRIDGE_H
#define SENTRY_NET_INET_LWIP_BRIDGE_H

#include "base/compiler.h"

struct endpoint;
struct in6_addr;
struct inet_ns;
struct inet_socket;
struct net_device;
struct net_ns;
struct nlmsghdr;
struct mm;
struct socket;
struct tcp_socket;
struct udp_message;

/* Connections of that namespace; `kick`: an eventfd that makes the stack's thread look. */
void bridges_start(struct net_ns *first, int kick);
/* The calling thread is the stack's, and need not be woken. */
void bridges_own_thread(void);
/* Looks at what has changed, for a while; stack_lock is held. False: there is more. */
bool bridges_look(void);
/* Is there one that programs have closed, from which not all has left? stack_lock is held. */
bool bridges_ending(void);
/* struct inet_outward's. */
int bridge_connect(struct tcp_socket *t);
void bridge_cancel(struct tcp_socket *connecting);
void bridge_listening_changed(struct inet_ns *ns, uint16_t port);

/* exchange.c: datagrams. -ENOMEM. */
int exchange_start(struct net_ns *first);
int exchange_send_packet(const struct in6_addr *to, const void *bytes, size_t size);
/* With its link header. */
int exchange_send_frame(const void *bytes, size_t size);
int exchange_send(const struct inet_socket *s, const struct endpoint *to,
                  const struct udp_message *m);

void exchange_groups_changed(struct inet_ns *ns, const struct in6_addr *group);

/* about.c: struct net_outward's. */
int about_route(const struct nlmsghdr *question,
                void (*each)(void *arg, const struct nlmsghdr *answer), void *arg);
long about_interface_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg);
void about_device(struct net_device *ret);
ssize_t about_proc_text(const char *name, char *buf, size_t size);
/* about_neighbours.c: of that, RTM_GETNEIGH. One that is not there: -ENOENT, -ENODEV. */
int about_neighbours(const struct nlmsghdr *question,
                     void (*each)(void *arg, const struct nlmsghdr *answer), void *arg);
ssize_t about_arp_text(char *buf, size_t size); /* /proc/net/arp */

#endif
