/* /proc/sys: limits and names that programs look up. All can only be read. */
#include <stdio.h>
#include <string.h>

#include "host/io.h"
#include "sentry/fs/event/epoll.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/dev/kmsg.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/key.h"
#include "sentry/kernel/mqueue.h"
#include "sentry/kernel/ns.h"
#include "sentry/kernel/msg.h"
#include "sentry/kernel/sem.h"
#include "sentry/kernel/shm.h"

#define NR_OPEN       (1 << 20)
#define MAX_MAP_COUNT 65530 /* what Linux allows; the Sentry has no limit of its own */

#define CONSTANT_TEXT(name, fmt, value)                                                            \
    static ssize_t name##_text(uint64_t key, char *buf, size_t size)                               \
    {                                                                                              \
        return snprintf(buf, size, fmt "\n", value);                                               \
    }

CONSTANT_TEXT(ostype, "%s", "Linux")
CONSTANT_TEXT(osrelease, "%s", task_current()->kernel->release)
CONSTANT_TEXT(version, "%s", task_current()->kernel->version)

/* Those of the caller's namespace. */
static ssize_t uts_text(const char *name, char *buf, size_t size)
{
    struct uts_ns *uts = task_uts(task_current());
    ssize_t n;

    lock_acquire(&uts->lock);
    n = snprintf(buf, size, "%s\n", name);
    lock_release(&uts->lock);
    return n;
}

static ssize_t hostname_text(uint64_t key, char *buf, size_t size)
{
    return uts_text(task_uts(task_current())->hostname, buf, size);
}

static ssize_t domainname_text(uint64_t key, char *buf, size_t size)
{
    return uts_text(task_uts(task_current())->domainname, buf, size);
}

CONSTANT_TEXT(pid_max, "%d", KERNEL_PID_MAX)
CONSTANT_TEXT(threads_max, "%d", KERNEL_THREADS_MAX)
CONSTANT_TEXT(zero, "%d", 0)
CONSTANT_TEXT(tainted, "%d", 0)
CONSTANT_TEXT(printk, "%d\t4\t1\t7", kmsg_console_level())
CONSTANT_TEXT(dmesg_restrict, "%d", 0)
CONSTANT_TEXT(randomize_va_space, "%d", 2)
CONSTANT_TEXT(ngroups_max, "%d", 65536)
CONSTANT_TEXT(perf_event_paranoid, "%d", 3)       /* nobody counts: perf_event_open(2) */
CONSTANT_TEXT(unprivileged_bpf_disabled, "%d", 2) /* nobody may: bpf(2) */
CONSTANT_TEXT(cap_last_cap, "%d", 40)
CONSTANT_TEXT(overcommit_memory, "%d", 0)
CONSTANT_TEXT(overcommit_ratio, "%d", 50)
CONSTANT_TEXT(max_map_count, "%d", MAX_MAP_COUNT)
CONSTANT_TEXT(mmap_min_addr, "%lu", PAGE_SIZE * 16)
CONSTANT_TEXT(msgmax, "%d", MSG_MAX_SIZE)
CONSTANT_TEXT(msgmnb, "%d", MSG_MAX_QUEUE)
CONSTANT_TEXT(msgmni, "%d", MSG_MAX_COUNT)
CONSTANT_TEXT(shmall, "%lu", SHM_MAX_PAGES)
CONSTANT_TEXT(shmmax, "%lu", SHM_MAX_SIZE)
CONSTANT_TEXT(shmmni, "%d", SHM_MAX_COUNT)
CONSTANT_TEXT(shm_rmid_forced, "%d", 0)
CONSTANT_TEXT(mq_queues_max, "%d", MQ_QUEUES_MAX)
CONSTANT_TEXT(mq_msg_max, "%d", MQ_MSG_MAX)
CONSTANT_TEXT(mq_msgsize_max, "%d", MQ_MSGSIZE_MAX)
CONSTANT_TEXT(mq_msg_default, "%d", MQ_MSG_DEFAULT)
CONSTANT_TEXT(mq_msgsize_default, "%d", MQ_MSGSIZE_DEFAULT)
CONSTANT_TEXT(aio_max_nr, "%d", 65536)
CONSTANT_TEXT(io_uring_group, "%d", -1)
CONSTANT_TEXT(max_user_watches, "%d", EPOLL_WATCHES_MAX)
CONSTANT_TEXT(nr_open, "%d", NR_OPEN)
CONSTANT_TEXT(core_pattern, "%s", "|/bin/false") /* nothing is dumped: core(5) */
CONSTANT_TEXT(core_uses_pid, "%d", 0)
CONSTANT_TEXT(ctrl_alt_del, "%d", 0)
CONSTANT_TEXT(panic, "%d", 0)
CONSTANT_TEXT(file_max, "%lu", (unsigned long)INT64_MAX)
CONSTANT_TEXT(pipe_max_size, "%d", PIPE_SIZE_MAX)
CONSTANT_TEXT(pipe_user_pages_soft, "%d", PIPE_PAGES_SOFT)

static ssize_t sem_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%d\t%d\t%d\t%d\n", SEM_MAX_PER_SET, SEM_MAX_TOTAL, SEM_MAX_OPS,
                    SEM_MAX_SETS);
}

#define SECCOMP_ACTIONS "kill_process kill_thread trap errno user_notif trace log"
CONSTANT_TEXT(actions_avail, "%s", SECCOMP_ACTIONS " allow")
CONSTANT_TEXT(actions_logged, "%s", SECCOMP_ACTIONS)

/* Sixteen random bytes in the form of a version 4 UUID. */
static ssize_t uuid_text(uint64_t key, char *buf, size_t size)
{
    uint8_t b[16];
    int err = host_random(b, sizeof(b));

    if (err < 0)
        return err;
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    return snprintf(buf, size,
                    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0],
                    b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                    b[13], b[14], b[15]);
}

static const struct tree_node random_nodes[] = {TREE_TEXT("uuid", uuid_text)};

static const struct tree_node seccomp_nodes[] = {
    TREE_TEXT("actions_avail", actions_avail_text),
    TREE_TEXT("actions_logged", actions_logged_text),
};

CONSTANT_TEXT(key_gc_delay, "%d", KEY_GC_DELAY)
CONSTANT_TEXT(key_maxbytes, "%d", KEY_MAXBYTES)
CONSTANT_TEXT(key_maxkeys, "%d", KEY_MAXKEYS)
CONSTANT_TEXT(key_root_maxbytes, "%d", KEY_ROOT_MAXBYTES)
CONSTANT_TEXT(key_root_maxkeys, "%d", KEY_ROOT_MAXKEYS)

static const struct tree_node key_nodes[] = {
    TREE_TEXT("gc_delay", key_gc_delay_text),
    TREE_TEXT("maxbytes", key_maxbytes_text),
    TREE_TEXT("maxkeys", key_maxkeys_text),
    TREE_TEXT("root_maxbytes", key_root_maxbytes_text),
    TREE_TEXT("root_maxkeys", key_root_maxkeys_text),
};

static const struct tree_node kernel_nodes[] = {
    TREE_TEXT("cap_last_cap", cap_last_cap_text),
    TREE_TEXT("core_pattern", core_pattern_text),
    TREE_TEXT("core_uses_pid", core_uses_pid_text),
    TREE_TEXT("ctrl-alt-del", ctrl_alt_del_text),
    TREE_TEXT("dmesg_restrict", dmesg_restrict_text),
    TREE_TEXT("domainname", domainname_text),
    TREE_TEXT("hostname", hostname_text),
    TREE_TEXT("io_uring_disabled", zero_text),
    TREE_TEXT("io_uring_group", io_uring_group_text),
    TREE_DIR("keys", key_nodes),
    TREE_TEXT("msgmax", msgmax_text),
    TREE_TEXT("msgmnb", msgmnb_text),
    TREE_TEXT("msgmni", msgmni_text),
    TREE_TEXT("ngroups_max", ngroups_max_text),
    TREE_TEXT("osrelease", osrelease_text),
    TREE_TEXT("ostype", ostype_text),
    TREE_TEXT("panic", panic_text),
    TREE_TEXT("perf_event_paranoid", perf_event_paranoid_text),
    TREE_TEXT("pid_max", pid_max_text),
    TREE_DIR("random", random_nodes),
    TREE_TEXT("printk", printk_text),
    TREE_TEXT("randomize_va_space", randomize_va_space_text),
    TREE_TEXT("sem", sem_text),
    TREE_TEXT("shm_rmid_forced", shm_rmid_forced_text),
    TREE_TEXT("shmall", shmall_text),
    TREE_TEXT("shmmax", shmmax_text),
    TREE_TEXT("shmmni", shmmni_text),
    TREE_DIR("seccomp", seccomp_nodes),
    TREE_TEXT("tainted", tainted_text),
    TREE_TEXT("threads-max", threads_max_text),
    TREE_TEXT("unprivileged_bpf_disabled", unprivileged_bpf_disabled_text),
    TREE_TEXT("version", version_text),
};

static const struct tree_node vm_nodes[] = {
    TREE_TEXT("max_map_count", max_map_count_text),
    TREE_TEXT("mmap_min_addr", mmap_min_addr_text),
    TREE_TEXT("overcommit_memory", overcommit_memory_text),
    TREE_TEXT("overcommit_ratio", overcommit_ratio_text),
};

static const struct tree_node mqueue_nodes[] = {
    TREE_TEXT("msg_default", mq_msg_default_text),
    TREE_TEXT("msg_max", mq_msg_max_text),
    TREE_TEXT("msgsize_default", mq_msgsize_default_text),
    TREE_TEXT("msgsize_max", mq_msgsize_max_text),
    TREE_TEXT("queues_max", mq_queues_max_text),
};

static const struct tree_node epoll_nodes[] = {
    TREE_TEXT("max_user_watches", max_user_watches_text),
};

static const struct tree_node fs_nodes[] = {
    TREE_DIR("mqueue", mqueue_nodes),
    TREE_TEXT("aio-max-nr", aio_max_nr_text),
    TREE_DIR("epoll", epoll_nodes),
    TREE_TEXT("file-max", file_max_text),
    TREE_TEXT("nr_open", nr_open_text),
    TREE_TEXT("pipe-max-size", pipe_max_size_text),
    TREE_TEXT("pipe-user-pages-hard", zero_text),
    TREE_TEXT("pipe-user-pages-soft", pipe_user_pages_soft_text),
};

const struct tree_node proc_sys_nodes[4] = {
    TREE_DIR("fs", fs_nodes),
    TREE_DIR("kernel", kernel_nodes),
    TREE_DIR("user", proc_sys_user_nodes),
    TREE_DIR("vm", vm_nodes),
};
