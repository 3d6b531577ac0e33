#include "platform/ptrace/record.h"

#include <stdlib.h>
#include <string.h>

static uaddr_t run_end(const struct record_run *run)
{
    return run->addr + run->range.size;
}

void record_init(struct record *r)
{
    *r = (struct record){.complete = true};
}

void record_free(struct record *r)
{
    free(r->runs);
    record_init(r);
}

void record_clear(struct record *r)
{
    r->count = r->retired_count = 0;
    r->complete = true;
}

/* The first run that ends above `addr`. */
static unsigned int first_above(const struct record *r, uaddr_t addr)
{
    unsigned int low = 0, high = r->count;

    while (low < high) {
        unsigned int middle = (low + high) / 2;

        if (run_end(&r->runs[middle]) <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void take_out(struct record *r, unsigned int at)
{
    r->retired_count -= r->runs[at].retired;
    memmove(&r->runs[at], &r->runs[at + 1], (--r->count - at) * sizeof(*r->runs));
}

static bool make_room(struct record *r)
{
    unsigned int room = r->room ? 2 * r->room : 16;
    struct record_run *runs;

    if (r->count < r->room)
        return true;
    if (room > 2 * RECORD_MAX || r->count >= RECORD_MAX)
        return false;
    runs = realloc(r->runs, room * sizeof(*runs));
    if (!runs)
        return false;
    r->runs = runs;
    r->room = room;
    return true;
}

static void put_in(struct record *r, unsigned int at, const struct record_run *run)
{
    if (!make_room(r)) {
        r->complete = false;
        return;
    }
    memmove(&r->runs[at + 1], &r->runs[at], (r->count++ - at) * sizeof(*r->runs));
    r->runs[at] = *run;
    r->retired_count += run->retired;
}

void record_unmap(struct record *r, uaddr_t addr, uint64_t size)
{
    uaddr_t end = addr + size;
    unsigned int at = first_above(r, addr);

    if (at < r->count && r->runs[at].addr < addr) { /* its head stays, perhaps its tail */
        struct record_run tail = r->runs[at];
        uint64_t head_size = addr - tail.addr;

        r->runs[at].range.size = head_size;
        tail.addr += head_size;
        tail.range.start += head_size;
        tail.range.size -= head_size;
        put_in(r, ++at, &tail);
    }
    while (at < r->count && r->runs[at].addr < end) {
        struct record_run *run = &r->runs[at];
        uint64_t cut = end - run->addr;

        if (run->range.size <= cut) {
            take_out(r, at);
            continue;
        }
        run->addr += cut;
        run->range.start += cut;
        run->range.size -= cut;
        break;
    }
}

void record_map(struct record *r, uaddr_t addr, int prot, struct memfile_range range)
{
    struct record_run run = {.addr = addr, .range = range, .prot = (uint8_t)prot};

    record_unmap(r, addr, range.size);
    put_in(r, first_above(r, addr), &run);
}

bool record_overlaps(const struct record *r, uaddr_t addr, uint64_t size)
{
    unsigned int at = first_above(r, addr);

    return !r->complete || (at < r->count && r->runs[at].addr < addr + size);
}

uint64_t record_bytes(const struct record *r)
{
    uint64_t bytes = 0;

    for (unsigned int i = 0; i < r->count; i++)
        bytes += r->runs[i].range.size;
    return bytes;
}

void record_retire(struct record *r)
{
    for (unsigned int i = 0; i < r->count; i++)
        r->runs[i].retired = true;
    r->retired_count = r->count;
}

bool record_is_full(const struct record *r)
{
    return r->count + 2 >= RECORD_MAX; /* a run, and another in two */
}

void record_keep(struct record *r, struct record_run *run)
{
    run->retired = false;
    r->retired_count--;
}

bool record_confirm(struct record *r, uaddr_t addr, int prot, struct memfile_range range)
{
    struct record_run *run;
    unsigned int at;

    if (r->retired_count == 0)
        return false;
    at = first_above(r, addr);
    run = &r->runs[at];
    if (at == r->count || !run->retired || run->addr != addr || run->prot != prot ||
        run->range.start != range.start || run->range.size != range.size)
        return false;
    record_keep(r, run);
    return true;
}

struct record_run *record_next_retired(struct record *r, unsigned int *at)
{
    while (*at < r->count) {
        struct record_run *run = &r->runs[(*at)++];

        if (run->retired)
            return run;
    }
    return NULL;
}

bool record_stale(const struct record *r, uaddr_t *ret_start, uaddr_t *ret_end)
{
    unsigned int first = 0, last;

    if (r->retired_count == 0)
        return false;
    while (!r->runs[first].retired)
        first++;
    for (last = first; last + 1 < r->count && r->runs[last + 1].retired;)
        last++;
    *ret_start = r->runs[first].addr;
    *ret_end = run_end(&r->runs[last]);
    return true;
}
