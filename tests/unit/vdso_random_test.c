/* The vDSO's getrandom(), called in this process; and the cipher under it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/vdso_lookup.h"
#include "vdso/chacha.h"

typedef ssize_t (*random_fn)(void *, size_t, unsigned, void *, size_t);

struct params {
    uint32_t state_size, prot, flags, reserved[13];
};

static struct timepage *page;
static random_fn vdso_random;
static uint8_t *state; /* 8-byte aligned, at the start of a page */
static size_t state_size;

static void setup_random(void)
{
    const struct timepage published = {.monotonic_ns = 1};
    const uint8_t *image = vdso_in_process(&page);
    struct params params;

    timepage_publish(page, &published);
    vdso_random = vdso_symbol(image, "__vdso_getrandom");
    cr_assert_not_null(vdso_random);
    cr_assert_eq(vdso_random(NULL, 0, 0, &params, SIZE_MAX), 0);
    cr_assert_eq(params.flags, 0x08 | MAP_ANONYMOUS);
    cr_assert_eq(params.prot, PROT_READ | PROT_WRITE);
    state_size = params.state_size;
    state = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(state_size >= 100 && state_size <= 512);
}

TestSuite(random, .init = setup_random);

static void draw(void *buf, size_t size)
{
    cr_assert_eq(vdso_random(buf, size, 0, state, state_size), (ssize_t)size);
}

/* RFC 8439, appendix A.1, vectors 1 and 2. */
Test(chacha, blocks_of_the_standard)
{
    static const uint8_t first[] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90,
                                    0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
    static const uint8_t second[] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
                                     0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d};
    uint32_t key[8] = {0}, block[16];

    chacha_block(key, 0, block);
    cr_assert_arr_eq(block, first, sizeof(first));
    chacha_block(key, 1, block);
    cr_assert_arr_eq(block, second, sizeof(second));
}

/* Every size from every position: all is written, nothing beyond, nothing repeats. */
Test(random, sizes)
{
    uint8_t buf[700], last[8] = {0};

    for (size_t size = 1; size <= 600; size++) {
        uint32_t nonzero = 0;

        memset(buf, 0, sizeof(buf));
        draw(buf + 8, size);
        for (size_t i = 0; i < size; i++)
            nonzero += buf[8 + i] != 0;
        cr_assert_geq(nonzero + 12, size, "%zu of %zu bytes are zero", size - nonzero, size);
        for (size_t i = size; i < size + 16; i++)
            cr_assert_eq(buf[8 + i], 0, "wrote beyond the end");
        if (size >= 8) {
            cr_assert_neq(memcmp(buf + 8, last, 8), 0);
            memcpy(last, buf + 8, 8);
        }
    }
}

/* A mean of 4 set bits in a byte, over 1 MiB: 30 standard deviations would be 0.04. */
Test(random, looks_random)
{
    static uint8_t buf[1 << 20];
    uint64_t bits = 0, counts[256] = {0};

    draw(buf, sizeof(buf));
    for (size_t i = 0; i < sizeof(buf); i++) {
        bits += (uint64_t)__builtin_popcount(buf[i]);
        counts[buf[i]]++;
    }
    cr_assert(bits > sizeof(buf) * 396 / 100 && bits < sizeof(buf) * 404 / 100);
    for (int i = 0; i < 256; i++)
        cr_assert(counts[i] > 3500 && counts[i] < 4700, "byte %d: %lu", i, counts[i]);
}

/* What was given out cannot be found in the state afterwards. */
Test(random, forgets)
{
    uint8_t out[32];

    for (int i = 0; i < 50; i++) {
        draw(out, sizeof(out));
        cr_assert_null(memmem(state, state_size, out, 8));
    }
}

/* The same state must not give the same bytes after a wipe (fork) or in a new generation. */
Test(random, seeds_anew)
{
    struct timepage next = *page;
    uint8_t saved[512], one[32], two[32];

    draw(one, 1);
    memcpy(saved, state, state_size);
    draw(one, sizeof(one));
    memcpy(state, saved, state_size);
    draw(two, sizeof(two));
    cr_assert_arr_eq(one, two, sizeof(one), "the state is all there is");
    memset(state, 0, state_size);
    draw(two, sizeof(two));
    cr_assert_neq(memcmp(one, two, sizeof(one)), 0);

    memcpy(state, saved, state_size);
    next.monotonic_ns += 1UL << 36;
    timepage_publish(page, &next);
    draw(two, sizeof(two));
    cr_assert_neq(memcmp(one, two, sizeof(one)), 0);
}

Test(random, by_system_call)
{
    uint8_t before[512], buf[32] = {0};

    /* In use: a signal handler in the middle of a call. The state must stay as it is. */
    draw(buf, 1);
    *(uint32_t *)(state + 8) = 1;
    memcpy(before, state, state_size);
    draw(buf, sizeof(buf));
    cr_assert_arr_eq(state, before, state_size);
    cr_assert_eq(vdso_random(buf, 32, 0, state, state_size - 1), 32);
    cr_assert_eq(vdso_random(buf, 32, 0x80, state, state_size), -EINVAL);
    *(uint32_t *)(state + 8) = 0;
    cr_assert_eq(vdso_random(buf, 32, 0x80, state, state_size), -EINVAL);
    cr_assert_eq(vdso_random(buf, 0, 0, state, state_size), 0);
    cr_assert_eq(vdso_random(buf, 32, 0, state + PAGE_SIZE - 16, state_size), -EFAULT);
    cr_assert_eq(vdso_random(buf, 1, 0, state, SIZE_MAX), -EINVAL);

    /* A page that was never published: nothing is known of generations. */
    memset(page, 0, sizeof(*page));
    memcpy(before, state, state_size);
    draw(buf, sizeof(buf));
    cr_assert_arr_eq(state, before, state_size);
}
