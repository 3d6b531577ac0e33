/*
 * A page cache that mappings change, and a source that others change meanwhile: each order of
 * events that could lose bytes or bring them back, forced.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "sentry/mm/mappable.h"
#include "tests/unit/mm_check.h"

#define FILE_MAX (8 * PAGE_SIZE)

/* Like a file: written to behind its end it becomes longer. */
static struct {
    uint8_t bytes[FILE_MAX];
    uint64_t size;
    struct lock lock;
    bool busy;     /* a call is between its write and telling the cache; atomic */
    bool collided; /* and the cache wrote meanwhile; atomic */
} file;

static struct sandbox box;
static struct mappable *object;

static ssize_t read_file(void *arg, uint64_t offset, void *buf, size_t size)
{
    uint64_t n = offset < file.size ? MIN(size, file.size - offset) : 0;

    memcpy(buf, file.bytes + offset, n);
    return (ssize_t)n;
}

static ssize_t write_file(void *arg, uint64_t offset, const void *buf, size_t size)
{
    if (__atomic_load_n(&file.busy, __ATOMIC_ACQUIRE))
        __atomic_store_n(&file.collided, true, __ATOMIC_RELEASE);
    memcpy(file.bytes + offset, buf, size);
    file.size = MAX(file.size, offset + size);
    return (ssize_t)size;
}

static uint64_t size_of_file(void *arg)
{
    return file.size;
}

static struct lock *lock_of_file(void *arg)
{
    return &file.lock;
}

static const struct pagecache_source source = {
    .read = read_file, .size_now = size_of_file, .write = write_file, .write_lock = lock_of_file};

static void setup(void)
{
    sandbox_init(&box, 64UL << 20);
    memset(&file, 0, sizeof(file));
    lock_init(&file.lock);
    file.size = FILE_MAX;
    cr_assert_eq(pagecache_create(box.memfile, &source, NULL, &object), 0);
}

static void teardown(void)
{
    sandbox_fini(&box);
}

TestSuite(pagecache, .init = setup, .fini = teardown, .timeout = 60);

/* As a mapping that may store there; give it back by forget_page(). */
static uint8_t *map_page(uint64_t offset, struct memfile_range *ret)
{
    cr_assert_eq(object->ops->get_pages(object, offset, PAGE_SIZE, true, ret), 0);
    cr_assert_eq(ret->size, PAGE_SIZE);
    return memfile_ptr(box.memfile, ret->start);
}

static void forget_page(struct memfile_range range)
{
    memfile_unref(box.memfile, range);
}

static void *flush_it(void *arg)
{
    cr_expect_eq(pagecache_flush(object, 0, FILE_MAX), 0);
    return NULL;
}

/* write(2) of one byte, with somebody who writes the page back at the same time. */
Test(pagecache, what_a_call_wrote_stays)
{
    struct memfile_range range;
    uint8_t *page = map_page(0, &range);
    pthread_t flusher;

    page[0] = 1;
    lock_acquire(&file.lock);
    __atomic_store_n(&file.busy, true, __ATOMIC_RELEASE);
    file.bytes[100] = 9;
    cr_assert_eq(pthread_create(&flusher, NULL, flush_it, NULL), 0);
    for (int i = 0; i < 1000; i++)
        sched_yield();
    pagecache_reread(object, 100, 1);
    __atomic_store_n(&file.busy, false, __ATOMIC_RELEASE);
    lock_release(&file.lock);
    cr_assert_eq(pthread_join(flusher, NULL), 0);
    cr_assert(!file.collided);
    cr_assert_eq(page[100], 9);
    cr_assert_eq(file.bytes[100], 9);
    cr_assert_eq(file.bytes[0], 1);
    forget_page(range);
    mappable_unref(object);
}

/* A mapping gets a page just when memory is taken back, and goes on storing to it. */
Test(pagecache, what_is_mapped_meanwhile_stays)
{
    struct memfile_range range, unused;
    uint8_t *page = map_page(0, &range), *other = map_page(PAGE_SIZE, &unused);

    page[0] = 5;
    other[0] = 7;
    forget_page(unused);
    pagecache_reclaim();
    cr_assert_eq(pagecache_bytes(object), PAGE_SIZE, "the one that nobody uses has gone");
    cr_assert_eq(file.bytes[PAGE_SIZE], 7);
    page[1] = 6;
    forget_page(range);
    cr_assert_eq(pagecache_flush(object, 0, FILE_MAX), 0);
    cr_assert_eq(file.bytes[0], 5);
    cr_assert_eq(file.bytes[1], 6);
    pagecache_reclaim();
    cr_assert_eq(pagecache_bytes(object), 0);
    mappable_unref(object);
}

/* What was stored behind the new end neither comes back with the page nor makes the file longer. */
Test(pagecache, an_end_that_was_cut_stays)
{
    struct memfile_range first, second;
    uint8_t *page = map_page(0, &first), *behind = map_page(PAGE_SIZE, &second);

    memset(page, 1, PAGE_SIZE);
    memset(behind, 1, PAGE_SIZE);
    lock_acquire(&file.lock);
    file.size = 50;
    pagecache_cut_held(object, FILE_MAX, 50);
    lock_release(&file.lock);
    behind[0] = 2;
    cr_assert_eq(page[49], 1);
    cr_assert_eq(page[50], 0);
    cr_assert_eq(pagecache_flush(object, 0, FILE_MAX), 0);
    cr_assert_eq(file.size, 50);
    /* A mapping stores behind the end, which then moves on: those bytes are not the file's. */
    page[60] = 3;
    lock_acquire(&file.lock);
    file.size = 200;
    pagecache_cut_held(object, 50, 200);
    lock_release(&file.lock);
    cr_assert_eq(page[60], 0);
    cr_assert_eq(page[49], 1);
    forget_page(first);
    forget_page(second);
    mappable_unref(object);
    cr_assert_eq(file.size, 200);
    cr_assert_eq(file.bytes[49], 1);
    cr_assert_eq(file.bytes[60], 0);
}

/* Of a hole the pages at its edges stay, and what else is in them. */
Test(pagecache, a_hole_takes_nothing_else)
{
    struct memfile_range range[4];
    uint8_t *page[4];

    for (int i = 0; i < 4; i++) {
        page[i] = map_page((uint64_t)i * PAGE_SIZE, &range[i]);
        memset(page[i], 1, PAGE_SIZE);
    }
    lock_acquire(&file.lock);
    memset(file.bytes + 100, 0, 2 * PAGE_SIZE);
    pagecache_zero_held(object, 100, 2 * PAGE_SIZE);
    lock_release(&file.lock);
    page[1][0] = 2; /* before the mapping forgets it: as if before the hole */
    page[0][0] = page[2][200] = 3;
    for (int i = 0; i < 4; i++)
        forget_page(range[i]);
    mappable_unref(object);
    cr_assert_eq(file.bytes[0], 3);
    cr_assert_eq(file.bytes[99], 1);
    cr_assert_eq(file.bytes[100], 0);
    cr_assert_eq(file.bytes[PAGE_SIZE], 0);
    cr_assert_eq(file.bytes[2 * PAGE_SIZE + 99], 0);
    cr_assert_eq(file.bytes[2 * PAGE_SIZE + 100], 1);
    cr_assert_eq(file.bytes[2 * PAGE_SIZE + 200], 3);
    cr_assert_eq(file.bytes[3 * PAGE_SIZE], 1);
}
