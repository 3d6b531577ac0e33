/*
 * From the master to the slave: the characters with a meaning, editing of the line that is being
 * typed, and its echo.
 */
#include <asm/ioctls.h>
#include <ctype.h>
#include <signal.h>

#include "sentry/fs/tty/ldisc.h"

#define AT(position) ((position) % LDISC_INPUT_SIZE)
#define KEPT_OUTPUT  4096 /* what the master has as good as read; a signal drops the rest */

/* A control character may be switched off by 0. */
static bool is(const struct ldisc *ld, int index, uint8_t c)
{
    return c != 0 && ld->termios.c_cc[index] == c;
}

static bool has_local(const struct ldisc *ld, uint32_t flag)
{
    return ld->termios.c_lflag & flag;
}

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

static void put(struct ldisc *ld, uint8_t c, uint8_t mark)
{
    if (ld->head - ld->tail >= LDISC_INPUT_SIZE)
        ld->head--; /* see ldisc_can_receive() */
    ld->input[AT(ld->head)] = c;
    ld->marks[AT(ld->head)] = mark;
    ld->head++;
}

static void end_line(struct ldisc *ld, uint8_t c, uint8_t mark, struct ldisc_events *ev)
{
    put(ld, c, mark);
    ld->canon = ld->head;
    ev->input = true;
}

static void finish_erasing(struct ldisc *ld)
{
    if (ld->erasing)
        ldisc_echo_plain(ld, '/');
    ld->erasing = false;
}

/* ---- erasing ------------------------------------------------------------------------------ */

static void step_back(struct ldisc *ld)
{
    ldisc_echo_plain(ld, '\b');
    ldisc_echo_plain(ld, ' ');
    ldisc_echo_plain(ld, '\b');
}

/* As many columns as the tab took depend on what stands before it in the line. */
static void erase_tab(struct ldisc *ld)
{
    uint32_t columns = 0, at = ld->head;
    bool after_tab = false;

    while (at != ld->canon && !after_tab) {
        uint8_t c = ld->input[AT(--at)];

        if (c == '\t')
            after_tab = true;
        else if (is_control(c))
            columns += has_local(ld, ECHOCTL) ? 2 : 0;
        else
            columns += !ldisc_is_continuation(ld, c);
    }
    if (!after_tab)
        columns += ld->canon_column;
    for (columns = 8 - (columns & 7); columns > 0; columns--)
        ldisc_echo_plain(ld, '\b');
}

/* The character c, `size` bytes, has just been taken off the line at head. */
static void echo_erased(struct ldisc *ld, uint8_t c, uint32_t size, bool single)
{
    if (has_local(ld, ECHOPRT)) {
        if (!ld->erasing)
            ldisc_echo_plain(ld, '\\');
        ld->erasing = true;
        ldisc_echo(ld, c);
        for (uint32_t i = 1; i < size; i++)
            ldisc_echo_plain(ld, ld->input[AT(ld->head + i)]);
    } else if (single && !has_local(ld, ECHOE)) {
        ldisc_echo(ld, ld->termios.c_cc[VERASE]);
    } else if (c == '\t') {
        erase_tab(ld);
    } else {
        if (is_control(c) && has_local(ld, ECHOCTL))
            step_back(ld);
        if (!is_control(c) || has_local(ld, ECHOCTL))
            step_back(ld);
    }
}

/* True: the line is gone, there is nothing to erase step by step. */
static bool kill_at_once(struct ldisc *ld)
{
    if (has_local(ld, ECHO) && has_local(ld, ECHOK) && has_local(ld, ECHOKE) &&
        has_local(ld, ECHOE))
        return false;
    ld->head = ld->canon;
    if (!has_local(ld, ECHO))
        return true;
    finish_erasing(ld);
    ldisc_echo(ld, ld->termios.c_cc[VKILL]);
    if (has_local(ld, ECHOK))
        ldisc_echo_plain(ld, '\n');
    return true;
}

static void erase(struct ldisc *ld, uint8_t key)
{
    bool word = is(ld, VWERASE, key) && !is(ld, VERASE, key), single = is(ld, VERASE, key);
    bool in_word = false;

    if (ld->head == ld->canon || (!word && !single && kill_at_once(ld)))
        return;
    while (ld->head != ld->canon) {
        uint32_t at = ld->head, size;
        uint8_t c;

        do {
            c = ld->input[AT(--at)];
        } while (ldisc_is_continuation(ld, c) && at != ld->canon);
        if (ldisc_is_continuation(ld, c))
            break; /* no beginning: not a character */
        if (word && (isalnum(c) || c == '_'))
            in_word = true;
        else if (word && in_word)
            break;
        size = ld->head - at;
        ld->head = at;
        if (has_local(ld, ECHO))
            echo_erased(ld, c, size, single);
        if (single)
            break;
    }
    if (ld->head == ld->canon && has_local(ld, ECHO))
        finish_erasing(ld);
}

/* ---- characters with a meaning ------------------------------------------------------------ */

static void echo_typed(struct ldisc *ld, uint8_t c)
{
    if (!has_local(ld, ECHO))
        return;
    finish_erasing(ld);
    if (c == '\n') {
        ldisc_echo_plain(ld, c);
        return;
    }
    if (ld->canon == ld->head)
        ld->canon_column = ld->column;
    ldisc_echo(ld, c);
}

static bool flow_control(struct ldisc *ld, uint8_t c, struct ldisc_events *ev)
{
    if (!(ld->termios.c_iflag & IXON))
        return false;
    if (is(ld, VSTART, c))
        ldisc_start(ld, false, ev);
    else if (is(ld, VSTOP, c))
        ldisc_stop(ld, false, ev);
    else
        return false;
    return true;
}

static bool raise_signal(struct ldisc *ld, uint8_t c, struct ldisc_events *ev)
{
    int signo = is(ld, VINTR, c)   ? SIGINT
                : is(ld, VQUIT, c) ? SIGQUIT
                : is(ld, VSUSP, c) ? SIGTSTP
                                   : 0;

    if (!has_local(ld, ISIG) || !signo)
        return false;
    ev->signals |= 1U << signo;
    if (!has_local(ld, NOFLSH)) {
        ldisc_flush_input(ld);
        ldisc_flush_output(ld, KEPT_OUTPUT);
        ev->packet |= TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE;
        ev->room = true;
    }
    if (ld->termios.c_iflag & IXON)
        ldisc_start(ld, false, ev);
    if (has_local(ld, ECHO))
        ldisc_echo(ld, c);
    return true;
}

static void reprint(struct ldisc *ld, uint8_t c)
{
    finish_erasing(ld);
    ldisc_echo(ld, c);
    ldisc_echo_plain(ld, '\n');
    for (uint32_t at = ld->canon; at != ld->head; at++)
        ldisc_echo(ld, ld->input[AT(at)]);
}

/* True: c was for the line's editor. */
static bool edit_line(struct ldisc *ld, uint8_t c, struct ldisc_events *ev)
{
    bool extended = has_local(ld, IEXTEN), echo = has_local(ld, ECHO);

    if (is(ld, VERASE, c) || is(ld, VKILL, c) || (is(ld, VWERASE, c) && extended)) {
        erase(ld, c);
    } else if (is(ld, VLNEXT, c) && extended) {
        ld->literal = true;
        if (echo) {
            finish_erasing(ld);
            if (has_local(ld, ECHOCTL)) {
                ldisc_echo_plain(ld, '^');
                ldisc_echo_plain(ld, '\b');
            }
        }
    } else if (is(ld, VREPRINT, c) && echo && extended) {
        reprint(ld, c);
    } else if (c == '\n') {
        if (echo || has_local(ld, ECHONL)) {
            finish_erasing(ld);
            ldisc_echo_plain(ld, '\n');
        }
        end_line(ld, c, MARK_LINE, ev);
    } else if (is(ld, VEOF, c)) {
        end_line(ld, 0, MARK_END, ev);
    } else if (is(ld, VEOL, c) || (is(ld, VEOL2, c) && extended)) {
        echo_typed(ld, c);
        end_line(ld, c, MARK_LINE, ev);
    } else {
        return false;
    }
    return true;
}

static void receive_ordinary(struct ldisc *ld, uint8_t c, struct ldisc_events *ev)
{
    echo_typed(ld, c);
    if ((ld->termios.c_iflag & PARMRK) && c == 0xff)
        put(ld, c, MARK_NONE);
    put(ld, c, MARK_NONE);
    ev->input |= !ldisc_is_canonical(ld);
}

static bool restarts_output(const struct ldisc *ld, uint8_t c)
{
    return ld->stopped && (ld->termios.c_iflag & IXON) && (ld->termios.c_iflag & IXANY) &&
           !is(ld, VSTART, c) && !is(ld, VSTOP, c) && !is(ld, VINTR, c) && !is(ld, VQUIT, c) &&
           !is(ld, VSUSP, c);
}

void ldisc_receive(struct ldisc *ld, uint8_t c, struct ldisc_events *ev)
{
    uint32_t flags = ld->termios.c_iflag, before = ldisc_output_bytes(ld);

    if (flags & ISTRIP)
        c &= 0x7f;
    if ((flags & IUCLC) && has_local(ld, IEXTEN) && c < 0x80)
        c = (uint8_t)tolower(c);
    if (restarts_output(ld, c))
        ldisc_start(ld, false, ev);
    if (has_local(ld, EXTPROC)) {
        put(ld, c, MARK_NONE);
        ev->input = true;
    } else if (ld->literal) {
        ld->literal = false;
        receive_ordinary(ld, c, ev);
    } else if (!flow_control(ld, c, ev) && !raise_signal(ld, c, ev)) {
        if (c == '\r' && (flags & IGNCR))
            return;
        if (c == '\r' && (flags & ICRNL))
            c = '\n';
        else if (c == '\n' && (flags & INLCR))
            c = '\r';
        if (!has_local(ld, ICANON) || !edit_line(ld, c, ev))
            receive_ordinary(ld, c, ev);
    }
    ev->output |= ldisc_output_bytes(ld) != before;
}
