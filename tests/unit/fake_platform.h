/*
 * A platform without a CPU for the memory manager's tests: it records what is mapped where, page by
 * page, and checks each call against the rules of platform.h.
 */
#ifndef TESTS_UNIT_FAKE_PLATFORM_H
#define TESTS_UNIT_FAKE_PLATFORM_H

#include "platform/platform.h"

#define FAKE_USER_MIN 0x10000UL
#define FAKE_USER_MAX 0x7ffffffff000UL

struct fake_as {
    struct address_space base;
    struct memfile *memfile;
    struct fake_page {
        uaddr_t addr;
        uint64_t offset;
        int prot;
    } * pages; /* sorted by address */
    size_t count, capacity;
    uint64_t map_calls, unmap_calls;
    int fail_maps; /* so many as_map calls fail with -ENOMEM */
};

struct fake_platform {
    struct platform base;
    struct memfile *memfile;
    uint32_t spaces; /* that exist now */
};

void fake_platform_init(struct fake_platform *fp, struct memfile *mf);
/* What is mapped at the page of addr, or NULL. */
const struct fake_page *fake_find(struct fake_as *as, uaddr_t addr);

#endif
