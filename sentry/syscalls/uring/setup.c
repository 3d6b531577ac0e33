/* io_uring_setup(2): a ring as a file, and its shared memory. */
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/cred.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/ringmem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/files.h"
#include "sentry/syscalls/uring/uring.h"

/* Hints about who completes what when are taken and change nothing: completions come at once. */
#define SETUP_FLAGS                                                                                \
    (URING_SETUP_IOPOLL | URING_SETUP_HYBRID_IOPOLL | URING_SETUP_CQSIZE | URING_SETUP_CLAMP |     \
     URING_SETUP_ATTACH_WQ | URING_SETUP_R_DISABLED | URING_SETUP_SUBMIT_ALL |                     \
     URING_SETUP_COOP_TASKRUN | URING_SETUP_TASKRUN_FLAG | URING_SETUP_SQE128 |                    \
     URING_SETUP_CQE32 | URING_SETUP_SINGLE_ISSUER | URING_SETUP_DEFER_TASKRUN |                   \
     URING_SETUP_NO_SQARRAY)
#define FEATURES                                                                                   \
    (URING_FEAT_SINGLE_MMAP | URING_FEAT_NODROP | URING_FEAT_SUBMIT_STABLE |                       \
     URING_FEAT_RW_CUR_POS | URING_FEAT_CUR_PERSONALITY | URING_FEAT_FAST_POLL |                   \
     URING_FEAT_POLL_32BITS | URING_FEAT_EXT_ARG | URING_FEAT_NATIVE_WORKERS |                     \
     URING_FEAT_CQE_SKIP | URING_FEAT_LINKED_FILE)

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
    uring_drop_overflow(ring);
    uring_unregister_files(ring);
    uring_buffers_fini(ring);
    for (size_t i = 0; i < ARRAY_COUNT(ring->creds); i++)
        cred_unref(ring->creds[i]);
    file_unref(ring->eventfd);
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
    if (READ_ONCE(ring->shared->sq_tail) - READ_ONCE(ring->shared->sq_head) != ring->sq_entries)
        events |= POLLOUT | POLLWRNORM;
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
    *ret_object = mappable_ref(uring_of(f)->memory);
    return 0;
}

static void ring_release(struct file *f)
{
    struct uring *ring = uring_of(f);

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

static int check_flags(struct task *task, const struct uring_params *p)
{
    uint32_t flags = p->flags;

    if (p->resv[0] || p->resv[1] || p->resv[2] || (flags & ~SETUP_FLAGS))
        return -EINVAL;
    if ((flags & URING_SETUP_HYBRID_IOPOLL) && !(flags & URING_SETUP_IOPOLL))
        return -EINVAL;
    if ((flags & URING_SETUP_TASKRUN_FLAG) &&
        !(flags & (URING_SETUP_COOP_TASKRUN | URING_SETUP_DEFER_TASKRUN)))
        return -EINVAL;
    if ((flags & URING_SETUP_DEFER_TASKRUN) && !(flags & URING_SETUP_SINGLE_ISSUER))
        return -EINVAL;
    return 0;
}

/* The sizes that were asked for, in powers of two. */
static int choose_sizes(uint32_t entries, struct uring_params *p)
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

/* The shared memory: rings at the offset of the first, entries at their own. */
static int make_memory(struct uring *ring, struct memfile *mf)
{
    size_t cqe_size = ring->flags & URING_SETUP_CQE32 ? 32 : 16;
    size_t sqe_size = ring->flags & URING_SETUP_SQE128 ? 128 : 64;
    size_t cqes = ring->cq_entries * cqe_size, array = ring->sq_entries * sizeof(uint32_t);
    void *rings, *entries;
    int err = ringmem_create(mf, "anon_inode:[io_uring]", &ring->memory);

    if (!err)
        err = ringmem_add(ring->memory, URING_OFF_SQ_RING, sizeof(*ring->shared) + cqes + array,
                          &rings);
    if (!err)
        err = ringmem_alias(ring->memory, URING_OFF_CQ_RING, URING_OFF_SQ_RING);
    if (!err)
        err = ringmem_add(ring->memory, URING_OFF_SQES, ring->sq_entries * sqe_size, &entries);
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

static struct uring *make_ring(struct task *task, const struct uring_params *p)
{
    struct uring *ring = calloc(1, sizeof(*ring));

    if (!ring)
        return NULL;
    refcount_set(&ring->refs, 1);
    ring->kernel = task->kernel;
    ring->flags = p->flags;
    ring->sq_entries = p->sq_entries;
    ring->cq_entries = p->cq_entries;
    ring->disabled = p->flags & URING_SETUP_R_DISABLED;
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

static void tell_layout(const struct uring *ring, struct uring_params *p)
{
    const uint8_t *base = (const uint8_t *)ring->shared;

    p->features = FEATURES;
    p->sq_off = (struct uring_sq_offsets){
        .head = offsetof(struct uring_shared, sq_head),
        .tail = offsetof(struct uring_shared, sq_tail),
        .ring_mask = offsetof(struct uring_shared, sq_mask),
        .ring_entries = offsetof(struct uring_shared, sq_entries),
        .flags = offsetof(struct uring_shared, sq_flags),
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
    };
}

static long create(struct task *task, struct uring_params *p, uaddr_t params)
{
    struct uring *ring = make_ring(task, p);
    struct file *file = NULL;
    int err;

    if (!ring)
        return -ENOMEM;
    tell_layout(ring, p);
    err = copy_to_user(task->mm, params, p, sizeof(*p));
    if (!err)
        err = make_file(ring, &file);
    if (err < 0) {
        uring_unref(ring);
        return err;
    }
    err = uring_use(ring, task);
    if (err < 0) {
        file_unref(file);
        return err;
    }
    return task_install(task, file, 0, true);
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
        err = choose_sizes(entries, &p);
    if (!err && (p.flags & URING_SETUP_ATTACH_WQ)) {
        struct file *other = task_file(task, (int)p.wq_fd);

        err = !other ? -EBADF : uring_is(other) ? 0 : -EINVAL;
        file_unref(other);
    }
    return err < 0 ? err : create(task, &p, params);
}
