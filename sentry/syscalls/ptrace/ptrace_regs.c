/* ptrace(2): a stopped tracee's memory and registers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <asm/prctl.h>
#include <linux/elf.h>

#include "abi/ptrace.h"
#include "abi/signal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/ptrace/ptrace.h"

#define PTRACE_ARCH_PRCTL   30
#define XSTATE_NOTE_XCR0    464 /* where a note of the extended state tells its features */
#define XSTATE_NOTE_WORDS   6
#define XSTATE_FX_SIZE      512
#define XSTATE_HEADER_END   576
#define FEATURES_X87_SSE    3UL
#define DEBUG_REGISTERS     LINUX_USER_DEBUGREG
#define DEBUG_REGISTERS_END (DEBUG_REGISTERS + 8 * sizeof(uint64_t))

/* ---- memory ------------------------------------------------------------------------------- */

static long peek(struct task *task, struct task *tracee, uaddr_t addr, uaddr_t data)
{
    struct mm *mm = task_get_mm(tracee);
    uint64_t word;
    bool good = mm && mm_remote_read(mm, addr, &word, sizeof(word)) == sizeof(word);

    mm_unref(mm);
    return good ? copy_struct_to_user(task->mm, data, &word) : -EIO;
}

static long poke(struct task *tracee, uaddr_t addr, uint64_t word)
{
    struct mm *mm = task_get_mm(tracee);
    bool good = mm && mm_remote_write(mm, addr, &word, sizeof(word)) == sizeof(word);

    mm_unref(mm);
    return good ? 0 : -EIO;
}

/* ---- general registers -------------------------------------------------------------------- */

static long get_regs(struct task *task, struct task *tracee, struct linux_user_regs *ret)
{
    int error = ptrace_hold(task, tracee);

    if (error < 0)
        return error;
    ptrace_get_regs_locked(tracee, ret);
    lock_release(&tracee->process->lock);
    return 0;
}

static long set_regs(struct task *task, struct task *tracee, const struct linux_user_regs *regs)
{
    int error = ptrace_hold(task, tracee);

    if (error < 0)
        return error;
    error = ptrace_set_regs_locked(tracee, regs);
    lock_release(&tracee->process->lock);
    return error;
}

static int debug_register(uaddr_t addr)
{
    return (int)((addr - DEBUG_REGISTERS) / sizeof(uint64_t));
}

/* struct user: the registers, then things of old core files, which nobody reads here. */
static long peek_user(struct task *task, struct task *tracee, uaddr_t addr, uaddr_t data)
{
    struct linux_user_regs regs;
    uint64_t word = 0;
    long error;

    if (addr % sizeof(word) || addr >= LINUX_USER_SIZE)
        return -EIO;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    ptrace_get_regs_locked(tracee, &regs);
    if (addr >= DEBUG_REGISTERS && addr < DEBUG_REGISTERS_END)
        word = ptrace_get_debug_locked(tracee, debug_register(addr));
    lock_release(&tracee->process->lock);
    if (addr < sizeof(regs))
        memcpy(&word, (char *)&regs + addr, sizeof(word));
    return copy_struct_to_user(task->mm, data, &word);
}

static long poke_user(struct task *task, struct task *tracee, uaddr_t addr, uint64_t word)
{
    struct linux_user_regs regs;
    long error;

    if (addr % sizeof(word) || addr >= LINUX_USER_SIZE)
        return -EIO;
    error = ptrace_hold(task, tracee);
    if (error < 0)
        return error;
    if (addr < sizeof(regs)) {
        ptrace_get_regs_locked(tracee, &regs);
        memcpy((char *)&regs + addr, &word, sizeof(word));
        error = ptrace_set_regs_locked(tracee, &regs);
    } else if (addr >= DEBUG_REGISTERS && addr < DEBUG_REGISTERS_END) {
        error = ptrace_set_debug_locked(tracee, debug_register(addr), word);
    } else {
        error = -EIO;
    }
    lock_release(&tracee->process->lock);
    return error;
}

/* ---- extended state ----------------------------------------------------------------------- */

struct fp_request {
    uint8_t *area;
    uint32_t size;
    bool set;
    int error;
};

static void move_fp(struct task *tracee, void *arg)
{
    struct fp_request *r = arg;
    const struct platform_ops *ops = tracee->ctx->ops;

    if (r->set)
        r->error = ops->ctx_set_fp(tracee->ctx, r->area, r->size);
    else
        r->error = ops->ctx_get_fp(tracee->ctx, r->area, r->size);
}

static int transfer_fp(struct task *task, struct task *tracee, uint8_t *area, bool set)
{
    struct fp_request r = {.area = area, .size = task->kernel->fp_size, .set = set};
    int error = ptrace_on_tracee(task, tracee, move_fp, &r);

    return error < 0 ? error : r.error;
}

/* The sizes of the two notes: FXSAVE's area, or all of XSAVE's. */
static long get_fp(struct task *task, struct task *tracee, uaddr_t data, size_t size, bool whole)
{
    struct kernel *kernel = task->kernel;
    uint64_t words[XSTATE_NOTE_WORDS] = {kernel->platform->ops->fp_features(kernel->platform)};
    uint8_t *area = calloc(1, kernel->fp_size);
    long error = area ? transfer_fp(task, tracee, area, false) : -ENOMEM;

    if (error == 0) {
        if (whole)
            memcpy(area + XSTATE_NOTE_XCR0, words, sizeof(words));
        else
            memset(area + XSTATE_NOTE_XCR0, 0, sizeof(words));
        error = copy_to_user(task->mm, data, area, size);
    }
    free(area);
    return error;
}

static long set_fp(struct task *task, struct task *tracee, uaddr_t data, size_t size, bool whole)
{
    uint32_t full = task->kernel->fp_size;
    uint64_t features;
    uint8_t *area = calloc(1, full);
    long error = area ? transfer_fp(task, tracee, area, false) : -ENOMEM;

    if (error == 0 && copy_from_user(task->mm, area, data, size) < 0)
        error = -EFAULT;
    if (error == 0) {
        memset(area + XSTATE_NOTE_XCR0, 0, XSTATE_NOTE_WORDS * sizeof(uint64_t));
        if (!whole) {
            memcpy(&features, area + XSTATE_FX_SIZE, sizeof(features));
            features |= FEATURES_X87_SSE;
            memcpy(area + XSTATE_FX_SIZE, &features, sizeof(features));
        }
        error = transfer_fp(task, tracee, area, true);
    }
    free(area);
    return error;
}

/* ---- register sets by note type ----------------------------------------------------------- */

static long general_set(struct task *task, struct task *tracee, struct iovec *iov, bool set)
{
    struct linux_user_regs regs;
    long error;

    iov->iov_len = MIN(iov->iov_len, sizeof(regs));
    error = get_regs(task, tracee, &regs);
    if (error < 0)
        return error;
    if (!set)
        return copy_to_user(task->mm, (uaddr_t)iov->iov_base, &regs, iov->iov_len);
    if (copy_from_user(task->mm, &regs, (uaddr_t)iov->iov_base, iov->iov_len) < 0)
        return -EFAULT;
    return set_regs(task, tracee, &regs);
}

static long fp_set(struct task *task, struct task *tracee, struct iovec *iov, bool set, bool whole)
{
    size_t full = whole ? task->kernel->fp_size : XSTATE_FX_SIZE;

    iov->iov_len = MIN(iov->iov_len, full);
    if (!set)
        return get_fp(task, tracee, (uaddr_t)iov->iov_base, iov->iov_len, whole);
    if (whole && iov->iov_len < full)
        return -EFAULT; /* Linux xstateregs_set() */
    if (!whole && iov->iov_len < full)
        return -EINVAL; /* xfpregs_set() */
    return set_fp(task, tracee, (uaddr_t)iov->iov_base, iov->iov_len, whole);
}

static long register_set(struct task *task, struct task *tracee, uint64_t type, uaddr_t data,
                         bool set)
{
    struct iovec iov;
    long error;

    if (copy_struct_from_user(task->mm, &iov, data) < 0)
        return -EFAULT;
    if (type != NT_PRSTATUS && type != NT_PRFPREG && type != NT_X86_XSTATE)
        return -EINVAL;
    if (iov.iov_len % sizeof(uint64_t))
        return -EINVAL;
    if (type == NT_PRSTATUS)
        error = general_set(task, tracee, &iov, set);
    else
        error = fp_set(task, tracee, &iov, set, type == NT_X86_XSTATE);
    if (error < 0)
        return error;
    return copy_to_user(task->mm, data + offsetof(struct iovec, iov_len), &iov.iov_len,
                        sizeof(iov.iov_len));
}

static long arch_prctl(struct task *task, struct task *tracee, uaddr_t addr, int code)
{
    struct linux_user_regs regs;
    long error = get_regs(task, tracee, &regs);

    if (error < 0)
        return error;
    switch (code) {
    case ARCH_GET_FS:
        return copy_to_user(task->mm, addr, &regs.fs_base, sizeof(uint64_t));
    case ARCH_GET_GS:
        return copy_to_user(task->mm, addr, &regs.gs_base, sizeof(uint64_t));
    case ARCH_SET_FS:
        regs.fs_base = addr;
        break;
    case ARCH_SET_GS:
        regs.gs_base = addr;
        break;
    default:
        return -EINVAL;
    }
    error = set_regs(task, tracee, &regs);
    return error == -EIO ? -EPERM : error;
}

long ptrace_state_request(struct task *task, struct task *tracee, long request, uaddr_t addr,
                          uaddr_t data)
{
    struct linux_user_regs regs;
    long error;

    switch (request) {
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
        return peek(task, tracee, addr, data);
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA:
        return poke(tracee, addr, data);
    case PTRACE_PEEKUSR:
        return peek_user(task, tracee, addr, data);
    case PTRACE_POKEUSR:
        return poke_user(task, tracee, addr, data);
    case PTRACE_GETREGS:
        error = get_regs(task, tracee, &regs);
        return error < 0 ? error : copy_struct_to_user(task->mm, data, &regs);
    case PTRACE_SETREGS:
        if (copy_struct_from_user(task->mm, &regs, data) < 0)
            return -EFAULT;
        return set_regs(task, tracee, &regs);
    case PTRACE_GETFPREGS:
        return get_fp(task, tracee, data, XSTATE_FX_SIZE, false);
    case PTRACE_SETFPREGS:
        return set_fp(task, tracee, data, XSTATE_FX_SIZE, false);
    case PTRACE_GETREGSET:
        return register_set(task, tracee, addr, data, false);
    case PTRACE_SETREGSET:
        return register_set(task, tracee, addr, data, true);
    case PTRACE_ARCH_PRCTL:
        return arch_prctl(task, tracee, addr, (int)data);
    default:
        return -ENOTSUP;
    }
}
