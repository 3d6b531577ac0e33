#include "sentry/fs/tty/ldisc.h"

#include <asm/ioctls.h>
#include <string.h>

#define AT(position)  ((position) % LDISC_INPUT_SIZE)
#define CTRL(c)       ((c)&0x1f)
#define DEFAULT_SPEED 38400
#define FLOW_CHANGES  (TIOCPKT_NOSTOP | TIOCPKT_DOSTOP)

void ldisc_init(struct ldisc *ld)
{
    memset(ld, 0, sizeof(*ld));
    ld->termios = (struct termios2){
        .c_iflag = ICRNL | IXON,
        .c_oflag = OPOST | ONLCR,
        .c_cflag = B38400 | CS8 | CREAD,
        .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        .c_cc = {[VINTR] = CTRL('C'),
                 [VQUIT] = CTRL('\\'),
                 [VERASE] = 0x7f,
                 [VKILL] = CTRL('U'),
                 [VEOF] = CTRL('D'),
                 [VMIN] = 1,
                 [VSTART] = CTRL('Q'),
                 [VSTOP] = CTRL('S'),
                 [VSUSP] = CTRL('Z'),
                 [VREPRINT] = CTRL('R'),
                 [VDISCARD] = CTRL('O'),
                 [VWERASE] = CTRL('W'),
                 [VLNEXT] = CTRL('V')},
        .c_ispeed = DEFAULT_SPEED,
        .c_ospeed = DEFAULT_SPEED,
    };
}

/* The master may do flow control itself as long as it is ^S and ^Q. */
static bool usual_flow(const struct termios2 *t)
{
    return (t->c_iflag & IXON) && t->c_cc[VSTOP] == CTRL('S') && t->c_cc[VSTART] == CTRL('Q');
}

/* Complete lines are what canonical mode knows; what was typed before becomes one. */
static void change_mode(struct ldisc *ld)
{
    memset(ld->marks, MARK_NONE, sizeof(ld->marks));
    ld->canon = ld->tail;
    if ((ld->termios.c_lflag & ICANON) && ld->head != ld->tail) {
        ld->marks[AT(ld->head - 1)] = MARK_LINE;
        ld->canon = ld->head;
    }
    ld->erasing = ld->literal = false;
}

void ldisc_set_termios(struct ldisc *ld, const struct termios2 *termios, struct ldisc_events *ev)
{
    struct termios2 old = ld->termios;

    ld->termios = *termios;
    /* There is no wire. */
    ld->termios.c_cflag &= ~(uint32_t)(CSIZE | PARENB);
    ld->termios.c_cflag |= CS8 | CREAD;
    if ((old.c_lflag ^ termios->c_lflag) & (ICANON | EXTPROC))
        change_mode(ld);
    if (usual_flow(&old) != usual_flow(termios) || ((old.c_lflag | termios->c_lflag) & EXTPROC))
        ev->packet |= usual_flow(termios) ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP;
    if ((old.c_lflag | termios->c_lflag) & EXTPROC)
        ev->packet |= TIOCPKT_IOCTL;
    if (!(termios->c_iflag & IXON) && (old.c_iflag & IXON) && !ld->stopped_by_call)
        ldisc_start(ld, false, ev);
    ev->input = true; /* other rules now say what can be read */
}

bool ldisc_can_receive(const struct ldisc *ld)
{
    /* A line that is too long is cut: its last byte is replaced until it ends, put() says how. */
    return ld->head - ld->tail < LDISC_INPUT_SIZE - 1 ||
           ((ld->termios.c_lflag & ICANON) && ld->canon == ld->tail);
}

bool ldisc_readable(const struct ldisc *ld, uint32_t minimum)
{
    if (ldisc_is_canonical(ld))
        return ld->canon != ld->tail;
    return ld->head - ld->tail >= minimum;
}

static size_t read_line(struct ldisc *ld, uint8_t *buf, size_t size)
{
    size_t done = 0;

    while (ld->tail != ld->canon) {
        uint8_t mark = ld->marks[AT(ld->tail)];

        /* An end of file just behind what was asked for goes with it. */
        if (mark == MARK_END) {
            ld->tail++;
            break;
        }
        if (done == size)
            break;
        buf[done++] = ld->input[AT(ld->tail)];
        ld->tail++;
        if (mark == MARK_LINE)
            break;
    }
    return done;
}

size_t ldisc_read(struct ldisc *ld, uint8_t *buf, size_t size)
{
    size_t count = MIN(size, (size_t)(ld->head - ld->tail));

    if (ldisc_is_canonical(ld))
        return read_line(ld, buf, size);
    for (size_t i = 0; i < count; i++)
        buf[i] = ld->input[AT(ld->tail + i)];
    ld->tail += (uint32_t)count;
    ld->canon = ld->tail;
    return count;
}

uint32_t ldisc_readable_bytes(const struct ldisc *ld)
{
    uint32_t count = 0;

    if (!ldisc_is_canonical(ld))
        return ld->head - ld->tail;
    for (uint32_t at = ld->tail; at != ld->canon; at++)
        count += ld->marks[AT(at)] != MARK_END;
    return count;
}

void ldisc_flush_input(struct ldisc *ld)
{
    ld->head = ld->canon = ld->tail;
    ld->erasing = ld->literal = false;
}
