/* /proc/sys/kernel: what the system is called, and limits that its root may change. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "host/io.h"
#include "sentry/fs/dev/kmsg.h"
#include "sentry/fs/proc/sys/number.h"
#include "sentry/fs/tty/devpts.h"
#include "sentry/kernel/ipc/msg.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/ipc/shm.h"
#include "sentry/kernel/keys/key.h"

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
CONSTANT_TEXT(tainted, "%d", 0)
CONSTANT_TEXT(dmesg_restrict, "%d", 0)
CONSTANT_TEXT(randomize_va_space, "%d", 2)
CONSTANT_TEXT(ngroups_max, "%d", 65536)
CONSTANT_TEXT(perf_event_paranoid, "%d", 3)       /* nobody counts: perf_event_open(2) */
CONSTANT_TEXT(unprivileged_bpf_disabled, "%d", 2) /* nobody may: bpf(2) */
CONSTANT_TEXT(cap_last_cap, "%d", 40)
CONSTANT_TEXT(shm_rmid_forced, "%d", 0)
CONSTANT_TEXT(io_uring_group, "%d", -1)
CONSTANT_TEXT(ctrl_alt_del, "%d", 0)
CONSTANT_TEXT(panic, "%d", 0)

NUMBER(io_uring_disabled, &task_current()->kernel->uring_disabled, 0, 2)
NUMBER(shmall, &proc_ipc_limits()->shm_pages, 0, UINT64_MAX)
NUMBER(shmmax, &proc_ipc_limits()->shm_size, 0, UINT64_MAX)
NUMBER(shmmni, &proc_ipc_limits()->shm_count, 0, IPC_COUNT_MAX)
/* Linux takes any int; one message is kept in one piece here. */
NUMBER(msgmax, &proc_ipc_limits()->msg_size, 0, 16 << 20)
NUMBER(msgmnb, &proc_ipc_limits()->msg_queue_bytes, 0, INT32_MAX)
NUMBER(msgmni, &proc_ipc_limits()->msg_count, 0, IPC_COUNT_MAX)

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
        return proc_write_number(&task_ipc_ns(task_current())->tables[kind].next_id, text, 0,      \
                                 INT32_MAX);                                                       \
    }
NEXT_ID(msg_next_id, IPC_KIND_MSG)
NEXT_ID(sem_next_id, IPC_KIND_SEM)
NEXT_ID(shm_next_id, IPC_KIND_SHM)

static ssize_t sem_text(uint64_t key, char *buf, size_t size)
{
    const struct ipc_limits *l = proc_ipc_limits();

    return snprintf(buf, size, "%lu\t%lu\t%lu\t%lu\n", ipc_limit(&l->sem_per_set),
                    ipc_limit(&l->sem_total), ipc_limit(&l->sem_ops), ipc_limit(&l->sem_sets));
}

static int sem_write(uint64_t key, const char *text, size_t size)
{
    struct ipc_limits *l = proc_ipc_limits();
    uint64_t v[4];
    int err = proc_parse_numbers(text, 4, v);

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
    int err = proc_parse_numbers(text, 1, &level);

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
const struct tree_node proc_sys_kernel_nodes[PROC_SYS_KERNEL_NODES] = {
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
