/*
 * /proc/cpuinfo: one entry for each processor that the sandbox may use. What CPUID tells (Intel SDM
 * volume 2, CPUID; AMD APM volume 3, appendix E), in Linux's words.
 */
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/time/timekeeper.h"
#include "vdso/timepage.h"

enum { EAX, EBX, ECX, EDX };

struct cpu_flag {
    uint32_t leaf, reg, bit;
    const char *name;
};

/* Linux's names (cpufeatures.h), leaf by leaf, in the order of their bits. */
static const struct cpu_flag cpu_flags[] = {
    {0x1, EDX, 0, "fpu"},
    {0x1, EDX, 1, "vme"},
    {0x1, EDX, 2, "de"},
    {0x1, EDX, 3, "pse"},
    {0x1, EDX, 4, "tsc"},
    {0x1, EDX, 5, "msr"},
    {0x1, EDX, 6, "pae"},
    {0x1, EDX, 7, "mce"},
    {0x1, EDX, 8, "cx8"},
    {0x1, EDX, 9, "apic"},
    {0x1, EDX, 11, "sep"},
    {0x1, EDX, 12, "mtrr"},
    {0x1, EDX, 13, "pge"},
    {0x1, EDX, 14, "mca"},
    {0x1, EDX, 15, "cmov"},
    {0x1, EDX, 16, "pat"},
    {0x1, EDX, 17, "pse36"},
    {0x1, EDX, 18, "pn"},
    {0x1, EDX, 19, "clflush"},
    {0x1, EDX, 21, "dts"},
    {0x1, EDX, 22, "acpi"},
    {0x1, EDX, 23, "mmx"},
    {0x1, EDX, 24, "fxsr"},
    {0x1, EDX, 25, "sse"},
    {0x1, EDX, 26, "sse2"},
    {0x1, EDX, 27, "ss"},
    {0x1, EDX, 28, "ht"},
    {0x1, EDX, 29, "tm"},
    {0x1, EDX, 30, "ia64"},
    {0x1, EDX, 31, "pbe"},
    {0x80000001, EDX, 11, "syscall"},
    {0x80000001, EDX, 19, "mp"},
    {0x80000001, EDX, 20, "nx"},
    {0x80000001, EDX, 22, "mmxext"},
    {0x80000001, EDX, 25, "fxsr_opt"},
    {0x80000001, EDX, 26, "pdpe1gb"},
    {0x80000001, EDX, 27, "rdtscp"},
    {0x80000001, EDX, 29, "lm"},
    {0x80000001, EDX, 30, "3dnowext"},
    {0x80000001, EDX, 31, "3dnow"},
    {0x1, ECX, 0, "pni"},
    {0x1, ECX, 1, "pclmulqdq"},
    {0x1, ECX, 2, "dtes64"},
    {0x1, ECX, 3, "monitor"},
    {0x1, ECX, 4, "ds_cpl"},
    {0x1, ECX, 5, "vmx"},
    {0x1, ECX, 6, "smx"},
    {0x1, ECX, 7, "est"},
    {0x1, ECX, 8, "tm2"},
    {0x1, ECX, 9, "ssse3"},
    {0x1, ECX, 10, "cid"},
    {0x1, ECX, 11, "sdbg"},
    {0x1, ECX, 12, "fma"},
    {0x1, ECX, 13, "cx16"},
    {0x1, ECX, 14, "xtpr"},
    {0x1, ECX, 15, "pdcm"},
    {0x1, ECX, 17, "pcid"},
    {0x1, ECX, 18, "dca"},
    {0x1, ECX, 19, "sse4_1"},
    {0x1, ECX, 20, "sse4_2"},
    {0x1, ECX, 21, "x2apic"},
    {0x1, ECX, 22, "movbe"},
    {0x1, ECX, 23, "popcnt"},
    {0x1, ECX, 24, "tsc_deadline_timer"},
    {0x1, ECX, 25, "aes"},
    {0x1, ECX, 26, "xsave"},
    {0x1, ECX, 28, "avx"},
    {0x1, ECX, 29, "f16c"},
    {0x1, ECX, 30, "rdrand"},
    {0x1, ECX, 31, "hypervisor"},
    {0x80000001, ECX, 0, "lahf_lm"},
    {0x80000001, ECX, 1, "cmp_legacy"},
    {0x80000001, ECX, 2, "svm"},
    {0x80000001, ECX, 3, "extapic"},
    {0x80000001, ECX, 4, "cr8_legacy"},
    {0x80000001, ECX, 5, "abm"},
    {0x80000001, ECX, 6, "sse4a"},
    {0x80000001, ECX, 7, "misalignsse"},
    {0x80000001, ECX, 8, "3dnowprefetch"},
    {0x80000001, ECX, 9, "osvw"},
    {0x80000001, ECX, 10, "ibs"},
    {0x80000001, ECX, 11, "xop"},
    {0x80000001, ECX, 12, "skinit"},
    {0x80000001, ECX, 13, "wdt"},
    {0x80000001, ECX, 15, "lwp"},
    {0x80000001, ECX, 16, "fma4"},
    {0x80000001, ECX, 17, "tce"},
    {0x80000001, ECX, 19, "nodeid_msr"},
    {0x80000001, ECX, 21, "tbm"},
    {0x80000001, ECX, 22, "topoext"},
    {0x80000001, ECX, 23, "perfctr_core"},
    {0x80000001, ECX, 24, "perfctr_nb"},
    {0x80000001, ECX, 26, "bpext"},
    {0x80000001, ECX, 27, "ptsc"},
    {0x80000001, ECX, 28, "perfctr_llc"},
    {0x80000001, ECX, 29, "mwaitx"},
    {0x7, EBX, 0, "fsgsbase"},
    {0x7, EBX, 1, "tsc_adjust"},
    {0x7, EBX, 2, "sgx"},
    {0x7, EBX, 3, "bmi1"},
    {0x7, EBX, 4, "hle"},
    {0x7, EBX, 5, "avx2"},
    {0x7, EBX, 7, "smep"},
    {0x7, EBX, 8, "bmi2"},
    {0x7, EBX, 9, "erms"},
    {0x7, EBX, 10, "invpcid"},
    {0x7, EBX, 11, "rtm"},
    {0x7, EBX, 12, "cqm"},
    {0x7, EBX, 14, "mpx"},
    {0x7, EBX, 15, "rdt_a"},
    {0x7, EBX, 16, "avx512f"},
    {0x7, EBX, 17, "avx512dq"},
    {0x7, EBX, 18, "rdseed"},
    {0x7, EBX, 19, "adx"},
    {0x7, EBX, 20, "smap"},
    {0x7, EBX, 21, "avx512ifma"},
    {0x7, EBX, 23, "clflushopt"},
    {0x7, EBX, 24, "clwb"},
    {0x7, EBX, 25, "intel_pt"},
    {0x7, EBX, 26, "avx512pf"},
    {0x7, EBX, 27, "avx512er"},
    {0x7, EBX, 28, "avx512cd"},
    {0x7, EBX, 29, "sha_ni"},
    {0x7, EBX, 30, "avx512bw"},
    {0x7, EBX, 31, "avx512vl"},
    {0x80000008, EBX, 0, "clzero"},
    {0x80000008, EBX, 1, "irperf"},
    {0x80000008, EBX, 2, "xsaveerptr"},
    {0x80000008, EBX, 4, "rdpru"},
    {0x80000008, EBX, 9, "wbnoinvd"},
    {0x7, ECX, 1, "avx512vbmi"},
    {0x7, ECX, 2, "umip"},
    {0x7, ECX, 3, "pku"},
    {0x7, ECX, 4, "ospke"},
    {0x7, ECX, 5, "waitpkg"},
    {0x7, ECX, 6, "avx512_vbmi2"},
    {0x7, ECX, 8, "gfni"},
    {0x7, ECX, 9, "vaes"},
    {0x7, ECX, 10, "vpclmulqdq"},
    {0x7, ECX, 11, "avx512_vnni"},
    {0x7, ECX, 12, "avx512_bitalg"},
    {0x7, ECX, 13, "tme"},
    {0x7, ECX, 14, "avx512_vpopcntdq"},
    {0x7, ECX, 16, "la57"},
    {0x7, ECX, 22, "rdpid"},
    {0x7, ECX, 24, "bus_lock_detect"},
    {0x7, ECX, 25, "cldemote"},
    {0x7, ECX, 27, "movdiri"},
    {0x7, ECX, 28, "movdir64b"},
    {0x7, ECX, 29, "enqcmd"},
    {0x7, EDX, 2, "avx512_4vnniw"},
    {0x7, EDX, 3, "avx512_4fmaps"},
    {0x7, EDX, 4, "fsrm"},
    {0x7, EDX, 8, "avx512_vp2intersect"},
    {0x7, EDX, 10, "md_clear"},
    {0x7, EDX, 14, "serialize"},
    {0x7, EDX, 16, "tsxldtrk"},
    {0x7, EDX, 18, "pconfig"},
    {0x7, EDX, 19, "arch_lbr"},
    {0x7, EDX, 20, "ibt"},
    {0x7, EDX, 22, "amx_bf16"},
    {0x7, EDX, 23, "avx512_fp16"},
    {0x7, EDX, 24, "amx_tile"},
    {0x7, EDX, 25, "amx_int8"},
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

/* The rate that time is reckoned with; 0 where the counter is not trusted. */
static uint64_t tsc_khz(void)
{
    const struct timepage *page = timekeeper_page();
    uint64_t mult = page ? TIMEPAGE_LOAD(page->raw_mult) : 0;
    uint32_t shift = page ? TIMEPAGE_LOAD(page->shift) : 0;

    return mult ? (uint64_t)(((unsigned __int128)1000000 << shift) / mult) : 0;
}

/* Of the second level, as Linux tells it. */
static unsigned cache_kib(void)
{
    uint32_t r[4] = {0};

    __get_cpuid(0x80000006, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
    return r[ECX] >> 16;
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
    proc_printf(text, "cpu MHz\t\t: %lu.%03lu\ncache size\t: %u KB\n", tsc_khz() / 1000,
                tsc_khz() % 1000, cache_kib());
}

static unsigned clflush_size(void)
{
    uint32_t r[4] = {0};

    __get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
    return (r[EBX] >> 8 & 0xff) * 8;
}

static void put_address_sizes(struct proc_text *text)
{
    uint32_t r[4] = {36 | 48 << 8};

    __get_cpuid(0x80000008, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
    proc_printf(text, "address sizes\t: %u bits physical, %u bits virtual\n", r[EAX] & 0xff,
                r[EAX] >> 8 & 0xff);
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
        proc_printf(&text, "cpu cores\t: %u\napicid\t\t: %zu\ninitial apicid\t: %zu\n", count, i,
                    i);
        proc_printf(&text, "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: %u\nwp\t\t: yes\n",
                    __get_cpuid_max(0, NULL));
        put_flags(&text);
        proc_printf(&text, "bugs\t\t:\nbogomips\t: %lu.%02lu\n", tsc_khz() * 2 / 1000,
                    tsc_khz() * 2 / 10 % 100);
        proc_printf(&text, "clflush size\t: %u\ncache_alignment\t: %u\n", clflush_size(),
                    clflush_size());
        put_address_sizes(&text);
        proc_printf(&text, "power management:\n\n");
    }
    return (ssize_t)text.length;
}
