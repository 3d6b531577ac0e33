#include "sentry/fs/pipe/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/uio.h"

int ring_init(struct pipe_ring *r, uint32_t count)
{
    *r = (struct pipe_ring){.count = count};
    r->pages = malloc(count * PAGE_SIZE);
    r->slots = calloc(count, sizeof(*r->slots));
    if (r->pages && r->slots)
        return 0;
    ring_fini(r);
    return -ENOMEM;
}

void ring_fini(struct pipe_ring *r)
{
    free(r->pages);
    free(r->slots);
    *r = (struct pipe_ring){0};
}

/* The i-th slot from the tail on. */
static uint32_t index_of(const struct pipe_ring *r, uint32_t i)
{
    return (r->tail + i) % r->count;
}

static char *page_of(struct pipe_ring *r, uint32_t index)
{
    return r->pages + index * PAGE_SIZE;
}

uint64_t ring_bytes(const struct pipe_ring *r)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < r->used; i++)
        bytes += r->slots[index_of(r, i)].size;
    return bytes;
}

struct pipe_slot *ring_first(struct pipe_ring *r, char **ret_bytes)
{
    struct pipe_slot *slot = &r->slots[r->tail];

    *ret_bytes = page_of(r, r->tail) + slot->offset;
    return slot;
}

void ring_consume(struct pipe_ring *r, uint32_t n)
{
    struct pipe_slot *slot = &r->slots[r->tail];

    slot->offset += n;
    slot->size -= n;
    if (slot->size == 0) {
        r->tail = (r->tail + 1) % r->count;
        r->used--;
    }
}

char *ring_free_page(struct pipe_ring *r)
{
    return page_of(r, index_of(r, r->used));
}

void ring_push(struct pipe_ring *r, struct pipe_slot slot)
{
    r->slots[index_of(r, r->used)] = slot;
    r->used++;
}

void ring_transfer(struct pipe_ring *r, struct pipe_ring *to)
{
    while (!ring_empty(r)) {
        struct pipe_slot slot = r->slots[r->tail];

        memcpy(ring_free_page(to) + slot.offset, page_of(r, r->tail) + slot.offset, slot.size);
        ring_push(to, slot);
        ring_consume(r, slot.size);
    }
}

/* A write's odd bytes go to what the last one left of its page, if they fit there whole. */
static ssize_t write_open_slot(struct pipe_ring *r, struct uio *uio)
{
    size_t odd = uio->left % PAGE_SIZE;
    struct pipe_slot *last;
    uint32_t index, end;
    ssize_t n;

    if (odd == 0 || ring_empty(r))
        return 0;
    index = index_of(r, r->used - 1);
    last = &r->slots[index];
    end = last->offset + last->size;
    if (!last->open || end + odd > PAGE_SIZE)
        return 0;
    n = uio_copy_in(uio, page_of(r, index) + end, odd);
    if (n != (ssize_t)odd)
        return -EFAULT;
    last->size += (uint32_t)odd;
    return n;
}

ssize_t ring_write(struct pipe_ring *r, struct uio *uio, bool packet)
{
    ssize_t n = write_open_slot(r, uio);
    size_t done;

    if (n < 0)
        return n;
    done = (size_t)n;
    while (!ring_full(r) && uio->left > 0) {
        size_t size = MIN(uio->left, PAGE_SIZE);

        if (uio_copy_in(uio, ring_free_page(r), size) != (ssize_t)size)
            return done ? (ssize_t)done : -EFAULT;
        ring_push(r, (struct pipe_slot){.size = (uint32_t)size, .packet = packet, .open = !packet});
        done += size;
    }
    return (ssize_t)done;
}

ssize_t ring_read(struct pipe_ring *r, struct uio *uio, bool packets)
{
    size_t done = 0;

    while (!ring_empty(r) && uio->left > 0) {
        char *bytes;
        struct pipe_slot *slot = ring_first(r, &bytes);
        size_t size = MIN(slot->size, uio->left);
        bool packet = packets && slot->packet;

        if (uio_copy_out(uio, bytes, size) != (ssize_t)size)
            return done ? (ssize_t)done : -EFAULT;
        done += size;
        ring_consume(r, packet ? slot->size : (uint32_t)size);
        if (packet)
            break;
    }
    return (ssize_t)done;
}

size_t ring_move(struct pipe_ring *from, struct pipe_ring *to, size_t size, bool keep)
{
    uint32_t skipped = 0;
    size_t done = 0;

    while (skipped < from->used && !ring_full(to) && done < size) {
        uint32_t index = index_of(from, skipped);
        struct pipe_slot slot = from->slots[index];
        bool whole = slot.size <= size - done;

        slot.size = (uint32_t)MIN(slot.size, size - done);
        slot.open = slot.open && whole && !keep;
        memcpy(ring_free_page(to) + slot.offset, page_of(from, index) + slot.offset, slot.size);
        ring_push(to, slot);
        done += slot.size;
        if (keep)
            skipped++;
        else
            ring_consume(from, slot.size);
    }
    return done;
}
