/*
 * A binary heap of armed timers, earliest first. Each timer knows its slot, so disarming costs the
 * same as arming.
 *
 * The thread says whose function it runs, and timer_cancel() waits for that one alone: its caller
 * may hold a lock that another timer's function wants. Functions run without `lock`, which is
 * innermost.
 */
#include "sentry/wait/timer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "host/clock.h"
#include "host/futex.h"
#include "host/thread.h"

static struct {
    struct lock lock;
    struct timer **heap; /* slots 1..count; guarded by lock, like the rest */
    size_t count, room;
    struct timer *running; /* its function is running; only compared */
    uint32_t changed;      /* futex word of the thread: a new earliest deadline */
    uint32_t finished;   /* futex word of those who cancel: counts functions that they waited for */
    uint32_t cancelling; /* how many they are */
} timers = {.lock = LOCK_INIT};

static void put(struct timer *timer, size_t slot)
{
    timers.heap[slot] = timer;
    timer->slot = slot;
}

static void sift_up(struct timer *timer, size_t slot)
{
    while (slot > 1 && timers.heap[slot / 2]->deadline_ns > timer->deadline_ns) {
        put(timers.heap[slot / 2], slot);
        slot /= 2;
    }
    put(timer, slot);
}

static void sift_down(struct timer *timer, size_t slot)
{
    for (;;) {
        size_t child = slot * 2;

        if (child > timers.count)
            break;
        if (child < timers.count &&
            timers.heap[child + 1]->deadline_ns < timers.heap[child]->deadline_ns)
            child++;
        if (timers.heap[child]->deadline_ns >= timer->deadline_ns)
            break;
        put(timers.heap[child], slot);
        slot = child;
    }
    put(timer, slot);
}

static void heap_remove(struct timer *timer)
{
    size_t slot = timer->slot;
    struct timer *last = timers.heap[timers.count--];

    timer->slot = 0;
    if (last == timer)
        return;
    if (slot > 1 && timers.heap[slot / 2]->deadline_ns > last->deadline_ns)
        sift_up(last, slot);
    else
        sift_down(last, slot);
}

static int heap_grow(void)
{
    size_t room = timers.room ? timers.room * 2 : 64;
    struct timer **heap = realloc(timers.heap, room * sizeof(struct timer *));

    if (!heap)
        return -ENOMEM;
    timers.heap = heap;
    timers.room = room;
    return 0;
}

void timer_init(struct timer *timer, void (*fn)(struct timer *timer))
{
    *timer = (struct timer){.fn = fn};
}

int timer_arm(struct timer *timer, uint64_t deadline_ns)
{
    bool first;

    lock_acquire(&timers.lock);
    if (timer->slot)
        heap_remove(timer);
    if (timers.count + 1 >= timers.room && heap_grow() < 0) {
        lock_release(&timers.lock);
        return -ENOMEM;
    }
    timer->deadline_ns = deadline_ns;
    sift_up(timer, ++timers.count);
    first = timer->slot == 1;
    if (first)
        __atomic_add_fetch(&timers.changed, 1, __ATOMIC_RELEASE);
    lock_release(&timers.lock);
    if (first)
        host_futex_wake(&timers.changed, 1);
    return 0;
}

void timer_disarm(struct timer *timer)
{
    lock_acquire(&timers.lock);
    if (timer->slot)
        heap_remove(timer);
    lock_release(&timers.lock);
}

void timer_cancel(struct timer *timer)
{
    for (;;) {
        uint32_t finished;
        bool running;

        lock_acquire(&timers.lock);
        if (timer->slot)
            heap_remove(timer);
        running = timers.running == timer;
        finished = timers.finished;
        timers.cancelling += running;
        lock_release(&timers.lock);
        if (!running)
            return;
        /* Then once more: the function may have armed it again. */
        host_futex_wait(&timers.finished, finished, HOST_NEVER);
        lock_acquire(&timers.lock);
        timers.cancelling--;
        lock_release(&timers.lock);
    }
}

/* Stands behind all timers of deadline 0. */
struct barrier {
    struct timer timer;
    uint32_t reached; /* futex word */
};

static void reach(struct timer *timer)
{
    struct barrier *barrier = container_of(timer, struct barrier, timer);

    __atomic_store_n(&barrier->reached, 1, __ATOMIC_RELEASE);
    host_futex_wake(&barrier->reached, 1);
}

void timers_settle(void)
{
    struct barrier barrier = {.reached = 0};

    timer_init(&barrier.timer, reach);
    if (timer_arm(&barrier.timer, 1) < 0)
        return;
    while (!__atomic_load_n(&barrier.reached, __ATOMIC_ACQUIRE))
        host_futex_wait(&barrier.reached, 0, HOST_NEVER);
    timer_cancel(&barrier.timer);
}

/* Takes the earliest timer if it is due; else tells when to look again. */
static struct timer *take_due(uint64_t *ret_next, uint32_t *ret_changed)
{
    struct timer *timer = NULL;

    lock_acquire(&timers.lock);
    *ret_changed = timers.changed;
    *ret_next = HOST_NEVER;
    if (timers.count > 0) {
        *ret_next = timers.heap[1]->deadline_ns;
        if (*ret_next <= host_monotonic_ns()) {
            timer = timers.heap[1];
            heap_remove(timer);
            timers.running = timer;
        }
    }
    lock_release(&timers.lock);
    return timer;
}

static void timers_main(void *arg)
{
    for (;;) {
        uint64_t next;
        uint32_t changed;
        struct timer *timer;
        bool awaited;

        timer = take_due(&next, &changed);
        if (!timer) {
            host_futex_wait(&timers.changed, changed, next);
            continue;
        }
        timer->fn(timer);
        lock_acquire(&timers.lock);
        timers.running = NULL;
        awaited = timers.cancelling > 0;
        if (awaited)
            __atomic_add_fetch(&timers.finished, 1, __ATOMIC_RELEASE);
        lock_release(&timers.lock);
        if (awaited)
            host_futex_wake(&timers.finished, INT32_MAX);
    }
}

int timers_start(void)
{
    return host_thread_start("timers", timers_main, NULL);
}
