/* Many messages in one call: sendmmsg(2), recvmmsg(2). */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "host/clock.h"
#include "sentry/mm/uio.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"

#define NSEC_PER_SEC 1000000000UL

/* struct mmsghdr, as programs have it. */
struct guest_mmsghdr {
    struct guest_msghdr hdr;
    uint32_t size, pad;
};
static_assert(sizeof(struct guest_mmsghdr) == 64, "struct mmsghdr");

/* How many bytes a message had, into its header. */
static ssize_t put_size(struct task *task, uaddr_t addr, ssize_t n)
{
    uint32_t size = (uint32_t)n;

    if (n < 0)
        return n;
    return copy_struct_to_user(task->mm, addr + offsetof(struct guest_mmsghdr, size), &size);
}

SYSCALL_DEFINE4(sendmmsg, int, fd, uaddr_t, vec, unsigned, count, unsigned, flags)
{
    struct socket *s;
    unsigned done = 0;
    ssize_t n = task_socket(task, fd, &s);

    if (n < 0)
        return n;
    count = MIN(count, (unsigned)UIO_MAX_SEGMENTS);
    while (done < count) {
        uaddr_t addr = vec + done * sizeof(struct guest_mmsghdr);

        n = put_size(task, addr, socket_sendmsg_at(task, s, addr, (int)flags));
        if (n < 0)
            break;
        done++;
        if (task_interrupted(task))
            break;
    }
    task_socket_put(s);
    return done > 0 ? (long)done : n;
}

static long receive_many(struct task *task, struct socket *s, uaddr_t vec, unsigned count,
                         int flags, uint64_t deadline_ns)
{
    unsigned done = 0;
    ssize_t n = socket_take_error(s);
    uint32_t got = 0;

    if (n < 0)
        return n;
    while (done < count) {
        uaddr_t addr = vec + done * sizeof(struct guest_mmsghdr);

        n = socket_recvmsg_at(task, s, addr, flags & ~MSG_WAITFORONE, &got);
        n = put_size(task, addr, n);
        if (n < 0)
            break;
        done++;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if ((got & MSG_OOB) || host_monotonic_ns() >= deadline_ns || task_interrupted(task))
            break;
    }
    /* An error behind the first message is told by the next call. */
    if (n < 0 && n != -EAGAIN && n > -ERESTARTSYS && n != -EINTR && done > 0)
        __atomic_store_n(&s->error, (int)-n, __ATOMIC_RELEASE);
    return done > 0 ? (long)done : n;
}

static int put_rest(struct task *task, uaddr_t addr, uint64_t deadline_ns)
{
    uint64_t now = host_monotonic_ns(), rest = deadline_ns > now ? deadline_ns - now : 0;
    struct timespec ts = {(time_t)(rest / NSEC_PER_SEC), (long)(rest % NSEC_PER_SEC)};

    return copy_struct_to_user(task->mm, addr, &ts);
}

SYSCALL_DEFINE5(recvmmsg, int, fd, uaddr_t, vec, unsigned, count, unsigned, flags, uaddr_t, timeout)
{
    uint64_t deadline_ns = UINT64_MAX;
    struct timespec ts;
    struct socket *s;
    long n;

    if (timeout) {
        if (copy_struct_from_user(task->mm, &ts, timeout) < 0)
            return -EFAULT;
        if (ts.tv_sec < 0 || ts.tv_nsec < 0 || (uint64_t)ts.tv_nsec >= NSEC_PER_SEC)
            return -EINVAL;
        if ((uint64_t)ts.tv_sec < UINT32_MAX)
            deadline_ns =
                host_monotonic_ns() + (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
    }
    n = task_socket(task, fd, &s);
    if (n < 0)
        return n;
    n = receive_many(task, s, vec, MIN(count, (unsigned)UIO_MAX_SEGMENTS), (int)flags, deadline_ns);
    task_socket_put(s);
    if (n > 0 && timeout && put_rest(task, timeout, deadline_ns) < 0)
        return -EFAULT;
    return n;
}
