/* /proc/sys: limits and names that programs look up, and those that the sandbox's root may change.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/io.h"
#include "sentry/fs/event/epoll.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/dev/kmsg.h"
#include "sentry/fs/tty/devpts.h"
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/ipc/mqueue.h"
#include "sentry/kernel/ns/ns.h"
#include "sentry/kernel/ipc/msg.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/ipc/shm.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

/*
 * A number that can be changed: `place` is a uint64_t that is read and written whole. As Linux's
 * proc_dointvec_minmax(): one number in any base, white space around it; -EINVAL beyond the bounds.
 */
static int parse_numbers(const char *text, int count, uint64_t *ret)
{
    for (int i = 0; i < count; i++) {
        char *end;

        while (isspace((unsigned char)*text))
            text++;
        if (!isdigit((unsigned char)*text))
            return -EINVAL;
        errno = 0;
        ret[i] = strtoull(text, &end, 0);
        if (errno || (*end && !isspace((unsigned char)*end)))
            return -EINVAL;
        text = end;
    }
    return 0;
}

static int write_number(uint64_t *place, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value;
    int err = parse_numbers(text, 1, &value);

    if (err < 0)
        return err;
    if (value < min || value > max)
        return -EINVAL;
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
    return 0;
}

static ssize_t number_text(const uint64_t *place, char *buf, size_t size)
{
    return snprintf(buf, size, "%lu\n", __atomic_load_n(place, __ATOMIC_RELAXED));
}

#define NUMBER(name, place, min, max)                                                              \
    static ssize_t name##_text(uint64_t key, char *buf, size_t size)                               \
    {                                                                                              \
        return number_text(place, buf, size);                                                      \
    }                                                                                              \
    static int name##_write(uint64_t key, const char *text, size_t size)                           \
    {                                                                                              \
        return write_number(place, text, min, max);                                                \
    }
#define NUMBER_FILE(name_, symbol)                                                                 \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = symbol##_text, .write = symbol##_write      \
    }

static struct ipc_limits *ipc_limits(void)
{
    return &task_ipc_ns(task_current())->limits;
}

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

/* proc_do_uts_string(): up to the first line's end, cut where it is too long. */
static int uts_write(char *name, const char *text)
{
    struct uts_ns *uts = task_uts(task_current());
    size_t length = MIN(strcspn(text, "\n"), (size_t)UTS_NAME_SIZE - 1);

    if (!task_has_ns_cap(task_current(), uts->ns.owner, CAP_SYS_ADMIN))
        return -EPERM;
    lock_acquire(&uts->lock);
    memset(name, 0, UTS_NAME_SIZE);
    memcpy(name, text, length);
    lock_release(&uts->lock);
    return 0;
}

static int hostname_write(uint64_t key, const char *text, size_t size)
{
    return uts_write(task_uts(task_current())->hostname, text);
}

static int domainname_write(uint64_t key, const char *text, size_t size)
{
    return uts_write(task_uts(task_current())->domainname, text);
}

CONSTANT_TEXT(threads_max, "%d", KERNEL_THREADS_MAX)
CONSTANT_TEXT(zero, "%d", 0)
CONSTANT_TEXT(tainted, "%d", 0)
CONSTANT_TEXT(dmesg_restrict, "%d", 0)
CONSTANT_TEXT(randomize_va_space, "%d", 2)
CONSTANT_TEXT(ngroups_max, "%d", 65536)
CONSTANT_TEXT(perf_event_paranoid, "%d", 3)       /* nobody counts: perf_event_open(2) */
CONSTANT_TEXT(unprivileged_bpf_disabled, "%d", 2) /* nobody may: bpf(2) */
CONSTANT_TEXT(cap_last_cap, "%d", 40)
CONSTANT_TEXT(mmap_min_addr, "%lu", PAGE_SIZE * 16)
CONSTANT_TEXT(shm_rmid_forced, "%d", 0)
CONSTANT_TEXT(aio_max_nr, "%d", 65536)
CONSTANT_TEXT(io_uring_group, "%d", -1)
CONSTANT_TEXT(max_user_watches, "%d", EPOLL_WATCHES_MAX)
CONSTANT_TEXT(ctrl_alt_del, "%d", 0)
CONSTANT_TEXT(panic, "%d", 0)
CONSTANT_TEXT(file_max, "%lu", (unsigned long)INT64_MAX)
CONSTANT_TEXT(pipe_user_pages_soft, "%d", PIPE_PAGES_SOFT)

NUMBER(overcommit_memory, &mm_tunables.overcommit, MM_OVERCOMMIT_GUESS, MM_OVERCOMMIT_NEVER)
NUMBER(overcommit_ratio, &mm_tunables.overcommit_ratio, 0, INT32_MAX)
NUMBER(overcommit_kbytes, &mm_tunables.overcommit_kbytes, 0, UINT64_MAX / 1024)
NUMBER(max_map_count, &mm_tunables.max_map_count, 0, INT32_MAX)
NUMBER(io_uring_disabled, &task_current()->kernel->uring_disabled, 0, 2)
NUMBER(shmall, &ipc_limits()->shm_pages, 0, UINT64_MAX)
NUMBER(shmmax, &ipc_limits()->shm_size, 0, UINT64_MAX)
NUMBER(shmmni, &ipc_limits()->shm_count, 0, IPC_COUNT_MAX)
/* Linux takes any int; one message is kept in one piece here. */
NUMBER(msgmax, &ipc_limits()->msg_size, 0, 16 << 20)
NUMBER(msgmnb, &ipc_limits()->msg_queue_bytes, 0, INT32_MAX)
NUMBER(msgmni, &ipc_limits()->msg_count, 0, IPC_COUNT_MAX)
NUMBER(mq_queues_max, &ipc_limits()->mq_queues, 0, INT32_MAX)
NUMBER(mq_msg_max, &ipc_limits()->mq_messages, 1, MQ_MSG_HARD_MAX)
NUMBER(mq_msgsize_max, &ipc_limits()->mq_size, 128, MQ_MSGSIZE_HARD_MAX)
NUMBER(mq_msg_default, &ipc_limits()->mq_messages_default, 1, MQ_MSG_HARD_MAX)
NUMBER(mq_msgsize_default, &ipc_limits()->mq_size_default, 128, MQ_MSGSIZE_HARD_MAX)
NUMBER(nr_open, &fdtable_nr_open, 64, FDTABLE_NR_OPEN_MAX)

static ssize_t next_id_text(enum ipc_kind kind, char *buf, size_t size)
{
    uint64_t id = ipc_limit(&task_ipc_ns(task_current())->tables[kind].next_id);

    return snprintf(buf, size, "%d\n", (int32_t)id);
}

#define NEXT_ID(name, kind)                                                                        \
    static ssize_t name##_text(uint64_t key, char *buf, size_t size)                               \
    {                                                                                              \
        return next_id_text(kind, buf, size);                                                      \
    }                                                                                              \
    static int name##_write(uint64_t key, const char *text, size_t size)                           \
    {                                                                                              \
        return write_number(&task_ipc_ns(task_current())->tables[kind].next_id, text, 0,           \
                            INT32_MAX);                                                            \
    }
NEXT_ID(msg_next_id, IPC_KIND_MSG)
NEXT_ID(sem_next_id, IPC_KIND_SEM)
NEXT_ID(shm_next_id, IPC_KIND_SHM)

/* pipe-max-size: round_pipe_size(). */
static ssize_t pipe_max_size_text(uint64_t key, char *buf, size_t size)
{
    return number_text(&pipe_size_max, buf, size);
}

static int pipe_max_size_write(uint64_t key, const char *text, size_t size)
{
    uint64_t value, rounded = PAGE_SIZE;
    int err = parse_numbers(text, 1, &value);

    if (err < 0)
        return err;
    if (value > 1UL << 31)
        return -EINVAL;
    while (rounded < value)
        rounded *= 2;
    __atomic_store_n(&pipe_size_max, rounded, __ATOMIC_RELAXED);
    return 0;
}

static ssize_t sem_text(uint64_t key, char *buf, size_t size)
{
    const struct ipc_limits *l = ipc_limits();

    return snprintf(buf, size, "%lu\t%lu\t%lu\t%lu\n", ipc_limit(&l->sem_per_set),
                    ipc_limit(&l->sem_total), ipc_limit(&l->sem_ops), ipc_limit(&l->sem_sets));
}

static int sem_write(uint64_t key, const char *text, size_t size)
{
    struct ipc_limits *l = ipc_limits();
    uint64_t v[4];
    int err = parse_numbers(text, 4, v);

    if (err < 0)
        return err;
    if (v[0] > SEM_MAX_PER_SET || v[1] > SEM_MAX_TOTAL || v[2] > SEM_MAX_PER_SET ||
        v[3] > IPC_COUNT_MAX)
        return -EINVAL;
    __atomic_store_n(&l->sem_per_set, v[0], __ATOMIC_RELAXED);
    __atomic_store_n(&l->sem_total, v[1], __ATOMIC_RELAXED);
    __atomic_store_n(&l->sem_ops, v[2], __ATOMIC_RELAXED);
    __atomic_store_n(&l->sem_sets, v[3], __ATOMIC_RELAXED);
    return 0;
}

/* Only the console's level means anything here; the others are what Linux starts with. */
static ssize_t printk_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%d\t4\t1\t7\n", kmsg_console_level());
}

static int printk_write(uint64_t key, const char *text, size_t size)
{
    uint64_t level;
    int err = parse_numbers(text, 1, &level);

    if (err < 0)
        return err;
    if (!task_has_cap(task_current(), CAP_SYS_ADMIN))
        return -EPERM;
    kmsg_set_console_level((int)MIN(level, (uint64_t)INT32_MAX));
    return 0;
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

/* One for the life of the sandbox. */
static ssize_t boot_id_text(uint64_t key, char *buf, size_t size)
{
    static struct lock lock = LOCK_INIT;
    static char id[40] __guarded_by(lock);
    ssize_t n = 0;

    lock_acquire(&lock);
    if (!id[0])
        n = uuid_text(key, id, sizeof(id));
    if (n >= 0)
        n = snprintf(buf, size, "%s", id);
    lock_release(&lock);
    return n;
}

static const struct tree_node random_nodes[] = {
    TREE_TEXT("boot_id", boot_id_text), TREE_FIXED("entropy_avail", "256\n"),
    TREE_FIXED("poolsize", "256\n"),    TREE_FIXED("urandom_min_reseed_secs", "60\n"),
    TREE_TEXT("uuid", uuid_text),       TREE_FIXED("write_wakeup_threshold", "256\n"),
};

static ssize_t pty_count_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%u\n", devpts_count());
}

CONSTANT_TEXT(pty_max, "%d", DEVPTS_MAX)

static const struct tree_node pty_nodes[] = {
    TREE_TEXT("max", pty_max_text),
    TREE_TEXT("nr", pty_count_text),
    TREE_FIXED("reserve", "0\n"),
};

static const struct tree_node seccomp_nodes[] = {
    TREE_TEXT("actions_avail", actions_avail_text),
    TREE_TEXT("actions_logged", actions_logged_text),
};

NUMBER(key_gc_delay, &key_limits.gc_delay, 0, INT32_MAX)
NUMBER(key_maxbytes, &key_limits.bytes, 0, INT32_MAX)
NUMBER(key_maxkeys, &key_limits.keys, 0, INT32_MAX)
NUMBER(key_root_maxbytes, &key_limits.root_bytes, 0, INT32_MAX)
NUMBER(key_root_maxkeys, &key_limits.root_keys, 0, INT32_MAX)

static const struct tree_node key_nodes[] = {
    NUMBER_FILE("gc_delay", key_gc_delay),         NUMBER_FILE("maxbytes", key_maxbytes),
    NUMBER_FILE("maxkeys", key_maxkeys),           NUMBER_FILE("root_maxbytes", key_root_maxbytes),
    NUMBER_FILE("root_maxkeys", key_root_maxkeys),
};

/* What can be set elsewhere and means nothing here is read-only, and says how things are. */
static const struct tree_node kernel_nodes[] = {
    TREE_FIXED("arch", "x86_64\n"),
    TREE_FIXED("auto_msgmni", "0\n"),
    TREE_TEXT("cap_last_cap", cap_last_cap_text),
    {.name = "core_pattern",
     .mode = S_IFREG | 0644,
     .text = proc_core_pattern_text,
     .write = proc_core_pattern_write},
    {.name = "core_uses_pid",
     .mode = S_IFREG | 0644,
     .text = proc_core_uses_pid_text,
     .write = proc_core_uses_pid_write},
    TREE_FIXED("core_pipe_limit", "0\n"),
    TREE_TEXT("ctrl-alt-del", ctrl_alt_del_text),
    TREE_TEXT("dmesg_restrict", dmesg_restrict_text),
    NUMBER_FILE("domainname", domainname),
    NUMBER_FILE("hostname", hostname),
    NUMBER_FILE("io_uring_disabled", io_uring_disabled),
    TREE_TEXT("io_uring_group", io_uring_group_text),
    TREE_FIXED("kexec_load_disabled", "1\n"),
    TREE_DIR("keys", key_nodes),
    TREE_FIXED("kptr_restrict", "2\n"),
    TREE_FIXED("modules_disabled", "1\n"),
    NUMBER_FILE("msg_next_id", msg_next_id),
    NUMBER_FILE("msgmax", msgmax),
    NUMBER_FILE("msgmnb", msgmnb),
    NUMBER_FILE("msgmni", msgmni),
    TREE_TEXT("ngroups_max", ngroups_max_text),
    TREE_FIXED("numa_balancing", "0\n"),
    TREE_TEXT("osrelease", osrelease_text),
    TREE_TEXT("ostype", ostype_text),
    TREE_FIXED("overflowgid", "65534\n"),
    TREE_FIXED("overflowuid", "65534\n"),
    TREE_TEXT("panic", panic_text),
    TREE_FIXED("panic_on_oops", "1\n"),
    TREE_TEXT("perf_event_paranoid", perf_event_paranoid_text),
    {.name = "ns_last_pid",
     .mode = S_IFREG | 0666,
     .text = proc_ns_last_pid_text,
     .write = proc_ns_last_pid_write},
    {.name = "pid_max",
     .mode = S_IFREG | 0644,
     .text = proc_pid_max_text,
     .write = proc_pid_max_write},
    TREE_FIXED("print-fatal-signals", "0\n"),
    TREE_DIR("pty", pty_nodes),
    TREE_DIR("random", random_nodes),
    NUMBER_FILE("printk", printk),
    TREE_TEXT("randomize_va_space", randomize_va_space_text),
    TREE_FIXED("sched_rr_timeslice_ms", "100\n"),
    TREE_FIXED("sched_rt_period_us", "1000000\n"),
    TREE_FIXED("sched_rt_runtime_us", "-1\n"),
    NUMBER_FILE("sem", sem),
    NUMBER_FILE("sem_next_id", sem_next_id),
    NUMBER_FILE("shm_next_id", shm_next_id),
    TREE_TEXT("shm_rmid_forced", shm_rmid_forced_text),
    NUMBER_FILE("shmall", shmall),
    NUMBER_FILE("shmmax", shmmax),
    NUMBER_FILE("shmmni", shmmni),
    TREE_DIR("seccomp", seccomp_nodes),
    TREE_FIXED("sysctl_writes_strict", "1\n"),
    TREE_TEXT("tainted", tainted_text),
    TREE_TEXT("threads-max", threads_max_text),
    TREE_TEXT("unprivileged_bpf_disabled", unprivileged_bpf_disabled_text),
    TREE_TEXT("version", version_text),
};

/* Everything that caches hold is given back: 1 to 4 alike. */
static int drop_caches_write(uint64_t key, const char *text, size_t size)
{
    uint64_t value;
    int err = parse_numbers(text, 1, &value);

    if (err < 0)
        return err;
    if (value < 1 || value > 4)
        return -EINVAL;
    pagecache_reclaim();
    return 0;
}

/* As on a machine whose memory is in pieces: one may ask for huge pages, and there are none. */
static ssize_t huge_pool_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "0\n");
}

static int huge_pool_write(uint64_t key, const char *text, size_t size)
{
    uint64_t wanted;

    return parse_numbers(text, 1, &wanted);
}

#define HUGE_POOL(name_)                                                                           \
    {                                                                                              \
        .name = name_, .mode = S_IFREG | 0644, .text = huge_pool_text, .write = huge_pool_write    \
    }

static const struct tree_node vm_nodes[] = {
    TREE_FIXED("admin_reserve_kbytes", "0\n"),
    TREE_FIXED("dirty_background_bytes", "0\n"),
    TREE_FIXED("dirty_background_ratio", "0\n"),
    TREE_FIXED("dirty_bytes", "0\n"),
    TREE_FIXED("dirty_expire_centisecs", "0\n"),
    TREE_FIXED("dirty_ratio", "0\n"),
    TREE_FIXED("dirty_writeback_centisecs", "0\n"),
    {.name = "drop_caches", .mode = S_IFREG | 0200, .write = drop_caches_write},
    TREE_FIXED("hugetlb_shm_group", "0\n"),
    TREE_FIXED("legacy_va_layout", "0\n"),
    NUMBER_FILE("max_map_count", max_map_count),
    TREE_FIXED("memfd_noexec", "0\n"),
    TREE_FIXED("min_free_kbytes", "0\n"),
    TREE_TEXT("mmap_min_addr", mmap_min_addr_text),
    TREE_FIXED("mmap_rnd_bits", "28\n"),
    HUGE_POOL("nr_hugepages"),
    HUGE_POOL("nr_overcommit_hugepages"),
    TREE_FIXED("oom_dump_tasks", "0\n"),
    TREE_FIXED("oom_kill_allocating_task", "1\n"),
    NUMBER_FILE("overcommit_memory", overcommit_memory),
    NUMBER_FILE("overcommit_kbytes", overcommit_kbytes),
    NUMBER_FILE("overcommit_ratio", overcommit_ratio),
    TREE_FIXED("page-cluster", "0\n"),
    TREE_FIXED("panic_on_oom", "0\n"),
    TREE_FIXED("stat_interval", "1\n"),
    TREE_FIXED("swappiness", "0\n"),
    TREE_FIXED("unprivileged_userfaultfd", "0\n"),
    TREE_FIXED("user_reserve_kbytes", "0\n"),
    TREE_FIXED("vfs_cache_pressure", "100\n"),
    TREE_FIXED("zone_reclaim_mode", "0\n"),
};

static const struct tree_node mqueue_nodes[] = {
    NUMBER_FILE("msg_default", mq_msg_default),         NUMBER_FILE("msg_max", mq_msg_max),
    NUMBER_FILE("msgsize_default", mq_msgsize_default), NUMBER_FILE("msgsize_max", mq_msgsize_max),
    NUMBER_FILE("queues_max", mq_queues_max),
};

static const struct tree_node epoll_nodes[] = {
    TREE_TEXT("max_user_watches", max_user_watches_text),
};

/* Open files; none are kept for later; how many there may be. */
static ssize_t file_nr_text(uint64_t key, char *buf, size_t size)
{
    return snprintf(buf, size, "%u\t0\t%ld\n", file_count(), INT64_MAX);
}

static const struct tree_node fs_nodes[] = {
    TREE_DIR("mqueue", mqueue_nodes),
    TREE_TEXT("aio-max-nr", aio_max_nr_text),
    TREE_DIR("epoll", epoll_nodes),
    TREE_FIXED("dir-notify-enable", "1\n"),
    TREE_TEXT("file-max", file_max_text),
    TREE_TEXT("file-nr", file_nr_text),
    TREE_DIR("fanotify", proc_fanotify_nodes),
    TREE_DIR("inotify", proc_inotify_nodes),
    {.name = "lease-break-time",
     .mode = S_IFREG | 0644,
     .text = proc_lease_break_time_text,
     .write = proc_lease_break_time_write},
    TREE_FIXED("leases-enable", "1\n"),
    {.name = "mount-max",
     .mode = S_IFREG | 0644,
     .text = proc_mount_max_text,
     .write = proc_mount_max_write},
    NUMBER_FILE("nr_open", nr_open),
    NUMBER_FILE("pipe-max-size", pipe_max_size),
    TREE_TEXT("pipe-user-pages-hard", zero_text),
    TREE_TEXT("pipe-user-pages-soft", pipe_user_pages_soft_text),
    TREE_FIXED("overflowgid", "65534\n"),
    TREE_FIXED("overflowuid", "65534\n"),
    TREE_FIXED("protected_fifos", "0\n"),
    TREE_FIXED("protected_hardlinks", "0\n"),
    TREE_FIXED("protected_regular", "0\n"),
    TREE_FIXED("protected_symlinks", "0\n"),
    TREE_FIXED("suid_dumpable", "0\n"),
};

const struct tree_node proc_sys_nodes[5] = {
    TREE_DIR("fs", fs_nodes),
    TREE_DIR("kernel", kernel_nodes),
    TREE_DIR("net", proc_sys_net_nodes),
    TREE_DIR("user", proc_sys_user_nodes),
    TREE_DIR("vm", vm_nodes),
};
