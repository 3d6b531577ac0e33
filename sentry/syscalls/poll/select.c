/*
 * select(2), pselect6(2): sets of bits to a list for poll_files() and back. The sets are read and
 * written only as far as descriptors can be open, as Linux does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/personality.h>

#include "sentry/kernel/time/time.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/poll/poll.h"

enum { SET_READ, SET_WRITE, SET_EXCEPT, SET_COUNT };

/* What each set means in poll's terms: fs/select.c, POLLIN_SET and its sisters. */
static const short set_events[SET_COUNT] = {
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
    POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR,
    POLLPRI,
};

struct select_call {
    uaddr_t addr[SET_COUNT]; /* 0: not given */
    uint64_t *sets[SET_COUNT];
    size_t size; /* bytes of a set that matter: whole 64-bit words */
    int count;
    struct pollfd *fds;
    unsigned used;
};

static void release(struct select_call *s)
{
    for (int i = 0; i < SET_COUNT; i++)
        free(s->sets[i]);
    free(s->fds);
}

static int import_sets(struct task *task, struct select_call *s)
{
    for (int i = 0; i < SET_COUNT; i++) {
        s->sets[i] = calloc(1, s->size + 1);
        if (!s->sets[i])
            return -ENOMEM;
        if (s->addr[i] && copy_from_user(task->mm, s->sets[i], s->addr[i], s->size) < 0)
            return -EFAULT;
    }
    return 0;
}

static bool has(const uint64_t *set, int fd)
{
    return set[fd / 64] >> (fd % 64) & 1;
}

/* The list of descriptors that are in any set. -EBADF when one is not open. */
static int make_list(struct task *task, struct select_call *s)
{
    s->fds = calloc((size_t)s->count + 1, sizeof(*s->fds));
    if (!s->fds)
        return -ENOMEM;
    for (int fd = 0; fd < s->count; fd++) {
        short events = 0;

        for (int i = 0; i < SET_COUNT; i++)
            events |= has(s->sets[i], fd) ? set_events[i] : 0;
        if (!events)
            continue;
        if (fdtable_get_cloexec(task->files, fd) < 0)
            return -EBADF;
        s->fds[s->used++] = (struct pollfd){.fd = fd, .events = events};
    }
    return 0;
}

/*
 * Turns the answers into sets; how many bits are set. poll_files() counts a descriptor as ready for
 * POLLHUP even where no set asked about that: the bits decide.
 */
static long make_sets(struct select_call *s)
{
    long bits = 0;

    for (int i = 0; i < SET_COUNT; i++) {
        uint64_t *asked = s->sets[i];

        for (unsigned j = 0; j < s->used; j++) {
            int fd = s->fds[j].fd;

            if (!has(asked, fd))
                continue;
            if (s->fds[j].revents & set_events[i])
                bits++;
            else
                asked[fd / 64] &= ~(1UL << (fd % 64));
        }
    }
    return bits;
}

static long wait_and_answer(struct task *task, struct select_call *s, uint64_t deadline_ns)
{
    long bits = poll_files(task, s->fds, s->used, deadline_ns);

    if (bits < 0)
        return bits;
    bits = make_sets(s);
    for (int i = 0; i < SET_COUNT; i++) {
        if (s->addr[i] && copy_to_user(task->mm, s->addr[i], s->sets[i], s->size) < 0)
            return -EFAULT;
    }
    return bits;
}

static long do_select(struct task *task, int count, const uaddr_t addr[SET_COUNT],
                      uint64_t deadline_ns)
{
    struct select_call s = {.addr = {addr[0], addr[1], addr[2]}};
    long result;

    if (count < 0)
        return -EINVAL;
    s.count = MIN(count, fdtable_capacity(task->files));
    s.size = round_up((size_t)s.count, 64UL) / 8;
    result = import_sets(task, &s);
    if (!result)
        result = make_list(task, &s);
    if (!result)
        result = wait_and_answer(task, &s, deadline_ns);
    release(&s);
    return result;
}

/* struct timeval; microseconds above a million count as seconds here (fs/select.c). */
static int get_timeval(struct task *task, uaddr_t addr, uint64_t *ret_deadline_ns)
{
    struct timeval tv;
    struct timespec ts;

    *ret_deadline_ns = TIME_NEVER;
    if (!addr)
        return 0;
    if (copy_struct_from_user(task->mm, &tv, addr) < 0)
        return -EFAULT;
    if (tv.tv_sec < 0 || tv.tv_usec < 0)
        return -EINVAL;
    if (__builtin_add_overflow(tv.tv_sec, tv.tv_usec / 1000000, &ts.tv_sec))
        return -EINVAL;
    ts.tv_nsec = tv.tv_usec % 1000000 * 1000;
    *ret_deadline_ns = poll_deadline(timespec_ns(&ts));
    return 0;
}

static long put_timeval(struct task *task, uaddr_t addr, uint64_t deadline_ns, long result)
{
    uint64_t now = time_monotonic_ns();
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    struct timeval tv = {(time_t)(left / NSEC_PER_SEC), (suseconds_t)(left % NSEC_PER_SEC / 1000)};

    if (!addr)
        return result;
    if (!(task->personality & STICKY_TIMEOUTS) && copy_struct_to_user(task->mm, addr, &tv) == 0)
        return result;
    return result == -ERESTARTNOHAND ? -EINTR : result;
}

SYSCALL_DEFINE5(select, int, count, uaddr_t, readfds, uaddr_t, writefds, uaddr_t, exceptfds,
                uaddr_t, timeout)
{
    const uaddr_t sets[SET_COUNT] = {readfds, writefds, exceptfds};
    uint64_t deadline;
    long result = get_timeval(task, timeout, &deadline);

    if (result < 0)
        return result;
    result = do_select(task, count, sets, deadline);
    return put_timeval(task, timeout, deadline, result == -EINTR ? -ERESTARTNOHAND : result);
}

SYSCALL_DEFINE6(pselect6, int, count, uaddr_t, readfds, uaddr_t, writefds, uaddr_t, exceptfds,
                uaddr_t, timeout, uaddr_t, sigmask_arg)
{
    const uaddr_t sets[SET_COUNT] = {readfds, writefds, exceptfds};
    struct {
        uaddr_t set;
        uint64_t size;
    } arg = {0, 0};
    struct poll_mask mask;
    uint64_t deadline;
    long result;

    if (sigmask_arg && copy_struct_from_user(task->mm, &arg, sigmask_arg) < 0)
        return -EFAULT;
    result = poll_get_timeout(task, timeout, &deadline);
    if (result < 0)
        return result;
    result = poll_mask_set(task, arg.set, arg.size, &mask);
    if (result < 0)
        return result;
    result = do_select(task, count, sets, deadline);
    result = poll_mask_restore(task, &mask, result);
    return poll_put_timeout(task, timeout, deadline, result);
}
