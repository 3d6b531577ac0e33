/* The line discipline by itself: what was typed, what is read, what is echoed. */
#include <asm/ioctls.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "sentry/fs/tty/ldisc.h"

static struct ldisc ld;
static struct ldisc_events ev;

static void start(void)
{
    ldisc_init(&ld);
    memset(&ev, 0, sizeof(ev));
}

TestSuite(ldisc, .init = start, .timeout = 20);

static void type(const char *text)
{
    for (; *text; text++) {
        cr_assert(ldisc_can_receive(&ld));
        ldisc_receive(&ld, (uint8_t)*text, &ev);
    }
}

static void expect_output(const char *want)
{
    char got[256];
    size_t have = 0;
    const uint8_t *bytes;
    size_t size;

    while ((size = ldisc_take(&ld, &bytes)) > 0) {
        size = MIN(size, sizeof(got) - 1 - have);
        cr_assert(size > 0);
        memcpy(got + have, bytes, size);
        have += size;
        ldisc_taken(&ld, size);
    }
    got[have] = '\0';
    cr_assert_str_eq(got, want);
}

static void expect_read(size_t size, const char *want)
{
    uint8_t got[256];
    size_t n;

    cr_assert(ldisc_readable(&ld, 1));
    n = ldisc_read(&ld, got, size);
    got[n] = '\0';
    cr_assert_str_eq((char *)got, want);
}

static void change(uint32_t input, uint32_t output, uint32_t local)
{
    struct termios2 t = ld.termios;

    t.c_iflag = input;
    t.c_oflag = output;
    t.c_lflag = local;
    ldisc_set_termios(&ld, &t, &ev);
}

Test(ldisc, lines)
{
    type("ab");
    cr_assert_not(ldisc_readable(&ld, 1));
    cr_assert_eq(ldisc_readable_bytes(&ld), 0);
    type("c\rd\n");
    expect_output("abc\r\nd\r\n");
    cr_assert_eq(ldisc_readable_bytes(&ld), 6);
    expect_read(2, "ab");
    expect_read(100, "c\n");
    expect_read(100, "d\n");
    cr_assert_not(ldisc_readable(&ld, 1));
}

Test(ldisc, end_of_file)
{
    type("\004");
    cr_assert_eq(ldisc_readable_bytes(&ld), 0);
    expect_read(10, "");
    type("abc\004\004");
    expect_read(2, "ab");
    expect_read(1, "c"); /* the mark goes along */
    expect_read(10, "");
    cr_assert_not(ldisc_readable(&ld, 1));
}

Test(ldisc, erasing)
{
    type("a\tb\177\177c\n");
    expect_output("a\tb\b \b\b\b\b\b\b\b\bc\r\n");
    expect_read(100, "ac\n");
    type("\003");
    cr_assert_eq(ev.signals, 1U << SIGINT);
    expect_output("^C");
    type("foo.bar \027\027x\n");
    expect_read(100, "x\n");
    ldisc_flush_output(&ld, 0);
    ld.column = 0;
    type("ab\025\n");
    expect_output("ab\b \b\b \b\r\n");
    expect_read(100, "\n");
}

Test(ldisc, erasing_characters_of_several_bytes)
{
    change(ICRNL | IUTF8, OPOST | ONLCR, ICANON | ECHO | ECHOE | IEXTEN);
    type("x\303\251\177\n");
    expect_output("x\303\251\b \b\r\n");
    expect_read(100, "x\n");
    /* No beginning: left alone, and nothing runs past the line. */
    type("\251\251\177\177\n");
    expect_read(100, "\251\251\n");
}

Test(ldisc, signals_flush)
{
    type("abc\032");
    cr_assert_eq(ev.signals, 1U << SIGTSTP);
    cr_assert(ev.packet & TIOCPKT_FLUSHREAD);
    type("\n");
    expect_read(100, "\n");
    change(ICRNL, OPOST, ICANON | ISIG | NOFLSH);
    type("abc\034\n");
    cr_assert(ev.signals & 1U << SIGQUIT);
    expect_read(100, "abc\n");
    change(ICRNL, OPOST, ICANON);
    ev.signals = 0;
    type("\003\n");
    cr_assert_eq(ev.signals, 0);
    expect_read(100, "\003\n");
}

Test(ldisc, raw_and_back)
{
    type("abc");
    change(0, 0, 0);
    cr_assert(ldisc_readable(&ld, 3));
    cr_assert_not(ldisc_readable(&ld, 4));
    expect_read(1, "a");
    type("\003\004\r");
    expect_read(3, "bc\003");
    change(ICRNL, OPOST, ICANON);
    cr_assert(ldisc_readable(&ld, 1)); /* what was there counts as a line */
    expect_read(100, "\004\r");
    cr_assert_not(ldisc_readable(&ld, 1));
}

Test(ldisc, long_lines_are_cut)
{
    uint8_t buf[2 * LDISC_INPUT_SIZE];

    change(ICRNL, OPOST, ICANON);
    for (int i = 0; i < 3 * LDISC_INPUT_SIZE; i++) {
        cr_assert(ldisc_can_receive(&ld));
        ldisc_receive(&ld, 'x', &ev);
    }
    type("\n");
    cr_assert_not(ldisc_can_receive(&ld));
    cr_assert_eq(ldisc_read(&ld, buf, sizeof(buf)), LDISC_INPUT_SIZE);
    cr_assert_eq(buf[LDISC_INPUT_SIZE - 1], '\n');
    cr_assert(ldisc_can_receive(&ld));
}

Test(ldisc, raw_input_is_bounded)
{
    int count = 0;

    change(0, 0, 0);
    while (ldisc_can_receive(&ld) && count < 2 * LDISC_INPUT_SIZE) {
        ldisc_receive(&ld, 'x', &ev);
        count++;
    }
    cr_assert_eq(count, LDISC_INPUT_SIZE - 1);
}

Test(ldisc, output)
{
    ldisc_write(&ld, (const uint8_t *)"a\n\tb", 4);
    expect_output("a\r\n\tb");
    change(0, OPOST | XTABS | OCRNL, 0);
    ld.column = 3;
    ldisc_write(&ld, (const uint8_t *)"\tc\r", 3);
    expect_output("     c\n");
    change(0, 0, 0);
    ldisc_write(&ld, (const uint8_t *)"\n\r\t", 3);
    expect_output("\n\r\t");
}

Test(ldisc, output_is_bounded)
{
    static const uint8_t newlines[64] = "\n\n\n\n\n\n\n\n";
    uint32_t room;

    while ((room = ldisc_write_room(&ld)) > 0)
        ldisc_write(&ld, newlines, MIN(room, 8U));
    cr_assert_geq(ldisc_output_bytes(&ld), LDISC_OUTPUT_LIMIT);
    cr_assert_lt(ldisc_output_bytes(&ld), LDISC_OUTPUT_LIMIT + 16);
    /* Echo has a part of its own, and no more. */
    for (int i = 0; i < LDISC_OUTPUT_SIZE; i++)
        type("x\177");
    cr_assert_eq(ldisc_output_bytes(&ld), LDISC_OUTPUT_SIZE);
}

Test(ldisc, flow_control)
{
    type("\023");
    cr_assert_eq(ldisc_write_room(&ld), 0);
    cr_assert(ev.packet & TIOCPKT_STOP);
    type("ab");
    expect_output(""); /* echo waits, too */
    type("\021");
    expect_output("ab");
    cr_assert(ldisc_write_room(&ld) > 0);
    ldisc_stop(&ld, true, &ev);
    type("\021");
    cr_assert_eq(ldisc_write_room(&ld), 0); /* TCOOFF: only TCOON helps */
    ldisc_start(&ld, true, &ev);
    cr_assert(ldisc_write_room(&ld) > 0);
    change(IXON | IXANY, OPOST, ICANON);
    type("\023z");
    cr_assert(ldisc_write_room(&ld) > 0);
}

/* Any bytes under any settings: nothing leaves its bounds. */
Test(ldisc, anything)
{
    uint64_t seed = 42;
    uint8_t buf[512];

    for (int i = 0; i < 200000; i++) {
        const uint8_t *bytes;
        struct termios2 t = ld.termios;

        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        if ((seed >> 33) % 500 == 0) {
            t.c_iflag = (uint32_t)(seed >> 20);
            t.c_oflag = (uint32_t)(seed >> 24);
            t.c_lflag = (uint32_t)(seed >> 28);
            t.c_cc[(seed >> 40) % 19] = (uint8_t)(seed >> 48);
            ldisc_set_termios(&ld, &t, &ev);
        }
        if (ldisc_can_receive(&ld))
            ldisc_receive(&ld, (uint8_t)(seed >> 40), &ev);
        if ((seed >> 50) % 100 == 0 && ldisc_readable(&ld, 1))
            cr_assert_leq(ldisc_read(&ld, buf, sizeof(buf)), sizeof(buf));
        if ((seed >> 45) % 300 == 0)
            ldisc_taken(&ld, ldisc_take(&ld, &bytes));
        cr_assert_leq(ld.head - ld.tail, LDISC_INPUT_SIZE);
        cr_assert_leq(ld.canon - ld.tail, ld.head - ld.tail);
        cr_assert_leq(ldisc_output_bytes(&ld), LDISC_OUTPUT_SIZE);
    }
}
