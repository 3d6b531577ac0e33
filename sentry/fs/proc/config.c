/*
 * /proc/config.gz: programs and test-suites look up there what the kernel has. The gzip file of RFC
 * 1952 with one stored block (RFC 1951): it is short, and nothing here compresses.
 */
#include <string.h>

#include "base/bug.h"
#include "sentry/fs/proc/internal.h"

static const char has[] =
    "64BIT X86_64 MMU SMP HIGH_RES_TIMERS SYSVIPC SYSVIPC_SYSCTL POSIX_MQUEUE POSIX_MQUEUE_SYSCTL "
    "CROSS_MEMORY_ATTACH MULTIUSER POSIX_TIMERS PRINTK FUTEX FUTEX_PI EPOLL SIGNALFD TIMERFD "
    "EVENTFD "
    "SHMEM AIO IO_URING ADVISE_SYSCALLS MEMBARRIER KCMP RSEQ CACHESTAT_SYSCALL USERFAULTFD "
    "MEMFD_CREATE SECRETMEM KSM HUGETLBFS HUGETLB_PAGE NAMESPACES UTS_NS IPC_NS TIME_NS USER_NS "
    "PID_NS NET_NS KEYS BIG_KEYS SECCOMP "
    "SECCOMP_FILTER UNIX98_PTYS PROC_FS PROC_SYSCTL PROC_PAGE_MONITOR SYSFS TMPFS TMPFS_XATTR "
    "FILE_LOCKING FHANDLE DNOTIFY INOTIFY_USER FANOTIFY BINFMT_ELF BINFMT_SCRIPT NET UNIX INET "
    "IPV6 "
    "IKCONFIG IKCONFIG_PROC";
static const char lacks[] = "MODULES SWAP MEMORY_FAILURE KEXEC BPF_SYSCALL PERF_EVENTS "
                            "BSD_PROCESS_ACCT QUOTA BLK_DEV_LOOP SCHED_CORE UCLAMP_TASK";

/* A line for each word. */
static void put_options(struct proc_text *text, const char *words, const char *format)
{
    while (*words) {
        size_t length = strcspn(words, " ");

        proc_printf(text, format, (int)length, words);
        words += length;
        words += strspn(words, " ");
    }
}

static uint32_t crc32(const char *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= (uint8_t)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
    return ~crc;
}

static void put(struct proc_text *text, const void *bytes, size_t size)
{
    if (text->length < text->size)
        memcpy(text->buf + text->length, bytes, MIN(size, text->size - text->length));
    text->length += size;
}

static void put_number(struct proc_text *text, uint32_t value, size_t size)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};

    put(text, bytes, size);
}

ssize_t proc_config_text(uint64_t key, char *buf, size_t size)
{
    static const uint8_t head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}; /* deflate; Unix */
    static const uint8_t last_stored = 1;
    char config[4096];
    struct proc_text text = {buf, size, 0}, options = {config, sizeof(config), 0};

    put_options(&options, has, "CONFIG_%.*s=y\n");
    put_options(&options, lacks, "# CONFIG_%.*s is not set\n");
    BUG_ON(options.length >= sizeof(config));
    put(&text, head, sizeof(head));
    put(&text, &last_stored, 1);
    put_number(&text, (uint32_t)options.length, 2);
    put_number(&text, ~(uint32_t)options.length, 2);
    put(&text, config, options.length);
    put_number(&text, crc32(config, options.length), 4);
    put_number(&text, (uint32_t)options.length, 4);
    return (ssize_t)text.length;
}
