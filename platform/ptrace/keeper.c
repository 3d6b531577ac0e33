/*
 * The keeper: one host thread that traces the master and all leaders, since a stub obeys only the
 * thread that traces it. Others hand it functions to run. It lives from before the jail closes
 * until the platform is destroyed; when it dies, every stub dies (PTRACE_O_EXITKILL).
 */
#include <errno.h>

#include "host/clock.h"
#include "host/process.h"
#include "host/thread.h"
#include "platform/ptrace/internal.h"

#define POSTED_MAX 16

static struct timespec deadline_in(unsigned int ms)
{
    uint64_t at = host_monotonic_ns() + ms * 1000000UL;

    return (struct timespec){(time_t)(at / 1000000000), (long)(at % 1000000000)};
}

static void answer_one(struct keeper *k)
{
    struct keeper_request *req = list_first(&k->requests, struct keeper_request, node);
    bool posted = req->posted;
    int result;

    list_del_init(&req->node);
    lock_release(&k->lock);
    result = req->run(req->arg);
    lock_acquire(&k->lock);
    if (posted) {
        k->posted--;
        return;
    }
    req->result = result;
    req->done = true;
    pthread_cond_signal(&req->answered);
}

static void keeper_main(void *arg)
{
    struct keeper *k = arg;
    struct timespec deadline;
    bool timing = false;
    sigset_t all;

    /* The runtime's threads look after the process's signals; this one is older than they are. */
    sigfillset(&all);
    host_signal_block(&all);
    lock_acquire(&k->lock);
    for (;;) {
        if (!list_empty(&k->requests)) {
            answer_one(k);
            continue;
        }
        if (k->quit)
            break;
        if (!k->ticking) {
            pthread_cond_wait(&k->wake, &k->lock.mutex);
            continue;
        }
        if (!timing)
            deadline = deadline_in(KEEPER_TICK_MS);
        timing = pthread_cond_timedwait(&k->wake, &k->lock.mutex, &deadline) != ETIMEDOUT;
        if (timing)
            continue;
        __atomic_store_n(&k->ticking, false, __ATOMIC_SEQ_CST);
        lock_release(&k->lock);
        k->tick(k->tick_arg);
        lock_acquire(&k->lock);
    }
    k->stopped = true;
    pthread_cond_signal(&k->wake);
    lock_release(&k->lock);
}

int keeper_start(struct keeper *k, void (*tick)(void *), void *tick_arg)
{
    pthread_condattr_t attr;

    lock_init(&k->lock);
    list_init(&k->requests);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    k->posted = 0;
    k->quit = k->stopped = k->ticking = false;
    k->tick = tick;
    k->tick_arg = tick_arg;
    return host_thread_start("keeper", keeper_main, k);
}

void keeper_stop(struct keeper *k)
{
    lock_acquire(&k->lock);
    k->quit = true;
    pthread_cond_signal(&k->wake);
    while (!k->stopped)
        pthread_cond_wait(&k->wake, &k->lock.mutex);
    lock_release(&k->lock);
    pthread_cond_destroy(&k->wake);
    lock_destroy(&k->lock);
}

int keeper_call(struct keeper *k, int (*run)(void *), void *arg)
{
    struct keeper_request req = {.run = run, .arg = arg, .answered = PTHREAD_COND_INITIALIZER};

    lock_acquire(&k->lock);
    list_add_tail(&k->requests, &req.node);
    pthread_cond_signal(&k->wake);
    while (!req.done)
        pthread_cond_wait(&req.answered, &k->lock.mutex);
    lock_release(&k->lock);
    pthread_cond_destroy(&req.answered);
    return req.result;
}

static int do_nothing(void *arg)
{
    return 0;
}

void keeper_post(struct keeper *k, struct keeper_request *req)
{
    bool far_ahead;

    req->posted = true;
    lock_acquire(&k->lock);
    far_ahead = ++k->posted > POSTED_MAX;
    list_add_tail(&k->requests, &req->node);
    pthread_cond_signal(&k->wake);
    lock_release(&k->lock);
    if (far_ahead)
        keeper_call(k, do_nothing, NULL);
}

void keeper_want_tick(struct keeper *k)
{
    if (__atomic_load_n(&k->ticking, __ATOMIC_SEQ_CST))
        return;
    lock_acquire(&k->lock);
    if (!k->ticking) {
        k->ticking = true;
        pthread_cond_signal(&k->wake);
    }
    lock_release(&k->lock);
}
