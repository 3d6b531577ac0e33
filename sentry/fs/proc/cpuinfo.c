/*
 * /proc/cpuinfo: one entry for each processor that the sandbox may use. What CPUID tells (Intel SDM
 * volume 2, CPUID; AMD APM volume 3, appendix E), in Linux's words.
 */
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"

enum { EAX, EBX, ECX, EDX };

struct cpu_flag {
    uint32_t leaf, reg, bit;
    const char *name;
};

/* The flags that programs test for; Linux's names, in its order. */
static const struct cpu_flag cpu_flags[] = {
    {1, EDX, 0, "fpu"},
    {1, EDX, 4, "tsc"},
    {1, EDX, 5, "msr"},
    {1, EDX, 6, "pae"},
    {1, EDX, 8, "cx8"},
    {1, EDX, 15, "cmov"},
    {1, EDX, 16, "pat"},
    {1, EDX, 19, "clflush"},
    {1, EDX, 23, "mmx"},
    {1, EDX, 24, "fxsr"},
    {1, EDX, 25, "sse"},
    {1, EDX, 26, "sse2"},
    {0x80000001, EDX, 11, "syscall"},
    {0x80000001, EDX, 20, "nx"},
    {0x80000001, EDX, 26, "pdpe1gb"},
    {0x80000001, EDX, 27, "rdtscp"},
    {0x80000001, EDX, 29, "lm"},
    {1, ECX, 0, "pni"},
    {1, ECX, 1, "pclmulqdq"},
    {1, ECX, 9, "ssse3"},
    {1, ECX, 12, "fma"},
    {1, ECX, 13, "cx16"},
    {1, ECX, 19, "sse4_1"},
    {1, ECX, 20, "sse4_2"},
    {1, ECX, 22, "movbe"},
    {1, ECX, 23, "popcnt"},
    {1, ECX, 25, "aes"},
    {1, ECX, 26, "xsave"},
    {1, ECX, 28, "avx"},
    {1, ECX, 29, "f16c"},
    {1, ECX, 30, "rdrand"},
    {1, ECX, 31, "hypervisor"},
    {0x80000001, ECX, 0, "lahf_lm"},
    {0x80000001, ECX, 5, "abm"},
    {0x80000001, ECX, 6, "sse4a"},
    {7, EBX, 0, "fsgsbase"},
    {7, EBX, 3, "bmi1"},
    {7, EBX, 5, "avx2"},
    {7, EBX, 8, "bmi2"},
    {7, EBX, 9, "erms"},
    {7, EBX, 16, "avx512f"},
    {7, EBX, 17, "avx512dq"},
    {7, EBX, 18, "rdseed"},
    {7, EBX, 19, "adx"},
    {7, EBX, 23, "clflushopt"},
    {7, EBX, 24, "clwb"},
    {7, EBX, 28, "avx512cd"},
    {7, EBX, 29, "sha_ni"},
    {7, EBX, 30, "avx512bw"},
    {7, EBX, 31, "avx512vl"},
    {7, ECX, 8, "gfni"},
    {7, ECX, 9, "vaes"},
    {7, ECX, 10, "vpclmulqdq"},
    {7, ECX, 22, "rdpid"},
    {7, EDX, 4, "fsrm"},
};

static void put_flags(struct proc_text *text)
{
    proc_printf(text, "flags\t\t:");
    for (size_t i = 0; i < ARRAY_COUNT(cpu_flags); i++) {
        const struct cpu_flag *f = &cpu_flags[i];
        uint32_t r[4];

        if (__get_cpuid_count(f->leaf, 0, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) &&
            (r[f->reg] >> f->bit & 1))
            proc_printf(text, " %s", f->name);
    }
    proc_printf(text, "\n");
}

static void put_model(struct proc_text *text)
{
    uint32_t r[4] = {0}, family, model;
    char vendor[13] = "", brand[49] = "";

    __get_cpuid(0, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
    memcpy(vendor, &r[EBX], 4);
    memcpy(vendor + 4, &r[EDX], 4);
    memcpy(vendor + 8, &r[ECX], 4);
    for (uint32_t i = 0; i < 3; i++) {
        if (__get_cpuid(0x80000002 + i, &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
            memcpy(brand + i * sizeof(r), r, sizeof(r));
    }
    __get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
    family = r[EAX] >> 8 & 0xf;
    model = r[EAX] >> 4 & 0xf;
    if (family == 6 || family == 15)
        model |= r[EAX] >> 12 & 0xf0;
    if (family == 15)
        family += r[EAX] >> 20 & 0xff;
    proc_printf(text, "vendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n", vendor, family, model);
    proc_printf(text, "model name\t: %s\nstepping\t: %u\n", brand + strspn(brand, " "),
                r[EAX] & 0xf);
}

ssize_t proc_cpuinfo_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    const uint64_t *cpus = task_current()->kernel->cpus;
    unsigned count = kernel_cpu_count(task_current()->kernel), number = 0;

    for (size_t i = 0; i < ARRAY_COUNT(task_current()->kernel->cpus) * 64; i++) {
        if (!(cpus[i / 64] >> (i % 64) & 1))
            continue;
        proc_printf(&text, "processor\t: %zu\n", i);
        put_model(&text);
        proc_printf(&text, "physical id\t: 0\nsiblings\t: %u\ncore id\t\t: %u\n", count, number++);
        proc_printf(&text, "cpu cores\t: %u\nfpu\t\t: yes\nfpu_exception\t: yes\n", count);
        put_flags(&text);
        proc_printf(&text, "clflush size\t: 64\naddress sizes\t: 46 bits physical, 48 bits "
                           "virtual\n\n");
    }
    return (ssize_t)text.length;
}
