#include "sentry/net/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/loopback.h"
#include "host/io.h"

struct socket_filter {
    refcount_t refs;
    uint32_t count;
    struct sock_filter program[];
};

static size_t size_of(uint32_t count)
{
    return sizeof(struct socket_filter) + count * sizeof(struct sock_filter);
}

struct socket_filter *socket_filter_unref(struct socket_filter *filter)
{
    if (filter && refcount_put(&filter->refs)) {
        socket_memory_give(size_of(filter->count));
        free(filter);
    }
    return NULL;
}

static struct socket_filter *get(struct socket *s)
{
    struct socket_filter *filter;

    lock_acquire(&s->lock);
    filter = s->filter;
    if (filter)
        refcount_get(&filter->refs);
    lock_release(&s->lock);
    return filter;
}

/* Puts `filter`, whose reference is taken over, in the place of the old one. */
static int replace(struct socket *s, struct socket_filter *filter)
{
    struct socket_filter *old = filter;
    int err = 0;

    lock_acquire(&s->lock);
    if (s->opt.lock_filter)
        err = -EPERM;
    else if (!filter && !s->filter)
        err = -ENOENT;
    if (!err) {
        old = s->filter;
        __atomic_store_n(&s->filter, filter, __ATOMIC_RELAXED);
    }
    lock_release(&s->lock);
    socket_filter_unref(old);
    return err;
}

static int create(struct socket *s, const struct sock_filter *program, uint32_t count,
                  struct socket_filter **ret)
{
    struct socket_filter *filter;

    if (s->opt.lock_filter)
        return -EPERM;
    if (bpf_check_packet(program, count) < 0)
        return -EINVAL;
    if (socket_memory_take(size_of(count)) < 0)
        return -ENOMEM;
    filter = malloc(size_of(count));
    if (!filter) {
        socket_memory_give(size_of(count));
        return -ENOMEM;
    }
    refcount_set(&filter->refs, 1);
    filter->count = count;
    memcpy(filter->program, program, count * sizeof(*program));
    *ret = filter;
    return 0;
}

int socket_filter_attach(struct socket *s, const struct sock_filter *program, uint32_t count)
{
    struct socket_filter *filter;
    int err = s->ops->no_filter ? -ENOPROTOOPT : create(s, program, count, &filter);

    return err < 0 ? err : replace(s, filter);
}

int socket_filter_set_chooser(struct socket *s, const struct sock_filter *program, uint32_t count)
{
    struct socket_filter *filter;
    int err = create(s, program, count, &filter);

    if (err < 0)
        return err;
    err = s->ops->set_chooser ? s->ops->set_chooser(s, filter) : -EINVAL;
    if (err < 0)
        socket_filter_unref(filter);
    return err;
}

int socket_filter_drop_chooser(struct socket *s)
{
    return s->ops->set_chooser ? s->ops->set_chooser(s, NULL) : -EINVAL;
}

uint32_t socket_filter_choose_packet(const struct socket_filter *program,
                                     const struct bpf_packet *packet)
{
    struct bpf_packet p = *packet;

    host_random(&p.random, sizeof(p.random));
    return bpf_run_packet(program->program, &p);
}

uint32_t socket_filter_choose(const struct socket_filter *program, const void *bytes, size_t size)
{
    return socket_filter_choose_packet(program, &(struct bpf_packet){.bytes = bytes,
                                                                     .size = (uint32_t)size,
                                                                     .interface = LO_INDEX,
                                                                     .hardware_type = LO_TYPE});
}

int socket_filter_detach(struct socket *s)
{
    return replace(s, NULL);
}

int socket_filter_get(struct socket *s, struct sock_filter *program, uint32_t max,
                      uint32_t *ret_count)
{
    struct socket_filter *filter = get(s);
    int err = 0;

    *ret_count = filter ? filter->count : 0;
    if (filter && max > 0 && max < filter->count)
        err = -EINVAL;
    else if (filter && max > 0)
        memcpy(program, filter->program, filter->count * sizeof(*program));
    socket_filter_unref(filter);
    return err;
}

void socket_filter_inherit(struct socket *s, struct socket *from)
{
    s->filter = get(from);
}

uint32_t socket_filter_run(struct socket *s, const struct bpf_packet *packet)
{
    struct socket_filter *filter = socket_has_filter(s) ? get(s) : NULL;
    struct bpf_packet p = *packet;
    uint32_t stays;

    if (!filter)
        return packet->size;
    if (!p.interface) {
        p.interface = LO_INDEX;
        p.hardware_type = LO_TYPE;
    }
    host_random(&p.random, sizeof(p.random));
    stays = bpf_run_packet(filter->program, &p);
    socket_filter_unref(filter);
    return MIN(stays, packet->size);
}

uint32_t socket_filter_bytes(struct socket *s, const void *bytes, size_t size)
{
    return socket_filter_run(s, &(struct bpf_packet){.bytes = bytes, .size = (uint32_t)size});
}
