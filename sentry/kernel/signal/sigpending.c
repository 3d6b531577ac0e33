/*
 * Queues of pending signals: what is in them, and in which order it is taken (Linux
 * kernel/signal.c): synchronous ones first, then the lowest number, the thread's own before the
 * process's; among equals the oldest.
 */
#include <stdlib.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/itimer.h"
#include "sentry/kernel/time/posixtimer.h"

void sigpending_init(struct sigpending *pending)
{
    list_init(&pending->queue);
    pending->set = 0;
}

void sigqueue_free(struct sigqueue *entry)
{
    list_del_init(&entry->node);
    user_uncharge_signal(&entry->kernel->users, entry->user);
    free(entry);
}

/* Takes an entry off its queue; a timer's belongs to the timer. */
static void sigqueue_remove(struct sigqueue *entry)
{
    if (entry->timer)
        list_del_init(&entry->node);
    else
        sigqueue_free(entry);
}

void sigpending_drop(struct sigpending *pending, uint64_t set)
{
    struct sigqueue *entry, *next;

    if (!(pending->set & set))
        return;
    pending->set &= ~set;
    list_for_each_safe (entry, next, &pending->queue, node) {
        if (SIGNAL_BIT(entry->info.si_signo) & set)
            sigqueue_remove(entry);
    }
}

void sigpending_clear(struct sigpending *pending)
{
    sigpending_drop(pending, ~0UL);
}

struct sigqueue *sigqueue_alloc_locked(struct task *task, bool beyond_limit)
{
    struct user_table *users = &task->kernel->users;
    uint64_t limit = beyond_limit ? UINT64_MAX : task->process->limits[RLIMIT_SIGPENDING].rlim_cur;
    struct user *user = user_charge_signal(users, task->cred->uid, limit);
    struct sigqueue *entry = user ? calloc(1, sizeof(*entry)) : NULL;

    if (!entry) {
        if (user)
            user_uncharge_signal(users, user);
        return NULL;
    }
    entry->kernel = task->kernel;
    entry->user = user;
    list_init(&entry->node);
    return entry;
}
void signal_unqueue_locked(struct sigpending *pending, struct sigqueue *entry)
{
    struct sigqueue *other;

    if (list_empty(&entry->node))
        return;
    list_del_init(&entry->node);
    list_for_each (other, &pending->queue, node) {
        if (other->info.si_signo == entry->info.si_signo)
            return;
    }
    pending->set &= ~SIGNAL_BIT(entry->info.si_signo);
}

/* Takes the oldest entry of this signal; clears its bit when it was the last. */
static void take_entry(struct sigpending *pending, int signo, siginfo_t *ret_info)
{
    struct sigqueue *entry, *next, *found = NULL;
    bool more = false;

    list_for_each_safe (entry, next, &pending->queue, node) {
        if (entry->info.si_signo != signo)
            continue;
        if (found) {
            more = true;
            break;
        }
        found = entry;
    }
    if (!more)
        pending->set &= ~SIGNAL_BIT(signo);
    if (found) {
        struct posix_timer *timer = found->timer;

        *ret_info = found->info;
        sigqueue_remove(found);
        if (timer)
            posix_timer_taken_locked(timer, ret_info);
    } else {
        *ret_info = (siginfo_t){.si_signo = signo, .si_code = SI_USER};
    }
}

static int take_from(struct sigpending *pending, uint64_t set, siginfo_t *ret_info)
{
    uint64_t due = pending->set & set;
    int signo;

    if (!due)
        return 0;
    if (due & SIGNALS_SYNCHRONOUS)
        due &= SIGNALS_SYNCHRONOUS;
    signo = __builtin_ctzl(due) + 1;
    take_entry(pending, signo, ret_info);
    return signo;
}

/* A fault of the thread's own instruction goes before whatever others sent, also of its kind. */
static int take_synchronous(struct sigpending *pending, uint64_t set, siginfo_t *ret_info)
{
    struct sigqueue *entry;

    if (!(pending->set & set & SIGNALS_SYNCHRONOUS))
        return 0;
    list_for_each (entry, &pending->queue, node) {
        int signo = entry->info.si_signo;

        if (entry->info.si_code > SI_USER && (SIGNAL_BIT(signo) & SIGNALS_SYNCHRONOUS & set)) {
            take_entry(pending, signo, ret_info);
            return signo;
        }
    }
    return 0;
}

int signal_dequeue_locked(struct task *task, uint64_t set, siginfo_t *ret_info)
{
    int signo = take_synchronous(&task->pending, set, ret_info);

    if (!signo)
        signo = take_from(&task->pending, set, ret_info);
    if (signo)
        return signo;
    signo = take_from(&task->process->pending, set, ret_info);
    if (signo == SIGALRM)
        itimer_real_taken_locked(task->process);
    return signo;
}
