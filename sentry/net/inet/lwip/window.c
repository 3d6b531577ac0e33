#include "sentry/net/inet/lwip/window.h"

#include <linux/if_ether.h>

#include "host/clock.h"

#define WINDOW_MAX    (4U << 20)  /* bytes of one connection, each way */
#define EXTRA_MAX     (64U << 20) /* of all together, beyond what lwIP gives each */
#define SEGMENT_COST  256         /* bytes beside those of a segment that waits */
#define UNORDERED_MAX (64U << 20) /* of all together that wait for what is missing */
#define TURN_NS       300000000ULL
#define TRIM_NS       100000000ULL

static uint32_t extra; /* bytes granted beyond lwIP's own; under stack_lock */

/* More of that window, if there is any left for all; how much. */
static uint32_t grow(uint32_t *window)
{
    uint32_t more = MIN(*window, WINDOW_MAX - *window);

    if (more > EXTRA_MAX - extra)
        return 0;
    extra += more;
    *window += more;
    return more;
}

void window_open(struct stack_window *w, struct tcp_pcb *pcb)
{
    *w = (struct stack_window){.receive = TCP_WND, .send = TCP_SND_BUF};
    if (pcb->flags & TF_WND_SCALE)
        pcb->rcv_scale = WINDOW_SCALE;
    pcb->ssthresh = WINDOW_MAX;
}

/* lwIP resets what is closed with a window that is not its own, for then bytes were not taken. */
void window_close(struct stack_window *w, struct tcp_pcb *pcb, size_t unread)
{
    if (pcb && w->receive)
        pcb->rcv_wnd = unread ? TCP_WND_MAX(pcb) - 1 : TCP_WND_MAX(pcb);
    if (w->receive)
        extra -= w->receive - TCP_WND + w->send - TCP_SND_BUF;
    *w = (struct stack_window){0};
}

/*
 * While programs take all that comes, a window that is used up sooner than TURN_NS may be what
 * bounds it: it would be over any distance that takes as long.
 */
void window_taken(struct stack_window *w, struct tcp_pcb *pcb, size_t size, bool all)
{
    pcb->rcv_wnd = MIN(pcb->rcv_wnd + (tcpwnd_size_t)size, w->receive);
    w->taken += (uint32_t)size;
    if (w->taken >= w->receive) {
        const uint64_t now = host_monotonic_ns();

        if (all && now - w->since_ns < TURN_NS && (pcb->flags & TF_WND_SCALE))
            pcb->rcv_wnd += grow(&w->receive);
        w->taken = 0;
        w->since_ns = now;
    }
    if (lwip.tcp_update_rcv_ann_wnd(pcb) >= w->receive / 8) {
        tcp_ack_now(pcb);
        lwip.tcp_output(pcb);
    }
}

/* Bytes that tcp_write() puts into a segment. */
static uint32_t segment_size(const struct tcp_pcb *pcb)
{
    uint32_t size = MIN((uint32_t)pcb->mss, TCPWND_MIN16(pcb->snd_wnd_max / 2));

    return size ? size : pcb->mss;
}

/*
 * It grows when all that may be under way is, and there is no room for what would be next. lwIP
 * has a fixed number of pieces, of which a segment takes one or two; a write that needs more fails.
 */
size_t window_room(struct stack_window *w, struct tcp_pcb *pcb)
{
    const uint32_t most = TCP_SND_QUEUELEN - 4, queued = tcp_sndqueuelen(pcb);
    const uint32_t segments = (most - MIN(queued, most)) / 2;

    if (tcp_sndbuf(pcb) < pcb->mss && MIN(pcb->cwnd, pcb->snd_wnd) > w->send / 2)
        pcb->snd_buf += grow(&w->send);
    return MIN(tcp_sndbuf(pcb), segments * segment_size(pcb));
}

/* ---- in the SYN -------------------------------------------------------------------------------
 */

/* The place of the option's last byte in a segment's header of `size` bytes; 0: it has none. */
static size_t find_scale(const uint8_t *tcp, size_t size)
{
    size_t at = 20;

    while (at < size && tcp[at] != 0) {
        if (tcp[at] == 1) {
            at++;
            continue;
        }
        if (size - at < 2 || tcp[at + 1] < 2 || tcp[at + 1] > size - at)
            return 0;
        if (tcp[at] == 3 && tcp[at + 1] == 3)
            return at + 2;
        at += tcp[at + 1];
    }
    return 0;
}

/* RFC 1624: the sum for a header with one byte changed. */
static void change_byte(uint8_t *tcp, size_t at, uint8_t value)
{
    uint32_t before = tcp[at], after = value, sum = (uint32_t)(tcp[16] << 8 | tcp[17]);

    if (at % 2 == 0) {
        before <<= 8;
        after <<= 8;
    }
    sum = (~sum & 0xffff) + (~before & 0xffff) + after;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16)) & 0xffff;
    tcp[at] = value;
    tcp[16] = (uint8_t)(sum >> 8);
    tcp[17] = (uint8_t)sum;
}

/* Is it lwIP's own, and no packet that a program has put together? */
static bool is_own(const uint8_t *tcp)
{
    const uint16_t local = (uint16_t)(tcp[0] << 8 | tcp[1]),
                   remote = (uint16_t)(tcp[2] << 8 | tcp[3]);

    for (const struct tcp_pcb *pcb = *lwip.tcp_active_pcbs; pcb; pcb = pcb->next)
        if (pcb->local_port == local && pcb->remote_port == remote &&
            (pcb->state == SYN_SENT || pcb->state == SYN_RCVD))
            return true;
    return false;
}

void window_tell_scale(uint8_t *frame, size_t size)
{
    uint8_t *ip = frame + ETH_HLEN, *tcp;
    bool v4 = ip[0] >> 4 == 4;
    size_t header = v4 ? (ip[0] & 15U) * 4 : 40, at;

    if (size < ETH_HLEN + header + 20 || (v4 ? ip[9] : ip[6]) != IPPROTO_TCP)
        return;
    tcp = ip + header;
    if (!(tcp[13] & TCP_SYN) || (tcp[12] >> 4) * 4U > size - ETH_HLEN - header || !is_own(tcp))
        return;
    at = find_scale(tcp, (tcp[12] >> 4) * 4U);
    if (at)
        change_byte(tcp, at, WINDOW_SCALE);
}

/* ---- what has come too early ------------------------------------------------------------------
 */

void window_trim_unordered(void)
{
    static uint64_t last_ns;
    uint64_t now = host_monotonic_ns();
    size_t all = 0;

    if (now - last_ns < TRIM_NS)
        return;
    last_ns = now;
    for (struct tcp_pcb *pcb = *lwip.tcp_active_pcbs; pcb; pcb = pcb->next) {
        size_t cost = 0;

        for (const struct tcp_seg *seg = pcb->ooseq; seg; seg = seg->next)
            cost += seg->len + SEGMENT_COST;
        /* It is sent again: nothing of it was acknowledged. */
        if (cost > 2 * WINDOW_MAX || all + cost > UNORDERED_MAX)
            lwip.tcp_free_ooseq(pcb);
        else
            all += cost;
    }
}
