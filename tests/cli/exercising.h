/*
 * What the parts of the file exerciser (exercising.c) share. Each part is one process that works in
 * a folder of its own, keeps in its memory what that folder must hold, and compares.
 */
#ifndef TESTS_CLI_EXERCISING_H
#define TESTS_CLI_EXERCISING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exercise {
    uint64_t random;     /* the state of its numbers, never 0 */
    uint64_t seed;       /* what it began with */
    uint64_t operations; /* done so far */
    uint64_t limit;      /* no more than so many */
    int64_t deadline;    /* CLOCK_MONOTONIC, seconds */
    bool goes_on;        /* the folder and the state are of an earlier run */
    int state;           /* a file: read if it goes on, and written in the end */
};

/* Reads or writes a part of the model, which is not to be moved. */
void load_state(struct exercise *x, void *part, size_t size);
void save_state(struct exercise *x, const void *part, size_t size);

/* A number below `below`, which is not 0. */
uint32_t pick(struct exercise *x, uint32_t below);

/* So many bytes that depend on the stamp alone. */
void fill(uint8_t *bytes, size_t size, uint64_t stamp);

/* Counts an operation; false when it is time to end. */
bool go_on(struct exercise *x);

/* Says what is not as it should be, with the seed and the number of the operation, and exits
 * with 1. */
__attribute__((noreturn, format(printf, 2, 3))) void wrong(struct exercise *x, const char *format,
                                                           ...);

/* Bytes of files in the current folder: every way to write, read, map, cut and copy them. */
void exercise_bytes(struct exercise *x);

/* Names in the current folder: a tree of files, folders, links and FIFOs that is moved about. */
void exercise_names(struct exercise *x);

#endif
