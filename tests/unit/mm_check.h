/*
 * Helpers of the memory manager's tests: a sandbox without a guest, and a check that tree, page
 * map, platform and reference counts agree.
 */
#ifndef TESTS_UNIT_MM_CHECK_H
#define TESTS_UNIT_MM_CHECK_H

#include "platform/fake/fake.h"
#include "sentry/mm/mm.h"

struct sandbox {
    struct memfile *memfile;
    struct platform *platform;
    struct mm_env env;
    struct mm *mm;
};

void sandbox_init(struct sandbox *s, uint64_t memfile_limit);
/* Gives the mm back and demands that no page is left. */
void sandbox_fini(struct sandbox *s);
/* Calls of as_map() and as_unmap() so far. */
size_t map_calls(struct mm *mm);
size_t unmap_calls(struct mm *mm);
/* Ends the test when an invariant of internal.h does not hold. */
void mm_check(struct mm *mm);

/* mmap without ceremony; the address or -errno. */
int64_t map_at(struct mm *mm, uaddr_t addr, uint64_t size, int prot, int flags);
int64_t map_anon(struct mm *mm, uint64_t size, int prot);
/* The guest's access of one byte: faults until it works. 0, or the negative signal's si_code. */
int touch(struct mm *mm, uaddr_t addr, enum access access);
/* The guest writes or reads a byte through what the platform has mapped. */
int poke(struct mm *mm, uaddr_t addr, uint8_t value);
int peek(struct mm *mm, uaddr_t addr);

#endif
