/* From the slave to the master: output processing (OPOST), echo, flow control. */
#include <asm/ioctls.h>
#include <ctype.h>
#include <string.h>

#include "sentry/fs/tty/ldisc.h"

uint32_t ldisc_output_bytes(const struct ldisc *ld)
{
    return ld->output_head - ld->output_tail;
}

/* What does not fit is lost: only echo can come so far. */
static void put(struct ldisc *ld, uint8_t c)
{
    if (ldisc_output_bytes(ld) < LDISC_OUTPUT_SIZE)
        ld->output[ld->output_head++ % LDISC_OUTPUT_SIZE] = c;
}

static void put_newline(struct ldisc *ld)
{
    uint32_t flags = ld->termios.c_oflag;

    if (flags & ONLCR)
        put(ld, '\r');
    if (flags & (ONLCR | ONLRET))
        ld->column = 0;
    ld->canon_column = ld->column;
    put(ld, '\n');
}

static void put_return(struct ldisc *ld)
{
    uint32_t flags = ld->termios.c_oflag;

    if ((flags & ONOCR) && ld->column == 0)
        return;
    if (flags & OCRNL) {
        if (flags & ONLRET)
            ld->canon_column = ld->column = 0;
        put(ld, '\n');
        return;
    }
    ld->canon_column = ld->column = 0;
    put(ld, '\r');
}

static void put_tab(struct ldisc *ld)
{
    uint32_t spaces = 8 - (ld->column & 7);

    ld->column += spaces;
    if ((ld->termios.c_oflag & TABDLY) != XTABS) {
        put(ld, '\t');
        return;
    }
    while (spaces-- > 0)
        put(ld, ' ');
}

static void put_processed(struct ldisc *ld, uint8_t c)
{
    switch (c) {
    case '\n':
        put_newline(ld);
        break;
    case '\r':
        put_return(ld);
        break;
    case '\t':
        put_tab(ld);
        break;
    case '\b':
        if (ld->column > 0)
            ld->column--;
        put(ld, c);
        break;
    default:
        if ((ld->termios.c_oflag & OLCUC) && c < 0x80)
            c = (uint8_t)toupper(c);
        if (c >= 0x20 && c != 0x7f && !ldisc_is_continuation(ld, c))
            ld->column++;
        put(ld, c);
        break;
    }
}

static void put_any(struct ldisc *ld, uint8_t c)
{
    if (ld->termios.c_oflag & OPOST)
        put_processed(ld, c);
    else
        put(ld, c);
}

uint32_t ldisc_write_room(const struct ldisc *ld)
{
    uint32_t used = ldisc_output_bytes(ld);

    return ld->stopped || used >= LDISC_OUTPUT_LIMIT ? 0 : MAX((LDISC_OUTPUT_LIMIT - used) / 8, 1U);
}

void ldisc_write(struct ldisc *ld, const uint8_t *buf, size_t size)
{
    for (size_t i = 0; i < size; i++)
        put_any(ld, buf[i]);
}

void ldisc_echo_plain(struct ldisc *ld, uint8_t c)
{
    if (!ld->stopped)
        put_any(ld, c);
    else if (ld->echo_count < LDISC_ECHO_SIZE)
        ld->echo[ld->echo_count++] = c;
}

void ldisc_echo(struct ldisc *ld, uint8_t c)
{
    if ((ld->termios.c_lflag & ECHOCTL) && (c < 0x20 || c == 0x7f) && c != '\t') {
        ldisc_echo_plain(ld, '^');
        c ^= 0x40;
    }
    ldisc_echo_plain(ld, c);
}

size_t ldisc_take(const struct ldisc *ld, const uint8_t **ret_bytes)
{
    uint32_t at = ld->output_tail % LDISC_OUTPUT_SIZE;

    *ret_bytes = &ld->output[at];
    return MIN(ldisc_output_bytes(ld), LDISC_OUTPUT_SIZE - at);
}

void ldisc_taken(struct ldisc *ld, size_t size)
{
    ld->output_tail += (uint32_t)size;
}

void ldisc_flush_output(struct ldisc *ld, uint32_t keep)
{
    if (ldisc_output_bytes(ld) > keep)
        ld->output_head = ld->output_tail + keep;
    ld->echo_count = 0;
}

void ldisc_stop(struct ldisc *ld, bool by_call, struct ldisc_events *ev)
{
    ld->stopped_by_call |= by_call;
    if (ld->stopped)
        return;
    ld->stopped = true;
    ev->packet = (uint8_t)((ev->packet & ~TIOCPKT_START) | TIOCPKT_STOP);
}

void ldisc_start(struct ldisc *ld, bool by_call, struct ldisc_events *ev)
{
    uint32_t count = ld->echo_count;

    if (!ld->stopped || (ld->stopped_by_call && !by_call))
        return;
    ld->stopped = ld->stopped_by_call = false;
    ld->echo_count = 0;
    for (uint32_t i = 0; i < count; i++)
        put_any(ld, ld->echo[i]);
    ev->packet = (uint8_t)((ev->packet & ~TIOCPKT_STOP) | TIOCPKT_START);
    ev->output |= count > 0;
    ev->room = true;
}
