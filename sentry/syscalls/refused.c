/*
 * Calls that reach for the machine: booting, modules, ports, local descriptor tables, the lines of
 * others. Linux has them, and refuses them to a container. So does the Sentry, to everybody: what
 * root holds here are the capabilities of a sandbox, as in a user namespace, not those of the host.
 * Arguments are looked at in Linux's order.
 */
#include <errno.h>
#include <signal.h>

#include "sentry/kernel/task.h"
#include "sentry/syscalls/define.h"

#define IOPL_MAX       3
#define PORTS_MAX      65536UL
#define SWAP_FLAGS_ALL 0x7ffff /* SWAP_FLAGS_VALID */

/* kernel/reboot.c asks for CAP_SYS_BOOT before it looks at the magic numbers. */
SYSCALL_DEFINE0(reboot)
{
    return -EPERM;
}

SYSCALL_DEFINE0(kexec_load)
{
    return -EPERM;
}

SYSCALL_DEFINE0(kexec_file_load)
{
    return -EPERM;
}

/* kernel/module/: CAP_SYS_MODULE comes first as well. */
SYSCALL_DEFINE0(init_module)
{
    return -EPERM;
}

SYSCALL_DEFINE0(finit_module)
{
    return -EPERM;
}

SYSCALL_DEFINE0(delete_module)
{
    return -EPERM;
}

/* kernel/acct.c: CAP_SYS_PACCT comes before the file. */
SYSCALL_DEFINE0(acct)
{
    return -EPERM;
}

/* mm/swapfile.c: the host pages the sandbox, as it likes. */
SYSCALL_DEFINE2(swapon, uaddr_t, path, int, flags)
{
    return flags & ~SWAP_FLAGS_ALL ? -EINVAL : -EPERM;
}

SYSCALL_DEFINE0(swapoff)
{
    return -EPERM;
}

/* arch/x86/kernel/ioport.c: to stay at level 0 is free, and nobody is above it. */
SYSCALL_DEFINE1(iopl, unsigned, level)
{
    if (level > IOPL_MAX)
        return -EINVAL;
    return level == 0 ? 0 : -EPERM;
}

SYSCALL_DEFINE3(ioperm, unsigned long, from, unsigned long, count, int, on)
{
    if (from + count <= from || from + count > PORTS_MAX)
        return -EINVAL;
    return on ? -EPERM : 0;
}

SYSCALL_DEFINE0(modify_ldt)
{
    return -ENOSYS;
}

/* Both are for code that the kernel itself places in programs (arch/x86/kernel/uprobes.c). */
SYSCALL_DEFINE0(uprobe)
{
    return -ENXIO;
}

SYSCALL_DEFINE0(uretprobe)
{
    const siginfo_t info = {.si_signo = SIGILL, .si_code = SI_KERNEL};

    signal_force(task, &info);
    return -1; /* Linux's own number, not an errno */
}
