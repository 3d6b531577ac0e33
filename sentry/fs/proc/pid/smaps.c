/*
 * /proc/PID/smaps: each VMA with how much of it is there; smaps_rollup: the sums; numa_maps: on
 * which node, of which there is one. As fs/proc/task_mmu.c prints them.
 */
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"

/* What all VMAs have together, in bytes. */
struct sums {
    uaddr_t start, end;
    uint64_t resident, anonymous, memory, locked;
};

/* Shared or not is known to nobody here: every page counts as this program's own. */
static void put_sizes(struct proc_text *text, const struct sums *s, bool rollup)
{
    unsigned long resident = s->resident / 1024, anonymous = s->anonymous / 1024;

    proc_printf(text, "Rss:            %8lu kB\nPss:            %8lu kB\n", resident, resident);
    proc_printf(text, "Pss_Dirty:      %8lu kB\n", anonymous);
    if (rollup)
        proc_printf(text,
                    "Pss_Anon:       %8lu kB\nPss_File:       %8lu kB\nPss_Shmem:      %8lu kB\n",
                    anonymous, resident - anonymous - s->memory / 1024, s->memory / 1024);
    proc_printf(text, "Shared_Clean:   %8d kB\nShared_Dirty:   %8d kB\n", 0, 0);
    proc_printf(text, "Private_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\n", resident - anonymous,
                anonymous);
    proc_printf(text, "Referenced:     %8lu kB\nAnonymous:      %8lu kB\n", resident, anonymous);
    proc_printf(text, "KSM:            %8d kB\nLazyFree:       %8d kB\nAnonHugePages:  %8d kB\n", 0,
                0, 0);
    proc_printf(text, "ShmemPmdMapped: %8d kB\nFilePmdMapped:  %8d kB\nShared_Hugetlb: %8d kB\n", 0,
                0, 0);
    proc_printf(text, "Private_Hugetlb: %7d kB\nSwap:           %8d kB\nSwapPss:        %8d kB\n",
                0, 0, 0);
    proc_printf(text, "Locked:         %8lu kB\n", s->locked / 1024);
}

static void sums_add(struct sums *s, const struct vma_info *vma)
{
    if (!s->end)
        s->start = vma->start;
    s->end = vma->end;
    s->resident += vma->resident;
    s->anonymous += vma->anonymous;
    if (vma->object && vma->object->ops->is_memory)
        s->memory += vma->resident - vma->anonymous;
    if (vma->flags & MAP_LOCKED)
        s->locked += vma->resident;
}

/* show_smap_vma_flags(): two letters for each, in the order of its bits. */
static void put_flags(struct proc_text *text, const struct vma_info *vma)
{
    static const char marks[][3] = {"sr", "rr", "dc", "wf", "dd", "hg",
                                    "nh", "mg", "um", "uw", "ui", "sl"};
    bool shared = vma->flags & MAP_SHARED;

    proc_printf(text, "VmFlags: %s%s%s%s", vma->prot & PROT_READ ? "rd " : "",
                vma->prot & PROT_WRITE ? "wr " : "", vma->prot & PROT_EXEC ? "ex " : "",
                shared ? "sh " : "");
    proc_printf(text, "%s%s%s%s%s%s", vma->max_prot & PROT_READ ? "mr " : "",
                vma->max_prot & PROT_WRITE ? "mw " : "", vma->max_prot & PROT_EXEC ? "me " : "",
                shared ? "ms " : "", vma->flags & MAP_GROWSDOWN ? "gd " : "",
                vma->flags & MAP_LOCKED ? "lo " : "");
    for (size_t i = 0; i < ARRAY_COUNT(marks); i++) {
        if (i == 3 && !shared && (vma->prot & PROT_WRITE))
            proc_printf(text, "ac ");
        if (i == 3 && (vma->flags & MAP_NORESERVE))
            proc_printf(text, "nr ");
        if (vma->marks >> i & 1)
            proc_printf(text, "%s ", marks[i]);
    }
    proc_printf(text, "\n");
}

static int put_vma_sizes(const struct vma_info *vma, void *arg)
{
    struct proc_text *text = arg;
    struct sums own = {0};

    sums_add(&own, vma);
    proc_put_vma(vma, arg);
    proc_printf(text, "Size:           %8lu kB\n", (vma->end - vma->start) / 1024);
    proc_printf(text, "KernelPageSize: %8lu kB\nMMUPageSize:    %8lu kB\n", PAGE_SIZE / 1024,
                PAGE_SIZE / 1024);
    put_sizes(text, &own, false);
    proc_printf(text, "THPeligible:    %8d\n", 0);
    put_flags(text, vma);
    return 0;
}

static ssize_t each_usage(uint64_t key, mm_vma_fn fn, void *arg, struct proc_text *text)
{
    struct mm *mm = NULL;
    int err = proc_look_into_memory(key, &mm);

    if (err == 0 && mm)
        err = mm_for_each_vma_usage(mm, fn, arg);
    mm_unref(mm);
    return err < 0 ? err : (ssize_t)text->length;
}

ssize_t proc_smaps_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    return each_usage(key, put_vma_sizes, &text, &text);
}

static int add_vma(const struct vma_info *vma, void *arg)
{
    sums_add(arg, vma);
    return 0;
}

ssize_t proc_smaps_rollup_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct vma_info all = {.name = "[rollup]"};
    struct sums sums = {0};
    ssize_t n = each_usage(key, add_vma, &sums, &text);

    if (n < 0)
        return n;
    all.start = sums.start;
    all.end = sums.end;
    proc_put_vma(&all, &text);
    put_sizes(&text, &sums, true);
    return (ssize_t)text.length;
}

/* mpol_to_str() */
static void put_policy(struct proc_text *text, const struct mm_policy *policy)
{
    static const char *const names[] = {"default",    "prefer", "bind",
                                        "interleave", "local",  "prefer (many)"};
    uint32_t mode = policy->mode & ~(uint32_t)MPOL_MODE_FLAGS;

    proc_printf(text, " %s", mode < ARRAY_COUNT(names) ? names[mode] : "default");
    if (policy->mode & MPOL_F_STATIC_NODES)
        proc_printf(text, "=static");
    else if (policy->mode & MPOL_F_RELATIVE_NODES)
        proc_printf(text, "=relative");
    if (policy->nodes)
        proc_printf(text, ":0");
}

static int put_numa(const struct vma_info *vma, void *arg)
{
    unsigned long anonymous = vma->anonymous / PAGE_SIZE, pages = vma->resident / PAGE_SIZE;
    struct proc_text *text = arg;
    char name[PROC_VMA_NAME_MAX];

    proc_printf(text, "%08lx", vma->start);
    put_policy(text, &vma->policy);
    proc_vma_name(vma, name, sizeof(name));
    if (vma->object && !vma->name)
        proc_printf(text, " file=%s", name);
    else if (strcmp(name, "[heap]") == 0 || strcmp(name, "[stack]") == 0)
        proc_printf(text, " %.*s", (int)strlen(name) - 2, name + 1);
    if (anonymous)
        proc_printf(text, " anon=%lu dirty=%lu", anonymous, anonymous);
    if (pages && pages != anonymous)
        proc_printf(text, " mapped=%lu", pages);
    if (pages)
        proc_printf(text, " N0=%lu kernelpagesize_kB=%lu", pages, PAGE_SIZE / 1024);
    proc_printf(text, "\n");
    return 0;
}

ssize_t proc_numa_maps_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    return each_usage(key, put_numa, &text, &text);
}
