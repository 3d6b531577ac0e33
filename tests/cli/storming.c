/*
 * Does everything to the bytes of one file that was there before, at random, and knows after each
 * step what must be in it: reading, writing, appending, cutting, holes, and the same through
 * mappings that were made at different times.
 *
 *     storming FILE SEED STEPS
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/guest/check.h"

#define SIZE_MAX_BYTES (8 << 20)
#define MAPS           4

static unsigned char model[SIZE_MAX_BYTES];
static size_t size;

struct map {
    unsigned char *at;
    size_t offset, length;
    bool writable;
};
static struct map maps[MAPS];
static int fds[3]; /* read-only, opened before anything changed; read and write; append */
static uint64_t seed;

static size_t dice(size_t sides)
{
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return sides ? (size_t)(seed >> 33) % sides : 0;
}

/* Mostly small, and often at the edge of a page. */
static size_t some_size(void)
{
    static const size_t sizes[] = {1, 7, 512, 4096, 5000, 65536, 70000, 300000};

    return 1 + dice(sizes[dice(ARRAY_COUNT(sizes))]);
}

static size_t some_place(size_t limit)
{
    size_t at = dice(limit + 1);

    return dice(3) == 0 ? at & ~4095UL : at;
}

static bool same(const unsigned char *got, size_t at, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        if (got[i] != model[at + i]) {
            note("%s: byte %zu of %zu is %u, not %u", what, at + i, size, got[i], model[at + i]);
            return CHECK(!"the bytes are the model's");
        }
    }
    return true;
}

static bool step_read(void)
{
    static unsigned char buf[300001];
    size_t at = some_place(size), count = some_size();
    ssize_t n = pread(fds[dice(2)], buf, count, (off_t)at);
    ssize_t want = at >= size ? 0 : (ssize_t)(count < size - at ? count : size - at);

    return CHECK(n == want) && same(buf, at, (size_t)n, "read");
}

static void fill(unsigned char *buf, size_t count)
{
    unsigned char c = (unsigned char)dice(256);

    for (size_t i = 0; i < count; i++)
        buf[i] = (unsigned char)(c + i * 13);
}

static bool step_write(void)
{
    static unsigned char buf[300001];
    bool append = dice(8) == 0;
    size_t at = append ? size : some_place(size + 10000), count = some_size();

    if (at + count > SIZE_MAX_BYTES)
        return true;
    fill(buf, count);
    if (append)
        CHECK(write(fds[2], buf, count) == (ssize_t)count);
    else
        CHECK(pwrite(fds[1], buf, count, (off_t)at) == (ssize_t)count);
    memcpy(model + at, buf, count);
    size = at + count > size ? at + count : size;
    return true;
}

static bool step_cut(void)
{
    size_t to = dice(4) ? size + dice(20000) : some_place(size);

    /* Not much shorter, or soon nothing is left of what was there. */
    if (to < size && size - to > size / 4)
        to = size - dice(5000);
    if (to > SIZE_MAX_BYTES)
        return true;
    CHECK(ftruncate(fds[1], (off_t)to) == 0);
    if (to < size)
        memset(model + to, 0, size - to);
    size = to;
    return true;
}

static bool step_hole(void)
{
    size_t at = some_place(size), count = some_size();

    if (fallocate(fds[1], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)count) ==
            0 &&
        at < size)
        memset(model + at, 0, count < size - at ? count : size - at);
    return true;
}

static bool step_map(struct map *m)
{
    if (m->at)
        munmap(m->at, m->length);
    m->writable = dice(2);
    m->offset = some_place(size) & ~4095UL;
    m->length = (some_size() + 4095) & ~4095UL;
    m->at = mmap(NULL, m->length, PROT_READ | (m->writable ? PROT_WRITE : 0), MAP_SHARED,
                 fds[m->writable ? 1 : 0], (off_t)m->offset);
    if (m->at == MAP_FAILED)
        m->at = NULL;
    return CHECK(m->at != NULL);
}

static bool step_through_map(struct map *m)
{
    size_t at, count;

    if (!m->at || m->offset >= size)
        return true;
    at = dice(m->length < size - m->offset ? m->length : size - m->offset);
    count = some_size();
    if (count > m->length - at)
        count = m->length - at;
    if (count > size - m->offset - at)
        count = size - m->offset - at;
    if (m->writable && dice(2)) {
        fill(m->at + at, count);
        memcpy(model + m->offset + at, m->at + at, count);
        if (dice(8) == 0)
            CHECK(msync(m->at, m->length, MS_SYNC) == 0);
        return true;
    }
    return same(m->at + at, m->offset + at, count, "map");
}

static bool step(void)
{
    switch (dice(16)) {
    case 0:
        return step_cut();
    case 1:
        return step_hole();
    case 2:
        return step_map(&maps[dice(MAPS)]);
    case 3:
        return CHECK(fsync(fds[1]) == 0);
    case 4:
    case 5:
    case 6:
    case 7:
        return step_write();
    case 8:
    case 9:
    case 10:
        return step_read();
    default:
        return step_through_map(&maps[dice(MAPS)]);
    }
}

int main(int argc, char **argv)
{
    struct stat st;
    long steps = argc > 3 ? atol(argv[3]) : 1000;

    seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    fds[0] = open(argv[1], O_RDONLY);
    fds[1] = open(argv[1], O_RDWR);
    fds[2] = open(argv[1], O_WRONLY | O_APPEND);
    if (!CHECK(fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0 && fstat(fds[0], &st) == 0))
        return check_done();
    size = (size_t)st.st_size;
    CHECK(pread(fds[0], model, size, 0) == (ssize_t)size);
    for (long i = 0; i < steps; i++) {
        if (!step()) {
            note("step %ld", i);
            break;
        }
        CHECK(fstat(fds[0], &st) == 0 && st.st_size == (off_t)size);
    }
    for (size_t at = 0; at < size; at += 65536) {
        static unsigned char buf[65536];
        ssize_t n = pread(fds[0], buf, sizeof(buf), (off_t)at);

        if (!CHECK(n > 0) || !same(buf, at, (size_t)n, "the end"))
            break;
    }
    return check_done();
}
