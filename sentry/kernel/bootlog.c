/* What dmesg(1) shows first: the Sentry's account of how it came up. All of it is true. */
#include "sentry/kernel/bootlog.h"

#include "platform/memfile.h"
#include "sentry/fs/dev/kmsg.h"
#include "sentry/kernel/kernel.h"

void bootlog_write(struct kernel *kernel)
{
    struct memfile_stats memory;
    unsigned cpus = kernel_cpu_count(kernel);

    memfile_get_stats(kernel->mm_env->memfile, &memory);
    kmsg_printf(LOG_NOTICE, "Linux version %s (kvmsentry) %s", kernel->release, kernel->version);
    kmsg_printf(LOG_INFO, "boot: no firmware, no boot loader, no regrets");
    kmsg_printf(LOG_INFO, "platform: %s; the hardware is somebody else's",
                kernel->platform->ops->name);
    kmsg_printf(LOG_INFO, "cpu: %u processor%s on loan, no deposit paid", cpus,
                cpus == 1 ? "" : "s");
    kmsg_printf(LOG_INFO, "memory: %lu MiB promised, %lu KiB of it real so far", memory.limit >> 20,
                memory.allocated >> 10);
    kmsg_printf(LOG_INFO, "time: %s",
                kernel->vdso ? "vDSO wound up; ask it, not us"
                             : "no vDSO; please take a number and queue");
    kmsg_printf(LOG_INFO, "fast path: %s",
                kernel->no_fastpath || kernel->strace.on
                    ? "closed, every call comes to the counter"
                    : "open for calls that have nothing to declare");
    kmsg_printf(LOG_INFO, "pid 1: taken by the management");
    kmsg_printf(LOG_INFO, "jail: the bars go up before the first guest comes in");
}

void bootlog_init_starts(const char *path, int pid)
{
    kmsg_printf(LOG_INFO, "init: %s is pid %d and believes it has a machine to itself", path, pid);
}
