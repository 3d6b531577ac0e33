/*
 * SOL_SOCKET: socket(7), net/core/sock.c. What is kept and has no effect here is what has none on a
 * machine without network cards of its own.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/time.h>

#include "sentry/net/netns.h"
#include "sentry/net/socket.h"
#include "sentry/vfs/attr/identity.h"

/* Newer than some headers. */
#define OPT_TXTIME           61
#define OPT_BINDTOIFINDEX    62
#define OPT_PREFER_BUSY_POLL 69
#define OPT_BUSY_POLL_BUDGET 70
#define OPT_NETNS_COOKIE     71
#define OPT_BUF_LOCK         72
#define OPT_RESERVE_MEM      73
#define OPT_TXREHASH         74
#define OPT_RCVMARK          75
#define OPT_PASSPIDFD        76
#define OPT_RCVPRIORITY      82
#define OPT_PASSRIGHTS       83
#define OPT_INQ              84

/* What filters may ask a packet for: SKF_AD_MAX. */
#define BPF_EXTENSIONS 64

/* Whoever may force a size gets this much at most: it is the Sentry's memory. */
#define FORCED_BUF_MAX (8 << 20)

#define NSEC_PER_SEC   1000000000UL
#define USEC_PER_SEC   1000000

void socket_options_init(struct socket_options *opt)
{
    *opt = (struct socket_options){
        .sndbuf = SOCKET_BUF_DEFAULT,
        .rcvbuf = SOCKET_BUF_DEFAULT,
        .rcvlowat = 1,
        .peek_off = -1,
        .incoming_cpu = -1,
        .txrehash = 1,
        .pacing_rate = UINT64_MAX,
        .rcvtimeo_ns = SOCKET_TIMEO_MAX,
        .sndtimeo_ns = SOCKET_TIMEO_MAX,
    };
}

int socket_option_int(const void *value, size_t size, int *ret)
{
    if (size < sizeof(int))
        return -EINVAL;
    memcpy(ret, value, sizeof(int));
    return 0;
}

int socket_option_put(void *value, size_t *size, const void *source, size_t source_size)
{
    *size = MIN(*size, source_size);
    memcpy(value, source, *size);
    return 0;
}

int socket_option_put_int(void *value, size_t *size, int number)
{
    return socket_option_put(value, size, &number, sizeof(number));
}

static bool *switch_of(struct socket_options *opt, int name)
{
    switch (name) {
    case SO_DEBUG:
        return &opt->debug;
    case SO_REUSEADDR:
        return &opt->reuse_addr;
    case SO_REUSEPORT:
        return &opt->reuse_port;
    case SO_DONTROUTE:
        return &opt->dont_route;
    case SO_BROADCAST:
        return &opt->broadcast;
    case SO_KEEPALIVE:
        return &opt->keep_alive;
    case SO_OOBINLINE:
        return &opt->oob_inline;
    case SO_NO_CHECK:
        return &opt->no_check;
    case SO_PASSCRED:
        return &opt->pass_cred;
    case SO_PASSSEC:
        return &opt->pass_sec;
    case SO_WIFI_STATUS:
        return &opt->wifi_status;
    case OPT_RCVMARK:
        return &opt->rcvmark;
    case OPT_RCVPRIORITY:
        return &opt->rcvpriority;
    case OPT_PASSPIDFD:
        return &opt->pass_pidfd;
    case SO_RXQ_OVFL:
        return &opt->rxq_ovfl;
    case SO_NOFCS:
        return &opt->nofcs;
    case SO_SELECT_ERR_QUEUE:
        return &opt->select_err_queue;
    case OPT_PREFER_BUSY_POLL:
        return &opt->prefer_busy_poll;
    case OPT_INQ:
        return &opt->inq;
    default:
        return NULL;
    }
}

/* The options that only some families have. */
static int check_switch(const struct socket *s, int name, int on)
{
    switch (name) {
    case SO_DEBUG:
        return on && !vfs_has_cap(CAP_NET_ADMIN) ? -EACCES : 0;
    case SO_REUSEPORT:
        return on && s->domain != AF_INET && s->domain != AF_INET6 ? -EOPNOTSUPP : 0;
    case SO_PASSCRED:
    case SO_PASSSEC: /* of which there never is one to pass */
        return s->domain == AF_UNIX || s->domain == AF_NETLINK ? 0 : -EOPNOTSUPP;
    case OPT_PASSPIDFD:
        return s->domain == AF_UNIX ? 0 : -EOPNOTSUPP;
    case OPT_INQ:
        if (s->domain != AF_UNIX || s->type != SOCK_STREAM)
            return -EOPNOTSUPP;
        return on == 0 || on == 1 ? 0 : -EINVAL;
    case OPT_PREFER_BUSY_POLL:
        return on && !vfs_has_cap(CAP_NET_ADMIN) ? -EPERM : 0;
    default:
        return 0;
    }
}

static void set_sndbuf(struct socket_options *opt, int value, bool force)
{
    uint32_t bytes = force && value < 0 ? 0 : (uint32_t)value;

    bytes = MIN(bytes, (uint32_t)(force ? FORCED_BUF_MAX : SOCKET_BUF_MAX));
    opt->sndbuf = MAX(bytes * 2, (uint32_t)SOCKET_SNDBUF_MIN);
    opt->sndbuf_locked = true;
}

static void set_rcvbuf(struct socket_options *opt, int value, bool force)
{
    uint32_t bytes = force && value < 0 ? 0 : (uint32_t)value;

    bytes = MIN(bytes, (uint32_t)(force ? FORCED_BUF_MAX : SOCKET_BUF_MAX));
    opt->rcvbuf = MAX(bytes * 2, (uint32_t)SOCKET_RCVBUF_MIN);
    opt->rcvbuf_locked = true;
}

static int set_timeout(uint64_t *ret_ns, const void *value, size_t size)
{
    struct timeval tv;

    if (size < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, value, sizeof(tv));
    if (tv.tv_usec < 0 || tv.tv_usec >= USEC_PER_SEC)
        return -EDOM;
    if (tv.tv_sec < 0)
        *ret_ns = 0;
    else if ((tv.tv_sec == 0 && tv.tv_usec == 0) || (uint64_t)tv.tv_sec > INT64_MAX / NSEC_PER_SEC)
        *ret_ns = SOCKET_TIMEO_MAX;
    else
        *ret_ns = (uint64_t)tv.tv_sec * NSEC_PER_SEC + (uint64_t)tv.tv_usec * 1000;
    return 0;
}

static int get_timeout(uint64_t ns, void *value, size_t *size)
{
    struct timeval tv = {0};

    if (ns != SOCKET_TIMEO_MAX) {
        tv.tv_sec = (time_t)(ns / NSEC_PER_SEC);
        tv.tv_usec = (suseconds_t)(ns % NSEC_PER_SEC / 1000);
    }
    return socket_option_put(value, size, &tv, sizeof(tv));
}

static int set_linger(struct socket_options *opt, const void *value, size_t size)
{
    struct linger linger;

    if (size < sizeof(linger))
        return -EINVAL;
    memcpy(&linger, value, sizeof(linger));
    opt->linger = linger.l_onoff != 0;
    if (opt->linger)
        opt->linger_seconds = linger.l_linger < 0 ? INT32_MAX : (uint32_t)linger.l_linger;
    return 0;
}

static int set_timestamp(struct socket_options *opt, int name, int on)
{
    if (on)
        opt->timestamp = (uint8_t)name;
    else if (opt->timestamp == name)
        opt->timestamp = 0;
    return 0;
}

/* Plain numbers, kept as they are. */
static int32_t *number_of(struct socket_options *opt, int name)
{
    switch (name) {
    case SO_RCVLOWAT:
        return &opt->rcvlowat;
    case SO_PRIORITY:
        return &opt->priority;
    case SO_MARK:
        return &opt->mark;
    case SO_PEEK_OFF:
        return &opt->peek_off;
    case SO_BUSY_POLL:
        return &opt->busy_poll;
    case SO_INCOMING_CPU:
        return &opt->incoming_cpu;
    case OPT_BUSY_POLL_BUDGET:
        return &opt->busy_poll_budget;
    default:
        return NULL;
    }
}

/* Those of them that not everybody may set to everything. */
static int check_number(const struct socket *s, int name, int value)
{
    switch (name) {
    case SO_PRIORITY:
        return socket_may_set_priority(s, value) ? 0 : -EPERM;
    case SO_MARK:
        return socket_may_mark(s) ? 0 : -EPERM;
    case SO_PEEK_OFF:
        return s->domain == AF_UNIX || s->domain == AF_INET || s->domain == AF_INET6 ? 0
                                                                                     : -EOPNOTSUPP;
    case SO_BUSY_POLL:
        if (value > s->opt.busy_poll && !vfs_has_cap(CAP_NET_ADMIN))
            return -EPERM;
        return value < 0 ? -EINVAL : 0;
    case OPT_BUSY_POLL_BUDGET:
        if (value > s->opt.busy_poll_budget && !vfs_has_cap(CAP_NET_ADMIN))
            return -EPERM;
        return value < 0 || value > UINT16_MAX ? -EINVAL : 0;
    default:
        return 0;
    }
}

static int set_buffer(struct socket_options *opt, int name, int value)
{
    bool force = name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE;

    if (force && !vfs_has_cap(CAP_NET_ADMIN))
        return -EPERM;
    if (name == SO_SNDBUF || name == SO_SNDBUFFORCE)
        set_sndbuf(opt, value, force);
    else
        set_rcvbuf(opt, value, force);
    return 0;
}

/* sock_bindtoindex() */
static int set_device(struct socket *s, int index)
{
    if (s->opt.device && !net_capable(s->net, CAP_NET_RAW))
        return -EPERM;
    if (index < 0)
        return -EINVAL;
    s->opt.device = index;
    return 0;
}

/* What has a form or a range of its own. */
static int set_other(struct socket *s, int name, int value)
{
    struct socket_options *opt = &s->opt;

    switch (name) {
    case SO_SNDBUF:
    case SO_RCVBUF:
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        return set_buffer(opt, name, value);
    case SO_ZEROCOPY:
        if (s->domain != AF_INET && s->domain != AF_INET6)
            return -EOPNOTSUPP;
        if (value < 0 || value > 1)
            return -EINVAL;
        opt->zero_copy = value;
        return 0;
    case OPT_PASSRIGHTS:
        if (s->domain != AF_UNIX)
            return -EOPNOTSUPP;
        opt->no_rights = !value;
        return 0;
    case OPT_BUF_LOCK:
        if (value & ~3)
            return -EINVAL;
        opt->buf_lock = (uint8_t)value;
        return 0;
    case OPT_TXREHASH:
        if (s->protocol != IPPROTO_TCP || s->type != SOCK_STREAM)
            return -EOPNOTSUPP;
        if (value < -1 || value > 1)
            return -EINVAL;
        opt->txrehash = (uint8_t)(value == -1 ? 1 : value);
        return 0;
    case OPT_BINDTOIFINDEX:
        return set_device(s, value);
    case OPT_RESERVE_MEM: /* of a control group for memory, which counts no sockets here */
        return -EOPNOTSUPP;
    case SO_CNX_ADVICE: /* that the way is bad: there is one way */
        return 0;
    case SO_TIMESTAMP_OLD:
    case SO_TIMESTAMPNS_OLD:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_NEW:
        return set_timestamp(opt, name, value);
    default:
        return -ENOPROTOOPT;
    }
}

static int set_number(struct socket *s, int name, int value)
{
    int32_t *number = number_of(&s->opt, name);
    int err;

    if (!number)
        return set_other(s, name, value);
    if (name == SO_RCVLOWAT)
        value = value < 0 ? INT32_MAX : value ? value : 1;
    err = check_number(s, name, value);
    if (!err)
        *number = value;
    return err;
}

static int set_device_named(struct socket *s, const void *value, size_t size)
{
    struct net_device device = {0};
    char name[sizeof(device.name)] = {0};
    int err = 0;

    memcpy(name, value, MIN(size, sizeof(name) - 1));
    if (*name)
        err = net_ns_device_named(s->net, name, &device);
    return err < 0 ? err : set_device(s, device.index);
}

/* Its name, or that there is none. */
static int get_device_name(const struct socket *s, void *value, size_t *size)
{
    struct net_device device;

    if (!s->opt.device) {
        *size = 0;
        return 0;
    }
    if (*size < sizeof(device.name))
        return -EINVAL;
    if (net_ns_device(s->net, s->opt.device, &device) < 0)
        return -ENODEV;
    return socket_option_put(value, size, device.name, strlen(device.name) + 1);
}

/* SO_MEMINFO: as sock_diag(7) tells it. */
static int get_memory(struct socket *s, void *value, size_t *size)
{
    uint32_t memory[SK_MEMINFO_VARS] = {
        [SK_MEMINFO_RCVBUF] = s->opt.rcvbuf, [SK_MEMINFO_SNDBUF] = s->opt.sndbuf};
    int waiting = 0;

    if (s->ops->queued && s->ops->queued(s, SIOCINQ, &waiting) == 0)
        memory[SK_MEMINFO_RMEM_ALLOC] = (uint32_t)MAX(waiting, 0);
    return socket_option_put(value, size, memory, sizeof(memory));
}

static int set_any(struct socket *s, int name, const void *value, size_t size)
{
    bool *sw = switch_of(&s->opt, name);
    int number, err;

    if (name == SO_BINDTODEVICE)
        return set_device_named(s, value, size);
    err = socket_option_int(value, size, &number);
    if (err < 0)
        return err;
    if (sw) {
        err = check_switch(s, name, number);
        if (!err)
            *sw = number != 0;
        return err;
    }
    switch (name) {
    case SO_LINGER:
        return set_linger(&s->opt, value, size);
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
        return set_timeout(&s->opt.rcvtimeo_ns, value, size);
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW:
        return set_timeout(&s->opt.sndtimeo_ns, value, size);
    case SO_MAX_PACING_RATE:
        s->opt.pacing_rate = (uint32_t)number == UINT32_MAX ? UINT64_MAX : (uint32_t)number;
        if (size >= sizeof(uint64_t))
            memcpy(&s->opt.pacing_rate, value, sizeof(uint64_t));
        return 0;
    case SO_BSDCOMPAT:
        return 0;
    case OPT_TXTIME:
        return socket_set_txtime(s, value, size);
    case SO_LOCK_FILTER:
        if (s->opt.lock_filter && !number)
            return -EPERM;
        s->opt.lock_filter = number != 0;
        return 0;
    default:
        return set_number(s, name, number);
    }
}

int socket_set_option(struct socket *s, int name, const void *value, size_t size)
{
    int err = s->ops->set_base_option ? s->ops->set_base_option(s, name, value, size) : 0;

    if (err != 0)
        return MIN(err, 0);
    lock_acquire(&s->lock);
    err = set_any(s, name, value, size);
    lock_release(&s->lock);
    if (!err && s->ops->option_changed)
        s->ops->option_changed(s, name);
    return err;
}

static int get_linger(const struct socket_options *opt, void *value, size_t *size)
{
    const struct linger linger = {opt->linger, (int)opt->linger_seconds};

    return socket_option_put(value, size, &linger, sizeof(linger));
}

/* What it is and how it is doing, which cannot be set. -ENOPROTOOPT: none of that. */
static int get_state(struct socket *s, int name, int *ret)
{
    switch (name) {
    case SO_TYPE:
        *ret = s->type;
        return 0;
    case SO_DOMAIN:
        *ret = s->domain;
        return 0;
    case SO_PROTOCOL:
        *ret = s->protocol;
        return 0;
    case SO_ERROR:
        *ret = -socket_take_error(s);
        return 0;
    case SO_ACCEPTCONN:
        *ret = __atomic_load_n(&s->accepting, __ATOMIC_RELAXED) != 0;
        return 0;
    case SO_SNDLOWAT:
        *ret = 1;
        return 0;
    case SO_BSDCOMPAT:
    case SO_INCOMING_NAPI_ID: /* lo polls no device */
    case OPT_RESERVE_MEM:
        *ret = 0;
        return 0;
    case SO_BPF_EXTENSIONS:
        *ret = BPF_EXTENSIONS;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* The counterpart of set_other(). */
static int get_other(struct socket *s, int name, int *ret)
{
    const struct socket_options *opt = &s->opt;

    switch (name) {
    case SO_SNDBUF:
        *ret = (int)opt->sndbuf;
        return 0;
    case SO_RCVBUF:
        *ret = (int)opt->rcvbuf;
        return 0;
    case SO_ZEROCOPY:
        *ret = opt->zero_copy;
        return 0;
    case OPT_PASSRIGHTS:
        *ret = !opt->no_rights;
        return s->domain == AF_UNIX ? 0 : -EOPNOTSUPP;
    case OPT_BUF_LOCK:
        *ret = opt->buf_lock;
        return 0;
    case OPT_TXREHASH:
        *ret = opt->txrehash;
        return s->protocol == IPPROTO_TCP && s->type == SOCK_STREAM ? 0 : -EOPNOTSUPP;
    case OPT_BINDTOIFINDEX:
        *ret = opt->device;
        return 0;
    case SO_LOCK_FILTER:
        *ret = opt->lock_filter;
        return 0;
    case SO_TIMESTAMP_OLD:
    case SO_TIMESTAMPNS_OLD:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_NEW:
        *ret = opt->timestamp == name;
        return 0;
    default:
        return get_state(s, name, ret);
    }
}

/* -ENOPROTOOPT: not a plain number. */
static int get_number(struct socket *s, int name, int *ret)
{
    const bool *sw = switch_of(&s->opt, name);
    const int32_t *number = number_of(&s->opt, name);

    if (name == OPT_BUSY_POLL_BUDGET)
        return -ENOPROTOOPT; /* which is set alone */
    if (sw && (name == SO_PASSCRED || name == SO_PASSSEC || name == OPT_PASSPIDFD) &&
        check_switch(s, name, 0) < 0)
        return -EOPNOTSUPP;
    if (!sw && !number)
        return get_other(s, name, ret);
    *ret = sw ? *sw : *number;
    return 0;
}

int socket_get_option(struct socket *s, int name, void *value, size_t *size)
{
    int number, err = -ENOPROTOOPT;
    uint64_t rate, cookie;

    if (s->ops->get_base_option)
        err = s->ops->get_base_option(s, name, value, size);
    if (err != -ENOPROTOOPT)
        return err;
    err = get_number(s, name, &number);
    if (!err)
        return socket_option_put_int(value, size, number);
    if (err != -ENOPROTOOPT)
        return err;
    switch (name) {
    case SO_LINGER:
        return get_linger(&s->opt, value, size);
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
        return get_timeout(s->opt.rcvtimeo_ns, value, size);
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW:
        return get_timeout(s->opt.sndtimeo_ns, value, size);
    case SO_MAX_PACING_RATE:
        rate = s->opt.pacing_rate;
        if (*size < sizeof(rate))
            return socket_option_put_int(value, size, (int)MIN(rate, (uint64_t)UINT32_MAX));
        return socket_option_put(value, size, &rate, sizeof(rate));
    case SO_COOKIE:
        if (*size < sizeof(s->ino))
            return -EINVAL;
        return socket_option_put(value, size, &s->ino, sizeof(s->ino));
    case OPT_NETNS_COOKIE:
        cookie = net_ns_cookie(s->net);
        if (*size != sizeof(cookie))
            return -EINVAL;
        return socket_option_put(value, size, &cookie, sizeof(cookie));
    case SO_BINDTODEVICE:
        return get_device_name(s, value, size);
    case OPT_TXTIME:
        return socket_get_txtime(s, value, size);
    case SO_MEMINFO:
        return get_memory(s, value, size);
    default:
        return -ENOPROTOOPT;
    }
}
