/*
 * A segment is an object that VMAs map. Its pages are shared anonymous memory; around them it keeps
 * who attached when. Each VMA counts as one attachment, also those that fork copies and mprotect
 * splits off, as on Linux (shm_open(), shm_close()).
 *
 *   in the table, holding one reference on itself
 *     -> IPC_RMID: out of the table at once if nothing is attached, else marked SHM_DEST and
 * without its key; the last detaching takes it out
 *     -> freed with the last reference: a fault that was just asking for a page may be later
 */
#include "sentry/kernel/ipc/shm_internal.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

static struct shm_segment *segment_of(struct mappable *m)
{
    return container_of(m, struct shm_segment, object);
}

void shm_remove_locked(struct shm_segment *s)
{
    ipc_remove(shm_table(s->ns), &s->ipc);
    s->ns->shm_pages -= shm_page_count(s);
    s->removed = true;
}

/* ---- as an object to be mapped ------------------------------------------------------------ */

static int32_t current_pid(void)
{
    struct task *task = task_current();

    return task ? task->process->pid : 0;
}

static void segment_opened(struct mappable *m)
{
    struct shm_segment *s = segment_of(m);

    lock_acquire(&shm_table(s->ns)->lock);
    s->attached++;
    s->last = current_pid();
    s->attach_time = ipc_seconds();
    lock_release(&shm_table(s->ns)->lock);
}

static bool segment_ends_with_mapping(struct mappable *m)
{
    struct shm_segment *s = segment_of(m);
    bool ends;

    lock_acquire(&shm_table(s->ns)->lock);
    ends = s->attached == 1 && (s->ipc.mode & SHM_DEST);
    lock_release(&shm_table(s->ns)->lock);
    return ends;
}

/* One attachment less; true when that was the last of a segment to be removed: unref it. */
static bool let_go_locked(struct shm_segment *s)
{
    if (--s->attached > 0 || !(s->ipc.mode & SHM_DEST) || s->removed)
        return false;
    shm_remove_locked(s);
    return true;
}

static void segment_closed(struct mappable *m)
{
    struct shm_segment *s = segment_of(m);
    bool gone;

    lock_acquire(&shm_table(s->ns)->lock);
    s->last = current_pid();
    s->detach_time = ipc_seconds();
    gone = let_go_locked(s);
    lock_release(&shm_table(s->ns)->lock);
    if (gone)
        mappable_unref(m); /* the table's; the VMA still has its own */
}

static int segment_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                             struct memfile_range *ret_range)
{
    struct mappable *pages = segment_of(m)->pages;

    return pages->ops->get_pages(pages, offset, want, write, ret_range);
}

static int segment_punch(struct mappable *m, uint64_t offset, uint64_t size)
{
    struct mappable *pages = segment_of(m)->pages;
    int err = pages->ops->punch(pages, offset, size);

    if (!err)
        mappable_invalidate(m, offset, size, false);
    return err;
}

static bool segment_resident(struct mappable *m, uint64_t offset)
{
    struct mappable *pages = segment_of(m)->pages;

    return pages->ops->resident(pages, offset);
}

static int segment_sync(struct mappable *m, uint64_t offset, uint64_t size)
{
    return 0;
}

static void segment_name(struct mappable *m, char *buf, size_t size)
{
    snprintf(buf, size, "/SYSV%08x (deleted)", (unsigned)segment_of(m)->ipc.key);
}

static void segment_release(struct mappable *m)
{
    struct shm_segment *s = segment_of(m);

    mappable_unref(s->pages);
    mappable_fini(m);
    ipc_ns_drop(s->ns);
    free(s);
}

static const struct mappable_ops segment_ops = {
    .is_memory = true,
    .get_pages = segment_get_pages,
    .release = segment_release,
    .name = segment_name,
    .sync = segment_sync,
    .punch = segment_punch,
    .resident = segment_resident,
    .opened = segment_opened,
    .ends_with_mapping = segment_ends_with_mapping,
    .closed = segment_closed,
};

/* ---- shmget ------------------------------------------------------------------------------- */

/* Linux's huge page sizes exist, their pools are empty. */
static int check_huge(const struct task *task, int flags)
{
    int log = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;

    if (!(flags & SHM_HUGETLB))
        return 0;
    if (log != 0 && log != 21 && log != 30)
        return -EINVAL;
    /* can_do_hugetlb_shm(), with vm.hugetlb_shm_group 0 */
    return task_has_cap(task, CAP_IPC_LOCK) || cred_in_group(task->cred, 0) ? -ENOMEM : -EPERM;
}

static int create(struct task *task, const struct ipc_request *request, struct ipc_object **ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    uint64_t pages = request->size / PAGE_SIZE + (request->size % PAGE_SIZE != 0);
    struct memfile_stats stats;
    struct shm_segment *s;
    int err;

    if (request->size < 1 || request->size > ipc_limit(&ns->limits.shm_size))
        return -EINVAL;
    if (pages > UINT64_MAX / PAGE_SIZE || ns->shm_pages + pages < pages ||
        ns->shm_pages + pages > ipc_limit(&ns->limits.shm_pages))
        return -ENOSPC;
    err = check_huge(task, request->flags);
    if (err < 0)
        return err;
    memfile_get_stats(ns->mm_env->memfile, &stats);
    if (request->size > stats.limit && !(request->flags & SHM_NORESERVE))
        return -ENOMEM;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    err = shmem_create(ns->mm_env->memfile, pages * PAGE_SIZE, &s->pages);
    if (err < 0) {
        free(s);
        return err;
    }
    mappable_init(&s->object, &segment_ops);
    refcount_get(&ns->holds);
    s->ns = ns;
    s->size = request->size;
    s->creator = task->process->pid;
    s->change_time = ipc_seconds();
    ns->shm_pages += pages;
    *ret = &s->ipc;
    return 0;
}

/* Under the table's lock, which freeing does not take: nothing is mapped. */
static void discard(struct ipc_ns *ns, struct ipc_object *object)
{
    struct shm_segment *s = container_of(object, struct shm_segment, ipc);

    ns->shm_pages -= shm_page_count(s);
    mappable_unref(&s->object);
}

static int fits(const struct ipc_object *object, const struct ipc_request *request)
{
    return container_of(object, const struct shm_segment, ipc)->size < request->size ? -EINVAL : 0;
}

int shm_get(struct task *task, int32_t key, uint64_t size, int flags)
{
    const struct ipc_request request = {
        .key = key,
        .flags = flags,
        .size = size,
        .max_count = (int32_t)ipc_limit(&task_ipc_ns(task)->limits.shm_count),
        .create = create,
        .discard = discard,
        .fits = fits,
    };

    return ipc_get(task, IPC_KIND_SHM, &request);
}

/* ---- shmat, shmdt ------------------------------------------------------------------------- */

/* The place, and whether the caller chose it: do_shmat(). */
static int check_place(uaddr_t *addr, int flags, bool *ret_fixed)
{
    *ret_fixed = *addr != 0;
    if (!*addr)
        return flags & SHM_REMAP ? -EINVAL : 0;
    if (is_aligned(*addr, PAGE_SIZE))
        return 0;
    if (!(flags & SHM_RND))
        return -EINVAL;
    *addr = round_down(*addr, PAGE_SIZE);
    return *addr == 0 && (flags & SHM_REMAP) ? -EINVAL : 0;
}

static int map_segment(struct task *task, struct shm_segment *s, uaddr_t addr, bool fixed,
                       int flags, uaddr_t *ret_addr)
{
    struct mm_map_args args = {
        .addr = addr,
        .size = shm_page_count(s) * PAGE_SIZE,
        .prot =
            PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0),
        .flags = MAP_SHARED,
        .object = &s->object,
        .max_prot = PROT_READ | PROT_EXEC | (flags & SHM_RDONLY ? 0 : PROT_WRITE),
    };
    int err;

    if (fixed && addr && !(flags & SHM_REMAP)) {
        if (addr + args.size < addr)
            return -EINVAL;
        args.flags |= MAP_FIXED_NOREPLACE;
    } else if (fixed) {
        args.flags |= MAP_FIXED;
    }
    err = mm_map(task->mm, &args, ret_addr);
    return err == -EEXIST ? -EINVAL : err;
}

int shm_attach(struct task *task, int id, uaddr_t addr, int flags, uaddr_t *ret_addr)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct lock *lock = &shm_table(ns)->lock;
    unsigned mode = (flags & SHM_RDONLY ? 0444 : 0666) | (flags & SHM_EXEC ? 0111 : 0);
    struct ipc_object *object;
    struct shm_segment *s;
    bool fixed, gone;
    int err;

    if (id < 0 || check_place(&addr, flags, &fixed) < 0)
        return -EINVAL;
    lock_acquire(lock);
    err = ipc_find_permitted(task, shm_table(ns), id, mode, &object);
    if (err < 0) {
        lock_release(lock);
        return err;
    }
    s = container_of(object, struct shm_segment, ipc);
    s->attached++; /* so that it is not removed meanwhile */
    mappable_ref(&s->object);
    lock_release(lock);
    err = map_segment(task, s, addr, fixed, flags, ret_addr);
    lock_acquire(lock);
    gone = let_go_locked(s);
    lock_release(lock);
    if (gone)
        mappable_unref(&s->object);
    mappable_unref(&s->object);
    return err;
}

static bool is_segment(struct mappable *m, uint64_t *ret_size)
{
    if (m->ops != &segment_ops)
        return false;
    *ret_size = shm_page_count(segment_of(m)) * PAGE_SIZE;
    return true;
}

int shm_detach(struct task *task, uaddr_t addr)
{
    return is_aligned(addr, PAGE_SIZE) ? mm_detach(task->mm, addr, is_segment) : -EINVAL;
}
