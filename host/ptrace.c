#include "host/ptrace.h"

#include <elf.h>
#include <errno.h>
#include <linux/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The raw call: libc's ptrace() has another error convention for some requests. */
static int request(long op, pid_t tid, unsigned long addr, const void *data)
{
    return syscall(SYS_ptrace, op, (long)tid, addr, data) < 0 ? -errno : 0;
}

int host_ptrace_seize(pid_t tid, unsigned long options)
{
    return request(PTRACE_SEIZE, tid, 0, (const void *)options);
}

int host_ptrace_interrupt(pid_t tid)
{
    return request(PTRACE_INTERRUPT, tid, 0, NULL);
}

int host_ptrace_cont(pid_t tid)
{
    return request(PTRACE_CONT, tid, 0, NULL);
}

int host_ptrace_sysemu(pid_t tid)
{
    return request(PTRACE_SYSEMU, tid, 0, NULL);
}

int host_ptrace_get_regs(pid_t tid, struct host_user_regs *ret_regs)
{
    return request(PTRACE_GETREGS, tid, 0, ret_regs);
}

int host_ptrace_set_regs(pid_t tid, const struct host_user_regs *regs)
{
    return request(PTRACE_SETREGS, tid, 0, regs);
}

int host_ptrace_set_rax(pid_t tid, uint64_t rax)
{
    return syscall(SYS_ptrace, PTRACE_POKEUSR, (long)tid, HOST_USER_RAX, rax) < 0 ? -errno : 0;
}

int host_ptrace_get_siginfo(pid_t tid, siginfo_t *ret_info)
{
    return request(PTRACE_GETSIGINFO, tid, 0, ret_info);
}

int host_ptrace_peek(pid_t tid, uint64_t addr, uint64_t *ret_word)
{
    return request(PTRACE_PEEKDATA, tid, addr, ret_word);
}

int host_ptrace_get_xstate(pid_t tid, void *buf, size_t size, size_t *ret_size)
{
    struct iovec iov = {.iov_base = buf, .iov_len = size};
    int err = request(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov);

    if (err == 0)
        *ret_size = iov.iov_len;
    return err;
}

int host_ptrace_set_xstate(pid_t tid, const void *buf, size_t size)
{
    struct iovec iov = {.iov_base = (void *)buf, .iov_len = size};

    return request(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &iov);
}

int host_ptrace_syscall_arch(pid_t tid, uint32_t *ret_arch)
{
    struct ptrace_syscall_info info;
    long n = syscall(SYS_ptrace, PTRACE_GET_SYSCALL_INFO, (long)tid, sizeof(info), &info);

    if (n < 0)
        return -errno;
    *ret_arch = info.arch;
    return 0;
}

int host_wait_stub(pid_t tid, int *ret_status)
{
    for (;;) {
        if (syscall(SYS_wait4, (long)tid, ret_status, (long)__WALL, NULL) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

int host_poll_stub(pid_t tid, int *ret_status)
{
    for (;;) {
        long n = syscall(SYS_wait4, (long)tid, ret_status, (long)(__WALL | WNOHANG), NULL);

        if (n >= 0)
            return n > 0;
        if (errno != EINTR)
            return -errno;
    }
}

bool host_stub_has_ended(pid_t tid)
{
    int status = 0;
    long n = syscall(SYS_wait4, (long)tid, &status, (long)(__WALL | WNOHANG), NULL);

    return n < 0 || (n > 0 && (WIFEXITED(status) || WIFSIGNALED(status)));
}

int host_kick_stub(pid_t tgid, pid_t tid, int signo)
{
    return syscall(SYS_tgkill, (long)tgid, (long)tid, (long)signo) < 0 ? -errno : 0;
}

pid_t host_gettid(void)
{
    return (pid_t)syscall(SYS_gettid);
}
