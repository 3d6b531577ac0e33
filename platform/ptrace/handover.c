/*
 * Calls without a stop. A stop costs some thirty times what most calls cost natively. So while a
 * program makes one call after another, its task's thread does not wait for the next stop but
 * listens at a slot of the handover page, where the program's rewritten call sites leave their
 * calls (handover.S):
 *
 *     ANSWERED --program--> POSTED --Sentry--> TAKEN --Sentry--> ANSWERED
 *                             |                  |
 *                             | program,         |--Sentry--> ASLEEP --Sentry--> ANSWERED
 *                             |                  '--Sentry--> RECALLED: the program stops, for more
 *                             | after some time                         than rax is to change
 *                             '---> WITHDRAWN: it makes an ordinary call
 *
 * Whoever has waited for long for a call that was taken stops as well (STUB_PARKED), and is sent on
 * from there once the answer is known. All else that a program does stops it as ever.
 *
 * A context that hears nothing any more gives its slot up and waits for the next stop. When to
 * listen is learnt (listen.c).
 */
#include "platform/ptrace/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "platform/ptrace/internal.h"
#include "platform/regs.h"

#define FLAG_OF      0x800UL
#define FLAGS_IN_AH  0xd5UL /* SF ZF AF PF CF */

#define RECALL_LOOKS 200 /* until the program is fetched out of wherever it is */

static uint32_t state_of(struct handover_slot *slot)
{
    return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

static void set_state(struct handover_slot *slot, uint32_t state)
{
    __atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
}

static bool change_state(struct handover_slot *slot, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&slot->state, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

static void set_key(struct handover_slot *slot, uint64_t key)
{
    __atomic_store_n(&slot->key, key, __ATOMIC_SEQ_CST);
}

/* ---- what a signal finds ------------------------------------------------------------------- */

static uint64_t flags_from_ax(uint64_t rflags, uint64_t rax)
{
    uint8_t of = (uint8_t)rax;

    rflags &= ~(FLAGS_IN_AH | FLAG_OF);
    rflags |= rax >> 8 & FLAGS_IN_AH;
    return of == 1 || of == 0x80 ? rflags | FLAG_OF : rflags; /* before and behind the addition */
}

/* `begin`: where it is turned from the upper half of eax into all of rax. */
static uint64_t number_of(uint32_t at, uint32_t begin, uint64_t rax)
{
    return at <= begin ? (uint32_t)rax >> 16 : __builtin_bswap16((uint16_t)rax);
}

static void undo_handed_over(struct handover_slot *slot, struct cpu_regs *r)
{
    bool made;

    change_state(slot, HANDOVER_POSTED, HANDOVER_WITHDRAWN);
    made = state_of(slot) == HANDOVER_ANSWERED;
    r->rax = READ_ONCE(slot->rax);
    r->rip = READ_ONCE(slot->rip);
    r->rflags = READ_ONCE(slot->rflags);
    r->rcx = r->rip;
    r->r11 = r->rflags;
    if (!made)
        r->rip -= 2;
}

void handover_undo(struct handover_slot *slot, uint32_t at, struct cpu_regs *r)
{
    const struct stub_points *p = &stub_points;
    bool nobody = at >= p->nobody;
    uint32_t flags_back = nobody ? p->nobody_flags_back : p->flags_back;
    uint32_t in_rax = nobody ? p->nobody_number : p->number_in_rax;

    if (at < p->enter || at >= p->end)
        return;
    if (at >= p->posted && !nobody) {
        if (slot)
            undo_handed_over(slot, r);
        return;
    }
    if (at >= p->flags_in_ax && at < flags_back)
        r->rflags = flags_from_ax(r->rflags, r->rax);
    if (at < in_rax)
        r->rax = number_of(at, flags_back, r->rax);
    if (slot && at >= p->rsp_in_page && at < p->rsp_back)
        r->rsp = READ_ONCE(slot->rsp);
    r->rip = r->rcx - (at == p->nobody_rcx ? 0 : 2);
}

/* ---- slots --------------------------------------------------------------------------------- */

/* The space's own page, where a fresh space shows one at which nobody listens. */
static int make_page(struct ptrace_context *ctx)
{
    struct ptrace_space *s = ctx->space;
    struct handover_slot *slots;
    struct memfile_range page;
    long result;
    int err;

    err = memfile_alloc(s->p->memfile, PAGE_SIZE, PAGE_SIZE, &page);
    if (err < 0)
        return err;
    slots = memfile_ptr(s->p->memfile, page.start);
    for (int i = 0; i < HANDOVER_SLOTS; i++)
        set_key(&slots[i], HANDOVER_NOBODY);
    result =
        stub_call(&ctx->stub, SYS_mmap,
                  (unsigned long[6]){STUB_HANDOVER, PAGE_SIZE, PROT_READ | PROT_WRITE,
                                     STUB_MAP_FLAGS | MAP_POPULATE, HOST_STUB_KEPT_FD, page.start});
    if (result < 0) {
        memfile_unref(s->p->memfile, page);
        return (int)result;
    }
    s->handover_page = page;
    __atomic_store_n(&s->handover, slots, __ATOMIC_RELEASE);
    return 0;
}

void handover_clear(struct ptrace_space *s)
{
    if (!s->handover)
        return;
    memset(s->handover, 0, PAGE_SIZE);
    for (int i = 0; i < HANDOVER_SLOTS; i++)
        set_key(&s->handover[i], HANDOVER_NOBODY);
}

void handover_free(struct ptrace_space *s)
{
    if (s->handover)
        memfile_unref(s->p->memfile, s->handover_page);
    s->handover = NULL;
}

int handover_open(struct ptrace_context *ctx)
{
    struct ptrace_space *s = ctx->space;
    int err;

    if (!__atomic_load_n(&s->handover, __ATOMIC_ACQUIRE)) {
        lock_acquire(&s->map_lock);
        err = s->handover ? 0 : make_page(ctx);
        lock_release(&s->map_lock);
        ctx->stub.as_read = false;
        if (err < 0)
            return err;
    }
    err = -EBUSY;
    lock_acquire(&s->p->stubs_lock);
    for (int i = 0; i < HANDOVER_SLOTS && !ctx->handover.slot; i++) {
        if (s->listeners[i])
            continue;
        s->listeners[i] = ctx;
        ctx->handover.slot = &s->handover[i];
    }
    if (ctx->handover.slot && !listen_is_doubled(ctx)) {
        ctx->handover.key = ctx->user.fs_base;
        set_state(ctx->handover.slot, HANDOVER_ANSWERED);
        set_key(ctx->handover.slot, ctx->handover.key);
        ctx->handover.shown = true;
        err = 0;
    }
    lock_release(&s->p->stubs_lock);
    return err;
}

void handover_hush(struct ptrace_context *ctx)
{
    set_key(ctx->handover.slot, HANDOVER_NOBODY);
    ctx->handover.shown = false;
    listen_release(ctx);
}

/* With the stub stopped, and not on its way to the slot: somebody else may have it next. */
static void close_slot(struct ptrace_context *ctx)
{
    struct ptrace_space *s = ctx->space;

    handover_hush(ctx);
    lock_acquire(&s->p->stubs_lock);
    s->listeners[ctx->handover.slot - s->handover] = NULL;
    lock_release(&s->p->stubs_lock);
    ctx->handover.slot = NULL;
}

/* ---- calls --------------------------------------------------------------------------------- */

bool handover_take(struct ptrace_context *ctx)
{
    struct handover_slot *slot = ctx->handover.slot;
    struct cpu_regs *r = &ctx->base.regs;

    if (state_of(slot) != HANDOVER_POSTED || !change_state(slot, HANDOVER_POSTED, HANDOVER_TAKEN))
        return false;
    REGS_COPY_HANDED_OVER(r, slot);
    /* Whoever else has this FS base by now makes ordinary calls. */
    set_key(slot, HANDOVER_NOBODY);
    ctx->handover.shown = false;
    ctx->handover.posted = *r;
    ctx->handover.inside = true;
    ctx->stub.as_read = false;
    return true;
}

bool handover_answer(struct ptrace_context *ctx)
{
    struct handover_slot *slot = ctx->handover.slot;

    if (!regs_only_rax_differs(&ctx->base.regs, &ctx->handover.posted) || !listen_resume(ctx))
        return false;
    set_key(slot, ctx->handover.key);
    if (!listen_may_go_on(ctx)) { /* somebody else has this FS base since */
        set_key(slot, HANDOVER_NOBODY);
        return false;
    }
    ctx->handover.shown = true;
    ctx->handover.inside = false;
    ctx->handover.answer = ctx->base.regs;
    WRITE_ONCE(slot->rax, ctx->base.regs.rax);
    set_state(slot, HANDOVER_ANSWERED);
    return true;
}

void handover_sleeps(struct ptrace_context *ctx)
{
    if (ctx->handover.inside)
        change_state(ctx->handover.slot, HANDOVER_TAKEN, HANDOVER_ASLEEP);
}

bool handover_was_parked(struct ptrace_context *ctx)
{
    struct cpu_regs *r = &ctx->base.regs;

    if (r->rip - STUB_BASE != stub_points.parked || !ctx->handover.slot)
        return false;
    *r = ctx->handover.answer;
    ctx->stub.as_read = false;
    return true;
}

static bool is_end(int status)
{
    return WIFEXITED(status) || WIFSIGNALED(status);
}

/* Its stop, which has been asked for. */
static int await_stop(struct ptrace_context *ctx)
{
    int status, err = 0;

    for (int i = 0; i < RECALL_LOOKS && err == 0; i++) {
        __builtin_ia32_pause();
        err = host_poll_stub(ctx->stub.tid, &status);
    }
    if (err == 0) {
        host_kick_stub(ctx->stub.tgid, ctx->stub.tid, STUB_SIGNAL);
        err = host_wait_stub(ctx->stub.tid, &status) < 0 ? -ESRCH : 1;
    }
    return err < 0 || is_end(status) ? -ESRCH : 0;
}

int handover_stop(struct ptrace_context *ctx)
{
    int err;

    if (likely(!ctx->handover.inside))
        return 0;
    ctx->handover.inside = false;
    set_state(ctx->handover.slot, HANDOVER_RECALLED);
    err = await_stop(ctx);
    /* Its selectors and bases are as it last set them. */
    if (err == 0 && host_ptrace_get_regs(ctx->stub.tid, &ctx->user) < 0)
        err = -ESRCH;
    ctx->stub.as_read = false;
    if (err)
        context_lost(ctx);
    return err;
}

void handover_close(struct ptrace_context *ctx)
{
    handover_stop(ctx);
    if (ctx->handover.slot)
        close_slot(ctx);
    listen_release(ctx);
}

void handover_settle(struct ptrace_context *ctx)
{
    uint64_t at = ctx->base.regs.rip - STUB_BASE;

    if (at >= (uint64_t)STUB_SIZE && ctx->handover.slot && !ctx->handover.listening)
        close_slot(ctx);
}

void handover_undo_here(struct ptrace_context *ctx)
{
    uint64_t at = ctx->base.regs.rip - STUB_BASE;

    if (unlikely(at < (uint64_t)STUB_SIZE))
        handover_undo(ctx->handover.slot, (uint32_t)at, &ctx->base.regs);
}
