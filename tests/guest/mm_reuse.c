/*
 * Memory that changes hands. What was behind a mapping that is gone belongs to others soon; the old
 * address shows nothing of it, neither to a program that maps something new there (and touches it
 * before any page is behind it), nor to one that reads where nothing is mapped.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.h"

#define PAGE  4096UL
#define HUGE  (2UL << 20)
#define RW    (PROT_READ | PROT_WRITE)
#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED (ANON | MAP_FIXED_NOREPLACE)

/* `size` bytes at a multiple of 2 MiB, which may be served by large pages. */
static char *map_aligned(size_t size)
{
    char *whole = mmap(NULL, size + HUGE, RW, ANON, -1, 0);
    char *aligned = (char *)(((uintptr_t)whole + HUGE - 1) & ~(HUGE - 1));

    CHECK(whole != MAP_FAILED);
    if (aligned > whole)
        munmap(whole, (size_t)(aligned - whole));
    munmap(aligned + size, (size_t)(whole + HUGE - aligned));
    madvise(aligned, size, MADV_HUGEPAGE); /* EINVAL where Linux was built without */
    return aligned;
}

static long pages_unlike(const char *area, size_t size, char value)
{
    long count = 0;

    for (size_t i = 0; i < size; i += PAGE)
        count += *(volatile const char *)(area + i) != value;
    return count;
}

static void test_new_mapping_at_the_old_place(size_t size)
{
    char *old = map_aligned(size), *other = map_aligned(size);

    memset(old, 'A', size);
    munmap(old, size);
    memset(other, 'B', size);
    CHECK_EQ((long)mmap(old, size, RW, FIXED, -1, 0), (long)old);
    CHECK_EQ(pages_unlike(old, size, 0), 0);
    memset(old, 'C', size);
    CHECK_EQ(pages_unlike(other, size, 'B'), 0);
    munmap(other, size);
    munmap(old, size);
}

/* MADV_DONTNEED and mremap() leave places behind, too. */
static void test_emptied_and_moved(size_t size)
{
    char *old = map_aligned(size), *other = map_aligned(size), *moved;

    memset(old, 'A', size);
    CHECK_EQ(madvise(old, size, MADV_DONTNEED), 0);
    memset(other, 'B', size);
    CHECK_EQ(pages_unlike(old, size, 0), 0);
    memset(old, 'C', size);
    munmap(other, size);
    other = map_aligned(size);
    moved = mremap(old, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, other);
    CHECK(moved == other);
    CHECK_EQ((long)mmap(old, size, RW, FIXED, -1, 0), (long)old);
    CHECK_EQ(pages_unlike(old, size, 0), 0);
    memset(old, 'D', size);
    CHECK_EQ(pages_unlike(moved, size, 'C'), 0);
    munmap(moved, size);
    munmap(old, size);
}

static void load(void *address)
{
    (void)*(volatile char *)address;
}

/* The child's memory takes the place of the parent's; the parent goes on looking for its own. */
static void test_another_process(size_t size)
{
    char *old = map_aligned(size), byte = 0;
    int ready[2], done[2], status = 0;
    long seen = 0;
    pid_t child;

    memset(old, 'A', size);
    CHECK_EQ(pipe(ready), 0);
    CHECK_EQ(pipe(done), 0);
    child = fork();
    if (child == 0) {
        char *mine;

        close(done[1]);
        munmap(old, size);
        CHECK_EQ(read(done[0], &byte, 1), 1);
        mine = map_aligned(size);
        memset(mine, 'B', size);
        CHECK_EQ(write(ready[1], &byte, 1), 1);
        CHECK_EQ(read(done[0], &byte, 1), 0);
        _exit(pages_unlike(mine, size, 'B') ? 1 : 0);
    }
    munmap(old, size);
    CHECK_EQ(write(done[1], &byte, 1), 1);
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    for (size_t i = 0; i < size; i += PAGE)
        seen += catch_signal(load, old + i).signo != SIGSEGV;
    CHECK_EQ(seen, 0);
    CHECK_EQ((long)mmap(old, size, RW, FIXED, -1, 0), (long)old);
    CHECK_EQ(pages_unlike(old, size, 0), 0);
    memset(old, 'C', size);
    close(done[1]);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    munmap(old, size);
}

int main(void)
{
    catch_setup();
    for (int round = 0; round < 3; round++) {
        test_new_mapping_at_the_old_place(HUGE);
        test_new_mapping_at_the_old_place(3 * HUGE);
        test_emptied_and_moved(2 * HUGE);
        test_another_process(HUGE);
    }
    return check_done();
}
