#include "runtime/stats.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "platform/kvm/kvm.h"
#include "platform/memfile.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/load.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

static void line(const char *name, uint64_t value)
{
    char text[128];
    int size = snprintf(text, sizeof(text), "kvmsentry: stats: %s %" PRIu64, name, value);

    log_raw(text, (size_t)size);
}

void stats_log(struct platform *platform, struct memfile *memfile, struct kernel *kernel)
{
    struct memfile_stats memory;
    struct load load;
    uint64_t exits;

    if (platform->ops == &kvm_platform_ops) {
        if (kvm_platform_exits(platform, &exits) == 0)
            line("KVM exits", exits);
    } else {
        line("stops", __atomic_load_n(&platform->stops, __ATOMIC_RELAXED));
    }
    line("calls served inside", __atomic_load_n(&platform->calls_inside, __ATOMIC_RELAXED));
    mm_await_burials();
    memfile_get_stats(memfile, &memory);
    line("guest memory allocated, bytes", memory.allocated);
    line("guest memory extent, bytes", memory.extent);
    load_get(kernel, &load);
    line("tasks made", load.forks);
    line("tasks alive", load.tasks);
    line("files open", file_count());
    line("signals queued and POSIX timers", user_all_signals(&kernel->users));
}
