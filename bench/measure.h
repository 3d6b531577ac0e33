/*
 * What the measured programs share: batches, medians, the command line.
 *
 *     PROGRAM BUDGET-MS [NAME...]
 *     PROGRAM =COUNT NAME...         so many operations at once, whatever they take
 *
 * prints "NAME NANOSECONDS OPERATIONS" for each: the median over batches of what one operation
 * takes. A batch is made as long as BATCH_NS, so that reading the clock does not count.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <time.h>

#define BATCH_NS    2000000UL
#define BATCHES_MAX 101
#define SLOW_NS     1e9 /* one operation of that length is enough */

struct benchmark {
    const char *name;
    /* Does `count` operations and returns how long they took in all. */
    uint64_t (*run)(uint64_t count);
};

static inline uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000UL + (uint64_t)ts.tv_nsec;
}

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static inline void measure(const struct benchmark *b, uint64_t budget_ns)
{
    double per_op[BATCHES_MAX];
    uint64_t count = 1, operations = 1, begin;
    int batches = 0;

    per_op[0] = (double)b->run(1);
    if (per_op[0] > SLOW_NS) {
        printf("%s %.1f 1\n", b->name, per_op[0]);
        return;
    }
    /* Doubling also warms everything up. */
    while (b->run(count) < BATCH_NS && count < 1UL << 30) {
        operations += count;
        count *= 2;
    }
    operations += count;
    begin = now_ns();
    while (batches < BATCHES_MAX && (batches < 3 || now_ns() - begin < budget_ns)) {
        per_op[batches++] = (double)b->run(count) / (double)count;
        operations += count;
    }
    qsort(per_op, (size_t)batches, sizeof(per_op[0]), compare_doubles);
    printf("%s %.1f %lu\n", b->name, per_op[batches / 2], operations);
    fflush(stdout);
}

static inline int measure_main(int argc, char **argv, const struct benchmark *all, size_t count)
{
    bool fixed = argc > 1 && argv[1][0] == '=';
    uint64_t number = argc > 1 ? strtoul(argv[1] + fixed, NULL, 10) : 0;

    for (size_t i = 0; i < count; i++) {
        bool wanted = argc <= 2;

        for (int a = 2; a < argc; a++)
            wanted = wanted || strcmp(argv[a], all[i].name) == 0;
        if (wanted && fixed)
            printf("%s %.1f %lu\n", all[i].name,
                   (double)all[i].run(number) / (double)MAX(number, 1UL), number);
        else if (wanted)
            measure(&all[i], number * 1000000UL);
    }
    return 0;
}

#endif
