/*
 * /proc: what a machine has of devices, interrupts, modules and the like. The sandbox has no disks,
 * no modules and no interrupts of its own; the files say so as Linux's do on such a machine.
 */
#include <errno.h>
#include <stdio.h>

#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"

static void put_cpu_heads(struct proc_text *text, int indent)
{
    const uint64_t *cpus = task_current()->kernel->cpus;

    proc_printf(text, "%*s", indent, "");
    for (int i = 0; i < (int)ARRAY_COUNT(task_current()->kernel->cpus) * 64; i++) {
        if (cpus[i / 64] >> (i % 64) & 1)
            proc_printf(text, "CPU%-8d", i);
    }
    proc_printf(text, "\n");
}

ssize_t proc_interrupts_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};

    put_cpu_heads(&text, 11);
    proc_printf(&text, "ERR: %10d\nMIS: %10d\n", 0, 0);
    return (ssize_t)text.length;
}

ssize_t proc_softirqs_text(uint64_t key, char *buf, size_t size)
{
    static const char *const names[] = {"HI",       "TIMER",   "NET_TX", "NET_RX",  "BLOCK",
                                        "IRQ_POLL", "TASKLET", "SCHED",  "HRTIMER", "RCU"};
    struct proc_text text = {buf, size, 0};
    unsigned count = kernel_cpu_count(task_current()->kernel);

    put_cpu_heads(&text, 20);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        proc_printf(&text, "%12s:", names[i]);
        for (unsigned cpu = 0; cpu < count; cpu++)
            proc_printf(&text, " %10d", 0);
        proc_printf(&text, "\n");
    }
    return (ssize_t)text.length;
}

const struct tree_node proc_tty_nodes[PROC_TTY_NODES] = {
    TREE_FIXED("drivers", "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
                          "/dev/console         /dev/console    5       1 system:console\n"
                          "/dev/ptmx            /dev/ptmx       5       2 system\n"
                          "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
                          "pty_master           /dev/ptm      128 0-1048575 pty:master\n"),
    TREE_FIXED("ldiscs", "n_tty       0\n"),
};
