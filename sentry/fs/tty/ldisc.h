/*
 * The line discipline N_TTY (termios(3)): what happens to bytes between a pseudo-terminal's two
 * ends. A pure state machine: it knows no files, no tasks and no locks; its owner calls it with a
 * lock of its own, and does afterwards what the events ask for.
 *
 *     master --ldisc_receive()--> input ring --ldisc_read()--> slave
 *                      | echo
 *                      v
 *     master <--ldisc_take()----- output ring <--ldisc_write()-- slave
 *
 * Input positions run freely and are taken modulo the ring's size: tail <= canon <= head. What is
 * before `canon` are complete lines; in raw mode all up to `head` can be read.
 */
#ifndef SENTRY_FS_TTY_LDISC_H
#define SENTRY_FS_TTY_LDISC_H

#include <asm/termbits.h>

#include "base/compiler.h"

#define LDISC_INPUT_SIZE   4096  /* MAX_CANON and more, as Linux */
#define LDISC_OUTPUT_LIMIT 12288 /* what a slave may write before it has to wait */
#define LDISC_OUTPUT_SIZE  16384 /* echo has the rest for itself */
#define LDISC_ECHO_SIZE    4096  /* echo that waits while output is stopped */

/* TIOCPKT_*, for the master: what happened on the slave's side. */
struct ldisc_events {
    uint32_t signals; /* bit n: signal n for the foreground group */
    uint8_t packet;
    bool input;  /* there may be more to read for the slave */
    bool output; /* for the master */
    bool room;   /* the slave may write again */
};

struct ldisc {
    struct termios2 termios;

    uint8_t input[LDISC_INPUT_SIZE];
    uint8_t marks[LDISC_INPUT_SIZE]; /* enum ldisc_mark */
    uint32_t head, canon, tail;
    bool literal; /* VLNEXT came before */
    bool erasing; /* inside the \.../ of ECHOPRT */

    uint8_t output[LDISC_OUTPUT_SIZE];
    uint32_t output_head, output_tail;
    uint8_t echo[LDISC_ECHO_SIZE];
    uint32_t echo_count;
    uint32_t column, canon_column; /* where the cursor is, and was when the line began */
    bool stopped;                  /* by VSTOP */
    bool stopped_by_call;          /* TCOOFF: no character starts it again */
};

enum ldisc_mark {
    MARK_NONE,
    MARK_LINE, /* the last byte of a line */
    MARK_END,  /* VEOF: ends a line, and is none of its bytes */
};

void ldisc_init(struct ldisc *ld);
/* TCSETS; ev gets what changed for the master. */
void ldisc_set_termios(struct ldisc *ld, const struct termios2 *termios, struct ldisc_events *ev);

/* Room for at least one more byte from the master. */
bool ldisc_can_receive(const struct ldisc *ld);
/* ldisc_input.c: one byte from the master. */
void ldisc_receive(struct ldisc *ld, uint8_t c, struct ldisc_events *ev);

/* At least `minimum` bytes (raw mode), or a line or an end of file (canonical mode). */
bool ldisc_readable(const struct ldisc *ld, uint32_t minimum);
/* Takes up to `size` bytes: how many, 0 for an end of file. Only when readable. */
size_t ldisc_read(struct ldisc *ld, uint8_t *buf, size_t size);
/* FIONREAD. */
uint32_t ldisc_readable_bytes(const struct ldisc *ld);
void ldisc_flush_input(struct ldisc *ld);

/* ldisc_output.c: bytes that the slave may write now; each may become up to 8. */
uint32_t ldisc_write_room(const struct ldisc *ld);
void ldisc_write(struct ldisc *ld, const uint8_t *buf, size_t size);
/* What the master can read, in one stretch; then ldisc_taken(). */
size_t ldisc_take(const struct ldisc *ld, const uint8_t **ret_bytes);
void ldisc_taken(struct ldisc *ld, size_t size);
uint32_t ldisc_output_bytes(const struct ldisc *ld);
void ldisc_flush_output(struct ldisc *ld, uint32_t keep);
/* VSTOP and VSTART, TCOOFF and TCOON. */
void ldisc_stop(struct ldisc *ld, bool by_call, struct ldisc_events *ev);
void ldisc_start(struct ldisc *ld, bool by_call, struct ldisc_events *ev);

/* Between the files: one byte of echo, after output processing, or as it is. */
void ldisc_echo(struct ldisc *ld, uint8_t c);
void ldisc_echo_plain(struct ldisc *ld, uint8_t c);

static inline bool ldisc_is_canonical(const struct ldisc *ld)
{
    return (ld->termios.c_lflag & ICANON) && !(ld->termios.c_lflag & EXTPROC);
}

/* A byte inside a character of several, with IUTF8. */
static inline bool ldisc_is_continuation(const struct ldisc *ld, uint8_t c)
{
    return (ld->termios.c_iflag & IUTF8) && (c & 0xc0) == 0x80;
}

#endif
