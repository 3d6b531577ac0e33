#include "sentry/kernel/rseq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/thread.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/usercopy.h"

#define NUMBERS       1024 /* as many as an affinity mask has */
#define NO_NUMBER     -1   /* RSEQ_CPU_ID_UNINITIALIZED */
#define TASK_SIZE_MAX 0x7ffffffff000UL

struct rseq_slots {
    refcount_t refs;
    struct lock lock;
    uint64_t used[NUMBERS / 64] __guarded_by(lock);
    uint64_t cids[NUMBERS / 64] __guarded_by(lock); /* likewise for mm_cid */
};

/* struct rseq up to what AT_RSEQ_FEATURE_SIZE announces, and struct rseq_cs. */
struct guest_rseq {
    uint32_t cpu_id_start, cpu_id;
    uint64_t sequence;
    uint32_t flags, node_id, mm_cid;
} __packed;
static_assert(sizeof(struct guest_rseq) == 28, "struct rseq");

struct guest_sequence {
    uint32_t version, flags;
    uint64_t start, size, abort;
};
static_assert(sizeof(struct guest_sequence) == 32, "struct rseq_cs");

struct rseq_slots *rseq_slots_create(void)
{
    struct rseq_slots *slots = calloc(1, sizeof(*slots));

    if (slots) {
        refcount_set(&slots->refs, 1);
        lock_init(&slots->lock);
    }
    return slots;
}

struct rseq_slots *rseq_slots_unref(struct rseq_slots *slots)
{
    if (slots && refcount_put(&slots->refs)) {
        lock_destroy(&slots->lock);
        free(slots);
    }
    return NULL;
}

static bool is_set(const uint64_t *mask, unsigned bit)
{
    return mask[bit / 64] >> (bit % 64) & 1;
}

/* The lowest free one: as there are not more than processors, it is below their number. */
static uint32_t take_cid_locked(struct rseq_slots *slots) __must_hold(slots->lock)
{
    for (uint32_t i = 0; i < NUMBERS / 64; i++) {
        uint32_t bit;

        if (slots->cids[i] == UINT64_MAX)
            continue;
        bit = (uint32_t)__builtin_ctzl(~slots->cids[i]);
        slots->cids[i] |= 1UL << bit;
        return i * 64 + bit;
    }
    BUG("more concurrency ids than processors");
}

/* Where the thread is now, if that is free; else the lowest; NO_NUMBER: none in its affinity. */
static int take_number(struct task *task)
{
    struct rseq_slots *slots = task->rseq_slots;
    const uint64_t *allowed = task->sched.affinity;
    unsigned here, node;
    int number = NO_NUMBER;

    host_getcpu(&here, &node);
    lock_acquire(&slots->lock);
    if (here < NUMBERS && is_set(allowed, here) && !is_set(slots->used, here))
        number = (int)here;
    for (unsigned i = 0; i < NUMBERS / 64 && number < 0; i++) {
        uint64_t free_ones = allowed[i] & ~slots->used[i];

        if (free_ones)
            number = (int)(i * 64) + __builtin_ctzl(free_ones);
    }
    if (number >= 0) {
        slots->used[number / 64] |= 1UL << (number % 64);
        task->rseq_cid = take_cid_locked(slots);
    }
    lock_release(&slots->lock);
    return number;
}

static void give_number_back(struct task *task)
{
    struct rseq_slots *slots = task->rseq_slots;
    int number = task->rseq_number;

    task->rseq_number = NO_NUMBER;
    if (number < 0)
        return;
    lock_acquire(&slots->lock);
    slots->used[number / 64] &= ~(1UL << (number % 64));
    slots->cids[task->rseq_cid / 64] &= ~(1UL << (task->rseq_cid % 64));
    lock_release(&slots->lock);
}

/* cpu_id_start is always a number that can be an index. */
static int tell_number(struct task *task)
{
    const uint32_t ids[2] = {task->rseq_number >= 0 ? (uint32_t)task->rseq_number : 0,
                             (uint32_t)task->rseq_number};
    const uint32_t more[2] = {0, task->rseq_number >= 0 ? task->rseq_cid : 0};
    uaddr_t behind = task->rseq + offsetof(struct guest_rseq, node_id);

    if (copy_to_user(task->mm, task->rseq, ids, sizeof(ids)) < 0)
        return -EFAULT;
    return copy_to_user(task->mm, behind, more, sizeof(more));
}

int rseq_register(struct task *task, uaddr_t addr, uint32_t size, uint32_t signature)
{
    static const uint64_t none;

    if (task->rseq) {
        if (addr != task->rseq || size != task->rseq_size)
            return -EINVAL;
        return signature != task->rseq_signature ? -EPERM : -EBUSY;
    }
    if (size < RSEQ_SIZE_FIRST || !is_aligned(addr, RSEQ_ALIGN))
        return -EINVAL;
    if (addr > TASK_SIZE_MAX - size ||
        copy_struct_to_user(task->mm, addr + offsetof(struct guest_rseq, sequence), &none) < 0)
        return -EFAULT;
    task->rseq = addr;
    task->rseq_size = size;
    task->rseq_signature = signature;
    task->rseq_number = take_number(task);
    if (tell_number(task) == 0)
        return 0;
    rseq_leave(task);
    return -EFAULT;
}

int rseq_unregister(struct task *task, uaddr_t addr, uint32_t size, uint32_t signature)
{
    int error;

    if (!task->rseq || addr != task->rseq || size != task->rseq_size)
        return -EINVAL;
    if (signature != task->rseq_signature)
        return -EPERM;
    give_number_back(task);
    error = tell_number(task);
    if (error == 0)
        task->rseq = 0;
    return error;
}

void rseq_leave(struct task *task)
{
    give_number_back(task);
    task->rseq = 0;
}

int rseq_clone(struct task *parent, struct task *child, bool same_memory)
{
    struct rseq_slots *slots = parent->rseq_slots;

    child->rseq_number = NO_NUMBER;
    if (same_memory) {
        refcount_get(&slots->refs);
        child->rseq_slots = slots;
        return 0;
    }
    child->rseq_slots = rseq_slots_create();
    if (!child->rseq_slots)
        return -ENOMEM;
    child->rseq = parent->rseq;
    child->rseq_size = parent->rseq_size;
    child->rseq_signature = parent->rseq_signature;
    child->rseq_number = parent->rseq_number;
    child->rseq_cid = parent->rseq_cid;
    if (child->rseq_number >= 0) {
        child->rseq_slots->used[child->rseq_number / 64] = 1UL << (child->rseq_number % 64);
        child->rseq_slots->cids[child->rseq_cid / 64] = 1UL << (child->rseq_cid % 64);
    }
    return 0;
}

void rseq_exec(struct task *task)
{
    struct rseq_slots *fresh = rseq_slots_create();

    if (!fresh)
        return; /* sharing numbers with strangers does no harm */
    rseq_slots_unref(task->rseq_slots);
    task->rseq_slots = fresh;
}

void rseq_follow_affinity(struct task *task)
{
    if (!task->rseq ||
        (task->rseq_number >= 0 && is_set(task->sched.affinity, (unsigned)task->rseq_number)))
        return;
    give_number_back(task);
    task->rseq_number = take_number(task);
    if (tell_number(task) < 0 || rseq_interrupt(task) < 0)
        signal_fault(task, SIGSEGV, SI_KERNEL, 0);
}

/* Linux rseq_get_rseq_cs(): a sequence that could not be one is an error, wherever the thread is.
 */
static int get_sequence(struct task *task, uaddr_t addr, struct guest_sequence *ret)
{
    uint32_t signature;

    if (addr >= TASK_SIZE_MAX)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, ret, addr) < 0)
        return -EFAULT;
    if (ret->version || ret->start >= TASK_SIZE_MAX || ret->abort >= TASK_SIZE_MAX ||
        ret->size >= TASK_SIZE_MAX - ret->start || ret->abort - ret->start < ret->size)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &signature, ret->abort - sizeof(signature)) < 0)
        return -EFAULT;
    return signature == task->rseq_signature ? 0 : -EINVAL;
}

int rseq_interrupt(struct task *task)
{
    static const uint64_t none;
    uaddr_t pointer = task->rseq + offsetof(struct guest_rseq, sequence);
    struct guest_sequence sequence;
    struct guest_rseq area;
    int error;

    if (!task->rseq)
        return 0;
    if (copy_struct_from_user(task->mm, &area, task->rseq) < 0)
        return -EFAULT;
    if (!area.sequence)
        return 0;
    error = get_sequence(task, area.sequence, &sequence);
    if (error < 0)
        return error;
    if (task->ctx->regs.rip - sequence.start < sequence.size) {
        if (area.flags || sequence.flags)
            return -EINVAL;
        task->ctx->regs.rip = sequence.abort;
    }
    return copy_struct_to_user(task->mm, pointer, &none);
}
