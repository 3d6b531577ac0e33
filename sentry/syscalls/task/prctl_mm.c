/*
 * PR_SET_MM of prctl(2): a program says where its parts are, and which file it is, for /proc to
 * tell. What restores a checkpoint uses it. kernel/sys.c of Linux.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/task/prctl.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/path/open.h"

#define MMAP_MIN_ADDR 65536UL
#define TASK_SIZE_MAX 0x7ffffffff000UL

/* struct prctl_mm_map */
struct mm_map {
    uint64_t code_start, code_end, data_start, data_end, brk_start, brk, stack_start;
    uint64_t arg_start, arg_end, env_start, env_end;
    uint64_t auxv;
    uint32_t auxv_size, exe_fd;
};
static_assert(sizeof(struct mm_map) == 104, "struct prctl_mm_map");

static bool is_address(uint64_t addr)
{
    return addr >= MMAP_MIN_ADDR && addr < TASK_SIZE_MAX;
}

static int check_layout(struct task *task, const struct mm_layout *l)
{
    const uint64_t all[] = {l->code_start, l->code_end,  l->data_start,  l->data_end,
                            l->brk_start,  l->brk,       l->stack_start, l->arg_start,
                            l->arg_end,    l->env_start, l->env_end};
    uint64_t limit = task_rlimit(task, RLIMIT_DATA);

    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        if (!is_address(all[i]))
            return -EINVAL;
    }
    if (l->code_start >= l->code_end || l->data_start > l->data_end || l->brk_start > l->brk ||
        l->arg_start > l->arg_end || l->env_start > l->env_end)
        return -EINVAL;
    if (limit != RLIM64_INFINITY && l->brk - l->brk_start + l->data_end - l->data_start > limit)
        return -EINVAL;
    return 0;
}

/* ---- the file ----------------------------------------------------------------------------- */

static int is_mapping_of(const struct vma_info *vma, void *arg)
{
    return vma->object && vma->object == arg ? -EBUSY : 0;
}

/* -EBUSY while the program still has its old file mapped. */
static int check_unmapped(struct task *task)
{
    struct process *process = task->process;
    struct mappable *object = NULL;
    struct file *old;
    int error = 0;

    lock_acquire(&process->lock);
    old = process->exe ? file_ref(process->exe) : NULL;
    lock_release(&process->lock);
    if (old && old->ops->mmap && old->ops->mmap(old, &object) == 0)
        error = mm_for_each_vma(task->mm, is_mapping_of, object);
    mappable_unref(object);
    file_unref(old);
    return error;
}

/* Nobody may write to it while it is what this process executes. */
static int take_exe(struct task *task, const struct file *file)
{
    struct process *process = task->process;
    struct file *exe, *old;
    int error = file->at.dentry ? vfs_open_exec_at(&file->at, &exe) : -EACCES;

    if (error < 0)
        return error == -ETXTBSY ? -EACCES : error;
    error = check_unmapped(task);
    if (error < 0) {
        file_unref(exe);
        return error;
    }
    lock_acquire(&process->lock);
    old = process->exe;
    process->exe = exe;
    lock_release(&process->lock);
    file_unref(old);
    return 0;
}

static int set_exe(struct task *task, uint32_t fd)
{
    struct file *file = fdtable_get(task->files, (int)fd);
    int error = file && !(file->flags & O_PATH) ? take_exe(task, file) : -EBADF;

    file_unref(file);
    return error;
}

/* ---- all at once: PR_SET_MM_MAP ----------------------------------------------------------- */

static int get_auxv(struct task *task, uaddr_t addr, uint64_t size, struct mm_layout *layout)
{
    uint64_t auxv[MM_AUXV_MAX * 2] = {0};

    if (size > sizeof(auxv))
        return -EINVAL;
    if (copy_from_user(task->mm, auxv, addr, size) < 0)
        return -EFAULT;
    /* The last entry ends it, whatever was given. */
    auxv[MM_AUXV_MAX * 2 - 2] = auxv[MM_AUXV_MAX * 2 - 1] = 0;
    memcpy(layout->auxv, auxv, size);
    return 0;
}

static long set_map(struct task *task, uaddr_t addr, uint64_t size)
{
    struct mm_layout layout;
    struct mm_map map;
    int error;

    if (size != sizeof(map))
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &map, addr) < 0)
        return -EFAULT;
    mm_get_layout(task->mm, &layout);
    layout.code_start = map.code_start;
    layout.code_end = map.code_end;
    layout.data_start = map.data_start;
    layout.data_end = map.data_end;
    layout.brk_start = map.brk_start;
    layout.brk = map.brk;
    layout.stack_start = map.stack_start;
    layout.arg_start = map.arg_start;
    layout.arg_end = map.arg_end;
    layout.env_start = map.env_start;
    layout.env_end = map.env_end;
    error = check_layout(task, &layout);
    if (error == 0 && map.auxv_size) {
        memset(layout.auxv, 0, sizeof(layout.auxv));
        error = map.auxv ? get_auxv(task, map.auxv, map.auxv_size, &layout) : -EINVAL;
    }
    if (error == 0 && map.exe_fd != UINT32_MAX) {
        if (!task_has_own_cap(task, CAP_CHECKPOINT_RESTORE) &&
            !task_has_own_cap(task, CAP_SYS_ADMIN))
            return -EPERM;
        error = set_exe(task, map.exe_fd);
    }
    if (error == 0)
        mm_set_layout(task->mm, &layout);
    return error;
}

/* ---- one by one --------------------------------------------------------------------------- */

static uaddr_t *field_of(struct mm_layout *l, uint64_t option)
{
    switch (option) {
    case PR_SET_MM_START_CODE:
        return &l->code_start;
    case PR_SET_MM_END_CODE:
        return &l->code_end;
    case PR_SET_MM_START_DATA:
        return &l->data_start;
    case PR_SET_MM_END_DATA:
        return &l->data_end;
    case PR_SET_MM_START_STACK:
        return &l->stack_start;
    case PR_SET_MM_START_BRK:
        return &l->brk_start;
    case PR_SET_MM_BRK:
        return &l->brk;
    case PR_SET_MM_ARG_START:
        return &l->arg_start;
    case PR_SET_MM_ARG_END:
        return &l->arg_end;
    case PR_SET_MM_ENV_START:
        return &l->env_start;
    case PR_SET_MM_ENV_END:
        return &l->env_end;
    default:
        return NULL;
    }
}

static int is_above(const struct vma_info *vma, void *arg)
{
    return vma->end > *(const uaddr_t *)arg ? 1 : 0;
}

static long set_field(struct task *task, uint64_t option, uaddr_t addr)
{
    bool mapped = option == PR_SET_MM_START_STACK || option >= PR_SET_MM_ARG_START;
    struct mm_layout layout;
    uaddr_t *field;
    int error;

    if (!is_address(addr))
        return -EINVAL;
    mm_get_layout(task->mm, &layout);
    field = field_of(&layout, option);
    if (!field)
        return -EINVAL;
    *field = addr;
    error = check_layout(task, &layout);
    if (error < 0)
        return error;
    /* find_vma() has to find something, there or above. */
    if (mapped && mm_for_each_vma(task->mm, is_above, &addr) == 0)
        return -EFAULT;
    mm_set_layout(task->mm, &layout);
    return 0;
}

static long set_auxv(struct task *task, uaddr_t addr, uint64_t size)
{
    struct mm_layout layout;
    int error;

    mm_get_layout(task->mm, &layout);
    error = get_auxv(task, addr, size, &layout);
    if (error == 0)
        mm_set_layout(task->mm, &layout);
    return error;
}

long prctl_set_mm(struct task *task, const uint64_t a[4])
{
    const uint32_t map_size = sizeof(struct mm_map);
    uint64_t option = a[0], addr = a[1], size = a[2];

    if (a[3] || (size && option != PR_SET_MM_AUXV && option != PR_SET_MM_MAP &&
                 option != PR_SET_MM_MAP_SIZE))
        return -EINVAL;
    if (option == PR_SET_MM_MAP_SIZE)
        return copy_to_user(task->mm, addr, &map_size, sizeof(map_size));
    if (option == PR_SET_MM_MAP)
        return set_map(task, addr, size);
    if (!task_has_cap(task, CAP_SYS_RESOURCE))
        return -EPERM;
    if (option == PR_SET_MM_EXE_FILE)
        return set_exe(task, (uint32_t)addr);
    if (option == PR_SET_MM_AUXV)
        return set_auxv(task, addr, size);
    return set_field(task, option, addr);
}
