/* /proc/PID/maps: a line for each VMA, as fs/proc/task_mmu.c prints it. */
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
