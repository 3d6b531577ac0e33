/*
 * What is kept warm. Making a process on the host and a thread in it, and ending both, costs some
 * twenty times the trap of the call that asked for it; so both outlive their users:
 *
 *   a space whose last reference is gone becomes a shell: its leader, its host mm with all that is
 *   mapped (record.h), its idle members. space_create() takes one, best the twin of the same parent
 *
 *   a member whose context ends stays, idle, with the host thread that traces it: that thread
 *   parks (host/thread.h), and the next context that it runs in that space finds it. The kernel
 *   asks space_thread() which thread that is
 *
 * A shell never runs before its next user has had the rest unmapped (space_sweep()).
 *
 * An idle member belongs to its thread, and holds no reference: when the space's processes end,
 * the keeper reaps it and says so (`gone`). A thread that ends gives up all that it has, or the
 * host would kill their processes (PTRACE_O_EXITKILL).
 */
#include <stdlib.h>

#include "host/thread.h"
#include "platform/ptrace/internal.h"

#define SHELLS_MAX 8
#define IDLE_MAX   8 /* for each thread */

struct idle_member {
    struct list node;         /* in space.idle, under stubs_lock */
    struct idle_member *next; /* the thread's */
    struct ptrace_space *space;
    struct stub stub;
    pid_t thread;
    bool gone; /* atomic; reaped, and the space with it */
};

static _Thread_local struct idle_member *mine;

static bool is_gone(const struct idle_member *m)
{
    return __atomic_load_n(&m->gone, __ATOMIC_ACQUIRE);
}

/* Off the space's list; false: it was gone. */
static bool claim(struct idle_member *m)
{
    struct ptrace_platform *p;
    bool there = !is_gone(m);

    if (!there)
        return false;
    p = m->space->p;
    lock_acquire(&p->stubs_lock);
    there = !is_gone(m);
    list_del_init(&m->node);
    lock_release(&p->stubs_lock);
    return there;
}

static void drop(struct idle_member *m)
{
    if (claim(m))
        stub_exit(&m->stub, false);
    free(m);
}

static void drop_all(void)
{
    while (mine) {
        struct idle_member *m = mine;

        mine = m->next;
        drop(m);
    }
}

/* Those behind the first IDLE_MAX, and those that are gone. */
static void drop_old(void)
{
    unsigned int count = 0;
    struct idle_member **at = &mine;

    while (*at) {
        struct idle_member *m = *at;

        if (!is_gone(m) && ++count <= IDLE_MAX) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        drop(m);
    }
}

bool idle_keep(struct ptrace_space *s, const struct stub *member)
{
    struct ptrace_platform *p = s->p;
    struct idle_member *m;
    bool stopping;

    if (!member->tid || !host_thread_is_reusable())
        return false;
    m = malloc(sizeof(*m));
    if (!m)
        return false;
    *m = (struct idle_member){.space = s, .stub = *member, .thread = host_gettid()};
    list_init(&m->node);
    lock_acquire(&p->stubs_lock);
    stopping = p->stopping;
    if (!stopping)
        list_add(&s->idle, &m->node);
    lock_release(&p->stubs_lock);
    if (stopping) {
        free(m);
        return false;
    }
    host_thread_at_end(drop_all);
    m->next = mine;
    mine = m;
    drop_old();
    return true;
}

bool idle_take(struct ptrace_space *s, struct stub *ret_member)
{
    for (struct idle_member **at = &mine; *at; at = &(*at)->next) {
        struct idle_member *m = *at;
        bool there;

        if (is_gone(m) || m->space != s)
            continue;
        *at = m->next;
        there = claim(m);
        *ret_member = m->stub;
        free(m);
        return there;
    }
    return false;
}

struct stub *idle_own_member(struct ptrace_space *s)
{
    for (struct idle_member *m = mine; m; m = m->next) {
        if (!is_gone(m) && m->space == s)
            return &m->stub;
    }
    return NULL;
}

void idle_reap_locked(struct ptrace_space *s)
{
    struct idle_member *m, *tmp;

    list_for_each_safe (m, tmp, &s->idle, node) {
        pid_t tid = __atomic_load_n(&m->stub.tid, __ATOMIC_RELAXED);

        list_del_init(&m->node);
        if (tid) /* else it ended while its thread used it, and is reaped */
            stub_reap(tid);
        __atomic_store_n(&m->gone, true, __ATOMIC_RELEASE);
    }
}

pid_t space_thread(struct address_space *as)
{
    struct ptrace_space *s = ptrace_space(as);
    pid_t thread = 0;

    lock_acquire(&s->p->stubs_lock);
    if (!list_empty(&s->idle))
        thread = list_first(&s->idle, struct idle_member, node)->thread;
    lock_release(&s->p->stubs_lock);
    return thread;
}

/* Somebody on the host may have killed it meanwhile: one of its stubs tells. */
static bool is_dead_locked(struct ptrace_space *s)
{
    struct idle_member *m;

    if (list_empty(&s->idle))
        return host_stub_has_ended(s->leader.tid);
    m = list_first(&s->idle, struct idle_member, node);
    if (!host_stub_has_ended(m->stub.tid))
        return false;
    list_del_init(&m->node);
    __atomic_store_n(&m->gone, true, __ATOMIC_RELEASE);
    return true;
}

static struct ptrace_space *find_shell_locked(struct ptrace_platform *p,
                                              const struct address_space *like)
{
    struct ptrace_space *s, *found = NULL;

    list_for_each (s, &p->shells, shell_node) {
        if (s->like == like)
            return s;
        if (p->shell_count > SHELLS_MAX / 2)
            found = s; /* the oldest */
    }
    return found;
}

struct ptrace_space *shell_take(struct ptrace_platform *p, const struct address_space *like,
                                struct ptrace_space **ret_dead)
{
    struct ptrace_space *s;

    *ret_dead = NULL;
    lock_acquire(&p->stubs_lock);
    s = find_shell_locked(p, like);
    if (s) {
        list_del_init(&s->shell_node);
        p->shell_count--;
        if (is_dead_locked(s)) {
            *ret_dead = s;
            s = NULL;
        }
    }
    lock_release(&p->stubs_lock);
    return s;
}

struct ptrace_space *shell_put(struct ptrace_space *s)
{
    struct ptrace_platform *p = s->p;
    struct ptrace_space *victim = s;

    lock_acquire(&p->stubs_lock);
    if (!p->stopping && !__atomic_load_n(&s->dead, __ATOMIC_RELAXED)) {
        list_add(&p->shells, &s->shell_node);
        victim = NULL;
        if (++p->shell_count > SHELLS_MAX) {
            victim = list_last(&p->shells, struct ptrace_space, shell_node);
            list_del_init(&victim->shell_node);
            p->shell_count--;
        }
    }
    lock_release(&p->stubs_lock);
    return victim;
}

struct ptrace_space *shell_any(struct ptrace_platform *p)
{
    struct ptrace_space *s = NULL;

    lock_acquire(&p->stubs_lock);
    if (!list_empty(&p->shells)) {
        s = list_first(&p->shells, struct ptrace_space, shell_node);
        list_del_init(&s->shell_node);
        p->shell_count--;
    }
    lock_release(&p->stubs_lock);
    return s;
}
