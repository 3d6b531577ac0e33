/* About the system: uname(2), sysinfo(2), getrandom(2), getcpu(2). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "host/io.h"
#include "host/thread.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/load.h"
#include "sentry/kernel/ns/ns.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/ns/timens.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define RANDOM_CHUNK 4096UL
#define RANDOM_MAX   0x7ffff000UL /* MAX_RW_COUNT */

static void put_name(char *field, size_t size, const char *value)
{
    size_t length = strnlen(value, size - 1);

    memcpy(field, value, length);
    field[length] = 0;
}

SYSCALL_DEFINE1(uname, uaddr_t, buf)
{
    const struct kernel *kernel = task->kernel;
    struct uts_ns *uts = task_uts(task);
    struct utsname name = {.sysname = "Linux", .machine = "x86_64"};

    lock_acquire(&uts->lock);
    put_name(name.nodename, sizeof(name.nodename), uts->hostname);
    put_name(name.domainname, sizeof(name.domainname), uts->domainname);
    lock_release(&uts->lock);
    put_name(name.release, sizeof(name.release), kernel->release);
    put_name(name.version, sizeof(name.version), kernel->version);
    if ((task->personality & PER_MASK) == PER_LINUX32) /* as where CONFIG_COMPAT is on */
        put_name(name.machine, sizeof(name.machine), "i686");
    if (task->personality & 0x0020000) /* UNAME26 */
        put_name(name.release, sizeof(name.release), "2.6.78");
    return copy_to_user(task->mm, buf, &name, sizeof(name));
}

SYSCALL_DEFINE1(sysinfo, uaddr_t, buf)
{
    struct kernel *kernel = task->kernel;
    struct memfile_stats memory;
    struct sysinfo info = {.mem_unit = 1};
    struct load load;

    memfile_get_stats(kernel->mm_env->memfile, &memory);
    info.uptime = (long)(time_shown(task, CLOCK_BOOTTIME, time_monotonic_ns() - kernel->boot_ns) /
                         NSEC_PER_SEC) +
                  1; /* up */
    info.totalram = memory.limit;
    info.freeram = MIN(memory.limit, memory.limit - memory.allocated + pagecache_reserved());
    load_get(kernel, &load);
    info.procs = (unsigned short)MIN(load.tasks, 0xffffu);
    for (int i = 0; i < 3; i++)
        info.loads[i] = load.average[i] << (SI_LOAD_SHIFT - LOAD_SHIFT);
    return copy_to_user(task->mm, buf, &info, sizeof(info));
}

SYSCALL_DEFINE3(getrandom, uaddr_t, buf, uint64_t, count, unsigned, flags)
{
    uint8_t *chunk;
    uint64_t done = 0;
    int error = 0;

    if (flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) ||
        (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
        return -EINVAL;
    count = MIN(count, RANDOM_MAX);
    if (count == 0)
        return 0;
    chunk = malloc(RANDOM_CHUNK);
    if (!chunk)
        return -ENOMEM;
    while (done < count && error == 0) {
        size_t size = MIN(count - done, RANDOM_CHUNK), copied;

        error = host_random(chunk, size);
        if (error < 0)
            break;
        copied = copy_to_user_partial(task->mm, buf + done, chunk, size);
        done += copied;
        if (copied < size)
            error = -EFAULT;
        else if (done < count && task_interrupted(task))
            error = -EINTR;
    }
    explicit_bzero(chunk, RANDOM_CHUNK);
    free(chunk);
    return done > 0 ? (long)done : error;
}

SYSCALL_DEFINE2(getcpu, uaddr_t, cpu_ptr, uaddr_t, node_ptr)
{
    unsigned cpu, node;

    host_getcpu(&cpu, &node);
    if (cpu_ptr && copy_to_user(task->mm, cpu_ptr, &cpu, sizeof(cpu)) < 0)
        return -EFAULT;
    if (node_ptr && copy_to_user(task->mm, node_ptr, &node, sizeof(node)) < 0)
        return -EFAULT;
    return 0;
}
