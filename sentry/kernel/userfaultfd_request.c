/* The requests of a userfaultfd: ioctl_userfaultfd(2), fs/userfaultfd.c of Linux 6.18. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>

#include "abi/userfaultfd.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/userfaultfd_internal.h"
#include "sentry/mm/usercopy.h"

#define FEATURES                                                                                   \
    ((uint64_t)(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS | UFFD_FEATURE_THREAD_ID |    \
                UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_EVENT_REMOVE |                           \
                UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_FORK |    \
                UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |                            \
                UFFD_FEATURE_WP_HUGETLBFS_SHMEM | LINUX_UFFD_FEATURE_WP_UNPOPULATED |              \
                LINUX_UFFD_FEATURE_POISON | LINUX_UFFD_FEATURE_WP_ASYNC |                          \
                LINUX_UFFD_FEATURE_MOVE))
#define IOCTL_BIT(nr) (1UL << (nr))
#define RANGE_IOCTLS                                                                               \
    (IOCTL_BIT(_UFFDIO_WAKE) | IOCTL_BIT(_UFFDIO_COPY) | IOCTL_BIT(_UFFDIO_ZEROPAGE) |             \
     IOCTL_BIT(_IOC_NR(LINUX_UFFDIO_POISON)) | IOCTL_BIT(_IOC_NR(LINUX_UFFDIO_MOVE)))

static long do_api(struct userfaultfd *u, struct mm *mm, uaddr_t arg)
{
    struct uffdio_api api;
    long err = 0;

    if (copy_struct_from_user(mm, &api, arg) < 0)
        return -EFAULT;
    if (api.api != UFFD_API || (api.features & ~FEATURES))
        err = -EINVAL;
    if (api.features & UFFD_FEATURE_EVENT_FORK)
        err = task_has_cap(task_current(), CAP_SYS_PTRACE) ? err : -EPERM;
    lock_acquire(&u->base.lock);
    if (!err && u->ready)
        err = -EINVAL;
    if (!err) {
        u->ready = true;
        u->features = api.features;
        u->base.lets_writes = api.features & LINUX_UFFD_FEATURE_WP_ASYNC;
        u->base.protects_holes =
            api.features & (LINUX_UFFD_FEATURE_WP_ASYNC | LINUX_UFFD_FEATURE_WP_UNPOPULATED);
    }
    lock_release(&u->base.lock);
    api = (struct uffdio_api){.api = err ? 0 : UFFD_API};
    if (!err) {
        api.features = FEATURES;
        api.ioctls = UFFD_API_IOCTLS;
    }
    return copy_struct_to_user(mm, arg, &api) < 0 ? -EFAULT : err;
}

/* validate_range() */
static bool range_ok(struct mm *mm, uint64_t start, uint64_t size)
{
    const struct platform_limits *limits = &mm_environment(mm)->limits;

    return is_aligned(start, PAGE_SIZE) && is_aligned(size, PAGE_SIZE) && size > 0 &&
           start >= limits->user_min && start < limits->user_max &&
           size <= limits->user_max - start;
}

static long do_register(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    const uint64_t modes =
        UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MINOR;
    struct uffdio_register r;
    long err;

    if (copy_from_user(caller, &r, arg, sizeof(r) - sizeof(r.ioctls)) < 0)
        return -EFAULT;
    if (r.mode == 0 || (r.mode & ~modes) || !range_ok(mm, r.range.start, r.range.len))
        return -EINVAL;
    err = mm_userfault_register(mm, &u->base, r.range.start, r.range.start + r.range.len,
                                (unsigned)r.mode);
    if (err < 0)
        return err;
    r.ioctls = RANGE_IOCTLS |
               (r.mode & UFFDIO_REGISTER_MODE_WP ? IOCTL_BIT(_UFFDIO_WRITEPROTECT) : 0) |
               (r.mode & UFFDIO_REGISTER_MODE_MINOR ? IOCTL_BIT(_UFFDIO_CONTINUE) : 0);
    return copy_to_user(caller, arg + offsetof(struct uffdio_register, ioctls), &r.ioctls,
                        sizeof(r.ioctls));
}

static long do_unregister(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct uffdio_range range;
    long err;

    if (copy_struct_from_user(caller, &range, arg) < 0)
        return -EFAULT;
    if (!range_ok(mm, range.start, range.len))
        return -EINVAL;
    err = mm_userfault_unregister(mm, &u->base, range.start, range.start + range.len);
    if (err == 0)
        uffd_wake_range(u, range.start, range.len);
    return err;
}

static long do_wake(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct uffdio_range range;

    if (copy_struct_from_user(caller, &range, arg) < 0)
        return -EFAULT;
    if (!range_ok(mm, range.start, range.len))
        return -EINVAL;
    uffd_wake_range(u, range.start, range.len);
    return 0;
}

/* Pages in turn, from `src` or (0) zeroes; the bytes that came, or an error when none did. */
static int64_t fill(struct mm *caller, struct mm *mm, uaddr_t dst, uaddr_t src, uint64_t size,
                    bool protect)
{
    uint64_t done = 0;
    int err = 0;
    void *page = src ? malloc(PAGE_SIZE) : NULL;

    if (src && !page)
        return -ENOMEM;
    while (done < size && err == 0) {
        if (src)
            err = copy_from_user(caller, page, src + done, PAGE_SIZE);
        if (err == 0)
            err = mm_userfault_fill(mm, dst + done, page, protect);
        if (err == 0)
            done += PAGE_SIZE;
        if (err == 0 && done < size && task_interrupted(task_current()))
            err = -EINTR;
    }
    free(page);
    return done ? (int64_t)done : err;
}

/* Tells how far it came, and wakes who waited there. */
static long finish(struct userfaultfd *u, struct mm *caller, uaddr_t result_addr, uaddr_t start,
                   uint64_t size, int64_t done, bool wake)
{
    if (copy_struct_to_user(caller, result_addr, &done) < 0)
        return -EFAULT;
    if (done < 0)
        return done;
    if (wake)
        uffd_wake_range(u, start, (uint64_t)done);
    return (uint64_t)done == size ? 0 : -EAGAIN;
}

static long do_copy(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct uffdio_copy c;
    int64_t done;

    if (copy_from_user(caller, &c, arg, sizeof(c) - sizeof(c.copy)) < 0)
        return -EFAULT;
    if (c.src + c.len < c.src || !range_ok(mm, c.dst, c.len) ||
        (c.mode & ~(uint64_t)(UFFDIO_COPY_MODE_DONTWAKE | UFFDIO_COPY_MODE_WP)))
        return -EINVAL;
    /* Address 0 means zeroes below, and faults here. */
    done = c.src ? fill(caller, mm, c.dst, c.src, c.len, c.mode & UFFDIO_COPY_MODE_WP) : -EFAULT;
    return finish(u, caller, arg + offsetof(struct uffdio_copy, copy), c.dst, c.len, done,
                  !(c.mode & UFFDIO_COPY_MODE_DONTWAKE));
}

static long do_zeropage(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct uffdio_zeropage z;
    int64_t done;

    if (copy_from_user(caller, &z, arg, sizeof(z) - sizeof(z.zeropage)) < 0)
        return -EFAULT;
    if (!range_ok(mm, z.range.start, z.range.len) ||
        (z.mode & ~(uint64_t)UFFDIO_ZEROPAGE_MODE_DONTWAKE))
        return -EINVAL;
    done = fill(caller, mm, z.range.start, 0, z.range.len, false);
    return finish(u, caller, arg + offsetof(struct uffdio_zeropage, zeropage), z.range.start,
                  z.range.len, done, !(z.mode & UFFDIO_ZEROPAGE_MODE_DONTWAKE));
}

static int64_t each_page(struct mm *mm, uaddr_t start, uint64_t size,
                         int (*fn)(struct mm *mm, uaddr_t addr, bool protect), bool protect)
{
    uint64_t done = 0;
    int err = 0;

    while (done < size && err == 0) {
        err = fn(mm, start + done, protect);
        if (err == 0)
            done += PAGE_SIZE;
        if (err == 0 && task_interrupted(task_current()))
            break;
    }
    return done ? (int64_t)done : err;
}

static long do_continue(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct uffdio_continue c;

    if (copy_from_user(caller, &c, arg, sizeof(c) - sizeof(c.mapped)) < 0)
        return -EFAULT;
    if (!range_ok(mm, c.range.start, c.range.len) ||
        (c.mode & ~(uint64_t)(UFFDIO_CONTINUE_MODE_DONTWAKE | LINUX_UFFDIO_CONTINUE_MODE_WP)))
        return -EINVAL;
    return finish(u, caller, arg + offsetof(struct uffdio_continue, mapped), c.range.start,
                  c.range.len,
                  each_page(mm, c.range.start, c.range.len, mm_userfault_continue,
                            c.mode & LINUX_UFFDIO_CONTINUE_MODE_WP),
                  !(c.mode & UFFDIO_CONTINUE_MODE_DONTWAKE));
}

static int poison_page(struct mm *mm, uaddr_t addr, bool protect)
{
    return mm_userfault_poison(mm, addr);
}

static long do_poison(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct linux_uffdio_poison p;

    if (copy_from_user(caller, &p, arg, sizeof(p) - sizeof(p.updated)) < 0)
        return -EFAULT;
    if (!range_ok(mm, p.start, p.size) || (p.mode & ~LINUX_UFFDIO_POISON_MODE_DONTWAKE))
        return -EINVAL;
    return finish(u, caller, arg + offsetof(struct linux_uffdio_poison, updated), p.start, p.size,
                  each_page(mm, p.start, p.size, poison_page, false),
                  !(p.mode & LINUX_UFFDIO_POISON_MODE_DONTWAKE));
}

static long do_move(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    const uint64_t modes = LINUX_UFFDIO_MOVE_DONTWAKE | LINUX_UFFDIO_MOVE_ALLOW_SRC_HOLES;
    struct linux_uffdio_move m;
    int64_t done = 0, step = 0;

    if (copy_from_user(caller, &m, arg, sizeof(m) - sizeof(m.move)) < 0)
        return -EFAULT;
    if (caller != mm || !range_ok(mm, m.dst, m.size) || !range_ok(mm, m.src, m.size) ||
        (m.mode & ~modes))
        return -EINVAL;
    while ((uint64_t)done < m.size) {
        step =
            mm_userfault_move(mm, &u->base, m.dst + (uint64_t)done, m.src + (uint64_t)done,
                              m.size - (uint64_t)done, m.mode & LINUX_UFFDIO_MOVE_ALLOW_SRC_HOLES);
        if (step <= 0)
            break;
        done += step;
        if (task_interrupted(task_current()))
            break;
    }
    return finish(u, caller, arg + offsetof(struct linux_uffdio_move, move), m.dst, m.size,
                  done ? done : step, !(m.mode & LINUX_UFFDIO_MOVE_DONTWAKE));
}

static long do_protect(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct uffdio_writeprotect p;
    bool protect, quiet;
    long err;

    if (copy_struct_from_user(caller, &p, arg) < 0)
        return -EFAULT;
    if (!range_ok(mm, p.range.start, p.range.len) ||
        (p.mode & ~(uint64_t)(UFFDIO_WRITEPROTECT_MODE_WP | UFFDIO_WRITEPROTECT_MODE_DONTWAKE)))
        return -EINVAL;
    protect = p.mode & UFFDIO_WRITEPROTECT_MODE_WP;
    quiet = p.mode & UFFDIO_WRITEPROTECT_MODE_DONTWAKE;
    if (protect && quiet)
        return -EINVAL;
    err = mm_userfault_protect(mm, p.range.start, p.range.start + p.range.len, protect);
    if (err == 0 && !protect && !quiet)
        uffd_wake_range(u, p.range.start, p.range.len);
    return err;
}

/* UFFDIO_COPY and its like: what they tell goes where their structures end. */
static const struct {
    uint32_t cmd;
    uint32_t result; /* offset of the count of bytes; 0: there is none */
} page_requests[] = {
    {UFFDIO_COPY, offsetof(struct uffdio_copy, copy)},
    {UFFDIO_ZEROPAGE, offsetof(struct uffdio_zeropage, zeropage)},
    {UFFDIO_CONTINUE, offsetof(struct uffdio_continue, mapped)},
    {LINUX_UFFDIO_MOVE, offsetof(struct linux_uffdio_move, move)},
    {LINUX_UFFDIO_POISON, offsetof(struct linux_uffdio_poison, updated)},
    {UFFDIO_WRITEPROTECT, 0},
};

/* While an event is under way no page comes, whatever is asked for. */
static long check_events(struct userfaultfd *u, struct mm *caller, uint32_t cmd, uaddr_t arg)
{
    const int64_t again = -EAGAIN;

    if (likely(__atomic_load_n(&u->base.events, __ATOMIC_RELAXED) == 0))
        return 0;
    for (size_t i = 0; i < ARRAY_COUNT(page_requests); i++) {
        if (page_requests[i].cmd != cmd)
            continue;
        if (page_requests[i].result &&
            copy_struct_to_user(caller, arg + page_requests[i].result, &again) < 0)
            return -EFAULT;
        return again;
    }
    return 0;
}

static long serve_request(struct userfaultfd *u, struct mm *caller, struct mm *mm, uint32_t cmd,
                          uaddr_t arg)
{
    switch (cmd) {
    case UFFDIO_REGISTER:
        return do_register(u, caller, mm, arg);
    case UFFDIO_UNREGISTER:
        return do_unregister(u, caller, mm, arg);
    case UFFDIO_WAKE:
        return do_wake(u, caller, mm, arg);
    case UFFDIO_COPY:
        return do_copy(u, caller, mm, arg);
    case UFFDIO_ZEROPAGE:
        return do_zeropage(u, caller, mm, arg);
    case UFFDIO_CONTINUE:
        return do_continue(u, caller, mm, arg);
    case LINUX_UFFDIO_MOVE:
        return do_move(u, caller, mm, arg);
    case LINUX_UFFDIO_POISON:
        return do_poison(u, caller, mm, arg);
    case UFFDIO_WRITEPROTECT:
        return do_protect(u, caller, mm, arg);
    default:
        return -EINVAL;
    }
}

long uffd_ioctl(struct file *f, struct mm *caller, uint32_t cmd, uint64_t arg)
{
    struct userfaultfd *u = uffd_of_file(f);
    struct mm *mm;
    long result;

    if (cmd == UFFDIO_API)
        return do_api(u, caller, arg);
    if (!__atomic_load_n(&u->ready, __ATOMIC_ACQUIRE))
        return -EINVAL;
    mm = mm_userfault_get_mm(&u->base);
    if (!mm)
        return -ESRCH;
    result = check_events(u, caller, cmd, arg);
    if (!result)
        result = serve_request(u, caller, mm, cmd, arg);
    mm_unref(mm);
    return result;
}
