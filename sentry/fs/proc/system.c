/* /proc/stat, loadavg and uptime: how busy the sandbox is. */
#include <stdio.h>

#include "host/clock.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/load.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/timens.h"

#define NS_PER_TICK  10000000UL /* of 1/100 s */
#define LOAD_INT(x)  ((x) >> LOAD_SHIFT)
#define LOAD_FRAC(x) (((x) & ((1UL << LOAD_SHIFT) - 1)) * 100 >> LOAD_SHIFT)

ssize_t proc_loadavg_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct load load;

    load_get(task_current()->kernel, &load);
    for (int i = 0; i < 3; i++) {
        uint64_t rounded = load.average[i] + (1UL << LOAD_SHIFT) / 200;

        proc_printf(&text, "%lu.%02lu ", LOAD_INT(rounded), LOAD_FRAC(rounded));
    }
    proc_printf(&text, "%u/%u %d\n", load.running, load.tasks, load.last_pid);
    return (ssize_t)text.length;
}

/* One processor's share: what all use together is not told apart. */
static void put_cpu(struct proc_text *text, const char *name, uint64_t used, uint64_t system,
                    uint64_t whole)
{
    proc_printf(text, "%s %lu 0 %lu %lu 0 0 0 0 0 0\n", name, (used - system) / NS_PER_TICK,
                system / NS_PER_TICK, (whole > used ? whole - used : 0) / NS_PER_TICK);
}

ssize_t proc_stat_text_all(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct kernel *kernel = task_current()->kernel;
    uint64_t up = host_monotonic_ns() - kernel->boot_ns;
    unsigned count = kernel_cpu_count(kernel);
    struct load load;
    char name[24];

    load_get(kernel, &load);
    put_cpu(&text, "cpu ", load.cpu_ns, load.system_ns, up * count);
    for (size_t i = 0; i < ARRAY_COUNT(kernel->cpus) * 64; i++) {
        if (!(kernel->cpus[i / 64] >> (i % 64) & 1))
            continue;
        snprintf(name, sizeof(name), "cpu%zu", i);
        put_cpu(&text, name, load.cpu_ns / count, load.system_ns / count, up);
    }
    proc_printf(&text, "intr 0\nctxt %lu\nbtime %lu\nprocesses %lu\n", load.switches,
                (time_realtime_ns() - up) / NSEC_PER_SEC, load.forks);
    proc_printf(&text, "procs_running %u\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
                load.running);
    return (ssize_t)text.length;
}

/* Since the start, and what all processors together were idle of it. */
ssize_t proc_uptime_text(uint64_t key, char *buf, size_t size)
{
    struct kernel *kernel = task_current()->kernel;
    uint64_t up = host_monotonic_ns() - kernel->boot_ns;
    uint64_t idle = up * kernel_cpu_count(kernel), shown;
    struct load load;

    load_get(kernel, &load);
    idle = idle > load.cpu_ns ? idle - load.cpu_ns : 0;
    shown = time_shown(task_current(), CLOCK_BOOTTIME, up);
    return snprintf(buf, size, "%lu.%02lu %lu.%02lu\n", shown / NSEC_PER_SEC,
                    shown / NS_PER_TICK % 100, idle / NSEC_PER_SEC, idle / NS_PER_TICK % 100);
}
