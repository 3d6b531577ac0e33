/*
 * Programs of struct inet_diag_bc_op: each is a question, with what it needs behind it, and says
 * how many bytes to go on if the answer is yes or no; net/ipv4/inet_diag.c. Jumps lead forward, and
 * the socket is wanted if they end right behind the last one.
 */
#include <errno.h>
#include <linux/inet_diag.h>
#include <string.h>

#include "sentry/net/netlink/internal.h"

#define STEP sizeof(struct inet_diag_bc_op)

static struct inet_diag_bc_op op_at(const uint8_t *at)
{
    struct inet_diag_bc_op op;

    memcpy(&op, at, sizeof(op));
    return op;
}

/* Bytes of an address in a condition; -1: no such family. */
static int address_size(uint8_t family)
{
    return family == AF_UNSPEC ? 0 : family == AF_INET ? 4 : family == AF_INET6 ? 16 : -1;
}

/* Bytes that the question at `at` needs, with `left` there. -EINVAL, -EPERM. */
static int size_of(const uint8_t *at, size_t left, bool may_mark)
{
    struct inet_diag_hostcond cond;
    size_t size = STEP;
    int address;

    switch (at[0]) {
    case INET_DIAG_BC_NOP:
    case INET_DIAG_BC_JMP:
    case INET_DIAG_BC_AUTO:
        break;
    case INET_DIAG_BC_S_COND:
    case INET_DIAG_BC_D_COND:
        size += sizeof(cond);
        if (left < size)
            return -EINVAL;
        memcpy(&cond, at + STEP, sizeof(cond));
        address = address_size(cond.family);
        if (address < 0 || cond.prefix_len > address * 8)
            return -EINVAL;
        size += (size_t)address;
        break;
    case INET_DIAG_BC_S_GE:
    case INET_DIAG_BC_S_LE:
    case INET_DIAG_BC_S_EQ:
    case INET_DIAG_BC_D_GE:
    case INET_DIAG_BC_D_LE:
    case INET_DIAG_BC_D_EQ:
        size += STEP;
        break;
    case INET_DIAG_BC_DEV_COND:
        size += sizeof(uint32_t);
        break;
    case INET_DIAG_BC_MARK_COND:
        if (!may_mark)
            return -EPERM;
        size += sizeof(struct inet_diag_markcond);
        break;
    default:
        return -EINVAL;
    }
    return left < size ? -EINVAL : (int)size;
}

int diag_filter_check(const uint8_t *program, size_t size, bool may_mark)
{
    uint8_t begins[(UINT16_MAX + 1) / STEP / 8 + 1] = {0}; /* a bit for where each one begins */
    size_t at = 0;

    if (size > UINT16_MAX)
        return -EINVAL;
    while (at < size) {
        size_t left = size - at;
        struct inet_diag_bc_op op;
        int needs = left < STEP ? -EINVAL : size_of(program + at, left, may_mark);

        if (needs < 0)
            return needs;
        op = op_at(program + at);
        if (op.yes < needs || op.yes > left || op.yes & 3)
            return -EINVAL;
        begins[at / STEP / 8] |= (uint8_t)(1 << at / STEP % 8);
        at += op.yes;
    }
    begins[at / STEP / 8] |= (uint8_t)(1 << at / STEP % 8);
    for (at = 0; at < size; at += op_at(program + at).yes) {
        struct inet_diag_bc_op op = op_at(program + at);
        size_t to = at + op.no;

        if (op.code == INET_DIAG_BC_NOP)
            continue;
        /* One step beyond the end says no. */
        if (op.no < STEP || op.no & 3 || to > size + STEP ||
            (to < size && !(begins[to / STEP / 8] >> to / STEP % 8 & 1)))
            return -EINVAL;
    }
    return 0;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;

    if (memcmp(a, b, bytes) != 0)
        return false;
    return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

static bool host_fits(const uint8_t *at, const struct inet_report *r, bool source)
{
    const struct in6_addr *addr = source ? &r->local : &r->remote;
    uint16_t port = source ? r->local_port : r->remote_port;
    const uint8_t *bits = at + sizeof(struct inet_diag_hostcond);
    struct inet_diag_hostcond cond;

    memcpy(&cond, at, sizeof(cond));
    if (cond.port != -1 && cond.port != port)
        return false;
    if (cond.family == AF_INET)
        return IN6_IS_ADDR_V4MAPPED(addr) && same_bits(addr->s6_addr + 12, bits, cond.prefix_len);
    if (cond.family == AF_INET6)
        return r->family == AF_INET6 && same_bits(addr->s6_addr, bits, cond.prefix_len);
    return true;
}

/* What a question about ports has behind it. */
static uint16_t port_at(const uint8_t *at)
{
    return op_at(at + STEP).no;
}

static bool answer(const uint8_t *at, const struct inet_report *r)
{
    struct inet_diag_markcond mark;
    uint32_t device;

    switch (at[0]) {
    case INET_DIAG_BC_NOP:
        return true;
    case INET_DIAG_BC_S_EQ:
        return r->local_port == port_at(at);
    case INET_DIAG_BC_S_GE:
        return r->local_port >= port_at(at);
    case INET_DIAG_BC_S_LE:
        return r->local_port <= port_at(at);
    case INET_DIAG_BC_D_EQ:
        return r->remote_port == port_at(at);
    case INET_DIAG_BC_D_GE:
        return r->remote_port >= port_at(at);
    case INET_DIAG_BC_D_LE:
        return r->remote_port <= port_at(at);
    case INET_DIAG_BC_AUTO:
        return !r->bound_port;
    case INET_DIAG_BC_S_COND:
    case INET_DIAG_BC_D_COND:
        return host_fits(at + STEP, r, at[0] == INET_DIAG_BC_S_COND);
    case INET_DIAG_BC_DEV_COND:
        memcpy(&device, at + STEP, sizeof(device));
        return device == 0; /* none is bound to a device */
    case INET_DIAG_BC_MARK_COND:
        memcpy(&mark, at + STEP, sizeof(mark));
        return ((uint32_t)r->mark & mark.mask) == mark.mark;
    default:
        return false;
    }
}

bool diag_filter_run(const uint8_t *program, size_t size, const struct inet_report *report)
{
    size_t at = 0;

    while (at < size) {
        struct inet_diag_bc_op op = op_at(program + at);

        at += answer(program + at, report) ? op.yes : op.no;
    }
    return at == size;
}
