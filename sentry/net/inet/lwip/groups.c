/* Multicast groups on the device: IGMP and MLD, as the sockets inside have joined them. */
#include <errno.h>

#include "sentry/net/inet/lwip/library.h"

static bool is_member(const ip_addr_t *group)
{
    return IP_IS_V6(group) ? lwip.mld6_lookfor_group(stack_netifs, ip_2_ip6(group)) != NULL
                           : lwip.igmp_lookfor_group(stack_netifs, ip_2_ip4(group)) != NULL;
}

int stack_group_set(const struct in6_addr *addr, bool member)
{
    ip_addr_t group;
    err_t err;

    stack_address_in(addr, &group);
    if (is_member(&group) == member)
        return 0;
    if (IP_IS_V6(&group))
        err = member ? lwip.mld6_joingroup_netif(stack_netifs, ip_2_ip6(&group))
                     : lwip.mld6_leavegroup_netif(stack_netifs, ip_2_ip6(&group));
    else
        err = member ? lwip.igmp_joingroup_netif(stack_netifs, ip_2_ip4(&group))
                     : lwip.igmp_leavegroup_netif(stack_netifs, ip_2_ip4(&group));
    return stack_errno(err);
}
