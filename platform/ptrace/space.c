/*
 * Address spaces: the host mm that a leader and its members share. internal.h tells who changes
 * the mappings, and why nobody ever waits for a task thread.
 *
 * A space ends with its last reference, not with as_destroy(): after execve the task's context
 * still has its member in the old space until it next runs. And what ends stays for the next one
 * (shell.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "host/clock.h"
#include "platform/ptrace/internal.h"

/*
 * Of a run that the program may write the host would bring each page by a fault of its own, so it
 * is told to map them at once where that is all there is to do: where it has memory for all of
 * them.
 */
#define READY_MAX   (256UL << 10)

#define DRAIN_BYTES (8UL << 20) /* mapped: a large program */

struct space_job {
    struct ptrace_space *space;
    struct stub *member;
};

static int job_create(void *arg)
{
    struct space_job *job = arg;
    struct ptrace_platform *p = job->space->p;
    int err = stub_fork(&p->master, &job->space->leader);

    if (err < 0)
        return err;
    list_add(&p->spaces, &job->space->node);
    /* Without one, whoever joins first asks again. */
    if (stub_spawn_thread(&job->space->leader, &job->space->spare) < 0)
        job->space->spare.tid = 0;
    return 0;
}

/* A spare that nobody took is untraced: it goes with the process, and is not to be reaped. */
int space_end(void *space)
{
    struct ptrace_space *s = space;
    struct stub leader = s->leader;

    list_del_init(&s->node);
    if (leader.tid)
        stub_end(&leader, true); /* what was killed is ended, but to be reaped */
    lock_acquire(&s->p->stubs_lock);
    idle_reap_locked(s);
    lock_release(&s->p->stubs_lock);
    if (leader.tid)
        stub_reap(leader.tid);
    record_free(&s->record);
    handover_free(s);
    orders_free(s);
    lock_destroy(&s->map_lock);
    free(s);
    return 0;
}

static int job_spawn(void *arg)
{
    struct space_job *job = arg;

    return stub_spawn_thread(&job->space->leader, job->member);
}

static int on_keeper(struct ptrace_space *s, int (*run)(void *), struct space_job *job)
{
    job->space = s;
    return keeper_call(&s->p->keeper, run, job);
}

/* Nobody uses it any more. */
static void end_space(struct ptrace_space *s)
{
    if (!s)
        return;
    s->end = (struct keeper_request){.run = space_end, .arg = s};
    keeper_post(&s->p->keeper, &s->end);
}

static int create_fresh(struct ptrace_platform *p, struct ptrace_space **ret)
{
    struct ptrace_space *s = calloc(1, sizeof(*s));
    struct space_job job = {0};
    int err;

    if (!s)
        return -ENOMEM;
    s->base.ops = p->base.ops;
    s->p = p;
    list_init(&s->contexts);
    list_init(&s->idle);
    list_init(&s->shell_node);
    err = on_keeper(s, job_create, &job);
    if (err < 0) {
        log_error("ptrace: no new stub process: error %d", -err);
        free(s);
        return err == -ESRCH ? -EAGAIN : err;
    }
    lock_init(&s->map_lock);
    record_init(&s->record);
    *ret = s;
    return 0;
}

int space_create(struct platform *platform, struct address_space *like, struct address_space **ret)
{
    struct ptrace_platform *p = ptrace_platform(platform);
    struct ptrace_space *dead, *s = shell_take(p, like, &dead);
    int err;

    end_space(dead);
    if (!s) {
        err = create_fresh(p, &s);
        if (err < 0)
            return err;
    }
    if (unlikely(!s->record.complete)) {
        lock_acquire(&s->map_lock);
        orders_unmap_all(s);
        lock_release(&s->map_lock);
    }
    handover_clear(s); /* what its last user left there is nobody's business */
    refcount_set(&s->refs, 1);
    s->cpu_seen_ns = host_process_clock_ns(s->leader.tgid); /* what is before is others' */
    s->like = like;
    s->first_need = 0;
    *ret = &s->base;
    return 0;
}

static void space_unref(struct ptrace_space *s)
{
    if (!refcount_put(&s->refs))
        return;
    record_retire(&s->record);
    __atomic_store_n(&s->retired, true, __ATOMIC_RELAXED);
    end_space(shell_put(s));
}

void space_destroy(struct address_space *as)
{
    space_unref(ptrace_space(as));
}

static int unmap_full(struct ptrace_space *s)
{
    log_debug("ptrace: the host's limit of mappings is reached, all are dropped");
    return orders_unmap_all(s);
}

/*
 * The caller's context is about to leave it. What a large program had mapped is of no use for the
 * next one, and to unmap it takes milliseconds: better now, while nobody waits for that. A twin
 * keeps it for the next twin (record.h).
 */
void space_drain(struct ptrace_space *s)
{
    lock_acquire(&s->map_lock);
    if (!s->like && refcount_read(&s->refs) == 1 && record_bytes(&s->record) >= DRAIN_BYTES)
        (void)orders_unmap_all(s);
    lock_release(&s->map_lock);
}

static bool range_is_valid(const struct ptrace_space *s, uaddr_t addr, uint64_t size)
{
    return size && is_aligned(addr, PAGE_SIZE) && is_aligned(size, PAGE_SIZE) &&
           size <= s->p->user_max && addr <= s->p->user_max - size;
}

/* What nobody confirmed: in one call where the new user has nothing yet, else run by run. */
static int sweep_locked(struct ptrace_space *s) __must_hold(s->map_lock)
{
    struct record *r = &s->record;
    uaddr_t start, end;
    int err = 0;

    if (r->retired_count == r->count)
        return r->count ? orders_unmap_all(s) : 0;
    while (err == 0 && record_stale(r, &start, &end)) {
        err = orders_unmap(s, start, end - start);
        if (err == 0)
            record_unmap(r, start, end - start);
        else if (err == -ENOMEM)
            err = unmap_full(s);
    }
    return err;
}

static bool is_ready(const struct ptrace_space *s, int prot, struct memfile_range range)
{
    return (prot & PROT_WRITE) && range.size <= READY_MAX && memfile_is_ready(s->p->memfile, range);
}

static int map_locked(struct ptrace_space *s, uaddr_t addr, int prot, struct memfile_range range)
    __must_hold(s->map_lock)
{
    unsigned long flags = STUB_MAP_FLAGS;
    int err;

    if (record_confirm(&s->record, addr, prot, range))
        return 0;
    if (unlikely(record_is_full(&s->record)))
        sweep_locked(s);
    if (is_ready(s, prot, range))
        flags |= MAP_POPULATE;
    err = orders_map(s, addr, prot, flags, range);
    if (err == -ENOMEM) {
        err = unmap_full(s);
        if (err == 0)
            err = orders_map(s, addr, prot, flags, range);
    }
    if (err == 0)
        record_map(&s->record, addr, prot, range);
    return err;
}

int space_map(struct address_space *as, uaddr_t addr, int prot, struct memfile_range range)
{
    struct ptrace_space *s = ptrace_space(as);
    int err;

    BUG_ON(!range_is_valid(s, addr, range.size));
    if (prot == PROT_NONE)
        return space_unmap(as, addr, range.size);
    lock_acquire(&s->map_lock);
    err = map_locked(s, addr, prot | PROT_READ, range);
    lock_release(&s->map_lock);
    /* A space whose stubs were killed has no mappings; its contexts will find out. */
    return err == -ESRCH ? 0 : err;
}

int space_unmap(struct address_space *as, uaddr_t addr, uint64_t size)
{
    struct ptrace_space *s = ptrace_space(as);
    int err;

    BUG_ON(!range_is_valid(s, addr, size));
    lock_acquire(&s->map_lock);
    err = orders_unmap(s, addr, size);
    if (err == 0)
        record_unmap(&s->record, addr, size);
    else if (err == -ENOMEM) /* it would have split a mapping in two */
        err = unmap_full(s);
    lock_release(&s->map_lock);
    return err == -ESRCH ? 0 : err;
}

void space_settle(struct address_space *as)
{
    struct ptrace_space *s = ptrace_space(as);

    if (unlikely(__atomic_load_n(&s->urgent, __ATOMIC_ACQUIRE)))
        (void)space_carry_out(s); /* one whose stubs were killed has no mappings */
}

void space_defer(struct address_space *as)
{
    __atomic_store_n(&ptrace_space(as)->deferred, true, __ATOMIC_RELAXED);
}

bool space_is_deferred(struct ptrace_space *s)
{
    if (likely(!__atomic_load_n(&s->deferred, __ATOMIC_RELAXED)))
        return false;
    __atomic_store_n(&s->deferred, false, __ATOMIC_RELAXED);
    return !__atomic_load_n(&s->urgent, __ATOMIC_ACQUIRE);
}

void space_gather(struct address_space *as, bool on)
{
    struct ptrace_space *s = ptrace_space(as);

    lock_acquire(&s->map_lock);
    s->gathering += on ? 1 : -1U;
    lock_release(&s->map_lock);
    if (!on)
        space_settle(as);
}

void space_recall(struct address_space *as, platform_recall_fn keep, void *arg)
{
    struct ptrace_space *s = ptrace_space(as);
    struct record_run *run;
    unsigned int at = 0;

    lock_acquire(&s->map_lock);
    while ((run = record_next_retired(&s->record, &at))) {
        if (keep(run->addr, run->prot, run->range, arg))
            record_keep(&s->record, run);
    }
    lock_release(&s->map_lock);
}

int space_carry_out(struct ptrace_space *s)
{
    int err;

    lock_acquire(&s->map_lock);
    err = orders_carry_out(s);
    if (err == -ENOMEM)
        err = unmap_full(s);
    lock_release(&s->map_lock);
    return err;
}

int space_sweep(struct ptrace_space *s)
{
    int err;

    lock_acquire(&s->map_lock);
    err = sweep_locked(s);
    __atomic_store_n(&s->retired, false, __ATOMIC_RELEASE);
    lock_release(&s->map_lock);
    return err;
}

/*
 * Most spaces have one member, and the keeper had the leader make it in the same round trip as the
 * leader itself; whoever comes first takes it.
 */
static int join_new(struct ptrace_space *s, struct stub *member)
{
    struct space_job job = {.member = member};
    int err = 0;

    member->tgid = s->spare.tgid;
    member->tid = __atomic_exchange_n(&s->spare.tid, 0, __ATOMIC_ACQ_REL);
    if (!member->tid)
        err = on_keeper(s, job_spawn, &job);
    return err < 0 ? err : stub_seize(member);
}

static int take_member(struct ptrace_space *s, struct stub *ret_member, bool *ret_used)
{
    *ret_member = (struct stub){0};
    *ret_used = idle_take(s, ret_member);
    return *ret_used ? 0 : join_new(s, ret_member);
}

int space_join(struct ptrace_space *s, struct stub *ret_member, bool *ret_used)
{
    int err = take_member(s, ret_member, ret_used);

    if (err == 0)
        refcount_get(&s->refs);
    else if (!__atomic_load_n(&s->p->stopping, __ATOMIC_ACQUIRE))
        log_error("ptrace: no new stub thread: error %d", -err);
    return err;
}

int space_helper(struct ptrace_space *s, struct stub *ret_member)
{
    bool used;

    return take_member(s, ret_member, &used);
}

void space_leave(struct ptrace_space *s, struct stub *member)
{
    if (!idle_keep(s, member))
        stub_exit(member, false);
    space_unref(s);
}
