/* Options of sockets whose names some headers lack, or which clash between headers: linux/in.h,
 * linux/in6.h, linux/udp.h, linux/tcp.h, asm-generic/socket.h. */
#ifndef HOST_SOCKOPT_NAMES_H
#define HOST_SOCKOPT_NAMES_H

#define OPT_SO_PREFER_BUSY_POLL 69
#define OPT_IP_RECVFRAGSIZE     25
#define OPT_IP_RECVERR_RFC4884  26
#define OPT_IP_LOCAL_PORT_RANGE 51
#define OPT_IPV6_MULTICAST_ALL  29
#define OPT_IPV6_RFC4884        31
#define OPT_IPV6_ADDR_PREFER    72
#define OPT_IPV6_MINHOPCOUNT    73
#define OPT_IPV6_ORIGDSTADDR    74
#define OPT_IPV6_UNICAST_IF     76
#define OPT_IPV6_RECVFRAGSIZE   77
#define OPT_IPV6_FREEBIND       78
#define OPT_UDP_CORK            1
#define OPT_UDP_NO_CHECK6_TX    101
#define OPT_UDP_NO_CHECK6_RX    102
#define OPT_UDP_SEGMENT         103
#define OPT_UDP_GRO             104
#define OPT_UDPLITE_SEND_CSCOV  10
#define OPT_UDPLITE_RECV_CSCOV  11
#define OPT_TCP_INQ             36
#define OPT_TCP_TX_DELAY        37

#endif
