/*
 * Connections of lwIP. A pcb is lwIP's, and may go at any time within it: the error callback is the
 * last that is heard of it. After stack_stream_close() lwIP ends it by itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "sentry/net/inet/lwip/window.h"

#define BACKLOG      255
#define BUCKETS      64
#define LONG_SEGMENT 10   /* packets */
#define ENDED_MAX    2048 /* connections in TIME_WAIT: tcp_max_tw_buckets */

struct stack_stream {
    struct tcp_pcb *pcb; /* NULL: gone */
    enum stack_stream_state state;
    int error;
    struct pbuf *received, *last; /* not taken yet: a chain, longer than lwIP's own can be */
    size_t unread;                /* bytes of it */
    uint16_t offset;              /* bytes of its first piece that are taken */
    struct stack_window window;
    bool fin, finished; /* nothing more comes; nothing more is written */
    void *user;
};

struct listener {
    struct list node;
    struct tcp_pcb *pcb;
    uint16_t port;
};

static const struct stack_stream_user *streams;
static struct list listeners[BUCKETS];

static void tell(struct stack_stream *c)
{
    if (c->user)
        streams->changed(c->user);
}

/* ---- what lwIP calls --------------------------------------------------------------------------
 */

/*
 * Both sides have finished: lwIP ends the connection by itself, and the object lives on for the
 * bytes that are not taken. lwIP resets what is closed with bytes that it thinks unread.
 */
static void let_go(struct stack_stream *c)
{
    struct tcp_pcb *pcb = c->pcb;

    c->pcb = NULL;
    c->state = STREAM_DEAD;
    lwip.tcp_arg(pcb, NULL);
    lwip.tcp_recv(pcb, NULL);
    lwip.tcp_sent(pcb, NULL);
    lwip.tcp_err(pcb, NULL);
    window_close(&c->window, pcb, 0);
    lwip.tcp_close(pcb);
}

/*
 * From now on segments may be ten times as long as a packet, what RFC 6928 sends at once: the
 * device cuts them. Only where the other side takes what fills ours, since it is told one size for
 * all, and over IPv4, where lwIP makes no fragments of them meanwhile.
 */
static void make_long_segments(struct tcp_pcb *pcb)
{
    const uint16_t size = stack_segment_size(true);

    if (!IP_IS_V4(&pcb->remote_ip) || pcb->mss < size)
        return;
    pcb->mss = (u16_t)(size * LONG_SEGMENT);
    pcb->cwnd = MAX(pcb->cwnd, pcb->mss);
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct stack_stream *c = arg;

    c->state = STREAM_OPEN;
    window_open(&c->window, pcb);
    make_long_segments(pcb);
    tell(c);
    return ERR_OK;
}

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct stack_stream *c = arg;

    if (!p) {
        c->fin = true;
        if (c->finished)
            let_go(c);
    } else {
        c->unread += p->tot_len;
        if (c->received)
            c->last->next = p;
        else
            c->received = p;
        for (c->last = p; c->last->next;)
            c->last = c->last->next;
    }
    tell(c);
    return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t size)
{
    tell(arg);
    return ERR_OK;
}

/* The pcb is gone already. */
static void on_error(void *arg, err_t err)
{
    struct stack_stream *c = arg;

    c->pcb = NULL;
    window_close(&c->window, NULL, 0);
    c->error = err == ERR_CLSD ? 0 : stack_errno(err);
    if (c->state == STREAM_OPENING && c->error == -ECONNRESET)
        c->error = -ECONNREFUSED;
    c->state = STREAM_DEAD;
    tell(c);
}

static void attach(struct stack_stream *c, struct tcp_pcb *pcb)
{
    c->pcb = pcb;
    lwip.tcp_arg(pcb, c);
    lwip.tcp_recv(pcb, on_received);
    lwip.tcp_sent(pcb, on_sent);
    lwip.tcp_err(pcb, on_error);
    tcp_nagle_disable(pcb); /* what is to be gathered was gathered by the socket inside */
}

static err_t on_accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct stack_stream *c = err == ERR_OK && pcb ? calloc(1, sizeof(*c)) : NULL;
    struct stack_name from, to;

    if (!c)
        return ERR_MEM;
    stack_address_out(&pcb->remote_ip, &from.addr);
    stack_address_out(&pcb->local_ip, &to.addr);
    from.port = pcb->remote_port;
    to.port = pcb->local_port;
    c->state = STREAM_OPEN;
    attach(c, pcb);
    window_open(&c->window, pcb);
    make_long_segments(pcb);
    c->user = streams->incoming(c, &from, &to);
    if (c->user)
        return ERR_OK;
    lwip.tcp_err(pcb, NULL);
    window_close(&c->window, pcb, 0);
    lwip.tcp_abort(pcb);
    free(c);
    return ERR_ABRT;
}

/* ---- listening --------------------------------------------------------------------------------
 */

void stack_stream_start(const struct stack_stream_user *user)
{
    streams = user;
    for (int i = 0; i < BUCKETS; i++)
        list_init(&listeners[i]);
}

static struct listener *find_listener(uint16_t port)
{
    struct listener *l;

    list_for_each (l, &listeners[port % BUCKETS], node)
        if (l->port == port)
            return l;
    return NULL;
}

int stack_stream_listen(uint16_t port)
{
    struct listener *l = find_listener(port) ? NULL : calloc(1, sizeof(*l));
    const ip_addr_t any = IPADDR_ANY_TYPE_INIT;
    struct tcp_pcb *pcb;

    if (!l)
        return find_listener(port) ? 0 : -ENOMEM;
    pcb = lwip.tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (pcb) {
        ip_set_option(pcb, SOF_REUSEADDR);
        if (lwip.tcp_bind(pcb, &any, port) == ERR_OK)
            l->pcb = lwip.tcp_listen_with_backlog(pcb, BACKLOG);
        if (!l->pcb)
            lwip.tcp_close(pcb);
    }
    if (!l->pcb) {
        free(l);
        return -ENOBUFS;
    }
    lwip.tcp_accept(l->pcb, on_accepted);
    l->port = port;
    list_add(&listeners[port % BUCKETS], &l->node);
    return 0;
}

void stack_stream_deafen(uint16_t port)
{
    struct listener *l = find_listener(port);

    if (!l)
        return;
    list_del_init(&l->node);
    lwip.tcp_accept(l->pcb, NULL);
    lwip.tcp_close(l->pcb);
    free(l);
}

/* ---- connections ------------------------------------------------------------------------------
 */

/*
 * lwIP keeps what has ended for two minutes. A name that is wanted again is given back at once: the
 * other side has nothing left of it, or answers to a SYN so that it is sent again, RFC 6191.
 */
static void forget_ended(const struct tcp_pcb *wanted, const ip_addr_t *to, uint16_t port)
{
    struct tcp_pcb *pcb, *next;

    for (pcb = *lwip.tcp_tw_pcbs; pcb; pcb = next) {
        next = pcb->next;
        if (pcb->local_port == wanted->local_port && pcb->remote_port == port &&
            ip_addr_cmp(&pcb->remote_ip, to) && ip_addr_cmp(&pcb->local_ip, &wanted->local_ip))
            lwip.tcp_abandon(pcb, 0);
    }
}

bool stack_streams_ending(void)
{
    for (const struct tcp_pcb *pcb = *lwip.tcp_active_pcbs; pcb; pcb = pcb->next)
        if (pcb->state == FIN_WAIT_1 || pcb->state == CLOSING || pcb->state == LAST_ACK)
            return true;
    return false;
}

void stack_stream_trim(void)
{
    struct tcp_pcb *pcb = *lwip.tcp_tw_pcbs, *next;

    for (int i = 0; pcb && i < ENDED_MAX; i++)
        pcb = pcb->next;
    for (; pcb; pcb = next) {
        next = pcb->next;
        lwip.tcp_abandon(pcb, 0);
    }
}

static int open_stream(struct tcp_pcb *pcb, const struct stack_name *from,
                       const struct stack_name *to)
{
    ip_addr_t source, destination;
    err_t err;

    stack_address_in(&from->addr, &source);
    stack_address_in(&to->addr, &destination);
    ip_set_option(pcb, SOF_REUSEADDR);
    err = lwip.tcp_bind(pcb, &source, from->port);
    if (err == ERR_OK) {
        forget_ended(pcb, &destination, to->port);
        err = lwip.tcp_connect(pcb, &destination, to->port, on_connected);
    }
    return stack_errno(err);
}

int stack_stream_connect(const struct stack_name *from, const struct stack_name *to, void *user,
                         struct stack_stream **ret)
{
    struct stack_stream *c = calloc(1, sizeof(*c));
    struct tcp_pcb *pcb =
        c ? lwip.tcp_new_ip_type(IN6_IS_ADDR_V4MAPPED(&to->addr) ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6)
          : NULL;
    int err;

    if (!pcb) {
        free(c);
        return -ENOBUFS;
    }
    stack_stream_trim();
    c->user = user;
    attach(c, pcb);
    err = open_stream(pcb, from, to);
    if (err < 0) {
        lwip.tcp_err(pcb, NULL);
        lwip.tcp_close(pcb);
        free(c);
        return err;
    }
    *ret = c;
    return 0;
}

enum stack_stream_state stack_stream_state(const struct stack_stream *c)
{
    return c->state;
}

int stack_stream_error(const struct stack_stream *c)
{
    return c->error;
}

size_t stack_stream_room(struct stack_stream *c)
{
    return c->state != STREAM_OPEN || c->finished ? 0 : window_room(&c->window, c->pcb);
}

int stack_stream_write(struct stack_stream *c, const void *data, size_t size)
{
    return stack_errno(lwip.tcp_write(c->pcb, data, (u16_t)size, TCP_WRITE_FLAG_COPY));
}

void stack_stream_push(struct stack_stream *c)
{
    if (!c->pcb)
        return;
    stack_allow_long_segments(true);
    lwip.tcp_output(c->pcb);
    stack_allow_long_segments(false);
}

size_t stack_stream_peek(const struct stack_stream *c, const void **ret)
{
    if (!c->received)
        return 0;
    *ret = (const uint8_t *)c->received->payload + c->offset;
    return (size_t)c->received->len - c->offset;
}

void stack_stream_take(struct stack_stream *c, size_t size)
{
    c->offset = (uint16_t)(c->offset + size);
    c->unread -= size;
    if (c->offset == c->received->len) {
        struct pbuf *rest = c->received->next;

        c->received->next = NULL; /* whose only reference was the chain's: it is ours now */
        c->received->tot_len = c->received->len;
        lwip.pbuf_free(c->received);
        c->received = rest;
        c->offset = 0;
    }
    if (!c->pcb)
        return;
    stack_allow_long_segments(true);
    window_taken(&c->window, c->pcb, size, !c->received);
    stack_allow_long_segments(false);
}

bool stack_stream_ended(const struct stack_stream *c)
{
    return !c->received && (c->fin || (c->state == STREAM_DEAD && !c->error));
}

static void shut_down(struct tcp_pcb *pcb)
{
    stack_allow_long_segments(true);
    lwip.tcp_shutdown(pcb, 0, 1);
    stack_allow_long_segments(false);
}

void stack_stream_finish(struct stack_stream *c)
{
    if (c->finished)
        return;
    c->finished = true;
    if (c->pcb && c->fin)
        let_go(c);
    else if (c->pcb)
        shut_down(c->pcb);
}

void stack_stream_keep_alive(struct stack_stream *c, uint32_t idle, uint32_t interval,
                             uint32_t count)
{
    if (!c->pcb)
        return;
    if (!idle) {
        ip_reset_option(c->pcb, SOF_KEEPALIVE);
        return;
    }
    c->pcb->keep_idle = idle * 1000;
    c->pcb->keep_intvl = interval * 1000;
    c->pcb->keep_cnt = count;
    ip_set_option(c->pcb, SOF_KEEPALIVE);
}

void stack_stream_close(struct stack_stream *c, bool reset)
{
    struct tcp_pcb *pcb = c->pcb;

    if (pcb) {
        lwip.tcp_arg(pcb, NULL);
        lwip.tcp_recv(pcb, NULL);
        lwip.tcp_sent(pcb, NULL);
        lwip.tcp_err(pcb, NULL);
        window_close(&c->window, pcb, c->unread);
        /* tcp_close() may answer that it has no memory; it is not asked again then. */
        if (reset || lwip.tcp_close(pcb) != ERR_OK)
            lwip.tcp_abort(pcb);
    }
    if (c->received)
        lwip.pbuf_free(c->received);
    free(c);
}
