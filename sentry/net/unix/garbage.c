/*
 * Descriptors in flight. A socket whose descriptor lies in its own queue, or in that of another one
 * of which the same is true, can never be read again, and no reference count will tell. So whenever
 * a socket is closed while any are in flight, those are looked at whose every reference is in some
 * queue (candidates). What a candidate's queue holds is taken off; a candidate that has more than
 * was taken off is reachable from outside, and so is all that its queue leads to. The rest is
 * garbage: the descriptors are taken out of its queues, and nothing holds it any more.
 *
 * A thread that lives for the moment does it, a little after the close: who closes a descriptor
 * still holds the file while the descriptor goes.
 *
 * Others go on meanwhile. A descriptor that is on its way into or out of a queue is counted but
 * found in none, so it counts as reachable: wrong guesses keep things, and the next close looks
 * again.
 */
#include "host/clock.h"
#include "host/futex.h"
#include "host/thread.h"
#include "sentry/net/unix/internal.h"

static struct lock garbage_lock = LOCK_INIT;
static struct list inflight = LIST_INIT(inflight);
static uint64_t inflight_count; /* under garbage_lock; read atomically */

static struct unix_socket *socket_in(struct file *f)
{
    struct socket *s = socket_is(f) ? socket_of(f) : NULL;

    return s && s->domain == AF_UNIX ? unix_of(s) : NULL;
}

void unix_rights_queued(struct net_rights *rights)
{
    lock_acquire(&garbage_lock);
    for (uint32_t i = 0; i < rights->count; i++) {
        struct unix_socket *u = socket_in(rights->files[i]);

        if (!u)
            continue;
        if (u->inflight++ == 0)
            list_add_tail(&inflight, &u->inflight_node);
        inflight_count++;
    }
    lock_release(&garbage_lock);
}

void unix_rights_taken(struct net_rights *rights)
{
    lock_acquire(&garbage_lock);
    for (uint32_t i = 0; i < rights->count; i++) {
        struct unix_socket *u = socket_in(rights->files[i]);

        if (!u)
            continue;
        if (--u->inflight == 0)
            list_del_init(&u->inflight_node);
        inflight_count--;
    }
    lock_release(&garbage_lock);
}

struct net_rights *unix_rights_peek(const struct net_rights *rights)
{
    struct net_rights *copy;

    lock_acquire(&garbage_lock);
    copy = net_rights_copy(rights);
    lock_release(&garbage_lock);
    return copy;
}

typedef void (*found_fn)(struct unix_socket *found, void *arg);

/* Every candidate in the queue of `u`, and of those that wait to be accepted by it. */
static void scan(struct unix_socket *u, found_fn fn, void *arg)
{
    struct unix_message *m;
    struct unix_socket *waiting;

    lock_acquire(&u->sock.lock);
    list_for_each (m, &u->messages, node) {
        for (uint32_t i = 0; m->rights && i < m->rights->count; i++) {
            struct unix_socket *found = socket_in(m->rights->files[i]);

            if (found && found->candidate)
                fn(found, arg);
        }
    }
    list_for_each (waiting, &u->waiting, waiting_node)
        scan(waiting, fn, arg);
    lock_release(&u->sock.lock);
}

static void explain(struct unix_socket *found, void *arg)
{
    found->unexplained--;
}

static void reach(struct unix_socket *found, void *arg)
{
    if (found->reached)
        return;
    found->reached = true;
    list_add_tail(arg, &found->work_node);
}

static void mark_reachable(void)
{
    struct list work = LIST_INIT(work);
    struct unix_socket *u;

    list_for_each (u, &inflight, inflight_node) {
        if (u->candidate && u->unexplained > 0)
            reach(u, &work);
    }
    while (!list_empty(&work)) {
        u = list_first(&work, struct unix_socket, work_node);
        list_del_init(&u->work_node);
        scan(u, reach, &work);
    }
}

/* Takes the rights out of the queue of one that nobody can read. */
static void strip(struct unix_socket *u, struct list *doomed)
{
    struct unix_message *m;
    struct unix_socket *waiting;

    lock_acquire(&u->sock.lock);
    list_for_each (m, &u->messages, node) {
        if (m->rights)
            list_add_tail(doomed, &m->rights->node);
        m->rights = NULL;
    }
    list_for_each (waiting, &u->waiting, waiting_node)
        strip(waiting, doomed);
    lock_release(&u->sock.lock);
}

static void find_garbage(struct list *doomed)
{
    struct unix_socket *u;

    list_for_each (u, &inflight, inflight_node) {
        u->candidate = refcount_read(&u->sock.file.refs) == u->inflight;
        u->unexplained = u->inflight;
        u->reached = false;
    }
    list_for_each (u, &inflight, inflight_node) {
        if (u->candidate)
            scan(u, explain, NULL);
    }
    mark_reachable();
    list_for_each (u, &inflight, inflight_node) {
        if (u->candidate && !u->reached)
            strip(u, doomed);
    }
    list_for_each (u, &inflight, inflight_node)
        u->candidate = false;
}

static void collect(void)
{
    struct list doomed = LIST_INIT(doomed);

    lock_acquire(&garbage_lock);
    find_garbage(&doomed);
    lock_release(&garbage_lock);
    while (!list_empty(&doomed)) {
        struct net_rights *rights = list_first(&doomed, struct net_rights, node);

        list_del_init(&rights->node);
        unix_rights_taken(rights);
        net_rights_uncount(rights);
        net_rights_free(rights);
    }
}

/* ---- when -------------------------------------------------------------------------------------
 */

#define SETTLE_NS 5000000UL

static struct lock thread_lock = LOCK_INIT;
static bool thread_runs, look_again; /* under thread_lock */

static bool begin_look(void)
{
    bool go_on;

    lock_acquire(&thread_lock);
    go_on = look_again;
    look_again = false;
    thread_runs = go_on;
    lock_release(&thread_lock);
    return go_on;
}

static void garbage_main(void *arg)
{
    uint32_t word = 0;

    while (begin_look()) {
        host_futex_wait(&word, 0, host_monotonic_ns() + SETTLE_NS);
        collect();
    }
}

void unix_garbage_look(void)
{
    bool start;

    if (__atomic_load_n(&inflight_count, __ATOMIC_ACQUIRE) == 0)
        return;
    lock_acquire(&thread_lock);
    look_again = true;
    start = !thread_runs;
    thread_runs = true;
    lock_release(&thread_lock);
    if (!start || host_thread_start("garbage", garbage_main, NULL) == 0)
        return;
    lock_acquire(&thread_lock);
    thread_runs = look_again = false;
    lock_release(&thread_lock);
    collect();
}
