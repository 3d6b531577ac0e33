/* /proc/meminfo, vmstat, zoneinfo and buddyinfo: guest memory, which is one zone of one node. */
#include <stdio.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/load.h"
#include "sentry/mm/mappable.h"

#define ORDERS 11 /* sizes of free blocks that buddyinfo counts */

/* Bytes. */
struct memory {
    uint64_t total, free, cache, shared, anonymous;
};

static void look(struct memory *ret)
{
    struct memfile_stats stats;
    uint64_t named;

    memfile_get_stats(task_current()->kernel->mm_env->memfile, &stats);
    stats.allocated -= MIN(stats.allocated, pagecache_reserved());
    ret->total = stats.limit;
    ret->free = stats.limit - stats.allocated;
    ret->cache = pagecache_total();
    ret->shared = shmem_total();
    named = ret->cache + ret->shared;
    ret->anonymous = stats.allocated > named ? stats.allocated - named : 0;
}

static void put_kib(struct proc_text *text, const char *name, uint64_t bytes)
{
    proc_printf(text, "%-15s %8lu kB\n", name, bytes / 1024);
}

static void put_zeroes(struct proc_text *text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_kib(text, names[i], 0);
}

/* Nothing is swapped, and what is written is written at once. Caches go when memory is wanted. */
ssize_t proc_meminfo_text(uint64_t key, char *buf, size_t size)
{
    static const char *const none[] = {
        "Unevictable:", "Mlocked:", "SwapTotal:", "SwapFree:", "Dirty:", "Writeback:"};
    static const char *const last[] = {
        "KReclaimable:", "Slab:",          "SReclaimable:", "SUnreclaim:", "KernelStack:",
        "PageTables:",   "SecPageTables:", "NFS_Unstable:", "Bounce:",     "WritebackTmp:"};
    static const char *const huge[] = {
        "AnonHugePages:", "ShmemHugePages:", "ShmemPmdMapped:", "FileHugePages:", "FilePmdMapped:"};
    struct proc_text text = {buf, size, 0};
    struct memory m;

    look(&m);
    put_kib(&text, "MemTotal:", m.total);
    put_kib(&text, "MemFree:", m.free);
    put_kib(&text, "MemAvailable:", m.free + m.cache);
    put_kib(&text, "Buffers:", 0);
    put_kib(&text, "Cached:", m.cache + m.shared);
    put_kib(&text, "SwapCached:", 0);
    put_kib(&text, "Active:", m.anonymous + m.cache);
    put_kib(&text, "Inactive:", m.shared);
    put_kib(&text, "Active(anon):", m.anonymous);
    put_kib(&text, "Inactive(anon):", m.shared);
    put_kib(&text, "Active(file):", m.cache);
    put_kib(&text, "Inactive(file):", 0);
    put_zeroes(&text, none, ARRAY_COUNT(none));
    put_kib(&text, "AnonPages:", m.anonymous);
    put_kib(&text, "Mapped:", m.cache);
    put_kib(&text, "Shmem:", m.shared);
    put_zeroes(&text, last, ARRAY_COUNT(last));
    put_kib(&text, "CommitLimit:", mm_commit_limit(task_current()->kernel->mm_env));
    put_kib(&text, "Committed_AS:", mm_committed());
    proc_printf(&text, "VmallocTotal:   %8lu kB\n", (1UL << 45) / 1024 - 1);
    put_kib(&text, "VmallocUsed:", 0);
    put_kib(&text, "VmallocChunk:", 0);
    put_kib(&text, "Percpu:", 0);
    put_zeroes(&text, huge, ARRAY_COUNT(huge));
    proc_printf(&text, "HugePages_Total: %7d\nHugePages_Free:  %7d\n", 0, 0);
    proc_printf(&text, "HugePages_Rsvd:  %7d\nHugePages_Surp:  %7d\n", 0, 0);
    put_kib(&text, "Hugepagesize:", HUGE_PAGE_SIZE);
    put_kib(&text, "Hugetlb:", 0);
    put_kib(&text, "DirectMap4k:", 0);
    put_kib(&text, "DirectMap2M:", m.total);
    return (ssize_t)text.length;
}

static void put_count(struct proc_text *text, const char *name, uint64_t value)
{
    proc_printf(text, "%s %lu\n", name, value);
}

/* What vmstat(8) and its like look for; no page is read from or written to a device. */
ssize_t proc_vmstat_text(uint64_t key, char *buf, size_t size)
{
    static const char *const none[] = {
        "nr_dirty",      "nr_writeback",   "nr_vmscan_write", "nr_dirtied", "nr_written",
        "pgpgin",        "pgpgout",        "pswpin",          "pswpout",    "pgscan_kswapd",
        "pgscan_direct", "pgsteal_kswapd", "pgsteal_direct",  "oom_kill",   "thp_fault_alloc"};
    struct proc_text text = {buf, size, 0};
    struct memory m;
    struct load load;

    look(&m);
    load_get(task_current()->kernel, &load);
    put_count(&text, "nr_free_pages", m.free / PAGE_SIZE);
    put_count(&text, "nr_zone_inactive_anon", m.shared / PAGE_SIZE);
    put_count(&text, "nr_zone_active_anon", m.anonymous / PAGE_SIZE);
    put_count(&text, "nr_zone_inactive_file", 0);
    put_count(&text, "nr_zone_active_file", m.cache / PAGE_SIZE);
    put_count(&text, "nr_inactive_anon", m.shared / PAGE_SIZE);
    put_count(&text, "nr_active_anon", m.anonymous / PAGE_SIZE);
    put_count(&text, "nr_inactive_file", 0);
    put_count(&text, "nr_active_file", m.cache / PAGE_SIZE);
    put_count(&text, "nr_anon_pages", m.anonymous / PAGE_SIZE);
    put_count(&text, "nr_mapped", m.cache / PAGE_SIZE);
    put_count(&text, "nr_file_pages", (m.cache + m.shared) / PAGE_SIZE);
    put_count(&text, "nr_shmem", m.shared / PAGE_SIZE);
    put_count(&text, "pgfault", load.minor_faults + load.major_faults);
    put_count(&text, "pgmajfault", load.major_faults);
    for (size_t i = 0; i < ARRAY_COUNT(none); i++)
        put_count(&text, none[i], 0);
    return (ssize_t)text.length;
}

/* As if all that is free lay together: how it lies is the memory file's affair. */
ssize_t proc_buddyinfo_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    uint64_t pages;
    struct memory m;

    look(&m);
    pages = m.free / PAGE_SIZE;
    proc_printf(&text, "Node 0, zone   Normal");
    for (int order = 0; order < ORDERS - 1; order++)
        proc_printf(&text, " %6lu", pages >> order & 1);
    proc_printf(&text, " %6lu \n", pages >> (ORDERS - 1));
    return (ssize_t)text.length;
}

ssize_t proc_zoneinfo_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct memory m;

    look(&m);
    proc_printf(&text, "Node 0, zone   Normal\n  per-node stats\n");
    proc_printf(&text, "      %-12s %lu\n", "nr_anon_pages", m.anonymous / PAGE_SIZE);
    proc_printf(&text, "      %-12s %lu\n", "nr_file_pages", (m.cache + m.shared) / PAGE_SIZE);
    proc_printf(&text, "      %-12s %lu\n", "nr_shmem", m.shared / PAGE_SIZE);
    proc_printf(&text, "  pages free     %lu\n        boost    0\n        min      0\n",
                m.free / PAGE_SIZE);
    proc_printf(&text, "        low      0\n        high     0\n        promo    0\n");
    proc_printf(&text, "        spanned  %lu\n        present  %lu\n        managed  %lu\n",
                m.total / PAGE_SIZE, m.total / PAGE_SIZE, m.total / PAGE_SIZE);
    proc_printf(&text, "        cma      0\n        protection: (0, 0, 0, 0, 0)\n");
    proc_printf(&text, "      nr_free_pages %lu\n", m.free / PAGE_SIZE);
    proc_printf(&text, "  node_unreclaimable:  0\n  start_pfn:           0\n");
    return (ssize_t)text.length;
}
