/*
 * IORING_SETUP_SQPOLL: a thread of the Sentry submits what it finds in the queue, so that the
 * program need not call. It looks again and again, with short naps in between, until there was
 * nothing for as long as the program said; then it asks to be woken (SQ_NEED_WAKEUP) and sleeps.
 *
 *   RUNS -> STOPPING (the ring's file goes, or the process that made it ends) -> ENDED
 *
 * It works as a proxy of the thread that made the ring. Three hold a reference: the ring, the
 * thread, and the process's list of what ends with it.
 */
#include <errno.h>
#include <stdlib.h>

#include "host/clock.h"
#include "host/futex.h"
#include "host/thread.h"
#include "sentry/kernel/process.h"
#include "sentry/syscalls/uring/uring.h"

#define POLLERS_MAX 128 /* of the sandbox: each is a thread */
#define NAP_NS      50000UL
#define IDLE_NS     1000000000UL /* HZ: when the program named no time */
#define STOP_TRIES  1000         /* each a millisecond */

struct uring_poller {
    refcount_t refs;
    struct uring *ring;      /* owned reference, until the thread ends */
    struct task *proxy;      /* likewise */
    struct process *process; /* owned reference */
    struct process_async async;
    uint64_t idle_ns;
    int cpu;        /* SQ_AFF: its only processor; -1: any */
    uint32_t word;  /* host futex: changes when it is to look */
    bool stop, end; /* atomic */
};

static uint32_t poller_count; /* atomic */

static void poller_unref(struct uring_poller *p)
{
    if (!refcount_put(&p->refs))
        return;
    process_unref(p->process);
    free(p);
}

static void wake(struct uring_poller *p)
{
    __atomic_add_fetch(&p->word, 1, __ATOMIC_SEQ_CST);
    host_futex_wake(&p->word, 1);
}

/* Entries that the program has made visible, and may be submitted. */
static bool has_entries(struct uring *ring)
{
    bool ready;
    uint32_t head;

    lock_acquire(&ring->lock);
    ready = !ring->disabled && !ring->dead;
    lock_release(&ring->lock);
    lock_acquire(&ring->submit_lock);
    head = ring->sq_head;
    lock_release(&ring->submit_lock);
    return ready && __atomic_load_n(&ring->shared->sq_tail, __ATOMIC_SEQ_CST) != head;
}

/* Sleeps until somebody wakes it; the program looks at the flag after it has moved the tail. */
static void sleep_long(struct uring_poller *p)
{
    uint32_t *flags = &p->ring->shared->sq_flags;
    uint32_t word = __atomic_load_n(&p->word, __ATOMIC_SEQ_CST);

    __atomic_fetch_or(flags, URING_SQ_NEED_WAKEUP, __ATOMIC_SEQ_CST);
    if (!has_entries(p->ring) && !__atomic_load_n(&p->stop, __ATOMIC_SEQ_CST))
        host_futex_wait(&p->word, word, HOST_NEVER);
    __atomic_fetch_and(flags, ~URING_SQ_NEED_WAKEUP, __ATOMIC_SEQ_CST);
}

static void poller_loop(struct uring_poller *p)
{
    uint64_t last = host_monotonic_ns(), now;

    while (!__atomic_load_n(&p->stop, __ATOMIC_SEQ_CST)) {
        uint32_t word = __atomic_load_n(&p->word, __ATOMIC_SEQ_CST);

        if (has_entries(p->ring) && uring_submit(p->ring, p->proxy, UINT32_MAX) > 0) {
            wait_queue_wake(&p->ring->queue, POLLOUT | POLLWRNORM);
            last = host_monotonic_ns();
            continue;
        }
        now = host_monotonic_ns();
        if (now - last >= p->idle_ns) {
            sleep_long(p);
            last = host_monotonic_ns();
        } else {
            host_futex_wait(&p->word, word, now + NAP_NS);
        }
    }
}

static void poller_main(void *arg)
{
    struct uring_poller *p = arg;

    if (p->cpu >= 0) {
        uint64_t mask[16] = {0};

        mask[p->cpu / 64] = 1UL << (p->cpu % 64);
        host_set_affinity(0, mask, sizeof(mask));
    }
    proxy_enter(p->proxy);
    poller_loop(p);
    proxy_leave();
    p->proxy = task_unref(p->proxy);
    __atomic_store_n(&p->end, true, __ATOMIC_RELEASE);
    wait_queue_wake(&p->ring->queue, POLLOUT | POLLWRNORM);
    uring_unref(p->ring);
    __atomic_sub_fetch(&poller_count, 1, __ATOMIC_RELAXED);
    poller_unref(p);
}

static void stop(struct uring_poller *p)
{
    __atomic_store_n(&p->stop, true, __ATOMIC_SEQ_CST);
    wake(p);
}

/* Memory and files are let go before the process does; a thread that hangs is not waited for long.
 */
static void process_ends(struct process_async *async)
{
    struct uring_poller *p = container_of(async, struct uring_poller, async);
    struct waiter waiter;

    stop(p);
    waiter_init(&waiter);
    for (int i = 0; i < STOP_TRIES && !__atomic_load_n(&p->end, __ATOMIC_ACQUIRE); i++)
        waiter_park(&waiter, host_monotonic_ns() + 1000000);
    poller_unref(p);
}

static int poller_create(struct uring *ring, struct task *task, const struct uring_params *params)
{
    struct uring_poller *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    refcount_set(&p->refs, 1);
    p->process = process_ref(task->process);
    p->async.end = process_ends;
    list_init(&p->async.node);
    p->idle_ns = params->sq_thread_idle ? params->sq_thread_idle * 1000000UL : IDLE_NS;
    p->cpu = params->flags & URING_SETUP_SQ_AFF ? (int)params->sq_thread_cpu : -1;
    p->proxy = proxy_create(task);
    ring->poller = p;
    return p->proxy ? 0 : -ENOMEM;
}

int uring_poller_start(struct uring *ring, struct task *task, const struct uring_params *params)
{
    struct uring_poller *p;
    int err = poller_create(ring, task, params);

    if (err < 0)
        return err;
    p = ring->poller;
    if (__atomic_add_fetch(&poller_count, 1, __ATOMIC_RELAXED) > POLLERS_MAX) {
        err = -EAGAIN;
    } else {
        p->ring = uring_ref(ring);
        refcount_get(&p->refs);
        err = host_thread_start("sqpoll", poller_main, p);
    }
    if (err < 0) {
        __atomic_sub_fetch(&poller_count, 1, __ATOMIC_RELAXED);
        p->proxy = task_unref(p->proxy);
        if (p->ring) {
            p->ring = uring_unref(ring); /* the caller has another */
            poller_unref(p);
        }
        return -EAGAIN;
    }
    refcount_get(&p->refs);
    process_async_add(task->process, &p->async);
    return 0;
}

void uring_poller_stop(struct uring *ring)
{
    struct uring_poller *p = ring->poller;

    if (!p)
        return;
    if (process_async_remove(p->process, &p->async))
        poller_unref(p);
    stop(p);
}

void uring_poller_fini(struct uring *ring)
{
    if (!ring->poller)
        return;
    ring->poller->proxy = task_unref(ring->poller->proxy); /* of a thread that never was */
    poller_unref(ring->poller);
}

void uring_poller_wake(struct uring *ring)
{
    if (ring->poller)
        wake(ring->poller);
}

/* SQ_WAIT: until an entry is free. */
static long wait_for_room(struct uring *ring, struct task *task)
{
    struct wait_entry entry;
    long err = 0;

    wait_entry_init(&entry, &task->waiter, 0);
    wait_queue_add(&ring->queue, &entry);
    while (err == 0 && !__atomic_load_n(&ring->poller->end, __ATOMIC_ACQUIRE) &&
           READ_ONCE(ring->shared->sq_tail) - READ_ONCE(ring->shared->sq_head) >= ring->sq_entries)
        err = task_block(task, UINT64_MAX);
    wait_queue_remove(&ring->queue, &entry);
    return 0; /* io_sqpoll_wait_sq(): a signal ends it like room */
}

long uring_poller_enter(struct uring *ring, struct task *task, uint32_t submit, uint32_t flags)
{
    if (__atomic_load_n(&ring->poller->end, __ATOMIC_ACQUIRE) ||
        __atomic_load_n(&ring->poller->stop, __ATOMIC_ACQUIRE))
        return -EOWNERDEAD;
    if (flags & URING_ENTER_SQ_WAKEUP)
        wake(ring->poller);
    if (flags & URING_ENTER_SQ_WAIT)
        wait_for_room(ring, task);
    return submit;
}
