/* io_uring_setup(2): a ring as a file, and its shared memory. */
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/cred.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/ringmem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/uring/uring.h"

struct uring_file {
    struct file file;
    struct uring *ring; /* owned reference */
};

struct uring *uring_of(struct file *f)
{
    return container_of(f, struct uring_file, file)->ring;
}

struct uring *uring_ref(struct uring *ring)
{
    refcount_get(&ring->refs);
    return ring;
}

struct uring *uring_unref(struct uring *ring)
{
    if (!ring || !refcount_put(&ring->refs))
        return NULL;
    uring_poller_fini(ring);
    uring_drop_overflow(ring);
    uring_files_fini(ring);
    uring_groups_fini(ring);
    uring_buffers_fini(ring);
    for (size_t i = 0; i < ARRAY_COUNT(ring->creds); i++)
        cred_unref(ring->creds[i]);
    file_unref(ring->eventfd);
    free(ring->worker_cpus);
    mappable_unref(ring->memory);
    lock_destroy(&ring->lock);
    lock_destroy(&ring->submit_lock);
    free(ring);
    return NULL;
}

static uint32_t ring_poll(struct file *f, struct wait_entry *entry)
{
    struct uring *ring = uring_of(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&ring->queue, entry);
    lock_acquire(&ring->lock); /* its memory may change (resize.c) */
    if (READ_ONCE(ring->shared->sq_tail) - READ_ONCE(ring->shared->sq_head) != ring->sq_entries)
        events |= POLLOUT | POLLWRNORM;
    lock_release(&ring->lock);
    if (uring_ready(ring) > 0)
        events |= POLLIN | POLLRDNORM;
    return events;
}

static void ring_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&uring_of(f)->queue, entry);
}

static int ring_mmap(struct file *f, struct mappable **ret_object)
{
    struct uring *ring = uring_of(f);

    if (ring->flags & URING_SETUP_NO_MMAP)
        return -ENOMEM; /* it is mapped where the program wanted it, and nowhere else */
    *ret_object = mappable_ref(ring->memory);
    return 0;
}

static void ring_release(struct file *f)
{
    struct uring *ring = uring_of(f);

    uring_poller_stop(ring);
    uring_drop_users(ring);
    uring_cancel_all(ring, NULL);
    uring_unref(ring);
    file_fini(f);
    free(container_of(f, struct uring_file, file));
}

static const struct file_operations uring_operations = {
    .poll = ring_poll,
    .unpoll = ring_unpoll,
    .stat = anon_stat,
    .mmap = ring_mmap,
    .release = ring_release,
    .not_passed = true,
    .seek_ignored = true,
};

bool uring_is(const struct file *f)
{
    return f->ops == &uring_operations;
}

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 1;

    while (p < n)
        p *= 2;
    return p;
}

static int check_poller(struct task *task, const struct uring_params *p)
{
    uint32_t cpu = p->sq_thread_cpu;

    if (!(p->flags & URING_SETUP_SQPOLL))
        return p->flags & URING_SETUP_SQ_AFF ? -EINVAL : 0;
    if (p->flags &
        (URING_SETUP_COOP_TASKRUN | URING_SETUP_TASKRUN_FLAG | URING_SETUP_DEFER_TASKRUN))
        return -EINVAL;
    if (!(p->flags & URING_SETUP_SQ_AFF))
        return 0;
    if (cpu >= 64 * ARRAY_COUNT(task->kernel->cpus))
        return -EINVAL;
    return task->kernel->cpus[cpu / 64] >> (cpu % 64) & 1 ? 0 : -EINVAL;
}

/* ATTACH_WQ: threads are everybody's, so that only the other ring is looked at. */
static int check_attached(struct task *task, const struct uring_params *p)
{
    struct file *other = task_file(task, (int)p->wq_fd);
    int err = !other ? -ENXIO : uring_is(other) ? 0 : -EINVAL;

    if (!err && (p->flags & URING_SETUP_SQPOLL) && !uring_of(other)->poller)
        err = -EINVAL;
    file_unref(other);
    return err;
}

static int check_flags(struct task *task, const struct uring_params *p)
{
    uint32_t flags = p->flags;

    if (p->resv[0] || p->resv[1] || p->resv[2] || (flags & ~URING_SETUP_FLAGS))
        return -EINVAL;
    if ((flags & URING_SETUP_HYBRID_IOPOLL) && !(flags & URING_SETUP_IOPOLL))
        return -EINVAL;
    if ((flags & URING_SETUP_TASKRUN_FLAG) &&
        !(flags & (URING_SETUP_COOP_TASKRUN | URING_SETUP_DEFER_TASKRUN)))
        return -EINVAL;
    if ((flags & URING_SETUP_DEFER_TASKRUN) && !(flags & URING_SETUP_SINGLE_ISSUER))
        return -EINVAL;
    if ((flags & URING_SETUP_REGISTERED_ONLY) && !(flags & URING_SETUP_NO_MMAP))
        return -EINVAL;
    if ((flags & URING_SETUP_CQE_MIXED) && (flags & URING_SETUP_CQE32))
        return -EINVAL;
    return check_poller(task, p);
}

int uring_choose_sizes(uint32_t entries, struct uring_params *p)
{
    const uint32_t cq_max = 2 * URING_ENTRIES_MAX;
    bool clamp = p->flags & URING_SETUP_CLAMP;

    if (entries == 0 || (entries > URING_ENTRIES_MAX && !clamp))
        return -EINVAL;
    p->sq_entries = power_of_two(MIN(entries, (uint32_t)URING_ENTRIES_MAX));
    if (!(p->flags & URING_SETUP_CQSIZE)) {
        p->cq_entries = 2 * p->sq_entries;
        return 0;
    }
    if (p->cq_entries == 0 || (p->cq_entries > cq_max && !clamp))
        return -EINVAL;
    p->cq_entries = power_of_two(MIN(p->cq_entries, cq_max));
    return p->cq_entries < p->sq_entries ? -EINVAL : 0;
}

int uring_lay_out(struct uring *ring, const struct uring_places *at)
{
    size_t cqe_size = ring->flags & URING_SETUP_CQE32 ? 32 : 16;
    size_t sqe_size = ring->flags & URING_SETUP_SQE128 ? 128 : 64;
    size_t cqes = ring->cq_entries * cqe_size, array = ring->sq_entries * sizeof(uint32_t);
    void *rings, *entries;
    int err = ringmem_add(ring->memory, at->rings, sizeof(*ring->shared) + cqes + array, &rings);

    if (!err)
        err = ringmem_alias(ring->memory, at->cq, at->rings);
    if (!err)
        err = ringmem_add(ring->memory, at->sqes, ring->sq_entries * sqe_size, &entries);
    if (err < 0)
        return err;
    ring->shared = rings;
    ring->cqes = (uint8_t *)rings + sizeof(*ring->shared);
    ring->sq_array = (uint32_t *)(void *)(ring->cqes + cqes);
    ring->sqes = entries;
    ring->shared->sq_mask = ring->sq_entries - 1;
    ring->shared->sq_entries = ring->sq_entries;
    ring->shared->cq_mask = ring->cq_entries - 1;
    ring->shared->cq_entries = ring->cq_entries;
    return 0;
}

static int make_memory(struct uring *ring, struct memfile *mf)
{
    const struct uring_places at = {URING_OFF_SQ_RING, URING_OFF_CQ_RING, URING_OFF_SQES};
    int err = ringmem_create(mf, "anon_inode:[io_uring]", &ring->memory);

    return err < 0 ? err : uring_lay_out(ring, &at);
}

static struct uring *make_ring(struct task *task, const struct uring_params *p)
{
    struct uring *ring = calloc(1, sizeof(*ring));

    if (!ring)
        return NULL;
    refcount_set(&ring->refs, 1);
    ring->kernel = task->kernel;
    ring->made_for = task->mm;
    ring->clock = CLOCK_MONOTONIC;
    ring->flags = p->flags;
    ring->sq_entries = p->sq_entries;
    ring->cq_entries = p->cq_entries;
    ring->disabled = p->flags & URING_SETUP_R_DISABLED;
    uring_workers_init(ring, task, p->sq_entries);
    if ((p->flags & URING_SETUP_SINGLE_ISSUER) && !ring->disabled)
        ring->issuer = task->tid;
    wait_queue_init(&ring->queue);
    lock_init(&ring->submit_lock);
    lock_init(&ring->lock);
    list_init(&ring->groups);
    list_init(&ring->live);
    list_init(&ring->users);
    list_init(&ring->overflow);
    if (make_memory(ring, task->kernel->mm_env->memfile) < 0)
        return uring_unref(ring);
    return ring;
}

static int make_file(struct uring *ring, struct file **ret)
{
    struct uring_file *f = calloc(1, sizeof(*f));
    char *name = strdup("anon_inode:[io_uring]");

    if (!f || !name) {
        free(f);
        free(name);
        return -ENOMEM;
    }
    file_init(&f->file, &uring_operations, O_RDWR);
    f->file.path = name;
    f->ring = ring;
    *ret = &f->file;
    return 0;
}

void uring_tell_layout(const struct uring *ring, struct uring_params *p)
{
    const uint8_t *base = (const uint8_t *)ring->shared;

    uint64_t entries_at = p->flags & URING_SETUP_NO_MMAP ? p->sq_off.user_addr : 0;
    uint64_t rings_at = p->flags & URING_SETUP_NO_MMAP ? p->cq_off.user_addr : 0;

    p->features = URING_FEATURES;
    p->sq_off = (struct uring_sq_offsets){
        .head = offsetof(struct uring_shared, sq_head),
        .tail = offsetof(struct uring_shared, sq_tail),
        .ring_mask = offsetof(struct uring_shared, sq_mask),
        .ring_entries = offsetof(struct uring_shared, sq_entries),
        .flags = offsetof(struct uring_shared, sq_flags),
        .user_addr = entries_at,
        .dropped = offsetof(struct uring_shared, sq_dropped),
        .array = p->flags & URING_SETUP_NO_SQARRAY
                     ? 0
                     : (uint32_t)((const uint8_t *)ring->sq_array - base),
    };
    p->cq_off = (struct uring_cq_offsets){
        .head = offsetof(struct uring_shared, cq_head),
        .tail = offsetof(struct uring_shared, cq_tail),
        .ring_mask = offsetof(struct uring_shared, cq_mask),
        .ring_entries = offsetof(struct uring_shared, cq_entries),
        .overflow = offsetof(struct uring_shared, cq_overflow),
        .cqes = (uint32_t)(ring->cqes - base),
        .flags = offsetof(struct uring_shared, cq_flags),
        .user_addr = rings_at,
    };
}

/* NO_MMAP: our pages take the place of what the program has there, whose bytes they get. */
static int place_area(struct task *task, struct mappable *memory, uint64_t offset, uaddr_t addr,
                      uint8_t *bytes, size_t size)
{
    const struct mm_map_args args = {
        .addr = addr,
        .size = size,
        .prot = PROT_READ | PROT_WRITE,
        .flags = MAP_SHARED | MAP_FIXED,
        .object = memory,
        .offset = offset,
        .max_prot = PROT_READ | PROT_WRITE,
    };
    uaddr_t mapped;

    if (!is_aligned(addr, PAGE_SIZE))
        return -EINVAL;
    if (copy_from_user(task->mm, bytes, addr, size) < 0 ||
        copy_to_user(task->mm, addr, bytes, size) < 0)
        return -EFAULT;
    return mm_map(task->mm, &args, &mapped);
}

static int place_memory(struct uring *ring, struct task *task, const struct uring_params *p)
{
    size_t cqe_size = ring->flags & URING_SETUP_CQE32 ? 32 : 16;
    size_t rings = sizeof(*ring->shared) + ring->cq_entries * cqe_size;
    size_t sqes = ring->sq_entries * (ring->flags & URING_SETUP_SQE128 ? 128UL : 64UL);
    struct uring_shared heads = *ring->shared;
    int err;

    if (!(ring->flags & URING_SETUP_NO_SQARRAY))
        rings += ring->sq_entries * sizeof(uint32_t);
    err = place_area(task, ring->memory, URING_OFF_SQ_RING, p->cq_off.user_addr,
                     (uint8_t *)ring->shared, round_up(rings, PAGE_SIZE));
    *ring->shared = heads;
    if (!err)
        err = place_area(task, ring->memory, URING_OFF_SQES, p->sq_off.user_addr, ring->sqes,
                         round_up(sqes, PAGE_SIZE));
    return err;
}

static long create(struct task *task, struct uring_params *p, uaddr_t params)
{
    struct uring *ring = make_ring(task, p);
    struct file *file = NULL;
    int err;

    if (!ring)
        return -ENOMEM;
    err = p->flags & URING_SETUP_NO_MMAP ? place_memory(ring, task, p) : 0;
    uring_tell_layout(ring, p);
    if (!err)
        err = copy_to_user(task->mm, params, p, sizeof(*p));
    if (!err)
        err = make_file(ring, &file);
    if (err < 0) {
        uring_unref(ring);
        return err;
    }
    if (p->flags & URING_SETUP_SQPOLL)
        err = uring_poller_start(ring, task, p);
    if (!err)
        err = uring_use(ring, task);
    if (!err && (p->flags & URING_SETUP_REGISTERED_ONLY))
        err = uring_keep_registered(task, file);
    else if (!err)
        return task_install(task, file, 0, true);
    file_unref(file);
    return err;
}

SYSCALL_DEFINE2(io_uring_setup, unsigned, entries, uaddr_t, params)
{
    uint64_t disabled = __atomic_load_n(&task->kernel->uring_disabled, __ATOMIC_RELAXED);
    struct uring_params p;
    int err;

    if (disabled == 2 || (disabled == 1 && !task_has_cap(task, CAP_SYS_ADMIN)))
        return -EPERM;
    if (copy_struct_from_user(task->mm, &p, params) < 0)
        return -EFAULT;
    err = check_flags(task, &p);
    if (!err)
        err = uring_choose_sizes(entries, &p);
    if (!err && (p.flags & URING_SETUP_ATTACH_WQ))
        err = check_attached(task, &p);
    return err < 0 ? err : create(task, &p, params);
}
