/* PAGEMAP_SCAN of /proc/PID/pagemap: Linux do_pagemap_scan(), Documentation/.../pagemap.rst. */
#include <errno.h>
#include <linux/ioctl.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/mm.h"
#include "sentry/mm/usercopy.h"

#define SCAN_PROTECTS 1
#define SCAN_CHECKS   2

struct scan_args {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t inverted, mask, any_of, told;
};
static_assert(sizeof(struct scan_args) == 96, "struct pm_scan_arg");
static_assert(sizeof(struct mm_scan_region) == 24, "struct page_region");

#define PAGEMAP_SCAN _IOWR('f', 16, struct scan_args)

static bool lies_in(struct mm *mm, uint64_t start, uint64_t size)
{
    uint64_t max = mm_environment(mm)->limits.user_max;

    return start <= max && size <= max - start;
}

static int check(struct mm *caller, const struct scan_args *a)
{
    if (a->size != sizeof(*a) || (a->flags & ~(uint64_t)(SCAN_PROTECTS | SCAN_CHECKS)) ||
        ((a->inverted | a->mask | a->any_of | a->told) & ~(uint64_t)MM_PAGE_CATEGORIES) ||
        !is_aligned(a->start, PAGE_SIZE))
        return -EINVAL;
    if (a->end < a->start || !lies_in(caller, a->start, a->end - a->start))
        return -EFAULT;
    if (!a->vec && a->vec_len)
        return -EINVAL;
    if (a->vec && (a->vec_len > UINT64_MAX / sizeof(struct mm_scan_region) ||
                   !lies_in(caller, a->vec, a->vec_len * sizeof(struct mm_scan_region))))
        return -EFAULT;
    return 0;
}

static int put_regions(struct mm *caller, struct scan_args *a, struct mm_scan *scan)
{
    size_t size = scan->count * sizeof(scan->region[0]);

    if (copy_to_user(caller, a->vec, scan->region, size) < 0)
        return -EFAULT;
    a->vec += size;
    a->vec_len -= scan->count;
    scan->count = 0;
    return 0;
}

/* How many regions were told. */
static long run(struct mm *mm, struct mm *caller, struct scan_args *a, struct mm_scan *scan)
{
    uint64_t room = a->vec_len;
    int result;

    do {
        scan->room = (uint32_t)MIN(a->vec_len, (uint64_t)MM_SCAN_REGIONS);
        result = mm_scan(mm, scan);
        if (result < 0 && result != -ENOSPC)
            return result;
        if (result != 0 && put_regions(caller, a, scan) < 0)
            return -EFAULT;
        if (result == 0 && task_is_leaving(task_current()))
            return -EINTR;
    } while (result == 0 || (result == -ENOSPC && a->vec_len && scan->pages));
    return (long)(room - a->vec_len);
}

long proc_pagemap_ioctl(struct mm *mm, struct mm *caller, uint32_t cmd, uaddr_t arg)
{
    struct mm_scan scan = {.count = 0};
    struct scan_args a;
    uint64_t walk_end;
    long result;

    if (cmd != (uint32_t)PAGEMAP_SCAN)
        return -EINVAL;
    if (copy_struct_from_user(caller, &a, arg) < 0)
        return -EFAULT;
    result = check(caller, &a);
    if (result < 0)
        return result;
    scan.at = a.start;
    scan.end = round_up(a.end, PAGE_SIZE);
    scan.inverted = a.inverted;
    scan.mask = a.mask;
    scan.any_of = a.any_of;
    scan.told = a.told;
    scan.keeps = a.vec != 0;
    scan.protects = a.flags & SCAN_PROTECTS;
    scan.checks = a.flags & SCAN_CHECKS;
    scan.pages = a.max_pages ? a.max_pages : UINT64_MAX;
    result = run(mm, caller, &a, &scan);
    walk_end = scan.at;
    if (copy_struct_to_user(caller, arg + offsetof(struct scan_args, walk_end), &walk_end) < 0)
        return -EFAULT;
    return result;
}
