/*
 * The vDSO as a program or C library finds it: an ELF shared object at AT_SYSINFO_EHDR whose
 * functions have the version LINUX_2.6 (vdso(7); the walk is that of Linux's parse_vdso.c).
 */
#include <elf.h>
#include <link.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "check.h"

struct image {
    const char *base; /* what its addresses are relative to */
    const Elf64_Sym *symbols;
    const char *strings;
    const uint16_t *versions;
    const Elf64_Verdef *definitions;
    uint32_t symbol_count;
};

static uint32_t gnu_hash_count(const uint32_t *hash)
{
    const uint32_t buckets = hash[0], offset = hash[1], bloom = hash[2];
    const uint32_t *bucket = hash + 4 + bloom * 2, *chain = bucket + buckets;
    uint32_t last = 0;

    for (uint32_t i = 0; i < buckets; i++) {
        if (bucket[i] > last)
            last = bucket[i];
    }
    if (last < offset)
        return offset;
    while (!(chain[last - offset] & 1))
        last++;
    return last + 1;
}

static bool open_image(const char *header, struct image *ret_image)
{
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)(const void *)header;
    const Elf64_Phdr *phdr = (const Elf64_Phdr *)(const void *)(header + ehdr->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    struct image image = {0};

    for (int i = 0; i < ehdr->e_phnum; i++) {
        if (phdr[i].p_type == PT_LOAD && !image.base)
            image.base = header + phdr[i].p_offset - phdr[i].p_vaddr;
        if (phdr[i].p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)(const void *)(header + phdr[i].p_offset);
    }
    if (!CHECK(image.base && dynamic))
        return false;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        const void *p = image.base + dynamic->d_un.d_ptr;
        switch (dynamic->d_tag) {
        case DT_SYMTAB:
            image.symbols = p;
            break;
        case DT_STRTAB:
            image.strings = p;
            break;
        case DT_VERSYM:
            image.versions = p;
            break;
        case DT_VERDEF:
            image.definitions = p;
            break;
        case DT_HASH:
            image.symbol_count = ((const uint32_t *)p)[1];
            break;
        case DT_GNU_HASH:
            if (image.symbol_count == 0)
                image.symbol_count = gnu_hash_count(p);
            break;
        }
    }
    *ret_image = image;
    return CHECK(image.symbols && image.strings && image.versions && image.definitions &&
                 image.symbol_count);
}

static const char *version_name(const struct image *image, uint16_t version)
{
    const Elf64_Verdef *d = image->definitions;

    for (;;) {
        if (!(d->vd_flags & VER_FLG_BASE) && (d->vd_ndx & 0x7fff) == (version & 0x7fff)) {
            const Elf64_Verdaux *aux = (const void *)((const char *)d + d->vd_aux);
            return image->strings + aux->vda_name;
        }
        if (d->vd_next == 0)
            return "";
        d = (const void *)((const char *)d + d->vd_next);
    }
}

static void *find(const struct image *image, const char *name)
{
    for (uint32_t i = 1; i < image->symbol_count; i++) {
        const Elf64_Sym *s = &image->symbols[i];
        if (s->st_shndx != SHN_UNDEF && strcmp(image->strings + s->st_name, name) == 0 &&
            strcmp(version_name(image, image->versions[i]), "LINUX_2.6") == 0) {
            CHECK_EQ(ELF64_ST_TYPE(s->st_info), STT_FUNC);
            return (void *)(image->base + s->st_value);
        }
    }
    note("no %s with version LINUX_2.6", name);
    CHECK(false);
    return NULL;
}

static int64_t ns(const struct timespec *ts)
{
    return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

static void test_clocks(const struct image *image)
{
    int (*gettime)(clockid_t, struct timespec *) = find(image, "__vdso_clock_gettime");
    int (*getres)(clockid_t, struct timespec *) = find(image, "__vdso_clock_getres");
    static const clockid_t clocks[] = {CLOCK_REALTIME,
                                       CLOCK_MONOTONIC,
                                       CLOCK_REALTIME_COARSE,
                                       CLOCK_MONOTONIC_COARSE,
                                       CLOCK_MONOTONIC_RAW,
                                       CLOCK_BOOTTIME,
                                       CLOCK_TAI,
                                       CLOCK_PROCESS_CPUTIME_ID,
                                       CLOCK_THREAD_CPUTIME_ID};

    if (!gettime || !getres)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(clocks); i++) {
        struct timespec before, mine, after, mine_res, res;
        /* A call on either side: the vDSO's answer lies between, coarse clocks to a tick. */
        bool coarse = clocks[i] == CLOCK_REALTIME_COARSE || clocks[i] == CLOCK_MONOTONIC_COARSE;
        int64_t slack = coarse ? 20000000 : 1000;
        for (int j = 0; j < 100; j++) {
            CHECK_EQ(RAW(SYS_clock_gettime, clocks[i], &before), 0);
            CHECK_EQ(gettime(clocks[i], &mine), 0);
            CHECK_EQ(RAW(SYS_clock_gettime, clocks[i], &after), 0);
            if (!CHECK(ns(&mine) >= ns(&before) - slack) ||
                !CHECK(ns(&mine) <= ns(&after) + slack)) {
                note("clock %d: %lld, %lld, %lld", clocks[i], (long long)ns(&before),
                     (long long)ns(&mine), (long long)ns(&after));
                break;
            }
        }
        CHECK_EQ(getres(clocks[i], &mine_res), 0);
        CHECK_EQ(RAW(SYS_clock_getres, clocks[i], &res), 0);
        CHECK_EQ(ns(&mine_res), ns(&res));
    }
    struct timespec ts;
    CHECK_EQ(gettime(77, &ts), -EINVAL);
}

static void test_time(const struct image *image)
{
    int (*gettimeofday_)(struct timeval *, struct timezone *) = find(image, "__vdso_gettimeofday");
    time_t (*time_)(time_t *) = find(image, "__vdso_time");
    struct timeval tv = {0}, raw;
    struct timezone zone = {77, 77};
    time_t stored = 0;

    if (!gettimeofday_ || !time_)
        return;
    CHECK_EQ(RAW(SYS_gettimeofday, &raw, NULL), 0);
    CHECK_EQ(gettimeofday_(&tv, &zone), 0);
    CHECK(labs(tv.tv_sec - raw.tv_sec) < 30 && tv.tv_usec >= 0 && tv.tv_usec < 1000000);
    CHECK_EQ(zone.tz_dsttime, 0);
    CHECK_EQ(gettimeofday_(NULL, NULL), 0);
    time_t t = time_(&stored);
    CHECK_EQ(t, stored);
    CHECK(labs(t - tv.tv_sec) < 30);
    CHECK(labs(time_(NULL) - t) < 30);
}

static void test_getcpu(const struct image *image)
{
    long (*getcpu_)(unsigned *, unsigned *, void *) = find(image, "__vdso_getcpu");
    unsigned cpu = 99999, node = 99999;
    cpu_set_t set;

    if (!getcpu_)
        return;
    CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
    CHECK_EQ(getcpu_(&cpu, &node, NULL), 0);
    CHECK(cpu < CPU_SETSIZE && CPU_ISSET(cpu, &set));
    CHECK(node < 1024);
    CHECK_EQ(getcpu_(NULL, NULL, NULL), 0);
    CHECK_EQ(RAW(SYS_getcpu, &cpu, &node, NULL), 0);
    CHECK(cpu < CPU_SETSIZE && CPU_ISSET(cpu, &set));
    CHECK_EQ(RAW(SYS_getcpu, 8, NULL, NULL), -EFAULT);
}

int main(void)
{
    const char *header = (const char *)getauxval(AT_SYSINFO_EHDR);
    struct image image;

    if (CHECK(header != NULL) && open_image(header, &image)) {
        test_clocks(&image);
        test_time(&image);
        test_getcpu(&image);
    }
    return check_done();
}
