/*
 * Linux fs/timerfd.c: an interval timer is not armed again at its expiry but when somebody looks,
 * and the expiries in between are counted then. So a timer that nobody reads costs nothing.
 *
 * Lock order: timerfd->lock, then the timers' and the time watches', then the queue's. The function
 * that is called when real time was set takes none but the queue's.
 */
#include "sentry/kernel/time/timerfd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/time/clocktimer.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

#define LINUX_TFD_IOC_SET_TICKS 0x40085400u

struct timerfd {
    struct file file;
    clockid_t clock;
    struct wait_queue queue;
    struct time_watch set_watch;
    uint32_t was_set; /* atomic: real time was set, and nobody has been told */
    struct lock lock;
    struct clock_timer timer __guarded_by(lock);
    uint64_t interval_ns __guarded_by(lock);
    uint64_t ticks __guarded_by(lock);
    bool armed __guarded_by(lock);   /* expires_ns is still ahead, or was not seen yet */
    bool expired __guarded_by(lock); /* an interval timer that waits for somebody to look */
    bool might_cancel __guarded_by(lock);
};

static const struct file_operations timerfd_operations;

static struct timerfd *timerfd_of(struct file *f)
{
    return container_of(f, struct timerfd, file);
}

bool timerfd_is(const struct file *f)
{
    return f->ops == &timerfd_operations;
}

clockid_t timerfd_clock(struct file *f)
{
    return timerfd_of(f)->clock;
}

static void timerfd_expired(struct timer *timer)
{
    struct timerfd *t = container_of(timer, struct timerfd, timer.timer);
    bool due = false;

    lock_acquire(&t->lock);
    if (t->armed && clock_timer_due(&t->timer)) {
        t->armed = false;
        t->expired = true;
        t->ticks++;
        due = true;
    }
    lock_release(&t->lock);
    if (due)
        wait_queue_wake(&t->queue, POLLIN | POLLRDNORM);
}

static void timerfd_clock_set(struct time_watch *watch)
{
    struct timerfd *t = container_of(watch, struct timerfd, set_watch);

    __atomic_store_n(&t->was_set, 1, __ATOMIC_RELEASE);
    wait_queue_wake(&t->queue, POLLIN | POLLRDNORM);
}

/* Counts the expiries since the one that was seen, and goes on. */
static void catch_up_locked(struct timerfd *t) __must_hold(t->lock)
{
    uint64_t now = 0, missed;

    if (!t->expired || !t->interval_ns)
        return;
    time_read(t->timer.clock, &now);
    missed = now > t->timer.expires_ns ? (now - t->timer.expires_ns) / t->interval_ns : 0;
    t->ticks += missed;
    t->expired = false;
    t->armed = true;
    clock_timer_arm(&t->timer, t->timer.clock,
                    time_add(t->timer.expires_ns, (missed + 1) * t->interval_ns));
}

static bool take_cancel_locked(struct timerfd *t) __must_hold(t->lock)
{
    return t->might_cancel && __atomic_exchange_n(&t->was_set, 0, __ATOMIC_ACQ_REL);
}

static ssize_t timerfd_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct timerfd *t = timerfd_of(f);
    uint64_t ticks = 0;
    ssize_t n = -EAGAIN;

    if (uio->left < sizeof(ticks))
        return -EINVAL;
    lock_acquire(&t->lock);
    if (take_cancel_locked(t)) {
        /* The program has to think anew: neither told of expiries nor armed again. */
        t->ticks = 0;
        t->expired = false;
        n = -ECANCELED;
    } else if (t->ticks) {
        catch_up_locked(t);
        ticks = t->ticks;
        t->ticks = 0;
        t->expired = false;
    }
    lock_release(&t->lock);
    if (!ticks)
        return n;
    n = uio_copy_out(uio, &ticks, sizeof(ticks));
    return n < 0 || (size_t)n < sizeof(ticks) ? -EFAULT : n;
}

static uint32_t timerfd_poll(struct file *f, struct wait_entry *entry)
{
    struct timerfd *t = timerfd_of(f);
    uint32_t events = 0;

    if (entry)
        wait_queue_add(&t->queue, entry);
    lock_acquire(&t->lock);
    if (t->ticks || (t->might_cancel && __atomic_load_n(&t->was_set, __ATOMIC_ACQUIRE)))
        events = POLLIN | POLLRDNORM;
    lock_release(&t->lock);
    return events;
}

static void timerfd_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&timerfd_of(f)->queue, entry);
}

/* For checkpoints: as if that many expiries had been. */
static long timerfd_ioctl(struct file *f, struct mm *mm, uint32_t cmd, uint64_t arg)
{
    struct timerfd *t = timerfd_of(f);
    uint64_t ticks;
    long result = 0;

    if (cmd != LINUX_TFD_IOC_SET_TICKS)
        return -ENOTTY;
    if (copy_struct_from_user(mm, &ticks, arg) < 0)
        return -EFAULT;
    if (!ticks)
        return -EINVAL;
    lock_acquire(&t->lock);
    if (take_cancel_locked(t))
        result = -ECANCELED;
    else
        t->ticks = ticks;
    lock_release(&t->lock);
    if (result == 0)
        wait_queue_wake(&t->queue, POLLIN | POLLRDNORM);
    return result;
}

static void get_locked(struct timerfd *t, struct timer_setting *ret) __must_hold(t->lock)
{
    uint64_t now = 0;

    catch_up_locked(t);
    *ret = (struct timer_setting){.interval_ns = t->interval_ns};
    time_read(t->timer.clock, &now);
    if (t->armed && t->timer.expires_ns > now)
        ret->value_ns = t->timer.expires_ns - now;
}

void timerfd_get(struct file *f, struct timer_setting *ret)
{
    struct timerfd *t = timerfd_of(f);

    lock_acquire(&t->lock);
    get_locked(t, ret);
    lock_release(&t->lock);
}

static void watch_clock_locked(struct timerfd *t, int flags) __must_hold(t->lock)
{
    t->might_cancel = (t->clock == CLOCK_REALTIME || t->clock == CLOCK_REALTIME_ALARM) &&
                      (flags & TFD_TIMER_ABSTIME) && (flags & TFD_TIMER_CANCEL_ON_SET);
    if (t->might_cancel) {
        time_watch_add(&t->set_watch);
    } else {
        time_watch_remove(&t->set_watch);
        __atomic_store_n(&t->was_set, 0, __ATOMIC_RELAXED);
    }
}

int timerfd_set(struct file *f, int flags, const struct timer_setting *setting,
                struct timer_setting *ret_old)
{
    struct timerfd *t = timerfd_of(f);
    bool absolute = flags & TFD_TIMER_ABSTIME;
    clockid_t base = clock_timer_base(t->clock, absolute);
    uint64_t now = 0;
    int error = 0;

    lock_acquire(&t->lock);
    watch_clock_locked(t, flags);
    get_locked(t, ret_old);
    clock_timer_disarm(&t->timer);
    t->expired = false;
    t->ticks = 0;
    t->interval_ns = setting->interval_ns;
    t->armed = setting->value_ns != 0;
    time_read(base, &now);
    if (t->armed)
        error = clock_timer_arm(&t->timer, base,
                                absolute ? time_taken(task_current(), t->clock, setting->value_ns)
                                         : time_add(now, setting->value_ns));
    if (take_cancel_locked(t))
        error = -ECANCELED;
    lock_release(&t->lock);
    return error;
}

static void timerfd_release(struct file *f)
{
    struct timerfd *t = timerfd_of(f);

    time_watch_remove(&t->set_watch);
    clock_timer_cancel(&t->timer);
    lock_destroy(&t->lock);
    file_fini(f);
    free(t);
}

static const struct file_operations timerfd_operations = {
    .read = timerfd_read,
    .poll = timerfd_poll,
    .unpoll = timerfd_unpoll,
    .stat = anon_stat,
    .ioctl = timerfd_ioctl,
    .release = timerfd_release,
    .seek_ignored = true,
};

int timerfd_create_file(clockid_t clock, int flags, struct file **ret)
{
    struct timerfd *t = calloc(1, sizeof(*t));
    char *name = strdup("anon_inode:[timerfd]");

    if (!t || !name) {
        free(t);
        free(name);
        return -ENOMEM;
    }
    file_init(&t->file, &timerfd_operations, O_RDWR | (flags & TFD_NONBLOCK));
    t->file.path = name;
    t->clock = clock;
    wait_queue_init(&t->queue);
    time_watch_init(&t->set_watch, timerfd_clock_set);
    lock_init(&t->lock);
    clock_timer_init(&t->timer, timerfd_expired);
    t->timer.clock = clock_timer_base(clock, false);
    *ret = &t->file;
    return 0;
}
