/* IPPROTO_TCP: tcp(7), net/ipv4/tcp.c. Timers and segments are told of, but there are none. */
#include <errno.h>
#include <poll.h>
#include <linux/capability.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <string.h>

#include "sentry/net/inet/tcp.h"
#include "sentry/vfs/attr/identity.h"

/* Newer than some headers. */
#define OPT_INQ           36
#define OPT_IS_MPTCP      43
#define OPT_RTO_MAX_MS    44
#define OPT_RTO_MIN_US    45
#define OPT_DELACK_MAX_US 46

#define LINGER2_DEFAULT   60 /* seconds: tcp_fin_timeout */
#define LINGER2_MAX       120
#define WINDOW_CLAMP_MIN  (SOCKET_RCVBUF_MIN / 2)
#define RTO_SECONDS_MAX   120
#define WINDOW_SCALE      7
#define RECEIVE_MSS       536
#define TIMER_US_MIN      4001 /* more than a tick of a usual Linux */
#define TIMER_US_MAX      200000

#define CONGESTION_NAMES  "reno cubic"

struct number_option {
    int name;
    size_t offset; /* in struct tcp_parameters */
    int min, max;  /* else -EINVAL */
    bool is_switch;
};

#define FIELD(name) offsetof(struct tcp_parameters, name)

static const struct number_option numbers[] = {
    {TCP_NODELAY, FIELD(nodelay), INT32_MIN, INT32_MAX, true},
    {TCP_CORK, FIELD(cork), INT32_MIN, INT32_MAX, true},
    {TCP_MAXSEG, FIELD(maxseg), 88, 32767, false},
    {TCP_KEEPIDLE, FIELD(keepidle), 1, 32767, false},
    {TCP_KEEPINTVL, FIELD(keepintvl), 1, 32767, false},
    {TCP_KEEPCNT, FIELD(keepcnt), 1, 127, false},
    {TCP_SYNCNT, FIELD(syncnt), 1, 127, false},
    {TCP_LINGER2, FIELD(linger2), INT32_MIN, INT32_MAX, false},
    {TCP_DEFER_ACCEPT, FIELD(defer_accept), INT32_MIN, INT32_MAX, false},
    {TCP_WINDOW_CLAMP, FIELD(window_clamp), INT32_MIN, INT32_MAX, false},
    {TCP_QUICKACK, FIELD(quickack), INT32_MIN, INT32_MAX, true},
    {TCP_USER_TIMEOUT, FIELD(user_timeout), 0, INT32_MAX, false},
    {TCP_FASTOPEN, FIELD(fastopen), 0, INT32_MAX, false},
    {TCP_FASTOPEN_CONNECT, FIELD(fastopen_connect), 0, 1, false},
    {TCP_FASTOPEN_NO_COOKIE, FIELD(fastopen_no_cookie), 0, 1, false},
    {TCP_NOTSENT_LOWAT, FIELD(notsent_lowat), INT32_MIN, INT32_MAX, false},
    {TCP_THIN_LINEAR_TIMEOUTS, FIELD(thin_linear), 0, 1, false},
    {OPT_INQ, FIELD(inq), 0, 1, false},
    {TCP_THIN_DUPACK, FIELD(thin_dupack), 0, 1, false},
    {OPT_RTO_MAX_MS, FIELD(rto_max), 1000, 120000, false},
    {OPT_RTO_MIN_US, FIELD(rto_min), TIMER_US_MIN, TIMER_US_MAX, false},
    {OPT_DELACK_MAX_US, FIELD(delack_max), TIMER_US_MIN, TIMER_US_MAX, false},
};

void tcp_parameters_init(struct tcp_parameters *opt)
{
    *opt = (struct tcp_parameters){
        .keepidle = 7200,
        .keepintvl = 75,
        .keepcnt = 9,
        .syncnt = 6,
        .linger2 = LINGER2_DEFAULT,
        .quickack = 1,
        .rto_max = 120000,
        .rto_min = TIMER_US_MAX,
        .delack_max = TIMER_US_MAX,
        .congestion = "cubic",
    };
}

static int *number_of(struct tcp_parameters *opt, int name, const struct number_option **ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        if (numbers[i].name == name) {
            *ret = &numbers[i];
            return (int *)((char *)opt + numbers[i].offset);
        }
    return NULL;
}

static int set_congestion(struct tcp_socket *t, const void *value, size_t size)
{
    char name[sizeof(t->opt.congestion)] = {0};

    if (size < 1)
        return -EINVAL;
    memcpy(name, value, MIN(size, sizeof(name) - 1));
    if (strcmp(name, "cubic") != 0 && strcmp(name, "reno") != 0)
        return -ENOENT;
    memcpy(t->opt.congestion, name, sizeof(name));
    return 0;
}

static int check_number(struct tcp_socket *t, const struct number_option *option, int value)
{
    if (value < option->min || value > option->max)
        /* 0 leaves the segments' size to us. */
        return option->name == TCP_MAXSEG && value == 0 ? 0 : -EINVAL;
    if ((option->name == TCP_FASTOPEN || option->name == TCP_FASTOPEN_NO_COOKIE) &&
        t->state != TCP_IDLE && t->state != TCP_LISTENING)
        return -EINVAL;
    if (((option->name == TCP_FASTOPEN_CONNECT) || (option->name == TCP_WINDOW_CLAMP && !value)) &&
        t->state != TCP_IDLE)
        return -EINVAL;
    return 0;
}

/*
 * TCP_DEFER_ACCEPT counts how often a SYN would be answered again: seconds are what that takes, by
 * twice the time each. secs_to_retrans(), retrans_to_secs().
 */
static int defer_seconds(int seconds)
{
    int timeout = 1, period = 1;

    if (seconds <= 0)
        return 0;
    for (int n = 1; seconds > period && n < UINT8_MAX; n++) {
        timeout = MIN(timeout * 2, RTO_SECONDS_MAX);
        period += timeout;
    }
    return period;
}

/* What is kept of a number that is allowed. */
static int kept_number(const struct number_option *option, int value)
{
    if (option->is_switch)
        return value != 0;
    switch (option->name) {
    case TCP_DEFER_ACCEPT:
        return defer_seconds(value);
    case TCP_LINGER2:
        return value < 0 ? -1 : value == 0 ? LINGER2_DEFAULT : MIN(value, LINGER2_MAX);
    case TCP_WINDOW_CLAMP:
        return value ? MAX(value, WINDOW_CLAMP_MIN) : 0;
    case TCP_FASTOPEN:
        return MIN(value, SOCKET_SOMAXCONN);
    case TCP_THIN_DUPACK: /* it has no effect in Linux any more */
        return 0;
    default:
        return value;
    }
}

/* The cork is drawn, or there shall be no delay: what was held back goes out. */
static void push(struct tcp_socket *t)
{
    struct tcp_conn *c = tcp_get_conn(t);

    if (c)
        tcp_push(c, t->side);
    tcp_conn_unref(c);
}

/* Where a connection leads out, its other end keeps it alive: it looks at the options again. */
static void tell_outward(struct tcp_socket *t)
{
    struct tcp_conn *c = inet_ns_of(tcp_sock(t)->net)->outward ? tcp_get_conn(t) : NULL;
    struct tcp_socket *peer;

    if (!c)
        return;
    lock_acquire(&c->lock);
    peer = tcp_owner_locked(&c->end[1 - t->side]);
    lock_release(&c->lock);
    if (peer) {
        socket_wake(tcp_sock(peer), POLLMSG);
        socket_unref(tcp_sock(peer));
    }
    tcp_conn_unref(c);
}

int tcp_setsockopt(struct socket *s, int level, int name, const void *value, size_t size)
{
    struct tcp_socket *t = tcp_of(s);
    const struct number_option *option = NULL;
    int *field, number, err;

    if (level != IPPROTO_TCP)
        return ip_setsockopt(s, level, name, value, size);
    if (name == TCP_CONGESTION)
        return set_congestion(t, value, size);
    if (name == TCP_ULP)
        return size < 1 ? -EINVAL : -ENOENT;
    err = socket_option_int(value, size, &number);
    if (err < 0)
        return err;
    field = number_of(&t->opt, name, &option);
    if (!field)
        return name == TCP_REPAIR ? -EPERM : -ENOPROTOOPT;
    lock_acquire(&s->lock);
    err = check_number(t, option, number);
    if (!err)
        *field = kept_number(option, number);
    lock_release(&s->lock);
    if (!err && ((name == TCP_CORK && !number) || (name == TCP_NODELAY && number)))
        push(t);
    if (!err && (name == TCP_KEEPIDLE || name == TCP_KEEPINTVL || name == TCP_KEEPCNT))
        tell_outward(t);
    return err;
}

/* Of a connection. Who connected has sent one segment more than what was said, and heard one. */
static void fill_connected(struct tcp_info *info, const struct tcp_socket *t, struct tcp_conn *c)
{
    const struct tcp_end *end = &c->end[t->side], *other = &c->end[1 - t->side];
    int64_t room;

    if (tcp_conn_is_over(c)) /* those who look on see more of the end: tcp_report() */
        info->tcpi_state = SOCKET_CLOSED;
    info->tcpi_options = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE;
    info->tcpi_snd_wscale = info->tcpi_rcv_wscale = WINDOW_SCALE;
    info->tcpi_rto = 200000;
    info->tcpi_snd_mss = TCP_LO_MSS;
    info->tcpi_rcv_mss = RECEIVE_MSS;
    info->tcpi_advmss = info->tcpi_pmtu = 65535;
    info->tcpi_rtt = info->tcpi_min_rtt = 10;
    info->tcpi_rttvar = 5;
    lock_acquire(&c->lock);
    room = tcp_room_locked(end, other);
    info->tcpi_snd_wnd = (uint32_t)MAX(room, 0);
    room = tcp_room_locked(other, end);
    info->tcpi_rcv_space = info->tcpi_rcv_ssthresh = (uint32_t)MAX(room, 0);
    info->tcpi_bytes_received = end->arrived;
    info->tcpi_bytes_acked = info->tcpi_bytes_sent = other->arrived;
    info->tcpi_data_segs_in = end->segments;
    info->tcpi_data_segs_out = other->segments;
    info->tcpi_notsent_bytes = (uint32_t)MIN(other->held, (uint64_t)UINT32_MAX);
    lock_release(&c->lock);
    info->tcpi_segs_in = info->tcpi_data_segs_in + 1;
    info->tcpi_segs_out = info->tcpi_delivered = info->tcpi_data_segs_out + 1;
}

int tcp_get_info(struct tcp_socket *t, void *value, size_t *size)
{
    struct tcp_conn *c = tcp_get_conn(t);
    struct tcp_info info = {
        .tcpi_state = tcp_state_number(t, c),
        .tcpi_snd_cwnd = 10,
        .tcpi_reordering = 3,
        .tcpi_pacing_rate = UINT64_MAX,
        .tcpi_max_pacing_rate = tcp_sock(t)->opt.pacing_rate,
    };

    if (!c && t->state == TCP_LISTENING) {
        lock_acquire(&tcp_sock(t)->lock);
        info.tcpi_unacked = t->queued;
        info.tcpi_sacked = t->backlog;
        lock_release(&tcp_sock(t)->lock);
        return socket_option_put(value, size, &info, sizeof(info));
    }
    info.tcpi_rto = 1000000;
    info.tcpi_snd_mss = 536;
    info.tcpi_snd_ssthresh = INT32_MAX;
    info.tcpi_rttvar = 250000;
    info.tcpi_min_rtt = UINT32_MAX;
    if (c)
        fill_connected(&info, t, c);
    tcp_conn_unref(c);
    return socket_option_put(value, size, &info, sizeof(info));
}

int tcp_getsockopt(struct socket *s, int level, int name, void *value, size_t *size)
{
    struct tcp_socket *t = tcp_of(s);
    const struct number_option *option = NULL;
    const int *field;

    if (level != IPPROTO_TCP)
        return ip_getsockopt(s, level, name, value, size);
    switch (name) {
    case TCP_INFO:
        return tcp_get_info(t, value, size);
    case TCP_CONGESTION:
        return socket_option_put(value, size, t->opt.congestion, sizeof(t->opt.congestion));
    case TCP_ULP:
    case TCP_CC_INFO:
    case TCP_FASTOPEN_KEY: /* never set: no server gives out cookies */
        *size = 0;
        return 0;
    case TCP_MAXSEG:
        return socket_option_put_int(value, size,
                                     t->state == TCP_CONNECTED ? TCP_LO_MSS
                                     : t->opt.maxseg           ? t->opt.maxseg
                                                               : 536);
    case OPT_IS_MPTCP:
    case TCP_TIMESTAMP:
        return socket_option_put_int(value, size, 0);
    case TCP_REPAIR:
        return -EPERM;
    default:
        field = number_of(&t->opt, name, &option);
        return field ? socket_option_put_int(value, size, *field) : -ENOPROTOOPT;
    }
}

/* SO_RCVBUF and SO_SNDBUF count from now on, in a connection that is there, too. */
void tcp_option_changed(struct socket *s, int name)
{
    struct tcp_socket *t = tcp_of(s);
    struct tcp_conn *c;

    if (name == SO_DETACH_FILTER || name == SO_ATTACH_FILTER) {
        c = tcp_get_conn(t);
        if (c)
            tcp_filter_gone(c, t->side);
        tcp_conn_unref(c);
        return;
    }
    if (name == SO_KEEPALIVE)
        tell_outward(t);
    if (name != SO_RCVBUF && name != SO_SNDBUF && name != SO_RCVBUFFORCE && name != SO_SNDBUFFORCE)
        return;
    c = tcp_get_conn(t);
    if (!c)
        return;
    lock_acquire(&c->lock);
    if (s->opt.rcvbuf_locked)
        c->end[t->side].rcvbuf = s->opt.rcvbuf / 2;
    if (s->opt.sndbuf_locked)
        c->end[t->side].sndbuf = s->opt.sndbuf / 2;
    lock_release(&c->lock);
    tcp_conn_unref(c);
}
