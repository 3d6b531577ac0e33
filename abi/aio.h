/* Linux aio as programs see it: what <linux/aio_abi.h> does not say is the mapped ring. */
#ifndef ABI_AIO_H
#define ABI_AIO_H

#include <linux/aio_abi.h>

#include "base/compiler.h"

/* What lies at the address that io_setup(2) gives; libaio reads it, and moves `head` on. */
struct linux_aio_ring {
    uint32_t id;
    uint32_t nr; /* events that fit */
    uint32_t head, tail;
    uint32_t magic;
    uint32_t compat_features, incompat_features;
    uint32_t header_length;
    struct io_event events[];
};
static_assert(sizeof(struct linux_aio_ring) == 32, "struct aio_ring");
static_assert(sizeof(struct io_event) == 32, "struct io_event");
static_assert(sizeof(struct iocb) == 64, "struct iocb");

#define LINUX_AIO_RING_MAGIC 0xa10a10a1

#endif
