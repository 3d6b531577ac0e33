/*
 * The functions of the library that are used, found by name when it is loaded; for files that see
 * lwIP's own headers.
 */
#ifndef SENTRY_NET_INET_LWIP_LIBRARY_H
#define SENTRY_NET_INET_LWIP_LIBRARY_H

#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/inet_chksum.h>
#include <lwip/igmp.h>
#include <lwip/init.h>
#include <lwip/mld6.h>
#include <lwip/nd6.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/priv/nd6_priv.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/prot/nd6.h>
#include <lwip/prot/udp.h>
#include <lwip/raw.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <lwip/udp.h>
#include <netif/ethernet.h>

#include "sentry/net/inet/lwip/stack.h"

#define LWIP_FUNCTIONS(F)                                                                          \
    F(etharp_find_addr)                                                                            \
    F(etharp_get_entry)                                                                            \
    F(etharp_output)                                                                               \
    F(etharp_query)                                                                                \
    F(ethernet_input)                                                                              \
    F(ethip6_output)                                                                               \
    F(igmp_joingroup_netif)                                                                        \
    F(igmp_leavegroup_netif)                                                                       \
    F(igmp_lookfor_group)                                                                          \
    F(ip4_input)                                                                                   \
    F(ip6_input)                                                                                   \
    F(ip_chksum_pseudo)                                                                            \
    F(lwip_init)                                                                                   \
    F(mld6_joingroup_netif)                                                                        \
    F(mld6_leavegroup_netif)                                                                       \
    F(mld6_lookfor_group)                                                                          \
    F(nd6_tmr)                                                                                     \
    F(netif_add)                                                                                   \
    F(netif_ip6_addr_set)                                                                          \
    F(netif_ip6_addr_set_state)                                                                    \
    F(netif_set_default)                                                                           \
    F(netif_set_link_up)                                                                           \
    F(netif_set_up)                                                                                \
    F(pbuf_add_header_force)                                                                       \
    F(pbuf_alloc)                                                                                  \
    F(pbuf_copy_partial)                                                                           \
    F(pbuf_free)                                                                                   \
    F(pbuf_remove_header)                                                                          \
    F(pbuf_take)                                                                                   \
    F(raw_new_ip_type)                                                                             \
    F(raw_recv)                                                                                    \
    F(raw_sendto_if_src)                                                                           \
    F(sys_check_timeouts)                                                                          \
    F(sys_timeouts_sleeptime)                                                                      \
    F(tcp_abandon)                                                                                 \
    F(tcp_abort)                                                                                   \
    F(tcp_accept)                                                                                  \
    F(tcp_arg)                                                                                     \
    F(tcp_bind)                                                                                    \
    F(tcp_close)                                                                                   \
    F(tcp_connect)                                                                                 \
    F(tcp_err)                                                                                     \
    F(tcp_free_ooseq)                                                                              \
    F(tcp_listen_with_backlog)                                                                     \
    F(tcp_new_ip_type)                                                                             \
    F(tcp_output)                                                                                  \
    F(tcp_recv)                                                                                    \
    F(tcp_sent)                                                                                    \
    F(tcp_shutdown)                                                                                \
    F(tcp_update_rcv_ann_wnd)                                                                      \
    F(tcp_write)                                                                                   \
    F(udp_new_ip_type)                                                                             \
    F(udp_sendto_if_src)

struct lwip_library {
#define F(name) __typeof__(name) *name;
    LWIP_FUNCTIONS(F)
#undef F
    struct nd6_router_list_entry *default_router_list;
    struct nd6_neighbor_cache_entry *neighbor_cache;
    struct nd6_prefix_list_entry *prefix_list;
    struct tcp_pcb **tcp_active_pcbs, **tcp_tw_pcbs;
};
extern struct lwip_library lwip;
extern struct netif stack_netifs[LWIP_V4_MAX]; /* one for each address of IPv4, at least one */
extern const struct in6_addr *stack_router;    /* IPv6's default gateway, which lwIP knows; NULL */
/* device.c, for the netifs. */
err_t stack_output_v4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to);
err_t stack_output_v6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to);
err_t stack_send_frame(struct netif *netif, struct pbuf *p);
/* neighbours.c: a packet leaves for that neighbour of IPv4. stack_lock is held. */
void stack_hop_used(struct netif *netif, const ip4_addr_t *hop);
/* Does lwIP take it for near, as it does what shares 64 bits with an address of its own? */
bool stack_seems_near(const struct in6_addr *addr);
/* Likewise for one that lwIP does not: if it is not known yet, it is asked for. */
void stack_ask_neighbour(const struct in6_addr *hop);
/* Asks again for those, once a second. stack_lock is held. */
void stack_ask_again(void);

/* Between our addresses and the library's. */
void stack_address_in(const struct in6_addr *from, ip_addr_t *to);
void stack_address_out(const ip_addr_t *from, struct in6_addr *to);
/* err_t as -errno. */
int stack_errno(err_t err);

#endif
