/*
 * /proc/PID/maps: a line for each VMA, as fs/proc/task_mmu.c prints it; map_files: a link for each
 * one of a file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"

#define NAME_COLUMN 73 /* where names begin */

void proc_vma_name(const struct vma_info *vma, char *buf, size_t size)
{
    buf[0] = 0;
    if (vma->label && !vma->name)
        snprintf(buf, size, vma->object ? "[anon_shmem:%s]" : "[anon:%s]", vma->label);
    else if (vma->name)
        snprintf(buf, size, "%s", vma->name);
    else if (vma->object && vma->object->ops->name)
        vma->object->ops->name(vma->object, buf, size);
}

int proc_put_vma(const struct vma_info *vma, void *arg)
{
    struct proc_text *text = arg;
    size_t start = text->length;
    char name[PROC_VMA_NAME_MAX];
    uint64_t dev = 0, ino = 0;
    int column;

    if (vma->object) {
        dev = __atomic_load_n(&vma->object->label_dev, __ATOMIC_RELAXED);
        ino = __atomic_load_n(&vma->object->label_ino, __ATOMIC_RELAXED);
    }
    proc_printf(text, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", vma->start, vma->end,
                vma->prot & PROT_READ ? 'r' : '-', vma->prot & PROT_WRITE ? 'w' : '-',
                vma->prot & PROT_EXEC ? 'x' : '-', vma->flags & MAP_SHARED ? 's' : 'p',
                vma->object ? vma->offset : 0, major(dev), minor(dev), ino);
    column = (int)(text->length - start);
    proc_vma_name(vma, name, sizeof(name));
    if (name[0])
        proc_printf(text, "%*s%s", MAX(NAME_COLUMN - column, 1), "", name);
    proc_printf(text, "\n");
    return 0;
}

/* The page of calls that every program has, beyond its own addresses (vsyscall(7)'s is emulated).
 */
static const struct vma_info vsyscall = {
    .start = 0xffffffffff600000,
    .end = 0xffffffffff601000,
    .prot = PROT_EXEC,
    .name = "[vsyscall]",
};

ssize_t proc_maps_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct mm *mm = NULL;
    int err = proc_look_into_memory(key, &mm);

    if (err == 0 && mm)
        err = mm_for_each_vma(mm, proc_put_vma, &text);
    if (err == 0 && mm)
        proc_put_vma(&vsyscall, &text);
    mm_unref(mm);
    return err < 0 ? err : (ssize_t)text.length;
}

/* ---- map_files: START-END, for mappings of what has a name in the tree ---------------------- */

struct wanted {
    uaddr_t start, end; /* the first at or after `start`; exactly this one, where `end` is given */
    bool found;
    struct vma_info vma; /* only addresses and protection outlive the walk */
    char name[PROC_VMA_NAME_MAX];
};

static int compare(const struct vma_info *vma, void *arg)
{
    struct wanted *w = arg;

    if (vma->start < w->start || !vma->object ||
        !__atomic_load_n(&vma->object->label_ino, __ATOMIC_RELAXED) ||
        (w->end && (vma->start != w->start || vma->end != w->end)))
        return 0;
    w->found = true;
    w->vma = *vma;
    proc_vma_name(vma, w->name, sizeof(w->name));
    return 1;
}

static int find_mapping(uint64_t tid, struct wanted *w)
{
    struct mm *mm = NULL;
    int err = proc_look_into_memory(tid, &mm);

    if (err < 0)
        return err;
    if (mm)
        mm_for_each_vma(mm, compare, w);
    mm_unref(mm);
    return w->found ? 0 : -ENOENT;
}

/* Its key has no room for two addresses: the number of the page where it begins, and the task. */
#define MAPPING_KEY(tid, start) (((tid) & ((1UL << 29) - 1)) | (start) / PAGE_SIZE << 29)
#define MAPPING_TID(key)        ((key) & ((1UL << 29) - 1))
#define MAPPING_START(key)      ((key) >> 29 << 12)

static ssize_t mapping_readlink(uint64_t key, char *buf, size_t size)
{
    struct wanted w = {.start = MAPPING_START(key)};
    int err = find_mapping(MAPPING_TID(key), &w);

    if (err < 0 || w.vma.start != MAPPING_START(key))
        return err < 0 ? err : -ENOENT;
    return snprintf(buf, size, "%s", w.name);
}

/* Who may checkpoint a process may open what it maps; here names alone are kept, so nobody does. */
static int mapping_follow(uint64_t key, struct link_target *ret)
{
    return -EPERM;
}

static void mapping_owner(uint64_t key, uint32_t *ret_uid, uint32_t *ret_gid)
{
    proc_task_owner(MAPPING_TID(key), ret_uid, ret_gid);
}

static void mapping_status(uint64_t key, struct linux_stat *st)
{
    struct wanted w = {.start = MAPPING_START(key)};

    st->st_size = 64;
    st->st_mode = S_IFLNK;
    if (find_mapping(MAPPING_TID(key), &w) < 0)
        return;
    st->st_mode |= (w.vma.max_prot & PROT_READ ? 0400 : 0) |
                   ((w.vma.flags & MAP_SHARED) && (w.vma.max_prot & PROT_WRITE) ? 0200 : 0);
}

static const struct tree_node mapping_node = {
    .name = "",
    .mode = S_IFLNK | 0400,
    .readlink = mapping_readlink,
    .follow = mapping_follow,
    .status = mapping_status,
    .owner = mapping_owner,
    .no_mounts = true,
};

int proc_find_mapping(uint64_t tid, struct name name, const struct tree_node **ret_node,
                      uint64_t *ret_key)
{
    struct wanted w = {0};
    char text[40];
    int err, used = 0;

    if (name.size >= sizeof(text))
        return -ENOENT;
    memcpy(text, name.text, name.size);
    text[name.size] = 0;
    if (sscanf(text, "%lx-%lx%n", &w.start, &w.end, &used) != 2 || text[used] || !w.end)
        return -ENOENT;
    err = find_mapping(tid, &w);
    if (err < 0)
        return err;
    *ret_node = &mapping_node;
    *ret_key = MAPPING_KEY(tid, w.start);
    return 0;
}

int64_t proc_list_mappings(uint64_t tid, int64_t from, char *ret_name, size_t size,
                           const struct tree_node **ret_node)
{
    struct wanted w = {.start = (uaddr_t)from * PAGE_SIZE};

    if (find_mapping(tid, &w) < 0)
        return -1;
    snprintf(ret_name, size, "%lx-%lx", w.vma.start, w.vma.end);
    *ret_node = &mapping_node;
    return (int64_t)(w.vma.start / PAGE_SIZE);
}
