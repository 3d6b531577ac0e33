/* Fragments put together (sentry/net/inet/lwip/reassembly.c): in any order, whatever hosts send. */
#include <criterion/criterion.h>

#include <string.h>

#include "sentry/net/inet/lwip/stack.h"

#define UNIT 1000 /* bytes of each piece but the last; a multiple of eight */

static uint8_t whole[STACK_PACKET_MAX];

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 256);
}

/* Hands over the bytes [at, at + size) of packet `id`; what stack_reassemble() says. */
static size_t give(bool v4, unsigned id, size_t at, size_t size, bool more)
{
    static uint8_t packet[STACK_PACKET_MAX + 100];
    size_t header = v4 ? 20 : 48;

    memset(packet, 0, header);
    if (v4) {
        packet[0] = 0x45;
        put16(packet + 2, (unsigned)(header + size));
        put16(packet + 4, id);
        put16(packet + 6, (unsigned)(at / 8) | (more ? 0x2000 : 0));
        packet[9] = 17;
    } else {
        packet[0] = 0x60;
        put16(packet + 4, (unsigned)(8 + size));
        packet[6] = 44;
        packet[40] = 17;
        put16(packet + 42, (unsigned)at | more);
        put16(packet + 46, id);
    }
    for (size_t i = 0; i < size; i++)
        packet[header + i] = byte_at(at + i);
    cr_assert(stack_is_fragment(packet, header + size));
    return stack_reassemble(packet, header + size, whole);
}

static void expect_whole(bool v4, size_t got, size_t size)
{
    size_t header = v4 ? 20 : 40;

    cr_assert_eq(got, header + size, "%zu bytes, not %zu", got, header + size);
    cr_expect_eq(v4 ? whole[9] : whole[6], 17);
    cr_expect_not(stack_is_fragment(whole, got));
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(whole[header + i], byte_at(i), "byte %zu", i);
}

Test(reassembly, in_any_order)
{
    static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};

    for (unsigned v4 = 0; v4 < 2; v4++)
        for (unsigned o = 0; o < ARRAY_COUNT(orders); o++)
            for (int i = 0; i < 4; i++) {
                int n = orders[o][i];
                size_t got = give(v4, o, (size_t)n * UNIT, n == 3 ? 333 : UNIT, n != 3);

                if (i == 3)
                    expect_whole(v4, got, 3 * UNIT + 333);
                else
                    cr_assert_eq(got, 0);
            }
}

Test(reassembly, the_longest)
{
    size_t at = 0, got = 0;

    for (; at + UNIT < 65515; at += UNIT)
        cr_assert_eq(give(true, 1, at, UNIT, true), 0);
    got = give(true, 1, at, 65515 - at, false);
    expect_whole(true, got, 65515);
}

Test(reassembly, what_comes_twice_is_taken_once)
{
    cr_assert_eq(give(true, 1, 0, UNIT, true), 0);
    cr_assert_eq(give(true, 1, 0, UNIT, true), 0);
    expect_whole(true, give(true, 1, UNIT, 100, false), UNIT + 100);
}

Test(reassembly, overlaps_end_the_packet)
{
    cr_assert_eq(give(false, 1, 0, UNIT, true), 0);
    cr_assert_eq(give(false, 1, UNIT - 8, UNIT, true), 0);
    cr_assert_eq(give(false, 1, 2 * UNIT - 8, 100, false), 0);
}

Test(reassembly, two_ends_or_bytes_behind_it)
{
    cr_assert_eq(give(true, 1, UNIT, 100, false), 0);
    cr_assert_eq(give(true, 1, 2 * UNIT, 100, false), 0);
    cr_assert_eq(give(true, 1, 0, UNIT, true), 0); /* begins anew */
    expect_whole(true, give(true, 1, UNIT, 100, false), UNIT + 100);
    cr_assert_eq(give(true, 2, UNIT, 100, false), 0);
    cr_assert_eq(give(true, 2, UNIT + 104, 800, true), 0);
    cr_assert_eq(give(true, 2, 0, UNIT, true), 0);
}

Test(reassembly, beyond_what_ip_has)
{
    cr_assert_eq(give(true, 1, 65528, 100, false), 0);
    cr_assert_eq(give(true, 1, 0, 0, true), 0);
    cr_assert_eq(give(true, 1, 0, 7, true), 0);
    cr_assert_eq(give(true, 1, 0, UNIT, true), 0);
    expect_whole(true, give(true, 1, UNIT, 1, false), UNIT + 1);
}

Test(reassembly, the_oldest_makes_room)
{
    for (unsigned id = 0; id < 1000; id++)
        cr_assert_eq(give(true, id, 0, UNIT, true), 0);
    cr_assert_eq(give(true, 0, UNIT, 8, false), 0);
    expect_whole(true, give(true, 999, UNIT, 8, false), UNIT + 8);
}
