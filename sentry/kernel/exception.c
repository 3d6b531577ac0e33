#include "sentry/kernel/exception.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"

/* FXSAVE area (SDM vol. 1, 10.5.1) */
#define FXSAVE_FCW   0
#define FXSAVE_FSW   2
#define FXSAVE_MXCSR 24

enum { AT_RIP = 1, NO_ADDRESS = 0 };

/* si_code SI_KERNEL: Linux raises these with force_sig(), which tells nothing more. */
static const struct {
    int signo, code, where;
} signals[] = {
    [VECTOR_DE] = {SIGFPE, FPE_INTDIV, AT_RIP},
    [VECTOR_DB] = {SIGTRAP, TRAP_TRACE, AT_RIP},
    [VECTOR_BP] = {SIGTRAP, SI_KERNEL, NO_ADDRESS},
    [VECTOR_OF] = {SIGSEGV, SI_KERNEL, NO_ADDRESS},
    [VECTOR_BR] = {SIGSEGV, SI_KERNEL, NO_ADDRESS},
    [VECTOR_UD] = {SIGILL, ILL_ILLOPN, AT_RIP},
    [VECTOR_TS] = {SIGSEGV, SI_KERNEL, NO_ADDRESS},
    [VECTOR_NP] = {SIGBUS, SI_KERNEL, NO_ADDRESS},
    [VECTOR_SS] = {SIGBUS, SI_KERNEL, NO_ADDRESS},
    [VECTOR_GP] = {SIGSEGV, SI_KERNEL, NO_ADDRESS},
    [VECTOR_MF] = {SIGFPE, 0, AT_RIP},
    [VECTOR_AC] = {SIGBUS, BUS_ADRALN, NO_ADDRESS},
    [VECTOR_XM] = {SIGFPE, 0, AT_RIP},
};

int exception_fpe_code(uint32_t raised)
{
    if (raised & 0x01)
        return FPE_FLTINV;
    if (raised & 0x04)
        return FPE_FLTDIV;
    if (raised & 0x08)
        return FPE_FLTOVF;
    if (raised & 0x12) /* denormal operand, underflow */
        return FPE_FLTUND;
    if (raised & 0x20)
        return FPE_FLTRES;
    return 0;
}

static int fpe_code(struct task *task, uint32_t vector)
{
    struct kernel *kernel = task->kernel;
    uint8_t *area = malloc(kernel->fp_size);
    uint16_t fcw, fsw;
    uint32_t mxcsr;
    int code = FPE_FLTUNK;

    if (!area)
        return code;
    if (task->ctx->ops->ctx_get_fp(task->ctx, area, kernel->fp_size) == 0) {
        memcpy(&fcw, area + FXSAVE_FCW, sizeof(fcw));
        memcpy(&fsw, area + FXSAVE_FSW, sizeof(fsw));
        memcpy(&mxcsr, area + FXSAVE_MXCSR, sizeof(mxcsr));
        if (vector == VECTOR_MF)
            code = exception_fpe_code(fsw & ~(uint32_t)fcw);
        else
            code = exception_fpe_code(mxcsr & ~(mxcsr >> 7));
    }
    free(area);
    return code;
}

void exception_handle(struct task *task, const struct trap_info *info)
{
    uint32_t vector = info->vector;
    uaddr_t rip = task->ctx->regs.rip;
    int signo, code;

    task->fault_vector = vector;
    task->fault_error = info->error_code;
    if (vector >= ARRAY_COUNT(signals) || signals[vector].signo == 0) {
        /* An exception that no instruction of ring 3 raises, or a signal of the host. */
        signal_fault(task, info->signo ? info->signo : SIGSEGV, SI_KERNEL, 0);
        return;
    }
    signo = signals[vector].signo;
    code = signals[vector].code;
    if (vector == VECTOR_MF || vector == VECTOR_XM) {
        code = fpe_code(task, vector);
        if (code == 0)
            return; /* as Linux: nothing unmasked is raised, the instruction may be repeated */
    } else if (vector == VECTOR_DB) {
        /* int1 traps here too; what steps has TF set. */
        code = task->ctx->regs.rflags & RFLAGS_TF ? TRAP_TRACE : TRAP_BRKPT;
        if (task->trace.watching && ptrace_watch_hit(task))
            code = TRAP_HWBKPT;
        else if (task->trace.forced_tf && !task->trace.step)
            return; /* a step of ours, or one that a tracer had asked for which is gone */
    }
    signal_fault(task, signo, code, signals[vector].where == AT_RIP ? rip : 0);
}
