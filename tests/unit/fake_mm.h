/*
 * A small address space and file for tests and fuzzers of the loader: the functions of
 * sentry/mm and sentry/vfs that it calls, with the same contracts, over a list of areas and a table
 * of host pages. Linked instead of the real libraries.
 *
 * It aborts where the loader breaks a contract that the real mm would only answer with an errno:
 * unaligned places, ranges that wrap.
 */
#ifndef TESTS_UNIT_FAKE_MM_H
#define TESTS_UNIT_FAKE_MM_H

#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

struct fake_area {
    uaddr_t start, end;
    int prot, flags;
    struct mappable *object;
    uint64_t offset;
    const char *name;
};

struct fake_file {
    struct file file;
    struct mappable object;
    const uint8_t *bytes; /* borrowed */
    uint64_t size;
    uint32_t mode;     /* st_mode */
    bool mappable;     /* its mmap operation works */
    bool mmap_refused; /* was asked although it does not */
};

struct mm *fake_mm_create(uaddr_t user_min, uaddr_t user_max);
void fake_mm_destroy(struct mm *mm);
/* Areas in address order. */
uint32_t fake_mm_areas(struct mm *mm, const struct fake_area **ret_areas);
const struct fake_area *fake_mm_area_at(struct mm *mm, uaddr_t addr);
/* Reads what a program would; false where it would fault. */
bool fake_mm_read(struct mm *mm, uaddr_t addr, void *buf, size_t size);
uaddr_t fake_mm_mmap_base(struct mm *mm);

/* One reference, the caller's; the memory is the caller's and must outlive all of them. */
void fake_file_init(struct fake_file *f, const void *bytes, uint64_t size, uint32_t mode,
                    bool mappable);

#endif
