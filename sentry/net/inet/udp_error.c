/*
 * The queue of errors: IP_RECVERR and IPV6_RECVERR of ip(7), ipv6(7). There is one kind here, a
 * port that nobody has; what was sent comes back with it, as far as a message of ICMP would quote
 * it.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h>

#include "sentry/mm/uio.h"
#include "sentry/net/inet/udp.h"

#define QUOTED_V4       520 /* bytes of a datagram in 576 of ICMP */
#define QUOTED_V6       1184
#define UNREACHABLE     3 /* of ICMP: the type, and the code of a port */
#define UNREACHABLE_V6  1
#define PORT_CODE       3
#define PORT_CODE_V6    4
#define OPT_V6_RECVERR  25
#define SOCK_ERRORS_MAX 64
/* Of the message of ICMP: icmp_send(). */
#define ERROR_TTL   64
#define TOS_KEPT    0x1e
#define TOS_CONTROL 0xc0

bool udp_wants_error(const struct inet_socket *s, const struct in6_addr *to)
{
    return addr_is_v4(to) ? s->ip.recverr : s->ip.recverr6;
}

void udp_error_add(struct udp_socket *u, const struct endpoint *to, const struct udp_message *sent)
{
    size_t limit = addr_is_v4(&to->addr) ? QUOTED_V4 : QUOTED_V6;
    struct udp_message *m = udp_message_create(MIN((size_t)sent->size, limit));
    struct socket *s = &u->inet.sock;
    bool taken;

    if (!m)
        return;
    m->from = *to;
    m->to = sent->from.addr;
    m->time_ns = sent->time_ns;
    m->interface = sent->interface;
    m->is_error = true;
    m->ttl = ERROR_TTL;
    m->tos = addr_is_v4(&to->addr) ? (sent->tos & TOS_KEPT) | TOS_CONTROL : 0;
    memcpy(m->data, sent->data, m->size);
    lock_acquire(&s->lock);
    taken = u->error_count < SOCK_ERRORS_MAX;
    if (taken) {
        list_add_tail(&u->errors, &m->node);
        u->error_count++;
    }
    lock_release(&s->lock);
    if (!taken)
        udp_message_free(m);
}

/* The next error, and what SO_ERROR says from now on. */
static struct udp_message *take(struct udp_socket *u, bool peek)
{
    struct socket *s = &u->inet.sock;
    struct udp_message *m = NULL;

    lock_acquire(&s->lock);
    if (!list_empty(&u->errors)) {
        m = list_first(&u->errors, struct udp_message, node);
        if (!peek) {
            list_del_init(&m->node);
            u->error_count--;
            __atomic_store_n(&s->error, list_empty(&u->errors) ? 0 : ECONNREFUSED,
                             __ATOMIC_RELEASE);
        }
    }
    lock_release(&s->lock);
    return m;
}

static void describe(struct socket_message *msg, const struct udp_message *m)
{
    bool v4 = addr_is_v4(&m->from.addr);
    struct {
        struct sock_extended_err error;
        union {
            struct sockaddr_in in;
            struct sockaddr_in6 in6;
        } offender;
    } told = {.error = {.ee_errno = ECONNREFUSED,
                        .ee_origin = v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6,
                        .ee_type = v4 ? UNREACHABLE : UNREACHABLE_V6,
                        .ee_code = v4 ? PORT_CODE : PORT_CODE_V6}};

    if (v4) {
        told.offender.in.sin_family = AF_INET;
        told.offender.in.sin_addr.s_addr = m->from.addr.s6_addr32[3];
        socket_control_put(msg, IPPROTO_IP, IP_RECVERR, &told,
                           sizeof(told.error) + sizeof(told.offender.in));
    } else {
        told.offender.in6.sin6_family = AF_INET6;
        told.offender.in6.sin6_addr = m->from.addr;
        socket_control_put(msg, IPPROTO_IPV6, OPT_V6_RECVERR, &told,
                           sizeof(told.error) + sizeof(told.offender.in6));
    }
}

ssize_t udp_error_receive(struct udp_socket *u, struct socket_message *msg)
{
    bool peek = msg->flags & MSG_PEEK;
    struct udp_message *m;
    ssize_t n;

    lock_acquire(&u->read_lock);
    m = take(u, peek);
    n = m ? (ssize_t)MIN((uint64_t)m->size, msg->uio->left) : -EAGAIN;
    if (m && n > 0 && uio_copy_out(msg->uio, m->data, (size_t)n) != n)
        n = -EFAULT;
    if (m && n >= 0) {
        if ((uint32_t)n < m->size)
            msg->out_flags |= MSG_TRUNC;
        msg->out_flags |= MSG_ERRQUEUE;
        if (msg->address)
            endpoint_put(&u->inet, &m->from, msg->address);
        socket_put_timestamp(&u->inet.sock, msg, m->time_ns);
        udp_put_control(&u->inet, msg, m);
        describe(msg, m);
    }
    if (!peek)
        udp_message_free(m);
    lock_release(&u->read_lock);
    return n;
}
