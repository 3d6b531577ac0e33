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
#include "sentry/kernel/ipc/shm.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/mappable.h"

struct shm_segment {
    struct ipc_object ipc;
    struct mappable object;
    struct mappable *pages; /* owned reference */
    struct ipc_ns *ns;      /* a hold */
    uint64_t size;          /* bytes, as asked for */

    /* Under the table's lock. */
    uint64_t attached;
    int32_t creator, last;
    int64_t attach_time, detach_time, change_time;
    bool removed; /* from the table */
};

static struct shm_segment *segment_of(struct mappable *m)
{
    return container_of(m, struct shm_segment, object);
}

static struct ipc_table *table_of(struct ipc_ns *ns)
{
    return &ns->tables[IPC_KIND_SHM];
}

static struct shm_segment *find(struct ipc_ns *ns, int id)
{
    struct ipc_object *object = ipc_find(table_of(ns), id);

    return object ? container_of(object, struct shm_segment, ipc) : NULL;
}

static int find_own(struct task *task, struct ipc_ns *ns, int id, struct shm_segment **ret)
{
    struct ipc_object *object;
    int err = ipc_find_owned(task, table_of(ns), id, &object);

    if (err == 0)
        *ret = container_of(object, struct shm_segment, ipc);
    return err;
}

static uint64_t page_count(const struct shm_segment *s)
{
    return (s->size + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* The table's lock is held; the caller has a reference of its own, or calls release_removed(). */
static void remove_locked(struct shm_segment *s)
{
    ipc_remove(table_of(s->ns), &s->ipc);
    s->ns->shm_pages -= page_count(s);
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

    lock_acquire(&table_of(s->ns)->lock);
    s->attached++;
    s->last = current_pid();
    s->attach_time = ipc_seconds();
    lock_release(&table_of(s->ns)->lock);
}

static bool segment_ends_with_mapping(struct mappable *m)
{
    struct shm_segment *s = segment_of(m);
    bool ends;

    lock_acquire(&table_of(s->ns)->lock);
    ends = s->attached == 1 && (s->ipc.mode & SHM_DEST);
    lock_release(&table_of(s->ns)->lock);
    return ends;
}

/* One attachment less; true when that was the last of a segment to be removed: unref it. */
static bool let_go_locked(struct shm_segment *s)
{
    if (--s->attached > 0 || !(s->ipc.mode & SHM_DEST) || s->removed)
        return false;
    remove_locked(s);
    return true;
}

static void segment_closed(struct mappable *m)
{
    struct shm_segment *s = segment_of(m);
    bool gone;

    lock_acquire(&table_of(s->ns)->lock);
    s->last = current_pid();
    s->detach_time = ipc_seconds();
    gone = let_go_locked(s);
    lock_release(&table_of(s->ns)->lock);
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

    ns->shm_pages -= page_count(s);
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
        .size = page_count(s) * PAGE_SIZE,
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
    struct lock *lock = &table_of(ns)->lock;
    unsigned mode = (flags & SHM_RDONLY ? 0444 : 0666) | (flags & SHM_EXEC ? 0111 : 0);
    struct ipc_object *object;
    struct shm_segment *s;
    bool fixed, gone;
    int err;

    if (id < 0 || check_place(&addr, flags, &fixed) < 0)
        return -EINVAL;
    lock_acquire(lock);
    err = ipc_find_permitted(task, table_of(ns), id, mode, &object);
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
    *ret_size = page_count(segment_of(m)) * PAGE_SIZE;
    return true;
}

int shm_detach(struct task *task, uaddr_t addr)
{
    return is_aligned(addr, PAGE_SIZE) ? mm_detach(task->mm, addr, is_segment) : -EINVAL;
}

/* ---- shmctl ------------------------------------------------------------------------------- */

static void fill(const struct shm_segment *s, struct shmid_ds *ret)
{
    *ret = (struct shmid_ds){
        .shm_segsz = s->size,
        .shm_atime = s->attach_time,
        .shm_dtime = s->detach_time,
        .shm_ctime = s->change_time,
        .shm_cpid = task_shown_pid(task_current(), s->creator),
        .shm_lpid = task_shown_pid(task_current(), s->last),
        .shm_nattch = s->attached,
    };
    ipc_get_perm(&s->ipc, &ret->shm_perm);
}

int shm_stat(struct task *task, int id, enum ipc_stat_by by, struct shmid_ds *ret,
             uint64_t *ret_resident)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct ipc_table *table = table_of(ns);
    struct ipc_object *object;
    int result;

    lock_acquire(&table->lock);
    result = ipc_find_by(task, table, id, by, &object);
    if (result == 0) {
        struct shm_segment *s = container_of(object, struct shm_segment, ipc);

        fill(s, ret);
        if (ret_resident)
            *ret_resident = shmem_resident_size(s->pages);
        result = object->id;
    }
    lock_release(&table->lock);
    return result;
}

int shm_set(struct task *task, int id, const struct shmid_ds *ds)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct shm_segment *s;
    int err;

    lock_acquire(&table_of(ns)->lock);
    err = find_own(task, ns, id, &s);
    if (err == 0)
        err = ipc_set_perm(&s->ipc, &ds->shm_perm);
    if (err == 0)
        s->change_time = ipc_seconds();
    lock_release(&table_of(ns)->lock);
    return err;
}

/* True: the table's reference is for the caller to drop. */
static bool doom_locked(struct shm_segment *s)
{
    if (s->attached == 0) {
        remove_locked(s);
        return true;
    }
    s->ipc.mode |= SHM_DEST;
    s->ipc.key = IPC_PRIVATE;
    return false;
}

int shm_remove(struct task *task, int id)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct shm_segment *s;
    bool gone = false;
    int err;

    lock_acquire(&table_of(ns)->lock);
    err = find_own(task, ns, id, &s);
    if (err == 0)
        gone = doom_locked(s);
    lock_release(&table_of(ns)->lock);
    if (gone)
        mappable_unref(&s->object);
    return err;
}

/* Nothing is ever swapped; what is left are the rights and the limit. */
static int lock_segment(struct task *task, struct shm_segment *s, bool lock, uint64_t limit)
{
    if (!task_has_ns_cap(task, task_ipc_ns(task)->ns.owner, CAP_IPC_LOCK)) {
        if (task->cred->euid != s->ipc.uid && task->cred->euid != s->ipc.cuid)
            return -EPERM;
        if (lock && limit == 0)
            return -EPERM;
        if (lock && !(s->ipc.mode & SHM_LOCKED) && page_count(s) > limit / PAGE_SIZE)
            return -ENOMEM;
    }
    s->ipc.mode = lock ? s->ipc.mode | SHM_LOCKED : s->ipc.mode & ~(uint32_t)SHM_LOCKED;
    return 0;
}

int shm_lock(struct task *task, int id, bool lock)
{
    uint64_t limit = task_rlimit(task, RLIMIT_MEMLOCK);
    struct ipc_ns *ns = task_ipc_ns(task);
    struct shm_segment *s;
    int err = -EINVAL;

    lock_acquire(&table_of(ns)->lock);
    s = find(ns, id);
    if (s)
        err = lock_segment(task, s, lock, limit);
    lock_release(&table_of(ns)->lock);
    return err;
}

int shm_get_limits(struct task *task, struct shminfo *ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct ipc_table *table = table_of(ns);
    int max;

    *ret = (struct shminfo){
        .shmmax = ipc_limit(&ns->limits.shm_size),
        .shmmin = 1,
        .shmmni = ipc_limit(&ns->limits.shm_count),
        .shmseg = ipc_limit(&ns->limits.shm_count),
        .shmall = ipc_limit(&ns->limits.shm_pages),
    };
    lock_acquire(&table->lock);
    max = ipc_max_slot(table);
    lock_release(&table->lock);
    return max;
}

int shm_get_usage(struct task *task, struct shm_info *ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct ipc_table *table = table_of(ns);
    uint64_t resident = 0;
    int max;

    lock_acquire(&table->lock);
    for (int slot = 0; slot < table->capacity; slot++) {
        if (table->slots[slot])
            resident += shmem_resident_size(
                container_of(table->slots[slot], struct shm_segment, ipc)->pages);
    }
    *ret = (struct shm_info){
        .used_ids = table->in_use,
        .shm_tot = ns->shm_pages,
        .shm_rss = resident / PAGE_SIZE,
    };
    max = ipc_max_slot(table);
    lock_release(&table->lock);
    return max;
}

void shm_destroy_all(struct ipc_ns *ns)
{
    struct ipc_table *table = table_of(ns);
    int slot = 0;

    lock_acquire(&table->lock);
    while (slot < table->capacity) {
        struct ipc_object *object = table->slots[slot++];
        struct shm_segment *s = container_of(object, struct shm_segment, ipc);

        if (!object || !doom_locked(s))
            continue;
        lock_release(&table->lock);
        mappable_unref(&s->object);
        lock_acquire(&table->lock);
    }
    lock_release(&table->lock);
}
