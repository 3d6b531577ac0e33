/* shmctl(2): what is told of segments; how they change and go; the end of a namespace's. */
#include "sentry/kernel/ipc/shm_internal.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"

static struct shm_segment *find(struct ipc_ns *ns, int id)
{
    struct ipc_object *object = ipc_find(shm_table(ns), id);

    return object ? container_of(object, struct shm_segment, ipc) : NULL;
}

static int find_own(struct task *task, struct ipc_ns *ns, int id, struct shm_segment **ret)
{
    struct ipc_object *object;
    int err = ipc_find_owned(task, shm_table(ns), id, &object);

    if (err == 0)
        *ret = container_of(object, struct shm_segment, ipc);
    return err;
}

struct told {
    struct shmid_ds *ds;
    uint64_t *resident; /* NULL: is not wanted */
};

static void fill(struct ipc_object *object, void *arg)
{
    const struct shm_segment *s = container_of(object, struct shm_segment, ipc);
    const struct told *told = arg;

    *told->ds = (struct shmid_ds){
        .shm_segsz = s->size,
        .shm_atime = s->attach_time,
        .shm_dtime = s->detach_time,
        .shm_ctime = s->change_time,
        .shm_cpid = task_shown_pid(task_current(), s->creator),
        .shm_lpid = task_shown_pid(task_current(), s->last),
        .shm_nattch = s->attached,
    };
    ipc_get_perm(object, &told->ds->shm_perm);
    if (told->resident)
        *told->resident = shmem_resident_size(s->pages);
}

int shm_stat(struct task *task, int id, enum ipc_stat_by by, struct shmid_ds *ret,
             uint64_t *ret_resident)
{
    struct told told = {ret, ret_resident};

    return ipc_stat(task, shm_table(task_ipc_ns(task)), id, by, fill, &told);
}

int shm_set(struct task *task, int id, const struct shmid_ds *ds)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct shm_segment *s;
    int err;

    lock_acquire(&shm_table(ns)->lock);
    err = find_own(task, ns, id, &s);
    if (err == 0)
        err = ipc_set_perm(&s->ipc, &ds->shm_perm);
    if (err == 0)
        s->change_time = ipc_seconds();
    lock_release(&shm_table(ns)->lock);
    return err;
}

/* True: the table's reference is for the caller to drop. */
static bool doom_locked(struct shm_segment *s)
{
    if (s->attached == 0) {
        shm_remove_locked(s);
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

    lock_acquire(&shm_table(ns)->lock);
    err = find_own(task, ns, id, &s);
    if (err == 0)
        gone = doom_locked(s);
    lock_release(&shm_table(ns)->lock);
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
        if (lock && !(s->ipc.mode & SHM_LOCKED) && shm_page_count(s) > limit / PAGE_SIZE)
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

    lock_acquire(&shm_table(ns)->lock);
    s = find(ns, id);
    if (s)
        err = lock_segment(task, s, lock, limit);
    lock_release(&shm_table(ns)->lock);
    return err;
}

int shm_get_limits(struct task *task, struct shminfo *ret)
{
    struct ipc_ns *ns = task_ipc_ns(task);
    struct ipc_table *table = shm_table(ns);
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
    struct ipc_table *table = shm_table(ns);
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
    struct ipc_table *table = shm_table(ns);
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
