#include "sentry/kernel/ns/timens.h"

#include <errno.h>

#include "loader/vdso.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/mm.h"

#define SEC_MAX ((int64_t)(TIME_MAX / NSEC_PER_SEC))

static struct lock offsets_lock = LOCK_INIT; /* innermost */

void time_ns_freeze(struct time_ns *ns)
{
    lock_acquire(&offsets_lock);
    ns->frozen = true;
    lock_release(&offsets_lock);
}

static struct time_offset *offset_of(struct time_ns *ns, clockid_t clock)
{
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
        return &ns->monotonic;
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        return &ns->boottime;
    default:
        return NULL;
    }
}

struct time_offset time_ns_offset(struct time_ns *ns, clockid_t clock)
{
    struct time_offset *slot = offset_of(ns, clock), offset = {0, 0};

    if (!slot)
        return offset;
    lock_acquire(&offsets_lock);
    offset = *slot;
    lock_release(&offsets_lock);
    return offset;
}

/* kernel/time/namespace.c:proc_timens_set_offset(): the clock must be valid with it, and long so.
 */
static int check_offset(clockid_t clock, const struct time_offset *offset)
{
    uint64_t now = 0;
    int64_t sec;

    if (clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return -EINVAL;
    if (offset->sec > SEC_MAX || offset->sec < -SEC_MAX)
        return -ERANGE;
    if (offset->ns < 0 || offset->ns >= (int64_t)NSEC_PER_SEC)
        return -EINVAL;
    time_read(clock, &now);
    sec = (int64_t)(now / NSEC_PER_SEC) + offset->sec +
          ((int64_t)(now % NSEC_PER_SEC) + offset->ns >= (int64_t)NSEC_PER_SEC);
    return sec < 0 || sec > SEC_MAX / 2 ? -ERANGE : 0;
}

int time_ns_set_offsets(struct time_ns *ns, const clockid_t *clocks,
                        const struct time_offset *offsets, int count)
{
    int error = 0;

    for (int i = 0; i < count && error == 0; i++)
        error = check_offset(clocks[i], &offsets[i]);
    if (error < 0)
        return error;
    lock_acquire(&offsets_lock);
    if (ns->frozen)
        error = -EACCES;
    for (int i = 0; i < count && error == 0; i++)
        *offset_of(ns, clocks[i]) = offsets[i];
    lock_release(&offsets_lock);
    return error;
}

static bool is_nested(const struct task *task, const struct ns_proxy *namespaces)
{
    return namespaces && namespaces->ns[NS_TIME] != task->kernel->initial_ns[NS_TIME];
}

/* Of a frozen namespace, so without its lock; saturated. */
static int64_t offset_ns(const struct task *task, clockid_t clock)
{
    const struct time_offset *offset;
    __int128 ns;

    if (likely(!is_nested(task, task->namespaces)))
        return 0;
    offset = offset_of(time_ns_of(task->namespaces->ns[NS_TIME]), clock);
    if (!offset)
        return 0;
    ns = (__int128)offset->sec * (int64_t)NSEC_PER_SEC + offset->ns;
    return (int64_t)MAX(MIN(ns, (__int128)INT64_MAX), -(__int128)INT64_MAX);
}

static uint64_t shift(uint64_t ns, int64_t by)
{
    __int128 sum = (__int128)ns + by;

    return sum < 0 ? 0 : (uint64_t)MIN(sum, (__int128)TIME_MAX);
}

uint64_t time_shown(const struct task *task, clockid_t clock, uint64_t ns)
{
    return shift(ns, offset_ns(task, clock));
}

uint64_t time_taken(const struct task *task, clockid_t clock, uint64_t ns)
{
    return ns >= TIME_MAX ? ns : shift(ns, -offset_ns(task, clock));
}

const struct vdso *time_vdso(const struct task *task, const struct ns_proxy *namespaces)
{
    return is_nested(task, namespaces) ? task->kernel->plain_vdso : task->kernel->vdso;
}

int time_ns_map(const struct task *task, const struct ns_proxy *namespaces, struct mm *mm)
{
    const struct vdso *vdso = time_vdso(task, namespaces);
    uaddr_t code = mm_layout(mm)->vdso;

    return vdso && code ? vdso_map_parameters(vdso, mm, code) : 0;
}
