/*
 * Why the guest was left, and the program's registers at that moment.
 *
 *   out of PORT_SYSCALL       at the end of the entry stub, or of the trampoline in ring 3
 *   out of PORT_EXCEPTION     in a gate of ring 0: the CPU's frame is on the vCPU's stack page, the
 *                             vector follows from rip
 *   -EINTR                    a kick; anywhere
 *   anything else             the program executed something special, or the host failed
 *
 * A software KVM reports rip behind the `out`, the hardware kinds report it at the `out`.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "host/kvm.h"
#include "platform/kvm/internal.h"
#include "platform/regs.h"
#include "ring0/code.h"
#include "ring0/tables.h"

#define PF_WRITE      0x2U
#define PF_EXEC       0x10U

#define OPCODE_INT    0xcd
#define GP_OF_INT(n)  ((uint32_t)(n) << 3 | 2) /* error code: entry n of the IDT */
#define AREAS_SIZE(p) ((uint64_t)(p)->vcpu_max * RING0_AREA_SIZE)

/* What the CPU pushes; `error_code` is not always there. */
struct exception_frame {
    uint64_t rip, cs, rflags, rsp, ss;
};

struct exit_state {
    struct kvm_context *ctx;
    struct kvm_address_space *as;
    struct kvm_platform *platform;
    struct vcpu *v;
    const struct kvm_regs *regs;
    enum trap *ret_trap;
    struct trap_info *ret_info;
};

bool trap_is_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static void store_registers(struct cpu_regs *to, const struct kvm_regs *from)
{
    REGS_COPY(to, from);
    to->rflags = from->rflags;
}

/* Only where each exit brings the segments along (KIND_RING3). */
static bool in_ring3(const struct exit_state *x)
{
    return x->v->run->s.regs.sregs.ss.dpl == 3;
}

static enum verdict give(struct exit_state *x, enum trap trap)
{
    *x->ret_trap = trap;
    return VERDICT_TRAP;
}

static enum verdict killed(struct exit_state *x, const char *what)
{
    log_warning("kvm: vCPU %u: %s (exit %u, rip %#llx, rsp %#llx)", x->v->index, what,
                x->v->run->exit_reason, x->regs->rip, x->regs->rsp);
    vcpu_reset(x->platform, x->v);
    return give(x, TRAP_KILLED);
}

static enum verdict exception(struct exit_state *x, unsigned int vector, uint32_t error_code)
{
    x->ret_info->vector = vector;
    x->ret_info->error_code = error_code;
    return give(x, TRAP_EXCEPTION);
}

/* rcx and r11 are as SYSCALL leaves them on every host. */
static enum verdict syscall_from(struct exit_state *x, uint64_t number, uint64_t return_address,
                                 uint64_t rflags)
{
    struct cpu_regs *user = &x->ctx->base.regs;

    store_registers(user, x->regs);
    user->rax = number;
    user->rip = user->rcx = return_address;
    user->rflags = user->r11 = rflags;
    return give(x, TRAP_SYSCALL);
}

/*
 * A system call that was stopped on its way through the fast path (or single-stepped there) goes
 * the slow way; one that was handed over and taken is done already, and the context has the
 * registers. The code is the same in all areas. False when rip stands at no instruction of it.
 */
static bool undo_fastpath(struct exit_state *x, uint64_t rip, uint64_t rflags,
                          enum verdict *ret_verdict)
{
    const struct ring0_code *code = x->platform->kind == KIND_RING0 ? &ring0_code : &ring3_code;
    uint64_t offset = rip - RING0_AREAS;
    struct ring0_call call = {
        .rax = x->regs->rax, .rcx = x->regs->rcx, .r11 = x->regs->r11, .rsp = x->regs->rsp};

    if (offset >= AREAS_SIZE(x->platform))
        return false;
    switch (ring0_undo(code, offset % RING0_AREA_SIZE, exitless_page(x->ctx), &call)) {
    case RING0_ELSEWHERE:
        return false;
    case RING0_ANSWERED:
        *ret_verdict = VERDICT_INTERRUPTED;
        return true;
    case RING0_CALL:
        *ret_verdict = syscall_from(x, call.number, call.return_address, rflags);
        x->ctx->base.regs.rsp = call.rsp;
        return true;
    }
    return false;
}

/* ---- exceptions --------------------------------------------------------------------------- */

static enum verdict page_fault(struct exit_state *x, uint32_t error_code, uint64_t address)
{
    x->ret_info->vector = VECTOR_PF;
    x->ret_info->error_code = error_code;
    x->ret_info->addr = address;
    x->ret_info->access = error_code & PF_EXEC    ? ACCESS_EXEC
                          : error_code & PF_WRITE ? ACCESS_WRITE
                                                  : ACCESS_READ;
    return give(x, TRAP_FAULT);
}

static bool program_byte(struct exit_state *x, uint64_t address, uint8_t *ret_byte)
{
    uint64_t gpa;

    if (!pagetable_lookup(&x->as->pt, address, &gpa) || gpa < MEMFILE_GPA)
        return false;
    *ret_byte = READ_ONCE(*(uint8_t *)memfile_ptr(x->platform->memfile, gpa - MEMFILE_GPA));
    return true;
}

/* A software KVM may call `int n` an invalid opcode: what it is on Linux instead. */
static enum verdict invalid_opcode(struct exit_state *x)
{
    struct cpu_regs *user = &x->ctx->base.regs;
    uint8_t opcode, n;

    if (x->platform->kind == KIND_RING0 || !program_byte(x, user->rip, &opcode) ||
        opcode != OPCODE_INT || !program_byte(x, user->rip + 1, &n))
        return exception(x, VECTOR_UD, 0);
    if (n != VECTOR_BP)
        return exception(x, VECTOR_GP, GP_OF_INT(n));
    user->rip += 2;
    return exception(x, VECTOR_BP, 0);
}

/*
 * An exception of our own stubs: a debug trap that a program's TF left behind on the way in, or the
 * end.
 */
static enum verdict ring0_exception(struct exit_state *x, unsigned int vector,
                                    const struct exception_frame *frame)
{
    enum verdict verdict;

    if (vector != VECTOR_DB || !undo_fastpath(x, frame->rip, x->regs->r11, &verdict))
        return killed(x, "an exception in ring 0");
    x->ctx->base.regs.rsp = frame->rsp;
    return verdict;
}

static enum verdict user_exception(struct exit_state *x, unsigned int vector, uint32_t error_code,
                                   uint64_t cr2)
{
    struct cpu_regs *user = &x->ctx->base.regs;
    uint64_t rsp = user->rsp;
    enum verdict verdict;

    switch (vector) {
    case VECTOR_PF:
        return page_fault(x, error_code, cr2);
    case VECTOR_UD:
        return invalid_opcode(x);
    case VECTOR_DB:
        if (x->platform->kind == KIND_RING3 &&
            undo_fastpath(x, user->rip, user->rflags, &verdict)) {
            user->rsp = rsp;
            return verdict;
        }
        return exception(x, vector, 0);
    case VECTOR_NM: /* state that the program may not use, such as AMX's */
        return exception(x, VECTOR_UD, 0);
    case VECTOR_NMI:
    case VECTOR_DF:
    case VECTOR_MC:
        return killed(x, "an exception that nobody can serve");
    default:
        return exception(x, vector, error_code);
    }
}

/* `depth`: words that a stub of ours has pushed below the CPU's frame. */
static enum verdict from_gate(struct exit_state *x, unsigned int vector, unsigned int depth)
{
    uint64_t at = x->regs->rsp - (x->v->area + RING0_AREA_STACK), words[7], error_code = 0;
    bool has_error = ring0_has_error_code(vector);
    size_t count = depth + has_error + sizeof(struct exception_frame) / sizeof(uint64_t);
    uint64_t cr2 = x->platform->kind == KIND_RING3 ? x->v->run->s.regs.sregs.cr2 : x->regs->rax;
    struct cpu_regs *user = &x->ctx->base.regs;
    struct exception_frame frame;

    if (at > PAGE_SIZE - count * sizeof(uint64_t))
        return killed(x, "a stray stack in ring 0");
    memcpy(words, x->v->stack + at, count * sizeof(uint64_t));
    if (has_error)
        error_code = words[depth];
    memcpy(&frame, &words[depth + has_error], sizeof(frame));
    x->v->in_user = false;
    if (frame.cs == SELECTOR_KERNEL_CS)
        return ring0_exception(x, vector, &frame);
    store_registers(user, x->regs);
    if (depth)
        user->rax = words[0];
    user->rip = frame.rip;
    user->rsp = frame.rsp;
    user->rflags = frame.rflags;
    return user_exception(x, vector, (uint32_t)error_code, cr2);
}

/* ---- exits -------------------------------------------------------------------------------- */

static enum verdict port_syscall(struct exit_state *x, bool ring3)
{
    x->v->in_user = ring3;
    /* Where SYSCALL clears no flags, r11 need not have them any more. */
    return syscall_from(x, x->regs->rax, x->regs->rcx,
                        x->platform->kind == KIND_RING3 ? x->regs->rflags : x->regs->r11);
}

/* Out with a call that was handed over: it is still to be served, or was answered meanwhile. */
static enum verdict gave_up(struct exit_state *x, struct exchange_page *page, bool ring3)
{
    x->v->in_user = ring3;
    if (__atomic_exchange_n(&page->state, EXCHANGE_ANSWERED, __ATOMIC_ACQUIRE) == EXCHANGE_POSTED)
        return port_syscall(x, ring3);
    return VERDICT_INTERRUPTED;
}

static enum verdict port_exception(struct exit_state *x, uint64_t offset)
{
    if (offset >= CODE_PAGE_FAULT && offset < CODE_STUBS)
        return from_gate(x, VECTOR_PF, 1);
    offset = (offset - CODE_STUBS) / CODE_STUB_SIZE;
    if (offset >= CODE_STUB_COUNT)
        return killed(x, "an exit from an unknown place");
    return from_gate(x, (unsigned int)offset, 0);
}

/* The program did port I/O of its own where the bitmap for the trampoline let it. */
static enum verdict port_of_program(struct exit_state *x)
{
    bool in = x->v->run->io.direction == KVM_EXIT_IO_IN;

    store_registers(&x->ctx->base.regs, x->regs);
    if (in) {
        /* Let KVM finish the instruction, which the program will not see. */
        WRITE_ONCE(x->v->run->immediate_exit, 1);
        host_kvm_ioctl_number(x->v->fd, KVM_RUN, 0);
        WRITE_ONCE(x->v->run->immediate_exit, 0);
    } else {
        x->ctx->base.regs.rip -= RING0_OUT_SIZE;
    }
    x->v->in_user = true;
    return exception(x, VECTOR_GP, 0);
}

static enum verdict port_exit(struct exit_state *x)
{
    uint64_t offset = x->regs->rip - (x->v->area + RING0_AREA_CODE);
    /* The gates are those of vCPU 0's view of the code page. */
    uint64_t gate = x->regs->rip - (RING0_AREAS + RING0_AREA_CODE);
    bool out = x->v->run->io.direction == KVM_EXIT_IO_OUT;
    uint16_t port = x->v->run->io.port;
    struct exchange_page *page = exitless_page(x->ctx);

    if (x->platform->kind == KIND_RING3 && in_ring3(x)) {
        /* The program may execute the same instruction; only ours is a system call. */
        if (out && port == PORT_SYSCALL && offset == CODE_OUT + RING0_OUT_SIZE) {
            window_called(x->v);
            return port_syscall(x, true);
        }
        if (out && port == PORT_SYSCALL && page && ring0_gave_up(offset))
            return gave_up(x, page, true);
        return port_of_program(x);
    }
    if (out && port == PORT_SYSCALL && page && ring0_gave_up(offset))
        return gave_up(x, page, false);
    if (out && port == PORT_SYSCALL) /* in ring 0 only ours is ever executed */
        return port_syscall(x, false);
    if (out && port == PORT_EXCEPTION)
        return port_exception(x, gate);
    return killed(x, "an exit from an unknown place");
}

/* An exception that KVM has yet to deliver must not hit whatever the Sentry makes run next. */
static bool has_pending_exception(struct exit_state *x)
{
    struct kvm_vcpu_events events;

    if (host_kvm_ioctl(x->v->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
        return false;
    return events.exception.injected || events.exception.pending;
}

static enum verdict interrupted(struct exit_state *x)
{
    uint64_t area = x->v->area + RING0_AREA_CODE, rip = x->regs->rip;
    enum verdict verdict;

    if (x->platform->kind == KIND_RING3) {
        if (!in_ring3(x))
            return VERDICT_AGAIN;
        x->v->in_user = true;
        if (undo_fastpath(x, rip, x->regs->rflags, &verdict))
            return verdict;
    } else {
        /* Not even begun: the context still has the registers. */
        if (!x->v->in_user && (rip == area + CODE_SYSRET || rip == area + CODE_IRET))
            return VERDICT_INTERRUPTED;
        if (undo_fastpath(x, rip, x->regs->r11, &verdict)) {
            x->v->in_user = false;
            return verdict;
        }
        if (rip >= RING0_BASE)
            return VERDICT_AGAIN;
        x->v->in_user = true;
    }
    if (has_pending_exception(x))
        return VERDICT_AGAIN;
    store_registers(&x->ctx->base.regs, x->regs);
    return VERDICT_INTERRUPTED;
}

/* Between two entries, with nothing pending; only asked for in ring 3 (window.c). */
static enum verdict window_opened(struct exit_state *x)
{
    uint64_t offset = x->regs->rip - RING0_AREAS;
    enum verdict verdict;

    if (x->platform->kind == KIND_RING0 || !in_ring3(x))
        return VERDICT_AGAIN;
    x->v->in_user = true;
    /* Nobody may be waiting for an interrupt: the answer leads straight on into the program. */
    if (offset < AREAS_SIZE(x->platform) && offset % RING0_AREA_SIZE == 0 &&
        !__atomic_load_n(&x->ctx->interrupted, __ATOMIC_SEQ_CST) &&
        window_leaves_to_fastpath(x->v, &x->ctx->fastpath, x->regs->rax))
        return VERDICT_AGAIN;
    if (undo_fastpath(x, x->regs->rip, x->regs->rflags, &verdict)) {
        window_called(x->v);
        return verdict;
    }
    window_missed(x->v);
    store_registers(&x->ctx->base.regs, x->regs);
    return VERDICT_INTERRUPTED;
}

/* A software KVM met an instruction that its emulator does not know. */
static enum verdict internal_error(struct exit_state *x)
{
    if (x->platform->kind == KIND_RING0 || !in_ring3(x))
        return killed(x, "KVM's internal error");
    x->v->in_user = true;
    store_registers(&x->ctx->base.regs, x->regs);
    return exception(x, VECTOR_UD, 0);
}

enum verdict kvm_trap_decode(struct kvm_context *ctx, struct kvm_address_space *as, struct vcpu *v,
                             int result, enum trap *ret_trap, struct trap_info *ret_info)
{
    struct exit_state x = {
        .ctx = ctx,
        .as = as,
        .platform = ctx->platform,
        .v = v,
        .regs = &v->run->s.regs.regs,
        .ret_trap = ret_trap,
        .ret_info = ret_info,
    };

    v->sregs_known = x.platform->kind == KIND_RING3;
    if (result == -EINTR || result == -EAGAIN)
        return interrupted(&x);
    if (result < 0) {
        log_warning("kvm: KVM_RUN: %s", strerror(-result));
        return killed(&x, "KVM_RUN failed");
    }
    switch (v->run->exit_reason) {
    case KVM_EXIT_IO:
        return port_exit(&x);
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return window_opened(&x);
    case KVM_EXIT_INTR:
        return interrupted(&x);
    case KVM_EXIT_INTERNAL_ERROR:
        return internal_error(&x);
    default:
        return killed(&x, "an unexpected exit");
    }
}
