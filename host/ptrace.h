/*
 * What the ptrace platform asks of the host: one thin wrapper per request of ptrace(2) that it
 * uses, waiting for stubs, and where threads may run. All return 0 or -errno.
 *
 * The tracer of a stub is the calling thread, not its process: requests from any other thread fail
 * with -ESRCH.
 */
#ifndef HOST_PTRACE_H
#define HOST_PTRACE_H

#include <sched.h>
#include <signal.h>

#include "base/compiler.h"

/* user_regs_struct of the kernel's ptrace ABI; libc's <sys/user.h> redefines PAGE_SIZE. */
struct host_user_regs {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t orig_rax, rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};
static_assert(sizeof(struct host_user_regs) == 27 * 8, "ABI of PTRACE_GETREGS");
#define HOST_USER_RAX offsetof(struct host_user_regs, rax) /* struct user begins with them */

/* PTRACE_SEIZE with PTRACE_O_* options. -EPERM: Yama, another tracer, or not our user. */
int host_ptrace_seize(pid_t tid, unsigned long options);
/* PTRACE_INTERRUPT: the stub stops with PTRACE_EVENT_STOP. */
int host_ptrace_interrupt(pid_t tid);
/* Both resume the stopped stub and drop the signal it stopped for. */
int host_ptrace_cont(pid_t tid);
int host_ptrace_sysemu(pid_t tid);

int host_ptrace_get_regs(pid_t tid, struct host_user_regs *ret_regs);
/* -EIO: a selector or a segment base that the host does not accept. */
int host_ptrace_set_regs(pid_t tid, const struct host_user_regs *regs);
/* Of the general registers rax alone, and by a cheaper way than all of them. */
int host_ptrace_set_rax(pid_t tid, uint64_t rax);
int host_ptrace_get_siginfo(pid_t tid, siginfo_t *ret_info);
/* Eight bytes of the stub's memory; -EIO where they are not all readable. */
int host_ptrace_peek(pid_t tid, uint64_t addr, uint64_t *ret_word);
/* The whole extended state, as NT_X86_XSTATE has it; the host wants exactly its own size back. */
int host_ptrace_get_xstate(pid_t tid, void *buf, size_t size, size_t *ret_size);
int host_ptrace_set_xstate(pid_t tid, const void *buf, size_t size);
/* PTRACE_GET_SYSCALL_INFO: AUDIT_ARCH_* of the call that a stub stands at. */
int host_ptrace_syscall_arch(pid_t tid, uint32_t *ret_arch);

/* wait4(2) with __WALL for this one stub: its wait status. Restarts after signals. */
int host_wait_stub(pid_t tid, int *ret_status);
/* The same without waiting: 1 with its status, 0 when it runs. */
int host_poll_stub(pid_t tid, int *ret_status);
/* A stopped stub was killed meanwhile. It is reaped then. */
bool host_stub_has_ended(pid_t tid);
/* tgkill(2). */
int host_kick_stub(pid_t tgid, pid_t tid, int signo);

pid_t host_gettid(void);

/*
 * Starts the ELF image (a complete static executable in memory) as a child with nothing of ours:
 * its own session, no capabilities, no new privileges, no open files but `keep_fd` as descriptor 3
 * and the image itself as descriptor 4. Returns with the child stopped behind execve(2)
 * (PTRACE_EVENT_EXEC), traced by the calling thread with `options` and PTRACE_O_TRACEEXEC. The
 * child dies with the calling thread at whatever moment that dies.
 *
 * -errno of the step that failed, named in *ret_step. Before the jail closes only.
 */
int host_spawn_stub(const void *image, size_t size, int keep_fd, unsigned long options,
                    pid_t *ret_pid, const char **ret_step);
#define HOST_STUB_KEPT_FD  3
#define HOST_STUB_IMAGE_FD 4

#endif
