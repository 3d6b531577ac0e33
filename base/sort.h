/*
 * Sorting without help from the host: for larger arrays libc's qsort(3) asks it how much memory
 * there is.
 */
#ifndef BASE_SORT_H
#define BASE_SORT_H

#include <stddef.h>
#include <stdint.h>

/* Ascending, in place. */
void sort_u32(uint32_t *numbers, size_t count);

#endif
