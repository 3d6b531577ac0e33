/*
 * One block of the ChaCha20 stream (RFC 8439, 2.3) for the vDSO's getrandom(): nonce zero, 64-bit
 * block counter.
 */
#ifndef VDSO_CHACHA_H
#define VDSO_CHACHA_H

#include <stdint.h>

#define CHACHA_KEY_WORDS   8
#define CHACHA_BLOCK_WORDS 16

static inline uint32_t chacha_rotate(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

#define CHACHA_QUARTER(a, b, c, d)                                                                 \
    do {                                                                                           \
        x[a] += x[b];                                                                              \
        x[d] = chacha_rotate(x[d] ^ x[a], 16);                                                     \
        x[c] += x[d];                                                                              \
        x[b] = chacha_rotate(x[b] ^ x[c], 12);                                                     \
        x[a] += x[b];                                                                              \
        x[d] = chacha_rotate(x[d] ^ x[a], 8);                                                      \
        x[c] += x[d];                                                                              \
        x[b] = chacha_rotate(x[b] ^ x[c], 7);                                                      \
    } while (0)

/* The words of the block in the CPU's (little-endian) order. Leaves nothing on the stack. */
static inline void chacha_block(const uint32_t *key, uint64_t counter,
                                uint32_t ret_block[CHACHA_BLOCK_WORDS])
{
    uint32_t start[CHACHA_BLOCK_WORDS] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    uint32_t x[CHACHA_BLOCK_WORDS];

    for (int i = 0; i < CHACHA_KEY_WORDS; i++)
        start[4 + i] = key[i];
    start[12] = (uint32_t)counter;
    start[13] = (uint32_t)(counter >> 32);
    start[14] = start[15] = 0;
    for (int i = 0; i < CHACHA_BLOCK_WORDS; i++)
        x[i] = start[i];
    for (int round = 0; round < 20; round += 2) {
        CHACHA_QUARTER(0, 4, 8, 12);
        CHACHA_QUARTER(1, 5, 9, 13);
        CHACHA_QUARTER(2, 6, 10, 14);
        CHACHA_QUARTER(3, 7, 11, 15);
        CHACHA_QUARTER(0, 5, 10, 15);
        CHACHA_QUARTER(1, 6, 11, 12);
        CHACHA_QUARTER(2, 7, 8, 13);
        CHACHA_QUARTER(3, 4, 9, 14);
    }
    for (int i = 0; i < CHACHA_BLOCK_WORDS; i++) {
        ret_block[i] = x[i] + start[i];
        x[i] = start[i] = 0;
    }
    /* The zeroes are for whoever finds the stack later: not dead stores. */
    __asm__ volatile("" : : "r"(x), "r"(start) : "memory");
}

#endif
