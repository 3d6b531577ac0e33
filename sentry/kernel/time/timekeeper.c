/*
 * The vDSO counts nanoseconds by the TSC alone, at a rate measured here: a thread compares TSC and
 * host clocks, first after some milliseconds, then at growing distances up to a second, and
 * publishes a new line
 *
 *     clock ^            . '  new line: starts where the old one is now (never a step back) and
 *           |        . /      aims at where the host will be one period later
 *           |    . /
 *           +--/-------------> tsc
 *
 * A host clock that was set (a jump of more than STEP_NS) moves the real-time offset at once, as it
 * does there; so does a program that sets the sandbox's own.
 */
#include "sentry/kernel/time/timekeeper.h"

#include <cpuid.h>
#include <errno.h>

#include "base/lock.h"
#include "base/log.h"
#include "host/clock.h"
#include "host/futex.h"
#include "host/thread.h"
#include "sentry/kernel/time/time.h"
#include "vdso/timepage.h"

#define SHIFT           32
#define FIRST_PERIOD_NS 4000000UL
#define LAST_PERIOD_NS  1000000000UL
#define STEP_NS         10000   /* differences of real time below this are noise */
#define STEP_FORWARD_NS 1000000 /* the host slept: no use in catching up slowly */
#define SET_NS          5000000 /* real time was set, and who waits for it is told */
#define SAMPLE_TRIES    5
#define MAX_BEND_PPM    2000

/* Taken where the page is written, and where real time is set. */
static struct lock page_lock = LOCK_INIT;
static struct timepage own_page = {.resolution_ns = 1};
static struct timepage *shared_page = &own_page;

const struct timepage *timekeeper_page(void)
{
    return shared_page;
}

static bool tsc_is_trusted(void)
{
    unsigned a, b, c, d;

    /* Invariant TSC: the same rate in every power state (SDM vol. 3, 18.17.1). */
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}

/* A clock and the TSC at the same moment: the tightest of some tries. */
static uint64_t read_with_tsc(clockid_t clock, uint64_t *ret_tsc)
{
    uint64_t best = UINT64_MAX, best_ns = 0;

    for (int i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t start = timepage_tsc(), ns = host_clock_ns(clock), end = timepage_tsc();

        if (end - start < best) {
            best = end - start;
            best_ns = ns;
            *ret_tsc = start + best / 2;
        }
    }
    return best_ns;
}

/* How far `clock` is ahead of CLOCK_MONOTONIC; both tick alike. */
static uint64_t read_offset(clockid_t clock)
{
    uint64_t best = UINT64_MAX, offset = 0;

    for (int i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t start = host_monotonic_ns(), ns = host_clock_ns(clock);
        uint64_t end = host_monotonic_ns();

        if (end - start < best) {
            best = end - start;
            offset = ns - (start + best / 2);
        }
    }
    return offset;
}

static struct time_sample take_sample(void)
{
    struct time_sample s = {
        .realtime_off_ns = read_offset(CLOCK_REALTIME),
        .boottime_off_ns = read_offset(CLOCK_BOOTTIME),
        .tai_offset_sec = host_tai_offset(),
    };

    s.monotonic_ns = read_with_tsc(CLOCK_MONOTONIC, &s.tsc);
    s.raw_ns = read_with_tsc(CLOCK_MONOTONIC_RAW, &s.raw_tsc);
    return s;
}

static uint64_t rate(uint64_t ns, uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ns << SHIFT) / MAX(ticks, 1UL));
}

/*
 * A line from `ours` (what the old one says now) with the host's rate, bent to meet the host after
 * `period_ns`. Starts at the host's time itself when that is far ahead.
 */
static void steer(uint64_t host_mult, uint64_t ours, uint64_t host_ns, uint64_t period_ns,
                  uint64_t *ret_base, uint64_t *ret_mult)
{
    int64_t error = (int64_t)(host_ns - ours);
    int64_t limit = (int64_t)(period_ns / 1000000 * MAX_BEND_PPM);
    int64_t bend;

    if (error > STEP_FORWARD_NS) {
        *ret_base = host_ns;
        *ret_mult = host_mult;
        return;
    }
    bend = MAX(MIN(error, limit), -limit);
    *ret_base = ours;
    *ret_mult = host_mult + (uint64_t)((__int128)host_mult * bend / (int64_t)period_ns);
}

/* Keeps the old offset unless the clock was set: it should not tremble. */
static uint64_t steady(uint64_t old, uint64_t measured)
{
    int64_t moved = (int64_t)(measured - old);

    return moved > STEP_NS || moved < -STEP_NS ? measured : old;
}

void timekeeper_steer(const struct timepage *old, const struct time_sample *before,
                      const struct time_sample *now, uint64_t period_ns, struct timepage *ret_page)
{
    uint64_t mult = rate(now->monotonic_ns - before->monotonic_ns, now->tsc - before->tsc);
    uint64_t raw_mult = rate(now->raw_ns - before->raw_ns, now->raw_tsc - before->raw_tsc);
    uint64_t realtime_off = now->realtime_off_ns, boottime_off = now->boottime_off_ns, realtime;
    struct timepage page = {.mode = 1, .shift = SHIFT, .resolution_ns = 1, .base_tsc = now->tsc};
    /* The host's raw clock at base_tsc; its sample was taken a little later. */
    uint64_t raw_ns = now->raw_ns - timepage_scale(now->raw_tsc - now->tsc, raw_mult, SHIFT);

    if (old->mode) {
        uint64_t old_off = old->realtime_sec * NSEC_PER_SEC + old->realtime_ns - old->monotonic_ns;

        realtime_off = steady(old_off, realtime_off);
        boottime_off = steady(old->boottime_off_ns, boottime_off);
        steer(mult, old->monotonic_ns + timepage_elapsed(old, now->tsc, old->mult),
              now->monotonic_ns, period_ns, &page.monotonic_ns, &page.mult);
        steer(raw_mult, old->raw_ns + timepage_elapsed(old, now->tsc, old->raw_mult), raw_ns,
              period_ns, &page.raw_ns, &page.raw_mult);
    } else {
        page.monotonic_ns = now->monotonic_ns;
        page.mult = mult;
        page.raw_ns = raw_ns;
        page.raw_mult = raw_mult;
    }
    realtime = page.monotonic_ns + realtime_off;
    page.realtime_sec = realtime / NSEC_PER_SEC;
    page.realtime_ns = realtime % NSEC_PER_SEC;
    page.boottime_off_ns = boottime_off;
    page.tai_offset_sec = now->tai_offset_sec;
    page.has_rdtscp_cpu = old->has_rdtscp_cpu;
    *ret_page = page;
}

static bool was_set(const struct time_sample *before, const struct time_sample *now)
{
    int64_t moved = (int64_t)(now->realtime_off_ns - before->realtime_off_ns);

    return moved > SET_NS || moved < -SET_NS || now->tai_offset_sec != before->tai_offset_sec;
}

static void publish(const struct time_sample *before, const struct time_sample *now,
                    uint64_t period_ns)
{
    struct time_sample ours = *now;
    struct timepage page;

    lock_acquire(&page_lock);
    ours.realtime_off_ns += (uint64_t)host_sandbox_clock_ahead();
    timekeeper_steer(shared_page, before, &ours, period_ns, &page);
    timepage_publish(shared_page, &page);
    lock_release(&page_lock);
}

int time_set_realtime(uint64_t ns)
{
    uint64_t realtime;
    int64_t ahead;

    lock_acquire(&page_lock);
    if (ns < time_monotonic_ns()) {
        lock_release(&page_lock);
        return -EINVAL;
    }
    ahead = (int64_t)(ns - time_realtime_ns());
    host_sandbox_clock_set_ahead(host_sandbox_clock_ahead() + ahead);
    if (shared_page->mode) {
        struct timepage page = *shared_page;

        realtime = page.realtime_sec * NSEC_PER_SEC + page.realtime_ns + (uint64_t)ahead;
        page.realtime_sec = realtime / NSEC_PER_SEC;
        page.realtime_ns = realtime % NSEC_PER_SEC;
        timepage_publish(shared_page, &page);
    }
    lock_release(&page_lock);
    time_was_set();
    return 0;
}

static void timekeeper_main(void *arg)
{
    struct time_sample before = *(struct time_sample *)arg, now;
    bool trusted = tsc_is_trusted();
    uint64_t period = FIRST_PERIOD_NS;
    uint32_t never = 0;

    for (;;) {
        host_futex_wait(&never, 0, before.monotonic_ns + period);
        now = take_sample();
        if (now.monotonic_ns - before.monotonic_ns < period)
            continue; /* woken early */
        period = MIN(period * 4, LAST_PERIOD_NS);
        if (trusted)
            publish(&before, &now, period);
        if (was_set(&before, &now))
            time_was_set();
        before = now;
    }
}

int time_start(struct timepage *page)
{
    static struct time_sample first;

    if (page)
        shared_page = page;
    if (!tsc_is_trusted())
        log_debug("time: the TSC is not invariant; guests ask for time by system call");
    first = take_sample();
    return host_thread_start("timekeeper", timekeeper_main, &first);
}
