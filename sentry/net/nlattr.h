/* Attributes in netlink messages: netlink(7), RFC 3549. */
#ifndef SENTRY_NET_NLATTR_H
#define SENTRY_NET_NLATTR_H

#include <linux/netlink.h>

#include "base/compiler.h"

/*
 * The first attribute of `type` behind a message's fixed part of `fixed` bytes; NULL: not there.
 * The message lies in our memory, all nlmsg_len bytes of it. ret_size: of the attribute, in bytes.
 */
const void *nlattr_find(const struct nlmsghdr *m, size_t fixed, uint16_t type, size_t *ret_size);

/*
 * One attribute more at the end of a message that lies in `room` bytes of zeros. False: it does not
 * fit, and nothing is done.
 */
bool nlattr_put(struct nlmsghdr *m, size_t room, uint16_t type, const void *data, size_t size);

#endif
