#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/netlink/internal.h"

static struct nlmsghdr *header(struct netlink_reply *r)
{
    return (struct nlmsghdr *)(void *)(r->m->data + r->head);
}

/* Room for `size` more bytes at the end, zeroed. */
static void *extend(struct netlink_reply *r, size_t size)
{
    uint8_t *at;

    if (r->error || !r->m || NETLINK_REPLY_MAX - r->m->size < NLMSG_ALIGN(size)) {
        r->error = r->error ? r->error : -EMSGSIZE;
        return NULL;
    }
    at = r->m->data + r->m->size;
    memset(at, 0, NLMSG_ALIGN(size));
    r->m->size += (uint32_t)NLMSG_ALIGN(size);
    return at;
}

static struct netlink_message *new_datagram(void)
{
    struct netlink_message *m = malloc(sizeof(*m) + NETLINK_REPLY_MAX);

    if (!m)
        return NULL;
    *m = (struct netlink_message){.size = 0};
    list_init(&m->node);
    return m;
}

static void send_datagram(struct netlink_reply *r)
{
    struct netlink_message *m = r->m, *fitting;

    r->m = NULL;
    /* It may lie in the queue for long: only what it is charged for. */
    fitting = m ? realloc(m, sizeof(*m) + m->size) : NULL;
    if (fitting) {
        m = fitting;
        list_init(&m->node);
    }
    if (m)
        netlink_enqueue(r->to, m, r->multi ? NETLINK_DUMP_MAX : 0);
}

/* The last message begins a new datagram if it made this one too long. */
static void split_datagram(struct netlink_reply *r)
{
    struct netlink_message *last;

    if (!r->m || !r->multi || !r->head || r->m->size <= NETLINK_PART_MAX)
        return;
    last = new_datagram();
    if (!last) {
        r->error = -ENOMEM;
        return;
    }
    last->size = r->m->size - r->head;
    memcpy(last->data, r->m->data + r->head, last->size);
    r->m->size = r->head;
    send_datagram(r);
    r->m = last;
    r->head = 0;
}

void reply_flush(struct netlink_reply *r)
{
    split_datagram(r);
    send_datagram(r);
}

/* A message of ours is at most half a datagram, so a new one always has room. */
static bool make_room(struct netlink_reply *r)
{
    split_datagram(r);
    if (r->m && (!r->multi || r->m->size > NETLINK_PART_MAX))
        send_datagram(r);
    if (!r->m)
        r->m = new_datagram();
    if (!r->m)
        r->error = -ENOMEM;
    return r->error == 0;
}

void *reply_begin(struct netlink_reply *r, uint16_t type, size_t size)
{
    struct nlmsghdr *h;

    if (r->error || !make_room(r))
        return NULL;
    r->head = r->m->size;
    h = extend(r, NLMSG_HDRLEN + size);
    if (!h)
        return NULL;
    h->nlmsg_len = (uint32_t)(NLMSG_HDRLEN + size);
    h->nlmsg_type = type;
    h->nlmsg_flags = r->multi ? NLM_F_MULTI : 0;
    h->nlmsg_seq = r->question->nlmsg_seq;
    h->nlmsg_pid = r->to->port;
    return NLMSG_DATA(h);
}

void reply_copy(void *reply, const struct nlmsghdr *made)
{
    size_t size = made->nlmsg_len - NLMSG_HDRLEN;
    void *to = size > NETLINK_REPLY_MAX / 2 - NLMSG_HDRLEN
                   ? NULL
                   : reply_begin(reply, made->nlmsg_type, size);

    if (to)
        memcpy(to, (const uint8_t *)made + NLMSG_HDRLEN, size);
}

void reply_attribute(struct netlink_reply *r, uint16_t type, const void *data, size_t size)
{
    struct nlattr *a = extend(r, NLA_HDRLEN + size);

    if (!a)
        return;
    a->nla_type = type;
    a->nla_len = (uint16_t)(NLA_HDRLEN + size);
    memcpy((uint8_t *)a + NLA_HDRLEN, data, size);
    header(r)->nlmsg_len = r->m->size - r->head;
}

void reply_attribute_u32(struct netlink_reply *r, uint16_t type, uint32_t value)
{
    reply_attribute(r, type, &value, sizeof(value));
}

void reply_attribute_u8(struct netlink_reply *r, uint16_t type, uint8_t value)
{
    reply_attribute(r, type, &value, sizeof(value));
}

void reply_attribute_string(struct netlink_reply *r, uint16_t type, const char *text)
{
    reply_attribute(r, type, text, strlen(text) + 1);
}

void reply_end(struct netlink_reply *r, int error)
{
    int *status = reply_begin(r, NLMSG_DONE, sizeof(int));

    if (status)
        *status = error;
}

void reply_done(struct netlink_reply *r)
{
    reply_end(r, 0);
}

/* With the question, or with its header alone where it went well or NETLINK_CAP_ACK asks so. */
void reply_error(struct netlink_reply *r, int error)
{
    uint32_t asked = r->question->nlmsg_len;
    bool whole =
        error && !(r->to->options & 1u << NETLINK_CAP_ACK) && asked <= NETLINK_REPLY_MAX / 4;
    size_t size = whole ? asked : NLMSG_HDRLEN;
    struct nlmsgerr *e;

    r->error = 0;
    r->multi = false;
    e = reply_begin(r, NLMSG_ERROR, sizeof(int) + size);
    if (!e)
        return;
    e->error = error;
    memcpy(&e->msg, r->question, size);
    header(r)->nlmsg_flags = whole ? 0 : NLM_F_CAPPED;
}
