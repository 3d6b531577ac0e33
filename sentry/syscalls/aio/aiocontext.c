/*
 * Aio contexts and their rings. The ring is mapped into the program, which may take events out
 * itself (libaio does) by moving `head`; so head is read anew each time, and only its remainder is
 * used.
 *
 * Locks: all_lock, ctx->lock; neither while user memory is copied.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/fs/event/eventfd.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/ringmem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/aio/aio.h"
#include "sentry/vfs/file.h"

#define EVENTS_AT_LEAST(kernel) (kernel_cpu_count(kernel) * 4)
#define EVENTS_MOST             (0x10000000U / sizeof(struct io_event))

static struct lock all_lock = LOCK_INIT;
static struct list all_contexts = LIST_INIT(all_contexts); /* under all_lock */
static uint32_t all_wanted;                                /* under all_lock */

struct aio_context *aio_unref(struct aio_context *ctx)
{
    if (ctx && refcount_put(&ctx->refs)) {
        mappable_unref(ctx->memory);
        lock_destroy(&ctx->lock);
        free(ctx);
    }
    return NULL;
}

struct aio_context *aio_find(struct task *task, uaddr_t id)
{
    struct aio_context *ctx, *found = NULL;

    lock_acquire(&all_lock);
    list_for_each (ctx, &all_contexts, node) {
        if (ctx->mm == task->mm && ctx->id == id) {
            refcount_get(&ctx->refs);
            found = ctx;
            break;
        }
    }
    lock_release(&all_lock);
    return found;
}

/* Takes it out of the list; false when it was out. The list's reference is the caller's then. */
static bool unlist(struct aio_context *ctx)
{
    bool was_there;

    lock_acquire(&all_lock);
    was_there = !list_empty(&ctx->node);
    if (was_there) {
        list_del_init(&ctx->node);
        all_wanted -= ctx->wanted;
    }
    lock_release(&all_lock);
    return was_there;
}

static void kill_context(struct aio_context *ctx)
{
    lock_acquire(&ctx->lock);
    ctx->dead = true;
    lock_release(&ctx->lock);
    aio_poll_cancel_all(ctx);
    wait_queue_wake(&ctx->queue, POLLIN | POLLHUP);
}

static void context_end(struct process_async *async)
{
    struct aio_context *ctx = container_of(async, struct aio_context, async);

    if (unlist(ctx)) {
        kill_context(ctx);
        aio_unref(ctx);
    }
}

bool aio_destroy(struct task *task, struct aio_context *ctx)
{
    if (!unlist(ctx))
        return false;
    process_async_remove(task->process, &ctx->async);
    kill_context(ctx);
    mm_unmap(ctx->mm, ctx->id, ctx->mapped_size);
    aio_unref(ctx);
    return true;
}

static int map_ring(struct task *task, struct aio_context *ctx)
{
    struct mm_map_args args = {
        .size = ctx->mapped_size,
        .prot = PROT_READ | PROT_WRITE,
        .flags = MAP_SHARED,
        .object = ctx->memory,
        .max_prot = PROT_READ | PROT_WRITE,
    };

    return mm_map(task->mm, &args, &ctx->id);
}

static int make_ring(struct task *task, struct aio_context *ctx, uint32_t events)
{
    void *bytes;
    int err;

    events = MAX(events, EVENTS_AT_LEAST(task->kernel)) * 2 + 2;
    ctx->mapped_size = round_up(sizeof(*ctx->ring) + events * sizeof(struct io_event), PAGE_SIZE);
    ctx->slots = (uint32_t)((ctx->mapped_size - sizeof(*ctx->ring)) / sizeof(struct io_event));
    err = ringmem_create(task->kernel->mm_env->memfile, "/[aio] (deleted)", &ctx->memory);
    if (!err)
        err = ringmem_add(ctx->memory, 0, ctx->mapped_size, &bytes);
    if (err < 0)
        return err;
    ctx->ring = bytes;
    *ctx->ring = (struct linux_aio_ring){
        .nr = ctx->slots,
        .magic = LINUX_AIO_RING_MAGIC,
        .compat_features = 1,
        .header_length = sizeof(*ctx->ring),
    };
    return map_ring(task, ctx);
}

static int publish(struct task *task, struct aio_context *ctx)
{
    int err = 0;

    lock_acquire(&all_lock);
    if (all_wanted + ctx->wanted > AIO_MAX_NR)
        err = -EAGAIN;
    if (!err) {
        all_wanted += ctx->wanted;
        refcount_get(&ctx->refs);
        list_add_tail(&all_contexts, &ctx->node);
    }
    lock_release(&all_lock);
    if (!err)
        process_async_add(task->process, &ctx->async);
    return err;
}

int aio_create(struct task *task, uint32_t events, uaddr_t *ret_id)
{
    struct aio_context *ctx;
    int err;

    if (events > EVENTS_MOST)
        return -EINVAL;
    if (events > AIO_MAX_NR)
        return -EAGAIN;
    ctx = calloc(1, sizeof(*ctx));
    if (!ctx)
        return -ENOMEM;
    refcount_set(&ctx->refs, 1);
    list_init(&ctx->node);
    list_init(&ctx->async.node);
    list_init(&ctx->polls);
    ctx->async.end = context_end;
    ctx->mm = task->mm;
    ctx->wanted = events;
    wait_queue_init(&ctx->queue);
    lock_init(&ctx->lock);
    err = make_ring(task, ctx, events);
    if (!err) {
        err = publish(task, ctx);
        if (err < 0)
            mm_unmap(ctx->mm, ctx->id, ctx->mapped_size);
    }
    *ret_id = ctx->id;
    aio_unref(ctx);
    return err;
}

/* Events that the program has not taken out yet. */
static uint32_t waiting_locked(struct aio_context *ctx, uint32_t *ret_head) __must_hold(ctx->lock)
{
    uint32_t head = READ_ONCE(ctx->ring->head) % ctx->slots;

    *ret_head = head;
    return (ctx->tail + ctx->slots - head) % ctx->slots;
}

bool aio_reserve(struct aio_context *ctx)
{
    uint32_t head;
    bool ok;

    lock_acquire(&ctx->lock);
    ok = !ctx->dead && ctx->flying + waiting_locked(ctx, &head) + 1 < ctx->slots;
    ctx->flying += ok;
    lock_release(&ctx->lock);
    return ok;
}

void aio_unreserve(struct aio_context *ctx)
{
    lock_acquire(&ctx->lock);
    ctx->flying--;
    lock_release(&ctx->lock);
}

void aio_complete(struct aio_context *ctx, const struct io_event *event, struct file *notify)
{
    lock_acquire(&ctx->lock);
    ctx->flying--;
    ctx->ring->events[ctx->tail] = *event;
    ctx->tail = (ctx->tail + 1) % ctx->slots;
    __atomic_store_n(&ctx->ring->tail, ctx->tail, __ATOMIC_RELEASE);
    lock_release(&ctx->lock);
    if (notify)
        eventfd_signal(notify);
    wait_queue_wake(&ctx->queue, POLLIN);
}

/* Copies events out of the ring in one stretch, without moving `head`. */
static uint32_t peek(struct aio_context *ctx, struct io_event *events, uint32_t max,
                     uint32_t *ret_head, bool *ret_dead)
{
    uint32_t count;

    lock_acquire(&ctx->lock);
    count = MIN(waiting_locked(ctx, ret_head), max);
    for (uint32_t i = 0; i < count; i++)
        events[i] = ctx->ring->events[(*ret_head + i) % ctx->slots];
    *ret_dead = ctx->dead;
    lock_release(&ctx->lock);
    return count;
}

/* They are taken, unless somebody was faster: then they were told to both, as on Linux. */
static void consume(struct aio_context *ctx, uint32_t head, uint32_t count)
{
    __atomic_store_n(&ctx->ring->head, (head + count) % ctx->slots, __ATOMIC_RELEASE);
}

long aio_take(struct task *task, struct aio_context *ctx, uaddr_t to, long max)
{
    struct io_event events[32];
    long done = 0;

    while (done < max) {
        uint32_t head, want = (uint32_t)MIN(max - done, (long)ARRAY_COUNT(events)), count;
        uaddr_t at = to + (uint64_t)done * sizeof(events[0]);
        bool dead;

        count = peek(ctx, events, want, &head, &dead);
        if (dead)
            return done ? done : -EINVAL;
        if (count == 0)
            break;
        if (copy_to_user(task->mm, at, events, count * sizeof(events[0])) < 0)
            return done ? done : -EFAULT;
        consume(ctx, head, count);
        done += count;
    }
    return done;
}
