/*
 * What a stub's host mm has mapped, as far as it was told: a sorted array of runs, no two of which
 * overlap. After record_retire() they are of the previous owner, until record_confirm() finds one
 * just as the new owner wants it.
 *
 * When there was no room it knows less than there is: then `complete` is false, and only unmapping
 * everything makes it true again. record_is_full() is asked in time to get rid of the retired ones.
 */
#ifndef PLATFORM_PTRACE_RECORD_H
#define PLATFORM_PTRACE_RECORD_H

#include "platform/memfile.h"

#define RECORD_MAX 192

struct record_run {
    uaddr_t addr;
    struct memfile_range range;
    uint8_t prot; /* PROT_* bits */
    bool retired;
};

struct record {
    struct record_run *runs; /* NULL while there are none */
    unsigned int count, room;
    unsigned int retired_count;
    bool complete;
};

void record_init(struct record *r);
void record_free(struct record *r);
/* Everything was unmapped. */
void record_clear(struct record *r);
/* A run was mapped, replacing what was there; unmapped. */
void record_map(struct record *r, uaddr_t addr, int prot, struct memfile_range range);
void record_unmap(struct record *r, uaddr_t addr, uint64_t size);
/* Is anything of the range mapped, or might it be? */
bool record_overlaps(const struct record *r, uaddr_t addr, uint64_t size);
/* All that is mapped. */
uint64_t record_bytes(const struct record *r);
void record_retire(struct record *r);
bool record_is_full(const struct record *r);
/* True when exactly this run is there and was retired; it is no more. */
bool record_confirm(struct record *r, uaddr_t addr, int prot, struct memfile_range range);
/* The next retired run from index *at on; *at is the one behind it then. NULL: none. */
struct record_run *record_next_retired(struct record *r, unsigned int *at);
/* Makes a retired run the new owner's. */
void record_keep(struct record *r, struct record_run *run);
/*
 * Something that covers retired runs and no other, to be unmapped: its bounds, as far as the
 * neighbours that stay. False: there are none.
 */
bool record_stale(const struct record *r, uaddr_t *ret_start, uaddr_t *ret_end);

#endif
