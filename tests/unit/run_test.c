/* The run loop over the fake platform: scripted traps in, registers and wait status out. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "tests/unit/kernel_make.h"

#define ACTION  SCRATCH
#define HANDLER 0x401000UL
#define RETURN  0x402000UL
#define CALL(nr, ...)                                                                              \
    {                                                                                              \
        .trap = TRAP_SYSCALL, .number = nr, .args = { __VA_ARGS__ }                                \
    }

static struct task *self;

static void expect_rax(struct context *ctx, void *arg)
{
    cr_assert_eq((int64_t)ctx->regs.rax, (int64_t)arg, "rax is %ld", (long)ctx->regs.rax);
}

Test(run, exit_status, .timeout = 20)
{
    static const struct fake_step steps[] = {CALL(SYS_exit_group, 7)};

    cr_assert_eq(task_play(task_make(kernel_make()), steps, ARRAY_COUNT(steps)), 7 << 8);
}

Test(run, last_thread_gives_the_status, .timeout = 20)
{
    static const struct fake_step steps[] = {CALL(SYS_exit, 0x1ff)};

    cr_assert_eq(task_play(task_make(kernel_make()), steps, ARRAY_COUNT(steps)), 0xff00);
}

Test(run, unknown_calls, .timeout = 20)
{
    static const struct fake_step steps[] = {
        CALL(400),
        {.trap = TRAP_SYSCALL, .number = -1UL, .act = expect_rax, .arg = (void *)-ENOSYS},
        /* The upper half of rax is ignored: this is getpid. */
        {.trap = TRAP_SYSCALL,
         .number = 0xabcd00000000UL | SYS_getpid,
         .act = expect_rax,
         .arg = (void *)-ENOSYS},
        {.trap = TRAP_SYSCALL,
         .number = SYS_exit,
         .act = expect_rax,
         .arg = (void *)KERNEL_PID_FIRST},
    };

    cr_assert_eq(task_play(task_make(kernel_make()), steps, ARRAY_COUNT(steps)), 0);
}

Test(run, default_action_ends_the_process, .timeout = 20)
{
    static const struct fake_step steps[] = {CALL(SYS_kill, KERNEL_PID_FIRST, SIGTERM)};

    cr_assert_eq(task_play(task_make(kernel_make()), steps, ARRAY_COUNT(steps)), SIGTERM);
}

Test(run, fault_outside_of_everything, .timeout = 20)
{
    static const struct fake_step steps[] = {
        {.trap = TRAP_FAULT, .info = {.vector = VECTOR_PF, .addr = 0x50, .access = ACCESS_READ}},
    };

    cr_assert_eq(task_play(task_make(kernel_make()), steps, ARRAY_COUNT(steps)), SIGSEGV);
}

Test(run, exceptions, .timeout = 20)
{
    static const struct fake_step steps[] = {
        {.trap = TRAP_EXCEPTION, .info = {.vector = VECTOR_DE}},
    };

    cr_assert_eq(task_play(task_make(kernel_make()), steps, ARRAY_COUNT(steps)), SIGFPE);
}

static void interrupt_from_outside(struct context *ctx, void *arg)
{
    kernel_signal_init(self->kernel, SIGINT);
}

Test(run, signal_from_outside, .timeout = 20)
{
    static const struct fake_step steps[] = {
        {.trap = TRAP_INTERRUPT, .act = interrupt_from_outside},
    };

    self = task_make(kernel_make());
    cr_assert_eq(task_play(self, steps, ARRAY_COUNT(steps)), SIGINT);
}

/* A handler runs on a frame as Linux lays it out, and rt_sigreturn brings everything back. */

static const struct linux_sigaction usr1 = {
    .handler = HANDLER,
    .flags = SA_SIGINFO | LINUX_SA_RESTORER,
    .restorer = RETURN,
    .mask = SIGNAL_BIT(SIGUSR2),
};

static struct cpu_regs before;
static uaddr_t frame_at;

static void remember(struct context *ctx, void *arg)
{
    ctx->regs.rbx = 0x1111;
    ctx->regs.r15 = 0x2222;
    ctx->regs.rflags |= 0x400; /* DF */
    before = ctx->regs;
}

static void in_handler(struct context *ctx, void *arg)
{
    struct linux_rt_sigframe frame;
    siginfo_t info;
    struct cpu_regs *regs = &ctx->regs;

    cr_assert_eq(regs->rip, HANDLER);
    cr_assert_eq(regs->rdi, SIGUSR1);
    cr_assert_eq(regs->rax, 0);
    cr_assert_eq(regs->rsp % 16, 8, "as after a call");
    cr_assert_leq(regs->rsp, before.rsp - 128 - sizeof(frame), "the red zone is spared");
    cr_assert_eq(regs->rflags & 0x400, 0, "DF is clear");
    frame_at = regs->rsp;
    cr_assert_eq(copy_struct_from_user(self->mm, &frame, frame_at), 0);
    cr_assert_eq(frame.pretcode, RETURN);
    cr_assert_eq(regs->rsi, frame_at + offsetof(struct linux_rt_sigframe, info));
    cr_assert_eq(regs->rdx, frame_at + offsetof(struct linux_rt_sigframe, uc));
    cr_assert_eq(frame.uc.flags, 7);
    cr_assert_eq(frame.uc.mcontext.rbx, 0x1111);
    cr_assert_eq(frame.uc.mcontext.rsp, before.rsp);
    cr_assert_eq(frame.uc.mcontext.rax, 0, "tgkill's result");
    cr_assert_eq(frame.uc.mcontext.cs, LINUX_USER_CS);
    cr_assert_eq(frame.uc.mcontext.fpstate % 64, 0);
    cr_assert_eq(frame.uc.sigmask, 0);
    memcpy(&info, frame.info, sizeof(info));
    cr_assert_eq(info.si_signo, SIGUSR1);
    cr_assert_eq(info.si_code, SI_TKILL);
    cr_assert_eq(info.si_pid, KERNEL_PID_FIRST);
    cr_assert_eq(self->blocked, SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
    /* The handler returns: its `ret` takes pretcode. */
    regs->rsp += 8;
    regs->rbx = regs->r15 = 0;
}

static void after_return(struct context *ctx, void *arg)
{
    cr_assert_eq(ctx->regs.rbx, 0x1111);
    cr_assert_eq(ctx->regs.r15, 0x2222);
    cr_assert_eq(ctx->regs.rsp, before.rsp);
    cr_assert_eq(ctx->regs.rip, before.rip + 2);
    cr_assert_eq(ctx->regs.rax, 0);
    cr_assert_neq(ctx->regs.rflags & 0x400, 0, "DF is back");
    cr_assert_eq(self->blocked, 0);
}

Test(run, handler_and_return, .timeout = 20)
{
    static const struct fake_step steps[] = {
        CALL(SYS_rt_sigaction, SIGUSR1, ACTION, 0, 8),
        {.trap = TRAP_SYSCALL,
         .number = SYS_tgkill,
         .args = {KERNEL_PID_FIRST, KERNEL_PID_FIRST, SIGUSR1},
         .act = remember},
        {.trap = TRAP_SYSCALL, .number = SYS_rt_sigreturn, .act = in_handler},
        {.trap = TRAP_SYSCALL, .number = SYS_exit, .act = after_return},
    };

    self = task_make(kernel_make());
    cr_assert_eq(copy_struct_to_user(self->mm, ACTION, &usr1), 0);
    cr_assert_eq(task_play(self, steps, ARRAY_COUNT(steps)), 0);
}

/* A forged frame gives SIGSEGV, not trouble for us. */

static void point_nowhere(struct context *ctx, void *arg)
{
    ctx->regs.rsp = (uint64_t)arg;
}

#define FORGED(place)                                                                              \
    {                                                                                              \
        .trap = TRAP_SYSCALL, .number = SYS_rt_sigreturn, .act = point_nowhere,                    \
        .arg = (void *)(place)                                                                     \
    }

/* One kernel for a process: each place has a test of its own. */
static void expect_death(const struct fake_step *step)
{
    cr_assert_eq(task_play(task_make(kernel_make()), step, 1), SIGSEGV);
}

Test(run, forged_frame_at_zero, .timeout = 20)
{
    expect_death(&(struct fake_step)FORGED(8));
}

Test(run, forged_frame_unmapped, .timeout = 20)
{
    expect_death(&(struct fake_step)FORGED(0x20));
}

Test(run, forged_frame_cut_off, .timeout = 20)
{
    expect_death(&(struct fake_step)FORGED(SCRATCH + SCRATCH_SIZE - 16));
}

Test(run, forged_frame_beyond, .timeout = 20)
{
    expect_death(&(struct fake_step)FORGED(UINT64_MAX - 100));
}

/* A call that a signal interrupts: repeated without a handler, EINTR with one. */

static void expect_repeat(struct context *ctx, void *arg)
{
    cr_assert_eq(ctx->regs.rip, before.rip, "the instruction runs again");
    cr_assert_eq(ctx->regs.rax, (uint64_t)arg);
}

static void send_chld(struct context *ctx, void *arg)
{
    before = ctx->regs;
    /* Sent while blocked, so it is kept; sigsuspend lets it in, and its action is to do nothing. */
    signal_send_task(self, SIGCHLD, NULL);
    cr_assert_neq(self->pending.set, 0);
}

Test(run, ignored_signal_repeats_the_call, .timeout = 20)
{
    static const uint64_t none, chld = SIGNAL_BIT(SIGCHLD);
    static const struct fake_step steps[] = {
        CALL(SYS_rt_sigprocmask, SIG_BLOCK, SCRATCH, 0, 8),
        {.trap = TRAP_SYSCALL,
         .number = SYS_rt_sigsuspend,
         .args = {SCRATCH + 8, 8},
         .act = send_chld},
        {.trap = TRAP_SYSCALL,
         .number = SYS_exit,
         .act = expect_repeat,
         .arg = (void *)SYS_rt_sigsuspend},
    };

    self = task_make(kernel_make());
    cr_assert_eq(copy_struct_to_user(self->mm, SCRATCH, &chld), 0);
    cr_assert_eq(copy_struct_to_user(self->mm, SCRATCH + 8, &none), 0);
    cr_assert_eq(task_play(self, steps, ARRAY_COUNT(steps)), 0);
}
