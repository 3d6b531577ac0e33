/* Touches 4 GiB sparsely: a page in every 2 MiB, and a few of a mapping of 64 GiB. */
#include <sys/mman.h>

#include "check.h"

#define MIB (1UL << 20)
#define GIB (1UL << 30)

static void touch(size_t size, size_t step)
{
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    uint64_t sum = 0;

    if (!CHECK(p != MAP_FAILED))
        return;
    for (size_t at = 0; at < size; at += step) {
        CHECK_EQ(p[at + 8], 0);
        *(uint64_t *)(void *)(p + at + 8) = at ^ 0x5a5a;
    }
    for (size_t at = 0; at < size; at += step)
        sum += *(uint64_t *)(void *)(p + at + 8);
    CHECK_EQ(p[step - 1], 0);
    CHECK_EQ(p[size - 1], 0);
    note("%lu GiB, a page in every %lu MiB: sum %llu", size / GIB, step / MIB,
         (unsigned long long)sum);
    CHECK_EQ(munmap(p, size), 0);
}

int main(void)
{
    touch(4 * GIB, 2 * MIB);
    touch(64 * GIB, GIB);
    touch(4 * GIB, 2 * MIB);
    return check_done();
}
