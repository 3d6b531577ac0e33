/*
 * /proc/PID/maps: a line for each VMA, as fs/proc/task_mmu.c prints it; smaps: with how much of it
 * is there; smaps_rollup: the sums.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"

#define NAME_COLUMN 73 /* where names begin */

static void put_name(struct proc_text *text, const struct vma_info *vma, size_t line_start)
{
    char name[4200] = "";
    int column = (int)(text->length - line_start);

    if (vma->name)
        snprintf(name, sizeof(name), "%s", vma->name);
    else if (vma->object && vma->object->ops->name)
        vma->object->ops->name(vma->object, name, sizeof(name));
    if (name[0])
        proc_printf(text, "%*s%s", MAX(NAME_COLUMN - column, 1), "", name);
}

/* Device and inode of mapped files are not known to the memory manager: 00:00 0. */
static int put_vma(const struct vma_info *vma, void *arg)
{
    struct proc_text *text = arg;
    size_t start = text->length;

    proc_printf(text, "%08lx-%08lx %c%c%c%c %08lx 00:00 0 ", vma->start, vma->end,
                vma->prot & PROT_READ ? 'r' : '-', vma->prot & PROT_WRITE ? 'w' : '-',
                vma->prot & PROT_EXEC ? 'x' : '-', vma->flags & MAP_SHARED ? 's' : 'p',
                vma->object ? vma->offset : 0);
    put_name(text, vma, start);
    proc_printf(text, "\n");
    return 0;
}

ssize_t proc_maps_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct mm *mm = NULL;
    int err = proc_look_into_memory(key, &mm);

    if (err == 0 && mm)
        err = mm_for_each_vma(mm, put_vma, &text);
    mm_unref(mm);
    return err < 0 ? err : (ssize_t)text.length;
}

/* Shared or not is known to nobody here: every page counts as this program's own. */
static void put_sizes(struct proc_text *text, const struct vma_info *vma)
{
    unsigned long resident = vma->resident / 1024, anonymous = vma->anonymous / 1024;

    proc_printf(text, "Rss:            %8lu kB\nPss:            %8lu kB\n", resident, resident);
    proc_printf(text, "Shared_Clean:   %8d kB\nShared_Dirty:   %8d kB\n", 0, 0);
    proc_printf(text, "Private_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\n", resident - anonymous,
                anonymous);
    proc_printf(text, "Referenced:     %8lu kB\nAnonymous:      %8lu kB\n", resident, anonymous);
    proc_printf(text, "AnonHugePages:  %8d kB\nSwap:           %8d kB\nSwapPss:        %8d kB\n", 0,
                0, 0);
    proc_printf(text, "Locked:         %8lu kB\n", vma->flags & MAP_LOCKED ? resident : 0);
}

static void put_flags(struct proc_text *text, const struct vma_info *vma)
{
    proc_printf(text, "VmFlags: %s%s%s%s%s%s%s\n", vma->prot & PROT_READ ? "rd " : "",
                vma->prot & PROT_WRITE ? "wr " : "", vma->prot & PROT_EXEC ? "ex " : "",
                vma->flags & MAP_SHARED ? "sh " : "", vma->flags & MAP_GROWSDOWN ? "gd " : "",
                vma->flags & MAP_LOCKED ? "lo " : "", vma->flags & MAP_NORESERVE ? "nr " : "");
}

static int put_vma_sizes(const struct vma_info *vma, void *arg)
{
    struct proc_text *text = arg;

    put_vma(vma, arg);
    proc_printf(text, "Size:           %8lu kB\n", (vma->end - vma->start) / 1024);
    proc_printf(text, "KernelPageSize: %8lu kB\nMMUPageSize:    %8lu kB\n", PAGE_SIZE / 1024,
                PAGE_SIZE / 1024);
    put_sizes(text, vma);
    put_flags(text, vma);
    return 0;
}

ssize_t proc_smaps_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct mm *mm = NULL;
    int err = proc_look_into_memory(key, &mm);

    if (err == 0 && mm)
        err = mm_for_each_vma_usage(mm, put_vma_sizes, &text);
    mm_unref(mm);
    return err < 0 ? err : (ssize_t)text.length;
}

static int add_vma(const struct vma_info *vma, void *arg)
{
    struct vma_info *sum = arg;

    if (!sum->end)
        sum->start = vma->start;
    sum->end = vma->end;
    sum->resident += vma->resident;
    sum->anonymous += vma->anonymous;
    return 0;
}

ssize_t proc_smaps_rollup_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct vma_info sum = {.name = "[rollup]"};
    struct mm *mm = NULL;
    int err = proc_look_into_memory(key, &mm);

    if (err == 0 && mm)
        err = mm_for_each_vma_usage(mm, add_vma, &sum);
    if (err == 0 && mm) {
        put_vma(&sum, &text);
        put_sizes(&text, &sum);
    }
    mm_unref(mm);
    return err < 0 ? err : (ssize_t)text.length;
}
