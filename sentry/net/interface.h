/* Questions about network interfaces that may be asked of any socket: netdevice(7). */
#ifndef SENTRY_NET_INTERFACE_H
#define SENTRY_NET_INTERFACE_H

#include "base/compiler.h"

struct mm;
struct net_device;
struct rtnl_link_stats;
struct rtnl_link_stats64;
struct socket;

/* SIOCGIFCONF and its like; -ENOTTY: none of them. */
long interface_ioctl(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg);
/* Is it a SIOCSIF* or the like, which is for who administers the network? */
bool interface_is_change(uint32_t cmd);

/* What has passed it, as rtnetlink(7) says it: IFLA_STATS64 and IFLA_STATS. */
void interface_statistics(const struct net_device *device, struct rtnl_link_stats64 *ret_all,
                          struct rtnl_link_stats *ret_words);

#endif
