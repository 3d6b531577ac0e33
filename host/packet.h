/*
 * Whole Ethernet frames of a network device, each with a virtio header in front, which says what
 * the other side has left to us: checksums, segments. Opened before the jail closes; afterwards
 * read(2) and write(2) are all that is needed.
 */
#ifndef HOST_PACKET_H
#define HOST_PACKET_H

#include <linux/virtio_net.h>
#include <net/if.h>

#include "base/compiler.h"

#define HOST_PACKET_MAX                                                                            \
    (65535 + 18 + sizeof(struct virtio_net_hdr)) /* bytes; longer ones are cut */

/*
 * AF_PACKET on the device with this index: what it receives, and not what others send by it;
 * nonblocking. -EPERM without CAP_NET_RAW.
 */
int host_packet_open(int index);
/* The other end of a tap device that exists. -ENODEV, -EBUSY, -EPERM, -EINVAL: not a tap. */
int host_tap_open(const char *name);
/* The index of a device, and whether it is a tap. -ENODEV. */
int host_device_find(const char *name, int *ret_index, bool *ret_tap);

/*
 * A process that gives a device its addresses back: it waits until the calling process has ended,
 * then sends `count` messages to a NETLINK_ROUTE socket. They are laid out one after the other,
 * each aligned to 4 bytes, in `size` bytes. -errno.
 */
int host_route_restore_at_exit(const void *messages, size_t size);

#endif
