/*
 * The descriptor, its messages, and the tasks that wait for an answer.
 *
 *   fault -> enqueue: on `waiting`, not told -> read(2) tells it -> an answer covers its address:
 *            woken, off the list -> the access is repeated
 *
 * The program's own access sleeps like a blocking call, and a signal lets it go: it faults again
 * after the handler. A system call's copy cannot be repeated from the start, so that only the end
 * of its process lets it go, as on Linux.
 */
#include "sentry/kernel/userfaultfd.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "abi/userfaultfd.h"
#include "host/futex.h"
#include "sentry/fs/event/anon.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/mm/userfault.h"
#include "sentry/vfs/file.h"

#define FEATURES                                                                                   \
    ((uint64_t)(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS | UFFD_FEATURE_THREAD_ID |    \
                UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_MISSING_SHMEM |                          \
                UFFD_FEATURE_MINOR_SHMEM | LINUX_UFFD_FEATURE_POISON | LINUX_UFFD_FEATURE_MOVE))
#define IOCTL_BIT(nr) (1UL << (nr))
#define RANGE_IOCTLS                                                                               \
    (IOCTL_BIT(_UFFDIO_WAKE) | IOCTL_BIT(_UFFDIO_COPY) | IOCTL_BIT(_UFFDIO_ZEROPAGE) |             \
     IOCTL_BIT(_IOC_NR(LINUX_UFFDIO_POISON)) | IOCTL_BIT(_IOC_NR(LINUX_UFFDIO_MOVE)))

struct userfaultfd {
    struct mm_userfault base; /* its lock guards what follows */
    struct list waiting;      /* struct mm_userfault_wait, oldest first */
    struct wait_queue queue;  /* readers */
    uint64_t features;
    bool ready;     /* UFFDIO_API was there */
    bool closed;    /* nobody will ever answer: let everybody through */
    bool user_only; /* UFFD_USER_MODE_ONLY */
};

struct uffd_file {
    struct file file;
    struct userfaultfd *u; /* a reference */
};

static struct userfaultfd *uffd_of(struct mm_userfault *base)
{
    return container_of(base, struct userfaultfd, base);
}

static struct userfaultfd *uffd_of_file(struct file *f)
{
    return container_of(f, struct uffd_file, file)->u;
}

/* ---- waiting for an answer ---------------------------------------------------------------- */

static bool fault_enqueue(struct mm_userfault *base, struct mm_userfault_wait *w)
{
    struct userfaultfd *u = uffd_of(base);
    bool waits;

    w->task = task_current();
    lock_acquire(&base->lock);
    waits = w->task && !(u->features & UFFD_FEATURE_SIGBUS) && (w->user || !u->user_only);
    list_init(&w->node);
    w->woken = u->closed;
    if (waits && !u->closed) {
        if (w->user)
            waiter_reset(&w->task->waiter);
        list_add_tail(&u->waiting, &w->node);
    }
    lock_release(&base->lock);
    if (waits)
        wait_queue_wake(&u->queue, POLLIN | POLLRDNORM);
    return waits;
}

static bool is_woken(const struct mm_userfault_wait *w)
{
    return __atomic_load_n(&w->woken, __ATOMIC_ACQUIRE);
}

static bool is_leaving(struct task *task)
{
    struct process *process = task->process;
    bool leaving;

    lock_acquire(&process->lock);
    leaving = process->group_exit || (process->exec_task && process->exec_task != task);
    lock_release(&process->lock);
    return leaving;
}

/* In the midst of a system call: no signal ends it, except the process's end. */
static void wait_for_life(struct mm_userfault_wait *w)
{
    struct process *process = w->task->process;

    for (;;) {
        uint32_t word = __atomic_load_n(&process->stop_word, __ATOMIC_ACQUIRE);

        if (is_woken(w) || is_leaving(w->task))
            return;
        host_futex_wait(&process->stop_word, word, HOST_NEVER);
    }
}

static int fault_sleep(struct mm_userfault *base, struct mm_userfault_wait *w)
{
    int err = 0;

    if (!w->user)
        wait_for_life(w);
    while (w->user && err == 0 && !is_woken(w))
        err = task_block(w->task, UINT64_MAX);
    lock_acquire(&base->lock);
    if (!is_woken(w))
        list_del_init(&w->node);
    lock_release(&base->lock);
    if (is_woken(w))
        return 0;
    return w->user ? -EINTR : -EFAULT;
}

static void wake_locked(struct mm_userfault_wait *w)
{
    struct task *task = task_ref(w->task);
    bool user = w->user;

    list_del_init(&w->node);
    __atomic_store_n(&w->woken, true, __ATOMIC_RELEASE); /* `w` may be gone from here on */
    if (user)
        waiter_wake(&task->waiter);
    else
        process_poke(task->process);
    task_unref(task);
}

/* Size 0: all of them. */
static void wake_range(struct userfaultfd *u, uaddr_t start, uint64_t size)
{
    struct mm_userfault_wait *w, *next;

    lock_acquire(&u->base.lock);
    list_for_each_safe (w, next, &u->waiting, node) {
        if (size == 0 || w->addr - start < size)
            wake_locked(w);
    }
    lock_release(&u->base.lock);
}

static void fault_release(struct mm_userfault *base)
{
    free(uffd_of(base));
}

static const struct mm_userfault_ops fault_ops = {
    .enqueue = fault_enqueue,
    .sleep = fault_sleep,
    .release = fault_release,
};

/* ---- requests ----------------------------------------------------------------------------- */

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
        wake_range(u, range.start, range.len);
    return err;
}

static long do_wake(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct uffdio_range range;

    if (copy_struct_from_user(caller, &range, arg) < 0)
        return -EFAULT;
    if (!range_ok(mm, range.start, range.len))
        return -EINVAL;
    wake_range(u, range.start, range.len);
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
        wake_range(u, start, (uint64_t)done);
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
                         int (*fn)(struct mm *mm, uaddr_t addr))
{
    uint64_t done = 0;
    int err = 0;

    while (done < size && err == 0) {
        err = fn(mm, start + done);
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
        (c.mode & ~(uint64_t)UFFDIO_CONTINUE_MODE_DONTWAKE))
        return -EINVAL;
    return finish(u, caller, arg + offsetof(struct uffdio_continue, mapped), c.range.start,
                  c.range.len, each_page(mm, c.range.start, c.range.len, mm_userfault_continue),
                  !(c.mode & UFFDIO_CONTINUE_MODE_DONTWAKE));
}

static long do_poison(struct userfaultfd *u, struct mm *caller, struct mm *mm, uaddr_t arg)
{
    struct linux_uffdio_poison p;

    if (copy_from_user(caller, &p, arg, sizeof(p) - sizeof(p.updated)) < 0)
        return -EFAULT;
    if (!range_ok(mm, p.start, p.size) || (p.mode & ~LINUX_UFFDIO_POISON_MODE_DONTWAKE))
        return -EINVAL;
    return finish(u, caller, arg + offsetof(struct linux_uffdio_poison, updated), p.start, p.size,
                  each_page(mm, p.start, p.size, mm_userfault_poison),
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
        wake_range(u, p.range.start, p.range.len);
    return err;
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

static long uffd_ioctl(struct file *f, struct mm *caller, uint32_t cmd, uint64_t arg)
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
    result = serve_request(u, caller, mm, cmd, arg);
    mm_unref(mm);
    return result;
}

/* ---- messages ----------------------------------------------------------------------------- */

/* The next one that was not told; false: there is none. */
static bool next_message(struct userfaultfd *u, struct uffd_msg *ret)
{
    struct mm_userfault_wait *w;
    bool found = false;

    lock_acquire(&u->base.lock);
    list_for_each (w, &u->waiting, node) {
        if (w->told)
            continue;
        w->told = found = true;
        memset(ret, 0, sizeof(*ret));
        ret->event = UFFD_EVENT_PAGEFAULT;
        ret->arg.pagefault.flags = w->flags;
        ret->arg.pagefault.address =
            u->features & UFFD_FEATURE_EXACT_ADDRESS ? w->addr : round_down(w->addr, PAGE_SIZE);
        if (u->features & UFFD_FEATURE_THREAD_ID)
            ret->arg.pagefault.feat.ptid = (uint32_t)w->task->vtid;
        break;
    }
    lock_release(&u->base.lock);
    return found;
}

static ssize_t uffd_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct userfaultfd *u = uffd_of_file(f);
    struct uffd_msg msg;
    ssize_t done = 0;

    if (!__atomic_load_n(&u->ready, __ATOMIC_ACQUIRE))
        return -EINVAL;
    if (uio->left < sizeof(msg))
        return -EINVAL;
    while (uio->left >= sizeof(msg) && next_message(u, &msg)) {
        if (uio_copy_out(uio, &msg, sizeof(msg)) != sizeof(msg))
            return done ? done : -EFAULT;
        done += (ssize_t)sizeof(msg);
    }
    return done ? done : -EAGAIN;
}

static uint32_t uffd_poll(struct file *f, struct wait_entry *entry)
{
    struct userfaultfd *u = uffd_of_file(f);
    struct mm_userfault_wait *w;
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&u->queue, entry);
    lock_acquire(&u->base.lock);
    list_for_each (w, &u->waiting, node) {
        if (!w->told)
            events = POLLIN;
    }
    /* read(2) itself waits through here, and Linux's poll(2) wants O_NONBLOCK. */
    if (!u->ready)
        events = POLLERR;
    lock_release(&u->base.lock);
    return events;
}

static void uffd_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&uffd_of_file(f)->queue, entry);
}

static void uffd_release(struct file *f)
{
    struct userfaultfd *u = uffd_of_file(f);

    lock_acquire(&u->base.lock);
    u->closed = true;
    lock_release(&u->base.lock);
    mm_userfault_close(&u->base);
    wake_range(u, 0, 0);
    mm_userfault_unref(&u->base);
    file_fini(f);
    free(container_of(f, struct uffd_file, file));
}

static const struct file_operations uffd_operations = {
    .read = uffd_read,
    .poll = uffd_poll,
    .unpoll = uffd_unpoll,
    .ioctl = uffd_ioctl,
    .stat = anon_stat,
    .release = uffd_release,
    .seek_ignored = true,
};

int userfaultfd_create(struct task *task, int flags, struct file **ret)
{
    struct uffd_file *f = calloc(1, sizeof(*f));
    struct userfaultfd *u = calloc(1, sizeof(*u));
    char *name = strdup("anon_inode:[userfaultfd]");

    if (!f || !u || !name) {
        free(f);
        free(u);
        free(name);
        return -ENOMEM;
    }
    list_init(&u->waiting);
    wait_queue_init(&u->queue);
    u->user_only = flags & UFFD_USER_MODE_ONLY;
    mm_userfault_init(&u->base, &fault_ops, task->mm);
    f->u = u;
    file_init(&f->file, &uffd_operations, O_RDONLY | ((uint32_t)flags & O_NONBLOCK));
    f->file.path = name;
    *ret = &f->file;
    return 0;
}
