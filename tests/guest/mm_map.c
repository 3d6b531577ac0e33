/*
 * mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2): the effects on memory, and the
 * errors in the order in which Linux finds them.
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "catch.h"

#define PAGE 4096UL
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static void store(void *address)
{
    *(volatile char *)address = 1;
}

static void load(void *address)
{
    (void)*(volatile char *)address;
}

/* The si_code of an access, 0 when it is allowed. */
static int access_code(void (*function)(void *), const void *address)
{
    struct caught c = catch_signal(function, (void *)(uintptr_t)address);

    if (c.signo != 0)
        CHECK_EQ(c.addr, (uintptr_t)address);
    return c.code;
}

static char *map(size_t pages, int protection)
{
    char *p = mmap(NULL, pages * PAGE, protection, ANON, -1, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

static void test_place(void)
{
    char *p = map(8, RW), *q;

    CHECK_EQ((uintptr_t)p % PAGE, 0);
    for (size_t i = 0; i < 8 * PAGE; i++) {
        if (p[i] != 0) {
            CHECK(p[i] == 0);
            break;
        }
    }
    memset(p, 'a', 8 * PAGE);
    /* MAP_FIXED replaces what is there, and no more. */
    q = mmap(p + 2 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    CHECK(q == p + 2 * PAGE);
    CHECK(p[2 * PAGE - 1] == 'a' && p[2 * PAGE] == 0 && p[4 * PAGE - 1] == 0 && p[4 * PAGE] == 'a');
    CHECK_ERRNO(mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK_EQ(munmap(p + PAGE, 2 * PAGE), 0);
    q = mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(q == p + PAGE);
    CHECK_EQ(access_code(load, p + 2 * PAGE), SEGV_MAPERR);
    /* A free hint is taken, a taken one is not. */
    q = mmap(p + 2 * PAGE, PAGE, RW, ANON, -1, 0);
    CHECK(q == p + 2 * PAGE);
    q = mmap(p + 2 * PAGE, PAGE, RW, ANON, -1, 0);
    CHECK(q != MAP_FAILED && q != p + 2 * PAGE);
    CHECK_EQ(munmap(q, PAGE), 0);
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
    CHECK_EQ(munmap(p, 8 * PAGE), 0); /* nothing there is no error */

    q = mmap(NULL, PAGE, RW, ANON | MAP_32BIT, -1, 0);
    CHECK(q != MAP_FAILED && (uintptr_t)q < 0x80000000);
    munmap(q, PAGE);
    q = mmap(NULL, 4 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
    CHECK(q != MAP_FAILED && q[3 * PAGE] == 0);
    munmap(q, 4 * PAGE);
    q = mmap(NULL, 4 * PAGE, RW, ANON | MAP_STACK | MAP_NORESERVE, -1, 0);
    CHECK(q != MAP_FAILED);
    munmap(q, 4 * PAGE);
    /* 1 TiB that nobody touches. */
    q = mmap(NULL, 1UL << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    CHECK(q != MAP_FAILED);
    CHECK_EQ(access_code(load, q + (1UL << 39)), SEGV_ACCERR);
    CHECK_EQ(munmap(q, 1UL << 40), 0);
}

static void test_map_errors(void)
{
    CHECK_ERRNO(mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
    CHECK_ERRNO(mmap((void *)1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_EQ(RAW(SYS_mmap, 0, PAGE, RW, MAP_PRIVATE, -1, 1), -EINVAL); /* before the descriptor */
    CHECK_EQ(RAW(SYS_mmap, 0, PAGE, RW, MAP_PRIVATE, -1, 0), -EBADF);
    CHECK_EQ(RAW(SYS_mmap, 0, PAGE, RW, MAP_PRIVATE, 77, 0), -EBADF);
    CHECK_EQ(RAW(SYS_mmap, 0, 1UL << 47, RW, ANON, -1, 0), -ENOMEM);
    CHECK_EQ(RAW(SYS_mmap, 0, -1L, RW, ANON, -1, 0), -ENOMEM);
    CHECK_EQ(RAW(SYS_mmap, 0x7ffffffff000, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0), -ENOMEM);
    CHECK_EQ(RAW(SYS_munmap, 1, PAGE), -EINVAL);
    CHECK_EQ(RAW(SYS_munmap, PAGE, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_munmap, 0, 1UL << 60), -EINVAL);
    CHECK_EQ(RAW(SYS_mprotect, 1, PAGE, RW), -EINVAL);
    CHECK_EQ(RAW(SYS_mprotect, 0x10000, 0, RW), 0);
    CHECK_EQ(RAW(SYS_mprotect, 0x10000, PAGE, RW), -ENOMEM);
    CHECK_EQ(RAW(SYS_madvise, 1, PAGE, MADV_DONTNEED), -EINVAL);
    CHECK_EQ(RAW(SYS_madvise, 0x10000, PAGE, MADV_DONTNEED), -ENOMEM);
    CHECK_EQ(RAW(SYS_madvise, 0x10000, PAGE, 999), -EINVAL);
}

static void test_split(void)
{
    char *p = map(16, RW);

    memset(p, 'b', 16 * PAGE);
    CHECK_EQ(mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
    CHECK_EQ(mprotect(p + 6 * PAGE, PAGE, PROT_NONE), 0);
    for (size_t i = 0; i < 16; i++) {
        int read_code = i == 6 ? SEGV_ACCERR : 0, write_code = i >= 4 && i < 8 ? SEGV_ACCERR : 0;
        CHECK_EQ(access_code(load, p + i * PAGE + 100), read_code);
        CHECK_EQ(access_code(store, p + i * PAGE + 100), write_code);
    }
    CHECK_EQ(munmap(p + 7 * PAGE, 4 * PAGE), 0);
    CHECK_EQ(access_code(load, p + 7 * PAGE), SEGV_MAPERR);
    CHECK_EQ(access_code(load, p + 11 * PAGE), 0);
    /* Up to the hole mprotect() works, then it says so. */
    CHECK_ERRNO(mprotect(p, 16 * PAGE, PROT_READ), ENOMEM);
    CHECK_EQ(access_code(store, p), SEGV_ACCERR);
    CHECK_EQ(access_code(store, p + 12 * PAGE), 0);
    CHECK_EQ(p[6 * PAGE], 'b');
    CHECK_EQ(mprotect(p, 7 * PAGE, RW), 0);
    CHECK_EQ(access_code(store, p + 6 * PAGE), 0);
    CHECK_EQ(munmap(p, 16 * PAGE), 0);

    /* Rights taken away from pages that were used are gone at once, many times over. */
    p = map(4, RW);
    for (int i = 0; i < 100; i++) {
        p[0] = p[PAGE] = (char)i;
        CHECK_EQ(mprotect(p, 4 * PAGE, PROT_READ), 0);
        CHECK_EQ(access_code(store, p + (i & 1) * (int)PAGE), SEGV_ACCERR);
        CHECK_EQ(p[PAGE], (char)i);
        CHECK_EQ(mprotect(p, 4 * PAGE, RW), 0);
    }
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
}

/* A page that is unmapped and mapped again is a new one, whatever a TLB remembers. */
static void test_reuse(void)
{
    char *p = map(64, RW);

    for (int i = 0; i < 100; i++) {
        memset(p, 'c' + i % 8, 64 * PAGE);
        CHECK_EQ(munmap(p, 64 * PAGE), 0);
        CHECK_EQ(access_code(load, p + (i % 64) * (int)PAGE), SEGV_MAPERR);
        CHECK(mmap(p, 64 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
        for (size_t j = 0; j < 64; j++) {
            if (p[j * PAGE] != 0 || p[j * PAGE + PAGE - 1] != 0) {
                CHECK(p[j * PAGE] == 0);
                return;
            }
        }
    }
    CHECK_EQ(munmap(p, 64 * PAGE), 0);
}

static void test_madvise(void)
{
    char *p = map(8, RW);

    memset(p, 'd', 8 * PAGE);
    CHECK_EQ(madvise(p + 2 * PAGE, 3 * PAGE, MADV_DONTNEED), 0);
    CHECK(p[2 * PAGE - 1] == 'd' && p[5 * PAGE] == 'd');
    for (size_t i = 2 * PAGE; i < 5 * PAGE; i++) {
        if (p[i] != 0) {
            CHECK(p[i] == 0);
            break;
        }
    }
    p[3 * PAGE] = 'e';
    CHECK_EQ(madvise(p, 8 * PAGE, MADV_DONTNEED), 0);
    CHECK(p[0] == 0 && p[3 * PAGE] == 0 && p[8 * PAGE - 1] == 0);
    CHECK_EQ(madvise(p, 8 * PAGE, MADV_NORMAL), 0);
    CHECK_EQ(madvise(p, 8 * PAGE, MADV_WILLNEED), 0);
    CHECK_EQ(madvise(p, 8 * PAGE, MADV_RANDOM), 0);
    CHECK_EQ(madvise(p, 8 * PAGE, MADV_FREE), 0);
    munmap(p, 8 * PAGE);
}

static void test_mremap(void)
{
    char *p = map(8, RW), *q;

    memset(p, 'f', 8 * PAGE);
    p[0] = '0';
    p[3 * PAGE] = '3';
    CHECK_EQ(munmap(p + 4 * PAGE, 4 * PAGE), 0);
    q = mremap(p, 4 * PAGE, 2 * PAGE, 0); /* shrinks in place */
    CHECK(q == p);
    CHECK_EQ(access_code(load, p + 2 * PAGE), SEGV_MAPERR);
    q = mremap(p, 2 * PAGE, 4 * PAGE, 0); /* grows where there is room */
    CHECK(q == p && p[0] == '0' && p[3 * PAGE] == 0);
    p[3 * PAGE] = '3';
    q = mmap(p + 4 * PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
    CHECK(q == p + 4 * PAGE);
    CHECK_ERRNO(mremap(p, 4 * PAGE, 8 * PAGE, 0), ENOMEM);
    q = mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q != p);
    CHECK(q[0] == '0' && q[3 * PAGE] == '3' && q[8 * PAGE - 1] == 0);
    CHECK_EQ(access_code(load, p), SEGV_MAPERR);

    char *target = map(8, RW);
    memset(target, 't', 8 * PAGE);
    p = mremap(q, 8 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    CHECK(p == target && p[0] == '0' && p[PAGE] == 'f' && p[2 * PAGE] == 't');
    CHECK_EQ(access_code(load, q), SEGV_MAPERR);
    CHECK_ERRNO(mremap(p + 1, PAGE, PAGE, 0), EINVAL);
    CHECK_ERRNO(mremap(p, PAGE, 0, 0), EINVAL);
    CHECK_ERRNO(mremap(p, PAGE, PAGE, 8), EINVAL);
    CHECK_ERRNO(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_FIXED, target), EINVAL);
    CHECK_ERRNO(mremap(p, 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE), EINVAL);
    CHECK_ERRNO(mremap((void *)0x10000, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
    munmap(target, 8 * PAGE);
}

static void test_brk(void)
{
    uintptr_t start = (uintptr_t)RAW(SYS_brk, 0);

    CHECK_EQ(RAW(SYS_brk, start + 10 * PAGE), start + 10 * PAGE);
    memset((void *)start, 'g', 10 * PAGE);
    CHECK_EQ(RAW(SYS_brk, start + 5 * PAGE), start + 5 * PAGE);
    uintptr_t beyond = (start + 5 * PAGE + PAGE - 1) & ~(PAGE - 1);
    CHECK_EQ(access_code(load, (void *)beyond), SEGV_MAPERR);
    CHECK_EQ(RAW(SYS_brk, start + 10 * PAGE), start + 10 * PAGE);
    CHECK_EQ(*(char *)(beyond + PAGE), 0);
    CHECK_EQ(RAW(SYS_brk, 8), start + 10 * PAGE); /* refused: the old one is the answer */
    CHECK_EQ(RAW(SYS_brk, start), start);
    CHECK_EQ(RAW(SYS_brk, 0), start);
}

static void test_shared(void)
{
    char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    memset(p, 's', 4 * PAGE);
    CHECK_EQ(madvise(p, 4 * PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(p[2 * PAGE], 's'); /* shared memory keeps its contents */
    CHECK_EQ(munmap(p, 4 * PAGE), 0);
}

int main(void)
{
    catch_setup();
    test_place();
    test_map_errors();
    test_split();
    test_reuse();
    test_madvise();
    test_mremap();
    test_brk();
    test_shared();
    return check_done();
}
