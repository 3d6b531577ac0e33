/*
 * The pool: jobs in a queue, and threads that take them. There is always a thread for a job unless
 * THREADS_MAX of them are busy; one that finds nothing for a while ends.
 *
 * Locks: `pool.lock` is innermost: async_start() is called under locks of wait queues.
 */
#include "sentry/syscalls/async.h"

#include <errno.h>

#include "host/clock.h"
#include "host/futex.h"
#include "host/thread.h"
#include "sentry/vfs/file.h"

#define THREADS_MAX 256
#define IDLE_NS     2000000000UL

static struct {
    struct lock lock;
    struct list jobs __guarded_by(lock);
    uint32_t job_count __guarded_by(lock);
    uint32_t threads __guarded_by(lock);
    uint32_t idle __guarded_by(lock);
    uint32_t word; /* futex: changes with each job */
} pool = {.lock = LOCK_INIT, .jobs = LIST_INIT(pool.jobs)};

static struct async_job *take_locked(void)
{
    struct async_job *job;

    if (list_empty(&pool.jobs))
        return NULL;
    job = list_first(&pool.jobs, struct async_job, node);
    list_del_init(&job->node);
    pool.job_count--;
    return job;
}

/* The next job; NULL when there was none for long, and the thread has signed off. */
static struct async_job *next_job(void)
{
    uint64_t deadline = host_monotonic_ns() + IDLE_NS;
    struct async_job *job;
    int err = 0;

    lock_acquire(&pool.lock);
    while (!(job = take_locked()) && err != -ETIMEDOUT) {
        uint32_t word = __atomic_load_n(&pool.word, __ATOMIC_ACQUIRE);

        pool.idle++;
        lock_release(&pool.lock);
        err = host_futex_wait(&pool.word, word, deadline);
        lock_acquire(&pool.lock);
        pool.idle--;
    }
    if (!job)
        pool.threads--;
    lock_release(&pool.lock);
    return job;
}

static void worker_main(void *arg)
{
    struct async_job *job;

    while ((job = next_job()))
        job->run(job);
}

void async_job_init(struct async_job *job, void (*run)(struct async_job *job))
{
    list_init(&job->node);
    job->run = run;
}

void async_start(struct async_job *job)
{
    bool more;

    lock_acquire(&pool.lock);
    list_add_tail(&pool.jobs, &job->node);
    pool.job_count++;
    more = pool.job_count > pool.idle && pool.threads < THREADS_MAX;
    pool.threads += more;
    __atomic_add_fetch(&pool.word, 1, __ATOMIC_RELEASE);
    lock_release(&pool.lock);
    if (more && host_thread_start("async", worker_main, NULL) == 0)
        return;
    if (more) {
        lock_acquire(&pool.lock);
        pool.threads--;
        lock_release(&pool.lock);
    }
    host_futex_wake(&pool.word, 1);
}

bool async_take_back(struct async_job *job)
{
    bool was_there;

    lock_acquire(&pool.lock);
    was_there = !list_empty(&job->node);
    if (was_there) {
        list_del_init(&job->node);
        pool.job_count--;
    }
    lock_release(&pool.lock);
    return was_there;
}

/* ---- files that are watched ------------------------------------------------------------------ */

/* Called under the queue's lock. One look is enough for all that happens before it begins. */
static void poll_wake(struct wait_entry *entry, uint32_t events)
{
    struct async_poll *poll = container_of(entry, struct async_poll, entry);

    if (__atomic_exchange_n(&poll->queued, 1, __ATOMIC_ACQ_REL))
        return;
    poll->ref(poll);
    async_start(&poll->job);
}

static void poll_run(struct async_job *job)
{
    struct async_poll *poll = container_of(job, struct async_poll, job);

    __atomic_store_n(&poll->queued, 0, __ATOMIC_RELEASE);
    poll->ready(poll);
}

void async_poll_init(struct async_poll *poll, struct file *file, uint32_t events)
{
    poll->file = file_ref(file);
    wait_entry_init(&poll->entry, NULL, events | POLLERR | POLLHUP);
    poll->entry.wake = poll_wake;
    async_job_init(&poll->job, poll_run);
    poll->armed = false;
    poll->queued = 0;
}

uint32_t async_poll_look(struct async_poll *poll)
{
    return file_poll(poll->file, NULL) & poll->entry.events;
}

uint32_t async_poll_enter(struct async_poll *poll)
{
    poll->armed = true;
    return file_poll(poll->file, &poll->entry) & poll->entry.events;
}

uint32_t async_poll_start(struct async_poll *poll)
{
    uint32_t now = async_poll_enter(poll);

    if (now)
        async_poll_stop(poll);
    return now;
}

void async_poll_stop(struct async_poll *poll)
{
    if (poll->armed)
        file_unpoll(poll->file, &poll->entry);
    poll->armed = false;
}

void async_poll_fini(struct async_poll *poll)
{
    poll->file = file_unref(poll->file);
}
