/*
 * How much of a connection may be under way at once. Debian's lwIP is built for 64 KiB each way and
 * one bit of scaling, but keeps both as numbers of the connection: here they grow while they are
 * what holds it up, as over any distance they are, within bounds for all connections together.
 */
#ifndef SENTRY_NET_INET_LWIP_WINDOW_H
#define SENTRY_NET_INET_LWIP_WINDOW_H

#include "sentry/net/inet/lwip/library.h"

#define WINDOW_SCALE 7 /* of what we say that we take; RFC 7323 */

struct stack_window {
    uint32_t receive, send; /* bytes */
    uint32_t taken;         /* since then: up to a window */
    uint64_t since_ns;
};

/* A connection is there; all with stack_lock held. */
void window_open(struct stack_window *w, struct tcp_pcb *pcb);
/* It goes, or is lwIP's alone from now on; `unread` bytes were not taken. `pcb` may be NULL. */
void window_close(struct stack_window *w, struct tcp_pcb *pcb, size_t unread);
/* Of what came, so many bytes were taken; `all`: nothing is left. */
void window_taken(struct stack_window *w, struct tcp_pcb *pcb, size_t size, bool all);
/* Bytes that may be written. */
size_t window_room(struct stack_window *w, struct tcp_pcb *pcb);
/* A frame that leaves: if it begins a connection of TCP, it says WINDOW_SCALE in place of lwIP's.
 */
void window_tell_scale(uint8_t *frame, size_t size);
/* What came before what is missing must not fill the memory; every so often. */
void window_trim_unordered(void);

#endif
