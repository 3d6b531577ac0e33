/*
 * Host calls that change what a space has mapped. Each takes a round trip of its own to a stub, as
 * dear as the trap that asks for it. So where nobody can run in the space before its next member
 * does, they are put off, and done in one round trip by a loop in the stub's page:
 *
 *   no member yet (execve, fork), or only the caller's, which is stopped      all are put off
 *   only the caller's, which waits inside the stub for an answer (handover.c)
 *       a range where nothing is mapped     put off until it is answered, or stopped by a fault;
 *                                           or that of the next call (as_defer)
 *       anything else                       done at once by the caller's helper, for a hostile
 *                                           program might as well be running, or together with
 *                                           what else the call changes (as_gather); without a
 *                                           helper the member is stopped first
 *   more members, or another thread's       what was put off and this are done at once
 *
 * Whoever lets a member run carries them out first, under map_lock (context.c). Whoever joins a
 * space is counted, then waits for map_lock, and only then looks whether there are any: so nobody
 * runs beside an order that was put off by a member who did not know of it.
 *
 * The loop reads its orders from a page that the guest may read but cannot write. A guest that
 * jumps to the loop traps at its first call, like at any other.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "platform/ptrace/internal.h"

static_assert(sizeof(struct order) == ORDER_STRIDE, "stub_layout.h");
static_assert(offsetof(struct order, offset) == ORDER_OFFSET, "stub_layout.h");
static_assert(ORDERS_MAX * ORDER_STRIDE <= PAGE_SIZE, "one page");

struct order_job {
    struct ptrace_space *space;
    const struct order *one; /* or NULL: the batch */
};

static long one_call(struct stub *stub, const struct order *o)
{
    return stub_call(
        stub, (long)o->number,
        (unsigned long[6]){o->addr, o->size, o->prot, o->flags, HOST_STUB_KEPT_FD, o->offset});
}

static long carry_out(struct ptrace_space *s, struct stub *stub, const struct order *one)
{
    if (one)
        return one_call(stub, one);
    if (s->order_count == 1)
        return one_call(stub, &s->orders[0]);
    return stub_batch(stub, s->order_count);
}

static int job_order(void *arg)
{
    struct order_job *job = arg;
    long result = carry_out(job->space, &job->space->leader, job->one);

    if (result == -ESRCH)
        __atomic_store_n(&job->space->dead, true, __ATOMIC_RELAXED);
    return result < 0 ? (int)result : 0;
}

/* The caller's stub that had better do it, or NULL. */
static struct stub *own_stub(struct ptrace_space *s)
{
    struct ptrace_context *ctx = context_own(s);
    struct stub *helper = ctx ? helper_get(ctx) : NULL;

    return helper ? helper : context_own_member(s);
}

/* From whichever stub is at hand: 0 or -errno. */
static int order_now(struct ptrace_space *s, const struct order *one)
{
    struct stub *own = own_stub(s);
    struct order_job job = {.space = s, .one = one};
    long result;

    if (!own)
        return keeper_call(&s->p->keeper, job_order, &job);
    result = carry_out(s, own, one);
    return result < 0 ? (int)result : 0;
}

static void set_count(struct ptrace_space *s, unsigned int count)
{
    __atomic_store_n(&s->order_count, count, __ATOMIC_RELEASE);
    if (count > 0)
        return;
    __atomic_store_n(&s->urgent, false, __ATOMIC_RELEASE);
    __atomic_store_n(&s->deferred, false, __ATOMIC_RELAXED);
}

int orders_carry_out(struct ptrace_space *s) __must_hold(s->map_lock)
{
    int err;

    if (s->order_count == 0)
        return 0;
    err = order_now(s, NULL);
    set_count(s, 0);
    return err;
}

/* The page, of which fresh spaces have none. */
static bool make_page(struct ptrace_space *s)
{
    struct order map = {SYS_mmap, STUB_ORDERS, PAGE_SIZE, PROT_READ, STUB_MAP_FLAGS};
    struct memfile_range page;

    if (s->orders)
        return true;
    if (memfile_alloc(s->p->memfile, PAGE_SIZE, PAGE_SIZE, &page) < 0)
        return false;
    map.offset = page.start;
    if (order_now(s, &map) < 0) {
        memfile_unref(s->p->memfile, page);
        return false;
    }
    s->orders_page = page;
    s->orders = memfile_ptr(s->p->memfile, page.start);
    return true;
}

void orders_free(struct ptrace_space *s)
{
    if (s->orders)
        memfile_unref(s->p->memfile, s->orders_page);
    s->orders = NULL;
}

/* `fresh`: nothing is mapped where it changes anything. */
static bool may_wait(struct ptrace_space *s, bool fresh)
{
    unsigned int members = __atomic_load_n(&s->context_count, __ATOMIC_SEQ_CST);
    struct ptrace_context *own = context_own(s);

    if (members == 0)
        return true;
    if (members > 1 || !own)
        return false;
    if (likely(!own->handover.inside || fresh))
        return true;
    if (helper_get(own)) {
        if (s->gathering)
            __atomic_store_n(&s->urgent, true, __ATOMIC_RELEASE);
        return s->gathering > 0;
    }
    handover_stop(own);
    return true;
}

static bool goes_on(const struct order *o, const struct order *next)
{
    return o->number == SYS_mmap && next->number == SYS_mmap && o->prot == next->prot &&
           o->flags == next->flags && o->addr + o->size == next->addr &&
           o->offset + o->size == next->offset;
}

static int put_off(struct ptrace_space *s, const struct order *o) __must_hold(s->map_lock)
{
    unsigned int n = s->order_count;
    int err;

    if (n > 0 && goes_on(&s->orders[n - 1], o)) {
        s->orders[n - 1].size += o->size;
        return 0;
    }
    if (n == ORDERS_MAX) {
        err = orders_carry_out(s);
        if (err)
            return err;
        n = 0;
    }
    s->orders[n] = *o;
    set_count(s, n + 1);
    return 0;
}

static int give(struct ptrace_space *s, const struct order *o, bool fresh) __must_hold(s->map_lock)
{
    bool waits = may_wait(s, fresh);
    int err;

    if ((!waits && s->order_count == 0) || !make_page(s)) {
        err = orders_carry_out(s);
        return err ? err : order_now(s, o);
    }
    err = put_off(s, o);
    return err || waits ? err : orders_carry_out(s);
}

int orders_map(struct ptrace_space *s, uaddr_t addr, int prot, unsigned long flags,
               struct memfile_range range)
{
    struct order o = {SYS_mmap, addr, range.size, (uint64_t)prot, flags, range.start};

    return give(s, &o, !record_overlaps(&s->record, addr, range.size));
}

int orders_unmap(struct ptrace_space *s, uaddr_t addr, uint64_t size)
{
    struct order o = {SYS_munmap, addr, size, 0, 0, 0};

    return give(s, &o, false);
}

int orders_unmap_all(struct ptrace_space *s)
{
    struct order o = {SYS_munmap, 0, s->p->user_max, 0, 0, 0};

    set_count(s, 0);
    record_clear(&s->record);
    return order_now(s, &o);
}
