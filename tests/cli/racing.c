/*
 * Does different things to one file, that was there before, in several threads at once, each to
 * bytes of its own, which have to be what that thread made them: stores through a shared mapping,
 * write(2), holes and cuts beside them, msync(2), and memory taken back.
 *
 *     racing FILE STEPS
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/guest/check.h"

#define PAGE  4096
#define PAGES 8
#define AREA  (PAGES * PAGE) /* the first bytes of the file; behind them it is cut */

static int fd;
static unsigned char *area;
static long steps;
static atomic_bool ending;

/* Each of the pages, by whoever it is: first 64 bytes stored, 64 written, a hole, 64 stored. */
enum { STORED = 0, WRITTEN = 1024, HOLE = 2048, STORED_TOO = 3840, PART = 64 };

static void *store(void *arg)
{
    size_t at = (size_t)arg;
    long lost = 0;

    for (long i = 1; i < steps && !lost; i++) {
        volatile unsigned char *place = area + (size_t)i % PAGES * PAGE + at;
        unsigned char value = (unsigned char)(i / PAGES);

        lost += i >= 2 * PAGES && *place != (unsigned char)(value - 1);
        for (size_t k = 0; k < PART; k++)
            place[k] = value;
        lost += *place != value;
        if (lost)
            note("stored at %zu, step %ld: %u, not %u", at, i, *place, value);
    }
    CHECK_EQ(lost, 0);
    return NULL;
}

static void *write_through(void *arg)
{
    unsigned char bytes[PART], back[PART];
    long lost = 0;

    for (long i = 1; i < steps && !lost; i++) {
        off_t at = i % PAGES * PAGE + WRITTEN;

        memset(bytes, (int)(i & 255), sizeof(bytes));
        CHECK_EQ(pwrite(fd, bytes, sizeof(bytes), at), sizeof(bytes));
        CHECK_EQ(pread(fd, back, sizeof(back), at), sizeof(back));
        lost += memcmp(bytes, back, sizeof(bytes)) != 0 || area[at] != bytes[0];
        if (lost)
            note("written at %ld: %u and %u, not %u", (long)at, back[0], area[at], bytes[0]);
    }
    CHECK_EQ(lost, 0);
    return NULL;
}

static void *make_holes(void *arg)
{
    long wrong = 0;

    for (long i = 1; i < steps && !wrong; i++) {
        off_t at = i % PAGES * PAGE + HOLE;
        unsigned char byte = 7;

        area[at] = 1;
        if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 1024) < 0)
            break;
        wrong += pread(fd, &byte, 1, at) != 1 || byte != 0 || area[at] != 0;
        if (wrong)
            note("hole at %ld: %u, %u", (long)at, byte, area[at]);
    }
    CHECK_EQ(wrong, 0);
    return NULL;
}

/* Behind the area: the end comes and goes, and nobody else brings it back. */
static void *cut(void *arg)
{
    unsigned char *last = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, AREA);
    struct stat st;
    long wrong = 0;

    for (long i = 1; i < steps && !wrong; i++) {
        off_t large = AREA + 2 * PAGE + i % 3000, small = AREA + i % 5000;

        CHECK_EQ(ftruncate(fd, large), 0);
        last[2 * PAGE] = last[PAGE] = 1;
        CHECK_EQ(ftruncate(fd, small), 0);
        wrong += fstat(fd, &st) != 0 || st.st_size != small;
        CHECK_EQ(ftruncate(fd, large), 0);
        wrong += last[2 * PAGE] != 0;
        if (wrong)
            note("cut to %ld: %ld", (long)small, (long)st.st_size);
    }
    CHECK_EQ(wrong, 0);
    munmap(last, 4 * PAGE);
    return NULL;
}

static void *sync_all(void *arg)
{
    while (!atomic_load(&ending))
        CHECK_EQ(msync(area, AREA, MS_SYNC), 0);
    return NULL;
}

/* What is not in use comes again when it is: where that may be asked for. */
static void *take_back(void *arg)
{
    int caches = open("/proc/sys/vm/drop_caches", O_WRONLY);

    while (!atomic_load(&ending)) {
        if (write(caches, "1", 1) != 1)
            break;
    }
    close(caches);
    return NULL;
}

int main(int argc, char **argv)
{
    void *(*const work[])(void *) = {store, store, write_through, make_holes, cut};
    void *const args[] = {(void *)STORED, (void *)STORED_TOO, NULL, NULL, NULL};
    pthread_t worker[ARRAY_COUNT(work)], syncer, taker;

    steps = argc > 2 ? atol(argv[2]) : 1000;
    fd = open(argv[1], O_RDWR);
    if (!CHECK(fd >= 0) || !CHECK_EQ(ftruncate(fd, AREA), 0))
        return check_done();
    area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!CHECK(area != MAP_FAILED))
        return check_done();
    for (size_t i = 0; i < ARRAY_COUNT(work); i++)
        CHECK_EQ(pthread_create(&worker[i], NULL, work[i], args[i]), 0);
    CHECK_EQ(pthread_create(&syncer, NULL, sync_all, NULL), 0);
    CHECK_EQ(pthread_create(&taker, NULL, take_back, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(work); i++)
        CHECK_EQ(pthread_join(worker[i], NULL), 0);
    atomic_store(&ending, true);
    CHECK_EQ(pthread_join(syncer, NULL) + pthread_join(taker, NULL), 0);
    return check_done();
}
