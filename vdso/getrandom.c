/*
 * getrandom(2) in the program (Linux 6.11; random.c and vgetrandom of its documentation): a
 * ChaCha20 key for each thread, fetched from the Sentry by the system call, replaced by its own
 * output after each use, and fetched anew when the parameter page counts a new generation.
 *
 *   state   generation | in_use | used | rest[96]     where `rest` is output not yet given out
 *           key[32]                                   (zeroed from the front as it is)
 *
 * The state lies in memory of the program that the kernel may drop at any time and wipes at fork
 * (MAP_DROPPABLE): all zeroes is "never seeded", and what was made from a state that vanished
 * meanwhile is made again. A signal handler that comes in between finds in_use and takes the system
 * call.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "vdso/chacha.h"
#include "vdso/vdso.h"

#define PAGE      4096UL
#define REST_SIZE 96
#define LEN_MAX   (INT_MAX & ~(PAGE - 1)) /* getrandom(2) gives no more at once */
#define FLAGS_ALL (GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)
#define MAP_DROP  0x08 /* MAP_DROPPABLE */

struct state {
    uint64_t generation;
    uint32_t in_use;
    uint32_t used; /* bytes of rest */
    uint8_t rest[REST_SIZE];
    uint32_t key[CHACHA_KEY_WORDS];
};

/* include/uapi/linux/random.h: struct vgetrandom_opaque_params */
struct opaque_params {
    uint32_t size_of_opaque_state, mmap_prot, mmap_flags;
    uint32_t reserved[13];
};
_Static_assert(sizeof(struct opaque_params) == 64, "opaque params");

VDSO_EXPORT ssize_t __vdso_getrandom(void *buf, size_t len, unsigned flags, void *opaque,
                                     size_t opaque_len);

static ssize_t call_getrandom(void *buf, size_t len, unsigned flags)
{
    return vdso_call3(SYS_getrandom, (long)buf, (long)len, flags);
}

static ssize_t tell_params(void *buf, size_t len, unsigned flags, struct opaque_params *params)
{
    if (buf || len || flags)
        return -EINVAL;
    *params = (struct opaque_params){
        .size_of_opaque_state = sizeof(struct state),
        .mmap_prot = PROT_READ | PROT_WRITE,
        .mmap_flags = MAP_DROP | MAP_ANONYMOUS,
    };
    return 0;
}

static uint64_t generation_now(void)
{
    return __atomic_load_n(&vdso_timepage.rng_generation, __ATOMIC_RELAXED);
}

/* The generation first: it is true of the key only if no wipe comes between the two. */
static bool seed(struct state *s, uint64_t generation)
{
    __atomic_store_n(&s->generation, generation, __ATOMIC_RELAXED);
    if (call_getrandom(s->key, sizeof(s->key), 0) != (ssize_t)sizeof(s->key)) {
        __atomic_store_n(&s->generation, 0, __ATOMIC_RELAXED);
        return false;
    }
    s->used = REST_SIZE;
    return true;
}

/* Hands out what is left of earlier output, and forgets it. */
static size_t take_rest(struct state *s, uint8_t *out, size_t len)
{
    size_t used = s->used < REST_SIZE ? s->used : REST_SIZE;
    size_t n = REST_SIZE - used < len ? REST_SIZE - used : len;

    for (size_t i = 0; i < n; i++) {
        out[i] = s->rest[used + i];
        s->rest[used + i] = 0;
    }
    s->used = (uint32_t)(used + n);
    return n;
}

static void put_block(const uint32_t block[CHACHA_BLOCK_WORDS], uint8_t *out, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(block[(from + i) / 4] >> (8 * ((from + i) % 4)));
}

/* Two blocks: 96 bytes of rest and the next key. The old key is gone. */
static void refill(struct state *s, uint64_t counter)
{
    uint32_t block[CHACHA_BLOCK_WORDS], next[CHACHA_BLOCK_WORDS];

    chacha_block(s->key, counter, block);
    chacha_block(s->key, counter + 1, next);
    put_block(block, s->rest, 0, 64);
    put_block(next, s->rest + 64, 0, 32);
    for (int i = 0; i < CHACHA_KEY_WORDS; i++)
        s->key[i] = next[8 + i];
    s->used = 0;
    for (int i = 0; i < CHACHA_BLOCK_WORDS; i++)
        block[i] = next[i] = 0;
    __asm__ volatile("" : : "r"(block), "r"(next) : "memory");
}

static void generate(struct state *s, uint8_t *out, size_t len)
{
    uint32_t block[CHACHA_BLOCK_WORDS];
    size_t n = take_rest(s, out, len);
    uint64_t counter = 0;

    for (; len - n >= 64; n += 64) {
        chacha_block(s->key, counter++, block);
        put_block(block, out + n, 0, 64);
    }
    if (n < len || counter) {
        refill(s, counter);
        take_rest(s, out + n, len - n);
    }
}

ssize_t __vdso_getrandom(void *buf, size_t len, unsigned flags, void *opaque, size_t opaque_len)
{
    struct state *s = opaque;
    uint64_t generation;

    if (opaque_len == SIZE_MAX)
        return tell_params(buf, len, flags, opaque);
    /* Straddling two pages, half of it could be dropped. */
    if (((uintptr_t)opaque & (PAGE - 1)) + sizeof(*s) > PAGE)
        return -EFAULT;
    generation = generation_now();
    if (opaque_len != sizeof(*s) || (flags & ~(unsigned)FLAGS_ALL) || generation == 0 ||
        __atomic_load_n(&s->in_use, __ATOMIC_RELAXED))
        return call_getrandom(buf, len, flags);
    if (len == 0)
        return 0;
    if (len > LEN_MAX)
        len = LEN_MAX;

    __atomic_store_n(&s->in_use, 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    do {
        generation = generation_now();
        if (__atomic_load_n(&s->generation, __ATOMIC_RELAXED) != generation &&
            !seed(s, generation)) {
            __atomic_store_n(&s->in_use, 0, __ATOMIC_RELAXED);
            return call_getrandom(buf, len, flags);
        }
        generate(s, buf, len);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&s->generation, __ATOMIC_RELAXED) != generation);
    __atomic_store_n(&s->in_use, 0, __ATOMIC_RELAXED);
    return (ssize_t)len;
}
VDSO_ALIAS(getrandom);
