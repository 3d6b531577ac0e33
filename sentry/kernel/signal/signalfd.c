/*
 * A signalfd has no signals of its own: whoever reads it takes from his own pending ones, and
 * whoever polls it asks for them. So one that is shared across fork(2) tells each process something
 * else, as on Linux.
 *
 * All signalfds are on one list, and a signal that is queued wakes those whose mask has it, be it
 * for their readers or not: these look again. Lock order: a process's lock, then the list's, then
 * a queue's.
 */
#include "sentry/kernel/signal/signalfd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/signal/siginfo.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

struct signalfd {
    struct file file;
    uint64_t mask; /* atomic */
    struct wait_queue queue;
    struct list node;
};

static struct {
    struct lock lock;
    struct list list __guarded_by(lock);
    uint32_t count; /* atomic: without any, a signal costs nothing here */
} signalfds = {.lock = LOCK_INIT, .list = LIST_INIT(signalfds.list)};

static const struct file_operations signalfd_operations;

static struct signalfd *signalfd_of(struct file *f)
{
    return container_of(f, struct signalfd, file);
}

bool signalfd_is(const struct file *f)
{
    return f->ops == &signalfd_operations;
}

static uint64_t mask_of(const struct signalfd *s)
{
    return __atomic_load_n(&s->mask, __ATOMIC_ACQUIRE);
}

void signalfd_notify(int signo)
{
    struct signalfd *s;

    if (!__atomic_load_n(&signalfds.count, __ATOMIC_SEQ_CST))
        return;
    lock_acquire(&signalfds.lock);
    list_for_each (s, &signalfds.list, node) {
        if (mask_of(s) & SIGNAL_BIT(signo))
            wait_queue_wake(&s->queue, POLLIN | POLLRDNORM);
    }
    lock_release(&signalfds.lock);
}

static struct signalfd_siginfo to_record(const siginfo_t *info)
{
    struct signalfd_siginfo r = {
        .ssi_signo = (uint32_t)info->si_signo,
        .ssi_errno = info->si_errno,
        .ssi_code = info->si_code,
    };

    switch (siginfo_layout(info)) {
    case SIGINFO_TIMER:
        r.ssi_tid = (uint32_t)info->si_timerid;
        r.ssi_overrun = (uint32_t)info->si_overrun;
        r.ssi_ptr = (uint64_t)info->si_value.sival_ptr;
        r.ssi_int = info->si_value.sival_int;
        break;
    case SIGINFO_POLL:
        r.ssi_band = (uint32_t)info->si_band;
        r.ssi_fd = info->si_fd;
        break;
    case SIGINFO_MEMORY_ERROR:
        r.ssi_addr_lsb = (uint16_t)info->si_addr_lsb;
        /* fallthrough */
    case SIGINFO_FAULT:
        r.ssi_addr = (uint64_t)info->si_addr;
        break;
    case SIGINFO_CHILD:
        r.ssi_status = info->si_status;
        r.ssi_utime = (uint64_t)info->si_utime;
        r.ssi_stime = (uint64_t)info->si_stime;
        r.ssi_pid = (uint32_t)info->si_pid;
        r.ssi_uid = info->si_uid;
        break;
    case SIGINFO_QUEUE:
        r.ssi_ptr = (uint64_t)info->si_value.sival_ptr;
        r.ssi_int = info->si_value.sival_int;
        /* fallthrough */
    case SIGINFO_KILL:
        r.ssi_pid = (uint32_t)info->si_pid;
        r.ssi_uid = info->si_uid;
        break;
    case SIGINFO_SYSTEM_CALL:
        r.ssi_call_addr = (uint64_t)info->si_call_addr;
        r.ssi_syscall = info->si_syscall;
        r.ssi_arch = info->si_arch;
        break;
    }
    return r;
}

/* The next signal for the reader; it is lost should the buffer prove bad. */
static ssize_t read_one(struct signalfd *s, struct uio *uio)
{
    struct task *task = task_current();
    struct signalfd_siginfo record;
    siginfo_t info;
    ssize_t n;
    int signo;

    lock_acquire(&task->process->lock);
    signo = signal_dequeue_locked(task, mask_of(s), &info);
    lock_release(&task->process->lock);
    if (!signo)
        return -EAGAIN;
    record = to_record(&info);
    n = uio_copy_out(uio, &record, sizeof(record));
    return n == sizeof(record) ? n : -EFAULT;
}

static ssize_t signalfd_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct signalfd *s = signalfd_of(f);
    ssize_t total = 0, n;

    static_assert(sizeof(struct signalfd_siginfo) == 128, "signalfd_siginfo");
    if (uio->left < sizeof(struct signalfd_siginfo))
        return -EINVAL;
    do {
        n = read_one(s, uio);
        if (n < 0)
            break;
        total += n;
    } while (uio->left >= sizeof(struct signalfd_siginfo));
    return total ? total : n;
}

static uint32_t signalfd_poll(struct file *f, struct wait_entry *entry)
{
    struct signalfd *s = signalfd_of(f);
    struct task *task = task_current();

    if (entry)
        wait_queue_add(&s->queue, entry);
    return task && (signal_pending_set(task) & mask_of(s)) ? POLLIN | POLLRDNORM : 0;
}

static void signalfd_unpoll(struct file *f, struct wait_entry *entry)
{
    wait_queue_remove(&signalfd_of(f)->queue, entry);
}

void signalfd_set_mask(struct file *f, uint64_t mask)
{
    struct signalfd *s = signalfd_of(f);

    __atomic_store_n(&s->mask, mask, __ATOMIC_RELEASE);
    wait_queue_wake(&s->queue, POLLIN | POLLRDNORM);
}

static void signalfd_release(struct file *f)
{
    struct signalfd *s = signalfd_of(f);

    lock_acquire(&signalfds.lock);
    list_del_init(&s->node);
    __atomic_sub_fetch(&signalfds.count, 1, __ATOMIC_SEQ_CST);
    lock_release(&signalfds.lock);
    file_fini(f);
    free(s);
}

static const struct file_operations signalfd_operations = {
    .read = signalfd_read,
    .poll = signalfd_poll,
    .unpoll = signalfd_unpoll,
    .stat = anon_stat,
    .release = signalfd_release,
    .seek_ignored = true,
};

int signalfd_create_file(uint64_t mask, int flags, struct file **ret)
{
    struct signalfd *s = calloc(1, sizeof(*s));
    char *name = strdup("anon_inode:[signalfd]");

    if (!s || !name) {
        free(s);
        free(name);
        return -ENOMEM;
    }
    file_init(&s->file, &signalfd_operations, O_RDWR | (flags & SFD_NONBLOCK));
    s->file.path = name;
    s->mask = mask;
    wait_queue_init(&s->queue);
    lock_acquire(&signalfds.lock);
    list_add(&signalfds.list, &s->node);
    __atomic_add_fetch(&signalfds.count, 1, __ATOMIC_SEQ_CST);
    lock_release(&signalfds.lock);
    *ret = &s->file;
    return 0;
}
