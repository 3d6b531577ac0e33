/*
 * From a stub's stop to a trap of the guest.
 *
 *   SIGTRAP|0x80       a call, held at PTRACE_SYSEMU   TRAP_SYSCALL
 *   SIGSEGV MAPERR     nothing mapped                  TRAP_FAULT: a fetch, a read, or unknown
 *           ACCERR     mapped with fewer rights        TRAP_FAULT: a fetch, else a write
 *           SI_KERNEL  #GP and its like                TRAP_EXCEPTION
 *   SIGFPE, SIGILL, SIGBUS, SIGTRAP by the CPU         TRAP_EXCEPTION
 *   SIGSYS by seccomp  a vsyscall that the host would have answered: TRAP_FAULT
 *   anything else      not from the guest              spurious
 *
 * The host tells no kind of access, but whether something is mapped. All mappings of a stub are
 * readable, so where something is mapped and the access fails, it is a write or a fetch: a fetch
 * when the fault is at rip. Where nothing is mapped, it is a fetch or what the instruction looks
 * like (access.c): a read, or perhaps a write, told as unknown so that nothing is refused for a
 * guess. If the guess was wrong it comes again when the page is there without that right.
 *
 * Two kinds of instruction look like their opposites: one that overwrites its own first byte, and
 * one that lies across two pages, of which the second cannot be fetched (a fault at the start of
 * the next page, as by an access to the data there). They are told apart by repetition: what was
 * granted, and comes again at once, was the other kind.
 */
#include <linux/audit.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "platform/ptrace/access.h"
#include "platform/ptrace/internal.h"
#include "platform/regs.h"

#define SYSCALL_STOP (SIGTRAP | 0x80)

/* Page fault error code bits (SDM vol. 3, 4.7). */
#define PF_PRESENT       1u
#define PF_WRITE         2u
#define PF_USER          4u
#define PF_FETCH         16u

#define INT80_SIZE       2
#define INT80_ERROR_CODE (0x80 << 3 | 2) /* of the IDT entry that refuses */
#define LONGEST_CODE     15
#define DOUBT_REPEATS    3

/* si_code of a SIGSYS by seccomp; libc has no name for it. */
#define SIGSYS_BY_SECCOMP 1

#define VSYSCALL_PAGE     0xffffffffff600000UL

int trap_load_regs(struct ptrace_context *ctx)
{
    struct cpu_regs *r = &ctx->base.regs;
    struct host_user_regs *u = &ctx->user;
    int err = host_ptrace_get_regs(ctx->stub.tid, u);

    if (unlikely(err < 0))
        return err;
    ctx->stub.as_read = true;
    REGS_COPY(r, u);
    r->rflags = u->eflags;
    return 0;
}

static enum trap exception(struct trap_info *info, const siginfo_t *si, uint32_t vector)
{
    info->vector = vector;
    info->signo = si->si_signo;
    info->si_code = si->si_code;
    return TRAP_EXCEPTION;
}

/*
 * `syscall` leaves rip in rcx and rflags in r11, which tells it from `int $0x80` without another
 * request; a guest that forges both gets what it asks for, a call by 64-bit numbers. (CPUs with
 * FRED keep rcx and r11: there the host must be asked.) `int $0x80` and all calls from 32-bit code
 * end as on a Linux without 32-bit emulation, in #GP at the instruction.
 */
static enum trap decode_syscall(struct ptrace_context *ctx, struct trap_info *info)
{
    struct cpu_regs *r = &ctx->base.regs;
    uint32_t arch = AUDIT_ARCH_I386;

    r->rax = ctx->user.orig_rax;
    if (likely(ctx->user.cs == STUB_CS)) {
        if (likely(r->rcx == r->rip && r->r11 == r->rflags))
            return TRAP_SYSCALL;
        if (host_ptrace_syscall_arch(ctx->stub.tid, &arch) == 0 && arch == AUDIT_ARCH_X86_64) {
            r->rcx = r->rip;
            r->r11 = r->rflags;
            return TRAP_SYSCALL;
        }
    }
    r->rip -= INT80_SIZE;
    info->vector = VECTOR_GP;
    info->error_code = INT80_ERROR_CODE;
    info->signo = SIGSEGV;
    info->si_code = SI_KERNEL;
    return TRAP_EXCEPTION;
}

/* The same fault at the same instruction, again and again, nothing else in between. */
static bool repeats(struct ptrace_context *ctx, uaddr_t addr, unsigned int times)
{
    if (ctx->doubt_rip != ctx->base.regs.rip || ctx->doubt_addr != addr) {
        ctx->doubt_rip = ctx->base.regs.rip;
        ctx->doubt_addr = addr;
        ctx->doubt_count = 0;
    }
    return ++ctx->doubt_count > times;
}

static bool is_fetch(struct ptrace_context *ctx, uaddr_t addr, bool present)
{
    uaddr_t rip = ctx->base.regs.rip;

    if (addr == rip)
        return !(present && repeats(ctx, addr, DOUBT_REPEATS));
    return present && is_aligned(addr, PAGE_SIZE) && addr > rip && addr - rip < LONGEST_CODE &&
           repeats(ctx, addr, DOUBT_REPEATS);
}

static bool looks_like_write(struct ptrace_context *ctx, uaddr_t addr)
{
    uint8_t code[ACCESS_CODE_SIZE];
    uint64_t word;

    if (host_ptrace_peek(ctx->stub.tid, ctx->base.regs.rip, &word) < 0)
        return false;
    memcpy(code, &word, sizeof(code));
    return access_is_write(code, &ctx->base.regs, addr);
}

static enum trap page_fault(struct ptrace_context *ctx, struct trap_info *info, uaddr_t addr,
                            bool present)
{
    info->vector = VECTOR_PF;
    info->addr = addr;
    info->error_code = PF_USER | (present ? PF_PRESENT : 0);
    if (is_fetch(ctx, addr, present)) {
        info->access = ACCESS_EXEC;
        info->error_code |= PF_FETCH;
    } else if (present) {
        info->access = ACCESS_WRITE;
        info->error_code |= PF_WRITE;
    } else {
        info->access = ACCESS_READ;
        if (looks_like_write(ctx, addr)) {
            info->error_code |= PF_WRITE;
            if (!repeats(ctx, addr, 1))
                info->access = ACCESS_UNKNOWN;
        }
    }
    return TRAP_FAULT;
}

static enum trap decode_segv(struct ptrace_context *ctx, const siginfo_t *si,
                             struct trap_info *info)
{
    uaddr_t addr = (uaddr_t)si->si_addr;
    enum trap trap;

    switch (si->si_code) {
    case SEGV_MAPERR:
        return page_fault(ctx, info, addr, false);
    case SEGV_ACCERR:
        return page_fault(ctx, info, addr, true);
    case SEGV_PKUERR:
        trap = exception(info, si, VECTOR_PF);
        info->addr = addr;
        return trap;
    default:
        break;
    }
    /* The host emulates the vsyscall page and failed at the guest's pointers or stack. The Sentry
     * emulates it better: as on hosts without that page. */
    if (ctx->base.regs.rip >= VSYSCALL_PAGE && ctx->base.regs.rip - VSYSCALL_PAGE < PAGE_SIZE)
        return page_fault(ctx, info, ctx->base.regs.rip, false);
    return exception(info, si, si->si_code == SEGV_BNDERR ? VECTOR_BR : VECTOR_GP);
}

/* x87 and SSE exceptions share SIGFPE: only a pending x87 one has the summary bit in FSW set. */
static uint32_t fpe_vector(struct ptrace_context *ctx, const siginfo_t *si)
{
    uint16_t fsw = 0;

    if (si->si_code == FPE_INTDIV)
        return VECTOR_DE;
    if (fp_fetch(ctx) == 0)
        memcpy(&fsw, ctx->fp + 2, sizeof(fsw));
    return fsw & 0x80 ? VECTOR_MF : VECTOR_XM;
}

static enum trap decode_bus(const siginfo_t *si, struct trap_info *info)
{
    enum trap trap;

    switch (si->si_code) {
    case BUS_ADRALN:
        return exception(info, si, VECTOR_AC);
    case SI_KERNEL: /* a stack address that is not canonical */
        return exception(info, si, VECTOR_SS);
    case BUS_MCEERR_AR:
    case BUS_MCEERR_AO:
        trap = exception(info, si, VECTOR_MC);
        break;
    default: /* the host has no memory for the page */
        trap = exception(info, si, VECTOR_PF);
        break;
    }
    info->addr = (uaddr_t)si->si_addr;
    return trap;
}

static bool is_vsyscall(const siginfo_t *si)
{
    uaddr_t at = (uaddr_t)si->si_call_addr;

    return si->si_code == SIGSYS_BY_SECCOMP && at >= VSYSCALL_PAGE &&
           at - VSYSCALL_PAGE < PAGE_SIZE;
}

/* A signal that the kernel raised for what the stub itself did: si_code is positive. */
static bool decode_signal(struct ptrace_context *ctx, const siginfo_t *si, enum trap *ret_trap,
                          struct trap_info *info)
{
    switch (si->si_signo) {
    case SIGSEGV:
        *ret_trap = decode_segv(ctx, si, info);
        return true;
    case SIGFPE:
        *ret_trap = exception(info, si, fpe_vector(ctx, si));
        return true;
    case SIGILL:
        *ret_trap = exception(info, si, VECTOR_UD);
        return true;
    case SIGBUS:
        *ret_trap = decode_bus(si, info);
        return true;
    case SIGTRAP: /* int3 comes with SI_KERNEL, #DB with a TRAP_ code */
        *ret_trap = exception(info, si, si->si_code == SI_KERNEL ? VECTOR_BP : VECTOR_DB);
        return true;
    case SIGSYS:
        if (!is_vsyscall(si))
            return false;
        /* The host has returned to the caller already. Undone, it is what hosts without the page
         * show: a fetch of nothing, which the Sentry knows to serve. rax is the call's to lose. */
        ctx->base.regs.rip = (uaddr_t)si->si_call_addr;
        ctx->base.regs.rsp -= 8;
        *ret_trap = page_fault(ctx, info, ctx->base.regs.rip, false);
        return true;
    default:
        return false;
    }
}

enum stop trap_decode(struct ptrace_context *ctx, int status, enum trap *ret_trap,
                      struct trap_info *ret_info)
{
    int signo = WSTOPSIG(status);
    siginfo_t si;

    if (unlikely(WIFEXITED(status) || WIFSIGNALED(status)))
        return STOP_DEAD;
    if (unlikely(trap_load_regs(ctx) < 0))
        return STOP_DEAD;
    if (likely(signo == SYSCALL_STOP)) {
        *ret_trap = decode_syscall(ctx, ret_info);
        ctx->doubt_count = 0;
        return STOP_TRAP;
    }
    if (signo == STUB_SIGNAL || status >> 16 != 0)
        return STOP_SPURIOUS;
    if (host_ptrace_get_siginfo(ctx->stub.tid, &si) < 0)
        return STOP_DEAD;
    if (si.si_code <= 0 || !decode_signal(ctx, &si, ret_trap, ret_info))
        return STOP_SPURIOUS;
    return STOP_TRAP;
}
